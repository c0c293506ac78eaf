"""Structures of files as `ase.Atoms`, with all that they carry beside positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from skatom.datasets._files import find_files, plain_files
from skatom.datasets._formats import as_slice, format_of, images, species_numbers
from skatom.datasets._npz import read_npz


def iter_atoms(path: Any, *, index: int | slice | str = ":", species: Any = None) -> Iterator:
    """Read `ase.Atoms` one by one, with momenta, constraints, masses and ``info``.

    The files are those of `read`, which gives labels in one unit but leaves out what a simulation
    needs: momenta, constraints and masses.

    Parameters
    ----------
    path : str, path-like, or list of these
        The files, in this order.
    index : int, slice or str, default=":"
        Which structures of each file.
    species : list of str, or str, default=None
        Elements of the types of atoms, for files of LAMMPS that number types.

    Yields
    ------
    ase.Atoms

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged or of an unknown format; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import molecule
    >>> from skatom.datasets import iter_atoms
    >>> water = molecule("H2O", info={"config_type": "gas"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "water.xyz"
    ...     water.write(path)
    ...     [atoms.info["config_type"] for atoms in iter_atoms(path)]
    ['gas']
    """
    index, species = as_slice(index), species_numbers(species)
    for file in find_files(path):
        try:
            for _, plain in plain_files(file):
                yield from _of_file(plain, index, species)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error


def _of_file(plain, index, species):
    if plain.suffix == ".npz":
        structures, _, _ = read_npz(plain, {}, index)
        yield from structures.to_ase()
    else:
        yield from images(plain, format_of(plain), index, species)
