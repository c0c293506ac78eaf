"""Projections of the neighbours of every centre on one-particle functions, and their products.

    A_clmn = Σ_j U_c(j) R_n(r_j) Y_lm(r_j / r_j)        A_cn = Σ_j U_c(j) S_n(r_j)

with one set of A_clmn for each sphere, whose cutoff its products have. The features are sums of
products of these numbers (see ``cluster_basis.Products``), evaluated as the contractions of moment
tensors are: for a block of centres or pairs at a time, side by side in memory. The numbers of a
channel begin with A_clmn of each sphere, n fastest, and end with A_cn.
"""

from typing import NamedTuple

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.harmonics import harmonics, harmonics_with_gradients
from skatom.descriptors._cpu.moment_tensor import (
    LANES,
    contract,
    contract_pullback,
    contract_tangent,
    unmix,
)


class Projections(NamedTuple):
    """What projections and their products need to know, for compiled code."""

    cutoff: float  # of single projections, the longest
    spheres: np.ndarray  # (n_spheres,): the cutoffs of products, ascending
    inner: np.ndarray  # (n_species, n_species): where the polynomials begin, in Å
    norm: np.ndarray  # see harmonics.normalization
    mixing: np.ndarray  # (n_channels, n_species)
    # see cluster_basis.Products
    n_radial: np.ndarray  # (n_spheres, l_max + 1)
    n_pair: int
    starts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    factors: np.ndarray
    scalars: np.ndarray


# --- one neighbour ------------------------------------------------------------------------------


@callee(cache=True, fastmath=FASTMATH)
def polynomials(r, cutoff, inner, f, df):
    """(1 + cos(π r / r_cut)) ρ T_n(ξ) and their slopes; zero from the cutoff on.

    ρ = ((1 Å + r_in) / (1 Å + r))² falls from 1 at ``inner``; ξ is linear in it, 1 there and -1 at
    the cutoff.
    """
    f[:] = 0.0
    df[:] = 0.0
    if r >= cutoff:
        return
    ratio, last = (1 + inner) / (1 + r), (1 + inner) / (1 + cutoff)
    rho, last = ratio * ratio, last * last
    drho, stretch = -2 * rho / (1 + r), 2 / (1 - last)
    x, slope = stretch * (rho - last) - 1, stretch * drho
    phase = np.pi * r / cutoff
    weight = 1 + np.cos(phase)
    fall = weight * drho - np.pi / cutoff * np.sin(phase) * rho
    weight *= rho
    t, dt, before, dbefore = 1.0, 0.0, x, 1.0  # T_-1 = T_1
    for n in range(len(f)):
        f[n] = weight * t
        df[n] = weight * slope * dt + fall * t
        dt, dbefore = 2 * (t + x * dt) - dbefore, dt
        t, before = 2 * x * t - before, t


@callee(cache=True)
def n_components(p):
    """Numbers of one channel."""
    total = p.n_pair
    for s in range(len(p.n_radial)):
        for l in range(p.n_radial.shape[1]):
            total += (2 * l + 1) * p.n_radial[s, l]
    return total


@callee(allocates=True, cache=True)
def scratch(p):
    """Buffers of one thread for one neighbour at a time."""
    n_lm, n_max = p.n_radial.shape[1] ** 2, 0
    for s in range(len(p.n_radial)):
        n_max = max(n_max, p.n_radial[s, 0])
    return (
        np.empty((3, n_lm)), np.empty(n_lm), np.empty((3, n_lm)), np.empty(n_max), np.empty(n_max),
        np.empty(p.n_pair), np.empty(p.n_pair),
    )  # fmt: skip


@callee(cache=True)
def _radial(vector, center, other, p, work):
    """S_n of one neighbour in ``work``; its unit vector and distance."""
    x, y, z = vector[0], vector[1], vector[2]
    r = np.sqrt(x * x + y * y + z * z)
    polynomials(r, p.cutoff, p.inner[center, other], work[5], work[6])
    return x / r, y / r, z / r, r


@callee(cache=True)
def _n_of_sphere(n_radial):
    """Numbers of one sphere and channel."""
    total = 0
    for l in range(len(n_radial)):
        total += (2 * l + 1) * n_radial[l]
    return total


@callee(cache=True, fastmath=FASTMATH)
def accumulate(vectors, center, species, p, work, out):
    """A (n_species, n_components) of one centre, of each species of neighbours."""
    y, f, g = work[1], work[3], work[5]
    out[:] = 0.0
    for k in range(len(vectors)):
        ux, uy, uz, r = _radial(vectors[k], center, species[k], p, work)
        channel, stop = out[species[k]], n_components(p) - p.n_pair
        pairs = channel[stop:]
        for n in range(len(g)):
            pairs[n] += g[n]
        if r < p.spheres[-1]:
            harmonics(ux, uy, uz, p.norm, p.n_radial.shape[1] - 1, work[0], y)
            stop = 0
            for s in range(len(p.spheres)):
                if r >= p.spheres[s]:
                    stop += _n_of_sphere(p.n_radial[s])
                    continue
                polynomials(r, p.spheres[s], p.inner[center, species[k]], f, work[4])
                for l in range(p.n_radial.shape[1]):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        row = channel[stop : stop + p.n_radial[s, l]]
                        for n in range(len(row)):
                            row[n] += y[lm] * f[n]
                        stop += p.n_radial[s, l]


@callee(cache=True, fastmath=FASTMATH)
def projection_gradients(vectors, center, species, p, work, cotangent, gradients):
    """dE/dr_j (n_neighbors, 3) for dE/dA (n_species, n_components)."""
    y, grad, f, df, dg = work[1], work[2], work[3], work[4], work[6]
    for k in range(len(vectors)):
        ux, uy, uz, r = _radial(vectors[k], center, species[k], p, work)
        weights, stop = cotangent[species[k]], n_components(p) - p.n_pair
        along, gx, gy, gz = 0.0, 0.0, 0.0, 0.0
        pairs = weights[stop:]
        for n in range(len(dg)):
            along += pairs[n] * dg[n]
        if r < p.spheres[-1]:
            harmonics_with_gradients(ux, uy, uz, p.norm, p.n_radial.shape[1] - 1, work[0], y, grad)
            stop = 0
            for s in range(len(p.spheres)):
                if r >= p.spheres[s]:
                    stop += _n_of_sphere(p.n_radial[s])
                    continue
                polynomials(r, p.spheres[s], p.inner[center, species[k]], f, df)
                for l in range(p.n_radial.shape[1]):
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        total, slope, row = 0.0, 0.0, weights[stop : stop + p.n_radial[s, l]]
                        for n in range(len(row)):
                            total += row[n] * f[n]
                            slope += row[n] * df[n]
                        # solid harmonics of degree l: their slope along r is l
                        along += y[lm] * (slope - l * total / r)
                        gx += total * grad[0, lm]
                        gy += total * grad[1, lm]
                        gz += total * grad[2, lm]
                        stop += p.n_radial[s, l]
        gradients[k, 0] = along * ux + gx / r
        gradients[k, 1] = along * uy + gy / r
        gradients[k, 2] = along * uz + gz / r


@callee(cache=True, fastmath=FASTMATH)
def projection_tangent(vector, center, other, p, work, tangent):
    """Derivative (3, n_components) along its vector of what one neighbour adds to A."""
    y, grad, f, df, dg = work[1], work[2], work[3], work[4], work[6]
    ux, uy, uz, r = _radial(vector, center, other, p, work)
    if r < p.spheres[-1]:
        harmonics_with_gradients(ux, uy, uz, p.norm, p.n_radial.shape[1] - 1, work[0], y, grad)
    first = 0
    for s in range(len(p.spheres)):
        last = first + _n_of_sphere(p.n_radial[s])
        if r >= p.spheres[s]:
            tangent[:, first:last] = 0.0
            first = last
            continue
        polynomials(r, p.spheres[s], p.inner[center, other], f, df)
        for axis in range(len(tangent)):
            unit, stop = ux * (axis == 0) + uy * (axis == 1) + uz * (axis == 2), first
            for l in range(p.n_radial.shape[1]):
                for lm in range(l * l, (l + 1) * (l + 1)):
                    row = tangent[axis, stop : stop + p.n_radial[s, l]]
                    along = unit * y[lm]
                    turn = (grad[axis, lm] - l * along) / r
                    for n in range(len(row)):
                        row[n] = turn * f[n] + along * df[n]
                    stop += p.n_radial[s, l]
        first = last
    for axis in range(len(tangent)):
        unit = ux * (axis == 0) + uy * (axis == 1) + uz * (axis == 2)
        for n in range(len(dg)):
            tangent[axis, first + n] = unit * dg[n]


# --- all products of a block of centres ---------------------------------------------------------


@callee(cache=True)
def _n_numbers(p):
    return len(p.mixing) * n_components(p) + len(p.starts) - 1


@callee(cache=True)
def _block_numbers(starts, vectors, centers, species, p, work, by_species, numbers, a, b):
    """All numbers (n_numbers, lanes) of the centres a to b; those of empty lanes are zero."""
    n_own = by_species.shape[1]
    numbers[: len(p.mixing) * n_own] = 0.0
    for i in range(a, b):
        i0, i1 = starts[i], starts[i + 1]
        accumulate(vectors[i0:i1], centers[i], species[i0:i1], p, work, by_species)
        for c in range(len(p.mixing)):
            for s in range(by_species.shape[0]):
                weight = p.mixing[c, s]
                if weight != 0.0:
                    for m in range(n_own):
                        numbers[c * n_own + m, i - a] += weight * by_species[s, m]
    contract(p, numbers)


def values(first, last, starts, vectors, centers, species, p, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    none = np.empty((0, 0))
    _evaluate(first, last, starts, vectors, centers, species, p, none, none, out, np.empty(0))


def pair_gradients(first, last, starts, vectors, centers, species, p, cotangent, out, products):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features).

    ``products`` (n_atoms,) receives the products of the features with their cotangents.
    """
    none = np.empty((0, 0))
    _evaluate(first, last, starts, vectors, centers, species, p, cotangent, none, out, products)


def pair_jacobian(first, last, starts, vectors, centers, species, p, out):
    """d features_i / dr_ij, into (n_pairs, 3, n_features)."""
    starts, centers, none = starts[first : last + 1], centers[first:last], np.empty((0, 0))
    first, n = 0, len(centers)
    n_own = p.n_pair + np.dot(p.n_radial, 2 * np.arange(p.n_radial.shape[1]) + 1).sum()
    numbers = np.empty((n, len(p.mixing) * n_own + len(p.starts) - 1))
    _evaluate(first, n, starts, vectors, centers, species, p, none, numbers, none, np.empty(0))
    _pair_jacobian(first, n, starts, vectors, centers, species, p, numbers, out)


@njit(cache=True, nogil=True)
def _evaluate(
    first, last, starts, vectors, centers, species, p, cotangent, all_numbers, out, products
):
    """`values` without a cotangent, `pair_gradients` with one: they share what they compile.

    With an array ``all_numbers`` (n_atoms, n_numbers) only the numbers of all centres, into it.
    """
    has_cotangent, work = len(cotangent) > 0, scratch(p)
    by_species = np.empty((p.mixing.shape[1], n_components(p)))
    numbers = np.empty((_n_numbers(p), LANES))
    adjoint = np.empty((len(numbers) if has_cotangent else 0, LANES))
    for a in range(first, last, LANES):
        b = min(a + LANES, last)
        _block_numbers(starts, vectors, centers, species, p, work, by_species, numbers, a, b)
        if has_cotangent:
            adjoint[:] = 0.0
            for i in range(a, b):
                row, total = cotangent[min(i, len(cotangent) - 1)], 0.0
                for k in range(len(row)):
                    adjoint[p.scalars[k], i - a] += row[k]
                    total += row[k] * numbers[p.scalars[k], i - a]
                products[i] = total
            contract_pullback(p, numbers, adjoint)
            for i in range(a, b):
                i0, i1 = starts[i], starts[i + 1]
                unmix(adjoint, i - a, p.mixing, by_species)
                projection_gradients(
                    vectors[i0:i1], centers[i], species[i0:i1], p, work, by_species, out[i0:i1]
                )
        elif len(all_numbers) > 0:
            for i in range(a, b):
                for k in range(len(numbers)):
                    all_numbers[i, k] = numbers[k, i - a]
        else:
            for i in range(a, b):
                row = out[i]
                for k in range(len(row)):
                    row[k] = numbers[p.scalars[k], i - a]


@njit(cache=True, nogil=True)
def _pair_jacobian(first, last, starts, vectors, centers, species, p, numbers, out):
    """`pair_jacobian` for the numbers of the centres."""
    work = scratch(p)
    tangent = np.empty((numbers.shape[1], 3 * LANES))
    one = np.empty((3, n_components(p)))
    for i in range(first, last):
        for k0 in range(starts[i], starts[i + 1], LANES):
            k1 = min(k0 + LANES, starts[i + 1])
            for k in range(k0, k1):
                projection_tangent(vectors[k], centers[i], species[k], p, work, one)
                _spread(one, p.mixing[:, species[k]], k - k0, tangent)
            contract_tangent(p, numbers[i], tangent, 3 * (k1 - k0))
            for k in range(k0, k1):
                for axis in range(3):
                    row = out[k, axis]
                    for q in range(len(row)):
                        row[q] = tangent[p.scalars[q], 3 * (k - k0) + axis]


@callee(cache=True)
def _spread(one, weights, place, tangent):
    """The tangent (3, n_components) of one neighbour in all channels, at its place."""
    n_own = one.shape[1]
    for c in range(len(weights)):
        for m in range(n_own):
            for axis in range(3):
                tangent[c * n_own + m, 3 * place + axis] = weights[c] * one[axis, m]
