"""Contributions of features to predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skatom._typing import Array
from skatom.descriptors import InverseDistances


@dataclass(frozen=True)
class Attribution:
    r"""Contributions of the inputs of a network to its predictions.

    .. math:: E_s - E_0 = \sum_{m \in s} \Big( \sum_f R_{mf} + r_m \Big)

    The inputs are rows of features: one for each atom of `AtomicFeatures`, one for each part of a
    structure or a sample that a `StructuredMLPRegressor` with ``n_groups`` makes, and otherwise one
    for each structure or sample. `skatom.attribution.relevance` and ``sensitivity`` return them.

    Parameters
    ----------
    values : ndarray of float, shape (n_rows, n_inputs)
        The contributions R, in the unit of the prediction; for squared slopes, their values.
    rest : ndarray of float, shape (n_rows,), or None
        What no input contributes, r: the biases of the network and constants. None for squared
        slopes, which are no parts of a whole.
    outputs : ndarray of float, shape (n_rows,)
        Contribution of each row, the sum of its values and its rest; without the baseline
        :math:`E_0`.
    offsets : ndarray of int, shape (n + 1,)
        Where the rows of each structure or sample begin.
    features : AtomicFeatures, StructureFeatures or None
        The features whose values the inputs are. None for arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.attribution import relevance
    >>> from skatom.models import LinearPotential
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> model = LinearPotential(1e-14).fit(X, X @ [1.0, -2.0] + 3.0)
    >>> found = relevance(model, X[:1])
    >>> bool(np.allclose(found.values, X[:1] * [1.0, -2.0])), found.rest.round(6)
    (True, array([3.]))
    """

    values: Array
    rest: Array | None
    outputs: Array
    offsets: Array
    features: Any = None

    def by_structure(self) -> Array:
        """Contributions of the features of each structure or sample.

        Returns
        -------
        ndarray of float, shape (n, n_features)
            Sums over the atoms of each structure; the parts of a structure lie beside each other.
        """
        n = len(self.offsets) - 1
        if self._of_atoms:
            return np.add.reduceat(self.values, self.offsets[:-1], axis=0)
        return self.values.reshape(n, -1)

    def by_pair(self) -> Array:
        """Contributions of pairs of atoms, for models of `InverseDistances`.

        Returns
        -------
        ndarray of float, shape (n, N, N)
            Symmetric matrices, whose two entries of a pair have half of its contribution each.

        Raises
        ------
        ValueError
            If the features are no functions of one pair each.
        """
        if not self._of_pairs:
            raise ValueError(
                "the features do not belong to pairs of atoms: take InverseDistances, scaled or "
                "not, or by_atom() for AtomicFeatures"
            )
        structures = self.features.structures
        n_atoms = structures.n_atoms[0]
        first, second = np.tril_indices(n_atoms, k=-1)
        found = np.zeros((len(structures), n_atoms, n_atoms))
        found[:, first, second] = found[:, second, first] = 0.5 * self.by_structure()
        return found

    def by_atom(self) -> Array:
        """Contributions of atoms, without the rest.

        Returns
        -------
        ndarray of float, shape (n_atoms,)
            Of `AtomicFeatures` the sum over the features of each atom, which describe its
            neighbourhood; of pairs each atom has half.

        Raises
        ------
        ValueError
            If the features belong neither to atoms nor to pairs.
        """
        if self._of_atoms:
            return self.values.sum(axis=1)
        if self._of_pairs:
            return self.by_pair().sum(axis=2).ravel()
        raise ValueError(
            "the features belong neither to atoms nor to pairs of atoms: fit the model to "
            "AtomicFeatures, from a descriptor without pool, or to InverseDistances"
        )

    @property
    def _of_atoms(self):
        return hasattr(self.features, "pool")

    @property
    def _of_pairs(self):
        features = self.features
        if self._of_atoms or not isinstance(
            getattr(features, "descriptor", None), InverseDistances
        ):
            return False
        names = features.descriptor.get_feature_names_out()
        return len(names) == features.n_features and bool((features.feature_names == names).all())
