"""Cartesian coordinates as features."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike
from skatom.descriptors.one_composition import DescriptorOfOneComposition


class CartesianCoordinates(DescriptorOfOneComposition):
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

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``x(O0)``."""
        names = self._atom_names()
        return np.array([f"{axis}({name})" for name in names for axis in "xyz"], object)

    @property
    def n_features_out_(self) -> Any:
        """Number of coordinates."""
        check_is_fitted(self)
        return 3 * len(self.numbers_)

    def _check_kind(self, structures):
        periodic = np.flatnonzero(structures.pbc.any(axis=1))
        if len(periodic):
            raise ValueError(
                f"structure {periodic[0]} is periodic, and its atoms have no coordinates of their "
                "own: use a descriptor of neighbours, such as SOAP"
            )

    def _values(self, structures):
        return structures.positions.reshape(len(structures), -1).copy()

    def _pullback(self, structures, cotangent):
        gradient = cotangent.reshape(len(structures), -1, 3)
        positions = structures.positions.reshape(gradient.shape)
        return gradient.reshape(-1, 3), np.einsum("nax,nay->nxy", gradient, positions)
