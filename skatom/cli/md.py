"""``skatom md``."""

import time

from skatom.cli.formats import check_is_another
from skatom.cli.simulations import (
    check_plot_path,
    formula,
    load_force_field,
    read_one,
    save_plot,
)

_KIND = {
    "nve": "at constant energy", "nvt": "at constant temperature",
    "npt": "at constant temperature and pressure",
}  # fmt: skip


def md(arguments):
    """Run molecular dynamics of one structure."""
    from skatom.simulation import molecular_dynamics
    from skatom.simulation.trajectory import check_trajectory_path

    check_plot_path(arguments.plot)
    check_is_another(arguments.out, arguments.data)
    check_trajectory_path(arguments.out)
    model = load_force_field(arguments.model, with_stress=arguments.ensemble == "npt")
    atoms = read_one(arguments)
    print(f"Dynamics  {arguments.data}: {formula(atoms)}, {_KIND[arguments.ensemble]}")
    print(f"          {arguments.steps} steps of {arguments.timestep:g} fs", flush=True)
    begin = time.perf_counter()
    found = molecular_dynamics(
        model, atoms, arguments.steps, timestep=arguments.timestep, ensemble=arguments.ensemble,
        temperature=arguments.temperature, pressure=arguments.pressure,
        thermostat_time=arguments.thermostat_time, barostat_time=arguments.barostat_time,
        seed=arguments.seed, interval=arguments.interval, trajectory=arguments.out,
        resume=arguments.resume, max_std=arguments.max_std, verbose=1,
    )  # fmt: skip
    print(f"          done in {time.perf_counter() - begin:.1f} s")
    _describe(found, arguments)
    print(f"Saved     {arguments.out}: {len(found.steps)} frames with energy, forces, momenta")
    save_plot(arguments.plot, "DynamicsDisplay", found)


def _describe(found, arguments):
    """Print averages over all frames."""
    import numpy as np

    print(f"          temperature {_mean(found.temperatures)} K")
    if arguments.ensemble == "nve":
        print(f"          total energy constant to {found.drift:.2g} eV/atom")
    if np.isfinite(found.pressures).all():
        print(f"          pressure {_mean(found.pressures)} GPa")
    if arguments.ensemble == "npt":
        print(f"          volume {_mean(found.volumes)} Å³")
    if arguments.max_std is not None:
        beyond = int((found.largest_stds > arguments.max_std).sum())
        print(
            f"          {beyond} of {len(found.largest_stds)} frames above --max-std "
            f"{arguments.max_std:g}"
        )


def _mean(values):
    return f"{values.mean():.4g} ± {values.std():.3g}"
