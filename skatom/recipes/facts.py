"""What recipes ask of data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Length of the cube that an atom fills, in Å, where there are no cells: about that of molecules.
_OF_MOLECULES = 2.4


@dataclass(frozen=True)
class Facts:
    """What the defaults of a recipe depend on.

    Attributes
    ----------
    species : tuple of int
        Atomic numbers that occur.
    periodic : bool
        Whether most structures are periodic in three directions.
    spacing : float
        Cube root of the median volume of an atom in Å; 2.4 without cells.
    n_structures, n_atoms : int
        Numbers of structures and atoms.
    is_one_molecule : bool
        Whether all structures have the same atoms in the same order and none is periodic.
    """

    species: tuple
    periodic: bool
    spacing: float
    n_structures: int
    n_atoms: int
    is_one_molecule: bool

    @classmethod
    def of(cls, structures):
        """The facts of `Structures`."""
        cells = structures.pbc.all(axis=1)
        periodic = bool(cells.mean() > 0.5)
        spacing = _OF_MOLECULES
        if periodic:
            whole = structures[np.flatnonzero(cells)]
            spacing = float(np.cbrt(np.median(whole.volumes() / whole.n_atoms)))
        sizes = structures.n_atoms
        same = not periodic and np.ptp(sizes) == 0
        if same:
            numbers = structures.numbers.reshape(len(structures), -1)
            same = bool((numbers == numbers[0]).all())
        return cls(
            tuple(int(z) for z in structures.species), periodic, spacing, len(structures),
            len(structures.numbers), same,
        )  # fmt: skip

    def scaled(self, factor, lowest, highest):
        """A length: a multiple of the spacing within limits, in Å, to one digit."""
        return round(float(np.clip(factor * self.spacing, lowest, highest)), 1)
