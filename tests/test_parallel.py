"""Threads that share work with the one that calls them, jobs in order, sums along a tree."""

import multiprocessing
import os
import threading
import time

import joblib
import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skatom._crew import Helper
from skatom.parallel import (
    ThreadTeam,
    available_threads,
    map_jobs,
    run_in_threads,
    serial_blas,
    small_steps,
    threads_over_blas,
    tree_reduce,
)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_order(threads):
    def slower_at_first(k, l):
        time.sleep(0.02 if k < 2 else 0.0)
        return 10 * k + l

    with ThreadTeam(threads) as team:
        assert list(team.map(slower_at_first, range(8), range(8))) == [11 * k for k in range(8)]
        assert list(team.map(str, [])) == []


def test_calling_thread_works_too():
    both = threading.Barrier(2)  # passed only by two threads at once

    def meet(_):
        both.wait(timeout=10)
        return threading.current_thread()

    with ThreadTeam(2) as team:
        workers = set(team.map(meet, range(4)))
    assert len(workers) == 2
    assert threading.current_thread() in workers


@pytest.mark.parametrize("in_caller", [True, False])
def test_an_error_is_raised_and_ends_the_work(in_caller):
    done = []

    def fail_in_one(k):
        time.sleep(0.01)
        if (threading.current_thread() is threading.main_thread()) == in_caller:
            raise KeyError(k)
        done.append(k)

    with ThreadTeam(2) as team, pytest.raises(KeyError):
        list(team.map(fail_in_one, range(1000)))
    assert len(done) < 1000


def test_work_ends_when_nobody_asks_for_more_results():
    done = []
    with ThreadTeam(2) as team:
        results = team.map(lambda k: time.sleep(0.01) or done.append(k), range(1000))
        next(results)
        results.close()
    assert len(done) < 1000


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000, 40_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_of_a_loop_are_all_items_once(n, threads):
    before = numba.get_num_threads()
    if threads > before:
        pytest.skip("numba has fewer threads")
    counts, pieces = np.zeros(n, int), []

    def count(first, last):
        counts[first:last] += 1
        pieces.append(last - first)

    numba.set_num_threads(threads)
    try:
        run_in_threads(count, n)
    finally:
        numba.set_num_threads(before)
    assert (counts == 1).all()
    assert len(pieces) == 1 if threads == 1 or n < 64 else len(pieces) >= 2
    assert max(pieces) <= 8192 or threads == 1


def test_a_helper_works_once_or_was_taken_back():
    calls = []
    begun, taken = (Helper(lambda: calls.append(1)) for _ in range(2))
    begun()
    begun()
    assert taken.cancel()
    taken()
    assert calls == [1]
    assert not begun.cancel()
    for helper in (begun, taken):
        helper.result()

    def fail():
        raise KeyError("missing")

    failing = Helper(fail)
    failing()
    with pytest.raises(KeyError, match="missing"):
        failing.result()


def test_few_threads_take_small_steps_at_once():
    inside, most, lock = 0, 0, threading.Lock()

    def step(_):
        nonlocal inside, most
        with small_steps():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with ThreadTeam(6) as team:
            list(team.map(step, range(18)))
            assert most == 2
            # whoever shares no work has nobody to wait for
            with small_steps(), small_steps(), small_steps():
                step(0)
    finally:
        numba.set_num_threads(before)


def test_threads_are_kept_for_the_next_team():
    def here(_):
        time.sleep(0.01)
        return threading.get_ident()

    teams = []
    for _ in range(2):
        with ThreadTeam(2) as team:
            teams.append(set(team.map(here, range(8))) | {team.submit(here, 0).result()})
    assert teams[1] <= set(thread.ident for thread in threading.enumerate())
    assert len(teams[0] | teams[1]) <= 3  # two threads and the calling one


def test_work_within_work_stays_in_its_thread():
    with ThreadTeam(2) as team:
        assert set(team.map(lambda _: available_threads(), range(4))) == {1}
        assert team.submit(available_threads).result() == 1
    with ThreadTeam(1) as team:
        within = [*team.map(lambda _: available_threads(), range(4))]
        assert set(within) == {numba.get_num_threads()} == {available_threads()}
        assert team.submit(threading.get_ident).result() == threading.get_ident()
        assert isinstance(team.submit(int, "x").exception(), ValueError)


def test_a_team_does_not_wait_for_threads_that_another_keeps_busy():
    done = threading.Event()
    with ThreadTeam(2) as busy, ThreadTeam(2) as team:
        calls = [busy.submit(done.wait, 20) for _ in range(2)]
        assert list(team.map(abs, range(-4, 0))) == [4, 3, 2, 1]
        assert not any(call.done() for call in calls)
        done.set()


def test_calls_that_nobody_waits_for_end_with_the_team():
    started, seen = threading.Event(), []

    def work(k):
        started.set()
        time.sleep(0.05)
        seen.append(k)

    with ThreadTeam(2) as team:
        calls = [team.submit(work, k) for k in range(20)]
        started.wait(20)
    assert all(call.done() for call in calls)
    assert len(seen) < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_forked_process_has_threads_of_its_own():
    def work():
        with ThreadTeam(2) as team:
            assert team.submit(abs, -1).result(timeout=20) == 1

    work()
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(timeout=60)
    assert process.exitcode == 0


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_is_serial_while_any_thread_wants_it_and_then_as_before():
    """Each thread enters before the other leaves, so that limits of their own would be mixed up."""
    with threadpool_limits(2, "blas"):
        before, seen = blas_threads(), []
        both_in, first_out = threading.Barrier(2), threading.Event()

        def first():
            with serial_blas():
                both_in.wait(timeout=10)
            first_out.set()

        def second():
            with serial_blas():
                both_in.wait(timeout=10)
                first_out.wait(timeout=10)
                seen.append(blas_threads())

        threads = [threading.Thread(target=work) for work in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [[1] * len(before)]
        assert blas_threads() == before


def test_blas_has_its_threads_again_after_predictions_of_several_threads():
    def work(_):
        for _ in range(20):
            with serial_blas():
                time.sleep(1e-4)

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        joblib.Parallel(8, backend="threading")(joblib.delayed(work)(k) for k in range(40))
        assert blas_threads() == before


def test_openmp_keeps_a_number_of_threads_for_each_thread(monkeypatch):
    class Library:
        threading_layer = "openmp"
        own = threading.local()

        def get_num_threads(self):
            return getattr(self.own, "threads", 4)

        def set_num_threads(self, threads):
            self.own.threads = threads

    library, seen = Library(), []
    monkeypatch.setattr("skatom._threads._blas_libraries", lambda: [library])

    def other():
        with serial_blas():
            seen.append(library.get_num_threads())
        seen.append(library.get_num_threads())

    with serial_blas():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert library.get_num_threads() == 1
    assert [*seen, library.get_num_threads()] == [1, 4, 4]


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_blas_has_its_threads_again_after_an_error(error):
    def fail(_):
        raise error

    with threadpool_limits(2, "blas"):
        before = blas_threads()
        with pytest.raises(error), serial_blas(), serial_blas():
            raise error
        with pytest.raises(error), threads_over_blas() as pool:
            list(pool.map(fail, range(4)))
        assert blas_threads() == before


@pytest.mark.parametrize("openmp", [False, True])
@pytest.mark.parametrize("call", range(4))
def test_an_interrupt_within_the_limit_itself_leaves_no_limit(openmp, call, monkeypatch):
    """The call of a number: entering, leaving, of two libraries."""

    class Library:
        threading_layer = "openmp" if openmp else "pthreads"
        calls, threads = [], 4

        def get_num_threads(self):
            return self.threads

        def set_num_threads(self, threads):
            self.calls.append(threads)
            if len(self.calls) == call + 1:
                raise KeyboardInterrupt
            self.threads = threads

    libraries = [Library(), Library()]
    monkeypatch.setattr("skatom._threads._blas_libraries", lambda: libraries)
    with pytest.raises(KeyboardInterrupt), serial_blas():
        assert [library.threads for library in libraries] == [1, 1]
    with serial_blas():
        assert [library.threads for library in libraries] == [1, 1]
    assert [library.threads for library in libraries] == [4, 4]


class TestMapJobs:
    @pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_results_come_in_order(self, backend, n_jobs):
        with joblib.parallel_config(backend=backend):
            assert list(map_jobs(abs, range(-7, 0), n_jobs)) == [7, 6, 5, 4, 3, 2, 1]
            assert list(map_jobs(abs, [], n_jobs)) == []

    def test_configuration_of_joblib_sets_the_jobs(self):
        with joblib.parallel_config(backend="threading", n_jobs=2):
            both = threading.Barrier(2)  # passed only by two threads at once
            places = list(map_jobs(lambda _: both.wait(timeout=10), range(2)))
        assert sorted(places) == [0, 1]

    def test_one_job_works_in_the_calling_thread_and_no_further_than_asked(self):
        done = []
        results = map_jobs(done.append, range(5), 1)
        assert done == []
        next(results)
        assert done == [0]

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_progress_bar_is_shown_where_results_are_asked_for(self, n_jobs, capsys):
        list(map_jobs(abs, range(4), n_jobs, verbose=1, desc="magnitudes", unit="number"))
        assert "magnitudes:   0%|          | 0/4 [" in capsys.readouterr().err
        list(map_jobs(abs, range(4), n_jobs))
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_error_of_a_job_is_raised(self, n_jobs):
        with pytest.raises(TypeError, match="bad operand"):
            list(map_jobs(abs, [1, None, 2], n_jobs))


class TestTreeReduce:
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 13])
    def test_order_of_the_parts_is_kept(self, n):
        assert tree_reduce("abcdefghijklm"[:n]) == "abcdefghijklm"[:n]

    def test_tree_depends_on_the_number_of_parts_alone(self):
        brackets = tree_reduce("abcdefg", lambda first, second: f"({first}{second})")
        assert brackets == "(((ab)(cd))((ef)g))"

    def test_few_parts_are_held_at_a_time(self):
        alive, most = set(), 0

        class Part:
            def __init__(self):
                nonlocal most
                alive.add(id(self))
                most = max(most, len(alive))

            def __del__(self):
                alive.discard(id(self))

            def merge(self, other):
                return Part()

        tree_reduce(Part() for _ in range(256))
        assert most <= 10  # log₂ 256, the newest, and what it becomes

    def test_arrays_are_added(self):
        np.testing.assert_array_equal(tree_reduce(np.eye(5)), np.ones(5))

    def test_nothing_to_merge_is_an_error(self):
        with pytest.raises(ValueError, match="no parts to merge"):
            tree_reduce([])
