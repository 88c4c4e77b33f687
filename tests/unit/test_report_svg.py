"""Short SVG text. Oracles: paths worked out by hand, points read back, matplotlib's own text before it is shortened."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from cortexrnn.report.style import FIGURE_STYLE
from cortexrnn.report.svg import lone_image, shorten_path, tidy_svg


@pytest.fixture
def raw():
    """A line, a band, open and filled marks, and five ticks an axis, as matplotlib writes them."""
    with rc_context(FIGURE_STYLE):
        figure = Figure(figsize=(4.0, 3.0), dpi=160, frameon=False)
        ax = figure.add_subplot()
        x = np.arange(5.0)
        ax.fill_between(x, x, x + 1.0, color="#0b62a4", alpha=0.2, linewidth=0.0)
        ax.plot(x, x, color="#c2500a", marker="o", label="a <b> & c")
        ax.set_xticks(x)
        ax.set_yticks(x)
        ax.legend()
        buffer = io.StringIO()
        with rc_context({"svg.hashsalt": "figure"}):
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("M 1 2 L 3 4", "M1 2l2 2"),
        ("M 10 5 L 10 8 L 14 8 L 13 7.5 z", "M10 5v3h4l-1-.5z"),
        ("M 1 1 L 2 1 L 4 1 L 3 1", "M1 1h3h-1"),
        ("M 1 1 L 1.01 1 L 1.02 1.04", "M1 1v0"),
        ("M 0.04 0.26 L 0.5 -0.5", "M0 .3l.5-.8"),
        ("M 1 1 L 1 2 M 3 1 L 3 2", "M1 1v1m2-1v1"),
        ("M 1 1 L 2 2 z M 3 3 L 4 4", "M1 1l1 1zm2 2l1 1"),
        ("M 0 1 C 0 2 1 2 2 1 Q 3 0 4 1", "M0 1c0 1 1 1 2 0q1-1 2 0"),
    ],
)
def test_paths_are_shortened_as_worked_out_by_hand(path, expected):
    assert shorten_path(path) == expected


def test_rounding_does_not_add_up_along_a_path():
    """Oracle: the points handed in, to half a tenth of a point, after a thousand steps of a third."""
    points = np.cumsum(np.full((1000, 2), (1.0 / 3.0, 0.17)), axis=0)
    path = "M " + " L ".join(f"{x:.6f} {y:.6f}" for x, y in points)
    steps = re.findall(r"[MlhvL]([^MlhvL]*)", shorten_path(path))
    read = np.cumsum([[float(n) for n in re.findall(r"-?[\d.]+", step)] for step in steps], axis=0)
    np.testing.assert_allclose(read, points, rtol=0, atol=0.05 + 1e-6)


def test_every_number_is_left_out_or_shorter_and_every_text_is_there(raw):
    svg = tidy_svg(raw, "figure", "A caption")
    texts = re.compile(r"<text[^>]*>(.*?)</text>")
    assert texts.findall(svg) == texts.findall(raw)
    assert not re.search(r"\.\d\d+[ \"A-Za-z-]", re.sub(r"<style.*?</style>|style=\"[^\"]*\"", "", svg))
    assert "<g>" not in svg
    assert len(svg) < 0.5 * len(raw)


def test_the_ticks_of_an_axis_are_one_path_at_the_places_of_matplotlibs(raw):
    """Oracle: where matplotlib puts its marks of a single line."""
    svg = tidy_svg(raw, "figure", "")
    mark = re.search(r'<path id="(\w+)" d="M 0 0 \nL 0 3', raw)[1]
    expected = [float(x) for x in re.findall(rf'<use xlink:href="#{mark}" x="([\d.]+)"', raw)]
    ticks = re.search(r' d="(M[\d. ]+v3(?:m[\d. -]+v3){4})"', svg)[1]
    steps = [float(x) for x in re.findall(r"[Mm]([\d.]+)", ticks)]
    np.testing.assert_allclose(np.cumsum(steps), expected, rtol=0, atol=0.05 + 1e-6)


def test_ids_start_with_the_name_and_all_are_used(raw):
    svg = tidy_svg(raw, "unit_3", "")
    ids = re.findall(r' id="([^"]+)"', svg)
    assert ids
    assert all(name.startswith("unit_3-") for name in ids)
    assert set(ids) == set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))


def test_a_caption_is_escaped(raw):
    assert 'aria-label="&lt;b&gt; &quot;x&quot;"' in tidy_svg(raw, "figure", '<b> "x"')


def test_a_lone_image_says_the_same_with_classes(raw):
    """Oracle: writing every class out again gives the figure back."""
    svg = tidy_svg(raw, "figure", "A caption")
    image = lone_image(svg, "figure")
    rules = dict(re.findall(r"\.(s\d+)\{([^}]*)\}", image))
    again = re.sub(r' class="(s\d+)"', lambda m: f' style="{rules[m[1]]}"', image)
    again = re.sub(r"<style>.*?</style>", "", again)
    again = re.sub(r'(id="|#)i(?=\d)', r"\1figure-", again)
    assert again == svg.replace(' role="img" aria-label="A caption"', "")
    assert len(image) < len(svg)


def test_text_that_looks_like_a_style_or_an_id_stays_text():
    text = '<text style="fill:red"> style="fill:red" #x-1</text>'
    svg = f'<svg role="img" aria-label="">{text}<g style="fill:red"></g></svg>'
    image = lone_image(svg, "x")
    assert '> style="fill:red" #x-1<' in image
    assert image.count('class="s0"') == 2
