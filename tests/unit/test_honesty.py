"""What puts a gain into proportion: the figures show the numbers of the summary, the sentence names every part."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from cortexrnn.report.honesty import parts_sentence, plot_discoveries, plot_nulls
from cortexrnn.report.population import order_units, plot_population


@pytest.fixture
def ax():
    """Empty axes."""
    return Figure(figsize=(4, 3)).add_subplot()


@pytest.fixture
def units(report_summary):
    """Twelve units, of which those with a gain know what they could have shown; seven are found."""
    units = report_summary["units"]
    for unit in units:
        low, high = unit["history_gain"]["ci"]
        unit["detectable_gain"] = None if low is None else 0.7 * (high - low)
        unit["is_discovery"] = unit["verdict"] == "history matters"
    return units


def make_nulls():
    """Scores of three rungs over three nulls."""
    level = {"M0": 0.0, "M1": 0.3, "M5": 0.5}
    nulls = (("train mean", 0.0), ("test mean", 0.05), ("PSTH", 0.3))

    def scored(value):
        return {"value": value, "ci": [value - 0.1, value + 0.2]}

    return {null: {name: scored(value - less) for name, value in level.items()} for null, less in nulls}


def test_the_sentence_names_drift_gain_and_history(units):
    assert parts_sentence(units[0]) == (
        "Beyond the PSTH, in bits/spike: drift -0.002 [-0.013, +0.008], trial gain +0.005 [-0.005, +0.016], "
        "spike history +0.196 [+0.175, +0.217]."
    )


def test_without_m2_drift_and_gain_are_one(units):
    del units[0]["steps"]["M2"]
    assert parts_sentence(units[0]).startswith("Beyond the PSTH, in bits/spike: drift and trial gain +0.005")


def test_a_unit_without_a_gain_has_no_sentence(units):
    assert parts_sentence(units[-1]) == ""
    assert parts_sentence({}) == ""


def test_gains_stand_where_the_population_figure_has_them(ax, units):
    """Oracle: the plain figure of the same units; and the axes end where they ended."""
    plain = plot_population(Figure().add_subplot(), units)
    drawn = plot_discoveries(ax, units)
    assert drawn is ax
    for before, after in zip(plain.lines, ax.lines, strict=True):
        np.testing.assert_array_equal(before.get_xydata(), after.get_xydata())
    assert ax.get_xlim() == plain.get_xlim()


def test_the_band_ends_at_what_could_be_detected(ax, units):
    plot_discoveries(ax, units)
    (band,) = [patch for patch in ax.patches if patch.get_label() == "power below 80 %"]
    ordered = order_units(units)
    values = [min(unit["detectable_gain"] or 0.0, ax.get_xlim()[1]) for unit in ordered]
    np.testing.assert_allclose(band.get_data().values, values, rtol=1e-12)
    np.testing.assert_allclose(band.get_data().edges, np.arange(13) - 0.5, rtol=1e-12)


def test_a_bar_marks_every_unit_that_was_found(ax, units):
    plot_discoveries(ax, units)
    (bars,) = ax.collections
    rows = [segment[:, 1].mean() for segment in bars.get_segments()]
    assert rows == [row for row, unit in enumerate(order_units(units)) if unit["is_discovery"]]


def test_a_summary_without_these_numbers_is_drawn_all_the_same(ax, report_summary):
    numbers = ("p", "q", "is_discovery", "detectable_gain")
    units = [{key: value for key, value in unit.items() if key not in numbers} for unit in report_summary["units"]]
    plot_discoveries(ax, units)
    assert not ax.collections


def test_every_null_has_its_points_and_intervals(ax):
    nulls = make_nulls()
    assert plot_nulls(ax, nulls) is ax
    points = {line.get_label(): line for line in ax.lines[1:]}
    assert list(points) == ["training mean", "held-out mean", "PSTH"]
    for line, null, segments in zip(points.values(), nulls, ax.collections, strict=True):
        np.testing.assert_allclose(line.get_ydata(), [row["value"] for row in nulls[null].values()], rtol=1e-12)
        ends = [sorted(segment[:, 1]) for segment in segments.get_segments()]
        np.testing.assert_allclose(ends, [row["ci"] for row in nulls[null].values()], rtol=1e-12)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["M0", "M1", "M5"]


def test_missing_scores_leave_gaps_and_none_at_all_says_so(ax):
    nulls = make_nulls()
    nulls["PSTH"]["M5"] = {"value": None, "ci": None}
    plot_nulls(ax, nulls)
    assert np.isnan(ax.lines[-1].get_ydata()[-1])
    other = plot_nulls(Figure().add_subplot(), {"PSTH": {"M0": {"value": None, "ci": None}}})
    assert other.texts[0].get_text() == "no spikes, no score"
