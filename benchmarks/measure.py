"""Time, peak memory and the machine: what every benchmark here reports in the same way.

Import this before NumPy: a library counts the processor's cores when it is loaded.
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

_MIB = 1024.0


def use_one_core() -> int:
    """Pin this process to one core and give its number.

    The threads of OpenBLAS, OpenMP and XLA then share that core, whatever they were told.
    """
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def best_cpu_s(run: Callable[[], object], repeats: int) -> float:
    """Give the smallest processor time of several calls in seconds.

    On one core it is the wall time of an idle machine, and neighbours on a shared one disturb it least.
    """
    times_s = []
    for _ in range(repeats):
        gc.collect()
        start = time.process_time()
        run()
        times_s.append(time.process_time() - start)
    return min(times_s)


def peak_extra_mib(run: Callable[[], object]) -> float:
    """Give the highest resident memory during a call above what was there before it, in MiB (Linux)."""
    gc.collect()
    before = _status_mib("VmRSS")
    # Writing 5 resets the high-water mark of the resident set; see proc(5).
    Path("/proc/self/clear_refs").write_text("5")
    run()
    return _status_mib("VmHWM") - before


def peak_mib() -> float:
    """Give the highest resident memory of this process so far, in MiB (Linux)."""
    return _status_mib("VmHWM")


def describe_machine() -> str:
    """Describe processor, cores, vector width, Python and load in one line."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    flags = facts["flags"].split()
    vectors = next((name for name in ("avx512f", "avx2", "avx") if name in flags), "no AVX")
    return (
        f"{facts['model name']} (model {facts['model']}), {os.cpu_count()} cores, {vectors}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def describe_versions(names: tuple[str, ...]) -> str:
    """Give the versions of the packages of these names that are installed."""
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def _status_mib(field: str) -> float:
    """Read a field of /proc/self/status that is given in kB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return float(line.split()[1]) / _MIB
    raise OSError(f"/proc/self/status has no field {field}")
