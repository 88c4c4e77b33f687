"""What is asked beside a comparison: the width of bins, the number of trials, data of known truth, time scales."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables
from cortexrnn.report.style import CUT_RUNGS, NETWORK_RUNGS, RUNG_ORDER, verdict_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEPS = {"stimulus": (style.PSTH_MODEL, "M1 over M0"), "history": (style.HISTORY_MODEL, "M5 over M3")}
_NOT_HISTORY = ("M1", "M2", "M3")


def plot_bin_sweep(ax: Axes, sweep: xr.Dataset) -> Axes:
    """Draw what stimulus and history tell about the spikes against the width of the bins.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    sweep : xarray.Dataset
        `gain` over (step, bin, unit), from `cortexrnn.evaluation.bin_sweep.bin_sweep`. Thin lines are units, thick ones
        their mean.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(sweep, "gain")
    width_ms = 1e3 * sweep["bin"].values
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for step, (colour, label) in _STEPS.items():
        gain = sweep["gain"].sel(step=step)
        ax.plot(width_ms, gain.values, color=colour, linewidth=0.6, alpha=0.35, zorder=1)
        mean = gain.mean("unit", skipna=True)
        ax.plot(width_ms, mean, color=colour, marker="o", markersize=3.5, linewidth=1.8, label=label, zorder=2)
    ax.set_xscale("log")
    ax.set_xticks(width_ms, [f"{width:g}" for width in width_ms])
    ax.minorticks_off()
    ax.set(xlabel="width of the bins (ms)", ylabel="gain (bits/spike)")
    ax.legend(loc="best")
    return ax


def plot_data_budget(ax: Axes, budget: xr.Dataset) -> Axes:
    """Draw the held-out score of every rung against the number of training trials, pooled over units.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    budget : xarray.Dataset
        `gain`, `low` and `high` over (rung, size), from `cortexrnn.evaluation.data_budget.data_budget`. Bands are 95 %
        intervals of the rungs that see spike history.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(budget, "gain", "low", "high")
    known = [name for name in RUNG_ORDER if name in budget["rung"].values]
    others = [str(name) for name in budget["rung"].values if name not in known]
    size = budget["size"].values
    colours = iter((*style.CONDITIONS[1:], *style.CONDITIONS[1:]))
    for name in [*known, *others]:
        row = budget.sel(rung=name)
        if name == "M0" or name in CUT_RUNGS or name in _NOT_HISTORY:
            look = {"color": style.NOT_HISTORY, "linestyle": _dashes(name), "linewidth": 1.1}
        else:
            colour = next(colours)
            marker = "s" if name in NETWORK_RUNGS else "o"
            look = {"color": colour, "linewidth": 1.6, "marker": marker, "markersize": 3.5}
            ax.fill_between(size, row["low"], row["high"], color=colour, alpha=0.12, linewidth=0.0)
        ax.plot(size, row["gain"], label=name, **look)
    ax.set_xscale("log")
    ax.set_xticks(size, [f"{n}" for n in size])
    ax.minorticks_off()
    # A rung that fails on five trials would press all others together.
    settled = budget["gain"].values[:, size >= np.median(size)]
    low, high = float(np.nanmin(settled)), float(np.nanmax(settled))
    reach = high - low + 0.02
    ax.set_ylim(max(float(np.nanmin(budget["gain"])), low - 0.6 * reach) - 0.05 * reach, high + 0.15 * reach)
    ax.set(xlabel="training trials", ylabel="held-out gain (bits/spike)")
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), borderpad=0.1, handlelength=2.2)
    return ax


def plot_likeness(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the history gain of every simulated unit, without history and with it, with intervals and verdicts.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        `gain`, `low`, `high` and `verdict` over (truth, unit), from `cortexrnn.evaluation.likeness.compare_like`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(found, "gain", "low", "high", "verdict")
    ax.axvline(0.0, color=style.MUTED, linewidth=0.7, zorder=1)
    first, ticks = 0.0, []
    for truth in found["truth"].values:
        part = found.sel(truth=truth)
        part = part.isel(unit=np.argsort(-np.nan_to_num(part["gain"].values, nan=-np.inf), kind="stable"))
        for k in range(part.sizes["unit"]):
            look = verdict_style(str(part["verdict"].values[k]))
            row = first + k
            ax.plot([part["low"].values[k], part["high"].values[k]], [row, row], color=look.colour, linewidth=1.0)
            ax.plot(
                part["gain"].values[k], row, look.marker, color=look.colour, markersize=4.0, markeredgewidth=1.0,
                markerfacecolor=look.colour if look.is_filled else "white",
            )  # fmt: skip
        ticks.append((first + 0.5 * (part.sizes["unit"] - 1), str(truth)))
        first += part.sizes["unit"] + 1.5
    ax.set_yticks([place for place, _ in ticks], [words for _, words in ticks])
    ax.tick_params(axis="y", length=0.0)
    ax.set_ylim(first - 1.5, -1.0)
    ax.set_xlabel("history gain (bits/spike)")
    return ax


def read_off_rows(found: xr.Dataset) -> list[dict[str, Any]]:
    """Lay out what was read off each unit as rows of a table.

    Parameters
    ----------
    found : xarray.Dataset
        From `cortexrnn.evaluation.read_offs.read_off_units`.

    Returns
    -------
    list of dict
        `unit`, `sentence`, `loops` (by label the mode that is a rotation, or else the strongest: `tau_s`,
        `frequency_hz`), `rests_hz` (of the closed loop) and `n_fixed_points` (None for a GLM), in the order of
        the units.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(found, "sentence", "details")
    rows = []
    for unit, sentence, details in zip(
        found["unit"].values, found["sentence"].values, found["details"].values, strict=True
    ):
        told = json.loads(str(details))
        loops = {loop["label"]: loop["rotation"] or next(iter(loop["modes"]), {}) for loop in told["loops"]}
        points = told["fixed_points"]
        rows.append(
            {
                "unit": str(unit),
                "sentence": str(sentence),
                "loops": loops,
                "rests_hz": told.get("closed_hz", []),
                "n_fixed_points": None if points is None else len(points["points"]),
            }
        )
    return rows


def _dashes(name: str) -> str | tuple:
    """Tell the rungs without spike history apart in grey."""
    return {"M0": ":", "M1": "-", "M2": "--", "M3": "-."}.get(name, (0, (1.0, 1.5)))
