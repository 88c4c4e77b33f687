"""Which variables of a trial the units of a network tell apart: d' and regression weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn.errors import DataError, OptionError

# Beyond this ratio of the largest to the smallest singular value two variables say the same.
_COLLINEAR = 1e8


def selectivity(rate: xr.DataArray, trials: pd.DataFrame, *, variables: Sequence[str]) -> xr.Dataset:
    """Give d' of every unit for variables with two values.

    Parameters
    ----------
    rate : xarray.DataArray, dims (trial, unit) or (trial, time, unit)
        NaN past a trial's end.
    trials : pandas.DataFrame
        One row a trial in the order of `rate`.
    variables : sequence of str
        Columns with two values each, missing ones left out; d' is positive where the rate is higher for the larger of
        the two (True, or the later in the alphabet).

    Returns
    -------
    xarray.Dataset
        `dprime` and its standard error `dprime_se` over (variable, unit) or (variable, time, unit); NaN where one of
        the two has fewer than two trials or no rate varies. The attributes ``low`` and ``high`` name the two values.

    Raises
    ------
    DataError
        If rates and trials do not fit together or a column is missing.
    OptionError
        If a column has not two values.

    Notes
    -----
    Difference of the means over the root of the mean of the two variances, as Song, Yang & Wang (2016) measure
    selectivity. The standard error is that of Hedges & Olkin (1985) for a standardised difference.
    """
    values = _check(rate, trials, variables)
    found, names = [], []
    for variable in variables:
        levels = np.unique(trials[variable].dropna().to_numpy())
        if levels.size != 2:
            raise OptionError(
                f"{variable} has {levels.size} values; expected two.",
                hint="Use regression_weights for a variable with more, or make a column with its sign.",
            )
        names.append([str(level) for level in levels])
        found.append(_dprime(*(values[trials[variable].to_numpy() == level] for level in levels)))
    dims = ("variable", *rate.dims[1:])
    return xr.Dataset(
        {"dprime": (dims, np.stack([each[0] for each in found])), "dprime_se": (dims, np.stack([e[1] for e in found]))},
        coords={"variable": list(variables), **_coords(rate)},
        attrs={"low": [low for low, _ in names], "high": [high for _, high in names]},
    )


def regression_weights(rate: xr.DataArray, trials: pd.DataFrame, *, variables: Sequence[str]) -> xr.Dataset:
    """Give by how much every unit's rate changes with each of several variables, the others held fixed.

    Linear regression by least squares with a constant. Every variable is brought to zero mean and unit variance over
    the trials first, so that the weights are rates per standard deviation and can be compared.

    Parameters
    ----------
    rate : xarray.DataArray, dims (trial, unit) or (trial, time, unit)
        NaN past a trial's end.
    trials : pandas.DataFrame
        One row a trial in the order of `rate`.
    variables : sequence of str
        Columns of numbers, or of two values; trials that lack one are left out.

    Returns
    -------
    xarray.Dataset
        `weight` and `weight_se` over (variable, unit) or (variable, time, unit), `r_squared` without the first; NaN
        where there are no more trials than variables.

    Raises
    ------
    DataError
        If rates and trials do not fit together, a column is missing, or the variables are collinear.
    OptionError
        If a column is neither numbers nor two values.

    Notes
    -----
    Mante, Sussillo, Shenoy & Newsome (2013), doi:10.1038/nature12742, methods, who regress at every time.
    """
    values = _check(rate, trials, variables)
    design = np.column_stack([_column(trials[variable], variable) for variable in variables])
    is_known = np.isfinite(design).all(axis=1)
    values, design = values[is_known], design[is_known]
    per_time = values[:, None] if values.ndim == 2 else values
    fits = [_regress(per_time[:, k], design, variables) for k in range(per_time.shape[1])]
    weight, se, explained = (np.stack(part, axis=-2) for part in zip(*fits, strict=True))
    if values.ndim == 2:
        weight, se, explained = weight[:, 0], se[:, 0], explained[0]
    dims = rate.dims[1:]
    return xr.Dataset(
        {
            "weight": (("variable", *dims), weight),
            "weight_se": (("variable", *dims), se),
            "r_squared": (dims, explained),
        },
        coords={"variable": list(variables), **_coords(rate)},
    )


def _check(rate: xr.DataArray, trials: pd.DataFrame, variables: Sequence[str]) -> np.ndarray:
    """Give the rates as an array, or say what does not fit."""
    if not isinstance(rate, xr.DataArray) or rate.dims not in (("trial", "unit"), ("trial", "time", "unit")):
        dims = getattr(rate, "dims", type(rate).__name__)
        raise DataError(f"rate has dims {dims}; expected ('trial', 'unit') or ('trial', 'time', 'unit').")
    if len(trials) != rate.sizes["trial"]:
        raise DataError(f"there are {len(trials)} trials in the table and {rate.sizes['trial']} in the rates.")
    missing = [name for name in variables if name not in trials]
    if missing or not len(variables):
        asked = ", ".join(map(repr, missing)) or "asked for"
        raise DataError(f"trials have no column {asked}; they have {', '.join(map(str, trials.columns))}.")
    return np.asarray(rate.values, dtype=float)


def _coords(rate: xr.DataArray) -> dict:
    """Give the coordinates that do not go over trials."""
    return {name: coord for name, coord in rate.coords.items() if "trial" not in coord.dims}


def _dprime(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give d' and its standard error over the first axis, leaving out NaN."""
    (n_low, mean_low, var_low), (n_high, mean_high, var_high) = map(_moments, (low, high))
    spread = np.sqrt(0.5 * (var_low + var_high))
    defined = (n_low > 1) & (n_high > 1) & (spread > 0.0)
    dprime = np.where(defined, (mean_high - mean_low) / np.where(defined, spread, 1.0), np.nan)
    safe_low, safe_high = np.where(defined, n_low, 1), np.where(defined, n_high, 1)
    total = safe_low + safe_high
    return dprime, np.sqrt(total / (safe_low * safe_high) + dprime**2 / (2.0 * total))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give number, mean and variance over the first axis, leaving out NaN."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(n, 1)
    variance = np.where(known, np.square(values - mean), 0.0).sum(axis=0) / np.maximum(n - 1, 1)
    return n, mean, variance


def _column(column: pd.Series, name: str) -> np.ndarray:
    """Give a variable as numbers: two values of any kind become 0 and 1."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float)
    levels = np.unique(column.dropna().to_numpy())
    if levels.size != 2:
        raise OptionError(f"{name} holds {levels.size} different words; expected numbers or two values.")
    return np.where(column.isna(), np.nan, (column == levels[1]).to_numpy(dtype=float))


def _regress(values: np.ndarray, design: np.ndarray, variables: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Regress all units, shape (n_trials, n_units); give weights, standard errors, and what they explain."""
    known = np.isfinite(values).all(axis=1)
    values, design = values[known], design[known]
    n_trials, n_variables, n_units = len(design), design.shape[1], values.shape[1]
    if n_trials <= n_variables + 1:
        nothing = np.full((n_variables, n_units), np.nan)
        return nothing, nothing, nothing[0]
    spread = design.std(axis=0)
    constant = [name for name, sd in zip(variables, spread, strict=True) if sd == 0.0]
    if constant:
        raise DataError(f"{constant[0]} is the same in all trials; it has no weight.")
    scaled = np.column_stack([np.ones(n_trials), (design - design.mean(axis=0)) / spread])
    singular = np.linalg.svd(scaled, compute_uv=False)
    if singular[-1] * _COLLINEAR < singular[0]:
        raise DataError(f"{', '.join(variables)} are collinear; their weights are not determined. Leave one out.")
    weights = np.linalg.lstsq(scaled, values, rcond=None)[0]
    residual = np.square(values - scaled @ weights).sum(axis=0)
    total = np.square(values - values.mean(axis=0)).sum(axis=0)
    per_weight = np.diag(np.linalg.inv(scaled.T @ scaled))[1:]
    se = np.sqrt(per_weight[:, None] * residual / (n_trials - n_variables - 1))
    return weights[1:], se, np.where(total > 0.0, 1.0 - residual / np.where(total > 0.0, total, 1.0), np.nan)
