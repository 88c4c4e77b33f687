"""The figure of a goodness of fit: rescaled intervals against the law that they should have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_goodness(ax: Axes, curve: xr.Dataset, *, colour: str = style.HISTORY_MODEL, label: str = "") -> Axes:
    """Draw the cumulative distribution of rescaled intervals against the model's, with its 95 % band.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw; several models can be drawn on the same axes.
    curve : xarray.Dataset
        ``curve`` of a `GoodnessOfFit`.
    colour : str
        Of the line.
    label : str
        For a legend.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(curve, "model", "observed")
    if curve.attrs["n_spikes"] == 0:
        return style.write_instead(ax, "no spikes to rescale")
    limit = float(curve.attrs["limit"])
    diagonal = np.array([0.0, 1.0])
    ax.fill_between(diagonal, diagonal - limit, diagonal + limit, color=style.EQUIVALENCE, zorder=0)
    ax.plot(diagonal, diagonal, color=style.MUTED, linewidth=0.8, zorder=1)
    ax.plot(curve["model"], curve["observed"], color=colour, linewidth=1.5, label=label or None, zorder=2)
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0), xlabel="quantile expected", ylabel="quantile of rescaled intervals")
    ax.set_aspect("equal")
    return ax


def plot_rescaled(ax: Axes, panel: xr.Dataset) -> Axes:
    """Draw the rescaled intervals of one unit under M1 (dashed), S1 (dotted) and the history GLM (solid).

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    panel : xarray.Dataset
        One unit's `rescaled` over (judged, quantile), and `rescaled_limit`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    looks = {
        "M1": (style.PSTH_MODEL, (0, (4.0, 2.0))),
        "S1": (style.PSTH_MODEL, (0, (1.0, 1.2))),
        "M5": (style.HISTORY_MODEL, "-"),
    }
    limit, diagonal = float(panel["rescaled_limit"]), np.array([0.0, 1.0])
    ax.fill_between(diagonal, diagonal - limit, diagonal + limit, color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
    ax.plot(diagonal, diagonal, color=style.MUTED, linewidth=0.8, zorder=1)
    for name in panel["judged"].values:
        colour, dashes = looks[str(name)]
        ax.plot(
            panel["quantile"], panel["rescaled"].sel(judged=name), color=colour, linestyle=dashes, linewidth=1.5,
            label=str(name), zorder=2,
        )  # fmt: skip
    ax.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0), xlabel="quantile expected", ylabel="quantile of intervals")
    ax.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0), borderpad=0.1)
    return ax


def draw_goodness(folder: str | Path, curve: xr.Dataset) -> list[Path]:
    """Draw a goodness of fit into a file.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    curve : xarray.Dataset
        As `plot_goodness` takes it.

    Returns
    -------
    list of pathlib.Path
        One SVG file.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    return [draw_plot(Path(folder) / "goodness_of_fit.svg", lambda ax: plot_goodness(ax, curve))]
