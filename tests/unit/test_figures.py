"""Figures: what is drawn is what was handed over, and the SVG is small, valid and alone with its ids."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from cortexrnn.errors import FileAccessError
from cortexrnn.report import (
    draw_figures,
    plot_history_filter,
    plot_isi,
    plot_ladder,
    plot_population,
    plot_psth,
    plot_raster,
    plot_refractory,
    plot_waterfall,
    select_unit,
)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def ax():
    """Empty axes."""
    return Figure(figsize=(4, 3)).add_subplot()


@pytest.fixture(scope="module")
def drawn(report_example, tmp_path_factory):
    """The example's figures as files."""
    return draw_figures(tmp_path_factory.mktemp("figures"), *report_example)


def _rectangles(ax):
    """Give (left, right) of every bar, top row first."""
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]


def test_select_unit_keeps_exactly_that_units_spikes():
    panels = xr.Dataset(
        {
            "spike_unit": ("spike", [0, 1, 1, 0]),
            "spike_time_s": ("spike", [0.1, 0.2, 0.3, 0.4]),
            "isi_observed": (("unit", "isi"), [[1, 2], [3, 4]]),
        }
    )
    panel = select_unit(panels, 1)
    assert panel["spike_time_s"].values.tolist() == [0.2, 0.3]
    assert panel["isi_observed"].values.tolist() == [3, 4]


def test_waterfall_bars_run_from_the_rung_below_to_the_rung(ax):
    # By hand: M1 stands at 0.3, M3 0.1 above it, M6 0.25 above M6cut at 0.38; the answer spans M3 to 0.6.
    unit = {
        "verdict": "history matters",
        "rungs": {
            "M0": {"bits_per_spike": 0.0, "ci": [0, 0]},
            "M1": {"bits_per_spike": 0.3, "ci": [0.2, 0.4]},
            "M3": {"bits_per_spike": 0.4, "ci": [0.3, 0.5]},
            "M6cut": {"bits_per_spike": 0.38, "ci": [0.3, 0.5]},
            "M6": {"bits_per_spike": 0.63, "ci": [0.5, 0.7]},
            "history": {"bits_per_spike": 0.6, "ci": [0.5, 0.7]},
        },
        "steps": {
            "M1": {"value": 0.3, "ci": [0.2, 0.4]},
            "M3": {"value": 0.1, "ci": [0.05, 0.15]},
            "M6cut": {"value": -0.02, "ci": [-0.03, -0.01]},
            "M6": {"value": 0.25, "ci": [0.2, 0.3]},
        },
        "history_gain": {"value": 0.2, "ci": [0.15, 0.25], "over": "M3"},
    }
    assert plot_waterfall(ax, unit) is ax
    expected = [(0.0, 0.3), (0.3, 0.4), (0.4, 0.38), (0.38, 0.63), (0.4, 0.6)]
    np.testing.assert_allclose(_rectangles(ax), expected, rtol=0, atol=1e-12)  # round-off of one subtraction
    written = [text.get_text() for text in ax.texts]
    assert "+0.200" in written
    assert "\N{MINUS SIGN}0.020" in written
    assert "history gain over M3" in written


def test_waterfall_whiskers_are_the_steps_intervals_on_top_of_the_rung_below(ax):
    unit = {
        "rungs": {"M1": {"bits_per_spike": 0.3}, "M2": {"bits_per_spike": 0.5}},
        "steps": {"M2": {"value": 0.2, "ci": [0.1, 0.35]}},
    }
    plot_waterfall(ax, unit)
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert any(np.allclose(span, (0.4, 0.65), rtol=0, atol=1e-12) for span in spans)


def test_waterfall_of_a_silent_unit_says_why_it_is_empty(ax):
    plot_waterfall(ax, {"rungs": {}, "steps": {}, "history_gain": {"value": None}, "verdict": "inconclusive"})
    assert [text.get_text() for text in ax.texts] == ["no score: too few spikes"]


def test_raster_puts_each_spike_on_its_trials_row(ax):
    panel = xr.Dataset({"spike_trial": ("spike", [0, 2]), "spike_time_s": ("spike", [0.25, 0.75])})
    plot_raster(ax, panel, n_trials=4)
    x, y = ax.lines[0].get_data()
    assert x[[0, 1, 3, 4]].tolist() == [0.25, 0.25, 0.75, 0.75]
    np.testing.assert_allclose([y[:2].mean(), y[3:5].mean()], [0.0, 2.0], rtol=0, atol=1e-12)
    assert ax.get_ylim() == (3.5, -0.5)


def test_raster_groups_trials_by_condition_in_trial_order(ax):
    panel = xr.Dataset(
        {
            "spike_trial": ("spike", [0, 1, 2, 3]),
            "spike_time_s": ("spike", [0.0, 0.1, 0.2, 0.3]),
            "trial_condition": ("trial", [1, 0, 1, 0]),
            "psth_hz": (("condition", "time"), np.zeros((2, 2))),
        },
        coords={"time": [0.0, 0.2]},
    )
    plot_raster(ax, panel)
    # Trials 1 and 3 are of condition 0 and take rows 0 and 1; trials 0 and 2 follow on rows 2 and 3.
    rows = [line.get_ydata()[0::3] + 0.42 for line in ax.lines]
    np.testing.assert_allclose(rows, [[0, 1], [2, 3]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("limit", "is_picture"), [(2, False), (1, True)])
def test_raster_becomes_a_picture_above_the_limit(ax, limit, is_picture):
    panel = xr.Dataset({"spike_trial": ("spike", [0, 1]), "spike_time_s": ("spike", [0.1, 0.2])})
    plot_raster(ax, panel, n_trials=2, max_vector_spikes=limit)
    assert bool(ax.lines[0].get_rasterized()) is is_picture


def test_psth_averages_neighbouring_bins_and_keeps_their_sum(ax):
    rng = np.random.default_rng(7)
    rate_hz = rng.random((1, 400)) * 50
    panel = xr.Dataset(
        {"psth_hz": (("condition", "time"), rate_hz), "psth_model_hz": (("condition", "time"), rate_hz)},
        coords={"time": np.arange(400) * 0.001, "condition": ["all"]},
    )
    plot_psth(ax, panel)
    values, edges, _ = ax.patches[0].get_data()
    assert values.size == 100
    np.testing.assert_allclose(
        values, rate_hz.reshape(100, 4).mean(axis=1), rtol=1e-12
    )  # round-off of a mean
    np.testing.assert_allclose(edges[[0, -1]], [0.0, 0.4], rtol=0, atol=1e-9)


def test_psth_names_every_condition_when_there_are_few(ax):
    panel = xr.Dataset(
        {name: (("condition", "time"), np.ones((2, 5))) for name in ("psth_hz", "psth_model_hz")},
        coords={"time": np.arange(5) * 0.1, "condition": ["left", "right"]},
    )
    plot_psth(ax, panel)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["left", "right"]


def test_isi_window_shows_the_bins_below_it_and_no_other(ax):
    panel = xr.Dataset(
        {
            "isi_observed": ("isi", np.arange(20.0)),
            "isi_model": (("model", "isi"), np.stack([np.full(20, 3.0), np.full(20, np.nan)])),
        },
        coords={"isi": np.arange(20) * 0.001, "model": ["M1", "history"]},
    )
    plot_isi(ax, panel, window_s=0.005)
    values, edges_ms, _ = ax.patches[0].get_data()
    assert values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    np.testing.assert_allclose(edges_ms, [0, 1, 2, 3, 4, 5], rtol=0, atol=1e-9)
    # The model without any finite expectation is left out, not drawn as zero.
    assert len(ax.patches) == 2


def test_history_filter_draws_the_given_factors_at_their_lags(ax):
    panel = xr.Dataset(
        {"history_gain_factor": ("lag", [0.1, 0.5, 1.2])}, coords={"lag": [0.001, 0.002, 0.004]}
    )
    plot_history_filter(ax, panel)
    x, y = ax.lines[-1].get_data()
    np.testing.assert_allclose(x, [1, 2, 4], rtol=1e-12)
    assert y.tolist() == [0.1, 0.5, 1.2]


def test_history_filter_that_was_not_fitted_is_said_in_words(ax):
    panel = xr.Dataset({"history_gain_factor": ("lag", [np.nan, np.nan])}, coords={"lag": [0.001, 0.002]})
    plot_history_filter(ax, panel)
    assert [text.get_text() for text in ax.texts] == ["no GLM history filter for this unit"]


def test_population_sorts_by_gain_and_tells_verdicts_apart_by_shape(ax, report_summary):
    plot_population(ax, report_summary["units"])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[0] == "u01"  # 0.912, the largest
    assert names[-1] == "u11"  # silent: no gain
    markers = {line.get_marker() for line in ax.lines if line.get_marker() not in (None, "None")}
    assert markers == {"o", "s", "^"}


def test_population_shades_the_region_of_equivalence(ax, report_summary):
    plot_population(ax, report_summary["units"], rope=0.02)
    box = ax.patches[0]
    np.testing.assert_allclose([box.get_x(), box.get_x() + box.get_width()], [-0.02, 0.02], rtol=1e-12)


def test_population_of_silent_units_only_can_be_drawn(report_summary):
    units = report_summary["units"][-1:]
    for plot in (plot_population, plot_ladder, plot_refractory):
        figure = Figure()
        plot(figure.add_subplot(), units)
        figure.canvas.draw()
        assert figure.axes


def test_refractory_draws_expected_and_fired_as_percentages(ax):
    unit = {"unit": 1, "history_gain": {"value": 0.1}}
    unit["refractory_mass"] = {"window_s": 0.002, "observed": 0.01, "model": "M1", "expected": 0.098}
    plot_refractory(ax, [unit])
    places = {line.get_label(): float(line.get_xdata()[0]) for line in ax.lines if len(line.get_xdata()) == 1}
    assert places == pytest.approx({"Poisson-PSTH expects": 9.8, "unit fires": 1.0}, rel=1e-12)
    assert ax.get_xlabel() == "spikes within 2 ms of the previous one (%)"


def test_ladder_has_one_line_a_unit_through_its_scores(ax, report_summary):
    units = report_summary["units"][:2]
    plot_ladder(ax, units)
    for line, unit in zip(ax.lines, units, strict=False):
        scores = [
            unit["rungs"][name]["bits_per_spike"] for name in ("M0", "M1", "M2", "M3", "M4", "M5", "M6")
        ]
        assert line.get_ydata().tolist() == scores


def test_files_are_valid_svg_with_a_text_alternative(drawn):
    # Three of the population, four of each unit but the silent one.
    assert len(drawn) == 3 + 11 * 4
    for path in drawn:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.tag == f"{SVG}svg"
        assert root.get("aria-label")
        assert root.get("viewBox").startswith("0 0 400 ")


def test_every_reference_inside_a_figure_finds_its_target(drawn):
    for path in drawn:
        svg = path.read_text(encoding="utf-8")
        ids = re.findall(r' id="([^"]+)"', svg)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', svg)) == set(ids)


def test_no_two_figures_share_an_id(drawn):
    ids = [name for path in drawn for name in re.findall(r' id="([^"]+)"', path.read_text(encoding="utf-8"))]
    assert len(ids) == len(set(ids))


def test_drawing_twice_gives_the_same_bytes(drawn, report_example, tmp_path):
    again = draw_figures(tmp_path, *report_example)
    assert [path.name for path in again] == [path.name for path in drawn]
    assert all(new.read_bytes() == old.read_bytes() for new, old in zip(again, drawn, strict=True))


def test_shortened_paths_visit_the_same_points(report_example, tmp_path):
    # Oracle: the histogram handed over. The filled outline of the ISI figure, read back, has its heights.
    summary, panels = report_example
    small = {**summary, "units": summary["units"][:1]}
    (path,) = [path for path in draw_figures(tmp_path, small, panels) if path.stem.endswith("_isi")]
    outline = max(re.findall(r' d="(M[^"]*)" clip-path[^>]*fill:#c3c9d1', path.read_text()), key=len)
    points, x, y = [], 0.0, 0.0
    for command, numbers in re.findall(r"([MlhvzZ])([^MlhvzZ]*)", outline):
        values = [float(number) for number in re.findall(r"-?[\d.]+", numbers)]
        if command == "M":
            x, y = values
        elif command == "l":
            x, y = x + values[0], y + values[1]
        elif command == "h":
            x += values[0]
        elif command == "v":
            y += values[0]
        points.append((x, y))
    x, y = np.array(points).T
    counts = panels["isi_observed"].values[0]
    # A point between the edges of bin k has that bin's height; pixels to counts through the largest bin.
    centres = x.min() + (np.arange(counts.size) + 0.5) * (x.max() - x.min()) / counts.size
    flat = np.abs(np.diff(y)) < 1e-9
    heights = [y[np.flatnonzero((x[:-1] <= c) & (x[1:] > c) & flat)[0]] for c in centres]
    scale = counts.max() / (y.max() - min(heights))
    # Coordinates have one decimal, of which two make a height.
    np.testing.assert_allclose((y.max() - np.array(heights)) * scale, counts, rtol=0, atol=0.11 * scale)


def test_names_in_figures_are_text_and_never_mathematics_or_markup(report_summary, report_panels, tmp_path):
    name = r'$\frac{1}{2}$ <b> & "id="x'
    report_summary["units"] = report_summary["units"][:1]
    report_summary["units"][0]["unit"] = name
    panels = report_panels.isel(unit=[0]).assign_coords(unit=[name])
    for path in draw_figures(tmp_path, report_summary, panels):
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
        assert root.find(f".//{SVG}b") is None
        if path.stem == "population":
            assert name[:13] + "..." in [text.text for text in root.iter(f"{SVG}text")]


def test_letters_that_the_measuring_font_lacks_draw_without_a_warning(
    report_summary, report_panels, tmp_path
):
    name = "\N{CJK UNIFIED IDEOGRAPH-795E}\N{CJK UNIFIED IDEOGRAPH-7D4C}"
    report_summary["units"] = report_summary["units"][:1]
    report_summary["units"][0]["unit"] = name
    paths = draw_figures(tmp_path, report_summary, report_panels.isel(unit=[0]).assign_coords(unit=[name]))
    assert name in paths[0].read_text(encoding="utf-8")


def test_drawing_leaves_the_callers_settings_alone(report_summary, report_panels, tmp_path):
    before = dict(matplotlib.rcParams)
    report_summary["units"] = report_summary["units"][:1]
    draw_figures(tmp_path, report_summary, report_panels)
    assert dict(matplotlib.rcParams) == before


def test_a_unit_without_panels_gets_its_waterfall_only(report_summary, report_panels, tmp_path):
    report_summary["units"] = report_summary["units"][:1]
    paths = draw_figures(tmp_path, report_summary, report_panels.isel(unit=slice(1, None)))
    assert [path.stem for path in paths[3:]] == ["unit_000_u00_waterfall"]


def test_a_comparison_of_silent_units_needs_no_panels(report_summary, tmp_path):
    report_summary["units"] = report_summary["units"][-1:]
    paths = draw_figures(tmp_path, report_summary, xr.Dataset())
    assert [path.stem for path in paths] == ["population", "population_refractory", "population_ladder"]


def test_a_folder_that_is_a_file_is_a_file_error(report_summary, report_panels, tmp_path):
    blocked = tmp_path / "figures"
    blocked.write_text("in the way")
    with pytest.raises(FileAccessError, match="figures"):
        draw_figures(blocked, report_summary, report_panels)


def test_importing_the_report_does_not_load_matplotlib():
    code = "import sys, cortexrnn.report; raise SystemExit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
