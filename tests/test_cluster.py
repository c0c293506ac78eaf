"""Fits and predictions in jobs and on a Dask cluster equal those of one process."""

import concurrent.futures
import copy
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import joblib
import numba
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import full_3x3_to_voigt_6_stress
from sklearn.base import clone
from sparse_systems import ONE, SMALL, labels, salt

from skatom import Targets
from skatom._checkpoints import kept_every
from skatom._cluster import Cluster, active_cluster
from skatom.cli import main
from skatom.datasets import chunks, read
from skatom.kernels import Cosine
from skatom.models import GreedyOLS, SparseGaussianProcess
from skatom.models._cpu.sparse_rows import add_run
from skatom.models.linear import jobs as linear_jobs
from skatom.models.sparse import jobs as sparse_jobs
from skatom.models.sparse.fitting import batch_size, factorisation_memory
from skatom.parallel import available_threads, map_jobs, reduce_jobs, works_elsewhere
from skatom.solvers import StreamedQR, _lapack

distributed = pytest.importorskip("distributed")
dask_config = pytest.importorskip("dask.config")
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


@pytest.fixture(scope="module")
def expected(data):
    return sparse().fit(*data)


class TestSparseGaussianProcess:
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

    def test_of_features(self, data, dask, small_chunks, n_calls):
        features = SMALL.fit_transform(data[0])
        model = sparse(terms=None, kernel=Cosine(zeta=2), n_sparse=12)
        found = model.fit(features, data[1])
        assert n_calls
        with joblib.parallel_config(backend="sequential"):
            local = sparse(terms=None, kernel=Cosine(zeta=2), n_sparse=12).fit(features, data[1])
        self.assert_same(found, local, features)

    def test_more_data(self, data, dask, small_chunks):
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

    def test_chunks_hold_all_structures_and_about_as_many_rows(self, data):
        n_rows = 13 + 6  # an energy, forces of four atoms, a virial
        many = data[0][np.arange(6000) % 60]
        has = {name: np.ones(6000, bool) for name in ("has_energy", "has_forces", "has_virial")}
        pieces = sparse_jobs.chunks(many, SimpleNamespace(**has), 300)
        assert [p.start for p in pieces[1:]] == [p.stop for p in pieces[:-1]]
        assert (pieces[0].start, pieces[-1].stop) == (0, 6000)
        sizes = {p.stop - p.start for p in pieces[:-1]}
        assert 2048 / n_rows - 1 <= min(sizes) <= max(sizes) <= 2048 / n_rows + 1

    def test_an_error_of_a_job_is_raised_and_changes_nothing(
        self, data, dask, small_chunks, monkeypatch
    ):
        def fail(*_):
            raise ValueError("no rows today")

        structures, targets = data
        model = sparse().fit(structures, targets)
        before = model.coef_
        monkeypatch.setattr(sparse_jobs, "learn_part", fail)
        with pytest.raises(ValueError, match="no rows today"):
            model.fit(structures, targets)
        assert model.coef_ is before

    def test_memory_of_a_worker_is_checked_before(self, data, dask, small_chunks, monkeypatch):
        monkeypatch.setattr(Cluster, "workers", lambda self: [(4, 2**30), (4, 2**16)])
        with pytest.raises(MemoryError, match="in a worker of 4 threads and .* are usable: reduce"):
            sparse().fit(*data)


@pytest.fixture
def path(data, tmp_path):
    structures, targets = data
    images = structures.to_ase()
    for k, atoms in enumerate(images):
        results = {
            "energy": targets.energy[k],
            "forces": targets.forces[4 * k : 4 * k + 4],
            "stress": full_3x3_to_voigt_6_stress(targets.stress[k]),
        }
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["config_type"] = "odd" if k % 2 else "even"
    write(tmp_path / "salt.xyz", images)
    return tmp_path / "salt.xyz"


class TestChunksOfFiles:
    def test_they_are_the_frames_of_the_file(self, path):
        parts, whole = chunks(path, n_frames=25), read(path)
        assert [len(part) for part in parts] == [25, 25, 10]
        found = [part.read() for part in parts]
        np.testing.assert_array_equal(
            np.concatenate([part.structures.positions for part in found]),
            whole.structures.positions,
        )
        np.testing.assert_array_equal(
            np.concatenate([part.targets.energy for part in found]), whole.targets.energy
        )

    def test_blank_lines_between_frames(self, path):
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("\n" + "".join(lines[:6]) + "\n\n" + "".join(lines[6:12]) + "\n")
        first, second = chunks(path, n_frames=1)
        assert [len(part.read().structures) for part in (first, second)] == [1, 1]

    @pytest.mark.parametrize("where", ["here", "cluster"])
    def test_they_are_learnt_as_structures_are(self, path, where, cluster, monkeypatch):
        data = read(path)
        start = slice(0, 20), slice(20, None)
        one = sparse().fit(data.structures[start[0]], data.targets[start[0]])
        other = copy.deepcopy(one)
        one.partial_fit(data.structures[start[1]], data.targets[start[1]])
        parts = chunks(path, n_frames=10)[2:]
        if where == "here":
            assert other.partial_fit_chunks(parts) is other
        else:
            monkeypatch.setattr(sparse_jobs, "GROUP", 2)
            with distributed.Client(cluster), joblib.parallel_config(backend="dask"):
                other.partial_fit_chunks(parts)
        TestSparseGaussianProcess().assert_same(other, one, data.structures)

    def test_noises_by_configuration(self, path):
        data = read(path, info=["config_type"])
        names, first = data.info["config_type"], slice(0, 20)
        model = sparse(noise_forces={"even": 0.1, "odd": 0.5})
        one = model.fit(data.structures[first], data.targets[first], names[first])
        other = copy.deepcopy(one)
        one.partial_fit(data.structures[20:], data.targets[20:], names[20:])
        other.partial_fit_chunks(chunks(path, n_frames=20)[1:], configurations="config_type")
        assert_same_predictions(other, one, data.structures)

    def test_what_is_no_extended_xyz_is_an_error(self, data, tmp_path):
        data[0][:1].to_ase()[0].write(tmp_path / "one.cif")
        with pytest.raises(ValueError, match=r"one.cif is of the format cif, and chunks are made"):
            chunks(tmp_path / "one.cif")

    def test_a_truncated_file_is_an_error(self, path):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
        with pytest.raises(ValueError, match="structure 59 is not complete: the file is truncated"):
            chunks(path)

    def test_a_line_that_is_no_number_of_atoms_is_an_error(self, path):
        path.write_text(path.read_text() + "Li 0 0 0\n")
        with pytest.raises(ValueError, match="structure 60 begins with b'Li 0 0 0"):
            chunks(path)

    def test_no_frames_in_a_chunk_is_an_error(self, path):
        with pytest.raises(ValueError, match="n_frames=0: give at least one frame"):
            chunks(path, n_frames=0)

    def test_a_file_that_has_changed_is_an_error(self, path, data):
        parts = chunks(path, n_frames=10)
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[6:]))
        with pytest.raises(ValueError, match="frames 50 to 59: .*"):
            parts[-1].read()

    def test_frames_without_labels_are_an_error(self, expected, data, tmp_path):
        write(tmp_path / "bare.xyz", data[0].to_ase())
        model = copy.deepcopy(expected)
        with pytest.raises(ValueError, match="frames 0 to 59 has no labels: name their fields"):
            model.partial_fit_chunks(chunks(tmp_path / "bare.xyz"))
        assert model.coef_ is not None and model.n_structures_seen_ == 60

    def test_a_model_of_features_cannot_read_files(self, data, path):
        features = SMALL.fit_transform(data[0])
        model = sparse(terms=None, n_sparse=5).fit(features, data[1])
        with pytest.raises(ValueError, match="this model was fitted to features"):
            model.partial_fit_chunks(chunks(path))


class TestGreedyOLS:
    @pytest.mark.parametrize("forces", [False, True])
    @pytest.mark.parametrize("n_terms", [6, None])
    def test_on_a_cluster(self, data, forces, n_terms, dask, small_chunks, n_calls):
        structures, targets = data
        features = SMALL.fit_transform(structures)
        if not forces:
            targets = Targets(energy=targets.energy)
        model = GreedyOLS(n_terms, max_terms=8, cv=2, method="gram")
        n_calls.clear()
        found = clone(model).fit(features, targets)
        assert n_calls or not forces
        with joblib.parallel_config(backend="sequential"):
            local = clone(model).fit(features, targets)
            assert_same_predictions(found, local, features)
        np.testing.assert_array_equal(found.support_, local.support_)
        np.testing.assert_allclose(found.score_path_, local.score_path_, rtol=1e-8)

    @pytest.mark.parametrize("fit_intercept", [True, False, "candidate"])
    def test_of_arrays_in_other_processes(self, fit_intercept, small_chunks):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(300, 20))
        y = X[:, 3] - 2 * X[:, 5] + 3 + 0.1 * rng.normal(size=300)
        weights = rng.integers(0, 3, 300)
        model = GreedyOLS(4, fit_intercept=fit_intercept, method="gram")
        local = clone(model).fit(X, y, sample_weight=weights)
        with joblib.parallel_config(n_jobs=2):
            found = clone(model).fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(found.predict(X), local.predict(X), rtol=1e-10)


class TestTasks:
    def test_results_come_in_order_and_few_items_wait(self, dask):
        made = []

        def items():
            for k in range(40):
                made.append(k)
                yield k

        sums = reduce_jobs(abs, items(), 4)
        assert made == []
        assert next(sums) == 6
        assert len(made) <= 16  # a group, and two items for each of two threads
        assert list(sums) == [22 + 16 * k for k in range(9)]

    def test_a_group_is_merged_along_a_tree(self, dask):
        assert list(reduce_jobs(str, range(7), 5)) == ["01234", "56"]
        with joblib.parallel_config(backend="sequential"):
            assert list(reduce_jobs(str, range(7), 5)) == ["01234", "56"]

    def test_items_may_look_like_tasks(self, dask):
        items = [(len, "abc"), (len, ["x"])]
        assert list(map_jobs(type, items)) == [tuple, tuple]

    def test_tasks_have_one_thread_where_workers_have_no_number(self, dask, monkeypatch):
        monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
        assert list(map_jobs(lambda _: available_threads(), range(2))) == [1, 1]
        monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
        most = min(2, numba.config.NUMBA_NUM_THREADS)
        if most == 2:
            assert list(map_jobs(lambda _: available_threads(), range(2))) == [2, 2]

    def test_threads_are_no_jobs_elsewhere(self):
        assert not works_elsewhere()
        with joblib.parallel_config("threading", n_jobs=3):
            assert not works_elsewhere()
        with joblib.parallel_config(n_jobs=3):
            assert works_elsewhere()
            assert active_cluster() is None

    def test_error_of_a_task_is_raised(self, dask):
        with pytest.raises(TypeError, match="bad operand"):
            list(map_jobs(abs, [1, None, 2]))


def test_no_limit_at_46341_representatives(monkeypatch):
    """Beyond the root of 2³¹ sizes are right, and those of LAPACK fit its 32-bit integers."""
    m = 50_000
    assert StreamedQR.memory(m) > 8 * 2 * m**2
    assert factorisation_memory(m, 10**9) > 8 * 4 * m**2
    assert sparse_jobs.job_memory(m) > 8 * 6 * m**2
    assert batch_size(m) >= 1
    made = []
    monkeypatch.setattr(_lapack, "_routine", lambda module, name: lambda *a: made.append((name, a)))
    factor = np.broadcast_to(0.0, (m + 1, m + 1))  # all elements in one place: 8 bytes
    _lapack.append_rows(factor, np.broadcast_to(0.0, (512, m + 1)), 32, 0)
    _lapack.append_rows(factor, factor, 32, m + 1)
    _lapack.triangle_in_place(factor)
    assert [name for name, _ in made] == ["dtpqrt", "dtpqrt", "dgeqrf"]
    sizes = [x._obj.value for _, call in made for x in call if hasattr(x, "_obj")]
    assert max(sizes) == 32 * (m + 1)
    assert sizes.count(m + 1) == 10


def test_rows_of_50000_representatives_are_added_where_they_belong():
    """All columns of the rows of one pair; the arrays are small, no index of them is near 2³¹."""
    m, n_atoms = 50_000, 2
    forces, virial = np.zeros((n_atoms, 3, m)), np.zeros((6, m))
    vectors = np.array([[1.0, 2.0, 3.0]])
    add_run(
        0, 1, np.array([0, 1]), np.array([1]), vectors, np.array([0]), 0, np.ones((1, 3, 1)),
        np.ones((m, 1)), np.empty((1, 3, m)), np.zeros((1, 1)), np.full((1, m), 2.0),
        np.zeros((1, m)), forces, virial, True,
    )  # fmt: skip
    np.testing.assert_array_equal(forces[0], 2.0)
    np.testing.assert_array_equal(forces[1], -2.0)
    assert virial[2, -1] == 6.0


def test_no_cluster_answers(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("skatom.cli.cluster._ANSWER", 1)
    out = tmp_path / "m.joblib"
    code = main(["train", "x.xyz", "--out", str(out), "--dask", "tcp://127.0.0.1:9"])
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert len(said.splitlines()) == 1
    assert "--dask tcp://127.0.0.1:9: no scheduler answers there" in said


def test_distributed_is_not_installed(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code = main(["train", "x.xyz", "--out", "m.joblib", "--dask", "tcp://127.0.0.1:9"])
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert said.endswith("--dask needs distributed: pip install 'skatom[distributed]'")


def test_train_on_a_cluster(cluster, path, tmp_path, capsys, small_chunks):
    arguments = ["train", str(path), "--model", "gap", "--n-valid", "5"]
    arguments += ["--set", "n_sparse=10", "pairs.n_sparse=4", "soap.n_max=3", "soap.l_max=2"]
    models = []
    for where in ([], ["--dask", cluster.scheduler_address]):
        out = tmp_path / f"{len(where)}.joblib"
        assert main([*arguments, "--out", str(out), *where]) == 0
        models.append(joblib.load(out))
    assert "Cluster   2 workers with 2 threads together" in capsys.readouterr().out
    assert_same_predictions(models[1], models[0], read(path).structures)


@pytest.mark.thorough
def test_a_killed_worker_costs_a_few_chunks(data, expected, monkeypatch):
    """Two processes, one of which is killed when it has learnt something."""
    monkeypatch.setattr(sparse_jobs, "_FEWEST_ROWS", 100)
    monkeypatch.setattr(sparse_jobs, "GROUP", 2)
    killed = []

    def kill_one(model):
        if not killed:
            worker = next(iter(client.run(os.getpid).values()))
            killed.append(worker)
            os.kill(worker, signal.SIGKILL)

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
        kept_every(0.0, kill_one),
    ):
        found = sparse().fit(*data)
    assert killed
    assert_same_predictions(found, expected, data[0])
    assert found.n_structures_seen_ == 60


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
@pytest.mark.thorough
def test_a_task_that_ends_its_workers_is_an_error_with_the_remedy():
    with (
        dask_config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
        pytest.raises(ConnectionError) as caught,
    ):
        list(map_jobs(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(2)))
    assert str(caught.value) == (
        "a task ended 2 workers of the Dask cluster, perhaps for want of memory: see the workers' "
        "logs, and give them more memory or fewer threads"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="an allocator of Linux")
@pytest.mark.thorough
def test_workers_keep_the_pages_that_are_freed():
    """With the settings of Dask the kernel clears the pages of each array."""
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        joblib.parallel_config(backend="dask"),
    ):
        (before,) = client.run(faults).values()
        list(map_jobs(abs, range(2)))
        (after,) = client.run(faults).values()
    assert before > 10_000
    assert after < 0.1 * before


def test_slurm_of_the_guide_asks_for_nodes_whose_tasks_share_the_cores():
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    page = (Path(__file__).parents[1] / "docs" / "guide" / "cluster.md").read_text(encoding="utf-8")
    source = page[page.index("from dask_jobqueue") : page.index("cluster.scale")]
    found = {}
    exec(source, found)
    with found["cluster"] as cluster:
        lines = cluster.job_script().splitlines()
    assert "#SBATCH --cpus-per-task=32" in lines and "#SBATCH --mem=112G" in lines
    assert "export NUMBA_NUM_THREADS=32" in lines
    (start,) = [line for line in lines if "dask_worker" in line or "dask worker" in line]
    assert "--nthreads 3" in start and "--memory-limit 111.76GiB" in start


def faults():
    """How many pages are mapped while an array of a MB is made a hundred times."""
    import resource

    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        np.empty(2**17).fill(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin


def test_a_lost_scheduler_leaves_what_was_learnt(data, expected, monkeypatch, small_chunks):
    monkeypatch.setattr(sparse_jobs, "GROUP", 2)
    model, done = sparse(), []

    result = distributed.Future.result

    def lose(future):
        found = result(future)
        done.append(isinstance(found, sparse_jobs.LearntPart))
        if sum(done) == 3:
            raise concurrent.futures.CancelledError("lost")
        return found

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        monkeypatch.setattr(distributed.Future, "result", lose)
        with pytest.raises(ConnectionError, match="the Dask cluster does not answer any more"):
            model.fit(*data)
        monkeypatch.undo()
    seen = model.n_structures_seen_
    assert 0 < seen < 60
    model.partial_fit(data[0][seen:], data[1][seen:])
    assert_same_predictions(model, expected, data[0])
