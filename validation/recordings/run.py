"""Run doctor and compare over recordings that may not be redistributed, and write the table of results.

    python validation/recordings/run.py FOLDER [--nitime DIR] [--only NAME ...] [--keep DIR]

FOLDER holds the sets that `README.md` beside this file describes, and DIR the data files of the package nitime. Every
set is read by the same calls a user would make. Mouse, rat and grasshopper leave the networks out.
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
from cortexrnn.errors import EXIT_DONE, CortexWarning
from cortexrnn.evaluation.ladder import QUICK_RUNGS, USUAL_RUNGS
from cortexrnn.validation.recordings import grasshopper

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
# Columns of the table, and the rungs among them.
SCORED = ("M1", "S1", "M3", "M4", "M5", "M6", "M6cut")
COLUMNS = (
    "set",
    "unit",
    "spikes",
    *SCORED,
    "history gain [95 %]",
    "detectable",
    "p",
    "time scale",
    "run away, M5 / M6",
    "verdict",
)
MISSING = "-"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One recording and how it is read and cut; one of nitime's has a number and sounds instead of a path."""

    name: str
    path: str = ""
    reading: dict[str, Any] = field(default_factory=dict)
    alignment: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    sounds: tuple[str, ...] = ()
    quick: bool = False
    n_copies: int = 100

    def read(self, folder: Path, nitime: Path) -> tuple[cx.Recording, dict[str, Any]]:
        """Read the recording; give it with its alignment, covariates among it."""
        if not self.sounds:
            return cx.read_recording(folder / self.path, **self.reading), self.alignment
        recording, sounds = grasshopper.read(nitime, self.number)
        return recording, self.alignment | {"covariates": {name: sounds[name] for name in self.sounds}}

    def models(self) -> dict[str, Any]:
        """Give the rungs, on stimulus filters where there is a sound."""
        stimulus = cx.Stimulus(lags_s=grasshopper.LAGS_S) if self.sounds else None
        return cx.ladder(QUICK_RUNGS if self.quick else USUAL_RUNGS, stimulus=stimulus)


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
        # A copy of its bursting unit that runs away holds some 350,000 spikes: as few copies as are allowed.
        Job(name="mouse", path="mouse_psb_nwb/A8604-211122.nwb", quick=True, n_copies=40),
        Job(name="rat", path="rat_ca1_linear/spikes.mat", reading={"variable": "spikes", "time_unit": "s"}, quick=True),
        *(
            Job(
                name=f"grasshopper {number}, {'+'.join(sounds)}",
                number=number,
                sounds=sounds,
                alignment={"block_s": grasshopper.BLOCK_S, "history_s": grasshopper.HISTORY_S},
                quick=True,
            )
            for sounds in (("amplitude",), ("amplitude", "level_db"))
            for number in grasshopper.NUMBERS
        ),
    ]


def run(job: Job, read: tuple[cx.Recording, dict[str, Any]], keep: Path) -> list[dict[str, str]]:
    """Check and compare one recording; give its rows of the table."""
    recording, alignment = read
    folder = keep / job.name.replace(",", "").replace(" ", "-")
    print(cx.doctor(recording), flush=True)
    started = time.monotonic()
    result = cx.compare(
        recording,
        models=job.models(),
        options=cx.CompareOptions(n_copies=job.n_copies),
        run=cx.RunSettings(folder=folder, shows_progress=True),
        **alignment,
    )
    result.save(folder)
    print(f"{result}\n{time.monotonic() - started:.0f} s\n", flush=True)
    return [row(job.name, unit) for unit in result.summary["units"]]


def row(name: str, unit: dict[str, Any]) -> dict[str, str]:
    """Write one unit of a comparison's summary as cells of the table, by column.

    Parameters
    ----------
    name : str
        Of the set.
    unit : dict
        One of ``summary["units"]``.

    Returns
    -------
    dict of str to str
    """
    gain, p, span = unit["history_gain"], unit["surrogate_p"], unit["timescale_s"]
    low, high = gain["ci"] or (None, None)
    runs = [unit["free_run"].get(rung, {}).get("divergence_rate") for rung in ("M5", "M6")]
    cells = {rung: _number(unit["rungs"].get(rung, {}).get("bits_per_spike"), ".3f") for rung in SCORED}
    return cells | {
        "set": name,
        "unit": str(unit["unit"]),
        "spikes": str(unit["n_spikes"]),
        "history gain [95 %]": MISSING if low is None else f"{gain['value']:+.3f} [{low:+.3f}, {high:+.3f}]",
        "detectable": _number(unit["detectable_gain"], ".3f"),
        "p": _number(p, ".2f"),
        "time scale": MISSING if span is None else f"{span * 1e3:g} ms",
        "run away, M5 / M6": " / ".join(_percent(share) for share in runs),
        "verdict": unit["verdict"],
    }


def _number(value: float | None, form: str) -> str:
    """Write a number, or a dash where there is none."""
    return MISSING if value is None else format(value, form)


def _percent(share: float | None) -> str:
    """Write a share; one above zero is never rounded to it."""
    return MISSING if share is None else f"{100.0 * share:.2g} %"


def read_table(text: str) -> list[dict[str, str]]:
    """Read the rows of a table in Markdown by the names of its columns.

    Parameters
    ----------
    text : str
        A header, a ruler and the rows, or nothing.

    Returns
    -------
    list of dict of str to str
    """
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines()]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def write_table(rows: list[dict[str, str]]) -> str:
    """Write rows as a table in Markdown; a column that a row lacks is a dash, and one that is no more is left out.

    Parameters
    ----------
    rows : list of dict of str to str

    Returns
    -------
    str
    """
    lines = [COLUMNS, *([each.get(column, MISSING) for column in COLUMNS] for each in rows)]
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, "|" + "---|" * len(COLUMNS), *body]) + "\n"


def replace_rows(rows: list[dict[str, str]], name: str, new: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put the new rows of a set in the place of its old ones, in the order of `jobs`; those of others stay.

    Parameters
    ----------
    rows : list of dict of str to str
        Of all sets.
    name : str
        The set.
    new : list of dict of str to str

    Returns
    -------
    list of dict of str to str
    """
    by_name = {job.name: [each for each in rows if each["set"] == job.name] for job in jobs()}
    by_name[name] = new
    return [each for part in by_name.values() for each in part]


def main() -> int:
    """Run the chosen recordings and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nitime", type=Path, help="data files of the package nitime; default: FOLDER/nitime")
    parser.add_argument("--only", nargs="*", help="names of sets, as in the table")
    parser.add_argument("--keep", type=Path, default=Path("recordings-comparison"), help="folder of the reports")
    given = parser.parse_args()
    path = HERE / "results.md"
    warnings.simplefilter("ignore", CortexWarning)
    for job in jobs():
        if given.only is None or job.name in given.only:
            new = run(job, job.read(given.folder, given.nitime or given.folder / "nitime"), given.keep)
            old = read_table(path.read_text(encoding="utf-8")) if path.exists() else []
            path.write_text(write_table(replace_rows(old, job.name, new)), encoding="utf-8")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
