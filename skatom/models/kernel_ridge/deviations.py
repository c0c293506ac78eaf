"""Standard deviations by name, from the variances of a factor."""

import numpy as np

from skatom._cpu.voigt import FROM_VOIGT
from skatom.descriptors.features import structures_of

# The kind of rows of each output.
_KINDS = {
    "energy_std": "energy", "forces_std": "forces", "stress_std": "virial", "dipole_std": "dipole",
}  # fmt: skip


def deviations(factor, scale, X, names):
    """Standard deviations of predictions.

    Parameters
    ----------
    factor : CholeskySystem or OperatorFactor
        What has ``variances(X, kind)``.
    scale : float
        The scale c² of the kernel.
    X : AtomicFeatures, StructureFeatures or Structures
    names : collection of str
        Some of "energy_std", "forces_std", "stress_std" and "dipole_std".

    Returns
    -------
    dict of str to ndarray
    """
    # one kind at a time, so that rounding errors do not depend on what else is asked for
    found = {name: np.sqrt(scale * factor.variances(X, _KINDS[name])) for name in names}
    if "stress_std" in found:
        volumes = structures_of(X).volumes()[:, None, None]
        found["stress_std"] = found["stress_std"][:, FROM_VOIGT] / volumes
    return found
