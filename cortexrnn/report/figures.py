"""Figures of one unit: each function draws a labelled piece of a result onto the axes it is given.

A `panel` is the part of the `panels` dataset that belongs to one unit, as `select_unit` cuts it out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.formats import show_label
from cortexrnn.report.style import FONT_MEASURED, write_instead

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above this many spikes a raster is a picture in the SVG: as a path it would weigh more than 150 kB.
MAX_VECTOR_SPIKES = 5000
# A PSTH at 1 ms bins shows spikes, not a rate: it is averaged for the eye to at most this many bins.
MAX_PSTH_BINS = 100
# A filter of 500 lags is smooth beyond the first ones; this many points draw it.
MAX_LAGS = 120
# More conditions than this cannot be told apart by name; they get neighbouring steps of a colour map.
MAX_NAMED_CONDITIONS = len(style.CONDITIONS)
# A factor this large would press the rest of the filter flat; beyond it the axis becomes logarithmic.
_LINEAR_FACTOR = 8.0


def select_unit(panels: xr.Dataset, position: int) -> xr.Dataset:
    """Cut one unit out of `panels`, its spikes included.

    Parameters
    ----------
    panels : xarray.Dataset
        Variables over ``unit`` (`psth_hz`, `isi_observed`, ...) and the flat raster over ``spike``
        (`spike_unit`, the 0-based position of the spike's unit; `spike_trial`; `spike_time_s`).
    position : int
        0-based position along ``unit``.

    Returns
    -------
    xarray.Dataset
        Without the dimension ``unit``, and with only this unit's spikes.
    """
    panel = panels.isel(unit=position)
    if "spike_unit" not in panel:
        return panel
    return panel.isel(spike=np.flatnonzero(panels["spike_unit"].values == position))


def plot_raster(
    ax: Axes, panel: xr.Dataset, *, n_trials: int | None = None, max_vector_spikes: int = MAX_VECTOR_SPIKES
) -> Axes:
    """Draw one tick a spike, one row a trial; trials are grouped by condition where `panel` knows it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    panel : xarray.Dataset
        One unit: `spike_trial` (0-based row) and `spike_time_s` over ``spike``; optionally
        `trial_condition` over ``trial``, the 0-based condition of every trial.
    n_trials : int, optional
        Number of trials, so that silent trials keep their row; by default the last trial with a spike.
    max_vector_spikes : int
        With more spikes than this they become one picture inside the SVG.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    times_s = panel["spike_time_s"].values
    is_dense = times_s.size > max_vector_spikes
    trials = panel["spike_trial"].values.astype(int)
    condition = panel["trial_condition"].values.astype(int) if "trial_condition" in panel else None
    n_rows = n_trials or int(trials.max(initial=-1)) + 1
    row_of_trial = np.arange(n_rows)
    if condition is not None:
        n_rows = condition.size
        row_of_trial = np.empty(n_rows, dtype=int)
        row_of_trial[np.argsort(condition, kind="stable")] = np.arange(n_rows)
    colours = _condition_colours(panel.sizes.get("condition", 1))
    groups = [(colours[0], np.ones(trials.size, dtype=bool))]
    if condition is not None:
        groups = [(colour, condition[trials] == code) for code, colour in enumerate(colours)]
    for colour, chosen in groups:
        _draw_ticks(ax, times_s[chosen], row_of_trial[trials[chosen]], colour, is_dense=is_dense)
    if "time" in panel.coords:
        ax.set_xlim(*_time_limits(panel["time"].values))
    ax.set_ylim(max(n_rows, 1) - 0.5, -0.5)
    ax.set_yticks([0, max(n_rows, 1) - 1], ["1", str(max(n_rows, 1))])
    ax.set_ylabel("trial")
    return ax


def plot_psth(ax: Axes, panel: xr.Dataset) -> Axes:
    """Draw the trial-averaged rate and the rate that M1 expects, one colour a condition.

    Bins are averaged for display to at most `MAX_PSTH_BINS`; the model is drawn as it is.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    panel : xarray.Dataset
        One unit: `psth_hz` and `psth_model_hz` with dims (condition, time), in Hz.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    colours = _condition_colours(panel.sizes["condition"])
    observed = _thin_out(panel["psth_hz"], MAX_PSTH_BINS)
    model = _thin_out(panel["psth_model_hz"], 4 * MAX_PSTH_BINS)
    is_single = len(colours) == 1
    for code, (colour, label) in enumerate(zip(colours, panel["condition"].values, strict=True)):
        edges_s, rate_hz = _bin_edges(observed["time"].values), observed.isel(condition=code).values
        if is_single:
            ax.stairs(rate_hz, edges_s, fill=True, color=style.OBSERVED, label="data")
        else:
            ax.stairs(rate_hz, edges_s, color=colour, linewidth=0.6, alpha=0.55, baseline=None)
        ax.plot(
            model["time"].values,
            model.isel(condition=code).values,
            color=style.PSTH_MODEL if is_single else colour,
            label="M1" if is_single else show_label(label, 14),
        )
    ax.set_xlim(*_time_limits(panel["time"].values))
    ax.set_ylim(bottom=0.0)
    ax.locator_params(axis="y", nbins=4)
    ax.set_xlabel(f"{panel['time'].attrs.get('long_name', 'time from event')} (s)")
    ax.set_ylabel("rate (Hz)")
    if len(colours) <= MAX_NAMED_CONDITIONS:
        _legend(ax, n_columns=min(len(colours) + is_single, 3))
    return ax


def plot_isi(ax: Axes, panel: xr.Dataset, *, window_s: float | None = None) -> Axes:
    """Draw the histogram of interspike intervals with what the stimulus alone and the history rung expect.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    panel : xarray.Dataset
        One unit: `isi_observed` over ``isi`` and `isi_model` over (model, isi), in counts; the coordinate
        ``isi`` holds left edges in seconds, ``model`` the names "M1" or "S1", and "history".
    window_s : float, optional
        Draw only intervals below this; by default all.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    edges_ms = 1e3 * _bin_edges(panel["isi"].values)
    stop = edges_ms.size - 1
    if window_s is not None:
        stop = max(int(np.searchsorted(edges_ms, 1e3 * window_s - 1e-9)), 1)
        stop = min(stop, edges_ms.size - 1)
    shown_ms = edges_ms[: stop + 1]
    ax.stairs(panel["isi_observed"].values[:stop], shown_ms, fill=True, color=style.OBSERVED, label="data")
    for name in panel["model"].values:
        is_history = str(name) == "history"
        colour, dashes = (style.HISTORY_MODEL, "solid") if is_history else (style.PSTH_MODEL, (0, (4, 1.5)))
        expected = panel["isi_model"].sel(model=name).values[:stop]
        if np.isfinite(expected).any():
            # Steps and not a line: the models too are expectations per bin.
            ax.stairs(
                expected,
                shown_ms,
                color=colour,
                linestyle=dashes,
                linewidth=1.3,
                baseline=None,
                label=str(name),
            )
    ax.set_xlim(0.0, shown_ms[-1])
    ax.set_ylim(bottom=0.0)
    ax.locator_params(axis="both", nbins=4 if window_s is None else 5)
    ax.set_xlabel("interval (ms)")
    return ax


def plot_history_filter(ax: Axes, panel: xr.Dataset) -> Axes:
    """Draw by what factor a spike multiplies the later rate, with its 95 % band; 1 is no effect.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    panel : xarray.Dataset
        One unit: `history_gain_factor` over ``lag`` (seconds) and, where known, `history_low` and
        `history_high`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    panel = _thin_out_lags(panel)
    lag_ms = 1e3 * panel["lag"].values
    factor = panel["history_gain_factor"].values
    known = np.isfinite(factor) & (lag_ms > 0.0)
    if not known.any():
        return write_instead(ax, "no GLM history filter for this unit")
    ax.axhline(1.0, color=style.MUTED, linewidth=0.7, zorder=1)
    top = float(factor[known].max())
    if {"history_low", "history_high"} <= set(panel.data_vars):
        low, high = panel["history_low"].values[known], panel["history_high"].values[known]
        ax.fill_between(
            lag_ms[known], low, high, color=style.HISTORY_MODEL, alpha=0.18, linewidth=0, label="95 % band"
        )
        # A band that explodes where spikes are few must not hide the curve.
        top = max(top, min(float(np.nanmax(high, initial=1.0)), 1.6 * max(top, 1.0)))
    ax.plot(lag_ms[known], factor[known], color=style.HISTORY_MODEL, label="filter")
    if top > _LINEAR_FACTOR:
        ax.set_yscale("log")
        ax.set_ylim(max(0.02, 0.7 * float(factor[known].min())), 1.3 * top)
        ticks = [
            tick for tick in (0.03, 0.1, 0.3, 1, 3, 10, 30, 100) if ax.get_ylim()[0] < tick < ax.get_ylim()[1]
        ]
        ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        ax.set_yticks([], minor=True)
    else:
        ax.set_ylim(0.0, max(1.5, 1.08 * top))
        ax.locator_params(axis="y", nbins=5)
    _log_milliseconds(ax, lag_ms[known])
    ax.set_xlabel("time since a spike (ms)")
    ax.set_ylabel("rate multiplied by")
    return ax


def _draw_ticks(ax: Axes, times_s: np.ndarray, rows: np.ndarray, colour: str, *, is_dense: bool) -> None:
    """Draw spikes as one broken line: a single path weighs a tenth of one element a spike."""
    x = np.repeat(times_s.astype(float), 3)
    y = np.repeat(rows.astype(float), 3)
    x[2::3] = math.nan
    y[0::3] -= 0.42
    y[1::3] += 0.42
    # A picture without intermediate shades compresses to a third.
    ax.plot(
        x,
        y,
        color=colour,
        linewidth=0.6 if is_dense else 0.85,
        solid_capstyle="butt",
        rasterized=is_dense,
        antialiased=not is_dense,
    )


def _condition_colours(n_conditions: int) -> list[Any]:
    """Give one colour a condition: named hues for a few, steps of a colour map for many."""
    if n_conditions <= MAX_NAMED_CONDITIONS:
        return list(style.CONDITIONS[:n_conditions])
    from matplotlib import colormaps

    return [tuple(rgba) for rgba in colormaps["viridis"](np.linspace(0.0, 0.85, n_conditions))]


def _thin_out(rates: xr.DataArray, n_bins: int) -> xr.DataArray:
    """Average neighbouring bins so that at most `n_bins` remain; a bin that nobody observed stays NaN."""
    width = math.ceil(rates.sizes["time"] / n_bins)
    if width <= 1:
        return rates
    return rates.coarsen(time=width, boundary="trim", coord_func={"time": "min"}).mean()


def _thin_out_lags(panel: xr.Dataset) -> xr.Dataset:
    """Keep at most `MAX_LAGS` lags, evenly spaced on the logarithmic axis on which they are drawn."""
    n_lags = panel.sizes["lag"]
    if n_lags <= MAX_LAGS:
        return panel
    kept = np.unique(np.rint(np.geomspace(1.0, n_lags, MAX_LAGS)).astype(int)) - 1
    return panel.isel(lag=kept)


def _bin_edges(left: np.ndarray) -> np.ndarray:
    """Give all edges of evenly spaced bins from their left ones."""
    width = float(left[1] - left[0]) if left.size > 1 else 1e-3
    return np.append(left, left[-1] + width)


def _time_limits(time_s: np.ndarray) -> tuple[float, float]:
    """Give the window that the bins of `time_s` cover."""
    edges_s = _bin_edges(time_s)
    return float(edges_s[0]), float(edges_s[-1])


def _log_milliseconds(ax: Axes, lag_ms: np.ndarray) -> None:
    """Make a logarithmic time axis with plain numbers, so that 2 ms and 200 ms can both be read."""
    if lag_ms.size > 1:
        ax.set_xscale("log")
        ax.set_xlim(lag_ms[0], lag_ms[-1])
        ticks = [
            tick
            for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
            if lag_ms[0] <= tick <= lag_ms[-1]
        ]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        ax.set_xticks([], minor=True)


def _legend(ax: Axes, n_columns: int) -> None:
    """Put a legend above the axes, where it covers no data."""
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        ncols=n_columns,
        borderpad=0.1,
        handlelength=1.3,
        columnspacing=1.0,
        prop={"family": [FONT_MEASURED], "size": 9.5},
    )
