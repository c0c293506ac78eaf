"""Moment tensor potentials whose radial functions are trained."""

from __future__ import annotations

from numbers import Integral
from typing import Self

import numpy as np
from scipy.optimize import minimize
from sklearn.base import _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skatom._progress import tqdm
from skatom._typing import ArrayLike, FeaturesLike, RandomState, TargetsLike
from skatom.descriptors import MomentTensor
from skatom.models._regressor import StructureRegressor
from skatom.models.linear.linear_potential import LinearPotential
from skatom.models.linear.radial_problem import RadialProblem
from skatom.structures import as_structures

# Deviation of the first coefficients from the polynomials themselves.
_SPREAD = 0.1
_EXACT = 1e-12  # of a loss in squares of noises: below it there is nothing to learn


class MomentTensorPotential(StructureRegressor):
    r"""Moment tensor potential with trained radial functions.

    .. math::

        E = \sum_i \big( B(i) \cdot w_{Z_i} + \varepsilon_{Z_i} \big), \qquad
        f_\mu(r; Z_i, Z_j) = \sum_{\beta} c_{\mu Z_i Z_j \beta}\, Q_\beta(r), \qquad
        \min_c \min_{w, \varepsilon} \big| \Lambda^{-1/2} (A(c)\, w - y) \big|^2

    B are the contractions of moment tensors of all neighbours, `MomentTensor`, whose radial
    functions f have coefficients c for each pair of species, so that the number of features does
    not grow with the number of species [1]_. For given c the model is linear, a `LinearPotential`.
    The outer minimum is found by L-BFGS for the solution of the inner one: variable projection [2]_
    needs no derivatives of w, since the inner problem is at its minimum. Each step costs a linear
    fit.

    The fit of c penalises w with the regularisation that has the largest evidence at its start;
    the final model is a fit of the given ``estimator``.

    Parameters
    ----------
    descriptor : MomentTensor, default=None
        The descriptor. Its parameters ``by_center``, ``include_bias`` and ``radial_coefficients``
        are not used. None: ``MomentTensor()``.
    estimator : LinearPotential, default=None
        The linear model, with the noises and the baseline. None: ``LinearPotential()``.
    n_radial : int, default=8
        Number of polynomials Q in a radial function.
    max_iter : int, default=50
        Largest number of steps of L-BFGS; 0 leaves the coefficients as they begin.
    random_state : int, RandomState or None, default=None
        Seed of the first coefficients, which are the polynomials Q and small random parts of
        others.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    radial_coefficients_ : ndarray of float, shape (n_mu, n_species, n_species, n_radial)
        The coefficients c, by the species of the centre and of the neighbour.
    descriptor_ : MomentTensor
        The descriptor with these coefficients.
    estimator_ : LinearPotential
        The linear model of its features.
    loss_path_ : ndarray of float
        The inner minimum after each step, the first before the first step.
    species_ : ndarray of int, shape (n_species,)
        Sorted atomic numbers seen in `fit`.
    absolute_energies_ : bool
        Whether energies were learnt.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts.

    Raises
    ------
    ValueError
        If ``n_radial`` is less than the number of radial functions of the level.

    References
    ----------
    .. [1] I. S. Novikov, K. Gubaev, E. V. Podryabinkin, A. V. Shapeev, Mach. Learn.: Sci. Technol.
       2, 025002 (2021).
    .. [2] G. H. Golub, V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973).

    Examples
    --------
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.descriptors import MomentTensor
    >>> from skatom.models import MomentTensorPotential
    >>> data = load_boron_nitride()
    >>> model = MomentTensorPotential(
    ...     MomentTensor(cutoff=3.5, level=6), n_radial=4, max_iter=5, random_state=0
    ... )
    >>> model = model.fit(data.structures[:6], data.targets[:6])
    >>> model.radial_coefficients_.shape
    (2, 2, 2, 4)
    >>> bool(model.loss_path_[-1] < model.loss_path_[0])
    True
    """

    gives = LinearPotential.gives
    learns = LinearPotential.learns

    _parameter_constraints = {
        "descriptor": [MomentTensor, None],
        "estimator": [LinearPotential, None],
        "n_radial": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        descriptor: MomentTensor | None = None,
        estimator: LinearPotential | None = None,
        *,
        n_radial: int = 8,
        max_iter: int = 50,
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        self.descriptor = descriptor
        self.estimator = estimator
        self.n_radial = n_radial
        self.max_iter = max_iter
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: FeaturesLike,
        y: TargetsLike,
        sample_weight: ArrayLike | None = None,
        configurations: ArrayLike | None = None,
    ) -> Self:
        """Train the radial functions, and fit the linear model.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            The n structures.
        y : Targets, or array-like of energies, shape (n,), eV
            Energies, forces and stresses, or some of them.
        sample_weight : array-like of float, shape (n,), default=None
            Weights of the structures, by which their noise variance is divided; structures of
            weight 0 are ignored.
        configurations : array-like of str, shape (n,), default=None
            Name of the configuration of each structure, for noises given as a dict.

        Returns
        -------
        self
        """
        structures = as_structures(X)
        potential = clone(self.estimator or LinearPotential())
        problem = RadialProblem(
            self.descriptor or MomentTensor(), potential, structures, y, sample_weight,
            configurations,
        )  # fmt: skip
        start = self._first_coefficients(problem.n_mu, len(structures.species))
        coefficients, path = self._trained(problem, start)
        descriptor = problem.descriptor_of(coefficients)
        given = {"sample_weight": sample_weight, "configurations": configurations}
        potential.fit(descriptor.transform(structures), y, **given)
        vars(self).update(
            radial_coefficients_=coefficients,
            descriptor_=descriptor,
            estimator_=potential,
            loss_path_=path,
            **{name: getattr(potential, name) for name in
               ("species_", "absolute_energies_", "baseline_", "outputs_")},
        )  # fmt: skip
        return self

    def _first_coefficients(self, n_mu, n_species):
        if self.n_radial < n_mu:
            raise ValueError(
                f"n_radial={self.n_radial} polynomials are fewer than the {n_mu} radial functions "
                f"of this level: give n_radial={n_mu} or more"
            )
        shape = (n_mu, n_species, n_species, self.n_radial)
        random = check_random_state(self.random_state).normal(size=shape)
        return np.eye(n_mu, self.n_radial)[:, None, None, :] + _SPREAD * random

    def _trained(self, problem, start):
        """The coefficients of the least loss, and the losses of the steps."""
        problem.begin(start)
        path = [problem.loss(start)[0]]
        if not self.max_iter:
            return start, np.array(path)
        progress = tqdm(total=self.max_iter, desc="fit", unit="step", disable=not self.verbose)

        def objective(flat):
            value, slopes = problem.loss(flat.reshape(start.shape))
            value += _EXACT
            return np.log(value), slopes.ravel() / value

        def after(intermediate_result):
            path.append(float(np.exp(intermediate_result.fun)) - _EXACT)
            progress.update()

        with progress:
            found = minimize(
                objective, start.ravel(), jac=True, method="L-BFGS-B", callback=after,
                options={"maxiter": self.max_iter},
            )  # fmt: skip
        return found.x.reshape(start.shape), np.array(path)

    def _checked(self, X):
        check_is_fitted(self)
        if hasattr(X, "descriptor"):
            raise TypeError(
                "MomentTensorPotential has a descriptor of its own: pass structures, not features"
            )
        return as_structures(X)

    def _evaluate(self, X, names):
        return self.estimator_._evaluate(self.descriptor_.transform(X), names)
