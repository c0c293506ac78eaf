"""The part of an energy that depends only on the composition."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from sklearn.base import _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._typing import Array, FeaturesLike, StructuresLike, TargetsLike
from skatom.baseline.base import Baseline
from skatom.elements import species_index
from skatom.neighbors import neighbor_list
from skatom.structures import Structures, as_structures
from skatom.targets import as_targets

# An atom is isolated if its periodic images are farther away than this, in Å: no element has a
# crystal with neighbours that far apart, and boxes for atoms alone are usually larger.
_ISOLATED = 8.0
# Energies in eV of isolated atoms of one element that count as equal.
_EQUAL = 1e-3


class AtomicBaseline(Baseline):
    r"""One energy for each element: given, of isolated atoms, or fitted by least squares.

    .. math:: \hat E = \sum_z N_z\, \varepsilon_z

    with the number :math:`N_z` of atoms of element z in the structure. This sum is most of a total
    energy; a model of the geometry learns the rest. If every element has a structure of one
    isolated atom, its energy is that of the element exactly; if not, energies are fitted. Where the
    compositions do not determine the :math:`\varepsilon_z`, as in frames of one molecule, the
    solution of smallest norm is taken.

    Parameters
    ----------
    elements : dict of str to float, "isolated" or None, default=None
        Energies of the elements by symbol, in eV, such as ``{"H": -13.6}``. "isolated": those of
        the structures of a single atom without neighbours, not periodic or with images at least
        8 Å away, one for each element; an error if an element has none. None: the same, and fitted
        to all structures if an element has none or several of different energies.

    Attributes
    ----------
    species_ : ndarray of int, shape (n_species,)
        Sorted atomic numbers.
    energies_ : ndarray of float, shape (n_species,)
        Energies of the elements in eV.

    Raises
    ------
    ValueError
        If no structure has an energy, an element has no isolated atom or several of different
        energies, or a structure to predict has an element not seen in ``fit``.

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

    >>> from ase import Atoms
    >>> alone = [Atoms("H"), Atoms("O"), molecule("H2O")]
    >>> AtomicBaseline("isolated").fit(alone, [-13.6, -432.0, -467.6]).energies_
    array([ -13.6, -432. ])
    """

    _parameter_constraints = {"elements": [dict, StrOptions({"isolated"}), None]}

    def __init__(self, elements: dict | None = None) -> None:
        self.elements = elements

    @property
    def needs_energies(self) -> Any:
        return not isinstance(self.elements, dict)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: TargetsLike) -> Self:
        """Fit the energies of the elements, unless they were given.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them
        y : Targets, or array-like of float, shape (n,), eV
            Energies. Structures whose energy is NaN (not labelled) are ignored.

        Returns
        -------
        self
        """
        structures = as_structures(X)
        if isinstance(self.elements, dict):
            self.species_, self.energies_ = _given(self.elements)
            species_index(structures, self.species_)  # raises for elements without an energy
            return self
        targets = as_targets(y, structures)
        labelled = targets.labelled("energy")
        if not labelled.any():
            raise ValueError("no structure has an energy: give Targets(energy=…)")
        if self.elements == "isolated":
            self.species_ = structures.species
            self.energies_ = _of_isolated_atoms(structures, targets.energy, self.species_)
            return self
        self.species_ = structures[labelled].species
        alone = _isolated_atoms(structures, targets.energy, self.species_)
        if all(len(of) and np.ptp(of) <= _EQUAL for of in alone):
            self.energies_ = np.array([of.mean() for of in alone])
            return self
        counts = count_species(structures[labelled], self.species_)
        self.energies_ = np.linalg.lstsq(counts, targets.energy[labelled], rcond=None)[0]
        return self

    def energies(self, X: FeaturesLike) -> Any:
        """Energies of the compositions, shape (n,), eV."""
        check_is_fitted(self)
        return count_species(as_structures(X), self.species_) @ self.energies_

    def local_energies(self, X: FeaturesLike) -> Any:
        """The energy of each atom's element, shape (n_atoms,), eV."""
        check_is_fitted(self)
        return self.energies_[species_index(as_structures(X), self.species_)]

    def differentiate(self, X: FeaturesLike) -> Any:
        """Energies of the compositions, and derivatives of zero."""
        structures = as_structures(X)
        n, n_atoms = len(structures), len(structures.numbers)
        return self.energies(structures), np.zeros((n_atoms, 3)), np.zeros((n, 3, 3))


def _given(elements):
    """Sorted atomic numbers and energies of a dict by symbol."""
    unknown = [symbol for symbol in elements if symbol not in atomic_numbers]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no chemical symbol: give energies as {{'Si': -0.8}}")
    for symbol, energy in elements.items():
        if not isinstance(energy, Real) or not np.isfinite(energy):
            raise ValueError(f"the energy of {symbol} is {energy!r}: give a finite number, in eV")
    by_number = sorted((atomic_numbers[symbol], float(e)) for symbol, e in elements.items())
    species, energies = zip(*by_number, strict=True)
    return np.array(species), np.array(energies)


def _of_isolated_atoms(structures, energies, species):
    """The energy of the isolated atoms of each species, or a ValueError."""
    found = _isolated_atoms(structures, energies, species)
    missing = [chemical_symbols[z] for z, of in zip(species, found, strict=True) if not len(of)]
    if missing:
        raise ValueError(
            f"there is no isolated atom of {', '.join(missing)} among the structures: add one "
            f"with its energy for each element, or give energies such as {{{missing[0]!r}: -1.0}}"
        )
    for z, values in zip(species, found, strict=True):
        if np.ptp(values) > _EQUAL:
            raise ValueError(
                f"isolated atoms of {chemical_symbols[z]} have energies from {values.min()} to "
                f"{values.max()} eV: keep one, that of the ground state, or give energies such as "
                f"{{{chemical_symbols[z]!r}: {values.min()}}}"
            )
    return np.array([values.mean() for values in found])


def _isolated_atoms(structures, energies, species):
    """Energies of the structures of one isolated atom, an array for each species."""
    alone = np.flatnonzero((structures.n_atoms == 1) & np.isfinite(energies))
    if len(alone):
        one = structures[alone]
        # without a list of neighbours that was given, which is shorter
        one = Structures(one.numbers, one.positions, one.offsets, one.cells, one.pbc)
        alone = alone[np.diff(neighbor_list(one, _ISOLATED).offsets) == 0]
    numbers = structures.numbers[structures.offsets[alone]]
    return [energies[alone[numbers == z]] for z in species]


def count_species(structures: Structures, species: Array) -> Array:
    """Number of atoms of each element in each structure.

    Parameters
    ----------
    structures : Structures, n of them
    species : ndarray of int, shape (n_species,)
        Sorted atomic numbers.

    Returns
    -------
    ndarray of float, shape (n, n_species)

    Raises
    ------
    ValueError
        If an atom is of another element.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import molecule
    >>> from skatom import Structures
    >>> from skatom.baseline import count_species
    >>> count_species(Structures.from_ase([molecule("H2O"), molecule("O2")]), np.array([1, 8]))
    array([[2., 1.],
           [0., 2.]])
    """
    column = species_index(structures, species)
    counts = np.zeros((len(structures), len(species)))
    np.add.at(counts, (np.repeat(np.arange(len(structures)), structures.n_atoms), column), 1.0)
    return counts
