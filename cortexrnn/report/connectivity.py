"""Figures of functional connectivity: all pairs as a matrix, and single filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables
from cortexrnn.report.formats import show_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above this many units names would overlap.
_MAX_NAMED = 24
_CALLED = 0.05


def plot_matrix(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the strength of every pair, target down, source across; those called connections have a dot.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw; a colour bar is put to its right.
    found : xarray.Dataset
        `strength` and `q` over (target, source), from `cortexrnn.encoding.connectivity.functional_connectivity`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(found, "strength", "q")
    strength, q = found["strength"].values, found["q"].values
    n = len(strength)
    largest = float(np.nanpercentile(np.abs(strength), 99)) or 1.0
    shown = ax.imshow(strength, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    target, source = np.nonzero(q <= _CALLED)
    ax.plot(
        source, target, linestyle="none", marker="o", markersize=max(1.2, 34.0 / n), color=style.INK,
        markeredgewidth=0.0,
    )  # fmt: skip
    # A unit with itself is no pair.
    for k in range(n):
        ax.fill_between([k - 0.5, k + 0.5], k - 0.5, k + 0.5, color=style.EQUIVALENCE, linewidth=0.0)
    ax.set_xlim(-0.5, n - 0.5)
    ax.set_ylim(n - 0.5, -0.5)
    for axis, name in ((ax.xaxis, "source"), (ax.yaxis, "target")):
        labels = [show_label(unit, 10) for unit in found[name].values]
        axis.set_ticks(range(n) if n <= _MAX_NAMED else [], labels if n <= _MAX_NAMED else [])
    ax.tick_params(length=0.0)
    if n > 8:
        ax.tick_params(axis="x", labelrotation=90.0)
    ax.set_xlabel("source")
    ax.set_ylabel("target")
    for spine in ax.spines.values():
        spine.set_visible(False)
    bar = ax.figure.colorbar(shown, ax=ax, pad=0.03, fraction=0.05, aspect=22, extend="both")
    bar.outline.set_visible(False)
    bar.set_label(f"log change of the rate, summed over lags\n(dot: false discovery rate below {100 * _CALLED:g} %)")
    return ax


def plot_filter(ax: Axes, pair: xr.Dataset) -> Axes:
    """Draw by what factor a source's spike multiplies a target's rate, with its 95 % band.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    pair : xarray.Dataset
        `filter` and `filter_se` over `lag`, with coordinates `target` and `source`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If it is not one pair.
    """
    if "filter" not in pair or pair["filter"].dims != ("lag",):
        raise DataError("one pair is drawn at a time; expected a variable 'filter' over 'lag'.")
    lag_ms, effect, error = 1e3 * pair["lag"].values, pair["filter"].values, pair["filter_se"].values
    ax.axhline(1.0, color=style.MUTED, linewidth=0.7)
    band = np.exp(effect - 1.96 * error), np.exp(effect + 1.96 * error)
    ax.fill_between(lag_ms, *band, color=style.HISTORY_MODEL, alpha=0.2, linewidth=0.0)
    ax.plot(lag_ms, np.exp(effect), color=style.HISTORY_MODEL, linewidth=1.6)
    ax.set_xlim(0.0, lag_ms[-1])
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("time since the source's spike (ms)")
    ax.set_ylabel("factor of the target's rate")
    ax.set_title(f"{show_label(pair['source'].item(), 16)} to {show_label(pair['target'].item(), 16)}")
    return ax
