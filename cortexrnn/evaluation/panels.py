"""What the figures draw, as one labelled Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.evaluation.evidence import UnitEvidence
from cortexrnn.evaluation.free_run import FreeRun
from cortexrnn.evaluation.ladder import stimulus_rung
from cortexrnn.evaluation.plan import UnitScores
from cortexrnn.evaluation.spike_profile import CURVES
from cortexrnn.evaluation.work import AGE_WINDOW_S

_BAND = 1.96
_PSTH_BIN_S = 0.02
_QUANTILES = np.linspace(0.005, 0.995, 100)


def unit_panel(scores: UnitScores, conditions: np.ndarray, time_s: np.ndarray) -> xr.Dataset:
    """Gather one unit's PSTH, interval histogram, history filter, rescaled intervals, free runs and raster.

    Parameters
    ----------
    scores : UnitScores
        What was measured.
    conditions : ndarray, shape (n_conditions,)
        Labels in the order of the condition codes.
    time_s : ndarray, shape (n_bins,)
        Left edges of all bins, burn-in included.

    Returns
    -------
    xarray.Dataset
        With a dim unit of length one.
    """
    trials, panel = scores.case.trials, scores.panel
    stretch = _scored_stretch(trials.scored)
    shown = trials.scored[:, stretch]
    counts = np.where(shown, trials.counts[:, stretch], 0)
    width = max(1, round(_PSTH_BIN_S / trials.bin_s))
    n_lags = max(1, round(AGE_WINDOW_S / trials.bin_s))
    trial, position = np.nonzero(counts)
    stimulus = stimulus_rung(scores.age_expected)
    clock = {"long_name": "time from event" if trials.is_locked else "time in block"}
    unit = {"unit": [scores.case.name]}
    log_gain, error = panel["filter"], panel["filter_error"]
    observed_hz = [_boxcar_rate(counts[trials.condition == c], shown[trials.condition == c], width, trials.bin_s)
                   for c in range(conditions.size)]
    time = time_s[stretch]
    drawn = xr.Dataset(
        {
            "psth_hz": (("unit", "condition", "time"), [observed_hz]),
            "psth_model_hz": (("unit", "condition", "time"), [np.exp(panel["psth_log_mu"][:, stretch]) / trials.bin_s]),
            "isi_observed": (("unit", "isi"), [scores.age_spikes[1 : n_lags + 1]]),
            "isi_model": (
                ("unit", "model", "isi"),
                [[scores.age_expected[name][1 : n_lags + 1] for name in (stimulus, "history")]],
            ),
            "history_gain_factor": (("unit", "lag"), [np.exp(log_gain)]),
            "history_low": (("unit", "lag"), [np.exp(log_gain - _BAND * error)]),
            "history_high": (("unit", "lag"), [np.exp(log_gain + _BAND * error)]),
            "rescaled": (("unit", "judged", "quantile"), [[_quantiles(fit.curve) for fit in scores.goodness.values()]]),
            "rescaled_limit": ("unit", [next((fit.distance.high for fit in scores.goodness.values()), np.nan)]),
            "spike_trial": ("spike", trial),
            "spike_time_s": ("spike", time[position]),
            "trial_condition": ("trial", trials.condition),
        },
        coords=unit
        | {
            "condition": conditions,
            "time": ("time", time, clock),
            "model": [stimulus, "history"],
            # Spikes k bins apart lie k - 1 to k + 1 bins apart: the bar is centred on k.
            "isi": (np.arange(1, n_lags + 1) - 0.5) * trials.bin_s,
            "lag": panel["lag_s"],
            "judged": list(scores.goodness),
            "quantile": _QUANTILES,
        },
    )
    if not scores.free_runs:
        return drawn
    return drawn.merge(_free_curves(scores.free_runs, time_s[0], clock).expand_dims(unit))


def _free_curves(runs: Mapping[str, FreeRun], first_s: float, clock: Mapping[str, str]) -> xr.Dataset:
    """Lay the curves of every model that ran freely side by side; names as `report.free_run.select_runner` expects.

    Their time begins with the first bin, at `first_s` from the event; `clock` are its attributes.
    """
    parts = ("observed", "simulated", "low", "high")
    own = {"time": "free_time", "lag": "free_lag"}
    curves = []
    for run in runs.values():
        data = run.data[[f"{name}_{part}" for name in CURVES for part in parts]].drop_vars("condition")
        data = data.assign_coords(time=(data["time"] + first_s).assign_attrs(clock))
        curves.append(data.rename(own | {name: f"free_{name}" for name in data.data_vars}))
    return xr.concat(curves, dim=xr.Variable("runner", list(runs)))


def join_panels(panels: list[xr.Dataset]) -> xr.Dataset:
    """Join the units' panels into one Dataset; spikes are laid end to end."""
    if not panels:
        return xr.Dataset()
    joined = xr.concat([panel.drop_dims(["spike", "trial"]) for panel in panels], dim="unit", join="outer")
    spike_unit = np.repeat(np.arange(len(panels)), [panel.sizes["spike"] for panel in panels])
    return joined.assign(
        spike_unit=("spike", spike_unit),
        spike_trial=("spike", np.concatenate([panel["spike_trial"].values for panel in panels])),
        spike_time_s=("spike", np.concatenate([panel["spike_time_s"].values for panel in panels])),
        trial_condition=panels[0]["trial_condition"],
    )


def score_dataset(
    evidence: list[UnitEvidence], rungs: list[str], attrs: dict[str, Any], trial_coords: xr.Dataset
) -> xr.Dataset:
    """Give the held-out log-likelihood with dims (rung, seed, unit, trial); the fold is a coordinate of trial.

    Raises
    ------
    ValueError
        Never for scores of one comparison, whose shapes agree.
    """
    values = np.array([[unit.log_likelihood[name] for unit in evidence] for name in rungs])
    n_spikes = np.array([unit.n_spikes for unit in evidence])
    return xr.Dataset(
        {
            "log_likelihood": (("rung", "unit", "seed", "trial"), values, {"units": "nat"}),
            "n_spikes": (("unit", "trial"), n_spikes),
            "n_bins": (("unit", "trial"), np.array([unit.n_bins for unit in evidence])),
            "history_choice": (("unit", "fold"), [unit.chosen for unit in evidence]),
        },
        coords={
            "rung": rungs,
            "unit": [unit.name for unit in evidence],
            "seed": np.arange(values.shape[2]),
            "trial": trial_coords["trial"].values,
            "trial_fold": ("trial", evidence[0].fold),
            "condition": ("trial", trial_coords["condition"].values),
        },
        attrs=attrs,
    ).transpose("rung", "seed", "unit", "trial", ...)


def _quantiles(curve: xr.Dataset) -> np.ndarray:
    """Read a curve of rescaled intervals off at the same quantiles for every unit; NaN without spikes."""
    if not curve.sizes["point"]:
        return np.full(_QUANTILES.size, np.nan)
    return np.interp(_QUANTILES, curve["model"].values, curve["observed"].values)


def _scored_stretch(scored: np.ndarray) -> slice:
    """Give the bins from the first to the last scored one."""
    bins = np.flatnonzero(scored.any(axis=0))
    return slice(int(bins[0]), int(bins[-1]) + 1)


def _boxcar_rate(counts: np.ndarray, shown: np.ndarray, width: int, bin_s: float) -> np.ndarray:
    """Give the plain PSTH in Hz in boxes of `width` bins, repeated to the bins' resolution."""
    n_bins = counts.shape[1]
    edges = np.arange(0, n_bins, width)
    spikes = np.add.reduceat(counts.sum(axis=0), edges)
    exposure = np.add.reduceat(shown.sum(axis=0), edges) * bin_s
    rate = np.divide(spikes, exposure, out=np.full(edges.size, np.nan), where=exposure > 0)
    return np.repeat(rate, width)[:n_bins]
