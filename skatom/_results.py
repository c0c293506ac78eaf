"""Whether the results of a calculator belong to the structure that it is attached to."""

import numpy as np

# Distances (Å) below which positions and lattice vectors count as equal.
_SAME = 1e-8


def check_results(atoms, index):
    """Raise a ValueError if the results of the calculator belong to another structure.

    Calculators of ASE refuse results after any change. Here only physics counts: atoms may have
    moved by lattice vectors or all together, the lattice may be given by other vectors, and vectors
    along which nothing repeats may be any.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator.
    index : int
        Number of the structure, for the message.
    """
    if not atoms.calc.check_state(atoms):
        return
    before = getattr(atoms.calc, "atoms", None)
    if before is None or not same_physics(before, atoms):
        raise ValueError(
            f"structure {index} has results of a calculator for other positions, species or cells "
            "(it was changed after the calculation, or shares its calculator with other "
            "structures): calculate again, or remove them by atoms.calc = None"
        )


def same_physics(one, other):
    """Whether two `ase.Atoms` are the same structure, up to translations and lattice vectors."""
    if len(one) != len(other) or (one.numbers != other.numbers).any():
        return False
    if (one.pbc != other.pbc).any():
        return False
    old, new = one.cell.array[one.pbc], other.cell.array[one.pbc]
    return _same_lattice(old, new) and _moved_by_lattice(other.positions - one.positions, old)


def _same_lattice(old, new):
    """Whether two sets of vectors as rows span the same lattice."""
    if not len(old) or np.array_equal(old, new):
        return True
    change = np.rint(new @ np.linalg.pinv(old))
    unimodular = abs(abs(np.linalg.det(change)) - 1) < 0.5
    return unimodular and np.abs(change @ old - new).max() < _SAME


def _moved_by_lattice(moves, lattice):
    moves = moves - moves[:1]
    if len(lattice):
        moves = moves - np.rint(moves @ np.linalg.pinv(lattice)) @ lattice
    return np.abs(moves).max(initial=0) < _SAME * (1 + len(lattice))
