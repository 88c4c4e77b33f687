"""Run doctor and compare over recordings that may not be redistributed, and write the table of results.

    python validation/recordings/run.py FOLDER [--only NAME ...] [--keep DIR]

FOLDER holds the four sets that `README.md` beside this file describes. Every set is read by the same
calls a user would make. Rat and mouse leave the networks out.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cortexrnn as cx
from cortexrnn.errors import CortexWarning
from cortexrnn.evaluation.ladder import QUICK_RUNGS, RUNGS

HERE = Path(__file__).parent
COCKROACH = "cockroach_al/spikes.csv"
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


@dataclass(frozen=True, kw_only=True)
class Job:
    """One recording and how it is read and cut."""

    name: str
    path: str
    reading: dict[str, Any] = field(default_factory=dict)
    alignment: dict[str, Any] = field(default_factory=dict)
    quick: bool = False


def jobs() -> list[Job]:
    """List every recording."""
    window = {"CAL1V": (0.0, 11.0)}
    return [
        *(
            Job(
                name=f"cockroach {name}",
                path=COCKROACH,
                reading={"select": {"dataset": name}},
                alignment={"window_s": window[name]} if name in window else {},
            )
            for name in EVOKED
        ),
        Job(
            name="STN",
            path="kramer_cases/10_spikes-1.mat",
            reading={"variable": "train", "sample_rate_hz": 1000.0},
            alignment={"condition": "direction"},
        ),
        Job(name="mouse", path="mouse_psb_nwb/A8604-211122.nwb", quick=True),
        Job(name="rat", path="rat_ca1_linear/spikes.mat", reading={"variable": "spikes", "time_unit": "s"}, quick=True),
    ]


def run(job: Job, folder: Path, keep: Path) -> list[str]:
    """Read, check and compare one recording; give its lines of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        recording = cx.read_recording(folder / job.path, **job.reading)
        print(cx.doctor(recording), flush=True)
        started = time.monotonic()
        result = cx.compare(
            recording,
            models=cx.ladder(QUICK_RUNGS if job.quick else RUNGS),
            run=cx.RunSettings(folder=keep / job.name.replace(" ", "-"), shows_progress=True),
            **job.alignment,
        )
    result.save(keep / job.name.replace(" ", "-"))
    print(f"{result}\n{time.monotonic() - started:.0f} s\n", flush=True)
    return [_line(job.name, unit) for unit in result.summary["units"]]


def _line(name: str, unit: dict[str, Any]) -> str:
    """Write one unit as a line of the table."""
    rungs = unit["rungs"]

    def score(rung: str) -> str:
        value = rungs.get(rung, {}).get("bits_per_spike")
        return "-" if value is None else f"{value:.3f}"

    gain = unit["history_gain"]
    told = "-" if gain["value"] is None else f"{gain['value']:+.3f} [{gain['ci'][0]:+.3f}, {gain['ci'][1]:+.3f}]"
    p = "-" if unit["surrogate_p"] is None else f"{unit['surrogate_p']:.2f}"
    span = "-" if unit["timescale_s"] is None else f"{unit['timescale_s'] * 1e3:g} ms"
    scores = " | ".join(score(rung) for rung in ("M1", "M3", "M4", "M5", "M6", "M6cut"))
    return f"| {name} | {unit['unit']} | {unit['n_spikes']} | {scores} | {told} | {p} | {span} | {unit['verdict']} |"


def main() -> int:
    """Run the chosen recordings and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", help="names of sets, as in the table")
    parser.add_argument("--keep", type=Path, default=Path("recordings-comparison"), help="folder of the reports")
    given = parser.parse_args()
    for job in jobs():
        if given.only is None or job.name in given.only:
            _replace_lines(HERE / "results.md", job.name, run(job, given.folder, given.keep))
    return 0


def _replace_lines(path: Path, name: str, lines: list[str]) -> None:
    """Put a recording's new lines into the table, in the order of `jobs`; keep those of the others."""
    old = path.read_text().splitlines()[2:] if path.exists() else []
    by_name = {job.name: [line for line in old if line.startswith(f"| {job.name} |")] for job in jobs()}
    by_name[name] = lines
    head = "| set | unit | spikes | M1 | M3 | M4 | M5 | M6 | M6cut | history gain [95 %] | p | time scale | verdict |"
    table = [head, "|" + "---|" * 13, *(line for rows in by_name.values() for line in rows)]
    path.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    sys.exit(main())
