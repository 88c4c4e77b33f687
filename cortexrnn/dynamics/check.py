"""Is the time step short enough? Halve it and see what changes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.record import Record
from cortexrnn.dynamics.simulate import simulate
from cortexrnn.errors import NumericalWarning, OptionError

STATISTICS = ("mean rate", "sd over time", "half width of the autocovariance")


def check_dt(circuit: Circuit, *, duration_s: float, dt_s: float = 1e-3, **simulation: Any) -> xr.Dataset:
    """Simulate with `dt_s` and with half of it, and compare the statistics of the activity.

    Single trajectories of a chaotic network differ after a while whatever the step; its statistics should not.

    Parameters
    ----------
    circuit : Circuit
    duration_s, dt_s : float
        As in `simulate`; the first half of `duration_s` is left out.
    **simulation
        Further arguments of `simulate`, all but `record`. With noise or chaos take several trials: the sampling
        error is over trials.

    Returns
    -------
    xarray.Dataset
        Dims (population, statistic): ``value``, ``value_at_half``, ``change`` and ``standard_error`` of the change
        (NaN with one trial); statistics are mean rate, standard deviation over time and half width at half
        maximum of the autocovariance in seconds.

    Raises
    ------
    OptionError
        If `record` is given, or an argument of `simulate` is not valid.

    Warns
    -----
    NumericalWarning
        If a statistic changes by more than 5 % and by more than three standard errors.
    """
    if "record" in simulation:
        raise OptionError("record cannot be given to check_dt: it keeps what it needs.")
    start_s = round(0.5 * duration_s / dt_s) * dt_s
    found = []
    for factor in (1, 2):
        record = Record(start_s=start_s, every=factor, plasticity=False)
        run = simulate(circuit, duration_s=duration_s, dt_s=dt_s / factor, record=record, **simulation)
        found.append(_statistics(run, [population.name for population in circuit.populations]))
    change = found[1] - found[0]
    n_trials = change.shape[0]
    error = change.std(axis=0, ddof=1) / np.sqrt(n_trials) if n_trials > 1 else np.full(change.shape[1:], np.nan)
    dims = ("population", "statistic")
    table = xr.Dataset(
        {
            "value": (dims, found[0].mean(axis=0)),
            "value_at_half": (dims, found[1].mean(axis=0)),
            "change": (dims, change.mean(axis=0)),
            "standard_error": (dims, error),
        },
        coords={"population": [population.name for population in circuit.populations], "statistic": list(STATISTICS)},
        attrs={"dt_s": dt_s, "circuit": circuit.name},
    )
    _warn(table)
    return table


def _statistics(run: xr.Dataset, populations: list[str]) -> np.ndarray:
    """Give every statistic of every population in every trial, (n_trials, n_populations, n_statistics)."""
    rows = []
    for name in populations:
        rate = run["rate"].values[:, :, run["population"].values == name].astype(float)
        rows.append([rate.mean(axis=(1, 2)), rate.std(axis=1).mean(axis=1), _half_width_s(rate) * run.attrs["dt_s"]])
    step = float(run["time"].values[1] - run["time"].values[0]) / run.attrs["dt_s"]
    values = np.array(rows).transpose(2, 0, 1)
    values[:, :, 2] *= step
    return values


def _half_width_s(rate: np.ndarray) -> np.ndarray:
    """Give the lag, in samples, at which the mean autocovariance of the units falls to half, shape (n_trials,)."""
    deviation = rate - rate.mean(axis=1, keepdims=True)
    n = 2 * rate.shape[1]
    spectrum = (np.abs(np.fft.rfft(deviation, n, axis=1)) ** 2).mean(axis=2)
    covariance = np.fft.irfft(spectrum, n, axis=1)[:, : rate.shape[1]]
    is_below = covariance <= 0.5 * covariance[:, :1]
    first = np.where(covariance[:, 0] > 0.0, np.argmax(is_below, axis=1), 0)
    before, after = (covariance[np.arange(len(first)), k] for k in (np.maximum(first - 1, 0), first))
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (before - 0.5 * covariance[:, 0]) / (before - after)
    return np.where(first > 0, first - 1 + part, 0.0)


def _warn(table: xr.Dataset) -> None:
    """Warn of what changes by more than can be blamed on sampling."""
    change = abs(table["change"])
    sure = change > 3.0 * table["standard_error"].fillna(0.0)
    bad = (sure & (change > 0.05 * abs(table["value_at_half"]))).values
    for i, j in np.argwhere(bad)[:1]:
        population, statistic = str(table["population"].values[i]), str(table["statistic"].values[j])
        cell = table.isel(population=i, statistic=j)
        warnings.warn(
            f"{statistic} of population {population} is {float(cell['value']):.4g} with dt_s={table.attrs['dt_s']} and "
            f"{float(cell['value_at_half']):.4g} with half of it: lower dt_s.",
            NumericalWarning,
            stacklevel=3,
        )
