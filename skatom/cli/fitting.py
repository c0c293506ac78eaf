"""Fits that say what they do."""

import time

from skatom.cli.cluster import print_workers


def fit(model, data, train):
    """Fit to some frames."""
    announce(model, len(train))
    begin = time.perf_counter()
    model.fit(data.structures[train], data.targets[train])
    print(f"          done in {time.perf_counter() - begin:.1f} s", flush=True)
    return model


def announce(model, n_frames):
    """Say what is fitted."""
    print(
        f"Fitting   {type(model).__name__}, sigma {model.sigma:g}, to {n_frames} frames",
        flush=True,
    )


def fit_recipe(run, model):
    """Fit the model of a run, which goes on from its checkpoints."""
    from skatom.recipes.fitting import fit_parameters

    n_frames, labels = len(run.structures), ", ".join(run.targets.names)
    print(f"Fitting   {run.recipe.name} to {labels} of {n_frames} frames", flush=True)
    begin = time.perf_counter()
    parameters = fit_parameters(model, run.configurations)
    model = run.finished.fit(model, run.structures, run.targets, parameters, run.settings)
    print(f"          done in {time.perf_counter() - begin:.1f} s", flush=True)
    return model


def print_estimate(run):
    """Print memory and time of the fit, the latter by a fit to a few frames here."""
    from skatom.parallel import available_threads
    from skatom.recipes.fitting import estimate

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
