"""Kernels of the pairs of atoms in a molecule as features."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike
from skatom.descriptors.inverse_distances import pair_indices
from skatom.descriptors.pair_distances import FunctionOfPairs


class PairKernelMatrix(FunctionOfPairs):
    r"""A kernel of the positions of every two atoms of a molecule.

    .. math::
        \text{gaussian:}\ e^{-r_{ab}^2/\sigma^2}, \qquad
        \text{exponential:}\ e^{-(r_{ab}/\sigma)^\gamma}, \qquad
        \text{power:}\ Z_a Z_b\, r_{ab}^\gamma, \qquad a > b

    The elements of a matrix like that of Coulomb, which is the power γ = −1, with a function of the
    distance that can be chosen. The matrix is symmetric and its diagonal constant, so features are
    the elements below the diagonal, in the order (1,0), (2,0), (2,1), (3,0) … They do not depend on
    translation, rotation and reflection, but on the permutation of like atoms. In periodic
    directions the nearest image is taken, so distances beyond half a cell are not smooth.

    Parameters
    ----------
    kernel : {"gaussian", "exponential", "power"}, default="gaussian"
        The function of the distance.
    sigma : float, default=1.0
        The length σ of the first two in Å.
    gamma : float, default=None
        The exponent γ of the last two, not 0, and positive for "exponential". None: 1 for
        "exponential", −1 for "power".

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers seen in `fit`; every structure must have them in this order.

    Raises
    ------
    ValueError
        If structures differ in composition or atom order, two atoms are at the same place, or the
        exponent makes no function of distances.

    References
    ----------
    .. [1] R. Manavalan, Machine learning potentials using higher order interactions, thesis,
       Technische Universität München (2023).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import PairKernelMatrix
    >>> PairKernelMatrix("power").fit_transform([molecule("H2O")]).values.round(2)
    array([[8.26, 8.26, 0.66]])
    >>> matrix = PairKernelMatrix(sigma=1.5).fit([molecule("H2O")])
    >>> matrix.get_feature_names_out()
    array(['k(H1,O0)', 'k(H2,O0)', 'k(H2,H1)'], dtype=object)
    """

    _parameter_constraints = {
        "kernel": [StrOptions({"gaussian", "exponential", "power"})],
        "sigma": [POSITIVE],
        "gamma": [Real, None],
    }

    def __init__(
        self, kernel: str = "gaussian", *, sigma: float = 1.0, gamma: float | None = None
    ) -> None:
        self.kernel = kernel
        self.sigma = sigma
        self.gamma = gamma

    def _check_kind(self, structures):
        gamma = self._exponent()
        limited = self.kernel == "exponential"
        if not np.isfinite(gamma) or gamma == 0 or (limited and gamma < 0):
            others = "a positive number" if limited else "a number other than 0"
            raise ValueError(
                f"gamma={gamma} makes no kernel={self.kernel!r} of distances: give {others}"
            )

    def _exponent(self):
        if self.gamma is not None and self.kernel != "gaussian":
            return self.gamma
        return {"gaussian": 2.0, "exponential": 1.0, "power": -1.0}[self.kernel]

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> Any:
        """Names such as ``k(H1,O0)``."""
        return np.array([f"k({pair})" for pair in self._pair_names()], object)

    def _function(self, squares):
        gamma = self._exponent()
        if self.kernel == "power":
            first, second = pair_indices(len(self.numbers_))
            charges = 1.0 * self.numbers_[first] * self.numbers_[second]
            values = charges * squares ** (0.5 * gamma)
            return values, gamma * values / squares
        # beyond 1e3 the exponential is 0
        powers = np.minimum((squares / self.sigma**2) ** (0.5 * gamma), 1e3)
        values = np.exp(-powers)
        return values, -gamma * powers * values / squares
