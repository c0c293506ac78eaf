"""Cartesian coordinates as features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from ase.data import chemical_symbols
from sklearn.base import _fit_context
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike, StructuresLike
from skatom.descriptors.base import StructureDescriptor
from skatom.descriptors.inverse_distances import check_composition, fixed_composition
from skatom.structures import as_structures


class CartesianCoordinates(StructureDescriptor):
    r"""The coordinates of the atoms of a molecule as they are, :math:`x = (r_1, \ldots, r_N)` in Å.

    They change when the molecule moves, turns or its like atoms change places, and so do models of
    them: they show what invariant features are good for.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers seen in ``fit``; every structure must have them in this order.

    Raises
    ------
    ValueError
        If structures differ in composition or atom order, or are periodic.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import CartesianCoordinates
    >>> CartesianCoordinates().fit_transform([molecule("H2O")])
    StructureFeatures(1 structures, 9 features)
    """

    _parameter_constraints: dict = {}

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
        _check_molecules(structures)
        self.numbers_ = fixed_composition(structures)
        return self

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``x(O0)``."""
        check_is_fitted(self)
        return np.array(
            [f"{axis}({chemical_symbols[z]}{a})" for a, z in enumerate(self.numbers_)
             for axis in "xyz"], object
        )  # fmt: skip

    @property
    def n_features_out_(self) -> Any:
        """Number of coordinates."""
        check_is_fitted(self)
        return 3 * len(self.numbers_)

    def _check_structures(self, structures):
        _check_molecules(structures)
        check_composition(structures, self.numbers_)

    def _values(self, structures):
        return structures.positions.reshape(len(structures), -1).copy()

    def _pullback(self, structures, cotangent):
        gradient = cotangent.reshape(len(structures), -1, 3)
        positions = structures.positions.reshape(gradient.shape)
        return gradient.reshape(-1, 3), np.einsum("nax,nay->nxy", gradient, positions)


def _check_molecules(structures):
    periodic = np.flatnonzero(structures.pbc.any(axis=1))
    if len(periodic):
        raise ValueError(
            f"structure {periodic[0]} is periodic, and its atoms have no coordinates of their own: "
            "use a descriptor of neighbours, such as SOAP"
        )
