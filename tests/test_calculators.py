import copy
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import UnitCellFilter
from ase.io import Trajectory, read
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from ase.phonons import Phonons
from ase.stress import full_3x3_to_voigt_6_stress
from ase.vibrations import Vibrations
from pair_model import PairPotential, binding_pair_potential
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skatom._prediction import predict
from skatom.calculators import ExtrapolationError, SkatomCalculator
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP, LambdaSOAP
from skatom.models import SGDML, SparseGaussianProcess, TensorKernelRidge
from skatom.selection import MaxVol, NearestDistance


@pytest.fixture
def cluster():
    atoms = Atoms("Ar4", 1.3 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1.0]]) / 2)
    atoms.rattle(0.05, seed=0)
    atoms.calc = SkatomCalculator(binding_pair_potential())
    return atoms


@pytest.fixture
def crystal():
    atoms = bulk("Ar", cubic=True, a=2.5)
    atoms.rattle(0.05, seed=0)
    atoms.set_cell(atoms.cell.array @ [[1.02, 0.03, 0], [0, 0.99, 0], [0.01, 0, 1]], True)
    atoms.calc = SkatomCalculator(binding_pair_potential())
    return atoms


def test_forces_are_minus_the_gradient_of_the_energy(cluster, crystal):
    for atoms in (cluster, crystal):
        numerical = calculate_numerical_forces(atoms, eps=1e-5)
        assert atoms.get_forces() == pytest.approx(numerical, abs=1e-8)


def test_stress_is_the_derivative_by_strain_in_voigt_order(crystal):
    numerical = calculate_numerical_stress(crystal, eps=1e-5)
    assert crystal.get_stress() == pytest.approx(numerical, abs=1e-8)
    assert crystal.get_stress().shape == (6,)


def test_bfgs_finds_the_minimum(cluster):
    assert BFGS(cluster, logfile=None).run(fmax=1e-4, steps=200)
    distances = cluster.get_all_distances()[np.triu_indices(4, 1)]
    assert np.ptp(distances) < 1e-3  # the tetrahedron


def test_cell_relaxation_brings_stress_to_zero():
    atom = bulk("Ar", a=2.5)
    atom.set_cell(atom.cell.array @ [[1.02, 0.03, 0], [0, 0.99, 0], [0.01, 0, 1]], True)
    atom.calc = SkatomCalculator(binding_pair_potential())
    assert abs(atom.get_stress()).max() > 0.01
    assert BFGS(UnitCellFilter(atom), logfile=None).run(fmax=1e-4, steps=100)
    assert abs(atom.get_stress()).max() < 1e-4


def test_dynamics_conserve_the_energy(cluster):
    BFGS(cluster, logfile=None).run(fmax=1e-3)
    cluster.set_momenta(np.random.default_rng(0).normal(size=(4, 3)))
    start = cluster.get_total_energy()
    kinetic = cluster.get_kinetic_energy()
    VelocityVerlet(cluster, 0.5 * units.fs).run(200)
    assert abs(cluster.get_total_energy() - start) < 1e-3 * kinetic


def test_neb_finds_the_barrier_of_an_atom_passing_between_two():
    def image(x):
        return Atoms("Ar3", [[0, 2.3, 0], [0, -2.3, 0], [x, 0, 0]])

    images = [image(x) for x in np.linspace(-1.2, 1.2, 5)]
    calculator = SkatomCalculator(binding_pair_potential())
    for atoms in images:
        atoms.calc = calculator
    for end in (images[0], images[-1]):
        BFGS(end, logfile=None).run(fmax=0.01)
    neb = NEB(images, allow_shared_calculator=True, method="improvedtangent")
    BFGS(neb, logfile=None).run(fmax=0.02, steps=100)
    energies = [atoms.get_potential_energy() for atoms in images]
    assert energies[2] == max(energies) > energies[0]
    assert energies == pytest.approx(energies[::-1], abs=1e-3)


def test_vibrations_of_a_dimer(tmp_path):
    model = binding_pair_potential()
    dimer = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.8]], calculator=SkatomCalculator(model))
    BFGS(dimer, logfile=None).run(fmax=1e-5)
    r, h = dimer.get_distance(0, 1), 1e-4
    bonds = [Atoms("Ar2", [[0, 0, 0], [0, 0, r + d]]) for d in (-h, 0, h)]
    below, middle, above = model.predict(bonds)
    curvature = (below - 2 * middle + above) / h**2
    expected = units._hbar * np.sqrt(2 * curvature / dimer.get_masses()[0] * units._e / units._amu)
    vibrations = Vibrations(dimer, name=str(tmp_path / "vib"))
    vibrations.run()
    energy = vibrations.get_energies().real.max()
    assert energy == pytest.approx(expected * 1e10 / units._e, rel=1e-3)


def test_phonons_have_three_acoustic_modes_at_the_centre(tmp_path):
    primitive = bulk("Ar", a=2.5)
    calculator = SkatomCalculator(binding_pair_potential())
    phonons = Phonons(primitive, calculator, supercell=(3, 3, 3), name=str(tmp_path / "phonon"))
    phonons.run()
    phonons.read(acoustic=True)
    at_centre, at_border = phonons.band_structure([[0, 0, 0], [0.5, 0.5, 0]], verbose=False)
    assert abs(at_centre).max() < 1e-4 < 1e-3 < at_border.min()


class TestCaching:
    @pytest.fixture
    def calls(self, monkeypatch):
        calls = []
        predict = PairPotential.predict

        def counted(self, *args, **kwargs):
            calls.append(1)
            return predict(self, *args, **kwargs)

        monkeypatch.setattr(PairPotential, "predict", counted)
        # the signature that tells what the model predicts
        counted.__wrapped__ = predict
        return calls

    def test_one_prediction_serves_all_properties(self, crystal, calls):
        crystal.get_potential_energy()
        crystal.get_forces()
        crystal.get_stress()
        assert len(calls) == 1

    def test_moved_atoms_are_predicted_anew(self, crystal, calls):
        before = crystal.get_potential_energy()
        crystal.positions[0, 0] += 0.1
        assert crystal.get_potential_energy() != before
        assert len(calls) == 2

    def test_results_given_out_are_copies(self, crystal):
        crystal.get_forces()[:] = 0.0
        assert abs(crystal.get_forces()).max() > 0.0


class TestProperties:
    def test_are_those_that_the_model_predicts(self):
        class Forces(PairPotential):
            def predict(self, X, return_forces=False):
                return super().predict(X, return_forces)

        class Energies(PairPotential):
            def predict(self, X):
                return super().predict(X)

        expected = {Energies: {"energy"}, Forces: {"energy", "forces"}}
        for make, properties in expected.items():
            model = make()
            model.coef_ = np.ones(3)
            calculator = SkatomCalculator(model)
            assert set(calculator.implemented_properties) == {"free_energy", *properties}
            atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 2]], calculator=calculator)
            assert atoms.get_potential_energy() > 0.0
            with pytest.raises(PropertyNotImplementedError):
                atoms.get_stress()

    def test_no_stress_without_periodicity(self, cluster):
        with pytest.raises(PropertyNotImplementedError, match="periodic in all three directions"):
            cluster.get_stress()
        assert cluster.get_forces().shape == (4, 3)

    def test_pipelines_have_those_of_their_last_step(self, crystal):
        pipeline = make_pipeline(FunctionTransformer(), binding_pair_potential())
        expected = crystal.get_stress()
        crystal.calc = SkatomCalculator(pipeline)
        assert crystal.get_stress() == pytest.approx(expected, abs=1e-14)


@pytest.fixture(scope="module")
def models(water):
    structures, targets = water
    charges = np.where(structures.numbers == 8, -0.8, 0.4)[:, None]
    dipoles = np.add.reduceat(charges * structures.positions, structures.offsets[:-1])
    soap = LambdaSOAP(cutoff=3.0, n_max=3, l_max=2)
    tensors = np.einsum("nx,ny->nxy", dipoles, dipoles)
    return (
        SGDML(random_state=0).fit(structures[:20], targets[:20]),
        make_pipeline(soap, TensorKernelRidge("dipole", keep_factor=True)).fit(
            structures[:20], dipoles[:20]
        ),
        make_pipeline(soap, TensorKernelRidge("polarizability")).fit(structures[:20], tensors[:20]),
    )


class TestSeveralModels:
    def test_give_what_those_before_do_not_give(self, models, water):
        structures = water[0]
        atoms = structures[30].to_ase()[0]
        atoms.calc = SkatomCalculator(*models)
        energy, forces = models[0].predict(structures[30], return_forces=True)
        assert atoms.get_potential_energy() == pytest.approx(energy[0])
        assert atoms.get_forces() == pytest.approx(forces)
        assert atoms.get_dipole_moment() == pytest.approx(models[1].predict(structures[30])[0])
        found = atoms.calc.get_property("polarizability", atoms)
        assert found == pytest.approx(models[2].predict(structures[30])[0])
        assert set(atoms.calc.export_properties()) >= {"energy", "free_energy", "forces", "dipole"}
        assert "polarizability" not in atoms.calc.export_properties()

    def test_give_deviations_that_are_requested_by_name(self, models, water):
        structures = water[0]
        atoms = structures[30].to_ase()[0]
        atoms.calc = SkatomCalculator(*models)
        forces = atoms.get_forces()
        assert "dipole_std" not in atoms.calc.results
        _, expected = models[1].predict(structures[30], return_dipole_std=True)
        assert atoms.calc.get_property("dipole_std", atoms) == pytest.approx(expected[0])
        assert atoms.calc.results["forces"] == pytest.approx(forces)
        atoms.positions[0, 0] += 0.1
        moved = atoms.calc.get_property("dipole_std", atoms)
        assert not np.allclose(moved, expected[0])
        assert not np.allclose(atoms.get_forces(), forces)
        with pytest.raises(PropertyNotImplementedError, match="forces_std"):
            atoms.calc.get_property("forces_std", atoms)

    def test_results_of_a_step_are_predicted_once(self, models, water, monkeypatch):
        calls = []
        evaluate = TensorKernelRidge._evaluate

        def counted(self, X, names):
            calls.append(names)
            return evaluate(self, X, names)

        monkeypatch.setattr(TensorKernelRidge, "_evaluate", counted)
        atoms = water[0][30].to_ase()[0]
        atoms.calc = SkatomCalculator(*models[:2])
        atoms.get_forces(), atoms.get_dipole_moment(), atoms.get_potential_energy()
        assert calls == [("dipole",)]

    def test_one_that_adds_nothing_is_an_error(self, models):
        with pytest.raises(ValueError, match=r"model 1 \(SGDML\) gives nothing that the models"):
            SkatomCalculator(models[0], models[0])

    def test_one_that_is_not_fitted_is_an_error(self, models):
        with pytest.raises(NotFittedError, match="SGDML"):
            SkatomCalculator(models[1], SGDML())

    def test_of_a_model_that_is_fitted_again(self, models, water):
        structures, targets = water
        model = SGDML(random_state=0).fit(structures[:20], targets[:20])
        atoms = structures[30].to_ase()[0]
        atoms.calc = SkatomCalculator(model)
        before = atoms.get_potential_energy()
        model.fit(structures[20:30], targets[20:30])
        assert atoms.get_potential_energy() == pytest.approx(model.predict([atoms])[0], abs=1e-12)
        assert atoms.get_potential_energy() != before
        with pytest.raises(PropertyNotImplementedError, match="but no energy_std"):
            atoms.calc.get_property("energy_std", atoms)
        model.set_params(keep_factor=True, alpha=1e-8).fit(structures[:20], targets[:20])
        expected = model.predict([atoms], return_std=True)
        found = [atoms.calc.get_property(name, atoms) for name in ("energy", "energy_std")]
        assert found == pytest.approx([x[0] for x in expected], abs=1e-12)
        assert atoms.calc.get_property("free_energy", atoms) == found[0]

    def test_copies_are_whole(self, models, water):
        atoms = water[0][30].to_ase()[0]
        atoms.calc = SkatomCalculator(*models)
        forces, dipole = atoms.get_forces(), atoms.get_dipole_moment()
        for again in (copy.deepcopy(atoms), pickle.loads(pickle.dumps(atoms))):
            assert again.calc is not atoms.calc
            assert np.array_equal(again.get_forces(), forces)
            assert np.array_equal(again.get_dipole_moment(), dipole)
            again.positions[0, 0] += 0.1
            assert not np.allclose(again.get_forces(), forces)
            assert np.array_equal(atoms.get_forces(), forces)

    def test_files_keep_what_ase_has_names_for(self, models, water, tmp_path):
        atoms = water[0][30].to_ase()[0]
        atoms.calc = SkatomCalculator(*models)
        atoms.calc.get_property("dipole_std", atoms)
        for name in ("all.xyz", "all.traj"):
            atoms.write(tmp_path / name)
            again = read(tmp_path / name)
            assert again.get_potential_energy() == pytest.approx(atoms.get_potential_energy())
            assert again.get_dipole_moment() == pytest.approx(atoms.get_dipole_moment(), abs=1e-7)

    def test_trajectories_keep_dipoles(self, models, water, tmp_path):
        atoms = water[0][30].to_ase()[0]
        atoms.calc = SkatomCalculator(*models[:2])
        with Trajectory(tmp_path / "md.traj", "w", atoms) as trajectory:
            dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
            dynamics.attach(trajectory.write)
            dynamics.run(2)
        images = read(tmp_path / "md.traj", ":")
        assert len(images) == 3
        assert images[-1].get_dipole_moment() == pytest.approx(atoms.get_dipole_moment())


def test_energies_of_atoms_and_deviations_of_a_model_that_has_them(crystal):
    soap = SOAP(cutoff=3.0, n_max=3, l_max=2)
    structures = []
    for seed in range(4):
        atoms = crystal.copy()
        atoms.rattle(0.05, seed=seed)
        structures.append(atoms)
    energies = binding_pair_potential().predict(structures)
    model = make_pipeline(soap, SparseGaussianProcess(n_sparse=8, random_state=0))
    model.fit(structures, energies)
    atoms = structures[0]
    atoms.calc = SkatomCalculator(model)
    assert atoms.get_potential_energies().shape == (4,)
    assert atoms.get_potential_energies().sum() == pytest.approx(atoms.get_potential_energy())
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    assert not any(name.endswith("_std") for name in atoms.calc.results)
    shapes = {"energy_std": (), "forces_std": (4, 3), "stress_std": (6,)}
    for name, shape in shapes.items():
        expected = predict(model, [atoms], [name])[name]
        found = atoms.calc.get_property(name, atoms)
        assert np.shape(found) == shape
        if name == "stress_std":
            expected = full_3x3_to_voigt_6_stress(expected[0])
        assert np.ravel(found) == pytest.approx(np.ravel(expected), rel=1e-9)
    assert shapes.keys() <= atoms.calc.results.keys()


def test_an_element_that_was_not_in_the_fit_is_named(crystal):
    model = make_pipeline(SOAP(cutoff=3.0, n_max=2, l_max=2), SparseGaussianProcess(n_sparse=3))
    atoms = crystal.copy()
    model.fit([atoms], [1.0])
    atoms.numbers[1] = 10
    atoms.calc = SkatomCalculator(model)
    with pytest.raises(ValueError, match="contains Ne, which was not in the structures given to"):
        atoms.get_forces()


def test_a_model_that_is_not_fitted_is_an_error():
    with pytest.raises(NotFittedError, match="PairPotential"):
        SkatomCalculator(PairPotential())


@pytest.fixture(scope="module")
def sgdml():
    ethanol = load_ethanol()
    return SGDML(random_state=0).fit(ethanol.structures[::20], ethanol.targets[::20])


class TestWithSGDML:
    @pytest.fixture
    def molecule(self, sgdml):
        atoms = load_ethanol().structures[:1].to_ase()[0]
        atoms.calc = SkatomCalculator(sgdml)
        BFGS(atoms, logfile=None).run(fmax=1e-3, steps=200)
        return atoms

    def test_dynamics_conserve_the_energy(self, molecule):
        momenta = np.random.default_rng(0).normal(size=(9, 3))
        molecule.set_momenta(momenta * np.sqrt(molecule.get_masses() * 300 * units.kB)[:, None])
        totals, kinetic = [], []
        dynamics = VelocityVerlet(molecule, 0.2 * units.fs)
        for _ in range(20):
            dynamics.run(10)
            totals.append(molecule.get_total_energy())
            kinetic.append(molecule.get_kinetic_energy())
        assert np.ptp(totals) < 0.01 * np.ptp(kinetic)

    def test_finite_differences_give_its_hessian(self, molecule, sgdml, tmp_path):
        vibrations = Vibrations(molecule, name=str(tmp_path / "vib"), delta=1e-3)
        vibrations.run()
        numerical = vibrations.get_vibrations().get_hessian_2d()
        hessian = sgdml.hessian([molecule])[0]
        assert numerical == pytest.approx(hessian, abs=1e-4 * abs(hessian).max())


class TestUncertainty:
    @pytest.fixture
    def measure(self, crystal):
        soap = SOAP(cutoff=3.0, n_max=3, l_max=2)
        frames = []
        for seed in range(5):
            frames.append(crystal.copy())
            frames[-1].rattle(0.1, seed=seed)
        return MaxVol(soap, rows="atom").fit(frames)

    def test_results_say_how_new_the_structure_and_its_atoms_are(self, crystal, measure):
        crystal.calc = SkatomCalculator(binding_pair_potential(), uncertainty=measure)
        crystal.get_forces()
        scores = measure.score([crystal], by_atom=True)
        np.testing.assert_allclose(crystal.calc.results["uncertainties"], scores)
        assert crystal.calc.get_property("uncertainty", crystal) == pytest.approx(scores.max())

    def test_a_limit_warns_once(self, crystal, measure):
        calculator = SkatomCalculator(binding_pair_potential(), uncertainty=measure, warn_above=2.0)
        crystal.calc = calculator
        crystal.positions[0] += 0.7
        with pytest.warns(
            UserWarning, match=r"4 atoms has the score .* of MaxVol, above warn_above=2"
        ):
            crystal.get_forces()
        crystal.positions[0] += 0.1
        crystal.get_forces()  # no second warning: those are errors here
        assert crystal.calc.results["uncertainty"] > 2

    def test_dynamics_stop_before_the_forces_of_an_unknown_structure(self, crystal, measure):
        crystal.calc = SkatomCalculator(
            binding_pair_potential(), uncertainty=measure, stop_above=3.0
        )
        dynamics = VelocityVerlet(crystal, 2 * units.fs)
        crystal.set_velocities(np.random.default_rng(0).normal(0, 0.1, (4, 3)))
        with pytest.raises(ExtrapolationError, match="stop_above=3: label structures") as error:
            dynamics.run(500)
        assert dynamics.nsteps < 500
        again = pickle.loads(pickle.dumps(error.value))
        assert measure.score([again.atoms])[0] == pytest.approx(again.score)
        assert again.score > 3

    def test_a_species_that_is_not_known_stops(self, crystal, measure):
        crystal.symbols[0] = "Kr"
        crystal.calc = SkatomCalculator(
            binding_pair_potential(), uncertainty=measure, stop_above=3.0
        )
        with pytest.raises(ExtrapolationError, match="score inf"):
            crystal.get_forces()

    def test_what_the_measure_learns_is_known_at_once(self, crystal, measure):
        crystal.calc = SkatomCalculator(binding_pair_potential(), uncertainty=measure)
        crystal.positions[0] += 0.7
        before = crystal.calc.get_property("uncertainty", crystal)
        measure.partial_fit([crystal])
        assert crystal.calc.get_property("uncertainty", crystal) < before

    def test_limits_without_a_measure_are_an_error(self):
        with pytest.raises(ValueError, match="give uncertainty"):
            SkatomCalculator(binding_pair_potential(), stop_above=3.0)

    def test_a_measure_that_is_not_fitted_is_an_error(self):
        with pytest.raises(NotFittedError):
            SkatomCalculator(binding_pair_potential(), uncertainty=NearestDistance(SOAP()))
