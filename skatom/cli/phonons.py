"""``skatom phonons``."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from skatom.cli.formats import check_folder, check_is_another
from skatom.cli.report import warn
from skatom.cli.simulations import (
    check_plot_path,
    formula,
    load_force_field,
    read_one,
    save_plot,
)

# Imaginary frequencies (THz) that are more than noise of the acoustic modes.
_IMAGINARY = -0.1


def phonons(arguments):
    """Phonons of one crystal."""
    import skatom.simulation

    out = arguments.out
    check_plot_path(arguments.plot)
    check_is_another(out, arguments.data)
    check_folder(out)
    if Path(out).suffix != ".json":
        raise ValueError(f"{out}: phonons are written as numbers, to a name that ends in .json")
    model = load_force_field(arguments.model)
    atoms, folder = read_one(arguments), f"{out}.forces"
    print(f"Phonons   {arguments.data}: {formula(atoms)}", flush=True)
    found = skatom.simulation.phonons(
        model, atoms, arguments.supercell, displacement=arguments.displacement,
        path=arguments.path, engine=arguments.engine, folder=folder,
        resume=arguments.resume, verbose=1,
    )  # fmt: skip
    _describe(found)
    _write(out, found)
    save_plot(arguments.plot, "PhononDisplay", found)
    shutil.rmtree(folder)


def _describe(found):
    """Print the range of the frequencies."""
    repeats = " × ".join(map(str, found.supercell))
    print(f"          in a supercell of {repeats}")
    print(f"          frequencies up to {found.frequencies.max():.4g} THz")
    print(f"          zero-point energy {found.zero_point_energy:.4g} eV a cell")
    lowest = found.frequencies.min()
    if lowest < _IMAGINARY:
        warn(
            f"the lowest frequency is imaginary, {-lowest:.3g}i THz: the structure is not stable, "
            "not relaxed, or the supercell too small"
        )


def _write(path, found):
    from skatom._files import written_whole

    units = {
        "frequencies": "THz", "distances": "1/Å", "grid": "THz", "dos": "1/THz",
        "zero_point_energy": "eV",
    }  # fmt: skip
    numbers = {name: getattr(x, "tolist", lambda x=x: x)() for name, x in asdict(found).items()}
    with written_whole(path) as beside:
        beside.write_text(json.dumps({"units": units, **numbers}) + "\n", encoding="utf-8")
    print(f"Saved     {path}: frequencies along a path, and their density")
