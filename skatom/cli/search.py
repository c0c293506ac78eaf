"""The choice of sigma."""

from skatom.cli.fitting import fit
from skatom.cli.report import warn


def search_sigma(run, sigmas):
    """Fit with each sigma and keep the one of lowest force RMSE on the validation frames.

    Parameters
    ----------
    run : object
        Its settings then have the sigma that was chosen.
    sigmas : list of float

    Returns
    -------
    The fitted model.
    """
    from skatom.metrics import neg_force_rmse

    X, y = run.data.structures[run.validation], run.data.targets[run.validation]
    fitted, errors = [], []
    for sigma in sigmas:
        fitted.append(fit(run, run.settings | {"sigma": sigma}, keep=True))
        errors.append(-neg_force_rmse(fitted[-1], X, y))
        print(f"          force RMSE {errors[-1]:.5f} eV/Å on {len(X)} validation frames")
    best = min(range(len(sigmas)), key=errors.__getitem__)
    print(f"Chosen    sigma {sigmas[best]:g}")
    if sigmas[best] in (min(sigmas), max(sigmas)):
        side = "smaller" if sigmas[best] == min(sigmas) else "larger"
        warn(f"sigma {sigmas[best]:g} is at the edge of those tried: try {side} ones too")
    run.settings = run.settings | {"sigma": sigmas[best]}
    return fitted[best]
