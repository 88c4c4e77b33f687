"""Scheduled sampling on spikes: what it takes from one-step prediction, and what free running gets for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.encoding import PSTH, RNN, UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.evaluation.free_run import FREE_RUNNING, TEACHER_FORCED, FreeRun, free_run
from cortexrnn.report import style
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BIN_S, DEAD_TIME_S = 1e-3, 3e-3
N_TRAINING, N_TEST, N_COPIES, N_RECORDINGS = 120, 80, 40, 3
SHARES = (0.0, 0.5, 1.0)
LN2 = np.log(2.0)
# Columns of the measurement: one-step score over the PSTH, then what the copies do, each beside the trials where
# these have it too.
COLUMNS = ("bits", "psth_r2", "psth_r2_forced", "fano", "fano_data", "early", "rate_hz", "rate_hz_data", "divergence")


def record(seed: int) -> UnitTrials:
    """Draw the trials of V3: 1 s at a realised rate of 15 + 15 sin^2 Hz with a dead time."""
    design = TrialDesign(n_trials=N_TRAINING + N_TEST, duration_s=1.0, history_s=0.3)
    rate_hz = design.rate_hz(lambda time_s: 15.0 + 15.0 * np.sin(2.0 * np.pi * time_s) ** 2)
    return unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, seed=seed, dead_time_s=DEAD_TIME_S)))


def early_share(run: FreeRun) -> float:
    """Give the share of the intervals of the first copy that are shorter than the dead time, which the unit forbids."""
    trial, time_s = run.data["simulated_trial"].values, run.data["simulated_time_s"].values
    intervals_s = np.diff(time_s)[np.diff(trial) == 0]
    return float(np.mean(intervals_s < DEAD_TIME_S + 0.5 * BIN_S))


def examine(seed: int, share: float) -> dict[str, float]:
    """Train on one recording with a share of own spikes; predict and copy held-out trials."""
    trials = record(seed)
    train, test = trials.take(np.arange(N_TRAINING)), trials.take(np.arange(N_TRAINING, trials.n_trials))
    fitted = RNN(baseline=PSTH(), own_spikes=share, seed=seed).fit(train)
    gain = trial_log_likelihood(test, fitted.log_mu(test)) - trial_log_likelihood(test, fitted.below.log_mu(test))
    run = free_run(fitted, test, n_copies=N_COPIES, seed=seed)
    score, statistic = run.data["score"], run.data.set_coords("statistic")
    found = {
        "bits": gain.sum() / (test.spikes_per_trial.sum() * LN2),
        "psth_r2": score.sel(mode=FREE_RUNNING, score_name="psth_r2"),
        "psth_r2_forced": score.sel(mode=TEACHER_FORCED, score_name="psth_r2"),
        "early": early_share(run),
        "divergence": run.divergence_rate,
    }
    for name in ("fano", "rate_hz"):
        found[name] = statistic["simulated"].sel(statistic=name)
        found[f"{name}_data"] = statistic["observed"].sel(statistic=name)
    return {name: float(found[name]) for name in COLUMNS}


def measure_recordings(n_recordings: int, shares: tuple[float, ...]) -> tuple[dict[str, float], dict[str, Any]]:
    """Average over recordings."""
    table = np.array([[list(examine(seed, share).values()) for share in shares] for seed in range(n_recordings)])
    mean = dict(zip(COLUMNS, table.mean(axis=0).T, strict=True))
    values = {
        "bits_plain": mean["bits"][0],
        "cost_full": mean["bits"][-1] - mean["bits"][0],
        "psth_plain": mean["psth_r2"][0],
        "psth_change": mean["psth_r2"][-1] - mean["psth_r2"][0],
        "fano_plain": mean["fano"][0] / mean["fano_data"][0],
        "fano_change": (mean["fano"][-1] - mean["fano"][0]) / mean["fano_data"][0],
        "early_plain": mean["early"][0],
        "early_full": mean["early"][-1],
        "rate_plain": mean["rate_hz"][0] / mean["rate_hz_data"][0],
        "divergence": float(mean["divergence"].max()),
    }
    return values, {"shares": shares, "table": table}


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Train on three recordings with three shares."""
    return measure_recordings(N_RECORDINGS, SHARES)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Train on one recording without and with own spikes alone."""
    return measure_recordings(1, (SHARES[0], SHARES[-1]))


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw what is lost bin by bin, and what free running gets, against the share of own spikes."""
    left, middle, right = figure.subplots(1, 3)
    share = 100.0 * np.array(evidence["shares"])
    column = {name: evidence["table"][:, :, k] for k, name in enumerate(COLUMNS)}
    draw_lines(left, share, column["bits"], style.HISTORY_MODEL)
    left.set(title="one step ahead", ylabel="gain over the PSTH (bits/spike)", ylim=(-0.01, 0.125))
    left.axhline(0.0, color=style.MUTED, linewidth=0.7, zorder=0)
    draw_lines(middle, share, column["fano"], style.PSTH_MODEL)
    middle.axhline(column["fano_data"].mean(), color=style.INK, linestyle="--")
    middle.annotate("trials", (0.0, column["fano_data"].mean()), (0, -12), textcoords="offset points", fontsize=9.0)
    middle.set(title="free running", ylabel="Fano factor of counts", ylim=(0.5, 1.1))
    draw_lines(right, share, 100.0 * column["early"], style.PSTH_MODEL)
    right.axhline(0.0, color=style.INK, linestyle="--")
    right.set(title="free running", ylabel="intervals within the dead time (%)", ylim=(-0.5, 8.5))
    for ax in (left, middle, right):
        ax.set_xlabel("own spikes (%)")
        ax.set_xticks(share)


def draw_lines(ax: Axes, share: np.ndarray, values: np.ndarray, colour: str) -> None:
    """Draw every recording in thin lines and their mean in a thick one."""
    ax.plot(share, values.T, color=colour, linewidth=0.8, alpha=0.5)
    ax.plot(share, values.mean(axis=0), "o-", color=colour, markersize=4.0)


if __name__ == "__main__":
    run_script("exposure_bias_spikes", __file__)
