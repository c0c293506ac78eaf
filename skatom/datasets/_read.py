"""Read structures and labels from files of many formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import Bunch

from skatom._label_collector import LabelCollector
from skatom._label_fields import parse_keys
from skatom.datasets._files import find_files, plain_files
from skatom.datasets._formats import (
    INVENTED,
    as_slice,
    format_of,
    images,
    nothing_selected,
    number_of,
    species_numbers,
)
from skatom.datasets._npz import NPZ_KEYS, read_npz
from skatom.datasets._report import Report
from skatom.datasets._xyz import begins_as_qm9, without_names
from skatom.structures import Structures, offsets_from_counts
from skatom.targets import Targets

# Frames, and atoms, that are ase.Atoms at the same time: these take ten times as much memory.
_FRAMES, _ATOMS = 1000, 100_000


def read(
    path: Any,
    keys: dict | str | None = None,
    *,
    index: int | slice | str = ":",
    species: Any = None,
    info: Any = (),
) -> Any:
    """Read structures and their labels from files.

    Two kinds of file can be read, also compressed (``.gz``, ``.bz2``, ``.xz``) or in archives
    (``.zip``, ``.tar``), with all line ends and marks of encodings:

    - ``.npz`` in the layouts of sGDML (``z``, ``R``, ``E``, ``F``) and of MD17 and rMD17
      (``nuclear_charges``, ``coords``, ``energies``, ``forces``), with one row of atomic numbers or
      chemical symbols for all frames or one for each, padded with zeros. ``r_unit`` and ``e_unit``
      name the units; without them, lengths are in Å and energies in kcal/mol, as in MD17. A
      ``lattice`` (vectors as columns) of shape (3, 3) or (n, 3, 3) makes the structures periodic;
      ``stress`` is in ``e_unit`` / ``r_unit``³, ``dipole`` in e·Å, ``polarizability`` in Å³.
    - every format of `ase.io.read`: extended XYZ, trajectories, databases, VASP, CIF and many more;
      and the XYZ of QM9.

    Labels are taken from the calculator that ASE attaches, ``info``, ``arrays``, and key-value
    pairs and data of databases, under their usual names. A ``virial`` (or ``virials``) where there
    is no stress is W = −stress · volume in eV, as in files of GAP and MACE, and becomes a stress.
    Other fields that look like labels are not taken, but named in a warning.

    Parameters
    ----------
    path : str, path-like, or list of these
        The files, in this order. A name may be a pattern, such as ``"run_*/md.xyz"``, whose files
        are sorted by name.
    keys : dict or str, default=None
        Fields to read, by property: ``{"energy": "E_pbe0"}``, or with the unit of the values, or a
        factor, ``{"forces": ("gradient", "-Ha/bohr"), "energy": ("E", 27.2114)}``; a minus changes
        the sign. As text: ``"energy=E_pbe0,forces=gradient:-Ha/bohr"``. Properties are ``energy``,
        ``forces``, ``stress``, ``virial`` (W = −stress · volume, becomes a stress), ``dipole`` and
        ``polarizability``, and for npz files also ``numbers``, ``positions`` and ``lattice``. A
        property that is named is read from this field only; others as usual. Units are eV, meV, Ha,
        Ry, kcal/mol, kJ/mol, Ang, Bohr, nm, GPa, kbar, Debye and their products, such as
        ``"kcal/mol/Ang"`` and ``"eV/Ang^3"``.
    index : int, slice or str, default=":"
        Which structures of each file, for example ``-1`` or ``"::10"``.
    species : list of str, or str, default=None
        Elements of the types of atoms, for files of LAMMPS that number types: ``["O", "H"]``. Types
        whose elements the file names need none.
    info : list of str, default=()
        Further fields of structures to read, such as ``["config_type"]``, as text.

    Returns
    -------
    data : `sklearn.utils.Bunch`
        - ``structures``: Structures, Å
        - ``targets``: Targets in eV, eV/Å, eV/Å³, or None if there are no labels
        - ``sources``: dict, for each property the ``field``, ``place``, ``unit`` and ``factor``
          that it was read with
        - ``unread``: dict, fields that look like labels and were not taken, with their places
        - ``info``: dict of ndarray of str, shape (n,), for each name of ``info`` that occurs; ""
          for structures without
        - ``DESCR``: str, the same as text, the number of structures and the names of all fields

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged or of an unknown format, lacks positions, elements or a field of
        ``keys``, has arrays whose lengths disagree, a label that is not a number or has a wrong
        shape, or an unknown unit. The message names the file.

    Warns
    -----
    UserWarning
        If fields look like labels and were not taken, or stresses of structures that are not
        periodic in three directions were left out.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import molecule
    >>> from skatom.datasets import read
    >>> water = molecule("H2O")
    >>> water.info["E_dft"] = -76.4
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "water.xyz.gz"
    ...     water.write(path)
    ...     data = read(path, keys={"energy": ("E_dft", "Ha")})
    >>> data.structures, data.targets
    (Structures(1 structures, 3 atoms, species H O), Targets(1 structures: energy))
    >>> data.sources["energy"]
    Source(field='E_dft', place='info', unit='Ha', factor=27.211386024367243)
    """
    requests = parse_keys(keys, NPZ_KEYS)
    index, species = as_slice(index), species_numbers(species)
    parts = _Parts(requests, list(info))
    files = find_files(path)
    for file in files:
        _add_file(parts, file, index, species)
    what = str(path) if len(files) == 1 else f"{len(files)} files, {files[0]} to {files[-1]}"
    try:
        structures, targets, report = parts.joined()
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    report.warn()
    return Bunch(
        structures=structures,
        targets=targets,
        sources=report.sources,
        unread=report.unread,
        info=parts.info_by_name(),
        DESCR=report.description(len(structures), what),
    )


def _add_file(parts, file, index, species):
    """Read a file, or all of an archive; errors name it."""
    where = str(file)
    try:
        for name, plain in plain_files(file):
            where = f"{file} ({name})" if name else str(file)
            parts.add(plain, index, species)
    except (ValueError, MemoryError) as error:
        kind = MemoryError if isinstance(error, MemoryError) else ValueError
        raise kind(f"{where}: {error}") from error


class _Parts:
    """What has been read of some files."""

    def __init__(self, keys, info=()):
        self.keys = keys
        self.info, self._info_of_structures = info, []
        self.structures, self.targets, self.reports = [], [], []
        self._unnamed = {}
        self._open = None  # the collector of labels of the last files, and its structures

    def add(self, path, index, species):
        """Read one more file."""
        if path.suffix == ".npz":
            self._close()
            if species is not None:
                raise ValueError("species is for files that number types: leave species out")
            structures, targets, report = read_npz(path, self.keys, index)
            self._append(structures, targets, report)
            self._info_of_structures += len(structures) * [len(self.info) * ("",)]
            return
        wrong = [name for name in self.keys if name in ("numbers", "positions", "lattice")]
        if wrong:
            raise ValueError(
                f"keys name {', '.join(wrong)}, which only npz files need: leave it out"
            )
        kind = format_of(path)
        invented = INVENTED.get(kind, ())
        if self._open is not None and self._open[0].invented != invented:
            self._close()
        if self._open is None:
            self._open = LabelCollector(self.keys, as_read=True, invented=invented), []
        if kind == "extxyz" and not begins_as_qm9(path):
            self._unnamed = without_names(path) | self._unnamed
        labels, structures = self._open
        found = images(path, kind, index, species, whole_stresses=True)
        frames = map(self._noted, found)
        structures.append(_collected(frames, index, labels))

    def _noted(self, atoms):
        """A structure, whose fields of ``info`` are noted."""
        if self.info:
            stored = atoms.info.get("key_value_pairs", {}) | atoms.info
            self._info_of_structures.append(tuple(str(stored.get(n, "")) for n in self.info))
        return atoms

    def info_by_name(self):
        """The fields of ``info`` that some structure has."""
        columns = zip(*self._info_of_structures, strict=True)
        found = {name: np.array(column) for name, column in zip(self.info, columns, strict=False)}
        return {name: column for name, column in found.items() if column.astype(bool).any()}

    def _close(self):
        """End a run of files that are not npz: their labels are complete."""
        if self._open is None:
            return
        labels, structures = self._open
        self._open = None
        structures = structures[0] if len(structures) == 1 else Structures.concatenate(structures)
        found = labels.labels()
        targets = Targets(**found, offsets=structures.offsets) if found else None
        report = Report.of_collector(labels)
        report.unnamed, self._unnamed = self._unnamed, {}
        self._append(structures, targets, report)

    def _append(self, structures, targets, report):
        self.structures.append(structures)
        self.targets.append(targets)
        self.reports.append(report)

    def joined(self):
        """Structures, Targets (or None) and the report of all files."""
        self._close()
        if not self.structures:
            raise ValueError("it has no files: the archive is empty")
        if len(self.structures) == 1:
            return self.structures[0], self.targets[0], self.reports[0]
        report = Report.merged(self.reports)
        targets = None
        if report.sources:
            targets = Targets.concatenate([
                _unlabelled(structures, report.sources) if part is None else part
                for part, structures in zip(self.targets, self.structures, strict=True)
            ])  # fmt: skip
        return Structures.concatenate(self.structures), targets, report


def _unlabelled(structures, names):
    """Targets of structures without labels, beside others that have some."""
    one = next(iter(names))
    shape = {"energy": (), "forces": (3,), "dipole": (3,)}.get(one, (3, 3))
    n = len(structures.numbers) if one == "forces" else len(structures)
    return Targets(**{one: np.full((n, *shape), np.nan)}, offsets=structures.offsets)


def _collected(frames, index, labels):
    """The structures of a file; their labels are given to a collector, some frames at a time."""
    blocks, n = [], 0
    for block in _in_blocks(frames):
        labels.add(block, [number_of(index, n + k) for k in range(len(block))])
        blocks.append((
            np.concatenate([atoms.numbers for atoms in block]),
            np.concatenate([atoms.positions for atoms in block]),
            np.array([len(atoms) for atoms in block]),
            np.array([atoms.cell.array for atoms in block]),
            np.array([atoms.pbc for atoms in block]),
        ))  # fmt: skip
        n += len(block)
    if not blocks:
        raise nothing_selected(index)
    numbers, positions, counts, cells, pbc = map(np.concatenate, zip(*blocks, strict=True))
    return Structures(numbers, positions, offsets_from_counts(counts), cells, pbc)


def _in_blocks(frames):
    block, n_atoms = [], 0
    for atoms in frames:
        block.append(atoms)
        n_atoms += len(atoms)
        if len(block) == _FRAMES or n_atoms >= _ATOMS:
            yield block
            block, n_atoms = [], 0
    if block:
        yield block
