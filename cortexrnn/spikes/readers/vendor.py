"""From a vendor's file or folder, read by Neo in the guarded child, to a Recording."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError
from cortexrnn.runs.guard import MEBIBYTE, limits_for_size, run_guarded
from cortexrnn.spikes.readers.clusters import QUALITY, ClusterSpikes, from_clusters
from cortexrnn.spikes.readers.request import Request, choose_trials, sha256_of_files
from cortexrnn.spikes.recording import Recording

# What is read in a folder, by ending; signals stay closed.
FOLDER_ENDINGS = {
    "neuralynx": (".nse", ".ntt", ".nev"),
    "openephys": (".spikes", ".events", ".continuous"),
    "tdt": (".tsq", ".tbk", ".tev"),
}
# Neo walks Plexon's blocks one by one in Python: measured up to 1.8 s a MiB where they hold no waveforms.
_SECONDS_PER_MEBIBYTE = 3.0


def vendor_reader(kind: str) -> Callable[[Request], Recording]:
    """Give the reader of one vendor's format.

    Parameters
    ----------
    kind : str
        One of `cortexrnn.spikes.readers.neo_child`'s allow-list.

    Returns
    -------
    callable
        From a Request to a Recording.
    """

    def read(request: Request) -> Recording:
        return _read(kind, request)

    return read


def _read(kind: str, request: Request) -> Recording:
    """Read spikes, events and intervals; sorted units only, where any unit is sorted."""
    folder, names = _files(kind, request)
    n_bytes = sum((folder / name).stat().st_size for name in names)
    limits = limits_for_size(n_bytes)
    more_s = _SECONDS_PER_MEBIBYTE * n_bytes / MEBIBYTE
    is_folder = kind in FOLDER_ENDINGS
    tree = run_guarded(
        "cortexrnn.spikes.readers.neo_child:read_vendor",
        {"kind": kind, "path": str((folder if is_folder else request.path).resolve()), "names": names},
        limits=replace(limits, cpu_s=limits.cpu_s + more_s, wall_s=limits.wall_s + more_s),
        where=request.where,
    )
    ids = tree["unit_ids"]
    tables = {name: pd.DataFrame(columns).rename_axis("trial") for name, columns in tree["tables"].items()}
    trials, without_unit = choose_trials(tables, request, f"a {kind} file")
    clusters = pd.DataFrame({"channel": tree["channel"], QUALITY: tree["quality"]}, index=pd.Index(ids, name="unit"))
    spikes = ClusterSpikes(
        ticks=tree["ticks"],
        cluster=np.repeat(np.array(ids), np.diff(tree["offsets"])),
        clusters=clusters,
        tick_hz=tree["tick_hz"],
        kept=("sorted",),
        is_strict=False,
    )
    attrs = {"columns_without_unit": without_unit, "notes": tree["notes"]}
    if len(names) > 1 or is_folder:
        attrs["sha256"] = sha256_of_files(folder, names)
    recording = from_clusters(spikes, request, trials=trials, observed_s=tree["observed"], attrs=attrs)
    return replace(recording, tables=tables)


def _files(kind: str, request: Request) -> tuple[Path, list[str]]:
    """Return the folder and the names of the files in it that are read."""
    folder, name = request.path.parent, request.path.name
    if kind == "axona":
        beside = folder.glob(f"{glob.escape(request.path.stem)}.*")
        return folder, [name, *sorted(path.name for path in beside if path.suffix[1:].isdigit())]
    if not request.path.is_dir():
        return folder, [name]
    endings = FOLDER_ENDINGS[kind]
    found = [path.name for path in sorted(request.path.iterdir()) if path.suffix.lower() in endings and path.is_file()]
    if not found:
        raise DataError(f"the folder has no files of {', '.join(endings)}.", where=request.where)
    return request.path, found
