"""Energies and forces of linear models in one pass over the neighbours."""

import pickle

import numpy as np
import pytest
from batches import mixed

from skatom import Targets
from skatom.descriptors import SOAP, AtomicClusterExpansion, MomentTensor
from skatom.models import LinearPotential
from skatom.models.linear import linear_predictions

DESCRIPTORS = {
    "expansion": AtomicClusterExpansion(4.0, (4, 4, 4), product_cutoff=(3.5, 3.0)),
    "moments": MomentTensor(4.0, level=6, by_center=False),
    "moments_by_center": MomentTensor(4.0, level=6, include_bias=True),
    "moments_bias": MomentTensor(4.0, level=6, by_center=False, include_bias=True),
}


def targets(structures):
    rng = np.random.default_rng(0)
    return Targets(energy=rng.normal(size=len(structures)))


def evaluated(features):
    return "values" in vars(features)


@pytest.mark.parametrize("by_species", [True, False])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_energies_and_forces_need_no_values_and_are_the_same(name, by_species, monkeypatch):
    structures = mixed()
    made = DESCRIPTORS[name].fit(structures)
    model = LinearPotential(1e-3, by_species=by_species)
    model.fit(made.transform(structures), targets(structures))
    asked = {"return_forces": True, "return_local_energies": True}
    known = made.transform(structures)
    assert known.values.shape == (len(known.numbers), made.n_features_out_)
    # the way of features whose values are known
    monkeypatch.setattr(type(known.derivatives), "gives_products", False)
    expected = model.predict(known, **asked)
    monkeypatch.undo()
    unknown = made.transform(structures)
    for size in (2**26, 1):  # all atoms at once, and structure by structure
        monkeypatch.setattr(linear_predictions, "_BATCH_BYTES", size)
        found = model.predict(unknown, **asked)
        assert not evaluated(unknown)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_values_are_computed_when_they_are_used(name):
    structures = mixed()
    made = DESCRIPTORS[name].fit(structures)
    features = made.transform(structures)
    assert not evaluated(features)
    assert features.n_features == made.n_features_out_
    assert "features" in repr(features)
    assert not evaluated(features)
    values = made._compute(features.structures)[0]
    np.testing.assert_array_equal(features.values, values)
    np.testing.assert_array_equal(features[1:].values, values[features.offsets[1] :])
    again = pickle.loads(pickle.dumps(made.transform(structures)))
    np.testing.assert_array_equal(again.values, values)
    assert features.values is features.values


def test_other_descriptors_and_pooled_ones_compute_at_once():
    structures = mixed()
    assert evaluated(SOAP(n_max=2, l_max=1).fit_transform(structures))
    assert evaluated(AtomicClusterExpansion(4.0, (4, 4), pool="sum").fit_transform(structures))


def test_structures_that_cannot_be_described_are_refused_before_values_are_used():
    structures = mixed()
    made = AtomicClusterExpansion(4.0, (4, 4)).fit(structures[-1:])
    with pytest.raises(ValueError, match="not in the structures given to fit"):
        made.transform(structures[:1])
