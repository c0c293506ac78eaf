import re
from itertools import combinations, product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read
from batches import mixed
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Structures
from skatom.descriptors import MomentTensor
from skatom.descriptors.contractions import Basis, compile_program, contractions
from skatom.neighbors import neighbor_list


def descriptor(**parameters):
    return MomentTensor(**{"cutoff": 4.0, "level": 10, **parameters})


def features_of(structures, **parameters):
    return descriptor(**parameters).fit_transform(structures)


def scaled(features):
    """Values whose columns have the largest absolute value 1, or less if they cancel."""
    return features.values / scales(features)


def scales(features):
    names = features.descriptor.get_feature_names_out()
    # 10 Å² for every moment; without a floor columns that are zero by symmetry would become noise
    floors = [10.0 ** name.count("_") for name in names]
    return np.maximum(np.abs(features.values).max(axis=0), floors)


def rattled_molecule():
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=3)
    return atoms


def skewed_crystal():
    """Three species in a skewed cell smaller than the cutoff."""
    return mixed()[1]


# --- which contractions there are ---------------------------------------------------------------


def counts(levels, max_factors=4, n_channels=1):
    return [len(contractions(Basis(level, 4, max_factors, 5, 10, n_channels))) for level in levels]


def test_contractions_of_every_level_are_as_many_as_in_the_tables_of_mlip():
    levels = range(2, 30, 2)
    assert counts(levels) == [1, 2, 5, 9, 16, 29, 52, 92, 163, 288, 500, 864, 1464, 2445]
    n_mu = [len(compile_program(Basis(level, 4, 4, 5, 10, 1)).degrees) for level in levels[:11]]
    assert n_mu == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]


def test_contractions_of_any_number_of_moments_have_the_known_counts():
    assert counts(range(2, 22, 2), None) == [1, 2, 5, 9, 17, 32, 61, 116, 229, 460]


def test_contractions_of_several_species_have_the_known_counts():
    levels = range(2, 18, 2)
    assert counts(levels, n_channels=2) == [2, 5, 14, 32, 68, 149, 315, 656]
    assert counts(levels, n_channels=3) == [3, 9, 28, 76, 184, 455, 1061, 2405]


def test_odd_levels_add_nothing_and_caps_remove():
    assert counts([9, 11]) == counts([8, 10])
    names = descriptor(level=16, max_factors=2, max_mu=1, max_nu=2).fit([bulk("Si")])
    moments = [name.split(":")[1].split("_") for name in names.get_feature_names_out()]
    assert max(map(len, moments)) == 2
    assert {m[:3] for pair in moments for m in pair} == {"Si0", "Si1"}
    assert max(len(m) for pair in moments for m in pair) == len("Si0ab")


# --- the numbers of the formula -----------------------------------------------------------------


def test_contractions_have_the_known_values():
    positions = [(0, 0, 0), (1, 0.2, -0.3), (-0.5, 1.1, 0.4), (0.3, -0.7, 1.2)]
    moments = MomentTensor(level=10, r_min=0.5)
    values = moments.fit_transform([Atoms("H4", positions)]).values[0]
    found = dict(zip(moments.get_feature_names_out(), values, strict=True))
    golden = {
        "H0": 42.1992617224, "H1": -28.3053487867, "H2": -3.8634269620,
        "H0_H0": 1780.7776899119, "H0_H0_H0": 75147.5038059227,
        "H0_H0_H0_H0": 3171169.1808878439, "H0_H1": -1194.4648215924,
        "H0_H0_H1": -50405.5336245257, "H0a_H0a": 330.8367847354,
        "H0a_H1a": -224.9862488100, "H0ab_H0ab": 662.9126088383,
        "H0abc_H0abc": 580.0935389964, "H0a_H0b_H0ab": 2687.5549117119,
        "H0_H0ab_H0ab": 27974.4226794174, "H0_H0a_H0a": 13961.0680664332,
        "H0_H0_H0a_H0a": 589146.7652590377,
    }  # fmt: skip
    assert {f"mt_H:{name}" for name in golden} == set(found)
    for name, value in golden.items():
        assert found[f"mt_H:{name}"] == pytest.approx(value, rel=1e-11)


def radial(r, cutoff, r_min, mu):
    return np.cos(mu * np.arccos((2 * r - r_min - cutoff) / (cutoff - r_min))) * (cutoff - r) ** 2


@pytest.mark.parametrize("parameters", [{}, {"unit_vectors": False}, {"max_factors": None}])
def test_every_feature_is_the_einstein_sum_of_its_name(parameters):
    atoms = rattled_molecule()
    moments = descriptor(level=12, by_center=False, r_min=0.6, **parameters)
    if "max_factors" in parameters:  # a connected graph of five moments has the level 18
        moments.set_params(level=18)
        atoms.numbers[:] = 6
    values = moments.fit_transform([atoms]).values[0]
    vectors = atoms.positions[1:] - atoms.positions[0]
    r = np.linalg.norm(vectors, axis=1)
    symbols, near = np.array(atoms.get_chemical_symbols()[1:]), r < 4.0
    factors = vectors / r[:, None] if moments.unit_vectors else vectors

    def tensor(symbol, mu, rank):
        chosen = near & (symbols == symbol)
        total = radial(r[chosen], 4.0, 0.6, mu)
        for _ in range(rank):
            total = np.einsum("j...,ja->j...a", total, factors[chosen])
        return total.sum(axis=0)

    for name, value in zip(moments.get_feature_names_out(), values, strict=True):
        parts = re.findall(r"_([A-Z][a-z]?)(\d)([a-z]*)", name)
        tensors = [tensor(symbol, int(mu), len(indices)) for symbol, mu, indices in parts]
        expected = np.einsum(",".join(p[2] for p in parts) + "->", *tensors, optimize=True)
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-10)


def test_contractions_are_sums_over_tuples_of_neighbors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(4, 3))
    moments = MomentTensor(level=16, r_min=0.3, by_center=False)
    values = moments.fit_transform([Atoms("H5", np.vstack([np.zeros(3), vectors]))]).values[0]
    r = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors.T / np.outer(r, r)
    for parts, value in zip(contractions(moments._basis()), values, strict=True):
        expected = 1.0
        for graph in parts:
            n = len(graph.moments)
            f = [radial(r, 5.0, 0.3, moment.mu) for moment in graph.moments]
            total = 0.0
            for chosen in product(range(4), repeat=n):
                term = np.prod([f[a][j] for a, j in enumerate(chosen)])
                for m, (a, b) in zip(graph.edges, combinations(chosen, 2), strict=True):
                    term *= cosines[a, b] ** m
                total += term
            expected *= total
        assert value == pytest.approx(expected, rel=1e-9)


def test_products_of_two_moments_of_one_and_two_neighbors():
    angle, r = 1.1, (1.3, 2.1)
    trimer = Atoms("H3", [(0, 0, 0), (r[0], 0, 0), (r[1] * np.cos(angle), r[1] * np.sin(angle), 0)])
    moments = MomentTensor(level=14, r_min=0.5)
    dimer, trimer = (f.values[0] for f in moments.fit_transform([trimer[:2], trimer]))
    found = {name.split(":")[1]: k for k, name in enumerate(moments.get_feature_names_out())}
    for nu in range(1, 6):
        k = found["_".join(["H0" + "abcde"[:nu]] * 2)]
        f = [radial(d, 5.0, 0.5, 0) for d in r]
        assert dimer[k] == pytest.approx(f[0] ** 2)
        expected = f[0] ** 2 + f[1] ** 2 + 2 * f[0] * f[1] * np.cos(angle) ** nu
        assert trimer[k] == pytest.approx(expected)


def test_r_min_is_a_change_of_basis():
    structures = [rattled_molecule(), molecule("CH3CONH2")]
    parameters = {"level": 12, "species_compression": np.ones((1, 4)), "by_center": False}
    one = scaled(features_of(structures, **parameters, r_min=0.3, max_factors=1))
    two = scaled(features_of(structures, **parameters, r_min=1.2, max_factors=1))
    np.testing.assert_allclose(one @ np.linalg.lstsq(one, two)[0], two, atol=1e-9)


def test_the_smallest_distance_is_learnt():
    structures = [molecule("CO2"), molecule("CO"), Atoms("C")]
    assert descriptor().fit(structures).r_min_ == pytest.approx(structures[1].get_distance(0, 1))
    assert descriptor().fit([Atoms("C")]).r_min_ == 0
    assert descriptor(r_min=0.7).fit(structures).r_min_ == 0.7
    crystal = skewed_crystal()
    pairs = neighbor_list([crystal], 4.0)
    smallest = np.linalg.norm(pairs.vectors, axis=1).min()
    assert descriptor().fit([crystal]).r_min_ == pytest.approx(smallest)


def test_compression_mixes_the_moments_of_the_species():
    atoms = rattled_molecule()
    uniform = atoms.copy()
    uniform.numbers[:] = 6
    parameters = {"by_center": False, "r_min": 0.5}
    blind = features_of([atoms], species_compression=np.ones((1, 4)), **parameters)
    plain = features_of([uniform], **parameters)
    np.testing.assert_allclose(scaled(blind), scaled(plain), atol=1e-12)
    identity = features_of([atoms], species_compression=np.eye(4), **parameters)
    np.testing.assert_array_equal(identity.values, features_of([atoms], **parameters).values)


def test_each_species_of_the_centre_has_a_block_of_features():
    atoms = rattled_molecule()
    blocks = features_of([atoms], include_bias=True).values
    plain = features_of([atoms], by_center=False).values
    width = plain.shape[1] + 1
    for row, same, z in zip(blocks, plain, atoms.numbers, strict=True):
        k = list(np.unique(atoms.numbers)).index(z)
        mine = row[k * width : (k + 1) * width]
        assert mine[0] == 1
        np.testing.assert_array_equal(mine[1:], same)
        assert not row[: k * width].any() and not row[(k + 1) * width :].any()


# --- derivatives --------------------------------------------------------------------------------


def test_features_and_gradients_vanish_smoothly_at_the_cutoff():
    moments = MomentTensor(cutoff=4.0, level=12, r_min=0.5).fit([molecule("H2")])
    for gap in (1e-4, 1e-6):
        features = moments.transform([Atoms("H2", [[0, 0, 0], [0, 0, 4.0 - gap]])])
        gradient, _ = features.pullback(np.ones(features.values.shape[1]))
        assert np.abs(features.values).max() <= 1.01 * gap**2
        assert np.abs(gradient).max() <= 20 * gap


# --- linear models ------------------------------------------------------------------------------


def silicon(n, seed=0):
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        atoms = bulk("Si", cubic=True)
        strain = np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.positions += rng.normal(scale=0.12, size=(8, 3))
        structures.append(atoms)
    return structures


def two_and_three_body_energy(structures, cutoff=4.0):
    """Morse pairs, and triples with the strain of tetrahedral angles."""
    pairs = neighbor_list(structures, cutoff)
    atomic = np.zeros(len(pairs.offsets) - 1)
    for i in range(len(atomic)):
        v = pairs.vectors[pairs.offsets[i] : pairs.offsets[i + 1]]
        r = np.linalg.norm(v, axis=1)
        smooth = (1 - r / cutoff) ** 2
        morse = np.exp(-2.0 * (r - 2.3)) - 2 * np.exp(-1.0 * (r - 2.3))
        g = smooth * np.exp(-0.5 * r)
        cosines = v @ v.T / np.outer(r, r)
        angles = np.outer(g, g) * (cosines + 1 / 3) ** 2
        atomic[i] = 5 * smooth @ morse + 20 * (angles.sum() - np.trace(angles))
    offsets = np.cumsum([0, *map(len, structures)])
    return np.add.reduceat(atomic, offsets[:-1])


def numerical_forces(atoms, energy, step=1e-4):
    moved = []
    for k, sign in product(range(3 * len(atoms)), (1, -1)):
        moved.append(atoms.copy())
        moved[-1].positions.flat[k] += sign * step
    e = energy(moved).reshape(-1, 2)
    return -((e[:, 0] - e[:, 1]) / (2 * step)).reshape(-1, 3)


def test_a_linear_model_learns_pairs_and_triples_with_forces():
    structures = silicon(150)
    energies = two_and_three_body_energy(structures)
    moments = MomentTensor(cutoff=4.0, level=10, mu_level=2, pool="sum")
    model = make_pipeline(moments, StandardScaler(), Ridge(1e-6))
    model.fit(structures[:120], energies[:120])
    test = structures[120:]
    assert model.score(test, energies[120:]) > 0.999
    # the same model's forces
    weights = model[-1].coef_ / model[1].scale_
    local = clone(moments).set_params(pool=None, r_min=model[0].r_min_).fit(structures)
    forces = -local.transform(test[:2]).pullback(weights)[0]
    exact = np.concatenate([numerical_forces(a, two_and_three_body_energy) for a in test[:2]])
    assert np.sqrt(np.mean((forces - exact) ** 2)) < 0.03 * exact.std()


def test_a_linear_model_finds_energies_of_its_own_form_exactly():
    structures = [rattled_molecule() for _ in range(150)]
    for k, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=k)
    structures += [molecule(name) for name in ("CH3OH", "NH3", "CO2", "CH4")]
    features = features_of(structures, level=6, species_compression=2, include_bias=True)
    xi = np.random.default_rng(0).normal(size=features.values.shape[1]) / scales(features)
    X = features.pool("sum").values
    unit = np.abs(X).max(axis=0)
    fit = np.linalg.lstsq(X / unit, X @ xi, rcond=1e-13)[0] / unit
    for found, exact in zip(features.pullback(fit), features.pullback(xi), strict=True):
        np.testing.assert_allclose(found, exact, atol=1e-6)


@pytest.mark.slow
def test_a_linear_model_is_as_accurate_as_the_published_potential_of_silicon(reference_data):
    # test errors of a moment tensor potential with trained radial functions in Zuo et al.,
    # J. Phys. Chem. A 124, 731 (2020): 2.21 meV/atom and 0.06 eV/Å
    train, test = (
        read(reference_data / "mlearn" / f"mlearn_Si_{part}.xyz.xz", ":")
        for part in ("train", "test")
    )
    moments = MomentTensor(level=18, mu_level=2)
    features = moments.fit_transform(train)
    means = features.pool("mean").values
    unit = means.std(axis=0)
    energies = energies_per_atom(train)
    X = 30 * (means - means.mean(axis=0)) / unit  # an energy per atom counts as 30² forces
    gram, target = X.T @ X, 30 * X.T @ (energies - energies.mean())
    for first in range(0, len(train), 8):
        part = slice(first, first + 8)
        X = force_rows(features, part) / unit
        gram += X.T @ X
        target += X.T @ np.concatenate([atoms.get_forces() for atoms in train[part]]).ravel()
    gram.flat[:: len(gram) + 1] += 1e-8 * np.trace(gram) / len(gram)
    coefficients = np.linalg.solve(gram, target) / unit
    found = moments.transform(test)
    predicted = (found.pool("mean") - means.mean(axis=0)) @ coefficients + energies.mean()
    assert np.abs(predicted - energies_per_atom(test)).mean() < 2.3e-3
    forces = -found.pullback(coefficients)[0]
    exact = np.concatenate([atoms.get_forces() for atoms in test])
    assert np.abs(forces - exact).mean() < 0.065


def energies_per_atom(structures):
    return np.array([atoms.get_potential_energy() / len(atoms) for atoms in structures])


def force_rows(features, part):
    """Forces (3 n_atoms, n_features) of each feature, summed over the atoms of a structure."""
    jacobian = features.jacobian(part)
    pairs, n = jacobian.pairs, len(jacobian.pairs)
    ends = np.concatenate([pairs.indices, pairs.centers])
    signs = np.repeat([-1.0, 1.0], n)
    shape = (len(pairs.offsets) - 1, n)
    collect = csr_array((signs, (ends, np.tile(np.arange(n), 2))), shape)
    return (collect @ jacobian.values.reshape(n, -1)).reshape(3 * shape[0], -1)


# --- special structures and bad input -----------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff": -1.0}, "cutoff"),
        ({"level": 1}, "level"),
        ({"level": 8.5}, "level"),
        ({"level": 40}, "level"),
        ({"mu_level": 0}, "mu_level"),
        ({"max_factors": 0}, "max_factors"),
        ({"max_mu": -1}, "max_mu"),
        ({"max_nu": -1}, "max_nu"),
        ({"r_min": -1.0}, "r_min"),
        ({"r_min": 5.0}, "r_min=5.0 must be smaller than cutoff"),
        ({"unit_vectors": "yes"}, "unit_vectors"),
        ({"by_center": None}, "by_center"),
        ({"pool": "max"}, "pool"),
        ({"species_compression": 3}, "more than the 2 species"),
        ({"species_compression": np.ones((2, 3))}, "one column for each of the 2 species"),
        (
            {"level": 28, "mu_level": 1, "max_mu": 26, "max_nu": 1},
            "reduce level or use species_compression",
        ),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        MomentTensor(**parameters).fit([molecule("CH4")])


# --- scikit-learn -------------------------------------------------------------------------------


def test_features_larger_than_memory_are_refused_with_advice():
    moments = descriptor(level=22).fit([molecule("CO")])
    structures = Structures.from_ase([molecule("CO")])
    with pytest.raises(MemoryError, match="reduce level, or use species_compression"):
        moments.transform(structures[np.zeros(1_000_000, int)])
