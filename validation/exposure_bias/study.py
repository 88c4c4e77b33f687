"""Networks that go on with a sine they were shown the beginning of: teacher forcing, scheduled sampling, free running.

``python validation/exposure_bias/study.py`` writes ``table.md`` and ``figure.svg``. A network trained on true inputs
has never seen its own errors; what does it gain from being fed its own outputs in training, and what does that cost?
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from scipy.special import ndtri
from scipy.stats import bootstrap

import cortexrnn as cx
from cortexrnn.report import style
from cortexrnn.runs.files import atomic_write
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, table_of
from cortexrnn.training.tasks.own import with_feedback
from cortexrnn.training.tasks.waves import relative_error
from cortexrnn.validation.targets import draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_PRIMED, N_FREE = 15, 45
# Cycles a step.
SLOWEST, FASTEST = 0.03, 0.1
NOISES = (0.0, 0.1)
SEEDS, RATE = range(8), 0.01
MAX_STEPS, N_HIDDEN, N_TRIALS, TEST_SEED = 800, 32, 500, 99
HORIZONS = (1, 5, 15, 45)
# Relative error at which the sine counts as lost.
LOST = 0.5


@dataclass(frozen=True, kw_only=True)
class Sines(Task):
    """Sines of any frequency and phase; the only input is the value of the step before.

    Attributes
    ----------
    spread : float
        Standard deviation of the noise on every value that is shown and asked for.
    """

    name: ClassVar[str] = "sines"

    spread: float = 0.0
    noise_sd: float = 0.0
    n_steps: ClassVar[int] = N_PRIMED + N_FREE
    n_draws: ClassVar[int] = 2 + n_steps
    input_names: ClassVar[tuple[str, ...]] = ("value before",)
    output_names: ClassVar[tuple[str, ...]] = ("value",)
    chance: ClassVar[float] = 0.0

    def _compose(self, draws: Draws) -> Batch:
        """Lay out the sines."""
        n, length = len(draws.uniform), np.full(len(draws.uniform), self.n_steps)
        frequency = SLOWEST + (FASTEST - SLOWEST) * draws.uniform[:, 0]
        clean = sines(frequency, draws.uniform[:, 1])
        targets = (clean + self.spread * ndtri(draws.uniform[:, 2:]))[:, :, None].astype(np.float32)
        mask, none = np.ones((n, self.n_steps), np.float32), np.zeros((n, self.n_steps, 0), np.float32)
        table = table_of(frequency=frequency, phase=draws.uniform[:, 1])
        return with_feedback(Batch(none, targets, None, mask, length, table, MSE), 1, N_PRIMED)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Call a trial right whose error is a quarter of its size or less."""
        found = relative_error(outputs, batch)
        return (found <= 0.25).astype(float), {"relative_error": found}


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One line of the table: the last probability of a step to be fed the network's own output, and its rise."""

    words: str
    sampling: float
    rise: float
    looks: tuple[str, str]

    def options(self) -> cx.TrainOptions:
        """Give the options of a training."""
        return cx.TrainOptions(
            max_steps=MAX_STEPS, batch_size=32, learning_rate=RATE, schedule=cx.Schedule(shape="cosine"),
            sampling=self.sampling, sampling_steps=int(self.rise * MAX_STEPS), evaluate_every=MAX_STEPS, criterion=2.0,
            n_threads=1,
        )  # fmt: skip


WAYS = (
    Way(words="0, teacher forcing", sampling=0.0, rise=0.0, looks=(style.CONDITIONS[0], "-")),
    Way(words="to 0.25 by half-time", sampling=0.25, rise=0.5, looks=(style.CONDITIONS[1], ":")),
    Way(words="to 0.5 by half-time", sampling=0.5, rise=0.5, looks=(style.CONDITIONS[1], "--")),
    Way(words="0.5 throughout", sampling=0.5, rise=0.0, looks=(style.CONDITIONS[3], "--")),
    Way(words="to 1 by the end", sampling=1.0, rise=1.0, looks=(style.CONDITIONS[1], "-")),
    Way(words="1 throughout, free running", sampling=1.0, rise=0.0, looks=(style.CONDITIONS[2], "-")),
)


class Found(NamedTuple):
    """What came out for one way under one noise.

    Attributes
    ----------
    forced : ndarray, shape (n_seeds,)
        Relative error of one step.
    free : ndarray, shape (n_seeds, N_FREE)
        Relative error in each of the steps alone.
    total : ndarray, shape (n_seeds,)
        Relative error of all steps alone.
    """

    forced: np.ndarray
    free: np.ndarray
    total: np.ndarray


def main() -> None:
    """Train in every way under both noises; write table and figure."""
    found = {noise: [measure(way, noise) for way in WAYS] for noise in NOISES}
    Path(__file__).with_name("table.md").write_text(page(found))
    atomic_write(Path(__file__).with_name("figure.svg"), draw_svg(draw, found))


def page(found: dict[float, list[Found]]) -> str:
    """Put the tables together and say what they show."""
    words = (
        f"Sines of {SLOWEST:g} to {FASTEST:g} cycles a step, of unknown phase; {N_PRIMED - 1} values are shown, and\n"
        f"the network goes on with them for {N_FREE} steps alone, fed its own outputs. GRU networks of {N_HIDDEN}\n"
        f"units, {MAX_STEPS} steps of Adam with 32 trials each, the rate falling with a cosine from {RATE:g}.\n"
        f"{len(SEEDS)} seeds of weights and trials, the same in every way; {N_TRIALS} new trials. The first column is\n"
        "the probability in training that a step is fed the network's own output, rising linearly from 0 where it is\n"
        "not the same throughout; derivatives do not go through what was fed. Errors are root mean squares against\n"
        "the sine without noise, over that of always answering zero; medians over seeds. One step: fed the values\n"
        f"throughout. Alone: in that step alone; steps to {LOST:g}: how many pass before the error exceeds that. The\n"
        "difference is that of the error of all steps alone from that of teacher forcing with the same seed: mean\n"
        "over seeds with its 95 % interval (bootstrap, BCa), and how many seeds gain.\n\n"
    )
    parts = []
    for noise in NOISES:
        name = f"Noise of standard deviation {noise:g} on every value shown and asked for" if noise else "No noise"
        parts.append(f"{name}:\n\n{table(found[noise])}\n")
    picture = "![Errors over steps alone, and differences from teacher forcing](figure.svg)\n"
    return words + "".join((*parts, picture))


def measure(way: Way, noise_sd: float) -> Found:
    """Train in one way with every seed."""
    task = Sines(spread=noise_sd)
    batch = task.trials(N_TRIALS, seed=TEST_SEED, mode="test")
    alone = slice(N_PRIMED, None)
    network = cx.CellNetwork(kind="gru", n_hidden=N_HIDDEN)
    networks = [cx.train(network, task, seed=seed, options=way.options()) for seed in SEEDS]
    forced = np.array([error(one.answer(batch, is_forced=True), batch) for one in networks])
    free = np.array([error(one.answer(batch), batch) for one in networks])
    root = [np.sqrt(squares[:, alone].mean(axis=1)) for squares in (forced, free)]
    print(way.words, noise_sd, root[0].round(4), root[1].round(4), flush=True)
    return Found(root[0], np.sqrt(free[:, alone]), root[1])


def error(outputs: np.ndarray, batch: Batch) -> np.ndarray:
    """Give the mean square error at every step over that of always answering zero, against the sine without noise."""
    clean = sines(batch.table["frequency"].to_numpy(), batch.table["phase"].to_numpy())
    return np.mean((outputs[:, :, 0] - clean) ** 2, axis=0) / np.mean(clean**2)


def sines(frequency: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Give sines without noise, (n_trials, n_steps)."""
    return np.sin(2.0 * np.pi * (np.outer(frequency, np.arange(N_PRIMED + N_FREE)) + phase[:, None]))


def differences(found: list[Found]) -> np.ndarray:
    """Give the errors alone less those of teacher forcing with the same seed, (n_ways, n_seeds)."""
    return np.array([one.total - found[0].total for one in found])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Give the 95 % interval of a mean over seeds by bootstrap."""
    return tuple(bootstrap((values,), np.mean, n_resamples=9999, rng=np.random.default_rng(0)).confidence_interval)


def steps_within(found: Found) -> np.ndarray:
    """Give for every seed how many steps alone pass before the error exceeds `LOST`."""
    is_lost = np.column_stack([found.free > LOST, np.ones(len(found.free), bool)])
    return np.argmax(is_lost, axis=1)


def table(found: list[Found]) -> str:
    """Lay out the table of one noise."""
    head = (
        "own outputs in training", "one step", *(f"alone, {step}" for step in HORIZONS), f"steps to {LOST:g}",
        "alone, all", "difference", "seeds that gain",
    )  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for way, one, values in zip(WAYS, found, differences(found), strict=True):
        middle = [np.median(one.forced), *(np.median(one.free[:, step - 1]) for step in HORIZONS)]
        line = [way.words, *(f"{value:.3f}" for value in middle), f"{np.median(steps_within(one)):g}"]
        line += [f"{np.median(one.total):.3f}", "", ""]
        if one is not found[0]:
            low, high = interval(values)
            line[-2:] = [f"{values.mean():+.3f} [{low:+.3f}, {high:+.3f}]", f"{(values < 0.0).sum()} of {values.size}"]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def draw(figure: Figure, found: dict[float, list[Found]]) -> None:
    """Draw, for each noise, errors over steps alone, and the differences from teacher forcing."""
    figure.set_size_inches(8.0, 5.0)
    axes = figure.subplots(len(NOISES), 2, sharex="col", width_ratios=(1.25, 1.0))
    for (left, right), (noise, ways) in zip(axes, found.items(), strict=True):
        name = f"noise {noise:g}" if noise else "no noise"
        draw_errors(left, ways)
        left.set_title(name, loc="left", fontsize="medium")
        draw_differences(right, ways)
    axes[-1, 0].set_xlabel("steps alone, fed its own outputs")
    axes[-1, 1].set_xlabel("difference from teacher forcing")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)


def draw_errors(ax: Axes, found: list[Found]) -> None:
    """Draw the median error over steps alone."""
    for way, one in zip(WAYS, found, strict=True):
        colour, dashes = way.looks
        ax.plot(np.arange(1, N_FREE + 1), np.median(one.free, axis=0), color=colour, linestyle=dashes, label=way.words)
    ax.set(yscale="log", ylabel="relative error", xlim=(0, N_FREE), ylim=(0.02, 2.0))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    ax.axhline(1.0, color=style.MUTED, linewidth=0.7)


def draw_differences(ax: Axes, found: list[Found]) -> None:
    """Draw the difference of every seed, with mean and interval."""
    for k, (way, values) in enumerate(zip(WAYS, differences(found), strict=True)):
        if k == 0:
            continue
        colour = way.looks[0]
        ax.plot(values, k + np.linspace(-0.2, 0.2, values.size), "o", color=colour, alpha=0.35, markersize=2.5,
                markeredgewidth=0.0)  # fmt: skip
        low, high = interval(values)
        ax.errorbar(values.mean(), k, xerr=[[values.mean() - low], [high - values.mean()]], fmt="s", color=colour,
                    markersize=3.5, capsize=2.0)  # fmt: skip
    ax.axvline(0.0, color=style.MUTED, linewidth=0.7)
    ax.set_yticks(range(1, len(WAYS)), [way.words for way in WAYS[1:]])
    ax.invert_yaxis()


if __name__ == "__main__":
    main()
