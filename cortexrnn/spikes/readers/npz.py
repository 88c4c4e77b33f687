"""Spike times in a NumPy archive, without pickle and without trusting what the archive declares."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError
from cortexrnn.spikes.readers.delimited import NANOSECONDS_HZ, TIME_STEMS, UNIT_NAMES, TimeOptions
from cortexrnn.spikes.readers.npy import parse_npy
from cortexrnn.spikes.readers.time_units import is_in_samples, split_header, time_scale, told_unit

PICKLED = "_metadata"
_MAX_MEMBERS = 100_000
_FLOOR_BYTES = 128 * 2**20
_UNIT_KEYS = (*UNIT_NAMES, "units", "clusters", "neurons", "unit_ids", "spike_units", "spike_clusters")
_EDGES = ("trial_start", "trial_stop")


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class NpzSpikes:
    """Spikes of an archive: times of every unit in seconds, ids, clock, trials (or None) and notes.

    `has_samples` tells whether a sampling rate was of use.
    """

    times_s: list[np.ndarray]
    unit_ids: list[Any]
    tick_hz: float
    trials: pd.DataFrame | None
    notes: list[str]
    has_samples: bool


def spikes_of(arrays: dict[str, np.ndarray], *, options: TimeOptions, where: str) -> NpzSpikes:
    """Find the spike times among the arrays of an archive.

    Parameters
    ----------
    arrays : dict of str to ndarray
        With ``times_s`` (or times_ms, spike_times_samples, ...) and ``units``, flat and of
        the same length; or with one array of times a unit. Arrays ``trial_start_s``, ``trial_stop_s``
        and ``trial_<column>``, if there are any, make the trials table.
    options : TimeOptions
        Unit of time and sampling rate where the names do not tell.
    where : str
        The archive, for messages.

    Returns
    -------
    NpzSpikes

    Raises
    ------
    DataError
        If there are no spike times, or arrays do not fit each other.
    TimeUnitError
        If the unit of time is not told.
    """
    trial_arrays = {name: values for name, values in arrays.items() if name.startswith("trial")}
    spikes = {name: values for name, values in arrays.items() if name not in trial_arrays}
    flat = [name for name in spikes if split_header(name)[0] in TIME_STEMS]
    labels = [name for name in spikes if name.lower() in _UNIT_KEYS]
    notes: list[str] = []
    if len(flat) == 1 and len(labels) == 1:
        times, tick_hz = _seconds(flat[0], spikes[flat[0]], options, where)
        unit_ids, per_unit = _by_unit(times, spikes[labels[0]], where)
        notes += [f"array {name!r} is not used" for name in spikes if name not in (flat[0], labels[0])]
    elif labels:
        raise DataError(
            f"there are unit labels ({labels[0]!r}) and {len(flat)} arrays of times.", where=where
        )
    else:
        unit_ids, per_unit, tick_hz = _one_array_a_unit(spikes, options, where)
    trials = _trials(trial_arrays, options, where) if trial_arrays else None
    told = [options.time_unit, *(split_header(name)[1] for name in arrays)]
    return NpzSpikes(
        times_s=per_unit,
        unit_ids=unit_ids,
        tick_hz=tick_hz,
        trials=trials,
        notes=notes,
        has_samples=any(map(is_in_samples, told)),
    )


def read_members(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an archive, after comparing what it declares with what it holds.

    Parameters
    ----------
    path : Path
        The archive. A member called ``_metadata`` is not opened: pynapple pickles it.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    DataError
        If it is damaged or declares more than it holds.
    UnsafeFileError
        If an array holds Python objects.
    """
    where = str(path)
    limit = max(_FLOOR_BYTES, 4 * path.stat().st_size)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > limit:
                raise DataError(
                    f"the archive declares {sum(member.file_size for member in members)} bytes in {len(members)} "
                    f"arrays, more than an archive of this size may hold.",
                    where=where,
                )
            arrays = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name == PICKLED:
                    continue
                if name in arrays or name == member.filename:
                    raise DataError(
                        f"the archive holds {member.filename[:60]!r}, which is no array.", where=where
                    )
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise DataError(f"array {name!r} is compressed in a way NumPy never does.", where=where)
                with archive.open(member) as file:
                    # One byte more than declared shows a member that lies about its size.
                    content = file.read(member.file_size + 1)
                arrays[name] = parse_npy(content, where=f"{where}, array {name!r}")
    except DataError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise DataError(f"the archive is damaged ({error}).", where=where) from None
    return arrays


def _seconds(name: str, values: np.ndarray, options: TimeOptions, where: str) -> tuple[np.ndarray, float]:
    """Return an array of times in seconds and the clock that holds them exactly."""
    what = f"array {name!r}"
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise DataError(
            f"{what} has dtype {values.dtype} and shape {values.shape}; expected a vector of times.",
            where=where,
        )
    unit = told_unit(split_header(name)[1], options.time_unit, what=what, where=where)
    scale = time_scale(unit, options.sample_rate_hz, what=what, where=where)
    return values * scale, float(options.sample_rate_hz) if is_in_samples(unit) else NANOSECONDS_HZ


def _by_unit(times: np.ndarray, labels: np.ndarray, where: str) -> tuple[list[Any], list[np.ndarray]]:
    """Split flat times by their unit labels."""
    if labels.shape != times.shape:
        raise DataError(f"{times.size} times and {labels.size} unit labels; expected as many.", where=where)
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise DataError("the unit labels are not whole numbers or text.", where=where)
    ids, codes = np.unique(labels, return_inverse=True)
    ids = ids.astype(np.int64) if ids.dtype.kind in "biuf" else ids
    order = np.argsort(codes, kind="stable")
    cuts = np.cumsum(np.bincount(codes, minlength=ids.size))[:-1]
    return ids.tolist(), np.split(times[order], cuts) if ids.size else []


def _one_array_a_unit(
    arrays: dict[str, np.ndarray], options: TimeOptions, where: str
) -> tuple[list[str], list[np.ndarray], float]:
    """Return one unit an array; the unit of time stands in every name or comes as an option."""
    if not arrays:
        raise DataError("the archive holds no spike times.", where=where)
    named = [(name, *_seconds(name, values, options, where)) for name, values in arrays.items()]
    clocks = {tick_hz for _, _, tick_hz in named}
    if len(clocks) > 1:
        raise DataError("some arrays are in samples and others are not.", where=where)
    return [name for name, _, _ in named], [times for _, times, _ in named], clocks.pop()


def _trials(arrays: dict[str, np.ndarray], options: TimeOptions, where: str) -> pd.DataFrame:
    """Return the trials table from the arrays whose names start with trial_."""
    table: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        stem, unit = split_header(name)
        stem = {"trial_starts": "trial_start", "trial_stops": "trial_stop"}.get(stem, stem)
        if stem in _EDGES or unit is not None:
            table[f"{stem.removeprefix('trial_')}_s"] = _seconds(name, values, options, where)[0]
        else:
            table[name.removeprefix("trial_")] = values
    lengths = {values.shape for values in table.values()}
    if len(lengths) > 1 or len(next(iter(lengths))) != 1:
        raise DataError(
            f"the trial arrays have shapes {sorted(map(str, lengths))}; expected as many values each.",
            where=where,
        )
    if "start_s" not in table:
        raise DataError("there are trial arrays and no trial_start_s.", where=where)
    trials = pd.DataFrame(table)
    return trials.rename_axis("trial")
