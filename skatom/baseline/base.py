"""What all baselines share."""

from abc import abstractmethod

import numpy as np
from sklearn.base import RegressorMixin

from skatom.base import BaseEstimator, Predictor
from skatom.structures import as_structures


class Baseline(RegressorMixin, Predictor, BaseEstimator):
    """Base class of energies that are known before a model learns the rest.

    A model learns labels less those of its baseline, energies, forces and stresses alike, and adds
    the baseline to what it predicts, so that forces are the derivative of the energy.

    A subclass writes

    - ``fit(X, y)``, which learns from energies if it has anything to learn;
    - ``local_energies(structures)``, the energy of each atom, shape (n_atoms,), eV;
    - ``differentiate(structures)``, see `skatom.base.Predictor`.

    Attributes
    ----------
    needs_energies : bool
        Whether ``fit`` needs labels of energies. Where there are none, a model leaves out such
        baselines.
    """

    needs_energies = False

    @abstractmethod
    def local_energies(self, X):
        """Energies of the atoms, shape (n_atoms,), eV."""

    def energies(self, X):
        """Energies of the structures, shape (n,), eV."""
        structures = as_structures(X)
        return np.add.reduceat(self.local_energies(structures), structures.offsets[:-1])

    def predict(self, X):
        """Energies of the structures.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them

        Returns
        -------
        ndarray of float, shape (n,), eV
        """
        return self.energies(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags
