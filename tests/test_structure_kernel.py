"""Kernels of structures."""

import numpy as np
import pytest
from ase.build import molecule
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import KernelPCA
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVR

from skatom.descriptors import SOAP
from skatom.kernels import Cosine, Gaussian, Laplacian, NBody, StructureKernel
from skatom.kernels._cpu.matching import rematch

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


def test_precomputed_in_scikit_learn(features):
    kernel = StructureKernel(Cosine(2), "average", normalize=True)
    train, test = features[:6], features[6:]
    gram, cross, target = kernel(train), kernel(test, train), np.arange(6.0)
    for model in (KernelRidge(kernel="precomputed"), SVR(kernel="precomputed")):
        assert model.fit(gram, target).predict(cross).shape == (2,)
    scores = KernelPCA(2, kernel="precomputed").fit(gram).transform(cross)
    assert scores.shape == (2, 2)


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
        (StructureKernel("cosine"), "'kernel' parameter of StructureKernel"),
        (StructureKernel(NBody()), "'kernel' parameter of StructureKernel"),
    ],
)
def test_parameters_out_of_range_are_named(kernel, message, features):
    with pytest.raises(ValueError, match=message):
        kernel(features)
