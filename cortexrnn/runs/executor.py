"""Run pure units of work on threads, with a progress bar, resume, and a clean stop."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cortexrnn.errors import InterruptedRunError
from cortexrnn.runs.store import Store

Arrays = dict[str, np.ndarray]


class Work(NamedTuple):
    """A pure unit of work.

    Attributes
    ----------
    key : str
        Content address: same key, same result.
    label : str
        What the progress bar says while it runs.
    cost : float
        Rough relative duration, for the bar's estimate of the time left.
    run : callable
        Gives named arrays.
    """

    key: str
    label: str
    cost: float
    run: Callable[[], Arrays]


class Progress:
    """A bar over the cost of all work, on the error stream; silent where nobody watches."""

    def __init__(self, total: float, *, is_shown: bool):
        self._bar = tqdm(
            total=total,
            disable=not is_shown,
            bar_format="{percentage:3.0f}% |{bar}| {desc} [{elapsed}, {remaining} left]",
            leave=False,
            file=sys.stderr,
            dynamic_ncols=True,
        )

    def add_total(self, cost: float) -> None:
        """Add work that was not known at the start."""
        self._bar.total += cost
        self._bar.refresh()

    def advance(self, work: Work) -> None:
        """Count a finished unit."""
        self._bar.set_description_str(work.label, refresh=False)
        self._bar.update(work.cost)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


def default_workers() -> int:
    """Give the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


@contextlib.contextmanager
def progress_bar(total: float, *, is_shown: bool) -> Iterator[Progress]:
    """Open a progress bar and close it whatever happens."""
    bar = Progress(total, is_shown=is_shown)
    try:
        yield bar
    finally:
        bar.close()


def run_all(works: Sequence[Work], store: Store | None, n_workers: int, progress: Progress) -> dict[str, Arrays]:
    """Run every unit of work that the store does not hold, and store each as it finishes.

    Linear algebra runs on one thread inside a unit, so that its bits do not depend on the machine's
    load or core count.

    Parameters
    ----------
    works : sequence of Work
        Units in the order in which they start.
    store : Store or None
        Where finished units are kept; None keeps them in memory only.
    n_workers : int
        Threads.
    progress : Progress
        Bar to advance.

    Returns
    -------
    dict
        Results by key.

    Raises
    ------
    InterruptedRunError
        If the user pressed Ctrl-C; everything that had finished is in the store.
    """
    results: dict[str, Arrays] = {}
    missing = []
    for work in works:
        stored = store.get(work.key) if store is not None else None
        if stored is None:
            missing.append(work)
        else:
            results[work.key] = stored
            progress.advance(work)
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=n_workers)
    try:
        with threadpool_limits(1):
            futures = {pool.submit(work.run): work for work in missing}
            for future in concurrent.futures.as_completed(futures):
                work = futures[future]
                results[work.key] = future.result()
                if store is not None:
                    store.put(work.key, results[work.key])
                progress.advance(work)
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            f"stopped after {len(results)} of {len(works)} units of work.",
            hint="The same command goes on from here." if store else "Give an output folder to be able to resume.",
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return results


def run_each(functions: Sequence[Callable[[], Any]], n_workers: int) -> list[Any]:
    """Call functions on threads and give what they return, in order; a stop leaves those that have not begun."""
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=n_workers)
    try:
        with threadpool_limits(1):
            return [future.result() for future in [pool.submit(function) for function in functions]]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
