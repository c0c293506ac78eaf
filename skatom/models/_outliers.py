r"""Structures whose energies are far outside of what those of the others say.

A small linear model of energies (`_probe`) is fitted to all structures with a ridge. For the
leverages :math:`h_s = (A (A^\top A + \lambda)^{-1} A^\top)_{ss}`,

.. math::

    d_s = \frac{r_s}{1 - h_s}, \qquad t_s = d_s \sqrt{1 - h_s}

are the distance of the energy of structure s from its prediction by all others, and that beside
its standard deviation, from the residuals r. Residuals of the fit alone would not do: a structure
that is like no other is reproduced whatever its energy is.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from skatom._outliers import far_outside, usual
from skatom.baseline import count_species
from skatom.models._probe import n_functions, probe_energies
from skatom.parallel import serial_blas

# The fewest structures, also in multiples of the number of functions, and the most atoms.
_FEWEST, _PER_FUNCTION, _MOST_ATOMS = 60, 2, 100_000
# Distances this many times the usual one are outside even where a structure is like no other,
# unless it has so few atoms that it cannot be like any.
_UNLIKE, _SMALL = 100.0, 3
# Structures that are named, and those that are looked for.
_NAMED, _MOST = 5, 20
_RIDGES = 10.0 ** np.arange(-12, 0)
# Energies per atom in eV below which nothing is said: rounding of labels.
_ROUNDING = 1e-5

_names = ContextVar("names", default=None)


@dataclass(frozen=True)
class Outlier:
    """A structure, and the distance of its energy from the others' prediction in eV per atom."""

    structure: int
    distance: float
    usual: float


@contextmanager
def counted_as(frames, word="frame"):
    """Structures of fits within this context are named by their numbers in a file.

    Parameters
    ----------
    frames : ndarray of int, shape (n,)
        The number of each structure of ``X``.
    word : str, default="frame"
        What the numbers count.
    """
    token = _names.set((np.asarray(frames), word))
    try:
        yield
    finally:
        _names.reset(token)


def outlying_energies(structures, targets, places):
    """A sentence about structures whose energies are far outside, in a list, or an empty list.

    Parameters
    ----------
    structures : Structures
        All to which a model was fitted.
    targets : Targets
    places : ndarray of int, shape (n,)
        The place of each structure in ``X`` of the fit.

    Returns
    -------
    list of str
    """
    found = outliers(structures, targets)
    if not found:
        return []
    frames, word = _names.get() or (None, "structure")
    numbers = places if frames is None else frames[places]
    named = ", ".join(f"{numbers[o.structure]} ({o.distance:.2g})" for o in found[:_NAMED])
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    many = len(found) > 1
    return [
        f"the energies of {word}{'s' if many else ''} {named}{more} are farther than those of the "
        f"other {len(structures) - len(found)} from what all others say (eV per atom, usually "
        f"below {found[0].usual:.2g}): are their species in changed places, are the labels those "
        "of other structures, or is nothing like them among the others?"
    ]


def outliers(structures, targets):
    """The structures whose energies are far outside, the farthest first.

    Parameters
    ----------
    structures : Structures
    targets : Targets

    Returns
    -------
    list of Outlier
    """
    chosen = _comparable(structures, targets)
    if len(chosen) < max(_FEWEST, _PER_FUNCTION * n_functions(len(structures.species))):
        return []
    structures, energies = structures[chosen], targets.energy[chosen]
    roots = np.sqrt(structures.n_atoms)
    counts = count_species(structures, structures.species)
    rows = np.concatenate([counts, probe_energies(structures)], axis=1)
    with serial_blas():
        found = _one_by_one(rows / roots[:, None], energies / roots, structures.n_atoms)
    return [Outlier(int(chosen[o.structure]), o.distance, o.usual) for o in found]


def _comparable(structures, targets):
    """Structures with energies that are more than one atom, evenly spaced if they are many."""
    labelled = targets.labelled("energy") & (structures.n_atoms > 1)
    chosen = np.flatnonzero(labelled)
    n_atoms = structures.n_atoms[chosen].sum()
    if n_atoms <= _MOST_ATOMS:
        return chosen
    n = int(len(chosen) * _MOST_ATOMS / n_atoms)
    return chosen[np.unique(np.linspace(0, len(chosen) - 1, n).astype(int))]


def _one_by_one(rows, energies, n_atoms):
    """Outliers, each by a fit without those that are farther outside."""
    left, found = np.arange(len(energies)), []
    while len(found) < _MOST:
        distances, deviating = _left_out(rows[left], energies[left])
        per_atom = np.abs(distances) / np.sqrt(n_atoms[left])
        unlike = np.where(n_atoms[left] > _SMALL, per_atom, np.nan)
        outside = [*far_outside(deviating)[:1], *far_outside(unlike, _UNLIKE)[:1]]
        outside = [k for k in outside if per_atom[k] > _ROUNDING]
        if not outside:
            break
        worst = max(outside, key=lambda k: per_atom[k])
        found.append((int(left[worst]), float(per_atom[worst])))
        left = np.delete(left, worst)
    scale = usual(per_atom)
    return sorted((Outlier(*pair, scale) for pair in found), key=lambda o: -o.distance)


def _left_out(rows, energies):
    """Distances from the predictions by all others, and these beside their deviations."""
    sizes = np.linalg.norm(rows, axis=0)
    rows = rows[:, sizes > 1e-10 * sizes.max()]
    rows = rows / np.linalg.norm(rows, axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    along = rows @ vectors
    found = [_of_ridge(ridge, values, along, energies) for ridge in _RIDGES]
    distances, leverages = min(found, key=lambda pair: np.median(np.abs(pair[0])))
    return distances, np.abs(distances) * np.sqrt(1 - leverages)


def _of_ridge(ridge, values, along, energies):
    """Distances and leverages for a ridge."""
    factors = 1 / (np.maximum(values, 0) + ridge)
    leverages = np.minimum(along**2 @ factors, 1 - 1e-9)
    residuals = energies - along @ (factors * (along.T @ energies))
    return residuals / (1 - leverages), leverages
