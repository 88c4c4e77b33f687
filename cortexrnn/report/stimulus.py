"""Figures of stimulus filters: all covariates side by side, and each in its own unit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_file
from cortexrnn.report.formats import show_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_IN = (3.6, 2.8)
_COLUMNS = 3


def plot_stimulus_filters(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the filters of all covariates with their 95 % bands, each for one standard deviation of its covariate.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        `filter` and `filter_se` over (covariate, lag) and `scale` over covariate, as
        `cortexrnn.encoding.stimulus.FittedStimulus.filters` gives them. Covariates without a filter are left out.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing or no covariate has a filter.
    """
    shown = _with_filter(data)
    for k in range(shown.sizes["covariate"]):
        one = shown.isel(covariate=k)
        colour = style.CONDITIONS[(k + 1) % len(style.CONDITIONS)]
        _draw(ax, one, float(one["scale"]), colour)
    ax.set_ylabel(f"log change of the rate by one SD\nfor {_bin_ms(data)}")
    if shown.sizes["covariate"] > 1:
        ax.legend(loc="best", fontsize=9.0)
    else:
        ax.set_title(show_label(shown["covariate"].values[0], 30))
    return ax


def plot_stimulus_filter(ax: Axes, one: xr.Dataset) -> Axes:
    """Draw the filter of one covariate with its 95 % band, for one unit of it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    one : xarray.Dataset
        `filter` and `filter_se` over lag, with coordinate `covariate`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If it is not one covariate, or has no filter.
    """
    check_variables(one, "filter", "filter_se")
    if one["filter"].dims != ("lag",) or not np.isfinite(one["filter"]).any():
        raise DataError("one filter is drawn at a time; expected a variable 'filter' over 'lag' with numbers.")
    _draw(ax, one, 1.0, style.HISTORY_MODEL)
    ax.set_title(show_label(one["covariate"].item(), 30))
    ax.set_ylabel(f"log change of the rate by 1\nfor {_bin_ms(one)}")
    return ax


def draw_stimulus_filters(folder: str | Path, data: xr.Dataset) -> list[Path]:
    """Draw the filter of every covariate, in its own unit, into one file.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    data : xarray.Dataset
        As `plot_stimulus_filters` takes it.

    Returns
    -------
    list of pathlib.Path
        One SVG file.

    Raises
    ------
    DataError
        If a variable is missing or no covariate has a filter.
    FileAccessError
        If the folder cannot be written to.
    """
    shown = _with_filter(data)
    n = shown.sizes["covariate"]
    n_columns = min(n, _COLUMNS)
    n_rows = -(-n // n_columns)

    def plot(figure):
        panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for k, ax in enumerate(panels[:n]):
            plot_stimulus_filter(ax, shown.isel(covariate=k))
        for ax in panels[n:]:
            ax.set_visible(False)

    size_in = (n_columns * _PANEL_IN[0], n_rows * _PANEL_IN[1])
    return [draw_file(Path(folder) / "stimulus_filters.svg", size_in, plot)]


def _with_filter(data: xr.Dataset) -> xr.Dataset:
    """Keep the covariates that have a filter."""
    check_variables(data, "filter", "filter_se", "scale")
    has_filter = np.isfinite(data["filter"].values).any(axis=1)
    if not has_filter.any():
        raise DataError(
            "no covariate has a filter: each is constant in its trials.", hint="Its weight is in the variable 'summed'."
        )
    return data.isel(covariate=has_filter)


def _draw(ax: Axes, one: xr.Dataset, step: float, colour: str) -> None:
    """Draw the effect of a step of one covariate over the lag."""
    lag_ms = 1e3 * one["lag"].values
    effect, error = step * one["filter"].values, step * one["filter_se"].values
    ax.axhline(0.0, color=style.MUTED, linewidth=0.7, zorder=0)
    if lag_ms[0] < 0.0:
        ax.axvline(0.0, color=style.MUTED, linewidth=0.7, zorder=0)
    ax.fill_between(lag_ms, effect - 1.96 * error, effect + 1.96 * error, color=colour, alpha=0.2, linewidth=0.0)
    ax.plot(lag_ms, effect, color=colour, linewidth=1.6, label=show_label(one["covariate"].item(), 30))
    ax.set_xlim(lag_ms[0], lag_ms[-1])
    ax.set_xlabel("time since the covariate (ms)")


def _bin_ms(data: xr.Dataset) -> str:
    """Say how long a bin lasts."""
    return f"{1e3 * data.attrs['bin_s']:g} ms"
