"""The report page: one file with everything inside that needs neither a network nor a script."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from jinja2 import ChainableUndefined, Environment, PackageLoader, Undefined
from markupsafe import Markup
from tqdm import tqdm

from cortexrnn.report import formats, text
from cortexrnn.report.drawing import Drawing, draw_extras, draw_population, save_drawing
from cortexrnn.report.drawing_pool import draw_many_units
from cortexrnn.report.honesty import foreign_words, parts_sentence
from cortexrnn.report.on_demand import read_off_rows
from cortexrnn.report.population import gain_order
from cortexrnn.report.style import RUNG_ORDER, RUNG_WORDS, VERDICTS, verdict_style
from cortexrnn.report.svg import lone_image
from cortexrnn.runs.files import atomic_write

# Up to this many units every section starts open; above, the first one does, and units are sorted and can be filtered.
MAX_OPEN_UNITS = 12
# What may stand in a data address within single quotes as it is: the page gets a third smaller.
_READABLE = " <>=:/;,()?+*!~\"@$[]{}|^`\\&"


def write_report(
    path: str | Path,
    summary: Mapping[str, Any],
    panels: xr.Dataset,
    *,
    extras: Mapping[str, xr.Dataset] | None = None,
    figures_folder: str | Path | None = None,
    shows_progress: bool = False,
) -> Path:
    """Write a comparison as one self-contained HTML page.

    Parameters
    ----------
    path : path
        The page; replaced atomically if it exists.
    summary : mapping
        What a comparison found, as in ``summary.json``: `recording`, `settings`, `controls`, `units`,
        `population`, `verdict_sentence` and, optionally, `methods`. Values may be None or NaN.
    panels : xarray.Dataset
        What the figures draw, with dims unit, condition, time (s, left edges), model, isi (s, left edges),
        lag (s), spike: `psth_hz`, `psth_model_hz`, `isi_observed`, `isi_model`, `history_gain_factor`,
        `history_low`, `history_high`, `spike_unit`, `spike_trial`, `spike_time_s`, and optionally
        `trial_condition` over ``trial``. Units that it lacks get no figures of their spikes.
    extras : mapping of str to xarray.Dataset, optional
        What was asked beside it: `bin_sweep`, `data_budget`, `likeness`, `read_off`.
    figures_folder : path, optional
        If given, every figure is also written there as an SVG file, without drawing it twice.
    shows_progress : bool
        Whether to count the units drawn on the error stream.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    FileAccessError
        If the page or a figure cannot be written.
    """
    population = draw_population(summary)
    asked = draw_extras(extras or {})
    drawn = draw_many_units(summary, panels)
    groups = list(tqdm(drawn, "drawing", len(summary["units"]), leave=False, disable=not shows_progress))
    if figures_folder is not None:
        for drawing in [*population, *asked, *(each for group in groups for each in group)]:
            save_drawing(figures_folder, drawing)
    target = Path(path)
    rows = read_off_rows(extras["read_off"]) if extras and "read_off" in extras else []
    atomic_write(target, _render(summary, population, asked, groups, rows).encode("utf-8"))
    return target


def fill_template(name: str, **content: Any) -> str:
    """Fill one of the package's page templates; every value in `content` is escaped.

    Parameters
    ----------
    name : str
        File name of the template.
    **content
        What its variables stand for.

    Returns
    -------
    str
    """
    return _environment().get_template(name).render(**content)


def _render(
    summary: Mapping[str, Any],
    population: list[Drawing],
    asked: list[Drawing],
    groups: list[list[Drawing]],
    read_off: list[dict[str, Any]],
) -> str:
    """Fill the page's template; every value that is not one of our own figures is escaped."""
    units = summary["units"]
    sections = [
        {"unit": unit, "figures": group, "anchor": f"unit-{number}"}
        for number, (unit, group) in enumerate(zip(units, groups, strict=True))
    ]
    is_long = len(units) > MAX_OPEN_UNITS
    if is_long:
        sections.sort(key=lambda section: gain_order(section["unit"]))
    return fill_template(
        "report.html",
        summary=summary,
        counts=_count_verdicts(summary),
        sections=sections,
        population_figures=population,
        asked_figures=asked,
        read_off=read_off,
        largest=text.unit_to_quote(units),
        alarms=text.alarm_sentences(summary),
        rungs=[name for name in RUNG_ORDER if any(name in (unit.get("rungs") or {}) for unit in units)],
        rung_words=RUNG_WORDS,
        control=text.control_words(name for unit in units for name in unit.get("rungs") or ()),
        has_truth=any(unit.get("truth") for unit in units),
        is_long=is_long,
        methods=summary.get("methods") or text.methods_paragraph(summary),
        caution=text.CAUTION,
        verdict_styles=VERDICTS,
    )


def _environment() -> Environment:
    """Make the template environment: escaping on, numbers written as on the rest of the page."""
    environment = Environment(
        loader=PackageLoader("cortexrnn.report", "templates"),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_as_filter(formats.show_number),
        interval=_as_filter(formats.show_interval),
        percent=_as_filter(formats.show_percent),
        time=_as_filter(formats.show_time),
        count=_as_filter(formats.show_count),
        label=formats.show_label,
        setting=text.show_setting,
        svg=_trust_own_svg,
        image=_as_image,
        window=_as_filter(formats.show_window),
        # A percentage must not part from its sign at a line's end.
        tie=lambda words: words.replace(" %", "\N{NO-BREAK SPACE}%"),
        refractory=text.refractory_sentence,
        foreign=foreign_words,
        parts=parts_sentence,
        slug=lambda verdict: verdict_style(verdict).slug,
    )
    return environment


def _as_filter(show: Callable[..., str]) -> Callable[..., str]:
    """Make a formatter take what a summary lacks as missing, and write a typographic minus sign."""

    def show_on_page(value: Any, *args: Any, **kwargs: Any) -> str:
        """Write one value."""
        known = None if isinstance(value, Undefined) else value
        return show(known, *args, **kwargs).replace("-", "\N{MINUS SIGN}")

    return show_on_page


def _trust_own_svg(drawing: Drawing) -> Markup:
    """Insert a figure unescaped: `drawing` has escaped every name in it already."""
    return Markup(drawing.svg)


def _as_image(drawing: Drawing) -> Markup:
    """Give a figure as the address of an image, which a browser does not look into before it is shown."""
    svg = lone_image(drawing.svg, drawing.name)
    return Markup("data:image/svg+xml," + urllib.parse.quote(svg, safe=_READABLE).replace("&", "&amp;"))


def _count_verdicts(summary: Mapping[str, Any]) -> dict[str, int]:
    """Take the counts of the population, or count where an older summary lacks them."""
    known = (summary.get("population") or {}).get("verdicts") or {}
    verdicts = [unit.get("verdict") for unit in summary["units"]]
    return {name: int(known.get(name, verdicts.count(name))) for name in VERDICTS}
