"""Formation energies and distances from the convex hull."""

from __future__ import annotations

from math import gcd
from numbers import Real
from typing import Any, Self

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.formula import Formula
from sklearn.base import _fit_context, clone
from sklearn.utils.validation import check_is_fitted

from skatom._compositions import amounts_of, is_formulas
from skatom._input_checks import real_array
from skatom._typing import Array, TargetsLike
from skatom.base import BaseEstimator
from skatom.elements import symbols
from skatom.stability.hull import LowerHull

# eV/atom; energies are given to fewer digits
_STABLE = 1e-8


class PhaseDiagram(BaseEstimator):
    r"""The convex hull of the energies of compounds, and distances from it.

    .. math::
        E_\mathrm{hull}(x) = \min_{\lambda \geq 0} \sum_e \lambda_e E_e, \quad
        \sum_e \lambda_e x_e = x, \qquad d = E - E_\mathrm{hull}(x), \qquad
        E_\mathrm{form} = E - \sum_k x_k E_k

    with the energies E_e and E_k per atom of the known phases and of the elements, and the
    fractions x of the elements. A compound with d ≤ 0 does not fall apart into other phases; up to
    some 0.05 eV/atom above the hull it may be metastable.

    Parameters
    ----------
    references : float or dict, default=None
        Energies per atom of the elements, ``{"Na": -1.31}``, which become entries. A number is that
        of all elements: 0.0 for formation energies. None: each element is among the entries.
    per_atom : bool, default=False
        Whether energies are those of an atom. False: of the structure or the formula.

    Attributes
    ----------
    species_ : ndarray of int, shape (n_species,)
        Sorted atomic numbers of the elements.
    fractions_ : ndarray of float, shape (n_entries, n_species)
        Compositions of the entries: those given to ``fit``, and after them the references.
    energies_ : ndarray of float, shape (n_entries,)
        Their energies in eV/atom.
    names_ : ndarray of str, shape (n_entries,)
        Their formulas, as given or of the smallest whole numbers.
    elements_ : ndarray of float, shape (n_species,)
        The lowest energy of each element in eV/atom.
    formation_energies_, distances_ : ndarray of float, shape (n_entries,)
        Formation energies and distances from the hull in eV/atom.
    stable_ : ndarray of int
        The entries on the hull, of several with the same energy and composition one.

    Raises
    ------
    ValueError
        If an element has no entry and no reference, or energies and compositions are not of the
        same number.

    Notes
    -----
    The linear programs are solved by HiGHS, which SciPy contains: one for each facet of the hull on
    which compositions are asked for, not for each composition.

    Examples
    --------
    >>> from skatom.stability import PhaseDiagram
    >>> diagram = PhaseDiagram(per_atom=True)
    >>> diagram.fit(["Na", "Cl", "NaCl", "NaCl3"], [0.0, 0.0, -1.0, -0.4])
    PhaseDiagram(per_atom=True)
    >>> diagram.distances_
    array([0. , 0. , 0. , 0.1])
    >>> diagram.distances(["NaCl3", "Na2Cl"], [-0.6, -0.5]).round(4)
    array([-0.1   ,  0.1667])
    >>> diagram.mixtures(["NaCl3"])
    [{'Cl': 0.5, 'NaCl': 0.5}]
    """

    _parameter_constraints = {"references": [Real, dict, None], "per_atom": ["boolean"]}

    def __init__(self, references: float | dict | None = None, *, per_atom: bool = False) -> None:
        self.references = references
        self.per_atom = per_atom

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: TargetsLike) -> Self:
        """Compute the hull.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
            The known phases.
        y : Targets or array-like of float, shape (n,)
            Their energies in eV, or in eV/atom if ``per_atom`` is set.

        Returns
        -------
        self
        """
        amounts, species = amounts_of(X)
        energies = self._energies_per_atom(amounts, y)
        self._fitted(*self._with_references(amounts, energies, species))
        self._keep_names(X, 0)
        return self

    def with_entries(self, X: Any, y: TargetsLike) -> PhaseDiagram:
        """The phase diagram with further entries, such as compounds that were computed again.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
            The further phases, of the elements of the diagram.
        y : Targets or array-like of float, shape (n,)
            Their energies in eV, or in eV/atom if ``per_atom`` is set.

        Returns
        -------
        PhaseDiagram
            A new one, fitted, with these entries after the others.
        """
        extended = self._extended(*self._checked(X, y))
        extended.names_[: len(self.names_)] = self.names_
        extended._keep_names(X, len(self.names_))
        return extended

    def _keep_names(self, X, first):
        """The formulas as they were given, from the entry ``first`` on."""
        if is_formulas(X):
            for entry, given in enumerate(X, first):
                if isinstance(given, str):
                    self.names_[entry] = given

    def _extended(self, amounts, energies):
        return clone(self)._fitted(
            np.concatenate([self._amounts_of_entries, amounts]),
            np.concatenate([self.energies_, energies]),
            self.species_,
        )

    def _fitted(self, amounts, energies, species):
        self.species_, self._amounts_of_entries = species, amounts
        self.fractions_, self.energies_ = _normalised(amounts), energies
        self.names_ = np.array([_formula(row, species) for row in amounts], object)
        self.elements_ = self._element_energies()
        self.formation_energies_ = energies - self.fractions_ @ self.elements_
        above = self.formation_energies_ - self._hull().values(self.fractions_)
        self.distances_ = np.where(above > _STABLE, above, 0.0)
        on_hull = np.flatnonzero(self.distances_ == 0)
        rounded = np.round(self.fractions_[on_hull], 12)
        self.stable_ = on_hull[np.sort(np.unique(rounded, axis=0, return_index=True)[1])]
        return self

    def predict(self, X: Any) -> Array:
        """Energies of the most stable mixtures of the known phases.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
            The n compositions.

        Returns
        -------
        ndarray of float, shape (n,)
            In eV, or in eV/atom if ``per_atom`` is set.
        """
        amounts = self._amounts(X)
        per_atom = self._hull_energies(_normalised(amounts))
        return per_atom if self.per_atom else per_atom * amounts.sum(axis=1)

    def formation_energies(self, X: Any, y: TargetsLike) -> Array:
        """Formation energies of compounds from the elements.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
            The n compounds.
        y : Targets or array-like of float, shape (n,)
            Their energies in eV, or in eV/atom if ``per_atom`` is set.

        Returns
        -------
        ndarray of float, shape (n,)
            In eV/atom.
        """
        amounts, energies = self._checked(X, y)
        return energies - _normalised(amounts) @ self.elements_

    def distances(self, X: Any, y: TargetsLike) -> Array:
        """Distances of compounds from the hull of the known phases.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
            The n compounds.
        y : Targets or array-like of float, shape (n,)
            Their energies in eV, or in eV/atom if ``per_atom`` is set.

        Returns
        -------
        ndarray of float, shape (n,)
            In eV/atom; negative for compounds that are more stable than all that is known.
        """
        return self._distances(*self._checked(X, y))

    def margins(self) -> Array:
        """Distances of the entries from the hull of the others.

        Returns
        -------
        ndarray of float, shape (n_entries,)
            In eV/atom: how far a stable entry is below what it would fall apart to, a negative
            number, −inf for the only entry of an element; of the others their distances.
        """
        check_is_fitted(self)
        margins = self.distances_.copy()
        for entry in self.stable_:
            others = np.arange(len(margins)) != entry
            x = self.fractions_[entry]
            if x.max() == 1 and not (self.fractions_[others] == x).all(axis=1).any():
                margins[entry] = -np.inf
                continue
            hull = LowerHull(self.fractions_[others], self.formation_energies_[others])
            margins[entry] = self.formation_energies_[entry] - hull.values(x[None])[0]
        return margins

    def mixtures(self, X: Any) -> list:
        """The stable phases to which compositions fall apart.

        Parameters
        ----------
        X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
            The n compositions.

        Returns
        -------
        list of dict
            ``{formula: fraction of the atoms}``, the largest fraction first.
        """
        found, stable = [], self.stable_
        phases, amounts = self._stable_hull().solve(_normalised(self._amounts(X)))
        for row, parts in zip(phases, amounts, strict=True):
            order = np.lexsort((row, -np.round(parts, 9)))
            order = [k for k in order if parts[k] > _STABLE]
            found.append({str(self.names_[stable[row[k]]]): float(parts[k]) for k in order})
        return found

    def tie_lines(self) -> Array:
        """Pairs of stable phases that exist beside each other.

        Returns
        -------
        ndarray of int, shape (n_pairs, 2)
            Entries. The energy of the hull is linear between the two.
        """
        check_is_fitted(self)
        stable = self.stable_
        first, second = np.triu_indices(len(stable), 1)
        fractions, energies = self.fractions_[stable], self.formation_energies_[stable]
        middle = self._stable_hull().values(0.5 * (fractions[first] + fractions[second]))
        tied = 0.5 * (energies[first] + energies[second]) - middle <= _STABLE
        return np.stack([stable[first[tied]], stable[second[tied]]], axis=1)

    def _hull(self):
        return LowerHull(self.fractions_, self.formation_energies_)

    def _stable_hull(self):
        return LowerHull(self.fractions_[self.stable_], self.formation_energies_[self.stable_])

    def _checked(self, X, y):
        """Amounts of the elements of the diagram, and energies per atom."""
        amounts = self._amounts(X)
        return amounts, self._energies_per_atom(amounts, y)

    def _distances(self, amounts, energies):
        return energies - self._hull_energies(_normalised(amounts))

    def _hull_energies(self, fractions):
        return self._stable_hull().values(fractions) + fractions @ self.elements_

    def _amounts(self, X):
        """Amounts of the elements of the diagram in compositions, (n, n_species)."""
        check_is_fitted(self)
        given, species = amounts_of(X)
        places = np.searchsorted(self.species_, species)
        known = np.take(self.species_, places, mode="clip") == species
        if not known.all():
            row = int((given[:, ~known] > 0).any(axis=1).argmax())
            other = species[~known][(given[row, ~known] > 0).argmax()]
            raise ValueError(
                f"composition {row} contains {chemical_symbols[other]}, which is not in the phase "
                f"diagram ({symbols(self.species_)}): fit it with entries of every element"
            )
        amounts = np.zeros((len(given), len(self.species_)))
        amounts[:, places] = given
        return amounts

    def _energies_per_atom(self, amounts, y):
        energies = real_array(y, "energies")
        if energies.shape != (len(amounts),):
            raise ValueError(
                f"the energies have the shape {energies.shape}, but there are {len(amounts)} "
                "compositions: give one energy for each"
            )
        bad = np.flatnonzero(~np.isfinite(energies))
        if len(bad):
            raise ValueError(
                f"the energy of composition {bad[0]} is {energies[bad[0]]}: leave it out, or give "
                "a finite number"
            )
        return energies if self.per_atom else energies / amounts.sum(axis=1)

    def _with_references(self, amounts, energies, species):
        """Amounts, energies per atom and species with the references as further entries."""
        if self.references is None:
            return amounts, energies, species
        given = self.references
        if not isinstance(given, dict):
            given = {chemical_symbols[z]: given for z in species}
        wrong = [s for s, e in given.items() if s not in atomic_numbers or not np.isfinite(e)]
        if wrong:
            raise ValueError(
                f"references={self.references!r} has no energy of an element for {wrong[0]!r}: "
                "give finite numbers by chemical symbol, such as {'Na': -1.31}"
            )
        numbers = np.array([atomic_numbers[s] for s in given], int)
        every = np.union1d(species, numbers)
        table = np.zeros((len(amounts) + len(numbers), len(every)))
        table[: len(amounts), np.searchsorted(every, species)] = amounts
        table[len(amounts) + np.arange(len(numbers)), np.searchsorted(every, numbers)] = 1.0
        return table, np.concatenate([energies, [float(e) for e in given.values()]]), every

    def _element_energies(self):
        pure = self.fractions_ == 1
        absent = self.species_[~pure.any(axis=0)]
        if len(absent):
            raise ValueError(
                f"there is no entry of pure {symbols(absent)}: add one with its energy for each, "
                f"or give references={{{chemical_symbols[absent[0]]!r}: …}} in eV/atom, 0.0 for "
                "formation energies"
            )
        return np.where(pure, self.energies_[:, None], np.inf).min(axis=0)


def _normalised(amounts):
    return amounts / amounts.sum(axis=1, keepdims=True)


def _formula(amounts, species):
    """A formula of the smallest whole numbers, or with decimals."""
    present = [(chemical_symbols[z], n) for z, n in zip(species, amounts, strict=True) if n]
    if all(float(n).is_integer() for _, n in present):
        divisor = gcd(*(int(n) for _, n in present))
        return format(Formula.from_dict({s: int(n) // divisor for s, n in present}), "metal")
    return "".join(f"{s}{n:g}" for s, n in present)
