"""Masse et al. (2019): a sample is held by the efficacies of synapses while rates have all but forgotten it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

import cortexrnn as cx
from cortexrnn.cells.rate import rate_forward, rate_start
from cortexrnn.cells.rate_parts import STATES, empty_rate_tape, pack_rate_weights
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.training.circuit_model import Trainable
from cortexrnn.training.decoding import DecodeOptions, compare_sources
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.penalties import Penalties
from cortexrnn.training.tasks.contract import Batch
from cortexrnn.training.tasks.matching import DelayedMatch
from cortexrnn.training.tile import from_lanes, to_lanes
from cortexrnn.training.trained import Trained
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS, N_TRIALS = range(10), 63 * N_LANES
TASK = DelayedMatch(dt_s=0.02)
# As in the authors' code: 0.02 times the mean square of the rates.
SPIKE_COST = 0.02
# Intervals are those of networks, not of trials: no resamples.
DECODING = DecodeOptions(n_folds=8, penalties=(0.01,), n_shuffles=1, n_bootstrap=1, window_s=0.1)
# Which states come from another trial at the start of the test.
SWAPS = {"none": (), "rates": ("y", "rate"), "synapses": ("u", "x")}
SOURCES = {"synapses": style.HISTORY_MODEL, "rates": style.PSTH_MODEL}


def train_one(seed: int) -> Trained:
    """Draw a network and train it to 95 % correct."""
    circuit = replace(cx.load_circuit("masse_2019"), wiring_seed=seed)
    options = TrainOptions(
        max_steps=2000, batch_size=64, learning_rate=5e-3, penalties=Penalties(l2_rates=SPIKE_COST),
        criterion=0.95, evaluate_every=25,
    )  # fmt: skip
    trainable = Trainable(reads=("excitatory_facilitating", "excitatory_depressing"))
    return train(circuit, TASK, seed=seed, options=options, trainable=trainable)


def decode_over_time(trained: Trained, seed: int) -> xr.Dataset:
    """Give how well the sample is decoded from rates and from efficacies in windows of 100 ms of new trials.

    The same with shuffled labels beside it.
    """
    batch = TASK.trials(N_TRIALS, seed=seed, mode="test")
    found = trained.record(batch, seed=seed)
    states = {"synapses": found["u"] * found["x"], "rates": found["rate"]}
    both = compare_sources(states, batch.table["sample_deg"], options=DECODING, seed=seed)
    accuracy = {}
    for name, decoding in both.decodings.items():
        accuracy[name] = decoding.score
        accuracy[f"{name}_shuffled"] = decoding.found["accuracy_shuffled"].isel(shuffle=0)
    return xr.Dataset(accuracy)


def swapped_performance(trained: Trained, seed: int) -> dict[str, float]:
    """Give the fraction correct where rates or synapses are those of another trial when the test begins.

    Whole trials are run up to the test; from there on again with every kind of exchange, with the same noise.
    """
    model, batch = trained.model, TASK.trials(N_TRIALS, seed=seed, mode="test")
    weights = model.core_weights()
    packed = pack_rate_weights(weights)
    lanes = to_lanes(batch.inputs, model.dtype)
    first = round(batch.table["test_start_s"].iloc[0] / TASK.dt_s)
    n_left = TASK.n_steps - first
    other = stream(seed, "swap").permutation(N_TRIALS)
    noises = [model.noise((seed, "answer"), range(k * N_LANES, (k + 1) * N_LANES)) for k in range(len(lanes))]
    before = [empty_rate_tape(first, weights) for _ in lanes]
    keep, group = np.empty(0, model.dtype), np.zeros(N_LANES, np.int64)
    for inputs, noise, tape in zip(lanes, noises, before, strict=True):
        rate_start(model.units, weights, group, tape)
        rate_forward(inputs[:first], noise.block(first)[:-1], keep, model.units, weights, packed, tape)
    rest = [(inputs[first:], noise.block(n_left)[:-1]) for inputs, noise in zip(lanes, noises, strict=True)]
    performance = {}
    for name, fields in SWAPS.items():
        after = [empty_rate_tape(n_left, weights) for _ in lanes]
        for field in STATES:
            states = from_lanes([getattr(tape, field)[-1:] for tape in before], N_TRIALS)
            laid = to_lanes(states[other] if field in fields else states, model.dtype)
            for tape, values in zip(after, laid, strict=True):
                getattr(tape, field)[0] = values[0]
        for (inputs, current), tape in zip(rest, after, strict=True):
            rate_forward(inputs, current, keep, model.units, weights, packed, tape)
        rates = from_lanes([tape.rate[1:] for tape in after], N_TRIALS)
        performance[name] = _judge(trained, batch, rates, first)
    return performance


def _judge(trained: Trained, batch: Batch, rates: np.ndarray, first: int) -> float:
    """Judge the answers that rates give from step `first` on; those before it do not count."""
    readout, bias = trained.model.readout()
    outputs = np.zeros((N_TRIALS, TASK.n_steps, TASK.n_outputs))
    outputs[:, first:] = rates @ readout.T + bias
    return TASK.performance(outputs, batch).fraction


def measure(seeds: Iterable[int] = SEEDS) -> tuple[dict[str, float], dict[str, Any]]:
    """Train the networks, decode the sample over time, and exchange states at the end of the delay."""
    networks = [train_one(seed) for seed in seeds]
    decoded = xr.concat([decode_over_time(each, 1000 + each.seed) for each in networks], dim="network")
    swaps = [swapped_performance(each, 2000 + each.seed) for each in networks]
    # The last window of the delay ends where the test begins.
    last = decoded.sel(time=TASK.fixation_s + TASK.sample_s + TASK.delay_s, method="nearest")
    ahead = (last["synapses"] - last["rates"]).values
    values = {
        "share": float(np.mean(ahead > 0.0)),
        "synapses": float(last["synapses"].min()),
        "margin": float(ahead.min()),
        "shuffled": float(max(decoded[f"{name}_shuffled"].max() for name in SOURCES)),
        "performance": min(each["none"] for each in swaps),
        "share_swapped": float(np.mean([each["synapses"] < each["rates"] for each in swaps])),
        "wrong_signs": float(max(np.sum(each.weights * each.model.signs < 0.0) for each in networks)),
    }
    return values, {"last": last, "decoded": decoded, "swaps": swaps, "networks": networks}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw accuracy over time, mean and every network, and what exchanged states cost."""
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1.0), sharey=True)
    decoded, swaps = evidence["decoded"], evidence["swaps"]
    for start_s, name in ((TASK.fixation_s, "sample"), (TASK.fixation_s + TASK.sample_s + TASK.delay_s, "test")):
        left.axvspan(start_s, start_s + TASK.sample_s, color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
        left.text(start_s + 0.25, 1.04, name, ha="center", fontsize=9.0)
    for (name, colour), height in zip(SOURCES.items(), (0.98, 0.55), strict=True):
        left.plot(decoded["time"], decoded[name].T, color=colour, linewidth=0.6, alpha=0.35)
        left.plot(decoded["time"], decoded[name].mean("network"), color=colour, linewidth=1.8)
        left.text(1.9, height, name, color=colour, ha="right", va="top")
    left.axhline(1.0 / TASK.n_directions, color=style.MUTED, linewidth=0.8, linestyle=":")
    left.set(
        ylim=(0.0, 1.1), xlabel="time (s)", ylabel="fraction of trials", xlim=(0.0, float(decoded["time"][-1]))
    )
    colours = (style.INK, SOURCES["rates"], SOURCES["synapses"])
    heights = np.array([list(each.values()) for each in swaps])
    right.plot(heights.T, color=style.OBSERVED, linewidth=0.6, zorder=1)
    for k, colour in enumerate(colours):
        right.plot(np.full(len(heights), k), heights[:, k], "o", color=colour, markersize=4.0, zorder=2)
    right.axhline(0.5, color=style.MUTED, linewidth=0.8, linestyle=":")
    right.set_xticks(range(len(SWAPS)), SWAPS)
    right.set(xlim=(-0.5, len(SWAPS) - 0.5), xlabel="of another trial")
    right.set_title("correct", fontsize=10.5)
    left.set_title("sample decoded", fontsize=10.5)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure one network; the targets are those of ten."""
    return measure(seeds=range(1))


if __name__ == "__main__":
    run_script("masse_2019", __file__)
