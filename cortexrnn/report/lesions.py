"""Figures of lesions and perturbations: what a network still can do, and how its choices move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.report import style
from cortexrnn.report.behaviour import plot_psychometric
from cortexrnn.report.figure_file import draw_file
from cortexrnn.report.formats import show_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN = 4.4
_CURVE_HEIGHT_IN = 3.2
_ROW_IN, _REST_IN = 0.24, 0.85
# More conditions than this get a picture with one point each and no names.
MAX_NAMED = 24
_CONDITIONS = ("lesion", "pulse")


def plot_performance(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the fraction correct under every lesion or pulse with its interval, below that of the untouched network.

    Filled are those whose change has an interval that does not hold zero. A line marks the untouched network, its
    interval shaded, a dotted one chance. More than 24 conditions are sorted and not named.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `performance` and `change`, each with its ``_low`` and ``_high``, over `lesion` or `pulse`, and the attribute
        `chance`: from `cortexrnn.training.lesions.ablation` or `perturb`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, from 0 to 1.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    dim = _condition(found)
    names = [f"{what}{end}" for what in ("performance", "change") for end in ("", "_low", "_high")]
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(
            f"there is no variable {missing[0]!r}; there are {', '.join(sorted(map(str, found.data_vars)))}."
        )
    is_named = found.sizes[dim] <= MAX_NAMED
    if not is_named:
        rest = 1 + np.argsort(found["performance"].values[1:], kind="stable")
        found = found.isel({dim: np.append(0, rest)})
    low, high, middle = (found[f"performance{end}"].values for end in ("_low", "_high", ""))
    differs = (found["change_low"].values > 0.0) | (found["change_high"].values < 0.0)
    ax.axvspan(low[0], high[0], color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
    ax.axvline(middle[0], color=style.MUTED, linewidth=0.8, zorder=1)
    ax.axvline(float(found.attrs["chance"]), color=style.MUTED, linewidth=0.8, linestyle=":", zorder=1)
    rows = np.arange(found.sizes[dim])
    ax.hlines(rows, low, high, color=style.HISTORY_MODEL, linewidth=1.2 if is_named else 0.6, zorder=2)
    for is_filled in (True, False):
        ax.plot(
            middle[differs == is_filled], rows[differs == is_filled], linestyle="none", marker="o", zorder=3,
            markersize=4.5 if is_named else 2.5, color=style.HISTORY_MODEL, markeredgewidth=1.0,
            markerfacecolor=style.HISTORY_MODEL if is_filled else "white",
        )  # fmt: skip
    ax.set_ylim(rows[-1] + 0.6, -0.6)
    ax.set_xlim(-0.03, 1.03)
    ax.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    ax.set_xlabel("fraction correct")
    if is_named:
        ax.set_yticks(rows, [show_label(name, 26) for name in found[dim].values])
        ax.tick_params(axis="y", length=0.0)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{rows[-1]} {dim}s, sorted")
    return ax


def plot_shifts(ax: Axes, found: xr.Dataset, *, curve: int = 0, xlabel: str | None = None) -> Axes:
    """Draw the psychometric curves under every pulse over one another.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        From `cortexrnn.training.lesions.perturb`, of a task whose stimulus has levels.
    curve : int
        0-based position along `curve`, where the task has several.
    xlabel : str, optional
        Words for the stimulus; left out, its column.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, from 0 to 1.

    Raises
    ------
    DataError
        If there are no curves.
    """
    if "fitted" not in found:
        raise DataError("there are no psychometric curves: the task's stimulus has no levels.")
    one = found.isel(curve=curve).drop_vars("curve").rename(pulse="curve")
    return plot_psychometric(ax, one, xlabel=xlabel)


def draw_lesions(
    folder: str | Path, *, ablation: xr.Dataset | None = None, perturbation: xr.Dataset | None = None
) -> list[Path]:
    """Draw what lesions and pulses do, one file a figure.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    ablation, perturbation : xarray.Dataset, optional
        From `cortexrnn.training.lesions.ablation` and `perturb`.

    Returns
    -------
    list of pathlib.Path
        SVG files.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    folder, written = Path(folder), []
    for name, found in (("ablation", ablation), ("perturbation", perturbation)):
        if found is not None:
            n_rows = min(found.sizes[_condition(found)], MAX_NAMED)
            size_in = _WIDTH_IN, _REST_IN + _ROW_IN * n_rows
            path = folder / f"{name}.svg"
            written.append(
                draw_file(path, size_in, lambda figure, f=found: plot_performance(figure.subplots(), f))
            )
    if perturbation is not None and "fitted" in perturbation:
        for k, label in enumerate(perturbation["curve"].values):
            ending = f"_{k}" if perturbation.sizes["curve"] > 1 else ""
            path = folder / f"shift{ending}.svg"
            title = str(label) if ending else ""
            written.append(draw_file(path, (_WIDTH_IN, _CURVE_HEIGHT_IN), _shift_plot(perturbation, k, title)))
    return written


def _shift_plot(found: xr.Dataset, curve: int, title: str) -> Callable[[Figure], None]:
    """Give what draws one curve into a figure."""

    def plot(figure: Figure) -> None:
        plot_shifts(figure.subplots(), found, curve=curve)
        if title:
            figure.suptitle(show_label(title, 30), fontsize=10.0)

    return plot


def _condition(found: xr.Dataset) -> str:
    """Give the dimension of the conditions."""
    dims = [name for name in _CONDITIONS if name in found.dims]
    if len(dims) != 1:
        raise DataError(
            f"the dimensions are {', '.join(map(str, found.dims))}; expected lesion or pulse among them."
        )
    return dims[0]
