"""Published numbers: every target can fail, and the frame says so with its exit code.

Oracle: hand-made values on both sides of each tolerance, and synapses that are wrong on purpose.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.cells.stp import Releases
from cortexrnn.errors import DataError, OptionError
from cortexrnn.validation import targets
from cortexrnn.validation.page import write_page
from cortexrnn.validation.targets import Target

NAMES = targets.names()
EVERY_TARGET = {f"{name}-{target.quantity}": target for name in NAMES for target in targets.load_study(name).targets}


def expected_values(study):
    """Give values that are all as expected."""
    return {t.quantity: np.mean(t.expected) for t in study.targets}


def beyond(target):
    """Give the nearest values that must fail: a thousandth of the tolerance outside."""
    match target.tolerance:
        case "relative" | "absolute":
            width = target.size * (abs(target.expected) if target.tolerance == "relative" else 1.0)
            return [target.expected - 1.001 * width, target.expected + 1.001 * width]
        case "at least":
            return [np.nextafter(target.expected, -np.inf)]
        case "at most":
            return [np.nextafter(target.expected, np.inf)]
    low, high = target.expected
    return [np.nextafter(low, -np.inf), np.nextafter(high, np.inf)]


def test_the_targets_of_this_stage_are_there():
    assert {targets.load_study(name).id for name in NAMES} >= {
        "C1", "C8", "C9", "C10", "C11", "C12", "C13", "C14", "C16",
    }  # fmt: skip
    assert len(EVERY_TARGET) > 60


@pytest.mark.parametrize("name", NAMES)
def test_every_target_names_its_source_and_is_on_the_map(name):
    study = targets.load_study(name)
    assert re.fullmatch(r"10\.\d{4,}/\S+", study.doi)
    assert re.search(r"\(\d{4}\)", study.source)
    assert study.caption.endswith(".")
    assert study.setting
    text = Path(targets.__file__).with_name("PAPER_MAP.md").read_text(encoding="utf-8")
    assert f"{name}/run.py" in text
    # A bar would end the cell of the table.
    assert not any("|" in target.words + target.note for target in study.targets)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_expected_passes(name):
    study = targets.load_study(name)
    assert all(judgement.passed for judgement in targets.judge(study, expected_values(study)))


@pytest.mark.parametrize("name", EVERY_TARGET)
def test_what_lies_outside_the_tolerance_fails(name):
    target = EVERY_TARGET[name]
    assert target.passes(np.mean(target.expected))
    assert not any(target.passes(value) for value in beyond(target))
    assert not target.passes(np.nan)


@pytest.mark.parametrize("name", NAMES)
def test_one_wrong_quantity_is_enough_to_fail_and_is_named(name):
    study = targets.load_study(name)
    for target in study.targets:
        values = expected_values(study) | {target.quantity: beyond(target)[0]}
        judgements = targets.judge(study, values)
        assert [judgement.target for judgement in judgements if not judgement.passed] == [target]
        line = next(line for line in targets.show_table(judgements).splitlines() if "FAIL" in line)
        assert line.startswith(f"| {target.words}")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_published_numbers_come_out(name, tmp_path, capsys):
    """From fewer networks where the whole takes long: `cortexrnn validate` runs the whole."""
    assert targets.main(name, tmp_path, quick=True) == 0
    shown = capsys.readouterr().out
    page = (tmp_path / "result.md").read_text()
    assert "FAIL" not in shown
    assert shown.count("PASS") == page.count("PASS") == len(targets.load_study(name).targets)
    assert page.startswith(f"# {targets.load_study(name).id}: {targets.load_study(name).title}\n")
    assert (tmp_path / "figure.svg").read_text().count("<path") > 10


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert targets.main("tsodyks_markram") == 0
    assert list(tmp_path.iterdir()) == []
    assert "PASS" in capsys.readouterr().out


def test_a_release_computed_after_depletion_fails(monkeypatch, capsys):
    script = importlib.import_module("cortexrnn.validation.tsodyks_markram.run")
    right = script.release_train

    def after_depletion(stp, times_s):
        found = right(stp, times_s)
        return Releases(found.u * (found.x - found.release), found.u, found.x)

    monkeypatch.setattr(script, "release_train", after_depletion)
    assert targets.main("tsodyks_markram") == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAIL" in line]
    assert any("depressing, EPSP 1 " in line for line in failed)


def test_weights_of_the_wrong_sign_fail(monkeypatch, capsys):
    script = importlib.import_module("cortexrnn.validation.van_vreeswijk_sompolinsky_1998.run")
    right = script.build_weights
    monkeypatch.setattr(
        script, "build_weights", lambda circuit: dataclasses.replace(right(circuit), static=abs(right(circuit).static))
    )
    assert targets.main("van_vreeswijk_sompolinsky_1998") == 1
    assert "FAIL" in capsys.readouterr().out


def test_the_same_evidence_gives_the_same_figure_to_the_byte():
    script = importlib.import_module("cortexrnn.validation.tsodyks_markram.run")
    _, evidence = script.measure()
    first, second = (targets.draw_svg(script.draw, evidence) for _ in range(2))
    assert first == second


def test_the_table_shows_expected_value_deviation_and_tolerance():
    made = [
        Target(quantity="a", words="first", expected=2.0, tolerance="relative", size=0.04),
        Target(quantity="b", words="second", expected=[1.0, 3.0], tolerance="between"),
    ]
    study = targets.Study(name="x", id="X", title="t", source="s", doi="d", setting="", caption="", targets=tuple(made))
    table = targets.show_table(targets.judge(study, {"a": 2.2, "b": 1.5}))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[2] == ["first", "2", "2.2", "2.0e-01", "4 %", "FAIL"]
    assert rows[3] == ["second", "1 to 3", "1.5", "", "within", "PASS"]
    assert len({len(line) for line in table.splitlines()}) == 1


@pytest.mark.parametrize(("values", "named"), [({}, "peak_20"), ({"surprise": 1.0}, "surprise")])
def test_a_quantity_that_only_one_side_knows_is_an_error(values, named):
    study = targets.load_study("tsodyks_markram")
    complete = expected_values(study)
    if values:
        complete |= values
    else:
        del complete["peak_20"]
    with pytest.raises(DataError, match=rf"differ in \['{named}'\]"):
        targets.judge(study, complete)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(OptionError, match=r"'sompolinsky' is no validation target; expected one of .*sompolinsky_1988"):
        targets.main("sompolinsky")


def test_targets_are_found_by_number_and_by_name():
    assert targets.find(["c8", "engelken_2023"]) == ("rajan_abbott_2006", "engelken_2023")
    # Two scripts hold the largest exponent against its theory.
    assert targets.find(["C4", "C4"]) == ("dynamic_mean_field", "engelken_2023")
    assert targets.find([]) == NAMES
    with pytest.raises(OptionError, match=r"'C99' is no validation target; .* a number such as 'C8'"):
        targets.find(["C99"])


def test_the_page_shows_every_number_says_what_failed_and_escapes_names(tmp_path):
    outcome = targets.run("tsodyks_markram")
    first, *others = outcome.judgements
    wrong = dataclasses.replace(first, value=beyond(first.target)[0])
    study = dataclasses.replace(outcome.study, source="<script>alert(1)</script> (2000)")
    failed = dataclasses.replace(outcome, study=study, judgements=(wrong, *others))
    write_page(tmp_path / "index.html", [outcome, failed])
    page = (tmp_path / "index.html").read_text()
    n = len(outcome.judgements)
    assert f"{2 * n - 1} of {2 * n} published numbers come out." in page
    assert page.count(">PASS<") == 2 * n - 1
    assert page.count(">FAIL<") == 1
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "<script" not in page
    assert base64.b64encode(outcome.figure).decode() in page


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tolerance": "about"}, "'about' is unknown"),
        ({"expected": float("nan")}, "expected=nan does not fit"),
        ({"tolerance": "between"}, "expected=1.0 does not fit"),
        ({"tolerance": "between", "expected": [2.0, 1.0], "size": None}, r"expected=\[2.0, 1.0\] does not fit"),
        ({"size": None}, "size=None does not fit"),
        ({"size": 1.0}, "size=1.0 does not fit"),
        ({"tolerance": "at most"}, "size=0.1 does not fit"),
    ],
)
def test_a_tolerance_that_means_nothing_is_refused(changed, told):
    right = {"quantity": "a", "words": "a", "expected": 1.0, "tolerance": "relative", "size": 0.1}
    with pytest.raises((DataError, OptionError), match=told):
        Target(**right | changed)
