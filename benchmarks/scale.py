"""The GLM ladder at the size of a session, and what units, trials, bins and history add to its cost.

Run: python benchmarks/scale.py [--units 100] [--trials 200] [--seconds 2] [--workers 2] [--table]
"""

from __future__ import annotations

import argparse
import resource
import time

import measure
import numpy as np

import cortexrnn as cx
from cortexrnn.evaluation.ladder import QUICK_RUNGS
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

_MEBIBYTE = 1024.0
# One of these at a time is doubled in the table.
_BASE = {"units": 4, "trials": 50, "seconds": 1.0, "rate_hz": 20.0}


def main() -> None:
    """Print the time of the whole job, or the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--surrogates", type=int, default=19)
    parser.add_argument("--table", action="store_true", help="small jobs, of which one size at a time is doubled")
    given = parser.parse_args()
    print(measure.describe_machine())
    print(measure.describe_versions(("cortexrnn", "numpy", "numba", "scipy")))
    run(2, 10, 0.2, 20.0, given)
    if given.table:
        tabulate(given)
        return
    seconds = run(given.units, given.trials, given.seconds, 20.0, given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MEBIBYTE
    size = f"{given.units} units, {given.trials} trials of {given.seconds:g} s"
    print(f"\n{size}, {given.surrogates} surrogates, {given.workers} workers: {seconds:.0f} s, peak {peak:.0f} MiB")


def tabulate(given: argparse.Namespace) -> None:
    """Print how the time grows with each size."""
    first = run(*_BASE.values(), given)
    print(f"\n{'':14s} {'size':>8s} {'time':>8s} {'times':>6s}")
    print(f"{'start':14s} {'':>8s} {first:8.2f}")
    for name, value in _BASE.items():
        seconds = run(*(_BASE | {name: 2 * value}).values(), given)
        print(f"{name:14s} {2 * value:8g} {seconds:8.2f} {seconds / first:6.2f}")


def run(n_units: int, n_trials: int, duration_s: float, rate_hz: float, given: argparse.Namespace) -> float:
    """Compare units with a dead time of 3 ms; give the seconds."""
    design = TrialDesign(n_trials=n_trials, duration_s=duration_s, history_s=0.5 if duration_s >= 0.5 else 0.1)
    counts = [
        simulate_spikes(design.rate_hz(rate_hz), design.bin_s, dead_time_s=0.003, seed=unit) for unit in range(n_units)
    ]
    trials = design.trials(np.stack(counts, axis=2))
    options = cx.CompareOptions(n_surrogates=given.surrogates)
    settings = cx.RunSettings(workers=given.workers)
    start = time.perf_counter()
    cx.compare(trials, models=cx.ladder(QUICK_RUNGS), options=options, run=settings)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
