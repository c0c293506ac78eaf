"""Greedy least squares whose Gram matrix is summed on a device."""

import sys

import joblib
import numpy as np
import pytest
from models_under_contract import OF_THE_ENERGY, crystals, labels_of
from sklearn.base import clone
from test_device_features import assert_close, no_silent_copies  # noqa: F401

from skatom._device import Device
from skatom.datasets import load_ethanol
from skatom.descriptors import ACSF, SOAP
from skatom.models import BaggedGreedyOLS, GreedyOLS
from skatom.models.linear import structure_problem
from skatom.solvers import LeastSquaresSystem, NormalEquations, orthogonal_least_squares

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 25)) * np.geomspace(1e-3, 1e3, 25)
    return X, X[:, 3] / 1e-2 - X[:, 20] / 1e2 + 0.1 * rng.normal(size=300) + 7.0


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    features = SOAP(cutoff=3.0, n_max=3, l_max=2).fit_transform(data.structures[::50])
    return features, data.targets[::50]


def test_normal_equations_of_several_blocks(table):
    X, y = table
    blocks = [(X[k : k + 70], y[k : k + 70]) for k in range(0, 300, 70)]
    one, other = NormalEquations.of(blocks), NormalEquations.of(blocks, "torch")
    scale = np.sqrt(np.outer(one.gram.diagonal(), one.gram.diagonal()))
    assert_close(other.gram / scale, one.gram / scale, 1e-13)
    np.testing.assert_allclose(other.products, one.products, rtol=1e-10)
    assert other.total == pytest.approx(one.total, rel=1e-13)
    assert type(other.gram) is type(other.products) is np.ndarray


def test_the_path_is_that_of_the_cpu(table):
    X, y = table
    one, other = (
        orthogonal_least_squares(LeastSquaresSystem(X, y), 20, device=device)
        for device in ("cpu", "torch")
    )
    np.testing.assert_array_equal(one.support, other.support)
    np.testing.assert_allclose(other.coefficients(20), one.coefficients(20), rtol=1e-9)


@pytest.mark.parametrize("n_terms", [None, 12])
def test_models_of_structures_are_those_of_the_cpu(ethanol, n_terms):
    one, other = (
        GreedyOLS(n_terms, max_terms=20, method="gram", cv=2, device=device).fit(*ethanol)
        for device in ("cpu", "torch")
    )
    np.testing.assert_array_equal(one.support_, other.support_)
    for a, b in zip(
        other.predict(ethanol[0], return_forces=True),
        one.predict(ethanol[0], return_forces=True),
        strict=True,
    ):
        assert_close(a, b)


def test_bagged_models_are_those_of_the_cpu(table):
    one, other = (
        BaggedGreedyOLS(3, max_terms=5, method="gram", device=device, random_state=0).fit(*table)
        for device in ("cpu", "torch")
    )
    assert_close(other.coefs_, one.coefs_)


MODELS = {
    "chosen": GreedyOLS(max_terms=12, method="gram", cv=2),
    "schmidt": GreedyOLS(8, method="gram-schmidt"),
    "candidate": GreedyOLS(8, method="gram", fit_intercept="candidate"),
    "bagged": BaggedGreedyOLS(3, max_terms=6, method="gram", random_state=0),
}
DESCRIPTORS = {
    "soap": SOAP(cutoff=3.0, n_max=2, l_max=2), "acsf": ACSF(3.0, g4=[(0.05, 1, 1, 0)]),
    "pooled": SOAP(cutoff=3.0, n_max=2, l_max=1, pool="sum"),
}  # fmt: skip


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("kind", MODELS)
def test_features_on_the_device_give_the_models_of_the_cpu(kind, descriptor, tmp_path):
    structures = crystals(8)
    targets = labels_of(structures, OF_THE_ENERGY)
    models, found, features = {}, {}, {}
    for device in ("cpu", "torch"):
        model = clone(DESCRIPTORS[descriptor]).set_params(device=device)
        features[device] = model.fit_transform(structures)
        models[device] = clone(MODELS[kind]).fit(features[device], targets)
        asked = {"return_forces": True, "return_stress": True}
        if kind == "bagged":
            asked |= {"return_std": True, "return_forces_std": True}
        found[device] = models[device].predict(features[device], **asked)
    for ours, theirs in zip(found["torch"], found["cpu"], strict=True):
        assert type(ours) is np.ndarray
        assert_close(ours, theirs, 1e-7)
    joblib.dump(models["torch"], tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib").predict(features["cpu"], **asked)
    for ours, theirs in zip(again, found["torch"], strict=True):
        assert_close(ours, theirs)


def test_rows_of_features_on_the_device_are_kept_while_they_fit(monkeypatch):
    structures = crystals(6)
    targets = labels_of(structures, OF_THE_ENERGY)
    features = SOAP(cutoff=3.0, n_max=2, l_max=1, device="torch").fit_transform(structures)
    kept = GreedyOLS(6, method="gram").fit(features, targets)
    monkeypatch.setattr(structure_problem, "_KEPT_ON_DEVICE", 0)
    made = GreedyOLS(6, method="gram").fit(features, targets)
    np.testing.assert_array_equal(kept.coef_, made.coef_)
    monkeypatch.setattr(Device, "check_memory", refuse)
    with pytest.raises(MemoryError, match="the rows of .* forces and virials and .*: select feat"):
        GreedyOLS(6, method="gram").fit(features, targets)


def refuse(self, n_bytes, what, remedy, max_memory=None):
    if "rows" in what:
        raise MemoryError(f"{what}: {remedy}")


def test_a_card_and_several_jobs(table):
    with pytest.raises(ValueError, match="device='cuda' with n_jobs=2 would open the card"):
        BaggedGreedyOLS(3, device="cuda", n_jobs=2).fit(*table)


def test_without_torch(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="device='torch' needs torch, which is not installed"):
        GreedyOLS(2, device="torch").fit(*table)


def test_no_rows_and_rows_that_do_not_fit():
    with pytest.raises(ValueError, match="there are no blocks of rows"):
        NormalEquations.of([], "torch")
    with pytest.raises(ValueError, match="2 columns as in the first block"):
        NormalEquations.of([(np.ones((3, 2)), np.ones(3)), (np.ones((3, 4)), np.ones(3))], "torch")
    A = np.ones((4, 2))
    A[2, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 has numbers that are not finite"):
        orthogonal_least_squares(LeastSquaresSystem(A, np.ones(4)), 2, device="torch")
