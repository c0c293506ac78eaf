"""Fits that say what they do."""

import time
from contextlib import contextmanager

from skatom.cli.cluster import print_workers


@contextmanager
def announced(what):
    """Say what is fitted, and how long it took."""
    print(f"Fitting   {what}", flush=True)
    begin = time.perf_counter()
    yield
    print(f"          done in {time.perf_counter() - begin:.1f} s", flush=True)


def of_one_molecule(model, n_frames):
    """What is fitted, for sGDML and GDML."""
    return f"{type(model).__name__}, sigma {model.sigma:g}, to {n_frames} frames"


def fit(run, settings, keep=False):
    """Fit the model of a run with some settings, from its checkpoints on.

    Parameters
    ----------
    run : object
        With recipe, data, train, structures, targets, configurations, checkpoints and ``model``.
    settings : dict
        All settings, by dotted name.
    keep : bool, default=False
        Whether to keep the model among the checkpoints.

    Returns
    -------
    The fitted model.
    """
    from skatom.models.label_checks import counted_as
    from skatom.recipes.fitting import fit_parameters

    model, n_frames = run.model(settings), len(run.structures)
    if run.recipe.one_molecule:
        what = of_one_molecule(model, n_frames)
    else:
        what = f"{run.recipe.name} to {', '.join(run.targets.names)} of {n_frames} frames"
    parameters = fit_parameters(model, run.configurations)
    with announced(what), counted_as(run.data.frames[run.train]):
        return run.checkpoints.fit(
            model, run.structures, run.targets, parameters, settings, keep
        )  # fmt: skip


def print_estimate(run):
    """Print memory and time of the fit, the latter by a piece of it here."""
    from skatom.parallel import available_threads
    from skatom.recipes.estimates import estimate

    found = estimate(
        run.recipe, run.settings, run.structures, run.targets, run.configurations,
        run.options.device,
    )  # fmt: skip
    print_workers(found.columns)
    if found.memory is None:
        return
    threads = available_threads()
    seconds = "" if found.seconds is None else f", {duration(found.seconds)}"
    print(
        f"Estimate  {found.memory / 2**30:.2g} GiB for the largest matrices{seconds} with "
        f"{threads} thread{'s' if threads > 1 else ''}",
        flush=True,
    )


def duration(seconds):
    """A time in words, to about two digits."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {seconds / 60:.2g} minutes"
    return f"about {seconds / 3600:.2g} hours"
