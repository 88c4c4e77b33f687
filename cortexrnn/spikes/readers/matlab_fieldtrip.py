"""FieldTrip's spike structure: labels, time stamps, or times with the trial that each belongs to."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortexrnn.errors import DataError


def is_fieldtrip(node: Any) -> bool:
    """Tell whether a struct has FieldTrip's fields of a spike structure.

    Parameters
    ----------
    node : Any
        Array, or dict for a struct.
    """
    if not isinstance(node, dict) or "label" not in node:
        return False
    return "timestamp" in node or {"time", "trial", "trialtime"} <= set(node)


def read_fieldtrip(node: dict[str, Any]) -> dict[str, Any]:
    """Reduce a spike structure to spikes.

    Parameters
    ----------
    node : dict
        Fields as MATLAB shaped them.

    Returns
    -------
    dict
        As `cortexrnn.spikes.readers.matlab_cells.describe` gives: kind "times" where there are only
        time stamps, kind "trials" (times in seconds, trial from 0, offsets, start_s and stop_s of
        every trial) where spikes belong to trials.

    Raises
    ------
    DataError
        If fields differ in length, or a spike belongs to no trial.
    """
    labels = [_text(cell) for cell in _cells(node["label"])]
    if len(set(labels)) < len(labels) or "" in labels:
        raise DataError("the labels of the spike structure are empty or repeated.")
    is_in_trials = {"time", "trial", "trialtime"} <= set(node)
    times = _vectors(node["time" if is_in_trials else "timestamp"], "time", len(labels))
    found: dict[str, Any] = {
        "kind": "times",
        "times": np.concatenate([np.empty(0), *times]),
        "offsets": np.concatenate(([0], np.cumsum([values.size for values in times]))).astype(np.int64),
        "unit_ids": labels,
        "notes": ["a FieldTrip spike structure"],
    }
    if not is_in_trials:
        return found
    edges = np.asarray(node["trialtime"])
    if edges.dtype.kind not in "biuf" or edges.ndim != 2 or edges.shape[1] != 2:
        raise DataError(f"trialtime has shape {edges.shape}; expected one row of start and stop a trial.")
    trial = np.concatenate([np.empty(0), *_vectors(node["trial"], "trial", len(labels))])
    if trial.shape != found["times"].shape or not np.isin(trial, np.arange(1, len(edges) + 1)).all():
        raise DataError(f"the trials of the spikes do not fit {found['times'].size} spikes in {len(edges)} trials.")
    edges = edges.astype(np.float64)
    trials = {"trial": trial.astype(np.int64) - 1, "start_s": edges[:, 0], "stop_s": edges[:, 1]}
    return {**found, "kind": "trials", **trials}


def _cells(node: Any) -> list[Any]:
    """Return the members of a cell array."""
    if isinstance(node, np.ndarray) and node.dtype == object:
        return list(node.ravel())
    raise DataError("the spike structure's fields are no cell arrays.")


def _vectors(node: Any, what: str, n_units: int) -> list[np.ndarray]:
    """Return one vector of numbers a unit."""
    cells = _cells(node)
    if len(cells) != n_units:
        raise DataError(f"the spike structure has {n_units} labels and {len(cells)} cells of {what}.")
    for cell in cells:
        if not isinstance(cell, np.ndarray) or cell.dtype.kind not in "biuf":
            raise DataError(f"a cell of {what} holds no numbers.")
    return [cell.ravel().astype(np.float64) for cell in cells]


def _text(node: Any) -> str:
    """Return a char array as text, which MATLAB 7.3 stores as numbers."""
    if isinstance(node, np.ndarray) and node.dtype.kind == "U":
        return "".join(node.ravel().tolist())
    if isinstance(node, np.ndarray) and node.dtype.kind == "u":
        return "".join(chr(number) for number in node.ravel())
    return ""
