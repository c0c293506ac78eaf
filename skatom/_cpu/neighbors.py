"""Linked-cell neighbour search on flat arrays.

Every structure gets a grid of bins along its lattice vectors. A direction that is not periodic gets
a unit vector orthogonal to the periodic ones and a grid over the extent of the atoms. Bins are at
least a cutoff wide where the cell allows; in a smaller cell the search walks over as many images
as the cutoff reaches.
"""

import numpy as np

from skatom._numba import njit
from skatom.parallel import run_in_threads

# Closer than this (Å) two atoms are at the same place, where no descriptor is defined.
_COINCIDENT = 1e-3
# No more bins than this are counted in one direction: any search would be refused before.
_MOST_BINS = 1e6


@njit(cache=True)
def complete_lattice(cell, pbc):
    """The cell with the vectors of non-periodic directions replaced by orthogonal unit vectors."""
    lattice = np.zeros((3, 3))
    for k in range(3):
        if pbc[k]:
            lattice[k] = cell[k]
    for k in range(3):
        if pbc[k]:
            continue
        a, b = lattice[(k + 1) % 3], lattice[(k + 2) % 3]
        normal = np.cross(a, b)
        if not normal.any():  # at most one of the other two is known yet: any orthogonal vector
            known = a if a.any() else b
            axis = np.zeros(3)
            axis[np.argmin(np.abs(known))] = 1.0
            normal = np.cross(known, axis) if known.any() else np.eye(3)[k]
        lattice[k] = normal / np.sqrt((normal**2).sum())
    return lattice


@njit(cache=True)
def _plan_grid(low, high, heights, pbc, n_atoms, cutoff):
    """Bins along each lattice vector and how many of them the cutoff reaches across."""
    lengths = np.where(pbc, heights, (high - low) * heights)
    bins = np.maximum(1, np.minimum(lengths / cutoff, _MOST_BINS).astype(np.int64))
    while bins.prod() > max(8, n_atoms):  # do not walk through empty space
        bins[np.argmax(bins)] //= 2
    reach = np.zeros(3, np.int64)
    for k in range(3):
        if pbc[k]:
            reach[k] = int(min(np.ceil(cutoff * bins[k] / heights[k]), _MOST_BINS))
        elif bins[k] > 1:
            reach[k] = 1
    return bins, reach


def build_grids(positions, offsets, cells, pbc, cutoff):
    """Wrapped positions, lattices, and the atoms of every structure sorted by bin."""
    n_atoms, n = len(positions), len(offsets) - 1
    wrapped, lattices = np.empty((n_atoms, 3)), np.empty((n, 3, 3))
    bins, reach = np.empty((2, n, 3), np.int64)
    place, structure = np.empty((n_atoms, 3), np.int64), np.empty(n_atoms, np.int64)
    run_in_threads(
        _place_atoms, n, positions, offsets, cells, pbc, cutoff, wrapped, lattices, bins, reach,
        place, structure,
    )  # fmt: skip
    first_bin = np.zeros(n + 1, np.int64)
    np.cumsum(bins.prod(axis=1), out=first_bin[1:])
    bin_start, order = _sort_by_bin(place, structure, bins, first_bin)
    return wrapped, lattices, bins, reach, place, structure, first_bin, bin_start, order


@njit(cache=True, nogil=True)
def _place_atoms(
    first, last, positions, offsets, cells, pbc, cutoff, wrapped, lattices, bins, reach, place,
    structure,
):  # fmt: skip
    """The lattices and bins of the structures first … last - 1, and their atoms' places in them."""
    for s in range(first, last):
        start, stop = offsets[s], offsets[s + 1]
        lattices[s] = complete_lattice(cells[s], pbc[s])
        inverse = np.linalg.inv(lattices[s])
        heights = 1 / np.sqrt((inverse**2).sum(axis=0))
        fractions = np.dot(positions[start:stop], inverse)
        low, high = np.zeros(3), np.ones(3)
        for k in range(3):
            if not pbc[s, k]:
                low[k], high[k] = fractions[:, k].min(), fractions[:, k].max()
        bins[s], reach[s] = _plan_grid(low, high, heights, pbc[s], stop - start, cutoff)
        for i in range(start, stop):
            structure[i] = s
            wrapped[i] = positions[i]
            for k in range(3):
                f = fractions[i - start, k]
                if pbc[s, k]:
                    wrapped[i] -= np.floor(f) * lattices[s, k]
                    f -= np.floor(f)
                width = max(high[k] - low[k], 1e-300)
                b = int((f - low[k]) / width * bins[s, k])
                place[i, k] = min(max(b, 0), bins[s, k] - 1)


@njit(cache=True)
def _sort_by_bin(place, structure, bins, first_bin):
    """Counting sort of all atoms by bin; the bins of all structures are numbered through."""
    n_atoms = len(place)
    flat = np.empty(n_atoms, np.int64)
    start = np.zeros(first_bin[-1] + 1, np.int64)
    for i in range(n_atoms):
        s = structure[i]
        flat[i] = first_bin[s] + _flat_bin(place[i, 0], place[i, 1], place[i, 2], bins[s])
        start[flat[i] + 1] += 1
    start = np.cumsum(start)
    fill = start[:-1].copy()
    order = np.empty(n_atoms, np.int64)
    for i in range(n_atoms):
        order[fill[flat[i]]] = i
        fill[flat[i]] += 1
    return start, order


@njit(cache=True, inline="always")
def _flat_bin(x, y, z, bins):
    return (x * bins[1] + y) * bins[2] + z


@njit(cache=True)
def _fold(b, n, periodic):
    """The bin inside the cell and the number of lattice vectors between; -1 where there is none."""
    if 0 <= b < n:
        return b, 0
    if not periodic:
        return -1, 0
    shift = b // n
    return b - shift * n, shift


@njit(cache=True)
def _neighbors_of(i, grids, pbc, cutoff, indices, vectors, write):
    """Count, and if asked write, the neighbours of one atom; also the closest one too close."""
    wrapped, lattices, bins, reach, place, structure, first_bin, bin_start, order = grids
    s = structure[i]
    lattice, n, far = lattices[s], bins[s], reach[s]
    count, clash = 0, -1
    for x in range(place[i, 0] - far[0], place[i, 0] + far[0] + 1):
        bx, sx = _fold(x, n[0], pbc[s, 0])
        if bx < 0:
            continue
        for y in range(place[i, 1] - far[1], place[i, 1] + far[1] + 1):
            by, sy = _fold(y, n[1], pbc[s, 1])
            if by < 0:
                continue
            for z in range(place[i, 2] - far[2], place[i, 2] + far[2] + 1):
                bz, sz = _fold(z, n[2], pbc[s, 2])
                if bz < 0:
                    continue
                ox = sx * lattice[0, 0] + sy * lattice[1, 0] + sz * lattice[2, 0] - wrapped[i, 0]
                oy = sx * lattice[0, 1] + sy * lattice[1, 1] + sz * lattice[2, 1] - wrapped[i, 1]
                oz = sx * lattice[0, 2] + sy * lattice[1, 2] + sz * lattice[2, 2] - wrapped[i, 2]
                here = sx == 0 and sy == 0 and sz == 0
                b = first_bin[s] + _flat_bin(bx, by, bz, n)
                for slot in range(bin_start[b], bin_start[b + 1]):
                    j = order[slot]
                    dx, dy, dz = wrapped[j, 0] + ox, wrapped[j, 1] + oy, wrapped[j, 2] + oz
                    r2 = dx * dx + dy * dy + dz * dz
                    if r2 >= cutoff * cutoff or (here and j == i):
                        continue
                    if r2 < _COINCIDENT**2:
                        clash = j
                    if write:
                        indices[count] = j
                        vectors[count, 0], vectors[count, 1], vectors[count, 2] = dx, dy, dz
                    count += 1
    return count, clash


@njit(cache=True, nogil=True)
def count_neighbors(first, last, grids, pbc, cutoff, counts, clashes):
    """Number of neighbours of the atoms first ... last - 1, and a coincident atom (or -1)."""
    nothing = np.empty(0, np.int64), np.empty((0, 3))
    for i in range(first, last):
        counts[i], clashes[i] = _neighbors_of(i, grids, pbc, cutoff, nothing[0], nothing[1], False)


@njit(cache=True, nogil=True)
def fill_neighbors(first, last, grids, pbc, cutoff, starts, indices, vectors):
    """Neighbour indices and vectors, centre after centre."""
    for i in range(first, last):
        start, stop = starts[i], starts[i + 1]
        _neighbors_of(i, grids, pbc, cutoff, indices[start:stop], vectors[start:stop], True)
