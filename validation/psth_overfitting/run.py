"""What an unsmoothed PSTH costs on fresh trials, and what it pretends to gain on the trials that it was made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from cortexrnn.encoding import PSTH, Constant, UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.spikes.trial_design import TrialDesign
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LN2 = np.log(2.0)
BIN_S, N_BINS, MEAN = 0.001, 200, 0.1
# Spikes of a trial, so that costs are in bits per spike.
MU = N_BINS * MEAN
N_TRIALS = (10, 20, 50, 100, 200)
TINY_FLOOR = 1e-9
N_REPEATS, N_QUICK = 400, 100
# A bandwidth far below a bin does not smooth.
UNSMOOTHED, SMOOTHED = PSTH(bandwidths_s=(1e-6,), uses_elephant=False), PSTH(uses_elephant=False)


def homogeneous(rng: np.random.Generator, n_trials: int) -> UnitTrials:
    """Draw trials of a constant rate."""
    design = TrialDesign(n_trials=n_trials, duration_s=N_BINS * BIN_S, history_s=0.0)
    return unit_trials(design.trials(rng.poisson(MEAN, (n_trials, N_BINS)).astype(np.uint16)))


def on_fresh_trials(log_mu: np.ndarray, log_constant: np.ndarray) -> float:
    """Give the expected gain over a constant on trials that are still to come, in bits per spike; exact."""
    return float((MEAN * (log_mu - log_constant) - np.exp(log_mu) + np.exp(log_constant)).sum() / (MU * LN2))


def on_its_trials(trials: UnitTrials, log_mu: np.ndarray, log_constant: np.ndarray) -> float:
    """Give the gain over a constant on the trials themselves, in bits per spike."""
    better, null = (trial_log_likelihood(trials, values).sum() for values in (log_mu, log_constant))
    return float((better - null) / (LN2 * trials.spikes_per_trial.sum()))


def one_recording(rng: np.random.Generator, n_trials: int) -> dict[str, float]:
    """Fit PSTHs to one recording; give their gains over a constant rate, all of them false."""
    trials = homogeneous(rng, n_trials)
    fitted, constant = UNSMOOTHED.fit(trials), Constant().fit(trials)
    log_constant = constant.log_mu(trials)
    with np.errstate(divide="ignore"):
        plain = np.log(trials.counts.mean(axis=0))
    fresh = {
        "fresh": fitted.log_mu(trials)[0],
        "tiny_floor": np.maximum(plain, np.log(TINY_FLOOR)),
        "smoothed": SMOOTHED.fit(trials).log_mu(trials)[0],
    }
    inside = {
        "plain": np.tile(plain, (n_trials, 1)),
        "inside": fitted.log_mu(trials),
        "left_out": fitted.on_training(trials, np.zeros(trials.counts.shape)),
    }
    gains = {name: on_fresh_trials(log_mu, log_constant[0]) for name, log_mu in fresh.items()}
    return gains | {name: on_its_trials(trials, log_mu, log_constant) for name, log_mu in inside.items()}


def first_order_cost(n_trials: np.ndarray) -> np.ndarray:
    """Give the cost of one free rate a bin, to first order in 1 / n."""
    return -(N_BINS - 1) / (2.0 * n_trials * MU * LN2)


def exact_cost(n_trials: float) -> float:
    """Give the cost of a PSTH with our floor over the true rate, summed over Poisson counts."""
    count = np.arange(400)
    log_mu = np.log((count + 0.5) / (n_trials + 0.5 / MEAN))
    gain = MEAN * (log_mu - np.log(MEAN)) - np.exp(log_mu) + MEAN
    return float(stats.poisson.pmf(count, n_trials * MEAN) @ gain / (MEAN * LN2))


def exact_inside(n_trials: float) -> float:
    """Give the gain of the plain mean count of every bin on its own trials, summed over Poisson counts."""
    mean, count = n_trials * MEAN, np.arange(1, 400)
    return float(stats.poisson.pmf(count, mean) @ (count * np.log2(count / mean)) / mean)


def measure_repeats(n_repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Average over recordings of every number of trials."""
    curves: dict[str, list[float]] = {}
    for n_trials in N_TRIALS:
        rng = stream(0, "psth", n_trials)
        found = [one_recording(rng, n_trials) for _ in range(n_repeats)]
        for name in found[0]:
            curves.setdefault(name, []).append(float(np.mean([gains[name] for gains in found])))
    at = {n_trials: k for k, n_trials in enumerate(N_TRIALS)}
    values = {f"cost_{n}": curves["fresh"][at[n]] for n in (50, 100, 200)}
    values |= {f"inside_{n}": curves["plain"][at[n]] for n in (10, 20, 50)}
    values |= {f"left_out_{n}": curves["left_out"][at[n]] for n in (10, 20, 50)}
    values |= {"tiny_floor_50": curves["tiny_floor"][at[50]], "smoothed_50": curves["smoothed"][at[50]]}
    return values, curves


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Average over 400 recordings."""
    return measure_repeats(N_REPEATS)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Average over 100 recordings."""
    return measure_repeats(N_QUICK)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw gains over a constant rate against the number of trials: fresh trials left, the PSTH's own right."""
    left, right = figure.subplots(1, 2)
    n_trials = np.geomspace(8, 250, 100)
    first_order = first_order_cost(n_trials)
    left.plot(n_trials, first_order, color=style.NOT_HISTORY, linestyle="--", label="first order in 1/n", zorder=1)
    left.plot(n_trials, [exact_cost(n) for n in n_trials], color=style.NOT_HISTORY, label="exact", zorder=1)
    right.plot(n_trials, [exact_inside(n) for n in n_trials], color=style.NOT_HISTORY, label="exact", zorder=1)
    for ax, kinds in ((left, LEFT), (right, RIGHT)):
        for name, (words, marker, colour) in kinds.items():
            ax.plot(N_TRIALS, evidence[name], marker, color=colour, label=words, markersize=5.0)
        ax.axhline(0.0, color=style.MUTED, linewidth=0.7, zorder=0)
        ax.set(xscale="log", xlabel="trials n")
        ax.set_xticks(N_TRIALS, [str(n) for n in N_TRIALS])
        ax.minorticks_off()
    left.set(ylabel="gain over a constant (bits/spike)", title="fresh trials", ylim=(-0.9, 0.08))
    right.set(title="the trials it was made of")
    left.legend(loc="lower right", fontsize=9.0)
    right.legend(loc="upper right", fontsize=9.0)


LEFT = {
    "fresh": ("unsmoothed", "o", style.PSTH_MODEL),
    "tiny_floor": ("floor of 1e-9", "x", style.CONDITIONS[4]),
    "smoothed": ("bandwidth chosen", "s", style.HISTORY_MODEL),
}
RIGHT = {
    "plain": ("own spikes inside", "o", style.PSTH_MODEL),
    "inside": ("the same, our floor", "x", style.CONDITIONS[4]),
    "left_out": ("own spikes left out", "s", style.HISTORY_MODEL),
}


if __name__ == "__main__":
    run_script("psth_overfitting", __file__)
