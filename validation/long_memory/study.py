"""How long cells remember: two numbers added after a delay, the gradient on its way back, and reading from the end.

``python validation/long_memory/study.py`` writes ``table.md`` and ``figure.svg``. Networks of some 4500 parameters are
shown ten numbers, two of them marked, wait for 10 to 500 steps and have to answer with the sum of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import cortexrnn as cx
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.report import style
from cortexrnn.runs.files import atomic_write
from cortexrnn.training.tasks.long_memory import Adding, FirstSymbol
from cortexrnn.training.tile import to_lanes
from cortexrnn.validation.targets import draw_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DELAYS = (10, 20, 50, 100, 200, 500)
SEEDS, TUNING_SEED, TUNING_DELAY = range(3), 100, 20
RATES = (0.001, 0.003, 0.01)
N_VALUES, MAX_STEPS, N_TRIALS, TEST_SEED = 10, 800, 1000, 99
# Trials over which the gradient is followed, and lags at which the table shows it.
N_FOLLOWED, LAGS = 4, (10, 50, 100, 200, 500)
SIZES = {"vanilla": 64, "lstm": 32, "gru": 36}
# A network fails where its error is more than half of that of always answering 1.
FAILED = 0.5
STRING = FirstSymbol(n_length=30, is_mirrored=True)
STRING_SEEDS, STRING_STEPS, STRING_RATE, N_STRING = range(5), 300, 0.01, 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One line of the tables: a cell and its start; `reach` asks for chrono biases up to the length of a trial."""

    words: str
    kind: str
    recurrent: str = "uniform"
    keep_bias: float | None = None
    reach: bool = False
    looks: tuple[str, str]

    def network(self, task: Adding) -> cx.CellNetwork:
        """Give the network for a task."""
        chrono_steps = task.n_steps if self.reach else None
        initial = cx.Initial(recurrent=self.recurrent, keep_bias=self.keep_bias, chrono_steps=chrono_steps)
        return cx.CellNetwork(kind=self.kind, n_hidden=SIZES[self.kind], initial=initial)


WAYS = (
    Way(words="vanilla", kind="vanilla", looks=(style.CONDITIONS[0], ":")),
    Way(words="vanilla, orthogonal", kind="vanilla", recurrent="orthogonal", looks=(style.CONDITIONS[0], "-")),
    Way(words="LSTM, forget bias 1", kind="lstm", keep_bias=1.0, looks=(style.CONDITIONS[2], ":")),
    Way(words="LSTM, chrono", kind="lstm", reach=True, looks=(style.CONDITIONS[2], "-")),
    Way(words="GRU", kind="gru", looks=(style.CONDITIONS[1], ":")),
    Way(words="GRU, chrono", kind="gru", reach=True, looks=(style.CONDITIONS[1], "-")),
)


class Found(NamedTuple):
    """What came out for one way.

    Attributes
    ----------
    rate : float
        Learning rate.
    n_parameters : int
    scores : ndarray, shape (n_delays, n_seeds, 2)
        Relative error and fraction right.
    gradients : ndarray, shape (2, n_seeds, n_lags)
        At the longest delay before and after training, see `gradient_norms`.
    """

    rate: float
    n_parameters: int
    scores: np.ndarray
    gradients: np.ndarray


def main() -> None:
    """Train in every way at every delay; write tables and figure."""
    found = [measure(way) for way in WAYS]
    Path(__file__).with_name("table.md").write_text(page(found, string_table()))
    atomic_write(Path(__file__).with_name("figure.svg"), draw_svg(draw, found))


def page(found: list[Found], strings: str) -> str:
    """Put the tables together and say what they show."""
    rates = ", ".join(f"{rate:g}" for rate in RATES)
    parts = [
        "Ten numbers in ten steps, two of them marked, a delay, and then their sum. "
        f"{len(SEEDS)} seeds of weights and\n"
        f"trials, {MAX_STEPS} steps of Adam with 32 trials each, the learning rate falling with a cosine from the\n"
        f"best of {rates} at a delay of {TUNING_DELAY} on a seed of its own; {N_TRIALS} new trials. Median\n"
        "[lowest, highest] over seeds. A network fails from the first delay on at which its median error is\n"
        f"above {FAILED:g}. Chrono biases are told how long a trial is.\n",
        "Mean square error over that of always answering 1, at a delay of so many steps:\n",
        score_table(found, 0),
        "Fraction of sums within 0.04; always answering 1 gives 0.08:\n",
        score_table(found, 1),
        "Norm of the derivative of the loss with respect to the state, so many steps before the answer over that\n"
        f"at the answer, at a delay of {DELAYS[-1]}; powers of ten, medians over seeds of the geometric mean over\n"
        f"{N_FOLLOWED} trials. Products of one-step Jacobians in float64; the state of an LSTM is h and c.\n",
        gradient_table(found),
        f"The first of {STRING.n_length} symbols, of {STRING.n_symbols}. Mirrored, it comes last and is asked for at\n"
        f"the first step. {len(STRING_SEEDS)} seeds, {STRING_STEPS} steps at a rate of {STRING_RATE:g}; fraction\n"
        f"right, by chance {STRING.chance:g}. Both directions together have as many units as the one, {N_STRING}. The\n"
        "vanilla cells begin orthogonal, the gated ones with chrono biases.\n",
        strings,
        "![Errors over delays, and norms of the gradient over lags](figure.svg)\n",
    ]
    return "\n".join(parts)


def measure(way: Way) -> Found:
    """Train in one way with every delay and seed."""
    rate = min(RATES, key=lambda rate: score(trained(way, TUNING_DELAY, TUNING_SEED, rate))[0])
    scores = np.empty((len(DELAYS), len(SEEDS), 2))
    for k, delay in enumerate(DELAYS):
        networks = [trained(way, delay, seed, rate) for seed in SEEDS]
        scores[k] = [score(network) for network in networks]
        print(way.words, rate, delay, scores[k].round(3).tolist(), flush=True)
    gradients = [
        [gradient_norms(network, network.theta_before) for network in networks],
        [gradient_norms(network, network.model.theta) for network in networks],
    ]
    return Found(rate, networks[0].model.theta.size, scores, np.array(gradients))


def trained(way: Way, delay: int, seed: int, rate: float) -> cx.Trained:
    """Train once."""
    task = Adding(n_values=N_VALUES, n_delay=delay)
    options = cx.TrainOptions(
        max_steps=MAX_STEPS, batch_size=32, learning_rate=rate, schedule=cx.Schedule(shape="cosine"),
        evaluate_every=MAX_STEPS, criterion=2.0, n_threads=1,
    )  # fmt: skip
    return cx.train(way.network(task), task, seed=seed, options=options)


def score(network: cx.Trained) -> tuple[float, float]:
    """Give relative error and fraction right, of new trials."""
    task = network.task
    batch = task.trials(N_TRIALS, seed=TEST_SEED, mode="test")
    judged = task.performance(network.answer(batch), batch)
    error = np.mean((judged.trials["response"] - judged.trials["sum"]) ** 2)
    return float(error) / task.baseline_error, judged.fraction


def gradient_norms(network: cx.Trained, theta: np.ndarray) -> np.ndarray:
    """Give the norm of the derivative of the last output with respect to the state, over lags from the last step.

    With one output at one step, that of a trial's loss is a multiple of it, so that their ratios are the same.

    Parameters
    ----------
    network : cx.Trained
    theta : ndarray, shape (n_parameters,)

    Returns
    -------
    ndarray, shape (n_steps,)
        Geometric mean over trials, over the value at lag 0.
    """
    cell, parts = CELLS[network.model.name], network.model.parts(theta.astype(float))
    weights = cell.weights(*(parts[name] for name in cell.weights._fields))
    inputs = network.task.trials(N_FOLLOWED, seed=TEST_SEED, mode="test").inputs.astype(float)
    states = run(cell, weights, inputs)
    norms = np.empty(inputs.shape[:2])
    for k, trial in enumerate(inputs):
        # The read-out sees h, which comes first in the state.
        by_state = np.zeros(states.shape[2])
        by_state[: parts["readout"].shape[1]] = parts["readout"][0]
        for lag in range(len(trial)):
            norms[k, lag] = np.linalg.norm(by_state)
            step = len(trial) - 1 - lag
            by_state = by_state @ cell.jacobian(states[k, step], trial[step], weights)
    # A norm below the smallest number is none; its logarithm should not be infinite.
    logs = np.log(np.maximum(norms / norms[:, :1], np.finfo(float).tiny))
    return np.exp(logs.mean(axis=0))


def run(cell: NamedTuple, weights: NamedTuple, inputs: np.ndarray) -> np.ndarray:
    """Give the states of at most 16 trials before every step and after the last, (n_trials, n_steps + 1, n_state)."""
    tape = cell.empty_tape(inputs.shape[1], weights)
    cell.start(weights, np.zeros(N_LANES, np.int64), tape)
    cell.forward(to_lanes(inputs, np.dtype(float))[0], np.empty(0), cell.pack(weights), tape)
    states = np.concatenate([getattr(tape, name) for name in cell.states], axis=1)
    return states.reshape(len(states), -1, N_LANES).transpose(2, 0, 1)[: len(inputs)]


def score_table(found: list[Found], column: int) -> str:
    """Lay out one score over delays."""
    last = ("fails from",) if column == 0 else ()
    head = ("network", "parameters", "rate", *(str(delay) for delay in DELAYS), *last)
    lines = []
    for way, one in zip(WAYS, found, strict=True):
        cells = [way.words, str(one.n_parameters), f"{one.rate:g}", *(spread(row) for row in one.scores[:, :, column])]
        lines.append(cells + ([fails_from(one)] if column == 0 else []))
    return table(head, lines)


def fails_from(found: Found) -> str:
    """Give the first delay at which a way fails."""
    failed = np.median(found.scores[:, :, 0], axis=1) > FAILED
    return str(DELAYS[int(np.argmax(failed))]) if failed.any() else "not seen"


def gradient_table(found: list[Found]) -> str:
    """Lay out the gradient at some lags before and after training."""
    head = ("network", "", *(str(lag) for lag in LAGS))
    lines = []
    for way, one in zip(WAYS, found, strict=True):
        for when, norms in zip(("at the start", "after training"), one.gradients, strict=True):
            middle = np.log10(np.median(norms, axis=0))
            lines.append([way.words, when, *(f"{middle[lag]:.1f}" for lag in LAGS)])
    return table(head, lines)


def string_table() -> str:
    """Train networks that read forward and in both directions; lay out what they get right."""
    head = ("cell", "forward, mirrored", "both directions, mirrored", "forward, not mirrored")
    plain = FirstSymbol(n_length=STRING.n_length)
    lines = []
    for kind in SIZES:
        ways = ((N_STRING, False, STRING), (N_STRING // 2, True, STRING), (N_STRING, False, plain))
        lines.append([kind, *(spread(np.array([first_symbol(kind, *way, s) for s in STRING_SEEDS])) for way in ways)])
        print(lines[-1], flush=True)
    return table(head, lines)


def first_symbol(kind: str, n_hidden: int, is_bidirectional: bool, task: FirstSymbol, seed: int) -> float:
    """Train once on strings; give the fraction right."""
    options = cx.TrainOptions(
        max_steps=STRING_STEPS, batch_size=32, learning_rate=STRING_RATE, schedule=cx.Schedule(shape="cosine"),
        evaluate_every=STRING_STEPS, criterion=2.0, n_threads=1,
    )  # fmt: skip
    initial = cx.Initial(recurrent="orthogonal") if kind == "vanilla" else cx.Initial(chrono_steps=task.n_length)
    network = cx.CellNetwork(kind=kind, n_hidden=n_hidden, initial=initial, is_bidirectional=is_bidirectional)
    return cx.train(network, task, seed=seed, options=options).performance(N_TRIALS, seed=TEST_SEED)


def spread(values: np.ndarray) -> str:
    """Write median and range."""
    return f"{np.median(values):.3f} [{values.min():.3f}, {values.max():.3f}]"


def table(head: tuple[str, ...], lines: list[list[str]]) -> str:
    """Lay out a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)) + "\n"


def draw(figure: Figure, found: list[Found]) -> None:
    """Draw errors over delays, and the gradient over lags before and after training."""
    figure.set_size_inches(8.0, 3.4)
    errors, before, after = figure.subplots(1, 3)
    # As many lags as a logarithmic axis can show.
    lags = np.unique(np.geomspace(1, DELAYS[-1], 60).astype(int))
    for way, one in zip(WAYS, found, strict=True):
        draw_band(errors, np.array(DELAYS), one.scores[:, :, 0].T, way, marker="o")
        for ax, norms in zip((before, after), one.gradients, strict=True):
            draw_band(ax, lags, norms[:, lags], way)
    errors.axhline(1.0, color=style.MUTED, linewidth=0.7)
    errors.set(xlabel="delay, steps", ylabel="error over always answering 1", ylim=(5e-4, 2.0))
    for ax, words in ((before, "gradient at the start"), (after, "gradient after training")):
        ax.set(xlabel="lag, steps before the answer", ylim=(1e-9, 1e2))
        ax.set_title(words, loc="left", fontsize="medium")
    errors.set_title("sum of two numbers", loc="left", fontsize="medium")
    before.set_ylabel("norm over that at the answer")
    for ax, first in ((errors, 8), (before, 1), (after, 1)):
        ax.set(xscale="log", yscale="log", xlim=(first, 1.2 * DELAYS[-1]))
        ax.set_xticks([tick for tick in (1, 10, 50, 500) if tick >= first])
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter("{x:g}")
        ax.minorticks_off()
    after.tick_params(labelleft=False)
    figure.legend(*errors.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def draw_band(ax: Axes, x: np.ndarray, values: np.ndarray, way: Way, marker: str = "") -> None:
    """Draw the median over seeds, (n_seeds, n_x), within its range."""
    colour, dashes = way.looks
    ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0.0)
    middle = np.median(values, axis=0)
    ax.plot(x, middle, color=colour, linestyle=dashes, marker=marker, markersize=3.0, label=way.words)


if __name__ == "__main__":
    main()
