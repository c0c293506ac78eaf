"""Standard deviations of GDML and sGDML."""

import numpy as np
import pytest
from ase import Atoms
from batches import random_rotation
from conftest import morse_targets, rattled

from skatom import Structures, Targets
from skatom._persistence import load_model, save_model
from skatom.descriptors.inverse_distances import incidence, pair_features
from skatom.models import GDML, SGDML
from skatom.models.gdml.system import permute_pairs

SIGMA, ALPHA = 2.0, 1e-4
SWAPS = np.array(
    [[0, 1, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2], [0, 3, 2, 1], [0, 2, 3, 1], [0, 3, 1, 2]]
)


class DenseProcess:
    """The Gaussian process of the energy from the formulas, no coordinate struck."""

    def __init__(self, structures, targets, permutations, energies):
        self.train, self.with_energies = self._parts(structures), energies
        self.pairs = permute_pairs(permutations)
        y = targets.forces.ravel()
        self.covariance = self.forces_forces(self.train, self.train)
        if energies:
            y = np.concatenate([y, targets.energy - targets.energy.mean()])
            cross = self.energies_forces(self.train, self.train)
            self.covariance = np.block(
                [[self.covariance, cross.T], [cross, self.energies(self.train, self.train)]]
            )
        self.covariance += ALPHA * np.eye(len(y))
        self.n_labels = len(y) - 6 * len(structures)  # forces have no part along rigid motions
        self.scale = y @ np.linalg.solve(self.covariance, y) / self.n_labels

    @staticmethod
    def _parts(structures):
        x, c = pair_features(structures)
        jacobians = np.einsum("ap,ipx->ipax", incidence(structures.n_atoms[0]), c)
        return list(zip(x, jacobians.reshape(*x.shape, -1), strict=True))

    def _kernel(self, x, y):
        delta = x - y
        t = np.sqrt(5) * np.linalg.norm(delta) / SIGMA
        a, b = 5 / (3 * SIGMA**2), 25 / (3 * SIGMA**4)
        decay = np.exp(-t)
        hessian = a * (1 + t) * decay * np.eye(len(x)) - b * decay * np.outer(delta, delta)
        return (1 + t + t**2 / 3) * decay, -a * (1 + t) * decay * delta, hessian

    def energies(self, one, two):
        return np.array(
            [[sum(self._kernel(x, y[q])[0] for q in self.pairs) for y, _ in two] for x, _ in one]
        )

    def energies_forces(self, one, two):
        """Cov(E, F') = -∂k/∂R', and ∂k/∂y = -∂k/∂x."""
        return np.array([
            np.concatenate([
                sum(self._kernel(x, y[q])[1] @ J[q] for q in self.pairs) for y, J in two
            ])
            for x, _ in one
        ])  # fmt: skip

    def forces_forces(self, one, two):
        return np.block([
            [sum(J.T @ self._kernel(x, y[q])[2] @ K[q] for q in self.pairs) for y, K in two]
            for x, J in one
        ])  # fmt: skip

    def deviations(self, structures):
        """Of energies and of forces."""
        query, train = self._parts(structures), self.train
        forces = self.forces_forces(query, train)
        energies = self.energies_forces(query, train)
        prior = self.energies(query, query)
        if self.with_energies:
            forces = np.hstack([forces, self.energies_forces(train, query).T])
            energies = np.hstack([energies, self.energies(query, train)])
        else:  # relative to the mean over the training frames
            energies = energies - self.energies_forces(train, train).mean(axis=0)
            middle = self.energies(query, train).mean(axis=1)
            prior = prior - middle[:, None] - middle + self.energies(train, train).mean()
        found = []
        for own, cross in ((prior, energies), (self.forces_forces(query, query), forces)):
            left = own - cross @ np.linalg.solve(self.covariance, cross.T)
            found.append(np.sqrt(self.scale * left.diagonal()))
        return found[0], found[1].reshape(-1, 3)


@pytest.mark.parametrize("energies", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_are_those_of_the_dense_gaussian_process(symmetric, energies):
    structures = rattled("NH3", 12)
    targets = morse_targets(structures)
    options = {"energy_constraint": energies, "keep_factor": True}
    if symmetric:
        model = SGDML(SIGMA, ALPHA, permutations=SWAPS, **options)
    else:
        model = GDML(SIGMA, ALPHA, **options)
    model.fit(structures[:9], targets[:9])
    reference = DenseProcess(structures[:9], targets[:9], model.permutations_, energies)
    found = model.predict(structures[7:], return_std=True, return_forces_std=True)
    for ours, expected in zip(found[1:], reference.deviations(structures[7:]), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8)


@pytest.fixture(scope="module")
def trained(ammonia):
    structures, targets = ammonia
    model = SGDML(3.0, 1e-8, keep_factor=True, random_state=0)
    return model.fit(structures[:20], targets[:20]), structures, targets


def squares(model, structures):
    """Variances of the energies and of the whole force on each atom."""
    _, energies, forces = model.predict(structures, return_std=True, return_forces_std=True)
    return energies**2, np.sum(forces**2, axis=1)


def test_do_not_depend_on_where_and_how_molecules_lie(trained):
    model, structures, _ = trained
    images = []
    for atoms in structures[20:25].to_ase():
        atoms.positions = atoms.positions @ random_rotation(4).T + [3.0, -8.0, 50.0]
        images.append(atoms)
    for found, expected in zip(
        squares(model, images), squares(model, structures[20:25]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_do_not_depend_on_which_coordinates_are_struck(trained):
    """Turned training frames have other coordinates struck."""
    model, structures, targets = trained
    frames, forces = structures[:20].to_ase(), targets[:20].forces.reshape(20, 4, 3).copy()
    for s, atoms in enumerate(frames):
        turn = random_rotation(s)
        atoms.positions = atoms.positions @ turn.T
        forces[s] = forces[s] @ turn.T
    turned = SGDML(3.0, 1e-8, keep_factor=True, permutations=model.permutations_)
    turned.fit(frames, Targets(energy=targets[:20].energy, forces=forces))
    assert not np.array_equal(turned.posterior_.kept, model.posterior_.kept)
    for found, expected in zip(
        squares(turned, structures[20:]), squares(model, structures[20:]), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_are_small_where_frames_were_learnt_and_grow_away_from_them(trained):
    model, structures, _ = trained
    _, learnt = squares(model, structures[:5])
    _, new = squares(model, structures[20:])
    assert learnt.max() < 0.1 * new.mean()
    pressed = [structures[20].to_ase()[0] for _ in range(3)]
    for atoms, distance in zip(pressed, (0.75, 0.65, 0.55), strict=True):
        atoms.set_distance(0, 1, distance, fix=0)
    energies, forces = squares(model, pressed)
    assert (np.diff(energies) > 0).all()
    assert (np.diff(forces.reshape(3, 4).sum(axis=1)) > 0).all()


def test_have_the_size_of_the_errors(trained):
    model, structures, targets = trained
    _, forces, std = model.predict(structures[20:], return_forces=True, return_forces_std=True)
    errors = forces - targets[20:].forces
    ratio = np.sqrt(np.mean(errors**2) / np.mean(std**2))
    assert 0.2 < ratio < 5.0


def test_of_the_energy_ignore_a_constant(trained):
    model, structures, targets = trained
    shifted = Targets(
        targets.energy[:20] + 100.0, targets[:20].forces, offsets=targets[:20].offsets
    )
    other = SGDML(3.0, 1e-8, keep_factor=True, permutations=model.permutations_)
    other.fit(structures[:20], shifted)
    np.testing.assert_allclose(
        squares(other, structures[20:])[0], squares(model, structures[20:])[0]
    )


def test_linear_molecules_have_deviations():
    rng = np.random.default_rng(0)
    frames = [
        Atoms("CO2", [[0, 0, 0], [0, 0, 1.16 + a], [0, 0, -1.16 + b]])
        for a, b in rng.normal(scale=0.05, size=(8, 2))
    ]
    structures = Structures.from_ase(frames)
    model = GDML(SIGMA, ALPHA, keep_factor=True).fit(structures, morse_targets(structures))
    reference = DenseProcess(structures, morse_targets(structures), model.permutations_, False)
    energies, forces = model.predict(frames[:2], return_std=True, return_forces_std=True)[1:]
    # they have five rigid motions, so that each frame has one label more than the reference counts
    scale = np.sqrt(3 / 4)
    expected = reference.deviations(structures[:2])
    np.testing.assert_allclose(energies, scale * expected[0], rtol=1e-7)
    np.testing.assert_allclose(forces, scale * expected[1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["model.joblib", "model.skops"])
def test_survive_files(trained, tmp_path, name):
    model, structures, _ = trained
    save_model(model, tmp_path / name)
    found = load_model(tmp_path / name).predict(
        structures[20:], return_std=True, return_forces_std=True
    )
    expected = model.predict(structures[20:], return_std=True, return_forces_std=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_need_the_factor(ammonia):
    structures, targets = ammonia
    model = GDML(3.0, 1e-8).fit(structures[:8], targets[:8])
    assert model.outputs_ == ("energy", "forces", "stress")
    for keyword in ("return_std", "return_forces_std"):
        with pytest.raises(ValueError, match="but no .*; this one gives it if .*keep_factor=True"):
            model.predict(structures[:2], **{keyword: True})


def test_that_do_not_fit_in_memory_are_refused(trained, monkeypatch):
    model, structures, _ = trained
    monkeypatch.setattr("skatom.memory.available_memory", lambda: 1000.0)
    monkeypatch.setattr("skatom.memory._SMALL", 0)
    with pytest.raises(MemoryError, match="the covariances of 5 frames with 20 training frames"):
        model.predict(structures[:5], return_forces_std=True)
