"""The figures of a free run: the unit beside 95 % of a model's copies of it. Data and copies on the same axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_file
from cortexrnn.report.figures import MAX_VECTOR_SPIKES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE_IN = (7.2, 6.4)
_MODEL = style.HISTORY_MODEL
_MAX_RASTER_TRIALS = 40
_HEADROOM = 2.5
_PREFIX = "free_"


def plot_intervals(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the shares of intervals between spikes over the logarithm of their length.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        ``data`` of a `FreeRun`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    _need(data, "isi")
    edges_ms = 1e3 * np.append(data["interval"].values, data["interval_stop"].values[-1])
    # Intervals within a bin lie left of the logarithm's first whole bin.
    edges_ms[0] = 0.5 * edges_ms[1]
    ax.stairs(data["isi_observed"].values, edges_ms, fill=True, color=style.OBSERVED, label="unit")
    ax.stairs(data["isi_simulated"].values, edges_ms, color=_MODEL, linewidth=1.3, baseline=None, label="model")
    ax.stairs(
        data["isi_high"].values, edges_ms, baseline=data["isi_low"].values, fill=True, color=_MODEL, alpha=0.22
    )
    _log_ticks(ax)
    ax.set(xlim=(edges_ms[0], edges_ms[-1]), xlabel="interval (ms)", ylabel="share of intervals")
    _limit(ax, data, "isi")
    return ax


def plot_autocorrelation(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the rate after a spike; parameters, and what is raised, as for `plot_intervals`.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    data : xarray.Dataset

    Returns
    -------
    matplotlib.axes.Axes
    """
    _need(data, "autocorrelation_hz")
    _band(ax, 1e3 * data["lag"].values, data, "autocorrelation_hz")
    ax.set(xlim=(0.0, 1e3 * float(data["lag"][-1])), xlabel="time since a spike (ms)", ylabel="rate (Hz)")
    _limit(ax, data, "autocorrelation_hz")
    return ax


def plot_fano(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the Fano factor in growing windows; parameters, and what is raised, as for `plot_intervals`.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    data : xarray.Dataset

    Returns
    -------
    matplotlib.axes.Axes
    """
    _need(data, "fano")
    ax.axhline(1.0, color=style.RULE, linewidth=0.8, zorder=0)
    _band(ax, 1e3 * data["window"].values, data, "fano", marker="o")
    _log_ticks(ax)
    ax.set(xlabel="window (ms)", ylabel="Fano factor")
    _limit(ax, data, "fano")
    return ax


def plot_copied_psth(ax: Axes, data: xr.Dataset, *, condition: int = 0) -> Axes:
    """Draw the PSTH of one condition.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        ``data`` of a `FreeRun`.
    condition : int
        Its position among the conditions.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    _need(data, "psth_hz")
    _band(ax, data["time"].values, data.isel(condition=condition), "psth_hz")
    ax.set(xlabel="time from the first bin (s)", ylabel="rate (Hz)")
    _limit(ax, data, "psth_hz")
    return ax


def plot_rasters(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the spikes of the trials above those of the first copy; parameters and errors as for `plot_intervals`.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    data : xarray.Dataset

    Returns
    -------
    matplotlib.axes.Axes
    """
    check_variables(data, "observed_trial", "simulated_trial")
    trials = np.concatenate([data["observed_trial"].values, data["simulated_trial"].values])
    n_shown = min(int(trials.max(initial=0)) + 1, _MAX_RASTER_TRIALS)
    for name, colour, base in (("observed", style.INK, 0), ("simulated", _MODEL, n_shown + 1)):
        trial = data[f"{name}_trial"].values
        shown = trial < n_shown
        times_s = data[f"{name}_time_s"].values[shown]
        rows = base + trial[shown]
        # One path with a break after every spike weighs a sixth of as many lines; a model that runs away is a picture.
        x = np.column_stack([times_s, times_s, np.full(times_s.size, np.nan)]).ravel()
        y = np.column_stack([rows + 0.1, rows + 0.9, np.full(rows.size, np.nan)]).ravel()
        ax.plot(x, y, color=colour, linewidth=0.6, rasterized=times_s.size > MAX_VECTOR_SPIKES)
    ax.set_ylim(2 * n_shown + 1, 0)
    ax.set_yticks([0.5 * n_shown, 1.5 * n_shown + 1.0], ["unit", "model"])
    ax.set_xlabel("time from the first bin (s)")
    return ax


def select_runner(panel: xr.Dataset, name: str) -> xr.Dataset:
    """Cut the free run of one model out of a unit's panel.

    Parameters
    ----------
    panel : xarray.Dataset
        One unit's curves as ``free_psth_hz_observed`` and so on over ``runner``, with dimensions ``free_time`` and
        ``free_lag``.
    name : str
        The model.

    Returns
    -------
    xarray.Dataset
        As `plot_intervals` takes it.
    """
    run = panel.sel(runner=name)
    run = run[[variable for variable in run.data_vars if str(variable).startswith(_PREFIX)]]
    names = [name for name in map(str, run.variables) if name.startswith(_PREFIX)]
    return run.rename({name: name.removeprefix(_PREFIX) for name in names})


def plot_curves(axes: Sequence[Axes], data: xr.Dataset) -> Sequence[Axes]:
    """Draw intervals, autocorrelation, Fano factors and the PSTH of the first condition.

    Parameters
    ----------
    axes : sequence of four matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        As `plot_intervals` takes it.

    Returns
    -------
    sequence of matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    for ax, plot in zip(axes, (plot_intervals, plot_autocorrelation, plot_fano, plot_copied_psth), strict=True):
        plot(ax, data)
    return axes


def draw_free_run(folder: str | Path, data: xr.Dataset) -> list[Path]:
    """Draw rasters, PSTH, intervals, autocorrelation and Fano factors into a file.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    data : xarray.Dataset
        As `plot_intervals` takes it.

    Returns
    -------
    list of pathlib.Path
        One SVG file.

    Raises
    ------
    DataError
        If a variable is missing.
    FileAccessError
        If the folder cannot be written to.
    """
    return [draw_file(Path(folder) / "free_run.svg", _SIZE_IN, lambda figure: _draw(figure, data))]


def _draw(figure: Figure, data: xr.Dataset) -> None:
    """Lay out all five figures."""
    grid = figure.add_gridspec(3, 2)
    plot_rasters(figure.add_subplot(grid[0, :]), data)
    plot_curves([figure.add_subplot(grid[1 + k // 2, k % 2]) for k in range(4)], data)


def _need(data: xr.Dataset, name: str) -> None:
    """Refuse a dataset without a curve's four variables."""
    check_variables(data, *(f"{name}_{part}" for part in ("observed", "simulated", "low", "high")))


def _band(ax: Axes, x: np.ndarray, data: xr.Dataset, name: str, *, marker: str = "") -> None:
    """Draw the unit's curve over mean and 95 % range of the copies'."""
    ax.fill_between(x, data[f"{name}_low"], data[f"{name}_high"], color=_MODEL, alpha=0.22, linewidth=0.0)
    ax.plot(x, data[f"{name}_simulated"], color=_MODEL, linewidth=1.3, label="model")
    ax.plot(x, data[f"{name}_observed"], color=style.INK, linewidth=1.1, marker=marker, markersize=3.5, label="unit")


def _limit(ax: Axes, data: xr.Dataset, name: str) -> None:
    """Start at zero and end well above the unit's curve: a model that runs away leaves the axes and not the unit."""
    largest = [np.nanmax(data[f"{name}_{part}"].values, initial=0.0) for part in ("observed", "high")]
    top = min(1.08 * max(largest), _HEADROOM * largest[0]) if largest[0] > 0.0 else 1.08 * largest[1]
    ax.set_ylim(0.0, top if top > 0.0 else 1.0)


def _log_ticks(ax: Axes) -> None:
    """Scale the abscissa logarithmically and write its decades as plain numbers."""
    from matplotlib.ticker import NullLocator

    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    # Every tick is an element of the page.
    ax.xaxis.set_minor_locator(NullLocator())
