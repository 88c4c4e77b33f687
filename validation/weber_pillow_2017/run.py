"""Weber and Pillow (2017): a GLM fitted to Izhikevich neurons fires as they do, on steps that it has not seen."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from scipy.signal import fftconvolve

from cortexrnn.encoding import fit_poisson
from cortexrnn.encoding.basis import coupling_basis
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DT_S, CYCLE, STEP = 1e-4, 10_000, 5_000
NOISE, NOISE_BINS = 0.05, 10
STIMULUS_S, HISTORY_S, RIDGE = 0.1, 0.2, 0.01
N_TRAINING, N_TEST, N_RUNS, N_RECORDINGS = 30, 20, 10, 3
N_INTERVALS = 10
LARGEST_COUNT = 0.05
N_DRAWN = 5


@dataclass(frozen=True, slots=True)
class Neuron:
    """A published neuron: a, b, c, d, currents of the steps, current between them, length of a step in time steps.

    `pattern` says by what its spikes are judged beside their number.
    """

    words: str
    parameters: tuple[float, float, float, float]
    heights: tuple[float, ...]
    pattern: str = "sequence"
    rest: float = 0.0
    n_on: int = STEP


NEURONS = {
    "RS": Neuron("tonic spiking", (0.02, 0.2, -65.0, 6.0), (14.0,)),
    "PS": Neuron("phasic spiking", (0.02, 0.25, -65.0, 6.0), (0.5,), "latency"),
    "TB": Neuron("tonic bursting", (0.02, 0.2, -50.0, 2.0), (10.0,)),
    "PB": Neuron("phasic bursting", (0.02, 0.25, -55.0, 0.05), (0.6,)),
    "MM": Neuron("mixed mode", (0.02, 0.2, -55.0, 4.0), (10.0,)),
    "FA": Neuron("frequency adaptation", (0.01, 0.2, -65.0, 8.0), (20.0,)),
    "E1": Neuron("type I", (0.02, -0.1, -55.0, 6.0), tuple(np.arange(15.0, 30.5)), "heights"),
    "E2": Neuron("type II", (0.2, 0.26, -65.0, 0.0), tuple(np.arange(0.1, 0.71, 0.025)), "heights"),
    "ES": Neuron("rebound spike", (0.03, 0.25, -60.0, 4.0), (-5.0,), "latency", n_on=2_000),
    "EB": Neuron("rebound burst", (0.03, 0.25, -52.0, 0.0), (-5.0,), n_on=2_000),
    "IS": Neuron("inhibition: spiking", (-0.02, -1.0, -60.0, 8.0), (70.0,), "interval", rest=80.0),
    "IB": Neuron("inhibition: bursting", (-0.026, -1.0, -45.0, 0.0), (70.0,), rest=80.0),
}
# What comes out for them depends on the recording; they count, and have no line of their own.
UNCERTAIN = ("E2", "IB")
# By how much a pattern may be off: 1 minus a correlation, milliseconds, a share of the interval.
LARGEST_PATTERN = {"sequence": 0.05, "heights": 0.1, "latency": 2.0, "interval": 0.05}


class Held(NamedTuple):
    """Held-out steps: heights, the neuron's spikes (n_steps, n_bins), the model's (n_runs, n_steps, n_bins)."""

    height: np.ndarray
    neuron: np.ndarray
    model: np.ndarray


class Shown(NamedTuple):
    """One recording's held-out steps, whether the neuron is reproduced, and the errors of all recordings."""

    held: Held
    is_reproduced: bool
    errors: dict[str, float]


@numba.njit(cache=True, nogil=True)
def izhikevich(current, a, b, c, d, v, u):
    """Run the published equations with the published order of updates, one step a bin of 0.1 ms."""
    spikes = np.zeros(current.size)
    for t in range(current.size - 1):
        v += 0.1 * (0.04 * v * v + 5.0 * v + 140.0 - u + current[t])
        u += 0.1 * a * (b * v - u)
        if v > 30.0:
            v = c
            u += d
            spikes[t + 1] = 1.0
    return spikes


@numba.njit(cache=True, nogil=True)
def run_freely(log_mu, effect, uniforms):
    """Draw spikes with a chance of 1 - exp(-mu) that hear their own after-effects."""
    spikes, reached = np.zeros(log_mu.size), log_mu.copy()
    for t in range(log_mu.size):
        if uniforms[t] < -math.expm1(-math.exp(min(reached[t], 50.0))):
            spikes[t] = 1.0
            for lag in range(min(effect.size, log_mu.size - 1 - t)):
                reached[t + 1 + lag] += effect[lag]
    return spikes


def fit_and_free(name: str, seed: int) -> Held:
    """Drive a neuron by steps with weak noise, fit a GLM to some of them, and let it run on the others."""
    neuron, rng = NEURONS[name], stream(seed, "weber pillow", name)
    height = np.resize(neuron.heights, N_TRAINING + N_TEST)[rng.permutation(N_TRAINING + N_TEST)]
    clean = np.full((height.size, CYCLE), neuron.rest)
    clean[:, : neuron.n_on] = height[:, None]
    size = max(abs(h - neuron.rest) for h in neuron.heights)
    noise = np.repeat(rng.normal(0.0, NOISE, clean.size // NOISE_BINS), NOISE_BINS)
    drive = (clean.ravel() - neuron.rest) / size + noise
    # Half a second at rest comes first, from where the authors start.
    start = (-100.0, 80.0) if neuron.rest else (-70.0, -14.0)
    current = np.r_[np.full(STEP, neuron.rest), neuron.rest + size * drive]
    spikes = izhikevich(current, *neuron.parameters, *start)[STEP:]
    stimulus, history = coupling_basis(STIMULUS_S, DT_S), coupling_basis(HISTORY_S, DT_S)
    features = [filtered(drive, shape / shape.sum()) for shape in stimulus]
    features += [filtered(spikes, shape) for shape in history]
    design = np.column_stack([np.ones(drive.size), *features])
    n_training, n_given = N_TRAINING * CYCLE, 1 + len(stimulus)
    fit = fit_poisson(design[:n_training], spikes[:n_training], ridge=RIDGE)
    given = design[n_training:, :n_given] @ fit.coefficients[:n_given]
    effect = fit.coefficients[n_given:] @ history
    runs = [run_freely(given, effect, rng.random(given.size)) for _ in range(N_RUNS)]
    shape = (N_TEST, CYCLE)
    return Held(height[N_TRAINING:], spikes[n_training:].reshape(shape), np.reshape(runs, (N_RUNS, *shape)))


def filtered(signal: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Filter what came before each bin."""
    return fftconvolve(signal, np.r_[0.0, shape])[: signal.size]


def count_error(held: list[Held]) -> float:
    """Give how far the model's number of spikes is off, as a share of the neuron's; mean over recordings."""
    return float(np.mean([abs(h.model.sum() / N_RUNS / h.neuron.sum() - 1.0) for h in held]))


def pattern_error(held: list[Held], neuron: Neuron) -> float:
    """Give how far the order of the spikes is off, by the measure that the neuron is judged by."""
    steps = np.concatenate([h.neuron for h in held])
    copies = np.concatenate([h.model for h in held], axis=1)
    both = steps, copies.reshape(-1, CYCLE)
    if neuron.pattern == "latency":
        first = [np.median([np.flatnonzero(row)[0] for row in rows if row.any()]) for rows in both]
        return float(abs(first[1] - first[0]) * DT_S * 1e3)
    if neuron.pattern == "heights":
        height = np.concatenate([h.height for h in held])
        counts = steps.sum(axis=1), copies.sum(axis=2).mean(axis=0)
        by_height = [[n[height == h].mean() for h in np.unique(height)] for n in counts]
        return 1.0 - float(np.corrcoef(*by_height)[0, 1])
    # A burst of one spike more or less leaves a mixture of short and long intervals: means, and not medians.
    typical = [np.nanmean([first_log_intervals(row) for row in rows], axis=0) for rows in both]
    if neuron.pattern == "interval":
        return float(abs(np.expm1(np.nanmean(typical[1] - typical[0]))))
    kept = np.isfinite(typical[0]) & np.isfinite(typical[1])
    return 1.0 - float(np.corrcoef(typical[0][kept], typical[1][kept])[0, 1])


def first_log_intervals(row: np.ndarray) -> np.ndarray:
    """Give the logarithms of the first ten intervals after the onset of a step; NaN where there are fewer."""
    intervals = np.log(np.diff(np.flatnonzero(row))[:N_INTERVALS])
    return np.pad(intervals, (0, N_INTERVALS - intervals.size), constant_values=np.nan)


def measure_recordings(n_recordings: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Judge every neuron."""
    values, evidence = {"n_reproduced": 0.0}, {}
    for name, neuron in NEURONS.items():
        held = [fit_and_free(name, seed) for seed in range(n_recordings)]
        with warnings.catch_warnings():
            # Nobody has a tenth interval where there are six spikes.
            warnings.filterwarnings("ignore", "Mean of empty slice")
            errors = {"count": count_error(held), "pattern": pattern_error(held, neuron)}
        is_reproduced = errors["count"] <= LARGEST_COUNT and errors["pattern"] <= LARGEST_PATTERN[neuron.pattern]
        values["n_reproduced"] += is_reproduced
        if name not in UNCERTAIN:
            values |= {f"{kind}_{name}": error for kind, error in errors.items()}
        evidence[name] = Shown(held[0], is_reproduced, errors)
    return values, evidence


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit three recordings of every neuron."""
    return measure_recordings(N_RECORDINGS)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit one recording of every neuron."""
    return measure_recordings(1)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw a held-out step of every neuron: the current, the neuron's spikes, and those of five runs of its model."""
    for ax, (name, shown) in zip(figure.subplots(3, 4, sharex=True).flat, evidence.items(), strict=True):
        neuron, held = NEURONS[name], shown.held
        # Of several heights one at which it fires.
        step = int(np.argsort(held.height)[3 * held.height.size // 4])
        rise = np.sign(held.height[step] - neuron.rest)
        on_ms = neuron.n_on * DT_S * 1e3
        current = 6.4 + 0.8 * ((rise < 0) + rise * np.array([0, 0, 1, 1, 0, 0]))
        ax.plot([-100.0, 0.0, 0.0, on_ms, on_ms, 700.0], current, color=style.MUTED, linewidth=1.0)
        rows = [held.neuron[step], *held.model[:N_DRAWN, step]]
        for k, row in enumerate(rows):
            colour = style.INK if k == 0 else style.HISTORY_MODEL
            time_ms = np.flatnonzero(row) * DT_S * 1e3
            ax.vlines(time_ms, 4.6 - k - (k > 0) * 0.3, 5.4 - k - (k > 0) * 0.3, color=colour, linewidth=0.5)
        ax.set_title(neuron.words, fontsize=8.0, pad=2.0, color=style.INK if shown.is_reproduced else style.PSTH_MODEL)
        ax.set(xlim=(-100.0, 700.0), ylim=(-2.4, 7.6), xticks=[], yticks=[])
        ax.spines[["left", "bottom"]].set_visible(False)
    ax.plot([500.0, 700.0], [-2.0, -2.0], color=style.INK, linewidth=1.0)
    ax.annotate("200 ms", (490.0, -2.0), ha="right", va="center", fontsize=8.0)


if __name__ == "__main__":
    run_script("weber_pillow_2017", __file__)
