"""Kernels of structures."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.decomposition import KernelPCA
from sklearn.exceptions import NotFittedError
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVR

from skatom import Targets
from skatom.descriptors import SOAP
from skatom.kernels import (
    Cosine,
    Gaussian,
    KernelMatrix,
    Laplacian,
    NBody,
    StructureKernel,
    covariance,
)
from skatom.kernels._cpu.matching import rematch
from skatom.models import ForceKernelRidge

NAMES = ["H2O", "CH4", "CH3OH", "C2H6", "H2O", "CO2", "C2H4", "CH3CHO"]


@pytest.fixture(scope="module")
def features():
    images = [molecule(name) for name in NAMES]
    for seed, atoms in enumerate(images):
        atoms.rattle(0.1, seed=seed)
    return SOAP(n_max=4, l_max=3).fit_transform(images)


def atomic(kernel, features, a, b):
    x, y = features[a], features[b]
    return kernel(x.values, y.values) * (x.numbers[:, None] == y.numbers)


@pytest.mark.parametrize("kernel", [Cosine(2), Gaussian(0.5), Laplacian(2.0)], ids=str)
def test_average_of_all_pairs_of_like_atoms(kernel, features):
    n = len(features)
    means = [[atomic(kernel, features, a, b).mean() for b in range(n)] for a in range(n)]
    np.testing.assert_allclose(StructureKernel(kernel, "average")(features), means, rtol=1e-12)


def test_best_match_is_the_assignment(features):
    kernel = Cosine(2)
    found = StructureKernel(kernel, "best")(features)
    for a in range(3):
        for b in range(3):
            pairs = atomic(kernel, features, a, b)
            best = pairs[linear_sum_assignment(-pairs)].sum() / max(pairs.shape)
            assert found[a, b] == pytest.approx(best, rel=1e-12)


def test_rematch_lies_between_the_average_and_the_best_match(features):
    kernel = Cosine(2)
    same_size = features[[1, 1, 1]]  # the limit of γ → 0 is the assignment for equal sizes
    hot = StructureKernel(kernel, "rematch", gamma=1e4)(features)
    np.testing.assert_allclose(hot, StructureKernel(kernel, "average")(features), rtol=1e-3)
    cold = StructureKernel(kernel, "rematch", gamma=2e-3)(same_size)
    np.testing.assert_allclose(cold, StructureKernel(kernel, "best")(same_size), rtol=1e-3)


def test_normalised_kernels_are_one_of_a_structure_with_itself(features):
    for match in ("sum", "average", "best", "rematch"):
        kernel = StructureKernel(Cosine(2), match, normalize=True)
        np.testing.assert_allclose(kernel(features).diagonal(), 1.0, rtol=1e-12)
        np.testing.assert_array_equal(kernel.diagonal(features), 1.0)


@pytest.mark.parametrize("gamma", [0.02, 0.1, 1.0, 10.0])
def test_rematch_of_two_and_two_environments_is_analytic(gamma):
    s = 0.3
    found = rematch(np.array([[1.0, s], [s, 1.0]]), gamma, 1e-12)
    q = 1 / (1 + np.exp(-2 * (1 - s) / gamma))
    assert found == pytest.approx(q + (1 - q) * s, rel=1e-10)


@pytest.mark.parametrize("match", ["average", "rematch"])
@pytest.mark.parametrize(
    "model", [KernelRidge(kernel="precomputed"), SVR(kernel="precomputed", C=10.0)], ids=type
)
def test_in_pipelines_and_searches_of_scikit_learn(match, model, features):
    kernel, target = StructureKernel(Cosine(2), match, normalize=True), np.arange(8.0)
    pipeline = make_pipeline(SOAP(n_max=4, l_max=3), KernelMatrix(kernel), model)
    structures = features.structures
    found = pipeline.fit(structures[:6], target[:6]).predict(structures[6:])
    gram, cross = kernel(features[:6]), kernel(features[6:], features[:6])
    # the descriptor of the pipeline has not seen the last structures, but their species
    expected = clone(model).fit(gram, target[:6]).predict(cross)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    grid = {"kernelmatrix__kernel__kernel__zeta": [1, 4]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(structures, target)
    assert search.predict(structures).shape == (8,)


def test_principal_components_of_a_pipeline(features):
    kernel = StructureKernel(Cosine(2), "average", normalize=True)
    pipeline = make_pipeline(KernelMatrix(kernel), KernelPCA(2, kernel="precomputed"))
    scores = pipeline.fit_transform(features[:6])
    np.testing.assert_allclose(pipeline.transform(features[:6]), scores, atol=1e-9)
    assert pipeline.transform(features[6:]).shape == (2, 2)


def test_kernel_matrix_of_structures_and_arrays():
    images, rows = [molecule(name) for name in NAMES], np.arange(6.0).reshape(3, 2)
    made = KernelMatrix(NBody()).fit(images[:3])
    np.testing.assert_array_equal(made.transform(images), NBody()(images, images[:3]))
    np.testing.assert_array_equal(KernelMatrix(Gaussian()).fit_transform(rows), Gaussian()(rows))
    with pytest.raises(NotFittedError):
        KernelMatrix(Gaussian()).transform(rows)
    with pytest.raises(ValueError, match="'sigma' parameter of Gaussian"):
        KernelMatrix(Gaussian(-1.0)).fit(rows)
    with pytest.raises(ValueError, match="'kernel' parameter of KernelMatrix"):
        KernelMatrix("rbf").fit(rows)


def test_weights_of_elements(features):
    weights = {"H": 0.3, "C": 2.0}
    w = np.select([features.numbers == 1, features.numbers == 6], [0.3, 2.0], 1.0)
    atoms = Cosine(2)(features.values) * (features.numbers[:, None] == features.numbers)
    starts = features.offsets[:-1]
    sums = np.add.reduceat(np.add.reduceat(w[:, None] * w * atoms, starts, 0), starts, 1)
    np.testing.assert_allclose(
        StructureKernel(Cosine(2), weights=weights)(features), sums, rtol=1e-12
    )
    totals = np.add.reduceat(w, starts)
    average = StructureKernel(Cosine(2), "average", weights=weights)
    np.testing.assert_allclose(average(features), sums / np.outer(totals, totals), rtol=1e-12)
    lengths = np.sqrt(sums.diagonal())
    powers = StructureKernel(Cosine(2), weights=weights, normalize=True, zeta=2.5)
    np.testing.assert_allclose(
        powers(features), (sums / np.outer(lengths, lengths)) ** 2.5, rtol=1e-12
    )


@pytest.mark.parametrize("match", ["sum", "average", "best", "rematch"])
def test_powers(match, features):
    plain, cubed = (StructureKernel(Cosine(2), match, zeta=zeta) for zeta in (1, 3))
    np.testing.assert_allclose(cubed(features), plain(features) ** 3, rtol=1e-12)
    np.testing.assert_allclose(cubed.diagonal(features), plain.diagonal(features) ** 3, rtol=1e-12)


def test_large_batches_are_cut_into_pieces(features, monkeypatch):
    import skatom.kernels.atom_sums as module

    whole = Cosine(2)(features)
    monkeypatch.setattr(module, "_ROWS", 10)
    monkeypatch.setattr(module, "_COLUMNS", 7)
    np.testing.assert_allclose(Cosine(2)(features), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (StructureKernel(Cosine(2), "worst"), "'match' parameter of StructureKernel"),
        (
            StructureKernel(Cosine(2), zeta=1.5),
            "zeta=1.5 must be an integer where .* normalize=True",
        ),
        (StructureKernel(Cosine(2), zeta=0.5), "'zeta' parameter of StructureKernel"),
        (StructureKernel(Cosine(2), weights={"X1": 1.0}), "positive numbers .* correct 'X1'"),
        (StructureKernel(Cosine(2), weights={"H": 0.0}), "positive numbers .* correct 0.0"),
        (StructureKernel(Cosine(2), "best", weights={"H": 2.0}), "match='best' finds its own"),
        (StructureKernel("cosine"), "'kernel' parameter of StructureKernel"),
        (StructureKernel(NBody()), "'kernel' parameter of StructureKernel"),
    ],
)
def test_parameters_out_of_range_are_named(kernel, message, features):
    with pytest.raises(ValueError, match=message):
        kernel(features)


@pytest.mark.parametrize(
    "kernel",
    [
        StructureKernel(Cosine(2), "average", weights={"H": 0.3}, zeta=2),
        StructureKernel(Gaussian(0.5), weights={"C": 2.0}, normalize=True, zeta=2.5),
    ],
    ids=["power of an average", "normalised sum"],
)
def test_values_of_features_on_a_device(kernel, features):
    pytest.importorskip("torch")
    soap = SOAP(n_max=4, l_max=3, device="torch").fit(features.structures)
    tensors = soap.transform(features.structures)
    expected = kernel(features)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(kernel(tensors).numpy(), expected, atol=1e-10 * scale)
    block = kernel(tensors[:3], tensors[3:]).numpy()
    np.testing.assert_allclose(block, expected[:3, 3:], atol=1e-10 * scale)
    np.testing.assert_allclose(
        kernel.diagonal(tensors).numpy(), expected.diagonal(), atol=1e-10 * scale
    )
    with pytest.raises(ValueError, match="not on a device yet"):
        covariance(kernel, tensors)
    targets = Targets(energy=np.arange(8.0), forces=np.zeros((41, 3)), offsets=features.offsets)
    with pytest.raises(ValueError, match="StructureKernel is not on a device yet"):
        ForceKernelRidge(kernel).fit(tensors, targets)
