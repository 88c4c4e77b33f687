"""Oracle: exit codes by kind of failure (2 usage, 3 data, 4 numerics, 5 files, 130 and 143 signals), one line a fault.

What a user can cause never ends in a traceback: anything but SystemExit escapes `invoke` and fails the test.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import warnings
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

import cortexrnn as cx
from cortexrnn import cli
from cortexrnn.errors import InterruptedRunError, NumericalError

COMMAND = Path(sys.executable).with_name("cortexrnn")
ALIGNED = "--trials trials.csv --align stim_s --window 0 0.5 --bin 0.005 --history 0.1".split()  # noqa: SIM905
SMALL = [*ALIGNED, "--quick", "--surrogates", "1", "--folds", "3", "--workers", "1", "--out", "out"]
QUICK = [*SMALL, "--units", "1"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Be in a folder with spikes of two units and one silent in the window, and 12 trials."""
    rng = np.random.default_rng(3)
    # At most one spike a millisecond, so that the Bernoulli likelihood may be asked for.
    times = {unit: np.sort(rng.choice(12000, 300, replace=False)) / 1000 + 0.0005 for unit in (0, 1)}
    rows = [f"{unit},{time:.4f}" for unit in times for time in times[unit]]
    # Unit 2 fires only between the windows.
    rows += [f"2,{k + 0.1:.6f}" for k in range(12)]
    (tmp_path / "spikes.csv").write_text("unit,time_s\n" + "\n".join(rows) + "\n")
    trials = [f"{k},{k},{k + 1},{k + 0.3},{'LR'[k % 2]}" for k in range(12)]
    (tmp_path / "trials.csv").write_text("trial,start_s,stop_s,stim_s,side\n" + "\n".join(trials) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(monkeypatch):
    """What reaches `cx.compare`, which does nothing."""
    seen = {}

    class Result:
        def __init__(self):
            self.summary = {"settings": {}}

        def save(self, folder, *, shows_progress):
            seen["saved"] = Path(folder)
            return Path(folder) / "report.html"

        def __str__(self):
            return "the answer"

    def compare(recording, **arguments):
        seen["recording"] = recording
        seen.update(arguments)
        return Result()

    monkeypatch.setattr(cx, "compare", compare)
    return seen


def strict_json(text):
    """Parse JSON that holds no NaN and no infinity."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_help_shows_every_option_and_an_example(invoke):
    for name in ("compare", "doctor", "simulate", "train", "validate"):
        shown = invoke(name, "--help")
        assert shown.code == 0
        assert f"Example: cortexrnn {name}" in " ".join(shown.out.split())
        for option in cli.cli.commands[name].params:
            assert all(word in shown.out for word in option.opts if word.startswith("--"))
            assert not isinstance(option, click.Option) or option.help


def test_version_is_that_of_the_installation(invoke):
    shown = invoke("--version")
    assert shown.code == 0
    assert shown.out.startswith("cortexrnn, version 0.")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        # Usage and options.
        ([], 2, "Usage:"),
        (["nope"], 2, "No such command 'nope'"),
        (["compare", "spikes.csv", "more.csv"], 2, "unexpected extra argument"),
        (["compare", "--nope"], 2, "No such option"),
        (["compare", "spikes.csv", "--window", "0"], 2, "'--window' requires 2 arguments"),
        (["compare", "spikes.csv", "--bin", "small"], 2, "'small' is not a valid float"),
        (["compare", "spikes.csv", "--folds", "2.5"], 2, "'2.5' is not a valid integer"),
        (["compare", "spikes.csv", "--select", "side"], 2, "--select 'side' is not COLUMN=VALUE"),
        (["compare", "spikes.csv", "--select", "=L"], 2, "--select '=L' is not COLUMN=VALUE"),
        (["compare", "spikes.csv", "--select", "side=L"], 2, "no column 'side' to select by"),
        (["compare", "spikes.csv", "--select", "unit=9"], 2, "unit"),
        (["compare", "spikes.csv", *QUICK, "--rungs", "M9"], 2, "rung='M9' is unknown; expected one of M0, M1"),
        (["compare", "spikes.csv", *QUICK, "--rungs", "M6"], 2, "--quick leaves the networks out, and --rungs asks"),
        (["compare", "spikes.csv", *QUICK, "--folds", "1"], 2, "folds=1 is not valid; expected an integer of"),
        (["compare", "spikes.csv", *QUICK, "--folds", "13"], 2, "folds=13 is more than the 12 trials"),
        (["compare", "spikes.csv", *QUICK, "--fold-order", "up"], 2, "fold_order='up' is unknown"),
        (["compare", "spikes.csv", *QUICK, "--likelihood", "gauss"], 2, "likelihood='gauss' is unknown"),
        (["compare", "spikes.csv", *QUICK, "--seeds", "0"], 2, "seeds=0 is not valid"),
        (["compare", "spikes.csv", *QUICK, "--surrogates", "-1"], 2, "surrogates=-1 is not valid"),
        (["compare", "spikes.csv", *QUICK, "--rope", "0"], 2, "rope=0.0 is not a positive finite number"),
        (["compare", "spikes.csv", *QUICK, "--seed", "-1"], 2, "seed=-1 is not valid"),
        (["compare", "spikes.csv", *QUICK, "--workers", "0"], 2, "workers=0 is not valid"),
        (["compare", "spikes.csv", *QUICK, "--bin", "0"], 2, "bin_s=0"),
        (["compare", "spikes.csv", *QUICK, "--bin", "nan"], 2, "bin_s=nan"),
        (["compare", "spikes.csv", *QUICK, "--bin", "0.003"], 2, "bin_s=0.003 does not divide the window of 0.5 s"),
        (["compare", "spikes.csv", *QUICK, "--history", "-1"], 2, "history_s=-1"),
        (["compare", "spikes.csv", *QUICK, "--window", "1", "0"], 2, "expected finite start < stop in seconds"),
        (["compare", "spikes.csv", *QUICK, "--window", "nan", "1"], 2, "expected finite start < stop in seconds"),
        (["compare", "spikes.csv", *QUICK, "--align", "nope"], 2, "no event 'nope'. Known are start_s, stop_s, stim_s"),
        (["compare", "spikes.csv", *QUICK, "--condition", "nope"], 2, "no column 'nope' to take the condition from"),
        (["compare", "spikes.csv", *SMALL, "--units", "1,77"], 2, "no unit '77'. The units are 0, 1, 2"),
        (["compare", "spikes.csv", "--window", "0", "1"], 2, "window_s was given, but the recording has no trials"),
        (["compare", "spikes.csv", "--block", "0"], 2, "block_s"),
        (["compare", "--block", "2"], 2, "block_s was given, but the recording has trials"),
        # Data.
        (["compare", "spikes.csv", *QUICK, "--window", "300", "301"], 3, "no trial has an observed bin"),
        (["compare", "spikes.csv", *QUICK, "--time-unit", "ms"], 3, "is in s by its header, and time_unit='ms'"),
        # Files.
        (["compare", "nowhere.csv"], 5, "nowhere.csv: there is no such file"),
        (["compare", "."], 5, "the path is a directory"),
        (["compare", "spikes.csv", "--trials", "nowhere.csv"], 5, "nowhere.csv: the file does not exist"),
        (["compare", "spikes.csv", "--trials", "."], 5, "the path is a directory"),
        (["compare", "spikes.csv", *QUICK, "--out", "spikes.csv"], 5, "A part of the path is a file"),
        (["doctor", "nowhere.nwb"], 5, "there is no such file"),
    ],
)  # fmt: skip
def test_every_fault_has_its_exit_code_and_names_what_was_wrong(place, invoke, arguments, code, message):
    done = invoke(*arguments)
    assert message in done.err
    assert done.code == code
    assert done.out == ""
    assert not list(place.glob("out/*.*"))


def make_truncated_nwb(place):
    trials = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.5, 1.5]})
    path = cx.Recording.from_arrays([np.array([0.1, 0.2])], trials=trials).to_nwb(place / "whole.nwb")
    (place / "bad.nwb").write_bytes(path.read_bytes()[:3000])
    return "bad.nwb"


def make_pickle_npz(place):
    np.savez(place / "bad.npz", times_s=np.array([{"a": 1}], dtype=object))
    return "bad.npz"


def make_file(name, text):
    """Give a function that writes a text file into a folder."""

    def write(place):
        (place / name).write_text(text)
        return name

    return write


BAD_FILES = {
    "empty": (make_file("bad.csv", ""), "the file is empty"),
    "empty NWB": (make_file("bad.nwb", ""), "the file is empty"),
    "text called NWB": (make_file("bad.nwb", "hello"), "the content of the file is not what .nwb promises"),
    "truncated NWB": (make_truncated_nwb, "damaged"),
    "pickle in an archive": (make_pickle_npz, "holds Python objects, which only pickle could load"),
    "unknown format": (make_file("bad.xyz", "hello"), "the format of the file is unknown"),
    "header only": (make_file("bad.csv", "unit,time_s\n"), "a header and no rows"),
    "NaN times": (make_file("bad.csv", "unit,time_s\n1,0.5\n1,nan\n"), "unit 1: 1 times are empty, NaN or infinite"),
    "infinite times": (make_file("bad.csv", "unit,time_s\n1,0.5\n1,inf\n"), "1 times are empty, NaN or infinite"),
    "text for times": (make_file("bad.csv", "unit,time_s\n1,soon\n"), "row 2, column 'time_s': 'soon' is not a number"),
    "no unit of time": (make_file("bad.csv", "unit,time\n1,0.5\n"), "does not say its unit of time"),
    "a row too wide": (make_file("bad.csv", "unit,time_s\n1,0.5,3\n"), "row 2 has 3 cells; the header has 2"),
    "no units": (make_file("bad.csv", "time_s\n0.5\n"), "there is no unit column"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("job", ["compare", "doctor"])
def test_a_bad_file_is_a_fault_of_the_data(place, invoke, job, name):
    make, message = BAD_FILES[name]
    done = invoke(job, make(place))
    assert message in done.err
    assert (done.code, done.out) == (3, "")
    # Nothing is left behind by a run that never began.
    assert not list(place.glob("*comparison"))


def test_unsorted_times_are_sorted_with_a_warning(place, invoke):
    (place / "late.csv").write_text("unit,time_s\n1,0.75\n1,0.25\n1,0.5\n")
    done = invoke("doctor", "late.csv")
    assert done.code == 0
    assert done.err.count("warning: ") == 1
    assert "sorted" in done.err


def test_doctor_suspects_a_wrong_unit_of_time(place, invoke):
    rows = [f"1,{time}" for time in np.arange(1, 2000) * 30]
    (place / "ms.csv").write_text("unit,time_s\n" + "\n".join(rows) + "\n")
    done = invoke("doctor", "ms.csv")
    assert done.code == 0
    assert "unit of time" in done.out or "milliseconds" in done.out or "ms" in done.out.split("ms.csv", 1)[1]


def test_one_trial_cannot_be_compared(place, invoke):
    (place / "one.csv").write_text("trial,start_s,stop_s,stim_s\n1,0,1,0.3\n")
    done = invoke("compare", "spikes.csv", *QUICK, "--trials", "one.csv")
    assert done.code == 3
    assert "there is one trial only: nothing can be held out" in done.err


def test_too_few_trials_to_train_on_is_a_fault_of_the_data(place, invoke):
    (place / "two.csv").write_text("trial,start_s,stop_s,stim_s\n1,0,1,0.3\n2,1,2,1.3\n")
    done = invoke("compare", "spikes.csv", *QUICK, "--trials", "two.csv", "--folds", "2")
    assert done.code == 3
    assert "2 trials in 2 folds leave too few to train on" in done.err


def test_a_window_in_which_no_unit_fires_is_a_fault_of_the_data(place, invoke):
    done = invoke("compare", "spikes.csv", *SMALL, "--units", "2")
    assert done.code == 3
    assert "no unit has a spike in any scored bin" in done.err
    assert done.err.count("warning: unit 2 has no spike") == 1


def test_json_of_a_recording_with_a_silent_unit_is_strict_json(place, invoke):
    done = invoke("compare", "spikes.csv", *SMALL, "--units", "1,2", "--json")
    assert done.code == 0, done.err
    summary = strict_json(done.out)
    assert [unit["unit"] for unit in summary["units"]] == ["1", "2"]
    assert summary["units"][1]["verdict"] == "inconclusive"
    assert summary["units"][1]["n_spikes"] == 0
    assert summary == strict_json((place / "out" / "summary.json").read_text())
    assert "warning: unit 2 has no spike in any scored bin" in done.err
    assert summary["settings"]["command"].startswith("cortexrnn compare spikes.csv --trials trials.csv --align stim_s")
    # The silent unit is in the table and the page as well, and the table has one row a unit.
    assert len(pd.read_csv(place / "out" / "units.csv")) == 2
    assert "</html>" in (place / "out" / "report.html").read_text()


def test_settings_reach_the_summary_and_the_same_command_gives_the_same_bits(place, invoke):
    options = [*QUICK, "--condition", "side", "--likelihood", "bernoulli", "--fold-order", "random", "--seed", "5"]
    options += ["--rope", "0.02", "--surrogates", "0", "--rungs", "M4", "--bin", "0.001"]
    options.remove("--quick")
    first = invoke("compare", "spikes.csv", *options)
    assert first.code == 0, first.err
    assert first.out.rstrip().endswith("Report: out/report.html")
    before = (place / "out" / "summary.json").read_bytes()
    settings = strict_json(before)["settings"]
    wanted = {
        "rungs": ["M0", "M1", "M3", "M4", "M5"],
        "folds": 3,
        "fold_order": "random",
        "likelihood": "bernoulli",
        "seed": 5,
        "rope": 0.02,
        "surrogates": 0,
        "bin_s": 0.001,
        "history_s": 0.1,
    }
    assert {name: settings[name] for name in wanted} == wanted
    assert strict_json(before)["recording"]["conditions"] == ["L", "R"]
    assert invoke("compare", "spikes.csv", *options).code == 0
    assert (place / "out" / "summary.json").read_bytes() == before


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        (["--align", "stim_s"], "event", "stim_s"),
        (["--window", "-0.2", "1"], "window_s", (-0.2, 1.0)),
        (["--bin", "0.002"], "bin_s", 0.002),
        ([], "bin_s", 0.001),
        (["--history", "0.25"], "history_s", 0.25),
        ([], "history_s", 0.5),
        (["--condition", "side"], "condition", "side"),
        (["--units", "1,2"], "units", ["1", "2"]),
        (["--units", "1", "--units", "2,1,"], "units", ["1", "2"]),
        (["--seed", "7"], "seed", 7),
        ([], "seed", 0),
    ],
)
def test_alignment_and_seed_are_handed_on(place, invoke, asked, given, field, value):
    assert invoke("compare", "spikes.csv", "--trials", "trials.csv", *given).code == 0
    assert asked[field] == value


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ([], "n_folds", 5),
        (["--folds", "4"], "n_folds", 4),
        (["--fold-order", "random"], "fold_order", "random"),
        (["--likelihood", "bernoulli"], "likelihood", "bernoulli"),
        (["--seeds", "2"], "n_seeds", 2),
        ([], "n_surrogates", 19),
        (["--surrogates", "9"], "n_surrogates", 9),
        (["--thorough"], "n_surrogates", 99),
        (["--rope", "0.05"], "rope", 0.05),
    ],
)
def test_options_of_the_comparison_are_handed_on(place, invoke, asked, given, field, value):
    assert invoke("compare", "spikes.csv", "--trials", "trials.csv", *given).code == 0
    assert getattr(asked["options"], field) == value


@pytest.mark.parametrize(
    ("given", "rungs"),
    [
        ([], ["M0", "M1", "M2", "M3", "M4", "M5", "M6", "M6cut"]),
        (["--quick"], ["M0", "M1", "M2", "M3", "M4", "M5"]),
        (["--rungs", "M4"], ["M0", "M1", "M3", "M4", "M5"]),
        (["--rungs", "M2,M4"], ["M0", "M1", "M2", "M3", "M4", "M5"]),
        (["--rungs", "M2", "--rungs", "M6"], ["M0", "M1", "M2", "M3", "M5", "M6", "M6cut"]),
        (["--quick", "--rungs", "M4"], ["M0", "M1", "M3", "M4", "M5"]),
    ],
)
def test_rungs_are_chosen(place, invoke, asked, given, rungs):
    assert invoke("compare", "spikes.csv", *given).code == 0
    assert sorted(asked["models"]) == sorted(rungs)


def test_the_likelihood_reaches_the_rungs(place, invoke, asked):
    invoke("compare", "spikes.csv", "--likelihood", "bernoulli")
    assert asked["models"]["M5"].likelihood == "bernoulli"


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ([], "spikes-comparison"),
        (["--out", "here"], "here"),
        (["--out", "a/b"], "a/b"),
        (["--select", "unit=1"], "spikes-1-comparison"),
    ],
)
def test_results_go_to_a_folder_named_after_the_recording(place, invoke, asked, given, folder):
    done = invoke("compare", "spikes.csv", *given)
    assert asked["saved"] == asked["run"].folder == Path(folder)
    assert done.out == f"the answer\n\nReport: {folder}/report.html\n"


def test_a_selected_value_with_slashes_does_not_leave_the_folder(place, invoke, asked):
    (place / "sets.csv").write_text("unit,time_s,set\n1,0.5,../../a\n1,0.75,b\n")
    done = invoke("compare", "sets.csv", "--select", "set=../../a")
    assert done.code == 0, done.err
    assert asked["saved"] == Path("sets-.._.._a-comparison")


def test_selected_rows_alone_are_read(place, invoke, asked):
    (place / "sets.csv").write_text("unit,time_s,set\n1,0.5,a\n1,0.75,b\n2,0.25,b\n")
    assert invoke("compare", "sets.csv", "--select", "set=b").code == 0
    assert len(asked["recording"].ticks) == 2


def test_times_in_samples_need_their_rate(place, invoke, asked):
    (place / "samples.csv").write_text("unit,time\n1,30000\n1,60000\n")
    missing = invoke("compare", "samples.csv", "--time-unit", "samples")
    assert missing.code == 3
    assert "sampling rate" in missing.err
    assert invoke("compare", "samples.csv", "--time-unit", "samples", "--sample-rate", "30000").code == 0
    np.testing.assert_allclose(asked["recording"].spike_times_s(1), [1.0, 2.0], rtol=1e-15)


def test_a_variable_of_a_matlab_file_is_chosen(place, invoke, asked):
    import scipy.io

    raster = np.zeros((4, 100), dtype=np.uint8)
    raster[:, 50] = 1
    scipy.io.savemat(place / "two.mat", {"first": raster, "second": raster})
    done = invoke("compare", "two.mat", "--sample-rate", "1000", "--variable", "second")
    assert done.code == 0, done.err
    assert len(asked["recording"].ticks) == 4
    wrong = invoke("compare", "two.mat", "--sample-rate", "1000", "--variable", "third")
    assert wrong.code in (2, 3)
    assert "third" in wrong.err


def test_without_a_file_the_embedded_recording_is_compared_around_its_stimulus(place, invoke, asked):
    assert invoke("compare").code == 0
    assert asked["recording"].attrs["source"] == "recording.nwb"
    assert (asked["event"], asked["window_s"], asked["condition"]) == ("stimulus_on", (-0.2, 1.0), "condition")
    assert asked["saved"] == Path("recording-comparison")


def test_workers_are_handed_on(place, invoke, asked):
    assert invoke("compare", "spikes.csv", "--workers", "3").code == 0
    assert asked["run"].workers == 3
    assert invoke("compare", "spikes.csv").code == 0
    assert asked["run"].workers is None


def test_no_bar_is_drawn_where_nobody_watches(place, invoke, asked):
    assert invoke("compare", "spikes.csv").code == 0
    assert not asked["run"].shows_progress


def _caused_by(stop):
    """What compiled code raises when a signal falls into it: an error of an error of the stop."""
    inner, outer = SystemError("_numba_unpickle returned a result with an exception set"), SystemError("sum_by_step")
    inner.__cause__, outer.__cause__ = stop, inner
    return outer


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (NumericalError("the likelihood is NaN.", where="unit 3"), 4, "cortexrnn: unit 3: the likelihood is NaN."),
        (InterruptedRunError("stopped after 3 of 9 units of work."), 130, "cortexrnn: stopped after 3 of 9 units"),
        (KeyboardInterrupt(), 130, "cortexrnn: stopped; nothing that was finished is lost"),
        (_caused_by(KeyboardInterrupt()), 130, "cortexrnn: stopped; nothing that was finished is lost"),
        (_caused_by(InterruptedRunError("stopped after 3 of 9 units.")), 130, "cortexrnn: stopped after 3 of 9 units"),
        (_caused_by(cli.entry._Terminated()), 143, "cortexrnn: terminated; the same command goes on"),
        (MemoryError(), 3, "cortexrnn: out of memory. Use fewer --units"),
        (OSError(errno.EIO, "Input/output error", "x.bin"), 5, "cortexrnn: x.bin: Input/output error"),
        (RuntimeError("cannot cache function 'f': no locator available for file 'x'"), 5, "NUMBA_CACHE_DIR"),
        (cli.entry._Terminated(), 143, "cortexrnn: terminated; the same command goes on"),
    ],
)
def test_what_goes_wrong_inside_is_told_in_one_line(place, invoke, monkeypatch, error, code, message):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(cx, "compare", fail)
    done = invoke("compare", "spikes.csv")
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert done.code == code


@pytest.mark.parametrize("kind", [RuntimeError, SystemError])
def test_a_fault_of_our_own_is_not_hidden(place, invoke, monkeypatch, kind):
    def fail(*args, **kwargs):
        raise kind("a bug")

    monkeypatch.setattr(cx, "compare", fail)
    monkeypatch.setattr(sys, "argv", ["cortexrnn", "compare", "spikes.csv"])
    with pytest.raises(kind, match="a bug"):
        cli.main()


def test_warnings_of_other_packages_are_not_shown(place, invoke, monkeypatch):
    def warn(*args, **kwargs):
        warnings.warn("of no use to the user", RuntimeWarning, stacklevel=1)
        raise NumericalError("enough.")

    monkeypatch.setattr(cx, "compare", warn)
    assert invoke("compare", "spikes.csv").err == "cortexrnn: enough.\n"


def test_doctor_prints_json_without_nan(place, invoke):
    report = strict_json(invoke("doctor", "spikes.csv", "--trials", "trials.csv", "--json").out)
    assert (report["n_units"], report["n_trials"], report["n_spikes"]) == (3, 12, 612)


def test_doctor_checks_the_embedded_recording(invoke):
    done = invoke("doctor")
    assert done.code == 0
    assert "recording.nwb" in done.out


def test_doctor_of_a_single_spike_is_strict_json(place, invoke):
    (place / "one.csv").write_text("unit,time_s\na,0.5\n")
    assert strict_json(invoke("doctor", "one.csv", "--json").out)["n_spikes"] == 1


@pytest.mark.slow
def test_networks_are_trained_when_asked_for(place, invoke):
    options = [*QUICK, "--rungs", "M6", "--seeds", "1", "--folds", "2", "--surrogates", "0", "--bin", "0.02"]
    options.remove("--quick")
    done = invoke("compare", "spikes.csv", *options, "--json")
    assert done.code == 0, done.err
    summary = strict_json(done.out)
    assert summary["settings"]["n_seeds"] == 1
    assert {"M6", "M6cut"} <= set(summary["units"][0]["rungs"])


def test_the_installed_command_is_this_command_line(place):
    done = subprocess.run([COMMAND, "doctor", "nowhere.csv"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 5
    assert done.stderr == "cortexrnn: nowhere.csv: there is no such file. Check the spelling.\n"
    assert done.stdout == ""


def test_a_saved_comparison_is_drawn_again(place, invoke):
    assert invoke("compare", "spikes.csv", *SMALL, "--units", "1", "--copies", "0", "--out", "results").code == 0
    page = place / "results" / "report.html"
    first = page.read_bytes()
    page.unlink()
    done = invoke("report", "results")
    assert done.code == 0
    assert page.read_bytes() == first
    missing = invoke("report", "nowhere")
    assert missing.code == 5
    assert "nowhere does not exist" in missing.err
