"""``skatom lammps`` and ``skatom export``."""

import time
from pathlib import Path

from skatom.cli.report import warn


def lammps(arguments):
    """Run an input script of LAMMPS with a model."""
    from skatom._persistence import load_model
    from skatom.lammps import run_input

    if not Path(arguments.input).is_file():
        raise ValueError(f"there is no input script {arguments.input}")
    model = load_model(arguments.model)
    variables = [word for pair in arguments.var for word in ("-var", *pair)]
    begin = time.perf_counter()
    drivers = run_input(
        arguments.input, model, species=arguments.species, skin=arguments.skin,
        arguments=variables, n_replicas=arguments.replicas,
    )  # fmt: skip
    n = sum(driver.n_predictions for driver in drivers)
    if not n:
        warn(f"{arguments.input} has no run: the model predicted nothing")
        return
    seconds = time.perf_counter() - begin
    searches = sum(driver.n_searches for driver in drivers)
    print(
        f"Predicted {n} configurations in {seconds:.1f} s, with {searches} searches of neighbours"
    )


def export(arguments):
    """Write a model in a format of LAMMPS or MLIP, and print how it is read."""
    from skatom._persistence import load_model
    from skatom._prediction import last_step
    from skatom.models import MomentTensorPotential, write_mtp
    from skatom.models.linear.base import LinearModel

    whole = load_model(arguments.model)
    model = last_step(whole)
    if isinstance(model, LinearModel | MomentTensorPotential):
        path = f"{arguments.out}.mtp"
        symbols = write_mtp(whole, path)
        numbers = ", ".join(f"{k} is {symbol}" for k, symbol in enumerate(symbols))
        print(f"Saved     {path}: species {numbers}")
        return
    if not hasattr(model, "write_lammps"):
        raise ValueError(
            f"{type(model).__name__} has no equivalent in LAMMPS: run it by skatom lammps, or fit "
            "a MappedForceField or a moment tensor potential, which can be written"
        )
    print("\n".join(model.write_lammps(arguments.out)))
