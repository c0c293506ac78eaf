"""Structures: many molecules or crystals packed in flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from skatom._input_checks import (
    LONGEST,
    atomic_numbers,
    check_physics,
    check_shapes,
    flags,
    real_array,
)
from skatom._misuse import check_is_not_single, check_may_be_structures
from skatom._typing import Array, ArrayLike, TargetsLike


class Structures(Sequence):
    """A batch of atomic structures of any sizes, in concatenated arrays.

    Structure ``s`` owns the atoms ``offsets[s]:offsets[s + 1]``. The length of a ``Structures`` is
    its number of structures. Indexing with an int, slice, mask or index array gives a
    ``Structures`` again, so scikit-learn splits it like an array. Every estimator of skatom accepts
    a ``Structures``, or a list of these or of `ase.Atoms`.

    Parameters
    ----------
    numbers : array-like of int, shape (n_atoms,)
        Atomic numbers, 1 to 118.
    positions : array-like of float, shape (n_atoms, 3)
        Cartesian positions in Å.
    offsets : array-like of int, shape (n + 1,), default=None
        Index of the first atom of each structure, and the number of atoms at the end. None: all
        atoms are one structure.
    cells : array-like of float, shape (n, 3, 3), default=None
        Lattice vectors as rows, in Å, in any order: left-handed cells are cells, too. None: no cell
        (zeros).
    pbc : array-like of bool, shape (n, 3), default=None
        Periodicity along each lattice vector, also as 0 and 1. None: not periodic.

    Attributes
    ----------
    numbers, positions, offsets, cells, pbc : ndarray
        The parameters as arrays, to be treated as read-only.
    n_atoms : ndarray of int, shape (n,)
        Number of atoms of each structure.
    species : ndarray of int
        Sorted atomic numbers that occur.

    Raises
    ------
    ValueError
        If lengths disagree, an array is not of real numbers, a position or cell is not finite, a
        structure has no atoms, an atomic number is not an element (a ghost atom of number 0, a
        fraction), or the cell of a periodic structure is flat.

    Examples
    --------
    >>> from ase.build import bulk, molecule
    >>> from skatom import Structures
    >>> structures = Structures.from_ase([molecule("H2O"), bulk("SiC", "zincblende", a=4.36)])
    >>> structures
    Structures(2 structures, 5 atoms, species H C O Si)
    >>> structures[1].pbc
    array([[ True,  True,  True]])
    """

    # a list of neighbours that was given, see `with_neighbors`
    known_neighbors = None
    # bonds that were given, see `with_bonds`
    known_bonds = None

    def __init__(
        self,
        numbers: ArrayLike,
        positions: ArrayLike,
        offsets: ArrayLike | None = None,
        cells: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
    ) -> None:
        numbers = atomic_numbers(numbers)
        positions = real_array(positions, "positions")
        if offsets is None:
            offsets = [0, len(numbers)]
        offsets = np.asarray(offsets, dtype=np.int64)
        n = len(offsets) - 1
        cells = np.zeros((n, 3, 3)) if cells is None else real_array(cells, "cells")
        pbc = np.zeros((n, 3), bool) if pbc is None else flags(pbc)
        check_shapes(numbers, positions, offsets, cells, pbc)
        check_physics(numbers, positions, offsets, cells, pbc)
        self._set(numbers, positions, offsets, cells, pbc)

    def _set(self, numbers, positions, offsets, cells, pbc):
        self.numbers = numbers
        self.positions = positions
        self.offsets = offsets
        self.cells = cells
        self.pbc = pbc

    @classmethod
    def from_ase(cls, atoms: Any) -> Structures:
        """Pack `ase.Atoms` objects.

        Parameters
        ----------
        atoms : iterable of ase.Atoms
            A list, an array of objects, or a generator; it may also contain ``Structures``.

        Returns
        -------
        Structures
        """
        check_may_be_structures(atoms)
        atoms = list_of_atoms(atoms, Atoms | Structures, "pass a Structures or a list of ase.Atoms")
        if not any(isinstance(item, Structures) for item in atoms):
            return cls._packed(atoms)
        return cls.concatenate(
            [item if isinstance(item, Structures) else cls._packed([item]) for item in atoms]
        )

    @classmethod
    def _packed(cls, atoms):
        return cls(
            np.concatenate([item.numbers for item in atoms]),
            np.concatenate([item.positions for item in atoms]),
            offsets_from_counts([len(item) for item in atoms]),
            np.array([item.cell.array for item in atoms]),
            np.array([item.pbc for item in atoms]),
        )

    @classmethod
    def concatenate(cls, parts):
        """Join batches of structures, one after the other.

        Parameters
        ----------
        parts : sequence of Structures

        Returns
        -------
        Structures

        Raises
        ------
        ValueError
            If there are no parts, or some have neighbours of their own (`with_neighbors`).
        """
        parts = list(parts)
        if not parts:
            raise ValueError("got no structures: pass at least one")
        if any(part.known_neighbors is not None for part in parts):
            raise ValueError(
                "structures with neighbours of their own cannot be joined: join them first, and "
                "give the neighbours of all by with_neighbors"
            )
        batch = object.__new__(cls)
        batch._set(
            np.concatenate([part.numbers for part in parts]),
            np.concatenate([part.positions for part in parts]),
            offsets_from_counts(np.concatenate([part.n_atoms for part in parts])),
            np.concatenate([part.cells for part in parts]),
            np.concatenate([part.pbc for part in parts]),
        )
        bonds = [part.known_bonds for part in parts if part.known_bonds is not None]
        if bonds:
            batch.known_bonds = bonds[0].joined(bonds, batch.offsets)
        return batch

    @classmethod
    def from_frames(
        cls,
        numbers: ArrayLike,
        positions: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: Any = None,
    ) -> Structures:
        """Pack frames of one system: the same atoms in the same order in every frame.

        Parameters
        ----------
        numbers : array-like of int, shape (N,)
        positions : array-like of float, shape (n, N, 3), Å
        cell : array-like of float, shape (3, 3), Å, default=None
            A cell that all frames share, lattice vectors as rows.
        pbc : bool or three bools, default=None
            Periodicity; None: periodic where there is a cell.

        Returns
        -------
        Structures
        """
        positions = real_array(positions, "positions")
        if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3):
            raise ValueError(
                f"positions have the shape {positions.shape}; {len(numbers)} atomic numbers need "
                f"(frames, {len(numbers)}, 3)"
            )
        n = len(positions)
        return cls(
            np.tile(np.asarray(numbers), n),
            positions.reshape(-1, 3),
            offsets_from_counts(np.full(n, len(numbers))),
            None if cell is None else np.broadcast_to(real_array(cell, "cell"), (n, 3, 3)),
            np.broadcast_to(cell is not None if pbc is None else pbc, (n, 3)),
        )

    def to_ase(self, targets: TargetsLike | None = None) -> Any:
        """Unpack into a list of `ase.Atoms`.

        Parameters
        ----------
        targets : Targets, default=None
            Labels to attach to the structures, in a `SinglePointCalculator`, or in ``info`` if
            ASE's calculators do not know the property, such as a polarisability.

        Returns
        -------
        list of ase.Atoms
        """
        if targets is not None and len(targets) != len(self):
            raise ValueError(f"{len(targets)} targets for {len(self)} structures")
        images = []
        for s, (start, stop) in enumerate(zip(self.offsets[:-1], self.offsets[1:], strict=True)):
            atoms = Atoms(
                self.numbers[start:stop], self.positions[start:stop], cell=self.cells[s],
                pbc=self.pbc[s],
            )  # fmt: skip
            if targets is not None:
                results = targets.results(s)
                atoms.info = {name: results.pop(name) for name in results.keys() - all_properties}
                atoms.calc = SinglePointCalculator(atoms, **results)
            images.append(atoms)
        return images

    def with_neighbors(self, neighbors: Any) -> Structures:
        """The same structures with a neighbour list that is used instead of a search.

        Descriptors, kernels, models and baselines use it for these structures, and raise a
        ValueError if its cutoff is shorter than theirs.

        Parameters
        ----------
        neighbors : skatom.neighbors.NeighborList
            Neighbour list of all atoms of these structures. From the list of a simulation engine
            it is made, and checked, by `skatom.neighbors.NeighborList.from_pairs`.

        Returns
        -------
        Structures
        """
        if len(neighbors.atoms) != len(self.numbers):
            raise ValueError(
                f"neighbors has {len(neighbors.atoms)} centres, but the structures have "
                f"{len(self.numbers)} atoms: give the list of all atoms of these structures"
            )
        batch = object.__new__(type(self))
        batch._set(self.numbers, self.positions, self.offsets, self.cells, self.pbc)
        batch.known_neighbors = neighbors
        if self.known_bonds is not None:
            batch.known_bonds = self.known_bonds
        return batch

    def with_bonds(self, bonds: Any) -> Structures:
        """The same structures with bonds, for models of molecular graphs.

        Parameters
        ----------
        bonds : skatom.bonds.Bonds
            Bonds of these structures, given as arrays, or perceived by
            `skatom.bonds.perceive_bonds`.

        Returns
        -------
        Structures
        """
        if not np.array_equal(bonds.offsets, self.offsets):
            raise ValueError(
                f"the bonds are those of {len(bonds)} structures of {bonds.offsets[-1]} atoms, "
                f"these are {len(self)} of {self.offsets[-1]}: give the bonds of these structures"
            )
        batch = self[:]
        batch.known_bonds = bonds
        return batch

    def moved(self, positions: ArrayLike, cells: ArrayLike | None = None) -> Structures:
        """The same atoms at other places, as in the next step of a simulation.

        It takes a tenth of the time of a new ``Structures``, since only the positions are checked.

        Parameters
        ----------
        positions : array-like of float, shape (n_atoms, 3), Å
            All positions; the array is copied.
        cells : array-like of float, shape (n, 3, 3), Å, default=None
            Lattice vectors as rows, of the same periodicity. None: those of these structures.

        Returns
        -------
        Structures
            Without the neighbours of these, if they have any.

        Raises
        ------
        ValueError
            If the positions have another shape or are not finite.
        """
        positions = np.array(positions, dtype=float)
        if (
            cells is not None
            or positions.shape != self.positions.shape
            or not (
                np.abs(positions).max() < LONGEST  # not true of NaN
            )
        ):
            cells = self.cells if cells is None else cells
            batch = type(self)(self.numbers, positions, self.offsets, cells, self.pbc)
        else:
            batch = object.__new__(type(self))
            batch._set(self.numbers, positions, self.offsets, self.cells, self.pbc)
        if self.known_bonds is not None:
            batch.known_bonds = self.known_bonds
        return batch

    @property
    def shape(self) -> Any:
        """``(len(self),)``; tells scikit-learn that index arrays are welcome."""
        return (len(self.offsets) - 1,)

    @property
    def n_atoms(self) -> Any:
        return np.diff(self.offsets)

    @property
    def species(self) -> Any:
        return np.unique(self.numbers)

    def volumes(self) -> Array:
        """Volume of every cell in Å³; the stress is the virial divided by it.

        Returns
        -------
        ndarray of float, shape (n,)

        Raises
        ------
        ValueError
            If a structure is not periodic in all three directions.
        """
        if not self.pbc.all():
            first = np.argmin(self.pbc.all(axis=1))
            raise ValueError(
                f"stress needs structures that are periodic in three directions, structure {first} "
                "is not: set pbc=True and a cell, or leave out return_stress"
            )
        return np.abs(np.linalg.det(self.cells))  # vectors in any order

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, key):
        rows, atoms, offsets = select(self.offsets, key)
        batch = object.__new__(type(self))
        batch._set(
            self.numbers[atoms], self.positions[atoms], offsets, self.cells[rows], self.pbc[rows]
        )
        if self.known_neighbors is not None:
            batch.known_neighbors = self.known_neighbors.of_structures(self.offsets, key)
        if self.known_bonds is not None:
            batch.known_bonds = self.known_bonds[key]
        return batch

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Structures are not an array of features: put a descriptor in front, for example "
            "make_pipeline(InverseDistances(), model)"
        )

    def __repr__(self):
        from ase.data import chemical_symbols

        symbols = " ".join(chemical_symbols[z] for z in self.species)
        return f"Structures({len(self)} structures, {len(self.numbers)} atoms, species {symbols})"


def as_structures(X):
    """The input of an estimator as ``Structures``: these, or a list of them or of `ase.Atoms`."""
    structures = X if isinstance(X, Structures) else Structures.from_ase(X)
    if len(structures) == 0:
        raise ValueError("got no structures: pass at least one")
    return structures


def list_of_atoms(atoms, kind, remedy):
    """A list of items of a kind of any iterable, or a ValueError that says what else it is."""
    check_is_not_single(atoms)
    if not isinstance(atoms, Iterable) or isinstance(atoms, str):
        raise ValueError(f"got a {type(atoms).__name__}: {remedy}")
    atoms = list(atoms)
    for index, item in enumerate(atoms):
        if not isinstance(item, kind):
            raise ValueError(f"item {index} is a {type(item).__name__}, not an ase.Atoms: {remedy}")
    if not atoms:
        raise ValueError("got no structures: pass at least one")
    return atoms


def is_atoms(X):
    """Whether X is a list, tuple or array of `ase.Atoms` or of ``Structures``."""
    listed = isinstance(X, list | tuple) or (isinstance(X, np.ndarray) and X.dtype == object)
    return listed and len(X) > 0 and isinstance(X[0], Atoms | Structures)


def offsets_from_counts(counts):
    """Offsets (n + 1,) of consecutive runs of the given lengths (n,)."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def groups_by_size(offsets, size, first=0):
    """Slices of consecutive structures, from ``first`` on, of about ``size`` atoms each.

    ``offsets`` (n + 1,) may also count other things than atoms, such as rows of a matrix.
    """
    edges = np.unique(np.searchsorted(offsets, np.arange(offsets[first], offsets[-1], size)))
    edges = np.append(edges[edges < len(offsets) - 1], len(offsets) - 1)
    return [slice(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]


def select(offsets, key):
    """Indices of the structures that ``key`` selects, of their atoms, and their new offsets."""
    if isinstance(key, tuple):  # scikit-learn indexes arrays as X[key, ...]
        key = key[0]
    rows = np.atleast_1d(np.arange(len(offsets) - 1)[key])
    counts = np.diff(offsets)[rows]
    new_offsets = offsets_from_counts(counts)
    atoms = np.repeat(offsets[:-1][rows] - new_offsets[:-1], counts) + np.arange(new_offsets[-1])
    return rows, atoms, new_offsets


def structure_of(offsets, atom):
    """Index of the structure that owns an atom of the batch."""
    return int(np.searchsorted(offsets, atom, side="right") - 1)
