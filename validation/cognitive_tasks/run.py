"""Song, Yang and Wang (2016): networks that keep Dale's law remember, attend and combine (PyCog's stop rules)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

import cortexrnn as cx
from cortexrnn.circuit.changes import change_circuit
from cortexrnn.circuit.spec import Circuit
from cortexrnn.report import style
from cortexrnn.report.behaviour import plot_psychometric
from cortexrnn.training.behaviour import psychometric
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks.context import CONTEXTS, ContextDecision
from cortexrnn.training.tasks.contract import Batch, Performance
from cortexrnn.training.tasks.frequencies import ParametricMemory
from cortexrnn.training.tasks.senses import Multisensory
from cortexrnn.training.tasks.timeline import Uniform
from cortexrnn.training.trained import Trained
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Whole turns of all conditions: 10 of memory, 72 of context, 42 of the senses.
N_MEMORY, N_CHOICE, N_DECODED = 2000, 2520, 400
DELAYS = (Uniform(0.16, 0.24), Uniform(0.4, 0.6), Uniform(0.8, 1.2), Uniform(1.6, 2.4), Uniform(2.5, 3.5))
# PyCog's model file romo: share of the sources of either sign that a unit has.
SPARSE = {"excitatory": 0.1, "inhibitory": 0.5}
# Of the decoder: delay, time between looks, and ridge penalty relative to the mean sum of squares of a unit.
DELAY_S, LOOK_S, RIDGE = 3.0, 0.1, 0.3


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    seeds : tuple of int
        One network a seed and task.
    n_memory_units : int
        500 in PyCog.
    learning_rate : float
        Of the networks with a memory.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    n_memory_units: int = 500
    learning_rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class WorstOfTen(ParametricMemory):
    """Parametric memory that is judged by its worst condition."""

    def performance(self, outputs: np.ndarray, batch: Batch) -> Performance:
        """Give the fraction correct in the worst condition as that of all."""
        found = super().performance(outputs, batch)
        return found._replace(fraction=found.worst(self.condition_columns))


def network(n_units: int, seed: int, density: dict[str, float] | None = None) -> Circuit:
    """Draw a network like that of the paper, of any size."""
    changes = {
        "populations[excitatory].size": str(n_units - n_units // 5),
        "populations[inhibitory].size": str(n_units // 5),
        "wiring_seed": str(seed),
    }
    for source, share in (density or {}).items():
        for target in SPARSE:
            changes[f"projections[{source}->{target}].density"] = str(share)
    return change_circuit(cx.load_circuit("song_2016"), changes)


def learn_memory(seed: int, effort: Effort) -> tuple[Trained, int]:
    """Train a memory, with short delays first; gives it and the steps of all stages."""
    options = TrainOptions(
        max_steps=400, batch_size=32, learning_rate=effort.learning_rate, criterion=0.9, n_validation=640
    )
    found, n_steps = network(effort.n_memory_units, seed, SPARSE), 0
    for delay_s in DELAYS:
        found = train(found, WorstOfTen(delay_s=delay_s), seed=seed, options=options)
        n_steps += int(found.history["step"][-1])
    return found, n_steps


def learn_memory_at_once(seed: int, effort: Effort, n_steps: int) -> Trained:
    """Train a memory for a number of steps on long delays only."""
    options = TrainOptions(
        max_steps=n_steps, batch_size=32, learning_rate=effort.learning_rate, criterion=1.1, n_validation=640,
        evaluate_every=100,
    )  # fmt: skip
    circuit = network(effort.n_memory_units, seed, SPARSE)
    return train(circuit, ParametricMemory(delay_s=DELAYS[-1]), seed=seed, options=options)


def learn_choice(task: ContextDecision | Multisensory, seed: int, criterion: float) -> Trained:
    """Train a network on a task without a memory."""
    options = TrainOptions(criterion=criterion, max_steps=1000, n_validation=1000)
    return train(network(150, seed), task, seed=seed, options=options)


def new_trials(trained: Trained, n_trials: int, seed: int) -> pd.DataFrame:
    """Let a network answer trials that it has not seen."""
    batch = trained.task.trials(n_trials, seed=seed, mode="test")
    return trained.task.performance(trained.answer(batch, seed=seed), batch).trials


def decode_first(trained: Trained, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give how much of the first frequency is in the rates up to the second: squared correlation with a ridge fit."""
    task = ParametricMemory(delay_s=DELAY_S)
    batch = task.trials(N_DECODED, seed=seed, mode="test")
    every, last = round(LOOK_S / task.dt_s), round((task.fixation_s + task.first_s + DELAY_S) / task.dt_s)
    found = trained.record(batch, seed=seed)["rate"].isel(time=slice(every - 1, last, every))
    wanted = batch.table["first_hz"].to_numpy()
    wanted = wanted - wanted.mean()
    # Half of the trials judge what the others found; twenty are two turns of all conditions.
    is_fitted = np.arange(N_DECODED) % 20 < 10
    likeness = []
    for rate in np.moveaxis(found.values.astype(float), 1, 0):
        # Not brought to unit variance: rectified units that hardly ever speak would shout.
        centred = rate - rate[is_fitted].mean(axis=0)
        fitted = centred[is_fitted]
        gram = fitted.T @ fitted
        penalty = RIDGE * np.trace(gram) / len(gram)
        weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), fitted.T @ wanted[is_fitted])
        likeness.append(np.corrcoef(centred[~is_fitted] @ weights, wanted[~is_fitted])[0, 1])
    return found["time"].values, np.square(likeness)


def add_irrelevant(trials: pd.DataFrame) -> pd.DataFrame:
    """Add the coherence that does not count."""
    is_motion = trials["context"] == CONTEXTS[0]
    return trials.assign(irrelevant=np.where(is_motion, trials["colour"], trials["motion"]))


def share_of_choice(trials: pd.DataFrame, by: str) -> pd.DataFrame:
    """Give how often choice 0 was made, contexts as rows, values of a column as columns."""
    return (trials["response"] == 0).groupby([trials["context"], trials[by]]).mean().unstack()


def measure(effort: Effort | None = None) -> tuple[dict[str, float], dict[str, Any]]:
    """Train all networks, ask them new trials, and look for the first frequency in the memories."""
    values, evidence, memories, at_once = ask(effort or Effort())
    evidence["decoded"] = [decode_first(each, 500) for each in memories]
    evidence["decoded_at_once"] = decode_first(at_once, 500)
    return values, evidence


def ask(effort: Effort) -> tuple[dict[str, float], dict[str, Any], list[Trained], Trained]:
    """Train all networks and ask them new trials; gives the memories too, the one that met long delays at once last."""
    memories, n_steps = zip(*(learn_memory(seed, effort) for seed in effort.seeds), strict=True)
    at_once = learn_memory_at_once(effort.seeds[0], effort, max(n_steps))
    attentive = [learn_choice(ContextDecision(), seed, 0.93) for seed in effort.seeds]
    sensing = [learn_choice(Multisensory(), seed, 0.95) for seed in effort.seeds]
    remembered = [new_trials(each, N_MEMORY, 100 + seed) for seed, each in enumerate(memories)]
    attended = [add_irrelevant(new_trials(each, N_CHOICE, 200 + seed)) for seed, each in enumerate(attentive)]
    sensed = [new_trials(each, N_CHOICE, 300 + seed) for seed, each in enumerate(sensing)]
    irrelevant = [share_of_choice(trials, "irrelevant") for trials in attended]
    curves = [psychometric(trials, stimulus="rate_hz", by="modality") for trials in sensed]
    networks = [*memories, at_once, *attentive, *sensing]
    values = {
        "memory_worst": min(float(by_condition(trials).min()) for trials in remembered),
        "context": min(float(trials["correct"].mean()) for trials in attended),
        "senses": min(float(trials["correct"].mean()) for trials in sensed),
        "wrong_signs": float(sum(np.sum(each.weights * each.model.signs < 0.0) for each in networks)),
        "irrelevant": float(max(np.abs(share.iloc[:, -1] - share.iloc[:, 0]).max() for share in irrelevant)),
        "both_senses": float(np.mean([gain_of_both(each) for each in curves])),
        "memory_at_once": float(new_trials(at_once, N_MEMORY, 400)["correct"].mean()),
    }
    evidence = {
        "context": psychometric(attended[0], stimulus="signed_coherence", by="context"),
        "irrelevant": irrelevant[0],
        "senses": curves[0],
        "conditions": min((by_condition(trials) for trials in remembered), key=min),
    }
    return values, evidence, list(memories), at_once


def gain_of_both(curves: xr.Dataset) -> float:
    """Give the threshold with both senses over the lower one with a single sense."""
    sd = dict(zip(curves["curve"].values, curves["sd"].values, strict=True))
    return float(sd["both"] / min(sd["visual"], sd["auditory"]))


def by_condition(trials: pd.DataFrame) -> pd.Series:
    """Give the fraction correct by first and second frequency."""
    return trials.groupby(["first_hz", "second_hz"])["correct"].mean()


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw choices, and what is left of the first frequency."""
    figure.set_size_inches(figure.get_figwidth(), 1.6 * figure.get_figheight())
    axes = figure.subplots(2, 2)
    plot_psychometric(axes[0, 0], evidence["context"], xlabel="coherence, relevant or not")
    _draw_irrelevant(axes[0, 0], evidence["irrelevant"], [str(c) for c in evidence["context"]["curve"].values])
    plot_psychometric(axes[0, 1], evidence["senses"], xlabel="event rate (Hz)")
    # The rates that PyCog analyses.
    axes[0, 1].set(xlim=(8.5, 16.5), xticks=(9, 11, 13, 15))
    _draw_conditions(axes[1, 0], evidence["conditions"])
    _draw_decoded(axes[1, 1], evidence["decoded"], evidence["decoded_at_once"])


def _draw_irrelevant(ax: Axes, shares: pd.DataFrame, labels: list[str]) -> None:
    """Draw choices over the coherence that does not count."""
    for k, label in enumerate(labels):
        one = shares.loc[label]
        ax.plot(
            one.index, one.values, "o:", color=style.CONDITIONS[k], linewidth=0.8, markersize=4.5,
            markerfacecolor="white", zorder=3,
        )  # fmt: skip


def _draw_conditions(ax: Axes, correct: pd.Series) -> None:
    """Write the percentage correct at every pair of frequencies."""
    for (first_hz, second_hz), share in correct.items():
        colour = style.HISTORY_MODEL if first_hz > second_hz else style.PSTH_MODEL
        ax.text(first_hz, second_hz, f"{100.0 * share:.0f}", ha="center", va="center", color=colour, fontsize=9.5)
    ax.plot((6, 38), (6, 38), color=style.RULE, linewidth=0.8, zorder=0)
    ticks = (10, 18, 26, 34)
    ax.set(xlim=(6, 38), ylim=(6, 38), xticks=ticks, yticks=ticks, aspect="equal")
    ax.set(xlabel="first frequency (Hz)", ylabel="second frequency (Hz)")
    ax.set_title("correct (%)", fontsize=9.5, loc="right", color=style.INK)


def _draw_decoded(
    ax: Axes, decoded: list[tuple[np.ndarray, np.ndarray]], at_once: tuple[np.ndarray, np.ndarray]
) -> None:
    """Draw how much of the first frequency is in the rates over time."""
    task = ParametricMemory(delay_s=DELAY_S)
    starts_s = (task.fixation_s, task.fixation_s + task.first_s)
    ax.axvspan(*starts_s, color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
    ax.text(np.mean(starts_s), 1.04, "first", ha="center", fontsize=9.5)
    ax.text(starts_s[1] + 0.5 * DELAY_S, 1.04, "delay", ha="center", fontsize=9.5)
    for k, (time_s, explained) in enumerate(decoded):
        label = "short delays first" if k == 0 else None
        ax.plot(time_s, explained, color=style.HISTORY_MODEL, linewidth=1.2, label=label)
    ax.plot(*at_once, color=style.PSTH_MODEL, linewidth=1.2, label="long ones at once")
    ax.set(xlim=(0.0, decoded[0][0][-1]), ylim=(-0.03, 1.14))
    ax.set(xlabel="time (s)", ylabel="first frequency, decoded")
    ax.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    ax.legend(frameon=False, loc="center right", bbox_to_anchor=(1.0, 0.4), fontsize=9.0)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure one network a task, the memories of 100 units."""
    return measure(Effort(seeds=(1,), n_memory_units=100, learning_rate=2e-3))


if __name__ == "__main__":
    run_script("cognitive_tasks", __file__)
