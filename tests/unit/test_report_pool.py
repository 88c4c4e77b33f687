"""Drawing in child processes. Oracle: the same figures drawn in this process, letter by letter."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.report import drawing_pool
from cortexrnn.report.drawing import draw_units
from cortexrnn.report.drawing_pool import draw_many_units


@pytest.fixture
def three(report_summary, report_panels):
    """Three units of the example; one name is no ASCII, one number is NumPy's."""
    report_summary["units"] = report_summary["units"][:3]
    report_summary["units"][1]["n_spikes"] = np.int64(report_summary["units"][1]["n_spikes"])
    report_summary["units"][2]["unit"] = "\N{GREEK SMALL LETTER ALPHA}"
    return report_summary, report_panels.isel(unit=[0, 1])


def test_children_draw_the_same_letters_in_the_same_order(three):
    assert list(draw_many_units(*three, n_children=2)) == list(draw_units(*three))


def test_what_a_dead_child_has_not_drawn_is_drawn_here(three, monkeypatch):
    monkeypatch.setattr(drawing_pool, "_BOOTSTRAP", "raise SystemExit(3)")
    assert list(draw_many_units(*three, n_children=2)) == list(draw_units(*three))


def test_half_a_line_of_a_dying_child_is_not_taken(three, monkeypatch):
    monkeypatch.setattr(drawing_pool, "_BOOTSTRAP", "import sys; sys.stdout.write('[{'); sys.stdout.flush()")
    assert list(draw_many_units(*three, n_children=2)) == list(draw_units(*three))


def test_a_few_units_start_no_child(three, monkeypatch):
    monkeypatch.setattr(drawing_pool, "_children", None)
    assert len(list(draw_many_units(*three))) == 3


def test_children_end_with_a_reader_that_stops(three, monkeypatch):
    started = []
    popen = drawing_pool.subprocess.Popen

    def start(*args, **kwargs):
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(drawing_pool.subprocess, "Popen", start)
    drawn = draw_many_units(*three, n_children=2)
    next(drawn)
    drawn.close()
    assert len(started) == 2
    assert all(child.returncode is not None for child in started)
