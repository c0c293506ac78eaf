r"""Averages over rotations as dot products of features.

A Gaussian between two vectors is a sum over Legendre polynomials,

.. math:: e^{-|r - R r'|^2 / 2 \sigma^2} = \sum_l (2l + 1)\, g_l(|r|, |r'|)\,
    P_l(\hat r \cdot R \hat r'), \qquad
    g_l(r, r') = e^{-(r^2 + r'^2) / 2 \sigma^2}\, i_l(r r' / \sigma^2),

with modified spherical Bessel functions i. On an interval :math:`g_l(r, r') = \sum_q \psi_{ql}(r)
\psi_{ql}(r')` with few functions, as in `RadialBasis`, and the integral over R of a product of
several Gaussians is a sum over products of these functions and of harmonics of the angles.
"""

from functools import lru_cache

import numpy as np
from scipy.special import eval_legendre, ive

from skatom.kernels._cpu.nbody import add_harmonic_products
from skatom.kernels.nbody.features import legendre_rule
from skatom.memory import check_memory
from skatom.parallel import serial_blas, threads_over_blas

# Eigenvalues, and degrees l, that are left out, relative to the largest.
_SMALLEST = 1e-15
# By how many sigma the interval of a basis extends beyond the longest distance.
_PADDING = 0.25
# The highest degree: that of distances of 20 sigma.
_HIGHEST = 200


class HarmonicBasis:
    """The functions ψ_ql of all degrees l that matter, from 0 to the longest distance.

    Averages over single neighbours need the degrees 0 and 1 only.

    Parameters
    ----------
    high, sigma : float, Å
    n_neighbors : {1, 2}
        Number of neighbours of a plet, whose product of functions decides what matters.
    """

    def __init__(self, high, sigma, n_neighbors):
        self.sigma = sigma
        high = high + _PADDING * sigma
        nodes, weights = legendre_rule(int(40 + 6 * high / sigma))
        self.nodes = 0.5 * high * (nodes + 1)
        roots = np.sqrt(0.5 * high * weights)
        self.coefficients, self.eigenvalues = [], []
        a = np.multiply.outer(self.nodes, self.nodes) / sigma**2
        decay = np.exp(-0.5 * (np.subtract.outer(self.nodes, self.nodes) / sigma) ** 2)
        largest = None
        for degree in range(_HIGHEST if n_neighbors == 2 else 2):
            kernel = roots[:, None] * decay * _scaled_bessel(degree, a) * roots
            with serial_blas():
                eigenvalues, vectors = np.linalg.eigh(kernel)
            largest = eigenvalues[-1] if largest is None else largest
            # with the best partner of the same degree
            partner = (eigenvalues[-1] / largest) ** (n_neighbors - 1)
            share = (2 * degree + 1) * partner * eigenvalues / largest
            kept = (share > _SMALLEST) & (eigenvalues > _SMALLEST * largest)
            if not kept.any():
                break
            self.coefficients.append(roots[:, None] * vectors[:, kept] / np.sqrt(eigenvalues[kept]))
            self.eigenvalues.append(eigenvalues[kept] / largest)

    def __len__(self):
        return len(self.coefficients)

    def tables(self, r):
        """Values and slopes of the functions of each degree, of the shape (len(r), n_functions)."""
        a = np.multiply.outer(r, self.nodes) / self.sigma**2
        decay = np.exp(-0.5 * (np.subtract.outer(r, self.nodes) / self.sigma) ** 2)
        before, value = 0.0, decay * _scaled_bessel(0, a)
        found = []
        for degree, coefficients in enumerate(self.coefficients):
            after = decay * _scaled_bessel(degree + 1, a)
            # di_l/da = [l i_(l-1) + (l + 1) i_(l+1)] / (2l + 1)
            slope = (degree * before + (degree + 1) * after) / (2 * degree + 1)
            slope = (slope * self.nodes - r[:, None] * value) / self.sigma**2
            found.append((value @ coefficients, slope @ coefficients))
            before, value = value, after
        return found


@lru_cache(maxsize=8)
def harmonic_basis(high, sigma, n_neighbors):
    """The `HarmonicBasis` of these arguments, which is made once."""
    return HarmonicBasis(high, sigma, n_neighbors)


def _scaled_bessel(degree, a):
    """i_l(a) exp(-a)."""
    safe = np.maximum(a, 1e-290)
    return np.sqrt(0.5 * np.pi / safe) * ive(degree + 0.5, safe)


def invariants(part, key, basis):
    r"""Features of parts of rows whose dot product is the average over rotations.

    .. math:: \psi_{q0}(r_{ij}), \qquad
        \sqrt{2l + 1}\, \psi_{ql}(r_{ij})\, \psi_{q'l}(r_{ik})\, P_l(\cos\theta)

    Parameters
    ----------
    part : Part
        Of neighbours or of pairs of them, see `centered`.
    key : tuple of int
        The atomic numbers of the centre and the neighbours.
    basis : HarmonicBasis

    Returns
    -------
    groups : ndarray of int, shape (n,)
    features : ndarray of float, shape (n, n_rows, n_features)
    """
    if len(key) == 2:
        values, slopes = basis.tables(part.sides[0])[0]
        a, c = part.coefficients[:, 0, :, None], part.coefficients[:, 1, :, None]
        return _sums(part, np.moveaxis(a * values + c * slopes, 0, 1))
    like, cosines = key[1] == key[2], part.sides[2]
    first, second = _tables_of_both(part, basis)
    coefficients = np.ascontiguousarray(part.coefficients)

    def of_degree(degree, out):
        p = eval_legendre(degree, cosines), legendre_slopes(degree, cosines)
        add_harmonic_products(
            part.starts, coefficients, *p, *first(degree), *second(degree), out
        )  # fmt: skip
        if like:
            out += out.swapaxes(-1, -2).copy()
        return np.sqrt((2 * degree + 1) * (1 if like else 2)) * out

    return _of_degrees(part, basis, of_degree)


def vectors(part, key, basis):
    r"""Features of environments whose dot product is the covariant average over rotations.

    .. math:: \psi_{q1}(r_{ij})\, \hat r_{ij}, \qquad \psi_{ql}(r_{ij})\, \psi_{q'l'}(r_{ik})\,
        \omega_{ll'}(\hat r_{ij}, \hat r_{ik})

    :math:`\omega` are the vectors that products of harmonics of degrees l and l' = l, l ± 1 make.

    Parameters
    ----------
    part : Part
        Neighbours, or ordered pairs of them; their coefficients (3, 3, n) are the components of
        :math:`\hat r_{ij}`, :math:`\hat r_{ik}` and their cross product, times the weight.
    key : tuple of int
    basis : HarmonicBasis

    Returns
    -------
    groups : ndarray of int, shape (n,)
    features : ndarray of float, shape (n, 3, n_features)
    """
    if len(key) == 2:
        values, _ = basis.tables(part.sides[0])[1]
        return _sums(part, np.moveaxis(part.coefficients[:, 0, :, None] * values, 0, 1))
    groups = np.flatnonzero(np.diff(part.starts))
    pairs = [(n, m) for n in range(len(basis)) for m in (n, n + 1) if 0 < m < len(basis)]
    n_features = sum(_products(basis, *pair).sum() for pair in pairs)
    check_features(len(part.starts) - 1, 3, n_features)
    tables = _tables_of_both(part, basis)
    found = [_coupled(part, basis, tables, *pair)[groups] for pair in pairs]
    return groups, np.concatenate(found, axis=-1)


def _coupled(part, basis, tables, lower, upper):
    """Sums of ψ_ql ψ_q'l' ω_ll' of degrees (l, l), or (l, l + 1) for both orders of the two."""
    cosines = part.sides[2]
    if lower == upper:
        omega = part.coefficients[:, 2] * legendre_slopes(lower, cosines)
    else:
        omega = part.coefficients[:, 1] * legendre_slopes(upper, cosines)
        omega -= part.coefficients[:, 0] * legendre_slopes(lower, cosines)
        omega *= np.sqrt(2)
    coefficients = np.zeros((3, 4, len(cosines)))
    coefficients[:, 0] = omega / _mean_length(lower, upper)
    first, second = tables[0](lower), tables[1](upper)
    out = np.zeros((len(part.starts) - 1, 3, first[0].shape[1], second[0].shape[1]))
    one = np.ones(len(cosines))
    add_harmonic_products(part.starts, coefficients, one, one, *first, *second, out)
    return out[..., _products(basis, lower, upper)]


def _tables_of_both(part, basis):
    """Functions of the degree that give values and slopes at both distances of all plets."""
    r, places = np.unique(part.sides[:2], return_inverse=True)  # each occurs in many pairs
    tables, places = basis.tables(r), places.reshape(2, -1)

    def of(neighbor):
        return lambda degree: tuple(table[places[neighbor]] for table in tables[degree])

    return of(0), of(1)


def _mean_length(lower, upper):
    """Root mean square, over directions, of |P'_l n × n'| or |P'_(l+1) n' - P'_l n|."""
    c, w = legendre_rule(lower + 2)
    p, q = legendre_slopes(lower, c), legendre_slopes(upper, c)
    square = p**2 * (1 - c**2) if lower == upper else p**2 + q**2 - 2 * c * p * q
    return np.sqrt(0.5 * np.sum(w * square))


def legendre_slopes(degree, c):
    """P'_l(c), the sum of (2k + 1) P_k(c) over k = l - 1, l - 3, …"""
    total = np.zeros_like(c)
    for lower in range(degree - 1, -1, -2):
        total += (2 * lower + 1) * eval_legendre(lower, c)
    return total


def _of_degrees(part, basis, of_degree):
    """Features of all degrees, whose products of functions matter."""
    groups = np.flatnonzero(np.diff(part.starts))
    n_groups, n_rows = len(part.starts) - 1, len(part.coefficients)
    kept = [_products(basis, degree, degree) for degree in range(len(basis))]
    n_features = sum(k.sum() for k in kept)
    check_features(n_groups, n_rows, n_features)

    def features(degree):
        n = len(basis.eigenvalues[degree])
        return of_degree(degree, np.zeros((n_groups, n_rows, n, n)))[..., kept[degree]][groups]

    with threads_over_blas() as pool:
        found = list(pool.map(features, range(len(basis))))
    return groups, np.concatenate(found, axis=-1)


def _products(basis, lower, upper):
    """Which products of functions of two degrees are not negligible."""
    shares = np.multiply.outer(basis.eigenvalues[lower], basis.eigenvalues[upper])
    return (2 * lower + 1) * shares > _SMALLEST


def _sums(part, terms):
    """Sums of terms (n, n_rows, n_features) over the plets of each group that has any."""
    groups = np.flatnonzero(np.diff(part.starts))
    return groups, np.add.reduceat(terms, part.starts[groups], axis=0)


def check_features(n_groups, n_rows, n_features):
    """Raise a MemoryError if the features of so many rows do not fit."""
    check_memory(
        16.0 * n_groups * n_rows * n_features,
        f"the {n_features} features of {n_groups * n_rows} rows of a kernel matrix",
        "raise sigma, lower the cutoff, set n_environments or train on fewer structures",
    )
