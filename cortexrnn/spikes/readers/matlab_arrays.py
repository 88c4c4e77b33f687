"""From what a MATLAB array holds to spikes in seconds: here the unit of time comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError, TimeUnitError
from cortexrnn.spikes.readers.delimited import NANOSECONDS_HZ, TimeOptions
from cortexrnn.spikes.readers.synthetic import Trialised
from cortexrnn.spikes.readers.time_units import is_in_samples, time_scale, told_unit


@dataclass(frozen=True, kw_only=True, slots=True)
class MatlabRequest:
    """What the caller says about the times, and the file for messages."""

    time: TimeOptions
    where: str


def recording_parts(
    tree: dict[str, Any], request: MatlabRequest
) -> tuple[Trialised | tuple[list[np.ndarray], float], list[Any], list[str]]:
    """Turn what the child found into seconds.

    Parameters
    ----------
    tree : dict
        See `cortexrnn.spikes.readers.matlab_cells.describe`.
    request : MatlabRequest
        Unit of time and sampling rate.

    Returns
    -------
    parts : Trialised, or (list of ndarray, float)
        Trials of a raster; or times of every unit in seconds and the ticks per second.
    unit_ids : list
        The units.
    notes : list of str
        What a reader should know.

    Raises
    ------
    TimeUnitError
        If the unit of time, or the width of a raster's bins, is not told.
    OptionError
        If unit of time and sampling rate give a raster's bins different widths.
    """
    if tree["kind"] == "raster":
        return _raster(tree, request), tree["unit_ids"], tree["notes"]
    if tree["kind"] == "trials":
        return _in_trials(tree, request), tree["unit_ids"], tree["notes"]
    unit, rate = request.time.time_unit, request.time.sample_rate_hz
    scale = time_scale(unit, rate, what="the array of spike times", where=request.where)
    times = np.split(tree["times"] * scale, tree["offsets"][1:-1])
    return (times, float(rate) if is_in_samples(unit) else NANOSECONDS_HZ), tree["unit_ids"], tree["notes"]


def _in_trials(tree: dict[str, Any], request: MatlabRequest) -> Trialised:
    """Return the trials of a structure whose times are in seconds from each trial's zero."""
    told_unit("s", request.time.time_unit, what="the structure of spikes", where=request.where)
    n_trials = tree["start_s"].size
    return Trialised(
        times_s=tree["times"],
        trial=tree["trial"],
        unit=np.repeat(np.arange(len(tree["unit_ids"])), np.diff(tree["offsets"])),
        n_units=len(tree["unit_ids"]),
        table=pd.DataFrame(
            {"start_s": tree["start_s"], "stop_s": tree["stop_s"]},
            index=pd.RangeIndex(1, n_trials + 1, name="trial"),
        ),
        tick_hz=NANOSECONDS_HZ,
    )


def _raster(tree: dict[str, Any], request: MatlabRequest) -> Trialised:
    """Return the trials of a raster; a spike's time is the left edge of its bin."""
    rate = _bins_per_second(tree, request)
    n_trials, n_bins = int(tree["n_trials"]), int(tree["n_bins"])
    zero = 0
    table = pd.DataFrame(index=pd.RangeIndex(1, n_trials + 1, name="trial"))
    for name, values in tree["vectors"].items():
        if values.size == n_bins and n_bins != n_trials and (np.diff(values) > 0).all():
            zero = int(np.searchsorted(values, 0)) if (values == 0).any() else zero
        elif values.size == n_trials:
            table[name] = values
    table.insert(0, "start_s", -zero / rate)
    table.insert(1, "stop_s", (n_bins - zero) / rate)
    return Trialised(
        times_s=(tree["bin"] - zero) / rate,
        trial=tree["trial"],
        unit=np.zeros(tree["bin"].size, dtype=np.int64),
        n_units=1,
        table=table,
        tick_hz=rate,
    )


def _bins_per_second(tree: dict[str, Any], request: MatlabRequest) -> float:
    """Return the rate of a raster's bins, from the sampling rate or from a unit of time that one bin lasts."""
    unit, rate = request.time.time_unit, request.time.sample_rate_hz
    if unit is None and rate is None:
        raise TimeUnitError(
            f"the raster of {tree['n_trials']} x {tree['n_bins']} does not say how wide its bins are.",
            where=request.where,
            hint="Give sample_rate_hz, for example 1000 for bins of 1 ms.",
        )
    if rate is None or not (unit is None or is_in_samples(unit)):
        by_unit = 1.0 / time_scale(unit, None, what="the raster", where=request.where)
        if rate is not None and rate != by_unit:
            raise OptionError(
                f"time_unit={unit!r} and sample_rate_hz={rate:g} give the raster's bins different widths.",
                where=request.where,
                hint="Give one of them.",
            )
        rate = by_unit
    return check_positive("sample_rate_hz", rate)
