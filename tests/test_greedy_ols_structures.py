"""Greedy least squares on features of structures: stresses, forces, and the spread of a bag."""

import pickle

import joblib
import numpy as np
import pytest
import skops.io
from models_under_contract import crystals, labels_of, waters
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.baseline import PairRepulsion
from skatom.descriptors import (
    ACSF,
    SOAP,
    FeatureScaler,
    InverseDistances,
    PointScattering,
    StructureFeatures,
    WaveletScattering,
)
from skatom.metrics import neg_force_mae
from skatom.models import BaggedGreedyOLS, Committee, GreedyOLS
from skatom.models._labels import Labels
from skatom.models.linear import structure_problem

ALL = ("energy", "forces", "stress")
SMALL_ACSF = ACSF(cutoff=4.0, g2=[(0.1, 0.0), (1.0, 1.0), (2.0, 2.0)], g4=[(0.1, 1.0, 1.0)])
SMALL_SCATTERING = WaveletScattering(
    orbitals=[(2, 1), (3, 2)], scales=(0,), beta=0.5, order=2, channels=("species",),
    exponents=(4 / 3, 2), alias=1e-2, padding=3.0, normalize=None,
)  # fmt: skip
SMALL_POINTS = PointScattering(
    [(3, 1), (3, 2)], (0,), 2, exponents=(4 / 3, 2), channels="species", beta=0.5, pool="sum"
)
DESCRIPTORS = {
    "scattering": (SMALL_SCATTERING, crystals),
    "scattering-ratio": (clone(SMALL_SCATTERING).set_params(normalize="ratio"), crystals),
    "scattering-molecules": (SMALL_SCATTERING, lambda: waters(6)),
    "points": (SMALL_POINTS, crystals),
    "points-mean": (clone(SMALL_POINTS).set_params(pool="mean"), waters),
    "soap": (SOAP(cutoff=3.5, n_max=3, l_max=2, pool="sum"), crystals),
    "inverse-distances": (InverseDistances(), waters),
}


def labelled(make):
    structures = make()
    names = ALL if structures.pbc.all() else ALL[:2]
    return structures, labels_of(structures, names)


def moved(one, change, positions=True):
    """A structure displaced along a direction (N, 3), or strained by a matrix (3, 3)."""
    if positions:
        return Structures(one.numbers, one.positions + change, None, one.cells, one.pbc)
    strain = np.eye(3) + change
    return Structures(one.numbers, one.positions @ strain.T, None, one.cells @ strain.T, one.pbc)


def slope(model, one, change, positions, step=1e-4):
    e = [model.predict(moved(one, k * step * change, positions))[0] for k in (-2, -1, 1, 2)]
    return (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step)


@pytest.mark.parametrize("name", DESCRIPTORS)
class TestFeaturesOfStructures:
    @pytest.fixture
    def fitted(self, name):
        descriptor, make = DESCRIPTORS[name]
        structures, targets = labelled(make)
        model = make_pipeline(descriptor, GreedyOLS(n_terms=3))
        return model.fit(structures, targets), structures, targets

    def test_forces_and_stress_are_slopes_of_the_energy(self, fitted):
        model, structures, _ = fitted
        one, rng = structures[1], np.random.default_rng(0)
        forces = model.predict(one, return_forces=True)[1]
        direction = rng.normal(size=forces.shape)
        expected = -np.sum(forces * direction)
        assert slope(model, one, direction, True) == pytest.approx(expected, rel=1e-6)
        if structures.pbc.all():
            stress = model.predict(one, return_stress=True)[1][0] * one.volumes()[0]
            matrix = rng.normal(size=(3, 3))
            expected = np.sum(stress * matrix)
            assert slope(model, one, matrix, False) == pytest.approx(expected, rel=1e-6)

    def test_least_squares_of_the_stated_loss(self, fitted):
        model, structures, targets = fitted
        greedy, features = model[1], model[0].transform(structures)
        d = features.n_features
        counts = [[np.sum(s.numbers == z) for z in greedy.species_] for s in structures]
        rows = [np.hstack([counts, features.values])]
        labels, noises = [targets.energy], [1e-3 * np.sqrt(structures.n_atoms)]
        pulled = [features.pullback(one) for one in np.eye(d)]
        forces = -np.array([gradient.ravel() for gradient, _ in pulled]).T
        rows.append(np.hstack([np.zeros((len(forces), len(greedy.species_))), forces]))
        labels.append(targets.forces.ravel())
        noises.append(np.full(len(forces), 0.03))
        if targets.stress is not None:
            six = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])
            virials = np.array([virial[:, *six].ravel() for _, virial in pulled]).T
            rows.append(np.hstack([np.zeros((len(virials), len(greedy.species_))), virials]))
            wanted = targets.stress * structures.volumes()[:, None, None]
            labels.append(wanted[:, *six].ravel())
            noises.append(0.1 * np.sqrt(np.repeat(structures.n_atoms, 6)))
        noise = np.concatenate(noises)
        A, b = np.vstack(rows) / noise[:, None], np.concatenate(labels) / noise
        chosen = np.r_[: len(greedy.species_), len(greedy.species_) + greedy.support_]
        # one composition: only the sum of the energies of the elements is determined
        scale = np.linalg.norm(A[:, chosen], axis=0)
        found = np.linalg.lstsq(A[:, chosen] / scale, b, rcond=None)[0]
        loss = np.sum((A[:, chosen] / scale @ found - b) ** 2) / len(b)
        assert greedy.train_score_path_[-1] == pytest.approx(-np.sqrt(loss), rel=1e-7)

    def test_learns_forces_better_than_their_mean(self, fitted):
        model, structures, targets = fitted
        forces = model.predict(structures, return_forces=True)[1]
        rms = np.sqrt(np.mean((forces - targets.forces) ** 2))
        assert rms < 0.9 * np.sqrt(np.mean(targets.forces**2))

    def test_spread_of_a_bag_is_that_of_its_members(self, name):
        descriptor, make = DESCRIPTORS[name]
        structures, targets = labelled(make)
        features = clone(descriptor).fit_transform(structures)
        model = BaggedGreedyOLS(n_estimators=4, max_terms=5, random_state=0)
        model.fit(features, targets)
        part = features[:3]
        std, forces_std = model.predict(part, return_std=True, return_forces_std=True)[1:]
        energies = part.values @ model.coefs_.T
        counts = [[np.sum(s.numbers == z) for z in model.species_] for s in part.structures]
        energies += np.array(counts) @ model.intercepts_.T
        np.testing.assert_allclose(std, energies.std(axis=1, ddof=1), rtol=1e-8)
        pulled = [part.pullback(coef) for coef in model.coefs_]
        gradients, virials = (np.array(parts) for parts in zip(*pulled, strict=True))
        expected = gradients.std(axis=0, ddof=1)
        np.testing.assert_allclose(forces_std, expected, atol=1e-8 * expected.max())
        if structures.pbc.all():
            stress_std = model.predict(part, return_stress_std=True)[1]
            expected = virials.std(axis=0, ddof=1) / part.structures.volumes()[:, None, None]
            np.testing.assert_allclose(stress_std, expected, atol=1e-8 * expected.max())

    def test_search_by_forces_and_files(self, name, tmp_path):
        descriptor, make = DESCRIPTORS[name]
        structures, targets = labelled(make)
        pipeline = make_pipeline(descriptor, BaggedGreedyOLS(2, max_terms=4, random_state=0))
        grid = {"baggedgreedyols__noise_forces": [0.03, 0.1]}
        search = GridSearchCV(pipeline, grid, scoring=neg_force_mae, cv=2, error_score="raise")
        search.fit(structures, targets)
        model = search.best_estimator_
        expected = model.predict(structures[:2], return_forces=True, return_forces_std=True)
        joblib.dump(model, tmp_path / "model.joblib")
        skops.io.dump(model, tmp_path / "model.skops")
        unknown = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
        for again in (
            joblib.load(tmp_path / "model.joblib"),
            skops.io.load(tmp_path / "model.skops", trusted=unknown),
        ):
            found = again.predict(structures[:2], return_forces=True, return_forces_std=True)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, other)


class TestStress:
    @pytest.fixture
    def data(self):
        structures, targets = labelled(crystals)
        return SMALL_ACSF.fit_transform(structures), targets

    def test_of_a_linear_model_is_enough_to_find_it(self, data):
        features, targets = data
        coef = np.zeros(features.n_features)
        coef[[0, 3, 7]] = [1.0, -0.5, 0.3]
        stress = features.pullback(coef)[1] / features.structures.volumes()[:, None, None]
        model = GreedyOLS(n_terms=3).fit(features, Targets(stress=stress))
        np.testing.assert_allclose(model.coef_, coef, atol=1e-8)
        assert not model.absolute_energies_
        np.testing.assert_allclose(
            model.predict(features, return_stress=True)[1], stress, atol=1e-9
        )
        assert model.score(features, Targets(forces=-features.pullback(coef)[0],
                                             offsets=features.offsets)) > 0.999  # fmt: skip

    def test_noise_weighs_virials(self, data):
        features, targets = data
        shifted = Targets(
            targets.energy, targets.forces, targets.stress + 0.01 * np.eye(3),
            offsets=targets.offsets,
        )  # fmt: skip
        errors = []
        for noise in (10.0, 0.1, 1e-3):
            model = GreedyOLS(n_terms=5, noise_virial=noise).fit(features, shifted)
            stress = model.predict(features, return_stress=True)[1]
            errors.append(np.mean((stress - shifted.stress) ** 2))
        assert errors[0] > errors[1] > errors[2]

    def test_labels_of_a_part_and_weights_are_repetitions(self, data):
        features, targets = data
        stress = targets.stress.copy()
        stress[::2] = np.nan
        part = Targets(targets.energy, targets.forces, stress, offsets=targets.offsets)
        counts = np.array([2, 1, 0, 3, 1, 1, 2, 0, 1, 1])
        weighted = GreedyOLS(n_terms=4).fit(features, part, sample_weight=counts)
        repeats = np.repeat(np.arange(10), counts)
        repeated = GreedyOLS(n_terms=4).fit(features[repeats], part[repeats])
        np.testing.assert_array_equal(weighted.support_, repeated.support_)
        np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-7, atol=1e-12)

    def test_baseline_is_taken_from_stresses(self, data):
        features, targets = data
        repulsion = PairRepulsion(cutoff=2.5).fit(features.structures)
        energy, gradient, virial = repulsion.differentiate(features.structures)
        volumes = features.structures.volumes()[:, None, None]
        more = Targets(
            targets.energy + energy, targets.forces - gradient, targets.stress + virial / volumes,
            offsets=targets.offsets,
        )  # fmt: skip
        plain = GreedyOLS(n_terms=4).fit(features, targets)
        model = GreedyOLS(n_terms=4, baseline=PairRepulsion(cutoff=2.5)).fit(features, more)
        np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-6, atol=1e-9)
        stress = model.predict(features, return_stress=True)[1]
        expected = plain.predict(features, return_stress=True)[1] + virial / volumes
        np.testing.assert_allclose(stress, expected, atol=1e-8)

    def test_features_of_atoms_and_their_sums_are_one_model(self, data):
        features, targets = data
        model = GreedyOLS(cv=KFold(3), max_terms=8).fit(features, targets)
        pooled = GreedyOLS(cv=KFold(3), max_terms=8).fit(features.pool("sum"), targets)
        np.testing.assert_allclose(pooled.coef_, model.coef_, rtol=1e-9, atol=1e-12)
        one = model.predict(features, return_forces=True, return_stress=True)
        other = pooled.predict(features.pool("sum"), return_forces=True, return_stress=True)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)

    def test_second_order_points_of_atoms_learn_forces(self):
        structures, targets = labelled(crystals)
        atomic = clone(SMALL_POINTS).set_params(pool=None)
        for steps in ((), (FeatureScaler(out_of_range="ignore"),)):
            model = make_pipeline(atomic, *steps, GreedyOLS(n_terms=6)).fit(structures, targets)
            one, direction = structures[2], np.random.default_rng(0).normal(size=(4, 3))
            forces = model.predict(one, return_forces=True)[1]
            expected = -np.sum(forces * direction)
            assert slope(model, one, direction, True) == pytest.approx(expected, rel=1e-6)


class TestKeptRows:
    def test_derivatives_are_computed_once_where_they_fit(self, monkeypatch):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures)
        computed, jacobian = [], StructureFeatures.jacobian

        def counted(self, batch):
            computed.extend(batch)
            return jacobian(self, batch)

        monkeypatch.setattr(StructureFeatures, "jacobian", counted)
        kept = GreedyOLS(cv=KFold(3), max_terms=5).fit(features, targets)
        assert sorted(computed) == list(range(10))
        computed.clear()
        monkeypatch.setattr(structure_problem, "_KEPT_BYTES", 0)
        again = GreedyOLS(cv=KFold(3), max_terms=5).fit(features, targets)
        assert len(computed) > 30
        np.testing.assert_allclose(again.coef_, kept.coef_, rtol=1e-9)

    def test_copies_for_jobs_leave_them_behind(self):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures).pool("sum")
        noise = dict.fromkeys(("noise_energy", "noise_forces", "noise_virial"), 1.0)
        labels = Labels.of(structures, targets, None, noise)
        rows = structure_problem.DerivativeRows(features, labels)
        before = len(pickle.dumps(rows))
        expected = rows.of(np.arange(4))
        assert len(rows._kept) == 4
        copied = pickle.dumps(rows)
        assert len(copied) <= before + 100
        np.testing.assert_array_equal(pickle.loads(copied).of(np.arange(4)), expected)


class TestSpread:
    def test_is_that_of_a_committee_of_the_members(self):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures)
        bag = BaggedGreedyOLS(n_estimators=3, max_terms=5, random_state=0).fit(features, targets)
        committee = Committee(GreedyOLS(n_terms=1), n_models=3, random_state=0)
        committee.fit(features, targets)
        for member, coef, intercept in zip(
            committee.estimators_, bag.coefs_, bag.intercepts_, strict=True
        ):
            member.coef_, member.intercept_ = coef, intercept
        names = {"return_std": True, "return_forces_std": True, "return_stress_std": True}
        for one, other in zip(
            bag.predict(features, **names), committee.predict(features, **names), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-10)

    def test_batches_do_not_matter(self, monkeypatch):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures)
        bag = BaggedGreedyOLS(n_estimators=3, max_terms=5, random_state=0).fit(features, targets)
        whole = bag.predict(features, return_forces_std=True)[1]
        monkeypatch.setattr("skatom.models.linear.spread._BATCH_BYTES", 2**12)
        np.testing.assert_allclose(bag.predict(features, return_forces_std=True)[1], whole)

    def test_one_member_has_none(self):
        X = np.random.default_rng(0).normal(size=(20, 3))
        model = BaggedGreedyOLS(n_estimators=1, random_state=0).fit(X, X[:, 0])
        assert model.outputs_ == ("energy",)
        with pytest.raises(ValueError, match="no energy_std"):
            model.predict(X, return_std=True)


class TestBadInput:
    def test_a_table_gives_no_forces(self):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures).pool("sum")
        model = GreedyOLS(n_terms=2).fit(features, targets.energy)
        np.testing.assert_allclose(model.predict(features), model.predict(features.values))
        with pytest.raises(ValueError, match=r"gives energy but no forces.*y=Targets\(energy"):
            model.predict(features, return_forces=True)
        with pytest.raises(ValueError, match="y is a plain array, not Targets: subtract"):
            GreedyOLS(baseline="elements").fit(features, targets.energy)
        with pytest.raises(ValueError, match="X is a plain array: subtract"):
            GreedyOLS(baseline="elements").fit(features.values, targets.energy)
        with pytest.raises(ValueError, match="forces and stress, but X is a plain array"):
            GreedyOLS().fit(features.values, targets)

    def test_features_of_another_kind(self):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures)
        model = GreedyOLS(n_terms=2).fit(features.pool("sum"), targets)
        with pytest.raises(ValueError, match="X is an array, .* fitted to StructureFeatures"):
            model.predict(features.pool("sum").values)
        with pytest.raises(ValueError, match="X is AtomicFeatures, .* fitted to StructureFeatures"):
            model.predict(features)

    def test_stress_of_molecules(self):
        structures, targets = labelled(waters)
        wrong = Targets(targets.energy, stress=np.zeros((len(structures), 3, 3)))
        with pytest.raises(ValueError, match="structure 0 has a stress but is not periodic"):
            GreedyOLS(n_terms=2).fit(InverseDistances().fit_transform(structures), wrong)

    def test_noise_of_virials_must_be_positive(self):
        structures, targets = labelled(crystals)
        features = SMALL_ACSF.fit_transform(structures)
        with pytest.raises(ValueError, match="'noise_virial' parameter"):
            GreedyOLS(noise_virial=0.0).fit(features, targets)
        with pytest.raises(ValueError, match="noise_virial has no entry for crystal"):
            GreedyOLS(noise_virial={"slab": 1.0}).fit(
                features, targets, configurations=["crystal"] * 10
            )
