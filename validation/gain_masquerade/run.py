"""Dead times are history; a trial gain only looks like it, unless a causal gain stands below or trials are swapped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import stats

from cortexrnn.encoding import PSTH, CausalGain, HistoryGLM, Renewal, UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.evaluation.scores import Gain, gain_interval
from cortexrnn.evaluation.work import FoldFits
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.surrogates import exchange_trials
from cortexrnn.spikes.trial_design import TrialDesign
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LN2 = np.log(2.0)
BIN_S, N_TRIALS, N_FOLDS, N_MANY = 0.001, 400, 5, 6000
DEAD_TIME_S, GAIN_VARIANCE = 0.003, 0.25
WINDOWS_S = (0.003, 0.005, 0.02, 0.1, 0.2, 0.5)
SMALL = {"textcoords": "offset points", "fontsize": 9.0, "ha": "right"}
Scores = dict[str, Gain]


@dataclass(frozen=True, kw_only=True, slots=True)
class TruePSTH(Rung):
    """A rung that is told the true rate: log expected counts of every bin."""

    name: ClassVar[str] = "truth"
    meaning: ClassVar[str] = "true PSTH"
    baseline: Rung | None = None
    log_rate: tuple[float, ...]

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> Fitted:
        """Learn nothing."""
        return KnownRate(below=None, log_rate=np.array(self.log_rate))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KnownRate(Fitted):
    """The true rate."""

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None
    log_rate: np.ndarray

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give every trial the same rate."""
        return np.tile(self.log_rate, (trials.n_trials, 1))


def record(n_trials: int, seed: int, *, history_s: float = 0.0, **law: float) -> tuple[UnitTrials, TruePSTH]:
    """Draw trials of 1 s at 15 + 15 sin^2 Hz with a dead time or a gain."""
    design = TrialDesign(n_trials=n_trials, duration_s=1.0, history_s=history_s)
    rate_hz = design.rate_hz(lambda time_s: 15.0 + 15.0 * np.sin(2.0 * np.pi * time_s) ** 2)
    unit = unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, seed=seed, **law)))
    return unit, TruePSTH(log_rate=tuple(np.log(rate_hz[0] * BIN_S)))


def gains_over(baseline: Rung, others: dict[str, Rung], unit: UnitTrials) -> Scores:
    """Give the held-out gains of rungs over one, in contiguous folds."""
    specs = {"baseline": baseline} | others
    fold = assign_folds(unit.condition, N_FOLDS)
    scores = {name: np.empty(unit.n_trials) for name in specs}
    for k in range(N_FOLDS):
        fits = FoldFits(unit.take(fold != k), unit.take(fold == k))
        for name, spec in specs.items():
            scores[name][fold == k] = trial_log_likelihood(fits.test, fits.fit(spec)[1])
    return {name: gain_interval(scores[name], scores["baseline"], unit.spikes_per_trial, N_FOLDS) for name in others}


def history_over(baseline: Rung) -> dict[str, Rung]:
    """Give history GLMs on a rung, one a window."""
    glm = HistoryGLM(baseline=baseline)
    return {f"{1e3 * window_s:g}": replace(glm, history_s=window_s) for window_s in WINDOWS_S}


def dead_time(seed: int) -> Scores:
    """V3: history over the fitted PSTH of a unit with a dead time."""
    unit, _ = record(N_TRIALS, seed, history_s=0.5, dead_time_s=DEAD_TIME_S)
    return gains_over(PSTH(), history_over(PSTH()) | {"renewal": Renewal(baseline=PSTH())}, unit)


def gain(seed: int) -> dict[str, Scores]:
    """V4 and V5: history over the true PSTH and over M3, on a unit with a gain and on its exchanged trials."""
    unit, truth = record(N_TRIALS, seed, gain_variance=GAIN_VARIANCE)
    counts = exchange_trials(unit.counts, unit.observed, unit.condition, stream(seed, "exchange"))
    exchanged = unit._replace(counts=counts)
    longer, _ = record(N_TRIALS, seed, history_s=0.5, gain_variance=GAIN_VARIANCE)
    return {
        "truth": gains_over(truth, history_over(truth), unit),
        "M3": gains_over(CausalGain(), history_over(CausalGain()), unit),
        "exchanged": gains_over(truth, history_over(truth), exchanged),
        "exchanged M3": gains_over(CausalGain(), {"500": HistoryGLM()}, exchanged),
        "M3 before": gains_over(CausalGain(), {"500": HistoryGLM()}, longer),
    }


def exact_dead_time(log_rate: tuple[float, ...]) -> float:
    """Give the mean of -log2(1 - 3 q) over the spikes of the scored second."""
    q = np.exp(log_rate[-round(1.0 / BIN_S) :])
    return float(-q @ np.log2(1.0 - round(DEAD_TIME_S / BIN_S) * q) / q.sum())


def exact_gain(log_rate: tuple[float, ...]) -> float:
    """Give the divergence of negative binomial from Poisson counts, in bits per spike."""
    mean, size, n = float(np.exp(log_rate[-round(1.0 / BIN_S) :]).sum()), 1.0 / GAIN_VARIANCE, np.arange(400)
    law = stats.nbinom(size, size / (size + mean))
    return float(law.pmf(n) @ (law.logpmf(n) - stats.poisson.logpmf(n, mean)) / (mean * LN2))


def measure_recordings(n_recordings: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Average gains over recordings."""
    dead = [dead_time(seed) for seed in range(n_recordings)]
    gained = [gain(seed) for seed in range(n_recordings)]
    many, truth = record(N_MANY, 0, gain_variance=GAIN_VARIANCE)
    causal = gains_over(truth, {"gain": CausalGain(baseline=truth)}, many)["gain"].value
    curves = {"dead time": average(dead)} | {name: average([found[name] for found in gained]) for name in gained[0]}
    over_truth, exchanged = curves["truth"], curves["exchanged"]
    values = {
        "dead_exact": exact_dead_time(truth.log_rate),
        "dead_short": curves["dead time"]["3"],
        "dead_long": curves["dead time"]["500"] - curves["dead time"]["3"],
        "dead_renewal": curves["dead time"]["renewal"],
        "gain_short": over_truth["5"],
        "gain_growth": over_truth["100"] - over_truth["5"],
        "gain_growth_long": over_truth["500"] - over_truth["100"],
        "gain_long": over_truth["500"],
        "causal_exact": exact_gain(truth.log_rate),
        "causal": causal,
        "over_causal": curves["M3"]["500"],
        "over_causal_before": curves["M3 before"]["500"],
        "over_causal_found": float(np.mean([found["M3"]["500"].low > 0.0 for found in gained])),
        "exchanged": exchanged["500"],
        "exchanged_over_causal": curves["exchanged M3"]["500"],
    }
    return values, {"curves": curves, "causal": values["causal_exact"], "dead": values["dead_exact"]}


def average(recordings: list[Scores]) -> dict[str, float]:
    """Average the gains of every rung."""
    return {name: float(np.mean([scores[name].value for scores in recordings])) for name in recordings[0]}


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit eight recordings of each kind."""
    return measure_recordings(8)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit three recordings of each kind."""
    return measure_recordings(3)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw gains of history against its window: a dead time left, a trial gain right."""
    left, right = figure.subplots(1, 2, sharey=True)
    curves = evidence["curves"]
    left.axhline(evidence["dead"], color=style.NOT_HISTORY, linestyle="--")
    left.annotate("exact", (500.0, evidence["dead"]), (0, 4), **SMALL)
    draw_curve(left, curves["dead time"], "over the PSTH", style.HISTORY_MODEL, "o")
    right.axhline(evidence["causal"], color=style.NOT_HISTORY, linestyle="--")
    right.annotate("causal gain, exact", (500.0, evidence["causal"]), (0, 4), **SMALL)
    draw_curve(right, curves["truth"], "over the true PSTH", style.PSTH_MODEL, "s")
    draw_curve(right, curves["M3"], "over the causal gain, M3", style.HISTORY_MODEL, "o")
    draw_curve(right, curves["exchanged"], "trials exchanged", style.CONDITIONS[3], "^")
    left.set(ylabel="gain of history (bits/spike)", title="dead time of 3 ms", ylim=(-0.01, 0.175))
    right.set(title="gain without history")


def draw_curve(ax: Axes, gains: dict[str, float], words: str, colour: str, marker: str) -> None:
    """Draw gains against the window of history."""
    window_ms = [1e3 * window_s for window_s in WINDOWS_S]
    heights = [gains[f"{window:g}"] for window in window_ms]
    ax.plot(window_ms, heights, f"{marker}-", color=colour, label=words, markersize=4.0)
    ax.axhline(0.0, color=style.MUTED, linewidth=0.7, zorder=0)
    ax.set(xscale="log", xlabel="window of history (ms)")
    ax.set_xticks([3, 10, 30, 100, 500], ["3", "10", "30", "100", "500"])
    ax.minorticks_off()
    ax.legend(loc="upper left", fontsize=9.0)


if __name__ == "__main__":
    run_script("gain_masquerade", __file__)
