"""Pouzat and Chaffiol (2009): real antennal-lobe neurons; history against PSTH on held-out trials, and time rescaling.

    python validation/pouzat_chaffiol_2009/run.py FOLDER

FOLDER holds ``cockroach_al/spikes.csv`` (columns dataset, neuron, trial, time_s) of the R package STAR, which may not
be redistributed: so this is no target of ``cortexrnn validate``. Writes ``results.md``; exits with 1 if a
claim fails.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import cortexrnn as cx
from cortexrnn.errors import EXIT_CHECK_FAILED, EXIT_DONE, CortexWarning
from cortexrnn.evaluation.goodness import CONSISTENT
from cortexrnn.evaluation.ladder import QUICK_RUNGS

HERE = Path(__file__).parent
EVOKED = (
    "CAL1V",
    "CAL2C",
    "e060517ionon",
    "e060817terpi",
    "e060817citron",
    "e060817mix",
    "e060824citral",
    "e070528citronellal",
)
WINDOWS_S = {"CAL1V": (0.0, 11.0)}
# Claims on 25 units: those whose history gain has an interval above zero; those that the PSTH alone does not describe;
# those whose distance from the law is smaller under the history model.
LEAST_GAINING, LEAST_DEPARTING, LEAST_CLOSER = 20, 20, 20


def compare_set(path: Path, name: str) -> list[dict[str, Any]]:
    """Compare the rungs without networks on one data set; gives its units."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        recording = cx.read_recording(path, select={"dataset": name})
        alignment = {"window_s": WINDOWS_S[name]} if name in WINDOWS_S else {}
        result = cx.compare(
            recording,
            models=cx.ladder(QUICK_RUNGS),
            options=cx.CompareOptions(n_surrogates=0, n_copies=0),
            **alignment,
        )
    return [unit | {"set": name} for unit in result.summary["units"]]


def distance(unit: dict[str, Any], rung: str) -> list[float]:
    """Give the distance of the rescaled intervals from their law and its 5 % limit."""
    value, _, high, _ = unit["goodness"][rung]["checks"]["interval distribution"]
    return [value, high]


def line(unit: dict[str, Any]) -> str:
    """Write one unit as a line of the table."""
    psth, history = unit["rungs"]["M1"]["bits_per_spike"], unit["rungs"]["M5"]["bits_per_spike"]
    gain = unit["history_gain"]
    told = f"{gain['value']:+.3f} [{gain['ci'][0]:+.3f}, {gain['ci'][1]:+.3f}]"
    of_psth, limit = distance(unit, "M1")
    verdicts = " | ".join(unit["goodness"][rung]["verdict"] for rung in ("M1", "M5"))
    return (
        f"| {unit['set']} | {unit['unit']} | {unit['n_spikes']} | {psth:.3f} | {history:.3f} | {told} | "
        f"{of_psth:.3f} | {distance(unit, 'M5')[0]:.3f} | {limit:.3f} | {verdicts} |"
    )


def claims(units: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Count the units for which each claim holds; with the least number asked for."""
    gaining = sum(unit["history_gain"]["ci"][0] > 0.0 for unit in units)
    departing = sum(unit["goodness"]["M1"]["verdict"] != CONSISTENT for unit in units)
    closer = sum(distance(unit, "M5")[0] < distance(unit, "M1")[0] for unit in units)
    return [
        ("history beats PSTH, drift and gain: interval above zero", gaining, LEAST_GAINING),
        ("time rescaling rejects the PSTH", departing, LEAST_DEPARTING),
        ("rescaled intervals closer to their law under the history GLM", closer, LEAST_CLOSER),
    ]


def main() -> int:
    """Compare all sets, write the page, and say whether every claim holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    path = parser.parse_args().folder / "cockroach_al" / "spikes.csv"
    units = [unit for name in EVOKED for unit in compare_set(path, name)]
    found = claims(units)
    lines = [
        "# C27: Pouzat and Chaffiol 2009, antennal-lobe neurons",
        "",
        "C. Pouzat and A. Chaffiol (2009). Automatic spike train analysis and report generation. An implementation "
        "with R, R2HTML and STAR. Journal of Neuroscience Methods 181, 119-144. doi:10.1016/j.jneumeth.2009.03.014. "
        "Its data; the claims and their bounds are ours. Held-out trials, five contiguous folds, 1 ms, no networks. "
        "Distance: of rescaled intervals glued over trials from the uniform law.",
        "",
        f"| claim | units of {len(units)} | at least | |",
        "|---|---|---|---|",
        *(f"| {words} | {n} | {least} | {'PASS' if n >= least else 'FAIL'} |" for words, n, least in found),
        "",
        "| set | unit | spikes | PSTH, bits/spike | history GLM | history gain [95 %] | distance, PSTH | history | "
        "limit | PSTH | history |",
        "|" + "---|" * 11,
        *map(line, units),
    ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines), flush=True)
    return EXIT_DONE if all(n >= least for _, n, least in found) else EXIT_CHECK_FAILED


if __name__ == "__main__":
    sys.exit(main())
