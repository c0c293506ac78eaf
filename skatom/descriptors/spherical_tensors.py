"""Irreducible spherical components of vectors and tensors, and how they rotate.

The component of order λ has 2λ + 1 entries, which rotate among themselves like the real spherical
harmonics of degree λ, in their order m = -λ … λ.
"""

from __future__ import annotations

import numpy as np

from skatom._typing import Array, ArrayLike
from skatom.descriptors.coupling import real_coupling

# the order (y, z, x) of the harmonics of degree 1
_VECTOR_ORDER = [1, 2, 0]


def wigner_d(lam: int, rotation: ArrayLike) -> Array:
    r"""Wigner's matrix of a rotation in real spherical harmonics.

    .. math::
        Y_{\lambda\mu}(R\,\hat r) = \sum_{\mu'} D_{\mu\mu'}(R)\, Y_{\lambda\mu'}(\hat r)

    It is built up from :math:`D^1`, which is R itself, by coupling harmonics of degrees λ − 1 and
    1 to degree λ.

    Parameters
    ----------
    lam : int
        The order λ ≥ 0.
    rotation : array-like of float, shape (3, 3)
        An orthogonal matrix. For a reflection, D is the matrix for true tensors:
        :math:`(-1)^\lambda` times the matrix of −R.

    Returns
    -------
    ndarray of float, shape (2 lam + 1, 2 lam + 1)
        An orthogonal matrix.

    Raises
    ------
    ValueError
        If the matrix is not orthogonal or λ is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.descriptors import wigner_d
    >>> quarter_turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]  # about z: x -> y, y -> -x
    >>> np.round(wigner_d(1, quarter_turn)) + 0.0  # components y, z, x
    array([[ 0.,  0.,  1.],
           [ 0.,  1.,  0.],
           [-1.,  0.,  0.]])
    """
    rotation = np.asarray(rotation, dtype=float)
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-8):
        raise ValueError(f"rotation={rotation} must be an orthogonal matrix of shape (3, 3)")
    if lam < 0:
        raise ValueError(f"lam={lam} must not be negative")
    vector = rotation[np.ix_(_VECTOR_ORDER, _VECTOR_ORDER)]
    matrix = np.eye(1)
    for l in range(1, lam + 1):
        coupling = real_coupling(l - 1, 1, l)
        both = np.einsum("abm,ac,bd->cdm", coupling, matrix, vector)
        matrix = (2 * l + 1) * np.einsum("cdm,cdn->mn", both, coupling)
    return matrix


def spherical_from_cartesian(tensors: ArrayLike, lam: int) -> Array:
    r"""The component of order λ of vectors or symmetric tensors.

    .. math::
        \lambda = 1:\ (y, z, x) \qquad \lambda = 0:\ (xx + yy + zz)/\sqrt 3

        \lambda = 2:\ \big(\sqrt 2\,xy,\ \sqrt 2\,yz,\ (2zz - xx - yy)/\sqrt 6,\ \sqrt 2\,xz,\
            (xx - yy)/\sqrt 2\big)

    The map is an isometry: squares of the components add up to the square of the tensor.

    Parameters
    ----------
    tensors : array-like of float, shape (n, 3) if lam is 1, (n, 3, 3) if it is 0 or 2
        Vectors or symmetric tensors.
    lam : {0, 1, 2}
        The order λ.

    Returns
    -------
    ndarray of float, shape (n, 2 lam + 1)

    Raises
    ------
    ValueError
        If the tensors have another shape, or λ is not 0, 1 or 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.descriptors import spherical_from_cartesian
    >>> spherical_from_cartesian([np.diag([1.0, 1.0, 4.0])], 2)
    array([[0.        , 0.        , 2.44948974, 0.        , 0.        ]])
    """
    basis, tensors = _basis(lam), np.asarray(tensors, dtype=float)
    if tensors.ndim != basis.ndim or tensors.shape[1:] != basis.shape[:-1]:
        raise ValueError(
            f"tensors have the shape {tensors.shape}; the component of order {lam} needs "
            f"(n, {', '.join(map(str, basis.shape[:-1]))})"
        )
    return np.tensordot(tensors, basis, axes=basis.ndim - 1)


def cartesian_from_spherical(components: ArrayLike, lam: int) -> Array:
    r"""The vectors or symmetric tensors whose component of order λ is given and others are zero.

    .. math:: T = \sum_\mu c_\mu\, e^\lambda_\mu

    with the orthonormal tensors :math:`e^\lambda_\mu`. This is the transpose of
    `spherical_from_cartesian`, and its inverse for tensors of order λ.

    Parameters
    ----------
    components : array-like of float, shape (n, 2 lam + 1)
        Spherical components c.
    lam : {0, 1, 2}
        The order λ.

    Returns
    -------
    ndarray of float, shape (n, 3) if lam is 1, (n, 3, 3) if it is 0 or 2

    Raises
    ------
    ValueError
        If the components have another shape, or λ is not 0, 1 or 2.

    Examples
    --------
    >>> from skatom.descriptors import cartesian_from_spherical
    >>> cartesian_from_spherical([[0.0, 3.0, 1.0]], 1)
    array([[1., 0., 3.]])
    """
    basis, components = _basis(lam), np.asarray(components, dtype=float)
    if components.ndim != 2 or components.shape[1] != basis.shape[-1]:
        raise ValueError(
            f"components have the shape {components.shape}; order {lam} needs (n, {2 * lam + 1})"
        )
    return np.tensordot(components, basis, axes=(-1, -1))


def _basis(lam):
    """Unit vectors (3, 3) or tensors (3, 3, 2λ + 1), the last index being the component."""
    if lam not in (0, 1, 2):
        raise ValueError(f"lam={lam} must be 0, 1 or 2")
    if lam == 1:
        return np.eye(3)[:, _VECTOR_ORDER]
    x, y, z = np.eye(3)
    if lam == 0:
        return (np.eye(3) / np.sqrt(3))[:, :, None]

    def product(a, b):
        return (np.outer(a, b) + np.outer(b, a)) / np.sqrt(2)

    return np.stack(
        [
            product(x, y),
            product(y, z),
            np.diag([-1.0, -1.0, 2.0]) / np.sqrt(6),
            product(x, z),
            np.diag([1.0, -1.0, 0.0]) / np.sqrt(2),
        ],
        axis=-1,
    )
