"""The neighbours of one centre that form triplets, and the weights of these."""

from typing import NamedTuple

import numpy as np

from skatom._numba import callee
from skatom.descriptors._cpu.fchl19.functions import LOOPS, cutoff_slope, cutoff_value, length

# The sine of an angle has a cusp at 0 and π, where its derivative is set to zero.
LINEAR = 1e-8

# Columns of SortedNeighbors.near.
INVERSE, Y, DECAY, SLOPE = 3, 4, 5, 6

# Loops that call the exponential are kept apart from loops of plain arithmetic, which the calls
# would make several times slower.


class SortedNeighbors(NamedTuple):
    """Neighbours of one centre within the cutoff of the three-body terms, sorted by species."""

    first: np.ndarray  # where each species begins, (n_species + 1,)
    pair: np.ndarray  # place among all neighbours of the centre
    near: np.ndarray  # x, y, z, 1/r, y, f_c(r) r^-ν and the slope of its logarithm, (n, 7)
    a: np.ndarray  # a_jl, (n, n_r3)


@callee(**LOOPS)
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


@callee(**LOOPS)
def arrange(vectors, species, basis, env):
    """Fill the environment of one centre."""
    first, near = env.first, env.near
    first[:] = 0
    for k in range(len(vectors)):
        if length(vectors, k) < basis.cutoff3:
            first[species[k]] += 1
    total = 0
    for q in range(basis.n_species + 1):
        count = first[q]
        first[q] = total
        total += count
    for k in range(len(vectors)):
        r = length(vectors, k)
        if r >= basis.cutoff3:
            continue
        q = species[k]
        at = first[q]
        first[q] += 1
        env.pair[at] = k
        for axis in range(3):
            near[at, axis] = vectors[k, axis]
        near[at, INVERSE], near[at, Y] = 1 / r, r - 0.5 * basis.cutoff3
        near[at, DECAY] = cutoff_value(r, basis.cutoff3) * np.exp(-basis.decay3 * np.log(r))
        near[at, SLOPE] = cutoff_slope(r, basis.cutoff3) - basis.decay3 / r
        _shell_factors(near[at, Y], basis, env.a[at])
    for q in range(basis.n_species, 0, -1):
        first[q] = first[q - 1]
    first[0] = 0


@callee(cache=True)
def neighbor(near, j):
    """A row of ``near``, out of reach of what a loop writes: only then is the loop vectorised."""
    return near[j, 0], near[j, 1], near[j, 2], near[j, 3], near[j, 4], near[j, 5], near[j, 6]


@callee(**LOOPS)
def reach_of(j, start, stop, near, eta, decay, reach):
    """reach[k]: all of the weight of a triplet but (1 + 3X) and the harmonics."""
    one = neighbor(near, j)
    for k in range(start, stop):
        dx, dy, dz = near[k, 0] - one[0], near[k, 1] - one[1], near[k, 2] - one[2]
        log_square = np.log(dx * dx + dy * dy + dz * dz)
        exponent = -0.5 * (eta * one[Y] * near[k, Y] + decay * log_square)
        reach[k] = one[DECAY] * near[k, DECAY] * np.exp(exponent)


@callee(**LOOPS)
def triplet(one, near, k):
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
    inverse = one[INVERSE] * near[k, INVERSE]
    sine = np.sqrt(nx * nx + ny * ny + nz * nz) * inverse
    return d, over, gap1, gap2, d * inverse, sine, d * gap1 * gap2 * inverse * inverse * over


@callee(**LOOPS)
def triplet_slopes(one, near, k, eta, decay, reach):
    """How the gradients of a triplet follow from the sums that stand in it.

    With t = Σ s_c t_c(θ), v = dt / d cos θ and m = Σ ρ_l s_cl t_c(θ), the gradients are
    along r_ij: (p1 t + q1 v + z1 m) r_ij + (p t + q v) r_ik
    along r_ik: (p2 t + q2 v + z2 m) r_ik + (p t + q v) r_ij
    """
    d, over, gap1, gap2, cosine, _, x = triplet(one, near, k)
    r1, r2 = one[INVERSE], near[k, INVERSE]
    inverse, mean = r1 * r2, 0.5 * eta * (one[Y] + near[k, Y])
    g, away = reach * (1 + 3 * x), decay * over * reach * (1 + 3 * x)
    # derivatives of X, as far as it depends on r_ij², r_ik² and d
    double, half = 2 * d * d * inverse * inverse * over, 2 * x * over
    x1, x2 = double * gap2 * r1 * r1 - half, double * gap1 * r2 * r2 - half
    xd = (gap1 * gap2 * over - d) * inverse * inverse + half
    p1 = 3 * reach * x1 - away + g * r1 * (one[SLOPE] - mean)
    p2 = 3 * reach * x2 - away + g * r2 * (near[k, SLOPE] - mean)
    first = (p1, -g * cosine * r1 * r1, g * eta * r1)
    second = (p2, -g * cosine * r2 * r2, g * eta * r2)
    return first, second, (3 * reach * xd + away, g * inverse)


@callee(cache=True)
def roles(p, q, first):
    """The rarer species first: few long sums over neighbours are faster than many short ones."""
    if first[p + 1] - first[p] > first[q + 1] - first[q]:
        return q, p
    return p, q


@callee(**LOOPS)
def angular_sums(j, start, stop, near, dots, sums):
    """sums[k] = t, v and m of `triplet_slopes` from dots[k] = s_c and Σ_l ρ_l s_cl."""
    one = neighbor(near, j)
    width = dots.shape[1] // 2
    for k in range(start, stop):
        _, _, _, _, cosine, sine, _ = triplet(one, near, k)
        cotangent = cosine / sine if sine > LINEAR else 0.0
        sums[k, 0] = dots[k, 0] * cosine + dots[k, 1] * sine
        sums[k, 1] = dots[k, 0] - dots[k, 1] * cotangent
        sums[k, 2] = dots[k, width] * cosine + dots[k, width + 1] * sine
    if width == 2:
        return
    for k in range(start, stop):
        _, _, _, _, cosine, sine, _ = triplet(one, near, k)
        inverse = 1 / sine if sine > LINEAR else 0.0
        twice = 2 * (cosine * cosine - sine * sine)
        c, c_before, u, u_before = cosine, cosine, 1.0, -1.0
        for n in range(2, width, 2):
            c, c_before = twice * c - c_before, c
            u, u_before = twice * u - u_before, u
            sums[k, 0] += dots[k, n] * c + dots[k, n + 1] * sine * u
            sums[k, 1] += (n + 1) * (dots[k, n] * u - dots[k, n + 1] * c * inverse)
            sums[k, 2] += dots[k, width + n] * c + dots[k, width + n + 1] * sine * u
