"""Crutchfield and Feldman (2003): how much past two simple sources ask for, and how much of it trained networks use."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cortexrnn.report import style
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.hidden_sources import HiddenSource, even_process, golden_mean
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.losses import trial_losses
from cortexrnn.training.markov import MarkovChain, ratio_mean
from cortexrnn.training.memory_horizon import MemoryHorizon, memory_horizon
from cortexrnn.training.optimisers import Schedule
from cortexrnn.training.tasks.symbols import SymbolSource
from cortexrnn.training.trained import Trained
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_UNITS, DEPTHS = 16, range(1, 17)
# Steps of a trial in training with new sequences, and with stored ones and in tests; numbers of test trials.
N_NEW_STEPS, N_STEPS, N_TEST, TEST_SEED = 32, 64, 2000, 99
# Words whose probabilities are written out; orders of the sum of all that h_k are above the rate.
LONGEST_WORD, LONGEST_SUM = 14, 100
# Of learning from stored sequences: optimiser steps between looks at the held-out quarter, and how many looks without
# gain end it.
ROUND_STEPS, MOST_ROUNDS, PATIENCE, MAX_ORDER = 25, 40, 6, 14
FEW = 64
KINDS = {"gru": "GRU", "lstm": "LSTM", "vanilla": "vanilla"}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    kinds : tuple of str
        Cells that learn the even process from ever new sequences.
    sizes : tuple of int
        Numbers of stored sequences.
    seeds : tuple of int
        Of these sequences and the networks that learn from them.
    """

    kinds: tuple[str, ...] = tuple(KINDS)
    sizes: tuple[int, ...] = (4, 16, FEW, 256, 1024)
    seeds: tuple[int, ...] = (0, 1, 2)


class Learned(NamedTuple):
    """A network and the best chain, from the same sequences, on the same test trials.

    Attributes
    ----------
    network, chain : float
        Bits a symbol above the ideal observer.
    order : int
        Of the chain with the smallest loss in the test itself.
    gain, gain_se : float
        Bits a symbol by which the network is better, and its standard error over trials.
    n_steps : int
        Steps of the optimiser that the held-out sequences chose.
    """

    network: float
    chain: float
    order: int
    gain: float
    gain_se: float
    n_steps: int


def learn_new(source: HiddenSource, kind: str) -> Trained:
    """Train a network on ever new sequences."""
    options = TrainOptions(
        max_steps=1500, batch_size=64, learning_rate=0.01, schedule=Schedule(shape="cosine"), criterion=2.0,
        evaluate_every=500,
    )  # fmt: skip
    task = SymbolSource(source=source, n_length=N_NEW_STEPS)
    return train(CellNetwork(kind=kind, n_hidden=N_UNITS), task, seed=0, options=options)


def look(trained: Trained) -> MemoryHorizon:
    """Measure a horizon on new trials, with chains from some stored sequences."""
    task = replace(trained.task, n_length=N_STEPS, n_sequences=1024)
    batch = task.trials(N_TEST, seed=TEST_SEED, mode="test")
    # The golden mean's control is fitted to all, so that its own errors are none; the even process's to few.
    few = task.stored() if task.source == golden_mean() else task.stored()[:FEW]
    return memory_horizon(trained, batch, depths=DEPTHS, sequences=few)


def learn_stored(n_sequences: int, seed: int) -> tuple[Trained, int]:
    """Train a network on stored sequences of the even process; a quarter of them say when to stop."""
    stored = SymbolSource(n_length=N_STEPS, n_sequences=n_sequences, data_seed=seed)
    n_held = n_sequences // 4
    task = replace(stored, n_sequences=n_sequences - n_held)
    held = stored.stored()[-n_held:]
    batch = task.trials(n_held, seed=0)._replace(
        inputs=(held[:, :-1, None] == np.arange(2)).astype(np.float32), labels=np.ascontiguousarray(held[:, 1:])
    )
    options = TrainOptions(
        max_steps=ROUND_STEPS, batch_size=32, learning_rate=0.005, criterion=2.0, evaluate_every=ROUND_STEPS,
        n_validation=16,
    )  # fmt: skip
    network: CellNetwork | Trained = CellNetwork(kind="gru", n_hidden=N_UNITS)
    losses: list[float] = []
    best = None
    for number in range(MOST_ROUNDS):
        # Other batches in every round: they are drawn for the seed and the step within the round.
        network = train(network, task, seed=1000 * seed + number, options=options)
        losses.append(float(trial_losses(batch, network.answer(batch)).sum()))
        if losses[-1] == min(losses):
            best = network
        if number - int(np.argmin(losses)) >= PATIENCE:
            break
    return best, ROUND_STEPS * (1 + int(np.argmin(losses)))


def compare(n_sequences: int, seed: int) -> Learned:
    """Hold a network against the best chain from all the stored sequences."""
    trained, n_steps = learn_stored(n_sequences, seed)
    task = replace(trained.task, n_sequences=n_sequences)
    batch = task.trials(N_TEST, seed=TEST_SEED, mode="test")
    judged = task.performance(trained.answer(batch), batch).trials
    chain = MarkovChain(order=MAX_ORDER, n_symbols=2).fit(task.stored())
    grid = task.symbols(batch)
    losses = [
        -np.stack(chain.log_probability(grid, order=order))[:, 1:].mean(axis=1) / np.log(2.0)
        for order in range(MAX_ORDER + 1)
    ]
    order = int(np.argmin([each.mean() for each in losses]))
    own, ideal = (judged[name].to_numpy() for name in ("loss_bits", "ideal_loss_bits"))
    gain = ratio_mean(losses[order] - own, np.ones(N_TEST))
    return Learned((own - ideal).mean(), (losses[order] - ideal).mean(), order, *gain, n_steps)


def word_entropies(source: HiddenSource) -> np.ndarray:
    """Give the entropy of a symbol given 0, 1, ... others from the probabilities of all words."""
    blocks = [0.0]
    vectors = source.stationary[None]
    for _ in range(LONGEST_WORD + 1):
        vectors = np.concatenate([vectors @ matrix for matrix in source.tensor])
        probability = vectors.sum(axis=1)
        probability = probability[probability > 0.0]
        blocks.append(float(-(probability * np.log2(probability)).sum()))
    return np.diff(blocks)


def closed_entropies(n: int) -> np.ndarray:
    """Give h_k of the even process: only words of k ones leave the state open.

    Of even length they have the probability 2^(-k/2) and leave one third for a zero to come, of odd length
    2/3 2^(-(k-1)/2) and one quarter.
    """
    k = np.arange(n)
    even = 2.0 ** (-0.5 * k) * (_coin(1.0 / 3.0) - 2.0 / 3.0)
    odd = 2.0 / 3.0 * 2.0 ** (-0.5 * (k - 1.0)) * (_coin(0.25) - 0.5)
    return 2.0 / 3.0 + np.where(k % 2 == 0, even, odd)


def measure(effort: Effort | None = None) -> tuple[dict[str, float], dict[str, Any]]:
    """Compute the sources, train the networks, and shorten what they see."""
    effort = effort or Effort()
    even, golden = even_process(), golden_mean()
    horizons = {kind: look(learn_new(even, kind)) for kind in effort.kinds}
    control = look(learn_new(golden, "gru"))
    curve = {(size, seed): compare(size, seed) for size, seed in itertools.product(effort.sizes, effort.seeds)}
    found = [horizon.losses for horizon in horizons.values()]
    depths = [horizon.horizon or 0 for horizon in horizons.values()]
    few = [curve[FEW, seed] for seed in effort.seeds]
    rates = even.entropy_rate_bits, golden.entropy_rate_bits
    values = {
        "even_rate": rates[0],
        "golden_rate": rates[1],
        "even_excess": float((even.conditional_entropies(LONGEST_SUM) - rates[0]).sum()),
        "golden_excess": float((golden.conditional_entropies(LONGEST_SUM) - rates[1]).sum()),
        "routes": _routes_differ(even),
        "loss": float(found[0]["full_loss"]),
        "ideal": max(float(each["full_above_ideal"]) for each in (*found, control.losses)),
        "highest": max(float(each["above_exact"].max()) for each in (*found, control.losses)),
        "lowest": min(float((each["above_exact"] / each["above_exact_se"]).min()) for each in found),
        "shortest": float(min(depths)),
        "longest": float(max(depths)),
        "golden": float(control.horizon or 0),
        "control": float(control.losses["chain_excess"].sel(depth=1)),
        "gain": min(each.gain - 3.0 * each.gain_se for each in few),
        "too_high": min(float(each["chain_loss"][-1] - each["chain_loss"].min()) for each in found),
    }
    return values, {"horizons": horizons, "control": control, "curve": curve}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw excess losses over the number of symbols seen, and over the number of symbols learned from."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0), sharey=True)
    margin = evidence["control"].losses.attrs["margin"]
    _draw_depths(left, evidence["horizons"], evidence["control"])
    left.axhline(margin, color=style.MUTED, linewidth=0.8, linestyle=":", zorder=0)
    left.text(1.0, 1.1 * margin, "margin", fontsize=8.5, color=style.MUTED, va="bottom", ha="left")
    _draw_curve(right, evidence["curve"])
    left.set_yscale("log")
    left.set(ylim=(3e-5, 0.6), xlabel="symbols seen, k", ylabel="excess loss (bits a symbol)")
    # Plain numbers: the style of the package reads no mathematics.
    ticks = (1e-4, 1e-3, 1e-2, 1e-1)
    left.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    left.yaxis.set_minor_formatter(lambda value, _: "")


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure one kind of cell and one set of stored sequences; the targets are those of all."""
    return measure(Effort(kinds=("gru",), sizes=(16, FEW), seeds=(0,)))


def _draw_depths(ax: Axes, horizons: dict[str, MemoryHorizon], control: MemoryHorizon) -> None:
    """Draw networks that see the last symbols and chains of that order beside the exact curve."""
    first = next(iter(horizons.values())).losses
    depth, exact = first["depth"].values, first["exact"].values - float(first["entropy_rate"])
    ax.plot(depth, exact, color=style.INK, linewidth=1.2, label="even process, exact", zorder=2)
    marks = zip(horizons.items(), ("o", "^", "v"), (style.HISTORY_MODEL, *style.CONDITIONS[3:5]), strict=False)
    for (kind, found), marker, colour in marks:
        values = exact + found.losses["above_exact"].values
        ax.plot(depth, values, marker, color=colour, markersize=3.6, label=f"{KINDS[kind]}, last k", zorder=3)
    chain = exact + first["chain_above_exact"].values
    ax.plot(depth, chain, "s-", color=style.PSTH_MODEL, markersize=3.2, linewidth=1.0, label="Markov chain")
    ax.plot(
        depth, control.losses["above_exact"], "o", color=style.HISTORY_MODEL, markerfacecolor="white", markersize=3.6,
        label="GRU, golden mean",
    )  # fmt: skip
    horizon = next(iter(horizons.values())).horizon
    if horizon is not None:
        ax.axvline(horizon, color=style.RULE, linewidth=4.0, zorder=0)
    ax.legend(fontsize=8.0, loc="lower left", bbox_to_anchor=(0.0, 0.1), labelspacing=0.25, handlelength=1.4)


def _draw_curve(ax: Axes, curve: dict[tuple[int, int], Learned]) -> None:
    """Draw what network and best chain make of so many symbols."""
    sizes = sorted({size for size, _ in curve})
    for name, colour, marker in (("chain", style.PSTH_MODEL, "s"), ("network", style.HISTORY_MODEL, "o")):
        values = [[getattr(each, name) for (n, _), each in curve.items() if n == size] for size in sizes]
        at = np.array(sizes) * (N_STEPS + 1)
        words = "best Markov chain" if name == "chain" else "GRU"
        ax.plot(at, np.mean(values, axis=1), color=colour, linewidth=1.3, label=words)
        for k in range(len(values[0])):
            ax.plot(at, [row[k] for row in values], marker, color=colour, markersize=3.2)
    ax.set_xscale("log")
    ax.set_xticks(np.array(sizes) * (N_STEPS + 1), [f"{size * (N_STEPS + 1):,}".replace(",", " ") for size in sizes])
    ax.tick_params(axis="x", labelsize=8.0, rotation=30.0)
    ax.xaxis.set_minor_locator(_no_ticks())
    ax.set_xlabel("symbols learned from")
    ax.legend(fontsize=8.5, loc="lower left")


def _no_ticks() -> Any:
    """Give what sets no ticks."""
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _coin(p: float) -> float:
    """Give the entropy of a coin in bits."""
    return float(-p * np.log2(p) - (1.0 - p) * np.log2(1.0 - p))


def _routes_differ(even: HiddenSource) -> float:
    """Give the largest difference of h_k by beliefs, by all words, and in closed form."""
    n = LONGEST_WORD + 1
    routes: Iterable[np.ndarray] = (
        even.conditional_entropies(LONGEST_WORD), word_entropies(even)[:n], closed_entropies(n)
    )  # fmt: skip
    return float(np.ptp(np.stack(list(routes)), axis=0).max())


if __name__ == "__main__":
    run_script("memory_horizon", __file__)
