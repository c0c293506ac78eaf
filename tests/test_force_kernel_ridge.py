"""Kernel ridge regression of energies and forces."""

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from conftest import morse_targets, rattled
from models_under_contract import crystals as lithium_fluoride
from models_under_contract import labels_of, waters
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skatom import Structures, Targets
from skatom._prediction import predict
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_boron_nitride
from skatom.descriptors import FCHL19, SOAP
from skatom.kernels import FCHL18, Cosine, Gaussian, Laplacian, Matern, Polynomial, covariance
from skatom.models import ForceKernelRidge

SMALL = dict(n_r2=10, n_r3=8, cutoff=6.0)
BASES = ("derivatives", "operators")


def alpha_of(basis, alpha):
    """Least squares stand much smaller regularisation than a Cholesky factor."""
    return alpha**2 if basis == "operators" else alpha


@pytest.fixture(scope="module")
def frames(water):
    structures, targets = water
    return FCHL19(**SMALL).fit_transform(structures), targets


@pytest.fixture(scope="module")
def crystals():
    data = load_boron_nitride()
    part = slice(0, 40, 4)
    descriptor = SOAP(cutoff=3.5, n_max=4, l_max=3)
    return descriptor.fit_transform(data.structures[part]), data.targets[part]


def dense_predictions(kernel, features, targets, test, alpha, alpha_forces):
    """The Gaussian process on the full covariance matrix, rigid motions included."""
    rows = covariance(kernel, features)
    starts = np.cumsum(1 + 3 * features.n_atoms) - 1 - 3 * features.n_atoms
    labels = np.empty(len(rows))
    noise = np.full(len(rows), alpha_forces)
    noise[starts] = alpha
    labels[starts] = targets.energy
    labels[np.setdiff1d(np.arange(len(rows)), starts)] = targets.forces.ravel()
    weights = np.linalg.solve(rows + np.diag(noise), labels)
    cross = covariance(kernel, test, features)
    at = np.cumsum(1 + 3 * test.n_atoms) - 1 - 3 * test.n_atoms
    found = cross @ weights
    prior = covariance(kernel, test).diagonal()[at]
    explained = np.einsum(
        "ij,ji->i", cross[at], np.linalg.solve(rows + np.diag(noise), cross[at].T)
    )
    variance = labels @ weights / (len(labels) - 6 * len(features))
    return found[at], np.delete(found, at).reshape(-1, 3), np.sqrt(variance * (prior - explained))


@pytest.mark.parametrize("kernel", [Gaussian(3.0), Matern(5.0), 10 * Cosine(2)], ids=str)
def test_derivatives_equal_the_dense_gaussian_process(kernel, frames):
    features, targets = frames
    test = features[20:]
    energy, forces, std = (
        ForceKernelRidge(kernel, alpha=1e-5, alpha_forces=1e-4, baseline=None)
        .fit(features[:15], targets[:15])
        .predict(test, return_forces=True, return_std=True)
    )
    expected = dense_predictions(kernel, features[:15], targets[:15], test, 1e-5, 1e-4)
    np.testing.assert_allclose(energy, expected[0], rtol=1e-7)
    np.testing.assert_allclose(forces, expected[1], atol=1e-7 * np.abs(forces).max())
    np.testing.assert_allclose(std, expected[2], rtol=1e-5)


def test_conjugate_gradients_equal_cholesky(frames):
    features, targets = frames
    energy = targets.energy.copy()
    energy[3] = np.nan
    both = Targets(energy=energy, forces=targets.forces, offsets=targets.offsets)
    for labels in (both, Targets(energy=targets.energy)):
        direct = ForceKernelRidge(Gaussian(3.0), alpha=1e-5).fit(features[:20], labels[:20])
        iterative = clone(direct).set_params(solver="cg", n_inducing=15, tol=1e-12, random_state=0)
        iterative.fit(features[:20], labels[:20])
        assert 0 < iterative.n_iter_ < 200
        assert iterative.variance_ == pytest.approx(direct.variance_, rel=1e-6)
        for a, b in zip(
            iterative.predict(features, return_forces=True),
            direct.predict(features, return_forces=True),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, atol=1e-6 * np.abs(b).max())


def test_more_inducing_columns_make_fewer_iterations(frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(3.0), solver="cg", alpha=1e-6, tol=1e-10, random_state=0)
    counts = [
        model.set_params(n_inducing=n).fit(features[:20], targets[:20]).n_iter_
        for n in (1, 60, 200)
    ]
    assert counts[0] > 2 * counts[1]
    assert counts[1] > 2 * counts[2]
    assert counts[2] < 10


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_atoms_out_of_reach_of_each_other_feel_no_forces(solver):
    """Their rows of the covariance are zero, and so are the columns of the preconditioner."""
    structures = Structures([1, 6, 1], [[0, 0, 0], [50.0, 0, 0], [0, 60.0, 0]])
    features = FCHL19(cutoff=4.0).fit_transform(structures)
    targets = Targets(forces=np.zeros((3, 3)), offsets=[0, 3])
    model = ForceKernelRidge(solver=solver, n_inducing=3, random_state=0).fit(features, targets)
    np.testing.assert_array_equal(model.predict(features, return_forces=True)[1], np.zeros((3, 3)))


def test_conjugate_gradients_take_over_where_the_matrix_does_not_fit(frames):
    features, targets = frames
    model = ForceKernelRidge(n_inducing=20, max_memory=2e-4, random_state=0, tol=1e-3)
    assert model.fit(features, targets).n_iter_ > 1
    assert clone(model).set_params(max_memory=None).fit(features, targets).n_iter_ == 1


def test_too_few_iterations_are_told(frames):
    features, targets = frames
    model = ForceKernelRidge(solver="cg", n_inducing=1, max_iter=2, random_state=0)
    with pytest.warns(ConvergenceWarning, match="stopped after 2 iterations"):
        model.fit(features, targets)


def test_operators_solve_the_ridge_problem(frames):
    features, targets = frames
    features, targets = features[:8], targets[:8]
    kernel, alpha, alpha_forces = Gaussian(3.0), 1e-2, 3e-2
    model = ForceKernelRidge(
        kernel, "operators", alpha=alpha**2, alpha_forces=alpha_forces**2, baseline=None
    ).fit(features, targets)
    same = features.numbers[:, None] == features.numbers
    atoms = kernel(features.values) * same
    rows = np.add.reduceat(atoms, features.offsets[:-1], axis=0)
    slopes = [  # d k(q_I, q_J) / dR by one pullback for each basis atom
        features.pullback((atoms[:, [j]] / -(3.0**2)) * (features.values - features.values[j]))[
            0
        ].ravel()
        for j in range(len(atoms))
    ]
    stacked = np.concatenate([
        rows / alpha, -np.array(slopes).T / alpha_forces, np.eye(len(atoms))
    ])  # fmt: skip
    labels = np.concatenate([
        targets.energy / alpha, targets.forces.ravel() / alpha_forces,
        np.zeros(len(atoms)),
    ])  # fmt: skip
    coefficients = np.linalg.lstsq(stacked, labels, rcond=None)[0]
    np.testing.assert_allclose(model.predict(features), rows @ coefficients, rtol=1e-9)


def test_operators_without_noise_interpolate_energies(frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(1.0), "operators", alpha=1e-18)
    model.fit(features, Targets(energy=targets.energy))
    np.testing.assert_allclose(model.predict(features), targets.energy, atol=1e-5)


@pytest.mark.parametrize("basis", BASES)
def test_forces_are_the_slopes_of_the_energy(basis, frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(5.0), basis, alpha=alpha_of(basis, 1e-5)).fit(
        features[:10], targets[:10]
    )
    check_slopes(model, features, 12)


@pytest.mark.parametrize("basis", BASES)
def test_forces_and_stress_of_crystals_are_slopes(basis, crystals):
    features, targets = crystals
    model = ForceKernelRidge(Cosine(2), basis, alpha=alpha_of(basis, 1e-5)).fit(
        features[:6], targets[:6]
    )
    check_slopes(model, features, 7)
    energy, stress = model.predict(features[7], return_stress=True)
    atoms = features.structures[7].to_ase()[0]
    step = 1e-4
    for a, b in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step
            moved = atoms.copy()
            moved.set_cell(atoms.cell @ strain.T, scale_atoms=True)
            energies.append(model.predict(features.descriptor.transform([moved]))[0])
        slope = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
        assert stress[0, a, b] == pytest.approx(slope, abs=1e-6 * np.abs(stress).max() + 1e-9)


def check_slopes(model, features, s):
    _, forces = model.predict(features[s], return_forces=True)
    atoms = features.structures[s].to_ase()[0]
    step = 1e-4
    for atom, axis in ((0, 0), (1, 2), (len(atoms) - 1, 1)):
        energies = []
        for sign in (2, 1, -1, -2):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(model.predict(features.descriptor.transform([moved]))[0])
        slope = (8 * (energies[1] - energies[2]) - (energies[0] - energies[3])) / (12 * step)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-6 * np.abs(forces).max())


@pytest.mark.parametrize("basis", BASES)
def test_energies_are_invariant_and_forces_turn_along(basis, frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(5.0), basis, alpha=alpha_of(basis, 1e-5)).fit(
        features[:10], targets[:10]
    )
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    water = features.structures[11]
    turned = Structures(water.numbers[[0, 2, 1]], (water.positions @ turn + 3.0)[[0, 2, 1]])
    energy, forces = model.predict(features[11], return_forces=True)
    same, along = model.predict(features.descriptor.transform(turned), return_forces=True)
    np.testing.assert_allclose(same, energy, rtol=1e-9)
    np.testing.assert_allclose(along, (forces @ turn)[[0, 2, 1]], atol=1e-7)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-8)
    np.testing.assert_allclose(np.cross(water.positions, forces).sum(axis=0), 0.0, atol=1e-7)


@pytest.mark.parametrize("basis", BASES)
def test_learns_from_energies_forces_or_both(basis, frames):
    features, targets = frames
    train, test = slice(0, 30), slice(30, 40)
    offsets = targets[train].offsets
    both = targets[train]
    only_energies = Targets(energy=both.energy)
    only_forces = Targets(forces=both.forces, offsets=offsets)
    errors = {}
    for name, labels in (("e", only_energies), ("f", only_forces), ("both", both)):
        model = ForceKernelRidge(Gaussian(5.0), basis, alpha=alpha_of(basis, 1e-9))
        model.fit(features[train], labels)
        energy, forces = model.predict(features[test], return_forces=True)
        assert model.absolute_energies_ == (name != "f")
        if name == "f":
            energy = energy - energy.mean() + targets[test].energy.mean()
        errors[name] = [
            np.abs(energy - targets[test].energy).mean(),
            np.abs(forces - targets[test].forces).mean(),
        ]
    spread = np.abs(targets.energy - targets.energy.mean()).mean(), np.abs(targets.forces).mean()
    assert errors["e"][0] < 0.1 * spread[0]
    assert errors["f"][1] < 0.02 * spread[1]
    assert errors["both"][1] < 0.02 * spread[1]
    assert errors["both"][0] < errors["e"][0]


def test_structures_without_one_of_the_labels_count_for_the_other(frames):
    features, targets = frames
    energy, forces = targets.energy.copy(), targets.forces.copy()
    energy[:5] = np.nan
    forces[: 3 * 3] = forces[30 * 3 :] = np.nan
    mixed = Targets(energy=energy, forces=forces, offsets=targets.offsets)
    for basis in BASES:
        model = ForceKernelRidge(Gaussian(5.0), basis).fit(features, mixed)
        found, found_forces = model.predict(features, return_forces=True)
        # frames 0 to 2 have no label at all: without them nothing changes
        fewer = ForceKernelRidge(Gaussian(5.0), basis).fit(features[3:], mixed[3:])
        again, again_forces = fewer.predict(features, return_forces=True)
        np.testing.assert_allclose(found, again, rtol=1e-6)
        np.testing.assert_allclose(found_forces, again_forces, atol=1e-5)


def test_energies_of_many_molecules_alone_equal_scikit_learn():
    molecules = [molecule(name) for name in ("H2O", "CH4", "CH3OH", "NH3", "C2H6", "CO2")]
    energy = np.arange(6.0)
    features = FCHL19.for_energies().fit_transform(molecules)
    gram = covariance(Gaussian(3.0), features, rows=("energy",))
    theirs = KernelRidge(alpha=1e-3, kernel="precomputed").fit(gram, energy)
    for basis in ("derivatives",):
        ours = ForceKernelRidge(Gaussian(3.0), basis, alpha=1e-3, baseline=None)
        ours.fit(features, energy)
        np.testing.assert_allclose(ours.predict(features), theirs.predict(gram), rtol=1e-9)


def test_plain_arrays_equal_scikit_learn():
    rng = np.random.default_rng(0)
    X, y, test = rng.normal(size=(30, 4)), rng.normal(size=(30, 2)), rng.normal(size=(5, 4))
    ours = ForceKernelRidge(Gaussian(1.5), alpha=0.1).fit(X, y)
    theirs = KernelRidge(alpha=0.1, kernel="rbf", gamma=0.5 / 1.5**2).fit(X, y)
    np.testing.assert_allclose(ours.predict(test), theirs.predict(test), rtol=1e-9)


def test_std_of_energies_alone_equals_scikit_learn(frames):
    features, targets = frames
    energy = targets.energy - targets.energy.mean()
    single = FCHL19(**SMALL).fit_transform([Atoms("H")] * 3)  # one environment: a plain GP on sums
    assert len(single) == 3
    model = ForceKernelRidge(Gaussian(3.0), alpha=1e-3, baseline=None)
    model.fit(features[:20], Targets(energy=energy[:20]))
    _, std = model.predict(features[20:], return_std=True)
    gram = covariance(Gaussian(3.0), features, rows=("energy",))
    inverse = np.linalg.inv(gram[:20, :20] + 1e-3 * np.eye(20))
    variance = gram.diagonal()[20:] - np.einsum(
        "ij,jk,ik->i", gram[20:, :20], inverse, gram[20:, :20]
    )
    scale = energy[:20] @ inverse @ energy[:20] / 20
    np.testing.assert_allclose(std, np.sqrt(scale * variance), rtol=1e-6)


def test_std_is_small_where_there_are_data_and_grows_away(frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(3.0), alpha=1e-9).fit(features[:20], targets[:20])
    stretched = Structures(features.structures[0].numbers, 1.5 * features.structures[0].positions)
    _, near = model.predict(features[:20], return_std=True)
    _, far = model.predict(features.descriptor.transform(stretched), return_std=True)
    assert far[0] > 10 * near.max()


@pytest.mark.parametrize("basis", BASES)
def test_pipeline_search_and_file(basis, water, tmp_path):
    structures, targets = water
    pipeline = Pipeline([
        ("fchl19", FCHL19(**SMALL)),
        ("krr", ForceKernelRidge(Gaussian(5.0), basis)),
    ])  # fmt: skip
    grid = {"fchl19__n_r2": [6, 10], "krr__kernel__sigma": [0.1, 5.0]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(structures[:16], targets[:16])
    assert search.best_params_["krr__kernel__sigma"] == 5.0
    path = tmp_path / "model.joblib"
    joblib.dump(search.best_estimator_, path)
    again = joblib.load(path)
    expected = search.best_estimator_.predict(structures, return_forces=True)
    for a, b in zip(again.predict(structures, return_forces=True), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    atoms = structures[20].to_ase()[0]
    atoms.calc = SkatomCalculator(again)
    np.testing.assert_allclose(atoms.get_forces(), expected[1][60:63], atol=1e-9)


def test_file_does_not_hold_the_factor_and_std_survives(frames, tmp_path):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(3.0)).fit(features[:10], targets[:10])
    _, std = model.predict(features[10:], return_std=True)
    path = tmp_path / "model.joblib"
    joblib.dump(model, path)
    again = joblib.load(path)
    assert not hasattr(again, "_factor")
    np.testing.assert_allclose(again.predict(features[10:], return_std=True)[1], std, rtol=1e-9)


def test_score_is_that_of_what_was_learnt(frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(5.0)).fit(features[:20], targets[:20])
    assert model.score(features[20:], targets[20:]) > 0.99
    forces = Targets(forces=targets.forces, offsets=targets.offsets)
    model = clone(model).fit(features[:20], forces[:20])
    assert model.score(features[20:], forces[20:]) > 0.99


class TestBadInput:
    def test_no_labels(self, frames):
        features, _ = frames
        with pytest.raises(ValueError, match="no structure has energy or forces"):
            ForceKernelRidge().fit(features, Targets(dipole=np.ones((40, 3))))

    def test_kernels_without_derivatives(self, frames):
        features, targets = frames
        for kernel, message in (
            (Laplacian(), r"or a StructureKernel: Laplacian\(\) is none"),
            (Matern(nu=0.5), "no derivatives, .* use Gaussian"),
        ):
            with pytest.raises(ValueError, match=message):
                ForceKernelRidge(kernel).fit(features[:3], targets[:3])

    def test_parameters_out_of_range(self, frames):
        with pytest.raises(ValueError, match="'sigma' parameter of Gaussian"):
            ForceKernelRidge(Gaussian(-1.0)).fit(*frames)
        with pytest.raises(ValueError, match="'alpha' parameter of ForceKernelRidge"):
            ForceKernelRidge(alpha=-1.0).fit(*frames)
        with pytest.raises(ValueError, match="'basis' parameter of ForceKernelRidge"):
            ForceKernelRidge(basis="energies").fit(*frames)

    def test_equal_structures_without_noise(self, frames):
        features, targets = frames
        twice = np.array([0, 1, 0])
        with pytest.raises(ValueError, match="raise them tenfold"):
            ForceKernelRidge(alpha=0.0).fit(features[twice], targets[twice])
        with pytest.raises(ValueError, match="raise it tenfold"):
            ForceKernelRidge(Polynomial(), alpha=0.0).fit(np.ones((3, 2)), np.ones(3))

    def test_memory_over_budget(self, frames):
        features, targets = frames
        for solver, basis in zip(("cholesky", "auto"), BASES, strict=True):
            model = ForceKernelRidge(basis=basis, solver=solver, max_memory=1e-5)
            with pytest.raises(MemoryError, match="or raise max_memory"):
                model.fit(features, targets)
        with pytest.raises(MemoryError, match="lower n_inducing"):
            ForceKernelRidge(max_memory=1e-5).fit(features, targets)

    def test_unseen_species(self, frames):
        features, targets = frames
        pipeline = Pipeline([("fchl19", FCHL19(**SMALL)), ("krr", ForceKernelRidge())])
        pipeline.fit(features.structures[:5], targets[:5])
        with pytest.raises(ValueError, match="contains C, which was not in the structures"):
            pipeline.predict([molecule("CH4")])

    def test_arrays_after_features(self, frames):
        features, targets = frames
        model = ForceKernelRidge().fit(features[:5], targets[:5])
        with pytest.raises(ValueError, match="was fitted to AtomicFeatures"):
            model.predict(np.ones((2, 3)))

    def test_structures_without_a_descriptor(self, frames):
        features, targets = frames
        for X in (features.structures, features.structures.to_ase()):
            with pytest.raises(TypeError, match="put a descriptor in front"):
                ForceKernelRidge().fit(X, targets)

    def test_stress_of_molecules(self, frames):
        features, targets = frames
        model = ForceKernelRidge().fit(features[:5], targets[:5])
        with pytest.raises(ValueError, match="periodic in three directions"):
            model.predict(features, return_stress=True)

    def test_std_without_a_factor(self, frames):
        features, targets = frames
        model = ForceKernelRidge(solver="cg", n_inducing=20, tol=1e-2, random_state=0)
        model.fit(features[:5], targets[:5])
        assert not hasattr(model, "_training")
        for keyword in ("return_std", "return_forces_std"):
            with pytest.raises(ValueError, match="but no .*_std; .* fitted with solver='cholesky'"):
                model.predict(features, **{keyword: True})


class TestFCHL18:
    """Structures compared by FCHL18: energies, forces and dipoles."""

    @pytest.fixture(scope="class")
    @classmethod
    def charged(cls):
        structures = rattled("H2O", 40, amplitude=0.04)
        labels = morse_targets(structures)
        charges = np.where(structures.numbers == 8, -0.8, 0.4)
        dipole = np.add.reduceat(charges[:, None] * structures.positions, structures.offsets[:-1])
        return structures, Targets(
            energy=labels.energy, forces=labels.forces, dipole=dipole, offsets=labels.offsets
        )

    def test_learns_energies_and_forces(self, charged):
        structures, targets = charged
        labels = Targets(energy=targets.energy, forces=targets.forces, offsets=targets.offsets)
        model = ForceKernelRidge(FCHL18(cut_start=0.6), "operators", alpha=1e-18)
        model.fit(structures[:30], labels[:30])
        assert model.outputs_[:3] == ("energy", "forces", "stress")
        assert "dipole" not in model.outputs_
        energy, forces = model.predict(structures[30:], return_forces=True)
        assert np.abs(energy - labels[30:].energy).mean() < 1e-3 * labels.energy.std()
        assert np.abs(forces - labels[30:].forces).mean() < 3e-3 * np.abs(labels.forces).mean()

    def test_labels_count_by_their_alphas(self, charged):
        structures, targets = charged
        dipoles = Targets(dipole=targets.dipole)
        alone = ForceKernelRidge(FCHL18(), "operators", alpha=1e-12).fit(structures, dipoles)
        together = ForceKernelRidge(FCHL18(), "operators", alpha=1e12, alpha_dipole=1e-12)
        together.fit(structures, targets)
        assert together.outputs_[:4] == ("energy", "forces", "stress", "dipole")
        np.testing.assert_allclose(
            together.predict(structures, return_dipole=True)[1],
            alone.predict(structures),
            atol=1e-6,
        )

    def test_dipoles_alone(self, charged):
        structures, targets = charged
        labels = Targets(dipole=targets.dipole)
        model = ForceKernelRidge(FCHL18(), "operators", alpha=1e-16).fit(
            structures[:10], labels[:10]
        )
        assert model.score(structures[10:], labels[10:]) > 0.99
        dipole = model.predict(structures[10:])
        assert model.outputs_ == ("dipole", "dipole_std")
        np.testing.assert_array_equal(dipole, model.predict(structures[10:], return_dipole=True))
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        turned = Structures(
            structures.numbers, structures.positions @ turn + 5.0, structures.offsets
        )
        again = model.predict(turned[10:])
        np.testing.assert_allclose(again, dipole @ turn, atol=1e-8)
        with pytest.raises(ValueError, match="gives dipole, dipole_std but no forces"):
            model.predict(structures, return_forces=True)

    def test_forces_are_the_slopes_of_the_energy(self, charged):
        structures, targets = charged
        model = ForceKernelRidge(FCHL18(cut_start=0.6), "operators", alpha=1e-8)
        model.fit(structures[:8], targets[:8])
        _, forces = model.predict(structures[9], return_forces=True)
        step, atoms = 1e-4, structures[9].to_ase()[0]
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[1, 2] += sign * step
            energies.append(model.predict([moved])[0])
        slope = (energies[0] - energies[1]) / (2 * step)
        assert forces[1, 2] == pytest.approx(-slope, abs=1e-6 * np.abs(forces).max())

    def test_calculator_gives_the_dipole(self, charged):
        structures, targets = charged
        model = ForceKernelRidge(FCHL18(), "operators").fit(structures[:5], targets[:5])
        atoms = structures[7].to_ase()[0]
        atoms.calc = SkatomCalculator(model)
        expected = model.predict(structures[7], return_dipole=True)[1][0]
        np.testing.assert_allclose(atoms.get_dipole_moment(), expected, rtol=1e-12)

    def test_bad_input(self, charged, frames):
        structures, targets = charged
        with pytest.warns(UserWarning, match="does not learn from dipole: .* basis='operators'"):
            ForceKernelRidge(FCHL18()).fit(structures[:4], targets[:4])
        with pytest.raises(ValueError, match="without a descriptor in front"):
            ForceKernelRidge(FCHL18(), "operators").fit(*frames)
        with pytest.raises(ValueError, match="'sigma' parameter of FCHL18"):
            ForceKernelRidge(FCHL18(sigma=0.0), "operators").fit(structures, targets)
        model = ForceKernelRidge(FCHL18(), "operators", alpha=1e-12)
        model.fit(structures[:5], Targets(energy=targets.energy[:5]))
        with pytest.raises(ValueError, match="gives energy, forces, stress, .* but no dipole;"):
            model.predict(structures, return_dipole=True)
        with pytest.raises(ValueError, match="alpha_dipole must be positive"):
            model.set_params(alpha_dipole=0.0).fit(structures[:5], targets[:5])


def test_refitting_forgets_what_was_before(frames):
    features, targets = frames
    model = ForceKernelRidge(Gaussian(3.0)).fit(np.eye(3), np.arange(3.0))
    model.fit(features[:5], targets[:5])
    model.predict(features, return_std=True)
    again = model.fit(features[5:20], targets[5:20]).predict(features, return_std=True)[1]
    fresh = clone(model).fit(features[5:20], targets[5:20]).predict(features, return_std=True)[1]
    np.testing.assert_array_equal(again, fresh)


def test_one_atom_structures_and_linear_molecules():
    images = [Atoms("H"), molecule("H2"), molecule("CO2"), bulk("C", "diamond", a=3.57)]
    images = [atoms.copy() for atoms in images]
    targets = Targets(
        energy=[-1.0, -2.5, -5.0, -9.0], forces=np.zeros((8, 3)), offsets=[0, 1, 3, 6, 8]
    )
    features = FCHL19(**SMALL).fit_transform(images)
    model = ForceKernelRidge(Gaussian(2.0)).fit(features, targets)
    energy, forces = model.predict(features, return_forces=True)
    np.testing.assert_allclose(energy, targets.energy, atol=1e-5)
    np.testing.assert_allclose(forces, 0.0, atol=1e-5)


class TestDerivativesOfFCHL18:
    """A Gaussian process of energies, forces and stresses under a kernel of structures."""

    KERNELS = {
        "local": FCHL18(cutoff=4.0, cut_start=0.6),
        "global": FCHL18(cutoff=4.0, cut_start=0.6, scope="global", sigma=6.0),
    }

    @pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
    def test_equals_the_dense_gaussian_process(self, kernel):
        structures = lithium_fluoride(5)
        targets = labels_of(structures, ["energy", "forces", "stress"])
        alphas = {"alpha": 1e-2, "alpha_forces": 1e-3, "alpha_virial": 1e-2}
        model = ForceKernelRidge(kernel, **alphas, baseline=None).fit(structures[:4], targets[:4])
        kinds = ("energy", "forces", "virial")
        matrix = covariance(kernel, structures[:4], rows=kinds)
        noise = np.concatenate([np.r_[1e-2, np.full(12, 1e-3), np.full(6, 1e-2)]] * 4)
        volumes = structures.volumes()
        labels = np.concatenate([
            np.r_[
                targets.energy[s],
                targets[s].forces.ravel(),
                volumes[s] * targets.stress[s][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
            ]
            for s in range(4)
        ])  # fmt: skip
        inverse = np.linalg.inv(matrix + np.diag(noise))
        cross = covariance(kernel, structures[4], structures[:4], kinds, kinds)
        expected = cross @ inverse @ labels
        found = predict(model, structures[4], model.outputs_)
        assert found["energy"][0] == pytest.approx(expected[0], rel=1e-7)
        np.testing.assert_allclose(found["forces"].ravel(), expected[1:13], atol=1e-7)
        stress = found["stress"][0][[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * volumes[4]
        np.testing.assert_allclose(stress, expected[13:], atol=1e-6)
        prior = covariance(kernel, structures[4], rows=kinds)
        variance = np.diag(prior - cross @ inverse @ cross.T) * model.variance_
        assert found["energy_std"][0] == pytest.approx(np.sqrt(variance[0]), rel=1e-6)
        np.testing.assert_allclose(found["forces_std"].ravel(), np.sqrt(variance[1:13]), rtol=1e-6)

    def test_is_as_accurate_as_operators_with_the_same_data(self):
        structures = waters(16)
        targets = labels_of(structures, ["energy", "forces"])
        kernel = self.KERNELS["local"]
        errors = []
        for basis in ("derivatives", "operators"):
            model = ForceKernelRidge(kernel, basis, alpha=1e-8).fit(structures[:10], targets[:10])
            forces = model.predict(structures[10:], return_forces=True)[1]
            errors.append(np.abs(forces - targets[10:].forces).mean())
        assert errors[0] < 1.2 * errors[1]

    def test_conjugate_gradients_are_an_error(self):
        with pytest.raises(ValueError, match="FCHL18 compares structures: use solver='cholesky'"):
            ForceKernelRidge(self.KERNELS["local"], solver="cg").fit(
                waters(3), labels_of(waters(3), ["energy"])
            )

    def test_the_global_kernel_has_no_operators(self):
        with pytest.raises(ValueError, match="scope='global' does not have: use basis"):
            ForceKernelRidge(self.KERNELS["global"], "operators").fit(
                waters(3), labels_of(waters(3), ["energy"])
            )
