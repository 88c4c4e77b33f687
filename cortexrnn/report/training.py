"""The figures of a training: how it went, and what it did to the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import draw_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN = (7.2, 3.0)


def plot_history(loss_ax: Axes, performance_ax: Axes, history: xr.Dataset) -> tuple[Axes, Axes]:
    """Draw loss and performance over the steps of a training.

    Parameters
    ----------
    loss_ax, performance_ax : matplotlib.axes.Axes
    history : xarray.Dataset
        Over `step`: loss, validation_loss and performance.

    Returns
    -------
    tuple of matplotlib.axes.Axes
    """
    loss_ax.plot(history["step"], history["loss"], color=style.MUTED, label="training batch")
    loss_ax.plot(history["step"], history["validation_loss"], color=style.INK, label="held-out trials")
    loss_ax.set_yscale("log")
    # Plain numbers: the figures' style does not typeset powers.
    loss_ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    loss_ax.yaxis.set_minor_formatter(lambda value, _: "")
    loss_ax.set_xlabel("step")
    loss_ax.set_ylabel("loss")
    loss_ax.legend()
    performance_ax.plot(history["step"], history["performance"], color=style.HISTORY_MODEL, marker="o", markersize=3)
    performance_ax.set_ylim(0.0, 1.02)
    performance_ax.set_xlabel("step")
    performance_ax.set_ylabel("fraction correct")
    return loss_ax, performance_ax


def plot_weights(before_ax: Axes, after_ax: Axes, weights: xr.Dataset) -> tuple[Axes, Axes]:
    """Draw a weight matrix before and after training, on one scale with zero in its middle.

    Parameters
    ----------
    before_ax, after_ax : matplotlib.axes.Axes
        A colour bar is put beside the second.
    weights : xarray.Dataset
        ``before`` and ``after`` over (post, pre).

    Returns
    -------
    tuple of matplotlib.axes.Axes
    """
    both = np.abs(np.stack([weights["before"].values, weights["after"].values]))
    largest = float(np.percentile(both, 99.5)) or 1.0
    for ax, name in ((before_ax, "before"), (after_ax, "after")):
        image = ax.imshow(
            weights[name].values, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest", aspect="equal"
        )
        ax.set_title(f"{name} training", fontsize=10.5)
        ax.set_xlabel("from unit")
    before_ax.set_ylabel("to unit")
    after_ax.figure.colorbar(image, ax=[before_ax, after_ax], shrink=0.85, label="weight")
    return before_ax, after_ax


def draw_training(folder: str | Path, history: xr.Dataset, weights: xr.Dataset) -> list[Path]:
    """Draw a training into files.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    history, weights : xarray.Dataset
        As `plot_history` and `plot_weights` take them.

    Returns
    -------
    list of pathlib.Path
        SVG files.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    return [
        draw_file(folder / "training.svg", _SIZE_IN, lambda figure: plot_history(*figure.subplots(1, 2), history)),
        draw_file(folder / "weights.svg", _SIZE_IN, lambda figure: plot_weights(*figure.subplots(1, 2), weights)),
    ]
