"""Embedded data sets that the project generated itself, and a reader for other people's files."""

from skatom.datasets._embedded import load_benzene, load_boron_nitride, load_ethanol
from skatom.datasets._read import read

__all__ = ["load_benzene", "load_boron_nitride", "load_ethanol", "read"]
