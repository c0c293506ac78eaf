"""Conjugate gradients with a preconditioner from some columns of the matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, solve_triangular
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.exceptions import ConvergenceWarning

from skatom._numba import get_num_threads
from skatom._progress import tqdm
from skatom._typing import Array
from skatom._warnings import warn
from skatom.parallel import serial_blas, split_rows, threads_over_blas
from skatom.solvers.base import check_system, solver

# Added to the diagonal of the block K_II, as a fraction of its mean, until it has a factor.
_JITTER = 1e-14
# Rows of the preconditioner that are one piece of a thread's work.
_ROWS = 4096


def _preconditioner_memory(size: int, n_columns: int) -> Any:
    """Bytes of the preconditioner of ``n_columns`` columns of ``size`` rows each."""
    at_work = min(size, _ROWS * get_num_threads())
    return 8.0 * n_columns * (size + at_work + 2 * n_columns)


@solver(needs=["columns"], memory=_preconditioner_memory)
class NystromPreconditioner:
    r"""The inverse of a low-rank approximation of K, plus the unit matrix.

    .. math:: K \approx K_{:I} K_{II}^{-1} K_{I:}, \qquad
        (K_{:I} K_{II}^{-1} K_{I:} + 1)^{-1} = 1 - C^\top C

    with :math:`C = L^{-1} B`, :math:`B = L_{II}^{-1} K_{I:}`, :math:`L_{II} L_{II}^\top = K_{II}`
    and :math:`L L^\top = B B^\top + 1`.

    Parameters
    ----------
    columns : ndarray of float, shape (n, m)
        Columns I of K. The array is overwritten.
    index : ndarray of int, shape (m,)
        The indices I of the columns.

    References
    ----------
    Chmiela et al., Sci. Adv. 9, eadf0873 (2023), https://doi.org/10.1126/sciadv.adf0873

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import NystromPreconditioner
    >>> K = np.diag([3.0, 1.0, 0.0])
    >>> NystromPreconditioner(K[:, :2].copy(), np.array([0, 1]))(np.ones(3)).round(6)
    array([0.25, 0.5 , 1.  ])
    """

    def __init__(self, columns: Array, index: Array) -> None:
        columns, index = np.ascontiguousarray(columns, float), np.asarray(index)
        if columns.ndim != 2 or index.shape != columns.shape[1:]:
            raise ValueError(
                f"the columns have shape {columns.shape} and the index {index.shape}: give as "
                "many numbers of columns as there are columns"
            )
        if not np.isfinite(columns).all():
            raise ValueError(
                "the columns have numbers that are not finite: look for them in the input"
            )
        self._rows = split_rows(len(columns), _ROWS)
        self._ct = columns  # Cᵀ, made in its place
        with threads_over_blas() as pool:
            self._divide(_jittered_factor(columns[index]), pool)
            inner = sum(pool.map(lambda rows: columns[rows].T @ columns[rows], self._rows))
            inner.flat[:: len(inner) + 1] += 1.0
            # in its place with any scipy: before 1.18 only where the columns are contiguous
            self._divide(cho_factor(inner.T, lower=True, overwrite_a=True)[0], pool)

    def _divide(self, lower, pool):
        """Multiply by L⁻ᵀ from the right."""

        def work(rows):
            self._ct[rows] = solve_triangular(lower, self._ct[rows].T, lower=True).T

        list(pool.map(work, self._rows))

    @classmethod
    def of(cls, system: Any, index: Array) -> NystromPreconditioner:
        """The preconditioner of a system of the matrix A = K + 1.

        Parameters
        ----------
        system : object with the method ``columns``
            ``columns(index)`` gives ``A[:, index]``.
        index : ndarray of int, shape (m,)
            The indices I of the columns.

        Returns
        -------
        NystromPreconditioner
        """
        check_system(cls, system)
        columns = np.ascontiguousarray(system.columns(index), float)
        columns[index, np.arange(len(index))] -= 1.0
        return cls(columns, index)

    def __call__(self, v: Any) -> Any:
        out = v.copy()

        def subtract(rows):
            out[rows] -= self._ct[rows] @ along

        with threads_over_blas() as pool:
            along = sum(pool.map(lambda rows: v[rows] @ self._ct[rows], self._rows))
            list(pool.map(subtract, self._rows))
        return out


def _jittered_factor(block):
    """The lower Cholesky factor of a matrix that may be singular, or zero."""
    # of the mean or, where this is smaller, of the unit matrix that stands beside K
    jitter = _JITTER * max(block.trace() / len(block), 1.0)
    diagonal = block.diagonal().copy()
    while True:
        block.flat[:: len(block) + 1] = diagonal + jitter
        try:
            return cho_factor(block, lower=True)[0]
        except np.linalg.LinAlgError:
            jitter *= 10


def _memory(size):
    """Bytes of the working vectors of ``size`` numbers."""
    return 8.0 * 7 * size


@solver(needs=["product"], memory=_memory)
def conjugate_gradients(
    system: Any, b: Array, preconditioner: Callable, tol: float, max_iter: int, verbose: int = 0
) -> tuple:
    """Solve A x = b for a symmetric positive definite A that is known by its products only.

    A KeyboardInterrupt ends the iteration with a warning; the current solution is returned.

    Parameters
    ----------
    system : object with the method ``product``
        ``product(v)`` is A v.
    b : ndarray of float, shape (n,)
        The right-hand side.
    preconditioner : callable
        Function that multiplies a vector by an approximate inverse of A.
    tol : float
        Iteration ends when the norm of the residual is below ``tol`` times the norm of b.
    max_iter : int
        Largest number of iterations.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    x : ndarray of float, shape (n,)
        The solution.
    n_iter : int
        Number of iterations.

    Raises
    ------
    TypeError
        If the system does not give products.
    ValueError
        If b or a product has another shape or a number that is not finite.

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not reached.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.solvers import MatrixSystem, NystromPreconditioner, conjugate_gradients
    >>> system = MatrixSystem([[4.0, 2.0], [2.0, 3.0]])
    >>> preconditioner = NystromPreconditioner.of(system, np.array([0]))
    >>> x, n_iter = conjugate_gradients(system, [8.0, 7.0], preconditioner, 1e-10, max_iter=10)
    >>> x.round(6), n_iter
    (array([1.25, 1.5 ]), 2)
    """
    check_system(conjugate_gradients, system)
    b = _checked(b, (len(b),), "the right-hand side")
    n = len(b)
    state = {"x": np.zeros(n), "n_iter": 0}
    with tqdm(total=max_iter, desc="conjugate gradients", disable=not verbose) as bar:

        def product(v):
            return _checked(system.product(v), (n,), "a product of the matrix")

        def keep(x):
            state["x"] = x
            state["n_iter"] += 1
            bar.update()

        try:
            with serial_blas():  # threads would round in another way
                x, unfinished = cg(
                    LinearOperator((n, n), product, dtype=float), b, rtol=tol, maxiter=max_iter,
                    M=LinearOperator((n, n), preconditioner, dtype=float), callback=keep,
                )  # fmt: skip
        except KeyboardInterrupt:
            x, unfinished = state["x"].copy(), True
    if unfinished:
        warn(
            f"conjugate gradients stopped after {state['n_iter']} iterations, before the relative "
            f"residual fell to {tol:g}: raise alpha, n_inducing or max_iter",
            ConvergenceWarning,
        )
    return x, state["n_iter"]


def _checked(vector, shape, what):
    vector = np.asarray(vector, float)
    if vector.shape != shape:
        raise ValueError(f"{what} has shape {vector.shape}: give numbers of shape {shape}")
    if not np.isfinite(vector).all():
        raise ValueError(f"{what} has numbers that are not finite: look for them in the input")
    return vector
