"""Tables of pairs and triangles in the formats of LAMMPS."""

from itertools import product
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from skatom._files import written_whole
from skatom._warnings import warn


def write_tables(model, prefix, n_points, n_grid):
    """Write the tables, see `MappedForceField.write_lammps`."""
    prefix = Path(prefix)
    orders = {table.order for table in model.expansion_.tables}
    symbols = [chemical_symbols[z] for z in model.species_]
    styles, commands = [], []
    if 2 in orders:
        path = prefix.with_name(prefix.name + ".table")
        styles.append(f"table spline {n_points}")
        commands += _write_pairs(model, path, symbols, n_points)
    if 3 in orders:
        if len(symbols) > 1:
            warn(
                "pair_style threebody/table of LAMMPS (22 July 2025) exchanges the neighbours of "
                "an atom where the first is farther away, unlike ones too: check the forces of "
                f"{', '.join(symbols)} in your version",
            )
        path = prefix.with_name(prefix.name + ".3b")
        styles.append("threebody/table")
        _write_triangles(model, path, symbols, n_grid)
        commands.append(f"pair_coeff * * threebody/table {path} {' '.join(symbols)}")
    return ["units metal", f"pair_style hybrid/overlay {' '.join(styles)}", *commands]


def _limits(model, order):
    tables = [table for table in model.expansion_.tables if table.order == order]
    return max(t.grid[0] for t in tables), max(float(t.cutoff.radius) for t in tables)


def _write_pairs(model, path, symbols, n_points):
    low, high = _limits(model, 2)
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


def _write_triangles(model, path, symbols, n_grid):
    low, high = _limits(model, 3)
    data = path.with_name(path.name + ".table")
    with (
        written_whole(path) as entries_path,
        written_whole(data) as data_path,
        entries_path.open("w") as entries,
        data_path.open("w") as file,
    ):
        entries.write("# centre, neighbours, cutoff, file, keyword, style, grid\n")
        file.write("# a third of the energy of triangles in units metal\n")
        for i, j, k in product(range(len(symbols)), repeat=3):
            names = [symbols[i], symbols[j], symbols[k]]
            keyword = "_".join(names)
            entries.write(f"{' '.join(names)} {high:.15g} {data.name} {keyword} linear {n_grid}\n")
            file.write(f"\n{keyword}\nN {n_grid} rmin {low:.15g} rmax {high:.15g}\n\n")
            np.savetxt(
                file, _triangle_lines(model, (i, j, k), low, high, n_grid),
                fmt="%d" + 10 * " %.10g",
            )  # fmt: skip


def _triangle_lines(model, species, low, high, n_grid):
    """Lines of index, r_ij, r_ik, θ, forces along r_ij, r_ik and r_jk on i, j and k, energy."""
    r = np.linspace(low, high, n_grid)
    width = 90.0 / n_grid
    angles = width * (0.5 + np.arange(2 * n_grid))
    first, second, angle = (x.ravel() for x in np.meshgrid(r, r, angles, indexing="ij"))
    if species[1] == species[2]:  # LAMMPS then requires r_ij <= r_ik
        kept = first <= second
        first, second, angle = first[kept], second[kept], angle[kept]
    third = np.sqrt(first**2 + second**2 - 2 * first * second * np.cos(np.radians(angle)))
    sides = np.column_stack([first, second, third])
    energies, slopes = model.triangle_energy(model.species_[list(species)], sides)
    to_j, to_k, between = (slopes / sides / 3).T
    return np.column_stack([
        np.arange(1, len(first) + 1), first, second, angle,
        to_j, to_k, -to_j, between, -to_k, -between, energies / 3,
    ])  # fmt: skip
