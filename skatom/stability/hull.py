"""The lower convex hull of energies over compositions, by linear programming."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

# Of the largest energy: what the linear program is accurate to
_TOLERANCE = 1e-7
# Of a phase in a mixture: rounding of the solution of small linear systems
_FRACTION = 1e-10


class LowerHull:
    r"""The lowest energy of mixtures of phases.

    .. math:: E(x) = \min_{\lambda \geq 0} \sum_e \lambda_e E_e, \qquad \sum_e \lambda_e x_e = x

    A solution is a facet, as many phases as there are elements, which is the solution for all
    compositions between these phases, too. So a linear program is solved for the first composition
    without a facet, and the facet taken to all others that it holds, until none is left.

    Parameters
    ----------
    fractions : ndarray of float, shape (n_phases, n_elements)
        Compositions, whose rows add up to 1.
    energies : ndarray of float, shape (n_phases,)
        Energies per atom; all elements are among the phases.

    Attributes
    ----------
    n_programs : int
        Number of linear programs solved so far.
    """

    def __init__(self, fractions, energies):
        self.fractions, self.energies = fractions, energies
        self.n_programs = 0
        self._facets = []
        # of polymorphs the lowest
        order = np.argsort(energies, kind="stable")
        _, first = np.unique(np.round(fractions[order], 12), axis=0, return_index=True)
        self._lowest = np.sort(order[first])
        self._scale = np.abs(energies).max() or 1.0

    def solve(self, x):
        """The phases of the most stable mixtures of compositions, and how much there is of each.

        Parameters
        ----------
        x : ndarray of float, shape (n, n_elements)
            Compositions, whose rows add up to 1.

        Returns
        -------
        phases : ndarray of int, shape (n, n_elements)
        amounts : ndarray of float, shape (n, n_elements)
            Fractions of the atoms, zeros included.
        """
        phases, amounts = np.empty(x.shape, int), np.empty(x.shape)
        left = np.arange(len(x))
        for facet in self._facets:
            left = self._take(facet, x, left, phases, amounts)
        while len(left):
            facet, holds_for_all = self._program(x[left[0]])
            if holds_for_all:
                self._facets.append(facet)
            # rounding may leave the composition just outside of the facet that it gave
            self._take(facet, x, left[:1], phases, amounts, np.inf)
            left = left[1:]
            if holds_for_all:
                left = self._take(facet, x, left, phases, amounts)
        return phases, np.maximum(amounts, 0.0)

    def values(self, x):
        """The energies of the hull at compositions (n, n_elements), per atom."""
        phases, amounts = self.solve(x)
        return (amounts * self.energies[phases]).sum(axis=1)

    def _take(self, facet, x, left, phases, amounts, tolerance=_FRACTION):
        """Write the solutions of the compositions that a facet holds; the others are returned."""
        found = x[left] @ np.linalg.inv(self.fractions[facet])
        inside = found.min(axis=1) >= -tolerance
        phases[left[inside]], amounts[left[inside]] = facet, found[inside]
        return left[~inside]

    def _program(self, x):
        """A facet that holds a composition, and whether it is one of the hull."""
        chosen = self._lowest
        points, energies = self.fractions[chosen], self.energies[chosen] / self._scale
        found = linprog(
            energies, A_eq=points.T, b_eq=x, method="highs-ds", options={"presolve": False}
        )
        self.n_programs += 1
        if found.status != 0:
            raise ValueError(
                f"no mixture of the phases has the composition {np.round(x, 6).tolist()} "
                f"({found.message})"
            )
        excess = energies - points @ found.eqlin.marginals
        facet = _complete(points, found.x, excess)
        potentials = np.linalg.solve(points[facet], energies[facet])
        return chosen[facet], (energies - points @ potentials).min() >= -_TOLERANCE


def _complete(points, amounts, excess):
    """As many phases as there are elements: those of a mixture, then the nearest to the facet."""
    facet, basis = [], np.zeros((0, points.shape[1]))
    present = np.flatnonzero(amounts > _FRACTION)
    others = np.argsort(excess, kind="stable")
    for phase in [*present[np.argsort(-amounts[present])], *others]:
        rest = points[phase] - (points[phase] @ basis.T) @ basis
        rest -= (rest @ basis.T) @ basis
        length = np.linalg.norm(rest)
        if length > 1e-6:
            facet.append(phase)
            basis = np.vstack([basis, rest / length])
        if len(facet) == points.shape[1]:
            break
    return np.array(facet)
