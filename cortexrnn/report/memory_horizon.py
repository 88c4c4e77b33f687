"""The figure of a memory horizon: losses over the number of inputs seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN = (4.6, 3.4)
_NETWORK, _CHAIN = style.HISTORY_MODEL, style.PSTH_MODEL
# Room above the network's losses: a chain that fits noise must not flatten all the rest.
_HEADROOM = 1.35


def plot_horizon(ax: Axes, losses: xr.Dataset, *, horizon: int | None = None) -> Axes:
    """Draw losses over the number of inputs seen, with bars of two standard errors.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    losses : xarray.Dataset
        ``losses`` of a `MemoryHorizon`.
    horizon : int, optional
        Marked where there is one.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(losses, "loss", "loss_se", "full_loss")
    depth, unit = losses["depth"].values, losses.attrs["unit"]
    full = float(losses["full_loss"])
    ax.axhline(full, color=_NETWORK, linewidth=1.0, linestyle=(0, (4, 2)), label="network, all inputs", zorder=1)
    if "entropy_rate" in losses:
        rate = float(losses["entropy_rate"])
        ax.axhline(rate, color=style.INK, linewidth=1.0, linestyle=":", label="entropy rate", zorder=1)
    if "exact" in losses:
        ax.plot(depth, losses["exact"], color=style.INK, linewidth=1.2, label="least possible, k inputs", zorder=2)
    if "chain_loss" in losses:
        _with_bars(ax, losses, "chain_loss", _CHAIN, "s", "Markov chain of order k")
    _with_bars(ax, losses, "loss", _NETWORK, "o", "network, last k inputs")
    if horizon is not None:
        ax.axvline(horizon, color=style.RULE, linewidth=5.0, zorder=0)
    lowest = min(full, float(losses["loss"].min()), float(losses.get("entropy_rate", full)))
    highest = float((losses["loss"] + 2.0 * losses["loss_se"]).max())
    reach = max(highest - lowest, 5.0 * losses.attrs["margin"])
    ax.set_ylim(lowest - 0.15 * reach, lowest + _HEADROOM * reach)
    ax.set_xlabel("inputs seen, k")
    ax.set_ylabel(f"loss ({unit})")
    ax.legend(loc="best", fontsize=9.0)
    return ax


def draw_horizon(folder: str | Path, losses: xr.Dataset, *, horizon: int | None = None) -> list[Path]:
    """Draw a memory horizon into a file.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    losses : xarray.Dataset
        As `plot_horizon` takes it.
    horizon : int, optional

    Returns
    -------
    list of pathlib.Path
        One SVG file.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    path = Path(folder) / "memory_horizon.svg"
    return [draw_file(path, _SIZE_IN, lambda figure: plot_horizon(figure.subplots(), losses, horizon=horizon))]


def _with_bars(ax: Axes, losses: xr.Dataset, name: str, colour: str, marker: str, label: str) -> None:
    """Draw one line with its errors."""
    depth, values, errors = losses["depth"].values, losses[name].values, 2.0 * losses[f"{name}_se"].values
    ax.errorbar(depth, values, errors, color=colour, marker=marker, markersize=4.0, linewidth=1.3, label=label)
