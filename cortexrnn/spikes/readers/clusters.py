"""Sorted spikes: which clusters are kept by their quality labels, and a recording of those that are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError, DataWarning, OptionError
from cortexrnn.spikes.readers.request import Request
from cortexrnn.spikes.recording import Recording

QUALITY = "quality"
UNLABELLED = "unlabelled"
_ALL = "all"


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class ClusterSpikes:
    """Spikes with a cluster each.

    Attributes
    ----------
    ticks : ndarray of int64, shape (n_spikes,)
        Times on the sample clock.
    cluster : ndarray, shape (n_spikes,)
        Id of each spike's cluster.
    clusters : pandas.DataFrame
        One row a cluster, indexed by id; column `quality`, and any others.
    tick_hz : float
        Ticks per second.
    kept : tuple of str
        Labels that are kept unless the caller names others.
    is_strict : bool
        Whether finding none of them is an error; otherwise all clusters are kept with a warning.
    """

    ticks: np.ndarray
    cluster: np.ndarray
    clusters: pd.DataFrame
    tick_hz: float
    kept: tuple[str, ...] = ("good",)
    is_strict: bool = True


def from_clusters(spikes: ClusterSpikes, request: Request, **given: Any) -> Recording:
    """Make a recording of the clusters whose quality is wanted.

    Parameters
    ----------
    spikes : ClusterSpikes
        All of them.
    request : Request
        ``select={"quality": ...}`` names the labels to keep, separated by commas, or "all".
    **given : Any
        `trials`, `observed_s` and `attrs` as `Recording.from_arrays` takes them.

    Returns
    -------
    Recording
        Clusters are units; `attrs["notes"]` says how many of which label were left out.

    Raises
    ------
    DataError
        If times and clusters differ in number.
    OptionError
        If no cluster has a wanted label.

    Warns
    -----
    DataWarning
        If no cluster has one of the default labels and all are kept.
    """
    if spikes.ticks.shape != spikes.cluster.shape:
        raise DataError(
            f"{spikes.ticks.size} spike times and {spikes.cluster.size} cluster numbers; expected as many.",
            where=request.where,
        )
    is_kept, notes = choose_quality(spikes, request)
    table = spikes.clusters.loc[is_kept]
    ids = np.array(table.index.tolist(), dtype=spikes.cluster.dtype if not len(table) else None)
    order = np.argsort(spikes.cluster, kind="stable")
    sorted_ids = spikes.cluster[order]
    starts, stops = (np.searchsorted(sorted_ids, ids, side=side) for side in ("left", "right"))
    per_unit = [spikes.ticks[order[a:b]] / spikes.tick_hz for a, b in zip(starts, stops, strict=True)]
    attrs = dict(given.pop("attrs", {}))
    recording = Recording.from_arrays(
        per_unit,
        unit_ids=ids.tolist(),
        tick_hz=spikes.tick_hz,
        attrs={**attrs, "notes": [*attrs.get("notes", []), *notes]},
        **given,
    )
    return replace(recording, units=table.set_axis(recording.units.index))


def choose_quality(spikes: ClusterSpikes, request: Request) -> tuple[np.ndarray, list[str]]:
    """Tell which clusters have a wanted label.

    Parameters
    ----------
    spikes : ClusterSpikes
        With the column `quality`.
    request : Request
        See `from_clusters`.

    Returns
    -------
    is_kept : ndarray of bool, shape (n_clusters,)
        Clusters to keep.
    notes : list of str
        What was left out.

    Raises
    ------
    OptionError
        If no cluster has a wanted label.
    """
    labels = spikes.clusters[QUALITY].astype(str)
    wanted = _wanted(request.select.get(QUALITY))
    if wanted == (_ALL,):
        return np.ones(len(labels), dtype=bool), []
    if wanted is None and (labels == UNLABELLED).all():
        return np.ones(len(labels), dtype=bool), ["no unit has a quality label; all are kept"]
    kept = spikes.kept if wanted is None else wanted
    is_kept = labels.isin(kept).to_numpy()
    left_out = _counted(labels[~is_kept])
    if is_kept.any():
        return is_kept, [f"left out by their quality: {left_out}"] if left_out else []
    if wanted is None and not spikes.is_strict:
        message = f"{request.path}: no unit is {' or '.join(kept)}; all are kept ({left_out})."
        warnings.warn(DataWarning(message), stacklevel=2)
        return ~is_kept, []
    raise OptionError(
        f"no unit has quality {' or '.join(kept)}.",
        where=request.where,
        hint=f"There are {left_out}; select={{'quality': 'all'}} reads every unit.",
    )


def _wanted(value: Any) -> tuple[str, ...] | None:
    """Return the wanted labels from one text with commas or from a sequence; None for the default."""
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence):
        parts = [parts]
    return tuple(str(part).strip() for part in parts)


def _counted(labels: pd.Series) -> str:
    """Say how many units have which label."""
    return ", ".join(f"{n} {label}" for label, n in labels.value_counts().sort_index().items())
