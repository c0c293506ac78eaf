"""Differentiation amplifies noise, and forces that are learnt apart have no energy."""

import numpy as np
from ase import Atoms
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.descriptors import FCHL19, InverseDistances
from skatom.kernels import Gaussian
from skatom.models import GDML, ForceKernelRidge


def forces_of(model, X):
    if isinstance(model, GDML):
        return model.predict(X, return_forces=True)[1]
    return model.predict(X).reshape(-1, 3)


def antisymmetric_share(model, structure, step=1e-3):
    size = structure.positions.size
    moves = step * np.concatenate([np.eye(size), -np.eye(size)]).reshape(-1, size // 3, 3)
    positions = (structure.positions + moves).reshape(-1, 3)
    offsets = size // 3 * np.arange(len(moves) + 1)
    moved = Structures(np.tile(structure.numbers, len(moves)), positions, offsets)
    plus, minus = forces_of(model, moved).reshape(2, size, size)
    slopes = plus - minus
    return np.linalg.norm(slopes - slopes.T) / np.linalg.norm(slopes + slopes.T)


def test_forces_learnt_apart_are_not_conservative(ammonia):
    structures, targets = ammonia
    kernel = Matern(3.0, nu=2.5)
    apart = make_pipeline(
        InverseDistances(), GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=None)
    )
    apart.fit(structures[:30], targets.forces[:120].reshape(30, -1))
    together = GDML(sigma=3.0).fit(structures[:30], targets[:30])
    assert antisymmetric_share(apart, structures[30]) > 0.05
    assert antisymmetric_share(together, structures[30]) < 1e-5
    errors = [
        np.sqrt(np.mean((forces_of(model, structures[30:]) - targets[30:].forces) ** 2))
        for model in (apart, together)
    ]
    assert errors[1] < 0.2 * errors[0]


def dimers(bonds):
    return Structures.from_ase([Atoms("Ar2", [[0, 0, 0], [0, 0, bond]]) for bond in bonds])


def test_noise_of_energies_is_amplified_and_that_of_forces_damped():
    """A sine wave, learnt by one model from energies and from forces with the same noise."""
    noise, wave, n_draws = 0.1, 4.0, 5
    rng, bonds, test = np.random.default_rng(0), np.linspace(1, 3, 30), np.linspace(1.1, 2.9, 50)
    squares = np.zeros((2, 2))  # learnt from energies, forces; error of energies, forces
    for _ in range(n_draws):
        wrong = noise * rng.normal(size=len(bonds))
        pull = wave * np.cos(wave * bonds) + wrong
        forces = np.zeros((len(bonds), 2, 3))
        forces[:, 0, 2], forces[:, 1, 2] = pull, -pull
        labels = Targets(energy=np.sin(wave * bonds) + wrong), Targets(forces=forces)
        for row, y in zip(squares, labels, strict=True):
            model = make_pipeline(
                FCHL19(cutoff=5.0, n_r2=12, n_r3=4),
                ForceKernelRidge(Gaussian(2.0), alpha=1e-4, baseline=None),
            )
            energies, found = model.fit(dimers(bonds), y).predict(dimers(test), return_forces=True)
            errors = energies - np.sin(wave * test)
            row[0] += np.mean((errors - errors.mean()) ** 2) / n_draws
            row[1] += np.mean((found[::2, 2] - wave * np.cos(wave * test)) ** 2) / n_draws
    of_energies, of_forces = np.sqrt(squares)
    assert of_energies[0] < noise < of_energies[1] / 3  # forces are much worse than the labels
    assert of_forces[0] < of_forces[1] / 2 < noise / 2  # energies are much better
    assert (of_forces < of_energies / 2).all()
