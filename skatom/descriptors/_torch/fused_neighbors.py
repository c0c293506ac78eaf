"""Neighbours of the atoms of small structures, as kernels of Triton.

Importing this module needs Triton. A program searches for the neighbours of one atom among all
images of the atoms of its structure, first to count and then to write them in their order.
"""

import numpy as np
import torch
import triton
import triton.language as tl

from skatom._device import device_of
from skatom.structures import offsets_from_counts

# Images of atoms that a program looks at together, and all of them in a search.
_TOGETHER, MOST_IMAGES = 64, 2**32
_SIZES = ["n_atoms", "n_structures"]


def search(positions, offsets, lattices, inverses, reach, pbc, cutoff, device, check):
    """Neighbours within a cutoff, in images of a cell up to ``reach`` lattice vectors away.

    Parameters
    ----------
    positions, offsets, lattices, inverses, reach, pbc : ndarray
        Of the atoms, (n_atoms, 3), and of the structures, (n + 1,), (n, 3, 3) and (n, 3).
    cutoff : float
    device : Device
    check : callable
        Called with the number of neighbours of every atom, and with the number of those at the same
        place, before the list is made.

    Returns
    -------
    offsets : ndarray of int, shape (n_atoms + 1,)
    starts, centers, indices, vectors : Tensor
        As in `NeighborTensors`.
    """
    n_atoms, n = len(positions), len(reach)
    owners = np.repeat(np.arange(n), np.diff(offsets))
    # few copies to the card, each of which takes its time
    arrays = [float(cutoff) ** 2, 1e-6], lattices.ravel(), inverses.ravel(), positions.ravel()
    numbers = device.tensor(np.concatenate(arrays))
    integers = device.tensor(np.concatenate([owners, offsets, reach.ravel(), pbc.ravel()]))
    given = numbers[2 + 18 * n :].view(n_atoms, 3)
    wrapped = torch.empty_like(given) if pbc.any() else given
    if pbc.any():
        _wrap[(triton.cdiv(n_atoms, 128),)](
            given, numbers, integers, wrapped, n_atoms, n, BLOCK=128
        )
    found = integers.new_empty((2, n_atoms))
    shape = {"BLOCK": _TOGETHER, "num_warps": 2}
    _count[(n_atoms,)](wrapped, numbers, integers, found, n_atoms, n, **shape)
    starts = found.new_zeros(n_atoms + 1)
    torch.cumsum(found[0], 0, out=starts[1:])
    counts, clashes = device.array(found)
    check(counts, clashes)
    offsets = offsets_from_counts(counts)
    n_pairs = int(offsets[-1])
    vectors = given.new_empty((n_pairs, 3))
    centers, indices = found.new_empty((2, n_pairs))
    if n_pairs:
        _fill[(n_atoms,)](
            wrapped, numbers, integers, starts, centers, indices, vectors, n_atoms, n, **shape
        )
    return offsets, starts, centers, indices, vectors


def collect(starts, indices, vectors, gradients):
    """dE/dR (n_atoms, 3), and what each atom adds to dE/dε (n_atoms, 9), from dE/dr_ij.

    An atom also moves the vectors of its neighbours to it, which are found among their pairs: the
    sums are in one order, and nothing is sorted.
    """
    n_atoms = len(starts) - 1
    on_atoms, strains = gradients.new_empty((n_atoms, 3)), gradients.new_empty((n_atoms, 9))
    _collect[(n_atoms,)](
        starts, indices, vectors, gradients.contiguous(), on_atoms, strains, BLOCK=32, num_warps=1
    )
    return on_atoms, strains


def try_out(device_name):
    """Compile the kernels and search for two pairs; an error where that is not possible."""
    device, pbc = device_of(torch.empty(0, device=device_name)), np.array([[True, False, False]])
    offsets, starts, _, indices, vectors = search(
        np.array([[0.0, 0, 0], [1.0, 0, 0]]), np.array([0, 2]), 5 * np.eye(3)[None],
        np.eye(3)[None] / 5, pbc.astype(int), pbc, 2.0, device,
        lambda *counts: None,
    )  # fmt: skip
    on_atoms, _ = collect(starts, indices, vectors, vectors)
    if offsets.tolist() != [0, 1, 2] or on_atoms[:, 0].tolist() != [-2.0, 2.0]:
        raise ArithmeticError("the kernels of Triton do not find the neighbours")


@triton.jit(do_not_specialize=_SIZES)
def _wrap(positions, numbers, integers, wrapped, n_atoms, n_structures, BLOCK: tl.constexpr):
    """Positions inside of the cells."""
    atom = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = atom < n_atoms
    structure = tl.load(integers + atom, mask=inside, other=0)
    lattice = numbers + 2 + 9 * structure
    inverse = lattice + 9 * n_structures.to(tl.int64)
    periodic = integers + n_atoms + n_structures + 1 + 3 * n_structures.to(tl.int64) + 3 * structure
    x = tl.load(positions + 3 * atom, mask=inside, other=0.0)
    y = tl.load(positions + 3 * atom + 1, mask=inside, other=0.0)
    z = tl.load(positions + 3 * atom + 2, mask=inside, other=0.0)
    new_x, new_y, new_z = x, y, z
    for k in tl.static_range(0, 3):
        fraction = x * tl.load(inverse + k) + y * tl.load(inverse + 3 + k)
        fraction += z * tl.load(inverse + 6 + k)
        shift = tl.where(tl.load(periodic + k) > 0, tl.floor(fraction), 0.0 * fraction)
        new_x -= shift * tl.load(lattice + 3 * k)
        new_y -= shift * tl.load(lattice + 3 * k + 1)
        new_z -= shift * tl.load(lattice + 3 * k + 2)
    tl.store(wrapped + 3 * atom, new_x, mask=inside)
    tl.store(wrapped + 3 * atom + 1, new_y, mask=inside)
    tl.store(wrapped + 3 * atom + 2, new_z, mask=inside)


@triton.jit
def _structure_of(atom, integers, n_atoms, n_structures):
    """The structure of an atom, its first atom, its size, and 2 reach + 1 along each vector."""
    structure = tl.load(integers + atom)
    first = tl.load(integers + n_atoms + structure)
    size = tl.load(integers + n_atoms + structure + 1) - first
    reach = integers + n_atoms + n_structures + 1 + 3 * structure
    a, b, c = tl.load(reach), tl.load(reach + 1), tl.load(reach + 2)
    return structure, first, size.to(tl.int32), a.to(tl.int32), b.to(tl.int32), c.to(tl.int32)


@triton.jit
def _images(start, atom, wrapped, lattice, first, size, a, b, c, BLOCK: tl.constexpr):
    """Atoms of some images, the vectors to them, their squared lengths, and which count."""
    width_y, width_z = 2 * b + 1, 2 * c + 1
    image = start + tl.arange(0, BLOCK)
    inside = image < size * (2 * a + 1) * width_y * width_z
    cell, j = image // size, first + image % size
    z = (cell % width_z - c).to(tl.float64)
    y = (cell // width_z % width_y - b).to(tl.float64)
    x = (cell // (width_z * width_y) - a).to(tl.float64)
    vx = x * tl.load(lattice) + y * tl.load(lattice + 3) + z * tl.load(lattice + 6)
    vy = x * tl.load(lattice + 1) + y * tl.load(lattice + 4) + z * tl.load(lattice + 7)
    vz = x * tl.load(lattice + 2) + y * tl.load(lattice + 5) + z * tl.load(lattice + 8)
    vx = tl.load(wrapped + 3 * j, mask=inside, other=0.0) + (vx - tl.load(wrapped + 3 * atom))
    vy = tl.load(wrapped + 3 * j + 1, mask=inside, other=0.0) + (
        vy - tl.load(wrapped + 3 * atom + 1)
    )
    vz = tl.load(wrapped + 3 * j + 2, mask=inside, other=0.0) + (
        vz - tl.load(wrapped + 3 * atom + 2)
    )
    itself = (j == atom) & (x == 0.0) & (y == 0.0) & (z == 0.0)
    return j, vx, vy, vz, vx * vx + vy * vy + vz * vz, inside & (itself == 0)


@triton.jit(do_not_specialize=_SIZES)
def _count(wrapped, numbers, integers, found, n_atoms, n_structures, BLOCK: tl.constexpr):
    atom = tl.program_id(0).to(tl.int64)
    structure, first, size, a, b, c = _structure_of(atom, integers, n_atoms, n_structures)
    lattice = numbers + 2 + 9 * structure
    limit, coincident = tl.load(numbers), tl.load(numbers + 1)
    count, clash = tl.zeros((BLOCK,), tl.int32), tl.zeros((BLOCK,), tl.int32)
    for start in range(0, size * (2 * a + 1) * (2 * b + 1) * (2 * c + 1), BLOCK):
        _, _, _, _, square, kept = _images(
            start, atom, wrapped, lattice, first, size, a, b, c, BLOCK
        )
        count += (kept & (square < limit)).to(tl.int32)
        clash += (kept & (square < coincident)).to(tl.int32)
    tl.store(found + atom, tl.sum(count, axis=0))
    tl.store(found + n_atoms + atom, tl.sum(clash, axis=0))


@triton.jit(do_not_specialize=_SIZES)
def _fill(
    wrapped, numbers, integers, starts, centers, indices, vectors, n_atoms, n_structures,
    BLOCK: tl.constexpr,
):  # fmt: skip
    atom = tl.program_id(0).to(tl.int64)
    structure, first, size, a, b, c = _structure_of(atom, integers, n_atoms, n_structures)
    lattice, limit, place = numbers + 2 + 9 * structure, tl.load(numbers), tl.load(starts + atom)
    for start in range(0, size * (2 * a + 1) * (2 * b + 1) * (2 * c + 1), BLOCK):
        j, x, y, z, square, kept = _images(
            start, atom, wrapped, lattice, first, size, a, b, c, BLOCK
        )
        kept &= square < limit
        chosen = kept.to(tl.int32)
        pair = place + tl.cumsum(chosen, axis=0) - 1
        tl.store(centers + pair, atom, mask=kept)
        tl.store(indices + pair, j, mask=kept)
        tl.store(vectors + 3 * pair, x, mask=kept)
        tl.store(vectors + 3 * pair + 1, y, mask=kept)
        tl.store(vectors + 3 * pair + 2, z, mask=kept)
        place += tl.sum(chosen, axis=0)


@triton.jit
def _collect(starts, indices, vectors, gradients, on_atoms, strains, BLOCK: tl.constexpr):
    atom = tl.program_id(0).to(tl.int64)
    start, stop = tl.load(starts + atom), tl.load(starts + atom + 1)
    for a in tl.static_range(0, 3):
        moved = tl.zeros((BLOCK,), tl.float64)
        xs, ys, zs = moved, moved, moved
        for first in range(start, stop, BLOCK):
            pair = first + tl.arange(0, BLOCK)
            inside = pair < stop
            g = tl.load(gradients + 3 * pair + a, mask=inside, other=0.0)
            moved -= g
            xs += g * tl.load(vectors + 3 * pair, mask=inside, other=0.0)
            ys += g * tl.load(vectors + 3 * pair + 1, mask=inside, other=0.0)
            zs += g * tl.load(vectors + 3 * pair + 2, mask=inside, other=0.0)
        tl.store(strains + 9 * atom + 3 * a, tl.sum(xs, axis=0))
        tl.store(strains + 9 * atom + 3 * a + 1, tl.sum(ys, axis=0))
        tl.store(strains + 9 * atom + 3 * a + 2, tl.sum(zs, axis=0))
        tl.store(on_atoms + 3 * atom + a, tl.sum(moved, axis=0))
    of_x = tl.zeros((BLOCK,), tl.float64)
    of_y, of_z = of_x, of_x
    for own in range(start, stop):
        x, y = tl.load(vectors + 3 * own), tl.load(vectors + 3 * own + 1)
        z, j = tl.load(vectors + 3 * own + 2), tl.load(indices + own)
        end = tl.load(starts + j + 1)
        for first in range(tl.load(starts + j), end, BLOCK):
            pair = first + tl.arange(0, BLOCK)
            inside = pair < end
            there = inside & (tl.load(indices + pair, mask=inside, other=-1) == atom)
            dx = x + tl.load(vectors + 3 * pair, mask=there, other=1e3)
            dy = y + tl.load(vectors + 3 * pair + 1, mask=there, other=1e3)
            dz = z + tl.load(vectors + 3 * pair + 2, mask=there, other=1e3)
            there &= dx * dx + dy * dy + dz * dz < 1e-8  # closer than two atoms may be
            of_x += tl.load(gradients + 3 * pair, mask=there, other=0.0)
            of_y += tl.load(gradients + 3 * pair + 1, mask=there, other=0.0)
            of_z += tl.load(gradients + 3 * pair + 2, mask=there, other=0.0)
    to = on_atoms + 3 * atom
    tl.store(to, tl.load(to) + tl.sum(of_x, axis=0))
    tl.store(to + 1, tl.load(to + 1) + tl.sum(of_y, axis=0))
    tl.store(to + 2, tl.load(to + 2) + tl.sum(of_z, axis=0))
