"""The figure of what was read off a fitted model: time constants and frequencies of its modes, and its responses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN = (8.4, 3.4)
# Colour, marker, whether it is filled, line.
_LOOPS = {
    "open loop": (style.HISTORY_MODEL, "o", True, "solid"),
    "closed loop": (style.PSTH_MODEL, "s", False, (0, (4.0, 2.0))),
    "recording": (style.INK, "^", False, "solid"),
}
# Area in points of a mode that carries everything, and of one that carries next to nothing.
_LARGEST, _SMALLEST = 80.0, 8.0


def plot_read_off(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw time constants over frequencies, larger marks for modes that carry more of the response.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        Over mode: `tau_s`, `frequency_hz`, `share` and `mode_loop`. Modes that grow are left out.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(found, "tau_s", "frequency_hz", "share", "mode_loop")
    tau_ms, loops = 1e3 * found["tau_s"].values, found["mode_loop"].values
    for label, (colour, marker, is_filled, _) in _LOOPS.items():
        some = (loops == label) & (tau_ms > 0.0) & np.isfinite(tau_ms)
        if some.any():
            ax.scatter(
                found["frequency_hz"].values[some], tau_ms[some],
                s=_SMALLEST + (_LARGEST - _SMALLEST) * np.clip(found["share"].values[some], 0.0, 1.0),
                marker=marker, edgecolors=colour, facecolors=colour if is_filled else "none", linewidths=1.2,
                alpha=0.7, label=label, zorder=2 + (not is_filled),
            )  # fmt: skip
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
    # Decays without a turn lie at 0 Hz and modes of single bins at the highest frequency: all must be seen.
    ax.set_xscale("symlog", linthresh=1.0)
    largest = found["frequency_hz"].values.max(initial=10.0)
    ax.set_xlim(-0.3, 2.0 * largest)
    ticks = np.array([0.0, 1.0, 10.0, 100.0, 1000.0])
    ax.set_xticks(ticks[ticks <= 2.0 * largest])
    ax.set_xticks([], minor=True)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("frequency (Hz)")
    ax.set_ylabel("time constant (ms)")
    _legend(ax)
    return ax


def plot_responses(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw what a spike does to the log of the rate.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `response` over (loop, lag), lags in seconds.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If the variable is missing.
    """
    check_variables(found, "response")
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for label in found["loop"].values:
        colour, _, _, line = _LOOPS[str(label)]
        values = found["response"].sel(loop=label).values
        ax.plot(1e3 * found["lag"].values, values, color=colour, linestyle=line, linewidth=1.4, label=str(label))
    ax.set_xlim(left=0.0)
    ax.set_xlabel("time after a spike (ms)")
    ax.set_ylabel("change of log rate")
    _legend(ax)
    return ax


def draw_read_off(path: str | Path, found: xr.Dataset) -> Path:
    """Write responses and modes side by side.

    Parameters
    ----------
    path : path
        Its ending says as what the figure is written.
    found : xarray.Dataset
        As `ReadOff.to_dataset` gives it.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileAccessError
        If the file cannot be written.
    """

    def plot(figure) -> None:
        left, right = figure.subplots(1, 2)
        plot_responses(left, found)
        plot_read_off(right, found)

    return draw_file(Path(path), _SIZE_IN, plot)


def _legend(ax: Axes) -> None:
    """Put a legend above the axes, where it covers no data."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderpad=0.1, handlelength=1.4, columnspacing=1.0,
            frameon=False, fontsize="small",
        )  # fmt: skip
