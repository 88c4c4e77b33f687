"""Whole figures as SVG text: small, deterministic, and safe to put beside others in one page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from cortexrnn.report import figures, honesty, on_demand, population
from cortexrnn.report.formats import show_interval, show_label, show_number
from cortexrnn.report.free_run import plot_curves, select_runner
from cortexrnn.report.goodness import plot_rescaled
from cortexrnn.report.read_off import plot_read_off
from cortexrnn.report.style import FIGURE_STYLE
from cortexrnn.report.svg import tidy_svg
from cortexrnn.report.waterfall import plot_waterfall
from cortexrnn.runs.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# All figures are drawn 400 points wide: one column of a phone, half a page on a desk, one column in print.
_WIDTH_PT = 400.0
_NEAR_S = 0.005
_FREE_ROW_PT = 128.0
# Spikes drawn as lines on one page, about 11 bytes each; the rasters of a large population are pictures, each of which
# weighs as much as some 500 spikes.
_PAGE_VECTOR_SPIKES, _PICTURE_SPIKES = 60_000, 500
_CAPTIONS: dict[str, str] = {
    "population": (
        "History gain of every unit with its 95 % interval. The shaded region, \N{PLUS-MINUS SIGN}{rope:g} "
        "bits/spike, is too small to matter. Filled circle: history matters; open square: no relevant "
        "history; open triangle: inconclusive. Bar at the left edge: found at a false discovery rate of 5 %. Grey: "
        "gains that these trials would show with a power below 80 %."
    ),
    "refractory": (
        "How often a unit fires right after its own spike (filled), beside what the stimulus-locked rate "
        "alone expects (open)."
    ),
    "ladder": (
        "Every unit's held-out score at each rung. Up to M3 nothing is spike history: stimulus, drift and "
        "trial gain. From M4 on (shaded) it is."
    ),
    "nulls": (
        "Score of every rung, pooled over units, over each of three nulls: the mean rate of the training trials, that "
        "of the held-out trials, and the stimulus-locked rate M1; with 95 % intervals."
    ),
    "bins": (
        "What stimulus and history tell about the spikes in bins of several widths: thin lines are units, thick ones "
        "their mean. History should level off to the left; a gain that wide bins alone show is theirs."
    ),
    "budget": (
        "Held-out score of every rung after training on ever more trials, pooled over units, with 95 % intervals. "
        "Where curves still rise, more trials would help."
    ),
    "modes": (
        "Time constants and frequencies of {rung}, fitted to all trials of {n_units} units; larger marks carry more of "
        "the response to a spike. Open loop: the spikes to come are held; closed loop: a spike's own consequences are "
        "heard; recording: one more spike in the real trials."
    ),
    "likeness": "{sentence} Intervals of 95 %; marks as in the figure of all units.",
    "waterfall": "Unit {label}: what each rung adds, with 95 % intervals. History gain {gain} bits/spike.",
    "raster": "Unit {label}: spikes of every trial, the trial average, and the rate of M1{colours}.",
    "isi": (
        "Unit {label}: interspike intervals, data against what the stimulus alone (dashed) and the history rung "
        "(solid) expect; right, the first 5 ms enlarged."
    ),
    "goodness": (
        "Unit {label}: rescaled intervals of held-out trials against what M1 (dashed), S1 (dotted, if there) and "
        "M5 (solid) expect; outside the shaded band a model is rejected at 5 %."
    ),
    "free": (
        "Unit {label} (black, grey) beside {model} running freely: mean and 95 % of its copies of held-out trials "
        "(blue). Intervals, rate after a spike, Fano factor, trial average{first}."
    ),
    "history": (
        "Unit {label}: by what factor a spike multiplies the rate that follows it, with its 95 % band; "
        "1 is no effect."
    ),
}
# Settings of matplotlib that change how a figure looks.
_LOOKS = "^(axes|errorbar|figure|font|hatch|image|legend|lines|markers|patch|path|scatter|svg|text|[xy]tick)[.]"
_XML_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A finished figure.

    Attributes
    ----------
    name : str
        File name without its ending.
    kind : str
        Which figure it is: "waterfall", "raster", "isi", "history", "goodness", "free", "population", "refractory",
        "ladder", "nulls", "bins", "budget", "likeness", "modes".
    caption : str
        One or two sentences, plain text.
    svg : str
        One ``<svg>`` element whose ids no other figure of the page uses.
    """

    name: str
    kind: str
    caption: str
    svg: str


def draw_figures(folder: str | Path, summary: dict[str, Any], panels: xr.Dataset) -> list[Path]:
    """Write every figure of a comparison as an SVG file.

    Parameters
    ----------
    folder : path
        Made if it does not exist; existing figures of the same names are replaced.
    summary : dict
        As `write_report` takes it.
    panels : xarray.Dataset
        As `write_report` takes it.

    Returns
    -------
    list of pathlib.Path
        The files, population first, then unit by unit.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    drawings = [*draw_population(summary), *(each for group in draw_units(summary, panels) for each in group)]
    return [save_drawing(folder, drawing) for drawing in drawings]


def save_drawing(folder: str | Path, drawing: Drawing) -> Path:
    """Write one drawing as a file of its own and give its path."""
    path = Path(folder) / f"{drawing.name}.svg"
    atomic_write(path, (_XML_HEAD + drawing.svg + "\n").encode("utf-8"))
    return path


def draw_population(summary: dict[str, Any]) -> list[Drawing]:
    """Draw the figures that show all units: history gains, refractory mass, and the climb up the ladder."""
    units = summary["units"]
    rope = float((summary.get("settings") or {}).get("rope") or 0.01)
    height = 62.0 + 17.0 * len(units) if len(units) <= population.MAX_NAMED_UNITS else 460.0
    height = max(height, 130.0)
    left = 22.0 + 5.8 * max((len(show_label(unit["unit"], 16)) for unit in units), default=1)
    with _figure_style():
        gains = _new_figure(height)
        honesty.plot_discoveries(_axes(gains, left=left, top=22.0), units, rope=rope)
        refractory = _new_figure(height)
        population.plot_refractory(_axes(refractory, left=left, top=22.0), units)
        ladder = _new_figure(270.0)
        population.plot_ladder(_axes(ladder, left=52.0, bottom=26.0, top=20.0), units)
        drawings = [
            _finish(gains, "population", "population", rope=rope),
            _finish(refractory, "population_refractory", "refractory"),
            _finish(ladder, "population_ladder", "ladder"),
        ]
        nulls = (summary.get("population") or {}).get("nulls")
        if nulls:
            pooled = _new_figure(250.0)
            honesty.plot_nulls(_axes(pooled, left=52.0, top=20.0), nulls)
            drawings.append(_finish(pooled, "population_nulls", "nulls"))
        return drawings


def draw_extras(extras: Mapping[str, xr.Dataset]) -> list[Drawing]:
    """Draw what was asked beside a comparison: bin sweep, data budget, data of known truth, time scales."""
    drawings = []
    with _figure_style():
        if "bin_sweep" in extras:
            figure = _new_figure(230.0)
            on_demand.plot_bin_sweep(_axes(figure, left=52.0), extras["bin_sweep"])
            drawings.append(_finish(figure, "bin_sweep", "bins"))
        if "data_budget" in extras:
            figure = _new_figure(230.0)
            on_demand.plot_data_budget(_axes(figure, left=52.0, right=84.0), extras["data_budget"])
            drawings.append(_finish(figure, "data_budget", "budget"))
        if "likeness" in extras:
            found = extras["likeness"]
            figure = _new_figure(min(460.0, 80.0 + 24.0 * found.sizes["unit"]))
            on_demand.plot_likeness(_axes(figure, left=92.0), found)
            drawings.append(_finish(figure, "likeness", "likeness", sentence=found.attrs["sentence"]))
        if "read_off" in extras:
            found = extras["read_off"]
            figure = _new_figure(230.0)
            plot_read_off(_axes(figure, left=52.0, top=24.0), found)
            words = {"rung": found.attrs["name"], "n_units": found.sizes["unit"]}
            drawings.append(_finish(figure, "read_off", "modes", **words))
    return drawings


def draw_units(
    summary: dict[str, Any], panels: xr.Dataset, *, numbers: Iterable[int] | None = None
) -> Iterator[list[Drawing]]:
    """Draw the figures of each unit, one unit at a time, in the order of ``summary["units"]`` or only `numbers`."""
    max_vector_spikes = max(_PICTURE_SPIKES, _PAGE_VECTOR_SPIKES // max(len(summary["units"]), 1))
    max_vector_spikes = min(figures.MAX_VECTOR_SPIKES, max_vector_spikes)
    names = panels["unit"].values if "unit" in panels.coords else ()
    position_of = {str(name): position for position, name in enumerate(names)}
    for number in range(len(summary["units"])) if numbers is None else numbers:
        unit = summary["units"][number]
        position = position_of.get(str(unit["unit"]))
        panel = None if position is None else figures.select_unit(panels, position)
        yield _draw_unit(f"unit_{number:03d}_{_slug(unit['unit'])}", unit, panel, max_vector_spikes)


def _draw_unit(
    name: str, unit: dict[str, Any], panel: xr.Dataset | None, max_vector_spikes: int
) -> list[Drawing]:
    """Draw one unit: the waterfall, and what its spikes look like where they were handed over."""
    if not unit.get("n_spikes"):
        return []
    label = show_label(unit["unit"], 40)
    gain = unit.get("history_gain") or {}
    value = show_number(gain.get("value"), signed=True)
    interval = show_interval(gain.get("ci"), signed=True, missing="")
    gain_words = f"{value} {interval}".strip().replace("-", "\N{MINUS SIGN}")
    with _figure_style():
        waterfall = _new_figure(250.0)
        plot_waterfall(_axes(waterfall, left=160.0, right=50.0), unit)
        drawings = [_finish(waterfall, f"{name}_waterfall", "waterfall", label=label, gain=gain_words)]
        if panel is None:
            return drawings
        return [*drawings, *_draw_panel(name, unit, panel, max_vector_spikes)]


def _draw_panel(name: str, unit: dict[str, Any], panel: xr.Dataset, max_vector_spikes: int) -> list[Drawing]:
    """Draw raster with PSTH, ISI histogram with its first 5 ms, history filter and rescaled intervals of one unit."""
    label = show_label(unit["unit"], 40)
    raster = _new_figure(250.0)
    upper = _axes(raster, left=48.0, bottom=122.0, top=6.0)
    figures.plot_raster(upper, panel, n_trials=unit.get("n_trials"), max_vector_spikes=max_vector_spikes)
    upper.tick_params(labelbottom=False)
    figures.plot_psth(_axes(raster, left=48.0, top=146.0), panel)
    isi = _new_figure(205.0)
    whole = figures.plot_isi(_axes(isi, left=48.0, right=158.0, top=22.0), panel)
    whole.set_ylabel("intervals per bin")
    near = figures.plot_isi(_axes(isi, left=290.0, right=10.0, top=22.0), panel, window_s=_NEAR_S)
    near.set_title("first 5 ms", fontsize=9.5, loc="left", pad=6.0)
    handles, words = whole.get_legend_handles_labels()
    whole.legend(handles, words, loc="upper right", borderpad=0.1, handlelength=1.6)
    colours = "; one colour a condition" if panel.sizes.get("condition", 1) > 1 else ""
    drawings = [
        _finish(raster, f"{name}_raster", "raster", label=label, colours=colours),
        _finish(isi, f"{name}_isi", "isi", label=label),
    ]
    if panel["history_gain_factor"].notnull().any():
        filters = _new_figure(205.0)
        figures.plot_history_filter(_axes(filters, left=48.0, top=12.0), panel)
        drawings.append(_finish(filters, f"{name}_history", "history", label=label))
    if "rescaled" in panel and panel["rescaled"].notnull().any():
        clock = _new_figure(205.0)
        plot_rescaled(_axes(clock, left=48.0, right=188.0, top=12.0), panel)
        drawings.append(_finish(clock, f"{name}_goodness", "goodness", label=label))
    if "runner" in panel.sizes:
        words = {"label": label, "first": " of the first condition" if panel.sizes.get("condition", 1) > 1 else ""}
        for runner in map(str, panel["runner"].values):
            figure = _free_figure(select_runner(panel, runner))
            drawings.append(_finish(figure, f"{name}_free_run_{_slug(runner)}", "free", model=runner, **words))
    return drawings


def _free_figure(run: xr.Dataset) -> Figure:
    """Draw the free run of one model, two panels by two."""
    figure = _new_figure(2.0 * _FREE_ROW_PT)
    above, below = {"top": 12.0, "bottom": _FREE_ROW_PT + 36.0}, {"top": _FREE_ROW_PT + 12.0, "bottom": 36.0}
    left, right = {"left": 48.0, "right": 210.0}, {"left": 250.0, "right": 12.0}
    axes = plot_curves([_axes(figure, **row, **column) for row in (above, below) for column in (left, right)], run)
    axes[-1].set_xlabel(f"{run['time'].attrs.get('long_name', 'time from event')} (s)")
    return figure


@contextmanager
def _figure_style() -> Iterator[None]:
    """Draw in the report's style, whatever the caller's is, and leave the caller's settings as they were."""
    from matplotlib import rc_context, rcParamsDefault

    with rc_context({**rcParamsDefault.find_all(_LOOKS), **FIGURE_STYLE}), warnings.catch_warnings():
        # Text stays text in the SVG: a letter that the measuring font lacks is shown by the reader's.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def _new_figure(height_pt: float) -> Figure:
    """Make an empty figure of the common width that no global list of figures knows."""
    from matplotlib.figure import Figure

    # The resolution concerns dense rasters only, which are pictures inside the SVG.
    return Figure(figsize=(_WIDTH_PT / 72.0, height_pt / 72.0), dpi=160, frameon=False)


def _axes(
    figure: Figure, *, left: float, right: float = 12.0, bottom: float = 36.0, top: float = 12.0
) -> Any:
    """Add axes with margins in points: fixed margins line up between figures and cost no layout pass."""
    width, height = (72.0 * inches for inches in figure.get_size_inches())
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    axes = figure.add_axes(box)
    axes.patch.set_visible(False)
    return axes


def _finish(figure: Figure, name: str, kind: str, **words: Any) -> Drawing:
    """Turn a figure into SVG text whose ids start with its name; `words` complete its caption."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    caption = _CAPTIONS[kind].format(**words)
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        # No date and no version: the same result gives the same bytes.
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    return Drawing(name=name, kind=kind, caption=caption, svg=tidy_svg(buffer.getvalue(), name, caption))


def _slug(name: Any) -> str:
    """Make a name safe as part of a file name and of an id."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", str(name)).strip("-")[:40] or "unit"
