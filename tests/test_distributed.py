"""A Dask cluster computes what one process does (extra ``distributed``)."""

import joblib
import numpy as np
import pytest
from conftest import rattled

from skatom.descriptors import SOAP
from skatom.parallel import ThreadTeam, map_jobs, merged, tree_reduce
from skatom.solvers import StreamedQR

distributed = pytest.importorskip("distributed")

N_CHUNKS, N_COLUMNS = 7, 30


def test_a_dask_cluster_transforms_as_one_process_does(cluster):
    structures = rattled("CH3OH", 24)
    descriptor = SOAP(cutoff=3.0, n_max=3, l_max=2).fit(structures)
    expected = descriptor.transform(structures).values
    with distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        values = descriptor.transform(structures).values
    np.testing.assert_array_equal(values, expected)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def expected():
    return tree_reduce(map(triangle_of, range(N_CHUNKS)))


class TestOneFit:
    """The same least squares, its triangles made here, in jobs and on the workers of a cluster."""

    def assert_equal(self, found, expected):
        np.testing.assert_array_equal(found.triangle, expected.triangle)
        np.testing.assert_array_equal(found.solve(), expected.solve())
        assert found.n_rows == expected.n_rows

    def test_is_that_of_all_rows(self, expected):
        rows, targets = zip(*map(chunk, range(N_CHUNKS)), strict=True)
        solution = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]
        np.testing.assert_allclose(expected.solve(), solution, rtol=1e-10)

    def test_in_threads(self, expected):
        with ThreadTeam(4) as team:
            found = tree_reduce(team.map(triangle_of, range(N_CHUNKS)))
        self.assert_equal(found, expected)

    @pytest.mark.parametrize("n_jobs", [2, 3])
    def test_in_jobs_in_this_process(self, n_jobs, expected):
        with joblib.parallel_config(backend="threading"):
            found = tree_reduce(map_jobs(triangle_of, range(N_CHUNKS), n_jobs))
        self.assert_equal(found, expected)

    def test_in_other_processes(self, expected):
        found = tree_reduce(map_jobs(triangle_of, range(N_CHUNKS), 2))
        np.testing.assert_allclose(found.solve(), expected.solve(), rtol=1e-10)

    def test_in_jobs_of_a_cluster(self, cluster, expected):
        with distributed.Client(cluster), joblib.parallel_config(backend="dask"):
            found = tree_reduce(map_jobs(triangle_of, range(N_CHUNKS)))
        self.assert_equal(found, expected)

    def test_with_triangles_that_stay_on_the_workers(self, cluster, expected):
        with distributed.Client(cluster) as client:
            parts = client.map(triangle_of, range(N_CHUNKS))
            found = tree_reduce(parts, lambda a, b: client.submit(merged, a, b)).result()
        self.assert_equal(found, expected)


def chunk(k):
    """Rows and targets: some of many."""
    rng = np.random.default_rng(k)
    return rng.normal(size=(40 + k, N_COLUMNS)), rng.normal(size=40 + k)


def triangle_of(k):
    qr = StreamedQR(N_COLUMNS)
    qr.update(*chunk(k))
    return qr


def test_a_bar_is_shown_for_two_items_or_more(capsys):
    assert list(map_jobs(abs, [-1], verbose=1)) == [1]
    assert capsys.readouterr().err == ""
    list(map_jobs(abs, [-1, 2], verbose=1, desc="numbers"))
    assert "numbers" in capsys.readouterr().err
