"""Derivatives of features of atoms that are tensors."""

from skatom.descriptors._torch.features import TensorLoops
from skatom.descriptors._torch.neighbors import NeighborTensors
from skatom.descriptors.atomic_derivatives import AtomicDerivatives


class TensorDerivatives(AtomicDerivatives):
    """The derivatives of features of atoms on a device, as tensors.

    The parameters are those of `AtomicDerivatives`; the device is that of the descriptor. Pickled,
    they are `AtomicDerivatives`, whose arrays are of numpy.
    """

    @property
    def device(self):
        return self.descriptor._device()

    def __reduce__(self):
        state = self.structures, self.descriptor, None, self.limit, self.chain.to(None)
        return AtomicDerivatives, state

    def neighbors(self):
        """The `NeighborList`, found on the device if it was not kept."""
        pairs = self._pairs()
        return pairs.on_host() if isinstance(pairs, NeighborTensors) else pairs

    def _pairs(self):
        if self._kept is None:
            found = self.descriptor._neighbors_on(self.device, self.structures)
            self._keep(found)
            return found
        return self._kept

    def pullback(self, cotangent):
        x, pairs = self.structures, self._pairs()
        cotangent = self.chain.pullback(cotangent, len(x.numbers), x.numbers)
        loops = self._loops(pairs)
        return loops.collect(pairs, loops.pair_gradients(cotangent), x.offsets)

    def along_pairs(self, pairs):
        values = self._loops(pairs).pair_jacobian()
        if not self.chain:
            return values
        return self.chain.pushforward(values, pairs.centers, self.structures.numbers[pairs.centers])

    def _loops(self, pairs):
        species = self.descriptor._species_index(self.structures)
        return TensorLoops(self.descriptor, pairs, species, self.device)
