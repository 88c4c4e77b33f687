"""Figures of all units at once: each function draws the units of a summary onto the axes it is given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cortexrnn.report import style
from cortexrnn.report.formats import interval_ends, is_missing, show_label
from cortexrnn.report.style import CUT_RUNGS, RUNG_ORDER, SPIKE_HISTORY_RUNGS, verdict_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Above this many units names would overlap: the rows stay, their names go.
MAX_NAMED_UNITS = 40
_LADDER = tuple(name for name in RUNG_ORDER if name not in (*CUT_RUNGS, "history"))


def order_units(units: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort units by history gain, largest first; units without one come last in their own order."""
    return sorted(units, key=gain_order)


def gain_order(unit: dict[str, Any]) -> float:
    """Give the key that puts the largest history gain first and a missing one last."""
    return math.inf if math.isnan(_gain(unit)) else -_gain(unit)


def plot_population(ax: Axes, units: list[dict[str, Any]], *, rope: float = 0.01) -> Axes:
    """Draw the history gain of every unit with its 95 % interval, one row a unit.

    The region of equivalence is shaded. Where gains span more than a hundredfold of it the axis is linear
    inside twice the region and logarithmic beyond, so that the region stays visible.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    units : list of dict
        ``summary["units"]``: `unit`, `history_gain` and `verdict` are used.
    rope : float
        Half width of the region of equivalence in bits/spike.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    ordered = order_units(units)
    is_small = len(ordered) > MAX_NAMED_UNITS
    ax.axvspan(-rope, rope, color=style.EQUIVALENCE, linewidth=0, zorder=0)
    ax.axvline(0.0, color=style.MUTED, linewidth=0.7, zorder=1)
    reach = 0.0
    for row, unit in enumerate(ordered):
        look, gain = verdict_style(unit.get("verdict")), _gain(unit)
        if math.isnan(gain):
            continue
        low, high = interval_ends((unit.get("history_gain") or {}).get("ci"))
        if not math.isnan(low) and not math.isnan(high):
            ax.plot([low, high], [row, row], color=look.colour, linewidth=0.6 if is_small else 1.2, zorder=2)
        ax.plot(
            gain,
            row,
            look.marker,
            color=look.colour,
            markersize=2.5 if is_small else 5.0,
            zorder=3,
            markerfacecolor=look.colour if look.is_filled else "white",
            markeredgewidth=1.1,
        )
        reach = max([reach, abs(gain)] + [abs(end) for end in (low, high) if not math.isnan(end)])
    _name_rows(ax, ordered)
    _scale_gains(ax, reach, rope)
    ax.set_xlabel("history gain (bits/spike)")
    return ax


def plot_ladder(ax: Axes, units: list[dict[str, Any]]) -> Axes:
    """Draw every unit's climb: held-out bits/spike at each rung, one line a unit.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    units : list of dict
        ``summary["units"]``: `rungs` and `verdict` are used.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    names = [name for name in _LADDER if any(not math.isnan(_level(unit, name)) for unit in units)]
    for unit in units:
        look = verdict_style(unit.get("verdict"))
        ax.plot(
            range(len(names)),
            [_level(unit, name) for name in names],
            color=look.colour,
            # Among hundreds of lines marks are a smear, and most of the figure's elements.
            marker=look.marker if len(units) <= MAX_NAMED_UNITS else "",
            markersize=3.0,
            markerfacecolor=look.colour if look.is_filled else "white",
            markeredgewidth=0.8,
            linewidth=0.9,
            alpha=0.8 if len(units) <= MAX_NAMED_UNITS else 0.35,
            label=str(unit.get("verdict")),
        )
    ax.axhline(0.0, color=style.MUTED, linewidth=0.7, zorder=1)
    first = next((place for place, name in enumerate(names) if name in SPIKE_HISTORY_RUNGS), None)
    if first is not None:
        ax.axvspan(first - 0.5, len(names) - 0.5, color=style.EQUIVALENCE, linewidth=0, zorder=0)
        ax.annotate(
            "spike history",
            (first - 0.5, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            va="bottom",
            color=style.MUTED,
            fontsize=9.5,
        )
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.3, max(len(names) - 0.5, 0.3))
    ax.locator_params(axis="y", nbins=5)
    ax.set_ylabel("bits/spike, held out")
    return ax


def plot_refractory(ax: Axes, units: list[dict[str, Any]]) -> Axes:
    """Draw how often each unit fires right after a spike, beside what the PSTH alone expects.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    units : list of dict
        ``summary["units"]``: `refractory_mass` (`observed` and `expected` as fractions, `window_s`, `model`) is used.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    ordered = order_units(units)
    size = 2.5 if len(ordered) > MAX_NAMED_UNITS else 5.0
    window_ms = None
    # One comparison has one ladder, so one model holds what is locked to the stimulus.
    models = {(unit.get("refractory_mass") or {}).get("model") for unit in ordered}
    model = "S1" if "S1" in models else "Poisson-PSTH"
    for row, unit in enumerate(ordered):
        mass = unit.get("refractory_mass") or {}
        if is_missing(mass.get("observed")) or is_missing(mass.get("expected")):
            continue
        window_ms = 1e3 * mass["window_s"]
        expected, observed = 100.0 * mass["expected"], 100.0 * mass["observed"]
        ax.plot([expected, observed], [row, row], color=style.NOT_HISTORY, linewidth=1.0, zorder=1)
        ax.plot(
            expected,
            row,
            "o",
            color=style.PSTH_MODEL,
            markersize=size,
            markerfacecolor="white",
            zorder=4,
            clip_on=False,
            label=f"{model} expects",
        )
        ax.plot(
            observed, row, "o", color=style.INK, markersize=size, zorder=5, clip_on=False, label="unit fires"
        )
    _name_rows(ax, ordered)
    ax.set_xlim(left=0.0)
    ax.locator_params(axis="x", nbins=5)
    within = "" if window_ms is None else f" within {window_ms:g} ms of the previous one"
    ax.set_xlabel(f"spikes{within} (%)")
    handles, labels = ax.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if once:
        ax.legend(
            once.values(),
            once.keys(),
            loc="lower right",
            bbox_to_anchor=(1.0, 0.99),
            ncols=2,
            handletextpad=0.2,
            columnspacing=1.0,
            borderpad=0.0,
        )
    return ax


def _name_rows(ax: Axes, ordered: list[dict[str, Any]]) -> None:
    """Label one row a unit, first unit on top."""
    if len(ordered) <= MAX_NAMED_UNITS:
        ax.set_yticks(range(len(ordered)), [show_label(unit.get("unit"), 16) for unit in ordered])
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(ordered)} units, by history gain")
    ax.tick_params(axis="y", length=0, pad=8.0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(len(ordered) - 0.3, -0.7)


def _scale_gains(ax: Axes, reach: float, rope: float) -> None:
    """Choose a linear axis, or one that is logarithmic outside twice the region of equivalence."""
    if rope <= 0.0 or reach <= 20.0 * rope:
        half = max(reach, 3.0 * rope)
        ax.set_xlim(min(-0.3 * half, ax.get_xlim()[0]), 1.05 * half)
        ax.locator_params(axis="x", nbins=6)
        return
    low, high = ax.get_xlim()
    ax.set_xscale("symlog", linthresh=2.0 * rope, linscale=0.9)
    ax.set_xlim(min(low, -2.0 * rope), max(high, 2.0 * rope))
    sizes = [tick for tick in (rope, 0.1, 0.3, 1.0, 3.0, 10.0) if tick <= 1.05 * max(reach, rope)]
    ticks = sorted({0.0, *sizes, *(-size for size in sizes if -size >= min(low, -2.0 * rope))})
    ax.set_xticks(ticks, [f"{tick:g}".replace("-", "\N{MINUS SIGN}") for tick in ticks], minor=False)
    ax.set_xticks([], minor=True)


def _gain(unit: dict[str, Any]) -> float:
    """Give a unit's history gain, NaN where there is none."""
    value = (unit.get("history_gain") or {}).get("value")
    return math.nan if is_missing(value) else float(value)


def _level(unit: dict[str, Any], name: str) -> float:
    """Give a rung's bits/spike, NaN where it was not fitted."""
    value = ((unit.get("rungs") or {}).get(name) or {}).get("bits_per_spike")
    return math.nan if is_missing(value) else float(value)
