"""The main job, `cortexrnn compare`, from file to report: wall time, processor time and peak memory by part.

Without arguments it runs on a simulated stand-in for the cockroach recording CAL1V (4 units, 20 trials of 11 s,
3 to 17 Hz, 1 ms bins) and then on the embedded recording. Whatever is given is passed to `cortexrnn compare` in
place of the stand-in:

    python benchmarks/compare_job.py spikes.csv --select dataset=CAL1V --window 0 11

Every part starts with no results on the disk; kernels are compiled beforehand.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import describe_machine, describe_versions

_PACKAGES = ("cortexrnn", "numpy", "scipy", "numba")
# Without history; with it, a fifth more or less.
_RATES_HZ = (14.0, 5.0, 14.5, 3.7)
_N_TRIALS, _TRIAL_S = 20, 11.0
# Name, options, goal in seconds on two cores.
_PARTS = (
    ("M0 to M5", ("--quick", "--surrogates", "0"), 10.0),
    ("the same with 19 surrogates", ("--quick",), 60.0),
    ("every rung, networks too", (), 240.0),
)
_EMBEDDED_GOAL_S = 90.0


def write_stand_in(folder: Path) -> list[str]:
    """Write a recording like CAL1V as CSV tables; give the arguments that make `compare` read it.

    Each unit has a response to the stimulus, a gain that fluctuates over trials, a dead time and bursts.
    """
    rng = np.random.default_rng(3)
    time_s = np.arange(0.0, _TRIAL_S, 1e-3)
    lag_ms = np.arange(1.0, 201.0)
    effect = -6.0 * np.exp(-lag_ms / 3.0) + 0.8 * np.exp(-lag_ms / 25.0)
    rows = []
    for unit, rate_hz in enumerate(_RATES_HZ, start=1):
        response = 1.0 * np.exp(-(((time_s - 5.0) / 0.5) ** 2))
        for trial in range(1, _N_TRIALS + 1):
            gain = rng.normal(0.0, 0.3)
            # History adds about a third to the rate.
            log_mu = np.append(np.log(0.7 * rate_hz * 1e-3) + response + gain, np.zeros(lag_ms.size))
            chance = rng.random(time_s.size)
            for t in range(time_s.size):
                if chance[t] < np.exp(log_mu[t]):
                    rows.append(f"{unit},{trial},{t / 1000:.4f}")
                    log_mu[t + 1 : t + 1 + lag_ms.size] += effect
    spikes, trials = folder / "stand_in.csv", folder / "stand_in_trials.csv"
    spikes.write_text("\n".join(["unit,trial,time_s", *rows]) + "\n")
    trials.write_text("\n".join(["trial", *map(str, range(1, _N_TRIALS + 1))]) + "\n")
    print(f"stand-in: {len(_RATES_HZ)} units, {_N_TRIALS} trials of {_TRIAL_S:g} s, {len(rows)} spikes")
    return [str(spikes), "--trials", str(trials), "--window", "0", str(_TRIAL_S)]


def run_part(arguments: list[str]) -> tuple[float, float, float]:
    """Run `cortexrnn compare` in a fresh process; give wall and processor seconds and peak MiB."""
    command = [sys.executable, "-c", "from cortexrnn.cli import main; main()", "compare", *arguments, "--json"]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read().decode()}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024.0


def main() -> None:
    """Time every part and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=len(_PARTS), help="run the first parts only; default: all")
    options, given = parser.parse_known_args()
    print(describe_machine())
    print(describe_versions(_PACKAGES))
    with tempfile.TemporaryDirectory() as folder:
        recording = given or write_stand_in(Path(folder))
        jobs = [(name, [*recording, *extra], goal_s) for name, extra, goal_s in _PARTS[: options.parts]]
        jobs.append(("embedded recording, every rung", [], _EMBEDDED_GOAL_S))
        # Numba keeps what it compiled on the disk; the goals are for the second run on a machine.
        run_part(["--units", "1,2", "--seeds", "1", "--surrogates", "0", "--out", f"{folder}/warm"])
        print(f"\n{'':32s} {'wall s':>8s} {'goal s':>7s} {'cpu s':>8s} {'peak MiB':>9s}")
        for number, (name, arguments, goal_s) in enumerate(jobs):
            wall_s, cpu_s, peak = run_part([*arguments, "--out", f"{folder}/{number}"])
            print(f"{name:32s} {wall_s:8.1f} {goal_s:7.0f} {cpu_s:8.1f} {peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
