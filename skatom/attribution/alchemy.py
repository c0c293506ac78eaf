"""Paths along which atoms change their elements, or fade."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from skatom._input_checks import atomic_numbers
from skatom._prediction import last_step, unwrap
from skatom._typing import Array, ArrayLike, Estimator, StructuresLike
from skatom.structures import Structures, as_structures, offsets_from_counts


def alchemical_path(
    model: Estimator,
    X: StructuresLike,
    numbers: ArrayLike,
    fractions: ArrayLike,
    presence: ArrayLike | None = None,
) -> Array:
    r"""Energies along a path on which atoms change their elements, or fade.

    .. math::

        E = \sum_i \beta_i E_i, \qquad x_i^{(0)} = (1 - \alpha)\, a_{Z_i} + \alpha\, a_{Z'_i},
        \qquad v_{ij} \to \beta_j v_{ij}

    The features of atoms begin as means of the vectors of two elements, and atoms fade as the
    messages v that they send and their energies are multiplied by β [1]_; energies of the elements
    and the baseline change in proportion. With α = 0 and 1 the energies are those of the molecules
    at the ends, and with β = 0 those of the molecules without these atoms.

    Parameters
    ----------
    model : fitted estimator or search
        `SchNet`, `DTNN` or `PaiNN`.
    X : Structures or list of ase.Atoms
        One structure, or one for each fraction, with the same atoms, whose positions change as
        well.
    numbers : array-like of int, shape (n_atoms,)
        Atomic numbers Z' of the atoms of one structure at the end.
    fractions : array-like of float, shape (n,)
        The fractions α, from 0 to 1.
    presence : array-like of float, shape (n, n_atoms), default=None
        How much of each atom there is, β, from 0 to 1. None: all.

    Returns
    -------
    ndarray of float, shape (n,)
        In eV.

    Raises
    ------
    ValueError
        If the model cannot mix elements or does not know one of them, there are neither one nor n
        structures of as many atoms as numbers, there is not a presence for each atom and fraction,
        or a fraction or presence is not from 0 to 1.

    Notes
    -----
    A baseline of pairs or more is that of the molecules with all atoms whose β is above a level, a
    mean over the levels from 0 to 1: linear in β where all atoms that fade have the same.

    References
    ----------
    .. [1] K. T. Schütt, F. Arbabzadah, S. Chmiela, K.-R. Müller, A. Tkatchenko, Nat. Commun. 8,
       13890 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.attribution import alchemical_path
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SchNet
    >>> data = load_ethanol()
    >>> model = SchNet(n_features=8, n_interactions=1, max_iter=1, random_state=0)
    >>> model = model.fit(data.structures[::100], data.targets[::100])
    >>> molecule = data.structures[0]
    >>> ends = [8 if z == 6 else z for z in molecule.numbers]
    >>> found = alchemical_path(model, molecule, ends, [0.0, 0.5, 1.0])
    >>> found.shape, bool(abs(found[0] - model.predict(molecule)[0]) < 1e-4)
    ((3,), True)
    >>> fading = np.ones((3, 9))
    >>> fading[:, 8] = [1.0, 0.5, 0.0]
    >>> found = alchemical_path(model, molecule, molecule.numbers, np.zeros(3), fading)
    >>> without = molecule.to_ase()[0][:8]
    >>> bool(abs(found[2] - model.predict([without])[0]) < 1e-4)
    True
    """
    last = last_step(unwrap(model))
    if not hasattr(last, "mixed_energies"):
        raise ValueError(
            f"{type(last).__name__} has no vectors of elements, which could be mixed: use SchNet, "
            "DTNN or PaiNN"
        )
    structures, numbers, fractions = _checked(X, numbers, fractions)
    if presence is not None:
        presence = _checked_presence(presence, len(fractions), structures)
    found = last.mixed_energies(structures, numbers, fractions, presence)
    if last.baseline_ is None:
        return found
    others = Structures(
        numbers, structures.positions, structures.offsets, structures.cells, structures.pbc
    )
    before, after = (
        _faded_energies(last.baseline_, each, presence) for each in (structures, others)
    )
    return found + (1 - fractions) * before + fractions * after


def _faded_energies(baseline, structures, presence):
    """Energies of a baseline, whose atoms of the same presence fade together."""
    if presence is None:
        return baseline.energies(structures)
    found = np.zeros(len(structures))
    levels = np.unique(np.append(presence, 0.0))
    for lower, upper in pairwise(levels):
        there = presence >= upper
        n_atoms = np.add.reduceat(there, structures.offsets[:-1], dtype=int)
        some = np.flatnonzero(n_atoms)
        left = Structures(
            structures.numbers[there], structures.positions[there],
            offsets_from_counts(n_atoms[some]), structures.cells[some], structures.pbc[some],
        )  # fmt: skip
        found[some] += (upper - lower) * baseline.energies(left)
    return found


def _checked_presence(presence, n, structures):
    """The presence of all atoms, one structure after the other."""
    presence = np.asarray(presence, float)
    shape = n, len(structures.numbers) // max(n, 1)
    if presence.shape != shape:
        raise ValueError(
            f"presence has the shape {presence.shape}, and there are {n} fractions and {shape[1]} "
            f"atoms: give numbers of the shape {shape}"
        )
    outside = ~((presence >= 0) & (presence <= 1))
    if outside.any():
        raise ValueError(f"presence={presence[outside][0]} must be a number from 0 to 1")
    return presence.ravel()


def _checked(X, numbers, fractions):
    """A structure for each fraction, the numbers of all of them, and the fractions."""
    structures, fractions = as_structures(X), np.asarray(fractions, float)
    if fractions.ndim != 1 or not ((fractions >= 0) & (fractions <= 1)).all():
        raise ValueError(f"fractions={fractions} must be numbers from 0 to 1, in one dimension")
    n = len(fractions)
    if len(structures) == 1 and n:
        structures = structures[np.zeros(n, int)]
    numbers = atomic_numbers(numbers)
    if len(structures) != n or (structures.n_atoms != len(numbers)).any():
        raise ValueError(
            f"{len(structures)} structures of {structures.n_atoms.tolist()} atoms do not fit "
            f"{n} fractions and {len(numbers)} numbers: give one structure, or one for each "
            "fraction, and a number for each atom"
        )
    return structures, np.tile(numbers, n), fractions
