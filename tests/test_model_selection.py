import numpy as np
import pytest
from ase import Atoms
from pair_model import PairPotential, binding_pair_potential
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold, cross_validate

from skatom import Structures, Targets
from skatom.descriptors import InverseDistances
from skatom.metrics import neg_force_mae
from skatom.model_selection import (
    ActiveSplit,
    BlockKFold,
    EnergyStratifiedSplit,
    StratifiedPathKFold,
    composition_strata,
    energy_stratified_sample,
)
from skatom.selection import NearestDistance


@pytest.fixture(scope="module")
def energies():
    return np.random.default_rng(0).gamma(6.0, size=3000)


def histogram(energies, n_samples):
    """Bins of the sampler, computed in another way: occupied bins and their counts."""
    quartiles = np.quantile(energies, [0.25, 0.75])
    width = 2 * (quartiles[1] - quartiles[0]) / np.cbrt(n_samples)
    n_bins = min(int(np.ceil(np.ptp(energies) / width)), n_samples // 2)
    bins = np.floor((energies - energies.min()) / np.ptp(energies) * n_bins).astype(int)
    return bins.clip(max=n_bins - 1)


class TestEnergyStratifiedSample:
    @pytest.mark.parametrize("n_samples", [1, 2, 3, 10, 200, 1000, 2999, 3000])
    def test_is_exactly_n_distinct_indices(self, energies, n_samples):
        sample = energy_stratified_sample(energies, n_samples, random_state=1)
        assert len(np.unique(sample)) == len(sample) == n_samples

    def test_of_all_is_all(self, energies):
        sample = energy_stratified_sample(energies, len(energies), random_state=0)
        assert np.array_equal(np.sort(sample), np.arange(len(energies)))

    def test_avoids_what_is_excluded(self, energies):
        exclude = energy_stratified_sample(energies, 1000, random_state=0)
        sample = energy_stratified_sample(energies, 2000, exclude, random_state=0)
        assert len(np.intersect1d(sample, exclude)) == 0

    @pytest.mark.parametrize("seed", range(5))
    def test_represents_every_occupied_bin(self, energies, seed):
        bins = histogram(energies, 100)
        sample = energy_stratified_sample(energies, 100, random_state=seed)
        assert set(bins[sample]) == set(bins)

    def test_keeps_the_histogram_within_rounding(self, energies):
        n = 1000
        bins = histogram(energies, n)
        counts = np.bincount(bins)
        taken = np.bincount(bins[energy_stratified_sample(energies, n, random_state=0)])
        expected = n * counts / len(energies)
        assert (taken <= np.minimum(counts, np.ceil(expected))).all()
        # rounding up gives at most one frame too many to each bin, and all are taken back
        assert abs(taken - expected).max() < 5.0
        assert abs(taken - expected).sum() < 2 * len(counts)

    def test_is_uniform_when_all_energies_are_equal(self):
        sample = energy_stratified_sample(np.zeros(50), 20, random_state=0)
        assert len(np.unique(sample)) == 20

    def test_survives_an_outlier_and_a_narrow_middle(self):
        energies = np.r_[np.zeros(100), 1e-300, 1.0, 1e6]
        assert len(energy_stratified_sample(energies, 60, random_state=0)) == 60
        energies = np.r_[np.linspace(0, 1e-300, 100), 1e6]
        assert 100 in energy_stratified_sample(energies, 60, random_state=0)

    def test_follows_the_random_state(self, energies):
        first, same, other = (
            energy_stratified_sample(energies, 100, random_state=seed) for seed in (3, 3, 4)
        )
        assert np.array_equal(first, same)
        assert not np.array_equal(np.sort(first), np.sort(other))

    def test_takes_targets(self):
        assert len(energy_stratified_sample(Targets([1.0, 2.0, 3.0]), 2, random_state=0)) == 2

    def test_larger_than_the_data_is_an_error(self):
        with pytest.raises(
            ValueError, match="cannot draw 30 frames: 20 are available; .*more data"
        ):
            energy_stratified_sample(np.arange(20.0), 30)
        with pytest.raises(ValueError, match="12 are available after leaving out 8"):
            energy_stratified_sample(np.arange(20.0), 13, exclude=range(8))

    @pytest.mark.parametrize("n_samples", [0, -1])
    def test_of_nothing_is_an_error(self, n_samples):
        with pytest.raises(ValueError, match="ask for 1 to 20"):
            energy_stratified_sample(np.arange(20.0), n_samples)

    def test_needs_finite_energies(self):
        with pytest.raises(ValueError, match="energy of frame 1 is nan"):
            energy_stratified_sample([1.0, np.nan], 1)


class TestEnergyStratifiedSplit:
    def test_sides_are_disjoint_and_of_the_sizes_asked(self, energies):
        cv = EnergyStratifiedSplit(3, train_size=200, test_size=500, random_state=0)
        splits = list(cv.split(energies, energies))
        assert len(splits) == cv.get_n_splits() == 3
        for train, test in splits:
            assert (len(train), len(test)) == (200, 500)
            assert len(np.intersect1d(train, test)) == 0

    def test_the_rest_is_tested_on_by_default(self, energies):
        train, test = next(EnergyStratifiedSplit(1, train_size=0.4).split(energies, energies))
        assert len(train) == 1200
        assert len(np.union1d(train, test)) == 3000

    def test_repeats_itself_with_a_seed(self, energies):
        cv = EnergyStratifiedSplit(2, train_size=50, random_state=0)
        for (a, _), (b, _) in zip(
            cv.split(energies, energies), cv.split(energies, energies), strict=True
        ):
            assert np.array_equal(a, b)

    def test_too_large_a_part_is_an_error(self, energies):
        cv = EnergyStratifiedSplit(1, train_size=4000)
        with pytest.raises(ValueError, match="train_size=4000"):
            next(cv.split(energies, energies))

    def test_needs_energies(self):
        y = Targets(forces=np.zeros((4, 2, 3)))
        with pytest.raises(ValueError, match="no energy"):
            next(EnergyStratifiedSplit(1).split(np.zeros(4), y))


class TestBlockKFold:
    def test_every_frame_is_tested_once(self):
        folds = [test for _, test in BlockKFold(4, block_size=7, gap=2).split(range(100))]
        assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(100))

    @pytest.mark.parametrize("gap", [0, 1, 5])
    @pytest.mark.parametrize("block_size", [None, 8])
    def test_training_keeps_its_distance(self, gap, block_size):
        for train, test in BlockKFold(3, block_size=block_size, gap=gap).split(range(90)):
            assert abs(train[:, None] - test).min() > gap

    def test_no_more_is_dropped_than_the_gap(self):
        train, test = next(BlockKFold(3, gap=2).split(range(30)))
        assert np.array_equal(test, np.arange(10))
        assert np.array_equal(train, np.arange(12, 30))

    def test_whole_blocks_go_to_one_side(self):
        for _, test in BlockKFold(3, block_size=5).split(range(60)):
            assert (np.bincount(test // 5) % 5 == 0).all()

    def test_neither_block_nor_gap_reaches_into_another_trajectory(self):
        groups = np.repeat(["a", "b"], [20, 40])
        train, test = next(BlockKFold(2, gap=3).split(range(60), groups=groups))
        assert np.array_equal(test, np.r_[0:10, 20:40])
        assert np.array_equal(train, np.r_[13:20, 43:60])

    def test_trajectories_may_be_interleaved(self):
        groups = np.arange(40) % 2
        train, test = next(BlockKFold(2, gap=1).split(range(40), groups=groups))
        assert np.array_equal(test, np.arange(20))
        assert np.array_equal(train, np.arange(22, 40))

    @pytest.mark.parametrize(
        ("parameters", "name"),
        [({"n_splits": 1}, "n_splits=1"), ({"block_size": 0}, "block_size"), ({"gap": -1}, "gap")],
    )
    def test_parameters_out_of_range(self, parameters, name):
        with pytest.raises(ValueError, match=f"{name}.* must be at least"):
            next(BlockKFold(**parameters).split(range(10)))

    def test_says_when_a_side_is_empty(self):
        with pytest.raises(ValueError, match="no frames to train on with 10 frames"):
            list(BlockKFold(2, gap=5).split(range(10)))
        with pytest.raises(ValueError, match="no frames to test on"):
            list(BlockKFold(5, block_size=4).split(range(10)))


@pytest.fixture(scope="module")
def relaxations():
    """Four compositions with ten paths each, of one to six frames, in no order."""
    rng = np.random.default_rng(0)
    labels = [(formula, f"{formula}-{k}") for formula in ("LiSi", "Li2Si", "Li3Si", "Li4Si")
              for k in range(10) for _ in range(rng.integers(1, 7))]  # fmt: skip
    labels = [labels[i] for i in rng.permutation(len(labels))]
    structures = Structures.from_ase([Atoms(formula) for formula, _ in labels])
    return structures, np.array([path for _, path in labels])


class TestStratifiedPathKFold:
    def test_each_fold_has_two_of_ten_paths_of_every_composition(self, relaxations):
        structures, paths = relaxations
        cv = StratifiedPathKFold(5, random_state=0)
        tested = []
        for train, test in cv.split(structures, groups=paths):
            assert not set(paths[train]) & set(paths[test])
            assert np.array_equal(np.union1d(train, test), np.arange(len(paths)))
            compositions = [path.split("-")[0] for path in set(paths[test])]
            assert sorted(compositions) == sorted(["LiSi", "Li2Si", "Li3Si", "Li4Si"] * 2)
            tested.append(test)
        assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(len(paths)))
        assert cv.get_n_splits() == len(tested) == 5

    def test_strata_may_be_given(self, relaxations):
        structures, paths = relaxations
        strata = np.char.partition(paths, "-")[:, 0]
        features = np.zeros((len(paths), 2))
        cv = StratifiedPathKFold(5, random_state=0)
        for (_, test), (_, expected) in zip(
            cv.split(features, groups=paths, strata=strata),
            cv.split(structures, groups=paths),
            strict=True,
        ):
            assert len(set(paths[test])) == len(set(paths[expected])) == 8

    def test_follows_the_random_state(self, relaxations):
        structures, paths = relaxations
        first, same, other = (
            next(StratifiedPathKFold(random_state=seed).split(structures, groups=paths))[1]
            for seed in (0, 0, 1)
        )
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)

    def test_without_paths_each_structure_is_one(self, relaxations):
        structures, _ = relaxations
        strata = composition_strata(structures)
        for _, test in StratifiedPathKFold(5).split(structures):
            shares = np.bincount(strata[test]) / np.bincount(strata)
            assert shares == pytest.approx(np.full(4, 0.2), abs=0.04)

    def test_a_path_of_two_compositions_is_an_error(self):
        structures = [Atoms("LiSi"), Atoms("LiSi"), Atoms("Li2Si"), Atoms("Li2Si")]
        with pytest.raises(ValueError, match="path 0 has .* more than one stratum .*0 and 2"):
            next(StratifiedPathKFold(2).split(structures, groups=[0, 1, 0, 1]))

    def test_fewer_paths_than_folds_is_an_error(self):
        structures = [Atoms("LiSi")] * 6
        with pytest.raises(ValueError, match="n_splits=4 greater than the number of samples"):
            next(StratifiedPathKFold(4).split(structures, groups=[0, 0, 1, 1, 2, 2]))

    def test_arrays_do_not_tell_the_composition(self):
        with pytest.raises(ValueError, match="give the structures, .* or strata="):
            next(StratifiedPathKFold(2).split(np.zeros((4, 2)), groups=[0, 0, 1, 1]))


def test_compositions_do_not_depend_on_size_or_order():
    strata = composition_strata(
        [Atoms("Li2Si"), Atoms("SiLi4Si"), Atoms("LiSi"), Atoms("SiSi"), Atoms("Si3")]
    )
    assert strata[0] == strata[1]
    assert strata[3] == strata[4]
    assert len(set(strata)) == 3
    train, test = next(StratifiedKFold(2).split(strata[[0, 1, 3, 4]], strata[[0, 1, 3, 4]]))
    assert len(train) == len(test) == 2


class TestActiveSplit:
    X = np.random.default_rng(0).normal(size=(40, 2))

    def test_the_order_is_that_of_the_measure(self):
        cv = ActiveSplit(NearestDistance(), KFold(2), n_initial=3, random_state=0)
        random = ActiveSplit(None, KFold(2), n_initial=3, random_state=0)
        parts = zip(cv.split(self.X), random.split(self.X), KFold(2).split(self.X), strict=True)
        for (train, test), (other, _), (pool, expected) in parts:
            np.testing.assert_array_equal(test, expected)
            np.testing.assert_array_equal(np.sort(train), pool)
            np.testing.assert_array_equal(train[:3], other[:3])
            known = NearestDistance().fit(self.X[train[:3]])
            for k in train[3:8]:
                scores = known.score(self.X[pool])
                assert k == pool[scores.argmax()]
                known.partial_fit(self.X[[k]])

    def test_batches_are_chosen_by_measures_that_know_the_labels(self):
        given = []

        class Seen(NearestDistance):
            def fit(self, X, y=None):
                given.append((len(X), None if y is None else len(y)))
                return super().fit(X)

        cv = ActiveSplit(Seen(), KFold(2), n_initial=4, batch_size=6, random_state=0)
        next(cv.split(self.X, np.zeros(40)))
        assert given == [(4, 4), (10, 10), (16, 16)]

    def test_copies_come_last(self):
        X = np.vstack([self.X[:5]] * 4)
        train, _ = next(ActiveSplit(NearestDistance(), KFold(2), n_initial=1).split(X))
        assert len(np.unique(X[train[:5]], axis=0)) == 5

    @pytest.mark.parametrize(("given", "message"), [(0, "n_initial=0"), (50, "n_initial=50 of 20")])
    def test_too_few_or_too_many_first_samples(self, given, message):
        with pytest.raises(ValueError, match=message):
            next(ActiveSplit(n_initial=given, cv=KFold(2)).split(self.X))


@pytest.mark.parametrize(
    "cv",
    [
        StratifiedPathKFold(3, random_state=0),
        EnergyStratifiedSplit(3, train_size=8, random_state=0),
        BlockKFold(3, gap=1),
        GroupKFold(3),
        ActiveSplit(NearestDistance(InverseDistances()), GroupKFold(3), n_initial=2),
    ],
    ids=lambda cv: type(cv).__name__,
)
def test_splitters_serve_cross_validate(cv):
    rng = np.random.default_rng(0)
    positions = rng.uniform(1.2, 3.5, (24, 2, 1)) * [[[0.0], [1.0]]] * [1.0, 0.0, 0.0]
    X = Structures.from_frames([18, 18], positions)
    energy, forces = binding_pair_potential().predict(X, return_forces=True)
    y = Targets(energy, forces, offsets=X.offsets)
    scores = cross_validate(
        PairPotential(), X, y, cv=cv, groups=np.repeat([0, 1, 2], 8), scoring=neg_force_mae,
        error_score="raise",
    )  # fmt: skip
    assert scores["test_score"] == pytest.approx(np.zeros(3), abs=1e-6)
