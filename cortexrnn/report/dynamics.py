"""Figures of fixed points: where they are, their modes, their basins, their branches, and transients around them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.report import style
from cortexrnn.report.figure_file import draw_file
from cortexrnn.report.formats import show_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN = (5.6, 4.2)
_PATH = "#c3c9d1"
_STABLE, _UNSTABLE, _SLOW = style.INK, "#c2500a", "#0b62a4"
# Kinds of points: marker, whether it is filled, colour, words.
_KINDS = {
    "stable": ("o", True, _STABLE, "stable"),
    "saddle": ("o", False, _UNSTABLE, "saddle"),
    "repeller": ("s", False, _UNSTABLE, "repeller"),
    "singular": ("D", False, _SLOW, "singular"),
}
_EVENTS = {"saddle-node": "o", "branch point": "s", "oscillation": "D", "period doubling": "^"}
# Length of an unstable direction's line, relative to the width of the figure, and points from which on there are none.
_ARROW, _MAX_ARROWS = 0.045, 60
_BASIN_COLOURS = (*style.CONDITIONS[1:], "#7a6a5a", "#5b5fc7")
_MAX_COLOURED = len(_BASIN_COLOURS)


def plot_fixed_points(ax: Axes, plane: xr.Dataset) -> Axes:
    """Draw trajectories, points and unstable directions in a plane.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    plane : xarray.Dataset
        `paths` over (path, time, pc); `points` over (point, pc) with `kind`; `slow` over (slow, pc); `direction` over
        (arrow, pc) with `arrow_point`; attribute `labels`, one an axis.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    for path in plane["paths"].values:
        ax.plot(path[:, 0], path[:, 1], color=_PATH, linewidth=0.7, zorder=1)
    slow, points = plane["slow"].values, plane["points"].values
    if len(slow):
        ax.plot(
            slow[:, 0], slow[:, 1], linestyle="none", marker="x", markersize=4.5, color=_SLOW, alpha=0.75,
            label=f"slow ({len(slow)})", zorder=3,
        )  # fmt: skip
    everything = np.concatenate([plane["paths"].values.reshape(-1, 2), points, slow])
    reach = np.nanmax(np.ptp(everything, axis=0)) or 1.0
    owners = plane["arrow_point"].values
    if len(owners) <= _MAX_ARROWS:
        for owner, direction in zip(owners, plane["direction"].values, strict=True):
            ends = points[owner] + _ARROW * reach * np.outer([-1.0, 1.0], direction)
            ax.plot(ends[:, 0], ends[:, 1], color=_UNSTABLE, linewidth=1.1, zorder=4)
    kinds = plane["kind"].values
    # Stable points lie on top: there are fewest of them.
    for order, (kind, (marker, is_filled, colour, words)) in enumerate(reversed(_KINDS.items())):
        some = points[kinds == kind]
        if len(some):
            ax.plot(
                some[:, 0], some[:, 1], linestyle="none", marker=marker, markersize=6.5, markeredgecolor=colour,
                markerfacecolor=colour if is_filled else "white", markeredgewidth=1.2,
                label=f"{words} ({len(some)})", zorder=5 + order,
            )  # fmt: skip
    ax.set_xlabel(show_label(plane.attrs["labels"][0], 24))
    ax.set_ylabel(show_label(plane.attrs["labels"][1], 24))
    _finish(ax)
    return ax


def plot_modes(ax: Axes, found: xr.Dataset, *, point: int = 0) -> Axes:
    """Draw the multipliers of a point on the complex plane with the unit circle.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `multiplier` over (point, mode).
    point : int
        0-based.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If there is no such point.
    """
    if not 0 <= point < found.sizes["point"]:
        raise DataError(f"point={point!r} is not there; there are {found.sizes['point']}.")
    values = found["multiplier"].values[point]
    circle = np.exp(1j * np.linspace(0.0, 2.0 * np.pi, 361))
    ax.plot(circle.real, circle.imag, color=style.RULE, linewidth=1.0, zorder=1)
    for is_grown, colour, words in ((False, _STABLE, "decays"), (True, _UNSTABLE, "grows")):
        some = values[(np.abs(values) > 1.0) == is_grown]
        if some.size:
            ax.plot(
                some.real, some.imag, linestyle="none", marker="o", markersize=4.0, color=colour, label=words, zorder=2
            )
    ax.set_aspect("equal", adjustable="datalim")
    # Modes of a small step crowd around 1, where nothing could be told apart beside the whole circle.
    shown = np.append(values, 1.0)
    margin = 0.1 * max(np.ptp(shown.real), np.ptp(shown.imag), 1e-6)
    ax.set_xlim(shown.real.min() - margin, shown.real.max() + margin)
    ax.set_ylim(shown.imag.min() - margin, shown.imag.max() + margin)
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")
    _finish(ax)
    return ax


def plot_basins(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw starts in the colour of the point at which they end; what is undecided is grey.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `start_plane` over (start, pc) with `ends_at`, `point_plane` over (point, pc) with `is_stable` and `share`;
        attribute `labels`, one an axis.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    starts, points, ends = found["start_plane"].values, found["point_plane"].values, found["ends_at"].values
    size = float(np.clip(60.0 / np.sqrt(max(len(starts), 1)), 1.6, 5.0))
    lost = starts[ends < 0]
    if len(lost):
        ax.plot(
            lost[:, 0], lost[:, 1], linestyle="none", marker="o", markersize=size, color=_PATH, markeredgewidth=0.0,
            label=f"undecided ({_percent(len(lost) / len(starts))})", zorder=1,
        )  # fmt: skip
    stable = np.flatnonzero(found["is_stable"].values)
    for n, k in enumerate(stable):
        some, colour = starts[ends == k], _BASIN_COLOURS[n % _MAX_COLOURED]
        ax.plot(
            some[:, 0], some[:, 1], linestyle="none", marker="o", markersize=size, color=colour, markeredgewidth=0.0,
            alpha=0.8, zorder=2,
        )  # fmt: skip
        words = f"point {k} ({_percent(float(found['share'][k]))})" if len(stable) <= _MAX_COLOURED else None
        ax.plot(
            *points[k], linestyle="none", marker="o", markersize=8.0, color=colour, markeredgecolor="white",
            markeredgewidth=1.2, label=words, zorder=4,
        )  # fmt: skip
    others = points[~found["is_stable"].values]
    if len(others):
        ax.plot(
            others[:, 0], others[:, 1], linestyle="none", marker="o", markersize=6.5, markeredgecolor=style.INK,
            markerfacecolor="white", markeredgewidth=1.2, label="unstable", zorder=3,
        )  # fmt: skip
    ax.set_xlabel(show_label(found.attrs["labels"][0], 24))
    ax.set_ylabel(show_label(found.attrs["labels"][1], 24))
    _finish(ax)
    return ax


def plot_completion(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the share of completed patterns over the level of disturbance: every point thin, their mean thick.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `completed` over (point, level); attribute `kind`, "noise" or "corruption".

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    level, completed = found["level"].values, found["completed"].values
    for each in completed:
        ax.plot(level, each, color=_PATH, linewidth=0.9, zorder=1)
    ax.plot(level, completed.mean(axis=0), color=style.INK, marker="o", markersize=4.0, label="mean", zorder=2)
    ax.set_ylim(-0.03, 1.03)
    ax.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    ax.set_ylabel("completed")
    words = {"noise": "noise (deviation, relative to the patterns')", "corruption": "share of wrong entries"}
    ax.set_xlabel(words[found.attrs["kind"]])
    ax.locator_params(axis="x", nbins=6)
    return ax


def plot_branch(ax: Axes, branch: xr.Dataset) -> Axes:
    """Draw a branch of fixed points over the parameter: stable parts solid, unstable ones dashed, events marked.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    branch : xarray.Dataset
        Over place: `parameter`, `height`, `is_stable`; over event: `event_parameter`, `event_height`, `event_kind`,
        `event_place`; attribute `height` names the axis.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    x, y, is_stable = (branch[name].values for name in ("parameter", "height", "is_stable"))
    event_x, event_y, kinds = (branch[f"event_{name}"].values for name in ("parameter", "height", "kind"))
    # Stability changes at events: they belong to both parts.
    cuts = branch["event_place"].values + 1
    x, y = np.insert(x, cuts, event_x), np.insert(y, cuts, event_y)
    marks = cuts + np.arange(cuts.size)
    is_stable = np.insert(is_stable.astype(float), cuts, np.nan)
    edges = [0, *marks, len(x) - 1]
    for first, last in itertools.pairwise(edges):
        inner = is_stable[first : last + 1]
        inner = inner[np.isfinite(inner)]
        stable = bool(inner.size) and bool(inner[0])
        ax.plot(
            x[first : last + 1], y[first : last + 1], color=_STABLE if stable else _UNSTABLE,
            linewidth=1.6 if stable else 1.2, linestyle="solid" if stable else (0, (4.0, 2.0)), zorder=2,
        )  # fmt: skip
    for kind, marker in _EVENTS.items():
        some = kinds == kind
        if some.any():
            ax.plot(
                event_x[some], event_y[some], linestyle="none", marker=marker, markersize=6.5, color=_SLOW,
                markeredgecolor="white", label=kind, zorder=3,
            )  # fmt: skip
    ax.plot([], [], color=_STABLE, linewidth=1.6, label="stable")
    ax.plot([], [], color=_UNSTABLE, linewidth=1.2, linestyle=(0, (4.0, 2.0)), label="unstable")
    ax.set_xlabel(show_label(branch.attrs.get("parameter_name", "parameter"), 24))
    ax.set_ylabel(show_label(branch.attrs["height"], 24))
    _finish(ax)
    return ax


def plot_transient(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the largest gain of a linear system over time, with its peak.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `gain` over `time` in seconds; attributes `peak` and `peak_s`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    time_ms = 1e3 * found["time"].values
    ax.axhline(1.0, color=style.RULE, linewidth=0.8, zorder=1)
    ax.plot(time_ms, found["gain"].values, color=style.INK, linewidth=1.6, zorder=2)
    ax.plot(1e3 * found.attrs["peak_s"], found.attrs["peak"], "o", color=_UNSTABLE, markersize=6.0, zorder=3)
    ax.annotate(
        f"{found.attrs['peak']:.3g}", (1e3 * found.attrs["peak_s"], found.attrs["peak"]), xytext=(7.0, 4.0),
        textcoords="offset points", color=_UNSTABLE,
    )  # fmt: skip
    ax.set_ylim(bottom=0.0)
    ax.margins(x=0.0, y=0.12)
    ax.set_xlabel("time (ms)")
    ax.set_ylabel("gain")
    return ax


def draw_dynamics(path: str | Path, found: xr.Dataset, *, kind: str) -> Path:
    """Write one of the figures of this module as a file.

    Parameters
    ----------
    path : path
        Its ending says as what the figure is written.
    found : xarray.Dataset
        What the figure takes.
    kind : {"fixed_points", "modes", "basins", "completion", "branch", "transient"}

    Returns
    -------
    pathlib.Path

    Raises
    ------
    DataError
        If the kind is unknown.
    FileAccessError
        If the file cannot be written.
    """
    plots = {
        "fixed_points": plot_fixed_points, "modes": plot_modes, "basins": plot_basins, "completion": plot_completion,
        "branch": plot_branch, "transient": plot_transient,
    }  # fmt: skip
    if kind not in plots:
        raise DataError(f"kind={kind!r} is unknown; expected one of {', '.join(plots)}.")
    return draw_file(Path(path), _SIZE_IN, lambda figure: plots[kind](figure.subplots(), found))


def _percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100.0 * share:.0f} %"


def _finish(ax: Axes) -> None:
    """Set few ticks and put a legend above the axes, where it covers no data."""
    ax.locator_params(axis="both", nbins=5)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderpad=0.1, handlelength=1.4, columnspacing=1.2,
            frameon=False,
        )  # fmt: skip
