"""Convolution of fields on atoms with the wavelets of one scale, and its transpose.

    f[i, w m, c] = Σ_k ψ_wm(R_k - R_i) x[k, c],   ψ_wm(r) = G_w(r) Y_lm(r / r),

over the neighbours k of i within the reach of the wavelets, and i itself. Both layers are this one
operation: the fields x of the first are the charges, those of the second the moduli of the first.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.descriptors._cpu.point_wavelets import (
    add_scaled,
    dot,
    scratch,
    wavelets,
    wavelets_with_gradients,
)

# A modulus this small beside the largest that its neighbours could give it is rounding: it has no
# direction, hence no gradient.
_ZERO = 1e-12


@callee(cache=True)
def _convolve_one(i, atom, starts, indices, vectors, scale, x, work, psi, f, total):
    """f (n_components, n_fields) of the centre i, which is this atom, and Σ_k x[k]."""
    l_max, recursion, harmonic, _, radial = work
    g, dg = radial[0], radial[1]
    shape = scale.width, scale.cutoff, scale.cutoff_width
    reach, norm, degrees, coefficients = scale.reach, scale.norm, scale.degrees, scale.coefficients
    n = len(total)
    f[:] = 0.0
    total[:] = 0.0
    for k in range(starts[i], starts[i + 1]):
        dx, dy, dz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
        r = np.sqrt(dx * dx + dy * dy + dz * dz)
        if r >= reach:
            continue
        wavelets(
            dx, dy, dz, r, shape, degrees, coefficients, norm, l_max, recursion, harmonic, g, dg,
            psi,
        )  # fmt: skip
        row = x[indices[k], :n]
        add_scaled(1.0, row, total)
        for a in range(len(psi)):
            add_scaled(psi[a], row, f[a])
    if scale.self_term:
        row = x[atom, :n]
        add_scaled(1.0, row, total)
        for w in range(len(degrees)):
            if degrees[w] == 0:
                add_scaled(coefficients[w, 0] * norm[0], row, f[scale.starts[w]])


@callee(cache=True, fastmath=FASTMATH)
def _modulus(f, start, stop, out):
    """√(Σ_m f_m²) of one wavelet."""
    out[:] = 0.0
    for a in range(start, stop):
        row = f[a]
        for c in range(len(out)):
            out[c] += row[c] * row[c]
    for c in range(len(out)):
        out[c] = np.sqrt(out[c])


@callee(cache=True)
def _power(u, q):
    if q == 1.0:
        return u
    if q == 2.0:
        return u * u
    return u**q


@njit(cache=True, nogil=True)
def moduli(first, last, starts, indices, vectors, scale, x, powers, columns, out, u, place):
    """Features U^q of one scale, and the moduli U, of the atoms first … last - 1.

    ``columns`` (n_wavelets, n_fields): where the powers of a modulus begin in the row of ``out``.
    The first n_fields of x (n_atoms, …) are convolved. The moduli go to the columns of u
    (n_atoms, …) from ``place`` on, if u has any.
    """
    n_wavelets, n_fields = columns.shape
    work, psi = scratch(scale), np.empty(scale.starts[-1])
    f, total = np.empty((len(psi), n_fields)), np.empty(n_fields)
    modulus = np.empty(n_fields)
    keep = u.shape[1] > 0
    for i in range(first, last):
        _convolve_one(i, i, starts, indices, vectors, scale, x, work, psi, f, total)
        row = out[i]
        for w in range(n_wavelets):
            _modulus(f, scale.starts[w], scale.starts[w + 1], modulus)
            for c in range(n_fields):
                column = columns[w, c]
                for p in range(len(powers)):
                    row[column + p] = _power(modulus[c], powers[p])
            if keep:
                for c in range(n_fields):
                    u[i, place + w * n_fields + c] = modulus[c]


@njit(cache=True, nogil=True)
def cotangents(
    first, last, starts, indices, vectors, scale, x, powers, columns, cotangent, du, place, g
):
    """dE/df, into g (n_atoms, n_components, n_fields), of the atoms first … last - 1.

    From dE/d features (n_atoms or 1, n_features), and dE/dU in the columns of du (n_atoms, …) from
    ``place`` on, if du has any: where the moduli are convolved again.
    """
    n_fields = columns.shape[1]
    work, psi = scratch(scale), np.empty(scale.starts[-1])
    total, modulus = np.empty(n_fields), np.empty(n_fields)
    used = du.shape[1] > 0
    for i in range(first, last):
        f = g[i]
        _convolve_one(i, i, starts, indices, vectors, scale, x, work, psi, f, total)
        row = cotangent[min(i, len(cotangent) - 1)]
        for w in range(len(scale.degrees)):
            begin, end = scale.starts[w], scale.starts[w + 1]
            _modulus(f, begin, end, modulus)
            for c in range(n_fields):
                u, factor = modulus[c], 0.0
                if u > _ZERO * scale.peaks[w] * total[c]:
                    column = columns[w, c]
                    for p in range(len(powers)):
                        factor += row[column + p] * powers[p] * _power(u, powers[p] - 1)
                    if used:
                        factor += du[i, place + w * n_fields + c]
                    factor /= u
                modulus[c] = factor
            for a in range(begin, end):
                line = f[a]
                for c in range(n_fields):
                    line[c] *= modulus[c]


@njit(cache=True, nogil=True)
def transpose(first, last, starts, indices, vectors, scale, x, cotangent, dx, out):
    """Add dE/dr_ij of the pairs of the atoms first … last - 1 to ``out``, and dE/dx to dx.

    dx (n_atoms, …) is left alone if it has no columns, where x are constants.

    From dE/df (n_atoms, n_components, n_fields). Every pair is there from both ends, so what x[i]
    gave to its neighbours is gathered from them, with ψ_lm(-r) = (-1)^l ψ_lm(r).
    """
    n_fields = cotangent.shape[2]
    l_max, recursion, harmonic, solid, radial = scratch(scale)
    g, dg = radial[0], radial[1]
    shape = scale.width, scale.cutoff, scale.cutoff_width
    reach, norm, degrees, coefficients = scale.reach, scale.norm, scale.degrees, scale.coefficients
    psi, dpsi = np.empty(scale.starts[-1]), np.empty((3, scale.starts[-1]))
    sign = np.empty(len(psi))
    for w in range(len(degrees)):
        sign[scale.starts[w] : scale.starts[w + 1]] = 1.0 - 2.0 * (degrees[w] % 2)
    gathers = dx.shape[1] > 0
    for i in range(first, last):
        own = cotangent[i]
        for k in range(starts[i], starts[i + 1]):
            rx, ry, rz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            r = np.sqrt(rx * rx + ry * ry + rz * rz)
            if r >= reach:
                continue
            wavelets_with_gradients(
                rx, ry, rz, r, shape, degrees, coefficients, norm, l_max, recursion, harmonic,
                solid, g, dg, psi, dpsi,
            )  # fmt: skip
            row, other = x[indices[k], :n_fields], cotangent[indices[k]]
            gx, gy, gz = 0.0, 0.0, 0.0
            for a in range(len(psi)):
                along = dot(own[a], row)
                gx += along * dpsi[0, a]
                gy += along * dpsi[1, a]
                gz += along * dpsi[2, a]
                if gathers:
                    add_scaled(sign[a] * psi[a], other[a], dx[i, :n_fields])
            out[k, 0] += gx
            out[k, 1] += gy
            out[k, 2] += gz
        if gathers and scale.self_term:
            for w in range(len(degrees)):
                if degrees[w] == 0:
                    at_zero = coefficients[w, 0] * norm[0]
                    add_scaled(at_zero, own[scale.starts[w]], dx[i, :n_fields])


@njit(cache=True, nogil=True)
def jacobian(first, last, starts, indices, vectors, scale, atoms, x, powers, columns, out):
    """d U_i^q / dr_ij of one scale, into (n_pairs, 3, n_features), where x are constants.

    ``atoms`` (n_centers,): which atom each centre is.
    """
    n_fields = columns.shape[1]
    work, psi = scratch(scale), np.empty(scale.starts[-1])
    l_max, recursion, harmonic, solid, radial = work
    shape = scale.width, scale.cutoff, scale.cutoff_width
    dpsi = np.empty((3, len(psi)))
    f, total = np.empty((len(psi), n_fields)), np.empty(n_fields)
    modulus = np.empty((len(scale.degrees), n_fields))
    for i in range(first, last):
        _convolve_one(i, atoms[i], starts, indices, vectors, scale, x, work, psi, f, total)
        for w in range(len(modulus)):
            _modulus(f, scale.starts[w], scale.starts[w + 1], modulus[w])
            for c in range(n_fields):
                if modulus[w, c] <= _ZERO * scale.peaks[w] * total[c]:
                    modulus[w, c] = np.inf
        for k in range(starts[i], starts[i + 1]):
            dx, dy, dz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            r = np.sqrt(dx * dx + dy * dy + dz * dz)
            if r < scale.reach:
                wavelets_with_gradients(
                    dx, dy, dz, r, shape, scale.degrees, scale.coefficients, scale.norm, l_max,
                    recursion, harmonic, solid, radial[0], radial[1], psi, dpsi,
                )  # fmt: skip
            else:
                dpsi[:] = 0.0
            for w in range(len(modulus)):
                for c in range(n_fields):
                    column, u = columns[w, c], modulus[w, c]
                    for axis in range(3):
                        slope = 0.0
                        for a in range(scale.starts[w], scale.starts[w + 1]):
                            slope += f[a, c] * dpsi[axis, a]
                        slope *= x[indices[k], c] / u
                        for p in range(len(powers)):
                            power = 0.0 if np.isinf(u) else powers[p] * _power(u, powers[p] - 1)
                            out[k, axis, column + p] = power * slope


@callee(cache=True, fastmath=FASTMATH)
def _add_to_pair(slope, vector, here, there, strain):
    """Add one component of d(sum over atoms)/dr_ij of all features to atoms i and j, and strain."""
    for c in range(len(slope)):
        there[c] += slope[c]
        here[c] -= slope[c]
    for b in range(3):
        row, factor = strain[b], vector[b]
        for c in range(len(slope)):
            row[c] += factor * slope[c]


@callee(cache=True, fastmath=FASTMATH)
def _product(a, b, out):
    for c in range(len(out)):
        out[c] = a[c] * b[c]


@njit(cache=True, nogil=True)
def pooled_jacobian(
    first, last, starts, indices, vectors, scale, weights, x, slopes, powers, columns, gradients,
    strains,
):  # fmt: skip
    """Derivatives of Σ_i weights_i U_i^q of one scale and the fields first … last - 1.

    They are added to ``gradients`` (n_atoms, 3, n_features) and ``strains`` (3, 3, n_features).
    ``slopes`` (n_pairs, 3, …) are dx_i/dr_ij, with no columns where x are constants: a feature
    depends on one field, so what reaches it through x_k is one number for each atom k.
    """
    n_fields, n_powers, n_wavelets = last - first, len(powers), len(scale.degrees)
    n_atoms = len(weights)
    x = np.ascontiguousarray(x[:, first:last])
    work, psi = scratch(scale), np.empty(scale.starts[-1])
    l_max, recursion, harmonic, solid, radial = work
    shape = scale.width, scale.cutoff, scale.cutoff_width
    dpsi = np.empty((3, len(psi)))
    f, total = np.empty((len(psi), n_fields)), np.empty(n_fields)
    modulus, along, inner = np.empty(n_fields), np.empty((3, n_fields)), np.empty(n_fields)
    slope, factors = np.empty(n_fields), np.empty((n_powers, n_wavelets, n_fields))
    on_atoms = np.zeros((n_powers, n_wavelets, n_atoms, 3, n_fields))
    on_strain = np.zeros((n_powers, n_wavelets, 3, 3, n_fields))
    on_x = np.zeros((n_powers, n_wavelets, n_atoms, n_fields))
    for i in range(n_atoms):
        if weights[i] == 0.0:
            continue
        _convolve_one(i, i, starts, indices, vectors, scale, x, work, psi, f, total)
        for w in range(n_wavelets):
            _modulus(f, scale.starts[w], scale.starts[w + 1], modulus)
            for c in range(n_fields):
                u = modulus[c]
                zero = u <= _ZERO * scale.peaks[w] * total[c]
                for p in range(n_powers):
                    power = 0.0 if zero else powers[p] * _power(u, powers[p] - 1) / u
                    factors[p, w, c] = weights[i] * power
            if scale.self_term and scale.degrees[w] == 0:
                at_zero, own = scale.coefficients[w, 0] * scale.norm[0], f[scale.starts[w]]
                for p in range(n_powers):
                    _product(factors[p, w], own, slope)
                    add_scaled(at_zero, slope, on_x[p, w, i])
        for k in range(starts[i], starts[i + 1]):
            dx, dy, dz = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            r = np.sqrt(dx * dx + dy * dy + dz * dz)
            if r >= scale.reach:
                continue
            wavelets_with_gradients(
                dx, dy, dz, r, shape, scale.degrees, scale.coefficients, scale.norm, l_max,
                recursion, harmonic, solid, radial[0], radial[1], psi, dpsi,
            )  # fmt: skip
            j = indices[k]
            for w in range(n_wavelets):
                along[:] = 0.0
                inner[:] = 0.0
                for a in range(scale.starts[w], scale.starts[w + 1]):
                    add_scaled(psi[a], f[a], inner)
                    for axis in range(3):
                        add_scaled(dpsi[axis, a], f[a], along[axis])
                for axis in range(3):
                    _product(along[axis], x[j], along[axis])
                for p in range(n_powers):
                    _product(factors[p, w], inner, slope)
                    add_scaled(1.0, slope, on_x[p, w, j])
                    here, there = on_atoms[p, w, i], on_atoms[p, w, j]
                    for axis in range(3):
                        _product(factors[p, w], along[axis], slope)
                        _add_to_pair(
                            slope, vectors[k], here[axis], there[axis], on_strain[p, w, axis]
                        )
    if slopes.shape[2] > 0:
        for i in range(n_atoms):
            for k in range(starts[i], starts[i + 1]):
                for w in range(n_wavelets):
                    for p in range(n_powers):
                        here, there = on_atoms[p, w, i], on_atoms[p, w, indices[k]]
                        for axis in range(3):
                            _product(on_x[p, w, i], slopes[k, axis, first:last], slope)
                            _add_to_pair(
                                slope, vectors[k], here[axis], there[axis], on_strain[p, w, axis]
                            )
    for w in range(n_wavelets):
        for c in range(n_fields):
            for p in range(n_powers):
                column = columns[w, first + c] + p
                for a in range(3):
                    for i in range(n_atoms):
                        gradients[i, a, column] += on_atoms[p, w, i, a, c]
                    for b in range(3):
                        strains[a, b, column] += on_strain[p, w, a, b, c]
