"""Composite kernels of Gaussian processes, grown by sums and products."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    Matern,
    RationalQuadratic,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from skatom._intervals import POSITIVE
from skatom._typing import ArrayLike
from skatom.base import BaseEstimator
from skatom.memory import check_memory
from skatom.parallel import map_jobs, serial_blas

_BASES = ("LIN", "RBF", "MAT", "RQ")


def bayesian_information_criterion(process: GaussianProcessRegressor) -> float:
    r"""The Bayesian information criterion of a fitted Gaussian process; larger is better.

    .. math:: \mathrm{BIC} = \log p(y \mid \hat\theta) - \tfrac12 |\hat\theta| \log n

    Parameters
    ----------
    process : GaussianProcessRegressor
        A fitted process; :math:`|\hat\theta|` is the number of its optimised hyperparameters.

    Returns
    -------
    float

    References
    ----------
    .. [1] G. Schwarz, Ann. Stat. 6, 461 (1978).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> from skatom.gaussian_process import bayesian_information_criterion
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> process = GaussianProcessRegressor(optimizer=None, alpha=0.1).fit(X, X[:, 0])
    >>> bool(bayesian_information_criterion(process) == process.log_marginal_likelihood_value_)
    True
    """
    n_parameters = process.kernel_.n_dims if process.optimizer is not None else 0
    value = process.log_marginal_likelihood_value_
    return float(value - 0.5 * n_parameters * np.log(len(process.X_train_)))


class Candidate(NamedTuple):
    """A kernel that `KernelSearch` has tried.

    Attributes
    ----------
    level : int
        How many base kernels were added to or multiplied with the first.
    expression : str
        The kernel in terms of base kernels, such as ``(MAT + RBF) * LIN``.
    bic : float
        Its Bayesian information criterion; −∞ if its matrix has no Cholesky factor.
    kernel : sklearn.gaussian_process.kernels.Kernel
        The kernel with optimised hyperparameters.
    """

    level: int
    expression: str
    bic: float
    kernel: Any


class KernelSearch(RegressorMixin, BaseEstimator):
    r"""A Gaussian process whose kernel is grown by sums and products of simple kernels.

    .. math::
        k_0 = \arg\max_b \mathrm{BIC}(c\, b), \qquad
        k_{X+1} = \arg\max_b \big\{\mathrm{BIC}(k_X + c\, b),\ \mathrm{BIC}(k_X\, b)\big\}

    with the base kernels

    .. math::
        \mathrm{LIN} = x \cdot x' + \ell, \quad \mathrm{RBF} = e^{-r^2/2}, \quad
        \mathrm{MAT} = \big(1 + \sqrt 5\, r + \tfrac53 r^2\big) e^{-\sqrt 5\, r}, \quad
        \mathrm{RQ} = \Big(1 + \frac{|x - x'|^2}{2 \alpha \ell^2}\Big)^{-\alpha}

    of the scaled distance :math:`r^2 = \sum_d (x_d - x'_d)^2 / \ell_d^2`. Each candidate is a
    `sklearn.gaussian_process.GaussianProcessRegressor` that maximises its likelihood over all
    hyperparameters, from the optimum of the kernel that it has grown from and from random ones.
    Kernels of a few levels extrapolate where simple ones return to the mean; see
    `extrapolation_stability` for a check. Scale the inputs to numbers of order 1 before.

    Parameters
    ----------
    base_kernels : tuple of str, default=("LIN", "RBF", "MAT", "RQ")
        The base kernels.
    ard : bool, default=True
        Whether RBF and MAT have one length scale for each feature. False: a single one.
    max_level : int, default=3
        Largest number of steps.
    alpha : float, default=1e-8
        Variance of the noise of the labels, in their unit squared. The criterion of data without
        noise depends on it, so compare kernels with the same one.
    n_restarts : int, default=4
        Number of random starts of each optimisation.
    bounds : tuple of float, default=(1e-2, 1e2)
        Smallest and largest value of every hyperparameter.
    selection : {"bic", "random"}, default="bic"
        "random": a candidate is taken at random at each step, as a control of what the criterion
        contributes.
    stop_on_decrease : bool, default=True
        End before ``max_level`` if no candidate is better than the kernel that it grows from; only
        with "bic".
    n_jobs : int, default=None
        Number of candidates that are fitted at once, each in one thread, as in joblib.
    random_state : int, RandomState or None, default=None
        Seed of the random starts and of "random".

    Attributes
    ----------
    process_ : GaussianProcessRegressor
        The fitted process of the chosen kernel.
    kernel_ : sklearn.gaussian_process.kernels.Kernel
        The chosen kernel.
    expression_ : str
        The chosen kernel in terms of base kernels, such as ``(MAT + RBF) * LIN``.
    bic_ : float
        Its Bayesian information criterion.
    level_ : int
        How many base kernels were added to or multiplied with the first.
    path_ : list of Candidate
        All that were fitted, in their order.

    Raises
    ------
    ValueError
        If ``base_kernels`` is empty or has an unknown name, or no kernel has a Cholesky factor.
    MemoryError
        If the derivatives of the kernel matrix would not fit in memory.

    References
    ----------
    .. [1] D. Duvenaud, J. R. Lloyd, R. Grosse, J. B. Tenenbaum, Z. Ghahramani, Proceedings of
       Machine Learning Research 28, 1166 (2013).
    .. [2] R. A. Vargas-Hernández, J. Sous, M. Berciu, R. V. Krems, Phys. Rev. Lett. 121, 255702
       (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.gaussian_process import KernelSearch
    >>> X = np.random.default_rng(0).uniform(-2, 2, (40, 2))
    >>> y = X[:, 0] * np.sin(2 * X[:, 1])
    >>> search = KernelSearch(("LIN", "RBF"), max_level=1, n_restarts=0).fit(X, y)
    >>> len(search.path_), search.level_
    (6, 1)
    """

    _parameter_constraints = {
        "base_kernels": [tuple, list],
        "ard": ["boolean"],
        "max_level": [Interval(Integral, 0, None, closed="left")],
        "alpha": [POSITIVE],
        "n_restarts": [Interval(Integral, 0, None, closed="left")],
        "bounds": [tuple],
        "selection": [StrOptions({"bic", "random"})],
        "stop_on_decrease": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        base_kernels: tuple[str, ...] = _BASES,
        *,
        ard: bool = True,
        max_level: int = 3,
        alpha: float = 1e-8,
        n_restarts: int = 4,
        bounds: tuple[float, float] = (1e-2, 1e2),
        selection: str = "bic",
        stop_on_decrease: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.base_kernels = base_kernels
        self.ard = ard
        self.max_level = max_level
        self.alpha = alpha
        self.n_restarts = n_restarts
        self.bounds = bounds
        self.selection = selection
        self.stop_on_decrease = stop_on_decrease
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Grow the kernel.

        Parameters
        ----------
        X : array-like of float, shape (n, n_features)
            The samples.
        y : array-like of float, shape (n,)
            Labels.

        Returns
        -------
        self
        """
        X, y = validate_data(self, X, y, dtype=float, y_numeric=True, ensure_min_samples=2)
        bases = self._bases(X.shape[1])
        check_memory(
            8.0 * len(X) ** 2 * (4 + (X.shape[1] + 2) * (self.max_level + 1)),
            f"the derivatives of the kernel matrix of {len(X)} samples",
            "use fewer samples",
        )
        random, path = check_random_state(self.random_state), []
        scaled = [(name, self._constant() * base) for name, base in bases.items()]
        best = self._step(0, scaled, X, y, random, path)
        while best[0].level < self.max_level:
            grown = self._step(1 + best[0].level, self._grown(best[0], bases), X, y, random, path)
            if self.selection == "bic" and self.stop_on_decrease and grown[0].bic <= best[0].bic:
                break
            best = grown
        self.path_ = path
        (self.level_, self.expression_, self.bic_, self.kernel_), self.process_ = best
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Predict labels, and their standard deviations.

        Parameters
        ----------
        X : array-like of float, shape (m, n_features)
            The samples.
        return_std : bool, default=False
            Also return the standard deviations.

        Returns
        -------
        mean : ndarray of float, shape (m,)
        std : ndarray of float, shape (m,)
            With ``return_std``.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=float, reset=False)
        return self.process_.predict(X, return_std=return_std)

    def unfitted_process(self) -> GaussianProcessRegressor:
        """The process of the chosen kernel before a fit, to learn from other samples.

        Returns
        -------
        GaussianProcessRegressor
            It starts from the hyperparameters that were found, without random starts.
        """
        check_is_fitted(self)
        return _process(clone(self.kernel_), self.alpha, 0, None)

    def _bases(self, n_features):
        unknown = set(self.base_kernels) - set(_BASES)
        if unknown or not self.base_kernels:
            raise ValueError(
                f"base_kernels={self.base_kernels!r}: give some of {', '.join(_BASES)}"
            )
        lengths, bounds = np.ones(n_features if self.ard else 1), self.bounds
        known = {
            "LIN": DotProduct(1.0, bounds),
            "RBF": RBF(lengths, bounds),
            "MAT": Matern(lengths, bounds, nu=2.5),
            "RQ": RationalQuadratic(1.0, 1.0, bounds, bounds),
        }
        return {name: known[name] for name in self.base_kernels}

    def _constant(self):
        return ConstantKernel(1.0, self.bounds)

    def _grown(self, parent, bases):
        """(expression, kernel) of all sums and products with a base kernel."""
        kernel, text = parent.kernel, parent.expression
        factor = f"({text})" if " + " in text.rsplit(")", 1)[-1] else text
        for name, base in bases.items():
            yield f"{text} + {name}", clone(kernel) + self._constant() * base
            yield f"{factor} * {name}", clone(kernel) * base

    def _step(self, level, kernels, X, y, random, path):
        """Fit the candidates of a level, or one of them, and return the chosen one."""
        kernels = list(kernels)
        if self.selection == "random":
            kernels = [kernels[random.randint(len(kernels))]]
        seeds = random.randint(2**31 - 1, size=len(kernels))
        jobs = [
            (text, _process(kernel, self.alpha, self.n_restarts, int(seed)), X, y)
            for (text, kernel), seed in zip(kernels, seeds, strict=True)
        ]
        found = [
            (Candidate(level, *entry), process)
            for *entry, process in map_jobs(_fitted, jobs, self.n_jobs)
        ]
        path += [candidate for candidate, _ in found]
        best = max(found, key=lambda entry: entry[0].bic)
        if best[0].bic == -np.inf:
            raise ValueError(
                f"no kernel of level {level} has a positive definite matrix: raise "
                f"alpha={self.alpha:g}, or leave out samples that are alike"
            )
        return best


def _process(kernel, alpha, n_restarts, seed):
    return GaussianProcessRegressor(
        kernel, alpha=alpha, n_restarts_optimizer=n_restarts, random_state=seed
    )


def _fitted(job):
    """The expression, criterion and kernel of a candidate, and its process."""
    expression, process, X, y = job
    # warnings are of hyperparameters at their bounds; matrices of some hundred rows need one thread
    with warnings.catch_warnings(), serial_blas():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            process.fit(X, y)
        except np.linalg.LinAlgError:
            return expression, -np.inf, process.kernel, process
    return expression, bayesian_information_criterion(process), process.kernel_, process
