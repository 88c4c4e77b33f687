"""Sampled signals in CSV, TSV and NumPy archives: one column of times, every other one a signal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cortexrnn.errors import DataError, OptionError
from cortexrnn.runs.files import read_bytes
from cortexrnn.spikes.covariates import Signal
from cortexrnn.spikes.readers.delimited import TIME_STEMS
from cortexrnn.spikes.readers.detect import detect
from cortexrnn.spikes.readers.npy import as_vector
from cortexrnn.spikes.readers.npz import read_members
from cortexrnn.spikes.readers.table import read_table
from cortexrnn.spikes.readers.time_units import ACCEPTED, split_header, time_scale, told_unit


def read_signals(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    time_unit: str | None = None,
    sample_rate_hz: float | None = None,
) -> dict[str, Signal]:
    """Read sampled signals from a file.

    The unit of time is never guessed: the name of the column of times tells it, or `time_unit`.

    Parameters
    ----------
    path : str or Path
        A CSV or TSV file with a header, or an .npz archive of vectors, with times (``time_s``, ``time_ms``, ...) and
        one column or vector a signal. Empty cells are not known.
    names : sequence of str, optional
        Signals to read; all by default.
    time_unit : str, optional
        "s", "ms", "us", "ns" or "samples", where the file does not tell.
    sample_rate_hz : float, optional
        Samples per second, where times are samples.

    Returns
    -------
    dict of str to Signal
        By the name of the column.

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileAccessError
        If it may not be read.
    DataError
        If it is empty, damaged or of another format, there is not one column of times, a cell is no number, times are
        missing or do not increase, or there is no signal.
    OptionError
        If a name is not there.
    TimeUnitError
        If the unit of time is not told.
    UnsafeFileError
        If an array holds Python objects.
    """
    where = str(path)
    known, numbers = _open(Path(path), where)
    stems = {name: split_header(name)[0] for name in known}
    times = [name for name in known if stems[name] in TIME_STEMS]
    if len(times) != 1:
        found = f"several columns of times: {', '.join(times)}" if times else "no column of times"
        columns = ", ".join(known)
        raise DataError(f"there are {found}; the columns are {columns}.", where=where, hint=f"Expected {ACCEPTED}.")
    what = f"column {times[0]!r}"
    unit = told_unit(split_header(times[0])[1], time_unit, what=what, where=where)
    time_s = numbers(times[0]) * time_scale(unit, sample_rate_hz, what=what, where=where)
    signals = [name for name in known if name not in times]
    unknown = [name for name in names or () if name not in signals]
    if unknown:
        raise OptionError(
            f"there is no signal {unknown[0]!r}.", where=where, hint=f"It has {', '.join(signals) or 'none'}."
        )
    if not signals:
        raise DataError("there are times and no signal.", where=where)
    return {name: _signal(time_s, numbers(name), f"{where}, column {name!r}") for name in names or signals}


def _open(path: Path, where: str) -> tuple[list[str], Callable[[str], np.ndarray]]:
    """Give the names of the columns of a file, and the function that gives one as numbers."""
    kind = detect(path)
    if kind == "delimited":
        table = read_table(read_bytes(path), where=where)
        return list(table.columns), table.numbers
    if kind != "npz":
        raise DataError("signals are read from CSV, TSV and .npz files.", where=where)
    arrays = read_members(path)

    def numbers(name: str) -> np.ndarray:
        values = as_vector(arrays[name], where=f"{where}, array {name!r}")
        if values.dtype.kind not in "biuf":
            raise DataError(f"array {name!r} has dtype {values.dtype}; expected numbers.", where=where)
        return values.astype(float)

    return list(arrays), numbers


def _signal(time_s: np.ndarray, values: np.ndarray, where: str) -> Signal:
    """Make a signal; what is wrong with it is told with the name of the file."""
    try:
        return Signal(time_s=time_s, values=values)
    except DataError as error:
        raise DataError(error.what, where=where, hint=error.hint) from None
