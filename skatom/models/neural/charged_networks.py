"""Networks of energies beside networks of charges that interact."""

from __future__ import annotations

import numpy as np

from skatom.models.neural.electrostatics import electrostatic_sums, less_mean, with_total


class ChargedNetworks:
    """Networks of energies, and those of charges, of kinds of rows.

    Parameters
    ----------
    short, charging : SummedNetworks
    """

    def __init__(self, short, charging):
        self.short, self.charging = short, charging

    @property
    def networks(self):
        return [*self.short.networks, *self.charging.networks]

    def vector(self):
        """All weights and biases."""
        return np.concatenate([self.short.vector(), self.charging.vector()])

    def of_vector(self, theta):
        """The networks of other weights and biases."""
        n = len(self.short.vector())
        return ChargedNetworks(self.short.of_vector(theta[:n]), self.charging.of_vector(theta[n:]))

    def are_weights(self):
        """Whether each number of `vector` is a weight, not a bias."""
        return np.concatenate([self.short.are_weights(), self.charging.are_weights()])

    def evaluate(self, X, rows, width, total, derivatives):
        """Energies and charges of atoms, and the derivatives of the energy if they are wanted.

        Parameters
        ----------
        X : AtomicFeatures
        rows : tuple of ndarray
            x, kinds and offsets of the rows.
        width : float
            Of the charges, Å.
        total : float
            The charge of each structure, e.
        derivatives : bool

        Returns
        -------
        dict of ndarray
        """
        x, kinds, offsets = rows
        charges = with_total(self.charging.outputs(x, kinds), offsets, total)
        potentials, gradient, virial = electrostatic_sums(X.structures, charges, width, derivatives)
        local = self.short.outputs(x, kinds) + 0.5 * charges * potentials
        found = {"local_energies": local, "charges": charges}
        if derivatives:
            psi = less_mean(potentials, offsets)[:, None]
            cotangent = self.short.slopes(x, kinds) + psi * self.charging.slopes(x, kinds)
            of_features = X.pullback(cotangent)
            found |= {"gradient": of_features[0] + gradient, "virial": of_features[1] + virial}
        return found
