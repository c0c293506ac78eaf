"""Warnings are those of the line of the user, however many calls lie between."""

import inspect
import warnings

import pytest
from models_under_contract import SMALL_SOAP, labels_of, waters
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skatom._warnings import warn
from skatom.descriptors import FeatureScaler
from skatom.models import GDML, SparseGaussianProcess


def sparse():
    return make_pipeline(SMALL_SOAP, SparseGaussianProcess(n_sparse=99, random_state=0))


def searched():
    return GridSearchCV(sparse(), {"sparsegaussianprocess__noise_energy": [1e-3]}, cv=2)


@pytest.mark.parametrize("make", [sparse, searched])
def test_warnings_of_a_fit_are_at_the_line_that_calls_it(make):
    structures = waters()
    targets, model = labels_of(structures, ("energy", "forces")), make()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1
        model.fit(structures, targets)
    assert any("there are only" in str(w.message) for w in found)
    assert {(w.filename, w.lineno) for w in found} == {(__file__, line)}


def test_warnings_of_labels_and_of_features_are_at_the_line_that_gives_them():
    structures = waters()
    targets = labels_of(structures, ("energy", "forces"))
    targets.energy[0] += 50
    features = SMALL_SOAP.fit_transform(structures)
    scaler = FeatureScaler(out_of_range="warn").fit(features[:2])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        line = inspect.currentframe().f_lineno + 1
        GDML(sigma=3.0).fit(structures, targets)
        scaler.transform(features)
    assert {(w.filename, w.lineno) for w in found} == {(__file__, line), (__file__, line + 1)}


def test_a_category_is_kept():
    with pytest.warns(FutureWarning, match="soon") as found:
        warn("soon", FutureWarning)
    assert found[0].filename == __file__
