import copy
import tracemalloc
import warnings
from types import SimpleNamespace

import joblib
import numba
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sparse_systems import (
    ONE,
    PAIRS,
    SEVERAL,
    SMALL,
    dense_energy_kernel,
    distorted_molecules,
    labels,
    salt,
    slopes_of,
    with_isolated_atoms,
)

from skatom import Structures, Targets, _threads
from skatom._cpu.voigt import voigt
from skatom._prediction import predict
from skatom.baseline import less_baseline
from skatom.calculators import SkatomCalculator
from skatom.descriptors import ACSF, SOAP, FeatureScaler
from skatom.kernels import Cosine, Gaussian, Matern, Polynomial
from skatom.models import PairRepulsion, SparseGaussianProcess
from skatom.models.sparse import fitting
from skatom.models.sparse import rows as sparse_rows
from skatom.models.sparse.rows import derivative_rows, energy_rows
from skatom.selection import CUR, FarthestPointSampling
from skatom.solvers import StreamedQR


@pytest.fixture(scope="module")
def crystals():
    structures = salt(16)
    return structures, labels(structures)


@pytest.fixture(scope="module")
def model(crystals):
    return SparseGaussianProcess(terms=ONE, random_state=0).fit(*crystals)


@pytest.fixture(scope="module")
def rich_model(crystals):
    return SparseGaussianProcess(
        terms=SEVERAL, baseline=["elements", PairRepulsion(cutoff=2.2)], random_state=0
    ).fit(*crystals)


@pytest.fixture(scope="module")
def molecular_model():
    terms = [(SMALL, Cosine(zeta=2), 2), (ACSF(), 0.1 * Gaussian(sigma=2.0), 2)]
    structures = distorted_molecules()
    return SparseGaussianProcess(terms=terms, random_state=0).fit(structures, labels(structures))


class TestIdentities:
    def test_all_environments_representative_is_the_dense_process(self, crystals):
        structures, targets = crystals
        features = SMALL.fit_transform(structures)
        train, test = features[:9], features[9:]
        kernel = 0.5 * Cosine(zeta=2)
        model = SparseGaussianProcess(
            kernel, selection=np.arange(len(train.numbers)), baseline=None, noise_energy=0.05
        ).fit(train, targets.energy[:9])
        noise = np.diag(0.05**2 * train.n_atoms)
        covariance = dense_energy_kernel(train, train, kernel) + noise
        cross = dense_energy_kernel(test, train, kernel)
        mean = cross @ np.linalg.solve(covariance, targets.energy[:9])
        explained = np.einsum("ij,ji->i", cross, np.linalg.solve(covariance, cross.T))
        variance = dense_energy_kernel(test, test, kernel).diagonal() - explained
        energies, std = model.predict(test, return_std=True)
        np.testing.assert_allclose(energies, mean, rtol=1e-6)
        np.testing.assert_allclose(std**2, variance, atol=1e-6)

    def test_likelihood_is_that_of_the_normal_distribution(self, crystals):
        structures, targets = crystals
        model = SparseGaussianProcess(terms=ONE, baseline=None, random_state=0)
        few = Targets(targets.energy[:4], targets.forces[:16].reshape(4, 4, 3))
        with pytest.warns(UserWarning, match="only 8 environments"):
            model.fit(structures[:4], few)
        features = model.descriptors_[0].transform(structures[:4])
        rows = [energy_rows(model.blocks_, [features], len(model.coef_))]
        for s in range(4):
            forces = [derivative_rows(b, features, s)[0] for b in model.blocks_]
            rows.append(np.concatenate(forces, axis=2).reshape(12, -1))
        rows = np.concatenate(rows)
        covariance = np.diag(np.repeat([4 * 0.001**2, 0.1**2], [4, 48]))
        for block in model.blocks_:
            part = rows[:, block.columns]
            covariance += part @ np.linalg.solve(block.values(block.vectors), part.T)
        observed = np.concatenate([targets.energy[:4], targets.forces[:16].ravel()])
        expected = multivariate_normal(cov=covariance).logpdf(observed)
        assert model.log_marginal_likelihood_ == pytest.approx(expected, rel=1e-6)

    def test_rows_are_derivatives_of_energy_rows(self, rich_model, crystals):
        structures = crystals[0][:2]
        features = fitting.features_of(rich_model.descriptors_, structures, slice(None))
        n_columns = len(rich_model.coef_)
        for block in rich_model.blocks_:
            of_term = features[block.term]
            for column in range(0, len(block.vectors), 5):

                def local(moved, block=block, descriptor=of_term.descriptor, column=column):
                    x = descriptor.transform(moved)
                    values = block.values(x.values)[:, column] * (x.numbers == block.number)
                    return SimpleNamespace(values=values[:, None])

                slopes, strains = slopes_of(local, structures)
                for s in range(2):
                    forces, virial = derivative_rows(block, of_term, s)
                    atoms = slice(4 * s, 4 * s + 4)
                    np.testing.assert_allclose(forces[:, :, column], -slopes[atoms], atol=1e-8)
                    np.testing.assert_allclose(virial[:, column], voigt(strains)[s], atol=1e-8)
        assert n_columns == sum(len(block.vectors) for block in rich_model.blocks_)

    def test_forces_and_stress_are_derivatives_of_the_energy(self, rich_model, crystals):
        self.check_derivatives(rich_model, crystals[0][:3])

    def test_forces_of_molecules(self, molecular_model):
        self.check_derivatives(molecular_model, distorted_molecules())

    @staticmethod
    def check_derivatives(model, structures):
        def local(moved):
            values = model.predict(moved, return_local_energies=True)[1]
            return SimpleNamespace(values=values[:, None])

        slopes, strains = slopes_of(local, structures)
        forces = model.predict(structures, return_forces=True)[1]
        np.testing.assert_allclose(forces, -slopes, atol=1e-6 * np.abs(slopes).max())
        if structures.pbc.all():
            stress = model.predict(structures, return_stress=True)[1]
            virial = stress * np.linalg.det(structures.cells)[:, None, None]
            np.testing.assert_allclose(virial, strains, atol=1e-6 * np.abs(strains).max())

    def test_invariances(self, rich_model, crystals):
        structures = crystals[0][:2]
        rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        energies, forces, stress = rich_model.predict(
            structures, return_forces=True, return_stress=True
        )
        turned, doubled = [], []
        for atoms in structures.to_ase():
            order = [2, 1, 0, 3]
            copy = Atoms(
                atoms.numbers[order], atoms.positions[order] @ rotation.T + 0.3,
                cell=atoms.cell.array @ rotation.T, pbc=True,
            )  # fmt: skip
            copy.wrap()
            turned.append(copy)
            doubled.append(atoms * (1, 2, 1))
        e, f, s = rich_model.predict(turned, return_forces=True, return_stress=True)
        np.testing.assert_allclose(e, energies, rtol=1e-10)
        restored = f.reshape(2, 4, 3)[:, order] @ rotation
        np.testing.assert_allclose(restored, forces.reshape(2, 4, 3), atol=1e-8)
        np.testing.assert_allclose(s, rotation @ stress @ rotation.T, atol=1e-9)
        e, s = rich_model.predict(doubled, return_stress=True)
        np.testing.assert_allclose(e, 2 * energies, rtol=1e-10)
        np.testing.assert_allclose(s, stress, atol=1e-9)

    def test_local_energies_sum_up(self, rich_model, crystals):
        energies, local = rich_model.predict(crystals[0], return_local_energies=True)
        np.testing.assert_allclose(local.reshape(-1, 4).sum(axis=1), energies, rtol=1e-12)


class TestLearning:
    def test_a_pair_potential_is_learnt_from_all_labels(self, crystals):
        structures, targets = salt(60, seed=5), labels(salt(60, seed=5))
        pairs = SOAP(cutoff=3.5, n_max=10, sigma=0.3, nu=1, normalize=False)
        terms = [(pairs, 10.0 * Polynomial(zeta=1), 20), (SMALL, Cosine(zeta=2), 50)]
        model = SparseGaussianProcess(terms=terms, random_state=0).fit(structures, targets)
        energies, forces, stress = model.predict(
            crystals[0], return_forces=True, return_stress=True
        )
        expected = crystals[1]
        assert np.std(energies - expected.energy) < 0.05 * np.std(expected.energy)
        assert np.std(forces - expected.forces) < 0.2 * np.std(expected.forces)
        assert np.std(stress - expected.stress) < 0.1 * np.std(expected.stress)
        assert model.score(*crystals) > 0.99

    def test_structures_in_any_order_and_any_pieces(self, model, crystals):
        structures, targets = crystals
        pieces = clone(model).set_params(n_candidates=10**6)
        pieces.fit(structures, targets)
        again = clone(model)
        again.blocks_, again.descriptors_ = pieces.blocks_, pieces.descriptors_
        again.baseline_, again.absolute_energies_ = pieces.baseline_, True
        again.species_, again.outputs_ = pieces.species_, pieces.outputs_
        again.solver_, again.prior_factors_ = fitting.start_solver(pieces.blocks_)
        again.n_structures_seen_ = again._n_labels = again._log_noise = 0
        for part in (slice(9, 16), slice(3, 9), slice(0, 3)):
            again.partial_fit(structures[part], targets[part])
        np.testing.assert_allclose(again.predict(structures), pieces.predict(structures), rtol=1e-9)
        assert again.log_marginal_likelihood_ == pytest.approx(pieces.log_marginal_likelihood_)
        assert again.n_structures_seen_ == 16

    def test_first_partial_fit_is_a_fit(self, model, crystals):
        again = clone(model).partial_fit(*crystals)
        np.testing.assert_array_equal(again.coef_, model.coef_)

    def test_interrupted_fit_goes_on_from_its_last_block(self, model, crystals, monkeypatch):
        structures, targets = crystals
        monkeypatch.setattr(fitting, "_BATCH_ATOMS", 12)
        interrupted, absorb, calls = copy.deepcopy(model), StreamedQR.absorb, []

        def stop_in_the_third(self, *arguments):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            absorb(self, *arguments)

        monkeypatch.setattr(StreamedQR, "absorb", stop_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            interrupted.fit(structures, targets)
        monkeypatch.setattr(StreamedQR, "absorb", absorb)
        done = interrupted.n_structures_seen_
        assert done == 6
        with pytest.raises(NotFittedError):
            interrupted.predict(structures)
        interrupted.partial_fit(structures[done:], targets[done:])
        np.testing.assert_allclose(
            interrupted.predict(structures), model.predict(structures), rtol=1e-9
        )

    def test_memory_does_not_grow_with_the_structures(self, monkeypatch):
        # the peak shall not depend on how threads overlap
        monkeypatch.setattr(_threads, "available_threads", lambda: 1)
        monkeypatch.setattr(fitting, "batch_size", lambda n_columns: 64)
        peaks = []
        for n in (64, 128):  # more than as many batches as wait for their turn
            structures = salt(n)
            targets = labels(structures)
            model = SparseGaussianProcess(
                terms=[(SMALL, Cosine(zeta=2), 90)], n_candidates=96, random_state=0
            )
            model.fit(structures, targets)  # what is allocated once is not counted
            tracemalloc.start()
            model.fit(structures, targets)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.1 * peaks[0]

    def test_threads_give_the_same(self, model, crystals):
        numba.set_num_threads(1)
        try:
            alone = clone(model).fit(*crystals)
        finally:
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
        np.testing.assert_allclose(
            alone.predict(crystals[0]), model.predict(crystals[0]), rtol=1e-12
        )

    def test_derivatives_of_large_environments_in_pieces(self, model, crystals, monkeypatch):
        monkeypatch.setattr(sparse_rows, "_PIECE_BYTES", 40_000)
        pieces = clone(model).fit(*crystals)
        np.testing.assert_allclose(
            pieces.predict(crystals[0]), model.predict(crystals[0]), rtol=1e-9
        )

    def test_noise_as_number_array_and_by_configuration(self, crystals):
        structures, targets = crystals
        names = np.array(["calm", "wild"])[np.arange(16) % 2]
        by_name = {"calm": 0.05, "wild": 0.2}
        arrays = np.where(names == "calm", 0.05, 0.2)
        models = [
            SparseGaussianProcess(
                terms=ONE, random_state=0, noise_energy=sigma, noise_forces=forces,
                noise_virial=sigma,
            ).fit(structures, targets, configurations=names)
            for sigma, forces in [
                (by_name, by_name), (arrays, arrays), (arrays, np.repeat(arrays, 4))
            ]
        ]  # fmt: skip
        for other in models[1:]:
            np.testing.assert_allclose(other.coef_, models[0].coef_, rtol=1e-10)

    def test_labels_with_huge_noise_count_as_none(self, crystals):
        structures, targets = crystals
        unlabelled = Targets(
            np.where(np.arange(16) < 8, targets.energy, np.nan),
            np.where(np.arange(64)[:, None] < 32, targets.forces, np.nan),
            offsets=targets.offsets,
        )
        sigma = np.where(np.arange(16) < 8, 0.01, 1e9)
        settings = {"terms": ONE, "random_state": 0, "baseline": {"Li": -9.0, "F": -27.0}}
        ignored = SparseGaussianProcess(
            **settings, noise_energy=sigma, noise_forces=sigma, noise_virial=1e9
        ).fit(structures, targets)
        missing = SparseGaussianProcess(**settings, noise_energy=0.01, noise_forces=0.01)
        missing.fit(structures, unlabelled)
        np.testing.assert_allclose(
            ignored.predict(structures), missing.predict(structures), atol=1e-7
        )

    def test_forces_alone(self, crystals):
        structures, targets = crystals
        alone = Targets(forces=targets.forces, offsets=targets.offsets)
        model = SparseGaussianProcess(terms=ONE, random_state=0).fit(structures, alone)
        assert not model.absolute_energies_
        assert model.score(structures, alone) > 0.9

    def test_targets_without_any_force(self, crystals):
        structures, targets = crystals
        features = SMALL.fit_transform(structures)
        energies = SparseGaussianProcess(n_sparse=12, random_state=0).fit(features, targets.energy)
        assert energies.score(features, targets.energy) > 0.99
        assert energies.predict(features, return_forces=True)[1].shape == (64, 3)

    def test_a_kernel_of_each_descriptor_adds_up(self, crystals):
        """Two equal terms are one with the sum of their kernels, where both have all atoms."""
        structures, targets = crystals
        everything = np.arange(64)
        settings = {"selection": everything, "baseline": None, "noise_energy": 0.05}
        twice = SparseGaussianProcess(
            terms=[(SMALL, 0.3 * Cosine(2), 1), (SMALL, 0.2 * Cosine(3), 1)], **settings
        ).fit(structures, targets.energy)
        features = SMALL.fit_transform(structures)
        kernel = 0.3 * Cosine(2) + 0.2 * Cosine(3)
        once = SparseGaussianProcess(kernel, **settings).fit(features, targets.energy)
        new = salt(5, seed=1)
        np.testing.assert_allclose(
            twice.predict(new), once.predict(SMALL.transform(new)), rtol=1e-6
        )

    def test_atoms_of_other_species_do_not_matter_to_a_kernel(self, model, crystals):
        for block in model.blocks_:
            assert block.number in (3, 9)
        assert [len(block.vectors) for block in model.blocks_] == [12, 12]
        numbers = {"Li": 5, "F": 9}
        features = SMALL.fit_transform(crystals[0])
        some = SparseGaussianProcess(n_sparse=numbers).fit(features, crystals[1])
        assert [len(block.vectors) for block in some.blocks_] == [5, 9]

    @pytest.mark.parametrize("selection", ["fps", "cur", "random"])
    def test_representatives_are_environments_of_the_data(self, selection, crystals):
        structures, targets = crystals
        features = SMALL.fit_transform(structures)
        model = SparseGaussianProcess(n_sparse=10, selection=selection, random_state=0)
        model.fit(features, targets)
        for block in model.blocks_:
            found = (features.values[:, None] == block.vectors).all(axis=2)
            assert (found.sum(axis=0) == 1).all()
            assert (features.numbers[found.any(axis=1)] == block.number).all()

    @pytest.mark.parametrize(
        "selector", [FarthestPointSampling(9, axis="samples", first=0), CUR(9, axis="samples")]
    )
    def test_representatives_of_a_selector(self, selector, crystals):
        features = SMALL.fit_transform(crystals[0])
        chosen = selector.fit(features).selected_
        model = SparseGaussianProcess(selection=chosen).fit(features, crystals[1])
        for block in model.blocks_:
            atoms = chosen[features.numbers[chosen] == block.number]
            np.testing.assert_array_equal(block.vectors, features.values[atoms])
        assert len(model.coef_) == 9

    def test_structures_and_features_choose_the_same(self, model, crystals):
        features = SMALL.fit_transform(crystals[0])
        other = SparseGaussianProcess(Cosine(2), 12, random_state=0).fit(features, crystals[1])
        np.testing.assert_array_equal(other.coef_, model.coef_)

    def test_isolated_atoms_are_the_baseline_and_data(self, crystals):
        structures, targets, atoms = with_isolated_atoms(crystals)
        model = SparseGaussianProcess(terms=ONE, baseline="isolated", random_state=0)
        model.fit(structures, targets)
        np.testing.assert_allclose(model.baseline_.energies_, [-7.0, -30.0])
        # they are learnt, too: the model adds nothing to them, and is certain of it
        energies, std = model.predict(atoms, return_std=True)
        np.testing.assert_allclose(energies, [-7.0, -30.0], atol=0.005)
        assert (std < 0.002).all()
        TestIdentities.check_derivatives(model, structures[:2])

    def test_isolated_atoms_that_the_model_cannot_represent(self, crystals):
        structures, targets, atoms = with_isolated_atoms(crystals)
        model = SparseGaussianProcess(terms=[(ACSF(), Cosine(2), 8)], random_state=0)
        with warnings.catch_warnings():  # their energies are those of the elements
            warnings.filterwarnings("error", "the model cannot represent")
            model.fit(structures, targets)
        np.testing.assert_allclose(model.predict(atoms), [-7.0, -30.0], rtol=1e-12)
        other = {"Li": -7.1, "F": -30.0}
        message = r"cannot represent isolated atoms of Li \(structure 16\): their features are zero"
        with pytest.warns(UserWarning, match=message):
            model.set_params(baseline=other).fit(structures, targets)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "the model cannot represent")
            model.set_params(terms=ONE).fit(structures, targets)

    def test_an_element_without_an_isolated_atom(self, crystals):
        structures, targets, _ = with_isolated_atoms(crystals)
        model = SparseGaussianProcess(terms=ONE, baseline="isolated")
        with pytest.raises(ValueError, match="no isolated atom of F among the structures"):
            model.fit(structures[:17], targets[:17])

    def test_a_model_as_the_baseline_has_forces_and_stress(self, crystals):
        structures, targets = crystals
        cheap = make_pipeline(PAIRS, SparseGaussianProcess(Polynomial(zeta=1), 4, random_state=0))
        model = SparseGaussianProcess(terms=ONE, baseline=cheap, random_state=0)
        model.fit(structures, targets)
        TestIdentities.check_derivatives(model, structures[:2])
        energies, forces, stress = model.predict(
            structures[:2], return_forces=True, return_stress=True
        )
        base = predict(model.baseline_.estimator_, structures[:2], ["forces", "stress"])
        alone = SparseGaussianProcess(terms=ONE, baseline=None, random_state=0)
        alone.fit(structures, less_baseline(targets, structures, model.baseline_))
        rest = predict(alone, structures[:2], ["forces", "stress"])
        np.testing.assert_allclose(energies, base["energy"] + rest["energy"], rtol=1e-9)
        np.testing.assert_allclose(forces, base["forces"] + rest["forces"], atol=1e-9)
        np.testing.assert_allclose(stress, base["stress"] + rest["stress"], atol=1e-9)

    def test_repulsion_at_short_range(self, rich_model):
        dimers = [Atoms("LiF", [[0, 0, 0], [0, 0, r]]) for r in (0.1, 0.2)]
        energies, forces = rich_model.predict(dimers, return_forces=True)
        expected, gradient, _ = PairRepulsion(cutoff=2.2).differentiate(dimers)
        # what is learnt has no reason to be as large
        np.testing.assert_allclose(forces[1, 2], -gradient[1, 2], rtol=0.2)
        assert energies[0] - energies[1] > 0.5 * (expected[0] - expected[1])


class TestScikitLearn:
    def test_pipeline_search_over_both_steps(self, crystals):
        pipeline = make_pipeline(
            SMALL, SparseGaussianProcess(n_sparse=8, selection="random", random_state=0)
        )
        grid = {"soap__sigma": [0.4, 0.6], "sparsegaussianprocess__noise_forces": [0.1, 1.0]}
        search = GridSearchCV(pipeline, grid, cv=2).fit(*crystals)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        energies, forces, stress = search.best_estimator_.predict(
            crystals[0], return_forces=True, return_stress=True
        )
        assert energies.shape, stress.shape == ((16,), (16, 3, 3))
        assert forces.shape == (64, 3)

    def test_nested_parameters_of_the_kernel(self):
        model = SparseGaussianProcess(0.5 * Cosine(zeta=2))
        assert model.get_params()["kernel__kernel__zeta"] == 2
        assert clone(model).set_params(kernel__factor=2.0).kernel.factor == 2.0

    def test_saving(self, rich_model, crystals, tmp_path):
        joblib.dump(rich_model, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
        np.testing.assert_array_equal(again.predict(crystals[0]), rich_model.predict(crystals[0]))
        again.partial_fit(crystals[0][:1], crystals[1][:1])

    def test_calculator(self, model, crystals):
        atoms = crystals[0][:1].to_ase()[0]
        atoms.calc = SkatomCalculator(model)
        energies, forces, stress = model.predict([atoms], return_forces=True, return_stress=True)
        assert atoms.get_potential_energy() == pytest.approx(energies[0])
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-12)
        np.testing.assert_allclose(atoms.get_stress(voigt=False), stress[0], atol=1e-12)

    def test_mapped_features(self, crystals):
        pipeline = make_pipeline(
            ACSF(), FeatureScaler(out_of_range="ignore"),
            SparseGaussianProcess(Gaussian(sigma=3.0), 10, random_state=0),
        ).fit(*crystals)  # fmt: skip
        structures = crystals[0][:2]
        TestIdentities.check_derivatives(pipeline, structures)

    @pytest.mark.parametrize("selector", [FarthestPointSampling(12, first=0), CUR(12)])
    def test_selected_features(self, selector, crystals):
        pipeline = make_pipeline(
            SMALL, selector, SparseGaussianProcess(Gaussian(sigma=0.5), 10, random_state=0)
        ).fit(*crystals)
        assert pipeline[-1].blocks_[0].vectors.shape == (10, 12)
        TestIdentities.check_derivatives(pipeline, crystals[0][:2])

    def test_unfitted(self, crystals):
        with pytest.raises(NotFittedError):
            SparseGaussianProcess(terms=ONE).predict(crystals[0])


class TestBadInput:
    def test_duplicate_representatives_change_nothing(self, crystals):
        structures, targets = crystals
        features = SMALL.fit_transform(structures)
        once = np.arange(0, 64, 3)
        models = [
            SparseGaussianProcess(selection=chosen).fit(features, targets)
            for chosen in (once, np.concatenate([once, once[:9]]))
        ]
        assert len(models[1].coef_) == len(models[0].coef_) + 9
        expected = models[0].predict(features)
        np.testing.assert_allclose(models[1].predict(features), expected, atol=1e-4)

    def test_copies_of_one_structure_give_few_representatives(self):
        structures = Structures.from_ase([bulk("Si", "diamond", a=5.4)] * 20)
        features = SMALL.fit_transform(structures)
        with pytest.warns(UserWarning, match="only 1 environments of Si differ"):
            model = SparseGaussianProcess(n_sparse=10).fit(features, np.full(20, -9.0))
        np.testing.assert_allclose(model.predict(features), -9.0)

    def test_more_representatives_than_environments(self, crystals):
        features = SMALL.fit_transform(crystals[0])
        with pytest.warns(UserWarning, match="there are only 32 environments of Li"):
            model = SparseGaussianProcess(n_sparse=1000).fit(features, crystals[1])
        assert len(model.coef_) == 64

    @pytest.mark.parametrize("name", ["noise_energy", "noise_forces", "noise_virial"])
    def test_noise_of_zero(self, name, crystals):
        features = SMALL.fit_transform(crystals[0])
        with pytest.raises(ValueError, match=name):
            SparseGaussianProcess(**{name: 0.0}).fit(features, crystals[1])
        sigma = np.ones(16)
        sigma[3] = 0.0
        for value in (sigma, {"all": 0.0}):
            with pytest.raises(ValueError, match="give a small number such as 1e-4 instead of 0"):
                SparseGaussianProcess(**{name: value}).fit(
                    features, crystals[1], configurations=["all"] * 16
                )

    def test_noise_that_does_not_fit(self, crystals):
        features = SMALL.fit_transform(crystals[0])
        with pytest.raises(ValueError, match=r"one for each structure, \(16,\), or each atom"):
            SparseGaussianProcess(noise_forces=np.ones(5)).fit(features, crystals[1])
        model = SparseGaussianProcess(noise_energy={"calm": 0.1})
        with pytest.raises(ValueError, match="pass fit"):
            model.fit(features, crystals[1])
        with pytest.raises(ValueError, match="no entry for wild"):
            model.fit(features, crystals[1], configurations=["wild"] * 16)
        with pytest.raises(ValueError, match="name one for each of the 16"):
            model.fit(features, crystals[1], configurations=["calm"])

    def test_no_labels(self, crystals):
        structures, targets = crystals
        nothing = Targets(dipole=np.zeros((16, 3)))
        with pytest.raises(ValueError, match="no structure has energy or forces or stress"):
            SparseGaussianProcess(terms=ONE).fit(structures, nothing)

    def test_stress_of_a_cluster(self, model, crystals):
        structures, targets = crystals
        flat = Structures(
            structures.numbers, structures.positions, structures.offsets, structures.cells,
            np.tile([True, True, False], (16, 1)),
        )  # fmt: skip
        with pytest.raises(ValueError, match="structure 0 has a stress but is not periodic"):
            SparseGaussianProcess(terms=ONE).fit(flat, targets)
        with pytest.raises(ValueError, match="stress needs structures that are periodic"):
            model.predict(flat, return_stress=True)

    def test_species_never_seen(self, model, crystals):
        features = SMALL.fit_transform(crystals[0])
        of_pipeline = SparseGaussianProcess(n_sparse=4).fit(features, crystals[1])
        other = [Atoms("LiNa", [[0, 0, 0], [0, 0, 2.0]])]
        with pytest.raises(ValueError, match="structure 0 contains Na"):
            model.predict(other)
        with pytest.raises(ValueError, match="structure 0 contains Na"):
            of_pipeline.predict(SMALL.fit_transform(other))
        with pytest.raises(ValueError, match="contains Na"):
            clone(model).fit(*crystals).partial_fit(other, [1.0])

    def test_features_of_another_size(self, crystals):
        features = SMALL.fit_transform(crystals[0])
        model = SparseGaussianProcess(n_sparse=4).fit(features, crystals[1])
        with pytest.raises(ValueError, match="got 952 features, but the model was fitted to 63"):
            model.predict(SOAP().fit_transform(crystals[0]))

    def test_structures_where_features_are_needed(self, crystals):
        with pytest.raises(TypeError, match="put a descriptor in front"):
            SparseGaussianProcess().fit(*crystals)
        with pytest.raises(TypeError, match="pass structures"):
            SparseGaussianProcess(terms=ONE).fit(SMALL.fit_transform(crystals[0]), crystals[1])

    def test_selection_of_atoms_that_are_not_there(self, crystals):
        features = SMALL.fit_transform(crystals[0])
        for selection, message in [([0, 64], "there are 64 atoms"), ([0.5], "list of indices")]:
            with pytest.raises(ValueError, match=message):
                SparseGaussianProcess(selection=selection).fit(features, crystals[1])

    def test_kernel_without_derivatives(self, crystals):
        features = SMALL.fit_transform(crystals[0])
        with pytest.raises(ValueError, match="no derivatives"):
            SparseGaussianProcess(Matern(nu=0.5), 4).fit(features, crystals[1])

    def test_repulsion_with_a_wrong_range(self, crystals):
        model = SparseGaussianProcess(terms=ONE, baseline=PairRepulsion(cutoff=1.0, inner=1.0))
        with pytest.raises(ValueError, match="inner=1.0 must be smaller"):
            model.fit(*crystals)
