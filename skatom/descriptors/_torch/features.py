"""Features of atoms and their derivatives on a device, in pieces of centres."""

from importlib import import_module

import numpy as np
import torch

from skatom._device import beside, device_of
from skatom.descriptors._torch.kernels import fused_kernels
from skatom.descriptors._torch.pairs import on_device, pieces, upload


class TensorLoops:
    """The functions of a descriptor on a device, for the pairs of some centres.

    Parameters
    ----------
    descriptor : AtomicDescriptor
    pairs : NeighborList
    species : ndarray of int, shape (n_atoms,)
        Index of the species of every atom of the batch.
    device : Device
    """

    def __init__(self, descriptor, pairs, species, device):
        compiled = descriptor._compiled()
        self._loops = import_module(descriptor._tensor_loops)
        self._n_features = descriptor._n_features()
        self._device = device
        self._parameters = getattr(self._loops, "on_device", on_device)(compiled, device)
        self._pairs = upload(pairs, species, device)
        self._counts = np.diff(pairs.offsets)
        self._bytes = self._loops.scratch(self._counts, compiled)

    def values(self):
        """Features (n_centers, n_features)."""

        def work(centers, _, part):
            return centers, self._loops.values(part, self._parameters)

        return self._joined(0, work, len(self._counts), self._n_features)

    def pair_gradients(self, cotangent):
        """dE/dr_ij (n_pairs, 3), for a cotangent of one row or one for each centre."""

        def work(centers, pairs, part):
            rows = cotangent if len(cotangent) == 1 else cotangent[centers]
            return pairs, self._loops.pair_gradients(part, self._parameters, rows)

        return self._joined(0, work, len(self._pairs.centers), 3)

    def pair_jacobian(self):
        """d values_i / dr_ij, (n_pairs, 3, n_features)."""

        def work(_, pairs, part):
            return pairs, self._loops.pair_jacobian(part, self._parameters)

        return self._joined(1, work, len(self._pairs.centers), 3, self._n_features)

    def _joined(self, which, work, *shape):
        """The rows that ``work`` gives for each part; those of one part are not copied."""
        parts = self._parts(which)
        if len(parts) == 1:
            return work(*parts[0])[1]
        out = self._device.empty(*shape)
        for part in parts:
            rows, found = work(*part)
            out[rows] = found
        return out

    def _parts(self, which):
        found = pieces(self._counts, self._bytes[which], self._device)
        if len(found) == 1:
            return [(*found[0], self._pairs)]
        return [(*slices, self._pairs.part(*slices)) for slices in found]

    def collect(self, pairs, gradients, offsets):
        """dE/dR (n_atoms, 3) and dE/dε (n, 3, 3) from dE/dr_ij of the pairs of all atoms."""
        indices, of_centers = beside(pairs.indices, gradients), self._pairs.starts
        kernels = fused_kernels("neighbors", self._device.name)
        if kernels is not None:
            vectors = self._pairs.vectors
            on_atoms, strains = kernels.collect(of_centers, indices, vectors, gradients)
        else:
            order = torch.argsort(indices, stable=True)
            lengths = torch.bincount(indices, minlength=len(self._counts))
            on_atoms = torch.segment_reduce(gradients[order], "sum", lengths=lengths, unsafe=True)
            on_atoms -= segment_sums(gradients, of_centers)
            products = (gradients[:, :, None] * self._pairs.vectors[:, None]).flatten(1)
            strains = segment_sums(products, of_centers)
        on_strain = segment_sums(strains, self._device.tensor(offsets))
        return on_atoms, on_strain.view(-1, 3, 3)


def segment_sums(rows, offsets):
    """Sums (n, …) of consecutive rows, in their order each time, unlike those of `index_add_`."""
    return torch.segment_reduce(rows, "sum", offsets=offsets, unsafe=True)


def collect_jacobians(pairs, owners, weights, columns, slopes, on_atoms, on_strains):
    """Add weight · Σ_i dx_i/dR_k and d/dstrain of some structures, from the Jacobians of all pairs.

    Parameters
    ----------
    pairs : NeighborList
    owners : ndarray of int, shape (n_pairs,)
        The structure of each pair.
    weights : ndarray of float, shape (n_pairs,)
    columns : ndarray of int, shape (n_pairs,)
        First column of the features of its centre.
    slopes : Tensor, shape (n_pairs, 3, n_features)
    on_atoms, on_strains : Tensor, shapes (n_atoms, 3, n_columns) and (n, 3, 3, n_columns)
    """
    device = device_of(slopes)
    if not (weights == 1).all():
        slopes = slopes * device.tensor(weights)[:, None, None]
    places = map(device.tensor, (pairs.centers, pairs.indices, owners, pairs.vectors))
    of_center, of_neighbor, of_structure, vectors = places
    for first in np.unique(columns):
        chosen = np.flatnonzero(columns == first)
        here, some = slice(first, first + slopes.shape[2]), slice(None)
        if len(chosen) < len(columns):
            some = device.tensor(chosen)
        own, owner = slopes[some], of_structure[some]
        on_atoms[:, :, here].index_add_(0, of_neighbor[some], own)
        on_atoms[:, :, here].index_add_(0, of_center[some], own, alpha=-1)
        for axis in range(3):
            along = own * vectors[some, axis, None, None]
            on_strains[:, :, axis, here].index_add_(0, owner, along)


def pooled_by_species(values, index, n_species, offsets, how):
    """Sums or means (n, n_species n_features) of the atoms of each species, block beside block."""
    device = device_of(values)
    out = device.zeros(len(offsets) - 1, n_species, values.shape[1])
    owners = np.repeat(np.arange(len(out)), np.diff(offsets))
    for block in np.unique(index):
        chosen = np.flatnonzero(index == block)
        edges = np.searchsorted(owners[chosen], np.arange(len(out) + 1))
        out[:, block] = segment_sums(values[device.tensor(chosen)], device.tensor(edges))
    if how == "mean":
        out /= device.tensor(np.diff(offsets).astype(float))[:, None, None]
    return out.flatten(1)


def pooled(values, offsets, how):
    """Sums or means (n, n_features) of the rows (n_atoms, n_features) of each structure."""
    out = segment_sums(values, torch.as_tensor(offsets, device=values.device))
    if how == "sum":
        return out
    counts = torch.as_tensor(np.diff(offsets), device=values.device)
    return out / counts.to(values.dtype)[:, None]
