"""Radial functions of density expansions, tabulated once per set of parameters.

A Gaussian of width σ at distance d from the centre has the expansion coefficients

    c_nlm = G_nl(d) Y_lm,   G_nl(d) = 4π ∫ r² R_nl(r) exp(-(r - d)²/2σ²) ĩ_l(r d/σ²) dr

with orthonormal R_nl and ĩ_l(x) = exp(-x) i_l(x), the scaled modified spherical Bessel function of
the first kind. The integral is computed by Gauss-Legendre quadrature, for any basis, and G_nl is
tabulated as a quintic spline.
"""

from functools import lru_cache
from math import factorial

import numpy as np
from ase.data import chemical_symbols
from scipy.interpolate import make_interp_spline
from scipy.optimize import brentq
from scipy.special import gamma, ive, spherical_jn

from skatom.elements import symbols
from skatom.memory import check_memory

# A Gaussian is zero in double precision this many widths from its centre.
_GAUSSIAN_REACH = 9.0
# Spline knots per width of the Gaussian: the error (h/σ)^6 is then 1e-11 of the largest value.
_KNOTS_PER_SIGMA = 20
# S^(-1/2) loses half of these digits, and a spline of accuracy 1e-11 loses the rest.
_LARGEST_CONDITION = 1e10


def gaussian_widths(sigma, species):
    """The width of the Gaussians of each species: a number for all, or a dict by symbol.

    Parameters
    ----------
    sigma : float or dict of str to float
    species : ndarray of int, shape (n_species,)
        Atomic numbers.

    Returns
    -------
    ndarray of float, shape (n_species,)
    """
    if not isinstance(sigma, dict):
        return np.full(len(species), float(sigma))
    missing = [z for z in species if chemical_symbols[z] not in sigma]
    if missing:
        raise ValueError(
            f"sigma={sigma} has no width for {symbols(missing)}: give one for each of the species "
            f"{symbols(species)}, or one number for all"
        )
    widths = np.array([sigma[chemical_symbols[z]] for z in species], dtype=float)
    if not (np.isfinite(widths) & (widths > 0)).all():
        raise ValueError(f"sigma={sigma} must have positive widths in Å")
    return widths


@lru_cache(maxsize=32)
def spline_tables(basis, n_max, l_max, cutoff, cutoff_width, widths, scaling=0.0):
    """Coefficients of G_nl on uniform intervals from 0 to the cutoff, for each width.

    Parameters
    ----------
    widths : tuple of float
        Width at the centre of the Gaussians of each table.
    scaling : float, default=0.0
        Growth of the widths with the distance.

    Returns
    -------
    tables : ndarray, shape (n_widths, n_intervals, 6, (l_max + 1) * n_max)
        Polynomials in the distance from the left knot, highest power first.
    spacing : float
        Length of an interval, the same in all tables.
    """
    # a step changes the place of a Gaussian and its width
    n_intervals = int(np.ceil(cutoff / min(widths) * (1 + scaling) * _KNOTS_PER_SIGMA))
    # the integrals at all knots, on a quadrature about as fine as the knots
    check_memory(
        8 * len(widths) * n_intervals * (8 * (l_max + 1) * n_max + 4 * n_intervals),
        f"the table of radial functions for cutoff={cutoff:g} and sigma={min(widths):g}",
        "use a shorter cutoff or a larger sigma",
    )
    spacing = cutoff / n_intervals
    # Knots beyond both ends keep the end conditions of the spline out of the range.
    margin = 8
    d = np.arange(-margin, n_intervals + margin + 1) * spacing
    knots = np.arange(n_intervals) * spacing
    tables = np.empty((len(widths), n_intervals, 6, (l_max + 1) * n_max))
    odd = np.arange(l_max + 1) % 2 == 1
    for table, width in zip(tables, widths, strict=True):
        # the width goes on falling below d = 0: it has no kink there, and neither has the spline
        sigma = width + scaling * d
        values = density_integrals(np.abs(d), basis, n_max, l_max, cutoff, cutoff_width, sigma)
        values[np.ix_(d < 0, odd)] *= -1  # G_nl has the parity of l
        spline = make_interp_spline(d, values.reshape(len(d), -1), k=5)
        for p in range(6):
            table[:, 5 - p] = spline(knots, p) / factorial(p)
    tables.flags.writeable = False  # shared by every user of the cache
    return tables, spacing


@lru_cache(maxsize=8)
def contracted_tables(parameters, table_of, n_max, contraction):
    """The tables of combinations of radial functions.

    Parameters
    ----------
    parameters : tuple
        What `spline_tables` takes for the primitive functions.
    table_of : tuple of int
        The table of each species among these.
    n_max : int
        Number of combinations for each l.
    contraction : bytes
        The combinations, an array (n_species or 1, l_max + 1, n_max, n_primitives) as bytes.

    Returns
    -------
    tables : ndarray, shape (n_tables, n_intervals, 6, (l_max + 1) * n_max)
    table_of : ndarray of int, shape (n_species,)
    """
    tables, _ = spline_tables(*parameters)
    n_primitives, l_max = parameters[1:3]
    matrices = np.frombuffer(contraction).reshape(-1, l_max + 1, n_max, n_primitives)
    primitive = tables.reshape(*tables.shape[:3], l_max + 1, n_primitives)
    if len(matrices) > 1:
        kinds, table_of = list(zip(table_of, matrices, strict=True)), range(len(table_of))
    else:
        kinds = [(t, matrices[0]) for t in range(len(tables))]
    contracted = np.empty((len(kinds), *tables.shape[1:3], l_max + 1, n_max))
    for table, (t, matrix) in zip(contracted, kinds, strict=True):
        np.matmul(primitive[t][..., None, :], matrix.swapaxes(1, 2), out=table[..., None, :])
    contracted = contracted.reshape(*contracted.shape[:3], -1)
    contracted.flags.writeable = False  # shared by every user of the cache
    return contracted, np.array(table_of)


def density_integrals(d, basis, n_max, l_max, cutoff, cutoff_width, sigma):
    """G_nl at the distances ``d``: shape (len(d), l_max + 1, n_max).

    ``sigma`` is the width at each distance, or one for all.
    """
    sigma = np.broadcast_to(sigma, d.shape)
    if basis == "bessel":
        end = cutoff
    else:  # where the Gaussians end, or r^k exp(-r²/2σ_k²) with its peak below the cutoff
        end = cutoff + _GAUSSIAN_REACH * min(sigma.max(), cutoff / np.sqrt(n_max))
    r, weights = _quadrature(end, sigma.min(), n_max)
    if basis == "bessel":
        functions = bessel_basis(r, n_max, l_max, cutoff)
    else:
        functions = np.repeat(gto_basis(r, n_max, cutoff - cutoff_width)[None], l_max + 1, axis=0)
    values = np.empty((len(d), l_max + 1, n_max))
    variance = sigma[:, None] ** 2
    exponent = (r - d[:, None]) ** 2 / (2 * variance)
    near = exponent < _GAUSSIAN_REACH**2 / 2
    x = (r * d[:, None] / variance)[near]
    weight = (4 * np.pi * weights * r**2 * np.exp(-exponent))[near]
    integrand = np.zeros(exponent.shape)
    for l in range(l_max + 1):
        integrand[near] = weight * _scaled_bessel(l, x)
        values[:, l] = integrand @ functions[l].T
    return values


def gto_basis(r, n_max, radius):
    """Orthonormal combinations of r^k exp(-r²/2σ_k²), σ_k = radius·max(√k, 1)/n_max.

    Symmetric orthogonalisation of k = 0 ... n_max - 1; Musil et al., J. Chem. Phys. 154, 114109
    (2021). Shape (n_max, len(r)).
    """
    k = np.arange(n_max)
    width = radius * np.maximum(np.sqrt(k), 1) / n_max
    b = 1 / (2 * width**2)
    norm = np.sqrt(2 / (width ** (2 * k + 3) * gamma(k + 1.5)))
    power = (3 + k[:, None] + k) / 2
    overlap = norm[:, None] * norm * gamma(power) / 2 * (b[:, None] + b) ** -power
    eigenvalues, vectors = np.linalg.eigh(overlap)
    if eigenvalues[0] < eigenvalues[-1] / _LARGEST_CONDITION:
        raise ValueError(
            f"n_max={n_max} makes the functions of radial_basis='gto' linearly dependent in double "
            "precision: choose n_max <= 14, or radial_basis='bessel', which is orthogonal"
        )
    inverse_root = vectors / np.sqrt(eigenvalues) @ vectors.T
    primitive = norm[:, None] * r ** k[:, None] * np.exp(-b[:, None] * r**2)
    return inverse_root @ primitive


def bessel_basis(r, n_max, l_max, radius):
    """Normalised spherical Bessel functions j_l that vanish at the radius.

    The eigenfunctions of the Laplacian in a sphere: orthogonal by construction at any n_max;
    Bigi et al., J. Chem. Phys. 157, 234101 (2022). Shape (l_max + 1, n_max, len(r)).
    """
    functions = np.empty((l_max + 1, n_max, len(r)))
    zeros = np.pi * np.arange(1, n_max + l_max + 1)
    for l in range(l_max + 1):
        if l > 0:  # the zeros of j_l lie between those of j_(l-1)
            zeros = np.array([
                brentq(lambda x, l=l: spherical_jn(l, x), a, b, xtol=1e-13)
                for a, b in zip(zeros[:-1], zeros[1:], strict=True)
            ])  # fmt: skip
        z = zeros[:n_max, None]
        norm = np.sqrt(2 / radius**3) / np.abs(spherical_jn(l + 1, z))
        functions[l] = norm * spherical_jn(l, z * r / radius)
    return functions


def _quadrature(end, sigma, n_max):
    nodes, weights = np.polynomial.legendre.leggauss(int(64 + 8 * end / sigma + 3 * n_max))
    return end / 2 * (nodes + 1), end / 2 * weights


def _scaled_bessel(l, x):
    """ĩ_l(x) = exp(-x) i_l(x)."""
    x = np.maximum(x, 1e-200)
    return np.sqrt(np.pi / (2 * x)) * ive(l + 0.5, x)
