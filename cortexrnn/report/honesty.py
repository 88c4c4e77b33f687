"""Figures and sentences that put a gain into proportion: what could have been seen, and over which null."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.report import style
from cortexrnn.report.formats import interval_ends, is_missing, show_interval, show_number, show_percent
from cortexrnn.report.population import MAX_NAMED_UNITS, order_units, plot_population
from cortexrnn.report.style import CUT_RUNGS, RUNG_ORDER, write_instead

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NULL_LOOKS = {
    "train mean": ("o", style.INK, True, "training mean"),
    "test mean": ("s", style.PSTH_MODEL, False, "held-out mean"),
    "PSTH": ("^", style.HISTORY_MODEL, True, "PSTH"),
}
_NULL_OFFSETS = {"train mean": -0.18, "test mean": 0.0, "PSTH": 0.18}


def parts_sentence(unit: Mapping[str, Any]) -> str:
    """Say what drift, trial gain and spike history each add for a unit.

    Parameters
    ----------
    unit : mapping
        One entry of ``summary["units"]``: `steps` and `history_gain` are used.

    Returns
    -------
    str
        One sentence; empty where there is no history gain. Without M2 on the ladder, drift and gain are said together.
    """
    gain = unit.get("history_gain") or {}
    if is_missing(gain.get("value")):
        return ""
    steps = unit.get("steps") or {}
    names = {"M2": "drift", "M3": "trial gain" if "M2" in steps else "drift and trial gain"}
    parts = [_part(names[rung], steps[rung]) for rung in names if not is_missing((steps.get(rung) or {}).get("value"))]
    parts.append(_part("spike history", gain))
    beyond = "PSTH" if is_missing((steps.get("S1") or {}).get("value")) else "stimulus"
    return f"Beyond the {beyond}, in bits/spike: {', '.join(parts)}."


def foreign_words(unit: Mapping[str, Any]) -> str:
    """Say what share of a unit's spikes would be other neurons', were its refractory period never violated.

    Parameters
    ----------
    unit : mapping
        One entry of ``summary["units"]``; `foreign` holds the fractions `share`, `low` and `high`.

    Returns
    -------
    str
        The share with its 95 % interval; empty where it is not known.
    """
    found = unit.get("foreign") or {}
    if is_missing(found.get("share")):
        return ""
    if found["share"] >= 1.0:
        return "no share explains so many violations: bursts"
    low, high = (show_percent(found[name]).removesuffix(" %") for name in ("low", "high"))
    return f"{show_percent(found['share'])} [{low}, {high}]"


def plot_discoveries(ax: Axes, units: list[dict[str, Any]], *, rope: float = 0.01) -> Axes:
    """Draw every unit's history gain, what could have been detected, and which units pass the false discovery rate.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    units : list of dict
        ``summary["units"]``: as `plot_population` takes them, with `detectable_gain` (bits/spike) and
        `is_discovery`.
    rope : float
        Half width of the region of equivalence in bits/spike.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes. A grey band holds the gains that show in fewer than 80 % of such recordings; a bar at the left
        edge marks every unit found at the false discovery rate.
    """
    plot_population(ax, units, rope=rope)
    ordered = order_units(units)
    low, high = ax.get_xlim()
    smallest = np.array([_value(unit.get("detectable_gain")) for unit in ordered])
    # A unit that could show nothing must not press the others flat: its band leaves the axes.
    ax.stairs(
        np.minimum(np.nan_to_num(smallest), high), np.arange(len(ordered) + 1) - 0.5, orientation="horizontal",
        fill=True, color=style.RULE, alpha=0.5, linewidth=0.0, zorder=0.5, label="power below 80 %",
    )  # fmt: skip
    found = [row for row, unit in enumerate(ordered) if unit.get("is_discovery")]
    width = 2.5 if len(ordered) <= MAX_NAMED_UNITS else 1.5
    if found:
        ax.vlines(
            [low] * len(found), np.array(found) - 0.5, np.array(found) + 0.5, color=style.HISTORY_MODEL,
            linewidth=2.0 * width, zorder=4, label="found at the false discovery rate",
        )  # fmt: skip
    ax.set_xlim(low, high)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=2, columnspacing=1.0, borderpad=0.0)
    return ax


def plot_nulls(ax: Axes, nulls: Mapping[str, Mapping[str, Any]]) -> Axes:
    """Draw the pooled score of every rung over each of three nulls, with its 95 % interval.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    nulls : mapping
        ``summary["population"]["nulls"]``: by null ("train mean", "test mean", "PSTH"), then by rung, `value` and `ci`
        in bits/spike.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    known = {name for rows in nulls.values() for name, row in rows.items() if not is_missing(row.get("value"))}
    rungs = [name for name in RUNG_ORDER if name in known]
    if not rungs:
        return write_instead(ax, "no spikes, no score")
    for place, name in enumerate(rungs):
        if name in CUT_RUNGS:
            ax.axvspan(place - 0.5, place + 0.5, color=style.EQUIVALENCE, linewidth=0, zorder=0)
    ax.axhline(0.0, color=style.MUTED, linewidth=0.7, zorder=1)
    for null, (marker, colour, is_filled, label) in _NULL_LOOKS.items():
        rows = [(nulls.get(null) or {}).get(name) or {} for name in rungs]
        x = np.arange(len(rungs)) + _NULL_OFFSETS[null]
        ends = np.array([interval_ends(row.get("ci")) for row in rows])
        ax.vlines(x, ends[:, 0], ends[:, 1], color=colour, linewidth=1.1, zorder=2)
        ax.plot(
            x, [_value(row.get("value")) for row in rows], marker, color=colour, markersize=4.5, zorder=3,
            markerfacecolor=colour if is_filled else "white", label=label,
        )  # fmt: skip
    slant = {"rotation": 30.0, "ha": "right", "rotation_mode": "anchor"} if len(rungs) > 8 else {}
    ax.set_xticks(range(len(rungs)), rungs, **slant)
    ax.set_xlim(-0.5, len(rungs) - 0.5)
    ax.locator_params(axis="y", nbins=6)
    ax.set_ylabel("bits/spike over the null, held out")
    ax.legend(
        loc="lower left", bbox_to_anchor=(0.0, 0.99), ncols=3, columnspacing=1.0, handletextpad=0.2, borderpad=0.0
    )
    return ax


def _part(name: str, step: Mapping[str, Any]) -> str:
    """Write one step with its interval."""
    interval = show_interval(step.get("ci"), signed=True, missing="")
    return f"{name} {show_number(step.get('value'), signed=True)} {interval}".rstrip()


def _value(value: Any) -> float:
    """Give a float, NaN where the value is missing."""
    return math.nan if is_missing(value) else float(value)
