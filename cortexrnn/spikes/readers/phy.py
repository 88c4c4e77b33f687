"""Folders of Phy and Kilosort: spike samples, clusters and their quality labels; params.py is only looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError, MissingFileError, OptionError, TimeUnitError
from cortexrnn.runs.files import read_bytes
from cortexrnn.spikes.readers.clusters import QUALITY, UNLABELLED, ClusterSpikes, from_clusters
from cortexrnn.spikes.readers.npy import as_samples, read_npy
from cortexrnn.spikes.readers.request import Request, check_samples, sha256_of_files, trials_file, with_start
from cortexrnn.spikes.readers.table import TextTable, read_table
from cortexrnn.spikes.recording import Recording

SPIKE_TIMES = "spike_times.npy"
_CLUSTERS = ("spike_clusters.npy", "spike_templates.npy")
_PARAMS = "params.py"
_MAX_PARAMS = 65536
_LARGEST_RATE = 1e9
# One plain number and nothing else on the line: whatever could be computed is not read.
_SAMPLE_RATE = re.compile(
    r"^sample_rate[ \t]*=[ \t]*(\d+(?:\.\d*)?(?:[eE][+]?\d{1,2})?)[ \t]*(?:#.*)?\r?$", re.MULTILINE
)
_ID_NAMES = ("cluster_id", "id")
# Phy's own table of labels comes first, then those of Kilosort, then the summary that Phy writes when it saves.
_TABLES = ("cluster_group.tsv", "cluster_groups.csv", "cluster_KSLabel.tsv", "cluster_info.tsv")
_NO_LABEL = ("", "nan", "none", "unsorted")


def read_phy(request: Request) -> Recording:
    """Read a folder of Phy or Kilosort.

    Parameters
    ----------
    request : Request
        The folder. ``select={"quality": "good,mua"}`` keeps these labels; "good" by default.
        `sample_rate_hz` where params.py does not tell, `trials` a file.

    Returns
    -------
    Recording
        Unit ids are cluster ids; ticks are samples. What somebody chose by hand (`group`) counts
        more than what Kilosort said (`KSLabel`).

    Raises
    ------
    DataError
        If a file is missing, damaged, or does not fit the others.
    TimeUnitError
        If the sampling rate is not told.
    OptionError
        If no cluster has a wanted label, or options contradict the folder.
    """
    folder = request.path
    names = [SPIKE_TIMES, _cluster_file(folder)]
    ticks, cluster = (as_samples(read_npy(folder / name), where=str(folder / name)) for name in names)
    tables = [name for name in _TABLES if (folder / name).is_file()]
    rate = _sample_rate(request)
    trials, without_unit, _ = trials_file(request, sample_rate_hz=rate)
    spikes = ClusterSpikes(ticks=ticks, cluster=cluster, clusters=_clusters(folder, tables, cluster), tick_hz=rate)
    used = [*names, *tables, *([_PARAMS] if (folder / _PARAMS).is_file() else [])]
    return from_clusters(
        spikes,
        request,
        trials=with_start(trials, request.where),
        attrs={"columns_without_unit": without_unit, "sha256": sha256_of_files(folder, used)},
    )


def _cluster_file(folder: Path) -> str:
    """Return the name of the file that holds each spike's cluster."""
    found = next((name for name in _CLUSTERS if (folder / name).is_file()), None)
    if found is None:
        raise MissingFileError(f"the folder has {SPIKE_TIMES} and no {_CLUSTERS[0]}.", where=str(folder))
    return found


def _sample_rate(request: Request) -> float:
    """Return the sampling rate from params.py, read as text, or from the option."""
    told, path = request.time.sample_rate_hz, request.path / _PARAMS
    check_samples(request)
    text = read_bytes(path)[:_MAX_PARAMS].decode("utf-8", "replace") if path.is_file() else ""
    rates = {float(rate) for rate in _SAMPLE_RATE.findall(text)}
    if told is not None:
        if rates - {float(told)}:
            raise OptionError(
                f"sample_rate_hz={told:g} was given, and params.py says {', '.join(f'{r:g}' for r in sorted(rates))}.",
                where=request.where,
                hint="Leave it out, or correct params.py.",
            )
        return float(told)
    if len(rates) != 1 or not 0.0 < min(rates) <= _LARGEST_RATE:
        found = ", ".join(f"{rate:g}" for rate in sorted(rates)) or "none"
        raise TimeUnitError(
            f"params.py gives {found} for sample_rate; expected one plain positive number.",
            where=request.where,
            hint="Give sample_rate_hz, for example sample_rate_hz=30000.",
        )
    return rates.pop()


def _clusters(folder: Path, tables: list[str], cluster: np.ndarray) -> pd.DataFrame:
    """Return one row a cluster, in the order of the ids, with its labels and what else the tables say."""
    columns: dict[str, dict[int, Any]] = {}
    known: set[int] = set(np.unique(cluster).tolist())
    for name in tables:
        table = _read_labels(folder / name)
        if table is None:
            continue
        ids = _cluster_ids(table)
        known.update(ids)
        for column in table.columns:
            if column not in _ID_NAMES:
                values = dict(zip(ids, _numbers_or_text(table, column), strict=True))
                # The first table that knows a cluster's value wins.
                columns[column] = {**values, **columns.get(column, {})}
    frame = pd.DataFrame(index=pd.Index(sorted(known), name="unit"))
    for column, values in columns.items():
        frame[column] = [values.get(unit) for unit in frame.index]
    labels = [_label(columns, unit) for unit in frame.index]
    return frame.drop(columns=QUALITY, errors="ignore").assign(**{QUALITY: labels})


def _read_labels(path: Path) -> TextTable | None:
    """Return a table of labels; None for one that has a header and no rows."""
    content = read_bytes(path)
    if len(content.split()) == 0 or b"\n" not in content.strip():
        return None
    return read_table(content, where=str(path))


def _cluster_ids(table: TextTable) -> list[int]:
    """Return the cluster ids of a table."""
    name = next((name for name in _ID_NAMES if name in table.columns), None)
    if name is None:
        columns = ", ".join(table.columns)
        raise DataError(f"there is no column cluster_id; the columns are {columns}.", where=table.where)
    ids = as_samples(table.numbers(name), where=table.where).tolist()
    if len(set(ids)) < len(ids):
        raise DataError("a cluster is listed twice.", where=table.where)
    return ids


def _numbers_or_text(table: TextTable, column: str) -> list[Any]:
    """Return a column as numbers where all cells are numbers, else as text."""
    try:
        return table.numbers(column).tolist()
    except DataError:
        return list(table.columns[column])


def _label(columns: Mapping[str, Mapping[int, Any]], unit: int) -> str:
    """Return a cluster's label: the one that was chosen by hand, else Kilosort's."""
    for name in ("group", "KSLabel"):
        label = str(columns.get(name, {}).get(unit, "")).strip().lower()
        if label not in _NO_LABEL:
            return label
    return UNLABELLED
