"""Threads that share work with the one that calls them."""

import threading
import time

import pytest

from skatom.parallel import ThreadTeam


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
        results = team.map(lambda k: time.sleep(0.001) or done.append(k), range(1000))
        next(results)
        results.close()
    assert len(done) < 1000
