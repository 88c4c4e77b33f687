"""Networks of one size on irregular samples: as they come, with gaps that flow or are a number, and on grids.

``python validation/irregular_samples/study.py`` writes ``table.md``: damped cosines of unknown frequency and phase, 30
samples a trial at the times of a Poisson process, the next value asked for before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t as student

import cortexrnn as cx
from cortexrnn.errors import NumericalError
from cortexrnn.training.optimisers import Schedule
from cortexrnn.training.tasks.contract import Batch, Task
from cortexrnn.training.tasks.irregular import GriddedWaves, IrregularWaves

SEEDS = range(5)
TUNING_SEED, RATES = 100, (0.01, 0.02, 0.04, 0.08, 0.16)
MAX_STEPS, N_TRIALS, TEST_SEED = 1000, 1000, 99
WAVES = IrregularWaves()
# The same oscillations for as long, seen half as often: nobody was trained for that.
SPARSE = IrregularWaves(dt_s=2.0 * WAVES.dt_s, n_samples=WAVES.n_samples // 2)
# Bins of a quarter of the mean gap and of a whole one.
GRIDS_S = (0.1, 0.4)
# Numbers of units that make some 2000 parameters.
SIZES = {"ode": 25, "gru": 24, "vanilla": 42}
HEAD = (
    "network", "sees", "parameters", "rate", "error", "trials within 0.25", "error, half as many samples",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One line of the table: a cell, and the task in which the samples come to it; no grid width, no grid."""

    kind: str
    grid_s: float = 0.0

    def task(self, waves: IrregularWaves) -> Task:
        """Give the trials of `waves` as this way sees them."""
        return GriddedWaves(waves=waves, dt_s=self.grid_s) if self.grid_s else waves

    @property
    def words(self) -> str:
        """Say what the network sees."""
        if self.grid_s:
            return f"bins of {self.grid_s:g} s"
        return "samples, flows through gaps" if self.kind == "ode" else "samples, gap as an input"


def main() -> None:
    """Train in every way with every seed and write the table."""
    ways = [Way(kind=kind) for kind in SIZES]
    ways += [Way(kind=kind, grid_s=grid_s) for kind in ("gru", "vanilla") for grid_s in GRIDS_S]
    lines = [HEAD, ["---"] * len(HEAD), *(row(way) for way in ways), *floors()]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = (
        f"{len(SEEDS)} seeds of weights and trials in every way, {MAX_STEPS} steps of Adam with 64 trials each, the\n"
        f"learning rate falling with a cosine from the best of {', '.join(f'{rate:g}' for rate in RATES)}\n"
        "on one seed of its own. The error is the root mean square error over that of always answering zero, of the\n"
        f"samples themselves also where a grid was seen, averaged over {N_TRIALS} new trials; mean over seeds and\n"
        "95 % interval (Student). The last lines need no training.\n\n"
    )
    Path(__file__).with_name("table.md").write_text(text + table + "\n")
    print(table)


def row(way: Way) -> list[str]:
    """Train in one way; give its line of the table."""
    rate = min(RATES, key=lambda rate: tuning_error(way, rate))
    found = [trained(way, seed, rate) for seed in SEEDS]
    plain = np.array([error(network, way.task(WAVES)) for network in found])
    sparse = np.array([error(network, way.task(SPARSE)) for network in found])
    cells = [
        way.kind,
        way.words,
        str(found[0].model.theta.size),
        f"{rate:g}",
        interval(plain[:, 0]),
        interval(plain[:, 1]),
        interval(sparse[:, 0]),
    ]
    print(f"| {' | '.join(cells)} |", flush=True)
    return cells


def tuning_error(way: Way, rate: float) -> float:
    """Give the error that a learning rate leads to, on a seed of its own."""
    try:
        return error(trained(way, TUNING_SEED, rate), way.task(WAVES))[0]
    except NumericalError:
        # Too fast to stay within the finite numbers.
        return np.inf


def trained(way: Way, seed: int, rate: float) -> cx.Trained:
    """Train once."""
    options = cx.TrainOptions(
        max_steps=MAX_STEPS, learning_rate=rate, schedule=Schedule(shape="cosine"), evaluate_every=MAX_STEPS,
        criterion=2.0, n_threads=1,
    )  # fmt: skip
    network = cx.CellNetwork(kind=way.kind, n_hidden=SIZES[way.kind])
    return cx.train(network, way.task(WAVES), seed=seed, options=options)


def error(network: cx.Trained, task: Task) -> tuple[float, float]:
    """Give mean relative error and fraction of right trials, of new ones."""
    batch = new_trials(task)
    return judged(task, network.answer(batch), batch)


def judged(task: Task, outputs: np.ndarray, batch: Batch) -> tuple[float, float]:
    """Give mean relative error and fraction of right trials."""
    found = task.performance(outputs, batch)
    return float(found.trials["relative_error"].mean()), found.fraction


def new_trials(task: Task) -> Batch:
    """Give the trials of the test, the same in every way."""
    return task.trials(N_TRIALS, seed=TEST_SEED, mode="test")


def floors() -> list[list[str]]:
    """Give lines for answers without a network: the value before, and what no network on a grid can beat."""
    lines = []
    for words, answer, grid_s in [("the last value again", last_value, 0.0)] + [
        ("the means of bins, if they were known", known, grid_s) for grid_s in GRIDS_S
    ]:
        way = Way(kind="-", grid_s=grid_s)
        plain, sparse = (
            judged(task, answer(batch), batch)
            for task, batch in ((way.task(waves), new_trials(way.task(waves))) for waves in (WAVES, SPARSE))
        )
        sees = way.words if grid_s else "samples"
        lines.append([words, sees, "-", "-", f"{plain[0]:.3f}", f"{plain[1]:.3f}", f"{sparse[0]:.3f}"])
    return lines


def last_value(batch: Batch) -> np.ndarray:
    """Answer every question with the sample before it."""
    outputs = np.zeros_like(batch.targets)
    outputs[:, 1::2, 0] = batch.inputs[:, :-1:2, 2]
    return outputs


def known(batch: Batch) -> np.ndarray:
    """Answer with what is asked."""
    return batch.targets


def interval(values: np.ndarray) -> str:
    """Write mean and half-width of the 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.3f} +- {half:.3f}"


if __name__ == "__main__":
    main()
