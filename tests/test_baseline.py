import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from sklearn.base import clone

from skatom import Structures, Targets
from skatom.baseline import AtomicBaseline, count_species, fit_baseline
from skatom.neighbors import neighbor_list

NAMES = ["H2O", "CH4", "CO2", "NH3", "CH3OH", "N2"]
ENERGIES = {1: -16.0, 6: -1030.0, 7: -1485.0, 8: -2040.0}


@pytest.fixture
def molecules():
    return Structures.from_ase([molecule(name) for name in NAMES])


def additive(structures):
    """Energies that are sums over the atoms, added up atom by atom."""
    return np.array([sum(ENERGIES[z] for z in part.numbers) for part in structures])


def test_recovers_energies_of_the_elements(molecules):
    baseline = AtomicBaseline().fit(molecules, additive(molecules))
    np.testing.assert_array_equal(baseline.species_, [1, 6, 7, 8])
    np.testing.assert_allclose(baseline.energies_, list(ENERGIES.values()), rtol=1e-12)
    other = Structures.from_ase([molecule("CH3NO2"), molecule("HCN")])
    np.testing.assert_allclose(baseline.predict(other), additive(other), rtol=1e-12)
    assert baseline.score(other, additive(other)) == pytest.approx(1.0)


def test_residual_is_orthogonal_to_the_composition(molecules):
    energies = np.random.default_rng(0).normal(size=len(molecules))
    residual = energies - AtomicBaseline().fit(molecules, energies).predict(molecules)
    counts = [[np.sum(part.numbers == z) for z in (1, 6, 7, 8)] for part in molecules]
    np.testing.assert_allclose(np.transpose(counts) @ residual, 0.0, atol=1e-12)


def test_one_composition_gives_the_energies_of_smallest_norm():
    water = [molecule("H2O")] * 3
    baseline = AtomicBaseline().fit(water, [-10.0, -11.0, -9.0])
    # of all solutions of 2 ε_H + ε_O = −10 the one along (2, 1)
    np.testing.assert_allclose(baseline.energies_, [-4.0, -2.0], rtol=1e-12)
    np.testing.assert_allclose(baseline.predict(water), -10.0, rtol=1e-12)


def test_collinear_compositions_are_no_trouble():
    X = [Atoms("LiH"), Atoms("Li2H2"), Atoms("Li3H3")]
    baseline = AtomicBaseline().fit(X, [-2.0, -4.0, -6.0])
    np.testing.assert_allclose(baseline.energies_, -1.0, rtol=1e-12)


def test_structures_without_energy_take_no_part(molecules):
    energies = additive(molecules)
    energies[-1] = np.nan
    baseline = AtomicBaseline().fit(molecules, Targets(energies))
    np.testing.assert_allclose(baseline.energies_, list(ENERGIES.values()), rtol=1e-12)


def test_no_energy_at_all_is_an_error(molecules):
    targets = Targets(forces=np.zeros((len(molecules.numbers), 3)), offsets=molecules.offsets)
    with pytest.raises(ValueError, match="no structure has an energy"):
        AtomicBaseline().fit(molecules, targets)


def test_unseen_elements_are_errors(molecules):
    baseline = AtomicBaseline().fit(molecules, additive(molecules))
    with pytest.raises(ValueError, match=r"structure 1 contains Si, .* \(species H, C, N, O"):
        baseline.predict([molecule("H2O"), molecule("SiH4")])


def test_an_element_of_an_unlabelled_structure_was_not_learnt():
    X = [molecule("H2"), molecule("CO")]
    baseline = AtomicBaseline().fit(X, [-30.0, np.nan])
    np.testing.assert_array_equal(baseline.species_, [1])


def test_counts_every_atom(molecules):
    counts = count_species(molecules, molecules.species)
    np.testing.assert_array_equal(counts.sum(axis=1), molecules.n_atoms)
    np.testing.assert_array_equal(counts[NAMES.index("CH3OH")], [4, 1, 0, 1])


class TestIsolatedAtoms:
    """Energies of the elements from structures of one atom."""

    BOX = {"cell": 12 * np.eye(3), "pbc": True}

    def test_are_found_among_the_structures(self):
        X = [Atoms("H"), molecule("H2O"), Atoms("O", **self.BOX), molecule("H2"), Atoms("H")]
        baseline = AtomicBaseline("isolated").fit(X, [-13.6, -467.6, -432.0, -31.7, -13.6])
        np.testing.assert_array_equal(baseline.species_, [1, 8])
        np.testing.assert_allclose(baseline.energies_, [-13.6, -432.0])
        np.testing.assert_allclose(baseline.predict([molecule("H2O")]), [-459.2])

    def test_determine_the_elements_where_each_has_one(self):
        """Not least squares, which would miss them by a part of the binding energy."""
        molecules = [Atoms("H"), Atoms("O"), molecule("H2O"), molecule("H2"), molecule("O2")]
        energies = [-13.6, -432.0, -467.6, -31.7, -869.0]
        baseline = AtomicBaseline().fit(molecules, energies)
        np.testing.assert_array_equal(baseline.energies_, [-13.6, -432.0])

    def test_of_some_elements_leave_least_squares(self):
        molecules = [Atoms("H"), molecule("H2O"), molecule("H2"), molecule("O2")]
        energies = [-13.6, -467.6, -31.7, -869.0]
        baseline = AtomicBaseline().fit(molecules, energies)
        counts = np.array([[1, 0], [2, 1], [2, 0], [0, 2]])
        expected = np.linalg.lstsq(counts, energies, rcond=None)[0]
        np.testing.assert_allclose(baseline.energies_, expected)

    def test_of_different_energies_leave_least_squares(self):
        molecules, energies = [Atoms("H"), Atoms("H"), molecule("H2")], [-13.6, -12.0, -31.7]
        baseline = AtomicBaseline().fit(molecules, energies)
        np.testing.assert_allclose(baseline.energies_, [(-13.6 - 12.0 - 63.4) / 6])

    def test_crystals_of_one_atom_are_not_isolated(self):
        X = [bulk("Al"), bulk("Cs"), Atoms("Al"), Atoms("Cs", **self.BOX)]
        baseline = AtomicBaseline("isolated").fit(X, [-4.0, -2.0, -1.0, -0.5])
        np.testing.assert_array_equal(baseline.energies_, [-1.0, -0.5])
        with pytest.raises(ValueError, match="no isolated atom of Al, Cs among the structures"):
            AtomicBaseline("isolated").fit(X[:2], [-4.0, -2.0])

    def test_known_neighbours_of_a_short_cutoff_do_not_matter(self):
        X = Structures.from_ase([Atoms("H"), molecule("H2")])
        known = X.with_neighbors(neighbor_list(X, 1.5))
        assert AtomicBaseline("isolated").fit(known, [-13.6, -31.7]).energies_ == [-13.6]

    def test_an_element_without_one_is_named(self):
        X = [Atoms("H"), Atoms("O"), molecule("CH3OH")]
        with pytest.raises(ValueError, match="no isolated atom of C, O among") as error:
            AtomicBaseline("isolated").fit(X, [-13.6, np.nan, -500.0])
        assert "energies such as {'C': -1.0}" in str(error.value)

    def test_of_different_energies_are_an_error(self):
        with pytest.raises(
            ValueError, match=r"isolated atoms of H have energies from -13.6 to -13"
        ):
            AtomicBaseline("isolated").fit([Atoms("H"), Atoms("H")], [-13.6, -13.0])

    def test_without_weight_are_not_used(self):
        X = Structures.from_ase([Atoms("H"), Atoms("H"), molecule("H2")])
        y = Targets([-13.6, -13.0, -31.7])
        baseline = fit_baseline("isolated", X, y, sample_weight=[1, 0, 1])
        assert baseline.energies_ == [-13.6]

    def test_other_values_are_errors(self):
        with pytest.raises(ValueError, match="'elements' parameter"):
            AtomicBaseline("alone").fit([Atoms("H")], [-13.6])


def test_is_an_estimator(molecules, tmp_path):
    baseline = clone(AtomicBaseline()).fit(molecules, additive(molecules))
    joblib.dump(baseline, tmp_path / "baseline.joblib")
    again = joblib.load(tmp_path / "baseline.joblib")
    np.testing.assert_array_equal(again.predict(molecules), baseline.predict(molecules))


def test_weights_of_other_structures_are_refused():
    structures = Structures.from_ase([molecule("H2O"), molecule("CH4")])
    targets = Targets(energy=np.array([-14.0, -24.0]), offsets=structures.offsets)
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(3,\), expected \(2,\)"):
        fit_baseline("elements", structures, targets, np.ones(3))
