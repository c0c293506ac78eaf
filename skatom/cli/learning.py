"""``skatom train --learning-curve``."""

_UNITS = {"energy_mae_per_atom": "energy MAE (eV/atom)", "force_mae": "force MAE (eV/Å)"}


def learning_curve(run, model, data, test):
    """Errors against the number of training frames, printed.

    Parameters
    ----------
    run : object
        With recipe, settings, structures, targets, configurations, checkpoints and options.
    model : fitted estimator
        Of all training frames.
    data : Bunch
    test : ndarray of int
        Frames of the data to judge on.

    Returns
    -------
    list of LearningCurveDisplay
        Of energies and forces, as far as there are labels.
    """
    import numpy as np

    from skatom.plotting import LearningCurveDisplay
    from skatom.recipes.learning import LearningCurve

    options, known = run.options, run.checkpoints.results("curve")
    print(f"Learning  curve within {options.learning_curve:g} minutes, on {len(test)} frames")

    def report(n_frames, errors):
        print(f"          {n_frames} frames: {_text(errors)}", flush=True)
        run.checkpoints.keep_results("curve", known)

    curve = LearningCurve(
        run.recipe, run.settings, run.structures, run.targets, data.structures[test],
        data.targets[test], 60 * options.learning_curve, run.configurations, options.seed,
        options.device, report, known,
    )  # fmt: skip
    sizes, errors, is_complete = curve.run(model)
    if not is_complete:
        print("          the time did not suffice for all")
    if len(sizes) < 2:
        return []
    return [
        LearningCurveDisplay(sizes, np.array(values)[:, None], _UNITS[name])
        for name, values in errors.items()
        if min(values) > 0
    ]


def _text(errors):
    units = {"energy_mae_per_atom": (1e3, "meV per atom"), "force_mae": (1.0, "eV/Å")}
    shown = [(errors[name] * factor, unit) for name, (factor, unit) in units.items()
             if name in errors]  # fmt: skip
    return ", ".join(f"{value:.3g} {unit}" for value, unit in shown)
