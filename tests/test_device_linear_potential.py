"""LinearPotential from normal equations, and from features on a device."""

import pickle

import numpy as np
import pytest
from models_under_contract import OF_THE_ENERGY, crystals, labels_of
from sklearn.base import clone
from sklearn.linear_model import Ridge

from skatom import Targets
from skatom._device import Device
from skatom.datasets import load_ethanol
from skatom.descriptors import SOAP, AtomicClusterExpansion, MomentTensor
from skatom.kernels import Gaussian
from skatom.models import LinearPotential
from skatom.models.linear import least_squares
from skatom.random_features import PrincipalComponents, RandomFourierFeatures
from skatom.solvers import StreamedQR
from skatom.solvers.packed_equations import PackedEquations

EVERYTHING = {
    "return_forces": True, "return_stress": True, "return_local_energies": True,
    "return_std": True, "return_forces_std": True, "return_stress_std": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def cells():
    structures = crystals(12)
    features = MomentTensor(cutoff=3.5, level=6, by_center=False).fit_transform(structures)
    return features, labels_of(structures, OF_THE_ENERGY)


@pytest.fixture(scope="module")
def ethanol():
    data = load_ethanol()
    part = slice(0, 1000, 100)
    return data.structures[part], data.targets[part]


def waves(device="cpu"):
    return [
        SOAP(cutoff=3.0, n_max=3, l_max=2, device=device),
        PrincipalComponents(8),
        RandomFourierFeatures(Gaussian(2.0), 40, random_state=0),
    ]


def transformed(steps, X):
    for step in steps:
        X = step.fit_transform(X)
    return X


@pytest.fixture
def without_equations(monkeypatch):
    """A context in which all sums are triangles."""

    def switch():
        monkeypatch.setattr(least_squares, "by_equations", lambda *arguments: False)

    return switch


# The shares of the elements of one composition in its energy are known from the prior alone.
DETERMINED = {k: v for k, v in EVERYTHING.items() if "local" not in k}


def check_equal(ours, theirs, rtol):
    """Predictions are equal relative to how much they vary."""
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is np.ndarray
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b - b.mean()).max())


@pytest.mark.parametrize("alpha", [1e-8, 1e-4])
@pytest.mark.parametrize("kind", ["cells", "ethanol"])
def test_normal_equations_predict_what_a_factorisation_does(
    alpha, kind, cells, ethanol, without_equations
):
    X, y = cells if kind == "cells" else (transformed(waves(), ethanol[0]), ethanol[1])
    given = {k: v for k, v in DETERMINED.items() if kind == "cells" or "stress" not in k}
    one = LinearPotential(alpha).fit(X, y)
    assert isinstance(one.sums_.parts["derivatives"], PackedEquations)
    without_equations()
    other = LinearPotential(alpha).fit(X, y)
    assert isinstance(other.sums_.parts["forces"], StreamedQR)
    check_equal(one.predict(X, **given), other.predict(X, **given), 1e-8)
    assert one.log_marginal_likelihood_ == pytest.approx(other.log_marginal_likelihood_, rel=1e-9)


@pytest.mark.parametrize("learnt", ["energy", "forces", "stress"])
def test_normal_equations_of_one_kind_of_labels(learnt, cells, without_equations):
    X, y = cells
    y = Targets(**{learnt: getattr(y, learnt)}, offsets=X.offsets)
    one = LinearPotential(1e-6).fit(X, y)
    without_equations()
    other = LinearPotential(1e-6).fit(X, y)
    for a, b in zip(  # energies only where they are learnt: else their zero is arbitrary
        one.predict(X, return_forces=True, return_stress=True)[learnt != "energy" :],
        other.predict(X, return_forces=True, return_stress=True)[learnt != "energy" :],
        strict=True,
    ):
        check_equal([a], [b], 1e-8)


@pytest.mark.parametrize(
    "model",
    [
        LinearPotential(),
        LinearPotential(1e-9),
        LinearPotential(alpha="cv", cv=2),
        LinearPotential(1e-6, learn_noise=True),
        LinearPotential(1e-6, solver=Ridge(1e-6)),
    ],
    ids=repr,
)
def test_small_or_unknown_regularisations_are_factored(model, cells):
    sums = model.fit(*cells).sums_
    assert all(isinstance(part, StreamedQR) for part in sums.parts.values())


def test_parts_of_normal_equations_add_up(cells):
    X, y = cells
    whole = LinearPotential(1e-6).fit(X, y)
    in_parts = LinearPotential(1e-6).partial_fit(X[:5], y[:5]).partial_fit(X[5:], y[5:])
    merged = LinearPotential(1e-6).fit(X[:5], y[:5]).merge(LinearPotential(1e-6).fit(X[5:], y[5:]))
    for other in (in_parts, merged):
        assert other.n_structures_seen_ == 12
        check_equal(other.predict(X, **DETERMINED), whole.predict(X, **DETERMINED), 1e-8)


def test_more_energies_than_columns_are_factored_beside_normal_equations(without_equations):
    structures = crystals(40)
    X = MomentTensor(cutoff=3.5, level=4, by_center=False).fit_transform(structures)
    y = labels_of(structures, OF_THE_ENERGY)
    one = LinearPotential(1e-6).fit(X, y)
    assert isinstance(one.sums_.parts["energy"], StreamedQR)
    without_equations()
    check_equal(
        one.predict(X, **DETERMINED), LinearPotential(1e-6).fit(X, y).predict(X, **DETERMINED), 1e-8
    )


class TestOnADevice:
    """Features that are tensors, made by torch on the CPU."""

    @pytest.fixture(autouse=True)
    def with_torch(self):
        pytest.importorskip("torch")

    @pytest.fixture
    def no_hidden_copies(self, monkeypatch):
        """An error where a tensor becomes an array without a copy to the host."""
        import torch

        def refuse(self, *arguments, **keywords):
            raise TypeError("a card would refuse this")

        monkeypatch.setattr(torch.Tensor, "__array__", refuse)

    @pytest.mark.parametrize(
        ("alpha", "by_species"), [("evidence", True), (1e-6, True), (1e-6, False)]
    )
    def test_predictions_are_those_of_the_cpu(self, alpha, by_species, ethanol, no_hidden_copies):
        X, y = ethanol
        X, Z = (transformed(waves(device), X) for device in ("cpu", "torch"))
        given = {k: v for k, v in EVERYTHING.items() if "stress" not in k}
        one, other = (LinearPotential(alpha, by_species=by_species).fit(F, y) for F in (X, Z))
        tolerance = 1e-6 if alpha == "evidence" else 1e-7
        check_equal(other.predict(Z, **given), one.predict(X, **given), tolerance)
        # whatever the device of the fit and of the prediction
        check_equal(other.predict(X, **given), other.predict(Z, **given), 1e-9)
        check_equal(one.predict(Z, **given), one.predict(X, **given), 1e-9)

    @pytest.mark.parametrize("pool", [None, "sum"])
    def test_stresses_of_cells(self, pool, no_hidden_copies):
        structures = crystals(8)
        y = labels_of(structures, OF_THE_ENERGY)
        X, Z = (
            SOAP(cutoff=3.5, n_max=3, l_max=2, pool=pool, device=device).fit_transform(structures)
            for device in ("cpu", "torch")
        )
        given = {k: v for k, v in EVERYTHING.items() if pool is None or "local" not in k}
        one, other = (LinearPotential(1e-6).fit(F, y) for F in (X, Z))
        check_equal(other.predict(Z, **given), one.predict(X, **given), 1e-7)

    def test_cluster_expansions_learn_with_the_regularisation_of_their_recipe(self):
        structures = crystals(10)
        y = labels_of(structures, OF_THE_ENERGY)
        expansion = AtomicClusterExpansion(3.5, (4, 3, 3), l_weight=1.0)
        X, Z = (
            clone(expansion).set_params(device=device).fit_transform(structures)
            for device in ("cpu", "torch")
        )
        given = {"return_forces": True, "return_stress": True}
        one, other = (LinearPotential(1e-10, smoothness=1).fit(F, y) for F in (X, Z))
        assert isinstance(one.sums_.parts["forces"], StreamedQR)
        assert isinstance(other.sums_.parts["derivatives"], PackedEquations)
        check_equal(other.predict(Z, **given), one.predict(X, **given), 1e-6)
        # parts of different kinds add up
        for first, second in ((X, Z), (Z, X)):
            parts = LinearPotential(1e-10, smoothness=1).fit(first[:6], y[:6])
            parts.partial_fit(second[6:], y[6:])
            check_equal(parts.predict(X, **given), one.predict(X, **given), 1e-6)

    def test_parts_add_up(self, ethanol):
        X, y = ethanol
        Z = transformed(waves("torch"), X)
        whole, given = LinearPotential(1e-6).fit(Z, y), {"return_forces": True}
        in_parts = LinearPotential(1e-6).partial_fit(Z[:4], y[:4]).partial_fit(Z[4:], y[4:])
        check_equal(in_parts.predict(Z, **given), whole.predict(Z, **given), 1e-8)

    @pytest.mark.parametrize("alpha", ["evidence", 1e-6])
    def test_a_file_has_no_tensors_and_goes_on_anywhere(self, alpha, ethanol):
        X, y = ethanol
        X, Z = (transformed(waves(device), X) for device in ("cpu", "torch"))
        model = LinearPotential(alpha).fit(Z[:6], y[:6])
        data = pickle.dumps(model)
        assert b"torch" not in data
        again, given = pickle.loads(data), {"return_forces": True, "return_std": True}
        check_equal(again.predict(X, **given), model.predict(Z, **given), 1e-9)
        if alpha == "evidence":
            return
        given = {"return_forces": True}
        whole = LinearPotential(alpha).fit(X, y).predict(X, **given)
        check_equal(again.partial_fit(X[6:], y[6:]).predict(X, **given), whole, 1e-7)
        again = pickle.loads(data).partial_fit(Z[6:], y[6:])  # a file that goes on on the device
        check_equal(again.predict(Z, **given), whole, 1e-7)

    @pytest.mark.parametrize("how", ["sum", "mean"])
    def test_features_pooled_by_species(self, how):
        structures = crystals(3)
        X, Z = (
            SOAP(cutoff=3.5, n_max=3, l_max=2, device=device).fit_transform(structures)
            for device in ("cpu", "torch")
        )
        X, Z = (F.pool(how, X.species) for F in (X, Z))
        np.testing.assert_allclose(Z.values.numpy(), X.values, rtol=1e-9, atol=1e-12)
        ours, theirs = Z.jacobian(slice(None)), X.jacobian(slice(None))
        for name in ("gradients", "strains"):
            a, b = getattr(ours, name).numpy(), getattr(theirs, name)
            np.testing.assert_allclose(a, b, atol=1e-9 * np.abs(b).max())
        cotangent = np.random.default_rng(0).normal(size=X.shape)
        for a, b in zip(
            Z.pullback(Z.values.new_tensor(cotangent)), X.pullback(cotangent), strict=True
        ):
            np.testing.assert_allclose(a.numpy(), b, atol=1e-9 * np.abs(b).max())

    def test_sums_that_do_not_fit_are_an_error(self, ethanol, monkeypatch):
        X, y = ethanol
        Z = transformed(waves("torch"), X)

        def refuse(self, n_bytes, what, remedy, max_memory=None):
            raise MemoryError(f"{what}: {remedy}")

        monkeypatch.setattr(Device, "check_memory", refuse)
        with pytest.raises(MemoryError, match="sums of squares of 123 coefficients: take fewer"):
            LinearPotential(1e-6).fit(Z, y)
