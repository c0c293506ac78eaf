from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from derivatives import slopes_of_displacements, slopes_of_strains
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skatom import Structures, Targets
from skatom.calculators import SkatomCalculator
from skatom.datasets import load_boron_nitride
from skatom.kernels import ManyBody, NBody
from skatom.models import MappedForceField, NBodyGaussianProcess

PAIRS = NBody(order=2, sigma=0.5, cutoff=4.0)
TRIANGLES = NBody(order=3, sigma=0.6, cutoff=2.9, amplitude=0.3)


@pytest.fixture(scope="module")
def crystals():
    data = load_boron_nitride()
    structures, targets = data.structures[60:180:24], data.targets[60:180:24]
    return structures, Targets(targets.energy, targets.forces, offsets=structures.offsets)


@pytest.fixture(scope="module")
def unseen():
    return load_boron_nitride().structures[[61, 141]]


@pytest.fixture(scope="module")
def process(crystals):
    model = NBodyGaussianProcess(
        PAIRS + TRIANGLES, noise_energy=2e-3, noise_forces=0.1, n_environments=40, random_state=0
    )
    return model.fit(*crystals)


@pytest.fixture(scope="module")
def mapped(process):
    return MappedForceField.from_fitted(process)


def compound_process(seed=0):
    """A process that has learnt random energies of small skewed cells of three elements."""
    rng = np.random.default_rng(seed)
    cell = np.array([[3.1, 0.2, 0.0], [0.9, 3.3, 0.3], [-0.4, 0.5, 2.9]])
    images = [
        Atoms([6, 1, 6, 8], (rng.permutation(64)[:4, None] // [16, 4, 1] % 4 / 4
              + rng.uniform(0, 0.1, (4, 3))) @ cell, cell=cell, pbc=True)
        for _ in range(4)
    ]  # fmt: skip
    structures = Structures.from_ase(images)
    targets = Targets(
        energy=rng.normal(size=4), forces=rng.normal(size=(16, 3)), offsets=structures.offsets
    )
    kernel = NBody(order=2, sigma=0.8, cutoff=3.6) + NBody(order=3, sigma=0.9, cutoff=3.4)
    return NBodyGaussianProcess(kernel, noise_energy=0.1, noise_forces=0.3).fit(structures, targets)


def test_predictions_equal_those_of_the_process_on_unseen_structures(process, mapped, unseen):
    options = {"return_forces": True, "return_stress": True}
    exact, tables = process.predict(unseen, **options), mapped.predict(unseen, **options)
    np.testing.assert_allclose(tables[0], exact[0], atol=1e-4)
    np.testing.assert_allclose(tables[1], exact[1], atol=1e-4)
    np.testing.assert_allclose(tables[2], exact[2], atol=1e-6)


def test_errors_of_forces_fall_with_the_third_power_of_the_spacing(process, unseen):
    exact = process.predict(unseen, return_forces=True)[1]
    errors = []
    for n_knots in (31, 61):
        model = MappedForceField.from_fitted(process, n_knots_triangles=n_knots)
        errors.append(np.abs(model.predict(unseen, return_forces=True)[1] - exact).max())
    assert 5 < errors[0] / errors[1] < 16


def test_pairs_alone_are_exact_on_fine_grids(crystals, unseen):
    process = NBodyGaussianProcess(PAIRS, n_environments=30, random_state=0).fit(*crystals)
    model = MappedForceField.from_fitted(process, n_knots_pairs=4096)
    exact, tables = (m.predict(unseen, return_forces=True) for m in (process, model))
    np.testing.assert_allclose(tables[0], exact[0], atol=1e-7)
    np.testing.assert_allclose(tables[1], exact[1], atol=1e-7)


def test_forces_and_stress_are_derivatives():
    model = MappedForceField.from_fitted(compound_process(), n_knots_triangles=24)
    rng = np.random.default_rng(7)
    cell = np.array([[3.2, 0.1, 0.0], [0.5, 3.1, 0.3], [-0.4, 0.5, 3.0]])
    positions = np.array([[0, 0, 0], [1.6, 1.4, 0.2], [0.3, 1.5, 1.6]])
    structures = Structures.from_ase([
        Atoms("CHO", positions + rng.normal(scale=0.1, size=(3, 3)), cell=cell, pbc=True)
    ])  # fmt: skip

    def transform(moved):
        values = np.zeros((len(moved.numbers), 1))
        values[moved.offsets[:-1], 0] = model.predict(moved)
        return SimpleNamespace(values=values)

    features = SimpleNamespace(
        structures=structures, numbers=structures.numbers,
        descriptor=SimpleNamespace(transform=transform),
    )  # fmt: skip
    _, forces, stress = model.predict(structures, return_forces=True, return_stress=True)
    slopes = slopes_of_displacements(features, np.ones((3, 1)))
    np.testing.assert_allclose(forces, -slopes, atol=1e-7 * np.abs(forces).max())
    expected = slopes_of_strains(features, np.ones((3, 1))) / np.linalg.det(cell)
    np.testing.assert_allclose(stress, expected, atol=1e-6 * np.abs(expected).max())


def test_there_is_a_table_for_each_combination_of_elements(mapped):
    pairs, triangles = mapped.expansion_.tables
    assert len(pairs.coefficients) == 3
    assert len(triangles.coefficients) == 4


def test_predictions_of_compounds_do_not_depend_on_the_order_of_atoms():
    process = compound_process()
    model = MappedForceField.from_fitted(process, n_knots_triangles=60)
    rng = np.random.default_rng(3)
    molecules = [
        Atoms("CHO", [[0, 0, 0], [1.3, 0.2, 0], [0.3, 1.4, 0.3]] + rng.normal(0, 0.05, (3, 3))),
        Atoms("OCH", [[0, 0, 0], [1.3, 0.2, 0], [0.3, 1.4, 0.3]] + rng.normal(0, 0.05, (3, 3))),
        Atoms("HCC", [[0, 0, 0], [1.3, 0.2, 0], [0.3, 1.4, 0.3]] + rng.normal(0, 0.05, (3, 3))),
    ]
    exact, tables = (m.predict(molecules, return_forces=True) for m in (process, model))
    np.testing.assert_allclose(tables[1], exact[1], atol=1e-4)


def test_potentials_of_single_pairs_and_triangles_are_those_of_molecules():
    model = MappedForceField.from_fitted(compound_process(), n_knots_triangles=24)
    positions = np.array([[0.0, 0, 0], [1.4, 0.2, 0], [0.3, 1.5, 0.3]])
    sides = [np.linalg.norm(positions[b] - positions[a]) for a, b in ((0, 1), (0, 2), (1, 2))]
    for numbers in ([8, 1, 6], [6, 8, 6], [1, 1, 8]):
        whole = model.predict([Atoms(numbers, positions)])[0]
        whole -= model.baseline_.predict([Atoms(numbers, positions)])[0]
        parts = [
            model.pair_energy(numbers[a], numbers[b], [r])[0][0]
            for (a, b), r in zip(((0, 1), (0, 2), (1, 2)), sides, strict=True)
        ]
        third, slopes = model.triangle_energy(numbers, [sides])
        assert whole == pytest.approx(sum(parts) + third[0], rel=1e-10)
        for k, step in enumerate(1e-5 * np.eye(3)):
            up, down = (model.triangle_energy(numbers, [sides + s * step])[0][0] for s in (1, -1))
            assert slopes[0, k] == pytest.approx((up - down) / 2e-5, abs=1e-7)


def test_below_the_first_knot_energies_go_on_linearly_with_a_warning(mapped):
    r_min = mapped.expansion_.tables[0].grid[0]
    energies, slopes = mapped.pair_energy(5, 7, [r_min, r_min - 0.1, r_min - 0.2])
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-10)
    assert energies[2] - energies[1] == pytest.approx(-0.1 * slopes[0], rel=1e-10)
    with pytest.warns(UserWarning, match="closer than r_min"):
        mapped.predict([Atoms("BN", [[0, 0, 0], [0, 0, r_min - 0.1]])])


def test_energy_is_conserved(process, unseen):
    model = MappedForceField.from_fitted(process, n_knots_triangles=32)
    atoms = unseen[:1].to_ase()[0]
    atoms.calc = SkatomCalculator(model)
    spread = np.sqrt(300 * units.kB * atoms.get_masses())[:, None]
    atoms.set_momenta(spread * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(60)
    assert np.ptp(energies) < 2e-3
    assert np.ptp([energies[0], energies[-1]]) < 1e-3


def test_fit_trains_and_maps(crystals, process, mapped, unseen):
    model = MappedForceField(clone(process)).fit(*crystals)
    np.testing.assert_allclose(model.predict(unseen), mapped.predict(unseen), rtol=1e-12)
    few = crystals[0][:2], crystals[1][:2]
    assert model.score(*few) == pytest.approx(process.score(*few), abs=1e-6)


# Standard deviations

STD = {"return_std": True, "return_forces_std": True, "return_stress_std": True}


@pytest.mark.parametrize("kernel", [PAIRS, TRIANGLES, PAIRS + TRIANGLES], ids=str)
def test_deviations_equal_those_of_the_process(crystals, unseen, kernel):
    process = NBodyGaussianProcess(
        kernel, noise_energy=2e-3, noise_forces=0.1, n_environments=30, random_state=0
    ).fit(*crystals)
    model = MappedForceField.from_fitted(process, n_knots_triangles=8, map_variance=True)
    for structures in (crystals[0][:2], unseen):
        exact, tables = process.predict(structures, **STD)[1:], model.predict(structures, **STD)[1:]
        for a, b in zip(exact, tables, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-5)


def test_deviations_of_compounds_and_of_elements_without_data():
    """No structure has H and O together, or triangles of C, H and O."""
    rng = np.random.default_rng(0)
    shape = np.array([[0.0, 0, 0], [1.3, 0.2, 0], [0.3, 1.4, 0.3]])
    images = [Atoms(s, shape + rng.normal(scale=0.1, size=(3, 3))) for s in 4 * ["CHH", "COO"]]
    structures = Structures.from_ase(images)
    targets = Targets(rng.normal(size=8), rng.normal(size=(24, 3)), offsets=structures.offsets)
    kernel = NBody(2, sigma=0.8, cutoff=3.6) + NBody(3, sigma=0.9, cutoff=3.4)
    process = NBodyGaussianProcess(kernel, noise_energy=0.1, noise_forces=0.3)
    process.fit(structures, targets)
    model = MappedForceField.from_fitted(process, n_knots_triangles=8, map_variance=True)
    others = [Atoms(s, shape + rng.normal(scale=0.1, size=(3, 3))) for s in ("CHH", "OCH", "OOO")]
    options = {"return_std": True, "return_forces_std": True}
    _, std, forces_std = model.predict(others, **options)
    _, exact, exact_forces = process.predict(others, **options)
    np.testing.assert_allclose(std, exact, rtol=1e-5)
    np.testing.assert_allclose(forces_std, exact_forces, rtol=1e-5)
    assert std[1] > 3 * std[0]


def test_deviations_below_the_first_knot_are_those_of_the_linear_extrapolation():
    images = [Atoms("BN", [[0, 0, 0], [0, 0, r]]) for r in (1.3, 1.6, 2.0)]
    process = NBodyGaussianProcess(NBody(2, sigma=0.5, cutoff=4.0), baseline=None)
    process.fit(images, [1.0, 0.3, 0.5])
    model = MappedForceField.from_fitted(process, r_min=1.2, map_variance=True)

    def deviation(r):
        return model.predict([Atoms("BN", [[0, 0, 0], [0, 0, r]])], return_std=True)[1][0]

    variance = [deviation(1.2 + k * 1e-3) ** 2 for k in (0, 1, 2)]
    with pytest.warns(UserWarning, match="closer than r_min"):
        # the variance of a straight line is a parabola: the third difference is that of rounding
        line = [deviation(r) ** 2 for r in (1.2, 1.1, 1.0, 0.9)]
        forces_std = [
            model.predict([Atoms("BN", [[0, 0, 0], [0, 0, r]])], return_forces_std=True)[1][1, 2]
            for r in (1.2, 1.1, 0.9)
        ]
    assert abs(np.diff(line, 3)[0]) < 1e-10
    assert line[1] > line[0] > variance[1] > variance[2]
    np.testing.assert_allclose(forces_std, forces_std[0], rtol=1e-9)


def test_deviations_that_were_not_mapped_are_an_error_with_the_remedy(mapped, unseen):
    assert mapped.outputs_ == ("energy", "forces", "stress")
    with pytest.raises(ValueError, match=r"no forces_std; .*this one with map_variance=True\)"):
        mapped.predict(unseen, return_forces_std=True)
    with pytest.raises(ValueError, match="no dipole; dipole may be given by: [^(]*$"):
        mapped.predict(unseen, return_dipole=True)


def test_a_table_of_the_variance_that_does_not_fit_is_refused(process):
    with pytest.raises(MemoryError, match="variance, of [0-9]+ functions .* map_variance=False"):
        MappedForceField.from_fitted(
            process, n_knots_triangles=8, map_variance=True, max_memory=2e-3
        )


# scikit-learn, and bad input


def test_grid_search_joblib_and_calculator(tmp_path, crystals, unseen):
    process = NBodyGaussianProcess(PAIRS, n_environments=20, random_state=0)
    search = GridSearchCV(
        MappedForceField(process), {"estimator__kernel__sigma": [0.3, 0.6]}, cv=2
    ).fit(*crystals)
    joblib.dump(search.best_estimator_, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict(unseen), search.predict(unseen))
    atoms = unseen[:1].to_ase()[0]
    atoms.calc = SkatomCalculator(loaded)
    _, forces, stress = loaded.predict([atoms], return_forces=True, return_stress=True)
    np.testing.assert_allclose(atoms.get_forces(), forces)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), stress[0])


def test_bad_input_is_refused(crystals, process, mapped, unseen):
    with pytest.raises(NotFittedError):
        MappedForceField().predict(unseen)
    with pytest.raises(NotFittedError):
        MappedForceField.from_fitted(NBodyGaussianProcess())
    with pytest.raises(ValueError, match=r"contains O, .* \(species B, N"):
        mapped.predict([molecule("H2O")[:1]])
    with pytest.raises(ValueError, match="stress needs structures that are periodic"):
        mapped.predict([Atoms("BN", [[0, 0, 0], [0, 0, 1.5]])], return_stress=True)
    with pytest.raises(ValueError, match="is not below the cutoff"):
        MappedForceField.from_fitted(process, r_min=3.5)
    with pytest.raises(ValueError, match="'n_knots_pairs' parameter"):
        MappedForceField.from_fitted(process, n_knots_pairs=2)
    with pytest.raises(MemoryError, match="4 tables of 96 knots .* lower n_knots_triangles"):
        MappedForceField.from_fitted(process, max_memory=1e-3)
    with pytest.raises(ValueError, match="the model knows the elements"):
        mapped.pair_energy(5, 8, [1.5])


def test_dimers_alone_have_no_triangles():
    molecules = [Atoms("N2", [[0, 0, 0], [0, 0, r]]) for r in (1.0, 1.1, 1.3)]
    process = NBodyGaussianProcess(noise_energy=1e-3)
    model = MappedForceField(process).fit(molecules, [1.0, 2.0, 1.0])
    np.testing.assert_allclose(model.predict(molecules), [1.0, 2.0, 1.0], atol=1e-2)
    trimer = Atoms("N3", [[0, 0, 0], [0, 0, 1.1], [0, 1.1, 0]])
    assert np.isfinite(model.predict([trimer])[0])
    with pytest.raises(ValueError, match="no atoms within 5.0 Å of each other"):
        model.fit([Atoms("N"), Atoms("H")], [1.0, 2.0])


@pytest.mark.parametrize("kernel", [ManyBody(NBody(order=3)), NBody(cutoff=None)])
def test_kernels_that_are_no_sums_of_n_plets_within_a_cutoff_cannot_be_mapped(kernel):
    molecules = [Atoms("N2", [[0, 0, 0], [0, 0, r]]) for r in (1.0, 1.1, 1.3)]
    model = MappedForceField(NBodyGaussianProcess(kernel))
    with pytest.raises(ValueError, match="cannot be tabulated"):
        model.fit(molecules, [1.0, 2.0, 1.0])
