"""Sortings that SpikeInterface saves: its npz, and the folders of the formats numpy_folder and npz_folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError
from cortexrnn.runs.files import read_bytes
from cortexrnn.spikes.readers.clusters import QUALITY, UNLABELLED, ClusterSpikes, from_clusters
from cortexrnn.spikes.readers.npy import as_samples, read_npy
from cortexrnn.spikes.readers.npz import read_members
from cortexrnn.spikes.readers.request import (
    Request,
    check_rate,
    check_samples,
    sha256_of_files,
    trials_file,
    with_start,
)
from cortexrnn.spikes.recording import Recording

NUMPY_INFO, NPZ_CACHE = "numpysorting_info.json", "sorting_cached.npz"
_SPIKES = "spikes.npy"
_PROPERTIES = "properties"
_LABELS = (QUALITY, "KSLabel", "group")
_MAX_JSON = 64 * 2**20


def is_archive(arrays: dict[str, np.ndarray]) -> bool:
    """Tell whether an archive was written by NpzSortingExtractor.

    Parameters
    ----------
    arrays : dict of str to ndarray
        All arrays of the archive.
    """
    return {"unit_ids", "num_segment", "sampling_frequency"} <= set(arrays)


def from_archive(arrays: dict[str, np.ndarray], request: Request) -> Recording:
    """Make a recording of the arrays that NpzSortingExtractor writes.

    Parameters
    ----------
    arrays : dict of str to ndarray
        All arrays of the archive.
    request : Request
        `trials` may be a file.

    Returns
    -------
    Recording
        Ticks are samples.

    Raises
    ------
    DataError
        If there are several segments, or arrays do not fit each other.
    """
    ids, rate, samples, labels = _parts(arrays, request.where)
    table = pd.DataFrame({QUALITY: UNLABELLED}, index=pd.Index(ids, name="unit"))
    return _recording(samples, labels, table, rate, request)


def read_folder(request: Request) -> Recording:
    """Read the folder of a saved sorting.

    Parameters
    ----------
    request : Request
        The folder. ``select={"quality": "all"}`` and the like as for Phy, where the sorting has a
        property "quality", "KSLabel" or "group".

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        If files are damaged or do not fit each other, or there are several segments.
    """
    folder = request.path
    if (folder / NPZ_CACHE).is_file():
        arrays = read_members(folder / NPZ_CACHE)
        if not is_archive(arrays):
            raise DataError("the archive was not written by NpzSortingExtractor.", where=str(folder / NPZ_CACHE))
        ids, rate, samples, labels = _parts(arrays, str(folder / NPZ_CACHE))
        used = [NPZ_CACHE]
    else:
        info = _info(folder / NUMPY_INFO)
        ids, rate = info["unit_ids"], float(info["sampling_frequency"])
        _check_segments(info["num_segments"], request.where)
        samples, labels = _rows(folder / _SPIKES, ids)
        used = [NUMPY_INFO, _SPIKES]
    table, files = _properties(folder, ids)
    return _recording(samples, labels, table, rate, request, sha256_of_files(folder, [*used, *files]))


def _recording(
    samples: np.ndarray, labels: np.ndarray, table: pd.DataFrame, rate: float, request: Request, sha256: str = ""
) -> Recording:
    """Make the recording after checking that every spike has a unit."""
    if not 0.0 < rate < float("inf"):
        raise DataError(f"the sampling frequency is {rate}; expected a positive number.", where=request.where)
    check_samples(request)
    check_rate(request, request.time.sample_rate_hz == rate)
    if not table.index.is_unique or not np.isin(labels, table.index.to_numpy()).all():
        raise DataError("unit ids are repeated, or spikes belong to none of them.", where=request.where)
    trials, without_unit, _ = trials_file(request, sample_rate_hz=rate)
    spikes = ClusterSpikes(ticks=as_samples(samples, where=request.where), cluster=labels, clusters=table, tick_hz=rate)
    attrs: dict[str, Any] = {"columns_without_unit": without_unit}
    if sha256:
        attrs["sha256"] = sha256
    return from_clusters(spikes, request, trials=with_start(trials, request.where), attrs=attrs)


def _parts(arrays: dict[str, np.ndarray], where: str) -> tuple[list[Any], float, np.ndarray, np.ndarray]:
    """Return unit ids, sampling rate, samples and labels of the one segment of an archive."""
    rate, n_segments = (_number(arrays, name, where) for name in ("sampling_frequency", "num_segment"))
    _check_segments(int(n_segments), where)
    samples, labels = arrays.get("spike_indexes_seg0"), arrays.get("spike_labels_seg0")
    if samples is None or labels is None:
        raise DataError("the archive has no spikes of segment 0.", where=where)
    ids = arrays["unit_ids"].ravel()
    # An empty array of labels loses its kind on the way through the file.
    return ids.tolist(), rate, samples, labels if samples.size else np.empty(0, dtype=ids.dtype)


def _rows(path: Path, ids: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and unit ids of the rows of spikes.npy."""
    rows = read_npy(path, has_fields=True)
    names = rows.dtype.names or ()
    if rows.ndim != 1 or not {"sample_index", "unit_index"} <= set(names):
        raise DataError("the rows have no sample_index and unit_index.", where=str(path))
    position = as_samples(rows["unit_index"], where=str(path))
    if position.size and position.max() >= len(ids):
        raise DataError(f"a spike belongs to unit {position.max()} of {len(ids)}.", where=str(path))
    return rows["sample_index"], np.array(ids)[position] if ids else position


def _info(path: Path) -> dict[str, Any]:
    """Return what the folder says about itself, checked."""
    content = read_bytes(path)
    if len(content) > _MAX_JSON:
        raise DataError(f"the file of {len(content)} bytes is too large for what it should say.", where=str(path))
    try:
        info = json.loads(content)
    except (ValueError, RecursionError):
        raise DataError("the file is no JSON.", where=str(path)) from None
    wanted: dict[str, Callable[[Any], bool]] = {
        "sampling_frequency": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        "num_segments": lambda value: isinstance(value, int),
        "unit_ids": lambda value: (
            isinstance(value, list)
            and (all(type(unit) is int for unit in value) or all(type(unit) is str for unit in value))
        ),
    }
    for name, is_right in wanted.items():
        if not isinstance(info, dict) or not is_right(info.get(name)):
            raise DataError(f"{name!r} is missing or of a wrong kind.", where=str(path))
    return info


def _properties(folder: Path, ids: list[Any]) -> tuple[pd.DataFrame, list[str]]:
    """Return one row a unit with the properties that are one value a unit, and the files they are from."""
    table = pd.DataFrame(index=pd.Index(ids, name="unit"))
    files = []
    for path in sorted((folder / _PROPERTIES).glob("*.npy")):
        values = read_npy(path)
        if values.shape == (len(ids),):
            table[path.stem] = values
            files.append(f"{_PROPERTIES}/{path.name}")
    name = next((name for name in _LABELS if name in table), None)
    labels = [UNLABELLED] * len(ids) if name is None else [str(label).strip().lower() for label in table[name]]
    return table.assign(**{QUALITY: labels}), files


def _number(arrays: dict[str, np.ndarray], name: str, where: str) -> float:
    """Return an array of one number."""
    values = arrays[name]
    if values.size != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise DataError(f"array {name!r} is no single number.", where=where)
    return float(values.ravel()[0])


def _check_segments(n_segments: int, where: str) -> None:
    """Refuse several segments, which have no common clock."""
    if n_segments != 1:
        raise DataError(
            f"the sorting has {n_segments} segments; expected one.",
            where=where,
            hint="Segments have no common clock: save one of them with select_segments.",
        )
