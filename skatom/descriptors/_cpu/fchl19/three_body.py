"""Shells and harmonics of the pairs of neighbours of one centre, and the way back."""

from skatom._numba import callee
from skatom.descriptors._cpu.fchl19.functions import LOOPS
from skatom.descriptors._cpu.fchl19.triplets import (
    angular_sums,
    neighbor,
    reach_of,
    roles,
    triplet,
    triplet_slopes,
)


@callee(**LOOPS)
def _weights(j, start, stop, near, reach, weights):
    """weights[k] = weight_jk (cos θ, sin θ, cos 3θ, sin 3θ, ...) of the triplets of one j."""
    one = neighbor(near, j)
    for k in range(start, stop):
        _, _, _, _, cosine, sine, x = triplet(one, near, k)
        weight = reach[k] * (1 + 3 * x)
        weights[k, 0] = weight * cosine
        weights[k, 1] = weight * sine
    if weights.shape[1] == 2:
        return
    for k in range(start, stop):
        _, _, _, _, cosine, sine, _ = triplet(one, near, k)
        twice = 2 * (cosine * cosine - sine * sine)
        c, s = weights[k, 0], weights[k, 1]
        c_before, s_before = c, -s
        for n in range(2, weights.shape[1], 2):
            c, c_before = twice * c - c_before, c
            s, s_before = twice * s - s_before, s
            weights[k, n] = c
            weights[k, n + 1] = s


@callee(**LOOPS)
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


@callee(cache=True)
def three_body(env, basis, buffers, out):
    """Three-body features of one centre, from all pairs j < k of its neighbours."""
    reach, weights, block = buffers
    first, near, a, width = env.first, env.near, env.a, len(block)
    eta, decay = basis.eta3, basis.decay3
    stop = 0
    for p in range(basis.n_species):
        for q in range(p, basis.n_species):
            begin, stop = stop, stop + block.size
            few, many = roles(p, q, first)
            last = first[many + 1]
            block[:] = 0.0
            for j in range(first[few], first[few + 1]):
                start = j + 1 if p == q else first[many]
                if start < last:
                    reach_of(j, start, last, near, eta, decay, reach)
                    _weights(j, start, last, near, reach, weights)
                    _add_products(j, start, last, weights, a, block)
            for c in range(width):
                for l in range(block.shape[1]):
                    out[begin + l * width + c] = basis.harmonics[c // 2] * block[c, l]


@callee(**LOOPS)
def _scale_rows(row, rho, block, rows):
    """rows[c] = block[c] row and rows[width + c] = ρ block[c] row."""
    width = len(block)
    for c in range(width):
        source, plain, moment = block[c], rows[c], rows[width + c]
        for l in range(len(row)):
            plain[l] = source[l] * row[l]
            moment[l] = rho[l] * plain[l]


@callee(**LOOPS)
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


@callee(**LOOPS)
def _pull(j, start, stop, near, eta, decay, reach, sums, gradients):
    """Add the gradients of the triplets of one j."""
    one = neighbor(near, j)
    x, y, z = one[0], one[1], one[2]
    gx, gy, gz = 0.0, 0.0, 0.0
    for k in range(start, stop):
        first, second, cross = triplet_slopes(one, near, k, eta, decay, reach[k])
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


@callee(cache=True)
def three_body_gradients(env, basis, cotangent, buffers, gradients):
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
            few, many = roles(p, q, first)
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
                    reach_of(j, start, last, near, eta, decay, reach)
                    angular_sums(j, start, last, near, dots, sums)
                    _pull(j, start, last, near, eta, decay, reach, sums, sorted_gradients)
    for j in range(n):
        for axis in range(3):
            gradients[env.pair[j], axis] += sorted_gradients[j, axis]


@callee(cache=True)
def three_body_jacobian(env, basis, buffers, jacobian):
    """Add d three-body features / dr_ij (n_neighbors, 3, n_features) of one centre."""
    reach, dots, sums = buffers
    first, near, width = env.first, env.near, 2 * len(basis.harmonics)
    size, stop = width * len(basis.shells3), 0
    for p in range(basis.n_species):
        for q in range(p, basis.n_species):
            begin, stop = stop, stop + size
            for j in range(first[p], first[p + 1]):
                start, last = max(j + 1, first[q]), first[q + 1]
                reach_of(j, start, last, near, basis.eta3, basis.decay3, reach)
                one = neighbor(near, j)
                for k in range(start, last):
                    along_j, along_k, cross = triplet_slopes(
                        one, near, k, basis.eta3, basis.decay3, reach[k]
                    )
                    of_j, of_k = jacobian[env.pair[j]], jacobian[env.pair[k]]
                    for c in range(width):
                        for column in range(2 * width):
                            dots[k, column] = 0.0
                        dots[k, c] = dots[k, width + c] = basis.harmonics[c // 2]
                        angular_sums(j, k, k + 1, near, dots, sums)
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
