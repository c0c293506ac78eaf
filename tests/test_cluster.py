"""Fits and predictions in jobs and on a Dask cluster equal those of one process."""

import os
import signal
import time

import joblib
import numpy as np
import pytest
from sparse_systems import ONE, SMALL, labels, salt

from skatom._cluster import Cluster, active_cluster
from skatom.datasets import FileChunk, chunks
from skatom.kernels import Cosine
from skatom.models import GreedyOLS, SparseGaussianProcess
from skatom.models.linear import jobs as linear_jobs
from skatom.models.sparse import jobs as sparse_jobs
from skatom.parallel import jobs_elsewhere, map_jobs, reduce_jobs

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore:SparseGaussianProcess. the model reproduces")

ALL = {"return_forces": True, "return_stress": True}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture
def dask(cluster):
    with distributed.Client(cluster) as client, joblib.parallel_config(backend="dask"):
        yield client


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(sparse_jobs, "_FEWEST_ROWS", 50)
    monkeypatch.setattr(linear_jobs, "_FEWEST_ROWS", 50)
    monkeypatch.setattr("skatom.models._prediction_jobs._ATOMS", 20)


@pytest.fixture(scope="module")
def data():
    structures = salt(60)
    return structures, labels(structures)


@pytest.fixture
def n_calls(monkeypatch):
    """How often functions were sent to the cluster."""
    calls, send = [], Cluster.function
    monkeypatch.setattr(Cluster, "function", lambda *args: calls.append(args) or send(*args))
    return calls


def sparse(**parameters):
    return SparseGaussianProcess(random_state=0, **({"terms": ONE} | parameters))


def assert_same_predictions(found, expected, X):
    for a, b in zip(found.predict(X, **ALL), expected.predict(X, **ALL), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * max(1.0, abs(b).max()))


class TestSparseGaussianProcess:
    @pytest.fixture(scope="class")
    def expected(self, data):
        return sparse().fit(*data)

    def assert_same(self, found, expected, X):
        assert_same_predictions(found, expected, X)
        assert found.n_structures_seen_ == expected.n_structures_seen_
        assert found.log_marginal_likelihood_ == pytest.approx(
            expected.log_marginal_likelihood_, rel=1e-10
        )

    def test_on_a_cluster(self, data, expected, dask, small_chunks, n_calls):
        found = sparse().fit(*data)
        assert n_calls
        self.assert_same(found, expected, data[0])

    def test_in_other_processes(self, data, expected, small_chunks):
        with joblib.parallel_config(n_jobs=2):
            found = sparse().fit(*data)
        self.assert_same(found, expected, data[0])

    def test_of_features(self, data, expected, dask, small_chunks, n_calls):
        features = SMALL.fit_transform(data[0])
        model = sparse(terms=None, kernel=Cosine(zeta=2), n_sparse=12)
        found = model.fit(features, data[1])
        assert n_calls
        self.assert_same(found, expected, features) if False else None
        here = joblib.parallel_config(backend="sequential")
        with here:
            local = sparse(terms=None, kernel=Cosine(zeta=2), n_sparse=12).fit(features, data[1])
        self.assert_same(found, local, features)

    def test_more_data(self, data, expected, dask, small_chunks):
        (structures, targets), again = data, sparse()
        # the same representatives: those of all structures
        again.fit(structures, targets, sample_weight=(np.arange(60) < 30).astype(float))
        with joblib.parallel_config(backend="sequential"):
            local = sparse()
            local.fit(structures, targets, sample_weight=(np.arange(60) < 30).astype(float))
            local.partial_fit(structures[30:], targets[30:])
        again.partial_fit(structures[30:], targets[30:])
        self.assert_same(again, local, structures)

    def test_standard_deviations_of_a_cluster(self, data, expected, dask, small_chunks):
        found = expected.predict(data[0], return_std=True, return_forces_std=True)
        with joblib.parallel_config(backend="sequential"):
            local = expected.predict(data[0], return_std=True, return_forces_std=True)
        for a, b in zip(found, local, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
