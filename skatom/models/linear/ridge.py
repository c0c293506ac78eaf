"""Ridge regression from sums of squares: coefficients, evidence, cross-validation."""

import numpy as np
from scipy.linalg import LinAlgError, solve_triangular
from scipy.optimize import minimize

from skatom.parallel import serial_blas
from skatom.solvers import StreamedQR

# Deviation of the constants of elements that the data leave open, eV: they take part in no error.
_CONSTANTS = 100.0
# Features that are this small beside others are the rounding of zeros.
_LEAST_SHARE = 1e-8
# Ranges of the regularisation, and of noises relative to where the search begins.
_ALPHAS, _FACTORS = (1e-16, 1e4), (1e-6, 1e4)
# Values that cross-validation tries.
ALPHAS = np.logspace(-14, 0, 15)


class RidgeProblem:
    r"""Least squares of several kinds of labels, with a penalty of each coefficient.

    .. math:: \sum_t f_t^{-2}\, |\Lambda_t^{-1/2} (A_t w - y_t)|^2
        + \alpha \sum_j g_j^2\, l^{2 - 2s}\, |a_j|^{2s}\, w_j^2

    The length :math:`|a_j|` is that of the column j of all rows :math:`\Lambda^{-1/2} A`, without
    what constants explain, and l the root mean square of all lengths: α is a number without unit,
    and with s = 1 whatever the units of the features.

    Parameters
    ----------
    sums : LabelSums
        Reduced.
    n_constants : int
        Number of constants, the first columns.
    growth : ndarray of float, shape (n_columns - n_constants,)
        The factors g.
    of_table : bool
        Whether the rows are those of a table, whose constant is determined in any case and whose
        noise is unknown.
    scaling : float
        The exponent s.
    """

    def __init__(self, sums, n_constants, growth, of_table=False, scaling=1.0):
        self.sums, self.n_constants, self.of_table = sums, n_constants, of_table
        self.kinds = [kind for kind, n in sums.n_labels.items() if n]
        self.n_labels = np.array([float(sums.n_labels[kind]) for kind in self.kinds])
        self._weak = 0.0 if of_table or not n_constants else 1 / _CONSTANTS
        self.lengths = self._lengths()
        mean = np.sqrt((self.lengths**2).mean()) if len(self.lengths) else 1.0
        self.penalties = (mean * (self.lengths / mean) ** scaling * growth) ** 2
        self._data = {}

    def _lengths(self):
        m = self.n_constants
        whole = self._start(np.zeros(self.sums.n_columns - m))
        for kind in self.kinds:
            whole = whole.merge(self.sums.parts[kind])
        triangle = whole.triangle
        lengths = np.sqrt(np.einsum("ij,ij->j", triangle[m:, m:], triangle[m:, m:]))
        norms = np.sqrt(np.einsum("ij,ij->j", triangle[:, m:], triangle[:, m:]))
        return self._floored(lengths, norms)

    def _floored(self, lengths, norms):
        """Lengths of the columns, those of zeros replaced; ``norms`` include the constants."""
        if self.of_table:  # columns may have any units: what is left of each beside its norm
            floor = np.where(norms > 0, norms, 1.0) * _LEAST_SHARE
        else:
            floor = _LEAST_SHARE * lengths.max(initial=0.0) or 1.0
        return np.where(lengths > floor, lengths, np.maximum(lengths.max(initial=0.0), floor))

    def _start(self, roots):
        """The rows of the penalty alone."""
        constants = np.full(self.n_constants, self._weak)
        return StreamedQR(self.sums.n_columns, prior=np.diag(np.append(constants, roots)))

    def data(self, factors):
        """The factorisation of all rows, whose noises are multiplied by factors of each kind."""
        key = tuple(factors)
        if key not in self._data:
            parts = [
                self.sums.parts[k].scaled(1 / f) for k, f in zip(self.kinds, factors, strict=True)
            ]
            for part in parts[1:]:
                parts[0] = parts[0].merge(part)
            self._data = {key: parts[0]}
        return self._data[key]

    def posterior(self, alpha, factors):
        """The factorisation of all rows and the penalty."""
        with serial_blas():
            return self._start(np.sqrt(alpha * self.penalties)).merge(self.data(factors))

    def solve(self, posterior):
        """The coefficients; a ValueError if nothing determines them."""
        try:
            return posterior.solve()
        except LinAlgError:
            n_labels, n = int(self.n_labels.sum()), len(self.penalties)
            raise ValueError(
                f"{n_labels} labels do not determine the coefficients of {n} features without "
                "regularisation: give alpha='evidence' or a number above 0, more labels, or "
                "features that do not depend on each other"
            ) from None

    def evidence(self, alpha, factors):
        r"""Logarithm of the marginal likelihood, and its slopes along log α and log f.

        .. math:: \log N(y \mid 0,\; A P^{-1} A^\top + F \Lambda F),
            \qquad P = \mathrm{diag}(\alpha\, g_j^2 |a_j|^2)

        The slopes are those of MacKay: with the penalty q of the solution, its squared errors
        :math:`r_t`, the matrix S of the posterior, and :math:`\gamma_t = \mathrm{tr}(S A_t^\top
        A_t)`, they are :math:`(n - q - \mathrm{tr}\, S P)/2` and :math:`r_t + \gamma_t - n_t`.

        Returns
        -------
        value : float
        slopes : ndarray of float, shape (1 + n_kinds,)
        """
        factors = np.asarray(factors, float)
        posterior = self.posterior(alpha, factors)
        triangle, w = posterior.triangle, self.solve(posterior)
        penalties, m = alpha * self.penalties, self.n_constants
        with serial_blas():
            roots = solve_triangular(
                triangle.T, np.diag(np.append(np.zeros(m), np.sqrt(penalties))), lower=True
            )
            shrinkage = float(np.einsum("ij,ij->", roots, roots))
            slopes = [0.5 * (len(penalties) - penalties @ w[m:] ** 2 - shrinkage)]
            for kind, factor, n in zip(self.kinds, factors, self.n_labels, strict=True):
                error, gamma = self.fitted(self.sums.parts[kind], triangle, w)
                slopes.append((error + gamma) / factor**2 - n)
        return self.log_likelihood(posterior, alpha, factors), np.array(slopes)

    def log_likelihood(self, posterior, alpha, factors):
        """The value alone of `evidence`, from the posterior of α and the factors."""
        diagonal = self._diagonal(posterior)
        determinant = 2 * np.log(np.abs(diagonal)).sum() - np.log(alpha * self.penalties).sum()
        determinant -= 2 * self.n_constants * np.log(self._weak) if self._weak else 0.0
        noises = 2 * (self.sums.log_noise + self.n_labels @ np.log(factors))
        n_labels = self.n_labels.sum()
        return -0.5 * float(
            posterior.residuals[0] + determinant + noises + n_labels * np.log(2 * np.pi)
        )

    @staticmethod
    def _diagonal(posterior):
        return posterior.triangle.diagonal()

    def fitted(self, part, triangle, w):
        """The squared errors of a kind at w, and the number of its labels that w spends."""
        own = part.triangle
        spent = solve_triangular(triangle.T, own.T, lower=True)
        return self.squared_errors(part, w), float(np.einsum("ij,ij->", spent, spent))

    @staticmethod
    def squared_errors(part, w):
        """|A w − y|² of the rows of a kind."""
        left = part.triangle @ w - part.projections[:, 0]
        return float(left @ left + part.residuals[0])

    def best(self, alpha=None, learn_noise=False):
        """α and factors of the largest evidence; a given α, or factors of 1, are kept.

        Returns
        -------
        alpha : float
        factors : ndarray of float, shape (n_kinds,)
        """
        start = np.ones(len(self.kinds))
        if self.of_table:
            scale = np.sqrt(self._variance())
            if scale == 0:  # nothing to explain
                return 1.0 if alpha is None else alpha, start
            start = np.array([scale])
        free = np.array([alpha is None, *np.full(len(start), learn_noise)])
        begin = np.log(np.append(1e-6 if alpha is None else alpha, start))
        bounds = [np.log(_ALPHAS)] + [b + np.log(_FACTORS) for b in np.log(start)]

        def parameters(x):
            """α and factors. The search is for α times the square of the least noise, whose
            lower bound keeps all coefficients determined however small the noises become."""
            at = begin.copy()
            at[free] = x
            least = 1 + int(np.argmin(at[1:]))
            if free[0]:
                at[0] -= 2 * at[least]
            return np.exp(at[0]), np.exp(at[1:]), least

        def loss(x):
            at, factors, least = parameters(x)
            value, slopes = self.evidence(at, factors)
            if free[0]:
                slopes[least] -= 2 * slopes[0]
            return -value, -slopes[free]

        kept = [b for b, f in zip(bounds, free, strict=True) if f]
        found = minimize(loss, begin[free], jac=True, method="L-BFGS-B", bounds=kept)
        alpha, factors, _ = parameters(found.x)
        return float(alpha), factors

    def _variance(self):
        """The mean square of the targets, less the constant."""
        part = self.sums.parts[self.kinds[0]]
        left = part.projections[self.n_constants :, 0]
        return (left @ left + part.residuals[0]) / self.n_labels[0]


def cross_validated(splits, n_constants, growth, of_table, scaling):
    """The α of `ALPHAS` whose fits to the first of two sums have the least errors on the second.

    Parameters
    ----------
    splits : list of (LabelSums, LabelSums)

    Returns
    -------
    alpha : float
    errors : ndarray of float, shape (n_alphas,)
        Sums over the splits, weighted by the noises.
    """
    errors = np.zeros(len(ALPHAS))
    for train, test in splits:
        problem = RidgeProblem(train, n_constants, growth, of_table, scaling)
        for k, alpha in enumerate(ALPHAS):
            w = problem.solve(problem.posterior(alpha, np.ones(len(problem.kinds))))
            with serial_blas():
                errors[k] += sum(problem.squared_errors(part, w) for part in test.parts.values())
    return float(ALPHAS[np.argmin(errors)]), errors


def solved_by(solver, problem):
    r"""The coefficients that a linear regressor of scikit-learn finds.

    It sees as many rows as there are columns, and one more, whose sums of squares are those of all
    labels, for features divided by their length and their factor g.
    """
    m, n_labels = problem.n_constants, problem.n_labels.sum()
    whole = problem._start(np.zeros(len(problem.penalties)))
    whole = whole.merge(problem.data(np.ones(len(problem.kinds))))
    triangle, targets = whole.triangle, whole.projections[:, 0]
    scale = np.sqrt(n_labels / problem.penalties)
    rows = np.vstack([triangle[m:, m:] * scale, np.zeros(len(scale))])
    y = np.append(targets[m:], np.sqrt(whole.residuals[0]))
    root = np.sqrt(len(y) / n_labels)  # means of squares are those of all labels
    if "fit_intercept" in solver.get_params():
        solver.set_params(fit_intercept=False)
    solver.fit(rows * root, y * root)
    w = _coefficients_of(solver) * scale
    constants = np.zeros(0)
    if m:
        constants = solve_triangular(triangle[:m, :m], targets[:m] - triangle[:m, m:] @ w)
    return np.append(constants, w)


def _coefficients_of(solver):
    """The coefficients of a fitted regressor, which must be linear and without a constant."""
    coef = getattr(solver, "coef_", None)
    if coef is None:
        raise ValueError(
            f"solver={solver!r} has no coef_ after its fit: give a linear regressor itself, such "
            "as Lasso(1e-3), without a Pipeline or a search around it"
        )
    if np.any(getattr(solver, "intercept_", 0.0)):
        raise ValueError(
            f"solver={solver!r} fits an intercept, of which reduced rows have none: give a linear "
            "regressor with fit_intercept, such as Ridge or LinearSVR"
        )
    return np.ravel(coef)
