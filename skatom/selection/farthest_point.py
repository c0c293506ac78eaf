"""Farthest point sampling."""

from __future__ import annotations

from numbers import Real

from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval

from skatom._typing import ArrayLike, RandomState
from skatom.kernels.dot_kernel import DotKernel
from skatom.memory import check_memory
from skatom.selection.base import FIRST, Selector
from skatom.solvers.sampling import farthest_points


class FarthestPointSampling(Selector):
    r"""Select points one after the other, each the farthest from all points selected before.

    .. math::
        s_{n+1} = \arg\max_j \min_{i \le n} d^2(j, s_i), \qquad
        d^2(i, j) = k(x_i, x_i) + k(x_j, x_j) - 2 k(x_i, x_j)

    Ties go to the point of the lowest index.

    Parameters
    ----------
    n_select : int, default=None
        Number of columns or rows to select. None: half of them.
    axis : {"features", "samples"}, default="features"
        Whether columns of X are selected, as by `sklearn.feature_selection`, or its rows: the
        structures of `StructureFeatures`, the environments of `AtomicFeatures`.
    kernel : DotKernel, default=None
        Kernel of the metric, applied to the points, which are columns of X for ``axis="features"``.
        None: the Euclidean distance.
    first : int or array-like of int, default=None
        Index of the first point, or of all points that are selected already, with which the
        selection goes on. None: drawn at random.
    min_distance : float, default=0.0
        Stop when no point is farther than this from the selected ones.
    random_state : int, RandomState or None, default=None
        Seed for the first point.

    Attributes
    ----------
    selected_ : ndarray of int, shape (n_selected,)
        Indices in the order of selection. They are fewer than ``n_select`` if all others are closer
        than ``min_distance`` to selected points, or copies of them.
    distances_ : ndarray of float, shape (n_selected,)
        Distance of each point from the points selected before it; infinite for the first.

    References
    ----------
    .. [1] G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018).

    Examples
    --------
    >>> from skatom.selection import FarthestPointSampling
    >>> points = [[0.0], [1.0], [10.0], [4.0]]
    >>> FarthestPointSampling(3, axis="samples", first=0).fit(points).selected_
    array([0, 2, 3])
    """

    _parameter_constraints = {
        **Selector._parameter_constraints,
        "kernel": [DotKernel, None],
        "first": FIRST,
        "min_distance": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_select: int | None = None,
        *,
        axis: str = "features",
        kernel: DotKernel | None = None,
        first: ArrayLike | None = None,
        min_distance: float = 0.0,
        random_state: RandomState = None,
    ) -> None:
        self.n_select = n_select
        self.axis = axis
        self.kernel = kernel
        self.first = first
        self.min_distance = min_distance
        self.random_state = random_state

    def _select(self, points, limit):
        first = self._first(points, limit)
        if not len(first):
            first = [check_random_state(self.random_state).randint(len(points))]
        # distances from the selected points and from the last, and what these are computed in
        numbers = 5 if self.kernel is None else 8
        check_memory(
            8 * numbers * len(points),
            f"the distances of {len(points)} {self.axis}",
            "select among fewer",
        )
        selected, self.distances_ = farthest_points(
            points, limit, first, self.kernel, self.min_distance
        )
        return selected
