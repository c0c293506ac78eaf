"""Features of atoms in a network, which have no derivatives."""

from skatom.descriptors.atomic_derivatives import AtomicDerivatives


class LatentDerivatives(AtomicDerivatives):
    """In place of the derivatives of the features of a network; each is an error.

    All derivatives begin with neighbours, which the network finds itself.
    """

    def neighbors(self):
        raise ValueError(
            f"features of {type(self.descriptor).__name__} have values alone, but their "
            "derivatives are asked for: forces are those of its predict(X, return_forces=True)"
        )

    def pairs_of(self, centers):
        return self.neighbors()

    def values(self):
        return self.descriptor.transform(self.structures).values
