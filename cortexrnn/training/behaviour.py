"""Psychometric and chronometric curves of a task's trials, with fits and intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import softmax
from scipy.stats import norm

from cortexrnn._checks import check_count
from cortexrnn.errors import DataError, NumericalWarning
from cortexrnn.numerics.streams import stream
from cortexrnn.training.behaviour_fits import (
    CumulativeGaussian,
    DiffusionTimes,
    fit_cumulative_gaussians,
    fit_diffusion_times,
)
from cortexrnn.training.losses import CROSS_ENTROPY
from cortexrnn.training.tasks.contract import Batch, Task

LEVEL = 0.95
_TAILS = (50.0 * (1.0 - LEVEL), 100.0 - 50.0 * (1.0 - LEVEL))
_N_DRAWN = 201
_FEWEST_LEVELS = 3
ALL = "all"


def psychometric(
    trials: pd.DataFrame,
    *,
    stimulus: str,
    by: str | None = None,
    choice: int = 0,
    n_bootstrap: int = 400,
    seed: int = 0,
) -> xr.Dataset:
    """Give how often a choice was made at every level of the stimulus, and a cumulative Gaussian for it.

    Catch trials, and trials without a response or a stimulus, are left out. The curve is fitted by maximum likelihood
    with one lapse rate for both ends.

    Parameters
    ----------
    trials : pandas.DataFrame
        One row a trial, with the stimulus and the column ``response``: ``task.performance(...).trials``.
    stimulus : str
        Column of the signed stimulus, as a task's `stimulus_column` names it.
    by : str, optional
        Column with one curve for each of its values, as a task's `group_column` names it.
    choice : int
        The response that is counted; its probability must rise with the stimulus, as that of choice 0 does in the tasks
        of this package.
    n_bootstrap : int
        Number of times that the trials of every level are drawn anew for the intervals of the fit.
    seed : int
        Of these draws; each curve has a stream of its own.

    Returns
    -------
    xarray.Dataset
        `n_trials`, `fraction` with `fraction_low` and `fraction_high` (Wilson's interval) over (curve, level); `mean`,
        `sd` and `lapse` with their ``_low`` and ``_high`` (percentiles of the bootstrap), `log_likelihood` and
        `is_converged` over curve; `fitted` over (curve, x).

    Raises
    ------
    DataError
        If a column is missing, or a curve has fewer than two levels.
    OptionError
        If a number is not valid.

    Warns
    -----
    NumericalWarning
        If a fit did not converge, as where the choices switch from never to always between two levels.
    """
    rows = _usable(trials, [stimulus, "response", *([by] if by else [])])
    n_bootstrap = check_count("n_bootstrap", n_bootstrap, at_least=0)
    levels = np.unique(rows[stimulus].to_numpy(dtype=float))
    x = np.linspace(levels[0], levels[-1], _N_DRAWN)
    curves = {}
    for label, group in _groups(rows, by):
        place = np.searchsorted(levels, group[stimulus].to_numpy(dtype=float))
        n_trials = np.bincount(place, minlength=levels.size)
        n_chosen = np.bincount(place[group["response"].to_numpy() == choice], minlength=levels.size)
        if (n_trials > 0).sum() < 2:
            raise DataError(
                f"{stimulus} has one level in the trials of {label!r}; a curve needs at least two.",
                hint="Draw more trials, or give the task more levels.",
            )
        share = n_chosen / np.maximum(n_trials, 1)
        rng = stream(seed, "psychometric", stimulus, label)
        drawn = rng.binomial(n_trials, share, size=(n_bootstrap, levels.size))
        curves[label] = _psychometric_curve(levels, n_chosen, n_trials, x, drawn)
    failed = {label: curve["sd"].values for label, curve in curves.items() if not curve["is_converged"].values}
    _warn_unconverged("psychometric", "sd", failed)
    attrs = _attrs(stimulus, by, n_bootstrap, seed)
    attrs |= {"choice": choice, "model": "lapse + (1 - 2 lapse) Phi((x - mean) / sd)"}
    return _stack(curves, {"level": levels, "x": x}, attrs)


def chronometric(
    trials: pd.DataFrame,
    *,
    stimulus: str = "coherence",
    by: str | None = None,
    n_bootstrap: int = 400,
    seed: int = 0,
) -> xr.Dataset:
    """Give the mean reaction time at every strength of the stimulus, and a diffusion to bound for it.

    Right and wrong answers are averaged apart; the curve is fitted to the right ones, as Palmer, Huk & Shadlen (2005)
    do, where at least three levels have two of them.

    Parameters
    ----------
    trials : pandas.DataFrame
        With the stimulus and the columns ``reaction_time_s`` and ``correct``.
    stimulus : str
        Column of the strength of the stimulus; its sign does not matter.
    by : str, optional
        Column with one curve for each of its values.
    n_bootstrap : int
        Number of times that the trials of every level are drawn anew for the intervals.
    seed : int
        Of these draws.

    Returns
    -------
    xarray.Dataset
        `n_trials`, `mean_s` with `mean_s_low` and `mean_s_high` over (curve, outcome, level), outcome being "correct"
        or "wrong"; `n_missing`, trials that never reached the threshold, over (curve, level); `bound`, `sensitivity`
        and `residual_s` with their ``_low`` and ``_high`` and `is_converged` over curve; `fitted_s` over (curve, x).

    Raises
    ------
    DataError
        If a column is missing or there is no reaction time at all.
    OptionError
        If a number is not valid.

    Warns
    -----
    NumericalWarning
        If a fit did not converge.
    """
    rows = _usable(trials, [stimulus, "correct", *([by] if by else [])], also=("reaction_time_s",))
    n_bootstrap = check_count("n_bootstrap", n_bootstrap, at_least=0)
    if rows["reaction_time_s"].isna().all():
        raise DataError("trials hold no reaction time.", hint="Lower the task's threshold, or train for longer.")
    strength = np.abs(rows[stimulus].to_numpy(dtype=float))
    levels = np.unique(strength)
    curves = {}
    for label, group in _groups(rows.assign(**{stimulus: strength}), by):
        rng = stream(seed, "chronometric", stimulus, label)
        curves[label] = _chronometric_curve(levels, group, stimulus, rng, n_bootstrap)
    # Too few levels for a fit are seen in the NaN of its parameters; they are no failure.
    failed = {label: curve["bound"].values for label, curve in curves.items() if not curve["is_converged"].values}
    _warn_unconverged("chronometric", "bound", {label: bound for label, bound in failed.items() if np.isfinite(bound)})
    attrs = _attrs(stimulus, by, n_bootstrap, seed) | {"model": "bound / (k x) tanh(bound k x) + residual"}
    x = np.linspace(levels[0], levels[-1], _N_DRAWN)
    return _stack(curves, {"level": levels, "x": x, "outcome": ["correct", "wrong"]}, attrs)


def example_trials(
    task: Task, batch: Batch, outputs: np.ndarray | None = None, *, trials: Sequence[int] = (0, 1, 2)
) -> xr.Dataset:
    """Give some trials of a batch with the network's outputs, labelled, for a figure or a look.

    Parameters
    ----------
    task : Task
        Where the batch is from.
    batch : Batch
        Trials.
    outputs : ndarray, shape (n_trials, n_steps, n_outputs), optional
        What the network answered to them.
    trials : sequence of int
        Positions of the trials in the batch.

    Returns
    -------
    xarray.Dataset
        `stimulus` over (trial, time, input), `target` and, where outputs are given, `answer` over (trial, time,
        output), `mask` over (trial, time); NaN past a trial's end. Where the loss is a cross entropy, target and answer
        are probabilities.

    Raises
    ------
    DataError
        If there is no such trial.
    """
    place = np.asarray(trials, dtype=np.int64)
    if not place.size or place.min() < 0 or place.max() >= len(batch.length):
        raise DataError(f"trials={tuple(trials)!r} are not all in the batch, which has {len(batch.length)} trials.")
    past = np.arange(batch.mask.shape[1]) >= batch.length[place][:, None]
    target = batch.targets
    if batch.loss == CROSS_ENTROPY:
        target = (batch.labels[:, :, None] == np.arange(task.n_outputs)).astype(float)
    variables = {"stimulus": (batch.inputs, "input"), "target": (target, "output")}
    if outputs is not None:
        answer = softmax(outputs, axis=2) if batch.loss == CROSS_ENTROPY else outputs
        variables["answer"] = (answer, "output")
    cut = {
        name: (("trial", "time", dim), np.where(past[:, :, None], np.nan, np.asarray(values)[place]))
        for name, (values, dim) in variables.items()
    }
    return xr.Dataset(
        {**cut, "mask": (("trial", "time"), np.where(past, 0.0, batch.mask[place]))},
        coords={
            "trial": batch.table.index.to_numpy()[place],
            "time": ("time", task.dt_s * np.arange(batch.mask.shape[1]), {"units": "s"}),
            "input": list(task.input_names),
            "output": list(task.output_names),
        },
        attrs={"task": task.name, "dt_s": task.dt_s},
    )


def wilson(n_hits: np.ndarray, n_trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give Wilson's 95 % interval of a proportion.

    Parameters
    ----------
    n_hits, n_trials : ndarray
        Of the same shape.

    Returns
    -------
    tuple of ndarray
        Lower and upper ends; NaN where there are no trials.
    """
    n = np.where(np.asarray(n_trials) > 0, n_trials, np.nan)
    share = n_hits / n
    z = float(norm.ppf(0.5 + 0.5 * LEVEL))
    middle = (share + z**2 / (2.0 * n)) / (1.0 + z**2 / n)
    half = z / (1.0 + z**2 / n) * np.sqrt(share * (1.0 - share) / n + z**2 / (4.0 * n**2))
    return middle - half, middle + half


class _Variable(NamedTuple):
    """Values of one curve with their dimensions."""

    dims: tuple[str, ...]
    values: Any


def _psychometric_curve(
    levels: np.ndarray, n_chosen: np.ndarray, n_trials: np.ndarray, x: np.ndarray, drawn: np.ndarray
) -> dict[str, _Variable]:
    """Fit one curve and its resamples, counts of shape (n_bootstrap, n_levels)."""
    fit, *fits = fit_cumulative_gaussians(levels, np.vstack([n_chosen[None], drawn]), n_trials)
    low, high = wilson(n_chosen, n_trials)
    share = n_chosen / np.where(n_trials > 0, n_trials, np.nan)
    over_level = {"n_trials": n_trials, "fraction": share, "fraction_low": low, "fraction_high": high}
    return {
        **{name: _Variable(("level",), values) for name, values in over_level.items()},
        **_with_intervals(fit, fits, ("mean", "sd", "lapse")),
        "log_likelihood": _Variable((), fit.log_likelihood),
        "is_converged": _Variable((), fit.is_converged),
        "fitted": _Variable(("x",), fit.at(x)),
    }


def _chronometric_curve(
    levels: np.ndarray, group: pd.DataFrame, stimulus: str, rng: np.random.Generator, n_bootstrap: int
) -> dict[str, _Variable]:
    """Average one curve's reaction times, fit the right ones, and do both again on resamples."""
    place = np.searchsorted(levels, group[stimulus].to_numpy(dtype=float))
    times, correct = group["reaction_time_s"].to_numpy(dtype=float), group["correct"].to_numpy(dtype=float)
    is_timed = np.isfinite(times)
    shape = (2, levels.size)
    n_trials, mean_s, low, high = np.zeros(shape, int), *(np.full(shape, np.nan) for _ in range(3))
    se_s, resampled = np.full(levels.size, np.nan), np.full((n_bootstrap, levels.size), np.nan)
    for row, outcome in enumerate((1.0, 0.0)):
        for k in range(levels.size):
            values = times[is_timed & (place == k) & (correct == outcome)]
            n_trials[row, k] = values.size
            if not values.size:
                continue
            means = values[rng.integers(values.size, size=(n_bootstrap, values.size))].mean(axis=1)
            mean_s[row, k] = values.mean()
            if values.size > 1 and n_bootstrap:
                low[row, k], high[row, k] = np.percentile(means, _TAILS)
            if row == 0 and values.size > 1:
                se_s[k], resampled[:, k] = values.std(ddof=1) / np.sqrt(values.size), means
    over_level = {"n_trials": n_trials, "mean_s": mean_s, "mean_s_low": low, "mean_s_high": high}
    x = np.linspace(levels[0], levels[-1], _N_DRAWN)
    return {
        **{name: _Variable(("outcome", "level"), values) for name, values in over_level.items()},
        "n_missing": _Variable(("level",), np.bincount(place[~is_timed], minlength=levels.size)),
        **_fitted_times(levels, mean_s[0], se_s, resampled, x),
    }


def _fitted_times(
    levels: np.ndarray, mean_s: np.ndarray, se_s: np.ndarray, resampled: np.ndarray, x: np.ndarray
) -> dict[str, _Variable]:
    """Fit the times to the bound where enough levels have them, and their resamples."""
    used = np.isfinite(se_s)
    if used.sum() < _FEWEST_LEVELS:
        fit, fits = DiffusionTimes(np.nan, np.nan, np.nan, is_converged=False), []
    else:
        fit = fit_diffusion_times(levels[used], mean_s[used], se_s[used])
        fits = [fit_diffusion_times(levels[used], each[used], se_s[used]) for each in resampled]
    return {
        **_with_intervals(fit, fits, ("bound", "sensitivity", "residual_s")),
        "is_converged": _Variable((), fit.is_converged),
        "fitted_s": _Variable(("x",), fit.at(x)),
    }


def _with_intervals(
    fit: CumulativeGaussian | DiffusionTimes, fits: list[Any], names: tuple[str, ...]
) -> dict[str, _Variable]:
    """Give every parameter with the percentiles of its resamples."""
    found: dict[str, _Variable] = {}
    for name in names:
        values = [getattr(each, name) for each in fits]
        ends = np.percentile(values, _TAILS) if values else (np.nan, np.nan)
        parts = {name: getattr(fit, name), f"{name}_low": ends[0], f"{name}_high": ends[1]}
        found |= {part: _Variable((), value) for part, value in parts.items()}
    return found


def _usable(trials: pd.DataFrame, columns: list[str], *, also: tuple[str, ...] = ()) -> pd.DataFrame:
    """Give the trials with a value in all `columns` that are no catch trials; `also` only has to be there."""
    for name in (*columns, *also):
        if name not in trials:
            raise DataError(
                f"trials have no column {name!r}; they have {', '.join(map(str, trials.columns))}.",
                hint="Take task.performance(outputs, batch).trials of a task that has it.",
            )
    rows = trials[~trials["is_catch"].to_numpy(dtype=bool)] if "is_catch" in trials else trials
    rows = rows.dropna(subset=columns)
    if rows.empty:
        raise DataError(f"no trial has {' and '.join(columns)}.", hint="Draw trials with mode='test'.")
    return rows


def _groups(rows: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Give the trials of every curve by its label, in the order in which they first appear."""
    if by is None:
        return [(ALL, rows)]
    return [(str(label), group) for label, group in rows.groupby(by, sort=False)]


def _stack(curves: dict[str, dict[str, _Variable]], coords: dict[str, Any], attrs: dict[str, Any]) -> xr.Dataset:
    """Lay the variables of all curves side by side."""
    first = next(iter(curves.values()))
    variables = {
        name: (("curve", *first[name].dims), np.stack([np.asarray(curve[name].values) for curve in curves.values()]))
        for name in first
    }
    return xr.Dataset(variables, coords={"curve": list(curves), **coords}, attrs=attrs)


def _attrs(stimulus: str, by: str | None, n_bootstrap: int, seed: int) -> dict[str, Any]:
    """Say what the curves are of; NetCDF knows no None."""
    return {"stimulus": stimulus, "by": by or "", "n_bootstrap": n_bootstrap, "seed": seed, "interval": LEVEL}


def _warn_unconverged(what: str, name: str, values: dict[str, float]) -> None:
    """Warn of fits that did not converge, with the value that a parameter of each has reached."""
    if values:
        reached = ", ".join(f"{name}={value:.3g} for {label!r}" for label, value in values.items())
        warnings.warn(
            f"the {what} fit did not converge: {reached}. Levels between never and always would tell more.",
            NumericalWarning,
            stacklevel=3,
        )
