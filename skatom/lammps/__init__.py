"""Molecular dynamics of fitted models in LAMMPS."""

from skatom.lammps.driver import LammpsDriver
from skatom.lammps.running import run_input

__all__ = ["LammpsDriver", "run_input"]
