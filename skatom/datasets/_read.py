"""Read structures and labels from files of many formats."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ase.io
from sklearn.utils import Bunch

from skatom._typing import PathLike
from skatom.datasets._npz import read_npz
from skatom.properties import LABELS
from skatom.structures import Structures
from skatom.targets import Targets

_OPEN = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read(path: str | PathLike, keys: dict | None = None) -> Any:
    """Read structures and their labels from a file.

    Two kinds of file can be read, also compressed (``.gz``, ``.bz2``, ``.xz``):

    - ``.npz`` in the layouts of sGDML (``z``, ``R``, ``E``, ``F``) and of MD17 and rMD17
      (``nuclear_charges``, ``coords``, ``energies``, ``forces``), with one row of atomic numbers
      for all frames or one for each, padded with zeros. ``r_unit`` and ``e_unit`` name the units;
      without them, lengths are in Å and energies in kcal/mol, as in MD17. A ``lattice`` (vectors
      as columns) of shape (3, 3) or (n, 3, 3) makes the structures periodic; ``stress`` is in
      ``e_unit`` / ``r_unit``³, ``dipole`` in e·Å.
    - every format of `ase.io.read`: extended XYZ, trajectories, VASP, CIF and many more.

    Parameters
    ----------
    path : str or path-like
        The file.
    keys : dict, default=None
        Names of fields that differ from the usual ones, for example ``{"energy": "E_pbe0"}``. The
        dict's keys are ``energy``, ``forces``, ``stress`` and ``dipole``, and for npz files also
        ``numbers``, ``positions`` and ``lattice``.

    Returns
    -------
    data : `sklearn.utils.Bunch`
        - ``structures``: Structures, Å
        - ``targets``: Targets in eV, eV/Å, eV/Å³, or None if the file has no labels
        - ``DESCR``: str, the number of structures and the names of all fields of the file

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or of an unknown format, lacks positions or a field of ``keys``, or
        has arrays whose lengths disagree or an unknown unit. The message names the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import molecule
    >>> from skatom.datasets import read
    >>> water = molecule("H2O")
    >>> water.info["E_dft"] = -14.2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "water.xyz.gz"
    ...     water.write(path)
    ...     data = read(path, keys={"energy": "E_dft"})
    >>> data.structures, data.targets
    (Structures(1 structures, 3 atoms, species H O), Targets(1 structures: energy))
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; the present folder is {Path.cwd()}")
    try:
        with _decompressed(path) as plain:
            reader = read_npz if plain.suffix == ".npz" else _read_with_ase
            structures, targets, fields = reader(plain, keys or {})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    description = f"{len(structures)} structures from {path}; fields: {', '.join(fields)}"
    return Bunch(structures=structures, targets=targets, DESCR=description)


@contextmanager
def _decompressed(path):
    """The path, or the path of a decompressed copy, whose inner suffix names the format.

    ASE could read compressed files itself, but seeks in them: a hundred times slower for xz.
    """
    if path.suffix not in _OPEN:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / path.stem
        try:
            with _OPEN[path.suffix](path) as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise ValueError(f"cannot be decompressed ({error}): fetch it again") from error
        yield plain


def _read_with_ase(path, keys):
    """Structures, Targets (or None) and the names of all fields of a file that ASE knows."""
    try:
        images = ase.io.read(path, ":", do_not_split_by_at_sign=True)
    except Exception as error:  # each of ASE's formats fails in its own way
        raise ValueError(
            f"ASE cannot read it ({type(error).__name__}: {error}): the file may be truncated, or "
            "its name may not match its format"
        ) from error
    if not images:
        raise ValueError("it has no structures: the file may be empty or truncated")
    fields = {name: None for atoms in images for name in _fields(atoms)}  # a set in order
    for what, name in keys.items():
        if name not in fields:
            raise ValueError(f"no field {name!r} for {what}; the file has {', '.join(fields)}")
    labelled = keys or not LABELS.keys().isdisjoint(fields)
    targets = Targets.from_ase(images, keys) if labelled else None
    return Structures.from_ase(images), targets, list(fields)


def _fields(atoms):
    results = atoms.calc.results if atoms.calc is not None else {}
    return [*atoms.info, *atoms.arrays, *results]
