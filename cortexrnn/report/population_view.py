"""Figures of a population as a whole: trajectories along principal components, and excitation against inhibition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn._checks import check_choice
from cortexrnn.errors import DataError
from cortexrnn.report import style
from cortexrnn.report.formats import show_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More conditions than colours share a colour map; more than this get no legend.
_MAX_NAMED = 8
_EXCITATORY, _INHIBITORY, _MIXED = style.PSTH_MODEL, style.HISTORY_MODEL, style.INK


def own_view(n_dimensions: int) -> Axes:
    """Make axes of two or three dimensions in a figure of their own; OptionError for another number."""
    from cortexrnn.report.figure_file import own_axes

    check_choice("n_dimensions", n_dimensions, (2, 3))
    ax = own_axes()
    if n_dimensions == 2:
        return ax
    figure = ax.figure
    ax.remove()
    ax = figure.add_subplot(projection="3d")
    # Labels of three-dimensional axes stick out of the figure otherwise.
    ax.set_box_aspect(None, zoom=0.85)
    return ax


def plot_trajectories(ax: Axes, found: xr.Dataset, *, colour_by: Sequence | None = None) -> Axes:
    """Draw trajectories along the first two components, or three on three-dimensional axes, with dots at their starts.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `trajectories` over (trial or condition, time, component), `variance_fraction` over order.
    colour_by : sequence, optional
        One label a trajectory; by default the condition.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If there are fewer components than dimensions, or the labels are not one a trajectory.
    """
    paths = found["trajectories"].values
    n_dimensions = 3 if ax.name == "3d" else 2
    if paths.shape[2] < n_dimensions:
        raise DataError(f"there are {paths.shape[2]} components; {n_dimensions} dimensions need more.")
    first_dim = found["trajectories"].dims[0]
    if colour_by is None:
        colour_by = found[first_dim].values if first_dim == "condition" else np.zeros(len(paths), int)
    labels = np.asarray(colour_by)
    if labels.shape != (len(paths),):
        raise DataError(f"colour_by has shape {labels.shape}; expected a label for each of {len(paths)} trajectories.")
    names, codes = np.unique(labels, return_inverse=True)
    colours = _colours(len(names))
    seen = set()
    is_thin = len(paths) > 4 * len(names)
    for path, code in zip(paths, codes, strict=True):
        path = path[np.isfinite(path).all(axis=1)][:, :n_dimensions]
        if not len(path):
            continue
        label = show_label(names[code], 18) if code not in seen and 1 < len(names) <= _MAX_NAMED else None
        seen.add(code)
        ax.plot(
            *path.T, color=colours[code], linewidth=0.6 if is_thin else 1.3, alpha=0.5 if is_thin else 1.0, label=label
        )
        ax.plot(
            *path[:1].T, linestyle="none", marker="o", markersize=3.0 if is_thin else 5.0, color=colours[code],
            markeredgecolor="white", markeredgewidth=0.5, zorder=4,
        )  # fmt: skip
    shares = 100.0 * found["variance_fraction"].values[:n_dimensions]
    for k, (axis, share) in enumerate(zip("xyz", shares, strict=False)):
        getattr(ax, f"set_{axis}label")(f"component {k + 1} ({share:.0f} %)")
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="best", frameon=False, fontsize=9.0)
    return ax


def plot_scree(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the share of the variance along every component as bars and their sum so far as a line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `variance_fraction` over order; attributes ``participation_ratio`` and ``n_for_90_percent``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, up to a few components beyond 90 % of the variance.
    """
    n_most = int(found.attrs["n_for_90_percent"])
    shares = found["variance_fraction"].values[: max(6, round(1.5 * n_most))]
    order = np.arange(1, len(shares) + 1)
    ax.bar(order, shares, color=style.OBSERVED, width=0.8)
    ax.plot(order, np.cumsum(shares), color=style.HISTORY_MODEL, marker="o", markersize=3.0)
    ax.axhline(0.9, color=style.MUTED, linewidth=0.8, linestyle=":")
    words = f"90 % in {n_most}\nparticipation ratio {found.attrs['participation_ratio']:.1f}"
    ax.text(0.97, 0.5, words, transform=ax.transAxes, ha="right", va="center", fontsize=9.5)
    ax.set(xlabel="component", ylabel="share of variance", ylim=(0.0, 1.03), xlim=(0.4, len(shares) + 0.6))
    ax.locator_params(axis="x", nbins=8, integer=True)
    return ax


def plot_ei(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the mean inhibition of every unit against its excitation; on the dotted line the two cancel.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        From `cortexrnn.theory.population.ei_balance`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; the distance from the line is the net current.
    """
    excitation, inhibition = found["excitation"].values, found["inhibition"].values
    top = 1.05 * max(np.nanmax(excitation, initial=0.0), np.nanmax(inhibition, initial=0.0), 1e-12)
    ax.plot([0.0, top], [0.0, top], color=style.MUTED, linewidth=0.8, linestyle=":", zorder=1)
    for sign, colour, words in _signs(found):
        some = sign == _sign_of(found)
        ax.plot(
            excitation[some], inhibition[some], linestyle="none", marker="o", markersize=3.0, alpha=0.7, color=colour,
            markeredgewidth=0.0, label=words, zorder=2,
        )  # fmt: skip
    ax.set(xlabel="mean excitation", ylabel="mean inhibition", xlim=(0.0, top), ylim=(0.0, top))
    ax.set_aspect("equal")
    if len(_signs(found)) > 1:
        ax.legend(loc="best", frameon=False)
    return ax


def plot_net(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw how net currents are distributed over the units, beside excitation and inhibition.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        From `cortexrnn.theory.population.ei_balance`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    values = {name: found[name].values for name in ("excitation", "inhibition", "net")}
    values["inhibition"] = -values["inhibition"]
    everything = np.concatenate(list(values.values()))
    reach = np.nanmin(everything), np.nanmax(everything)
    bins = np.linspace(*reach, 41) if reach[1] > reach[0] else 1
    for (name, some), colour in zip(values.items(), (_EXCITATORY, _INHIBITORY, style.INK), strict=True):
        ax.hist(some, bins=bins, histtype="step", color=colour, linewidth=1.4, label=name)
    ax.axvline(0.0, color=style.MUTED, linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlabel="mean current", ylabel="units")
    ax.legend(loc="best", frameon=False)
    return ax


def plot_lags(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the correlation of excitation and inhibition over the lag between them, mean and range of 90 % of units.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        From `cortexrnn.theory.population.ei_balance`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    cross = found["cross_correlation"].values
    cross = cross[:, np.isfinite(cross).all(axis=0)]
    if not cross.shape[1]:
        return style.write_instead(ax, "currents do not vary")
    lag_ms = 1e3 * found["lag"].values
    low, high = np.percentile(cross, (5.0, 95.0), axis=1)
    ax.fill_between(lag_ms, low, high, color=style.OBSERVED, alpha=0.6, linewidth=0.0)
    ax.plot(lag_ms, cross.mean(axis=1), color=style.INK)
    ax.axvline(0.0, color=style.MUTED, linewidth=0.8, linestyle=":", zorder=0)
    ax.set(xlabel="inhibition after excitation (ms)", ylabel="correlation", xlim=(lag_ms[0], lag_ms[-1]))
    return ax


def draw_balance(figure: Figure, found: xr.Dataset) -> None:
    """Draw excitation against inhibition, net currents, and their correlation side by side.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Empty.
    found : xarray.Dataset
        From `cortexrnn.theory.population.ei_balance`.
    """
    for ax, plot in zip(figure.subplots(1, 3), (plot_ei, plot_net, plot_lags), strict=True):
        plot(ax, found)


def _colours(n: int) -> list:
    """Give one colour a condition: those of the style, or a map where there are more."""
    if n <= len(style.CONDITIONS):
        return list(style.CONDITIONS[:n])
    from matplotlib import colormaps

    return [colormaps["viridis"](k / (n - 1)) for k in range(n)]


def _sign_of(found: xr.Dataset) -> np.ndarray:
    """Give the sign of every unit; 0 where it is not known."""
    return found["sign"].values if "sign" in found.coords else np.zeros(found.sizes["unit"], int)


def _signs(found: xr.Dataset) -> list[tuple[int, str, str]]:
    """Give the signs that there are, with their colour and words."""
    known = ((1, _EXCITATORY, "excitatory units"), (-1, _INHIBITORY, "inhibitory units"), (0, _MIXED, "units"))
    there = set(_sign_of(found).tolist())
    return [entry for entry in known if entry[0] in there]
