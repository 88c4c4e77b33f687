"""From what the child found in a MATLAB file to a Recording."""

from __future__ import annotations

from dataclasses import replace

from cortexrnn.errors import DataError
from cortexrnn.runs.guard import limits_for_size, run_guarded
from cortexrnn.spikes.readers.matlab_arrays import MatlabRequest, recording_parts
from cortexrnn.spikes.readers.request import Request, check_rate, from_trialised, trials_file, with_start
from cortexrnn.spikes.readers.synthetic import Trialised
from cortexrnn.spikes.recording import Recording


def read_matlab5(request: Request) -> Recording:
    """Read a MATLAB 5 to 7 file: see `read_matlab`."""
    return read_matlab(request, "cortexrnn.spikes.readers.matlab5:read_matlab5")


def read_matlab73(request: Request) -> Recording:
    """Read a MATLAB 7.3 file, which is HDF5: see `read_matlab`."""
    return read_matlab(request, "cortexrnn.spikes.readers.matlab73:read_matlab73")


def read_matlab(request: Request, function: str) -> Recording:
    """Read a MATLAB file in the guarded child.

    Parameters
    ----------
    request : Request
        The file; `variable` names the array.
    function : str
        The reader of its version.

    Returns
    -------
    Recording
        On the synthetic clock where the array has trials.

    Raises
    ------
    CortexError
        Whatever the child says.
    DataError
        If a trials file has another number of trials.
    TimeUnitError
        If the unit of time is not told.
    OptionError
        If an option is of no use.
    """
    limits = limits_for_size(request.path.stat().st_size)
    tree = run_guarded(
        function,
        {"path": str(request.path.resolve()), "variable": request.variable, "max_bytes": limits.memory_bytes},
        limits=limits,
        where=request.where,
    )
    parts, unit_ids, notes = recording_parts(tree, MatlabRequest(time=request.time, where=request.where))
    trials, without_unit, has_samples = trials_file(request)
    tick_hz = parts.tick_hz if isinstance(parts, Trialised) else parts[1]
    check_rate(request, has_samples or tick_hz == request.time.sample_rate_hz)
    attrs = {"notes": notes, "columns_without_unit": without_unit}
    if not isinstance(parts, Trialised):
        return Recording.from_arrays(
            parts[0], trials=with_start(trials, request.where), unit_ids=unit_ids, tick_hz=tick_hz, attrs=attrs
        )
    if trials is not None:
        if len(trials) != len(parts.table):
            raise DataError(f"the trials file has {len(trials)} rows, the raster {len(parts.table)} trials.")
        extra = trials.drop(columns=["start_s", "stop_s"], errors="ignore").set_axis(parts.table.index)
        parts = replace(parts, table=parts.table.join(extra, rsuffix="_file"))
    return from_trialised(parts, unit_ids, attrs)
