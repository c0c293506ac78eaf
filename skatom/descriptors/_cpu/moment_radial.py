"""Derivatives of energies and forces with respect to the coefficients of radial functions."""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.moment_tensor import (
    _block_numbers,
    _n_numbers,
    _neighbor,
    _step,
    contract_tangent,
    n_components,
    n_monomials,
    scratch,
)


@callee(cache=True, fastmath=FASTMATH)
def _moment_motions(vectors, motions, center, species, moments, work, out):
    """Changes (n_components,) of the moments of one centre when its neighbours move."""
    f, df, values, changes = work[0], work[1], work[2], work[3]
    out[:] = 0.0
    for k in range(len(vectors)):
        r, x, y, z = _neighbor(vectors[k], center, species[k], moments, work)
        dx, dy, dz = motions[k, 0], motions[k, 1], motions[k, 2]
        along = _step(vectors[k], r, x, y, z, dx, dy, dz, moments, values, changes)
        start = 0
        for mu in range(len(f)):
            width = n_monomials(moments.degrees[mu])
            for m in range(width):
                out[start + m, 0] += f[mu] * changes[m] + df[mu] * along * values[m]
            start += width


@callee(cache=True, fastmath=FASTMATH)
def _pull(moments, numbers, tangent, on_values, on_tangent):
    """From the cotangents of contractions and of their changes, those of all other numbers."""
    first = len(numbers) - len(moments.starts) + 1
    for k in range(len(moments.starts) - 2, -1, -1):
        value, change = on_values[first + k], on_tangent[first + k]
        for s in range(moments.starts[k], moments.starts[k + 1]):
            a, b, c = moments.left[s], moments.right[s], moments.factors[s]
            # one after the other: a and b are the same where a number is squared
            on_values[a] += c * (value * numbers[b, 0] + change * tangent[b, 0])
            on_values[b] += c * (value * numbers[a, 0] + change * tangent[a, 0])
            on_tangent[a] += c * change * numbers[b, 0]
            on_tangent[b] += c * change * numbers[a, 0]


@callee(cache=True, fastmath=FASTMATH)
def _on_coefficients(
    vectors, motions, center, species, moments, work, on_values, on_tangent, out
):  # fmt: skip
    """Add the derivatives with respect to the coefficients, through the moments of one centre."""
    f, values, changes, q, dq = work[0], work[2], work[3], work[4], work[5]
    for k in range(len(vectors)):
        r, x, y, z = _neighbor(vectors[k], center, species[k], moments, work)
        dx, dy, dz = motions[k, 0], motions[k, 1], motions[k, 2]
        along = _step(vectors[k], r, x, y, z, dx, dy, dz, moments, values, changes)
        start = 0
        for mu in range(len(f)):
            value, slope = 0.0, 0.0
            for m in range(n_monomials(moments.degrees[mu])):
                value += on_values[start + m] * values[m] + on_tangent[start + m] * changes[m]
                slope += on_tangent[start + m] * values[m]
            for b in range(len(q)):
                out[mu, center, species[k], b] += q[b] * value + dq[b] * along * slope
            start += n_monomials(moments.degrees[mu])


@njit(cache=True, nogil=True)
def coefficient_slopes(
    first, last, starts, vectors, centers, species, moments, coef, weights, motions, out
):  # fmt: skip
    """∂/∂c of Σ_i (u_i E_i + dE_i), E_i = coef · features, dE_i its change along motions.

    ``coef`` (n_species, n_contractions), ``weights`` u (n_atoms,), ``motions`` (n_pairs, 3) of the
    vectors; ``out`` (n_mu, n_species, n_species, n_radial) is added to.
    """
    work = scratch(moments)
    by_species = np.empty((moments.mixing.shape[1], n_components(moments)))
    numbers, tangent = np.empty((_n_numbers(moments), 1)), np.empty((_n_numbers(moments), 1))
    on_values, on_tangent = np.empty(len(numbers)), np.empty(len(numbers))
    for i in range(first, last):
        own = slice(starts[i], starts[i + 1])
        _block_numbers(
            starts, vectors, centers, species, moments, work, by_species, numbers, i, i + 1
        )
        _moment_motions(
            vectors[own], motions[own], centers[i], species[own], moments, work, tangent
        )
        contract_tangent(moments, numbers, tangent, tangent.shape[1])
        on_values[:] = 0.0
        on_tangent[:] = 0.0
        for k in range(len(moments.scalars)):
            factor = coef[centers[i], k]
            on_values[moments.scalars[k]] += weights[i] * factor
            on_tangent[moments.scalars[k]] += factor
        _pull(moments, numbers, tangent, on_values, on_tangent)
        _on_coefficients(
            vectors[own], motions[own], centers[i], species[own], moments, work, on_values,
            on_tangent, out,
        )  # fmt: skip
