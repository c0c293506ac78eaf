"""Features and derivatives of many structures, in joblib's jobs, threads or on a device."""

from functools import partial

from skatom._device import device_of
from skatom.descriptors.scattering import device as on_device
from skatom.descriptors.scattering.batch import (
    jacobian_batch,
    over_jobs,
    pullback_batch,
    transform_batch,
)
from skatom.memory import check_memory


def values(settings, structures, device, n_jobs, verbose):
    """Features (n, n_features), on the `Device` if there is one."""
    shape = len(structures), len(settings.support)
    (check_memory if device is None else device.check_memory)(
        8.0 * shape[0] * shape[1],
        f"the array of {shape[0]} x {shape[1]} features",
        "transform fewer structures at a time, or select features",
    )
    if device is not None:
        return on_device.values(settings, structures, device)
    return over_jobs(transform_batch, settings, structures, n_jobs=n_jobs, verbose=verbose)


def pullback(settings, structures, cotangent, n_jobs, verbose):
    """Gradients (n_atoms, 3) and virials (n, 3, 3), where the cotangent (n, n_features) is."""
    device = device_of(cotangent)
    if device is not None:
        return on_device.pullback(settings, structures, cotangent, device)
    return over_jobs(
        pullback_batch, settings, structures, cotangent, n_jobs=n_jobs, verbose=verbose
    )


def jacobian(settings, structures, needed, device, n_jobs, verbose):
    """Derivatives (n_atoms, 3, n_features) and strains (n, 3, 3, n_features), if ``needed``."""
    if device is not None:
        return on_device.jacobian(settings, structures, needed, device)
    loop = partial(jacobian_batch, needed=needed)
    return over_jobs(loop, settings, structures, n_jobs=n_jobs, verbose=verbose)
