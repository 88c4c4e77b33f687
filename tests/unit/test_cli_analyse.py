"""The command line of an analysis: folder, tables, exit codes, circuits and trained networks."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from cortexrnn.circuit import load_circuit
from cortexrnn.theory.analysis import AnalysisOptions, analyse
from cortexrnn.theory.fixed_points import fixed_points

TRAIN = ["train", "song_2016", "--task", "random_dots", "--set", "populations[0].size=12", "--set",
         "populations[1].size=3", "--steps", "2", "--criterion", "2", "--threads", "1"]  # fmt: skip


def test_an_analysis_leaves_tables_and_figures(tmp_path, invoke, monkeypatch):
    """The summary says what `fixed_points` finds; figures are XML; the table has a row a point."""
    monkeypatch.chdir(tmp_path)
    result = invoke("analyse", "mongillo_2008", "--starts", "100", "--exponents", "2")
    assert result.code == 0, result.err
    folder = tmp_path / "mongillo_2008-analysis"
    summary = json.loads((folder / "summary.json").read_text())
    found = fixed_points(load_circuit("mongillo_2008"), n_starts=100)
    assert found.summary().splitlines()[0] in result.out
    assert [point["kind"] for point in summary["fixed_points"]["points"]] == list(found.table["kind"])
    assert sum(summary["fixed_points"]["starts"].values()) == 100
    assert len(summary["lyapunov"]["exponents_per_s"]) == 2
    assert len(pd.read_csv(folder / "fixed_points.csv")) == len(found.states)
    assert summary["prediction"] is None
    assert summary["transient"]["gain"] > 1.0
    assert len(pd.read_csv(folder / "modes.csv")) == len(found.states) * found.system.size
    for name in ("fixed_points", "lyapunov", "lyapunov_running", "modes", "transient", "weights"):
        ET.fromstring((folder / "figures" / f"{name}.svg").read_text())


def test_a_theory_stands_beside_the_circuit(tmp_path, invoke):
    """Of the pair all steady states are known; the command line shows and writes them."""
    result = invoke("analyse", "hennequin_2018", "--input", "drive=10", "--starts", "20", "--out", str(tmp_path))
    assert result.code == 0, result.err
    assert "inhibition-stabilised" in result.out
    table = pd.read_csv(tmp_path / "prediction.csv")
    # r_E(h = 10), to the three digits of the table of targets.
    assert table["predicted"][0] == pytest.approx(10.667, abs=1e-3)
    assert table["measured"][0] == pytest.approx(table["predicted"][0], rel=1e-6)
    ET.fromstring((tmp_path / "figures" / "prediction.svg").read_text())


def test_a_trained_network_is_taken_apart_at_an_input(tmp_path, invoke):
    """From its file, as JSON; the input moves the points."""
    assert invoke(*TRAIN, "--out", str(tmp_path / "trained")).code == 0
    command = ["analyse", str(tmp_path / "trained" / "network.safetensors"), "--task", "random_dots", "--starts", "10",
               "--json", "--out", str(tmp_path / "found")]  # fmt: skip
    plain, driven = invoke(*command), invoke(*command, "--input", "evidence 0=1")
    assert plain.code == driven.code == 0, plain.err + driven.err
    assert json.loads(plain.out)["system"]["size"] == 15
    assert json.loads(plain.out) != json.loads(driven.out)


def test_there_are_not_more_exponents_than_entries_of_the_state(tmp_path):
    """Two units have two; what is saved is what is shown."""
    found = analyse(load_circuit("wilson_cowan_1972"), options=AnalysisOptions(n_starts=20, n_exponents=9))
    assert len(found.spectrum.exponents_per_s) == 2
    found.save(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == found.summary
    assert "leading Lyapunov exponents" in found.show()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["network.safetensors"], 2, "--task is missing"),
        (["network.safetensors", "--task", "random_dots", "--set", "gain=2"], 2, "--set changes circuits"),
        (["network.safetensors", "--task", "random_dots"], 5, "network.safetensors"),
        (["nobody"], 5, "song_2016"),
        (["wilson_cowan_1972", "--input", "light=1"], 2, "inputs has 'light'"),
        (["wilson_cowan_1972", "--input", "light"], 2, "is not NAME=LEVEL"),
        (["wilson_cowan_1972", "--starts", "0"], 2, "n_starts=0"),
    ],
)
def test_what_is_wrong_is_said(arguments, code, message, tmp_path, invoke, monkeypatch):
    """Typed, with its exit code, nothing written."""
    monkeypatch.chdir(tmp_path)
    result = invoke("analyse", *arguments)
    assert result.code == code
    assert message in result.err
    assert list(tmp_path.iterdir()) == []
