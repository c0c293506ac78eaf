"""CUR decomposition: columns or rows with the largest leverage."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array

from skatom._typing import Array, ArrayLike, RandomState
from skatom.memory import check_memory
from skatom.selection.base import FIRST, Selector
from skatom.solvers.sampling import EXHAUSTED, greedy_cur


def leverage_scores(X: ArrayLike, n_components: int = 20) -> Array:
    r"""Leverage of each row: its weight in the leading singular vectors of a matrix.

    .. math:: \pi_i = \frac{1}{k} \sum_{\xi=1}^{k} U_{i\xi}^2, \qquad X = U S V^\top

    Parameters
    ----------
    X : array-like of float, shape (n_samples, n_features)
        The matrix.
    n_components : int, default=20
        Number k of singular vectors; the rank of X if that is smaller.

    Returns
    -------
    ndarray of float, shape (n_samples,)
        The leverage scores, whose sum is 1.

    References
    ----------
    .. [1] M. W. Mahoney, P. Drineas, Proc. Natl. Acad. Sci. USA 106, 697 (2009).

    Examples
    --------
    >>> from skatom.selection import leverage_scores
    >>> leverage_scores([[3.0, 0.0], [0.0, 0.0], [0.0, 1.0]], n_components=2)
    array([0.5, 0. , 0.5])
    """
    X = check_array(X, dtype=float)
    check_memory(
        8.0 * (3 * X.size + 4 * min(X.shape) ** 2),
        f"the singular value decomposition of a table of {len(X)} x {X.shape[1]} numbers",
        "take fewer samples or features, or method='greedy' of CUR",
    )
    left, scale, _ = np.linalg.svd(X, full_matrices=False)
    rank = max(1, min(n_components, int((scale > EXHAUSTED * scale[0]).sum())))
    return (left[:, :rank] ** 2).sum(axis=1) / rank


class CUR(Selector):
    r"""Select the columns or rows from which the others can be built.

    With :math:`\pi` the leverage scores of `leverage_scores`, "greedy" selects the point of
    largest :math:`\pi`, makes all others orthogonal to it and repeats,

    .. math:: X \leftarrow X - (X x_s^\top)\, x_s / |x_s|^2,

    until the rank of the matrix is exhausted; the remaining points are selected by farthest point
    sampling. "random" draws without replacement, with probabilities :math:`\pi`.

    Parameters
    ----------
    n_select : int, default=None
        Number of columns or rows to select. None: half of them.
    axis : {"features", "samples"}, default="features"
        Whether columns of X are selected, as by `sklearn.feature_selection`, or its rows: the
        structures of `StructureFeatures`, the environments of `AtomicFeatures`.
    method : {"greedy", "random"}, default="greedy"
        Whether to select the point of largest leverage, or to draw points at random.
    first : int or array-like of int, default=None
        Points that are selected already, with which the selection goes on.
    n_components : int, default=1
        Number of singular vectors in π; 1 for "greedy" and about 20 for "random" are usual.
    random_state : int, RandomState or None, default=None
        Seed for "random".

    Attributes
    ----------
    selected_ : ndarray of int, shape (n_selected,)
        Indices in the order of selection. They are fewer than ``n_select`` if all others are copies
        of selected points or have no leverage.

    References
    ----------
    .. [1] M. W. Mahoney, P. Drineas, Proc. Natl. Acad. Sci. USA 106, 697 (2009).
    .. [2] G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.selection import CUR
    >>> X = np.array([[1.0, 2.0, 0.1], [2.0, 4.0, 0.0], [3.0, 6.0, 0.2]])
    >>> CUR(2).fit(X).selected_
    array([1, 2])
    """

    _parameter_constraints = {
        **Selector._parameter_constraints,
        "method": [StrOptions({"greedy", "random"})],
        "first": FIRST,
        "n_components": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_select: int | None = None,
        *,
        axis: str = "features",
        method: str = "greedy",
        first: ArrayLike | None = None,
        n_components: int = 1,
        random_state: RandomState = None,
    ) -> None:
        self.n_select = n_select
        self.axis = axis
        self.method = method
        self.first = first
        self.n_components = n_components
        self.random_state = random_state

    def _select(self, points, limit):
        first = self._first(points, limit)
        if self.method == "greedy":
            check_memory(
                16.0 * min(points.shape) ** 2,
                f"the Gram matrix of a table of {len(points)} x {points.shape[1]} numbers",
                "take fewer samples or features",
            )
            return greedy_cur(points, limit, self.n_components, first)
        scores = leverage_scores(points, self.n_components)
        scores[first] = 0.0
        more = min(limit - len(first), np.count_nonzero(scores))
        rng = check_random_state(self.random_state)
        drawn = rng.choice(len(points), more, replace=False, p=scores / (scores.sum() or 1.0))
        return np.concatenate([first, drawn])
