"""Embedded data sets, a reader of files, and models of phase transitions in closed form."""

from skatom.datasets._atoms import iter_atoms
from skatom.datasets._chunks import FileChunk, chunks
from skatom.datasets._embedded import load_benzene, load_boron_nitride, load_ethanol
from skatom.datasets._read import read
from skatom.datasets.phase_models import heisenberg_free_energy, polaron_dispersion

__all__ = [
    "FileChunk",
    "chunks",
    "heisenberg_free_energy",
    "iter_atoms",
    "load_benzene",
    "load_boron_nitride",
    "load_ethanol",
    "polaron_dispersion",
    "read",
]
