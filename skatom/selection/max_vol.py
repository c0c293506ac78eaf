"""Active sets of maximal volume, and extrapolation grades."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from copy import deepcopy
from itertools import islice
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skatom._intervals import POSITIVE
from skatom.descriptors.atomic_features import AtomicFeatures
from skatom.descriptors.features import Features
from skatom.selection.feature_novelty import FeatureNovelty
from skatom.selection.linear_rows import LinearRows
from skatom.solvers.maxvol import ActiveRows

# Rows that the first active ones come from, for each column, and passes through all rows.
_FIRST, _PASSES = 4, 20


class MaxVol(FeatureNovelty):
    r"""Extrapolation grades of a model that is linear in its coefficients, by D-optimality.

    .. math::
        \gamma(b) = \max_j \big| (b\, B^{-1})_j \big|, \qquad
        B = \arg\max_{b_1 \ldots b_L} |\det (b_1 \ldots b_L)|

    The rows b of a linear model :math:`y = b \cdot \theta` are features. Of those of the known
    structures, L are the active set, such that no exchange of one of them makes the volume larger.
    Then a prediction is the sum of those for the active rows, each times a number that is at most 1
    in magnitude: it interpolates. A grade above 1 means extrapolation, and is the factor by which
    the volume becomes larger with the new row. From 2 on a structure is worth labelling, and beyond
    10 predictions are not reliable [1]_ [2]_.

    Grades do not depend on labels, and not on units of features. With ``rows="structure"`` they do
    not change in a supercell.

    Parameters
    ----------
    descriptor : transformer or Pipeline, default=None
        Makes features of structures, such as ``SOAP()`` or ``potential[:-1]`` for the Pipeline of a
        linear potential; used as it is if it is fitted. None: X are features already.
    rows : {"structure", "atom", "labels"}, default="structure"
        Rows for energies of structures per atom; for energies of atoms, with a set for each
        species, the grade of a structure being the largest of its atoms; or for energies, forces
        and virials. A plain array has a row for each sample.
    by_species : bool, default=True
        Whether each species of `AtomicFeatures` has coefficients of its own, as in
        `skatom.models.LinearPotential`.
    tol : float, default=1.01
        Rows enter the active set if their grade is larger. At least 1.
    noise_energy : float, default=1e-3
        Noise of energies in eV per atom, by which their rows are divided, for ``rows="labels"``.
    noise_forces : float, default=0.03
        Noise of forces in eV/Å, as above.
    noise_virial : float, default=0.1
        Noise of virials in eV per atom, as above.

    Attributes
    ----------
    active_ : ndarray of int
        The structures that have rows in the active set, in the order in which they were given.
    sets_ : dict of ActiveRows
        The active rows; for ``rows="atom"`` by index of the species.
    scales_ : dict of ndarray
        The columns' root mean squares, by which rows are divided.
    species_ : ndarray of int, or None
        Atomic numbers of the species that are known.
    n_structures_seen_ : int
        Number of known structures.

    Raises
    ------
    ValueError
        If ``rows="atom"`` is asked of features of structures.
    MemoryError
        If rows or active set do not fit in memory.

    References
    ----------
    .. [1] E. V. Podryabinkin, A. V. Shapeev, Comput. Mater. Sci. 140, 171 (2017).
    .. [2] I. S. Novikov et al., Mach. Learn.: Sci. Technol. 2, 025002 (2021).

    Examples
    --------
    A line is known between -1 and 1:

    >>> import numpy as np
    >>> from skatom.selection import MaxVol
    >>> known = np.linspace(-1, 1, 21)[:, None] ** [1, 2]
    >>> measure = MaxVol().fit(known)
    >>> measure.active_
    array([ 0, 10, 20])
    >>> measure.score(np.array([[0.3], [1.5], [2.0]]) ** [1, 2]).round(3)
    array([0.91 , 1.875, 3.   ])

    Structures:

    >>> from ase.build import bulk
    >>> from skatom.descriptors import SOAP
    >>> crystals = [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7, 3.8, 4.2)]
    >>> measure = MaxVol(SOAP(n_max=2, l_max=0)).fit(crystals[:4])
    >>> measure.select(crystals, 1)
    array([4])
    """

    _how_by_atom = "rows='atom' and features of atoms"

    _parameter_constraints = {
        **FeatureNovelty._parameter_constraints,
        "rows": [StrOptions({"structure", "atom", "labels"})],
        "by_species": ["boolean"],
        "tol": [Interval(Real, 1, None, closed="left")],
        "noise_energy": [POSITIVE],
        "noise_forces": [POSITIVE],
        "noise_virial": [POSITIVE],
    }

    def __init__(
        self,
        descriptor: Any = None,
        *,
        rows: str = "structure",
        by_species: bool = True,
        tol: float = 1.01,
        noise_energy: float = 1e-3,
        noise_forces: float = 0.03,
        noise_virial: float = 0.1,
    ) -> None:
        self.descriptor = descriptor
        self.rows = rows
        self.by_species = by_species
        self.tol = tol
        self.noise_energy = noise_energy
        self.noise_forces = noise_forces
        self.noise_virial = noise_virial

    @property
    def active_(self):
        """The structures of the active set."""
        labels = np.concatenate([each.labels for each in self.sets_.values()])
        return np.unique(labels[labels >= 0])

    @property
    def scores_atoms_(self):
        """Whether `score` can say how new each atom is."""
        return self.rows == "atom" and self._of_atoms

    def _learn(self, X):
        self.sets_, self.scales_ = {}, {}
        self._add(X, 0)
        for active in self.sets_.values():
            active.refresh()

    def _learn_more(self, X):
        before = self.sets_, self.scales_
        self.sets_, self.scales_ = dict(self.sets_), dict(self.scales_)
        try:
            with ExitStack() as stack:
                for active in before[0].values():
                    stack.enter_context(active.whole_or_not_at_all())
                self._add(X, self.n_structures_seen_)
        except BaseException:  # a call that fails changes nothing
            self.sets_, self.scales_ = before
            raise

    def _add(self, X, first):
        """Let the rows of X enter, as structures from number ``first`` on."""
        for key, (rows, owners) in self._rows(X).items():
            labels = owners + first
            if key not in self.sets_:
                self._begin(key, rows, labels)
            rows, active = rows / self.scales_[key], self.sets_[key]
            for _ in range(_PASSES):
                # coordinates of many exchanges are inexact, so others may be found in another pass
                if active.improve(rows, labels, self.tol) <= 1:
                    break

    def _begin(self, key, rows, labels):
        """The active set of the first rows."""
        norms = np.sqrt(np.einsum("nl,nl->l", rows, rows) / len(rows))
        self.scales_[key] = np.where(norms > 0, norms, 1.0)
        self.sets_[key] = ActiveRows(rows.shape[1])
        few = np.linspace(0, len(rows) - 1, min(len(rows), _FIRST * rows.shape[1])).astype(int)
        self.sets_[key].start(rows[few] / self.scales_[key], labels[few])

    def _rows(self, X):
        if self.rows == "atom" and isinstance(X, Features) and not isinstance(X, AtomicFeatures):
            raise ValueError(
                "rows='atom' needs features of atoms, but X are features of structures: use a "
                "descriptor of atoms without pool, or rows='structure'"
            )
        noises = self.noise_energy, self.noise_forces, self.noise_virial
        return LinearRows(self.rows, self.species_, self.by_species, noises).of(X)

    def _graded(self, X):
        """Grades and owners of the rows, by set; a species without a set has infinite grades."""
        for key, (rows, owners) in self._rows(X).items():
            if key in self.sets_:
                yield key, self.sets_[key].grades(rows / self.scales_[key]), owners
            else:
                yield key, np.full(len(rows), np.inf), owners

    def _scores(self, X):
        if self.scores_atoms_:
            found = np.empty(len(X.structures.numbers))
            kinds = np.searchsorted(self.species_, X.structures.numbers)
            for key, grades, _ in self._graded(X):
                found[kinds == key if self.by_species else slice(None)] = grades
            return found
        return self._largest(X)

    def _largest(self, X):
        """The largest grade of each structure or sample."""
        found = np.zeros(len(X))
        for _, grades, owners in self._graded(X):
            np.maximum.at(found, owners, grades)
        return found

    def _choose(self, X, n):
        chosen = [int(s) for s in np.flatnonzero(np.isinf(self._largest(X)))[:n]]
        sets = deepcopy(self.sets_)

        def newcomers(key, rows, owners):
            def may_enter():
                return np.isin(owners, chosen) if len(chosen) >= n else np.ones(len(owners), bool)

            return sets[key].newcomers(rows / self.scales_[key], owners, self.tol, may_enter)

        each = [newcomers(key, *part) for key, part in self._rows(X).items() if key in sets]
        for label in _in_turn(each):
            if label not in chosen:
                chosen.append(int(label))
        return np.array(chosen, int)


def _in_turn(generators):
    """What generators yield, one after the other."""
    waiting = deque(generators)
    while waiting:
        one = waiting.popleft()
        for found in islice(one, 1):
            yield found
            waiting.append(one)
