"""Covariances of energies and forces against finite differences and the kernel itself."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from skatom import Structures
from skatom.descriptors import FCHL19, SOAP
from skatom.kernels import Cosine, Gaussian, Matern, Polynomial, blocks, covariance, environments
from skatom.parallel import threads_over_blas

KERNELS = {
    "gaussian": Gaussian(2.0),
    "matern": Matern(2.0),
    "cosine": Cosine(3),
    "sum": Gaussian(2.0) + 0.1 * Polynomial(2),
}


def displaced(atoms, seed):
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def molecules():
    images = [molecule("H2O"), molecule("CH3OH"), molecule("CH4"), molecule("H2O")]
    return Structures.from_ase([displaced(atoms, seed) for seed, atoms in enumerate(images)])


@pytest.fixture(scope="module")
def crystals():
    silicon = bulk("SiC", "zincblende", a=4.36)
    skewed = Atoms("Si2C", cell=[[2.9, 0, 0], [1.1, 2.8, 0], [0.4, -0.7, 3.2]], pbc=True)
    skewed.set_scaled_positions([[0, 0, 0], [0.4, 0.5, 0.6], [0.7, 0.1, 0.2]])
    return Structures.from_ase([displaced(silicon, 1), displaced(skewed, 2)])


def scalar(kernel, descriptor, structures):
    """Σ_I Σ_J k(q_I, q_J) of all pairs of structures, element by element, the slow way."""
    f = descriptor.transform(structures)
    k = kernel(f.values) * (f.numbers[:, None] == f.numbers)
    starts = f.offsets[:-1]
    return np.add.reduceat(np.add.reduceat(k, starts, axis=0), starts, axis=1)


def moved(structures, s, coordinate, step):
    positions = structures.positions.copy()
    positions[structures.offsets[s] :].flat[coordinate] += step
    return Structures(
        structures.numbers, positions, structures.offsets, structures.cells, structures.pbc
    )


def by_differences(kernel, descriptor, structures, a, b, step=2e-3):
    """cov of (E, F) of structures a and b, by central differences of the scalar kernel."""
    batch = structures[[a, b]]
    sizes = 3 * batch.n_atoms

    def moves(s):
        return [(s, c) for c in range(sizes[s])]

    def value(*displacements):
        x = batch
        for (s, c), h in displacements:
            x = moved(x, s, c, h)
        return scalar(kernel, descriptor, x)[0, 1]

    def slope(f):
        return (8 * (f(step) - f(-step)) - (f(2 * step) - f(-2 * step))) / (12 * step)

    result = np.zeros(1 + sizes)
    result[0, 0] = value()
    for i, m in enumerate(moves(0)):
        result[1 + i, 0] = -slope(lambda h, m=m: value((m, h)))
        for j, o in enumerate(moves(1)):
            result[1 + i, 1 + j] = slope(lambda h, m=m, o=o: slope(lambda g: value((m, h), (o, g))))
    for j, o in enumerate(moves(1)):
        result[0, 1 + j] = -slope(lambda g, o=o: value((o, g)))
    return result


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_blocks_of_molecules_are_the_hessian_of_the_scalar_kernel(kernel, molecules):
    features = FCHL19(n_r2=6, n_r3=5, cutoff=6.0).fit_transform(molecules)
    matrix = covariance(kernel, features)
    starts = np.concatenate([[0], np.cumsum(1 + 3 * molecules.n_atoms)])
    expected = by_differences(kernel, features.descriptor, molecules, 0, 2)
    block = matrix[starts[0] : starts[1], starts[2] : starts[3]]
    np.testing.assert_allclose(block, expected, atol=2e-8 * np.abs(expected).max())


def test_blocks_of_crystals_smaller_than_the_cutoff(crystals):
    features = SOAP(cutoff=4.0, n_max=3, l_max=2).fit_transform(crystals)
    matrix = covariance(Cosine(2), features)
    expected = by_differences(Cosine(2), features.descriptor, crystals, 0, 1)
    size = len(expected)
    np.testing.assert_allclose(matrix[:size, size:], expected, atol=2e-7 * np.abs(expected).max())


def test_matrix_is_symmetric_and_positive(molecules):
    matrix = covariance(Gaussian(5.0), FCHL19().fit_transform(molecules))
    np.testing.assert_array_equal(matrix, matrix.T)
    lengths = np.linalg.eigvalsh(matrix)
    assert lengths[0] > -1e-12 * lengths[-1]


def test_rectangle_and_parts_equal_the_symmetric_matrix(molecules):
    kernel, features = Gaussian(5.0), FCHL19().fit_transform(molecules)
    whole = covariance(kernel, features)
    scale = 1e-13 * np.abs(whole).max()
    np.testing.assert_allclose(covariance(kernel, features, features[:]), whole, atol=scale)
    starts = np.concatenate([[0], np.cumsum(1 + 3 * molecules.n_atoms)])
    part = covariance(kernel, features[:1], features[2:])
    np.testing.assert_allclose(part, whole[: starts[1], starts[2] :], atol=scale)
    is_energy = np.isin(np.arange(len(whole)), starts)
    for energies, rows in ((True, is_energy), (False, ~is_energy)):
        found = covariance(kernel, features, energies=energies, forces=not energies)
        np.testing.assert_allclose(found, whole[np.ix_(rows, rows)], atol=scale)


def test_basis_of_the_jacobians_changes_nothing(molecules, monkeypatch):
    kernel, features = Gaussian(2.0), FCHL19(n_r2=6, n_r3=5).fit_transform(molecules)
    found = {}
    for name, atoms in (("with", 0), ("without", 1e9)):
        monkeypatch.setattr(environments, "_ATOMS_PER_FEATURE", atoms)
        assert (environments.jacobian_bases(features) is None) == (name == "without")
        found[name] = covariance(kernel, features)
    scale = np.abs(found["with"]).max()
    np.testing.assert_allclose(found["with"], found["without"], atol=1e-13 * scale)


@pytest.mark.parametrize("atoms_per_feature", [0, 1e9], ids=["basis", "no basis"])
@pytest.mark.parametrize("rows_at_once", [512, 7])
def test_rows_and_columns_are_chosen_from_the_whole_matrix(
    molecules, monkeypatch, atoms_per_feature, rows_at_once
):
    """Some coordinates, some energies, atoms without neighbours, species in one side only."""
    monkeypatch.setattr(environments, "_ATOMS_PER_FEATURE", atoms_per_feature)
    monkeypatch.setattr(blocks, "_ROWS", rows_at_once)
    rng, kernel = np.random.default_rng(0), Gaussian(2.0) + 0.1 * Polynomial(2)
    oxygen, frames = Atoms("O"), molecules.to_ase()
    batches = [Structures.from_ase(images) for images in ([*frames, oxygen], [oxygen, frames[2]])]
    descriptor = FCHL19(n_r2=6, n_r3=5).fit(molecules)
    sides = [descriptor.transform(structures) for structures in batches]
    whole = covariance(kernel, *sides)
    bases = environments.jacobian_bases(*sides)
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
        made.append(environments.Environments(features, kept, bases))
        layouts.append(blocks.layout(made[-1].n_dof, has_energy))
    found = np.full([len(rows) for rows in index], np.nan)
    with threads_over_blas() as pool:
        blocks.fill_columns(
            kernel, *made, *layouts, (0, len(sides[1])), 0, False, found, pool
        )  # fmt: skip
    np.testing.assert_allclose(found, whole[np.ix_(*index)], atol=1e-13 * np.abs(whole).max())


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


def test_matrix_that_does_not_fit_is_an_error(molecules, monkeypatch):
    import skatom.memory

    features = FCHL19(n_r2=4, n_r3=3).fit_transform(molecules)
    tiny = type("Memory", (), {"available": 40000})
    monkeypatch.setattr(skatom.memory.psutil, "virtual_memory", lambda: tiny)
    monkeypatch.setattr(skatom.memory, "_SMALL", 0)
    with pytest.raises(MemoryError, match="take fewer structures"):
        covariance(Gaussian(), features, energies=False)


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
    energies = covariance(Gaussian(sigma), golden, forces=False)
    np.testing.assert_allclose(energies, gram, rtol=1e-12)


def test_golden_force_covariance_of_fchl19(golden):
    matrix = covariance(Gaussian(2.0), golden[0], golden[1])
    # -∂K/∂R of water's oxygen, with the energy of formaldehyde
    np.testing.assert_allclose(
        matrix[1:4, 0], [0.6771718074, 2.3685303381, -1.6880825212], atol=6e-11
    )
