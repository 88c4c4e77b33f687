"""The waterfall of one unit: what each rung of the ladder adds to the one below."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from cortexrnn.report import style
from cortexrnn.report.formats import interval_ends, is_missing, show_label, show_number
from cortexrnn.report.style import (
    CUT_RUNGS,
    RUNG_ORDER,
    RUNG_WORDS,
    SPIKE_HISTORY_RUNGS,
    verdict_style,
    write_instead,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Room for a rung's name, and what a bold letter takes, in points.
_NAME_PT, _LETTER_PT = 46.0, 5.7


def plot_waterfall(ax: Axes, unit_summary: dict[str, Any]) -> Axes:
    """Draw what each rung adds in bits/spike, one row a rung, with a 95 % interval on every step.

    A bar runs from the rung below to the rung; the row "history" from its control to the history rung that
    the training folds chose. Networks whose spikes are cut are hollow: they are controls, no steps of the ladder.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    unit_summary : dict
        One entry of ``summary["units"]``: `rungs`, `steps`, `history_gain` and `verdict` are used.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    rows = _waterfall_rows(unit_summary)
    if not rows:
        return write_instead(ax, "no score: too few spikes")
    # The answer stands a little apart from the ladder that leads to it.
    heights = [number + 0.4 * (row["rung"] == "history") for number, row in enumerate(rows)]
    ax.axvline(0.0, color=style.MUTED, linewidth=0.7, zorder=1)
    for number, (y, row) in enumerate(zip(heights, rows, strict=True)):
        colour = _row_colour(row["rung"], unit_summary)
        hollow = row["rung"] in CUT_RUNGS
        ax.barh(
            y,
            row["top"] - row["base"],
            left=row["base"],
            height=0.56,
            zorder=2,
            color="white" if hollow else colour,
            edgecolor=colour,
            linewidth=0.9,
        )
        _draw_interval(ax, y, row["base"] + row["low"], row["base"] + row["high"])
        if number + 1 < len(rows) and abs(rows[number + 1]["base"] - row["top"]) < 1e-9:
            ax.plot(
                [row["top"]] * 2,
                [y + 0.28, heights[number + 1] - 0.28],
                color=style.MUTED,
                linewidth=0.6,
                zorder=1,
            )
        _name_row(ax, y, row, unit_summary)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim(heights[-1] + 0.55, -0.55)
    ax.margins(x=0.06)
    ax.locator_params(axis="x", nbins=4)
    ax.set_xlabel("bits/spike over a constant rate, held out")
    return ax


def _waterfall_rows(unit_summary: dict[str, Any]) -> list[dict[str, Any]]:
    """List the rows to draw: rung, base, top, and the interval's ends relative to the base."""
    rungs, steps = unit_summary.get("rungs") or {}, unit_summary.get("steps") or {}
    gain = unit_summary.get("history_gain") or {}
    level = {name: _finite((rungs.get(name) or {}).get("bits_per_spike")) for name in RUNG_ORDER}
    rows, below = [], 0.0
    for name in RUNG_ORDER[1:]:
        if name == "history":
            top, step = level["history"], gain
        else:
            top, step = level[name], steps.get(name) or {}
        value = _finite(step.get("value"))
        if math.isnan(top) and name == "history" and not math.isnan(value):
            top = level.get(gain.get("over"), math.nan) + value
        if math.isnan(top):
            continue
        if name.startswith("M6") and math.isnan(value):
            below = level["M3"]
        base = below if math.isnan(value) else top - value
        low, high = interval_ends(step.get("ci"))
        rows.append(
            {"rung": name, "base": 0.0 if math.isnan(base) else base, "top": top, "low": low, "high": high}
        )
        below = top
    return rows


def _row_colour(rung: str, unit_summary: dict[str, Any]) -> str:
    """Colour a bar: spike history stands out, the rest is grey, the last row has the verdict's colour."""
    if rung == "history":
        return verdict_style(unit_summary.get("verdict")).colour
    return style.HISTORY_MODEL if rung in SPIKE_HISTORY_RUNGS else style.NOT_HISTORY


def _name_row(ax: Axes, y: float, row: dict[str, Any], unit_summary: dict[str, Any]) -> None:
    """Write a row's rung and meaning to the left of the axes, and its step to the right."""
    place = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 9.5,
    }
    is_answer = row["rung"] == "history"
    weight = "bold" if is_answer else "normal"
    step = show_number(row["top"] - row["base"], signed=True).replace("-", "\N{MINUS SIGN}")
    ax.annotate(step, (1.0, y), xytext=(5, 0), ha="left", fontweight=weight, **place)
    if is_answer:
        over = (unit_summary.get("history_gain") or {}).get("over")
        words = f"history gain over {show_label(over, 12)}" if over else "history gain"
        ax.annotate(words, (0.0, y), xytext=(-6, 0), ha="right", fontweight=weight, **place)
        return
    ax.annotate(row["rung"], (0.0, y), xytext=(-6, 0), ha="right", fontweight="bold", **place)
    gap_pt = max(_NAME_PT, _LETTER_PT * len(row["rung"]) + 10.0)
    ax.annotate(RUNG_WORDS[row["rung"]], (0.0, y), xytext=(-gap_pt, 0), ha="right", color=style.MUTED, **place)


def _draw_interval(ax: Axes, y: float, low: float, high: float) -> None:
    """Draw a whisker with small ends, if it is known."""
    if math.isnan(low) or math.isnan(high):
        return
    ax.plot([low, high], [y, y], color=style.INK, linewidth=1.0, zorder=3)
    ax.plot(
        [low, low, math.nan, high, high],
        [y - 0.13, y + 0.13, math.nan] + [y - 0.13, y + 0.13],
        color=style.INK,
        linewidth=1.0,
        zorder=3,
    )


def _finite(value: Any) -> float:
    """Give a float, NaN where the value is missing."""
    return math.nan if is_missing(value) else float(value)
