"""Convex hulls of formation energies: closed forms, dense linear programs, errors, pictures."""

import joblib
import matplotlib
import numpy as np
import pytest
import skops.io
from ase.build import bulk, molecule
from scipy.optimize import linprog
from scipy.stats import norm
from sklearn.base import clone

from skatom import Structures, Targets
from skatom.plotting import PhaseDiagramDisplay
from skatom.stability import PhaseDiagram, screen

ELEMENTS = ["Li", "O", "Na", "K"]


def diagram():
    """A(0), B(0) and AB(-1 eV/atom)."""
    return PhaseDiagram(per_atom=True).fit(["Na", "Cl", "NaCl"], [0.0, 0.0, -1.0])


def ternary():
    formulas = ["Li2O", "FeO", "Fe2O3", "LiFeO2", "LiFe"]
    return PhaseDiagram(0.0, per_atom=True).fit(formulas, [-1.9, -1.3, -1.6, -1.85, 0.2])


def random_entries(n_elements, n, seed=0):
    rng = np.random.default_rng(seed)
    amounts = rng.integers(0, 5, (n, n_elements))
    amounts[amounts.sum(axis=1) == 0, 0] = 1
    X = [dict(zip(ELEMENTS, map(float, row), strict=False)) for row in amounts]
    fractions = amounts / amounts.sum(axis=1, keepdims=True)
    return X, -rng.random(n) * (1 - fractions.max(axis=1))


def dense(fractions, energies, x):
    """The energies of the hull at compositions, a linear program for each."""
    solve = [linprog(energies, A_eq=fractions.T, b_eq=row, method="highs-ds") for row in x]
    return np.array([found.fun for found in solve])


# --- hull ---------------------------------------------------------------------------------------


def test_the_hull_of_one_compound():
    found = diagram()
    np.testing.assert_allclose(found.predict(["NaCl2", "Na3Cl"]), [-2 / 3, -0.5], rtol=1e-12)
    np.testing.assert_allclose(found.distances(["NaCl2"], [-0.5]), [1 / 6], rtol=1e-12)
    np.testing.assert_array_equal(found.margins(), [-np.inf, -np.inf, -1.0])
    np.testing.assert_array_equal(found.distances_, 0)
    assert found.mixtures(["NaCl2", "NaCl"])[1] == {"NaCl": 1.0}
    assert found.mixtures(["NaCl2"])[0] == pytest.approx({"NaCl": 2 / 3, "Cl": 1 / 3})


def test_energies_of_structures_and_of_atoms_are_the_same():
    salt, sodium = bulk("NaCl", "rocksalt", a=5.64), bulk("Na")
    chlorine = molecule("Cl2")
    structures = [sodium, chlorine, salt, salt.repeat(2)]
    energies = np.array([-1.3, -3.6, -7.0, -55.9])
    total = PhaseDiagram().fit(structures, Targets(energy=energies))
    per_atom = PhaseDiagram(per_atom=True).fit(
        ["Na", "Cl2", "NaCl", "NaCl"], energies / [1, 2, 2, 16]
    )
    np.testing.assert_allclose(total.energies_, per_atom.energies_)
    assert list(total.names_) == ["Na", "Cl", "NaCl", "NaCl"]
    assert list(per_atom.names_) == ["Na", "Cl2", "NaCl", "NaCl"]
    np.testing.assert_allclose(total.formation_energies_[2], -3.5 - (-1.3 - 1.8) / 2)
    np.testing.assert_allclose(total.distances_, [0, 0, 0, -55.9 / 16 + 3.5])
    np.testing.assert_allclose(
        total.formation_energies([salt, molecule("NaCl")], [-7.0, -4.0]), [-1.95, -0.45]
    )
    batch = Structures.from_ase([salt, salt.repeat((1, 1, 2))])
    np.testing.assert_allclose(total.predict(batch), [-7.0, -14.0])
    np.testing.assert_allclose(per_atom.predict(batch), [-3.5, -3.5])
    np.testing.assert_allclose(total.distances(batch, [-7.1, -14.0]), [-0.05, 0], atol=1e-12)


@pytest.mark.parametrize("n_elements", [1, 2, 3, 4])
def test_facets_equal_one_linear_program_for_each_composition(n_elements):
    X, y = random_entries(n_elements, 40)
    found = PhaseDiagram(0.0, per_atom=True).fit(X, y)
    fractions, energies = found.fractions_, found.energies_
    expected = energies - dense(fractions, energies, fractions)
    np.testing.assert_allclose(found.distances_, expected, rtol=0, atol=1e-9)
    x = np.random.default_rng(1).dirichlet(np.ones(n_elements), 50)
    symbols = sorted(ELEMENTS[:n_elements], key=["Li", "O", "Na", "K"].index)
    predicted = found.predict([dict(zip(symbols, row, strict=True)) for row in x])
    np.testing.assert_allclose(predicted, dense(fractions, energies, x), rtol=0, atol=1e-9)


def test_margins_are_distances_from_the_hull_of_the_others():
    X, y = random_entries(3, 30)
    found = PhaseDiagram(0.0, per_atom=True).fit(X, y)
    margins = found.margins()
    for entry in range(len(X)):
        others = np.arange(len(found.energies_)) != entry
        rest = dense(found.fractions_[others], found.energies_[others], found.fractions_[[entry]])
        assert margins[entry] == pytest.approx(found.energies_[entry] - rest[0], abs=1e-9)
    assert (margins[found.stable_] <= 0).all() and np.isneginf(margins).sum() == 2


def test_few_linear_programs_for_many_compositions():
    X, y = random_entries(3, 60)
    hull = PhaseDiagram(0.0, per_atom=True).fit(X, y)._stable_hull()
    x = np.random.default_rng(0).dirichlet(np.ones(3), 20_000)
    phases, amounts = hull.solve(x)
    assert hull.n_programs < 60
    np.testing.assert_allclose(
        np.einsum("np,npe->ne", amounts, hull.fractions[phases]), x, atol=1e-9
    )
    again = hull.values(x)
    np.testing.assert_array_equal(hull.values(x[::-1])[::-1], again)


def test_the_order_of_entries_does_not_matter():
    X, y = random_entries(3, 40)
    order = np.random.default_rng(0).permutation(40)
    one = PhaseDiagram(0.0, per_atom=True).fit(X, y)
    other = PhaseDiagram(0.0, per_atom=True).fit([X[k] for k in order], y[order])
    np.testing.assert_allclose(other.distances_[:40], one.distances_[:40][order], atol=1e-12)


def test_large_energies_of_elements_do_not_blur_the_hull():
    X, y = random_entries(3, 40)
    small = PhaseDiagram(0.0, per_atom=True).fit(X, y)
    shift = dict(zip(ELEMENTS, [-1e4, -3e4, -2e3], strict=False))
    moved = y + small.fractions_[:40] @ [shift["Li"], shift["O"], shift["Na"]]
    large = PhaseDiagram({s: shift[s] for s in ELEMENTS[:3]}, per_atom=True).fit(X, moved)
    np.testing.assert_allclose(large.distances_, small.distances_, rtol=0, atol=1e-9)


def test_polymorphs_and_compositions_on_a_line_of_the_hull():
    formulas = ["NaCl", "NaCl", "Na3Cl", "Na3Cl"]
    found = PhaseDiagram(0.0, per_atom=True).fit(formulas, [-1.0, -0.9, -0.5, -0.5])
    np.testing.assert_allclose(found.distances_, [0, 0.1, 0, 0, 0, 0], atol=1e-12)
    # of two with the same energy one; on the line from Na to NaCl it is stable, without a margin
    np.testing.assert_array_equal(found.stable_, [0, 2, 4, 5])
    np.testing.assert_allclose(found.margins()[2], 0, atol=1e-12)


def test_references_are_entries():
    found = PhaseDiagram({"Na": -1.3, "Cl": -1.8}).fit(["NaCl", "Na2"], [-7.0, -2.8])
    assert list(found.names_) == ["NaCl", "Na2", "Na", "Cl"]
    np.testing.assert_allclose(found.elements_, [-1.4, -1.8])
    np.testing.assert_allclose(found.distances_, [0, 0, 0.1, 0], atol=1e-12)
    # elements beyond those of the entries
    wide = PhaseDiagram({"Na": 0, "Cl": 0, "K": 0}).fit(["NaCl"], [-2.0])
    np.testing.assert_allclose(wide.predict(["NaKCl2"]), [-2.0])


def test_tie_lines_join_the_phases_of_a_facet():
    found = ternary()
    pairs = {frozenset(found.names_[pair]) for pair in found.tie_lines()}
    assert {"LiFeO2", "Li2O"} in pairs and {"LiFeO2", "Fe2O3"} in pairs
    assert {"Li", "Fe2O3"} not in pairs
    unstable = {"LiFe"} | set(found.names_[found.distances_ > 0])
    assert not any(pair & unstable for pair in pairs)
    for mixture in found.mixtures(["Li2Fe3O7", "LiFeO", "Li7FeO"]):
        assert all({a, b} in pairs for a in mixture for b in mixture if a != b)


def test_further_entries():
    one = ternary()
    more = one.with_entries(["Li5FeO4", {"Li": 1.0, "Fe": 5.0, "O": 8.0}], [-1.99, -1.0])
    assert list(more.names_[-2:]) == ["Li5FeO4", "Fe5LiO8"]
    np.testing.assert_array_equal(more.names_[:-2], one.names_)
    assert more.distances_[-2] == 0 and more.distances_[-1] > 0
    assert len(one.energies_) + 2 == len(more.energies_)
    assert more.get_params() == one.get_params()
    again = PhaseDiagram(0.0, per_atom=True).fit(
        ["Li2O", "FeO", "Fe2O3", "LiFeO2", "LiFe", "Li5FeO4", "LiFe5O8"],
        [-1.9, -1.3, -1.6, -1.85, 0.2, -1.99, -1.0],
    )
    x = ["Li3FeO4", "LiFeO", "Li7Fe2O3"]
    np.testing.assert_allclose(more.predict(x), again.predict(x), rtol=1e-12)


def test_diagrams_are_saved_and_cloned(tmp_path):
    found = ternary()
    joblib.dump(found, tmp_path / "diagram.joblib")
    saved = skops.io.dumps(found)
    trusted = [name for name in skops.io.get_untrusted_types(data=saved) if "skatom." in name]
    for again in (joblib.load(tmp_path / "diagram.joblib"), skops.io.loads(saved, trusted=trusted)):
        np.testing.assert_array_equal(again.predict(["Li3FeO4"]), found.predict(["Li3FeO4"]))
        np.testing.assert_array_equal(again.tie_lines(), found.tie_lines())
    assert not hasattr(clone(found), "energies_")


# --- screening ----------------------------------------------------------------------------------


def test_candidates_are_ranked_by_their_distance():
    X, y = ["NaCl3", "Na3Cl", "NaCl2", "Na2Cl"], np.array([-0.6, 0.1, -0.64, -0.63])
    found = screen(diagram(), X, y)
    distances = y - [-0.5, -0.5, -2 / 3, -2 / 3]
    np.testing.assert_array_equal(found.indices, [0, 2, 3])
    np.testing.assert_allclose(found.distances, distances[[0, 2, 3]])
    # NaCl3 is below the known hull and stays on the common one; NaCl2 is beside it
    hull = -0.6 * 2 / 3 - 1.0 / 3
    np.testing.assert_allclose(found.competing, [0, -0.64 - hull, distances[3]], atol=1e-12)
    assert found.probabilities is None
    assert len(screen(diagram(), X, y, within=-0.2).indices) == 0


def test_deviations_give_probabilities():
    X, y = ["NaCl3", "NaCl2", "Na2Cl"], np.array([-0.6, -0.64, -0.63])
    deviations = np.array([1.0, 0.001, 0.1])
    found = screen(diagram(), X, y, deviations=deviations)
    np.testing.assert_array_equal(found.indices, [1, 0, 2])
    expected = norm.cdf((0.05 - found.distances) / deviations[found.indices])
    np.testing.assert_allclose(found.probabilities, expected)
    assert (np.diff(found.probabilities) <= 0).all()


@pytest.mark.parametrize("deviations", [[0.1], [0.1, 0.0], [0.1, np.nan]])
def test_deviations_that_are_none(deviations):
    with pytest.raises(ValueError, match="deviations must be 2 positive numbers"):
        screen(diagram(), ["NaCl2", "Na2Cl"], [0.0, 0.0], deviations=deviations)
    with pytest.raises(ValueError, match="within=inf keeps all candidates"):
        screen(diagram(), ["NaCl2"], [0.0], within=np.inf)


# --- errors -------------------------------------------------------------------------------------


def test_a_hull_without_its_elements():
    with pytest.raises(ValueError, match="no entry of pure O, Ti: add one .*references={'O': …}"):
        PhaseDiagram().fit(["TiO2", "SrTiO3", "Sr"], [-1.0, -2.0, 0.0])
    with pytest.raises(ValueError, match="no entry of pure Ti"):
        PhaseDiagram({"O": 0.0, "Sr": 0.0}).fit(["TiO2"], [-1.0])


def test_elements_that_are_not_in_the_diagram():
    message = r"composition 1 contains K, which is not in the phase diagram \(Na, Cl\)"
    with pytest.raises(ValueError, match=message):
        diagram().predict(["NaCl", "KCl"])
    with pytest.raises(ValueError, match=message):
        screen(diagram(), ["NaCl", "KCl"], [0.0, 0.0])
    with pytest.raises(ValueError, match=message):
        diagram().distances([bulk("NaCl", "rocksalt", 5.6), bulk("KCl", "rocksalt", 6.3)], [0, 0])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.0, 0.0], r"the shape \(2,\), but there are 3 compositions"),
        ([[0.0], [0.0], [0.0]], r"the shape \(3, 1\)"),
        ([0.0, np.nan, 0.0], "the energy of composition 1 is nan"),
        (["a", "b", "c"], "energies"),
    ],
)
def test_energies_that_are_none(y, message):
    with pytest.raises(ValueError, match=message):
        PhaseDiagram().fit(["Na", "Cl", "NaCl"], y)


@pytest.mark.parametrize("references", [{"Q": 0.0}, {"Na": np.inf, "Cl": 0.0}, np.nan])
def test_references_that_are_none(references):
    with pytest.raises(ValueError, match="has no energy of an element for|must be"):
        PhaseDiagram(references).fit(["NaCl"], [-1.0])


# --- pictures -----------------------------------------------------------------------------------


@pytest.fixture
def no_windows():
    matplotlib.use("Agg")
    yield
    matplotlib.pyplot.close("all")


def test_picture_of_two_elements(no_windows):
    found = PhaseDiagram(0.0, per_atom=True).fit(["NaCl", "NaCl3"], [-1.0, -0.4])
    ax = PhaseDiagramDisplay(found).plot().ax_
    np.testing.assert_allclose(ax.lines[0].get_data(), [[0, 0.5, 1], [0, -1, 0]])
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[0.75, -0.4]])
    np.testing.assert_allclose(ax.collections[0].get_array(), [0.1])
    assert {text.get_text() for text in ax.texts} == {"NaCl", "Na", "Cl"}


def test_picture_of_three_elements(no_windows):
    found = ternary()
    ax = PhaseDiagramDisplay(found).plot(matplotlib.pyplot.figure().add_subplot()).ax_
    assert len(ax.lines) == len(found.tie_lines()) + 2
    lithium, iron, oxygen = (
        ax.lines[-1].get_xydata()[list(found.stable_).index(k)]
        for k in [list(found.names_).index(s) for s in ("Li", "Fe", "O")]
    )
    oxide = ax.lines[-1].get_xydata()[list(found.stable_).index(0)]
    np.testing.assert_allclose(oxide, (2 * lithium + oxygen) / 3)
    for corners in (lithium - iron, iron - oxygen, oxygen - lithium):
        assert np.linalg.norm(corners) == pytest.approx(1)
    assert "Li$_{2}$O" in {text.get_text() for text in ax.texts}


def test_pictures_of_other_numbers_of_elements(no_windows):
    for X in (["Na"], [{s: 1 for s in ELEMENTS}]):
        found = PhaseDiagram(0.0).fit(X, [0.0])
        with pytest.raises(ValueError, match="plots have two or three: fit one to the entries"):
            PhaseDiagramDisplay(found).plot()
