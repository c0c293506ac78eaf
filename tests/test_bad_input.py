"""What a model cannot do is a clear error, for every model under contract.

Labels that a model cannot learn from, baselines without the derivatives that are learnt, and
standard deviations of models that cannot give them or kept no factor.
"""

import numpy as np
import pytest
from models_under_contract import CASES, SMALL_LAMBDA_SOAP, labels_of, pipeline
from sklearn.base import BaseEstimator, RegressorMixin, clone

from skatom import Targets
from skatom._prediction import last_step, predict
from skatom.models import (
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
