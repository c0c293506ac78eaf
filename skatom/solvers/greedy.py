"""Greedy selection of columns: orthogonal least squares on plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from skatom._device import on_host
from skatom._progress import tqdm
from skatom._typing import Array, RandomState
from skatom.parallel import split_rows, threads_over_blas
from skatom.solvers.base import check_system, solver
from skatom.solvers.greedy_path import GreedyPath
from skatom.solvers.normal_equations import NO_ROWS, NormalEquations, check_block
from skatom.solvers.streamed_qr import StreamedQR

# A column is constant if less than this share of its norm is left without the intercept.
_CONSTANT = 1e-12
# Below this share of the target's square the residual is rounding error.
_EXACT = 4 * np.finfo(float).eps
# Rows that are summed in one piece, for any number of threads.
_PIECE = 8192


def _memory(n_rows, n_columns, n_terms, method="gram"):
    """Bytes for a path of ``n_terms`` terms."""
    if method == "gram":
        numbers = n_columns * (n_columns + n_terms)
    else:
        numbers = n_rows * (2 * n_columns + n_terms) + n_terms * n_columns
    return 8.0 * numbers + StreamedQR.memory(n_terms)


@solver(needs=["blocks"], memory=_memory)
def orthogonal_least_squares(
    system: Any,
    max_terms: int,
    *,
    max_features: int | None = None,
    tol: float = 1e-6,
    method: str = "gram",
    magnitudes: Array | None = None,
    equations: NormalEquations | None = None,
    random_state: RandomState = None,
    verbose: int = 0,
    device: str = "cpu",
) -> GreedyPath:
    r"""Select columns of A one by one, each time the column that lowers the residual most.

    With :math:`\tilde a_j` the part of column j that is orthogonal to the columns S chosen so far,

    .. math::

        k = \arg\max_{j \notin S} \frac{(\tilde a_j \cdot b)^2}{\lVert \tilde a_j \rVert^2} ,

    where the quotient is the decrease of the residual sum of squares when j is added to the fit.
    Matching pursuit uses :math:`(a_j \cdot r)^2 / \lVert a_j \rVert^2` instead, with the residual
    r, and so overrates columns that largely repeat chosen ones. Numerator and denominator are
    updated for all columns at once from one row :math:`v = A^\top q` of the triangular factor, with
    the new orthonormal direction q. At the end, the chosen columns are factored again by QR.

    Parameters
    ----------
    system : object with the method ``blocks``
        ``blocks(columns)`` yields ``(A[rows][:, columns], b[rows])`` for blocks of rows, anew at
        each call. ``columns`` is an index array, or ``slice(None)`` for all.
    max_terms : int
        Length of the path. It ends earlier if all other columns depend on the chosen ones, or if
        only rounding error is left of b.
    max_features : int, default=None
        Number of candidate columns drawn at random in each step. None: all columns.
    tol : float, default=1e-6
        A column counts as linearly dependent on the chosen ones, and is not chosen, if less than
        this share of its norm is orthogonal to them.
    method : {"gram", "gram-schmidt"}, default="gram"
        How v is computed: from the matrix AᵀA, formed once; or from q, with all of A in memory,
        which suits wide A and short paths.
    magnitudes : ndarray of float, shape (n_columns + 1,), default=None
        Norms of the columns and, last, of b before the intercept was removed, by which constant
        columns are recognised. None: no intercept was removed.
    equations : NormalEquations, default=None
        Normal equations of the blocks, for "gram". None: they are computed.
    random_state : int, RandomState or None, default=None
        Seed for the candidates.
    verbose : int, default=0
        1 shows progress bars.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where AᵀA is summed, see `NormalEquations.of`.

    Returns
    -------
    GreedyPath

    Raises
    ------
    TypeError
        If the system does not give its rows in blocks.
    ValueError
        If there are no rows, their shapes do not agree, or an element is not finite.
    MemoryError
        If AᵀA would not fit.

    References
    ----------
    Chen, Billings and Luo, Int. J. Control 50, 1873 (1989),
    https://doi.org/10.1080/00207178908953472

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import LeastSquaresSystem, orthogonal_least_squares
    >>> A = np.random.default_rng(0).normal(size=(50, 8))
    >>> b = 3.0 * A[:, 5] - A[:, 2]
    >>> path = orthogonal_least_squares(LeastSquaresSystem(A, b), max_terms=4)
    >>> path.support
    array([5, 2])
    >>> path.coefficients(2).round(6)
    array([ 3., -1.])
    """
    check_system(orthogonal_least_squares, system)
    rng = check_random_state(random_state)

    def blocks(columns):
        found = system.blocks(columns)
        return tqdm(found, "blocks of rows", disable=not verbose, leave=False)

    if method == "gram" and equations is None:
        equations = NormalEquations.of(blocks(slice(None)), device)
    with threads_over_blas() as pool:
        if method == "gram":
            rows = _GramRows(equations, max_terms)
        else:
            rows = _SchmidtRows(blocks(slice(None)), pool, max_terms)
        _check_finite(rows)
        smallest = np.zeros(len(rows.norms) + 1) if magnitudes is None else _CONSTANT * magnitudes
        rows.normalise(rows.norms > smallest[:-1])
        exact = max(_EXACT * rows.total, smallest[-1] ** 2)
        support = _select(rows, max_terms, max_features, tol, exact, rng, verbose)
        return _factor(support, blocks(support))


def _check_finite(rows):
    """Raise a ValueError if A or b is not finite: the norms depend on every element of both."""
    unknown = np.flatnonzero(~np.isfinite(rows.norms))
    if len(unknown) or not np.isfinite(rows.total):
        where = f"column {unknown[0]}" if len(unknown) else "the target"
        raise ValueError(f"{where} has numbers that are not finite: look for them in the input")


def _select(rows, max_terms, max_features, tol, exact, rng, verbose):
    """The chosen columns, in order. All columns are normalised."""
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
    """Rows from AᵀA: a Cholesky factorisation that chooses its pivots."""

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
    """Rows Aᵀq from orthonormal columns q."""

    def __init__(self, blocks, pool, max_terms):
        blocks = [tuple(map(on_host, block)) for block in blocks]
        for matrix, target in blocks:
            check_block(matrix, target, blocks[0][0].shape[1])
        if not blocks:
            raise ValueError(NO_ROWS)
        self.matrix, target = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
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


def _factor(support, blocks):
    """QR of the chosen columns beside the target."""
    qr = StreamedQR(len(support))
    for matrix, target in blocks:
        qr.update(matrix, target)
    projections = qr.projections[:, 0]
    squares = np.append(projections**2, qr.residuals)
    return GreedyPath(support, qr.triangle, projections, squares[::-1].cumsum()[::-1])
