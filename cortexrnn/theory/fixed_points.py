"""Fixed and slow points of any system: where they are, how sure that is, which are stable, what was not found."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import NumericalWarning
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.modes import (
    count_growing,
    count_unstable,
    flow_exponents,
    map_tau_s,
    modes,
    warn_of_disagreement,
)
from cortexrnn.theory.root_search import DIVERGED, OUTCOMES, POINT, SINGULAR, SLOW, UNFINISHED, Roots, search_roots
from cortexrnn.theory.system import System, as_system

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STABLE, SADDLE, REPELLER = "stable", "saddle", "repeller"
POINTS, CONTINUUM, NO_POINTS, DIVERGES = "points", "continuum", "no points", "diverges"

_N_TRAJECTORIES, _N_STEPS = 64, 500
# Trajectories and times that are kept for figures.
_N_PATHS, _N_PATH_TIMES = 24, 200
# How far mixtures of two states reach beyond either, and the box beyond all states, relative to what is between.
_BEYOND = 0.25
# A state of a trajectory that is this much larger than all starts has left, and its trajectory is not followed.
_FAR = 1e6
# Two results are one point if they are nearer, relative to their size: for points in units of the tolerance. At a
# singular point the state is known to the root of the round-off only, and at a minimum of q hardly better.
_SAME_POINT, _SAME_SINGULAR, _SAME_SLOW = 100.0, 1e-6, 1e-3
# A Jacobian is singular if its smallest singular value is below this share of its largest or of those elsewhere. Where
# two points merge, a state that is known to the root of the round-off has a share like that.
_SINGULAR_SHARE = 1e-7
# Starts at which the Jacobian's usual scale is taken.
_N_SCALE = 16
# Singular points from which on they are called a line of them.
_MANY = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class FixedPoints:
    """What `fixed_points` found.

    Attributes
    ----------
    system : System
    data : xarray.Dataset
        Over (point, state): `states`. Over point: `residual`, the largest entry of ``step(x) - x``; `correction`, the
        largest entry of the last Newton step, which estimates the distance to the true point (NaN where `kind` is
        "singular"); `index`, the number of unstable directions (of the flow where there is one); `map_index`, of the
        map; `kind`: "stable", "saddle", "repeller" or "singular"; `n_starts` that led there. Over (point, mode):
        `multiplier` of the map and, of a flow, `exponent_per_s`. Over (slow, state): `slow_states`, minima of
        ``q = 1/2 |step(x) - x|^2`` that are no points, with `slow_q`, `slow_speed_per_s` (``|step(x) - x| / dt``)
        and `slow_n_starts`. Over start: `outcome` (see `cortexrnn.theory.root_search.Roots`), and `ends_at`, the
        number of the point, or -1. Over (path, time, state): `paths`, some of the trajectories that the starts are
        from.
    """

    system: System
    data: xr.Dataset

    @property
    def states(self) -> np.ndarray:
        """States of the points, shape (n_points, size), the fewest unstable directions first."""
        return self.data["states"].values

    @property
    def verdict(self) -> str:
        """Give the outcome in a word.

        Returns
        -------
        {"points", "continuum", "no points", "diverges"}
            "continuum": there are several points at which the Jacobian is singular, as on a line of points.
            "diverges": no point, and starts or trajectories that left.
        """
        kinds = self.data["kind"].values
        if (kinds == SINGULAR).sum() >= _MANY:
            return CONTINUUM
        if kinds.size:
            return POINTS
        has_left = self.data.attrs["n_diverging_trajectories"] or (self.data["outcome"].values == DIVERGED).any()
        return DIVERGES if has_left else NO_POINTS

    @property
    def counts(self) -> dict[str, int]:
        """Starts by outcome: the report on convergence."""
        outcomes = self.data["outcome"].values
        return {name: int((outcomes == name).sum()) for name in OUTCOMES}

    @property
    def table(self) -> pd.DataFrame:
        """One row a point: kind, index, starts that led there, residual, and the mode of the largest multiplier."""
        columns = ("kind", "index", "map_index", "n_starts", "residual", "correction")
        table = pd.DataFrame({name: self.data[name].values for name in columns})
        multiplier = self.data["multiplier"].values
        slowest = multiplier[np.arange(len(multiplier)), np.abs(multiplier).argmax(axis=1)]
        table["tau_s"] = map_tau_s(slowest, self.system.dt_s)
        table["frequency_hz"] = np.abs(np.angle(slowest)) / (2.0 * np.pi * self.system.dt_s)
        return table.rename_axis("point")

    def select(self, kind: str) -> np.ndarray:
        """Give the states of the points of one kind, shape (n, size)."""
        return self.states[self.data["kind"].values == kind]

    def modes(self, *, has_vectors: bool = True) -> xr.Dataset:
        """Give time constants and frequencies of all points' modes: `cortexrnn.theory.modes.modes`."""
        found = modes(self.system, self.states, has_vectors=has_vectors)
        return found.assign_coords(kind=("point", self.data["kind"].values))

    def summary(self) -> str:
        """Write in a few lines what was found and what was not."""
        kinds, counts = self.data["kind"].values, self.counts
        parts = [f"{(kinds == kind).sum()} {kind}" for kind in (STABLE, SADDLE, REPELLER, SINGULAR)]
        lines = [
            f"{self.system.name}: {self.verdict}; {kinds.size} points ({', '.join(parts)}) "
            f"and {self.data.sizes['slow']} slow points.",
            f"Of {self.data.sizes['start']} starts {counts[POINT]} ended at a point, {counts[SINGULAR]} at a singular "
            f"one, {counts[SLOW]} at a slow one; {counts[UNFINISHED]} did not finish, {counts[DIVERGED]} diverged.",
        ]
        if self.data.sizes["slow"]:
            q = self.data["slow_q"].values
            lines.append(f"q of the slow points: {q.min():.2g} to {q.max():.2g}.")
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw trajectories and points in the plane of the trajectories' two largest principal components.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.dynamics import plot_fixed_points
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.theory.projection import project

        return plot_fixed_points(ax or own_axes(), project(self))


def fixed_points(
    thing: Any,
    inputs: Any = None,
    *,
    n_starts: int = 512,
    seed: int = 0,
    tolerance: float = 1e-9,
    starts: np.ndarray | None = None,
) -> FixedPoints:
    """Find fixed and slow points from many starts.

    Half of the starts are states of the system's own trajectories. A quarter lies on lines through two such states and
    a quarter anywhere in a box around all of them, which is where saddles are. A cycle of the map is no point and is
    not returned.

    Parameters
    ----------
    thing : System, or what `as_system` takes
        A circuit, a trained or a fitted network.
    inputs : mapping of str to float, or array_like, shape (n_inputs,), optional
        Levels at which the inputs are held: by name of a circuit, in their order of a trained network. Zero if not
        given, and settled already where `thing` is a System.
    n_starts : int
        How many starts to draw.
    seed : int
        Of the starts.
    tolerance : float
        A point is a state whose residual and whose last Newton step are at most this, relative to 1 + max|x|.
    starts : array_like, shape (n, size), optional
        Further starts, such as states of a network at its task. They come first in the result.

    Returns
    -------
    FixedPoints

    Raises
    ------
    OptionError
        If an argument is not valid.
    DataError
        If `starts` do not fit the system.

    Warns
    -----
    NumericalWarning
        If there is no point or a singular one, or the map and the flow disagree about stability.

    Notes
    -----
    Slow points are those of Sussillo and Barak (2013), doi:10.1162/NECO_a_00409. A point counts as found only if whole
    Newton steps in float64 have brought both the residual and the step below the tolerance. Where the Jacobian is
    singular no step tells how near a root is: such results are of the kind "singular" and their residual is round-off.
    """
    system = as_system(thing) if inputs is None else as_system(thing, inputs=inputs)
    check_count("n_starts", n_starts, at_least=1 if starts is None else 0)
    check_positive("tolerance", tolerance)
    given = np.empty((0, system.size)) if starts is None else system.check_states(starts)
    # Products of a batch this small are slower on several threads, and much slower where others use the cores too.
    with threadpool_limits(1):
        drawn, paths, n_diverging = _draw_starts(system, n_starts, seed)
        roots = search_roots(system, np.concatenate([given, drawn]), tolerance=tolerance)
        data = _collect(system, roots, drawn if n_starts else given, tolerance)
    data["paths"] = ("path", "time", "state"), paths
    data.attrs.update(system=system.name, dt_s=system.dt_s, seed=seed, tolerance=tolerance)
    data.attrs["n_diverging_trajectories"] = n_diverging
    found = FixedPoints(system=system, data=data)
    _warn(found)
    return found


def _draw_starts(system: System, n_starts: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Give starts, some paths, and how many trajectories left the finite numbers."""
    rng = stream(seed, "theory", "fixed points")
    x = system.start(_N_TRAJECTORIES, seed=seed)
    far = _FAR * (1.0 + np.abs(x).max())
    # Early times too: that is where trajectories are apart. As many again for what is between them.
    when = np.sort(rng.integers(0, _N_STEPS + 1, 2 * n_starts))
    who = rng.integers(0, _N_TRAJECTORIES, 2 * n_starts)
    stride = max(_N_STEPS // _N_PATH_TIMES, 1)
    samples, paths = np.empty((2 * n_starts, system.size)), []
    is_here = np.ones(_N_TRAJECTORIES, bool)
    for t in range(_N_STEPS + 1):
        now = when == t
        samples[now] = x[who[now]]
        if t % stride == 0:
            paths.append(x[:_N_PATHS])
        with np.errstate(over="ignore", invalid="ignore"):
            after = system.step(x)
            is_here &= np.isfinite(after).all(axis=1) & (np.abs(after).max(axis=1) < far)
        x = np.where(is_here[:, None], after, x)
    samples = rng.permutation(samples)
    n_mixed, n_boxed = n_starts // 4, n_starts // 4
    a, b = samples[n_starts : n_starts + n_mixed], samples[n_starts + n_mixed : n_starts + 2 * n_mixed]
    mixed = a + rng.uniform(-_BEYOND, 1.0 + _BEYOND, (n_mixed, 1)) * (b - a)
    low, high = samples.min(axis=0, initial=np.inf), samples.max(axis=0, initial=-np.inf)
    boxed = low + rng.uniform(-_BEYOND, 1.0 + _BEYOND, (n_boxed, system.size)) * (high - low)
    starts = np.concatenate([samples[: n_starts - n_mixed - n_boxed], mixed, boxed])
    return starts, np.stack(paths, axis=1), int((~is_here).sum())


def _collect(system: System, roots: Roots, starts: np.ndarray, tolerance: float) -> xr.Dataset:
    """Merge what is the same, and describe every point."""
    outcome, states = roots.outcome.copy(), roots.states
    some = np.flatnonzero(outcome == POINT)
    group = merge(states[some], _SAME_POINT * tolerance)
    chosen = _best(some, group, roots.correction)
    # Newton's steps also end on lines of points, and where two points have merged.
    outcome[some[_are_singular(system, states[chosen], starts)[group]]] = SINGULAR
    label, kept = np.full(outcome.size, -1), np.empty(0, int)
    for name, distance, measure in (
        (POINT, _SAME_POINT * tolerance, roots.correction), (SINGULAR, _SAME_SINGULAR, roots.residual),
    ):  # fmt: skip
        some = np.flatnonzero(outcome == name)
        group = merge(states[some], distance)
        label[some] = len(kept) + group
        kept = np.concatenate([kept, _best(some, group, measure)])
    data = _describe(system, states[kept], outcome[kept] == SINGULAR)
    data["residual"] = "point", roots.residual[kept]
    data["correction"] = "point", np.where(outcome[kept] == SINGULAR, np.nan, roots.correction[kept])
    data["n_starts"] = "point", np.bincount(label[label >= 0], minlength=kept.size)
    order = np.lexsort((-data["n_starts"].values, data["index"].values, data["kind"].values == SINGULAR))
    rank = np.append(np.argsort(order), -1)
    data = data.isel(point=order)
    data["outcome"], data["ends_at"] = ("start", outcome), ("start", rank[label])
    return data.merge(_slow(system, roots))


def _best(some: np.ndarray, group: np.ndarray, measure: np.ndarray) -> np.ndarray:
    """Give of every group the member with the smallest measure."""
    order = np.lexsort((measure[some], group))
    return some[order[np.searchsorted(group[order], np.arange(group.max(initial=-1) + 1))]]


def _are_singular(system: System, x: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Tell at which points the Jacobian of ``step(x) - x`` is singular, on the scale that it has elsewhere."""
    if not len(x):
        return np.zeros(0, bool)
    eye = np.eye(system.size)
    values = np.linalg.svd(system.jacobian(x) - eye, compute_uv=False)
    scale = np.median(np.linalg.norm(system.jacobian(starts[:_N_SCALE]) - eye, ord=2, axis=(1, 2)))
    return values[:, -1] <= _SINGULAR_SHARE * np.maximum(values[:, 0], scale)


def _describe(system: System, x: np.ndarray, is_singular: np.ndarray) -> xr.Dataset:
    """Give the points with their eigenvalues, indices and kinds."""
    data = xr.Dataset({"states": (("point", "state"), x)}, coords={"state": system.labels})
    if not len(x):
        nothing = np.empty((0, system.size), complex)
        data["multiplier"] = ("point", "mode"), nothing
        if system.is_flow:
            data["exponent_per_s"] = ("point", "mode"), nothing
        data["index"], data["map_index"] = ("point", np.zeros(0, int)), ("point", np.zeros(0, int))
        return data.assign(kind=("point", np.empty(0, "<U8")))
    multiplier = np.linalg.eigvals(system.jacobian(x)).astype(complex)
    data["multiplier"] = ("point", "mode"), multiplier
    index = map_index = count_unstable(multiplier)
    if system.is_flow:
        exponent = flow_exponents(system, x)
        data["exponent_per_s"] = ("point", "mode"), exponent
        index = count_growing(exponent)
        warn_of_disagreement(system, multiplier[~is_singular], exponent[~is_singular])
    kind = np.select([is_singular, index == 0, index == system.size], [SINGULAR, STABLE, REPELLER], default=SADDLE)
    data["index"], data["map_index"], data["kind"] = ("point", index), ("point", map_index), ("point", kind)
    return data


def _slow(system: System, roots: Roots) -> xr.Dataset:
    """Give the minima of q that are no points."""
    some = np.flatnonzero(roots.outcome == SLOW)
    group = merge(roots.states[some], _SAME_SLOW)
    n = group.max(initial=-1) + 1
    x = np.empty((n, system.size))
    q = np.empty(n)
    all_q = 0.5 * ((system.step(roots.states[some]) - roots.states[some]) ** 2).sum(axis=1) if some.size else q
    for g in range(n):
        best = np.flatnonzero(group == g)[np.argmin(all_q[group == g])]
        x[g], q[g] = roots.states[some[best]], all_q[best]
    order = np.argsort(q, kind="stable")
    found = xr.Dataset({"slow_states": (("slow", "state"), x[order])}, coords={"state": system.labels})
    found["slow_q"] = "slow", q[order]
    found["slow_speed_per_s"] = "slow", np.sqrt(2.0 * q[order]) / system.dt_s
    found["slow_n_starts"] = "slow", np.bincount(group, minlength=n)[order]
    return found


def merge(states: np.ndarray, distance: float) -> np.ndarray:
    """Give every state the number of its group: those nearer than a distance to a group's first state are one.

    Parameters
    ----------
    states : ndarray, shape (n, size)
    distance : float
        In the largest entry, relative to 1 + max|x|.

    Returns
    -------
    ndarray of int, shape (n,)
        0-based, in the order of the states.
    """
    group = np.full(len(states), -1)
    if not len(states):
        return group
    reach = distance * (1.0 + np.abs(states).max(axis=1))
    # Near states are near in any one entry: sorted by the most variable one, few are left to compare.
    along = states[:, np.argmax(states.std(axis=0))]
    order = np.argsort(along, kind="stable")
    sorted_along = along[order]
    n_groups = 0
    for k in range(len(states)):
        if group[k] >= 0:
            continue
        low = np.searchsorted(sorted_along, along[k] - reach[k], side="left")
        high = np.searchsorted(sorted_along, along[k] + reach[k], side="right")
        near = order[low:high]
        near = near[(group[near] < 0) & (np.abs(states[near] - states[k]).max(axis=1) <= reach[k])]
        group[near] = n_groups
        n_groups += 1
    return group


def _warn(found: FixedPoints) -> None:
    """Say what is not as one would hope."""
    if found.verdict in (NO_POINTS, DIVERGES):
        warnings.warn(f"no fixed point was found. {found.summary()}", NumericalWarning, stacklevel=3)
    n_singular = int((found.data["kind"].values == SINGULAR).sum())
    if n_singular:
        warnings.warn(
            f"{found.system.name}: the Jacobian is singular at {n_singular} points: they lie on a line of points or "
            "are about to merge, and their number means nothing.",
            NumericalWarning,
            stacklevel=3,
        )
