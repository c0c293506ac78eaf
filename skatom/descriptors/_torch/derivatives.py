"""Derivatives of features of atoms that are tensors."""

from skatom.descriptors._torch.features import TensorLoops
from skatom.descriptors.atomic_derivatives import AtomicDerivatives


class TensorDerivatives(AtomicDerivatives):
    """The derivatives of features of atoms on a device, as tensors.

    The parameters are those of `AtomicDerivatives`; the device is that of the descriptor. Pickled,
    they are `AtomicDerivatives`, whose arrays are of numpy.
    """

    def __reduce__(self):
        state = self.structures, self.descriptor, None, self.limit, self.chain.on_host()
        return AtomicDerivatives, state

    def pullback(self, cotangent):
        x, pairs = self.structures, self.neighbors()
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
        return TensorLoops(self.descriptor, pairs, species, self.descriptor._device())
