"""A Dask cluster computes what one process does (extra ``distributed``)."""

import joblib
import numpy as np
import pytest
from conftest import rattled

from skatom.descriptors import SOAP

distributed = pytest.importorskip("distributed")


def test_a_dask_cluster_transforms_as_one_process_does():
    structures = rattled("CH3OH", 24)
    descriptor = SOAP(cutoff=3.0, n_max=3, l_max=2).fit(structures)
    expected = descriptor.transform(structures).values
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        values = descriptor.transform(structures).values
    np.testing.assert_array_equal(values, expected)
