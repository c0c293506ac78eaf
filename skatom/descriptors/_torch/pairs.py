"""Pairs of neighbours as tensors, in pieces that fit in the memory of a device."""

from functools import lru_cache
from typing import NamedTuple
from weakref import ref

import numpy as np
import torch

from skatom.descriptors._torch.neighbors import NeighborTensors
from skatom.structures import groups_by_size, offsets_from_counts

# Memory in bytes of the intermediate results of one piece: many pieces would be bound by the time
# to start their operations, large ones do not fit beside a matrix.
_PIECE = {False: 2**26, True: 2**31}


class PairTensors(NamedTuple):
    """Pairs of some centres with their neighbours, sorted by centre.

    ``centers`` (n_pairs,) counts the centres from 0, and the pairs of a centre begin at its
    ``starts`` (n_centers + 1,); ``own`` (n_centers,) and ``species`` (n_pairs,) are the indices of
    the species of centres and of neighbours.
    """

    starts: torch.Tensor
    centers: torch.Tensor
    vectors: torch.Tensor  # (n_pairs, 3)
    own: torch.Tensor
    species: torch.Tensor

    def part(self, centers, pairs):
        """Some consecutive centres and their pairs, two slices."""
        starts = self.starts[centers.start : centers.stop + 1] - pairs.start
        return PairTensors(
            starts, self.centers[pairs] - centers.start, self.vectors[pairs], self.own[centers],
            self.species[pairs],
        )  # fmt: skip


def upload(pairs, species, device):
    """The `PairTensors` of a list of neighbours; ``species`` is that of every atom of its batch.

    The list is a `NeighborList` or a `NeighborTensors`.
    """
    if isinstance(pairs, NeighborTensors):
        own = device.tensor(species)
        return PairTensors(pairs.starts, pairs.centers, pairs.vectors, own, own[pairs.indices])
    starts, own = device.tensor(pairs.offsets), device.tensor(species[pairs.atoms])
    centers = np.repeat(np.arange(len(pairs.atoms)), np.diff(pairs.offsets))
    arrays = map(device.tensor, (centers, pairs.vectors, species[pairs.indices]))
    centers, vectors, of_neighbors = arrays
    return PairTensors(starts, centers, vectors, own, of_neighbors)


def pieces(counts, n_bytes, device):
    """Slices of centres, and of their pairs, whose intermediate results fit in memory.

    Parameters
    ----------
    counts : ndarray of int, shape (n_centers,)
        Number of pairs of each centre.
    n_bytes : ndarray of float, shape (n_centers,)
        Memory of the intermediate results of each centre.
    device : Device

    Returns
    -------
    list of (slice, slice)
    """
    starts = offsets_from_counts(counts)
    sizes = offsets_from_counts(np.ceil(n_bytes))
    if len(counts) == 0 or sizes[-1] == 0:
        return []
    limit = _PIECE[device.is_card]
    if device.is_card and sizes[-1] > limit // 8:
        limit = int(min(limit, device.free_memory() / 4))
    groups = groups_by_size(sizes, max(limit, 1))
    return [(group, slice(starts[group.start], starts[group.stop])) for group in groups]


def on_device(parameters, device):
    """A named tuple of parameters with tensors instead of arrays."""
    return type(parameters)(
        *(_constant(x, device) if isinstance(x, np.ndarray) else x for x in parameters)
    )


# Arrays of parameters that are larger than this are known by their place, others by their numbers.
_SMALL = 2**12
_TABLES = {}


def _constant(array, device):
    """The tensor of an array that does not change, made once: a copy to a card takes its time."""
    if array.nbytes <= _SMALL:
        return _small_constant(array.tobytes(), array.shape, array.dtype.str, device)
    return made_once(array, device, device.tensor)


def made_once(array, device, make):
    """``make(array)`` for a device, kept while the array exists, which does not change."""
    key = id(array), device.name, make.__name__
    if key not in _TABLES:
        _TABLES[key] = make(array), ref(array, lambda _: _TABLES.pop(key, None))
    return _TABLES[key][0]


@lru_cache(maxsize=256)
def _small_constant(numbers, shape, dtype, device):
    return device.tensor(np.frombuffer(numbers, dtype).reshape(shape))
