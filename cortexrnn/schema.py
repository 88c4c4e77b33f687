"""The contract between rooms: what a Trials dataset is, and its checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError

TRIAL_DIMS = ("trial", "time", "unit")
# What a Trials dataset may hold beside counts and observed.
CONTEXT_DIMS = {"covariates": ("trial", "time", "covariate"), "neighbours": ("trial", "time", "neighbour")}
BLOCKS = "blocks"


def make_trials(
    counts: np.ndarray,
    *,
    observed: np.ndarray,
    scored: np.ndarray,
    time_s: np.ndarray,
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Assemble a Trials dataset from arrays that are already cut and binned.

    Parameters
    ----------
    counts : ndarray of unsigned int, shape (n_trials, n_bins, n_units)
        Spikes per bin.
    observed : ndarray of bool, same shape
        False where nobody recorded: a gap, past a trial's end, before the recording.
    scored : ndarray of bool, shape (n_bins,)
        False in the burn-in, which only feeds history.
    time_s : ndarray of float, shape (n_bins,)
        Left edge of every bin in seconds from the event.
    coords : mapping
        At least ``condition`` (dims trial), ``start_s`` (session time of the event, dims trial)
        and ``unit`` (unit ids); each value as xarray takes it.
    attrs : mapping
        At least ``bin_s``, ``align_to`` and ``history_s``.

    Returns
    -------
    xarray.Dataset
        Variables `counts` and `observed` with dims (trial, time, unit), coordinate `scored` over time.

    Raises
    ------
    DataError
        If the parts do not fit together (see `check_trials`).
    """
    dataset = xr.Dataset(
        {"counts": (TRIAL_DIMS, counts), "observed": (TRIAL_DIMS, observed)},
        coords={
            "time": ("time", np.asarray(time_s, dtype=float), {"units": "s", "long_name": "time from event"}),
            "scored": ("time", np.asarray(scored, dtype=bool)),
            **coords,
        },
        attrs=dict(attrs),
    )
    if "trial" not in dataset.coords:
        dataset = dataset.assign_coords(trial=np.arange(dataset.sizes["trial"]))
    return check_trials(dataset)


def check_trials(trials: xr.Dataset) -> xr.Dataset:
    """Return `trials` unchanged if it keeps the contract of a Trials dataset.

    Raises
    ------
    DataError
        If a variable, coordinate, dimension order or attribute is missing or wrong.
    """
    if not isinstance(trials, xr.Dataset):
        raise DataError(
            f"trials is a {type(trials).__name__}; expected an xarray Dataset.",
            hint="Make one with Recording.align(event, window_s=(start, stop), bin_s=0.001).",
        )
    for name in ("counts", "observed"):
        if name not in trials:
            raise DataError(f"trials has no variable {name!r}; it has {sorted(map(str, trials.data_vars))}.")
        dims = trials[name].dims
        if dims != TRIAL_DIMS:
            raise DataError(
                f"trials[{name!r}] has dims {dims}; expected {TRIAL_DIMS}.",
                hint="Use trials.transpose('trial', 'time', 'unit').",
            )
    for name, dims in CONTEXT_DIMS.items():
        if name in trials and trials[name].dims != dims:
            raise DataError(f"trials[{name!r}] has dims {trials[name].dims}; expected {dims}.")
    if trials["counts"].dtype.kind != "u":
        raise DataError(f"trials['counts'] has dtype {trials['counts'].dtype}; expected an unsigned integer.")
    if trials["observed"].dtype != bool:
        raise DataError(f"trials['observed'] has dtype {trials['observed'].dtype}; expected bool.")
    for name, dims in (("scored", ("time",)), ("condition", ("trial",)), ("start_s", ("trial",)), ("unit", ("unit",))):
        if name not in trials.coords or trials[name].dims != dims:
            raise DataError(f"trials needs a coordinate {name!r} over {dims}.")
    for name in ("bin_s", "align_to", "history_s"):
        if name not in trials.attrs:
            raise DataError(f"trials has no attribute {name!r}.")
    spikes_in_gaps = int(trials["counts"].values[~trials["observed"].values].sum())
    if spikes_in_gaps:
        raise DataError(
            f"trials has {spikes_in_gaps} spikes in bins that are marked as not observed.",
            hint="Correct the observed intervals or remove the spikes.",
        )
    return trials


def is_stimulus_locked(trials: xr.Dataset) -> bool:
    """Tell whether the trials are cut around an event, so that a PSTH has a meaning."""
    return trials.attrs["align_to"] != BLOCKS
