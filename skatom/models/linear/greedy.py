"""The base class of models that select features greedily."""

import math
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from skatom._device import DEVICES, beside, on_host, resolve
from skatom._input_checks import structure_weights
from skatom._intervals import POSITIVE
from skatom.baseline import count_species, fit_baseline
from skatom.descriptors.origin import origin_of
from skatom.memory import check_memory
from skatom.models._feature_regressor import kind_of
from skatom.models._labels import Labels, check_labels
from skatom.models.linear.base import LinearModel
from skatom.models.linear.jobs import rows_in_jobs
from skatom.models.linear.rows import LinearProblem
from skatom.models.linear.structure_problem import StructureProblem
from skatom.parallel import serial_blas
from skatom.solvers import orthogonal_least_squares
from skatom.targets import Targets, as_targets


class GreedyRegressor(LinearModel):
    """A linear model of arrays, or of features of structures, whose columns are chosen greedily.

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
        "noise_energy": [POSITIVE, dict, "array-like"],
        "noise_forces": [POSITIVE, dict, "array-like"],
        "noise_virial": [POSITIVE, dict, "array-like"],
        "baseline": "no_validation",
        "max_memory": [None, POSITIVE],
        "device": [DEVICES],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _problem(self, X, y, configurations=None):
        """The least-squares problem; sets the attributes that describe the features."""
        resolve(self.device, getattr(self, "n_jobs", None))  # its errors come before the work
        kind = kind_of(X)
        if kind is None or (kind == "StructureFeatures" and not isinstance(y, Targets)):
            return self._array_problem(X, y)
        if len(X) == 0:
            raise ValueError("got no structures: pass at least one")
        targets = as_targets(y, X.structures)
        learnt = check_labels(targets, self.learns, type(self).__name__)
        self._learnt_from, self._origin = kind, origin_of(X)
        self.species_ = X.structures.species
        self.n_features_in_ = X.n_features
        self.absolute_energies_ = "energy" in learnt
        self.outputs_ = self.gives
        self.baseline_ = fit_baseline(self.baseline, X.structures, targets)
        noise = {
            name: getattr(self, name) for name in ("noise_energy", "noise_forces", "noise_virial")
        }
        labels = Labels.of(X.structures, targets, self.baseline_, noise, configurations)
        sums = X.pool("sum") if kind == "AtomicFeatures" else X
        problem = StructureProblem(sums, labels, self.species_, self.fit_intercept)
        resolve(self._place(problem), getattr(self, "n_jobs", None))
        return problem

    def _array_problem(self, X, y):
        self._check_table(X, y)
        X, y = self._validated(X, y)
        self._learnt_from, self.species_, self.baseline_ = None, None, None
        self.absolute_energies_ = True
        self.outputs_ = tuple(name for name in self.gives if name in ("energy", "energy_std"))
        return LinearProblem(X, np.asarray(y, float), np.ones((len(X), 1)), self.fit_intercept)

    def _use_gram(self, rows, n_terms):
        if self.method == "auto":
            # 10: relative to its size, a pass over A costs as much as a tenth of AᵀA
            return rows.problem.n_columns <= min(10 * n_terms, rows.n_rows)
        return self.method == "gram"

    def _path(self, rows, n_terms, rng, equations=None, verbose=0):
        """The greedy path of some rows."""
        n_columns = rows.problem.n_columns
        method = "gram" if equations or self._use_gram(rows, n_terms) else "gram-schmidt"
        if method == "gram-schmidt":
            check_memory(
                orthogonal_least_squares.memory(rows.n_rows, n_columns, n_terms, method),
                f"the matrix of {rows.n_rows} rows and {n_columns} features",
                "use method='gram', or select features first",
                self.max_memory,
            )
        system = rows
        place = self._place(rows.problem)
        if method == "gram" and resolve(place) is None:
            system = rows_in_jobs(rows)
            if equations is None and system is not rows:
                equations = system.equations()
        return orthogonal_least_squares(
            system, n_terms, max_features=self._n_candidates(n_columns), tol=self.tol,
            method=method, magnitudes=rows.magnitudes, equations=equations, random_state=rng,
            verbose=verbose, device=place,
        )  # fmt: skip

    def _place(self, problem):
        """The parameter ``device`` of the Gram matrix: where rows are made, or this model's."""
        return self.device if problem.place == "cpu" else problem.place

    def _n_candidates(self, n_columns):
        if self.max_features == "sqrt":
            return math.isqrt(n_columns)
        if self.max_features is None or isinstance(self.max_features, Integral):
            return self.max_features
        return max(1, int(self.max_features * n_columns))

    def _train_and_test(self, rows, test_weights, rng, equations=None, verbose=0):
        """A path on some rows, its squared errors on other rows, and the weight of the latter."""
        held_out = rows.held_out(test_weights)
        for part, use in ((rows, "train"), (held_out, "test")):
            if part.total_weight == 0:
                raise ValueError(
                    f"a split has no samples with labels and weight to {use} on: change cv, the "
                    "groups or the weights"
                )
        path = self._path(rows, min(self.max_terms, rows.longest), rng, equations, verbose)
        with serial_blas():  # threads would round in another way
            system = rows_in_jobs(held_out) if rows.problem.place == "cpu" else held_out
            errors = path.squared_errors(system.blocks(path.support))
        return path, errors, held_out.total_weight

    def _intercepts(self, constants):
        """Constants (m, …) as ``intercept_``: m elements, or one number."""
        if self.species_ is not None:
            return constants
        return constants[0] if constants.ndim > 1 else float(constants[0])

    def _energies(self, X, coef, intercept):
        """Σ features · coef and the intercept; several models if the two have more dimensions."""
        if self._learnt_from is None:
            return X @ coef + intercept
        sums = on_host(X.values @ beside(coef, X.values))
        if self._learnt_from == "AtomicFeatures":
            sums = np.add.reduceat(sums, X.offsets[:-1], axis=0)
        return sums + count_species(X.structures, self.species_) @ intercept

    def _evaluate(self, X, names):
        found = {}
        if "energy" in names:
            found["energy"] = self._energies(X, self.coef_, self.intercept_)
        if {"gradient", "virial"} & {*names}:
            pulled = X.pullback(beside(self.coef_, X.values))
            found["gradient"], found["virial"] = map(on_host, pulled)
        return found


def check_weights(sample_weight, problem):
    """Weights of the samples as an array, 1 if there are none."""
    of = "structure" if isinstance(problem, StructureProblem) else "sample"
    return structure_weights(sample_weight, len(problem), of)


def count_samples(indices, n_samples):
    """Number of times that each sample occurs among indices or in a mask."""
    return np.bincount(np.arange(n_samples)[indices], minlength=n_samples)


def extend(paths):
    """Errors of paths as rows of one array; a short path is extended by its last model."""
    length = max(map(len, paths))
    return np.array([np.pad(path, (0, length - len(path)), "edge") for path in paths])
