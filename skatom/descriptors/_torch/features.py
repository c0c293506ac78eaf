"""Features of atoms and their derivatives on a device, in pieces of centres."""

from importlib import import_module

import numpy as np
import torch

from skatom._device import beside, device_of
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
        self._parameters = on_device(compiled, device)
        self._pairs = upload(pairs, species, device)
        self._counts = np.diff(pairs.offsets)
        self._bytes = self._loops.scratch(self._counts, compiled)

    def values(self):
        """Features (n_centers, n_features)."""
        out = self._device.empty(len(self._counts), self._n_features)
        for centers, _, part in self._parts(0):
            out[centers] = self._loops.values(part, self._parameters)
        return out

    def pair_gradients(self, cotangent):
        """dE/dr_ij (n_pairs, 3), for a cotangent of one row or one for each centre."""
        out = self._device.empty(len(self._pairs.centers), 3)
        for centers, pairs, part in self._parts(0):
            rows = cotangent if len(cotangent) == 1 else cotangent[centers]
            out[pairs] = self._loops.pair_gradients(part, self._parameters, rows)
        return out

    def pair_jacobian(self):
        """d values_i / dr_ij, (n_pairs, 3, n_features)."""
        out = self._device.empty(len(self._pairs.centers), 3, self._n_features)
        for _, pairs, part in self._parts(1):
            out[pairs] = self._loops.pair_jacobian(part, self._parameters)
        return out

    def _parts(self, which):
        for centers, pairs in pieces(self._counts, self._bytes[which], self._device):
            yield centers, pairs, self._pairs.part(centers, pairs)

    def collect(self, pairs, gradients, offsets):
        """dE/dR (n_atoms, 3) and dE/dε (n, 3, 3) from dE/dr_ij of the pairs of all atoms."""
        n_atoms, device = len(self._counts), self._device
        on_atoms = device.zeros(n_atoms, 3)
        on_atoms.index_add_(0, beside(pairs.indices, gradients), gradients)
        on_atoms.index_add_(0, self._pairs.centers, -gradients)
        structures = device.tensor(np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))
        products = gradients[:, :, None] * self._pairs.vectors[:, None]
        on_strain = device.zeros(len(offsets) - 1, 3, 3)
        on_strain.index_add_(0, structures[self._pairs.centers], products)
        return on_atoms, on_strain


def collect_jacobian(centers, indices, vectors, jacobian, weight, on_atoms, on_strain):
    """Add weight · Σ_i d x_i/dR_k and d/dstrain, as the compiled function of this name does."""
    device = device_of(jacobian)
    centers, indices, vectors = map(device.tensor, (centers, indices, vectors))
    on_atoms.index_add_(0, indices, jacobian, alpha=weight)
    on_atoms.index_add_(0, centers, jacobian, alpha=-weight)
    on_strain += weight * torch.einsum("paf,pb->abf", jacobian, vectors)


def pooled(values, offsets, how):
    """Sums or means (n, n_features) of the rows (n_atoms, n_features) of each structure."""
    counts = np.diff(offsets)
    owners = torch.as_tensor(np.repeat(np.arange(len(counts)), counts), device=values.device)
    out = values.new_zeros((len(counts), values.shape[1])).index_add_(0, owners, values)
    if how == "sum":
        return out
    return out / torch.as_tensor(counts, device=values.device, dtype=values.dtype)[:, None]
