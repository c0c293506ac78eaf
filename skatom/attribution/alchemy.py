"""Paths along which atoms change their elements."""

from __future__ import annotations

import numpy as np

from skatom._input_checks import atomic_numbers
from skatom._prediction import last_step, unwrap
from skatom._typing import Array, ArrayLike, Estimator, StructuresLike
from skatom.structures import Structures, as_structures


def alchemical_path(
    model: Estimator, X: StructuresLike, numbers: ArrayLike, fractions: ArrayLike
) -> Array:
    r"""Energies along a path on which atoms change their elements.

    .. math:: x_i^{(0)} = (1 - \alpha)\, a_{Z_i} + \alpha\, a_{Z'_i}

    The features of atoms begin as means of the vectors of two elements [1]_; energies of the
    elements and the baseline change in proportion. With α = 0 and 1 the energies are those of the
    molecules at the ends.

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

    Returns
    -------
    ndarray of float, shape (n,)
        In eV.

    Raises
    ------
    ValueError
        If the model cannot mix elements or does not know one of them, there are neither one nor n
        structures of as many atoms as numbers, or a fraction is not from 0 to 1.

    References
    ----------
    .. [1] K. T. Schütt, F. Arbabzadah, S. Chmiela, K.-R. Müller, A. Tkatchenko, Nat. Commun. 8,
       13890 (2017).

    Examples
    --------
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
    """
    last = last_step(unwrap(model))
    if not hasattr(last, "mixed_energies"):
        raise ValueError(
            f"{type(last).__name__} has no vectors of elements, which could be mixed: use SchNet, "
            "DTNN or PaiNN"
        )
    structures, numbers, fractions = _checked(X, numbers, fractions)
    found = last.mixed_energies(structures, numbers, fractions)
    if last.baseline_ is None:
        return found
    others = Structures(
        numbers, structures.positions, structures.offsets, structures.cells, structures.pbc
    )
    before, after = (last.baseline_.energies(each) for each in (structures, others))
    return found + (1 - fractions) * before + fractions * after


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
