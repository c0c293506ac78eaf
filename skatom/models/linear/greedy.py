"""What the models that choose features greedily share."""

import math
from numbers import Integral, Real

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from tqdm import tqdm

from skatom.base import BaseEstimator
from skatom.baseline import count_species
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.memory import check_memory
from skatom.models.linear.rows import ForceProblem, LinearProblem
from skatom.parallel import serial_blas
from skatom.solvers.greedy import orthogonal_least_squares
from skatom.targets import as_targets


class GreedyRegressor(RegressorMixin, BaseEstimator):
    """A linear model of arrays, or of atomic features, whose columns are chosen greedily.

    A subclass fits ``coef_`` and ``intercept_``.
    """

    _parameter_constraints = {
        "max_terms": [Interval(Integral, 1, None, closed="left")],
        "max_features": [
            None,
            StrOptions({"sqrt"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "fit_intercept": ["boolean", StrOptions({"candidate"})],
        "tol": [Interval(Real, 1e-7, 1, closed="left")],
        "method": [StrOptions({"auto", "gram", "gram-schmidt"})],
        "energy_weight": [Interval(Real, 0, None, closed="left")],
        "force_weight": [Interval(Real, 0, None, closed="left")],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _problem(self, X, y):
        """The least-squares problem; sets what is known of the features."""
        if not _has_derivatives(X):
            X, y = validate_data(
                self, X, np.asarray(y) if y is not None else None, dtype=float, y_numeric=True
            )
            self.species_ = None
            self.absolute_energies_ = True
            self.predicts_ = ("energy",)
            return LinearProblem(X, np.asarray(y, float), np.ones((len(X), 1)), self.fit_intercept)
        if len(X) == 0:
            raise ValueError("got no structures: pass at least one")
        targets = as_targets(y, X.structures)
        use_energies = self.energy_weight > 0 and targets.labelled("energy").any()
        use_forces = self.force_weight > 0 and targets.labelled("forces").any()
        if not use_energies and not use_forces:
            raise ValueError(
                f"no structure has energies or forces to learn from (targets: "
                f"{', '.join(targets.names)}; energy_weight={self.energy_weight}, "
                f"force_weight={self.force_weight}): give labels and a positive weight"
            )
        self.species_ = X.species
        self.n_features_in_ = X.values.shape[1]
        self.absolute_energies_ = bool(use_energies)
        self.predicts_ = ("energy", "forces", "stress")
        return ForceProblem(
            X, targets, self.species_, self.fit_intercept, self.energy_weight, self.force_weight
        )

    def _use_gram(self, rows, n_terms):
        if self.method == "auto":
            # 10: a pass over A costs as much, for its size, as a tenth of AᵀA
            return rows.problem.n_columns <= min(10 * n_terms, rows.n_rows)
        return self.method == "gram"

    def _path(self, rows, n_terms, rng, equations=None, verbose=0):
        """The greedy path of some rows."""
        n_columns = rows.problem.n_columns
        method = "gram" if equations or self._use_gram(rows, n_terms) else "gram-schmidt"
        if method == "gram-schmidt":
            check_memory(
                16.0 * rows.n_rows * (n_columns + n_terms),
                f"the matrix of {rows.n_rows} rows and {n_columns} features",
                "use method='gram', or select features first",
            )

        def blocks(columns):
            return tqdm(rows.blocks(columns), "blocks of rows", disable=not verbose, leave=False)

        return orthogonal_least_squares(
            blocks, n_terms, max_features=self._n_candidates(n_columns), tol=self.tol,
            method=method, magnitudes=rows.magnitudes, equations=equations, random_state=rng,
            verbose=verbose,
        )  # fmt: skip

    def _n_candidates(self, n_columns):
        if self.max_features == "sqrt":
            return math.isqrt(n_columns)
        if self.max_features is None or isinstance(self.max_features, Integral):
            return self.max_features
        return max(1, int(self.max_features * n_columns))

    def _train_and_test(self, rows, test_weights, rng, equations=None, verbose=0):
        """A path on some rows, its squared errors on others, and the weight of those."""
        held_out = rows.held_out(test_weights)
        for part, use in ((rows, "train"), (held_out, "test")):
            if part.total_weight == 0:
                raise ValueError(
                    f"a split has no samples with labels and weight to {use} on: change cv, the "
                    "groups or the weights"
                )
        path = self._path(rows, min(self.max_terms, rows.longest), rng, equations, verbose)
        with serial_blas():  # threads would round in another way
            errors = path.squared_errors(held_out.blocks(path.support))
        return path, errors, held_out.total_weight

    def _intercepts(self, constants):
        """Constants (m, …) as ``intercept_``: m elements, or one number."""
        if self.species_ is not None:
            return constants
        return constants[0] if constants.ndim > 1 else float(constants[0])

    def predict(self, X, return_forces=False, return_stress=False):
        """Energies, or whatever y was; forces and stresses if asked for.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or AtomicFeatures, as in ``fit``
        return_forces : bool, default=False
        return_stress : bool, default=False
            For structures that are periodic in all three directions. Both need AtomicFeatures.

        Returns
        -------
        energies : ndarray of shape (n,)
        forces : ndarray of shape (n_atoms, 3), eV/Å
            With ``return_forces=True``.
        stress : ndarray of shape (n, 3, 3), eV/Å³
            With ``return_stress=True``; tension positive, as in ASE.
        """
        X = self._features(X)
        result = [self._energies(X, self.coef_, self.intercept_)]
        if return_forces or return_stress:
            result += self._derivatives(X, return_forces, return_stress)
        return result[0] if len(result) == 1 else tuple(result)

    def score(self, X, y, sample_weight=None):
        """R² of the energies, or of the forces where the model learnt no energies.

        Parameters
        ----------
        X : array-like of shape (n, n_features), or AtomicFeatures
        y : array-like of shape (n,), or Targets
        sample_weight : array-like of shape (n,), default=None

        Returns
        -------
        float
        """
        check_is_fitted(self)
        if self.absolute_energies_:
            return super().score(X, np.asarray(y), sample_weight)
        targets = as_targets(y, X.structures)
        if sample_weight is not None:
            sample_weight = np.repeat(sample_weight, X.n_atoms)
        forces = self.predict(X, return_forces=True)[1]
        return r2_score(targets.require("forces"), forces, sample_weight=sample_weight)

    def _features(self, X):
        """The door of ``predict``."""
        check_is_fitted(self)
        if _has_derivatives(X) != (self.species_ is not None):
            given, learnt = ("AtomicFeatures", "an array")[:: 1 if _has_derivatives(X) else -1]
            raise ValueError(
                f"X is {given}, but the model was fitted to {learnt}: give it the same features, "
                "from the same descriptor"
            )
        if self.species_ is None:
            return validate_data(self, X, dtype=float, reset=False)
        if X.values.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.values.shape[1]} features, but {type(self).__name__} was fitted to "
                f"{self.n_features_in_}: use the same descriptor"
            )
        return X

    def _energies(self, X, coef, intercept):
        """Σ features · coef and the intercept; several models if the two have more dimensions."""
        if self.species_ is None:
            return X @ coef + intercept
        sums = np.add.reduceat(X.values @ coef, X.offsets[:-1], axis=0)
        return sums + count_species(X.structures, self.species_) @ intercept

    def _derivatives(self, X, return_forces, return_stress):
        if self.species_ is None:
            raise ValueError(
                "forces and stresses need features with derivatives: fit to AtomicFeatures, from "
                "a descriptor without pool"
            )
        volumes = X.structures.volumes() if return_stress else None
        gradient, virial = X.pullback(self.coef_)
        result = [-gradient] if return_forces else []
        if return_stress:
            result.append(virial / volumes[:, None, None])
        return result


def check_weights(sample_weight, problem):
    """Weights of the samples as an array, 1 if there are none."""
    if sample_weight is None:
        return np.ones(len(problem))
    weights = _check_sample_weight(sample_weight, problem.y, dtype=float, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("all sample weights are zero: give at least one sample a positive weight")
    return weights


def count_samples(indices, n_samples):
    """How often each sample occurs among indices or in a mask."""
    return np.bincount(np.arange(n_samples)[indices], minlength=n_samples)


def extend(paths):
    """Errors of paths as rows of one array; one that ended early goes on with its last model."""
    length = max(map(len, paths))
    return np.array([np.pad(path, (0, length - len(path)), "edge") for path in paths])


def _has_derivatives(X):
    return isinstance(X, AtomicFeatures)
