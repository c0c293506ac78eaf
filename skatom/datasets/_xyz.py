"""Files of XYZ that ASE reads in part or not at all: with blank lines, and in the layout of QM9."""

import re
import tempfile
from contextlib import contextmanager
from itertools import dropwhile, islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_numbers
from ase.io.extxyz import key_val_str_to_dict, per_config_properties

# The numbers of QM9's second line, after "gdb" and the index of the molecule.
_QM9 = (
    "A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "U0", "U", "H", "G", "Cv",
)  # fmt: skip

_PROPERTIES = re.compile(r"Properties\s*=\s*\"?([^\s\"]+)")
_NUMBER = re.compile(r"[-+]?\d+\.\d*([eEdD][-+]?\d+)?$")


def fields_of(comment):
    """The fields of the second line, with all elements of a stress, of which ASE takes six."""
    fields = key_val_str_to_dict(comment)
    if np.shape(fields.get("stress")) == (3, 3):
        fields["stress"] = fields["stress"].ravel()
    return fields


@contextmanager
def without_blank_lines(path):
    """The path, or that of a copy without blank lines between frames, at which ASE would stop."""
    if not _has_frames_after_blank_lines(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with path.open("rb") as source, copy.open("wb") as target:
            for line in source:
                if line.strip():
                    target.write(line)
                    if line.strip().isdigit():
                        target.writelines(islice(source, int(line) + 1))
        yield copy


def _has_frames_after_blank_lines(path):
    blank = False
    with path.open("rb") as file:
        for line in file:
            text = line.strip()
            if not text:
                blank = True
            elif blank:
                return True
            elif text.isdigit():
                next(islice(file, int(text), int(text) + 1), None)
    return False


def without_names(path):
    """What the first frame holds and ASE leaves out, since it has no name that ASE knows.

    Returns
    -------
    dict of str
        Sentences, by kind.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = dropwhile(lambda line: not line, (line.strip() for line in file))
        comment, row = next(islice(lines, 1, 2), ""), next(lines, "").split()
    found, properties = {}, _PROPERTIES.search(comment)
    n_columns = sum(int(n) for n in re.findall(r":(\d+)", properties[1])) if properties else 4
    if len(row) > n_columns:
        found["columns"] = (
            f"the atoms have {len(row)} columns, of which the last {len(row) - n_columns} have no "
            "names and were not read: write, for example, "
            "Properties=species:S:1:pos:R:3:forces:R:3 into the second line"
        )
    numbers = [word for word in _outside_values(comment).split() if _NUMBER.match(word)]
    if numbers:
        found["numbers"] = (
            f"the number {numbers[0]} in the second line has no name and was not read: if it is "
            f"the energy, write energy={numbers[0]}"
        )
    for name in ("Lattice", "Properties"):
        other = re.search(rf"(?<!\w){name}\s*=", comment, re.IGNORECASE)
        if other and not other[0].startswith(name):
            found[name] = f"{other[0].rstrip(' =')} was not read: it must be spelled {name}"
    return found


def _outside_values(comment):
    """The second line without the pairs of keys and values."""
    return re.sub(r"[^\s=]+\s*=\s*(\"[^\"]*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\]|\S*)", " ", comment)


def check_frame(path, number):
    """Raise a ValueError that names what is no number, or no element, in one frame of a file."""
    comment, rows = _frame(path, number)
    try:
        fields = key_val_str_to_dict(comment)
    except ValueError as error:  # of a stress, virial or lattice that is not nine numbers
        raise ValueError(f"structure {number}: {error}") from error
    for name, value in fields.items():
        if name in per_config_properties and not _is_numeric(value):
            raise ValueError(
                f"structure {number}: {name!r} in the second line must be numbers, but is "
                f"{value!r}: write numbers, or nan where there are none"
            )
    properties = _PROPERTIES.search(comment)
    columns = properties[1].split(":") if properties else ["species", "S", "1", "pos", "R", "3"]
    if not re.fullmatch(r"([^:]+:\w:\d+:)+", ":".join(columns) + ":"):
        return
    for atom, row in enumerate(rows):
        words = iter(row.split())
        for name, kind, n in zip(columns[::3], columns[1::3], map(int, columns[2::3]), strict=True):
            for word in islice(words, n):
                if not _is_meant(name, kind, word):
                    raise ValueError(
                        f"structure {number}, atom {atom}: {word!r} in the column of {name!r} is "
                        f"no {'chemical symbol' if name == 'species' else 'number'}: repair it"
                    )


def _frame(path, number):
    """The second line of a frame, and the lines of its atoms."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            n_atoms = int(line) if line.strip().isdigit() else 0
            if not n_atoms:
                continue
            frame = list(islice(file, n_atoms + 1))
            if number == 0:
                return frame[0].strip() if frame else "", frame[1:]
            number -= 1
    return "", []


def _is_numeric(value):
    try:
        np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        return False
    return True


def _is_meant(name, kind, word):
    """Whether a word may stand in a column of this name and kind."""
    if name == "species":
        return word.capitalize() in atomic_numbers
    return kind not in "RI" or _is_numeric(word)


def begins_as_qm9(path):
    """Whether the second line is that of a molecule of QM9."""
    with path.open("rb") as file:
        words = next(islice(file, 1, 2), b"").split()
    return len(words) == 2 + len(_QM9) and words[0] == b"gdb"


def read_qm9(path):
    """Molecules in the layout of QM9, of which one file has one or many.

    After the number of atoms and the properties follow the atoms with their charges, a line of
    frequencies, the SMILES and the InChI. Exponents may be written as ``*^``.

    Returns
    -------
    list of ase.Atoms
        With the properties in ``info``.
    """
    lines = iter(path.read_text(encoding="utf-8").replace("*^", "e").splitlines())
    molecules = []
    for line in lines:
        if not line.strip():
            continue
        n_atoms = int(line)
        block = [row.split() for row in islice(lines, n_atoms + 4)]
        if len(block) < n_atoms + 4 or len(block[0]) != 2 + len(_QM9):
            raise ValueError(f"molecule {len(molecules)} is not complete in the layout of QM9")
        atoms = block[1 : n_atoms + 1]
        molecule = Atoms([row[0] for row in atoms], np.array([row[1:4] for row in atoms], float))
        molecule.info["index"] = int(block[0][1])
        molecule.info |= dict(zip(_QM9, map(float, block[0][2:]), strict=True))
        charges = np.array([row[4] for row in atoms], float)
        molecule.calc = SinglePointCalculator(molecule, charges=charges)
        molecules.append(molecule)
    return molecules
