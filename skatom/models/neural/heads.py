"""What makes the energies of atoms of their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skatom.models.neural.architecture import glorot


@dataclass(frozen=True)
class EnergyHead:
    """A layer of n_hidden neurons and one of one, for each atom.

    The last weights are zero at first, so that training begins with energies of the elements.
    """

    n_features: int
    n_hidden: int

    @property
    def shapes(self):
        """Shapes of the weights by name."""
        return {
            "head_1": (self.n_features, self.n_hidden), "head_bias_1": (self.n_hidden,),
            "head_2": (self.n_hidden, 1), "head_bias_2": (1,),
        }  # fmt: skip

    def initial(self, rng):
        """The first weights by name."""
        first = {name: np.zeros(shape) for name, shape in self.shapes.items()}
        first["head_1"] = glorot(rng, self.shapes["head_1"])
        return first

    def local_energies(self, weights, features):
        """A tensor (n_atoms,) of the features (n_atoms, n_features)."""
        from skatom.models._torch.networks.layers import shifted_softplus

        hidden = shifted_softplus(features @ weights["head_1"] + weights["head_bias_1"])
        return (hidden @ weights["head_2"] + weights["head_bias_2"])[:, 0]
