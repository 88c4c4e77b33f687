"""Gerhard, Deger and Truccolo (2017): models of spike history that pass the tests and run away on their own spikes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.encoding import Constant, HistoryGLM, UnitTrials
from cortexrnn.encoding.divergence import find_divergent
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.evaluation.free_run import FreeRun, free_run
from cortexrnn.evaluation.goodness import GoodnessOfFit, goodness_of_fit
from cortexrnn.report.free_run import plot_rasters
from cortexrnn.report.goodness import plot_goodness
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BIN_S, TRIAL_S, DEAD_TIME_S = 1e-3, 10.0, 2e-3
N_TRAINING, N_TEST, N_COPIES, N_RECORDINGS = 60, 10, 40, 20
BASE_HZ, REBOUND, REBOUND_S, MOST = 5.0, 1.2, 0.03, 8.0
FORBIDDEN = -1e3


def unit() -> FittedHistoryGLM:
    """Give the unit: refractory, then an excitatory rebound, its rate bounded at 8 times its base: it is stable."""
    lag_s = BIN_S * np.arange(1, 301)
    effect = REBOUND * np.exp(-(lag_s - DEAD_TIME_S) / REBOUND_S) - 3.0 * np.exp(-(lag_s - DEAD_TIME_S) / 1.5e-3)
    effect[lag_s < DEAD_TIME_S - 0.5 * BIN_S] = FORBIDDEN
    level = float(np.log(BASE_HZ * BIN_S))
    return FittedHistoryGLM(
        below=None,
        history_s=float(lag_s[-1]),
        bin_s=BIN_S,
        basis=np.eye(lag_s.size),
        weights=np.r_[level, effect],
        covariance=np.eye(1 + lag_s.size),
        ridge=0.0,
        mean=0.0,
        ceiling=level + float(np.log(MOST)),
        validation_log_likelihood=float("nan"),
        is_converged=True,
    )


def record(seed: int) -> UnitTrials:
    """Record trials of the unit, at most one spike a bin."""
    shape = (N_TRAINING + N_TEST, round(TRIAL_S / BIN_S))
    everywhere = np.ones(shape, dtype=bool)
    empty = UnitTrials(
        counts=np.zeros(shape, dtype=np.uint16),
        observed=everywhere,
        scored=everywhere,
        condition=np.zeros(shape[0], dtype=np.int64),
        start_s=2.0 * TRIAL_S * np.arange(shape[0]),
        bin_s=BIN_S,
        is_locked=False,
    )
    copies = simulate_copies(unit(), empty, n_copies=1, likelihood="bernoulli", seed=seed)
    return empty._replace(counts=copies.counts[0])


def as_published(fitted: FittedHistoryGLM) -> FittedHistoryGLM:
    """Forbid intervals below the dead time, and take our bound of the history's effect away."""
    weights, inside = fitted.weights.copy(), fitted.basis != 0.0
    is_forbidden = (inside.sum(axis=1) == 1) & inside[:, : round(DEAD_TIME_S / BIN_S) - 1].any(axis=1)
    weights[1:][is_forbidden] = FORBIDDEN
    return replace(fitted, weights=weights, ceiling=np.inf)


def examine(seed: int) -> tuple[GoodnessOfFit, FreeRun, float, float]:
    """Fit a recording; test the model, let it run, let the unit itself run, and see where runaway trials end."""
    trials = record(seed)
    train, test = trials.take(np.arange(N_TRAINING)), trials.take(np.arange(N_TRAINING, trials.n_trials))
    model = as_published(HistoryGLM(baseline=Constant(), history_s=0.2, likelihood="bernoulli").fit(train))
    fit = goodness_of_fit(test, model.log_mu(test), likelihood="bernoulli")
    run = free_run(model, test, n_copies=N_COPIES, likelihood="bernoulli", dead_time_s=DEAD_TIME_S, seed=seed)
    n_dead = round(DEAD_TIME_S / BIN_S)
    own = simulate_copies(unit(), test, n_copies=N_COPIES, likelihood="bernoulli", seed=seed + 1000)
    copies = simulate_copies(model, test, n_copies=N_COPIES, likelihood="bernoulli", seed=seed)
    _, is_pinned = find_divergent(test, copies, n_dead)
    last = copies.counts[is_pinned][:, -200:].sum(axis=1) / (200 * BIN_S)
    return fit, run, float(find_divergent(test, own, n_dead)[0].mean()), float(np.median(last)) if last.size else np.nan


def measure_recordings(n_recordings: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Summarise recordings."""
    fits, runs, own, last = zip(*(examine(seed) for seed in range(n_recordings)), strict=True)
    rates = np.array([run.divergence_rate for run in runs])
    ratios = [run.data["simulated"].values[0] / run.data["observed"].values[0] for run in runs]
    passed = np.array([fit.distance.is_inside for fit in fits])
    values = {
        "passing_share": passed.mean(),
        "smallest_divergence": rates[passed].min(),
        "median_divergence": float(np.median(rates[passed])),
        "divergence_of_unit": max(own),
        "final_rate_hz": float(np.nanmedian(last)),
        "model_over_unit_rate": float(np.median(ratios)),
    }
    shown = int(np.flatnonzero(passed)[np.argmax(rates[passed])])
    return values, {"fit": fits[shown], "run": runs[shown]}


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit 20 recordings of 600 s, and test and free each model on 100 s more."""
    return measure_recordings(N_RECORDINGS)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit eight recordings."""
    return measure_recordings(8)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw the test that a model passed, and the spikes that it makes."""
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.25))
    plot_goodness(left, evidence["fit"].curve)
    plot_rasters(right, evidence["run"].data)


if __name__ == "__main__":
    run_script("gerhard_2017", __file__)
