"""Conjugate gradients with a preconditioner from some columns of the matrix."""

import warnings

import numpy as np
from scipy.linalg import cho_factor, solve_triangular
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

# Added to the diagonal of the columns' own block, as a part of its mean, until it has a factor.
_JITTER = 1e-14


class NystromPreconditioner:
    r"""The inverse of a low-rank approximation of K, plus the unit matrix.

    .. math:: K \approx K_{:I} K_{II}^{-1} K_{I:}, \qquad
        (K_{:I} K_{II}^{-1} K_{I:} + 1)^{-1} = 1 - C^\top C

    with :math:`C = L^{-1} B`, :math:`B = L_{II}^{-1} K_{I:}`, :math:`L_{II} L_{II}^\top = K_{II}`
    and :math:`L L^\top = B B^\top + 1`.

    Parameters
    ----------
    columns : ndarray of float, shape (n, m)
        Columns I of K. Overwritten.
    index : ndarray of int, shape (m,)
        I.

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

    def __init__(self, columns, index):
        block = columns[index]
        jitter = _JITTER * block.trace() / len(block)
        while True:
            try:
                lower, _ = cho_factor(block + jitter * np.eye(len(block)), lower=True)
                break
            except np.linalg.LinAlgError:
                jitter *= 10
        b = solve_triangular(lower, columns.T, lower=True, overwrite_b=True)
        inner, _ = cho_factor(b @ b.T + np.eye(len(block)), lower=True)
        self._c = solve_triangular(inner, b, lower=True, overwrite_b=True)

    def __call__(self, v):
        return v - self._c.T @ (self._c @ v)


def conjugate_gradients(product, b, preconditioner, tol, max_iter, verbose=0):
    """Solve A x = b for a symmetric positive definite A of which only products are known.

    Interrupted by the keyboard, it warns and returns what it has.

    Parameters
    ----------
    product : callable
        ``product(v)`` is A v.
    b : ndarray of float, shape (n,)
    preconditioner : callable
        An approximate inverse of A times a vector.
    tol : float
        The residual's length to reach, relative to that of b.
    max_iter : int
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    x : ndarray of float, shape (n,)
    n_iter : int

    Warns
    -----
    ConvergenceWarning
        If the tolerance was not reached.
    """
    n = len(b)
    state = {"x": np.zeros(n), "n_iter": 0}
    with tqdm(total=max_iter, desc="conjugate gradients", disable=not verbose) as bar:

        def keep(x):
            state["x"] = x
            state["n_iter"] += 1
            bar.update()

        try:
            x, unfinished = cg(
                LinearOperator((n, n), product, dtype=float), b, rtol=tol, maxiter=max_iter,
                M=LinearOperator((n, n), preconditioner, dtype=float), callback=keep,
            )  # fmt: skip
        except KeyboardInterrupt:
            x, unfinished = state["x"].copy(), True
    if unfinished:
        warnings.warn(
            f"conjugate gradients stopped after {state['n_iter']} iterations, before the residual "
            f"fell to {tol:g}: raise alpha, n_inducing or max_iter",
            ConvergenceWarning,
            stacklevel=3,
        )
    return x, state["n_iter"]
