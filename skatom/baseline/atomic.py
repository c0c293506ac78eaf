"""The part of an energy that depends on the composition alone."""

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils.validation import check_is_fitted

from skatom.base import BaseEstimator
from skatom.elements import species_index
from skatom.structures import as_structures
from skatom.targets import as_targets


class AtomicBaseline(RegressorMixin, BaseEstimator):
    r"""One energy for each element, fitted by least squares.

    .. math:: \hat E = \sum_z N_z\, \varepsilon_z

    with the numbers :math:`N_z` of atoms of element z in the structure. Total energies are large
    and mostly this sum; what is left is what a model of the geometry should learn. Where the
    compositions do not determine the :math:`\varepsilon_z`, as in frames of one molecule, they are
    those of the smallest norm.

    Attributes
    ----------
    species_ : ndarray of int, shape (n_species,)
        The atomic numbers that occur, sorted.
    energies_ : ndarray of float, shape (n_species,)
        Their energies in eV.

    Raises
    ------
    ValueError
        If no structure has an energy, or one to predict has an element that was not in ``fit``.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.baseline import AtomicBaseline
    >>> molecules = [molecule("H2"), molecule("O2"), molecule("H2O")]
    >>> baseline = AtomicBaseline().fit(molecules, [-31.7, -867.8, -467.6])
    >>> baseline.energies_.round(1)
    array([ -16.3, -434.1])
    >>> baseline.predict([molecule("H2O2")]).round(1)
    array([-900.8])
    """

    _parameter_constraints = {}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Solve for the energies of the elements.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
        y : Targets, or array-like of float, shape (n,), eV
            Structures whose energy is NaN (not labelled) take no part.

        Returns
        -------
        self
        """
        structures = as_structures(X)
        targets = as_targets(y, structures)
        labelled = targets.labelled("energy")
        if not labelled.any():
            raise ValueError("no structure has an energy: give Targets(energy=…)")
        self.species_ = structures[labelled].species
        counts = count_species(structures[labelled], self.species_)
        self.energies_ = np.linalg.lstsq(counts, targets.energy[labelled], rcond=None)[0]
        return self

    def predict(self, X):
        """Energies of the compositions.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them

        Returns
        -------
        ndarray of float, shape (n,), eV
        """
        check_is_fitted(self)
        return count_species(as_structures(X), self.species_) @ self.energies_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


def count_species(structures, species):
    """Numbers of atoms of each element.

    Parameters
    ----------
    structures : Structures, n of them
    species : ndarray of int, shape (n_species,)
        Atomic numbers, sorted.

    Returns
    -------
    ndarray of float, shape (n, n_species)

    Raises
    ------
    ValueError
        If an atom is of none of them.
    """
    column = species_index(structures, species)
    counts = np.zeros((len(structures), len(species)))
    np.add.at(counts, (np.repeat(np.arange(len(structures)), structures.n_atoms), column), 1.0)
    return counts
