"""Least squares of labels by linear models of features: the steps of a fit and of a prediction."""

from typing import Self

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted

from skatom._device import is_tensor
from skatom._linear_design import Design, TableColumns
from skatom.baseline import fit_baseline
from skatom.descriptors.origin import origin_of
from skatom.elements import species_index
from skatom.models._feature_regressor import kind_of
from skatom.models._labels import check_labels
from skatom.models.linear.base import LinearModel
from skatom.models.linear.label_sums import KINDS
from skatom.models.linear.linear_predictions import (
    LinearDeviations,
    LinearExpansion,
    TableDeviations,
    TableExpansion,
)
from skatom.models.linear.linear_problem import (
    LabelledStructures,
    WeightedTable,
    belong_to_species,
    sums_of_splits,
)
from skatom.models.linear.regularisation import (
    by_equations,
    check_exact,
    growth_factors,
    ridge_problem,
    ridge_solution,
    solution_by,
)
from skatom.models.linear.ridge import cross_validated
from skatom.targets import Targets, as_targets

_NOISES = ("noise_energy", "noise_forces", "noise_virial")


class LeastSquaresModel(LinearModel):
    """A linear model whose coefficients follow from sums of squares of its labels.

    A subclass has the parameters of `LinearPotential`. A fit determines its problem (`_start`),
    sums the squares (`_sums_of`), and solves (`_solve`).
    """

    def _check_settings(self):
        if self.learn_noise and (self.alpha == "cv" or self.solver is not None):
            raise ValueError(
                "learn_noise=True needs the evidence, which neither alpha='cv' nor a solver has: "
                "give alpha='evidence' or a number, and no solver"
            )

    def _start(self, X, y, sample_weight, configurations):
        """Determine what stays the same in `partial_fit`; the least-squares problem of the data."""
        kind = kind_of(X)
        if kind is None or (kind == "StructureFeatures" and not isinstance(y, Targets)):
            return self._start_table(X, y, sample_weight)
        if len(X) == 0:
            raise ValueError("got no structures: pass at least one")
        targets = as_targets(y, X.structures)
        learnt = check_labels(targets, self.learns, type(self).__name__)
        atomic = kind == "AtomicFeatures"
        left_out = {"local_energies"} if not atomic else set()
        species = X.structures.species
        self._learnt_from, self._origin, self.species_ = kind, origin_of(X), species
        own_columns = bool(self.by_species) and atomic and not belong_to_species(X, species)
        self._design = Design.of(X, own_columns, bool(self.fit_intercept))
        self.n_features_in_ = X.n_features
        self.absolute_energies_ = "energy" in learnt
        self.outputs_ = self._given(left_out)
        self.baseline_ = fit_baseline(self.baseline, X.structures, targets, sample_weight)
        self._growth = self._growth_of(X)
        return self._labelled(X, targets, sample_weight, configurations)

    def _start_table(self, X, y, sample_weight):
        self._check_table(X, y)
        problem = self._table(X, y, sample_weight, reset=True)
        self._learnt_from, self.species_, self.baseline_ = None, None, None
        self._design = TableColumns(self.n_features_in_, bool(self.fit_intercept))
        self.absolute_energies_ = True
        self.outputs_ = self._given(set(self.gives) - {"energy", "energy_std"})
        self._growth = self._growth_of(X)
        return problem

    def _given(self, left_out):
        without = self.solver is not None
        return tuple(
            n for n in self.gives if n not in left_out and not (without and n.endswith("_std"))
        )

    def _growth_of(self, X):
        """The factors g of the prior of all columns but the constants."""
        degrees = getattr(X, "degrees", None) if self.degrees is None else self.degrees
        factors = growth_factors(self.n_features_in_, degrees, self.smoothness)
        return self._design.of_columns(factors)

    def _labelled(self, X, targets, sample_weight, configurations):
        noise = {name: getattr(self, name) for name in _NOISES}
        return LabelledStructures.of(
            self._design, X, targets, self.baseline_, noise, configurations, sample_weight
        )

    def _table(self, X, y, sample_weight, reset):
        X, y = self._validated(X, y, reset)
        return WeightedTable.of(X, y, sample_weight, bool(self.fit_intercept))

    def _sums_of(self, problem):
        """The sums of all labels, as normal equations where these are as exact."""
        if self._learnt_from is None:
            return problem.sums(slice(None))
        on_device = is_tensor(problem.X.values)
        as_equations = by_equations(
            self.alpha, self._growth, self.learn_noise, self.solver, on_device
        )
        return problem.sums(slice(None), as_equations)

    def _cross_validate(self, problem, groups):
        """Choose α by the errors of structures that were left out; the sums of all labels."""
        pairs, whole = sums_of_splits(problem, check_cv(self.cv), groups, self._design.n_columns)
        self._alpha_of_cv, self.cv_errors_ = cross_validated(
            pairs, self._design.n_constants, self._growth, self._learnt_from is None,
            float(self.scaling),
        )  # fmt: skip
        return whole

    def _solve(self, sums):
        """Determine α, the noises and the coefficients from the sums of all labels."""
        of_table, m = self._learnt_from is None, self._design.n_constants
        if self.alpha == "cv" and self.solver is None and self._alpha_of_cv is None:
            raise ValueError("alpha='cv' is chosen in fit: fit the model to all data with it")
        check_exact(sums, self.alpha, self._growth, self.learn_noise, self.solver)
        problem = ridge_problem(sums, m, self._growth, of_table, float(self.scaling))
        alpha = self._alpha_of_cv if self.alpha == "cv" else self.alpha
        if self.solver is not None:
            found = solution_by(clone(self.solver), problem)
        else:
            found = ridge_solution(problem, alpha, bool(self.learn_noise))
        w = found.coefficients
        constants = w[:m] if m else np.zeros(1 if of_table else len(self.species_))
        vars(self).update(
            sums_=sums,
            n_structures_seen_=sums.n_structures,
            alpha_=found.alpha,
            noise_factors_={kind: 1.0 for kind in KINDS} | found.noise_factors,
            log_marginal_likelihood_=found.log_marginal_likelihood,
            posterior_=found.posterior,
            coef_=self._design.coefficients(w),
            intercept_=float(constants[0]) if of_table else constants,
        )
        return self

    def for_prediction(self, *, keep_factor: bool = False) -> Self:
        """The model without what only further fits need; this one is left unchanged.

        The sums of squares of the labels take n_columns² · 4 bytes or more in memory and in files,
        and so does the factor. The coefficients take next to nothing. Without the sums,
        ``partial_fit``, ``merge`` and ``regularized`` raise an error.

        Parameters
        ----------
        keep_factor : bool, default=False
            Whether to keep the factor, from which standard deviations are computed.

        Returns
        -------
        LinearPotential
            A model that predicts the same.

        Examples
        --------
        >>> import numpy as np
        >>> from skatom.models import LinearPotential
        >>> X = np.random.default_rng(0).normal(size=(40, 3))
        >>> model = LinearPotential().fit(X, X @ [1.0, 2.0, 3.0])
        >>> small = model.for_prediction()
        >>> bool((small.predict(X) == model.predict(X)).all()), small.outputs_
        (True, ('energy',))
        """
        check_is_fitted(self)
        small = self._copied()
        vars(small).pop("sums_", None)
        if not keep_factor:
            small.posterior_ = None
            small.outputs_ = tuple(name for name in self.outputs_ if not name.endswith("_std"))
        return small

    def _copied(self):
        """A model that has learnt the same."""
        copied = clone(self)
        vars(copied).update({k: v for k, v in vars(self).items() if k not in vars(copied)})
        return copied

    def _learnt_sums(self, what):
        """The sums of all labels, which ``what`` needs."""
        if not hasattr(self, "sums_"):
            raise ValueError(
                f"{what} needs the sums of squares of the labels, which for_prediction has left "
                "out: use the model that it was made of"
            )
        return self.sums_

    def _for_jobs(self, names):
        return self.for_prediction(keep_factor=any(name.endswith("_std") for name in names))

    def _remedy(self, name):
        without = self.posterior_ is None and self.solver is None and self._lacks_deviation(name)
        return "; for_prediction(keep_factor=True) of the whole model has it" if without else ""

    def __sklearn_is_fitted__(self):
        return hasattr(self, "coef_")

    def _evaluate(self, X, names):
        expansion, deviations = LinearExpansion, LinearDeviations
        if self._learnt_from is None:
            expansion, deviations = TableExpansion, TableDeviations
        found = expansion(self.coef_, self.intercept_, self.species_).by_name(X, names)
        if any(name.endswith("_std") for name in names):
            deviations = deviations(self._design, self.posterior_, self.absolute_energies_)
            found |= deviations.by_name(X, names)
        return found

    def _checked(self, X):
        X = super()._checked(X)
        if self._learnt_from is not None:
            species_index(X.structures, self.species_)  # raises for species not seen in fit
        return X
