"""Noises by cross-validation: rows made once give what fits from the beginning give."""

import numpy as np
import pytest
from sklearn.base import clone
from sparse_systems import ONE, SEVERAL, labels, salt

from skatom import Targets
from skatom.model_selection import NoiseSearchCV
from skatom.model_selection.noise_search import stratified_folds
from skatom.models import SparseGaussianProcess
from skatom.models.sparse import folded_rows
from skatom.models.sparse.folded_rows import FoldedRows
from skatom.solvers import StreamedQR

pytestmark = pytest.mark.filterwarnings("ignore:SparseGaussianProcess. the model reproduces")

N, FOLDS = 9, 3
KINDS = np.array(["cold", "hot", "cold"] * 3)
NOISES = {"noise_energy": {"cold": 0.01, "hot": 0.03}, "noise_forces": 0.05, "noise_virial": 0.2}


@pytest.fixture(scope="module")
def data():
    structures = salt(N)
    return structures, labels(structures)


def model(terms=ONE, **options):
    return SparseGaussianProcess(terms=terms, random_state=0, **{**NOISES, **options})


def by_atom(rows, factors):
    """Predictions of the rows, forces in the order of the atoms."""
    energies, forces = rows.predicted(factors)
    return energies, forces[np.argsort(rows.atoms_kept, kind="stable")]


def refitted(model, structures, targets, fold, noises):
    """Predictions of structures by fits without their fold, each from the beginning."""
    energies, forces = np.empty(len(structures)), np.empty((len(structures.numbers), 3))
    for k in range(fold.max() + 1):
        one = clone(model).set_params(**noises)
        one.fit(structures, targets, configurations=KINDS, sample_weight=(fold != k).astype(float))
        out = np.flatnonzero(fold == k)
        of_out = np.isin(np.repeat(np.arange(len(fold)), structures.n_atoms), out)
        energies[out], forces[of_out] = one.predict(structures[out], return_forces=True)
    return energies, forces.ravel()


class TestFoldedRows:
    @pytest.mark.parametrize("terms", [ONE, SEVERAL], ids=["one term", "several"])
    @pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (0.2, 3.0, 0.5)])
    def test_equals_fits_from_the_beginning(self, data, terms, factors):
        structures, targets = data
        fold = np.arange(N) % FOLDS
        one = model(terms, baseline=None)
        rows = FoldedRows(one, structures, targets, fold, KINDS)
        e, f, v = factors
        found = by_atom(rows, {"noise_energy": e, "noise_forces": f, "noise_virial": v})
        noises = {
            "noise_energy": {kind: e * noise for kind, noise in NOISES["noise_energy"].items()},
            "noise_forces": f * NOISES["noise_forces"],
            "noise_virial": v * NOISES["noise_virial"],
        }
        for values, expected in zip(
            found, refitted(one, structures, targets, fold, noises), strict=True
        ):
            np.testing.assert_allclose(values, expected, atol=1e-8 * np.abs(expected).max())

    def test_an_infinite_factor_leaves_labels_out(self, data):
        structures, targets = data
        fold = np.arange(N) % FOLDS
        without = Targets(targets.energy, targets.forces, offsets=targets.offsets)
        one = model()
        found = FoldedRows(one, structures, targets, fold, KINDS).predicted(
            {"noise_virial": np.inf}
        )
        expected = FoldedRows(one, structures, without, fold, KINDS).predicted({})
        for values, others in zip(found, expected, strict=True):
            np.testing.assert_allclose(values, others, atol=1e-9 * np.abs(others).max())

    def test_some_rows_of_forces_are_enough_for_errors(self, data, monkeypatch):
        structures, targets = data
        fold = np.arange(N) % FOLDS
        _, every = FoldedRows(model(), structures, targets, fold, KINDS).errors({})
        monkeypatch.setattr(folded_rows, "_KEPT_ROWS", 60)
        rows = FoldedRows(model(), structures, targets, fold, KINDS)
        assert 36 <= len(rows.rows_kept) <= 60
        assert rows.errors({})[1] == pytest.approx(every, rel=0.5)

    def test_structures_without_energies_or_forces_count_for_the_others(self, data):
        structures, targets = data
        energy, forces = targets.energy.copy(), targets.forces.copy()
        energy[:3] = np.nan
        forces[-4:] = np.nan
        some = Targets(energy, forces, offsets=targets.offsets)
        fold = np.arange(N) % FOLDS
        one = model(baseline=None)
        energies, found = by_atom(FoldedRows(one, structures, some, fold, KINDS), {})
        expected = refitted(one, structures, some, fold, NOISES)
        np.testing.assert_allclose(energies, expected[0], atol=1e-8 * np.abs(energies).max())
        np.testing.assert_allclose(found, expected[1][:-12], atol=1e-8 * np.abs(found).max())


class TestSearch:
    def test_finds_the_best_combination(self, data):
        structures, targets = data
        factors = {"noise_energy": [0.1, 10.0], "noise_forces": [0.1, 1.0]}
        search = NoiseSearchCV(model(), factors, cv=FOLDS, configuration_factors=())
        search.fit(structures, targets, KINDS)
        scores = [result["score"] for result in search.cv_results_]
        assert len(scores) == 5  # the model's own noises, too
        assert search.best_score_ == min(scores)
        best = search.cv_results_[int(np.argmin(scores))]["factors"]
        expected = NOISES["noise_forces"] * best["noise_forces"]
        assert search.best_params_["noise_forces"] == pytest.approx(expected)
        found = search.best_params_["noise_energy"]
        assert found["hot"] == pytest.approx(3 * found["cold"])
        params = search.best_estimator_.get_params()
        assert params["noise_forces"] == search.best_params_["noise_forces"]

    def test_noises_of_configurations(self, data):
        structures, targets = data
        rng = np.random.default_rng(0)
        energy = targets.energy + 0.5 * rng.normal(size=N) * (KINDS == "hot")
        noisy = Targets(energy, targets.forces, offsets=targets.offsets)
        one = model(noise_energy=0.01)
        search = NoiseSearchCV(
            one, {"noise_energy": [1.0]}, cv=FOLDS, configuration_factors=(0.01, 100.0)
        ).fit(structures, noisy, KINDS)
        found = search.best_params_["noise_energy"]
        assert found["hot"] > found["cold"]
        plain = NoiseSearchCV(one, {"noise_energy": [1.0]}, cv=FOLDS).fit(structures, noisy)
        assert plain.best_params_["noise_energy"] == 0.01

    def test_an_array_of_noises_keeps_its_ratios(self, data):
        structures, targets = data
        own = np.linspace(0.01, 0.02, N)
        search = NoiseSearchCV(model(noise_energy=own), {"noise_energy": [0.5]}, cv=FOLDS)
        found = search.fit(structures, targets, KINDS).best_params_["noise_energy"]
        assert np.ptp(found / own) < 1e-12

    def test_bad_input(self, data):
        structures, targets = data
        with pytest.raises(ValueError, match="the estimator has no terms: name its descriptor"):
            NoiseSearchCV(SparseGaussianProcess()).fit(structures, targets)
        with pytest.raises(ValueError, match="factors has noise_dipole: give factors of"):
            NoiseSearchCV(model(), {"noise_dipole": [1]}).fit(structures, targets)
        with pytest.raises(ValueError, match="9 structures cannot be divided into 10 folds"):
            NoiseSearchCV(model(), cv=10).fit(structures, targets, KINDS)
        with pytest.raises(MemoryError, match="cross-validation with 24 representative"):
            NoiseSearchCV(model(max_memory=6e-4)).fit(structures, targets, KINDS)


def test_folds_spread_every_name():
    names = np.repeat(["a", "b", "c"], [10, 5, 1])
    fold = stratified_folds(names, 5)
    assert (np.bincount(fold[names == "a"]) == 2).all()
    assert (np.bincount(fold[names == "b"]) == 1).all()
    alone = stratified_folds(np.array(list("abcdefg")), 3)
    assert sorted(np.bincount(alone)) == [2, 2, 3]


def test_scaled_rows_weigh_as_if_they_were_made_so():
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(20, 4)), rng.normal(size=20)
    part, other, expected = (StreamedQR(4) for _ in range(3))
    part.update(rows[:12], targets[:12])
    other.update(rows[12:], targets[12:])
    scales = np.repeat([0.3, 1.0], [12, 8])
    expected.update(rows * scales[:, None], targets * scales)
    before = part.solve()
    found = part.scaled(0.3).merge(other)
    np.testing.assert_allclose(found.solve(), expected.solve(), rtol=1e-12)
    np.testing.assert_allclose(found.residuals, expected.residuals, rtol=1e-10)
    assert (part.solve() == before).all()
