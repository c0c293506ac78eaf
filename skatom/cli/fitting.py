"""Fits that say what they do."""

import time


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
