"""Trajectories and points in the plane in which most of the movement is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from cortexrnn.theory.fixed_points import FixedPoints

# A point with more unstable directions than this shows none of them: the plane would show few of them anyway.
_MAX_DIRECTIONS = 3


def project(found: FixedPoints, *, n_components: int = 2) -> xr.Dataset:
    """Project onto principal components of trajectories and points; states of two entries stay what they are.

    Parameters
    ----------
    found : FixedPoints
    n_components : int
        At most as many as the state has entries; a plane of a state with one entry has zeros for its second.

    Returns
    -------
    xarray.Dataset
        Over `pc`: `share` of the variance; attribute `labels`, one a component. `paths` over (path, time, pc), `points`
        over (point, pc) with `kind` and `index`, `slow` over (slow, pc), and `direction` over (arrow, pc), the
        projections of the unit vectors of unstable directions, with `arrow_point`, the point that each belongs to.
    """
    data = found.data
    size = found.system.size
    paths, points = data["paths"].values, data["states"].values
    cloud = np.concatenate([paths.reshape(-1, size), points])
    mean = cloud.mean(axis=0)
    _, values, axes = np.linalg.svd(cloud - mean, full_matrices=False)
    n = min(n_components, len(axes))
    axes = np.vstack([axes[:n], np.zeros((n_components - n, size))])
    # The sign of a component means nothing; its largest entry is positive here.
    axes *= np.where(axes[np.arange(n_components), np.abs(axes).argmax(axis=1)] < 0.0, -1.0, 1.0)[:, None]
    share = np.append(values[:n] ** 2, np.zeros(n_components - n)) / max(float((values**2).sum()), np.finfo(float).tiny)
    labels = [f"component {k + 1} ({100.0 * part:.0f} %)" for k, part in enumerate(share)]
    if size == n_components == 2:
        # A plane needs no projection.
        axes, mean, labels = np.eye(2), np.zeros(2), found.system.labels
    owner, directions = _unstable_directions(found)
    return xr.Dataset(
        {
            "share": ("pc", share),
            "paths": (("path", "time", "pc"), (paths - mean) @ axes.T),
            "points": (("point", "pc"), (points - mean) @ axes.T),
            "kind": ("point", data["kind"].values),
            "index": ("point", data["index"].values),
            "slow": (("slow", "pc"), (data["slow_states"].values - mean) @ axes.T),
            "direction": (("arrow", "pc"), directions @ axes.T),
            "arrow_point": ("arrow", owner),
        },
        attrs={"system": found.system.name, "labels": labels},
    )


def _unstable_directions(found: FixedPoints) -> tuple[np.ndarray, np.ndarray]:
    """Give the points with few unstable directions, once for each, and these directions as unit vectors."""
    system, data = found.system, found.data
    some = np.flatnonzero((data["index"].values > 0) & (data["index"].values <= _MAX_DIRECTIONS))
    if not some.size:
        return some, np.empty((0, system.size))
    x = data["states"].values[some]
    if system.is_flow:
        values, vectors = np.linalg.eig(system.velocity_jacobian(x))
        growth = values.real
    else:
        values, vectors = np.linalg.eig(system.jacobian(x))
        growth = np.abs(values)
    owner, directions = [], []
    for k, point in enumerate(some):
        # Of a pair of complex modes the real and the imaginary part span the plane.
        for mode in np.argsort(-growth[k], kind="stable")[: data["index"].values[point]]:
            vector = vectors[k, :, mode]
            part = vector.imag if values[k, mode].imag < 0.0 else vector.real
            owner.append(point)
            directions.append(part / max(float(np.linalg.norm(part)), np.finfo(float).tiny))
    return np.array(owner, int), np.array(directions).reshape(-1, system.size)
