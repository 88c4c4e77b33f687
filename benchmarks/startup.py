"""How long a user waits before anything happens: import, --help, first call of a kernel kept on the disk.

Every figure is the best of several fresh processes; a bare interpreter and NumPy alone stand beside them. Nothing
here waits for a disk or a thread, so that processor time is the wall time of an idle machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from measure import describe_machine, describe_versions

_REPEATS = 7
_PACKAGES = ("cortexrnn", "numpy", "numba", "scipy", "xarray")
# What is run, and the goal in seconds.
_WAITS = (
    ("python -c pass", "pass", None),
    ("import numpy", "import numpy", None),
    ("import cortexrnn", "import cortexrnn", 0.15),
    ("cortexrnn --help", "import sys; sys.argv = ['cortexrnn', '--help']; from cortexrnn.cli import main; main()", 0.4),
    ("import cortexrnn.encoding", "import cortexrnn.encoding", None),
)
_FIRST_CALL = """
import time
import numpy as np
from cortexrnn import fit_poisson
design, counts = np.ones((50, 1)), np.arange(50) % 2
wall_s, cpu_s = time.perf_counter(), time.process_time()
fit_poisson(design, counts)
print(time.perf_counter() - wall_s, time.process_time() - cpu_s)
"""
_FIRST_CALL_GOAL_S = 0.2


def best_start(code: str) -> tuple[float, float]:
    """Give the smallest wall and processor time of a fresh interpreter that runs some code, in seconds."""
    times_s = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"failed: {code}")
        times_s.append((time.perf_counter() - start, usage.ru_utime + usage.ru_stime))
    return smallest(times_s)


def best_first_call() -> tuple[float, float]:
    """Give the smallest wall and processor time of the first call of `fit_poisson` in a fresh process."""
    times_s = []
    for _ in range(_REPEATS + 1):
        done = subprocess.run([sys.executable, "-c", _FIRST_CALL], check=True, capture_output=True, text=True)
        times_s.append([float(word) for word in done.stdout.split()])
    # The very first process may have had to compile.
    return smallest(times_s[1:])


def smallest(times_s: list) -> tuple[float, float]:
    """Give the smallest of the first numbers and of the second ones."""
    first, second = zip(*times_s, strict=True)
    return min(first), min(second)


def main() -> None:
    """Print the table."""
    print(describe_machine())
    print(describe_versions(_PACKAGES))
    rows = [(name, best_start(code), goal_s) for name, code, goal_s in _WAITS]
    rows.append(("first fit_poisson, kernels on the disk", best_first_call(), _FIRST_CALL_GOAL_S))
    print(f"\n{'':40s} {'wall s':>8s} {'cpu s':>8s} {'goal s':>7s}")
    for name, (wall_s, cpu_s), goal_s in rows:
        print(f"{name:40s} {wall_s:8.3f} {cpu_s:8.3f} {'' if goal_s is None else format(goal_s, 'g'):>7s}")


if __name__ == "__main__":
    main()
