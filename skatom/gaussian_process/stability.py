"""Whether an extrapolation depends on which samples were learnt."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ShuffleSplit
from sklearn.utils import check_array

from skatom._typing import Array, ArrayLike, RandomState
from skatom.gaussian_process.kernel_search import KernelSearch
from skatom.parallel import serial_blas


def extrapolation_stability(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    statistic: Callable,
    *,
    n_splits: int = 10,
    train_size: float = 0.8,
    random_state: int | RandomState | None = None,
) -> Array:
    r"""What models predict that learn from random parts of the samples.

    .. math:: s_k = s\big(\hat f_k\big), \qquad \hat f_k \text{ learns from } (X, y)_{i \in I_k}

    Outside of the samples there is no error to measure. A quantity that is extrapolated, such as
    the place of a transition, may be believed if it does not move with the samples.

    Parameters
    ----------
    estimator : estimator
        A regressor, which is cloned. Of a fitted `KernelSearch` the kernel is kept and only its
        hyperparameters are optimised again.
    X : array-like of float, shape (n, n_features)
        All samples.
    y : array-like of float, shape (n,)
        Labels.
    statistic : callable
        Function of a fitted model that returns a number or an array.
    n_splits : int, default=10
        Number of models.
    train_size : float, default=0.8
        Part of the samples that each learns from.
    random_state : int, RandomState or None, default=None
        Seed of the parts.

    Returns
    -------
    ndarray of float, shape (n_splits, …)
        The statistic of each model.

    References
    ----------
    .. [1] R. A. Vargas-Hernández, J. Sous, M. Berciu, R. V. Krems, Phys. Rev. Lett. 121, 255702
       (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from skatom.gaussian_process import extrapolation_stability
    >>> X = np.linspace(0, 1, 30)[:, None]
    >>> found = extrapolation_stability(
    ...     LinearRegression(), X, 2 * X[:, 0], lambda model: model.predict([[3.0]])[0]
    ... )
    >>> found.shape, bool(np.allclose(found, 6.0))
    ((10,), True)
    """
    X, y = check_array(X, dtype=float), np.asarray(y)
    if isinstance(estimator, KernelSearch):
        estimator = estimator.unfitted_process()
    splits = ShuffleSplit(n_splits, train_size=train_size, random_state=random_state)
    found = []
    for chosen, _ in splits.split(X):
        with warnings.catch_warnings(), serial_blas():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.append(statistic(clone(estimator).fit(X[chosen], y[chosen])))
    return np.array(found)
