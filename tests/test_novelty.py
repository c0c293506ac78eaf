"""Measures of how new structures are: active sets, variances, distances, deviations."""

import pickle
from itertools import combinations

import numpy as np
import pytest
from ase.build import bulk, molecule
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skatom import Structures, Targets
from skatom.descriptors import SOAP, MomentTensor
from skatom.kernels import Cosine, Gaussian, StructureKernel
from skatom.models import SGDML, Committee, LinearPotential
from skatom.selection import (
    CUR,
    FarthestPointSampling,
    KernelVariance,
    MaxVol,
    NearestDistance,
    PredictedDeviation,
)
from skatom.solvers.maxvol import ActiveRows


def rattled(seeds, a=3.6, size=0.1, repeat=1):
    """Copper cells with moved atoms."""
    cells = []
    for seed in seeds:
        atoms = bulk("Cu", a=a, cubic=True).repeat(repeat)
        atoms.rattle(size, seed=seed)
        cells.append(atoms)
    return cells


SMALL_SOAP = SOAP(cutoff=3.5, n_max=3, l_max=2)
MEASURES = {
    "structure": MaxVol(SMALL_SOAP),
    "atom": MaxVol(SMALL_SOAP, rows="atom"),
    "labels": MaxVol(SMALL_SOAP, rows="labels"),
    "variance": KernelVariance(Cosine(2), SMALL_SOAP),
    "mean variance": KernelVariance(StructureKernel(Cosine(2), match="average"), SMALL_SOAP),
    "distance": NearestDistance(SMALL_SOAP),
}


@pytest.fixture(params=MEASURES)
def measure(request):
    return MEASURES[request.param].fit(rattled(range(4)))


def maxvol(rows, tol=1.001):
    """Indices (L,) of rows (n, L) of locally maximal volume, and all rows in their coordinates."""
    active, labels = ActiveRows(rows.shape[1]), np.arange(len(rows))
    active.start(rows, labels)
    active.improve(rows, labels, tol)
    active.refresh()
    return active.labels, active.coordinates(rows)


class TestMaxvol:
    @pytest.mark.parametrize("seed", range(6))
    def test_no_exchange_makes_the_volume_larger(self, seed):
        rows = np.random.default_rng(seed).normal(size=(14, 4))
        chosen, coordinates = maxvol(rows)
        volume = abs(np.linalg.det(rows[chosen]))
        assert np.abs(coordinates).max() <= 1.001
        np.testing.assert_allclose(coordinates @ rows[chosen], rows, atol=1e-12)
        volumes = [abs(np.linalg.det(rows[list(c)])) for c in combinations(range(14), 4)]
        assert max(volumes) / 4**2 <= volume <= max(volumes) * (1 + 1e-12)

    @pytest.mark.parametrize("seed", [0, 1])
    def test_equals_brute_force(self, seed):
        rows = np.random.default_rng(seed).normal(size=(14, 4))
        volume = abs(np.linalg.det(rows[maxvol(rows)[0]]))
        volumes = [abs(np.linalg.det(rows[list(c)])) for c in combinations(range(14), 4)]
        assert volume == pytest.approx(max(volumes), rel=1e-12)

    def test_a_cubic_has_the_nodes_of_lobatto(self):
        x = np.linspace(-1, 1, 20001)
        chosen, _ = maxvol(x[:, None] ** np.arange(4), 1 + 1e-9)
        np.testing.assert_allclose(
            np.sort(x[chosen]), [-1, -(5**-0.5), 5**-0.5, 1], rtol=0, atol=1e-3
        )

    def test_an_exchange_multiplies_the_volume_by_the_coordinate(self):
        rows = np.random.default_rng(0).normal(size=(6, 5))
        active = ActiveRows(5)
        active.start(rows[:5], np.arange(5))
        before, coordinates = np.linalg.det(active.rows), active.coordinates(rows[5])
        active.exchange(2, rows[5], 5)
        assert np.linalg.det(active.rows) == pytest.approx(before * coordinates[2], rel=1e-10)

    def test_the_inverse_stays_exact_in_a_stream(self):
        rows = np.random.default_rng(1).normal(size=(500, 8))
        active = ActiveRows(8)
        grades = []
        for k, row in enumerate(rows):
            grades.append(active.grades(row[None])[0])
            active.improve(row[None], np.array([k]), 1.001)
        assert grades[0] > 1e5  # before there are rows all is new
        assert (active.labels >= 0).all()
        np.testing.assert_allclose(active.inverse @ active.rows, np.eye(8), rtol=0, atol=1e-10)

    def test_missing_directions_are_found(self):
        rows = np.random.default_rng(2).normal(size=(30, 6))
        rows[:, 3] = rows[:, 0] - 2 * rows[:, 1]
        chosen, _ = maxvol(rows)
        assert (chosen >= 0).sum() == 5
        active = ActiveRows(6)
        active.start(rows, np.arange(30))
        within, outside = rows[0].copy(), rows[0].copy()
        outside[3] += 0.1
        grades = active.grades(np.stack([within, outside]))
        assert grades[0] < 10
        assert grades[1] > 1e4


def test_an_update_that_is_interrupted_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    known, more = rng.normal(size=(30, 5)), 3 * rng.normal(size=(20, 5))
    measure = MaxVol().fit(known)
    before, scores, exchange = measure.active_, measure.score(more), ActiveRows.exchange
    calls = []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        exchange(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(ActiveRows, "exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            measure.partial_fit(more)
    assert len(calls) == 4
    np.testing.assert_array_equal(measure.active_, before)
    np.testing.assert_allclose(measure.score(more), scores, rtol=1e-10)
    assert measure.n_structures_seen_ == 30
    assert measure.partial_fit(more).score(more).max() <= 1.011


def test_a_pool_that_is_empty_is_told():
    measure = MaxVol().fit(np.random.default_rng(0).normal(size=(9, 3)))
    with pytest.raises(ValueError, match="a pool of 0"):
        measure.select(np.empty((0, 3)), 1)


def test_grades_of_polynomials():
    known = np.linspace(-1, 1, 201)[:, None] ** [1, 2]
    measure = MaxVol(tol=1.001).fit(known)
    np.testing.assert_allclose(known[measure.active_, 0], [-1, 0, 1], atol=1e-12)
    grades = measure.score(np.array([[0.3], [1.5], [2.0]]) ** [1, 2])
    np.testing.assert_allclose(grades, [0.91, 1.875, 3.0], rtol=1e-12)


def test_predictions_are_sums_of_those_of_active_rows():
    rng = np.random.default_rng(0)
    known, new = rng.normal(size=(40, 3)), rng.normal(size=(5, 3))
    measure, w = MaxVol().fit(known), rng.normal(size=3)
    active = measure.sets_[0]
    new_rows = np.hstack([np.ones((5, 1)), new]) / measure.scales_[0]
    predictions = (known @ w + 2.0)[active.labels]
    np.testing.assert_allclose(active.coordinates(new_rows) @ predictions, new @ w + 2.0)


def test_grades_do_not_depend_on_units():
    rng = np.random.default_rng(0)
    known, new, units = rng.normal(size=(40, 4)), rng.normal(size=(9, 4)), [1e-6, 1, 30, 1e5]
    one, other = MaxVol().fit(known), MaxVol().fit(known * units)
    np.testing.assert_allclose(one.score(new), other.score(new * units), rtol=1e-8)


def test_known_structures_are_not_new(measure):
    known, new = rattled(range(4)), rattled([9], a=4.0)
    assert measure.score(known).max() < 0.5 * measure.score(new)[0]


def test_scores_do_not_depend_on_motion_and_supercells(measure):
    (atoms,) = rattled([7])
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.positions = turned.positions[[2, 0, 3, 1]] + [0.3, 0.1, 0.2]
    one, other = measure.score([atoms, turned])
    assert other == pytest.approx(one, rel=1e-5)
    factor = 2 if measure is MEASURES["variance"] else 1  # energies are extensive
    assert measure.score([atoms.repeat((2, 1, 1))])[0] == pytest.approx(factor * one, rel=1e-5)


def test_a_structure_with_a_species_that_is_not_known_is_infinitely_new(measure):
    alloy = rattled([1])[0]
    alloy.symbols[0] = "Au"
    pool = [*rattled([2, 3]), alloy]
    scores = measure.score(pool)
    assert np.isinf(scores[2])
    assert np.isfinite(scores[:2]).all()
    assert measure.select(pool, 1).tolist() == [2]


def test_scores_do_not_depend_on_the_batch(measure):
    pool = rattled(range(5, 9))
    alone = np.concatenate([measure.score([atoms]) for atoms in pool])
    np.testing.assert_allclose(measure.score(pool), alone, rtol=1e-9)


def test_what_is_selected_is_not_new_any_more(measure):
    pool = rattled(range(10, 20), a=3.9)
    chosen = measure.select(pool, 2)
    assert len(np.unique(chosen)) == 2
    before = measure.score([pool[s] for s in chosen])
    grown = pickle.loads(pickle.dumps(measure)).partial_fit([pool[s] for s in chosen])
    assert (grown.score([pool[s] for s in chosen]) < before).all()
    assert grown.n_structures_seen_ == 6
    assert measure.n_structures_seen_ == 4


def test_the_first_selected_is_the_newest(measure):
    pool = [*rattled(range(30, 34)), *rattled([40], a=4.3)]
    assert measure.select(pool, 1)[0] == measure.score(pool).argmax() == 4


@pytest.mark.parametrize("name", ["atom", "distance"])
def test_scores_of_structures_are_the_largest_of_their_atoms(name):
    measure, pool = MEASURES[name].fit(rattled(range(4))), rattled([5, 6])
    by_atom = measure.score(pool, by_atom=True)
    np.testing.assert_allclose(measure.score(pool), by_atom.reshape(2, 4).max(axis=1))


@pytest.mark.parametrize("name", ["structure", "variance"])
def test_measures_of_structures_have_no_scores_of_atoms(name):
    measure = MEASURES[name].fit(rattled(range(4)))
    with pytest.raises(ValueError, match="by_atom=True needs"):
        measure.score(rattled([5]), by_atom=True)


def test_features_and_their_structures_have_equal_scores(measure):
    features = measure.descriptor_.transform(rattled([5, 6]))
    np.testing.assert_allclose(measure.score(features), measure.score(rattled([5, 6])), rtol=1e-9)


def test_grades_of_a_fitted_potential(potential_and_cells):
    potential, cells = potential_and_cells
    measure = MaxVol(potential[:-1], rows="labels").fit(cells)
    assert measure.descriptor_ is potential[:-1] or hasattr(measure.descriptor_, "steps")
    assert measure.score(cells).max() <= 1.02
    assert measure.score(rattled([3], a=4.1))[0] > 2


@pytest.fixture(scope="module")
def potential_and_cells():
    cells = rattled(range(8))
    targets = Targets(energy=np.random.default_rng(0).normal(size=8))
    descriptor = MomentTensor(cutoff=3.5, level=4)
    return make_pipeline(descriptor, LinearPotential(alpha=1e-6)).fit(cells, targets), cells


class TestKernelVariance:
    def test_equals_the_dense_formula(self):
        rng = np.random.default_rng(0)
        known, new = rng.normal(size=(20, 3)), rng.normal(size=(7, 3))
        kernel, noise = Gaussian(1.3), 0.05
        across = kernel(new, known)
        inverse = np.linalg.inv(kernel(known) + noise**2 * np.eye(20))
        expected = np.sqrt(1 - np.einsum("nk,kl,nl->n", across, inverse, across))
        whole = KernelVariance(kernel, noise=noise).fit(known)
        np.testing.assert_allclose(whole.score(new), expected, rtol=1e-9)
        parts = KernelVariance(kernel, noise=noise).fit(known[:5]).partial_fit(known[5:])
        np.testing.assert_allclose(parts.score(new), expected, rtol=1e-9)

    def test_selection_equals_adding_one_after_the_other(self):
        rng = np.random.default_rng(1)
        known, pool = rng.normal(size=(5, 2)), rng.normal(size=(30, 2))
        measure, chosen = KernelVariance(Gaussian(0.7)).fit(known), []
        for _ in range(6):
            chosen.append(int(measure.score(pool).argmax()))
            measure = measure.partial_fit(pool[chosen[-1:]])
        again = KernelVariance(Gaussian(0.7)).fit(known).select(pool, 6)
        assert again.tolist() == chosen

    def test_selection_by_the_mean_lowers_it_most(self):
        rng = np.random.default_rng(2)
        known, pool, chosen = rng.normal(size=(4, 2)), rng.normal(size=(15, 2)), []

        def mean_variance(more):
            rows = np.vstack([known, pool[more]])
            return (KernelVariance(Gaussian(0.8), noise=0.1).fit(rows).score(pool) ** 2).mean()

        for _ in range(4):
            left = [k for k in range(15) if k not in chosen]
            chosen.append(min(left, key=lambda k: mean_variance([*chosen, k])))
        measure = KernelVariance(Gaussian(0.8), noise=0.1, criterion="mean").fit(known)
        assert measure.select(pool, 4).tolist() == chosen

    def test_a_copy_without_noise_is_an_error(self):
        with pytest.raises(ValueError, match="not positive definite with noise=1e-12: raise it"):
            KernelVariance(Gaussian(1.0), noise=1e-12).fit([[0.0], [0.0], [1e-9]])


def test_distances_are_those_of_the_nearest():
    measure = NearestDistance().fit([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(measure.score([[3.0, 0.0], [3.0, 3.0]]), [3.0, 1.0])
    pool = np.array([[1.0, 0.0], [9.0, 0.0], [9.0, 1.0], [0.0, -5.0]])
    assert measure.select(pool, 3).tolist() == [1, 3, 0]


class TestPredictedDeviation:
    def test_is_the_spread_of_the_committee(self, committee):
        measure, frames = PredictedDeviation(committee), committee.frames[40:43]
        *_, spread = committee.predict(frames, return_forces_std=True)
        of_atoms = np.linalg.norm(spread, axis=1)
        np.testing.assert_allclose(measure.score(frames, by_atom=True), of_atoms)
        largest = of_atoms.reshape(3, 9).max(axis=1)
        np.testing.assert_allclose(measure.score(frames), largest)
        assert measure.select(frames, 2).tolist() == np.argsort(-largest)[:2].tolist()

    def test_of_energies_per_atom(self, committee):
        frames = committee.frames[40:42]
        *_, spread = committee.predict(frames, return_std=True)
        np.testing.assert_allclose(
            PredictedDeviation(committee, "energy").score(frames), spread / 9
        )

    def test_a_model_without_deviations_is_an_error(self, committee):
        measure = PredictedDeviation(committee.estimators_[0])
        with pytest.raises(ValueError, match="SGDML predicts no forces_std.*Committee"):
            measure.score(committee.frames[:2])

    def test_members_that_are_equal_are_told(self, committee):
        same = pickle.loads(pickle.dumps(committee))
        same.estimators_ = [same.estimators_[0]] * 3
        with pytest.warns(UserWarning, match="all deviations are 0"):
            PredictedDeviation(same).score(committee.frames[:2])

    def test_fit_leaves_the_given_model_as_it_is(self, committee, ethanol):
        before = committee.predict(committee.frames[:1])
        measure = PredictedDeviation(committee)
        measure.fit(ethanol.structures[:10], ethanol.targets[:10])
        assert measure.model_ is not committee
        np.testing.assert_array_equal(committee.predict(committee.frames[:1]), before)


@pytest.fixture(scope="module")
def committee(ethanol):
    made = Committee(SGDML(random_state=0), n_models=3, random_state=0)
    made.fit(ethanol.structures[:30], ethanol.targets[:30])
    made.frames = ethanol.structures
    return made


@pytest.fixture(scope="module")
def ethanol():
    from skatom.datasets import load_ethanol

    return load_ethanol()


class TestGoingOn:
    def test_farthest_points_go_on(self):
        points = np.random.default_rng(0).normal(size=(30, 3))
        whole = FarthestPointSampling(8, axis="samples", first=4).fit(points).selected_
        rest = FarthestPointSampling(8, axis="samples", first=whole[:5]).fit(points).selected_
        np.testing.assert_array_equal(rest, whole)

    @pytest.mark.parametrize("shape", [(30, 5), (8, 20)])
    def test_cur_goes_on(self, shape):
        points = np.random.default_rng(0).normal(size=shape)
        whole = CUR(5, axis="samples").fit(points).selected_
        rest = CUR(5, axis="samples", first=whole[:3]).fit(points).selected_
        np.testing.assert_array_equal(rest, whole)

    def test_cur_goes_on_from_copies(self):
        points = np.random.default_rng(0).normal(size=(20, 4))
        points[1] = points[0]
        chosen = CUR(6, axis="samples", first=[0, 1]).fit(points).selected_
        assert chosen[:2].tolist() == [0, 1]
        assert len(np.unique(chosen)) == 6

    def test_random_cur_keeps_what_is_there(self):
        points = np.random.default_rng(0).normal(size=(20, 4))
        cur = CUR(6, axis="samples", method="random", first=[3, 7], random_state=0).fit(points)
        assert cur.selected_[:2].tolist() == [3, 7]
        assert len(np.unique(cur.selected_)) == 6

    @pytest.mark.parametrize(
        ("first", "message"),
        [([3, 30], "first=30, but there are only 10"), ([1, 1], "2 points, of which 1"),
         ([0, 1, 2, 3], "n_select=3")],
    )  # fmt: skip
    def test_wrong_first_points_are_errors(self, first, message):
        with pytest.raises(ValueError, match=message):
            CUR(3, axis="samples", first=first).fit(np.eye(10))


class TestBadInput:
    def test_before_fit(self):
        with pytest.raises(NotFittedError):
            MaxVol().score([[1.0]])

    def test_structures_without_descriptor(self):
        with pytest.raises(ValueError, match=r"give features of them, or a descriptor"):
            MaxVol().fit(rattled([0]))

    def test_an_array_beside_a_descriptor(self):
        with pytest.raises(ValueError, match="X are structures if there is a descriptor"):
            MaxVol(SMALL_SOAP).fit(np.eye(3))

    def test_rows_of_atoms_of_pooled_features(self):
        features = SOAP(n_max=3, l_max=2, pool="sum").fit_transform([molecule("H2O")])
        with pytest.raises(ValueError, match="needs features of atoms"):
            MaxVol(rows="atom").fit(features)

    @pytest.mark.parametrize("n", [0, 5])
    def test_more_than_the_pool_has(self, measure, n):
        with pytest.raises(ValueError, match=f"n={n} of a pool of 4"):
            measure.select(rattled(range(4)), n)

    def test_a_pool_without_anything_new(self):
        measure = MaxVol(SMALL_SOAP).fit(rattled(range(4)))
        with pytest.warns(UserWarning, match="only 0 of 2 structures of the pool are new"):
            assert len(measure.select(Structures.from_ase(rattled([1, 2])), 2)) == 0
