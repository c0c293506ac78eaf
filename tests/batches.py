"""Small structures of every kind, for tests of descriptors."""

import numpy as np
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

CELL = np.array([[3.0, 0.2, 0.0], [1.1, 2.8, 0.1], [-0.4, 0.9, 3.2]])
SCALED = np.array([[0.02, 0.0, 0.05], [0.45, 0.52, 0.4], [0.7, 0.1, 0.6]])


def rattled_methanol():
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=3)
    return atoms


def crystal(pbc=True):
    """Three species in a skewed cell that is smaller than the usual cutoffs."""
    return Atoms("CHO", cell=CELL, scaled_positions=SCALED, pbc=pbc)


def mixed():
    """A molecule, a skewed crystal, a slab, and an atom alone."""
    return [rattled_methanol(), crystal(), crystal((True, True, False)), Atoms("C")]


def random_rotation(seed):
    """A proper rotation; scipy's argument has one name before 1.15 and another since."""
    return Rotation.random(None, np.random.default_rng(seed)).as_matrix()
