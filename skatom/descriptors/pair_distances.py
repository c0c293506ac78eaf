"""Powers of the distances in a molecule."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skatom._typing import ArrayLike
from skatom.descriptors.inverse_distances import (
    incidence,
    pair_indices,
    pair_vectors,
)
from skatom.descriptors.one_composition import DescriptorOfOneComposition


class FunctionOfPairs(DescriptorOfOneComposition):
    """Base class of one function of the distance of every pair of atoms of a molecule.

    A subclass implements ``_function(squares)``: the features of pairs whose squared distances are
    (n, n_pairs), and 1/r times their slopes; and names in the order of `pair_indices`.
    """

    @property
    def n_features_out_(self) -> Any:
        """Number of pairs."""
        check_is_fitted(self)
        return len(self.numbers_) * (len(self.numbers_) - 1) // 2

    def _pair_names(self):
        """Names such as ``H1,O0``."""
        labels = self._atom_names()
        pairs = zip(*pair_indices(len(labels)), strict=True)
        return [f"{labels[a]},{labels[b]}" for a, b in pairs]

    def _values(self, structures):
        return self._finite(pair_vectors(structures))[0]

    def _slopes(self, structures):
        """Pair vectors, and the derivatives along them with respect to the first atom."""
        vectors = pair_vectors(structures)
        return vectors, self._finite(vectors)[1][:, :, None] * vectors

    def _finite(self, vectors):
        """The features and 1/r times their slopes; a ValueError if they overflow."""
        squares = np.einsum("npx,npx->np", vectors, vectors)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found = self._function(squares)
        if not all(np.isfinite(array).all() for array in found):
            low, high = np.sqrt([squares.min(), squares.max()])
            raise ValueError(
                f"the function of distances from {low:.1e} to {high:.1e} Å overflows: check the "
                f"unit of positions and the parameters of {self}"
            )
        return found

    def _pullback(self, structures, cotangent):
        vectors, slopes = self._slopes(structures)
        return gradient_and_virial(vectors, cotangent[:, :, None] * slopes)

    def _jacobian(self, structures, needed):
        vectors, slopes = self._slopes(structures)
        gradients = -np.einsum("ap,npx->naxp", incidence(len(self.numbers_)), slopes)
        strains = np.einsum("npx,npy->nxyp", slopes, vectors)
        return gradients.reshape(-1, 3, vectors.shape[1]), strains


def gradient_and_virial(vectors, along):
    """Gradient (n_atoms, 3) and virial (n, 3, 3) of derivatives along the vectors of all pairs."""
    n_atoms = pair_atoms(vectors.shape[1])
    # the signs are those of inverse distances, which fall with the distance
    gradient = -np.einsum("ap,npx->nax", incidence(n_atoms), along)
    return gradient.reshape(-1, 3), np.einsum("npx,npy->nxy", along, vectors)


def pair_atoms(n_pairs):
    """The number of atoms that have so many pairs."""
    return (1 + math.isqrt(1 + 8 * n_pairs)) // 2


class PairDistances(FunctionOfPairs):
    r"""Interatomic distances of a molecule, or a power of them.

    .. math:: x_{ab} = |\mathbf r_a - \mathbf r_b|^p, \qquad a > b

    The features are invariant to translation, rotation and reflection, but not to permutation of
    like atoms. In periodic directions the nearest image is taken, so distances beyond half a cell
    are not smooth. The N (N - 1) / 2 features, in Å^p, belong to the pairs (1,0), (2,0), (2,1),
    (3,0) …

    Parameters
    ----------
    power : float, default=1.0
        The power p, not 0. For p = −1 `InverseDistances` does the same, on a card too.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers seen in `fit`; every structure must have them in this order.

    Raises
    ------
    ValueError
        If structures differ in composition or atom order, two atoms are at the same place, or the
        power is 0.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import PairDistances
    >>> features = PairDistances().fit_transform([molecule("H2O")])
    >>> features.values.round(3)
    array([[0.969, 0.969, 1.526]])
    >>> gradient, virial = features.pullback([1.0, 1.0, 0.0])
    """

    _parameter_constraints = {"power": [Real]}

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def _check_kind(self, structures):
        if self.power == 0 or not np.isfinite(self.power):
            raise ValueError(
                f"power={self.power} makes no function of distances: give another number, such as "
                "1 or -1"
            )

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``d(H1,O0)``, and ``d(H1,O0)^2`` of powers."""
        suffix = "" if self.power == 1 else f"^{self.power:g}"
        return np.array([f"d({pair}){suffix}" for pair in self._pair_names()], object)

    def _function(self, squares):
        return squares ** (0.5 * self.power), self.power * squares ** (0.5 * self.power - 1)
