"""The rows of a linear least-squares problem, weighted, and without its intercept."""

import numpy as np

from skatom._device import beside, namespace
from skatom.parallel import split_rows

# A block of rows.
_BLOCK_BYTES = 2**27


class LinearProblem:
    r"""The least-squares problem y ≈ X w + C e, where C are the few columns of an intercept.

    With the best e for any w, it is the problem of the residuals of y and of the columns of X after
    a fit of C to each:

    .. math:: \min_w \lVert (y - C e_y) - (X - C E_X)\, w \rVert^2 , \qquad e = e_y - E_X w .

    For C = 1 this is the usual subtraction of means.

    Parameters
    ----------
    X : ndarray of float, shape (n, d)
    y : ndarray of float, shape (n,)
    C : ndarray of float, shape (n, m)
    intercept : {True, False, "candidate"}
        Whether e is fitted, is zero, or C are further columns to choose from.
    weights : ndarray of float, shape (n,), default=None
        Weights of the rows. None: 1.
    """

    # Where rows of derivatives are made: a value of the parameter ``device``.
    place = "cpu"
    # Columns are judged as if they were at least this share of the longest; columns of an array may
    # have any units.
    least_share = 0.0

    def __init__(self, X, y, C, intercept, weights=None):
        self.X, self.y, self.C = X, y, C
        self.intercept = intercept if isinstance(intercept, str) else bool(intercept)
        self.weights = np.ones(len(y)) if weights is None else weights
        self.n_features = X.shape[1]
        self.n_columns = X.shape[1] + (C.shape[1] if intercept == "candidate" else 0)

    def __len__(self):
        return len(self.y)

    def part(self, samples):
        """The problem of a slice of the samples."""
        return LinearProblem(
            self.X[samples], self.y[samples], self.C[samples], self.intercept,
            self.weights[samples],
        )  # fmt: skip

    def rows_of_samples(self, sample_weight):
        """Number of rows of each sample."""
        return 1 * (sample_weight * self.weights > 0)

    def columns(self, rows, columns):
        """X[rows][:, columns], where C stands to the right of X if its columns are candidates."""
        if isinstance(columns, slice):
            candidates = self.intercept == "candidate"
            return np.hstack([self.X[rows], self.C[rows]]) if candidates else self.X[rows]
        part = np.empty((len(rows), len(columns)))
        ours = columns < self.n_features
        part[:, ours] = self.X[rows[:, None], columns[ours]]
        part[:, ~ours] = self.C[rows[:, None], columns[~ours] - self.n_features]
        return part

    def coef(self, support, coefficients):
        """Coefficients of all features (d, …) from those of chosen columns (n_terms, …)."""
        ours = support < self.n_features
        full = np.zeros((self.n_features, *coefficients.shape[1:]))
        full[support[ours]] = coefficients[ours]
        return full

    def constants(self, support, coefficients, constants):
        """e (m, …) for coefficients of chosen columns, with the e of every column."""
        chosen = support >= self.n_features
        e = np.zeros((self.C.shape[1], *coefficients.shape[1:]))
        e[support[chosen] - self.n_features] = coefficients[chosen]
        if constants is not None:
            e += (constants[:, -1] - (constants[:, support] @ coefficients).T).T
        return e

    def total_weight(self, sample_weight):
        """The total weight of the labels, by which a sum of weighted squared errors is divided."""
        return float(sample_weight @ (self.weights > 0))

    def n_derivative_rows(self, sample_weight):
        """Number of rows of forces and virials: none without structures."""
        return 0

    def derivative_blocks(self, sample_weight, columns):
        """Weighted rows ``(A, b)`` of forces and virials: none without structures."""
        return ()


class WeightedRows:
    """The rows of a problem with given weights of its samples, ready for a least-squares solver.

    Parameters
    ----------
    problem : LinearProblem
    sample_weight : ndarray of float, shape (n,)
        A weight of zero leaves a sample out.
    constants : ndarray of float, shape (m, d + 1), default=None
        e of every column of X and, last, of y. None: fitted to these rows.

    Attributes
    ----------
    constants : ndarray, or None
        None: C is no intercept.
    magnitudes : ndarray of float, shape (n_columns + 1,), or None
        Norms of the columns and of y before C was taken out.
    longest : int
        The most terms that so many rows can determine.
    total_weight : float
        The weight by which a sum of squared errors is divided.
    """

    def __init__(self, problem, sample_weight, constants=None):
        self.problem = problem
        self.sample_weight = sample_weight
        self.weights = sample_weight * problem.weights
        self.rows = np.flatnonzero(self.weights)
        self.constants = constants
        self.magnitudes = None
        self.n_rows = len(self.rows) + problem.n_derivative_rows(sample_weight)
        if constants is None and problem.intercept is True:
            self._fit_constants()

    def held_out(self, sample_weight):
        """WeightedRows of other samples, with the constants of these rows subtracted."""
        return WeightedRows(self.problem, sample_weight, self.constants)

    @property
    def longest(self):
        n_constants = 0
        if self.problem.intercept is True and len(self.rows):
            roots = np.sqrt(self.weights[self.rows, None])
            n_constants = int(np.linalg.matrix_rank(self.problem.C[self.rows] * roots))
        return min(self.problem.n_columns, self.n_rows - n_constants)

    @property
    def total_weight(self):
        return self.problem.total_weight(self.sample_weight)

    def blocks(self, columns):
        """Yield weighted rows ``(A, b)`` of the given columns.

        Those of all columns are tensors where derivatives are made on a device.
        """
        for rows in self._pieces(columns):
            matrix = self.problem.columns(rows, columns)
            target = self.problem.y[rows]
            if self.constants is not None:
                constants = self.problem.C[rows]
                matrix -= constants @ self.constants[:, :-1][:, columns]
                target = target - constants @ self.constants[:, -1]
            roots = np.sqrt(self.weights[rows])
            matrix *= roots[:, None]
            yield matrix, target * roots
        yield from self.problem.derivative_blocks(self.sample_weight, columns)

    def all_blocks(self):
        """Yield blocks of all columns with those of C, if they are an intercept, at their right."""
        start = 0
        for matrix, target in self.blocks(slice(None)):
            rows = self.rows[start : start + len(target)]  # none are left for derivatives
            start += len(target)
            if self.constants is not None:
                constants = np.zeros((len(target), self.problem.C.shape[1]))
                constants[: len(rows)] = self.problem.C[rows] * np.sqrt(self.weights[rows, None])
                matrix = namespace(matrix).hstack([matrix, beside(constants, matrix)])
            yield matrix, target

    def _fit_constants(self):
        """Least squares of y and all columns on C, of the smallest norm if C is deficient."""
        problem, roots = self.problem, np.sqrt(self.weights)
        u, s, vt = np.linalg.svd(problem.C[self.rows] * roots[self.rows, None], full_matrices=False)
        kept = s > s.max(initial=0.0) * len(self.rows) * np.finfo(float).eps
        directions = np.zeros((len(problem), int(kept.sum())))
        directions[self.rows] = u[:, kept]
        projections = np.zeros((directions.shape[1], problem.n_features + 1))
        squares = np.zeros(problem.n_features + 1)
        for rows in self._pieces(slice(None)):
            matrix = problem.X[rows] * roots[rows, None]
            projections[:, :-1] += directions[rows].T @ matrix
            target = problem.y[rows] * roots[rows]
            projections[:, -1] += directions[rows].T @ target
            squares[:-1] += np.einsum("nd,nd->d", matrix, matrix)
            squares[-1] += target @ target
        self.constants = vt[kept].T / s[kept] @ projections
        self.magnitudes = np.sqrt(squares)
        columns = self.magnitudes[:-1]
        np.maximum(columns, problem.least_share * columns.max(initial=0.0), out=columns)

    def _pieces(self, columns):
        n_columns = self.problem.n_columns if isinstance(columns, slice) else len(columns)
        size = max(1, _BLOCK_BYTES // (8 * (n_columns + 1)))
        return [self.rows[piece] for piece in split_rows(len(self.rows), size)]
