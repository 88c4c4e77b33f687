"""Folders in the ALF naming of the International Brain Laboratory: spikes, clusters and trials."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError, MissingFileError
from cortexrnn.runs.files import read_bytes
from cortexrnn.runs.guard import limits_for_size, run_guarded
from cortexrnn.spikes.readers.clusters import QUALITY, UNLABELLED, ClusterSpikes, from_clusters
from cortexrnn.spikes.readers.npy import as_samples, as_vector, read_npy
from cortexrnn.spikes.readers.request import Request, choose_trials, sha256_of_files
from cortexrnn.spikes.readers.table import read_table
from cortexrnn.spikes.recording import NANOSECONDS_HZ, Recording
from cortexrnn.spikes.ticks import to_ticks

# [_namespace_]object.attribute[.more].extension
_NAME = re.compile(
    r"(?:_[A-Za-z0-9]+_)?(?P<object>spikes|clusters|trials)\.(?P<attribute>\w+)(?:\.[\w-]+)*\.(?P<kind>npy|csv|tsv|pqt)"
)
_WHAT = "an ALF folder"
_MAX_PARENTS = 3
_ROW = "row number"


def is_alf(folder: Path) -> bool:
    """Tell whether a folder holds the spike times and clusters of the ALF naming.

    Parameters
    ----------
    folder : Path
        Any folder.
    """
    found = _files(folder, "spikes")
    return "times" in found and "clusters" in found


def read_alf(request: Request) -> Recording:
    """Read an ALF folder.

    Parameters
    ----------
    request : Request
        The folder with ``spikes.times.npy``. ``select={"quality": ...}`` as for Phy.

    Returns
    -------
    Recording
        Unit ids are cluster numbers; `quality` is "good" where the label of clusters.metrics is 1,
        else "mua" (or what ``ks2_label`` says where there is no label). Trials come from the folder
        or, inside a folder called alf, from those above it.

    Raises
    ------
    DataError
        If files are damaged or do not fit each other.
    OptionError
        If no cluster has a wanted label, or an option is of no use.
    """
    folder = request.path
    spikes, clusters = _files(folder, "spikes"), _files(folder, "clusters")
    times, cluster = (read_npy(spikes[name]) for name in ("times", "clusters"))
    cluster = as_samples(cluster, where=str(spikes["clusters"]))
    notes: list[str] = []
    table = _clusters(clusters, cluster, notes)
    used = [spikes["times"], spikes["clusters"], *clusters.values()]
    trials_in = _trials_folder(folder)
    tables = {}
    if trials_in is not None:
        trials = _trials(_files(trials_in, "trials"), notes)
        tables = {"trials": trials} if trials is not None else {}
        used += _files(trials_in, "trials").values()
    trials, without_unit = choose_trials(tables, request, _WHAT)
    sorted_spikes = ClusterSpikes(
        ticks=to_ticks(as_vector(times, where=str(spikes["times"])), NANOSECONDS_HZ, str(spikes["times"])),
        cluster=cluster,
        clusters=table,
        tick_hz=NANOSECONDS_HZ,
    )
    top = trials_in or folder
    attrs = {
        "columns_without_unit": without_unit,
        "notes": notes,
        "sha256": sha256_of_files(top, [path.relative_to(top).as_posix() for path in used]),
    }
    return from_clusters(sorted_spikes, request, trials=trials, attrs=attrs)


def _files(folder: Path, kind: str) -> dict[str, Path]:
    """Return the files of one object by attribute; a table in plain text comes before one in parquet."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or match["object"] != kind or not path.is_file():
            continue
        before = found.get(match["attribute"])
        if before is None or before.suffix == ".pqt":
            found[match["attribute"]] = path
        elif match["kind"] != "pqt":
            raise DataError(
                f"two files hold the same: {before.name} and {path.name}.",
                where=str(folder),
                hint="Keep one of them in the folder.",
            )
    return found


def _clusters(files: dict[str, Path], cluster: np.ndarray, notes: list[str]) -> pd.DataFrame:
    """Return one row a cluster with its label, its uuid and the vectors that have a value for each."""
    ids = set(np.unique(cluster).tolist())
    metrics = _table(files["metrics"], notes) if "metrics" in files else None
    if metrics is not None:
        metrics = _indexed(metrics, str(files["metrics"]))
        ids.update(metrics.index.tolist())
    n_rows = max(ids, default=-1) + 1
    frame = pd.DataFrame(index=pd.Index(sorted(ids), name="unit"))
    if metrics is not None:
        frame = frame.join(metrics.drop(columns=[QUALITY], errors="ignore"))
    for name, path in files.items():
        values = None
        if path.suffix == ".npy":
            values = read_npy(path)
        elif name == "uuids":
            uuids = _table(path, notes)
            values = None if uuids is None else uuids.iloc[:, 0].to_numpy()
        # Row k of these belongs to cluster k; anything wider than one value a cluster is no metadata.
        if values is not None and values.ndim == 1 and values.size >= n_rows:
            frame["uuid" if name == "uuids" else name] = values[frame.index]
        elif values is not None:
            notes.append(f"{path.name} has no single value a cluster and is left out")
    return frame.assign(**{QUALITY: _labels(frame)})


def _labels(frame: pd.DataFrame) -> list[str]:
    """Return "good" or "mua" by the label of the metrics (1 passes all of them), else what Kilosort said."""
    if "label" in frame:
        passed = pd.to_numeric(frame["label"], errors="coerce")
        return [UNLABELLED if np.isnan(value) else "good" if value == 1.0 else "mua" for value in passed]
    if "ks2_label" in frame:
        return [UNLABELLED if pd.isna(value) else str(value).strip().lower() for value in frame["ks2_label"]]
    return [UNLABELLED] * len(frame)


def _indexed(metrics: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the metrics indexed by cluster: by their own column of ids, or row k for cluster k."""
    name = next((name for name in ("cluster_id", "cluster", "id") if name in metrics), None)
    if name is None:
        return metrics.set_axis(pd.RangeIndex(len(metrics)))
    ids = as_samples(pd.to_numeric(metrics[name], errors="coerce").to_numpy(), where=where)
    if len(set(ids.tolist())) < ids.size:
        raise DataError("a cluster is listed twice.", where=where)
    return metrics.drop(columns=name).set_axis(pd.Index(ids))


def _table(path: Path, notes: list[str]) -> pd.DataFrame | None:
    """Return a table in text or, where pyarrow is installed, in parquet; a note where it is not."""
    if path.suffix == ".pqt":
        if importlib.util.find_spec("pyarrow") is None:
            notes.append(f"{path.name} needs pyarrow, which is not installed, and is left out")
            return None
        return _parquet(path)
    content = read_bytes(path)
    # The first column of a table that pandas wrote is the row number and has no name.
    table = read_table(_ROW.encode() + content if content.startswith(b",") else content, where=str(path))
    columns: dict[str, Any] = {}
    for name in table.columns:
        try:
            columns[name] = table.numbers(name)
        except DataError:
            columns[name] = table.columns[name]
    columns.pop(_ROW, None)
    return pd.DataFrame(columns)


def _parquet(path: Path) -> pd.DataFrame:
    """Return a parquet table's columns of numbers and text, read in the guarded child."""
    limits = limits_for_size(path.stat().st_size)
    columns = run_guarded(
        "cortexrnn.spikes.readers.parquet:read_parquet",
        {"path": str(path.resolve()), "max_bytes": limits.memory_bytes},
        limits=limits,
        where=str(path),
    )
    return pd.DataFrame(columns)


def _trials_folder(folder: Path) -> Path | None:
    """Return the nearest folder with trials: this one, or one above it up to the one called alf."""
    here = folder.resolve()
    candidates = [folder]
    parents = list(here.parents)[:_MAX_PARENTS]
    top = next((k for k, parent in enumerate(parents) if parent.name == "alf"), None)
    if here.name != "alf" and top is not None:
        candidates += parents[: top + 1]
    return next((path for path in candidates if _files(path, "trials")), None)


def _trials(files: dict[str, Path], notes: list[str]) -> pd.DataFrame | None:
    """Return the trials from a table and from vectors, with the columns that ALF names."""
    columns: dict[str, Any] = {}
    if "table" in files:
        table = _table(files["table"], notes)
        columns |= {} if table is None else {str(name): table[name].to_numpy() for name in table.columns}
    for name, path in files.items():
        if path.suffix != ".npy":
            continue
        values = read_npy(path)
        if name == "intervals" and values.ndim == 2 and values.shape[1] == 2:
            columns |= {"intervals_0": values[:, 0], "intervals_1": values[:, 1]}
        elif values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1):
            columns.setdefault(name, values.ravel())
        else:
            notes.append(f"{path.name} has no single value a trial and is left out")
    if not columns:
        return None
    where = str(next(iter(files.values())).parent)
    if "intervals_0" not in columns or "intervals_1" not in columns:
        raise MissingFileError("there are trials files and no trials.intervals.npy.", where=where)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"the trials files have different lengths: {lengths}.", where=where)
    edges = {
        "start_s": np.asarray(columns.pop("intervals_0"), dtype=float),
        "stop_s": np.asarray(columns.pop("intervals_1"), dtype=float),
    }
    return pd.DataFrame({**edges, **columns}).rename_axis("trial")
