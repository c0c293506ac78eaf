"""Covariances of energies and forces: pieces, bases, golden numbers."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from skatom import Structures
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian, Polynomial, bases, blocks, coordinates, covariance
from skatom.kernels.environments import Environments
from skatom.parallel import threads_over_blas


def displaced(atoms, seed):
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def molecules():
    images = [molecule("H2O"), molecule("CH3OH"), molecule("CH4"), molecule("H2O")]
    return Structures.from_ase([displaced(atoms, seed) for seed, atoms in enumerate(images)])


@pytest.mark.parametrize("numbers_at_once", [2**20, 1], ids=["all", "one by one"])
def test_basis_of_the_jacobians_changes_nothing(molecules, monkeypatch, numbers_at_once):
    """Structures one by one have unlike features that are not zero, whose matrices are added."""
    monkeypatch.setattr(bases, "_BATCH", numbers_at_once)
    kernel, features = Gaussian(2.0), FCHL19(n_r2=6, n_r3=5).fit_transform(molecules)
    found = {}
    for name, atoms in (("with", 0), ("without", 1e9)):
        monkeypatch.setattr(bases, "_ROWS_PER_FEATURE", atoms)
        assert (bases.jacobian_bases(features) is None) == (name == "without")
        found[name] = covariance(kernel, features)
    scale = np.abs(found["with"]).max()
    np.testing.assert_allclose(found["with"], found["without"], atol=1e-13 * scale)


@pytest.mark.parametrize("atoms_per_feature", [0, 1e9], ids=["basis", "no basis"])
@pytest.mark.parametrize("rows_at_once", [512, 7])
def test_rows_and_columns_are_chosen_from_the_whole_matrix(
    molecules, monkeypatch, atoms_per_feature, rows_at_once
):
    """Some coordinates, some energies, atoms without neighbours, species in one side only."""
    monkeypatch.setattr(bases, "_ROWS_PER_FEATURE", atoms_per_feature)
    monkeypatch.setattr(blocks, "_ROWS", rows_at_once)
    rng, kernel = np.random.default_rng(0), Gaussian(2.0) + 0.1 * Polynomial(2)
    oxygen, frames = Atoms("O"), molecules.to_ase()
    batches = [Structures.from_ase(images) for images in ([*frames, oxygen], [oxygen, frames[2]])]
    descriptor = FCHL19(n_r2=6, n_r3=5).fit(molecules)
    sides = [descriptor.transform(structures) for structures in batches]
    whole = covariance(kernel, *sides)
    of_both = bases.jacobian_bases(*sides)
    made, layouts, index = [], [], []
    for features in sides:
        sizes = 3 * features.n_atoms
        kept = [np.sort(rng.choice(n, rng.integers(n), replace=False)) for n in sizes]
        has_energy = rng.random(len(features)) < 0.6
        starts = np.cumsum(1 + sizes) - 1 - sizes
        index.append(np.concatenate([
            np.append(start if has else [], start + 1 + some).astype(int)
            for start, has, some in zip(starts, has_energy, kept, strict=True)
        ]))  # fmt: skip
        made.append(Environments(features, kept, of_both))
        layouts.append(blocks.layout(made[-1].n_dof, has_energy))
    found = np.full([len(rows) for rows in index], np.nan)
    with threads_over_blas() as pool:
        blocks.fill_columns(
            kernel, *made, *layouts, (0, len(sides[1])), 0, False, found, pool
        )  # fmt: skip
    np.testing.assert_allclose(found, whole[np.ix_(*index)], atol=1e-13 * np.abs(whole).max())


@pytest.mark.parametrize(("numbers", "parts"), [(2**20, 64), (1, 64), (1, 2)])
def test_products_of_jacobians_of_each_pair_of_elements(molecules, monkeypatch, numbers, parts):
    """Structures are cut into batches, and batches into parts, with unlike features not zero."""
    monkeypatch.setattr(bases, "_BATCH", numbers)
    monkeypatch.setattr(bases, "_PARTS", parts)
    features = FCHL19(n_r2=6, n_r3=5).fit_transform(molecules)
    jacobian = features.jacobian(slice(None))
    centers, others = (
        molecules.numbers[atoms] for atoms in (jacobian.pairs.centers, jacobian.pairs.indices)
    )
    found = {}
    for z, moved, used, gram in bases._slope_grams(features, map):
        found[z, moved] = np.zeros([features.values.shape[1]] * 2)
        found[z, moved][used] = gram
    assert sorted(found) == sorted(set(zip(centers, others, strict=True)))
    for (z, moved), gram in found.items():
        rows = jacobian.values[(centers == z) & (others == moved)].reshape(-1, len(gram))
        np.testing.assert_allclose(gram, rows.T @ rows, atol=1e-12 * np.abs(gram).max())


def test_any_number_of_threads_gives_the_same(molecules):
    import numba

    kernel, features = Gaussian(5.0), FCHL19().fit_transform(molecules)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = covariance(kernel, features)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(covariance(kernel, features), one)


def test_like_atoms_may_be_exchanged(molecules):
    kernel, descriptor = Gaussian(5.0), FCHL19().fit(molecules)
    water = molecules[:1]
    swapped = Structures(water.numbers, water.positions[[0, 2, 1]], water.offsets)
    rows = covariance(kernel, descriptor.transform(water), descriptor.transform(molecules))
    other = covariance(kernel, descriptor.transform(swapped), descriptor.transform(molecules))
    order = [0, 1, 2, 3, 7, 8, 9, 4, 5, 6]
    np.testing.assert_allclose(other, rows[order], atol=1e-11)


def test_isolated_atoms_have_no_force_covariance():
    atoms = Structures.from_ase([Atoms("H"), molecule("H2O")])
    matrix = covariance(Gaussian(5.0), FCHL19().fit_transform(atoms))
    assert np.abs(matrix[1:4]).max() < 1e-12
    assert matrix[0, 0] == pytest.approx(1.0)


WATER = ("OHH", [[1.464, 0.707, 1.056], [0.878, 1.218, 0.498], [2.319, 1.126, 0.952]])
FORMALDEHYDE = ("COHH", [[0, 0, 0], [0, 0, 1.25], [0, 0.94, -0.55], [0, -0.9, -0.6]])


@pytest.fixture(scope="module")
def golden():
    return FCHL19().fit_transform([Atoms(*WATER), Atoms(*FORMALDEHYDE)])


@pytest.mark.parametrize(
    ("sigma", "values"),
    [
        (21.0, (4.999999965519232, 4.97438941701529, 5.999997683085954)),
        (2.0, (4.999996198498968, 2.931634576254325, 5.999744576390114)),
    ],
)
def test_golden_values_of_fchl19(sigma, values, golden):
    gram = Gaussian(sigma)(golden)
    np.testing.assert_allclose(gram[np.triu_indices(2)], values, rtol=1e-13)
    energies = covariance(Gaussian(sigma), golden, rows=("energy",))
    np.testing.assert_allclose(energies, gram, rtol=1e-12)


def test_golden_force_covariance_of_fchl19(golden):
    matrix = covariance(Gaussian(2.0), golden[0], golden[1])
    # -∂K/∂R of water's oxygen, with the energy of formaldehyde
    np.testing.assert_allclose(
        matrix[1:4, 0], [0.6771718074, 2.3685303381, -1.6880825212], atol=6e-11
    )


def test_jacobians_are_multiplied_where_they_are_not_zero(monkeypatch):
    """Elements that change few features each, in any order of the atoms, equal dense products."""
    frames = [molecule(name) for name in ("CH3CH2OH", "CH3CONH2", "C6H6", "CH3CN")]
    for image in frames[:2]:
        image.rattle(0.05, seed=1)
    mixed = [image[np.random.default_rng(2).permutation(len(image))] for image in frames]
    features = FCHL19(n_r2=6, n_r3=5).fit_transform([*frames, *mixed])
    found = {}
    for shortest in (1, 8, 10**6):
        for rows in (0, 10**6):
            monkeypatch.setattr(coordinates, "_SHORTEST", shortest)
            monkeypatch.setattr(bases, "_ROWS_PER_FEATURE", rows)
            found[shortest, rows] = covariance(
                Gaussian(2.0), features, rows=("energy", "forces", "virial")
            )
    dense = found[10**6, 10**6]
    for matrix in found.values():
        np.testing.assert_allclose(matrix, dense, atol=1e-13 * np.abs(dense).max())


def test_bases_keep_what_elements_do_not_change():
    features = FCHL19().fit_transform([molecule("CH3CH2OH")] * 60)
    moved = features.jacobian(slice(0, 1))
    numbers = features.structures.numbers
    of_carbon = (numbers[moved.pairs.centers] == 6) & (numbers[moved.pairs.indices] == 8)
    projected = moved.values[of_carbon] @ bases.jacobian_bases(features)[6]
    unchanged = ~projected.any(axis=(0, 1))
    assert 0.2 * len(unchanged) < unchanged.sum() < len(unchanged)


def test_isolated_atoms_have_a_basis(monkeypatch):
    monkeypatch.setattr(bases, "_ROWS_PER_FEATURE", 0)
    features = FCHL19().fit_transform([Atoms("O"), Atoms("O")])
    matrix = covariance(Gaussian(2.0), features)
    energies = [0, 4]
    np.testing.assert_allclose(matrix[np.ix_(energies, energies)], 1.0)
    assert not np.delete(matrix, energies, axis=0).any()
