"""Which of many candidates may be stable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from skatom._input_checks import real_array
from skatom._typing import ArrayLike, TargetsLike
from skatom.stability.phase_diagram import PhaseDiagram


@dataclass(frozen=True)
class Screening:
    """Candidates near the hull, the most stable first.

    Attributes
    ----------
    indices : ndarray of int, shape (n,)
        Which of the candidates.
    distances : ndarray of float, shape (n,)
        Their distances from the hull of the known phases, in eV/atom.
    competing : ndarray of float, shape (n,)
        Their distances from the hull of the known phases and all candidates together: zero for
        those that would be stable if all predictions were right.
    probabilities : ndarray of float, shape (n,), or None
        The probability that a distance is below the limit, if standard deviations were given.
    """

    indices: np.ndarray
    distances: np.ndarray
    competing: np.ndarray
    probabilities: np.ndarray | None


def screen(
    diagram: PhaseDiagram,
    X: Any,
    y: TargetsLike,
    *,
    within: float = 0.05,
    deviations: ArrayLike | None = None,
) -> Screening:
    r"""Screen candidates by their predicted energies.

    .. math:: d = E - E_\mathrm{hull}(x) \leq d_0, \qquad
        p = \Phi\Big(\frac{d_0 - d}{\sigma}\Big)

    Energies may come from any model. Those far below the hull are often the errors of the model,
    not the discoveries: compute them again by the reference method.

    Parameters
    ----------
    diagram : PhaseDiagram
        The fitted phase diagram of what is known.
    X : Structures, list of ase.Atoms, or list of formulas or of dicts of amounts by symbol
        The candidates.
    y : Targets or array-like of float, shape (n_candidates,)
        Their predicted energies in eV, or in eV/atom if the diagram has ``per_atom``.
    within : float, default=0.05
        The limit d₀ in eV/atom.
    deviations : array-like of float, shape (n_candidates,), default=None
        Standard deviations of the energies. With them, candidates are in the order of the
        probability p, and those are kept whose p is a half or more.

    Returns
    -------
    Screening

    Raises
    ------
    ValueError
        If a candidate has an element that is not in the diagram, or there are not as many energies
        and deviations as candidates.

    Examples
    --------
    >>> from skatom.stability import PhaseDiagram, screen
    >>> diagram = PhaseDiagram(0.0, per_atom=True).fit(["NaCl"], [-1.0])
    >>> found = screen(diagram, ["NaCl3", "Na3Cl", "NaCl2"], [-0.6, 0.1, -0.64])
    >>> found.indices, found.distances.round(3), found.competing.round(3)
    (array([0, 2]), array([-0.1  ,  0.027]), array([0.   , 0.093]))
    """
    if not within < np.inf:
        raise ValueError(f"within={within} keeps all candidates: give a distance in eV/atom")
    amounts, energies = diagram._checked(X, y)
    distances = diagram._distances(amounts, energies)
    probabilities = None
    order = np.argsort(distances, kind="stable")
    if deviations is not None:
        probabilities = norm.cdf((within - distances) / _checked(deviations, len(distances)))
        order = np.argsort(-probabilities, kind="stable")
    chosen = order[distances[order] <= within]
    # those above the hull of the known phases do not change it
    below = distances < 0
    extended = diagram._extended(amounts[below], energies[below])
    competing = extended._distances(amounts[chosen], energies[chosen])
    if probabilities is not None:
        probabilities = probabilities[chosen]
    return Screening(chosen, distances[chosen], competing, probabilities)


def _checked(deviations, n):
    deviations = real_array(deviations, "deviations")
    if deviations.shape != (n,) or not (deviations > 0).all():
        raise ValueError(
            f"deviations must be {n} positive numbers, one for each candidate, and have the shape "
            f"{deviations.shape} and the least value {deviations.min(initial=np.inf)}"
        )
    return deviations
