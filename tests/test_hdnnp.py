"""Networks of elements on features of atoms: known numbers, charges, what is refused."""

from itertools import count

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from models_under_contract import OF_THE_ENERGY, SMALL_ACSF, SMALL_SOAP, crystals, labels_of, waters
from sklearn.pipeline import make_pipeline
from test_structured_mlp import network, slope_of

from skatom import Structures, Targets
from skatom.attribution import relevance
from skatom.descriptors import ACSF, SOAP, EwaldMatrix, FeatureScaler
from skatom.models import HDNNP, StructuredMLPRegressor
from skatom.models._labels import Labels
from skatom.models.neural import training_checkpoint
from skatom.models.neural.charge_interactions import ChargeInteractions
from skatom.models.neural.charged_networks import ChargedNetworks
from skatom.models.neural.charged_objective import ElectrostaticErrors
from skatom.models.neural.descent import Progress
from skatom.models.neural.electrostatics import (
    COULOMB,
    ChargePairs,
    electrostatic_sums,
    with_total,
)
from skatom.models.neural.labelled_rows import LabelledRows
from skatom.models.neural.objective import SummedNetworks
from skatom.models.neural.perceptron import Perceptron

QUICK = {"hidden_layer_sizes": (6,), "max_iter": 4, "batch_size": 4, "random_state": 0}


def ions(n=6, *, molecules=False, seed=0):
    """Small skewed cells, or molecules, of lithium fluoride."""
    structures = crystals(n).to_ase()
    if molecules:
        for atoms in structures:
            atoms.pbc, atoms.cell = False, None
    return Structures.from_ase(structures)


def labels_by_charges(structures, charge=0.5, width=1.0):
    """Energies and derivatives of charges of one size, positive for lithium."""
    charges = np.where(structures.numbers == 3, charge, -charge)
    potentials, gradient, virial = electrostatic_sums(structures, charges, width, True)
    energies = np.add.reduceat(0.5 * charges * potentials, structures.offsets[:-1])
    stress = None
    if structures.pbc.all():
        stress = virial / structures.volumes()[:, None, None]
    return Targets(energies, -gradient, stress, offsets=structures.offsets)


def dimers(n, seed):
    """Two springs apart, with charges 0.4 e + 0.5 e/Å times their stretch at both ends."""
    rng, atoms, energies, forces = np.random.default_rng(seed), [], [], []
    for _ in range(n):
        arms = rng.normal(size=(2, 3))
        arms *= rng.normal(1.0, 0.1, (2, 1)) / np.linalg.norm(arms, axis=1, keepdims=True)
        apart = rng.normal(size=3)
        start = np.array([np.zeros(3), rng.uniform(4.5, 6.5) * apart / np.linalg.norm(apart)])
        positions = np.stack([start, start + arms], axis=1).reshape(-1, 3)
        atoms.append(Atoms("LiFLiF", positions))
        lengths = np.linalg.norm(arms, axis=1)
        q = np.repeat(0.4 + 0.5 * (lengths - 1), 2) * [1, -1, 1, -1]
        pairs = ChargePairs(Structures.from_ase(atoms[-1:]), 1.0)
        potentials, gradient, _ = (COULOMB * found for found in pairs.sums(q, True))
        energies.append(0.5 * q @ potentials + np.sum((lengths - 1) ** 2))
        pulls = 2 * (lengths - 1) + 0.5 * (potentials[::2] - potentials[1::2])
        along = pulls[:, None] * arms / lengths[:, None]
        forces.append(-gradient - np.stack([-along, along], axis=1).reshape(-1, 3))
    return Structures.from_ase(atoms), Targets(energies, np.array(forces))


class TestGoldenNumbers:
    """Three atoms, 2-2-1 networks of logistic functions (worked example of the literature)."""

    def fitted(self):
        positions = [(0, 0, 0), (2.5, 0.3, 0), (0.9, 0.6, 0.3)]
        structures = Structures.from_ase([Atoms("OOH", positions)])
        model = HDNNP(
            ACSF(6.0, g2=[(0.5, 0.0)], g4=()), hidden_layer_sizes=(2,), activation="logistic",
            max_iter=1, random_state=0,
        ).fit(structures, Targets([0.0]))  # fmt: skip
        model.scale_, model.intercept_ = 1.0, np.zeros(2)
        model.scaler_.shift_, model.scaler_.scale_ = np.zeros((2, 2)), np.ones((2, 2))
        model.networks_ = [
            Perceptron(
                [np.array(first), np.array(last)[:, None]],
                [np.array(b), np.array([c])], "logistic", 1.0,
            )
            for first, last, b, c in (
                ([[0.2, 0.1], [-0.3, 0.5]], [0.4, 0.3], [0.0, 0.1], -0.2),
                ([[0.1, -0.2], [0.3, 0.4]], [0.7, -0.6], [0.05, -0.05], 0.1),
            )
        ]  # fmt: skip
        return model, structures

    def test_energy_and_forces(self):
        model, structures = self.fitted()
        energy, forces = model.predict(structures, return_forces=True)
        assert energy[0] == pytest.approx(0.5274117861, abs=1e-10)
        expected = [
            (-0.02558262, -0.01767359, -0.00890468),
            (0.01937755, -0.00398120, -0.00384543),
            (0.00620507, 0.02165480, 0.01275011),
        ]
        np.testing.assert_allclose(forces, expected, atol=1e-8)

    def test_features(self):
        model, structures = self.fitted()
        expected = [(0.48790654, 0.02624672), (0.20929997, 0.02624672), (0, 0.6972065)]
        np.testing.assert_allclose(model.transform(structures).values, expected, atol=1e-8)

    @pytest.mark.parametrize(
        "n_features, hidden, n_weights",
        [(30, (25, 25), 1451), (27, (25, 25), 1376), (36, (35, 35), 2591), (50, (20, 20), 1461)],
    )
    def test_number_of_weights(self, n_features, hidden, n_weights):
        structures = ions(1)
        acsf = ACSF(3.5, g2=[(0.1 * k, 0.0) for k in range(n_features // 2)], g4=())
        if n_features % 2:
            acsf = ACSF(3.5, g2=[(0.1 * k, 0.0) for k in range(n_features)], g4=(), weighting="Z")
        model = HDNNP(acsf, hidden_layer_sizes=hidden, max_iter=1, random_state=0)
        model.fit(structures, labels_of(structures, OF_THE_ENERGY))
        assert model.n_weights_ == 2 * n_weights
        model.set_params(electrostatics=True).fit(structures, labels_of(structures, OF_THE_ENERGY))
        assert model.n_weights_ == 4 * n_weights


class TestCharges:
    """Sums over charges: constants of lattices, derivatives, charges of a total."""

    @pytest.mark.parametrize(
        "name, cell, madelung, distance",
        [("NaCl", bulk("NaCl", "rocksalt", a=5.64), 1.7475645946, 2.82),
         ("CsCl", bulk("CsCl", "cesiumchloride", a=4.123), 1.7626747731, 4.123 * 0.75**0.5),
         ("ZnS", bulk("ZnS", "zincblende", a=5.41), 1.6380550533, 5.41 * 3**0.5 / 4)],
    )  # fmt: skip
    def test_madelung_constants(self, name, cell, madelung, distance):
        for cells in (cell, cell.repeat((2, 1, 3))):
            structures = Structures.from_ase([cells])
            charges = np.where(structures.numbers == structures.numbers[0], 1.0, -1.0)
            potentials, *_ = electrostatic_sums(structures, charges, 0.0, False)
            np.testing.assert_allclose(
                potentials * charges, -COULOMB * madelung / distance, rtol=1e-9
            )

    def test_a_charge_in_a_background(self):
        structures = Structures.from_ase([bulk("Po", "sc", a=1.0)])
        potentials, *_ = electrostatic_sums(structures, np.ones(1), 0.0, False)
        assert 0.5 * potentials[0] / COULOMB == pytest.approx(-1.4186487397, rel=1e-9)

    def test_a_charge_within_itself(self):
        """½ q² k / (σ √π) of a Gaussian, alone or far from its images with their background."""
        atoms = Atoms("Na")
        for cell in (None, 200 * np.eye(3)):
            atoms.pbc = cell is not None
            atoms.set_cell(cell)
            pairs = ChargePairs(Structures.from_ase([atoms]), 0.8)
            potentials, *_ = pairs.sums(np.ones(1), False)
            expected = 1 / (0.8 * np.sqrt(np.pi)) - (2.837297 / 200 if atoms.pbc.any() else 0)
            assert potentials[0] == pytest.approx(expected, abs=2e-6)

    def test_matrix_is_that_of_ewald(self):
        structures = ions(1)
        matrix = ChargePairs(structures[0], 0.0).matrix()
        matrix *= np.multiply.outer(structures.numbers, structures.numbers)
        matrix[np.diag_indices(4)] *= 0.5
        expected = EwaldMatrix("none").fit_transform(structures).values[0]
        np.testing.assert_allclose(matrix[np.triu_indices(4)], expected, rtol=1e-7)

    @pytest.mark.parametrize("width", [0.0, 0.4, 1.5])
    @pytest.mark.parametrize("molecules", [False, True])
    def test_sums_are_those_of_matrices(self, width, molecules):
        structures = ions(1, molecules=molecules)
        pairs, q = ChargePairs(structures, width), np.array([0.7, -0.3, 0.2, -0.5])
        potentials, gradient, virial = pairs.sums(q, True)
        np.testing.assert_allclose(pairs.matrix() @ q, potentials, atol=1e-9)
        along = -q * (pairs.slopes_by_vectors() @ q)
        np.testing.assert_allclose(along.T, gradient, atol=1e-9)
        strains = 0.5 * (pairs.slopes_by_strain() @ q) @ q
        np.testing.assert_allclose(
            strains, virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], atol=1e-9
        )

    @pytest.mark.parametrize("width", [0.0, 0.4, 1.5])
    @pytest.mark.parametrize("molecules", [False, True])
    def test_derivatives_of_charges_with_a_background(self, width, molecules):
        atoms = ions(1, molecules=molecules).to_ase()[0]
        q, rng = np.array([0.7, -0.3, 0.2, -0.5]), np.random.default_rng(0)
        direction, strain = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
        strain = strain + strain.T

        def energy(t, along_strain):
            moved = atoms.copy()
            if along_strain:
                turn = np.eye(3) + t * strain
                moved.set_cell(moved.cell @ turn, scale_atoms=False)
                moved.positions = moved.positions @ turn
            else:
                moved.positions += t * direction
            return 0.5 * q @ ChargePairs(Structures.from_ase([moved]), width).sums(q, False)[0]

        _, gradient, virial = ChargePairs(Structures.from_ase([atoms]), width).sums(q, True)
        assert np.sum(gradient * direction) == pytest.approx(
            slope_of(lambda t: energy(t, False)), abs=1e-7
        )
        assert np.sum(virial * strain) == pytest.approx(
            slope_of(lambda t: energy(t, True)), abs=1e-7
        )

    def test_wide_charges_in_a_large_cell_are_those_of_a_molecule(self):
        atoms = Atoms("NaCl", [(0, 0, 0), (0, 0, 3.0)])
        q = np.array([1.0, -1.0])
        alone = ChargePairs(Structures.from_ase([atoms]), 0.8).sums(q, False)[0]
        atoms.set_cell(60 * np.eye(3))
        atoms.pbc = True
        periodic = ChargePairs(Structures.from_ase([atoms]), 0.8).sums(q, False)[0]
        np.testing.assert_allclose(periodic, alone, atol=2e-4)

    def test_total_is_kept(self):
        offsets = np.array([0, 3, 5])
        charges = with_total(np.arange(5.0), offsets, -1.0)
        np.testing.assert_allclose(np.add.reduceat(charges, offsets[:-1]), -1.0, rtol=1e-14)


@pytest.mark.parametrize("molecules", [False, True])
class TestLoss:
    def made(self, molecules):
        structures = ions(3, molecules=molecules)
        names = ("energy", "forces") if molecules else OF_THE_ENERGY
        targets = labels_of(structures, names)
        X = SMALL_ACSF.fit_transform(structures)
        X = FeatureScaler("standard", out_of_range="ignore").fit_transform(X)
        noises = {"noise_energy": 0.01, "noise_forces": 0.05, "noise_virial": 0.05}
        labels = Labels.of(structures, targets, None, noises)
        kinds = np.searchsorted(structures.species, structures.numbers)
        data = LabelledRows.of_structures(
            X, (X.values, kinds, X.offsets), labels, labels.energy, 1, np.ones(3)
        )
        sizes = (X.n_features, 5, 3, 1)
        networks = ChargedNetworks(
            SummedNetworks([network(sizes, "tanh", seed=k) for k in (0, 1)], 0.3),
            SummedNetworks([network(sizes, "tanh", seed=k) for k in (2, 3)], 0.4),
        )
        interactions = ChargeInteractions.of(structures, data.coordinates, 0.7)
        loss = ElectrostaticErrors(
            data, networks, 1e-3, np.arange(3), interactions=interactions, total=0.3
        )
        return loss, X, targets

    def test_slope(self, molecules):
        loss, *_ = self.made(molecules)
        theta = loss.summed.vector()
        for seed in (0, 1):
            direction = np.random.default_rng(seed).normal(size=theta.shape)
            for some in (slice(None), np.array([0, 2])):
                value = slope_of(lambda t, s=some, d=direction: loss(theta + t * d, s)[0])
                assert loss(theta, some)[1] @ direction == pytest.approx(value, rel=1e-7)


class TestDerivatives:
    @pytest.mark.parametrize("molecules", [False, True])
    def test_forces_and_stress_of_charges_that_depend_on_the_surroundings(self, molecules):
        structures = ions(4, molecules=molecules)
        names = ("energy", "forces") if molecules else OF_THE_ENERGY
        model = HDNNP(SMALL_ACSF, electrostatics=True, total_charge=0.5, **QUICK)
        model.fit(structures, labels_of(structures, names))
        atoms, rng = structures[0].to_ase()[0], np.random.default_rng(1)
        direction, strain = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
        strain = strain + strain.T

        def energy(t, along_strain):
            moved = atoms.copy()
            if along_strain:
                turn = np.eye(3) + t * strain
                moved.set_cell(moved.cell @ turn, scale_atoms=False)
                moved.positions = moved.positions @ turn
            else:
                moved.positions += t * direction
            return model.predict([moved])[0]

        forces = model.predict([atoms], return_forces=True)[1]
        slope = slope_of(lambda t: energy(t, False))
        assert -np.sum(forces * direction) == pytest.approx(slope, abs=1e-6)
        if not molecules:
            stress = model.predict([atoms], return_stress=True)[1][0]
            slope = slope_of(lambda t: energy(t, True)) / atoms.get_volume()
            assert np.sum(stress * strain) == pytest.approx(slope, abs=1e-6)
        charges = model.predict([atoms], return_charges=True)[1]
        assert charges.sum() == pytest.approx(0.5, abs=1e-12)
        assert np.ptp(charges) > 1e-3


class TestFit:
    def test_after_a_descriptor_it_is_the_same(self):
        structures = crystals(5)
        y = labels_of(structures, OF_THE_ENERGY)
        alone = HDNNP(SMALL_SOAP, **QUICK).fit(structures, y)
        piped = make_pipeline(SMALL_SOAP, HDNNP(**QUICK)).fit(structures, y)
        for one, other in zip(
            alone.predict(structures, return_forces=True, return_stress=True),
            piped.predict(structures, return_forces=True, return_stress=True), strict=True,
        ):  # fmt: skip
            np.testing.assert_array_equal(one, other)

    def test_is_the_network_of_standardised_features(self):
        structures = crystals(5)
        y = labels_of(structures, OF_THE_ENERGY)
        own = HDNNP(SMALL_SOAP, **QUICK).fit(structures, y)
        other = make_pipeline(
            SMALL_SOAP, FeatureScaler("standard", out_of_range="ignore"),
            StructuredMLPRegressor((6,), "tanh", solver="lbfgs", max_iter=1, random_state=0),
        ).fit(structures, y)  # fmt: skip
        for name in ("networks_", "scale_", "intercept_"):
            setattr(other[-1], name, getattr(own, name))
        for found, expected in zip(
            own.predict(structures, return_forces=True, return_local_energies=True),
            other.predict(structures, return_forces=True, return_local_energies=True), strict=True,
        ):  # fmt: skip
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)

    def test_single_precision_of_derivatives_is_enough(self):
        structures = crystals(5)
        y = labels_of(structures, OF_THE_ENERGY)
        found = [
            HDNNP(SMALL_ACSF, dtype=dtype, **QUICK).fit(structures, y).predict(structures)
            for dtype in ("float32", "float64")
        ]
        np.testing.assert_allclose(found[0], found[1], rtol=1e-5)

    def test_learns_charges_of_a_known_energy(self):
        """Features without neighbours know nothing, and constant charges are enough."""
        structures = ions(10)
        y = labels_by_charges(structures)
        errors = {}
        for electrostatics in (False, True):
            model = HDNNP(
                ACSF(1.0, g2=[(1.0, 0.0)], g4=()), hidden_layer_sizes=(), solver="lbfgs",
                electrostatics=electrostatics, max_iter=200, tol=1e-6, alpha=0.0, random_state=0,
            ).fit(structures, y)  # fmt: skip
            found = model.predict(structures, return_forces=True)[1]
            errors[electrostatics] = np.abs(found - y.forces).max()
        assert errors[False] > 0.05 > 500 * errors[True]
        charges = model.predict(structures, return_charges=True)[1]
        np.testing.assert_allclose(np.abs(charges), 0.5, rtol=1e-4)

    def test_learns_charges_that_depend_on_bonds_beyond_the_cutoff(self):
        """Two dimers beyond the cutoff of the features feel charges that their bonds change."""
        (train, y), (test, expected) = dimers(30, seed=0), dimers(20, seed=1)
        errors = {}
        for electrostatics in (False, True):
            model = HDNNP(
                ACSF(3.0, g2=[(1.0, 1.0), (1.0, 2.0)], g4=()), hidden_layer_sizes=(5,),
                electrostatics=electrostatics, solver="lbfgs", max_iter=200, tol=1e-3,
                noise_energy=1e-3, noise_forces=1e-2, random_state=0,
            ).fit(train, y)  # fmt: skip
            forces = model.predict(test, return_forces=True)[1]
            errors[electrostatics] = np.sqrt(np.mean((forces - expected.forces) ** 2))
        assert errors[True] < 0.2 * errors[False]

    def test_a_warm_start_goes_on(self):
        structures = crystals(6)
        y = labels_of(structures, OF_THE_ENERGY)
        for electrostatics in (False, True):
            model = HDNNP(
                SMALL_ACSF, electrostatics=electrostatics, solver="lbfgs", warm_start=True,
                hidden_layer_sizes=(4,), max_iter=20, tol=0.9, n_iter_no_change=20, random_state=0,
            )  # fmt: skip
            first = model.fit(structures, y).best_loss_
            assert model.fit(structures, y).loss_curve_[0] < 1.05 * first
            with pytest.raises(ValueError, match="warm_start=True goes on with"):
                model.set_params(hidden_layer_sizes=(5,)).fit(structures, y)

    def test_a_quasi_newton_method_goes_on_where_short_steps_end(self):
        structures = crystals(6)
        y = labels_of(structures, OF_THE_ENERGY)
        found = {
            solver: HDNNP(SMALL_ACSF, solver=solver, tol=1e-6, **QUICK | {"max_iter": n}).fit(
                structures, y
            )
            for solver, n in (("adam", 20), ("adam-lbfgs", 40))
        }
        first, both = found["adam"].loss_curve_, found["adam-lbfgs"].loss_curve_
        np.testing.assert_array_equal(both[:20], first)
        assert len(both) == 40
        assert both[-1] < 0.5 * first[-1]

    def test_steps_become_shorter_until_the_end(self):
        structures = crystals(6)
        y = labels_of(structures, OF_THE_ENERGY)
        model = HDNNP(SMALL_ACSF, solver="adam", **QUICK | {"max_iter": 60}).fit(structures, y)
        changes = np.abs(np.diff(model.loss_curve_))
        assert model.n_iter_ == 60
        assert changes[-5:].max() < 0.1 * changes[:5].max()
        assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]

    def test_a_batch_without_an_element(self):
        """Batches of one structure, of two elements in turn."""
        pure = [bulk("Cu", a=3.7), bulk("Al", a=4.1), bulk("Cu", a=3.5), bulk("Al", a=3.9)]
        structures = Structures.from_ase(pure)
        model = HDNNP(ACSF(4.0), **QUICK | {"batch_size": 1}).fit(structures, [0.1, 0.2, 0.3, 0.4])
        assert np.isfinite(model.predict(structures)).all()

    def test_predictions_in_parts(self, monkeypatch):
        structures = ions(6)
        model = HDNNP(SMALL_ACSF, electrostatics=True, **QUICK)
        model.fit(structures, labels_of(structures, OF_THE_ENERGY))
        whole = model.predict(structures, return_forces=True, return_local_energies=True)
        monkeypatch.setattr("skatom.models.neural.objective._TOGETHER", 7)
        parts = model.predict(structures, return_forces=True, return_local_energies=True)
        for found, expected in zip(parts, whole, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)

    def test_isolated_and_single_atoms(self):
        structures = [molecule("H2O"), Atoms("O"), Atoms("HH", [(0, 0, 0), (0, 0, 50.0)])]
        model = HDNNP(ACSF(4.0), electrostatics=True, **QUICK).fit(structures, [-14.0, 0.0, 0.1])
        forces = model.predict(structures, return_forces=True)[1]
        assert np.isfinite(forces).all()

    def test_threads_do_not_change_it(self):
        numba = pytest.importorskip("numba")
        structures, found, before = ions(6), [], numba.get_num_threads()
        y = labels_of(structures, OF_THE_ENERGY)
        for threads in (1, before):
            numba.set_num_threads(threads)
            model = HDNNP(SMALL_ACSF, electrostatics=True, **QUICK).fit(structures, y)
            found.append(model.predict(structures, return_forces=True)[1])
        numba.set_num_threads(before)
        np.testing.assert_array_equal(*found)


class TestLongTrainings:
    """Checkpoints and limits of time."""

    SETTINGS = QUICK | {"max_iter": 12, "early_stopping": True, "validation_fraction": 0.3}

    def data(self):
        structures = crystals(6)
        return structures, labels_of(structures, OF_THE_ENERGY)

    def killed(self, path, monkeypatch, iteration, **settings):
        """A model whose training was interrupted after so many iterations."""
        monkeypatch.setattr(training_checkpoint, "_SECONDS", 0.0)
        model = HDNNP(SMALL_ACSF, checkpoint=path, **self.SETTINGS | settings)
        add = Progress.add

        def interrupted(progress, theta, loss):
            if len(progress.losses) == iteration:
                raise KeyboardInterrupt
            return add(progress, theta, loss)

        with monkeypatch.context() as patch:
            patch.setattr(Progress, "add", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.fit(*self.data())
        assert path.exists()
        return model

    @pytest.mark.parametrize("electrostatics", [False, True])
    def test_adam_goes_on_as_if_it_were_not_interrupted(
        self, tmp_path, monkeypatch, electrostatics
    ):
        settings = {"electrostatics": electrostatics, "solver": "adam"}
        # the seed of the structures that are left out is in the file, too
        killed = self.killed(tmp_path / "file", monkeypatch, 7, **settings)
        resumed = killed.set_params(random_state=5).fit(*self.data())
        whole = HDNNP(SMALL_ACSF, **self.SETTINGS | settings).fit(*self.data())
        assert resumed.loss_curve_ == whole.loss_curve_
        assert resumed.validation_curve_ == whole.validation_curve_
        energies = [model.predict(self.data()[0]) for model in (resumed, whole)]
        np.testing.assert_array_equal(*energies)
        assert not killed.checkpoint.exists()

    @pytest.mark.parametrize("solver", ["lbfgs", "adam-lbfgs"])
    @pytest.mark.filterwarnings("ignore:HDNNP. the loss still falls")
    def test_a_quasi_newton_method_goes_on_from_the_last_weights(
        self, tmp_path, monkeypatch, solver
    ):
        resumed = self.killed(tmp_path / "file", monkeypatch, 9, solver=solver).fit(*self.data())
        whole = HDNNP(SMALL_ACSF, **self.SETTINGS | {"solver": solver}).fit(*self.data())
        assert len(resumed.loss_curve_) == 12
        assert resumed.loss_curve_[:9] == whole.loss_curve_[:9]
        assert min(resumed.loss_curve_[9:]) < resumed.loss_curve_[8]

    def test_checkpoints_of_others_are_refused(self, tmp_path, monkeypatch):
        killed = self.killed(tmp_path / "file", monkeypatch, 7)
        structures, y = self.data()
        with pytest.raises(ValueError, match="training with other structures or labels"):
            killed.fit(structures, labels_of(structures, ("energy",)))
        with pytest.raises(ValueError, match="a training with alpha=1e-06, not 0.1: set it as it"):
            killed.set_params(alpha=0.1).fit(structures, y)
        with pytest.raises(ValueError, match="a training with model='HDNNP', not 'SchNet'"):
            training_checkpoint.TrainingCheckpoint(
                tmp_path / "file", {"model": "SchNet"}, []
            ).load()

    @pytest.mark.parametrize("solver", ["adam", "lbfgs", "adam-lbfgs"])
    def test_a_limit_of_time_ends_it_with_short_steps(self, solver, monkeypatch):
        now = count()
        monkeypatch.setattr(Progress, "seconds", property(lambda progress: next(now)))
        settings = self.SETTINGS | {"solver": solver, "max_iter": 10**6, "max_time": 60.0}
        model = HDNNP(SMALL_ACSF, **settings).fit(*self.data())
        assert 5 < model.n_iter_ < 65
        changes = np.abs(np.diff(model.loss_curve_))
        assert solver == "lbfgs" or changes[-2:].max() < 0.5 * changes[:2].max()


class TestLayers:
    def test_relevances_add_up(self):
        structures = crystals(4)
        model = HDNNP(SMALL_ACSF, **QUICK).fit(structures, labels_of(structures, OF_THE_ENERGY))
        found = relevance(model, structures)
        total = found.by_structure().sum(axis=1) + np.add.reduceat(found.rest, found.offsets[:-1])
        np.testing.assert_allclose(total, model.predict(structures), rtol=1e-10)

    def test_charges_have_none(self):
        structures = ions(3)
        model = HDNNP(SMALL_ACSF, electrostatics=True, **QUICK)
        model.fit(structures, labels_of(structures, OF_THE_ENERGY))
        with pytest.raises(ValueError, match="the energy of charges is no sum over layers"):
            relevance(model, structures)


class TestBadInput:
    def test_transform_structures(self):
        X = SOAP(3.5, n_max=2, l_max=1, pool="sum").fit_transform(waters(3))
        with pytest.raises(ValueError, match="X are features of structures, and HDNNP learns"):
            HDNNP().fit(X, np.arange(3.0))

    def test_features_after_structures(self):
        structures = waters(4)
        model = HDNNP(SMALL_ACSF, **QUICK).fit(structures, np.arange(4.0))
        with pytest.raises(ValueError, match="HDNNP was fitted to structures"):
            model.predict(SMALL_ACSF.fit_transform(structures))

    def test_slabs_have_no_ewald_sum(self):
        slab = bulk("Cu", a=3.6)
        slab.pbc = (True, True, False)
        with pytest.raises(ValueError, match="structure 1 is periodic in 2 of three directions"):
            HDNNP(SMALL_ACSF, electrostatics=True).fit([bulk("Cu", a=3.6), slab], [0.0, 1.0])

    def test_a_species_that_was_not_seen(self):
        model = HDNNP(SMALL_ACSF, **QUICK).fit(waters(4), np.arange(4.0))
        with pytest.raises(
            ValueError, match="contains Li, which was not in the structures given to fit"
        ):
            model.predict(crystals(1))

    def test_a_loss_that_is_not_finite(self):
        structures = crystals(4)
        y = labels_of(structures, OF_THE_ENERGY)
        wild = QUICK | {
            "hidden_layer_sizes": (6, 6, 6), "activation": "softplus", "learning_rate_init": 1e45
        }  # fmt: skip
        with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite in the first"):
            HDNNP(SMALL_ACSF, **wild | {"batch_size": 1}).fit(structures, y)
        with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="in iteration 2: train"):
            model = HDNNP(SMALL_ACSF, **wild).fit(structures, y)
        assert np.isfinite(model.predict(structures)).all()
        assert model.n_iter_ == 1

    def test_two_charges_at_one_place(self):
        with pytest.raises(ValueError, match="atoms 0 and 1 of a structure are at the same place"):
            ChargePairs(Structures.from_ase([Atoms("HH", np.zeros((2, 3)))]), 1.0)

    def test_charges_that_do_not_fit_in_memory(self, monkeypatch):
        structures = Structures.from_ase(3 * [crystals(1).to_ase()[0].repeat((3, 3, 3))])
        monkeypatch.setattr("skatom.memory.available_memory", lambda: 2**20)
        with pytest.raises(MemoryError, match="interactions of the charges of 3 structures"):
            ChargeInteractions.of(structures, _all_of(structures), 1.0)


def _all_of(structures):
    from skatom.models.neural.derivative_blocks import Coordinates

    yes = np.ones(len(structures), bool)
    return Coordinates(yes, yes, structures.n_atoms)
