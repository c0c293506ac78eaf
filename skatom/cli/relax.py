"""``skatom relax``."""

import shutil
from pathlib import Path

from skatom.cli.formats import check_folder, write_structures
from skatom.cli.report import warn
from skatom.cli.simulations import (
    check_plot_path,
    check_structures_path,
    counted,
    formula,
    load_force_field,
    read_structures,
    results_of,
    save_plot,
)


def relax(arguments):
    """Relax all structures of a file."""
    from skatom.simulation.trajectory import frozen

    check_plot_path(arguments.plot)
    model = load_force_field(arguments.model, with_stress=arguments.cell)
    structures = read_structures(arguments)
    if arguments.plot and len(structures) > 1:
        raise ValueError(
            f"--plot shows one relaxation, but {arguments.data} has {len(structures)} structures: "
            "choose one by --index"
        )
    names = results_of(model, structures[0])
    out = arguments.out
    file_format = check_structures_path(out, arguments.data, structures[0], names)
    folder = Path(arguments.trajectory or f"{out}.steps")
    check_folder(folder)
    folder.mkdir(exist_ok=True)
    print(f"Relaxing  {arguments.data}: {counted(len(structures))}, to {arguments.fmax:g} eV/Å")
    relaxed = []
    for number, atoms in enumerate(structures):
        found = _relaxed(arguments, model, atoms, folder / f"{number}.traj")
        _describe(number, found, arguments.cell)
        relaxed.append(frozen(found.atoms))
    write_structures(out, relaxed, file_format)
    print(f"Saved     {out}: {counted(len(relaxed))} with {', '.join(names)}")
    save_plot(arguments.plot, "RelaxationDisplay", found)
    if arguments.trajectory is None:
        shutil.rmtree(folder)


def _relaxed(arguments, model, atoms, trajectory):
    from skatom.simulation import relax

    return relax(
        model, atoms, fmax=arguments.fmax, max_steps=arguments.steps,
        optimizer=arguments.optimizer, cell=arguments.cell, pressure=arguments.pressure,
        trajectory=trajectory, resume=arguments.resume, max_std=arguments.max_std, verbose=1,
    )  # fmt: skip


def _describe(number, found, cell):
    """Print what a relaxation found."""
    atoms = found.atoms
    volume = f", {atoms.get_volume():.6g} Å³" if cell else ""
    print(
        f"          {number}: {formula(atoms)}, {found.steps} steps, {found.energies[-1]:.6f} eV, "
        f"largest force {found.largest_forces[-1]:.2g} eV/Å{volume}",
        flush=True,
    )
    if not found.converged:
        warn(f"structure {number} is not relaxed after {found.steps} steps: raise --steps")
