"""The one door: find out what a file is, have it read, make a Recording of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError, FileAccessError, MissingFileError, OptionError
from cortexrnn.runs.files import read_bytes, sha256_of_file
from cortexrnn.runs.guard import limits_for_size, run_guarded
from cortexrnn.spikes.readers.delimited import TimeOptions, TrialsTable, read_spikes, read_trials, trialise
from cortexrnn.spikes.readers.matlab_arrays import MatlabRequest, recording_parts
from cortexrnn.spikes.readers.npz import read_npz
from cortexrnn.spikes.readers.synthetic import Trialised, lay_out
from cortexrnn.spikes.recording import NANOSECONDS_HZ, SESSION, SYNTHETIC, Recording

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MATLAB_5, _MATLAB_73 = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# HDF5 may start after a user block of 512 bytes, 1024, ...; MATLAB 7.3 uses the first.
_USER_BLOCKS = (0, 512, 1024, 2048)
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat")
_KNOWN = "NWB (.nwb), CSV or TSV (.csv, .tsv, .txt), NumPy (.npz) and MATLAB (.mat)"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    """Everything a reader may be told, beside the path."""

    path: Path
    time: TimeOptions
    trials: str | None
    variable: str | None
    select: Mapping[str, Any]


def read_recording(
    path: str | Path,
    *,
    time_unit: str | None = None,
    sample_rate_hz: float | None = None,
    trials: str | Path | None = None,
    variable: str | None = None,
    select: Mapping[str, Any] | None = None,
) -> Recording:
    """Read spike times and trials from an NWB, CSV, TSV, NumPy or MATLAB file.

    The unit of time is never guessed: the file must tell it, or `time_unit`. The format is told by
    the content of the file first, then by its ending.

    Parameters
    ----------
    path : str or Path
        The file.
    time_unit : str, optional
        "s", "ms", "us", "ns" or "samples", where the file does not tell.
    sample_rate_hz : float, optional
        Samples (or bins of a raster) per second.
    trials : str or Path, optional
        A CSV or TSV file with one trial a row, or the name of an interval table of the file;
        the table "trials" by default.
    variable : str, optional
        Which array of a MATLAB file holds the spikes.
    select : mapping, optional
        Column and value: keep these rows of a table, units of a units table, or trials.

    Returns
    -------
    Recording

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileAccessError
        If it is a directory or may not be read.
    DataError
        If it is empty, damaged, of an unknown format, or holds NaN times.
    TimeUnitError
        If the unit of time is not told.
    UnsafeFileError
        If opening it would run code or read other files.
    ReaderCrashed, ReaderTimeout
        If the guarded child process died or took too long.
    OptionError
        If an option does not fit the file, or nothing in it could use it.

    Warns
    -----
    DataWarning
        If times were not sorted, units have no spikes, or something was inferred.
    """
    path = Path(path)
    request = _Request(
        path=path,
        time=TimeOptions(time_unit=time_unit, sample_rate_hz=sample_rate_hz),
        trials=None if trials is None else str(trials),
        variable=variable,
        select=dict(select or {}),
    )
    kind = _format(path)
    if variable is not None and not kind.startswith("matlab"):
        raise OptionError(
            f"variable={variable!r} was given, but this is no MATLAB file.", where=str(path), hint="Leave it out."
        )
    recording = _READERS[kind](request)
    attrs = {
        **recording.attrs,
        "source": path.name,
        "sha256": sha256_of_file(path),
        "reader": kind,
    }
    recording = replace(recording, attrs=attrs)
    return recording if kind == "delimited" else _selected(recording, request.select)


def _format(path: Path) -> str:
    """Tell the format of a file by its first bytes, then by its ending."""
    if path.is_dir():
        raise FileAccessError(
            "the path is a directory.", where=str(path), hint=f"Name a file; read are {_KNOWN}."
        )
    try:
        with open(path, "rb") as file:
            head = file.read(max(_USER_BLOCKS) + len(_HDF5_MAGIC))
    except FileNotFoundError:
        raise MissingFileError(
            "there is no such file.", where=str(path), hint="Check the spelling."
        ) from None
    except OSError as error:
        raise FileAccessError(f"the file cannot be read: {error.strerror}.", where=str(path)) from None
    ending = path.suffix.lower()
    if not head:
        raise DataError("the file is empty.", where=str(path))
    if head.startswith(_MATLAB_5):
        return "matlab5"
    if any(head[at:].startswith(_HDF5_MAGIC) for at in _USER_BLOCKS):
        return "matlab73" if head.startswith(_MATLAB_73) or ending == ".mat" else "nwb"
    if head.startswith(_ZIP_MAGIC):
        return "npz"
    if ending in _TEXT_ENDINGS:
        return "delimited"
    if ending in (".nwb", ".mat", ".npz", ".h5", ".hdf5"):
        raise DataError(f"the content of the file is not what {ending} promises.", where=str(path))
    raise DataError(
        f"the format of the file is unknown (ending {ending!r}).", where=str(path), hint=f"Read are {_KNOWN}."
    )


def _read_delimited(request: _Request) -> Recording:
    """Read a CSV or TSV file."""
    where = str(request.path)
    spikes = read_spikes(read_bytes(request.path), where=where, options=request.time, select=request.select)
    trials, without_unit, has_samples = _trials_file(request)
    _check_rate(request, has_samples or spikes.tick_hz == request.time.sample_rate_hz)
    if spikes.trial is None:
        order = np.argsort(spikes.unit, kind="stable")
        cuts = np.cumsum(np.bincount(spikes.unit, minlength=len(spikes.unit_ids)))[:-1]
        times = np.split(spikes.times_s[order], cuts)
        attrs = {"columns_without_unit": without_unit}
        return Recording.from_arrays(
            times,
            trials=_with_start(trials, where),
            unit_ids=spikes.unit_ids,
            tick_hz=spikes.tick_hz,
            attrs=attrs,
        )
    parts, notes = trialise(spikes, trials, where)
    return _from_trialised(parts, spikes.unit_ids, {"notes": notes, "columns_without_unit": without_unit})


def _read_nwb(request: _Request) -> Recording:
    """Read an NWB file in the guarded child."""
    n_bytes = request.path.stat().st_size
    limits = limits_for_size(n_bytes)
    tree = run_guarded(
        "cortexrnn.spikes.readers.nwb:read_nwb",
        {"path": str(request.path.resolve()), "max_bytes": limits.memory_bytes},
        limits=limits,
        where=str(request.path),
    )
    tables = {name: _frame(columns) for name, columns in tree["tables"].items()}
    trials, without_unit = _choose_trials(tables, request)
    observed = tree["observed"]
    if observed is not None:
        observed = np.split(np.reshape(observed["s"], (-1, 2)), observed["offsets"][1:-1])
    told = _own_attrs(tree["written_by_us"], request)
    columns = tree["units"]
    names = columns.pop("unit_name", None) if told else None
    recording = Recording.from_arrays(
        np.split(tree["times_s"], tree["offsets"][1:-1]) if tree["unit_ids"] else [],
        trials=trials,
        observed_s=observed,
        unit_ids=names or tree["unit_ids"],
        tick_hz=told.pop("tick_hz", NANOSECONDS_HZ),
        attrs={
            **told,
            "notes": [*told.get("notes", []), *tree["notes"]],
            "columns_without_unit": without_unit,
        },
    )
    units = pd.DataFrame(columns, index=recording.units.index)
    return replace(recording, units=units, tables=tables)


def _own_attrs(told: dict[str, Any], request: _Request) -> dict[str, Any]:
    """Return what our own writer said about clock and ticks, after checking it."""
    if not told:
        return {}
    known = {name: told[name] for name in ("clock", "observed", "notes", "tick_hz") if name in told}
    rate = known.get("tick_hz")
    if (
        known.get("clock") not in (SESSION, SYNTHETIC)
        or known.get("observed") not in ("given", "inferred")
        or not isinstance(known.get("notes"), list)
        or not isinstance(rate, int | float)
        or not 0 < rate < float("inf")
    ):
        raise DataError("the notes that this package left in the file are damaged.", where=str(request.path))
    return known


def _read_matlab(request: _Request, function: str) -> Recording:
    """Read a MATLAB file in the guarded child."""
    limits = limits_for_size(request.path.stat().st_size)
    tree = run_guarded(
        function,
        {"path": str(request.path.resolve()), "variable": request.variable, "max_bytes": limits.memory_bytes},
        limits=limits,
        where=str(request.path),
    )
    wanted = MatlabRequest(time=request.time, where=str(request.path))
    parts, unit_ids, notes = recording_parts(tree, wanted)
    trials, without_unit, has_samples = _trials_file(request)
    tick_hz = parts.tick_hz if isinstance(parts, Trialised) else parts[1]
    _check_rate(request, has_samples or tick_hz == request.time.sample_rate_hz)
    attrs = {"notes": notes, "columns_without_unit": without_unit}
    if isinstance(parts, Trialised):
        if trials is not None:
            if len(trials) != len(parts.table):
                raise DataError(
                    f"the trials file has {len(trials)} rows, the raster {len(parts.table)} trials."
                )
            extra = trials.drop(columns=["start_s", "stop_s"], errors="ignore").set_axis(parts.table.index)
            parts = replace(parts, table=parts.table.join(extra, rsuffix="_file"))
        return _from_trialised(parts, unit_ids, attrs)
    return Recording.from_arrays(
        parts[0], trials=_with_start(trials, str(request.path)), unit_ids=unit_ids, tick_hz=tick_hz, attrs=attrs
    )


def _read_matlab5(request: _Request) -> Recording:
    """Read a MATLAB 5 to 7 file."""
    return _read_matlab(request, "cortexrnn.spikes.readers.matlab5:read_matlab5")


def _read_matlab73(request: _Request) -> Recording:
    """Read a MATLAB 7.3 file, which is HDF5."""
    return _read_matlab(request, "cortexrnn.spikes.readers.matlab73:read_matlab73")


def _read_npz(request: _Request) -> Recording:
    """Read a NumPy archive without pickle."""
    found = read_npz(request.path, options=request.time)
    trials, without_unit, has_samples = _trials_file(request)
    _check_rate(request, has_samples or found.has_samples)
    return Recording.from_arrays(
        found.times_s,
        trials=_with_start(found.trials if request.trials is None else trials, str(request.path)),
        unit_ids=found.unit_ids,
        tick_hz=found.tick_hz,
        attrs={"notes": found.notes, "columns_without_unit": without_unit},
    )


_READERS = {
    "delimited": _read_delimited,
    "nwb": _read_nwb,
    "matlab5": _read_matlab5,
    "matlab73": _read_matlab73,
    "npz": _read_npz,
}


def _from_trialised(parts: Trialised, unit_ids: list[Any], attrs: dict[str, Any]) -> Recording:
    """Make a recording on the synthetic clock."""
    times, trials, observed = lay_out(parts)
    is_stop_known = bool(trials["stop_s"].notna().all())
    # An unknown stop is inferred from the last spike, and so is what was observed.
    kind = "given" if is_stop_known else "inferred"
    return Recording.from_arrays(
        times,
        trials=trials,
        observed_s=observed,
        unit_ids=unit_ids,
        tick_hz=parts.tick_hz,
        attrs={**attrs, "clock": SYNTHETIC, "observed": kind},
    )


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Make a table of columns; `id` becomes the index."""
    ids = columns["id"]
    return pd.DataFrame({name: values for name, values in columns.items() if name != "id"}, index=ids)


def _choose_trials(
    tables: dict[str, pd.DataFrame], request: _Request
) -> tuple[pd.DataFrame | None, list[str]]:
    """Return the trials: an interval table of the file by name, or a trials file."""
    is_table = request.trials is None or request.trials in tables
    if not is_table and Path(request.trials).exists():
        trials, without_unit, has_samples = _trials_file(request)
        _check_rate(request, has_samples)
        return _with_start(trials, request.trials), without_unit
    if not is_table:
        raise OptionError(
            f"trials={request.trials!r} is neither a file nor an interval table.",
            where=str(request.path),
            hint=f"The file has {', '.join(sorted(tables)) or 'no interval tables'}.",
        )
    if request.time.time_unit is not None:
        raise OptionError(
            f"time_unit={request.time.time_unit!r} was given, but the times of an NWB file are in seconds.",
            where=str(request.path),
            hint="Leave it out.",
        )
    _check_rate(request, False)
    if request.trials is None:
        return tables.pop("trials", None), []
    return tables[request.trials].rename_axis("trial"), []


def _check_rate(request: _Request, is_used: bool) -> None:
    """Raise OptionError where a sampling rate was given and no time is in samples."""
    if request.time.sample_rate_hz is not None and not is_used:
        raise OptionError(
            f"sample_rate_hz={request.time.sample_rate_hz:g} was given, but no time is in samples.",
            where=str(request.path),
            hint="Leave it out.",
        )


def _trials_file(request: _Request) -> TrialsTable:
    """Read the trials file, if one was named."""
    if request.trials is None:
        return TrialsTable(None, [], has_samples=False)
    if Path(request.trials).is_dir():
        raise FileAccessError(
            "the path is a directory.", where=request.trials, hint="Name a CSV or TSV file."
        )
    return read_trials(request.trials, options=request.time, select=request.select)


def _with_start(trials: pd.DataFrame | None, where: str) -> pd.DataFrame | None:
    """Return the trials after checking that they have a start."""
    if trials is not None and len(trials) and "start_s" not in trials:
        raise DataError(
            "the trials table has no start, and the spike times count from the session's start.",
            where=where,
            hint="Add a column start_s (or start_ms, start_samples).",
        )
    return trials


def _selected(recording: Recording, select: Mapping[str, Any]) -> Recording:
    """Keep the units, or else the trials, whose column has the value."""
    for name, value in select.items():
        if name in recording.units:
            keep = (recording.units[name].astype(str) == str(value)).to_numpy()
            if not keep.any():
                raise OptionError(f"no unit has {name}={value!r}.")
            recording = recording.select(units=recording.units.index[keep].tolist())
        elif name in recording.trials:
            recording = recording.select_trials(**{name: value})
        else:
            known = [*map(str, recording.units.columns), *map(str, recording.trials.columns)]
            raise OptionError(
                f"there is no column {name!r} to select by.", hint=f"Known are {', '.join(known) or 'none'}."
            )
    return recording
