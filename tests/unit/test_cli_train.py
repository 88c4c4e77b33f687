"""The command line of a training: folder, summary, resume, exit codes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cortexrnn.training.checkpoint import load_arrays

SIZES = ["--set", "populations[0].size=12", "--set", "populations[1].size=3"]
RUN = ["train", "song_2016", "--task", "random_dots", *SIZES]
SHORT = [*RUN, "--steps", "30", "--batch", "16", "--criterion", "2", "--threads", "1"]


def test_a_training_leaves_network_history_summary_and_figures(tmp_path, invoke, monkeypatch):
    """The folder is named after circuit and task; the same command again finds everything done."""
    monkeypatch.chdir(tmp_path)
    result = invoke(*SHORT, "--seed", "3", "--dale", "abs")
    assert result.code == 0, result.err
    folder = tmp_path / "song_2016-random_dots"
    names = {"network.safetensors", "training.safetensors", "history.csv", "summary.json", "figures"}
    assert {path.name for path in folder.iterdir()} == names
    for name in ("training.svg", "weights.svg", "psychometric.svg"):
        ET.fromstring((folder / "figures" / name).read_text())
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["seed"], summary["n_steps"]) == (3, 30)
    assert "dale='abs'" in summary["network"]["trainable"]
    assert summary["n_weights_of_wrong_sign"] == 0
    assert "0 weights of the wrong sign" in result.out
    first = load_arrays(folder / "network.safetensors")[0]
    assert invoke(*SHORT, "--seed", "3", "--dale", "abs").code == 0
    again = load_arrays(folder / "network.safetensors")[0]
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in first)
    # Another training must not go on from this one.
    other = invoke(*SHORT, "--seed", "4", "--dale", "abs")
    assert other.code == 2
    assert "seed" in other.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["song_2016", "--task", "chess"], 2, "random_dots"),
        (["song_2016", "--task", "random_dots", "--dale", "square"], 2, "dale='square'"),
        (["song_2016", "--task", "random_dots", "--steps", "0"], 2, "max_steps=0"),
        (["nobody", "--task", "random_dots"], 5, "song_2016"),
    ],
)
def test_faults_have_their_exit_codes(tmp_path, invoke, monkeypatch, arguments, code, message):
    """One line that names what was wrong."""
    monkeypatch.chdir(tmp_path)
    result = invoke("train", *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
