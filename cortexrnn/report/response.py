"""Figures of responses: two inputs against their sum, gains over operating points and frequencies, and driven chaos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNSTABLE = (0, (4, 2))
_SUPRALINEAR, _SUBLINEAR = style.PSTH_MODEL, style.HISTORY_MODEL


def plot_superposition(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the mean change of rates by two inputs, by each alone, and the sum of the two.

    Between response and prediction the area is coloured: supralinear orange, sublinear blue.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        From `cortexrnn.theory.response.superposition`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(data, "response_a", "response_b", "response_both", "response_none", "linear")
    names = ("response_a", "response_b", "response_both", "linear")
    a, b, both, linear = ((data[name] - data["response_none"]).mean("unit").values for name in names)
    time_ms = 1e3 * data["time"].values
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for more, colour in ((both >= linear, _SUPRALINEAR), (both <= linear, _SUBLINEAR)):
        ax.fill_between(time_ms, linear, both, where=more, color=colour, alpha=0.18, linewidth=0.0, zorder=1)
    ax.plot(time_ms, a, color=style.NOT_HISTORY, linewidth=1.1, label="a alone")
    ax.plot(time_ms, b, color=style.NOT_HISTORY, linewidth=1.1, linestyle=":", label="b alone")
    ax.plot(time_ms, linear, color=style.INK, linewidth=1.1, linestyle=_UNSTABLE, label="sum of both")
    ax.plot(time_ms, both, color=style.INK, linewidth=1.7, label="a and b together")
    signed = float(data.attrs["signed_index"])
    ax.set_title(f"{abs(signed):.0%} {'above' if signed > 0.0 else 'below'} the sum", loc="left", fontsize=10.5)
    ax.set(xlim=(0.0, time_ms[-1]), xlabel="time (ms)", ylabel="change of the mean rate")
    ax.legend(loc="best")
    return ax


def plot_superposition_units(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw, for every unit at the time of its largest change, this change against its linear prediction.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        From `cortexrnn.theory.response.superposition`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(data, "response_both", "response_none", "linear", "kind")
    actual = (data["response_both"] - data["response_none"]).values
    linear = (data["linear"] - data["response_none"]).values
    units = np.arange(actual.shape[1])
    at = np.maximum(np.abs(actual), np.abs(linear)).argmax(axis=0)
    actual, linear = actual[at, units], linear[at, units]
    ends = [min(actual.min(), linear.min(), 0.0), max(actual.max(), linear.max(), 0.0)]
    ax.plot(ends, ends, color=style.RULE, linewidth=1.0, zorder=0)
    kinds = data["kind"].values
    for kind, colour in (("supralinear", _SUPRALINEAR), ("linear", style.MUTED), ("sublinear", _SUBLINEAR)):
        chosen = kinds == kind
        if chosen.any():
            label = f"{kind}: {chosen.sum()}"
            ax.plot(linear[chosen], actual[chosen], "o", color=colour, markersize=3.6, label=label)
    ax.set(xlabel="sum of the changes by a and by b", ylabel="change by a and b together")
    ax.legend(loc="best", handletextpad=0.2)
    return ax


def plot_static_gain(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the static gain to one input over the background, one line a branch; rings where it diverges.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        Of one input, and of one unit or the mean over units: ``static_gain`` over (branch, level).

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(data, "static_gain", "is_stable", "is_singular", "background")
    level, words = _level_axis(data)
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    colours = [style.CONDITIONS[k % len(style.CONDITIONS)] for k in range(data.sizes["branch"])]
    for gain, stable, singular, colour in zip(
        data["static_gain"].values, data["is_stable"].values, data["is_singular"].values, colours, strict=True
    ):
        finite = np.where(np.isfinite(gain), gain, np.nan)
        for chosen, dashes, width in ((stable, "-", 1.6), (~stable, _UNSTABLE, 1.1)):
            ax.plot(level, np.where(chosen, finite, np.nan), color=colour, linestyle=dashes, linewidth=width)
            alone = chosen & np.isfinite(finite) & ~_has_neighbour(chosen & np.isfinite(finite))
            ax.plot(level[alone], finite[alone], ".", color=colour, markersize=4.0)
        for at in level[singular]:
            ax.axvline(at, color=colour, linewidth=0.8, linestyle=":")
    ax.set_xlabel(words)
    ax.set_ylabel(f"gain to {data['input'].values}, {data.attrs.get('unit', '')}")
    return ax


def plot_dynamic_gain(ax: Axes, data: xr.Dataset) -> Axes:
    """Draw the size of the dynamic gain over the frequency at every stable point, darker at higher levels.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    data : xarray.Dataset
        Of one input, and of one unit or the mean over units: ``dynamic_gain`` over (branch, level, frequency).

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; frequencies on a logarithmic scale where they span a factor of ten.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(data, "dynamic_gain", "background")
    size, frequency = np.abs(data["dynamic_gain"].values), data["frequency"].values
    positive = frequency[frequency > 0.0]
    is_log = positive.size > 1 and positive.max() >= 10.0 * positive.min()
    shown = frequency > 0.0 if is_log else np.ones(frequency.size, bool)
    # Ticks of a logarithmic axis are mathematics, which the style of the package does not read.
    x = np.log10(frequency[shown]) if is_log else frequency[shown]
    values, words = _level_axis(data)
    n_levels = data.sizes["level"]
    for k in range(n_levels):
        share = 0.25 + 0.75 * (k + 1) / n_levels
        for line in size[:, k]:
            if np.isfinite(line).all():
                label = f"{values[k]:g}" if k in (0, n_levels // 2, n_levels - 1) else None
                ax.plot(x, line[shown], color=style.HISTORY_MODEL, alpha=share, linewidth=1.3, label=label)
    if is_log:
        decades = np.arange(np.ceil(x[0] - 1e-9), np.floor(x[-1] + 1e-9) + 1.0)
        ax.set_xticks(decades, [f"{10.0**value:g}" for value in decades])
    ax.set(xlim=(x[0], x[-1]), xlabel="frequency (Hz)")
    ax.set_ylim(bottom=0.0)
    ax.set_ylabel(f"gain to {data['input'].values}, {data.attrs.get('unit', '')}")
    ax.legend(title=words, loc="best")
    return ax


def _level_axis(data: xr.Dataset) -> tuple[np.ndarray, str]:
    """Give where levels stand and what they are: the level of the only input that varies, or their number."""
    background = np.atleast_2d(data["background"].transpose("level", ...).values.T).T
    varies = np.flatnonzero(np.ptp(background, axis=0) > 0.0)
    if varies.size != 1:
        return np.arange(len(background)), "level"
    return background[:, varies[0]], "background"


def _has_neighbour(chosen: np.ndarray) -> np.ndarray:
    """Tell which entries have a chosen one beside them."""
    padded = np.concatenate([[False], chosen, [False]])
    return padded[:-2] | padded[2:]
