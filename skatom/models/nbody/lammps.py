"""Pairs as tables and triangles as B-splines, in the formats of LAMMPS."""

from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from skatom._files import written_whole
from skatom.baseline import energies_of_elements
from skatom.models.nbody import uf3


def write_potential(model, prefix, n_points):
    """Write the files, see `MappedForceField.write_lammps`."""
    energies_of_elements(model.baseline_, model.species_)  # raises if it has forces
    prefix = Path(prefix)
    orders = {table.order for table in model.expansion_.tables}
    symbols = [chemical_symbols[z] for z in model.species_]
    styles, commands = [], []
    if 2 in orders:
        path = prefix.with_name(prefix.name + ".table")
        styles.append(f"1.0 table spline {n_points}")
        commands += _write_pairs(model, path, symbols, n_points)
    if 3 in orders:
        path = prefix.with_name(prefix.name + ".uf3")
        styles.append(f"{uf3.SCALE:g} uf3 3")
        uf3.write_triangles(model, path, symbols)
        commands.append(f"pair_coeff * * uf3 {path} {' '.join(symbols)}")
    return ["units metal", f"pair_style hybrid/scaled {' '.join(styles)}", *commands]


def _write_pairs(model, path, symbols, n_points):
    tables = [table for table in model.expansion_.tables if table.order == 2]
    low = max(table.grid[0] for table in tables)
    high = max(float(table.cutoff.radius) for table in tables)
    r = np.linspace(low, high, n_points)
    index = np.arange(1, n_points + 1)
    commands = []
    with written_whole(path) as beside, beside.open("w") as file:
        file.write("# pair energies in units metal: index, r, energy, force\n")
        for a, first in enumerate(symbols):
            for b, second in enumerate(symbols[a:], a):
                keyword = f"{first}_{second}"
                energies, slopes = model.pair_energy(model.species_[a], model.species_[b], r)
                file.write(f"\n{keyword}\nN {n_points} R {low:.15g} {high:.15g}\n\n")
                np.savetxt(
                    file, np.column_stack([index, r, energies, -slopes]),
                    fmt="%d %.15g %.15g %.15g",
                )  # fmt: skip
                commands.append(f"pair_coeff {a + 1} {b + 1} table {path} {keyword}")
    return commands
