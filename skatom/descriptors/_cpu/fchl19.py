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
from numba import njit

from skatom._cpu.elementwise import exponential
from skatom._cpu.fastmath import FASTMATH

# Checks for a division by zero would keep loops from being vectorised; no two atoms are at the same
# place, so there is none.
_LOOPS = {"cache": True, "fastmath": FASTMATH, "error_model": "numpy"}

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
def _length(vectors, k):
    x, y, z = vectors[k, 0], vectors[k, 1], vectors[k, 2]
    return np.sqrt(x * x + y * y + z * z)


@njit(**_LOOPS)
def _cutoff(r, cutoff):
    """½(1 + cos πr/R)."""
    return np.cos(0.5 * np.pi * r / cutoff) ** 2


@njit(**_LOOPS)
def _cutoff_slope(r, cutoff):
    """The derivative of its logarithm."""
    return -np.pi / cutoff * np.tan(0.5 * np.pi * r / cutoff)


# --- two bodies -------------------------------------------------------------------------------


class _Radial(NamedTuple):
    """Two-body functions of all neighbours of one centre."""

    values: np.ndarray  # (n, n_r2)
    mu: np.ndarray  # mean and variance of the log-normals
    s: np.ndarray
    powers: np.ndarray  # scratch of exponentials


@njit(cache=True)
def _radial(n, basis):
    """Buffers for up to n neighbours."""
    n_r2 = len(basis.log_shells2)
    return _Radial(np.empty((n, n_r2)), np.empty(n), np.empty(n), np.empty(n * n_r2, np.int64))


@njit(**_LOOPS)
def _log_normals(vectors, basis, radial):
    """Fill the two-body functions of one centre. One long array of exponents is the fastest."""
    values, mu, s = radial.values, radial.mu, radial.s
    logs, inverses = basis.log_shells2, basis.inverse_shells2
    for k in range(len(vectors)):
        r = _length(vectors, k)
        s[k] = np.log1p(basis.eta2 / (r * r))
        mu[k] = np.log(r) - 0.5 * s[k]
        half = -0.5 / s[k]
        for l in range(len(logs)):
            z = logs[l] - mu[k]
            values[k, l] = half * z * z
    n = len(vectors) * len(logs)
    exponential(values.ravel()[:n], radial.powers[:n], values.ravel()[:n])
    for k in range(len(vectors)):
        decay = np.exp(-basis.decay2 * (mu[k] + 0.5 * s[k]))
        scale = decay * _cutoff(_length(vectors, k), basis.cutoff) / np.sqrt(2 * np.pi * s[k])
        for l in range(len(logs)):
            values[k, l] *= scale * inverses[l]


@njit(**_LOOPS)
def _log_normal_slopes(r, s, basis):
    """Derivatives of the logarithms of two-body functions, as a polynomial in ln R_k - μ."""
    ds = -2 * basis.eta2 / (r * (r * r + basis.eta2))
    constant = _cutoff_slope(r, basis.cutoff) - basis.decay2 / r - 0.5 * ds / s
    return constant, (1 / r - 0.5 * ds) / s, 0.5 * ds / (s * s)


@njit(**_LOOPS)
def _two_body(vectors, species, basis, radial, out):
    """Two-body features of one centre."""
    values = radial.values
    _log_normals(vectors, basis, radial)
    out[:] = 0.0
    for k in range(len(vectors)):
        at = species[k] * values.shape[1]
        for l in range(values.shape[1]):
            out[at + l] += values[k, l]


@njit(**_LOOPS)
def _two_body_gradients(vectors, species, basis, cotangent, radial, gradients):
    """dE/dr_ij of one centre for dE/d two-body features."""
    values, mu, s, logs = radial.values, radial.mu, radial.s, basis.log_shells2
    _log_normals(vectors, basis, radial)
    for k in range(len(vectors)):
        r, at = _length(vectors, k), species[k] * len(logs)
        constant, linear, square = _log_normal_slopes(r, s[k], basis)
        along, mean = 0.0, mu[k]
        for l in range(len(logs)):
            z = logs[l] - mean
            along += cotangent[at + l] * values[k, l] * (constant + z * (linear + z * square))
        for axis in range(3):
            gradients[k, axis] = along / r * vectors[k, axis]


@njit(cache=True)
def _two_body_jacobian(vectors, species, basis, radial, jacobian):
    """d two-body features / dr_ij of one centre, (n_neighbors, 3, n_features) of zeros."""
    _log_normals(vectors, basis, radial)
    for k in range(len(vectors)):
        r, at = _length(vectors, k), species[k] * len(basis.log_shells2)
        constant, linear, square = _log_normal_slopes(r, radial.s[k], basis)
        for l in range(len(basis.log_shells2)):
            z = basis.log_shells2[l] - radial.mu[k]
            slope = radial.values[k, l] * (constant + z * (linear + z * square)) / r
            for axis in range(3):
                jacobian[k, axis, at + l] = slope * vectors[k, axis]


# --- three bodies -----------------------------------------------------------------------------


@njit(**_LOOPS)
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


@njit(**_LOOPS)
def _arrange(vectors, species, basis, env):
    """Fill the environment of one centre."""
    first, near = env.first, env.near
    first[:] = 0
    for k in range(len(vectors)):
        if _length(vectors, k) < basis.cutoff3:
            first[species[k]] += 1
    total = 0
    for q in range(basis.n_species + 1):
        count = first[q]
        first[q] = total
        total += count
    for k in range(len(vectors)):
        r = _length(vectors, k)
        if r >= basis.cutoff3:
            continue
        q = species[k]
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


# Loops that call the exponential are kept apart from loops of plain arithmetic, which the calls
# would make several times slower.


@njit(cache=True)
def _neighbor(near, j):
    """A row of ``near``, out of reach of what a loop writes: only then is the loop vectorised."""
    return near[j, 0], near[j, 1], near[j, 2], near[j, 3], near[j, 4], near[j, 5], near[j, 6]


@njit(**_LOOPS)
def _reach(j, start, stop, near, eta, decay, reach):
    """reach[k]: all of the weight of a triplet but (1 + 3X) and the harmonics."""
    one = _neighbor(near, j)
    for k in range(start, stop):
        dx, dy, dz = near[k, 0] - one[0], near[k, 1] - one[1], near[k, 2] - one[2]
        log_square = np.log(dx * dx + dy * dy + dz * dz)
        exponent = -0.5 * (eta * one[_Y] * near[k, _Y] + decay * log_square)
        reach[k] = one[_DECAY] * near[k, _DECAY] * np.exp(exponent)


@njit(**_LOOPS)
def _triplet(one, near, k):
    """d, 1 / r_jk², r_ij² - d, r_ik² - d, cos θ, sin θ and the product X of the three cosines.

    The cosines at j and k are (r_ij² - d) / (r_ij r_jk) and (r_ik² - d) / (r_ik r_jk).
    """
    x1, y1, z1 = one[0], one[1], one[2]
    x2, y2, z2 = near[k, 0], near[k, 1], near[k, 2]
    dx, dy, dz = x2 - x1, y2 - y1, z2 - z1
    over, d = 1 / (dx * dx + dy * dy + dz * dz), x1 * x2 + y1 * y2 + z1 * z2
    # the cross product keeps the digits of a small sine
    nx, ny, nz = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
    gap1, gap2 = x1 * x1 + y1 * y1 + z1 * z1 - d, x2 * x2 + y2 * y2 + z2 * z2 - d
    inverse = one[_INVERSE] * near[k, _INVERSE]
    sine = np.sqrt(nx * nx + ny * ny + nz * nz) * inverse
    return d, over, gap1, gap2, d * inverse, sine, d * gap1 * gap2 * inverse * inverse * over


@njit(**_LOOPS)
def _triplet_slopes(one, near, k, eta, decay, reach):
    """How the gradients of a triplet follow from the sums that stand in it.

    With t = Σ s_c t_c(θ), v = dt / d cos θ and m = Σ ρ_l s_cl t_c(θ), the gradients are
    along r_ij: (p1 t + q1 v + z1 m) r_ij + (p t + q v) r_ik
    along r_ik: (p2 t + q2 v + z2 m) r_ik + (p t + q v) r_ij
    """
    d, over, gap1, gap2, cosine, _, x = _triplet(one, near, k)
    r1, r2 = one[_INVERSE], near[k, _INVERSE]
    inverse, mean = r1 * r2, 0.5 * eta * (one[_Y] + near[k, _Y])
    g, away = reach * (1 + 3 * x), decay * over * reach * (1 + 3 * x)
    # derivatives of X, as far as it depends on r_ij², r_ik² and d
    double, half = 2 * d * d * inverse * inverse * over, 2 * x * over
    x1, x2 = double * gap2 * r1 * r1 - half, double * gap1 * r2 * r2 - half
    xd = (gap1 * gap2 * over - d) * inverse * inverse + half
    p1 = 3 * reach * x1 - away + g * r1 * (one[_SLOPE] - mean)
    p2 = 3 * reach * x2 - away + g * r2 * (near[k, _SLOPE] - mean)
    first = (p1, -g * cosine * r1 * r1, g * eta * r1)
    second = (p2, -g * cosine * r2 * r2, g * eta * r2)
    return first, second, (3 * reach * xd + away, g * inverse)


@njit(cache=True)
def _roles(p, q, first):
    """The rarer species first: few long sums over neighbours are faster than many short ones."""
    if first[p + 1] - first[p] > first[q + 1] - first[q]:
        return q, p
    return p, q


@njit(**_LOOPS)
def _weights(j, start, stop, near, reach, weights):
    """weights[k] = weight_jk (cos θ, sin θ, cos 3θ, sin 3θ, ...) of the triplets of one j."""
    one = _neighbor(near, j)
    for k in range(start, stop):
        _, _, _, _, cosine, sine, x = _triplet(one, near, k)
        weight = reach[k] * (1 + 3 * x)
        weights[k, 0] = weight * cosine
        weights[k, 1] = weight * sine
    if weights.shape[1] == 2:
        return
    for k in range(start, stop):
        _, _, _, _, cosine, sine, _ = _triplet(one, near, k)
        twice = 2 * (cosine * cosine - sine * sine)
        c, s = weights[k, 0], weights[k, 1]
        c_before, s_before = c, -s
        for n in range(2, weights.shape[1], 2):
            c, c_before = twice * c - c_before, c
            s, s_before = twice * s - s_before, s
            weights[k, n] = c
            weights[k, n + 1] = s


@njit(**_LOOPS)
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
def _three_body(env, basis, buffers, out):
    """Three-body features of one centre, from all pairs j < k of its neighbours."""
    reach, weights, block = buffers
    first, near, a, width = env.first, env.near, env.a, len(block)
    eta, decay = basis.eta3, basis.decay3
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
                    _reach(j, start, last, near, eta, decay, reach)
                    _weights(j, start, last, near, reach, weights)
                    _add_products(j, start, last, weights, a, block)
            for c in range(width):
                for l in range(block.shape[1]):
                    out[begin + l * width + c] = basis.harmonics[c // 2] * block[c, l]


@njit(**_LOOPS)
def _scale_rows(row, rho, block, rows):
    """rows[c] = block[c] row and rows[width + c] = ρ block[c] row."""
    width = len(block)
    for c in range(width):
        source, plain, moment = block[c], rows[c], rows[width + c]
        for l in range(len(row)):
            plain[l] = source[l] * row[l]
            moment[l] = rho[l] * plain[l]


@njit(**_LOOPS)
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


@njit(**_LOOPS)
def _angular_sums(j, start, stop, near, dots, sums):
    """sums[k] = t, v and m of `_triplet_slopes` from dots[k] = s_c and Σ_l ρ_l s_cl."""
    one = _neighbor(near, j)
    width = dots.shape[1] // 2
    for k in range(start, stop):
        _, _, _, _, cosine, sine, _ = _triplet(one, near, k)
        cotangent = cosine / sine if sine > _LINEAR else 0.0
        sums[k, 0] = dots[k, 0] * cosine + dots[k, 1] * sine
        sums[k, 1] = dots[k, 0] - dots[k, 1] * cotangent
        sums[k, 2] = dots[k, width] * cosine + dots[k, width + 1] * sine
    if width == 2:
        return
    for k in range(start, stop):
        _, _, _, _, cosine, sine, _ = _triplet(one, near, k)
        inverse = 1 / sine if sine > _LINEAR else 0.0
        twice = 2 * (cosine * cosine - sine * sine)
        c, c_before, u, u_before = cosine, cosine, 1.0, -1.0
        for n in range(2, width, 2):
            c, c_before = twice * c - c_before, c
            u, u_before = twice * u - u_before, u
            sums[k, 0] += dots[k, n] * c + dots[k, n + 1] * sine * u
            sums[k, 1] += (n + 1) * (dots[k, n] * u - dots[k, n + 1] * c * inverse)
            sums[k, 2] += dots[k, width + n] * c + dots[k, width + n + 1] * sine * u


@njit(**_LOOPS)
def _pull(j, start, stop, near, eta, decay, reach, sums, gradients):
    """Add the gradients of the triplets of one j."""
    one = _neighbor(near, j)
    x, y, z = one[0], one[1], one[2]
    gx, gy, gz = 0.0, 0.0, 0.0
    for k in range(start, stop):
        first, second, cross = _triplet_slopes(one, near, k, eta, decay, reach[k])
        t, v, m = sums[k, 0], sums[k, 1], sums[k, 2]
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
    reach, block, rows, dots, sums, sorted_gradients = buffers
    eta, decay = basis.eta3, basis.decay3
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
                    _reach(j, start, last, near, eta, decay, reach)
                    _angular_sums(j, start, last, near, dots, sums)
                    _pull(j, start, last, near, eta, decay, reach, sums, sorted_gradients)
    for j in range(n):
        gradients[env.pair[j]] += sorted_gradients[j]


@njit(cache=True)
def _three_body_jacobian(env, basis, buffers, jacobian):
    """Add d three-body features / dr_ij (n_neighbors, 3, n_features) of one centre."""
    reach, dots, sums = buffers
    first, near, width = env.first, env.near, 2 * len(basis.harmonics)
    size, stop = width * len(basis.shells3), 0
    for p in range(basis.n_species):
        for q in range(p, basis.n_species):
            begin, stop = stop, stop + size
            for j in range(first[p], first[p + 1]):
                start, last = max(j + 1, first[q]), first[q + 1]
                _reach(j, start, last, near, basis.eta3, basis.decay3, reach)
                one = _neighbor(near, j)
                for k in range(start, last):
                    along_j, along_k, cross = _triplet_slopes(
                        one, near, k, basis.eta3, basis.decay3, reach[k]
                    )
                    of_j, of_k = jacobian[env.pair[j]], jacobian[env.pair[k]]
                    for c in range(width):
                        dots[k] = 0.0
                        dots[k, c] = dots[k, width + c] = basis.harmonics[c // 2]
                        _angular_sums(j, k, k + 1, near, dots, sums)
                        t, v, m = sums[k, 0], sums[k, 1], sums[k, 2]
                        other = cross[0] * t + cross[1] * v
                        for l in range(len(basis.shells3)):
                            at = begin + width * l + c
                            product = env.a[j, l] * env.a[k, l]
                            moment = basis.shells3[l] * m
                            along1 = product * (
                                along_j[0] * t + along_j[1] * v + along_j[2] * moment
                            )
                            along2 = product * (
                                along_k[0] * t + along_k[1] * v + along_k[2] * moment
                            )
                            for axis in range(3):
                                x1, x2 = near[j, axis], near[k, axis]
                                of_j[axis, at] += along1 * x1 + product * other * x2
                                of_k[axis, at] += along2 * x2 + product * other * x1


# --- all centres ------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def values(first, last, starts, vectors, centers, species, basis, out):
    """Features of the atoms first … last - 1 into ``out`` (n_atoms, n_features)."""
    n_two = basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), _most_neighbors(starts[first : last + 1])
    radial, env = _radial(most, basis), _environment(most, basis)
    block = np.empty((width, len(basis.shells3)))
    buffers = (np.empty(most), np.empty((most, width)), block)
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        _two_body(vectors[a:b], species[a:b], basis, radial, out[i, :n_two])
        _arrange(vectors[a:b], species[a:b], basis, env)
        _three_body(env, basis, buffers, out[i, n_two:])


@njit(cache=True, nogil=True)
def pair_gradients(first, last, starts, vectors, centers, species, basis, cotangent, out):
    """dE/dr_ij, into (n_pairs, 3), for dE/d features, (n_atoms, n_features) or (1, n_features)."""
    n_two = basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), _most_neighbors(starts[first : last + 1])
    radial, env = _radial(most, basis), _environment(most, basis)
    block = np.empty((width, len(basis.shells3)))
    rows = np.empty((2 * width, len(basis.shells3)))
    dots, sums = np.empty((most, 2 * width)), np.empty((most, 3))
    buffers = (np.empty(most), block, rows, dots, sums, np.empty((most, 3)))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        row = cotangent[min(i, len(cotangent) - 1)]
        _two_body_gradients(vectors[a:b], species[a:b], basis, row, radial, out[a:b])
        _arrange(vectors[a:b], species[a:b], basis, env)
        _three_body_gradients(env, basis, row[n_two:], buffers, out[a:b])


@njit(cache=True, nogil=True)
def pair_jacobian(first, last, starts, vectors, centers, species, basis, out):
    """d features_i / dr_ij: (n_pairs, 3, n_features)."""
    n_two = basis.n_species * len(basis.log_shells2)
    width, most = 2 * len(basis.harmonics), _most_neighbors(starts[first : last + 1])
    radial, env = _radial(most, basis), _environment(most, basis)
    buffers = (np.empty(most), np.empty((most, 2 * width)), np.empty((most, 3)))
    for i in range(first, last):
        a, b = starts[i], starts[i + 1]
        out[a:b] = 0.0
        _two_body_jacobian(vectors[a:b], species[a:b], basis, radial, out[a:b])
        _arrange(vectors[a:b], species[a:b], basis, env)
        _three_body_jacobian(env, basis, buffers, out[a:b, :, n_two:])
