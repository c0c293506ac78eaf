"""What every baseline promises: one energy, its atoms and its derivatives; and the parameter."""

import pickle

import numpy as np
import pytest
from ase import Atoms
from models_under_contract import CASES, crystals, labels_of, waters
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.baseline import (
    AtomicBaseline,
    BaselineSum,
    EstimatorBaseline,
    PairRepulsion,
    as_baseline,
    fit_baseline,
    less_baseline,
)
from skatom.descriptors import SOAP
from skatom.models import ForceKernelRidge, GreedyOLS, SparseGaussianProcess

BASELINES = {
    "elements": AtomicBaseline(),
    "given": AtomicBaseline({"Li": -7.0, "F": -20.0}),
    "repulsion": PairRepulsion(cutoff=3.0),
    "model": EstimatorBaseline(
        make_pipeline(
            SOAP(cutoff=3.0, n_max=2, l_max=1), SparseGaussianProcess(n_sparse=4, random_state=0)
        )
    ),
    "sum": BaselineSum([AtomicBaseline(), PairRepulsion(cutoff=3.0)]),
}


class EnergiesAlone(RegressorMixin, BaseEstimator):
    """A regressor of structures that predicts energies and no forces."""

    def fit(self, X, y):
        self.mean_ = float(np.mean(np.asarray(y)))
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


@pytest.fixture(scope="module")
def data():
    structures = crystals()
    return structures, labels_of(structures, ("energy", "forces", "stress"))


@pytest.fixture(params=BASELINES)
def fitted(request, data):
    return clone(BASELINES[request.param]).fit(*data)


def test_energies_of_atoms_sum_up(fitted, data):
    structures, _ = data
    sums = np.add.reduceat(fitted.local_energies(structures), structures.offsets[:-1])
    np.testing.assert_allclose(sums, fitted.energies(structures), rtol=1e-9)
    np.testing.assert_array_equal(fitted.predict(structures), fitted.energies(structures))
    np.testing.assert_allclose(fitted.differentiate(structures)[0], fitted.energies(structures))


def test_derivatives_are_slopes(fitted, data):
    one, step = data[0][1], 1e-4
    _, gradient, virial = fitted.differentiate(one)
    direction = np.random.default_rng(0).normal(size=one.positions.shape)
    strain = np.random.default_rng(1).normal(size=(3, 3))
    energies = {"move": [], "strain": []}
    for k in (-2, -1, 1, 2):
        turned = np.eye(3) + k * step * strain
        moved = one.positions + k * step * direction
        energies["move"].append(
            fitted.energies(Structures(one.numbers, moved, None, one.cells, one.pbc))[0]
        )
        strained = one.positions @ turned.T, None, one.cells @ turned.T, one.pbc
        energies["strain"].append(fitted.energies(Structures(one.numbers, *strained))[0])
    slopes = {
        name: (8 * (e[2] - e[1]) - (e[3] - e[0])) / (12 * step) for name, e in energies.items()
    }
    scale = 1 + np.abs(gradient).max() + np.abs(virial).max()
    assert slopes["move"] == pytest.approx(np.sum(gradient * direction), abs=1e-6 * scale)
    assert slopes["strain"] == pytest.approx(np.sum(virial[0] * strain), abs=1e-6 * scale)


def test_survives_clone_and_file(fitted, data):
    structures, targets = data
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.energies(structures), fitted.energies(structures))
    fresh = clone(fitted).fit(structures, targets)
    np.testing.assert_array_equal(fresh.energies(structures), fitted.energies(structures))


def test_what_is_left_of_the_labels(fitted, data):
    structures, targets = data
    left = less_baseline(targets, structures, fitted)
    energy, gradient, virial = fitted.differentiate(structures)
    np.testing.assert_allclose(left.energy, targets.energy - energy)
    np.testing.assert_allclose(left.forces, targets.forces + gradient)
    volumes = structures.volumes()[:, None, None]
    np.testing.assert_allclose(left.stress, targets.stress - virial / volumes)


def test_labels_that_are_missing_stay_missing(data):
    structures, targets = data
    energy, stress = targets.energy.copy(), targets.stress.copy()
    energy[3], stress[5] = np.nan, np.nan
    partial = Targets(energy, targets.forces, stress, offsets=targets.offsets)
    baseline = fit_baseline(["elements", PairRepulsion()], structures, partial)
    left = less_baseline(partial, structures, baseline)
    assert np.flatnonzero(~left.labelled("energy")) == [3]
    assert np.flatnonzero(~left.labelled("stress")) == [5]


class TestParameter:
    def test_stands_for_baselines(self):
        assert as_baseline(None) is None
        assert isinstance(as_baseline("elements"), AtomicBaseline)
        assert as_baseline({"Si": -1.0}).elements == {"Si": -1.0}
        assert as_baseline("isolated").elements == "isolated"
        assert isinstance(as_baseline(Ridge()), EstimatorBaseline)
        parts = as_baseline(["elements", PairRepulsion()]).baselines
        assert [type(part) for part in parts] == [AtomicBaseline, PairRepulsion]

    @pytest.mark.parametrize("value", ["atoms", 3.0, [], ["elements", 1]])
    def test_refuses_anything_else(self, value):
        with pytest.raises(ValueError, match="must be 'elements', a dict of energies"):
            as_baseline(value)

    def test_refuses_what_is_no_element(self, data):
        with pytest.raises(ValueError, match="'Xx' is no chemical symbol"):
            AtomicBaseline({"Xx": 1.0}).fit(*data)

    def test_elements_without_a_given_energy(self, data):
        with pytest.raises(ValueError, match=r"contains F, .*\(species Li\)"):
            AtomicBaseline({"Li": -7.0}).fit(*data)

    def test_elements_are_left_out_where_no_energies_are_learnt(self, data):
        structures, targets = data
        forces = Targets(forces=targets.forces, offsets=targets.offsets)
        assert fit_baseline("elements", structures, forces) is None
        assert fit_baseline("isolated", structures, forces) is None
        left = fit_baseline(["elements", PairRepulsion()], structures, forces)
        assert [type(part) for part in left.baselines_] == [PairRepulsion]

    def test_one_after_the_other(self, data):
        structures, targets = data
        both = fit_baseline([PairRepulsion(cutoff=3.0), "elements"], structures, targets)
        rest = targets.energy - PairRepulsion(cutoff=3.0).fit(structures).energies(structures)
        expected = AtomicBaseline().fit(structures, rest).energies_
        np.testing.assert_allclose(both.baselines_[1].energies_, expected)


class TestEstimators:
    def test_one_that_is_fitted_is_used_as_it_is(self, data):
        structures, targets = data
        model = CASES["sparse"].make().fit(structures, targets)
        baseline = EstimatorBaseline(FrozenEstimator(model)).fit(structures[:2], targets[:2])
        np.testing.assert_array_equal(baseline.energies(structures), model.predict(structures))

    def test_without_forces_serves_energies(self, data):
        structures, targets = data
        features = SOAP(cutoff=3.0, n_max=2, l_max=1).fit_transform(structures)
        model = ForceKernelRidge(baseline=EnergiesAlone())
        model.fit(features, targets.energy)
        assert model.baseline_.estimator_.mean_ == pytest.approx(targets.energy.mean())

    def test_without_forces_is_an_error_where_forces_are_learnt(self, data):
        structures, targets = data
        features = SOAP(cutoff=3.0, n_max=2, l_max=1).fit_transform(structures)
        for model in (GreedyOLS(3), SparseGaussianProcess(n_sparse=4)):
            model.set_params(baseline=["elements", EnergiesAlone()])
            with pytest.raises(
                ValueError, match=r"EnergiesAlone\(\) predicts energy but no forces"
            ):
                model.fit(
                    features, Targets(targets.energy, targets.forces, offsets=targets.offsets)
                )

    def test_without_forces_is_an_error_where_forces_are_predicted(self, data):
        structures, targets = data
        features = SOAP(cutoff=3.0, n_max=2, l_max=1).fit_transform(structures)
        model = GreedyOLS(3, baseline=EnergiesAlone()).fit(features, targets.energy)
        with pytest.raises(ValueError, match="predicts energy but no forces"):
            model.predict(features, return_forces=True)

    def test_without_stress_is_an_error_where_stresses_are_learnt(self, data):
        class ForcesAlone(EnergiesAlone):
            def predict(self, X, return_forces=False):
                energies = super().predict(X)
                return (energies, np.zeros((len(X.numbers), 3))) if return_forces else energies

        structures, targets = data
        features = SOAP(cutoff=3.0, n_max=2, l_max=1).fit_transform(structures)
        model = SparseGaussianProcess(n_sparse=4, baseline=ForcesAlone(), random_state=0)
        with pytest.raises(ValueError, match="predicts no stress"):
            model.fit(features, targets)


class TestPairRepulsion:
    def test_a_range_that_is_none(self):
        with pytest.raises(ValueError, match="inner=1.0 must be smaller than cutoff=1.0"):
            PairRepulsion(cutoff=1.0, inner=1.0).fit(waters(1))

    def test_atoms_out_of_reach_do_not_repel(self):
        far = Structures.from_ase([Atoms("H2", [[0, 0, 0], [0, 0, 5.0]])])
        energy, gradient, virial = PairRepulsion().fit(far).differentiate(far)
        assert not energy.any() and not gradient.any() and not virial.any()
