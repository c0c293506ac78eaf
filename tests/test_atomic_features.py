import numpy as np
import pytest
from ase.build import molecule
from batches import mixed
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import KFold, cross_validate, train_test_split
from sklearn.pipeline import Pipeline

from skatom.descriptors import SOAP

SMALL = {"cutoff": 4.0, "n_max": 4, "l_max": 3}


@pytest.fixture(scope="module")
def plain():
    return SOAP(**SMALL).fit_transform(mixed())


def test_iterates_over_structures_and_names_itself(plain):
    assert [len(part.numbers) for part in plain] == [6, 3, 3, 1]
    assert repr(plain) == "AtomicFeatures(4 structures, 13 atoms, 312 features, species H C O)"


class MeanNorm(RegressorMixin, BaseEstimator):
    """A model that takes AtomicFeatures."""

    def fit(self, X, y):
        self.scale_ = np.mean(y) / X.pool("sum").values.mean()
        return self

    def predict(self, X):
        return self.scale_ * X.pool("sum").values.mean(axis=1)


def test_passes_through_scikit_learn(tmp_path):
    structures = [molecule(n) for n in ("CH4", "C2H6", "CO", "CH3OH", "H2O", "CO2", "C2H4", "HCN")]
    y = np.arange(8.0)
    soap = SOAP(cutoff=3.0, n_max=2, l_max=1)
    features = soap.fit_transform(structures)
    train, test, _, _ = train_test_split(features, y, random_state=0)
    assert (len(train), len(test)) == (6, 2)
    assert len(cross_validate(MeanNorm(), features, y, cv=KFold(2))["test_score"]) == 2

    model = Pipeline([("soap", soap), ("model", MeanNorm())], memory=str(tmp_path))
    first = model.fit(structures, y).predict(structures)
    again = model.fit(structures, y).predict(structures)  # from the cache on disk
    np.testing.assert_array_equal(first, again)
