"""Selection of the order of an n-body kernel by marginal likelihood."""

from __future__ import annotations

from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import MetaEstimatorMixin, _fit_context, clone
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._typing import Array, StructuresLike, TargetsLike
from skatom.base import BaseEstimator
from skatom.kernels.nbody.base import NBodyKernel
from skatom.models._diagnosis import diagnose, is_part, undiagnosed
from skatom.models.nbody.nbody_gaussian_process import NBodyGaussianProcess
from skatom.properties import takes_outputs


class KernelOrderSelector(MetaEstimatorMixin, BaseEstimator):
    r"""Select the simplest n-body kernel among the most likely ones.

    .. math::

        \hat k = \min \Big\{ k : \frac{\log p(y \mid k)}{N} >
        \max_{k'} \frac{\log p(y \mid k')}{N} - \mathrm{tol} \Big\}

    The marginal likelihood of N observations weighs the quality of the fit against the flexibility
    of a kernel, so it finds the order of the interactions without a validation set: a lower order
    cannot fit the data, a higher order has more freedom than they determine [1]_. Few data favour
    a lower order than many.

    Compare kernels with the same noise. If amplitudes are optimised too
    (``NBodyGaussianProcess(optimize=True)``), selections from very few data are erratic.

    Parameters
    ----------
    estimator : NBodyGaussianProcess
        The process, which is fitted with each of the kernels.
    kernels : list of NBody, ManyBody or sums of them
        The kernels, simplest first.
    tol : float, default=1e-3
        Differences of the log marginal likelihood per observation below this are ignored.

    Attributes
    ----------
    log_marginal_likelihoods_ : ndarray of float, shape (n_kernels,)
        Log marginal likelihood of each kernel, divided by the number of observations.
    best_index_ : int
        Index of the selected kernel.
    best_estimator_ : NBodyGaussianProcess
        The process fitted with the selected kernel.

    Raises
    ------
    ValueError
        If there are no kernels.

    References
    ----------
    .. [1] A. Glielmo, C. Zeni, Á. Fekete, A. De Vita, in Machine Learning Meets Quantum Physics,
       Springer (2020), section 5.2.5.

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.kernels import NBody
    >>> from skatom.models import KernelOrderSelector, NBodyGaussianProcess
    >>> data = load_boron_nitride()
    >>> pairs, triangles = NBody(cutoff=3.0), NBody(order=3, cutoff=2.8, amplitude=0.3)
    >>> model = NBodyGaussianProcess(noise_forces=0.1, n_environments=40, random_state=0)
    >>> search = KernelOrderSelector(model, [pairs, pairs + triangles])
    >>> search.fit(data.structures[:60:6], data.targets[:60:6]).best_index_
    1
    """

    gives = NBodyGaussianProcess.gives
    learns = NBodyGaussianProcess.learns

    _parameter_constraints = {
        "estimator": [NBodyGaussianProcess],
        "kernels": [list],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, estimator: NBodyGaussianProcess, kernels: list, tol: float = 1e-3) -> None:
        self.estimator = estimator
        self.kernels = kernels
        self.tol = tol

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: StructuresLike, y: TargetsLike, **fit_params: Any) -> Self:
        """Fit with every kernel and keep the best.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of float, shape (n,), eV
            Energies, forces and stresses, or some of them.
        **fit_params
            ``configurations`` and ``sample_weight`` of `NBodyGaussianProcess.fit`.

        Returns
        -------
        self
        """
        if not self.kernels:
            raise ValueError("kernels is empty: give those to choose from, simplest first")
        for kernel in self.kernels:
            if not isinstance(kernel, NBodyKernel):
                raise TypeError(f"kernels has {kernel!r}, which is no kernel: give NBody(…)")
        with undiagnosed():
            models = [
                clone(self.estimator).set_params(kernel=clone(kernel)).fit(X, y, **fit_params)
                for kernel in self.kernels
            ]
        self.log_marginal_likelihoods_ = np.array([
            model.log_marginal_likelihood_ / model.n_observations_ for model in models
        ])  # fmt: skip
        best = self.log_marginal_likelihoods_.max()
        self.best_index_ = int(np.argmax(self.log_marginal_likelihoods_ >= best - self.tol))
        self.best_estimator_ = models[self.best_index_]
        if not is_part():
            diagnose(self.best_estimator_, X, y, fit_params.get("sample_weight"))
        return self

    @takes_outputs
    def predict(self, X: StructuresLike, *, neighbors: Any = None, **returns: Any) -> Array:
        """Predict with the best estimator; see `NBodyGaussianProcess.predict`.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
        neighbors : NeighborList, default=None
            Neighbour list of these structures.
        **returns
            ``return_forces``, ``return_stress``, ``return_std`` and so on.

        Returns
        -------
        ndarray, or tuple of them
        """
        check_is_fitted(self)
        return self.best_estimator_.predict(X, neighbors=neighbors, **returns)

    def score(self, X: StructuresLike, y: TargetsLike) -> float:
        """R² of the best estimator.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
        y : Targets, or array of energies

        Returns
        -------
        float
        """
        check_is_fitted(self)
        return self.best_estimator_.score(X, y)

    def __sklearn_tags__(self):
        return self.estimator.__sklearn_tags__()
