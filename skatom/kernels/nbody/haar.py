"""Kernels of sets of neighbour positions, and their averages over all rotations."""

from __future__ import annotations

import numpy as np

from skatom._typing import Array, ArrayLike


def cartesian_kernel(X: ArrayLike, Y: ArrayLike, sigma: float, order: int = 2) -> float:
    r"""n-body kernel of two sets of neighbours, which is not invariant under rotations.

    .. math::

        k_n(\rho, \rho') = \Big[ \sum_{ij}
        \exp\Big(-\frac{|r_i - r'_j|^2}{2\sigma^2}\Big) \Big]^{n-1}

    Its mixed derivatives with respect to n different neighbours vanish: its functions are sums over
    tuples of the centre and n − 1 neighbours [1]_.

    Parameters
    ----------
    X, Y : array-like of float, shapes (n_neighbors, d) and (m_neighbors, d), Å
        Vectors from the centre to its neighbours; d is 3 in space, and may be 1 for models on a
        line.
    sigma : float, Å
        Length scale σ.
    order : int, default=2
        Order n, at least 2.

    Returns
    -------
    float

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.25 and 5.26.

    Examples
    --------
    >>> from skatom.kernels import cartesian_kernel
    >>> k = cartesian_kernel([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], sigma=1.0)
    >>> round(k, 4)
    0.3679
    """
    X, Y, order = _check(X, Y, sigma, order)
    return float(_pair_sum(X @ Y.T, X, Y, sigma) ** (order - 1))


def many_body_kernel(X: ArrayLike, Y: ArrayLike, sigma: float, theta: float) -> float:
    r"""Kernel of all orders of two sets of neighbours.

    .. math::

        k_\mathrm{MB}(\rho, \rho') = \exp\Big(-\frac{k_2(\rho, \rho) + k_2(\rho', \rho')
        - 2 k_2(\rho, \rho')}{2\theta^2}\Big)

    Its series in 1/θ² contains the `cartesian_kernel` of every order [1]_.

    Parameters
    ----------
    X, Y : array-like of float, shapes (n_neighbors, d) and (m_neighbors, d), Å
        Vectors from the centre to its neighbours.
    sigma : float, Å
        Length scale of :math:`k_2`.
    theta : float
        Scale θ, dimensionless. The larger it is, the more low orders dominate.

    Returns
    -------
    float

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eq. 5.27.

    Examples
    --------
    >>> from skatom.kernels import many_body_kernel
    >>> k = many_body_kernel([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], sigma=1.0, theta=1.0)
    >>> round(k, 4)
    0.5315
    """
    if not theta > 0:
        raise ValueError(f"theta={theta} must be positive")
    same = cartesian_kernel(X, X, sigma) + cartesian_kernel(Y, Y, sigma)
    return float(np.exp((2 * cartesian_kernel(X, Y, sigma) - same) / (2 * theta**2)))


def haar_kernel(X: ArrayLike, Y: ArrayLike, sigma: float, order: int = 2) -> float:
    r"""The average of `cartesian_kernel` over rotations, an invariant kernel.

    .. math::
        \bar k_n(\rho, \rho') = \int \mathrm{d}R\; k_n(\rho, R\rho'), \qquad
        \bar k_2 = \sum_{ij} e^{-(r_i^2 + r_j'^2) / 2\sigma^2}\, \frac{\sinh a_{ij}}{a_{ij}},
        \quad a_{ij} = \frac{r_i r'_j}{\sigma^2}

    with the normalised measure of rotations. Pairs are averaged in closed form, higher orders by a
    quadrature that is exact to rounding errors.

    Parameters
    ----------
    X, Y : array-like of float, shapes (n_neighbors, 3) and (m_neighbors, 3), Å
        Vectors from the centre to its neighbours.
    sigma : float, Å
        Length scale σ.
    order : int, default=2
        Order n, at least 2.

    Returns
    -------
    float

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eq. 5.21.

    Examples
    --------
    >>> from skatom.kernels import haar_kernel
    >>> k = haar_kernel([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], sigma=1.0)
    >>> round(k, 4)
    0.4323
    """
    X, Y, order = _check(X, Y, sigma, order, dimension=3)
    if order == 2:
        decay, a = _radial(X, Y, sigma)
        safe = np.maximum(a, np.finfo(float).tiny)
        # exp(-(r² + r'²)/2σ²) sinh(a)/a = exp(-(r - r')²/2σ²) (1 - exp(-2a))/2a, no overflow
        return float(np.sum(decay * -np.expm1(-2 * safe) / (2 * safe)))
    rotations, weights = _rotations(X, Y, sigma, order)
    return float(weights @ _rotated_pair_sums(X, Y, sigma, rotations) ** (order - 1))


def covariant_kernel(X: ArrayLike, Y: ArrayLike, sigma: float, order: int = 2) -> Array:
    r"""Matrix-valued kernel for vectors, such as the force on the centre.

    .. math::

        K_n(\rho, \rho') = \int \mathrm{d}R\; R\, k_n(\rho, R\rho'), \qquad
        K_n(S\rho, S'\rho') = S\, K_n(\rho, \rho')\, S'^\top

    with the normalised measure of rotations. A prediction rotates with the neighbours.

    Parameters
    ----------
    X, Y : array-like of float, shapes (n_neighbors, 3) and (m_neighbors, 3), Å
        Vectors from the centre to its neighbours.
    sigma : float, Å
        Length scale σ.
    order : int, default=2
        Order n, at least 2.

    Returns
    -------
    ndarray of float, shape (3, 3)

    References
    ----------
    .. [1] A. Glielmo, P. Sollich, A. De Vita, Phys. Rev. B 95, 214302 (2017).
    .. [2] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), eqs. 5.22 and 5.23.

    Examples
    --------
    >>> from skatom.kernels import covariant_kernel
    >>> covariant_kernel([[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], sigma=1.0).round(4)
    array([[0.    , 0.1353, 0.    ],
           [0.    , 0.    , 0.    ],
           [0.    , 0.    , 0.    ]])
    """
    X, Y, order = _check(X, Y, sigma, order, dimension=3)
    if order == 2:
        decay, a = _radial(X, Y, sigma)
        small = a < 1e-2
        safe = np.where(small, 1.0, a)
        # (a cosh a - sinh a)/a², times exp(-a)
        exact = (safe * (1 + np.exp(-2 * safe)) + np.expm1(-2 * safe)) / (2 * safe**2)
        series = np.exp(-a) * a / 3 * (1 + a**2 / 10 * (1 + a**2 / 28))
        return _units(X).T @ (decay * np.where(small, series, exact)) @ _units(Y)
    rotations, weights = _rotations(X, Y, sigma, order)
    values = weights * _rotated_pair_sums(X, Y, sigma, rotations) ** (order - 1)
    return np.einsum("r,rxy->xy", values, rotations)


def _check(X, Y, sigma, order, dimension=None):
    X, Y = np.asarray(X, float), np.asarray(Y, float)
    wanted = dimension or (X.shape[1] if X.ndim == 2 else 3)
    for cloud in (X, Y):
        if cloud.ndim != 2 or cloud.shape[1] != wanted:
            raise ValueError(
                f"a cloud of neighbours has the shape {cloud.shape}: give (n_neighbors, {wanted})"
            )
    if not sigma > 0:
        raise ValueError(f"sigma={sigma} must be a positive length in Å")
    if order < 2 or order != int(order):
        raise ValueError(f"order={order} must be an integer of at least 2: the centre is one body")
    return X, Y, int(order)


def _pair_sum(dots, X, Y, sigma):
    """k_2 from the dot products (…, n, m)."""
    squares = np.sum(X**2, axis=1)[:, None] + np.sum(Y**2, axis=1)
    return np.exp((2 * dots - squares) / (2 * sigma**2)).sum(axis=(-2, -1))


def _rotated_pair_sums(X, Y, sigma, rotations):
    return _pair_sum(np.einsum("ix,rxy,jy->rij", X, rotations, Y, optimize=True), X, Y, sigma)


def _radial(X, Y, sigma):
    """exp(-(r - r')²/2σ²) and a = r r'/σ² of all pairs."""
    r, s = np.linalg.norm(X, axis=1)[:, None], np.linalg.norm(Y, axis=1)
    return np.exp(-0.5 * ((r - s) / sigma) ** 2), r * s / sigma**2


def _units(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def _rotations(X, Y, sigma, order):
    """Nodes (n, 3, 3) and weights of a quadrature over SO(3), Rz(α) Ry(β) Rz(γ).

    The harmonics of exp(a cos θ) fall off faster than exponentially beyond degree a, a being at
    most (n - 1) r r'/σ².
    """
    largest = (order - 1) * float(_radial(X, Y, sigma)[1].max(initial=0.0))
    degree = int(24 + largest)
    cos_beta, beta_weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    alpha = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    a, b, c = np.meshgrid(alpha, np.arccos(cos_beta), alpha, indexing="ij")
    ca, sa, cb, sb, cc, sc = (f(x.ravel()) for x in (a, b, c) for f in (np.cos, np.sin))
    rotations = np.stack([
        ca * cb * cc - sa * sc, -ca * cb * sc - sa * cc, ca * sb,
        sa * cb * cc + ca * sc, -sa * cb * sc + ca * cc, sa * sb,
        -sb * cc, sb * sc, cb,
    ], axis=1).reshape(-1, 3, 3)  # fmt: skip
    weights = np.broadcast_to(beta_weights[:, None] / 2 / len(alpha) ** 2, a.shape)
    return rotations, weights.ravel()
