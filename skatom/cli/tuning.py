"""``skatom train --tune``."""


def tune(run):
    """Search the settings that matter, and say what was chosen and what it gains.

    Parameters
    ----------
    run : object
        With recipe, facts, structures, targets, configurations, settings, fixed, checkpoints
        and options.

    Returns
    -------
    dict
        The best settings, by dotted name.
    """
    from skatom.recipes.settings import text_of
    from skatom.recipes.tuning import search_of

    options = run.options
    print(f"Tuning    {options.tune:g} minutes, by cross-validation on the training frames")
    known = run.checkpoints.results("trials")

    def report(line):
        print(f"          {line}", flush=True)
        run.checkpoints.keep_results("trials", known)

    search = search_of(run.recipe)(
        run.recipe, run.facts, run.structures, run.targets, 60 * options.tune, run.configurations,
        options.seed, options.device, report, known,
    )  # fmt: skip
    tuned = search.run(run.settings, run.fixed)
    how = "" if tuned.is_complete else "; the time did not suffice for all"
    print(f"Chosen    {text_of(tuned.chosen) or 'the settings from before'}")
    print(f"          after {tuned.n_trials} trials{how}")
    print(f"Gain      {_errors(tuned.before)} before, {_errors(tuned.after)} with what was chosen")
    return tuned.settings


def _errors(pair):
    energy, forces = pair
    return f"{1e3 * energy:.3g} meV per atom and {forces:.4f} eV/Å"
