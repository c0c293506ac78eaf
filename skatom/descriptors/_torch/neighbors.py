"""Neighbours of the atoms of many structures, found on a device.

The search is that of the compiled loops: atoms are sorted into bins at least a cutoff wide where
the cell allows, and an atom meets those in the bins around its own. All atoms are searched at once,
by long arrays: first the bins around each atom, then the atoms in these bins.
"""

from typing import NamedTuple

import numpy as np
import torch

from skatom.descriptors._torch.kernels import fused_kernels
from skatom.neighbors import NeighborList, check_density, check_reach, neighbor_list
from skatom.structures import groups_by_size, offsets_from_counts

# Bins, and atoms in them, that are looked at together, on the CPU and on a card.
_TOGETHER = {False: 2**20, True: 2**23}
# Closer than the root of this (Å²) two atoms are at the same place; and memory of a pair, and of
# the intermediate results for it.
_COINCIDENT, _PAIR_BYTES = 1e-6, 120


class NeighborTensors:
    """The pairs of all atoms of a batch, sorted by centre, as tensors.

    It stands for a `NeighborList`, which `on_host` gives.

    Attributes
    ----------
    offsets, atoms : ndarray of int
        Where the pairs of each centre begin, and the centres, as in `NeighborList`.
    starts : Tensor
        The offsets on the device.
    centers, indices, vectors : Tensor
        Centre i, neighbour j and vector r_ij of each pair.
    cutoff : float
    """

    def __init__(self, offsets, starts, centers, indices, vectors, cutoff):
        self.offsets, self.starts, self.cutoff = offsets, starts, cutoff
        self.atoms = np.arange(len(offsets) - 1)
        self.centers, self.indices, self.vectors = centers, indices, vectors
        self._on_host = None

    @classmethod
    def of(cls, pairs, device):
        """The tensors of a `NeighborList` of all atoms."""
        arrays = pairs.offsets, pairs.centers, pairs.indices, pairs.vectors
        tensors = map(device.tensor, arrays)
        made = cls(pairs.offsets, *tensors, pairs.cutoff)
        made._on_host = pairs
        return made

    def __len__(self):
        return len(self.indices)

    @property
    def n_bytes(self):
        tensors = (self.centers, self.indices, self.vectors)
        return self.offsets.nbytes + self.atoms.nbytes + sum(x.nbytes for x in tensors)

    def on_host(self):
        """The same as a `NeighborList`."""
        if self._on_host is None:
            indices, vectors = (x.cpu().numpy() for x in (self.indices, self.vectors))
            self._on_host = NeighborList(self.offsets, indices, vectors, self.cutoff)
        return self._on_host

    def take(self, centers):
        """The `NeighborList` of some of the centres."""
        return self.on_host().take(centers)

    def of_structures(self, offsets, key):
        """The list of some of the structures, on the device if they follow each other."""
        rows = np.atleast_1d(np.arange(len(offsets) - 1)[key])
        if len(rows) == 0 or (np.diff(rows) != 1).any():
            return self.on_host().of_structures(offsets, key)
        start, stop = offsets[rows[0]], offsets[rows[-1] + 1]
        edges = self.offsets[start : stop + 1]
        pairs = slice(edges[0], edges[-1])
        return NeighborTensors(
            edges - edges[0], self.starts[start : stop + 1] - edges[0],
            self.centers[pairs] - start, self.indices[pairs] - start, self.vectors[pairs],
            self.cutoff,
        )  # fmt: skip


def find_neighbors(structures, cutoff, device):
    """The pairs within a cutoff radius, in the same order each time.

    It is the order of `neighbor_list`, or, by kernels of Triton, image by image of the cell.

    Parameters
    ----------
    structures : Structures
    cutoff : float
    device : Device

    Returns
    -------
    NeighborTensors
    """
    cutoff = float(cutoff)
    if structures.known_neighbors is not None:
        return NeighborTensors.of(neighbor_list(structures, cutoff), device)
    kernels = fused_kernels("neighbors", device.name)
    lattices, inverses = _lattices(structures.cells, structures.pbc)
    if kernels is not None:
        reach = np.ceil(cutoff * np.linalg.norm(inverses, axis=1)).astype(np.int64)
        reach = np.where(structures.pbc, reach, 0)
        check_reach(structures, cutoff, reach)
        images = (2.0 * reach + 1.0).prod(axis=1) * structures.n_atoms
        if np.dot(images, structures.n_atoms) <= kernels.MOST_IMAGES and images.max() < 2**31:
            given = structures.positions, structures.offsets, lattices, inverses, reach

            def check(counts, clashes):
                _check(structures, cutoff, counts, clashes, device)

            found = kernels.search(*given, structures.pbc, cutoff, device, check)
            return NeighborTensors(*found, cutoff)
    return _from_bins(structures, lattices, inverses, cutoff, device)


def _check(structures, cutoff, counts, clashes, device):
    """Errors where atoms clash or are too dense, or their pairs would not fit in memory."""
    if clashes.any():
        neighbor_list(structures, cutoff)  # its error names the atoms at the same place
    check_density(structures, counts, cutoff)
    device.check_memory(
        _PAIR_BYTES * counts.sum(),
        f"the list of pairs of neighbours within {cutoff:g} Å",
        "lower the cutoff or take fewer structures at a time",
    )


def _from_bins(structures, lattices, inverses, cutoff, device):
    """Neighbours in structures of any size, see the top of this module."""
    grid, per_atom = _grid(structures, lattices, inverses, cutoff, device)
    parts = []
    for some in groups_by_size(offsets_from_counts(per_atom), _TOGETHER[device.is_card]):
        bins = _bins_around(grid, some, per_atom[some], device)
        parts += [_pairs(grid, bins, part, cutoff) for part in bins.pieces(device)]
    centers, indices, vectors, clashes = (torch.cat(same) for same in zip(*parts, strict=True))
    counts = torch.bincount(centers, minlength=len(structures.numbers))
    starts = torch.cat([counts[:1] * 0, torch.cumsum(counts, 0)])
    found = device.array(torch.cat([counts, clashes.any()[None].long()]))
    _check(structures, cutoff, found[:-1], found[-1:], device)
    offsets = offsets_from_counts(found[:-1])
    return NeighborTensors(offsets, starts, centers, indices, vectors, cutoff)


class AtomBins(NamedTuple):
    """Atoms sorted into bins, the bins of all structures numbered through, as tensors."""

    wrapped: torch.Tensor  # (n_atoms, 3), positions inside of the cells
    place: torch.Tensor  # (n_atoms, 3), the bin of each atom
    structure: torch.Tensor  # (n_atoms,)
    order: torch.Tensor  # (n_atoms,), the atoms sorted by bin
    starts: torch.Tensor  # (n_bins + 1,), where those of a bin begin
    lattices: torch.Tensor  # (n, 3, 3)
    bins: torch.Tensor  # (n, 3), the numbers of bins
    reach: torch.Tensor  # (n, 3), and how many of them the cutoff reaches across
    first: torch.Tensor  # (n,), the first bin of each structure
    periodic: torch.Tensor  # (n, 3)


def _grid(structures, lattices, inverses, cutoff, device):
    """The `AtomBins` of a batch, and the number of bins around each atom, an array of numpy."""
    counts, pbc = structures.n_atoms, structures.pbc
    positions = device.tensor(structures.positions)
    structure = device.tensor(np.repeat(np.arange(len(counts)), counts))
    periodic = device.tensor(pbc)
    fractions = (positions[:, :, None] * device.tensor(inverses)[structure]).sum(1)
    low, high = _extent(fractions, structure, pbc, device)
    heights = 1 / np.linalg.norm(inverses, axis=1)
    bins, reach = _plan(heights, np.where(pbc, 1.0, high - low), pbc, counts, cutoff)
    check_reach(structures, cutoff, reach)
    first = offsets_from_counts(bins.prod(axis=1))
    shifts = torch.where(periodic[structure], torch.floor(fractions), 0.0)
    extent = device.tensor(np.stack([low, np.maximum(high - low, 1e-300), bins], 1))[structure]
    place = (fractions - shifts - extent[:, 0]) / extent[:, 1] * extent[:, 2]
    place = place.long().clip(torch.zeros_like(structure)[:, None], extent[:, 2].long() - 1)
    lattices, shape, begin = map(device.tensor, (lattices, bins, first))
    flat = begin[structure] + _flat(place, shape[structure])
    starts = torch.zeros(int(first[-1]) + 1, dtype=torch.long, device=flat.device)
    starts[1:] = torch.cumsum(torch.bincount(flat, minlength=int(first[-1])), 0)
    wrapped = positions - (shifts[:, :, None] * lattices[structure]).sum(1)
    grid = AtomBins(
        wrapped, place, structure, torch.argsort(flat, stable=True), starts, lattices, shape,
        device.tensor(reach), begin, periodic,
    )  # fmt: skip
    return grid, np.repeat((2 * reach + 1).prod(axis=1), counts)


def _lattices(cells, pbc):
    """Cells with unit vectors orthogonal to the others where they are not periodic; inverses."""
    lattices = np.tile([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], (len(cells), 1, 1))
    inverses = lattices.transpose(0, 2, 1).copy()
    some = np.flatnonzero(pbc.any(axis=1))
    if len(some):
        lattices[some] = _completed(np.where(pbc[some, :, None], cells[some], 0.0), pbc[some])
        inverses[some] = _inverted(lattices[some])
    return lattices, inverses


def _completed(lattices, pbc):
    """Lattices of one or two vectors with unit vectors orthogonal to these."""
    for k in range(3):
        missing = np.flatnonzero(~pbc[:, k])
        one, other = lattices[missing, (k + 1) % 3], lattices[missing, (k + 2) % 3]
        normal = np.cross(one, other)
        free = np.flatnonzero(~normal.any(axis=1))  # where one of the others is not known yet
        known = np.where(one[free].any(axis=1)[:, None], one[free], other[free])
        normal[free] = np.cross(known, np.eye(3)[np.abs(known).argmin(axis=1)])
        lattices[missing, k] = normal / np.linalg.norm(normal, axis=1)[:, None]
    return lattices


def _inverted(lattices):
    """The inverses of the lattices, by cofactors."""
    a, b, c = lattices.transpose(1, 0, 2)
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], 2)
    return cofactors / np.einsum("sx,sx->s", a, cofactors[:, :, 0])[:, None, None]


def _extent(fractions, structure, pbc, device):
    """The smallest and largest coordinates along each lattice vector, 0 and 1 if periodic."""
    low, high = np.zeros(pbc.shape), np.ones(pbc.shape)
    if not pbc.all():
        found = fractions.new_zeros((2, *pbc.shape))
        place = structure[:, None].expand_as(fractions)
        for ends, how in zip(found, ("amin", "amax"), strict=True):
            ends.scatter_reduce_(0, place, fractions, how, include_self=False)
        of_atoms = device.array(found)
        low, high = np.where(pbc, low, of_atoms[0]), np.where(pbc, high, of_atoms[1])
    return low, high


def _plan(heights, extents, pbc, counts, cutoff):
    """The numbers of bins, and how many of them the cutoff reaches across."""
    lengths = heights * extents
    bins = np.maximum(1, np.minimum(lengths / cutoff, 1e6).astype(np.int64))
    while True:  # do not walk through empty space
        many = np.flatnonzero(bins.prod(axis=1) > np.maximum(8, counts))
        if not len(many):
            break
        bins[many, bins[many].argmax(axis=1)] //= 2
    reach = np.ceil(np.minimum(cutoff * bins / heights, 1e6)).astype(np.int64)
    return bins, np.where(pbc, reach, bins > 1)


def _flat(place, bins):
    return (place[:, 0] * bins[:, 1] + place[:, 1]) * bins[:, 2] + place[:, 2]


class BinsAround(NamedTuple):
    """The bins around some consecutive atoms, one row for each, sorted by atom."""

    first: int  # the first atom
    rows: np.ndarray  # (n_atoms + 1,), where the rows of each atom begin
    centers: torch.Tensor
    offsets: torch.Tensor  # from the centre to the lattice point of the bin's periodic image
    inside: torch.Tensor  # whether the bin is no periodic image
    starts: torch.Tensor  # where its atoms begin
    counts: torch.Tensor  # and their number, 0 where there is no such bin

    def pieces(self, device):
        """Slices of the rows whose atoms can be looked at together."""
        ends = device.array(torch.cumsum(self.counts, 0))[self.rows[1:] - 1]
        groups = groups_by_size(np.append(0, ends), _TOGETHER[device.is_card])
        return [slice(self.rows[group.start], self.rows[group.stop]) for group in groups]


def _bins_around(grid, atoms, per_atom, device):
    """The `BinsAround` a slice of the atoms; ``per_atom`` are their numbers."""
    rows = offsets_from_counts(per_atom)
    centers = _repeated(device.tensor(per_atom), int(rows[-1]))
    k = torch.arange(int(rows[-1]), device=centers.device) - device.tensor(rows)[centers]
    centers = centers + atoms.start
    structure = grid.structure[centers]
    reach, bins = grid.reach[structure], grid.bins[structure]
    width = 2 * reach + 1
    z = k % width[:, 2]
    y = k.div(width[:, 2], rounding_mode="floor")
    x = y.div(width[:, 1], rounding_mode="floor")
    place = grid.place[centers] + torch.stack([x, y % width[:, 1], z], 1) - reach
    image = place.div(bins, rounding_mode="floor")
    exists = (grid.periodic[structure] | (image == 0)).all(1)
    flat = torch.where(exists, grid.first[structure] + _flat(place - image * bins, bins), 0)
    offsets = (image.double()[:, :, None] * grid.lattices[structure]).sum(1)
    starts = grid.starts[flat]
    counts = torch.where(exists, grid.starts[flat + 1] - starts, 0)
    offsets = offsets - grid.wrapped[centers]
    return BinsAround(atoms.start, rows, centers, offsets, (image == 0).all(1), starts, counts)


def _pairs(grid, bins, rows, cutoff):
    """Centres, neighbours, vectors of the pairs in some rows, and whether atoms clash."""
    counts = bins.counts[rows]
    ends = torch.cumsum(counts, 0)
    row = _repeated(counts, int(ends[-1]))
    places = torch.arange(len(row), device=row.device) - (ends - counts)[row]
    indices = grid.order[bins.starts[rows][row] + places]
    vectors = grid.wrapped[indices] + bins.offsets[rows][row]
    squares = (vectors * vectors).sum(1)
    centers = bins.centers[rows][row]
    itself = bins.inside[rows][row] & (indices == centers)
    near = torch.nonzero((squares < cutoff**2) & ~itself)[:, 0]
    clash = (squares[near] < _COINCIDENT).any()[None]
    return centers[near], indices[near], vectors[near], clash


def _repeated(counts, total):
    """The index of each row as often as it counts."""
    every = torch.arange(len(counts), device=counts.device)
    return torch.repeat_interleave(every, counts, output_size=total)
