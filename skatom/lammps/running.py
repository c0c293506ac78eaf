"""Input scripts of LAMMPS with a fitted model."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from skatom._engine_forces import ModelForces
from skatom._typing import Estimator, PathLike
from skatom.lammps.driver import LammpsDriver
from skatom.lammps.program import open_program, told
from skatom.lammps.replicas import LockStep
from skatom.lammps.scripts import sections
from skatom.structures import Structures


def run_input(
    path: str | PathLike,
    model: Estimator,
    species: Sequence[str] | None = None,
    skin: float = 0.5,
    arguments: Sequence[str] = (),
    n_replicas: int = 1,
) -> list[LammpsDriver]:
    """Run an input script of LAMMPS with a fitted model as the force field.

    The script needs no line for the model, and no pair style: the model is attached before the
    first fix or run, and again after each ``clear``. Replicas run the script at the same time, with
    the variable ``replica`` from 1 on, and the model predicts for all of them at once, which for
    small molecules takes little more time than for one. Their logs are ``log.lammps.1`` and so on;
    the first writes to the screen.

    Parameters
    ----------
    path : str or path
        The input script.
    model : fitted estimator, Pipeline or search
        Any model that predicts forces of structures.
    species : sequence of str, default=None
        The elements of the atom types 1, 2, … None: those whose masses the types have.
    skin : float, default=0.5
        How much farther than the model's cutoff neighbours are searched, in Å.
    arguments : sequence of str, default=()
        Arguments of LAMMPS' command line, as in ``["-var", "T", "300"]``.
    n_replicas : int, default=1
        Number of replicas.

    Returns
    -------
    list of LammpsDriver
        The driver of each replica.

    Raises
    ------
    ValueError
        If LAMMPS stops with an error, or for the reasons of `LammpsDriver`.
    ImportError
        If LAMMPS is not installed.

    Examples
    --------
    >>> from skatom.lammps import run_input
    >>> drivers = run_input("in.silicon", model, n_replicas=4)  # doctest: +SKIP
    """
    if n_replicas < 1:
        raise ValueError(f"n_replicas={n_replicas} must be 1 or more")
    parts = sections(path)
    drivers = [LammpsDriver(model, species, skin) for _ in range(n_replicas)]
    if n_replicas == 1:
        _run(parts, drivers[0], arguments)
    else:
        _run_together(parts, drivers, model, arguments)
    return drivers


def _run(parts, driver, arguments):
    with closing(open_program(arguments)) as program, tempfile.TemporaryDirectory() as folder:
        for k, (head, rest) in enumerate(parts):
            _execute(program, head, Path(folder) / f"head_{k}.in", driver)
            if rest:
                driver.attach(program)
                _execute(program, rest, Path(folder) / f"rest_{k}.in", driver)


def _execute(program, text, path, driver):
    path.write_text(text, encoding="utf-8")
    try:
        program.file(str(path))
    except Exception as error:
        if driver.error is None:
            raise ValueError(told(error)) from error
    if driver.error is not None:
        raise driver.error


def _run_together(parts, drivers, model, arguments):
    predict = ModelForces(model)

    def answer(questions):
        structures, lists = zip(*questions, strict=True)
        return predict(Structures.concatenate(structures), list(lists))

    together, errors = LockStep(answer, len(drivers)), []

    def run(k):
        own = ["-var", "replica", str(k + 1), "-log", f"log.lammps.{k + 1}"]
        own += [] if k == 0 else ["-screen", "none"]
        drivers[k].ask(lambda *question: together.ask(k, question))
        together.begin(k)
        try:
            _run(parts, drivers[k], [*arguments, *own])
        except BaseException as error:
            errors.append(error)
            together.stop(error)
        finally:
            together.leave(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(len(drivers))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except BaseException as error:  # Ctrl-C: the replicas end before LAMMPS is closed
        together.stop(error)
        for thread in threads:
            thread.join()
        raise
    if errors:
        raise errors[0]
