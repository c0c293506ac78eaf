"""Relaxations, molecular dynamics and phonons with any model, which go on after an interruption.

Spectra of trajectories are made of arrays.
"""

from skatom.simulation.dynamics import Dynamics, molecular_dynamics
from skatom.simulation.phonons import Phonons, phonons
from skatom.simulation.relaxation import Relaxation, relax
from skatom.simulation.spectra import infrared_spectrum, vibrational_density_of_states

__all__ = [
    "Dynamics",
    "Phonons",
    "Relaxation",
    "infrared_spectrum",
    "molecular_dynamics",
    "phonons",
    "relax",
    "vibrational_density_of_states",
]
