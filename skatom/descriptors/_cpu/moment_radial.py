"""Derivatives of energies and forces with respect to the coefficients of radial functions."""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.moment_neighbors import (
    empty_neighbors,
    moment_changes,
    move_neighbors,
    n_components,
    n_monomials,
)
from skatom.descriptors._cpu.moment_tensor import block_numbers, contract_tangent, n_numbers


@callee(cache=True)
def _moment_motions(motions, near, moments, by_neighbor, out):
    """Changes (n_components, 1) of the moments of one centre when its neighbours move."""
    near.motions[:] = 0.0
    for k in range(len(motions)):
        for axis in range(3):
            near.motions[axis, near.places[k]] = motions[k, axis]
    move_neighbors(near, moments)
    moment_changes(near, moments.degrees, by_neighbor)
    for m in range(by_neighbor.shape[1]):
        out[m, 0] = 0.0
    for k in range(len(motions)):
        for m in range(by_neighbor.shape[1]):
            out[m, 0] += by_neighbor[near.places[k], m]


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
def _on_coefficients(near, center, degrees, on_values, on_tangent, out):
    """Add the derivatives with respect to the coefficients, through the moments of one centre."""
    for s in range(out.shape[2]):
        for i in range(near.first[s], near.first[s + 1]):
            start = 0
            for mu in range(len(degrees)):
                value, slope = 0.0, 0.0
                for m in range(n_monomials(degrees[mu])):
                    value += on_values[start + m] * near.values[m, i]
                    value += on_tangent[start + m] * near.changes[m, i]
                    slope += on_tangent[start + m] * near.values[m, i]
                slope *= near.along[i]
                for b in range(out.shape[3]):
                    out[mu, center, s, b] += near.q[b, i] * value + near.dq[b, i] * slope
                start += n_monomials(degrees[mu])


@njit(cache=True, nogil=True)
def coefficient_slopes(
    first, last, starts, vectors, centers, species, moments, coef, weights, motions, out
):  # fmt: skip
    """∂/∂c of Σ_i (u_i E_i + dE_i), E_i = coef · features, dE_i its change along motions.

    ``coef`` (n_species, n_contractions), ``weights`` u (n_atoms,), ``motions`` (n_pairs, 3) of the
    vectors; ``out`` (n_mu, n_species, n_species, n_radial) is added to.
    """
    near = empty_neighbors(first, last, starts, moments)
    by_species = np.empty((moments.mixing.shape[1], n_components(moments)))
    by_neighbor = np.empty((len(near.lengths), by_species.shape[1]))
    numbers, tangent = np.empty((n_numbers(moments), 1)), np.empty((n_numbers(moments), 1))
    on_values, on_tangent = np.empty(len(numbers)), np.empty(len(numbers))
    for i in range(first, last):
        block_numbers(
            starts, vectors, centers, species, moments, near, by_species, numbers, i, i + 1
        )
        own = motions[starts[i] : starts[i + 1]]
        _moment_motions(own, near, moments, by_neighbor, tangent)
        contract_tangent(moments, numbers[:, 0], tangent, tangent.shape[1])
        on_values[:] = 0.0
        on_tangent[:] = 0.0
        for k in range(len(moments.scalars)):
            factor = coef[centers[i], k]
            on_values[moments.scalars[k]] += weights[i] * factor
            on_tangent[moments.scalars[k]] += factor
        _pull(moments, numbers, tangent, on_values, on_tangent)
        _on_coefficients(near, centers[i], moments.degrees, on_values, on_tangent, out)
