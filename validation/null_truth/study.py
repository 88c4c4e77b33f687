"""Measure how often history is found where there is none, whether intervals cover, and what can be detected.

    python validation/null_truth/study.py nulls|history|power|networks|figure
        [--kind KIND ...] [--trials N ...] [--n SETS] [--workers 2] [--keep DIR]

Three kinds of simulated units without history (Poisson from a PSTH; the same with a Gamma trial gain of variance 0.25;
the same with a linear drift) and units with a dead time of 3 ms at 5, 10, 20 and 50 Hz; trials of one second.

- ``nulls``: verdicts and coverage where there is no history.
- ``history``: coverage where there is some.
- ``power``: how often a dead time is found.
- ``networks``: verdicts and coverage with the GRU of the ladder (M6) and its control among the rungs.

Every part has a table beside this file; a run replaces the rows of the kinds and trials that it was asked for and
keeps the others, so that a table can be made row by row. With ``--keep`` a row that was stopped, or is asked for again
with more recordings, goes on where it was. ``figure`` draws ``power.png`` from the table alone. The first recording of
every row also goes through `cortexrnn.compare`, which must say the same. Exits with 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from cortexrnn.evaluation.scores import Gain
from cortexrnn.evaluation.verdict import HISTORY_MATTERS, NO_RELEVANT_HISTORY
from cortexrnn.report import style
from cortexrnn.report.figure_file import draw_plot
from cortexrnn.runs.files import atomic_write
from cortexrnn.training.behaviour import wilson
from cortexrnn.validation.null_truth.simulated import DEAD_TIME_S, DURATION_S, Outcome, Task, compared, rate_of, run_one

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).parent
NULLS = ("poisson", "trial gain", "drift")
DEAD = tuple(f"dead time {rate_hz} Hz" for rate_hz in (5, 10, 20, 50))
KINDS = (*NULLS, *DEAD)
TRIALS = (10, 15, 20, 60)
LARGEST_FALSE, SMALLEST_COVERAGE = 0.05, 0.93
MARKS, TICKS = ("o", "s", "^", "D"), (30, 100, 300, 1000, 3000)
Found = list[Outcome]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One table.

    Attributes
    ----------
    title, note : str
        What stands above it.
    kinds : tuple of str
        Kinds of units that are run unless others are asked for.
    trials : tuple of int
        Numbers of trials, likewise.
    n_sets : dict of int to int
        Recordings of a row, by number of trials; key 0 for all others.
    columns : dict of str to callable
        Head of each column and what stands in it, made from the outcomes of a row.
    is_kept : callable
        Whether the outcomes of a row keep what was promised.
    has_networks, is_judged : bool
        As in `Task`; recordings with history are judged in ``power`` only.
    """

    title: str
    note: str
    kinds: tuple[str, ...]
    trials: tuple[int, ...]
    n_sets: dict[int, int]
    columns: dict[str, Callable[[Found], str]]
    is_kept: Callable[[Found], bool]
    has_networks: bool = False
    is_judged: bool = True

    def task(self, kind: str, n_trials: int, number: int) -> Task:
        """Give the task of one recording."""
        is_judged = self.is_judged and (kind in NULLS or not self.has_networks)
        return Task(kind, n_trials, number, self.has_networks, is_judged)


def said(verdict: str) -> Callable[[Found], str]:
    """Give the share of a verdict."""
    return lambda found: share([o.verdict == verdict for o in found]) if found[0].verdict else "-"


def covers(name: str) -> Callable[[Found], list[bool]]:
    """Tell of every recording whether the interval of a gain holds its estimand."""
    return lambda found: [o.gains[name].low <= o.estimands[name] <= o.gains[name].high for o in found]


def above(name: str) -> Callable[[Found], list[bool]]:
    """Tell of every recording whether the interval of a gain lies above 0."""
    return lambda found: [o.gains[name].low > 0.0 for o in found]


def share(hits: list[bool]) -> str:
    """Write a share with Wilson's 95 % interval."""
    low, high = wilson(np.sum(hits), np.array(len(hits)))
    return f"{np.mean(hits):.3f} [{low:.3f}, {high:.3f}]"


def gain(name: str) -> Callable[[Found], str]:
    """Write the mean of a gain, and that of its estimand."""
    return lambda found: (
        f"{np.mean([o.gains[name].value for o in found]):+.4f}, {np.mean([o.estimands[name] for o in found]):+.4f}"
    )


def is_calibrated(found: Found, names: Sequence[str] = ("history",)) -> bool:
    """Hold false positives, where a verdict was asked for, and coverage against what is promised."""
    false = np.mean([o.verdict == HISTORY_MATTERS for o in found])
    return bool(false <= LARGEST_FALSE and all(np.mean(covers(name)(found)) >= SMALLEST_COVERAGE for name in names))


def power_is_honest(found: Found) -> bool:
    """Tell whether coverage may be what is promised; so few recordings cannot tell more."""
    hits = covers("history")(found)
    return bool(wilson(np.sum(hits), np.array(len(hits)))[1] >= SMALLEST_COVERAGE)


SETS = {"sets": lambda found: str(len(found))}
COVERAGE, MEANS = "coverage of 95 % interval", "mean gain, estimand (bits/spike)"
BRACKETS = "In brackets: Wilson's 95 % interval of a share of so many sets."
_PERCENT = f"{100 * SMALLEST_COVERAGE:g} %"
PROMISE = f'Promise: "history matters" in at most {100 * LARGEST_FALSE:g} %, coverage at least {_PERCENT}.'
OF_HISTORY = {COVERAGE: lambda found: share(covers("history")(found)), MEANS: gain("history")}
PARTS = {
    "nulls": Part(
        title="Units without history",
        note=f"{PROMISE} {BRACKETS} Gain of the history rung, chosen in training, over M3.",
        kinds=NULLS,
        trials=TRIALS,
        n_sets={0: 200, 60: 2000},
        columns=SETS
        | {f'"{verdict}"': said(verdict) for verdict in (HISTORY_MATTERS, NO_RELEVANT_HISTORY)}
        | OF_HISTORY,
        is_kept=is_calibrated,
    ),
    "history": Part(
        title="Coverage where there is history: a dead time of 3 ms",
        note=f"Promise: coverage at least {_PERCENT}. {BRACKETS} Gain of the history rung over M3.",
        kinds=DEAD[2:3],
        trials=TRIALS,
        n_sets={0: 200, 60: 2000},
        columns=SETS | OF_HISTORY,
        is_kept=is_calibrated,
        is_judged=False,
    ),
    "power": Part(
        title="Power against a dead time of 3 ms",
        note="Exact gain of the true model at 5, 10, 20, 50 Hz: 0.0218, 0.0440, 0.0893, 0.2345 bits/spike. "
        f"{BRACKETS} `power.png` shows the shares; its open marks are the spikes with which a likelihood-ratio test of "
        "the true model has a power of 80 %.",
        kinds=DEAD,
        trials=TRIALS,
        n_sets={0: 24},
        columns=SETS | {f'"{HISTORY_MATTERS}"': said(HISTORY_MATTERS)} | OF_HISTORY,
        is_kept=power_is_honest,
    ),
    "networks": Part(
        title="Networks: the GRU of the ladder (M6) and the same with its own spikes cut (M6cut), 3 seeds a fold",
        note=f"{PROMISE} {BRACKETS} Gains over M3; the verdict is that over M3 and M6cut, with M6 among the rungs that "
        "may be chosen.",
        kinds=(*NULLS, DEAD[2]),
        trials=(20,),
        n_sets={0: 200},
        columns=SETS
        | {f'"{HISTORY_MATTERS}"': said(HISTORY_MATTERS)}
        | {f"{name}: {COVERAGE}": lambda found, name=name: share(covers(name)(found)) for name in ("M6", "M6cut")}
        | {f"{name}: {MEANS}": gain(name) for name in ("M6", "M6cut")}
        | {f"{name}: interval above 0": lambda found, name=name: share(above(name)(found)) for name in ("M6", "M6cut")}
        | {"chosen rung: coverage": lambda found: share(covers("history")(found))},
        is_kept=lambda found: is_calibrated(found, ("M6", "M6cut", "history")),
        has_networks=True,
    ),
}


def run_row(tasks: list[Task], workers: int, keep: Path | None) -> Found:
    """Run the recordings of a row on processes, those that are kept aside, and the first of them through `compare`."""
    found = [_read_outcome(line) for line in keep.read_text().splitlines()] if keep and keep.exists() else []
    found = found[: len(tasks)]
    # Two processes with as many threads each as there are cores get in one another's way.
    with ProcessPoolExecutor(workers, initializer=threadpool_limits, initargs=(1,)) as pool:
        for outcome in pool.map(run_one, tasks[len(found) :], chunksize=2):
            found.append(outcome)
            if keep:
                with keep.open("a") as file:
                    file.write(json.dumps(outcome) + "\n")
    check_row(tasks[0], found[0])
    return found


def _read_outcome(line: str) -> Outcome:
    """Read an outcome back."""
    verdict, gains, estimands = json.loads(line)
    return Outcome(verdict, {name: Gain(*values) for name, values in gains.items()}, estimands)


def check_row(task: Task, outcome: Outcome) -> None:
    """Stop where `compare` says something else of the same recording."""
    entry = compared(task)
    # Where the chosen rung is measured over M6cut, `compare` tells that gain only.
    told = entry["history_gain"] if entry["history_gain"]["over"] == "M3" else entry["steps"]["M6"]
    ours = outcome.gains["history" if told is entry["history_gain"] else "M6"]
    # Sums in another order differ in the last digits.
    np.testing.assert_allclose([ours.value, *ours.interval], [told["value"], *told["ci"]], rtol=1e-9, atol=1e-12)
    if task.is_judged and entry["verdict"] != outcome.verdict:
        raise AssertionError(f"{task}: {outcome.verdict!r} here, {entry['verdict']!r} from compare")


def read_rows(path: Path) -> dict[tuple[str, int], str]:
    """Read the rows of a table by kind and number of trials."""
    lines = path.read_text().splitlines() if path.exists() else []
    cells = [(line, line.strip("| ").split(" | ")) for line in lines if line.startswith("|")]
    return {(row[0], int(row[1])): line for line, row in cells[2:]}


def replace_row(name: str, part: Part, key: tuple[str, int], found: Found) -> None:
    """Put a row into the table, in the order of `KINDS`; keep the others."""
    path = HERE / f"{name}.md"
    cells = [key[0], str(key[1]), *(column(found) for column in part.columns.values())]
    rows = read_rows(path) | {key: f"| {' | '.join(cells)} |"}
    print(rows[key], flush=True)
    table = [rows[at] for at in sorted(rows, key=lambda at: (KINDS.index(at[0]), at[1]))]
    heads = ["truth", "trials", *part.columns]
    text = [f"# {part.title}", "", f"`python validation/null_truth/study.py {name}`. {part.note}", ""]
    text += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *table]
    atomic_write(path, ("\n".join(text) + "\n").encode())


def needed_spikes(rate_hz: float) -> float:
    """Give the spikes with which a likelihood-ratio test of the true model has a power of .8 (`ladder.md`, V10)."""
    return 3.92 / -np.log1p(-rate_hz * DEAD_TIME_S)


def plot_power(ax: Axes) -> None:
    """Draw the share of recordings in which a dead time was found against spikes."""
    rows = read_rows(HERE / "power.md")
    present = [kind for kind in DEAD if any(kind == truth for truth, _ in rows)]
    for kind, mark, colour in zip(present, MARKS, style.CONDITIONS, strict=False):
        found = {n_trials: line.strip("| ").split(" | ") for (truth, n_trials), line in rows.items() if truth == kind}
        rate_hz = rate_of(kind)
        spikes = np.array(sorted(found)) * rate_hz * DURATION_S
        power, low, high = np.array([_share_of(found[n_trials][3]) for n_trials in sorted(found)]).T
        reach = np.clip([power - low, high - power], 0.0, None)
        ax.errorbar(spikes, power, reach, marker=mark, color=colour, label=f"{rate_hz:g} Hz", capsize=2, ms=5)
        ax.plot(needed_spikes(rate_hz), 0.8, marker=mark, color=colour, mfc="white", ls="none", ms=5)
    ax.axhline(LARGEST_FALSE, color=style.RULE, zorder=0)
    ax.axhline(0.8, color=style.RULE, zorder=0)
    ax.set(xscale="log", ylim=(-0.03, 1.03), xlabel="spikes", ylabel='share with "history matters"')
    ax.set_xticks(TICKS, [f"{n}" for n in TICKS])
    ax.text(22, 0.83, "open: what a test that\nknew the truth would need", color=style.MUTED, fontsize=9.5, va="bottom")
    ax.legend(title="dead time of 3 ms", alignment="left", loc="center right")


def _share_of(cell: str) -> list[float]:
    """Read a share and its interval back."""
    return [float(word.strip("[],")) for word in cell.split()]


def main() -> int:
    """Run rows of one part, or draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=(*PARTS, "figure"))
    parser.add_argument("--kind", nargs="+", choices=KINDS, help="kinds of units; those of the part by default")
    parser.add_argument("--trials", nargs="+", type=int, help="numbers of trials; those of the part by default")
    parser.add_argument("--n", type=int, help="simulated recordings a row")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder of finished recordings, from which a stopped run goes on")
    given = parser.parse_args()
    if given.part == "figure":
        draw_plot(HERE / "power.png", plot_power)
        return 0
    part, kept = PARTS[given.part], True
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    for kind in given.kind or part.kinds:
        for n_trials in given.trials or part.trials:
            n = given.n or part.n_sets.get(n_trials, part.n_sets[0])
            tasks = [part.task(kind, n_trials, number) for number in range(n)]
            keep = given.keep and given.keep / f"{given.part} {kind} {n_trials}.jsonl"
            found = run_row(tasks, given.workers, keep)
            replace_row(given.part, part, (kind, n_trials), found)
            kept &= part.is_kept(found)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
