"""Oracle: a sum that each unit of work has to give, and the order in which things were done."""

from __future__ import annotations

import errno
import io
import os
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from cortexrnn.errors import FileAccessError, InterruptedRunError, NumericalError
from cortexrnn.runs import store as store_module
from cortexrnn.runs.executor import Work, default_workers, progress_bar, run_all, run_each
from cortexrnn.runs.store import Store

KEYS = [f"unit{k}" for k in range(12)]


@pytest.fixture
def progress():
    with progress_bar(0.0, is_shown=False) as bar:
        yield bar


class Counter:
    """A progress bar that tells when so many units are done."""

    def __init__(self, n):
        self._left = n
        self.is_reached = threading.Event()

    def advance(self, work):
        self._left -= 1
        if not self._left:
            self.is_reached.set()


def make_works(calls, stop_at=None, error=None, is_time=None, is_over=None):
    """Make twelve units of work; one of them may raise, when it is time, and those after it wait until all is over."""

    def run(k):
        if stop_at is not None and k >= stop_at:
            (is_time if k == stop_at else is_over).wait(30)
        if k == stop_at:
            raise error
        calls.append(k)
        return {"sum": np.random.default_rng(k).standard_normal(1000).cumsum()}

    return [Work(key, f"label {k}", 1.0, lambda k=k: run(k)) for k, key in enumerate(KEYS)]


def expected(k):
    return np.random.default_rng(k).standard_normal(1000).cumsum()


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_results_are_the_same_for_any_number_of_workers(tmp_path, progress, n_workers):
    found = run_all(make_works([]), Store(tmp_path), n_workers, progress)
    assert sorted(found) == sorted(KEYS)
    for k, key in enumerate(KEYS):
        np.testing.assert_array_equal(found[key]["sum"], expected(k))


def test_finished_units_are_not_run_again(tmp_path, progress):
    first, second = [], []
    run_all(make_works(first)[:5], Store(tmp_path), 2, progress)
    found = run_all(make_works(second), Store(tmp_path), 2, progress)
    assert sorted(first) == [0, 1, 2, 3, 4]
    assert sorted(second) == [5, 6, 7, 8, 9, 10, 11]
    for k, key in enumerate(KEYS):
        np.testing.assert_array_equal(found[key]["sum"], expected(k))


def test_without_a_store_everything_is_kept_in_memory_only(progress):
    assert len(run_all(make_works([]), None, 2, progress)) == 12


def test_no_work_is_no_trouble(progress):
    assert run_all([], None, 1, progress) == {}


def test_ctrl_c_keeps_what_has_finished_and_says_how_to_go_on(tmp_path, progress):
    four, is_over = Counter(4), threading.Event()
    works = make_works([], 4, KeyboardInterrupt(), four.is_reached, is_over)
    with pytest.raises(InterruptedRunError, match=r"stopped after 4 of 12 units of work. The same command goes on"):
        run_all(works, Store(tmp_path), 1, four)
    is_over.set()
    again = []
    found = run_all(make_works(again), Store(tmp_path), 1, progress)
    assert sorted(again) == list(range(4, 12))
    np.testing.assert_array_equal(found["unit3"]["sum"], expected(3))


def test_ctrl_c_without_a_store_says_what_would_have_helped():
    two, is_over = Counter(2), threading.Event()
    works = make_works([], 2, KeyboardInterrupt(), two.is_reached, is_over)
    with pytest.raises(InterruptedRunError, match="Give an output folder to be able to resume"):
        run_all(works, None, 1, two)
    is_over.set()


def test_an_error_of_a_unit_reaches_the_caller_and_ends_the_rest(tmp_path, progress):
    calls, now, is_over = [], threading.Event(), threading.Event()
    now.set()
    works = make_works(calls, 0, NumericalError("the likelihood is NaN.", where="unit 0"), now, is_over)
    with pytest.raises(NumericalError, match="unit 0: the likelihood is NaN"):
        run_all(works, Store(tmp_path), 1, progress)
    is_over.set()
    # The thread may have taken the next unit before the first was seen to have failed; no other starts.
    assert calls in ([], [1])


def test_a_full_disk_ends_the_run_and_leaves_what_was_stored(tmp_path, progress, monkeypatch):
    whole, n_put = store_module.atomic_write, []

    def fill_up(path, data):
        n_put.append(path)
        if len(n_put) > 3:
            raise FileAccessError("no space.", where=str(path))
        whole(path, data)

    monkeypatch.setattr(store_module, "atomic_write", fill_up)
    with pytest.raises(FileAccessError, match="no space"):
        run_all(make_works([]), Store(tmp_path), 1, progress)
    monkeypatch.undo()
    again = []
    assert len(run_all(make_works(again), Store(tmp_path), 1, progress)) == 12
    assert len(again) == 9


def test_linear_algebra_runs_on_one_thread_inside_a_unit(progress):
    seen = {}

    def look():
        seen["threads"] = {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}
        seen["thread"] = threading.current_thread()
        return {}

    np.zeros((2, 2)) @ np.zeros((2, 2))
    run_all([Work("k", "k", 1.0, look)], None, 1, progress)
    assert seen["threads"] <= {1}
    assert seen["thread"] is not threading.main_thread()


@pytest.mark.parametrize("n_workers", [1, 3])
def test_functions_answer_in_their_order_and_a_stop_leaves_the_rest(n_workers):
    assert run_each([lambda k=k: k * k for k in range(20)], n_workers) == [k * k for k in range(20)]
    begun = []

    def stop():
        begun.append("stop")
        raise KeyboardInterrupt

    def wait():
        begun.append("other")
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        run_each([stop, *[wait] * 50], n_workers)
    assert len(begun) < 51


def test_the_bar_adds_up_the_cost_and_is_silent_when_not_shown(capsys):
    with progress_bar(2.0, is_shown=False) as bar:
        bar.add_total(3.0)
        bar.advance(Work("k", "k", 5.0, dict))
    assert capsys.readouterr() == ("", "")


def test_the_bar_names_the_work_on_the_error_stream(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with progress_bar(2.0, is_shown=True) as bar:
        bar.advance(Work("k", "unit 3: ladder", 1.0, dict))
    assert " 50% |" in stream.getvalue() or "0% |" in stream.getvalue()


def test_the_default_is_every_core_that_may_be_used():
    assert default_workers() == len(os.sched_getaffinity(0))


def test_a_torn_ledger_line_is_typed_when_the_disk_fills_up_there(tmp_path, monkeypatch, progress):
    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = Store(tmp_path)
    store.put("first", {})
    monkeypatch.setattr(store_module.os, "fsync", fail)
    with pytest.raises(FileAccessError, match="No space left on device"):
        store.put("second", {})
    monkeypatch.undo()
    assert Store(tmp_path).get("first") == {}
