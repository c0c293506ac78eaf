"""Choosing columns one by one: orthogonal least squares on plain arrays."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.utils import check_random_state
from tqdm import tqdm

from skatom.memory import check_memory
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers.streamed_qr import StreamedQR

# A column is constant if this share of its norm is left after the intercept was taken out.
_CONSTANT = 1e-12
# A square of which this share is left after a subtraction is rounding.
_ROUNDING = 1e-14
# Below this share of the target's square the residual is rounding.
_EXACT = 4 * np.finfo(float).eps
# Columns of a tile of the Gram matrix: large for BLAS, small enough to give each thread some.
_TILE = 512
# Rows that are summed, or factored, in one piece, whatever the number of threads.
_PIECE = 8192


@dataclass(frozen=True)
class GreedyPath:
    r"""Least-squares models of 0, 1, …, M terms, each with one term more than the one before.

    With :math:`A_S = Q R` for the chosen columns S, in the order in which they were chosen, the
    coefficients of the first t terms solve :math:`R_{tt}\, w = (Q^\top b)_t`: one triangular
    matrix holds all models.

    Attributes
    ----------
    support : ndarray of int, shape (M,)
        The chosen columns, in their order.
    r : ndarray of float, shape (M, M)
        R.
    projections : ndarray of float, shape (M,)
        Qᵀb. Term t lowers the residual sum of squares by the square of its projection.
    rss : ndarray of float, shape (M + 1,)
        Residual sum of squares of the models of 0 … M terms.
    """

    support: np.ndarray
    r: np.ndarray
    projections: np.ndarray
    rss: np.ndarray

    def __len__(self):
        return len(self.support)

    def coefficients(self, n_terms):
        """Coefficients (n_terms,) of the first columns of the support."""
        return solve_triangular(self.r[:n_terms, :n_terms], self.projections[:n_terms])

    def coefficient_path(self):
        """Coefficients of all models, shape (M, M + 1); column t has t of them."""
        steps = np.triu(np.broadcast_to(self.projections[:, None], (len(self), len(self) + 1)), 1)
        return solve_triangular(self.r, steps)

    def predict(self, columns):
        """What each model gives for rows of the chosen columns, (n, M) → (n, M + 1)."""
        orthogonal = solve_triangular(self.r, columns.T, trans="T").T  # the rows of Q
        values = np.zeros((len(columns), len(self) + 1))
        np.cumsum(orthogonal * self.projections, axis=1, out=values[:, 1:])
        return values

    def squared_errors(self, blocks):
        """Sums of squared errors (M + 1,) of each model on blocks ``(columns, targets)``."""
        total = np.zeros(len(self) + 1)
        for columns, targets in blocks:
            total += np.square(self.predict(columns) - targets[:, None]).sum(axis=0)
        return total


@dataclass(frozen=True)
class NormalEquations:
    """AᵀA, Aᵀb and bᵀb: all that the choice of columns depends on. They add up over rows.

    Attributes
    ----------
    gram : ndarray of float, shape (n_columns, n_columns)
    products : ndarray of float, shape (n_columns,)
    total : float
    """

    gram: np.ndarray
    products: np.ndarray
    total: float

    @classmethod
    def of(cls, blocks):
        """Sum over blocks ``(A, b)`` of rows, in the same order with any number of threads."""
        equations = None
        with threads_over_blas() as pool:
            for block in _ahead(blocks, pool):
                equations = _add_block(equations, block, pool)
        for a, b in _tiles(len(equations.products)):
            equations.gram[b, a] = equations.gram[a, b].T
        return equations

    def __add__(self, other):
        return NormalEquations(
            self.gram + other.gram, self.products + other.products, self.total + other.total
        )

    def eliminate(self, n_last):
        """Fit the last columns to the others and to b.

        Returns
        -------
        NormalEquations
            Of what is left of the other columns and of b; zero where it is rounding.
        ndarray of float, shape (n_last, n_columns - n_last + 1)
            The coefficients of the last columns, those for b at the end.
        """
        full = np.block([[self.gram, self.products[:, None]], [self.products, self.total]])
        last = np.arange(len(self.gram) - n_last, len(self.gram))
        others = np.delete(np.arange(len(full)), last)
        fit = np.linalg.pinv(full[np.ix_(last, last)], hermitian=True) @ full[np.ix_(last, others)]
        left = full[np.ix_(others, others)]
        before = np.diag(left).copy()
        left -= full[np.ix_(others, last)] @ fit
        gone = np.diag(left) <= _ROUNDING * before
        left[gone] = left[:, gone] = 0.0
        return NormalEquations(left[:-1, :-1], left[:-1, -1], float(left[-1, -1])), fit


def orthogonal_least_squares(
    blocks,
    max_terms,
    *,
    max_features=None,
    tol=1e-6,
    method="gram",
    magnitudes=None,
    equations=None,
    random_state=None,
    verbose=0,
):
    r"""Choose columns of A one by one, each time the one that lowers the residual most.

    With :math:`\tilde a_j` the part of column j that is orthogonal to the columns S chosen so far,

    .. math::

        k = \arg\max_{j \notin S} \frac{(\tilde a_j \cdot b)^2}{\lVert \tilde a_j \rVert^2} ,

    which is by how much the residual sum of squares of the least-squares fit falls when j joins.
    Matching pursuit looks at :math:`(a_j \cdot r)^2 / \lVert a_j \rVert^2` instead, with the
    residual r, and so overrates columns that largely repeat chosen ones. Both numbers of the
    fraction are updated for all columns at once from one row :math:`v = A^\top q` of the
    triangular factor, with the new orthonormal direction q. The chosen columns are factored anew by
    QR at the end.

    Parameters
    ----------
    blocks : callable
        ``blocks(columns)`` yields ``(A[rows][:, columns], b[rows])`` for blocks of rows, anew at
        each call. ``columns`` is an index array, or ``slice(None)`` for all.
    max_terms : int
        Length of the path. It may end earlier: where all other columns depend on the chosen ones,
        or nothing but rounding is left of b.
    max_features : int, default=None
        Draw this many candidates among the columns at each step. None: all.
    tol : float, default=1e-6
        A column of whose norm the chosen ones leave less than this share depends on them, and is
        not chosen.
    method : {"gram", "gram-schmidt"}, default="gram"
        Where v comes from: the matrix AᵀA, formed once; or q itself, with all of A in memory, for
        wide A and short paths.
    magnitudes : ndarray of float, shape (n_columns + 1,), default=None
        Norms of the columns and, last, of b before an intercept was taken out, by which those that
        were constant are recognised. None: there was none.
    equations : NormalEquations, default=None
        Those of the blocks, for "gram", if they are known already.
    random_state : int, RandomState or None, default=None
        Draws the candidates.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    GreedyPath

    Raises
    ------
    MemoryError
        If AᵀA, or A, would not fit.

    References
    ----------
    Chen, Billings and Luo, Int. J. Control 50, 1873 (1989),
    https://doi.org/10.1080/00207178908953472

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import orthogonal_least_squares
    >>> A = np.random.default_rng(0).normal(size=(50, 8))
    >>> b = 3.0 * A[:, 5] - A[:, 2]
    >>> path = orthogonal_least_squares(lambda columns: [(A[:, columns], b)], max_terms=4)
    >>> path.support
    array([5, 2])
    >>> path.coefficients(2).round(6)
    array([ 3., -1.])
    """
    rng = check_random_state(random_state)
    if method == "gram" and equations is None:
        equations = NormalEquations.of(blocks(slice(None)))
    with threads_over_blas() as pool:
        if method == "gram":
            rows = _GramRows(equations, max_terms)
        else:
            rows = _SchmidtRows(blocks(slice(None)), pool, max_terms)
        smallest = np.zeros(len(rows.norms) + 1) if magnitudes is None else _CONSTANT * magnitudes
        rows.normalise(rows.norms > smallest[:-1])
        exact = max(_EXACT * rows.total, smallest[-1] ** 2)
        support = _select(rows, max_terms, max_features, tol, exact, rng, verbose)
        return _factor(support, blocks(support))


def _select(rows, max_terms, max_features, tol, exact, rng, verbose):
    """The chosen columns, in order. All columns count as normalised."""
    left = np.where(rows.inverse > 0, 1.0, 0.0)  # ‖ã_j‖²
    products = rows.products.copy()  # ã_j · b
    rss = rows.total
    support = []
    for _ in tqdm(range(max_terms), desc="terms", disable=not verbose, leave=False):
        free = np.flatnonzero(left > tol**2)
        if rss <= exact or not len(free):
            break
        if max_features is not None and max_features < len(free):
            free = rng.choice(free, max_features, replace=False)
        k = free[np.argmax(products[free] ** 2 / left[free])]
        row = rows.append(k, left[k])
        step = products[k] / np.sqrt(left[k])
        rss -= step**2
        products -= step * row
        left -= row**2
        left[k] = 0.0
        support.append(k)
    return np.array(support, dtype=int)


class _Rows:
    """Rows v of the triangular factor, one after the other; columns are normalised."""

    def normalise(self, varies):
        """Columns that do not vary become zero."""
        self.inverse = np.divide(1.0, self.norms, out=np.zeros_like(self.norms), where=varies)
        self.products = self.products * self.inverse


class _GramRows(_Rows):
    """From AᵀA: a Cholesky factorisation that chooses its pivots."""

    def __init__(self, equations, max_terms):
        self.gram, self.products = equations.gram, equations.products
        self.total = equations.total
        self.norms = np.sqrt(np.diag(self.gram))
        self.rows = np.empty((min(max_terms, len(self.gram)), len(self.gram)))
        self.n_rows = 0

    def append(self, k, left):
        above = self.rows[: self.n_rows]
        row = self.gram[k] * self.inverse * self.inverse[k] - above[:, k] @ above
        row /= np.sqrt(left)
        self.rows[self.n_rows] = row
        self.n_rows += 1
        return row


class _SchmidtRows(_Rows):
    """From orthonormal columns q, the rows Aᵀq."""

    def __init__(self, blocks, pool, max_terms):
        matrices, targets = zip(*blocks, strict=True)
        self.matrix, target = np.concatenate(matrices), np.concatenate(targets)
        self.pool = pool
        self.total = float(target @ target)
        self.norms = np.sqrt(np.einsum("nd,nd->d", self.matrix, self.matrix))
        self.products = self._project(target)
        self.directions = np.empty((min(max_terms, *self.matrix.shape), len(target)))
        self.n_rows = 0

    def append(self, k, left):
        known = self.directions[: self.n_rows]
        direction = self.matrix[:, k] * self.inverse[k]
        for _ in range(2):  # twice is enough: what the first pass leaves is orthogonal to rounding
            direction = direction - (known @ direction) @ known
            direction /= np.linalg.norm(direction)
        self.directions[self.n_rows] = direction
        self.n_rows += 1
        return self._project(direction) * self.inverse

    def _project(self, vector):
        pieces = split_rows(len(vector), _PIECE)
        return sum(self.pool.map(lambda p: vector[p] @ self.matrix[p], pieces))


def _add_block(equations, block, pool):
    """Add AᵀA, Aᵀb and bᵀb, the first above the diagonal only, tile by tile."""
    matrix, target = block
    n_columns = matrix.shape[1]
    if equations is None:
        check_memory(
            8.0 * n_columns**2,
            f"the Gram matrix of {n_columns} features",
            "use method='gram-schmidt', or select features first",
        )
        equations = NormalEquations(np.zeros((n_columns, n_columns)), np.zeros(n_columns), 0.0)
    list(pool.map(partial(_add_tile, equations.gram, matrix), _tiles(n_columns)))
    return NormalEquations(
        equations.gram, equations.products + target @ matrix, equations.total + target @ target
    )


def _tiles(n_columns):
    tiles = split_rows(n_columns, _TILE)
    return [(a, b) for i, a in enumerate(tiles) for b in tiles[i:]]


def _ahead(blocks, pool):
    """The same blocks, of which one thread makes the next while this one is worked on."""
    blocks = iter(blocks)
    coming = pool.submit(next, blocks, None)
    while (block := coming.result()) is not None:
        coming = pool.submit(next, blocks, None)
        yield block


def _add_tile(gram, matrix, pair):
    a, b = pair
    gram[a, b] += matrix[:, a].T @ matrix[:, b]


def _factor(support, blocks):
    """QR of the chosen columns beside the target."""
    qr = StreamedQR(len(support))
    for matrix, target in blocks:
        qr.update(matrix, target)
    projections = qr.projections[:, 0]
    squares = np.append(projections**2, qr.residuals)
    return GreedyPath(support, qr.triangle, projections, squares[::-1].cumsum()[::-1])
