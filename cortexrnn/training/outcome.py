"""What is left of a training: a folder with the network, what was seen on the way, and figures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import xarray as xr

from cortexrnn.report.behaviour import draw_behaviour
from cortexrnn.report.training import draw_training
from cortexrnn.runs.files import atomic_write, sweep
from cortexrnn.training.trained import Trained


def save_training(folder: str | os.PathLike, trained: Trained) -> dict[str, Any]:
    """Write a trained network: ``network.safetensors``, ``history.csv``, ``summary.json`` and ``figures/``.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    trained : Trained

    Returns
    -------
    dict
        The summary.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to or the disk is full.
    """
    target = Path(folder)
    sweep(target)
    sweep(target / "figures")
    summary = trained.describe()
    trained.save(target / "network.safetensors")
    atomic_write(target / "history.csv", trained.history.to_dataframe().to_csv().encode())
    weights = xr.Dataset(
        {"before": (("post", "pre"), trained.weights_before), "after": (("post", "pre"), trained.weights)}
    )
    draw_training(target / "figures", trained.history, weights)
    if trained.task.stimulus_column:
        draw_behaviour(target / "figures", psychometric=trained.psychometric())
    atomic_write(target / "summary.json", (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())
    return summary


def show(summary: dict[str, Any]) -> str:
    """Write a summary for the screen."""
    network = summary["network"]
    return (
        f"{network['name']} ({network['n_units']} units) on {summary['task'].partition('(')[0]}: "
        f"{100 * summary['performance']:.1f} % correct after {summary['n_steps']} steps\n"
        f"loss {summary['loss']:.4g}, {summary['n_parameters']} parameters, "
        f"{summary['n_weights_of_wrong_sign']} weights of the wrong sign"
    )
