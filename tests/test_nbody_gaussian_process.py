"""N-body Gaussian processes of energies, forces and stresses against a dense reference."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from dense_nbody import covariance_of_all
from models_under_contract import crystals, labels_of
from sklearn.base import clone
from sklearn.metrics import r2_score

from skatom import Structures, Targets
from skatom.datasets import load_ethanol
from skatom.kernels import Cosine, Gaussian, ManyBody, NBody, Polynomial
from skatom.kernels.nbody import expansion
from skatom.models import NBodyGaussianProcess
from skatom.models.nbody import nbody_gaussian_process

CELL = np.array([[3.1, 0.2, 0.0], [0.9, 3.3, 0.3], [-0.4, 0.5, 2.9]])
SUM = NBody(2, sigma=0.6, cutoff=3.2) + NBody(3, sigma=0.8, cutoff=3.1, amplitude=0.5)
KERNELS = {
    "sum": SUM,
    "five-body": ManyBody(NBody(order=3, sigma=0.8, cutoff=3.1), Polynomial(zeta=2)),
    "all orders": ManyBody(NBody(order=2, sigma=0.7, cutoff=3.1), Gaussian(sigma=3.0)),
    "normalised": ManyBody(NBody(order=2, sigma=0.7, cutoff=3.1), Cosine(zeta=2)),
}
NOISE = {"noise_energy": 0.02, "noise_forces": 0.1, "noise_virial": 0.05}
VOIGT = [0, 4, 8, 5, 2, 1]


def crystal(seed, symbols="CH"):
    """Atoms in a skewed cell smaller than the cutoffs."""
    rng = np.random.default_rng(seed)
    atoms = Atoms(symbols, cell=CELL, pbc=True)
    atoms.set_scaled_positions(0.5 * np.arange(len(symbols))[:, None] + rng.uniform(0, 0.2, 3))
    atoms.positions += rng.normal(scale=0.1, size=(len(symbols), 3))
    return atoms


@pytest.fixture(scope="module")
def training():
    """Crystals with all labels, one without its energy, and a molecule without a stress."""
    molecule = Atoms("CHH", [[0, 0, 0], [1.1, 0.1, 0], [-0.2, 1.0, 0.3]])
    images = [crystal(0), crystal(1), molecule, crystal(2)]
    rng = np.random.default_rng(3)
    structures = Structures.from_ase(images)
    stress = rng.normal(scale=0.02, size=(4, 3, 3))
    stress += stress.transpose(0, 2, 1)
    stress[2] = np.nan
    energy = rng.normal(size=4)
    energy[1] = np.nan
    forces = rng.normal(size=(9, 3))
    return images, structures, Targets(energy, forces, stress, offsets=structures.offsets)


def posterior(kernel, images, targets, noise, others):
    """Means and covariances of all rows of the others, by a dense solution."""
    matrix = covariance_of_all(kernel, images, images)
    cross = covariance_of_all(kernel, others, images)
    values, deviations = [], []
    for s, atoms in enumerate(images):
        n = len(atoms)
        virial = targets.stress[s].ravel()[VOIGT] * abs(np.linalg.det(atoms.cell.array))
        values += [[targets.energy[s]], targets[[s]].forces.ravel(), virial]
        deviations += [
            [noise["noise_energy"] * np.sqrt(n)], np.full(3 * n, noise["noise_forces"]),
            np.full(6, noise["noise_virial"] * np.sqrt(n)),
        ]  # fmt: skip
    values, deviations = np.concatenate(values), np.concatenate(deviations)
    known = np.isfinite(values)
    inverse = np.linalg.inv(matrix[np.ix_(known, known)] + np.diag(deviations[known] ** 2))
    cross = cross[:, known]
    spread = covariance_of_all(kernel, others, others) - cross @ inverse @ cross.T
    return cross @ inverse @ values[known], np.sqrt(spread.diagonal())


@pytest.mark.parametrize("kernel", [SUM.left, SUM.right, SUM], ids=["pairs", "triangles", "sum"])
def test_means_and_deviations_are_those_of_the_dense_posterior(training, kernel):
    images, structures, targets = training
    model = NBodyGaussianProcess(kernel, baseline=None, **NOISE).fit(structures, targets)
    assert model.n_observations_ == 3 + 27 + 18
    for atoms in (crystal(7, "CHC"), images[0]):
        n = len(atoms)
        expected = posterior(kernel, images, targets, NOISE, [atoms])
        volume = abs(np.linalg.det(CELL))
        options = ("forces", "stress", "std", "forces_std", "stress_std")
        found = model.predict([atoms], **{f"return_{name}": True for name in options})
        for (energy, forces, stress), known in zip((found[:3], found[3:]), expected, strict=True):
            assert energy[0] == pytest.approx(known[0], abs=1e-8)
            np.testing.assert_allclose(forces.ravel(), known[1 : 1 + 3 * n], atol=1e-8)
            np.testing.assert_allclose(stress.ravel()[VOIGT], known[-6:] / volume, atol=1e-8)
            np.testing.assert_allclose(stress, stress.transpose(0, 2, 1), atol=1e-12)


def strained(atoms, step, a, b):
    matrix = np.eye(3)
    matrix[a, b] += step
    moved = atoms.copy()
    moved.set_cell(atoms.cell @ matrix.T, scale_atoms=True)
    return Structures.from_ase([moved])


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_covariances_of_virials_are_derivatives_with_respect_to_strains(kernel):
    x, y, step = crystal(0), Structures.from_ase([crystal(1), crystal(2)]), 1e-3
    known = [kernel.rows(y, what) for what in ("energy", "forces", "virial")]
    found = kernel.cross([kernel.rows(Structures.from_ase([x]), "virial")], known)
    weights = np.array([1, -8, 8, -1]) / (12 * step)
    for k, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        energies = [
            kernel.cross([kernel.rows(strained(x, h * step, a, b), "energy")], known)
            for h in (-2, -1, 1, 2)
        ]
        expected = np.tensordot(weights, energies, 1)[0]
        np.testing.assert_allclose(found[k], expected, atol=1e-6 * np.abs(expected).max())


def test_stress_alone_is_learnt():
    structures = crystals(30)
    targets = labels_of(structures, ("stress", "forces"))
    stress = Targets(stress=targets.stress)
    kernel = NBody(2, sigma=0.5, cutoff=3.6)
    model = NBodyGaussianProcess(kernel, noise_virial=1e-3).fit(structures[:20], stress[:20])
    assert model.n_observations_ == 120
    assert not model.absolute_energies_
    _, forces, found = model.predict(structures[20:], return_forces=True, return_stress=True)
    assert r2_score(stress.stress[20:].ravel(), found.ravel()) > 0.99
    assert r2_score(targets.forces[80:].ravel(), forces.ravel()) > 0.95


def test_noise_of_a_virial_is_multiplied_by_the_root_of_the_number_of_atoms():
    """Of one component with a prior variance k: the mean is k y / (k + N σ²)."""
    atoms = crystal(0)
    stress = np.full((1, 3, 3), np.nan)
    stress[0] = 0.01 * np.eye(3)
    prior = covariance_of_all(SUM.left, [atoms], [atoms])[-6:, -6:]
    model = NBodyGaussianProcess(SUM.left, noise_virial=0.3).fit([atoms], Targets(stress=stress))
    volume = np.linalg.det(CELL)
    virial = volume * stress[0].ravel()[VOIGT]
    expected = prior @ np.linalg.solve(prior + 2 * 0.3**2 * np.eye(6), virial)
    found = model.predict([atoms], return_stress=True)[1]
    np.testing.assert_allclose(volume * found[0].ravel()[VOIGT], expected, atol=1e-10)


def test_noise_of_virials_by_configuration_and_weight(training):
    _, structures, targets = training
    names = ["a", "a", "b", "b"]
    by_name = NBodyGaussianProcess(SUM, noise_virial={"a": 0.05, "b": 0.1})
    by_name.fit(structures, targets, configurations=names)
    one_each = NBodyGaussianProcess(SUM, noise_virial=[0.05, 0.05, 0.1, 0.1])
    one_each.fit(structures, targets)
    kept, left_out = NBodyGaussianProcess(SUM), NBodyGaussianProcess(SUM)
    kept.fit(structures[:3], targets[:3])
    left_out.fit(structures, targets, sample_weight=[1, 1, 1, 0])
    for a, b in ((by_name, one_each), (kept, left_out)):
        stress = [model.predict([crystal(7)], return_stress=True)[1] for model in (a, b)]
        np.testing.assert_allclose(*stress, atol=1e-9)


def test_stress_of_a_molecule_and_a_noise_that_is_not_positive_are_refused(training):
    images, structures, targets = training
    molecule = Targets(stress=np.zeros((1, 3, 3)))
    with pytest.raises(ValueError, match="structure 0 has a stress but is not periodic"):
        NBodyGaussianProcess(SUM).fit([images[2]], molecule)
    with pytest.raises(ValueError, match="'noise_virial' parameter"):
        NBodyGaussianProcess(SUM, noise_virial=0.0).fit(structures, targets)
    model = NBodyGaussianProcess(SUM).fit(structures, targets)
    with pytest.raises(ValueError, match="stress needs structures that are periodic"):
        model.predict([images[2]], return_stress_std=True)


def test_optimisation_scales_the_noise_of_virials(training):
    _, structures, targets = training
    model = NBodyGaussianProcess(SUM.left, optimize=True, **NOISE).fit(structures, targets)
    assert model.noise_scale_.shape == (3,)
    assert (model.noise_scale_ != 1).all()


@pytest.mark.parametrize("cutoff", [3.4, None])
@pytest.mark.parametrize("order", [2, 3])
def test_mean_in_a_basis_is_the_sum_over_the_training_set(order, cutoff, monkeypatch):
    monkeypatch.setattr("skatom.kernels.nbody.expansion._LARGEST", 1000)
    rng = np.random.default_rng(0)
    images = [
        Atoms("CHHO", [[0, 0, 0], [1.2, 0, 0], [0, 1.3, 0.1], [0.2, 0, 1.4]] + rng.normal(
            scale=0.2, size=(4, 3))) for _ in range(12)
    ]  # fmt: skip
    structures = Structures.from_ase(images)
    targets = Targets(rng.normal(size=12), rng.normal(size=(48, 3)), offsets=structures.offsets)
    kernel = NBody(order, sigma=0.8, cutoff=cutoff)
    model = NBodyGaussianProcess(kernel, noise_energy=0.1, noise_forces=0.1)
    expansion = model.fit(structures, targets).expansions_[0]
    for elements in [(1, 6), (6, 8)] if order == 2 else [(1, 1, 6), (1, 6, 8)]:
        assert expansion.table(elements) is not None
        # down to nothing, far below the shortest side of the training set
        sides = np.zeros((3, 200))
        sides[: 2 * order - 3] = rng.uniform(0.01, 3.4, (2 * order - 3, 200))
        found = expansion.smooth_part(elements, sides)
        expected = expansion.sum_over_training(elements, sides)
        np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


def test_few_training_data_are_summed_over_where_a_basis_would_be_larger():
    atoms = Atoms("CHH", [[0, 0, 0], [1.1, 0.1, 0], [-0.2, 1.0, 0.3]])
    kernel = NBody(3, sigma=0.5, cutoff=5.0)
    model = NBodyGaussianProcess(kernel, noise_energy=1e-2, baseline=None).fit([atoms], [1.0])
    assert model.expansions_[0].table((1, 1, 6)) is None
    moved = atoms.copy()
    moved.rattle(0.1, seed=1)
    own, cross = (covariance_of_all(kernel, [x], [atoms])[0, 0] for x in (atoms, moved))
    assert model.predict([moved])[0] == pytest.approx(cross / (own + 3 * 1e-2**2), rel=1e-12)


def test_energies_do_not_spoil_the_forces_by_default():
    """Energies that pairs cannot express cost little of the forces."""
    data = load_ethanol()
    train, test = slice(0, 400, 25), slice(1, 400, 40)
    X, y = data.structures[train], data.targets[train]
    forces = data.targets[test].forces

    def error(targets, **parameters):
        model = NBodyGaussianProcess(
            NBody(2, sigma=0.5, cutoff=4.0),
            noise_forces=0.1,
            n_environments=40,
            random_state=0,
            **parameters,
        )
        found = model.fit(X, targets).predict(data.structures[test], return_forces=True)[1]
        return abs(found - forces).mean()

    alone = error(Targets(forces=y.forces, offsets=X.offsets))
    assert alone < 0.5 * abs(forces).mean()
    assert error(y) < 1.1 * alone
    assert error(y, noise_energy=1e-3) > 1.2 * alone


class TestLongPredictions:
    @pytest.fixture(scope="class")
    def model(self):
        structures = crystals(6)
        model = NBodyGaussianProcess(NBody(cutoff=3.6), n_environments=6, random_state=0)
        return model.fit(structures, labels_of(structures, ("energy", "forces"))), structures

    @pytest.mark.parametrize(
        ("deviations", "remedy"), [(False, r"\(model\)"), (True, r"\(model, map_variance=True\)")]
    )
    def test_are_announced_with_a_remedy(self, model, monkeypatch, deviations, remedy):
        monkeypatch.setattr(nbody_gaussian_process, "_LONG", 0)
        message = (
            f"predicting 4 more structures takes about .* s: MappedForceField.from_fitted{remedy}"
        )
        with pytest.warns(UserWarning, match=message):
            model[0].predict(model[1], return_std=deviations)

    def test_so_are_tables_of_many_triangles(self, model, monkeypatch):
        monkeypatch.setattr(nbody_gaussian_process, "_LONG", 0)
        monkeypatch.setattr(expansion, "_CHUNK", 1)
        process, structures = clone(model[0]), model[1]
        process.fit(structures, labels_of(structures, ("energy", "forces")))
        with pytest.warns(UserWarning, match="the first prediction makes tables, for about"):
            process.predict(structures[:1])
        with warnings.catch_warnings():  # they are there now
            warnings.simplefilter("error")
            process.predict(structures[:1])

    def test_short_ones_are_not(self, model):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model[0].predict(model[1])

    def test_of_one_structure_are_not(self, model, monkeypatch):
        monkeypatch.setattr(nbody_gaussian_process, "_LONG", 0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model[0].predict(model[1][:1])

    def test_do_not_depend_on_the_structures_beside_them(self, model):
        together = model[0].predict(model[1])
        alone = [model[0].predict(model[1][[s]])[0] for s in range(6)]
        np.testing.assert_allclose(together, alone, rtol=1e-12)
