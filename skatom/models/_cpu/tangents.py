"""Loops of the variances of sparse Gaussian processes, on plain arrays.

A tangent is how the features of one centre change along a direction: (n_axes, n_features) for the
axes of one target, such as the three coordinates of an atom.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import njit


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def by_neighbors(centers, offsets, slots, own, jacobian, tangents):
    """Sort J_ij (n_pairs, 3, n_features) of some centres by the atoms j that move.

    ``slots`` (all pairs) is the row of each pair in ``tangents``, ``own`` (all atoms) that of a
    centre, which moves against all of its neighbours; -1: not wanted.
    """
    n = 0
    for i in centers:
        if own[i] >= 0:
            tangents[own[i]] = 0.0
        for k in range(offsets[i], offsets[i + 1]):
            for axis in range(3):
                row = jacobian[n, axis]
                if slots[k] >= 0:
                    there = tangents[slots[k], axis]
                    for f in range(len(row)):
                        there[f] = row[f]
                if own[i] >= 0:
                    here = tangents[own[i], axis]
                    for f in range(len(row)):
                        here[f] -= row[f]
            n += 1


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def by_strains(starts, vectors, jacobian, tangents):
    """Σ_j sym(r_ij ⊗ J_ij) of each centre into ``tangents`` (n_centers, 6, n_features)."""
    for c in range(len(starts) - 1):
        tangents[c] = 0.0
        xx, yy, zz = tangents[c, 0], tangents[c, 1], tangents[c, 2]
        yz, xz, xy = tangents[c, 3], tangents[c, 4], tangents[c, 5]
        for k in range(starts[c], starts[c + 1]):
            x, y, z = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            gx, gy, gz = jacobian[k, 0], jacobian[k, 1], jacobian[k, 2]
            for f in range(len(gx)):
                xx[f] += x * gx[f]
                yy[f] += y * gy[f]
                zz[f] += z * gz[f]
                yz[f] += 0.5 * (y * gz[f] + z * gy[f])
                xz[f] += 0.5 * (x * gz[f] + z * gx[f])
                xy[f] += 0.5 * (x * gy[f] + y * gx[f])


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def add_priors(starts, places, tangents, along, s, ss, su, sv, uv, out):
    """Add Σ_ij t_iᵀ (∂x ∂yᵀ k)(x_i, x_j) t_j of each target to ``out`` (n_targets, n_axes).

    The rows of a target t, starts[t] … starts[t + 1] - 1, are its centres, the row ``places`` of
    the derivatives ``s`` … ``uv`` (n_centers, n_centers) of the kernel. ``along``
    (n_rows, n_axes, n_centers) is t_i · x_j.
    """
    n_axes, n_features = tangents.shape[1:]
    for t in range(len(starts) - 1):
        first, n = starts[t], starts[t + 1] - starts[t]
        if n == 0:
            continue
        mine = tangents[first : first + n].reshape(n, n_axes * n_features)
        weights = np.empty((n, n))
        for i in range(n):
            row = s[places[first + i]]
            for j in range(n):
                weights[i, j] = row[places[first + j]]
        moved = np.dot(weights, mine).reshape(n, n_axes, n_features)
        for axis in range(n_axes):
            total = 0.0
            for i in range(n):
                one, two = tangents[first + i, axis], moved[i, axis]
                for f in range(n_features):
                    total += one[f] * two[f]
            for i in range(n):
                p, row = places[first + i], along[first + i, axis]
                own = 2 * row[p]
                for j in range(n):
                    q, other = places[first + j], along[first + j, axis]
                    total += (ss[p, q] * row[q] + own * su[p, q]) * other[p]
                    total += 2 * other[q] * (sv[p, q] * row[q] + own * uv[p, q])
            out[t, axis] += total


@njit(cache=True, nogil=True, fastmath=FASTMATH)
def add_rows(starts, places, products, own, slope, radial, out):
    """Add Σ_i t_i · ∂k(x_i, z_m)/∂x of each target to ``out`` (n_targets, n_axes, M).

    ``products`` (n_rows, n_axes, M) is t_i · z_m, ``own`` (n_rows, n_axes) is t_i · x_i, and
    ``slope``, ``radial`` (n_centers, M) are the kernel's derivatives with respect to x · z and
    |x|².
    """
    for t in range(len(starts) - 1):
        for i in range(starts[t], starts[t + 1]):
            rate, rest = slope[places[i]], radial[places[i]]
            for axis in range(products.shape[1]):
                row, target = products[i, axis], out[t, axis]
                twice = 2 * own[i, axis]
                for m in range(len(row)):
                    target[m] += rate[m] * row[m] + twice * rest[m]
