"""Linked-cell neighbour search on flat arrays.

Every structure gets a grid of bins along its lattice vectors. A direction that is not periodic gets
a unit vector orthogonal to the periodic ones and a grid over the extent of the atoms. Bins are at
least a cutoff wide where the cell allows; in a smaller cell the search walks over as many images
as the cutoff reaches.
"""

import numpy as np

from skatom._cpu.fastmath import FASTMATH
from skatom._numba import callee, njit
from skatom.parallel import run_in_threads

# Closer than this (Å) two atoms are at the same place, where no descriptor is defined.
_COINCIDENT = 1e-3
_TOUCHING = _COINCIDENT**2
# Of a place within a bin.
_ROUNDING = 1e-9
# No more bins than this are counted in one direction: any search would be refused before.
_MOST_BINS = 1e6
# Atoms that are sorted into bins by one thread at least, 20 ns each.
_SMALLEST = 4096


@njit(cache=True)
def complete_lattice(cell, pbc, lattice):
    """The cell with the vectors of non-periodic directions replaced by orthogonal unit vectors."""
    for k in range(3):
        for x in range(3):
            lattice[k, x] = cell[k, x] if pbc[k] else 0.0
    for k in range(3):
        if not pbc[k]:
            _add_normal(k, lattice)


@callee(cache=True)
def _add_normal(k, lattice):
    """Write a unit vector orthogonal to the other two, which may be zero, to row k."""
    i, j = (k + 1) % 3, (k + 2) % 3
    square = 0.0
    for x in range(3):
        y, z = (x + 1) % 3, (x + 2) % 3
        lattice[k, x] = lattice[i, y] * lattice[j, z] - lattice[i, z] * lattice[j, y]
        square += lattice[k, x] * lattice[k, x]
    if square == 0.0:  # at most one of the other two is known yet: any orthogonal vector
        for x in range(3):
            square += lattice[i, x] * lattice[i, x]
        known = i if square > 0.0 else j
        least = 0
        for x in range(3):
            if abs(lattice[known, x]) < abs(lattice[known, least]):
                least = x
        # the known vector × the axis along which it is shortest
        y, z = (least + 1) % 3, (least + 2) % 3
        lattice[k, y], lattice[k, z] = lattice[known, z], -lattice[known, y]
        square = lattice[k, y] * lattice[k, y] + lattice[k, z] * lattice[k, z]
        if square == 0.0:
            lattice[k, k] = square = 1.0
    for x in range(3):
        lattice[k, x] /= np.sqrt(square)


@callee(cache=True)
def _invert(lattice, inverse):
    """The inverse of a 3 by 3 matrix, by cofactors."""
    determinant = 0.0
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        for x in range(3):
            y, z = (x + 1) % 3, (x + 2) % 3
            inverse[x, k] = lattice[i, y] * lattice[j, z] - lattice[i, z] * lattice[j, y]
    for x in range(3):
        determinant += lattice[0, x] * inverse[x, 0]
    for k in range(3):
        for x in range(3):
            inverse[x, k] /= determinant


@callee(cache=True)
def _plan_grid(s, low, high, inverse, pbc, n_atoms, cutoff, bins, reach, span):
    """Bins along each lattice vector, how many of them the cutoff touches, and is long."""
    for k in range(3):
        length = _height(inverse, k) * (1.0 if pbc[s, k] else high[k] - low[k])
        n = min(length / cutoff, _MOST_BINS)
        bins[s, k] = int(n) if n > 1.0 else 1
    while bins[s, 0] * bins[s, 1] * bins[s, 2] > max(8, n_atoms):  # do not walk through space
        most = 0 if bins[s, 0] >= bins[s, 1] else 1
        most = most if bins[s, most] >= bins[s, 2] else 2
        bins[s, most] //= 2
    for k in range(3):
        if pbc[s, k]:
            span[s, k] = min(cutoff * bins[s, k] / _height(inverse, k), _MOST_BINS)
            reach[s, k] = int(np.ceil(span[s, k]))
        else:
            reach[s, k] = 1 if bins[s, k] > 1 else 0
            span[s, k] = reach[s, k]


@callee(cache=True)
def _height(inverse, k):
    """Between the two sides of the cell that lattice vector k joins."""
    x, y, z = inverse[0, k], inverse[1, k], inverse[2, k]
    return 1 / np.sqrt(x * x + y * y + z * z)


def build_grids(positions, offsets, cells, pbc, cutoff):
    """Wrapped positions, lattices, and the atoms of every structure sorted by bin."""
    n_atoms, n = len(positions), len(offsets) - 1
    wrapped, lattices = np.empty((n_atoms, 3)), np.empty((n, 3, 3))
    within, span = np.empty((n_atoms, 3)), np.empty((n, 3))
    bins, reach = np.empty((2, n, 3), np.int64)
    place, structure = np.empty((n_atoms, 3), np.int64), np.empty(n_atoms, np.int64)
    run_in_threads(
        _place_atoms, n, positions, offsets, cells, pbc, cutoff, wrapped, lattices, bins, reach,
        span, place, within, structure, smallest=max(1, _SMALLEST * n // max(1, n_atoms)),
    )  # fmt: skip
    first_bin = np.zeros(n + 1, np.int64)
    np.cumsum(bins.prod(axis=1), out=first_bin[1:])
    bin_start, order = _sort_by_bin(place, structure, bins, first_bin)
    # by bin, a row of each coordinate: what is searched lies side by side
    rows = np.ascontiguousarray(wrapped[order].T)
    return (
        wrapped, lattices, bins, reach, span, place, within, structure, first_bin, bin_start,
        order, rows,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _place_atoms(
    first, last, positions, offsets, cells, pbc, cutoff, wrapped, lattices, bins, reach, span,
    place, within, structure,
):  # fmt: skip
    """The lattices and bins of the structures first … last - 1, and their atoms' places in them."""
    inverse, low, high = np.empty((3, 3)), np.empty(3), np.empty(3)
    for s in range(first, last):
        start, stop = offsets[s], offsets[s + 1]
        lattice = lattices[s]
        complete_lattice(cells[s], pbc[s], lattice)
        _invert(lattice, inverse)
        for k in range(3):
            low[k], high[k] = (0.0, 1.0) if pbc[s, k] else (np.inf, -np.inf)
        for i in range(start, stop):
            structure[i] = s
            for k in range(3):
                f = 0.0
                for x in range(3):
                    f += positions[i, x] * inverse[x, k]
                wrapped[i, k] = f  # for now
                if not pbc[s, k]:
                    low[k] = f if f < low[k] else low[k]
                    high[k] = f if f > high[k] else high[k]
        _plan_grid(s, low, high, inverse, pbc, stop - start, cutoff, bins, reach, span)
        for i in range(start, stop):
            sx = np.floor(wrapped[i, 0]) if pbc[s, 0] else 0.0
            sy = np.floor(wrapped[i, 1]) if pbc[s, 1] else 0.0
            sz = np.floor(wrapped[i, 2]) if pbc[s, 2] else 0.0
            for k in range(3):
                f = wrapped[i, k] - (sx if k == 0 else sy if k == 1 else sz)
                width = high[k] - low[k]
                f = (f - low[k]) / (width if width > 1e-300 else 1e-300) * bins[s, k]
                b = int(f)
                if b > bins[s, k] - 1:
                    b = bins[s, k] - 1
                place[i, k] = b if b > 0 else 0
                within[i, k] = f - place[i, k]
            for x in range(3):
                here = positions[i, x] - sx * lattice[0, x]
                wrapped[i, x] = here - sy * lattice[1, x] - sz * lattice[2, x]


@njit(cache=True)
def _sort_by_bin(place, structure, bins, first_bin):
    """Counting sort of all atoms by bin; the bins of all structures are numbered through."""
    n_atoms, n_bins = len(place), first_bin[-1]
    flat, order = np.empty(n_atoms, np.int64), np.empty(n_atoms, np.int64)
    start, fill = np.empty(n_bins + 1, np.int64), np.empty(n_bins + 1, np.int64)
    for b in range(n_bins + 1):
        start[b] = 0
    for i in range(n_atoms):
        s = structure[i]
        flat[i] = first_bin[s] + _flat_bin(place[i, 0], place[i, 1], place[i, 2], bins[s])
        start[flat[i] + 1] += 1
    for b in range(n_bins):
        start[b + 1] += start[b]
        fill[b] = start[b]
    for i in range(n_atoms):
        order[fill[flat[i]]] = i
        fill[flat[i]] += 1
    return start, order


@callee(cache=True)
def _flat_bin(x, y, z, bins):
    return (x * bins[1] + y) * bins[2] + z


@callee(cache=True)
def _fold(b, n, periodic):
    """The bin inside the cell and the number of lattice vectors between; -1 where there is none."""
    if 0 <= b < n:
        return b, 0
    if not periodic:
        return -1, 0
    shift = b // n
    return b - shift * n, shift


@callee(cache=True, fastmath=FASTMATH)
def _measure(rows, first, last, ox, oy, oz, limit, squares):
    """Squares of the distances from a point; how many are below the limit, and next to zero."""
    near, touching = 0.0, 0.0
    x, y, z = rows[0, first:last], rows[1, first:last], rows[2, first:last]
    for k in range(len(x)):
        dx, dy, dz = x[k] + ox, y[k] + oy, z[k] + oz
        square = dx * dx + dy * dy + dz * dz
        squares[k] = square
        near += 1.0 if square < limit else 0.0
        touching += 1.0 if square < _TOUCHING else 0.0
    return int(near), int(touching)


@callee(cache=True)
def _below(squares, n, limit, found):
    """Places of the numbers below the limit, without a jump at each."""
    n_found = 0
    for k in range(n):
        found[n_found] = k
        n_found += 1 if squares[k] < limit else 0
    return n_found


@njit(cache=True, nogil=True)
def find_neighbors(first, last, grids, pbc, cutoff, starts, counts, clashes, indices, vectors):
    """Number of neighbours of the atoms first … last - 1, and an atom at the same place (or -1).

    If there are ``starts``, the neighbours' indices and vectors are written from there on.
    """
    (
        wrapped, lattices, all_bins, reach, span, place, within, structure, first_bin, bin_start,
        order, rows,
    ) = grids  # fmt: skip
    most, limit = _fullest(bin_start), cutoff * cutoff
    squares, found = np.empty(most), np.empty(most + 1, np.int64)
    back, ahead = np.empty(3, np.int64), np.empty(3, np.int64)
    for i in range(first, last):
        s = structure[i]
        lattice, n = lattices[s], all_bins[s]
        for k in range(3):  # bins behind and ahead that the cutoff touches
            back[k] = min(reach[s, k], int(np.ceil(span[s, k] - within[i, k] + _ROUNDING)))
            ahead[k] = min(reach[s, k], int(span[s, k] + within[i, k] + _ROUNDING))
        own = first_bin[s] + _flat_bin(place[i, 0], place[i, 1], place[i, 2], n)
        count, clash, at = 0, -1, -1
        if len(starts) > 0:
            at = starts[i]
        for x in range(place[i, 0] - back[0], place[i, 0] + ahead[0] + 1):
            bx, sx = _fold(x, n[0], pbc[s, 0])
            if bx < 0:
                continue
            for y in range(place[i, 1] - back[1], place[i, 1] + ahead[1] + 1):
                by, sy = _fold(y, n[1], pbc[s, 1])
                if by < 0:
                    continue
                for z in range(place[i, 2] - back[2], place[i, 2] + ahead[2] + 1):
                    bz, sz = _fold(z, n[2], pbc[s, 2])
                    if bz < 0:
                        continue
                    ox = sx * lattice[0, 0] + sy * lattice[1, 0] + sz * lattice[2, 0]
                    oy = sx * lattice[0, 1] + sy * lattice[1, 1] + sz * lattice[2, 1]
                    oz = sx * lattice[0, 2] + sy * lattice[1, 2] + sz * lattice[2, 2]
                    ox, oy, oz = ox - wrapped[i, 0], oy - wrapped[i, 1], oz - wrapped[i, 2]
                    b = first_bin[s] + _flat_bin(bx, by, bz, n)
                    a, e = bin_start[b], bin_start[b + 1]
                    near, touching = _measure(rows, a, e, ox, oy, oz, limit, squares)
                    here = b == own and sx == 0 and sy == 0 and sz == 0  # with the atom itself
                    count += near - here
                    if touching > here:
                        clash = _other(squares, order, a, e, i if here else -1)
                    if at < 0 or near == here:
                        continue
                    for f in range(_below(squares, e - a, limit, found)):
                        k = a + found[f]
                        if not (here and order[k] == i):
                            indices[at] = order[k]
                            vectors[at, 0] = rows[0, k] + ox
                            vectors[at, 1] = rows[1, k] + oy
                            vectors[at, 2] = rows[2, k] + oz
                            at += 1
        counts[i], clashes[i] = count, clash


@callee(cache=True)
def _other(squares, order, first, last, i):
    """The last atom next to the point that is not i."""
    found = -1
    for k in range(first, last):
        if squares[k - first] < _TOUCHING and order[k] != i:
            found = order[k]
    return found


@callee(cache=True)
def _fullest(bin_start):
    """The most atoms of a bin."""
    most = 0
    for b in range(len(bin_start) - 1):
        most = max(most, bin_start[b + 1] - bin_start[b])
    return most
