"""Figures of circuits: spectrum, rates, currents and short-term plasticity, from labelled results.

A run is a Dataset with dims (trial, time, unit): `rate`, and where they were recorded the currents `current_e`,
`current_i` and `current_ext` and the state of plastic synapses, `u` and `x` (`u_name` and `x_name` where there are
several classes). The coordinate ``time`` is in seconds, ``population`` over ``unit`` names each unit's population,
``sign`` over ``unit`` is +1, -1 or 0.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError, OptionError
from cortexrnn.report import style
from cortexrnn.report.formats import show_count, show_label
from cortexrnn.report.style import FONT_MEASURED, write_instead

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EXCITATORY = style.PSTH_MODEL
INHIBITORY = style.HISTORY_MODEL
# Populations that are neither excitatory nor inhibitory, or more than one of a kind, in this order.
_OTHERS = (style.INK, "#0a8066", "#a9538a", "#b08900", "#5f6873")
# A heat map has no more pixels than a printed column has dots: beyond, neighbours are averaged.
MAX_COLUMNS = 1200
MAX_ROWS = 600
# White rows between populations, as a fraction of all rows; fewer rows than the minimum are repeated.
_GAP = 0.02
_MIN_ROWS = 100
# Beyond this many populations there is no room for the number of their units.
_MAX_COUNTED = 4
_TIME_LABEL = "time (s)"


def plot_spectrum(ax: Axes, spectrum: xr.Dataset) -> Axes:
    """Draw the eigenvalues of the drawn weights over the predicted bulk and outliers.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    spectrum : xarray.Dataset
        `eigenvalues`, complex, of any shape; attributes ``radius``, the predicted radius of the bulk, and optionally
        ``outliers``, the predicted eigenvalues beyond it.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, with equal scales.

    Raises
    ------
    DataError
        If there are no eigenvalues or no radius.
    """
    if "eigenvalues" not in spectrum or "radius" not in spectrum.attrs:
        raise DataError("the spectrum is incomplete; expected a variable 'eigenvalues' and an attribute 'radius'.")
    values = np.asarray(spectrum["eigenvalues"].values, dtype=complex).ravel()
    radius = float(spectrum.attrs["radius"])
    outliers = np.atleast_1d(np.asarray(spectrum.attrs.get("outliers", ()), dtype=complex))
    circle = radius * np.exp(1j * np.linspace(0.0, 2.0 * np.pi, 361))
    ax.axhline(0.0, color=style.RULE, linewidth=0.6, zorder=0)
    ax.axvline(0.0, color=style.RULE, linewidth=0.6, zorder=0)
    is_dense = values.size > 3000
    ax.plot(
        values.real, values.imag, linestyle="none", marker="o", markersize=1.9 if is_dense else 2.3, color=style.INK,
        markeredgewidth=0.0, alpha=0.55, label="drawn", rasterized=is_dense, zorder=2,
    )  # fmt: skip
    ax.plot(circle.real, circle.imag, color=EXCITATORY, linewidth=1.2, label="predicted", zorder=3)
    if outliers.size:
        ax.plot(
            outliers.real, outliers.imag, linestyle="none", marker="o", markersize=9.0, markerfacecolor="none",
            markeredgecolor=EXCITATORY, markeredgewidth=1.2, zorder=3,
        )  # fmt: skip
    both = np.concatenate([values, outliers, circle])
    reach = float(np.abs(both.imag).max(initial=0.0)) or 1.0
    low, high = float(both.real.min()), float(both.real.max())
    margin = 0.08 * max(high - low, 2.0 * reach)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlim(low - margin, high + margin)
    ax.set_ylim(-reach - margin, reach + margin)
    ax.locator_params(axis="both", nbins=5)
    ax.set_xlabel("real part")
    ax.set_ylabel("imaginary part")
    _legend(ax)
    return ax


def plot_raster_of_rates(ax: Axes, run: xr.Dataset, *, trial: int = 0) -> Axes:
    """Draw the rate of every unit over time as a heat map, populations apart.

    Units and times beyond the resolution of print are averaged with their neighbours, never across populations.
    Rates of both signs get a scale of two colours with zero in its white middle.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw; a colour bar is put to its right.
    run : xarray.Dataset
        A run with `rate`.
    trial : int
        0-based position of the trial.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If there is no `rate`, no population, or no finite rate.
    OptionError
        If there is no such trial.
    """
    rates = _one_trial(run, "rate", trial)
    groups = _units_of(run)
    width, per_row = math.ceil(rates.sizes["time"] / MAX_COLUMNS), math.ceil(rates.sizes["unit"] / MAX_ROWS)
    blocks = [_average(rates.values[:, units], width, per_row).T for units in groups.values()]
    # A few units become bands, so that the gap between populations is a small part of the picture.
    n_rows = sum(len(block) for block in blocks)
    blocks = [np.repeat(block, max(_MIN_ROWS // n_rows, 1), axis=0) for block in blocks]
    n_gap = max(round(_GAP * max(n_rows, _MIN_ROWS)), 1)
    gap = np.full((n_gap, blocks[0].shape[1]), np.nan)
    image = np.concatenate([part for block in blocks for part in (block, gap)][:-1])
    tops = np.cumsum([0] + [len(block) + n_gap for block in blocks[:-1]])
    edges_s = _edges(rates["time"].values)
    shown = ax.imshow(
        image, aspect="auto", interpolation="nearest", extent=(edges_s[0], edges_s[-1], len(image), 0.0),
        **_colour_scale(image),
    )  # fmt: skip
    for spine in ("left", "bottom"):
        ax.spines[spine].set_visible(False)
    ax.tick_params(axis="y", length=0.0)
    middles = [top + 0.5 * len(block) for top, block in zip(tops, blocks, strict=True)]
    ax.set_yticks(middles, _population_labels(groups))
    for label, colour, top, block in zip(ax.get_yticklabels(), _colours(run).values(), tops, blocks, strict=True):
        label.set_color(colour)
        # A bar in the population's colour: where rates are low, rows are as white as the gap between populations.
        ax.plot(
            [-0.006, -0.006], [top, top + len(block)], color=colour, linewidth=2.2, solid_capstyle="butt",
            transform=ax.get_yaxis_transform(), clip_on=False,
        )  # fmt: skip
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(_TIME_LABEL)
    is_cut = float(np.nanmax(image)) > shown.norm.vmax > 0.0
    bar = ax.figure.colorbar(shown, ax=ax, pad=0.02, fraction=0.05, aspect=22, extend="max" if is_cut else "neither")
    bar.outline.set_visible(False)
    bar.ax.locator_params(axis="y", nbins=5)
    bar.set_label(_with_unit("rate", run["rate"]))
    return ax


def plot_currents(ax: Axes, run: xr.Dataset, *, unit: int = 0, trial: int = 0) -> Axes:
    """Draw a unit's excitatory and inhibitory currents and the sum: what is left when they cancel.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    run : xarray.Dataset
        A run with `current_e` and `current_i`, signed; a `current_ext` that is not zero is drawn and summed too.
    unit, trial : int
        0-based positions.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a current is missing.
    OptionError
        If there is no such unit or trial.
    """
    looks = {"current_e": (EXCITATORY, "excitatory"), "current_i": (INHIBITORY, "inhibitory")}
    if "current_ext" in run and bool((run["current_ext"] != 0.0).any()):
        looks["current_ext"] = (style.NOT_HISTORY, "external")
    currents = {name: _one_trial(run, name, trial) for name in looks}
    _check_position("unit", unit, run.sizes["unit"])
    time_s = run["time"].values
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=1)
    for name, (colour, words) in looks.items():
        ax.plot(time_s, currents[name].values[:, unit], color=colour, linewidth=1.0, label=words, zorder=2)
    total = sum(current.values[:, unit] for current in currents.values())
    ax.plot(time_s, total, color=style.INK, linewidth=1.6, label="sum", zorder=3)
    _finish_time(ax, time_s)
    ax.locator_params(axis="y", nbins=5)
    ax.set_ylabel(_with_unit("current", run["current_e"]))
    _legend(ax)
    return ax


def plot_plasticity(ax: Axes, run: xr.Dataset, *, plasticity: str = "", trial: int = 0) -> Axes:
    """Draw utilisation u (solid) and resources x (dashed) over time, averaged over the units of each population.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    run : xarray.Dataset
        A run with `u` and `x`; units whose synapses are all static hold NaN.
    plasticity : str
        Name of the class of plasticity, where the run has several.
    trial : int
        0-based position of the trial.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, from 0 to 1.

    Raises
    ------
    DataError
        If `u` or `x` is missing.
    OptionError
        If there is no such trial.
    """
    suffix = f"_{plasticity}" if plasticity else ""
    u, x = (_one_trial(run, f"{letter}{suffix}", trial) for letter in "ux")
    colours, time_s = _colours(run), u["time"].values
    is_plastic = np.isfinite(u.values).any(axis=0)
    shown = {name: units[is_plastic[units]] for name, units in _units_of(run).items()}
    shown = {name: units for name, units in shown.items() if units.size}
    if not shown:
        return write_instead(ax, "no plastic synapses")
    is_single = len(shown) == 1
    for name, units in shown.items():
        for state, letter, dashes in ((u, "u", "solid"), (x, "x", (0, (4.0, 1.6)))):
            # Several populations: the colour names the population, and the axis says which line is which.
            words = letter if is_single else show_label(name, 14) if letter == "u" else None
            values = state.values[:, units].mean(axis=1)
            ax.plot(time_s, values, color=colours[name], linestyle=dashes, linewidth=1.2, label=words)
    _finish_time(ax, time_s)
    ax.set_ylim(0.0, 1.02)
    ax.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
    ax.set_ylabel(show_label(next(iter(shown)), 24) if is_single else "u (solid), x (dashed)")
    _legend(ax)
    return ax


def _one_trial(run: xr.Dataset, name: str, trial: int) -> xr.DataArray:
    """Give a variable of one trial with dims (time, unit)."""
    if name not in run:
        raise DataError(
            f"the run has no variable {name!r}; it has {', '.join(sorted(map(str, run.data_vars)))}.",
            hint=f"Simulate again and ask for {name!r} to be recorded.",
        )
    _check_position("trial", trial, run.sizes["trial"])
    return run[name].isel(trial=trial).transpose("time", "unit")


def _check_position(name: str, position: int, size: int) -> None:
    """Raise where a position is outside a dimension."""
    if not 0 <= position < size:
        raise OptionError(f"{name}={position!r} is not valid; expected a position from 0 to {size - 1}.")


def _units_of(run: xr.Dataset) -> dict[str, np.ndarray]:
    """Give the positions of every population's units, in the order of the units."""
    if "population" not in run.coords:
        raise DataError("the run has no coordinate 'population' over unit; expected each unit's population.")
    populations = run["population"].values.astype(str)
    return {name: np.flatnonzero(populations == name) for name in dict.fromkeys(populations.tolist())}


def _colours(run: xr.Dataset) -> dict[str, str]:
    """Give every population a colour: the first of each sign that of its sign, all others one of their own."""
    signs = run["sign"].values if "sign" in run.coords else np.zeros(run.sizes["unit"])
    free = {1: EXCITATORY, -1: INHIBITORY}
    others = itertools.cycle(_OTHERS)
    return {name: free.pop(int(signs[units[0]]), None) or next(others) for name, units in _units_of(run).items()}


def _population_labels(groups: dict[str, np.ndarray]) -> list[str]:
    """Name populations, with the number of their units where there is room."""
    if len(groups) > _MAX_COUNTED or max(units.size for units in groups.values()) == 1:
        return [show_label(name, 14) for name in groups]
    return [f"{show_label(name, 14)}\n{show_count(units.size)} units" for name, units in groups.items()]


def _average(values: np.ndarray, n_times: int, n_units: int) -> np.ndarray:
    """Average neighbouring times and neighbouring units of an array (time, unit); the last group may be smaller."""
    for axis, group in ((0, n_times), (1, n_units)):
        first = np.arange(0, values.shape[axis], group)
        sizes = np.diff(np.append(first, values.shape[axis]))
        sums = np.add.reduceat(values, first, axis=axis)
        values = sums / np.expand_dims(sizes, 1 - axis)
    return values


def _colour_scale(image: np.ndarray) -> dict[str, Any]:
    """Give colour map and limits: one hue for rates, two for values of both signs; rare peaks do not set them."""
    finite = image[np.isfinite(image)]
    if not finite.size:
        raise DataError("the run has no finite rate to draw.")
    low, high = float(finite.min()), float(finite.max())
    inner_low, inner_high = (float(value) for value in np.percentile(finite, (0.2, 99.8)))
    if max(-low, high) > 1.5 * max(-inner_low, inner_high, 0.0):
        low, high = inner_low, inner_high
    if low < 0.0:
        reach = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -reach, "vmax": reach}
    return {"cmap": "Greys", "vmin": 0.0, "vmax": high or 1.0}


def _edges(left: np.ndarray) -> np.ndarray:
    """Give all edges of evenly spaced samples from their left ones."""
    width = float(left[1] - left[0]) if left.size > 1 else 1e-3
    return np.append(left, left[-1] + width)


def _finish_time(ax: Axes, time_s: np.ndarray) -> None:
    """Set limits, ticks and label of a time axis."""
    edges_s = _edges(time_s)
    ax.set_xlim(float(edges_s[0]), float(edges_s[-1]))
    ax.locator_params(axis="x", nbins=6)
    ax.set_xlabel(_TIME_LABEL)


def _with_unit(words: str, variable: xr.DataArray) -> str:
    """Write a label with the variable's unit behind it where it has one."""
    unit = variable.attrs.get("units", "1")
    return words if unit == "1" else f"{words} ({show_label(unit, 12)})"


def _legend(ax: Axes) -> None:
    """Put a legend above the axes, where it covers no data, in as many columns as its longest word leaves."""
    longest = max(map(len, ax.get_legend_handles_labels()[1]))
    ax.legend(
        loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=max(int(350.0 / (33.0 + 5.8 * longest)), 1),
        borderpad=0.1, handlelength=1.6, columnspacing=1.0, prop={"family": [FONT_MEASURED], "size": 9.5},
    )  # fmt: skip
