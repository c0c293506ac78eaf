"""The training of networks, from their first weights to the best ones."""

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skatom._device import device_of
from skatom._progress import tqdm
from skatom._warnings import warn
from skatom.memory import check_memory
from skatom.models.neural.descent import Progress, Stopping


def train(settings, data, summed, random):
    """Descend from the weights of some networks.

    Parameters
    ----------
    settings : SummedNetworkRegressor
        Whose parameters say how; it makes the loss, descends along it, and names the checkpoint.
    data : LabelledRows
    summed : SummedNetworks or ChargedNetworks
    random : RandomState

    Returns
    -------
    Progress
        With the best weights.

    Warns
    -----
    ConvergenceWarning
        If the loss still falls in the end.
    """
    checkpoint = settings._training_checkpoint(data, summed)
    resumed = checkpoint.load()
    if resumed is None:
        learnt, left_out = _parted(settings, len(data), random)
    else:
        learnt, left_out = resumed["learnt"], resumed["left_out"]
    _check_passage(settings, data, summed)
    errors = settings._errors(data)
    loss = errors(data, summed, float(settings.alpha), learnt)
    watch = errors(data, summed, 0.0, left_out).errors if len(left_out) else None
    stopping = Stopping(
        settings.max_iter, settings.tol, settings.n_iter_no_change, settings.max_time
    )
    name = type(settings).__name__
    with tqdm(total=settings.max_iter, disable=not settings.verbose, desc=name) as bar:
        parts = {"learnt": learnt, "left_out": left_out}
        progress = Progress(summed.vector(), stopping, watch, bar, checkpoint, resumed, parts)
        settings._descend(loss, progress, random)
    checkpoint.remove()
    if not progress.converged:
        warn(
            f"{name}: the loss still falls after max_iter={settings.max_iter} iterations: raise "
            "max_iter or tol, or scale the features to unit variance",
            ConvergenceWarning,
        )
    return progress


def _parted(settings, n, random):
    """The structures to learn from, and those that are left out."""
    if not settings.early_stopping:
        return np.arange(n), np.arange(0)
    n_out = max(1, round(settings.validation_fraction * n))
    if n_out >= n:
        raise ValueError(
            f"early_stopping=True leaves out {n_out} of n_samples={n}, and none to learn from: "
            "give more, or early_stopping=False"
        )
    order = random.permutation(n)
    return np.sort(order[n_out:]), np.sort(order[:n_out])


def _check_passage(settings, data, summed):
    """Raise a MemoryError if the arrays of a passage through the networks do not fit."""
    share = 1.0 if settings.solver == "lbfgs" else min(1.0, settings.batch_size / len(data))
    hidden = sum(part.shape[1] for part in summed.networks[0].coefs)
    arrays = 3 * data.x.shape[1] * (2 if data.blocks else 1) + 8 * hidden
    device = device_of(data.x)
    check = check_memory if device is None else device.check_memory
    check(
        8.0 * share * len(data.x) * arrays,
        f"the passage of {round(share * len(data.x))} rows through a network",
        "take smaller batches with solver='adam', or fewer structures",
    )
