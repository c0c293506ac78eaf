"""What a model cannot do is a clear error, for every model under contract.

Labels that a model cannot learn from, baselines without the derivatives that are learnt, and
standard deviations of models that cannot give them or kept no factor.
"""

from inspect import signature

import numpy as np
import pytest
from models_under_contract import (
    CASES,
    SMALL_LAMBDA_SOAP,
    SMALL_SOAP,
    labels_of,
    pipeline,
    waters,
)
from sklearn.base import BaseEstimator, RegressorMixin, clone

from skatom import Targets
from skatom._prediction import last_step, predict
from skatom.kernels import Gaussian
from skatom.models import (
    ForceKernelRidge,
    LatentChargeRidge,
    SparseGaussianProcess,
    TensorKernelRidge,
)
from skatom.properties import LABELS, OUTPUTS

DERIVATIVES = {"energy", "forces", "stress"}


class EnergiesAlone(RegressorMixin, BaseEstimator):
    """A baseline that predicts no forces."""

    def fit(self, X, y):
        self.energy_ = -10.0
        return self

    def predict(self, X):
        return np.full(len(X), self.energy_)


class NoStress(EnergiesAlone):
    """A baseline that predicts energies and forces, but no stress."""

    def predict(self, X, return_forces=False):
        energy = super().predict(X)
        return (energy, np.zeros_like(X.positions)) if return_forces else energy


def cases(*, of=lambda case: True):
    return pytest.mark.parametrize("name", [name for name, case in CASES.items() if of(case)])


def baseline_parameter(model):
    """The name of the parameter ``baseline`` of a model, within pipelines and other models."""
    names = [
        name
        for name in model.get_params()
        if name.split("__")[-1] == "baseline" and "solver" not in name
    ]
    return max(names, key=len)


def unusable(case):
    """Kinds of labels that a model cannot learn from: those of the energy, or the others."""
    dipoles_too = case.labels == ("dipole",) and not case.takes_baseline and not case.prefix
    learns_energies = bool(DERIVATIVES & {*case.labels}) or dipoles_too  # of a kernel of fields
    own = {*case.labels} | (DERIVATIVES if learns_energies else set())
    return sorted({*LABELS} - own - {"stress"})


@cases()
def test_labels_that_a_model_cannot_use(name):
    case = CASES[name]
    structures, _ = case.data()
    assert unusable(case)
    for label in unusable(case):
        model = clone(case.make())
        expected = rf"no structure has .*learns from \(labels: {label}\): give Targets\("
        with pytest.raises(ValueError, match=expected):
            model.fit(structures, labels_of(structures, [label]))
        assert not hasattr(last_step(model), "outputs_")


@pytest.mark.parametrize("name", ["gdml", "sgdml", "gdml-energies", "committee-gdml"])
def test_labels_that_a_model_cannot_do_without(name):
    case = CASES[name]
    structures, _ = case.data()
    with pytest.raises(ValueError, match=r"no forces, only energy: give Targets\(forces="):
        case.make().fit(structures, labels_of(structures, ["energy"]))
    if name == "gdml-energies":
        with pytest.raises(ValueError, match=r"no energy, only forces: give Targets\(energy="):
            case.make().fit(structures, labels_of(structures, ["forces"]))


@cases()
def test_labels_of_nothing(name):
    case = CASES[name]
    structures, targets = case.data()
    nothing = {n: np.full_like(getattr(targets, n), np.nan) for n in targets.names}
    with pytest.raises(ValueError, match="labels: none|have no "):
        case.make().fit(structures, Targets(**nothing, offsets=targets.offsets))


@cases(of=lambda case: "forces" in case.labels and case.takes_baseline)
def test_a_baseline_without_forces_where_forces_are_learnt(name):
    case = CASES[name]
    structures, targets = case.data()
    model = clone(case.make())
    model.set_params(**{baseline_parameter(model): EnergiesAlone()})
    with pytest.raises(ValueError, match="predicts energy but no forces.*or baseline=None"):
        model.fit(structures, targets)
    assert not hasattr(last_step(model), "outputs_")


@cases(of=lambda case: "stress" in case.labels and case.takes_baseline)
def test_a_baseline_without_stress_where_stresses_are_learnt(name):
    case = CASES[name]
    structures, targets = case.data()
    model = clone(case.make())
    model.set_params(**{baseline_parameter(model): NoStress()})
    with pytest.raises(ValueError, match="predicts no stress.*or baseline=None"):
        model.fit(structures, targets)


@pytest.mark.parametrize("name", ["hdnnp", "kernel-ridge", "linear", "sparse"])
def test_a_baseline_without_stress_where_stresses_are_asked_for(name):
    """Energies and forces are learnt, but a stress cannot be predicted."""
    case = CASES[name]
    structures, _ = case.data()
    model = clone(case.make())
    model.set_params(**{baseline_parameter(model): NoStress()})
    model.fit(structures, labels_of(structures, ["energy", "forces"]))
    assert np.isfinite(predict(model, structures, ["forces"])["forces"]).all()
    with pytest.raises(ValueError, match="predicts no stress.*or baseline=None"):
        predict(model, structures, ["stress"])


WITHOUT_FACTOR = {
    "gdml": (
        CASES["gdml"], ["energy_std", "forces_std"], {"keep_factor": True},
        "if it is fitted with keep_factor=True",
    ),
    "sgdml": (
        CASES["sgdml"], ["energy_std", "forces_std"], {"keep_factor": True},
        "if it is fitted with keep_factor=True",
    ),
    "kernel-ridge-cg": (
        CASES["kernel-ridge-cg"], ["energy_std", "forces_std", "stress_std"],
        {"solver": "cholesky"}, "if it is fitted with solver='cholesky'",
    ),
    "dipole": (
        pipeline(SMALL_LAMBDA_SOAP, TensorKernelRidge, labels=("dipole",), system="waters"),
        ["dipole_std"], {"keep_factor": True}, "if it is fitted with keep_factor=True",
    ),
    "mapped": (
        CASES["mapped"], ["energy_std", "forces_std", "stress_std"], {"map_variance": True},
        "this one with map_variance=True",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_FACTOR)
def test_a_deviation_of_a_model_that_kept_no_factor(name):
    """The error names the parameter, and with it the model gives the deviation."""
    case, outputs, remedy, message = WITHOUT_FACTOR[name]
    structures, targets = case.data()
    model = clone(case.make())
    if name == "mapped":
        model.set_params(map_variance=False)
    model.fit(structures, targets)
    for output in outputs:
        with pytest.raises(ValueError, match=message):
            model.predict(structures, **{OUTPUTS[output].keyword: True})
    last_step(model).set_params(**remedy)
    model.fit(structures, targets)
    found = predict(model, structures, outputs)
    assert all((found[output] > 0).all() for output in outputs)


@pytest.mark.parametrize(
    ("name", "output"), [("kernel-ridge", "dipole_std"), ("dipole", "polarizability_std")]
)
def test_no_remedy_is_named_that_would_not_help(name, output):
    case, _, _, _ = WITHOUT_FACTOR.get(name, (CASES[name], 0, 0, 0))
    structures, targets = case.data()
    model = case.make().fit(structures, targets)
    with pytest.raises(ValueError) as error:
        model.predict(structures, **{OUTPUTS[output].keyword: True})
    assert f"but no {output}" in str(error.value)
    assert "fitted with" not in str(error.value)


def weighted(case):
    """A model that takes weights of structures, and the structures or features of them."""
    model, (structures, targets) = case.make(), case.data()
    X = structures
    if hasattr(model, "steps"):
        X, model = model[:-1].fit_transform(structures), model[-1]
    return model, X, targets


WRONG_WEIGHTS = {
    "too few": (lambda n: np.ones(n - 1), r"the shape \(\d+,\), but there are \d+ structures"),
    "a table": (lambda n: np.ones((n, 1)), r"the shape \(\d+, 1\), but there are \d+ structures"),
    "negative": (lambda n: np.r_[1.0, -1.0, np.ones(n - 2)], "of structure 1 is -1: .* not nega"),
    "missing": (lambda n: np.r_[np.ones(n - 1), np.nan], r"of structure \d+ is nan: .* be finite"),
    "none": (np.zeros, "all sample weights are zero: give at least one structure"),
    "text": (lambda n: ["1"] * n, "sample_weight must be real numbers, but has the text '1'"),
}


@cases(of=lambda case: "sample_weight" in signature(last_step(case.make()).fit).parameters)
def test_weights_that_are_none(name):
    model, X, targets = weighted(CASES[name])
    for make, expected in WRONG_WEIGHTS.values():
        with pytest.raises(ValueError, match=expected):
            model.fit(X, targets, sample_weight=make(len(X)))
    assert not hasattr(model, "outputs_")


@pytest.mark.parametrize("name", ["dipole", "kernel-ridge-distances"])
def test_weights_of_a_score_that_are_none(name):
    model, X, targets = weighted(CASES[name])
    model.fit(X, targets)
    for make, expected in WRONG_WEIGHTS.values():
        with pytest.raises(ValueError, match=expected):
            model.score(X, targets, sample_weight=make(len(X)))


class TestKernelModels:
    """Slips of users of kernel models and Gaussian processes."""

    structures = waters(6)
    features = SMALL_SOAP.fit_transform(structures)
    targets = labels_of(structures, ("energy", "forces"))

    def test_what_a_masked_array_masks_is_not_labelled(self):
        energy = np.ma.masked_array(self.targets.energy, mask=[1, 0, 0, 0, 0, 0])
        energy.data[0] = 1e4
        targets = Targets(energy=energy)
        assert targets.labelled("energy").tolist() == [False] + 5 * [True]
        whole = ForceKernelRidge(Gaussian(2.0)).fit(self.features[1:], self.targets.energy[1:])
        found = ForceKernelRidge(Gaussian(2.0)).fit(self.features, targets)
        np.testing.assert_array_equal(found.predict(self.features), whole.predict(self.features))

    @pytest.mark.parametrize("given", [None, iter([1.0])])
    def test_what_is_no_table(self, given):
        with pytest.raises(TypeError, match="where features are needed: give a table"):
            ForceKernelRidge().fit(given, self.targets)

    def test_labels_before_features(self):
        with pytest.raises(ValueError, match="got Targets where features are needed"):
            ForceKernelRidge().fit(self.targets, self.features)

    @pytest.mark.parametrize("name", ["sparse", "dipole"])
    def test_no_structures_to_predict(self, name):
        model, X, targets = weighted(CASES[name])
        model.fit(X[:4], targets[:4])
        with pytest.raises(ValueError, match="got no structures: pass at least one"):
            model.predict(X[:0])

    def test_names_of_configurations_that_nothing_asks_for(self):
        for model in (ForceKernelRidge(), SparseGaussianProcess(n_sparse=3)):
            with pytest.raises(ValueError, match=r"shape \(1,\): name one for each of the 6"):
                model.fit(self.features, self.targets, configurations=["a"])

    @pytest.mark.parametrize("value", ["x", np.nan, None])
    def test_energies_of_elements_that_are_no_numbers(self, value):
        with pytest.raises(ValueError, match="the energy of H is .*: give a finite number, in eV"):
            ForceKernelRidge(baseline={"H": value, "O": 1.0}).fit(self.features, self.targets)

    @pytest.mark.parametrize("value", ["3", 0, 2.5, True])
    def test_numbers_of_representatives_that_are_none(self, value):
        with pytest.raises(ValueError, match="for H: give 1, 2, 3 or more"):
            SparseGaussianProcess(n_sparse={"H": value, "O": 2}).fit(self.features, self.targets)

    def test_a_charge_that_is_no_number(self):
        model = LatentChargeRidge(total_charge=np.nan)
        with pytest.raises(ValueError, match="'total_charge' parameter .* Got nan"):
            model.fit(self.features, labels_of(self.structures, ("dipole",)))

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([["a"]], "rows of real numbers, not of the type <U1"),
            (np.full((2, 2), 1j), "rows of real numbers, not of the type complex128"),
            ("rows.txt", "got the name 'rows.txt' where rows of features are needed"),
            (waters(2).to_ase(), "got structures where a kernel needs rows of features"),
        ],
    )
    def test_rows_that_a_kernel_cannot_compare(self, rows, message):
        with pytest.raises((ValueError, TypeError), match=message):
            Gaussian(1.0)(rows)
