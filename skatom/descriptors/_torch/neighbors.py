"""Neighbours within molecules, found on a device: all pairs of atoms of each structure."""

import numpy as np
import torch

from skatom.neighbors import NeighborList, neighbor_list
from skatom.structures import groups_by_size, offsets_from_counts

# Most atoms of a structure whose pairs are all tried, and how many times as many pairs may be tried
# as the structures have, since all are padded to the largest.
_MOST_ATOMS, _MOST_PADDING = 128, 4
# Numbers in the vectors of all pairs that are tried at once.
_NUMBERS = 2**25


class NeighborTensors:
    """The pairs of all atoms of a batch, sorted by centre, as tensors.

    It stands for a `NeighborList`, which `on_host` gives.

    Attributes
    ----------
    offsets, atoms : ndarray of int
        Where the pairs of each centre begin, and the centres, as in `NeighborList`.
    centers, indices, vectors : Tensor
        Centre i, neighbour j and vector r_ij of each pair.
    cutoff : float
    """

    def __init__(self, offsets, centers, indices, vectors, cutoff):
        self.offsets, self.cutoff = offsets, cutoff
        self.atoms = np.arange(len(offsets) - 1)
        self.centers, self.indices, self.vectors = centers, indices, vectors
        self._on_host = None

    @classmethod
    def of(cls, pairs, device):
        """The tensors of a `NeighborList` of all atoms."""
        tensors = map(device.tensor, (pairs.centers, pairs.indices, pairs.vectors))
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
            edges - edges[0], self.centers[pairs] - start, self.indices[pairs] - start,
            self.vectors[pairs], self.cutoff,
        )  # fmt: skip


def find_neighbors(structures, cutoff, device):
    """The pairs within a cutoff radius; those of others than molecules are found on the CPU.

    Parameters
    ----------
    structures : Structures
    cutoff : float
    device : Device

    Returns
    -------
    NeighborTensors
    """
    counts = structures.n_atoms
    most = counts.max()
    if (
        structures.known_neighbors is not None
        or structures.pbc.any()
        or most > _MOST_ATOMS
        or len(counts) * most**2 > _MOST_PADDING * np.sum(counts**2)
    ):
        return NeighborTensors.of(neighbor_list(structures, cutoff), device)
    places = np.arange(most)
    present = places < counts[:, None]
    first = structures.offsets[:-1]
    atoms = np.where(present, first[:, None] + places, first[:, None])
    positions = device.tensor(structures.positions)[device.tensor(atoms)]
    present, first = device.tensor(present), device.tensor(first)
    size = max(1, _NUMBERS // (3 * most**2))
    groups = groups_by_size(np.arange(len(counts) + 1), size)
    parts = [_pairs(positions[g], present[g], first[g], cutoff) for g in groups]
    found, centers, indices, vectors, clash = (torch.cat(same) for same in zip(*parts, strict=True))
    if clash.any():
        neighbor_list(structures, cutoff)  # its error names the atoms at the same place
    offsets = offsets_from_counts(device.array(found))
    return NeighborTensors(offsets, centers, indices, vectors, float(cutoff))


def _pairs(positions, present, first, cutoff):
    """Numbers of neighbours, pairs and vectors of padded structures; whether atoms clash."""
    vectors = positions[:, None] - positions[:, :, None]
    squares = (vectors * vectors).sum(3)
    apart = ~torch.eye(positions.shape[1], dtype=torch.bool, device=positions.device)
    pairs = present[:, None] & present[:, :, None] & apart
    near = pairs & (squares < cutoff**2)
    structure, i, j = torch.nonzero(near, as_tuple=True)
    clash = (pairs & (squares < 1e-6)).any()[None]
    shift = first[structure]
    return near.sum(2)[present], shift + i, shift + j, vectors[near], clash
