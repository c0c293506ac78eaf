"""FCHL19 features of every centre, and the way back.

The Gaussian of the mean of two distances factorises. With y = r - R/2 and ρ_l = R_l - R/2, where
R_l are the shells and R the cutoff of the three-body terms,

    exp(-η (½(r_ij + r_ik) - R_l)²) = a_jl a_kl exp(-½ η y_j y_k)
    a_jl = exp(-¼ η y_j² + η y_j ρ_l - ½ η ρ_l²)

so that a triplet costs one exponential, and the sum over the neighbours k of one j is a product of
a small matrix of weights with a_kl. The weights depend on r_ij, r_ik and d = r_ij · r_ik alone,
by which the derivatives are taken: |r_jk|² = r_ij² + r_ik² - 2d and cos θ = d / (r_ij r_ik).
"""

from typing import NamedTuple

import numpy as np
from numba import njit, prange

from skatom.descriptors._cpu.fastmath import FASTMATH

# Work is handed to threads in this many pieces: enough to even out, few enough to share buffers.
_PIECES = 64

# The sine of an angle has a cusp at 0 and π, where its derivative is set to zero.
_LINEAR = 1e-8


class Basis(NamedTuple):
    """The functions of FCHL19, for compiled code."""

    n_species: int
    cutoff: float
    eta2: float
    decay2: float
    log_shells2: np.ndarray  # (n_r2,)
    inverse_shells2: np.ndarray
    cutoff3: float
    eta3: float
    decay3: float
    shells3: np.ndarray  # ρ_l, (n_r3,)
    gaussians3: np.ndarray  # exp(-½ η ρ_l²)
    harmonics: np.ndarray  # factors of cos mθ and sin mθ for m = 1, 3, ..., (n_fourier,)


class _Environment(NamedTuple):
    """Neighbours of one centre within the cutoff of the three-body terms, sorted by species."""

    first: np.ndarray  # where each species begins, (n_species + 1,)
    pair: np.ndarray  # place among all neighbours of the centre
    near: np.ndarray  # x, y, z, 1/r, y, f_c(r) r^-ν and the slope of its logarithm, (n, 7)
    a: np.ndarray  # a_jl, (n, n_r3)


_INVERSE, _Y, _DECAY, _SLOPE = 3, 4, 5, 6


@njit(cache=True)
def _environment(n, basis):
    """Buffers for up to n neighbours."""
    return _Environment(
        np.empty(basis.n_species + 1, np.int64),
        np.empty(n, np.int64),
        np.empty((n, 7)),
        np.empty((n, len(basis.shells3))),
    )


@njit(cache=True)
def _most_neighbors(starts):
    most = 0
    for i in range(len(starts) - 1):
        most = max(most, starts[i + 1] - starts[i])
    return most


@njit(cache=True)
def _length(vector):
    return np.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])


@njit(cache=True)
def _cutoff(r, cutoff):
    """½(1 + cos πr/R)."""
    return np.cos(0.5 * np.pi * r / cutoff) ** 2


@njit(cache=True)
def _cutoff_slope(r, cutoff):
    """The derivative of its logarithm."""
    return -np.pi / cutoff * np.tan(0.5 * np.pi * r / cutoff)


@njit(cache=True, fastmath=FASTMATH)
def _add(row, total):
    for l in range(len(row)):
        total[l] += row[l]


# --- two bodies -------------------------------------------------------------------------------


@njit(cache=True, fastmath=FASTMATH)
def _log_normals(r, basis, values):
    """Two-body functions of one neighbour; returns μ and s = σ² of the log-normals."""
    log_r = np.log(r)
    s = np.log1p(basis.eta2 / (r * r))
    mu, half = log_r - 0.5 * s, 0.5 / s
    scale = _cutoff(r, basis.cutoff) * np.exp(-basis.decay2 * log_r) / np.sqrt(2 * np.pi * s)
    logs, inverses = basis.log_shells2, basis.inverse_shells2
    for k in range(len(values)):
        z = logs[k] - mu
        values[k] = scale * inverses[k] * np.exp(-half * z * z)
    return mu, s


@njit(cache=True, fastmath=FASTMATH)
def _log_normal_slopes(r, mu, s, basis, slopes):
    """Logarithmic derivatives of the two-body functions."""
    ds = -2 * basis.eta2 / (r * (r * r + basis.eta2))
    constant = _cutoff_slope(r, basis.cutoff) - basis.decay2 / r - 0.5 * ds / s
    linear, square = (1 / r - 0.5 * ds) / s, 0.5 * ds / (s * s)
    logs = basis.log_shells2
    for k in range(len(slopes)):
        z = logs[k] - mu
        slopes[k] = constant + z * (linear + z * square)


# --- three bodies -----------------------------------------------------------------------------


@njit(cache=True, fastmath=FASTMATH)
def _shell_factors(y, basis, a):
    """a_jl of one neighbour: powers of exp(η y dρ), from the middle outwards."""
    rho, gaussians = basis.shells3, basis.gaussians3
    n = len(rho)
    middle = (n - 1) // 2
    begin = np.exp(basis.eta3 * y * (rho[middle] - 0.25 * y))
    step = np.exp(basis.eta3 * y * basis.cutoff3 / n)
    power = begin
    for l in range(middle, n):
        a[l] = power * gaussians[l]
        power *= step
    power, step = begin, 1 / step
    for l in range(middle - 1, -1, -1):
        power *= step
        a[l] = power * gaussians[l]


@njit(cache=True)
def _arrange(vectors, indices, species, basis, env):
    """Fill the environment of one centre."""
    first, near = env.first, env.near
    first[:] = 0
    for k in range(len(vectors)):
        if _length(vectors[k]) < basis.cutoff3:
            first[species[indices[k]]] += 1
    total = 0
    for q in range(basis.n_species + 1):
        count = first[q]
        first[q] = total
        total += count
    for k in range(len(vectors)):
        r = _length(vectors[k])
        if r >= basis.cutoff3:
            continue
        q = species[indices[k]]
        at = first[q]
        first[q] += 1
        env.pair[at] = k
        for axis in range(3):
            near[at, axis] = vectors[k, axis]
        near[at, _INVERSE], near[at, _Y] = 1 / r, r - 0.5 * basis.cutoff3
        near[at, _DECAY] = _cutoff(r, basis.cutoff3) * np.exp(-basis.decay3 * np.log(r))
        near[at, _SLOPE] = _cutoff_slope(r, basis.cutoff3) - basis.decay3 / r
        _shell_factors(near[at, _Y], basis, env.a[at])
    for q in range(basis.n_species, 0, -1):
        first[q] = first[q - 1]
    first[0] = 0


@njit(cache=True, fastmath=FASTMATH)
def _triplet(near, j, k, eta, decay):
    """d, the squares of r_jk, r_ij and r_ik, cos θ, sin θ, the product X of three cosines, and all
    of the weight but (1 + 3X) and the harmonic."""
    x1, y1, z1, x2, y2, z2 = (
        near[j, 0], near[j, 1], near[j, 2], near[k, 0], near[k, 1], near[k, 2]
    )  # fmt: skip
    dx, dy, dz = x2 - x1, y2 - y1, z2 - z1
    d, c2 = x1 * x2 + y1 * y2 + z1 * z2, dx * dx + dy * dy + dz * dz
    # the cross product keeps the digits of a small sine
    nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    square1, square2 = x1 * x1 + y1 * y1 + z1 * z1, x2 * x2 + y2 * y2 + z2 * z2
    inverse = near[j, _INVERSE] * near[k, _INVERSE]
    x = d * (square1 - d) * (square2 - d) * inverse * inverse / c2
    sine = np.sqrt(nx * nx + ny * ny + nz * nz) * inverse
    exponent = -0.5 * (eta * near[j, _Y] * near[k, _Y] + decay * np.log(c2))
    weight = near[j, _DECAY] * near[k, _DECAY] * np.exp(exponent)
    return d, c2, square1, square2, d * inverse, sine, x, weight


@njit(cache=True, fastmath=FASTMATH)
def _triplet_slopes(near, j, k, eta, decay):
    """cos θ and sin θ, and how the gradients of a triplet follow from the sums that stand in it.

    With t = Σ s_c t_c(θ), v = dt / d cos θ and m = Σ ρ_l s_cl t_c(θ), the gradients are
    along r_ij: (p1 t + q1 v + z1 m) r_ij + (p t + q v) r_ik
    along r_ik: (p2 t + q2 v + z2 m) r_ik + (p t + q v) r_ij
    """
    d, c2, square1, square2, cosine, sine, x, weight = _triplet(near, j, k, eta, decay)
    r1, r2, over = near[j, _INVERSE], near[k, _INVERSE], 1 / c2
    inverse, mean = r1 * r2, 0.5 * eta * (near[j, _Y] + near[k, _Y])
    gap1, gap2 = square1 - d, square2 - d  # r_ij · (r_ij - r_ik), and with j and k exchanged
    product = inverse * inverse * over
    x1 = 6 * weight * (d * d * gap2 * product * r1 * r1 - x * over)
    x2 = 6 * weight * (d * d * gap1 * product * r2 * r2 - x * over)
    xd = 3 * weight * ((gap1 * gap2 * over - d) * inverse * inverse + 2 * x * over)
    g = weight * (1 + 3 * x)
    away = decay * g * over
    p1 = x1 - away + g * (near[j, _SLOPE] - mean) * r1
    p2 = x2 - away + g * (near[k, _SLOPE] - mean) * r2
    first = (p1, -g * cosine * r1 * r1, g * eta * r1)
    second = (p2, -g * cosine * r2 * r2, g * eta * r2)
    return cosine, sine, first, second, (xd + away, g * inverse)


@njit(cache=True)
def _roles(p, q, first):
    """The rarer species first: few long sums over neighbours are faster than many short ones."""
    if first[p + 1] - first[p] > first[q + 1] - first[q]:
        return q, p
    return p, q


@njit(cache=True, fastmath=FASTMATH)
def _weights(j, start, stop, near, eta, decay, weights):
    """weights[k] = weight_jk (cos θ, sin θ, cos 3θ, sin 3θ, ...) of the triplets of one j."""
    for k in range(start, stop):
        _, _, _, _, cosine, sine, x, weight = _triplet(near, j, k, eta, decay)
        weight *= 1 + 3 * x
        weights[k, 0] = weight * cosine
        weights[k, 1] = weight * sine
        twice = 2 * (cosine * cosine - sine * sine)
        c, c_before, v, v_before = cosine, cosine, 1.0, -1.0
        for n in range(2, weights.shape[1], 2):
            c, c_before = twice * c - c_before, c
            v, v_before = twice * v - v_before, v
            weights[k, n] = weight * c
            weights[k, n + 1] = weight * sine * v


@njit(cache=True, fastmath=FASTMATH)
def _add_products(j, start, stop, weights, a, block):
    """block[c, l] += a[j, l] Σ_k weights[k, c] a[k, l], two neighbours k at a time."""
    odd = (stop - start) % 2
    for c in range(0, len(block), 2):
        cosines, sines = block[c], block[c + 1]
        if odd:
            cos1, sin1 = weights[start, c], weights[start, c + 1]
            for l in range(len(cosines)):
                product = a[j, l] * a[start, l]
                cosines[l] += cos1 * product
                sines[l] += sin1 * product
        for k in range(start + odd, stop, 2):
            cos1, sin1 = weights[k, c], weights[k, c + 1]
            cos2, sin2 = weights[k + 1, c], weights[k + 1, c + 1]
            for l in range(len(cosines)):
                cosines[l] += a[j, l] * (cos1 * a[k, l] + cos2 * a[k + 1, l])
                sines[l] += a[j, l] * (sin1 * a[k, l] + sin2 * a[k + 1, l])


@njit(cache=True)
def _three_body(env, basis, weights, block, out):
    """Three-body features of one centre, from all pairs j < k of its neighbours."""
    first, near, a, width = env.first, env.near, env.a, len(block)
    stop = 0
    for p in range(basis.n_species):
        for q in range(p, basis.n_species):
            begin, stop = stop, stop + block.size
            few, many = _roles(p, q, first)
            last = first[many + 1]
            block[:] = 0.0
            for j in range(first[few], first[few + 1]):
                start = j + 1 if p == q else first[many]
                if start < last:
                    _weights(j, start, last, near, basis.eta3, basis.decay3, weights)
                    _add_products(j, start, last, weights, a, block)
            for c in range(width):
                for l in range(block.shape[1]):
                    out[begin + l * width + c] = basis.harmonics[c // 2] * block[c, l]


@njit(cache=True, fastmath=FASTMATH)
def _scale_rows(row, rho, block, rows):
    """rows[c] = block[c] row and rows[width + c] = ρ block[c] row."""
    width = len(block)
    for c in range(width):
        source, plain, moment = block[c], rows[c], rows[width + c]
        for l in range(len(row)):
            plain[l] = source[l] * row[l]
            moment[l] = rho[l] * plain[l]


@njit(cache=True, fastmath=FASTMATH)
def _dot_products(start, stop, a, rows, dots):
    """dots[k, c] = Σ_l a[k, l] rows[c, l]."""
    for k in range(start, stop):
        for c in range(0, len(rows), 2):
            one, two = 0.0, 0.0
            for l in range(rows.shape[1]):
                one += a[k, l] * rows[c, l]
                two += a[k, l] * rows[c + 1, l]
            dots[k, c] = one
            dots[k, c + 1] = two


@njit(cache=True, fastmath=FASTMATH)
def _angular_sums(dots, k, cosine, sine):
    """t, v and m of `_triplet_slopes`."""
    width = dots.shape[1] // 2
    t, v, m = 0.0, 0.0, 0.0
    cotangent = 1 / sine if sine > _LINEAR else 0.0
    twice = 2 * (cosine * cosine - sine * sine)
    c, c_before, u, u_before = cosine, cosine, 1.0, -1.0
    for n in range(0, width, 2):
        t += dots[k, n] * c + dots[k, n + 1] * sine * u
        m += dots[k, width + n] * c + dots[k, width + n + 1] * sine * u
        v += (n + 1) * (dots[k, n] * u - dots[k, n + 1] * c * cotangent)
        c, c_before = twice * c - c_before, c
        u, u_before = twice * u - u_before, u
    return t, v, m


@njit(cache=True, fastmath=FASTMATH)
def _pull(j, start, stop, near, eta, decay, dots, gradients):
    """Add the gradients of the triplets of one j."""
    x, y, z = near[j, 0], near[j, 1], near[j, 2]
    gx, gy, gz = 0.0, 0.0, 0.0
    for k in range(start, stop):
        cosine, sine, first, second, cross = _triplet_slopes(near, j, k, eta, decay)
        t, v, m = _angular_sums(dots, k, cosine, sine)
        along1 = first[0] * t + first[1] * v + first[2] * m
        along2 = second[0] * t + second[1] * v + second[2] * m
        other = cross[0] * t + cross[1] * v
        gx += along1 * x + other * near[k, 0]
        gy += along1 * y + other * near[k, 1]
        gz += along1 * z + other * near[k, 2]
        gradients[k, 0] += along2 * near[k, 0] + other * x
        gradients[k, 1] += along2 * near[k, 1] + other * y
        gradients[k, 2] += along2 * near[k, 2] + other * z
    gradients[j, 0] += gx
    gradients[j, 1] += gy
    gradients[j, 2] += gz


@njit(cache=True)
def _three_body_gradients(env, basis, cotangent, buffers, gradients):
    """Add dE/dr_ij of one centre for dE/d three-body features."""
    block, rows, dots, sorted_gradients = buffers
    first, near, a, width = env.first, env.near, env.a, len(block)
    n = first[basis.n_species]
    sorted_gradients[:n] = 0.0
    stop = 0
    for p in range(basis.n_species):
        for q in range(p, basis.n_species):
            begin, stop = stop, stop + block.size
            few, many = _roles(p, q, first)
            last = first[many + 1]
            if first[few] == first[few + 1]:
                continue
            for c in range(width):
                for l in range(block.shape[1]):
                    block[c, l] = basis.harmonics[c // 2] * cotangent[begin + l * width + c]
            for j in range(first[few], first[few + 1]):
                start = j + 1 if p == q else first[many]
                if start < last:
                    _scale_rows(a[j], basis.shells3, block, rows)
                    _dot_products(start, last, a, rows, dots)
                    _pull(j, start, last, near, basis.eta3, basis.decay3, dots, sorted_gradients)
    for j in range(n):
        gradients[env.pair[j]] += sorted_gradients[j]


@njit(cache=True)
def _three_body_jacobian(env, basis, jacobian):
    """Add d three-body features / dr_ij (n_neighbors, 3, n_features) of one centre."""
    first, near, n_harmonics = env.first, env.near, len(basis.harmonics)
    size, stop = 2 * n_harmonics * len(basis.shells3), 0
    for p in range(basis.n_species):
        for q in range(p, basis.n_species):
            begin, stop = stop, stop + size
            for j in range(first[p], first[p + 1]):
                for k in range(max(j + 1, first[q]), first[q + 1]):
                    cosine, sine, one, two, cross = _triplet_slopes(
                        near, j, k, basis.eta3, basis.decay3
                    )
                    of_j, of_k = jacobian[env.pair[j]], jacobian[env.pair[k]]
                    unit = np.zeros((1, 2 * 2 * n_harmonics))
                    for c in range(2 * n_harmonics):
                        unit[:] = 0.0
                        unit[0, c] = unit[0, 2 * n_harmonics + c] = basis.harmonics[c // 2]
                        t, v, m = _angular_sums(unit, 0, cosine, sine)
                        other = cross[0] * t + cross[1] * v
                        for l in range(len(basis.shells3)):
                            at = begin + 2 * n_harmonics * l + c
                            product = env.a[j, l] * env.a[k, l]
                            moment = basis.shells3[l] * m
                            along1 = product * (one[0] * t + one[1] * v + one[2] * moment)
                            along2 = product * (two[0] * t + two[1] * v + two[2] * moment)
                            for axis in range(3):
                                x1, x2 = near[j, axis], near[k, axis]
                                of_j[axis, at] += along1 * x1 + product * other * x2
                                of_k[axis, at] += along2 * x2 + product * other * x1


# --- all centres ------------------------------------------------------------------------------


@njit(cache=True, parallel=True)
def values(starts, indices, vectors, species, basis, out):
    """Features of every atom into ``out`` (n_atoms, n_features)."""
    n_atoms, n_r2 = len(species), len(basis.log_shells2)
    most = _most_neighbors(starts)
    for piece in prange(_PIECES):
        env = _environment(most, basis)
        radial = np.empty(n_r2)
        weights = np.empty((most, 2 * len(basis.harmonics)))
        block = np.empty((2 * len(basis.harmonics), len(basis.shells3)))
        for i in range(piece * n_atoms // _PIECES, (piece + 1) * n_atoms // _PIECES):
            a, b = starts[i], starts[i + 1]
            out[i, : basis.n_species * n_r2] = 0.0
            for k in range(a, b):
                at = species[indices[k]] * n_r2
                _log_normals(_length(vectors[k]), basis, radial)
                _add(radial, out[i, at : at + n_r2])
            _arrange(vectors[a:b], indices[a:b], species, basis, env)
            _three_body(env, basis, weights, block, out[i, basis.n_species * n_r2 :])


@njit(cache=True, parallel=True)
def pair_gradients(starts, indices, vectors, species, basis, cotangent, out):
    """dE/dr_ij (n_pairs, 3) for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    n_atoms, n_r2 = len(species), len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), _most_neighbors(starts)
    for piece in prange(_PIECES):
        env = _environment(most, basis)
        radial, slopes = np.empty(n_r2), np.empty(n_r2)
        block = np.empty((width, len(basis.shells3)))
        rows = np.empty((2 * width, len(basis.shells3)))
        buffers = (block, rows, np.empty((most, 2 * width)), np.empty((most, 3)))
        for i in range(piece * n_atoms // _PIECES, (piece + 1) * n_atoms // _PIECES):
            a, b = starts[i], starts[i + 1]
            row = cotangent[min(i, len(cotangent) - 1)]
            for k in range(a, b):
                r, at = _length(vectors[k]), species[indices[k]] * n_r2
                mu, s = _log_normals(r, basis, radial)
                _log_normal_slopes(r, mu, s, basis, slopes)
                slope = 0.0
                for n in range(n_r2):
                    slope += row[at + n] * radial[n] * slopes[n]
                for axis in range(3):
                    out[k, axis] = slope / r * vectors[k, axis]
            _arrange(vectors[a:b], indices[a:b], species, basis, env)
            _three_body_gradients(env, basis, row[basis.n_species * n_r2 :], buffers, out[a:b])


@njit(cache=True, parallel=True)
def pair_jacobian(starts, indices, vectors, species, basis, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    n_atoms, n_r2 = len(species), len(basis.log_shells2)
    most = _most_neighbors(starts)
    for piece in prange(_PIECES):
        env = _environment(most, basis)
        radial, slopes = np.empty(n_r2), np.empty(n_r2)
        for i in range(piece * n_atoms // _PIECES, (piece + 1) * n_atoms // _PIECES):
            a, b = starts[i], starts[i + 1]
            out[a:b] = 0.0
            for k in range(a, b):
                r, at = _length(vectors[k]), species[indices[k]] * n_r2
                mu, s = _log_normals(r, basis, radial)
                _log_normal_slopes(r, mu, s, basis, slopes)
                for axis in range(3):
                    unit = vectors[k, axis] / r
                    for n in range(n_r2):
                        out[k, axis, at + n] = unit * radial[n] * slopes[n]
            _arrange(vectors[a:b], indices[a:b], species, basis, env)
            _three_body_jacobian(env, basis, out[a:b, :, basis.n_species * n_r2 :])
