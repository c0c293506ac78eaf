"""The predictor of GDML on a device of torch."""

from weakref import WeakKeyDictionary

import numpy as np

from skatom.base import Predictor
from skatom.descriptors.inverse_distances import COINCIDENT, incidence, pair_vectors
from skatom.parallel import split_rows

# Numbers that are worked on at once on a card, and by torch on the CPU.
_NUMBERS_ON_CARD, _NUMBERS_ON_CPU = 2**27, 2**22
# Up to so many numbers, the time is that of starting operations, not of doing them.
_FEW_NUMBERS = 2**22

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
        from skatom.models._torch.pipeline import map_pieces

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
        self._signs, self._map_pieces = self.references.signs, map_pieces
        self._few = CapturedCalls(self._packed, device)

    def energies(self, X):
        """E of structures of one composition, shape (n,)."""
        return self.differentiate(X, with_virial=False)[0]

    def differentiate(self, X, with_virial=True):
        """E (n,), ∂E/∂R (n N, 3) and ∂E/∂ε (n, 3, 3), or None, of structures of one composition."""
        n = len(X)
        few = _FEW_NUMBERS // self._loops.numbers_per_query(self.references)
        if n <= max(few, 1) and not with_virial and not X.pbc.any():
            found = self._few(X.positions.reshape(n, -1, 3))
            self._check_distances(X, found[0])
            return found[1 : n + 1], found[n + 1 :].reshape(-1, 3), None
        return self._of_many(X, with_virial)

    def _packed(self, positions):
        """The smallest |r|², energies and gradient at positions (n, N, 3), as one vector."""
        vectors = self._loops.pair_vectors(positions, self._signs)
        energies, gradient, _, closest = self._loops.of_vectors(self.references, vectors)
        return self._device.torch.cat([closest.view(1), energies, gradient.reshape(-1)])

    def _of_many(self, X, with_virial):
        n, positions = len(X), X.positions.reshape(len(X), -1, 3)
        parts = split_rows(n, self._chunk())
        energies, gradient, closest = np.empty(n), np.empty_like(positions), np.empty(len(parts))
        virial = np.empty((n, 3, 3)) if with_virial else None
        periodic = bool(X.pbc.any())

        def work(given):
            vectors = given if periodic else self._loops.pair_vectors(given, self._signs)
            return self._loops.of_vectors(self.references, vectors, with_virial)

        pieces = (
            _to_front(pair_vectors(X[part])) if periodic else positions[part] for part in parts
        )
        places = (
            (energies[part], gradient[part], virial[part] if with_virial else None, place)
            for part, place in zip(parts, closest[:, None], strict=True)
        )
        with self._room():
            self._map_pieces(work, pieces, places, self._device)
        self._check_distances(X, closest.min())
        return energies, gradient.reshape(-1, 3), virial

    def _check_distances(self, X, closest):
        """The error of `pair_vectors`, if atoms are at one place."""
        if not closest > COINCIDENT**2:
            pair_vectors(X)

    def _chunk(self):
        numbers = _NUMBERS_ON_CPU
        if self._device.is_card:
            numbers = min(_NUMBERS_ON_CARD, self._device.free_memory() / 16)
        return max(1, int(numbers / self._loops.numbers_per_query(self.references)))

    def _room(self):
        n_bytes = 8 * self._chunk() * self._loops.numbers_per_query(self.references)
        remedy = "let other programs free the card, or use device='cpu'"
        return self._device.room_for(n_bytes, "a piece of the predictions", remedy)

    def of_descriptors(self, values):
        """Energies (n,) and their slopes ∂E/∂x (n, D) at the descriptors ``values`` (n, D)."""
        queries = self._device.tensor(values) - self.references.center
        with self._room():
            found = [
                self._loops.energies_and_slopes(self.references, some)
                for some in queries.split(self._chunk())
            ]
        return tuple(
            self._device.array(self._device.torch.cat(parts)) for parts in zip(*found, strict=True)
        )

    def hessians(self, X):
        """Second derivatives ∂²E/∂R² (n, 3N, 3N) of structures of one composition."""
        vectors = self._device.tensor(_to_front(pair_vectors(X)))
        chunk = max(1, self._chunk() // (3 * len(self._signs)))
        with self._room():
            found = [self._loops.hessians(self.references, some) for some in vectors.split(chunk)]
        return self._device.array(self._device.torch.cat(found))


def _to_front(vectors):
    """(n, D, 3) as (n, 3, D)."""
    return np.ascontiguousarray(vectors.transpose(0, 2, 1))
