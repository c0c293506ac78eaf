import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from batches import mixed

from skatom.datasets import load_ethanol
from skatom.descriptors import AtomicClusterExpansion
from skatom.descriptors.cluster_basis import ClusterBasis, _independent, products, terms
from skatom.models import LinearPotential


def descriptor(**parameters):
    return AtomicClusterExpansion(**{"cutoff": 4.0, "degrees": (4, 5, 5, 5), **parameters})


def environments(n, n_neighbors, species="H", seed=0):
    """Molecules of a carbon atom and neighbours at random distances and directions."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        vectors = rng.normal(size=(n_neighbors, 3))
        vectors *= (
            rng.uniform(0.9, 2.8, n_neighbors)[:, None] / np.linalg.norm(vectors, axis=1)[:, None]
        )
        symbols = rng.choice(list(species), n_neighbors)
        found.append(Atoms(["C", *symbols], np.vstack([np.zeros(3), vectors])))
    return found


def of_carbon(made, structures):
    features = made.transform(structures)
    return features.values[features.structures.numbers == 6]


# --- which products there are -------------------------------------------------------------------


@pytest.mark.parametrize(("l", "n_invariants"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2)])
def test_fourth_powers_have_as_many_couplings_as_binary_forms_have_invariants(l, n_invariants):
    """Invariants of degree 4 of binary forms of degree 2l: I₂² and, from the sextic on, I₄."""
    assert len(_independent((l,) * 4, (0,) * 4)) == n_invariants


def test_different_projections_have_all_couplings():
    assert _independent((1, 2, 3, 2), (0, 1, 2, 3)) == [1, 2, 3]
    # two equal ones: (A A)_L vanishes for odd L
    assert _independent((2, 2, 1, 1), (0, 0, 1, 2)) == [0, 2]


def test_degrees_and_parity_of_all_products():
    basis = ClusterBasis((5, 6, 7, 7), 0.5, 2)
    found = terms(basis)
    assert len(set(found)) == len(found)
    for term in found:
        order = len(term.factors)
        assert sum(p.degree for p in term.factors) <= basis.degrees[order - 1]
        assert sum(p.l for p in term.factors) % 2 == 0
        assert list(term.factors) == sorted(term.factors)
        assert all(p.degree == p.n + 0.5 * p.l for p in term.factors)
    assert sum(len(term.factors) == 1 for term in found) == 10
    # pairs (n, n', l) with n + n' + l ≤ 6 of the same channel, n ≤ n', and of two
    same = sum(n <= k for l in range(5) for n in range(1, 6) for k in range(1, 7 - l - n))
    different = sum(1 for l in range(5) for n in range(1, 6) for k in range(1, 7 - l - n))
    assert sum(len(term.factors) == 2 for term in found) == 2 * same + different


@pytest.mark.parametrize("degrees", [(3, 5, 0, 0), (3, 4, 6, 0), (3, 4, 5, 7)])
def test_features_are_linearly_independent(degrees):
    made = descriptor(degrees=degrees).fit(environments(1, 6))
    structures = environments(2 * made.n_features_out_, 6)
    values = of_carbon(made, structures)
    values = values[:, np.abs(values).max(axis=0) > 0]  # there is no carbon around carbon
    assert 20 < values.shape[1] < made.n_features_out_
    singular = np.linalg.svd(values / np.linalg.norm(values, axis=0), compute_uv=False)
    assert singular[-1] > 1e-9 * singular[0]


def test_projections_of_a_single_product_are_stored_only_as_far_as_needed():
    made = products(ClusterBasis((6, 5, 4), 1.0, 1))
    assert made.n_pair == 6
    assert made.n_radial.tolist() == [[4, 2]]  # n + n' + 2 l ≤ 5, and Σ n + Σ l ≤ 4


# --- values -------------------------------------------------------------------------------------


def radial(r, n_max, cutoff, inner):
    rho, last = ((1 + inner) / (1 + r)) ** 2, ((1 + inner) / (1 + cutoff)) ** 2
    x = 2 * (rho - last) / (1 - last) - 1
    polynomials = np.array([np.cos(n * np.arccos(x)) for n in range(n_max)])
    return polynomials * 2 * np.cos(np.pi * r / cutoff / 2) ** 2 * rho


def test_products_of_two_projections_are_legendre_polynomials_of_the_angles():
    structure = environments(1, 5)[0]
    made = descriptor(degrees=(3, 6)).fit([structure])
    values = of_carbon(made, [structure])[0]
    vectors = structure.positions[1:]
    r = np.linalg.norm(vectors, axis=1)
    functions = radial(r, 5, 4.0, made.r_min_[0, 1])
    cosines = (vectors @ vectors.T) / np.outer(r, r)
    for value, term in zip(values, terms(made._basis()), strict=True):
        channels = {p.channel for p in term.factors}
        if channels != {0}:  # no carbon around carbon
            assert value == 0
        elif len(term.factors) == 1:
            assert value == pytest.approx(functions[term.factors[0].n - 1].sum(), rel=1e-12)
        else:
            a, b = term.factors
            legendre = np.polynomial.legendre.Legendre.basis(a.l)(cosines.clip(-1, 1))
            expected = (2 * a.l + 1) * functions[a.n - 1] @ legendre @ functions[b.n - 1]
            assert value == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_only_single_projections_reach_beyond_the_cutoff_of_products():
    near = Atoms("CHO", [[0, 0, 0], [1.1, 0, 0], [0, 1.5, 0]])
    far = near + Atoms("O", [[0, 0, 4.5]])
    made = descriptor(cutoff=5.0, product_cutoff=4.0).fit([far])
    assert made.transform([far]).neighbors.cutoff == 5.0
    changes = made.transform([far]).values[0] - made.transform([near]).values[0]
    order = np.array([len(term.factors) for term in terms(made._basis())])
    assert np.abs(changes[order == 1]).max() > 1e-3
    assert not changes[order > 1].any()


def test_products_of_each_number_of_factors_have_their_cutoff():
    """They are those of an expansion with this cutoff, and see no atom beyond it."""
    structures = environments(4, 6, "HO")
    cutoffs = (3.5, 2.0, 2.5)
    made = descriptor(product_cutoff=cutoffs).fit(structures)
    values, names = made.transform(structures).values, made.get_feature_names_out().tolist()
    for order, cutoff in enumerate(cutoffs, 2):
        degrees = np.zeros(order)
        degrees[-1] = made.degrees[order - 1]
        single = descriptor(product_cutoff=cutoff, degrees=degrees).fit(structures)
        single.r_min_ = made.r_min_
        own = [names.index(name) for name in single.get_feature_names_out()]
        assert len(own) == sum(len(t.factors) == order for t in terms(made._basis())) > 0
        expected = single.transform(structures).values
        np.testing.assert_allclose(values[:, own], expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(
        made.n_neighbors_[1], descriptor(product_cutoff=2.0).fit(structures).n_neighbors_[0]
    )


def test_one_cutoff_for_all_products_is_the_same_as_equal_ones():
    structures = environments(3, 5, "HO")
    one = descriptor(product_cutoff=3.0).fit_transform(structures)
    three = descriptor(product_cutoff=[3.0, 3.0, 3.0]).fit_transform(structures)
    np.testing.assert_array_equal(one.values, three.values)


def test_species_of_equal_weights_can_change_places():
    """Whatever the distances at which each was seen."""
    structures = environments(3, 5, "HO")
    near = molecule("CH4")
    mixed = descriptor(species_compression=[[1.0, 0.5, 1.0]], degrees=(0, 5, 5, 5))
    values = of_carbon(mixed.fit([*structures, near]), structures)
    for atoms in structures:
        swapped = {1: 8, 8: 1, 6: 6}
        atoms.numbers = [swapped[z] for z in atoms.numbers]
    np.testing.assert_allclose(of_carbon(mixed, structures), values, rtol=1e-12, atol=1e-13)
    assert (mixed.r_min_ == mixed.r_min_.min()).all()


def test_products_of_more_projections_than_neighbours_are_left_out():
    water = molecule("H2O")
    made = descriptor(degrees=(2, 4, 5, 5), l_weight=1.0).fit([water])
    np.testing.assert_array_equal(made.n_neighbors_, 3 * [[[1, 1], [2, 0]]])
    names = made.get_feature_names_out()
    assert not any(name.count("_O") > 1 for name in names if name.count("_") > 1)
    assert any(name.count("_H") == 2 for name in names)
    of_hydrogen, of_oxygen = made.feature_species()
    for name, hydrogen, oxygen in zip(names, of_hydrogen, of_oxygen, strict=True):
        parts = name.split("_")[1:]
        n_h, n_o = (sum(p.startswith(symbol) for p in parts) for symbol in "HO")
        if n_h + n_o > 1:
            assert hydrogen == (n_h <= 1 and n_o <= 1)
            assert oxygen == (n_h <= 2 and n_o == 0)
            assert hydrogen or oxygen
        else:
            assert hydrogen and oxygen


def test_linear_models_need_no_columns_of_what_is_left_out():
    """Forces are predicted as well as with the products that are left out."""
    data = load_ethanol()
    train, test = slice(None, None, 25), slice(10, None, 25)
    made = descriptor(degrees=(14, 4, 4), l_weight=0.5).fit(data.structures[train])

    def fitted():
        model = LinearPotential(1e-6, noise_forces=0.01)
        model.fit(made.transform(data.structures[train]), data.targets[train])
        forces = model.predict(made.transform(data.structures[test]), return_forces=True)[1]
        return model, np.abs(forces - data.targets[test].forces).mean()

    few, error = fitted()
    assert few.sums_.n_columns == 3 + made.feature_species().sum()
    assert (few.coef_[~made.feature_species()] == 0).all()
    made.n_neighbors_ = np.full((2, 3, 3), 4)
    assert made.feature_species().all()
    many, error_of_all = fitted()
    assert many.sums_.n_columns > 1.2 * few.sums_.n_columns
    assert error < 1.05 * error_of_all


def test_polynomials_begin_at_four_fifths_of_the_smallest_distance_of_two_species():
    made = descriptor().fit([molecule("H2O"), molecule("CH4")])
    water, methane = molecule("H2O"), molecule("CH4")
    symbols = {1: 0, 6: 1, 8: 2}
    assert made.r_min_[symbols[1], symbols[8]] == pytest.approx(0.8 * water.get_distance(0, 1))
    assert made.r_min_[symbols[6], symbols[1]] == pytest.approx(0.8 * methane.get_distance(0, 1))
    assert made.r_min_[symbols[6], symbols[8]] == 1.6  # never met: of half of the cutoff
    assert (made.r_min_ == made.r_min_.T).all()


# --- names, degrees, errors ---------------------------------------------------------------------


def test_names_and_degrees_belong_to_the_features():
    made = descriptor(degrees=(2, 4, 5, 6)).fit([molecule("CH4")])
    names, degrees = made.get_feature_names_out(), made.feature_degrees()
    assert len(set(names)) == len(names) == len(degrees) == made.n_features_out_
    assert names[0] == "ace_H1l0"
    place = names.tolist().index("ace_H1l1_C1l1")
    assert degrees[place] == 2.5
    assert any(name.endswith("L0") for name in names)
    compressed = descriptor(species_compression=[[1.0, 1.0]]).fit([molecule("CH4")])
    names = compressed.get_feature_names_out()
    assert names[0] == "ace_H1l0"
    assert any(name.startswith("ace_mix0-1l0_mix0-1l0") for name in names)
    by_similarity = descriptor(species_compression=1).fit([molecule("CH4")])
    singles = by_similarity.get_feature_names_out()[[0, 4, 8]].tolist()
    assert singles == ["ace_mix0-1l0", "ace_mix1-1l0", "ace_mix0-1l0_mix0-1l0"]
    assert by_similarity.n_features_out_ == compressed.n_features_out_


@pytest.mark.parametrize("compression", [1, 2, [[1.0, 0.5, 0.3]]])
def test_compression_leaves_all_single_projections(compression):
    structures = environments(3, 5, "HO")
    made = descriptor(species_compression=compression, degrees=(4, 4)).fit(structures)
    separate = descriptor(degrees=(4,)).fit(structures)
    separate.r_min_ = made.r_min_
    found, expected = (m.transform(structures).values[:, :12] for m in (made, separate))
    found, expected = found.reshape(-1, 3, 4), expected.reshape(-1, 3, 4)
    mixed = np.einsum("js,isn->ijn", made.pair_mixing_, expected)
    np.testing.assert_allclose(found, mixed, rtol=1e-12, atol=1e-14)
    assert np.linalg.matrix_rank(made.pair_mixing_) == 3
    if not isinstance(compression, int):
        np.testing.assert_array_equal(made.pair_mixing_, np.eye(3))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degrees": ()}, "one to four"),
        ({"degrees": (3, 3, 3, 3, 3)}, "one to four"),
        ({"degrees": (3, -1)}, "one to four"),
        ({"degrees": (0, 1)}, "no features"),
        ({"degrees": (30, 30, 30, 30)}, "more than 50000 features"),
        (
            {"product_cutoff": 5.0},
            "product_cutoff=5.0 must be positive and not larger than cutoff=4",
        ),
        ({"product_cutoff": [3.0, 3.0, 4.5]}, "must be positive and not larger than cutoff=4"),
        (
            {"product_cutoff": [3.0, 3.0]},
            "must be one number, or 3: one for each number of factors",
        ),
        ({"l_weight": 0.0}, "l_weight"),
    ],
)
def test_wrong_parameters_are_errors(parameters, message):
    with pytest.raises(ValueError, match=message):
        descriptor(**parameters).fit(mixed())
