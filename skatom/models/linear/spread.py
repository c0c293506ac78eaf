"""The spread of the forces and virials of many linear models of the same features."""

import numpy as np

from skatom._device import on_host
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.maps import Linear
from skatom.structures import groups_by_size

# The derivatives of the energies of all models for a batch of structures.
_BATCH_BYTES = 2**25


def spread_of_derivatives(X, coefs):
    r"""Standard deviations over linear models of the gradient and the virial of the energy.

    The energies of all B models are features, :math:`y_b = x \cdot w_b`, of which one Jacobian has
    the derivatives:

    .. math::

        s^2 = \frac{1}{B - 1} \sum_b \Big( \frac{\partial y_b}{\partial R}
        - \frac{\partial \bar y}{\partial R} \Big)^2 .

    Parameters
    ----------
    X : AtomicFeatures or StructureFeatures
    coefs : ndarray of float, shape (B, n_features)

    Returns
    -------
    gradient : ndarray of float, shape (n_atoms, 3)
    virial : ndarray of float, shape (n, 3, 3)
    """
    x = X.structures
    energies = X[:, np.flatnonzero(coefs.any(axis=0))]
    energies = energies.map(Linear(coefs[:, coefs.any(axis=0)]))
    if isinstance(X, AtomicFeatures):
        energies = energies.pool("sum")
    gradient, virial = np.empty((len(x.numbers), 3)), np.empty((len(x), 3, 3))
    per_atom = 8 * 12 * max(coefs.shape)
    for batch in groups_by_size(x.offsets, max(1, _BATCH_BYTES // per_atom)):
        jacobian = energies.jacobian(batch)
        atoms = slice(x.offsets[batch.start], x.offsets[batch.stop])
        gradient[atoms] = on_host(jacobian.gradients).std(axis=-1, ddof=1)
        virial[batch] = on_host(jacobian.strains).std(axis=-1, ddof=1)
    return gradient, virial
