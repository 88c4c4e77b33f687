"""The report in words and as a page: each value told once, names escaped, nothing missing called nan."""

from __future__ import annotations

import math
import re
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest

from cortexrnn.errors import FileAccessError
from cortexrnn.report import methods_paragraph, refractory_sentence, screen_summary, units_table, write_report
from cortexrnn.report.formats import (
    show_count,
    show_interval,
    show_label,
    show_number,
    show_percent,
    show_time,
    show_window,
)
from cortexrnn.report.honesty import foreign_words, parts_sentence

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<body onload=alert(1)>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</svg><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<math><mtext><style><img src=x onerror=alert(1)>",
]


class PageReader(HTMLParser):
    """Collect tags, attributes and visible text of a page."""

    def __init__(self):
        """Start empty."""
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words, self._hidden = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        """Keep a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag):
        """Leave a hidden element."""
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data):
        """Keep visible text."""
        if not self._hidden:
            self.words.append(data)


def _read(path):
    """Parse a page."""
    reader = PageReader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


@pytest.fixture(scope="module")
def page(report_example, tmp_path_factory):
    """The example's page."""
    return write_report(tmp_path_factory.mktemp("page") / "report.html", *report_example)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (show_number(0.1235), "0.123"),  # 0.1235 lies below its decimal in binary
        (show_number(-0.25, signed=True), "-0.250"),
        (show_number(-0.0001, signed=True), "0.000"),
        (show_number(math.nan), "\N{EM DASH}"),
        (show_number(None), "\N{EM DASH}"),
        (show_number(np.float32(0.5), 1), "0.5"),
        (show_number(math.inf), "\N{EM DASH}"),
        (show_interval([0.1, 0.2], 2), "[0.10, 0.20]"),
        (show_interval([0.1, math.nan]), "\N{EM DASH}"),
        (show_interval(None), "\N{EM DASH}"),
        (show_percent(0.0984), "9.8 %"),
        (show_percent(0.0), "0 %"),
        (show_percent(0.0004), "0.04 %"),
        (show_time(0.002), "2 ms"),
        (show_time(1.5), "1.5 s"),
        (show_count(1234567), "1,234,567"),
        (show_count(None), "\N{EM DASH}"),
        (show_window([-0.2, 1.0]), "-0.2 to 1 s"),
        (show_window(None), "\N{EM DASH}"),
    ],
)
def test_values_are_written_as_worked_out_by_hand(written, expected):
    assert written == expected


@pytest.mark.parametrize("letter", ["\n", "\r", "\x1b", "\x00", "\u202e", "\u2028", "\x9b", "\ud800"])
def test_a_label_steers_neither_terminal_nor_parser(letter):
    shown = show_label(f"a{letter}b")
    assert shown == "a\N{REPLACEMENT CHARACTER}b"


def test_refractory_sentence_is_the_one_to_quote():
    unit = {"unit": 7, "refractory_mass": {"window_s": 0.002, "observed": 0.001, "model": "M1", "expected": 0.098}}
    assert refractory_sentence(unit) == (
        "Poisson-PSTH expects 9.8 % of its spikes within 2 ms of the previous spike; "
        "your unit 7 fires 0.10 %."
    )


def test_where_there_is_a_stimulus_rung_the_words_are_its():
    mass = {"window_s": 0.002, "observed": 0.0, "model": "S1", "expected": 0.2}
    unit = {"unit": 7, "refractory_mass": mass, "steps": {"S1": {"value": 0.5, "ci": [0.4, 0.6]}}}
    unit["history_gain"] = {"value": 0.3, "ci": [0.2, 0.4]}
    assert refractory_sentence(unit).startswith("The stimulus alone (S1) expects 20.0 % of its spikes")
    assert parts_sentence(unit).startswith("Beyond the stimulus, in bits/spike")
    rungs = ["M0", "M1", "S1", "M2", "M3", "M5"]
    words = methods_paragraph({"settings": {"rungs": rungs, "surrogates": 19}, "units": []})
    assert "S1, M1 times filters on the covariates" in words
    assert "M2, S1 times a slow drift" in words
    assert "surrogates simulated from the fitted M3" in words
    assert "trial exchange" not in words


def test_refractory_sentence_of_a_silent_unit_is_empty(report_summary):
    assert refractory_sentence(report_summary["units"][-1]) == ""


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"share": 0.031, "low": 0.02, "high": 0.05}, "3.1 % [2.0, 5.0]"),
        ({"share": 0.0, "low": 0.0, "high": 0.004}, "0 % [0, 0.40]"),
        ({"share": 1.0, "low": 0.9, "high": 1.0}, "no share explains so many violations: bursts"),
        (None, ""),
    ],
)
def test_foreign_spikes_in_words(found, words):
    assert foreign_words({"foreign": found}) == words


def test_foreign_spikes_stand_in_the_page_and_in_the_table(report_summary, report_panels, tmp_path):
    report_summary["units"] = report_summary["units"][:1]
    report_summary["units"][0]["foreign"] = {"share": 0.031, "low": 0.02, "high": 0.05}
    words = " ".join(_read(write_report(tmp_path / "report.html", report_summary, report_panels)).words)
    assert "spikes of other neurons, at most 3.1\N{NO-BREAK SPACE}% [2.0, 5.0]" in words
    assert units_table(report_summary)["foreign_high"].tolist() == [0.05]


def test_screen_starts_with_the_verdict_and_ends_with_the_page(report_summary):
    lines = screen_summary(report_summary, report_path="out/report.html").splitlines()
    assert lines[0] == report_summary["verdict_sentence"]
    assert lines[-1] == "Report: out/report.html"


def test_screen_has_one_line_a_unit_with_gain_interval_p_verdict_and_truth(report_summary):
    lines = screen_summary(report_summary).splitlines()
    (line,) = [line for line in lines if line.startswith("u00 ")]
    n_spikes = f"{report_summary['units'][0]['n_spikes']:,}"
    assert line.split("  ")[0] == "u00"
    for part in (n_spikes, "+0.196 [+0.175, +0.217]", "0.050", "history matters", "dead time 3 ms (agrees)"):
        assert part in line


def test_screen_without_truth_has_no_such_column(report_summary):
    for unit in report_summary["units"]:
        unit["truth"] = None
    assert "truth" not in screen_summary(report_summary)


def test_screen_never_says_nan_or_none(report_summary):
    assert not re.search(r"\b(nan|None)\b", screen_summary(report_summary))


def test_screen_of_many_units_is_cut_and_says_where_the_rest_is(report_summary):
    report_summary["units"] = report_summary["units"][:1] * 300
    lines = screen_summary(report_summary).splitlines()
    assert "... and 260 more units: see units.csv" in lines
    assert len(lines) < 60


def test_screen_shows_no_control_characters_of_a_name(report_summary):
    report_summary["units"][0]["unit"] = "\x1b[31mred\x07"
    text = screen_summary(report_summary)
    assert {letter for letter in text if unicodedata.category(letter) == "Cc"} == {"\n"}


@pytest.mark.parametrize("change", [{"alarm": True}, {"leak_probe": "failed"}])
def test_a_failed_control_is_said_on_screen_and_in_a_red_banner(
    change, report_summary, report_panels, tmp_path
):
    report_summary["controls"] |= change
    report_summary["units"] = report_summary["units"][:1]
    assert "do not trust" in screen_summary(report_summary)
    page = _read(write_report(tmp_path / "report.html", report_summary, report_panels))
    assert ("div", "role", "alert") in page.attributes


def test_a_leak_alone_does_not_accuse_the_trial_exchange(report_summary):
    report_summary["controls"] |= {"leak_probe": "failed", "alarm": True}
    text = screen_summary(report_summary)
    assert text.count("WARNING") == 1
    assert "at or before it" in text


def test_an_open_verdict_neither_agrees_nor_disagrees_with_the_truth(report_summary):
    lines = screen_summary(report_summary).splitlines()
    (line,) = [line for line in lines if line.startswith("u04 ")]
    assert line.endswith("Poisson with slow trial gain")


def test_a_clean_run_shows_no_banner(page):
    assert ("div", "role", "alert") not in _read(page).attributes


def test_table_has_one_row_a_unit_and_the_given_numbers(report_summary):
    table = units_table(report_summary)
    assert table["unit"].tolist() == [unit["unit"] for unit in report_summary["units"]]
    first = report_summary["units"][0]
    assert table.loc[0, "M5_bits_per_spike"] == first["rungs"]["M5"]["bits_per_spike"]
    assert [table.loc[0, "M5_low"], table.loc[0, "M5_high"]] == first["rungs"]["M5"]["ci"]
    assert table.loc[0, "history_gain"] == first["history_gain"]["value"]
    assert table.loc[0, "refractory_expected"] == first["refractory_mass"]["expected"]
    assert math.isnan(table.loc[11, "history_gain"])
    assert table.loc[0, "truth"] == "dead time 3 ms"


def test_table_survives_its_way_through_csv(report_summary, tmp_path):
    import pandas as pd

    table = units_table(report_summary)
    table.to_csv(tmp_path / "units.csv", index=False)
    again = pd.read_csv(tmp_path / "units.csv")
    assert again.columns.tolist() == table.columns.tolist()
    # Text with 17 digits gives back the same doubles.
    np.testing.assert_allclose(again["M5_low"], table["M5_low"].astype(float), rtol=1e-15)


def test_methods_quote_every_setting_and_the_sources(report_summary):
    words = methods_paragraph(report_summary)
    for key in report_summary["settings"]:
        assert f"{key} = " in words
    for part in (
        "Nadeau",
        "Gamma-Poisson",
        "trial-exchange",
        "19 ",
        "5 folds",
        report_summary["recording"]["sha256"],
    ):
        assert part in words


def test_methods_do_not_describe_what_was_not_run(report_summary):
    report_summary["settings"] |= {"rungs": ["M0", "M1", "M2", "M3", "M4", "M5"], "surrogates": 0}
    words = methods_paragraph(report_summary)
    assert "network" not in words
    assert "M6" not in words
    assert "surrogate test refitted" not in words


def test_page_tells_verdict_then_refractory_then_units_then_methods(page, report_summary):
    words = [word.strip() for word in _read(page).words]
    first = next(number for number, word in enumerate(words) if word.startswith("Poisson-PSTH expects"))
    headings = [
        "All units",
        "Unit by unit",
        "Every unit in numbers",
        "Controls",
        "Settings",
        "Methods, to paste",
    ]
    # The navigation has some of the same words: a section's heading is their last mention.
    last = [len(words) - 1 - words[::-1].index(heading) for heading in headings]
    places = [words.index(report_summary["verdict_sentence"]), first, *last]
    assert places == sorted(places)


def test_page_has_every_units_sentence_and_truth(page, report_summary):
    words = " ".join(_read(page).words)
    for unit in report_summary["units"]:
        assert unit["sentence"] in words.replace("\N{NO-BREAK SPACE}", " ")
        assert unit["truth"]["label"] in words


def test_page_never_says_nan_none_or_undefined(page):
    words = " ".join(_read(page).words)
    assert not re.search(r"\b(nan|NaN|None|undefined|Undefined)\b", words)
    assert "\N{EM DASH}" in words


def test_page_of_a_bare_summary_says_em_dash_and_not_none(report_panels, tmp_path):
    bare = {
        "recording": {"name": "x"},
        "settings": {},
        "controls": {},
        "units": [{"unit": "u00", "verdict": "inconclusive"}],
        "population": {},
        "verdict_sentence": "Nothing can be said.",
    }
    words = " ".join(_read(write_report(tmp_path / "report.html", bare, report_panels)).words)
    assert not re.search(r"\b(nan|None|undefined)\b", words)


def test_page_loads_nothing_and_runs_nothing(page):
    reader = _read(page)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(reader.tags)
    references = [
        value for _, name, value in reader.attributes if name in ("src", "href", "xlink:href", "srcset")
    ]
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in references)
    assert not any(name.startswith("on") for _, name, _ in reader.attributes)
    assert "default-src 'none'" in page.read_text(encoding="utf-8")


def test_page_of_twelve_units_stays_below_four_megabytes(page):
    assert page.stat().st_size < 4e6


def test_page_says_its_language_and_has_one_main_heading(page):
    reader = _read(page)
    assert ("html", "lang", "en") in reader.attributes
    assert reader.tags.count("h1") == 1
    assert reader.tags.count("main") == 1


def test_dense_rasters_are_pictures_in_the_page(report_summary, report_panels, tmp_path):
    rng = np.random.default_rng(3)
    n_spikes = 6000
    panels = report_panels.isel(unit=[0]).drop_vars(["spike_unit", "spike_trial", "spike_time_s"])
    panels["spike_unit"] = ("spike", np.zeros(n_spikes, dtype=int))
    panels["spike_trial"] = ("spike", rng.integers(0, 60, n_spikes))
    panels["spike_time_s"] = ("spike", rng.random(n_spikes))
    report_summary["units"] = report_summary["units"][:1]
    path = write_report(tmp_path / "report.html", report_summary, panels)
    assert "data:image/png;base64," in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 4e5


def test_page_opens_all_units_up_to_twelve_and_only_the_first_above(report_summary, report_panels, tmp_path):
    def count_open():
        reader = _read(write_report(tmp_path / "report.html", report_summary, report_panels.isel(unit=[0])))
        return [name for tag, name, _ in reader.attributes if tag == "details"].count("open")

    assert count_open() == 12
    report_summary["units"].append(report_summary["units"][-1] | {"unit": "u12"})
    assert count_open() == 1


def test_writing_twice_gives_the_same_bytes(page, report_example, tmp_path):
    assert write_report(tmp_path / "report.html", *report_example).read_bytes() == page.read_bytes()


def test_figures_folder_receives_the_same_figures_as_the_page(report_summary, report_panels, tmp_path):
    report_summary["units"] = report_summary["units"][:2]
    path = write_report(
        tmp_path / "report.html", report_summary, report_panels, figures_folder=tmp_path / "figures"
    )
    page, files = path.read_text(encoding="utf-8"), sorted((tmp_path / "figures").iterdir())
    assert len(files) == 3 + 2 * 4
    for file in files:
        svg = file.read_text(encoding="utf-8")
        assert svg[svg.index("<svg") :].strip() in page


def test_inputs_are_left_as_they_were(report_summary, report_panels, tmp_path):
    import copy

    summary, panels = copy.deepcopy(report_summary), report_panels.copy(deep=True)
    write_report(tmp_path / "report.html", summary, panels)
    assert repr(summary) == repr(report_summary)
    assert panels.identical(report_panels)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_stay_text(hostile, report_summary, report_panels, tmp_path, page):
    unit = report_summary["units"][0]
    unit |= {"unit": hostile, "sentence": hostile, "more_trials_text": hostile, "warnings": [hostile]}
    unit |= {"surrogate_kind": hostile, "truth": {"label": hostile, "text": hostile, "agrees": False}}
    unit["history_gain"] |= {"over": hostile, "chosen": [hostile]}
    report_summary["units"] = [unit]
    report_summary["recording"] |= {
        "name": hostile,
        "align_to": hostile,
        "notes": [hostile],
        "sha256": hostile,
    }
    report_summary["settings"] |= {
        "command": hostile,
        "likelihood": hostile,
        "version": hostile,
        hostile: [hostile],
    }
    report_summary["population"]["sentence"] = hostile
    report_summary["verdict_sentence"] = hostile
    panels = report_panels.isel(unit=[0]).assign_coords(unit=[hostile], condition=[hostile])
    reader = _read(write_report(tmp_path / "report.html", report_summary, panels))
    # Oracle: the page of harmless names. A hostile one may add no kind of tag and no kind of attribute.
    harmless = _read(page)
    assert set(reader.tags) <= set(harmless.tags)
    assert {(tag, name) for tag, name, _ in reader.attributes} <= {
        (tag, name) for tag, name, _ in harmless.attributes
    }
    assert hostile in reader.words


def test_a_folder_in_the_pages_place_is_a_file_error(report_summary, report_panels, tmp_path):
    report_summary["units"] = report_summary["units"][:1]
    (tmp_path / "report.html").mkdir()
    with pytest.raises(FileAccessError, match=r"report\.html"):
        write_report(tmp_path / "report.html", report_summary, report_panels)
