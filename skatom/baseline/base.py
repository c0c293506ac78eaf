"""The base class of baselines."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from skatom._typing import Array, FeaturesLike, StructuresLike
from skatom.base import BaseEstimator, Predictor
from skatom.structures import as_structures


class Baseline(RegressorMixin, Predictor, BaseEstimator):
    r"""Base class of baselines, energies that are known before a model learns the rest.

    .. math:: E = E_\mathrm{baseline} + E_\mathrm{model}

    A model subtracts the energies, forces and stresses of its baseline from the labels before the
    fit and adds them to its predictions, so that forces remain the derivative of the energy.

    A subclass implements

    - ``fit(X, y)``, which learns from energies if there is anything to learn;
    - ``local_energies(structures)``, the energy of each atom, shape (n_atoms,), eV;
    - ``differentiate(structures)``, see `skatom.base.Predictor`.

    Attributes
    ----------
    needs_energies : bool
        Whether ``fit`` needs labels of energies. A model without such labels leaves these
        baselines out.
    """

    needs_energies = False

    @abstractmethod
    def local_energies(self, X: FeaturesLike) -> None:
        """Energies of the atoms, shape (n_atoms,), eV."""

    def energies(self, X: FeaturesLike) -> Any:
        """Energies of the structures, shape (n,), eV."""
        structures = as_structures(X)
        return np.add.reduceat(self.local_energies(structures), structures.offsets[:-1])

    def predict(self, X: StructuresLike) -> Array:
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
