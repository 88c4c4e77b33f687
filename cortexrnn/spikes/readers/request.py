"""What a reader is asked, and what readers have in common around trials and options."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from cortexrnn.errors import DataError, FileAccessError, OptionError
from cortexrnn.runs.files import sha256_of_file
from cortexrnn.spikes.readers.delimited import TimeOptions, TrialsTable, read_trials
from cortexrnn.spikes.readers.synthetic import Trialised, lay_out
from cortexrnn.spikes.readers.time_units import is_in_samples
from cortexrnn.spikes.recording import SYNTHETIC, Recording


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Everything a reader may be told.

    Attributes
    ----------
    path : Path
        File or folder.
    time : TimeOptions
        Unit of time and sampling rate.
    trials : str or None
        A file, or the name of an interval table of what is read.
    variable : str or None
        Array of a MATLAB file.
    select : mapping
        Column and value.
    """

    path: Path
    time: TimeOptions
    trials: str | None
    variable: str | None
    select: Mapping[str, Any]

    @property
    def where(self) -> str:
        """The path as text, for messages."""
        return str(self.path)


def check_rate(request: Request, is_used: bool) -> None:
    """Raise OptionError where a sampling rate was given and no time is in samples."""
    if request.time.sample_rate_hz is not None and not is_used:
        raise OptionError(
            f"sample_rate_hz={request.time.sample_rate_hz:g} was given, but no time is in samples.",
            where=request.where,
            hint="Leave it out.",
        )


def check_told(request: Request, what: str) -> None:
    """Raise OptionError where a unit of time or a rate was given for a format that tells its own.

    Parameters
    ----------
    request : Request
        The options.
    what : str
        The format with its article, for the message.

    Raises
    ------
    OptionError
        If there is such an option.
    """
    if request.time.time_unit is not None:
        raise OptionError(
            f"time_unit={request.time.time_unit!r} was given, "
            f"but the times of {what} are in seconds or tell their unit.",
            where=request.where,
            hint="Leave it out.",
        )
    check_rate(request, False)


def check_samples(request: Request) -> None:
    """Raise OptionError where another unit of time than samples was given for a format of samples."""
    if request.time.time_unit is not None and not is_in_samples(request.time.time_unit):
        raise OptionError(
            f"time_unit={request.time.time_unit!r} was given, but these times are samples.",
            where=request.where,
            hint="Leave it out.",
        )


def trials_file(request: Request, *, sample_rate_hz: float | None = None) -> TrialsTable:
    """Read the trials file, if one was named.

    Parameters
    ----------
    request : Request
        `trials` names it.
    sample_rate_hz : float, optional
        What the recording itself tells, for trials in samples; the option by default.

    Returns
    -------
    TrialsTable

    Raises
    ------
    FileAccessError
        If it is a folder or cannot be read.
    DataError, TimeUnitError
        See `read_trials`.
    """
    if request.trials is None:
        return TrialsTable(None, [], has_samples=False)
    if Path(request.trials).is_dir():
        raise FileAccessError("the path is a directory.", where=request.trials, hint="Name a CSV or TSV file.")
    options = request.time if sample_rate_hz is None else replace(request.time, sample_rate_hz=sample_rate_hz)
    return read_trials(request.trials, options=options, select=request.select)


def with_start(trials: pd.DataFrame | None, where: str) -> pd.DataFrame | None:
    """Return the trials after checking that they have a start; DataError where not."""
    if trials is not None and len(trials) and "start_s" not in trials:
        raise DataError(
            "the trials table has no start, and the spike times count from the session's start.",
            where=where,
            hint="Add a column start_s (or start_ms, start_samples).",
        )
    return trials


def choose_trials(
    tables: dict[str, pd.DataFrame], request: Request, what: str
) -> tuple[pd.DataFrame | None, list[str]]:
    """Return the trials of a format that tells its own unit of time.

    Parameters
    ----------
    tables : dict of str to pandas.DataFrame
        Interval tables by name; "trials" is taken out where it serves as trials by default.
    request : Request
        The options; `trials` names a table or a file.
    what : str
        The format with its article, for messages.

    Returns
    -------
    trials : pandas.DataFrame or None
        One row a trial.
    without_unit : list of str
        Columns whose unit of time is not told.

    Raises
    ------
    OptionError
        If `trials` names neither, or an option is of no use.
    """
    is_table = request.trials is None or request.trials in tables
    if not is_table and Path(request.trials).exists():
        trials, without_unit, has_samples = trials_file(request)
        check_rate(request, has_samples)
        return with_start(trials, request.trials), without_unit
    if not is_table:
        raise OptionError(
            f"trials={request.trials!r} is neither a file nor an interval table.",
            where=request.where,
            hint=f"The file has {', '.join(sorted(tables)) or 'no interval tables'}.",
        )
    check_told(request, what)
    if request.trials is None:
        return tables.pop("trials", None), []
    return tables[request.trials].rename_axis("trial"), []


def from_trialised(parts: Trialised, unit_ids: list[Any], attrs: dict[str, Any]) -> Recording:
    """Make a recording on the synthetic clock.

    Parameters
    ----------
    parts : Trialised
        Spikes on the clocks of their trials.
    unit_ids : list
        The units.
    attrs : dict
        Where it came from.

    Returns
    -------
    Recording
    """
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


def sha256_of_files(folder: Path, names: Iterable[str]) -> str:
    """Give one SHA-256 for the files that were read in a folder: of their names and contents.

    Parameters
    ----------
    folder : Path
        Where they lie.
    names : iterable of str
        Relative to the folder.

    Returns
    -------
    str
        Hexadecimal.

    Raises
    ------
    FileAccessError
        If one of them cannot be read.
    """
    lines = [f"{name} {sha256_of_file(folder / name)}\n" for name in sorted(names)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
