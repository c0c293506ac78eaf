"""Structures of one file as `ase.Atoms`, without what the readers of ASE make up or leave out."""

from functools import partial
from itertools import islice

import ase.io
import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.io.formats import filetype, ioformats, string2index

from skatom.datasets._xyz import (
    begins_as_qm9,
    check_frame,
    fields_of,
    read_qm9,
    without_blank_lines,
)

# Formats whose atoms have numbered types, and results that their readers make up.
_NUMBERED = ("lammps-dump-text", "lammps-dump-binary", "lammps-data", "netcdftrajectory")
INVENTED = {"lammps-dump-text": ("energy",), "lammps-dump-binary": ("energy",)}
# How far (u) a mass may be from that of the element that is meant.
_SAME_MASS = 0.1


def format_of(path):
    """ASE's name of the format of a file."""
    try:
        return filetype(str(path))
    except Exception as error:
        raise _unreadable(error) from error


def images(path, kind, index, species, whole_stresses=False):
    """The structures of a file, one by one.

    Parameters
    ----------
    path : Path
    kind : str
        The format, by ASE's name.
    index : slice
        Which structures.
    species : list of int, or None
        Atomic numbers of the types of atoms, for formats that number types.
    whole_stresses : bool, default=False
        Whether stresses in extended XYZ are nine numbers, of which ASE takes six.

    Yields
    ------
    ase.Atoms

    Raises
    ------
    ValueError
        If the file cannot be read, or does not say which elements it has.
    """
    numbered = kind in _NUMBERED
    if species is not None and not numbered:
        raise ValueError(
            f"species is for files that number the types of atoms, but {kind} names elements: "
            "leave species out"
        )
    n_read = 0
    try:
        for atoms in _reader(kind, whole_stresses)(path, kind, index):
            if numbered and species is not None:
                _set_elements(atoms, kind, species)
            elif numbered and n_read == 0:
                _check_elements(atoms, path, kind)
            yield atoms
            n_read += 1
    except (Refused, MemoryError):
        raise
    except Exception as error:  # each of ASE's formats fails in its own way
        if kind == "extxyz" and not begins_as_qm9(path):
            check_frame(path, number_of(index, n_read))
        raise _unreadable(error, n_read) from error


class Refused(ValueError):
    """What ASE would read, but not as it is meant."""


def _unreadable(error, n_read=0):
    after = f" after {n_read} structures" if n_read else ""
    return ValueError(
        f"ASE cannot read it{after} ({type(error).__name__}: {error}): the file may be truncated, "
        "or its name may not match its format"
    )


def _reader(kind, whole_stresses):
    if kind == "extxyz" and whole_stresses:
        return partial(_xyz, properties_parser=fields_of)
    return {"extxyz": _xyz, "db": _database, "json": _database}.get(kind, _any)


def _any(path, kind, index, **options):
    options |= {"format": kind, "do_not_split_by_at_sign": True}
    if ioformats[kind].single:
        return [ase.io.read(path, **options)][index]
    return ase.io.iread(path, index, **options)


def _xyz(path, kind, index, **options):
    if begins_as_qm9(path):
        return read_qm9(path)[index]
    return _whole_xyz(path, kind, index, **options)


def _whole_xyz(path, kind, index, **options):
    with without_blank_lines(path) as whole:
        yield from _any(whole, kind, index, **options)


def _database(path, kind, index):
    """Rows of a database with their key-value pairs and data, which `ase.io.read` leaves out."""
    from ase.db import connect

    with connect(str(path), serial=True) as database:
        chosen = range(len(database))[index]
        backwards = chosen.step < 0
        chosen = chosen[::-1] if backwards else chosen
        rows = islice(database.select(), chosen.start, chosen.stop, chosen.step)
        found = (row.toatoms(add_additional_information=True) for row in rows)
        yield from (list(found)[::-1] if backwards else found)


def _check_elements(atoms, path, kind):
    """Raise an error if the file has numbered types and does not name their elements."""
    if not _names_elements(atoms, path, kind):
        raise Refused(
            "it numbers the types of atoms and does not say which elements they are: give "
            "species=['O', 'H'], the element of type 1, of type 2, and so on"
        )


def _set_elements(atoms, kind, species):
    """Give numbered types the elements of the user."""
    types = atoms.arrays.get("type", atoms.numbers if kind == "netcdftrajectory" else None)
    if types is None:
        raise Refused("it has no column of types, to which species could give elements")
    if types.min() < 1 or types.max() > len(species):
        raise Refused(
            f"it has the types {types.min()} to {types.max()}, but species has {len(species)} "
            "elements: give one for each type, from type 1 on"
        )
    atoms.numbers = np.asarray(species)[types - 1]
    if "masses" in atoms.arrays:
        del atoms.arrays["masses"]


def _names_elements(atoms, path, kind):
    if kind == "lammps-dump-text":
        with path.open() as file:
            columns = next((line for line in file if line.startswith("ITEM: ATOMS")), "")
        return "element" in columns.split()
    if kind == "lammps-data" and "masses" in atoms.arrays:
        return bool((np.abs(atoms.get_masses() - atomic_masses[atoms.numbers]) < _SAME_MASS).all())
    if kind == "lammps-data" and "type" in atoms.arrays:
        return bool((atoms.numbers != atoms.arrays["type"]).any())  # by labels of types
    if kind == "netcdftrajectory":  # AMBER's have types, or nothing, ASE's atomic numbers
        found = np.unique(atoms.numbers)
        return not np.array_equal(found, np.arange(1, len(found) + 1))
    return False


def species_numbers(species):
    """Atomic numbers of the elements of types, from a list or text."""
    if species is None:
        return None
    names = species.replace(",", " ").split() if isinstance(species, str) else list(species)
    numbers = [atomic_numbers.get(str(name).strip(), name) for name in names]
    bad = [n for n in numbers if not isinstance(n, int | np.integer) or not 1 <= n <= 118]
    if bad or not numbers:
        raise ValueError(
            f"species has {bad[0]!r}, which is no element: give symbols such as ['O', 'H'], that "
            "of type 1 first"
            if bad
            else "species is empty: give symbols such as ['O', 'H']"
        )
    return [int(n) for n in numbers]


def as_slice(index):
    """An int, slice or text such as "::10" as a slice."""
    given = index
    if isinstance(index, str):
        try:
            index = string2index(index)
        except (ValueError, TypeError):
            index = None
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        return slice(int(index), int(index) + 1 or None)
    if not isinstance(index, slice) or index.step == 0:
        raise ValueError(
            f"index is {given!r}: give a number, a slice, or text such as ':', '-1' or '::10'"
        )
    return index


def number_of(index, k):
    """The number in the file of the k-th structure that was selected, as far as it is known."""
    start, step = index.start or 0, index.step or 1
    return start + k * step if start >= 0 and step > 0 else k


def nothing_selected(index):
    """The error for a file of which the index, a slice, selects nothing."""
    return ValueError(
        "it has no structures: the file may be empty or truncated"
        if index == slice(None)
        else f"index {index} selects none of its structures: count them from 0"
    )
