"""Figures of behaviour: psychometric and chronometric curves, and example trials, from labelled results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import OptionError
from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_file
from cortexrnn.report.formats import show_label
from cortexrnn.report.style import FONT_MEASURED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN = 4.4
_HEIGHT_IN = 3.2
# More channels than this are drawn as a picture, one row each.
MAX_LINES = 6
_OUTCOMES = {"correct": True, "wrong": False}


def plot_psychometric(ax: Axes, curves: xr.Dataset, *, xlabel: str | None = None) -> Axes:
    """Draw the fraction of a choice at every level with its interval, and the fitted curve.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curves : xarray.Dataset
        `fraction`, `fraction_low` and `fraction_high` over (curve, level), `fitted` over (curve, x).
    xlabel : str, optional
        Words for the stimulus; left out, the attribute ``stimulus``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, from 0 to 1.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(curves, "fraction", "fraction_low", "fraction_high", "fitted")
    ax.axhline(0.5, color=style.RULE, linewidth=0.8, zorder=0)
    if float(curves["level"].min()) < 0.0 < float(curves["level"].max()):
        ax.axvline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    # Points of several curves stand side by side, so that no bar hides another.
    aside = 0.006 * float(np.ptp(curves["level"].values))
    for k, (label, colour) in enumerate(_curve_colours(curves).items()):
        one = curves.isel(curve=k)
        ax.plot(one["x"], one["fitted"], color=colour, label=show_label(label, 18), zorder=2)
        at = one["level"].values + aside * (k - 0.5 * (curves.sizes["curve"] - 1))
        _points(ax, at, [one[f"fraction{end}"].values for end in ("", "_low", "_high")], colour)
    ax.set_ylim(-0.03, 1.03)
    ax.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    ax.set_xlabel(_words(curves.attrs.get("stimulus", "stimulus")) if xlabel is None else xlabel)
    ax.set_ylabel(f"fraction of choice {curves.attrs.get('choice', 0)}")
    _legend(ax, curves.sizes["curve"])
    return ax


def plot_chronometric(ax: Axes, curves: xr.Dataset, *, xlabel: str | None = None) -> Axes:
    """Draw mean reaction times against the strength of the stimulus: right answers filled, wrong ones open.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw; the strength is on a logarithmic axis where no level is zero.
    curves : xarray.Dataset
        `mean_s`, `mean_s_low` and `mean_s_high` over (curve, outcome, level), `fitted_s` over (curve, x).
    xlabel : str, optional
        Words for the stimulus; left out, the attribute ``stimulus``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(curves, "mean_s", "mean_s_low", "mean_s_high", "fitted_s")
    levels = curves["level"].values
    for k, (label, colour) in enumerate(_curve_colours(curves).items()):
        one = curves.isel(curve=k)
        ax.plot(one["x"], one["fitted_s"], color=colour, label=show_label(label, 18), zorder=2)
        for outcome, is_filled in _OUTCOMES.items():
            row = one.sel(outcome=outcome)
            values = [row[f"mean_s{end}"].values for end in ("", "_low", "_high")]
            # Wrong answers stand a little to the side, so that their bars do not hide those of the right ones.
            at = levels if is_filled else levels * 1.06
            _points(ax, at, values, colour, is_filled=is_filled)
    if levels.min() > 0.0 and levels.size > 1:
        ax.set_xscale("log")
        ax.set_xticks(levels, [f"{level:.3g}" for level in levels])
        ax.set_xticks([], minor=True)
        ax.set_xlim(levels.min() / 1.15, levels.max() * 1.2)
    ax.locator_params(axis="y", nbins=5)
    ax.set_xlabel(_words(curves.attrs.get("stimulus", "stimulus")) if xlabel is None else xlabel)
    ax.set_ylabel("reaction time (s)")
    _legend(ax, curves.sizes["curve"])
    return ax


def plot_example(axes: Sequence[Axes], examples: xr.Dataset, *, trial: int = 0) -> tuple[Axes, Axes]:
    """Draw one trial: its inputs above, below them the targets (pale) and what the network answered.

    Steps that do not count in the loss are shaded where the outputs are lines.

    Parameters
    ----------
    axes : sequence of two matplotlib.axes.Axes
        For inputs and outputs.
    examples : xarray.Dataset
        `stimulus` over (trial, time, input), `target` and optionally `answer` over (trial, time, output), `mask` over
        (trial, time).
    trial : int
        0-based position of the trial.

    Returns
    -------
    tuple of two matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    OptionError
        If there is no such trial.
    """
    check_variables(examples, "stimulus", "target", "mask")
    if not 0 <= trial < examples.sizes["trial"]:
        raise OptionError(f"trial={trial!r} is not valid; expected a position from 0 to {examples.sizes['trial'] - 1}.")
    one = examples.isel(trial=trial)
    lasts = np.isfinite(one["stimulus"].values).any(axis=1)
    one = one.isel(time=lasts)
    upper, lower = axes
    edges_s = np.append(one["time"].values, one["time"].values[-1] + float(examples.attrs["dt_s"]))
    _channels(upper, one["stimulus"], edges_s)
    upper.set_ylabel("input")
    upper.tick_params(labelbottom=False)
    if one.sizes["output"] > MAX_LINES:
        _channels(lower, one["answer"] if "answer" in one else one["target"], edges_s)
    else:
        _outputs(lower, one, edges_s)
    lower.set_ylabel("output")
    for ax in (upper, lower):
        ax.set_xlim(edges_s[0], edges_s[-1])
    lower.locator_params(axis="x", nbins=6)
    lower.set_xlabel("time (s)")
    return upper, lower


def draw_behaviour(
    folder: str | Path,
    *,
    psychometric: xr.Dataset | None = None,
    chronometric: xr.Dataset | None = None,
    examples: xr.Dataset | None = None,
) -> list[Path]:
    """Draw what a trained network does, one file a figure.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    psychometric, chronometric, examples : xarray.Dataset, optional
        As `plot_psychometric`, `plot_chronometric` and `plot_example` take them; of the examples every trial is drawn.

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
    written = []
    if psychometric is not None:
        written.append(_draw(folder / "psychometric.svg", lambda ax: plot_psychometric(ax[0], psychometric), 1))
    if chronometric is not None:
        written.append(_draw(folder / "chronometric.svg", lambda ax: plot_chronometric(ax[0], chronometric), 1))
    for k in range(0 if examples is None else examples.sizes["trial"]):
        path = folder / f"trial_{int(examples['trial'][k])}.svg"
        written.append(_draw(path, lambda axes, k=k: plot_example(axes, examples, trial=k), 2))
    return written


def _draw(path: Path, plot: Callable, n_axes: int) -> Path:
    """Draw axes below one another into a file."""
    return draw_file(
        path, (_WIDTH_IN, _HEIGHT_IN), lambda figure: plot(np.atleast_1d(figure.subplots(n_axes, 1, sharex=True)))
    )


def _points(ax: Axes, at: np.ndarray, values: Sequence[np.ndarray], colour: str, *, is_filled: bool = True) -> None:
    """Draw points with vertical bars from the lower to the upper ends."""
    middle, low, high = values
    known = np.isfinite(middle)
    ax.vlines(at[known], low[known], high[known], color=colour, linewidth=1.0, zorder=3)
    ax.plot(
        at[known], middle[known], linestyle="none", marker="o", markersize=4.5, color=colour, zorder=4,
        markerfacecolor=colour if is_filled else "white", markeredgewidth=1.0,
    )  # fmt: skip


def _outputs(ax: Axes, one: xr.Dataset, edges_s: np.ndarray) -> None:
    """Draw targets where they count and outputs throughout, a colour each."""
    counts = one["mask"].values > 0.0
    bounds = np.flatnonzero(np.diff(np.concatenate([[True], counts, [True]]).astype(int)))
    for start, stop in zip(bounds[::2], bounds[1::2], strict=True):
        ax.axvspan(edges_s[start], edges_s[stop], color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
    time_s = one["time"].values
    for k, name in enumerate(one["output"].values if "output" in one.coords else range(one.sizes["output"])):
        colour = style.CONDITIONS[k % len(style.CONDITIONS)]
        target = np.where(counts, one["target"].values[:, k], np.nan)
        ax.step(time_s, target, where="post", color=colour, linewidth=4.0, alpha=0.28, zorder=1)
        label = show_label(name, 14)
        if "answer" in one:
            ax.plot(time_s, one["answer"].values[:, k], color=colour, linewidth=1.2, label=label, zorder=2)
        else:
            ax.plot([], [], color=colour, linewidth=4.0, alpha=0.28, label=label)
    ax.locator_params(axis="y", nbins=4)
    _legend(ax, one.sizes["output"])


def _channels(ax: Axes, channels: xr.DataArray, edges_s: np.ndarray) -> None:
    """Draw a few channels as lines, many as a picture with one row each."""
    names, values = channels[channels.dims[1]].values, channels.values
    if len(names) <= MAX_LINES:
        for k, name in enumerate(names):
            colour = style.CONDITIONS[k % len(style.CONDITIONS)]
            ax.step(edges_s[:-1], values[:, k], where="post", color=colour, linewidth=1.0, label=show_label(name, 16))
        # Zero is always in sight: a constant input would otherwise fill the axes with its round-off.
        low, high = min(float(np.nanmin(values)), 0.0), max(float(np.nanmax(values)), 0.0)
        ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low) + (high == low))
        ax.locator_params(axis="y", nbins=4)
        _legend(ax, len(names))
        return
    reach = float(np.nanmax(np.abs(values))) or 1.0
    is_signed = bool(np.nanmin(values) < -0.25 * reach)
    ax.imshow(
        values.T, aspect="auto", interpolation="nearest", extent=(edges_s[0], edges_s[-1], len(names), 0.0),
        cmap="RdBu_r" if is_signed else "Greys", vmin=-reach if is_signed else 0.0, vmax=reach,
    )  # fmt: skip
    shown = np.unique(np.linspace(0, len(names) - 1, 5).round().astype(int))
    ax.set_yticks(shown + 0.5, [show_label(names[k], 14) for k in shown])
    ax.tick_params(axis="y", length=0.0)


def _curve_colours(curves: xr.Dataset) -> dict[str, str]:
    """Give every curve a colour of its own."""
    labels = [str(label) for label in curves["curve"].values]
    return {label: style.CONDITIONS[k % len(style.CONDITIONS)] for k, label in enumerate(labels)}


def _words(column: str) -> str:
    """Write a column's name for a reader: its unit in brackets, no underscores."""
    for ending, unit in (("_hz", "Hz"), ("_deg", "degrees"), ("_rad", "rad"), ("_s", "s")):
        if column.endswith(ending):
            return f"{column.removesuffix(ending).replace('_', ' ')} ({unit})"
    return column.replace("_", " ")


def _legend(ax: Axes, n_entries: int) -> None:
    """Put a legend above the axes, where it covers no data; one line alone needs none."""
    if n_entries > 1:
        ax.legend(
            loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, borderpad=0.1, handlelength=1.4,
            columnspacing=1.0, prop={"family": [FONT_MEASURED], "size": 9.0},
        )  # fmt: skip
