"""Relaxations, molecular dynamics and phonons with any model, which go on after an interruption."""

from skatom.simulation.dynamics import Dynamics, molecular_dynamics
from skatom.simulation.phonons import Phonons, phonons
from skatom.simulation.relaxation import Relaxation, relax

__all__ = ["Dynamics", "Phonons", "Relaxation", "molecular_dynamics", "phonons", "relax"]
