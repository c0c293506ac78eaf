"""Descriptors of frames that have the same atoms in the same order."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from skatom._typing import StructuresLike
from skatom.descriptors.base import StructureDescriptor
from skatom.structures import as_structures


class DescriptorOfOneComposition(StructureDescriptor):
    """Base class of descriptors whose features belong to certain atoms of a molecule.

    A subclass may implement ``_check_kind(structures)``, which raises a ValueError for parameters
    or structures that cannot be described, and ``_learn(structures)``, what `fit` learns beside
    ``numbers_``.
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: StructuresLike, y: Any = None) -> Self:
        """Learn the composition.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The structures.
        y : ignored

        Returns
        -------
        self
        """
        structures = as_structures(X)
        self._check_kind(structures)
        numbers = fixed_composition(structures)
        self._learn(structures)
        self.numbers_ = numbers
        return self

    def _check_kind(self, structures):
        """Raise a ValueError for what cannot be described."""

    def _learn(self, structures):
        """Learn more than the composition."""

    def _check_structures(self, structures):
        self._check_kind(structures)
        check_composition(structures, self.numbers_)

    def _atom_names(self):
        """Names of the atoms such as ``H1``."""
        check_is_fitted(self)
        return [f"{chemical_symbols[z]}{a}" for a, z in enumerate(self.numbers_)]


def first_of_other_atoms(structures):
    """The first structure whose atoms or their order differ from those of structure 0, or None."""
    n_atoms = structures.n_atoms
    numbers = structures.numbers[: n_atoms[0]]
    different = np.flatnonzero(n_atoms != len(numbers))
    if not len(different):
        rows = structures.numbers.reshape(len(structures), -1) != numbers
        different = np.flatnonzero(rows.any(axis=1))
    return int(different[0]) if len(different) else None


def fixed_composition(structures):
    """The atomic numbers (N,) of all structures; a ValueError if they or their order differ."""
    different = first_of_other_atoms(structures)
    if different is not None:
        raise ValueError(
            f"structure {different} differs from structure 0 in composition or atom order: "
            "inverse distances, and so GDML and SGDML, need the same atoms in the same order in "
            "every frame; a model of atoms learns from all together, such as "
            "make_pipeline(SOAP(), SparseGaussianProcess())"
        )
    return structures.numbers[: structures.n_atoms[0]]


def check_composition(structures, numbers):
    """Raise a ValueError unless the structures have the atoms that were seen in ``fit``."""
    seen = fixed_composition(structures)
    if not np.array_equal(seen, numbers):
        raise ValueError(
            f"these structures have the atoms {_formula(seen)}, but fit saw {_formula(numbers)}: "
            "composition and atom order must agree"
        )


def _formula(numbers):
    return "".join(chemical_symbols[z] for z in numbers)
