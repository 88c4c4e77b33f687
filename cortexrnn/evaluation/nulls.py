"""Bits per spike over three nulls: the mean of the training trials, that of the held-out trials, and the PSTH."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import xlog1py, xlogy

from cortexrnn.encoding.likelihood import LIKELIHOODS
from cortexrnn.evaluation.scores import finite_or_none, gain_interval
from cortexrnn.evaluation.verdict import MIN_SPIKES

TRAIN_MEAN = "train mean"
TEST_MEAN = "test mean"
PSTH_NULL = "PSTH"
NULLS = (TRAIN_MEAN, TEST_MEAN, PSTH_NULL)


def held_out_mean_advantage(
    n_spikes: np.ndarray, n_bins: np.ndarray, fold: np.ndarray, *, likelihood: str = "poisson"
) -> np.ndarray:
    """Give by how much the held-out trials' own mean rate beats M0, which has the mean of the training trials.

    Both rates follow from counts and exposures, and log(y!) cancels: no model is needed for it.

    Parameters
    ----------
    n_spikes : ndarray of int, shape (n_trials,)
        Scored spikes of each trial.
    n_bins : ndarray of int, shape (n_trials,)
        Scored bins of each trial.
    fold : ndarray of int, shape (n_trials,)
        Fold in which each trial is held out.
    likelihood : {"poisson", "bernoulli", "negative binomial"}
        Observation model of the scores.

    Returns
    -------
    ndarray of float64, shape (n_trials,)
        Natural-log likelihood under the mean count of the trial's own fold, minus that of M0; NaN under the negative
        binomial, which asks for more than totals.
    """
    if likelihood not in LIKELIHOODS:
        return np.full(len(n_spikes), np.nan)
    advantage = np.zeros(len(n_spikes))
    for k in np.unique(fold):
        is_test = fold == k
        own, bins = n_spikes[is_test].astype(float), n_bins[is_test].astype(float)
        learned = (n_spikes[~is_test].sum() + 0.5) / max(n_bins[~is_test].sum(), 1)
        mean = own.sum() / max(bins.sum(), 1.0)
        if likelihood == "bernoulli":
            trained = own * math.log(-math.expm1(-learned)) - (bins - own) * learned
            advantage[is_test] = xlogy(own, mean) + xlog1py(bins - own, -mean) - trained
        else:
            advantage[is_test] = xlogy(own, mean) - bins * mean - (own * math.log(learned) - bins * learned)
    return advantage


def three_nulls(scores: xr.Dataset, *, likelihood: str = "poisson") -> xr.Dataset:
    """Score every rung in bits per spike over three nulls, unit by unit and pooled over units.

    The train-mean null is M0. The test-mean null is the mean count of each fold's held-out trials, which no model can
    know: over it M0 scores below zero. The PSTH null is M1.

    Parameters
    ----------
    scores : xarray.Dataset
        `log_likelihood` (rung, seed, unit, trial) in nats with the rungs M0 and M1 among them, `n_spikes` and
        `n_bins` (unit, trial), scored spikes and bins, and `trial_fold` (trial).
    likelihood : {"poisson", "bernoulli", "negative binomial"}
        Observation model of the scores; the test-mean null is NaN under the last.

    Returns
    -------
    xarray.Dataset
        `bits_per_spike`, `low`, `high` over (null, rung, unit), NaN for a unit without spikes; `pooled`, `pooled_low`,
        `pooled_high` over (null, rung), the sum over units and trials by the sum of their spikes, to which units
        without spikes contribute what was expected of them; `median` over (null, rung), over units with at
        least 30 spikes; `n_spikes` over unit. Intervals are over trials, for these units.
    """
    values = scores["log_likelihood"].mean("seed").transpose("rung", "unit", "trial").values
    n_spikes = scores["n_spikes"].transpose("unit", "trial").values
    n_bins = scores["n_bins"].transpose("unit", "trial").values
    fold = scores["trial_fold"].values
    rungs = [str(name) for name in scores["rung"].values]
    constant, psth = values[rungs.index("M0")], values[rungs.index("M1")]
    units = zip(n_spikes, n_bins, strict=True)
    advantage = np.array([held_out_mean_advantage(*unit, fold, likelihood=likelihood) for unit in units])
    references = np.array([constant, constant + advantage, psth])
    n_folds = int(fold.max()) + 1

    def over(difference: np.ndarray, spikes: np.ndarray) -> tuple[float, float, float]:
        return gain_interval(difference, np.zeros(difference.size), spikes, n_folds)[:3]

    differences = values[None] - references[:, None]
    each = np.array([[[over(*row) for row in zip(d, n_spikes, strict=True)] for d in rows] for rows in differences])
    pooled = np.array([[over(d.sum(axis=0), n_spikes.sum(axis=0)) for d in rows] for rows in differences])
    total = n_spikes.sum(axis=1)
    enough = each[:, :, total >= MIN_SPIKES, 0]
    median = np.median(enough, axis=2) if enough.shape[2] else np.full(enough.shape[:2], np.nan)
    names = ("null", "rung", "unit")
    return xr.Dataset(
        {name: (names, each[..., j]) for j, name in enumerate(("bits_per_spike", "low", "high"))}
        | {name: (names[:2], pooled[..., j]) for j, name in enumerate(("pooled", "pooled_low", "pooled_high"))}
        | {"median": (names[:2], median), "n_spikes": ("unit", total)},
        coords={"null": list(NULLS), "rung": rungs, "unit": scores["unit"].values},
    )


def describe_nulls(table: xr.Dataset) -> dict[str, Any]:
    """Write the pooled scores and the medians over units as ``summary.json`` holds them.

    Parameters
    ----------
    table : xarray.Dataset
        From `three_nulls`.

    Returns
    -------
    dict
        By null, then by rung: `value`, `ci` and `median`; None where there are no spikes.
    """
    found: dict[str, Any] = {}
    for null in NULLS:
        rows = table.sel(null=null)
        found[null] = {
            str(name): _written(*(float(rows[part].values[j]) for part in ("pooled", "pooled_low", "pooled_high")))
            | {"median": finite_or_none(float(rows["median"].values[j]))}
            for j, name in enumerate(table["rung"].values)
        }
    return found


def describe_unit_nulls(table: xr.Dataset, position: int) -> dict[str, Any]:
    """Write one unit's scores over each null as ``summary.json`` holds them.

    Parameters
    ----------
    table : xarray.Dataset
        From `three_nulls`.
    position : int
        0-based position of the unit.

    Returns
    -------
    dict
        By null, then by rung: `value` and `ci`; None for a unit with fewer than 30 held-out spikes.
    """
    parts = ("bits_per_spike", "low", "high")
    rows = np.stack([table[part].transpose("null", "rung", "unit").values[:, :, position] for part in parts], axis=2)
    if int(table["n_spikes"].values[position]) < MIN_SPIKES:
        rows = np.full_like(rows, np.nan)
    rungs = [str(name) for name in table["rung"].values]
    return {
        null: {name: _written(*row) for name, row in zip(rungs, each.tolist(), strict=True)}
        for null, each in zip(NULLS, rows, strict=True)
    }


def _written(value: float, low: float, high: float) -> dict[str, Any]:
    """Write a value with its interval, or None."""
    if not math.isfinite(value):
        return {"value": None, "ci": None}
    return {"value": value, "ci": [low, high]}
