"""Loops of the rows of sparse Gaussian processes, on plain arrays."""

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import add_product, callee, njit


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def add_run(
    first, last, starts, neighbors, vectors, centers, origin, jacobian, references, products,
    values, slope, radial, forces, virial, strained,
):  # fmt: skip
    """Add −dk(x_i, z_m)/dR to ``forces`` (n_atoms, 3, M) and dk/dε to ``virial`` (6, M).

    The sums are over the centres first … last - 1 of a neighbour list, whose atoms count from
    ``origin``. With the products z_m · J_ij of the Jacobian J (n_pairs, 3, n_features) of their
    pairs, the features x (n_centers, n_features), and the kernel's derivatives with respect to
    s = x · z and to |x|², (n_centers, M),

        dk/dr_ij = slope (z_m · J_ij) + 2 radial (x_i · J_ij),

    which is left in ``products``, an array that is at least as long as the Jacobian. ``references``
    are z (M, n_features). The virial is symmetrised, in Voigt's order.
    """
    n_columns, n_features = references.shape
    n_axes, k = jacobian.shape[1], 0
    add_product(
        n_axes * len(jacobian), n_columns, n_features, jacobian, references, True, 0.0, products,
        n_columns,
    )  # fmt: skip
    for c in range(first, last):
        center, rate, rest, x = centers[c] - origin, slope[c], radial[c], values[c]
        for pair in range(starts[c], starts[c + 1]):
            for axis in range(n_axes):
                g = products[k, axis]
                twice = 2 * _dot(jacobian[k, axis], x)
                pulled, held = forces[neighbors[pair] - origin, axis], forces[center, axis]
                for m in range(n_columns):
                    g[m] = rate[m] * g[m] + twice * rest[m]
                for m in range(n_columns):
                    pulled[m] -= g[m]
                    held[m] += g[m]
            if strained:
                _strain(vectors[pair], products[k], virial)
            k += 1


@callee(cache=True, fastmath=FASTMATH)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@callee(cache=True, fastmath=FASTMATH)
def _strain(vector, g, virial):
    x, y, z = vector[0], vector[1], vector[2]
    gx, gy, gz = g[0], g[1], g[2]
    xx, yy, zz = virial[0], virial[1], virial[2]
    for m in range(len(gx)):
        xx[m] += x * gx[m]
        yy[m] += y * gy[m]
        zz[m] += z * gz[m]
    yz, xz, xy = virial[3], virial[4], virial[5]
    for m in range(len(gx)):
        yz[m] += 0.5 * (y * gz[m] + z * gy[m])
        xz[m] += 0.5 * (x * gz[m] + z * gx[m])
        xy[m] += 0.5 * (x * gy[m] + y * gx[m])
