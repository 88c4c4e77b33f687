"""Columns of the trials and units tables as coordinates that a netCDF file can hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from cortexrnn.spikes.recording import Recording

_TAKEN = {"trial", "time", "unit", "scored", "condition", "start_s", "counts", "observed"}


def trial_coords(rows: pd.DataFrame, start_s: np.ndarray) -> dict[str, Any]:
    """Return the coordinates over trial: session time of the event and the simple columns of the table."""
    coords: dict[str, Any] = {"start_s": ("trial", start_s, {"units": "s"})}
    coords["trial"] = ("trial", rows.index.to_numpy())
    for name in rows.columns:
        label = "trial_start_s" if name == "start_s" else str(name)
        values = plain(rows[name].to_numpy())
        if label not in _TAKEN and values is not None:
            coords[label] = ("trial", values)
    return coords


def unit_coords(recording: Recording, positions: list[int], taken: set[str]) -> dict[str, Any]:
    """Return the coordinates over unit: ids and the simple columns of the units table."""
    units = recording.units.iloc[positions]
    coords: dict[str, Any] = {"unit": ("unit", plain(units.index.to_numpy()))}
    for name in units.columns:
        label = str(name) if str(name) not in _TAKEN | taken else f"unit_{name}"
        values = plain(units[name].to_numpy())
        if values is not None:
            coords[label] = ("unit", values)
    return coords


def plain(values: np.ndarray) -> np.ndarray | None:
    """Return numbers, booleans and text as an array that a file can hold; None for anything else."""
    values = np.asarray(values)
    if values.dtype.kind in "iufb":
        return values
    if values.dtype.kind in "UT" or all(isinstance(value, str) for value in values):
        return values.astype(str)
    if all(isinstance(value, int | float | str | bool | np.generic) or value is None for value in values):
        return np.array(["" if pd.isna(value) else str(value) for value in values], dtype=str)
    return None
