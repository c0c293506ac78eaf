"""Shared fixtures: small analytic systems, and the folder of real reference data."""

import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from skatom import Structures, Targets


@pytest.fixture(scope="session")
def reference_data():
    """Folder of real data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("SKATOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}: set SKATOM_DATA")
    return path


def morse_targets(structures):
    """Energies and forces of a sum over pairs that depends on the two elements only."""
    energies, forces = [], []
    for atoms in structures.to_ase():
        vectors = atoms.positions[:, None] - atoms.positions
        distances = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms))
        rest = 0.5 + 0.05 * (atoms.numbers[:, None] + atoms.numbers)
        decay = np.exp(-1.3 * (distances - rest))
        off_diagonal = 1.0 - np.eye(len(atoms))
        energies.append(0.5 * np.sum(off_diagonal * (1.0 - decay) ** 2))
        slope = off_diagonal * 2.0 * (1.0 - decay) * 1.3 * decay
        forces.append(-np.einsum("ab,abx->ax", slope / distances, vectors))
    return Targets(energy=energies, forces=np.concatenate(forces), offsets=structures.offsets)


def rattled(name, n, amplitude=0.15, seed=0):
    """Randomly displaced and rotated copies of a molecule of ASE's collection."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        atoms = molecule(name)
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
        images.append(atoms)
    return Structures.from_ase(images)


@pytest.fixture(scope="session")
def water():
    """Forty distorted water molecules with Morse energies and forces."""
    structures = rattled("H2O", 40)
    return structures, morse_targets(structures)


@pytest.fixture(scope="session")
def ammonia():
    """Forty distorted ammonia molecules with Morse energies and forces."""
    structures = rattled("NH3", 40)
    return structures, morse_targets(structures)
