"""The predictor of GDML on a device of torch."""

from weakref import WeakKeyDictionary

import numpy as np

from skatom.base import Predictor
from skatom.descriptors.inverse_distances import COINCIDENT, incidence, pair_vectors
from skatom.parallel import split_rows

# Numbers that are worked on at once on a card, and by torch on the CPU.
_NUMBERS_ON_CARD, _NUMBERS_ON_CPU = 2**27, 2**22
# Geometries that go to the device at once.
_GEOMETRIES = 2**18
# Up to so many geometries, the time is that of starting operations, not of doing them.
_FEW = 64

_expansions = WeakKeyDictionary()


def on_device(expansion, device):
    """A `KernelExpansion` as a predictor on a `Device`, or itself where that is None.

    What is kept on the device is made at the first call and freed with the expansion. It is not
    part of it, so that it is never saved with a model.
    """
    if device is None:
        return expansion
    known = _expansions.setdefault(expansion, {})
    if device not in known:
        known[device] = DeviceExpansion(expansion, device)
    return known[device]


class DeviceExpansion(Predictor):
    """`KernelExpansion` on tensors; what it takes and returns is numpy.

    Parameters
    ----------
    expansion : KernelExpansion
    device : Device
    """

    def __init__(self, expansion, device):
        from skatom.models._torch import gdml_expansion
        from skatom.models._torch.captured import CapturedCalls

        self._loops, self._device = gdml_expansion, device
        x, u = expansion.split()
        n_atoms = int((1 + np.sqrt(1 + 8 * x.shape[1])) / 2)
        images = x.size * len(expansion.pair_permutations)
        with device.room_for(6 * 8 * images, "the model", "use device='cpu'"):
            self.references = gdml_expansion.references(
                device.tensor(x), device.tensor(u), device.tensor(expansion.energy_coefficients),
                device.tensor(expansion.pair_permutations), device.tensor(expansion.center),
                device.tensor(incidence(n_atoms)), expansion.sigma,
            )  # fmt: skip
        self._few = CapturedCalls(self._packed, device)

    def energies(self, X):
        """E of structures of one composition, shape (n,)."""
        return self.differentiate(X, with_virial=False)[0]

    def differentiate(self, X, with_virial=True):
        """E (n,), ∂E/∂R (n N, 3) and ∂E/∂ε (n, 3, 3), or None, of structures of one composition."""
        n = len(X)
        if n <= _FEW and not with_virial and not X.pbc.any():
            found = self._few(X.positions.reshape(n, -1, 3))
            self._check_distances(X, found[0])
            return found[1 : n + 1], found[n + 1 :].reshape(-1, 3), None
        parts = [self._of_many(X, part, with_virial) for part in split_rows(n, _GEOMETRIES)]
        energies, gradient, virial = (
            found[0] if len(found) == 1 else np.concatenate(found)
            for found in zip(*parts, strict=True)
        )
        return energies, gradient.reshape(-1, 3), virial if with_virial else None

    def _packed(self, positions):
        """The smallest |r|², energies and gradient at positions (n, N, 3), as one vector."""
        vectors = self._loops.pair_vectors(positions, self.references.signs)
        energies, gradient, _, closest = self._loops.of_vectors(self.references, vectors)
        return self._device.torch.cat([closest.view(1), energies, gradient.reshape(-1)])

    def _of_many(self, X, part, with_virial):
        torch, periodic = self._device.torch, bool(X.pbc.any())
        given = pair_vectors(X[part]) if periodic else X.positions.reshape(len(X), -1, 3)[part]
        given = self._device.tensor(given)
        found = []
        for some in given.split(self._chunk()):
            vectors = (
                some.transpose(1, 2).contiguous()
                if periodic
                else self._loops.pair_vectors(some, self.references.signs)
            )
            found.append(self._loops.of_vectors(self.references, vectors, with_virial))
        energies, gradient, virial, closest = zip(*found, strict=True)
        self._check_distances(X, torch.stack(closest).amin())
        return tuple(
            self._device.array(torch.cat(parts)) if parts[0] is not None else np.empty(0)
            for parts in (energies, gradient, virial)
        )

    def _check_distances(self, X, closest):
        """The error of `pair_vectors`, if atoms are at one place."""
        if not closest > COINCIDENT**2:
            pair_vectors(X)

    def _chunk(self):
        numbers = _NUMBERS_ON_CPU
        if self._device.is_card:
            numbers = min(_NUMBERS_ON_CARD, self._device.free_memory() / 16)
        return max(1, int(numbers / self._loops.numbers_per_query(self.references)))

    def of_descriptors(self, values):
        """Energies (n,) and their slopes ∂E/∂x (n, D) at the descriptors ``values`` (n, D)."""
        queries = self._device.tensor(values) - self.references.center
        found = [
            self._loops.energies_and_slopes(self.references, some)
            for some in queries.split(self._chunk())
        ]
        return tuple(
            self._device.array(self._device.torch.cat(parts)) for parts in zip(*found, strict=True)
        )

    def hessians(self, X):
        """Second derivatives ∂²E/∂R² (n, 3N, 3N) of structures of one composition."""
        vectors = self._device.tensor(pair_vectors(X)).transpose(1, 2)
        chunk = max(1, self._chunk() // (3 * self.references.signs.shape[0]))
        found = [self._loops.hessians(self.references, some) for some in vectors.split(chunk)]
        return self._device.array(self._device.torch.cat(found))
