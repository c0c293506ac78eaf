"""What `skatom.kernels.Kernel` promises, for every kernel: add yours to the lists below."""

import pickle
from functools import cache
from numbers import Real

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.stats import ortho_group
from sklearn.base import clone

from skatom import Structures
from skatom.descriptors import FCHL19, SOAP
from skatom.kernels import (
    FCHL18,
    AverageOverParts,
    CartesianPairs,
    Cosine,
    DotKernel,
    GammaExponential,
    Gaussian,
    HaarNBody,
    Kernel,
    Laplacian,
    ManyBody,
    Matern,
    NBody,
    Polynomial,
    StructureKernel,
    covariance,
)

DOT = {
    "gaussian": Gaussian(1.3),
    "matern 1/2": Matern(1.3, nu=0.5),
    "matern 3/2": Matern(1.3, nu=1.5),
    "matern 5/2": Matern(1.3),
    "gamma-exponential": GammaExponential(1.3, gamma=1.5),
    "gamma-exponential, smooth": GammaExponential(1.3, gamma=2.0),
    "linear": Polynomial(),
    "polynomial": Polynomial(3, offset=0.5),
    "cosine": Cosine(3),
    "cosine, real power": Cosine(2.5),
    "scaled": 2.5 * Gaussian(0.7),
    "sum": Gaussian(1.3) + 0.1 * Polynomial(2),
    "product": Gaussian(1.3) * Cosine(2) * Matern(2.0),
    "rough sum": Gaussian(1.3) + Matern(1.3, nu=0.5),
}
VECTORS = {
    **DOT,
    "laplacian": Laplacian(1.3),
    "average over parts": AverageOverParts(Laplacian(1.3), 5),
    "scaled laplacian": 2.0 * Laplacian(1.3),
    "gaussian and laplacian": Gaussian(1.3) + Laplacian(1.3),
}
# features of atoms do not consist of equal parts
OF_ATOMS = [name for name in VECTORS if name != "average over parts"]
FEATURES = {
    **{name: VECTORS[name] for name in OF_ATOMS if name != "linear"},
    "sum over atoms": StructureKernel(Cosine(2)),
    "average": StructureKernel(Gaussian(1.3), "average"),
    "weighted average": StructureKernel(Cosine(2), "average", weights={"H": 0.3, "O": 1.7}),
    "normalised sum": StructureKernel(Cosine(2), normalize=True),
    "power of the normalised sum": StructureKernel(Gaussian(1.3), normalize=True, zeta=2.5),
    "power of the average": StructureKernel(
        Gaussian(1.3) + 0.1 * Polynomial(2), "average", weights={"C": 2.0}, zeta=3
    ),
    "best": StructureKernel(Cosine(2), "best"),
    "rematch": StructureKernel(Cosine(2), "rematch", normalize=True),
    "two matches": StructureKernel(Cosine(2), "average") + 0.5 * StructureKernel(Gaussian(1.3)),
}
POOLED = {"cosine": Cosine(3), "sum": Gaussian(3.0) + 0.1 * Polynomial(2), "laplacian": Laplacian()}
STRUCTURES = {
    "pairs": NBody(order=2, sigma=0.7, cutoff=3.6),
    "triangles": NBody(order=3, sigma=0.7, cutoff=3.4, cutoff_width=1.2),
    "exponential": NBody(order=3, sigma=0.7, cutoff=3.4, cutoff_function="exponential"),
    "n-body sum": NBody(order=2, sigma=0.6) + NBody(order=3, sigma=0.8, cutoff=3.2, amplitude=0.5),
    "five-body": ManyBody(NBody(order=3, sigma=1.2, cutoff=2.8), Polynomial(zeta=2)),
    "all orders": ManyBody(NBody(order=3, sigma=1.2, cutoff=2.8), Gaussian(sigma=3.0)),
    "normalised": ManyBody(NBody(order=2, sigma=0.7, cutoff=3.3), Cosine(zeta=2)),
    "averaged pairs": HaarNBody(order=2, sigma=0.8, cutoff=3.0),
    "averaged triangles": HaarNBody(order=3, sigma=1.0, cutoff=2.6, amplitude=0.5),
    "averaged five-body": ManyBody(HaarNBody(order=3, sigma=1.2, cutoff=2.4), Polynomial(zeta=2)),
    "cartesian": CartesianPairs(sigma=0.8, cutoff=3.0),
    "cartesian three-body": ManyBody(CartesianPairs(sigma=0.8, cutoff=3.0), Polynomial(zeta=2)),
    "cartesian many-body": ManyBody(
        CartesianPairs(sigma=0.8, cutoff=3.0), Gaussian(sigma=2.0), amplitude=0.5
    ),
    "rough": ManyBody(NBody(order=2, sigma=0.7, cutoff=3.3), Matern(nu=0.5)),
    "fchl18": FCHL18(cutoff=4.0, cut_start=0.4),
    "fchl18, unlike elements": FCHL18(cutoff=4.0, cut_start=0.4, alchemy="off", n_fourier=2),
    "fchl18, global": FCHL18(cutoff=4.0, cut_start=0.4, scope="global", sigma=8.0),
    "pairs and fchl18": NBody(cutoff=3.6) + 0.1 * FCHL18(cutoff=4.0, cut_start=0.4),
}
# best match and REMatch need not be positive definite
INDEFINITE = {"best", "rematch"}
CELL = [[3.1, 0.2, 0.0], [0.9, 3.3, 0.3], [-0.4, 0.5, 2.9]]


@cache
def molecules():
    images = [molecule(name) for name in ("H2O", "NH3", "CH4", "H2O", "CO2")]
    for seed, atoms in enumerate(images):
        atoms.rattle(0.1, seed=seed)
    return Structures.from_ase([*images, Atoms("O")])


def in_cell(seed, pbc, n=3):
    """Atoms in a skewed cell smaller than the cutoffs."""
    positions = np.random.default_rng(seed).uniform(0, 1, (n, 3)) @ np.array(CELL)
    return Atoms(np.resize([6, 1, 6, 8], n), positions, cell=CELL, pbc=pbc)


def with_vectors(structures):
    return np.random.default_rng(len(structures)).uniform(0.2, 1.0, (len(structures), 5))


def with_pooled_features(structures):
    return with_features(structures).pool("sum")


def with_features(structures):
    descriptor = SOAP(cutoff=3.5, n_max=3, l_max=2).fit(molecules())
    return descriptor.transform(structures)


MAKERS = {
    **{f"vectors, {name}": (kernel, with_vectors) for name, kernel in VECTORS.items()},
    **{f"atoms, {name}": (kernel, with_features) for name, kernel in FEATURES.items()},
    **{f"pooled, {name}": (kernel, with_pooled_features) for name, kernel in POOLED.items()},
    **{name: (kernel, lambda structures: structures) for name, kernel in STRUCTURES.items()},
}


def cases(chosen=lambda kernel, make: True):
    """Parametrise by the kernel, its name, and what makes that which it compares."""
    values = [
        pytest.param(kernel, make, id=name)
        for name, (kernel, make) in MAKERS.items()
        if chosen(kernel, make)
    ]
    return pytest.mark.parametrize(("kernel", "make"), values)


def of_structures(kernel, make):
    return make is not with_vectors


def tolerance(kernel):
    """Rounding errors; REMatch is iterative, and cusps show the square root of those of r²."""
    if "nu=0.5" in str(kernel) or "gamma=1.5" in str(kernel):
        return 1e-6
    return 1e-7 if "rematch" in str(kernel) else 1e-12


def assert_close(found, expected, relative):
    np.testing.assert_allclose(found, expected, rtol=0, atol=relative * np.abs(expected).max())


# --- values -------------------------------------------------------------------------------------


@cases()
def test_matrix_is_symmetric_and_positive_and_has_its_diagonal(kernel, make):
    X = make(molecules())
    matrix = kernel(X)
    assert matrix.shape == (len(X), len(X))
    assert_close(matrix, matrix.T, tolerance(kernel))
    assert_close(kernel.diagonal(X), matrix.diagonal(), tolerance(kernel))
    if getattr(kernel, "match", "sum") not in INDEFINITE:
        lengths = np.linalg.eigvalsh(matrix)
        assert lengths[0] > -tolerance(kernel) * lengths[-1]


@cases()
def test_rectangle_is_a_block_of_the_square(kernel, make):
    X = make(molecules())
    square = kernel(X)
    assert_close(kernel(X[:2], X[2:]), square[:2, 2:], tolerance(kernel))
    assert_close(kernel(X, X), square, tolerance(kernel))


@cases()
def test_sums_and_multiples_are_those_of_the_matrices(kernel, make):
    X = make(molecules())
    x, y = X[:3], X[2:]
    matrix, own = kernel(x, y), kernel.diagonal(X)
    for made, factor in (
        (2.5 * kernel, 2.5), (kernel * 2.5, 2.5), (kernel + clone(kernel), 2.0),
    ):  # fmt: skip
        assert isinstance(made, Kernel)
        assert made.n_derivatives == kernel.n_derivatives
        assert isinstance(made, DotKernel) == isinstance(kernel, DotKernel)
        assert_close(made(x, y), factor * matrix, tolerance(kernel))
        assert_close(made.diagonal(X), factor * own, tolerance(kernel))


@pytest.mark.parametrize("kernel", DOT.values(), ids=DOT)
def test_products_are_those_of_the_matrices(kernel):
    x, y = with_vectors(molecules())[:3], with_vectors(molecules())[2:]
    other = Gaussian(0.9)
    made = kernel * other
    assert_close(made(x, y), kernel(x, y) * other(x, y), 1e-14)
    assert_close(made.diagonal(x), kernel.diagonal(x) * other.diagonal(x), 1e-14)
    assert made.n_derivatives == kernel.n_derivatives


@pytest.mark.parametrize("kernel", map(VECTORS.get, OF_ATOMS), ids=OF_ATOMS)
def test_structures_are_compared_by_sums_over_their_like_atoms(kernel):
    features = with_features(molecules())
    atoms = kernel(features.values) * (features.numbers[:, None] == features.numbers)
    starts = features.offsets[:-1]
    expected = np.add.reduceat(np.add.reduceat(atoms, starts, axis=0), starts, axis=1)
    assert_close(kernel(features), expected, tolerance(kernel))


def moved(structures, change):
    """Structures whose positions and cells a function has changed."""
    return Structures(
        structures.numbers, change(structures.positions), structures.offsets,
        change(structures.cells), structures.pbc,
    )  # fmt: skip


def exchanged(structures):
    """Atoms of each structure in another order."""
    rng, images = np.random.default_rng(0), structures.to_ase()
    return Structures.from_ase([atoms[rng.permutation(len(atoms))] for atoms in images])


def wrapped(structures):
    """Atoms of periodic structures in other cells."""
    rng, images = np.random.default_rng(0), structures.to_ase()
    for atoms in images:
        steps = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
        atoms.positions += steps @ atoms.cell.array
    return Structures.from_ase(images)


# kernels of positions change where only one of two structures is rotated
@cases(lambda kernel, make: of_structures(kernel, make) and "Cartesian" not in str(kernel))
def test_rotation_translation_and_the_order_of_atoms_change_nothing(kernel, make):
    crystals = [in_cell(0, True), in_cell(1, True), in_cell(2, (True, False, True))]
    rotation = ortho_group.rvs(3, random_state=0)
    rotation *= np.linalg.det(rotation)
    for structures in (molecules(), Structures.from_ase(crystals)):
        expected = kernel(make(structures))
        turned = moved(structures, lambda x: x @ rotation.T)
        shifted = Structures(
            turned.numbers, turned.positions + 1.3, turned.offsets, turned.cells, turned.pbc
        )
        other = exchanged(wrapped(shifted))
        assert_close(kernel(make(other), make(structures)), expected, 1e-10 + tolerance(kernel))


# --- derivatives --------------------------------------------------------------------------------

_WEIGHTS = np.array([-1, 9, -45, 45, -9, 1]) / 60
_STEPS = (-3, -2, -1, 1, 2, 3)


@pytest.mark.parametrize("kernel", DOT.values(), ids=DOT)
def test_profile_is_the_value_and_its_derivatives(kernel):
    rng, h = np.random.default_rng(0), 5e-3
    s, u, v = rng.uniform(0.3, 0.6, 8), rng.uniform(1.1, 2.0, 8), rng.uniform(1.1, 2.0, 8)

    def slope(f, name):
        def at(k):
            return f(*(x + k * h * (name == of) for x, of in ((s, "s"), (u, "u"), (v, "v"))))

        return sum(w * at(k) for w, k in zip(_WEIGHTS, _STEPS, strict=True)) / h

    if not kernel.n_derivatives:
        with pytest.raises(ValueError, match="no derivatives"):
            kernel.profile(s, u, v)
        return
    profile = kernel.profile(s, u, v)
    expected = {"value": kernel.value(s, u, v)}
    expected |= {name: slope(kernel.value, name) for name in "suv"}
    for a, b in ("ss", "su", "sv", "uv"):
        expected[a + b] = slope(lambda *x, a=a: getattr(kernel.profile(*x), a), b)
    assert list(expected) == list(vars(profile))
    scale = max(np.abs(f).max() for f in expected.values())
    for name, f in expected.items():
        np.testing.assert_allclose(getattr(profile, name), f, atol=1e-9 * scale, err_msg=name)
    for f, name in zip(kernel.first_derivatives(s, u, v), ("value", "s", "u"), strict=True):
        np.testing.assert_allclose(f, getattr(profile, name), rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("kernel", DOT.values(), ids=DOT)
def test_profile_of_tensors_of_torch_is_that_of_arrays(kernel):
    torch = pytest.importorskip("torch")
    x = with_vectors(molecules())
    x[0] = 0.0  # a feature vector without a direction, and pairs without a distance
    arguments = x @ x.T, np.sum(x * x, 1)[:, None], np.sum(x * x, 1)
    tensors = [torch.asarray(a) for a in arguments]
    np.testing.assert_allclose(kernel.value(*tensors), kernel.value(*arguments), rtol=1e-14)
    if kernel.n_derivatives:
        found, expected = kernel.profile(*tensors), kernel.profile(*arguments)
        for name, f in vars(expected).items():
            np.testing.assert_allclose(getattr(found, name), f, rtol=1e-13, err_msg=name)


STRAINS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def displaced(structures, strained):
    """Of one structure, copies with every coordinate moved by all steps, and itself at the end.

    ``strained``: the six components of the strain follow the positions.
    """
    x, moves = structures, []
    for c in range(len(x.numbers) * 3):
        for k in _STEPS:
            positions = x.positions.copy()
            positions.flat[c] += k * _STEP
            moves.append((positions, x.cells))
    for a, b in STRAINS if strained else []:
        for k in _STEPS:
            strain = np.eye(3)
            strain[a, b] += k * _STEP
            moves.append((x.positions @ strain.T, x.cells @ strain.T))
    positions, cells = zip(*moves, (x.positions, x.cells), strict=True)
    count = len(moves) + 1
    return Structures(
        np.tile(x.numbers, count), np.concatenate(positions),
        len(x.numbers) * np.arange(count + 1), np.concatenate(cells), np.repeat(x.pbc, count, 0),
    )  # fmt: skip


def by_differences(kernel, make, a, b):
    """Covariances of (E, F, V) of two structures from values between displaced ones."""
    strained = kernel.has_virials
    matrix = kernel(make(displaced(a, strained)), make(displaced(b, strained)))
    for x in (a, b):
        inner = matrix[:-1].reshape(-1, len(_STEPS), matrix.shape[1])
        slopes = np.tensordot(inner, _WEIGHTS, (1, 0)) / _STEP
        slopes[: 3 * len(x.numbers)] *= -1
        matrix = np.concatenate([matrix[-1:], slopes]).T
    return matrix


# Distances are farther from cutoffs, where slopes of cutoff functions jump, than atoms move.
_STEP = 1e-3
PAIRS = {
    "molecules": lambda: molecules()[[0, 2]],
    "crystals": lambda: Structures.from_ase([in_cell(0, True), in_cell(159, True)]),
    "slab and molecule": lambda: Structures.from_ase(
        [in_cell(609, (True, False, True)), in_cell(2, False)]
    ),
}
ENERGY, FORCES, VIRIAL = ("energy",), ("forces",), ("virial",)
ALL = ("energy", "forces", "virial")


# Each time, slabs are tried with these alone, and with all others in the thorough tests.
OF_SLABS = {"atoms, sum over atoms", "pairs", "averaged pairs", "cartesian", "fchl18"}
DERIVATIVES = [
    pytest.param(
        kernel, make, pair, id=f"{name}-{of_pair}",
        marks=() if of_pair != "slab and molecule" or name in OF_SLABS else pytest.mark.thorough,
    )
    for name, (kernel, make) in MAKERS.items()
    if of_structures(kernel, make) and kernel.n_derivatives > 0
    for of_pair, pair in PAIRS.items()
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "make", "pair"), DERIVATIVES)
def test_covariances_are_the_derivatives_of_the_kernel(kernel, make, pair):
    x, y = pair()[:1], pair()[1:]
    expected = by_differences(kernel, make, x, y)
    n, m = 1 + 3 * len(x.numbers), 1 + 3 * len(y.numbers)
    x, y = make(x), make(y)
    found = {
        "energies": (covariance(kernel, x, y, ENERGY), expected[:1, :1]),
        "forces, energies": (covariance(kernel, x, y, FORCES, ENERGY), expected[1:n, :1]),
        "energies, forces": (covariance(kernel, x, y, ENERGY, FORCES), expected[:1, 1:m]),
        "mixed": (covariance(kernel, x, y, ("energy", "forces"), ENERGY), expected[:n, :1]),
    }
    if kernel.has_virials:
        found["virials, energies"] = covariance(kernel, x, y, VIRIAL, ENERGY), expected[n:, :1]
    if kernel.n_derivatives == 2:
        found["forces"] = covariance(kernel, x, y, FORCES), expected[1:n, 1:m]
        found["both"] = covariance(kernel, x, y), expected[:n, :m]
    if kernel.n_derivatives == 2 and kernel.has_virials:
        found["virials"] = covariance(kernel, x, y, VIRIAL), expected[n:, m:]
        found["virials, forces"] = covariance(kernel, x, y, VIRIAL, FORCES), expected[n:, 1:m]
        found["all"] = covariance(kernel, x, y, ALL), expected
    for name, (block, known) in found.items():
        assert block.shape == known.shape, name
        np.testing.assert_allclose(
            block, known, rtol=0, atol=2e-7 * np.abs(known).max(), err_msg=name
        )


@cases(lambda kernel, make: of_structures(kernel, make) and kernel.n_derivatives == 2)
def test_blocks_of_structures_follow_each_other(kernel, make):
    X = make(molecules())
    whole = covariance(kernel, X)
    assert_close(whole, whole.T, 1e-13)
    lengths = np.linalg.eigvalsh(whole)
    # the slope of Matérn 3/2 has a cusp
    accuracy = 1e-7 if "nu=1.5" in str(kernel) else 1e-12
    assert lengths[0] > -accuracy * lengths[-1]
    assert_close(covariance(kernel, X, X), whole, accuracy)
    n_atoms = molecules().n_atoms
    starts = np.concatenate([[0], np.cumsum(1 + 3 * n_atoms)])
    part = covariance(kernel, X[1:3], X[4:])
    assert_close(part, whole[starts[1] : starts[3], starts[4] :], accuracy)
    kinds = [ENERGY, FORCES, ENERGY + FORCES]
    if kernel.has_virials:
        kinds += [VIRIAL, ENERGY + VIRIAL, FORCES + VIRIAL, ALL]
    two = [0, 5]  # small ones, for many combinations
    first = covariance(kernel, X[two], rows=kinds[-1])
    lengths = np.concatenate([[1, 3 * n, 6] for n in n_atoms[two]])
    of_row = np.resize(["energy", "forces", "virial"], 6).repeat(lengths)
    of_row = of_row[np.isin(of_row, kinds[-1])]
    for rows in kinds:
        for columns in kinds:
            found = covariance(kernel, X[two], rows=rows, columns=columns)
            some = np.ix_(np.isin(of_row, rows), np.isin(of_row, columns))
            assert_close(found, first[some], accuracy)


@cases(lambda kernel, make: of_structures(kernel, make) and kernel.n_derivatives == 0)
def test_kernels_without_derivatives_have_covariances_of_energies(kernel, make):
    X = make(molecules())
    assert_close(covariance(kernel, X, rows=ENERGY), kernel(X), 1e-12)
    with pytest.raises(ValueError, match="has no derivatives, .* use Gaussian") as error:
        covariance(kernel, X, rows=ENERGY, columns=FORCES)
    assert str(error.value).startswith(str(kernel)[:20])


class OnceDifferentiable(FCHL18):
    """A kernel whose second derivatives are not known."""

    n_derivatives = 1


ONCE = OnceDifferentiable()


@pytest.mark.parametrize("kernel", [ONCE, 2.0 * ONCE, ONCE + NBody()], ids=type)
def test_kernels_with_first_derivatives_only_say_so(kernel):
    with pytest.raises(ValueError, match="no second derivatives, .* energies alone, or use"):
        covariance(kernel, molecules())


# --- parameters, files, errors ------------------------------------------------------------------


def assert_same(copy, kernel, X):
    assert type(copy) is type(kernel)
    assert str(copy.get_params()) == str(kernel.get_params())
    np.testing.assert_array_equal(copy(X), kernel(X))


@cases()
def test_clones_and_pickles_give_the_same(kernel, make):
    X = make(molecules())[:3]
    assert_same(clone(kernel), kernel, X)
    assert_same(pickle.loads(pickle.dumps(kernel)), kernel, X)


@cases()
def test_files_of_skops_give_the_same(kernel, make):
    io = pytest.importorskip("skops.io")
    data = io.dumps(kernel)
    unknown = io.get_untrusted_types(data=data)
    assert all(name.startswith("skatom.") for name in unknown)
    assert_same(io.loads(data, trusted=unknown), kernel, make(molecules())[:3])


@cases()
def test_every_number_has_its_limits_and_can_be_set(kernel, make):
    kernel.check_parameters()
    for name, value in kernel.get_params().items():
        if not isinstance(value, Real) or isinstance(value, bool):
            continue
        bad = clone(kernel).set_params(**{name: -1.0})
        message = f"'{name.rpartition('__')[2]}' parameter of"
        with pytest.raises(ValueError, match=message):
            bad.check_parameters()
        with pytest.raises(ValueError, match=message):
            bad(make(molecules()))
        bad.set_params(**{name: value}).check_parameters()


def test_nested_parameters():
    kernel = clone(2.0 * Gaussian(1.0) + Matern(2.0))
    kernel.set_params(left__kernel__sigma=5.0, right__nu=1.5)
    assert kernel.left.kernel.sigma == 5.0
    assert kernel.right.nu == 1.5
    assert kernel.n_derivatives == 2
    assert kernel.set_params(right__nu=0.5).n_derivatives == 0


def test_what_is_no_kernel_cannot_be_added_or_multiplied():
    for other in (1, "rbf", None):
        for kernel in (Gaussian(), Laplacian(), NBody(), FCHL18()):
            with pytest.raises(TypeError, match="unsupported operand"):
                kernel + other
    for left, right in ((Gaussian(), Laplacian()), (NBody(), Gaussian()), (FCHL18(), "rbf")):
        for a, b in ((left, right), (right, left)):
            with pytest.raises(TypeError, match="unsupported operand|can't multiply"):
                a * b
    for kernel in (-1.0 * Gaussian(), 0.0 * Laplacian()):
        with pytest.raises(ValueError, match="'factor' parameter of Scaled"):
            kernel(np.ones((2, 3)))


@pytest.mark.parametrize("kernel", [NBody(), 2.0 * NBody(), NBody() + FCHL18()], ids=type)
def test_kernels_without_virials_say_so(kernel):
    with pytest.raises(ValueError, match="has no covariances of virials: ask for energies and"):
        covariance(kernel, molecules(), rows=ENERGY, columns=VIRIAL)


def test_features_of_atoms_and_of_structures_are_not_compared():
    X = molecules()
    with pytest.raises(ValueError, match="transform all structures by the same descriptor"):
        covariance(Gaussian(), with_features(X), with_pooled_features(X))


@pytest.mark.parametrize("rows", ["energy", (), ("energy", "stress"), None])
def test_rows_that_there_are_not_are_errors(rows):
    with pytest.raises(ValueError, match="must be a tuple of some of 'energy'"):
        covariance(NBody(), molecules(), rows=rows)


@pytest.mark.parametrize("kernel", FEATURES.values(), ids=FEATURES)
def test_structures_need_features(kernel):
    features = with_features(molecules())
    for sides in ((molecules(),), (features, molecules()), (np.ones((2, 3)),)):
        with pytest.raises(ValueError, match="transform them by a descriptor first"):
            covariance(kernel, *sides, rows=ENERGY)
    with pytest.raises(ValueError, match="transform them by a descriptor first"):
        kernel(features, molecules())


def test_covariances_that_do_not_fit_are_errors(monkeypatch):
    import skatom.memory

    tiny = type("Memory", (), {"available": 20000})
    features = FCHL19(n_r2=4, n_r3=3).fit_transform(molecules())
    monkeypatch.setattr(skatom.memory.psutil, "virtual_memory", lambda: tiny)
    monkeypatch.setattr(skatom.memory, "_SMALL", 0)
    for kernel, X in ((Gaussian(), features), (NBody(), molecules())):
        with pytest.raises(MemoryError, match="use fewer structures"):
            covariance(kernel, X)
