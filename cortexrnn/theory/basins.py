"""Which start ends at which point, and how much of a pattern must be there for the rest to be completed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import DataError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.modes import count_unstable
from cortexrnn.theory.system import System, as_system

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNDECIDED, DIVERGED = -1, -2

_N_STEPS = 5000
# A start has arrived when it is this near to a stable point, relative to that point's distance to the next point, and
# still nearer a while later.
_ARRIVED, _LATER_STEPS = 0.02, 10
# What starts at a point only moves by round-off; this near, relative to the above, nearer means nothing.
_AT_REST = 1e-4
# The distance that stands for that to the next point where there is but one point, relative to its size.
_ALONE = 0.1
_FAR = 1e9
# Of the interval of a share: 95 %.
_Z = 1.959963984540054


@dataclass(frozen=True, kw_only=True, slots=True)
class Basins:
    """Where starts end.

    Attributes
    ----------
    data : xarray.Dataset
        Over start: `ends_at`, the number of the point, -1 where that was not decided, -2 where the state left the
        finite numbers; `time_s` of arrival (NaN without). Over point: `is_stable` and `share` of the starts. Over
        (start, state): `starts`; over (point, state): `points`. Attributes: `undecided` and `diverged`, shares.
    """

    data: xr.Dataset

    @property
    def undecided(self) -> float:
        """Share of starts that had not come to rest at one of the points."""
        return float(self.data.attrs["undecided"])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw starts coloured by where they end, in the plane of the points and starts' two largest components.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.dynamics import plot_basins
        from cortexrnn.report.figure_file import own_axes

        starts, points = self.data["starts"].values, self.data["points"].values
        flat = self.data.drop_dims("state")
        axes = np.eye(2)
        mean = np.zeros(starts.shape[1])
        if starts.shape[1] > 2:
            cloud = np.concatenate([starts, points])
            mean = cloud.mean(axis=0)
            axes = np.linalg.svd(cloud - mean, full_matrices=False)[2][:2]
        elif starts.shape[1] == 1:
            axes = np.array([[1.0], [0.0]])
        flat["start_plane"] = ("start", "pc"), (starts - mean) @ axes.T
        flat["point_plane"] = ("point", "pc"), (points - mean) @ axes.T
        labels = self.data["state"].values
        flat.attrs["labels"] = list(map(str, labels)) if labels.size == 2 else ["first component", "second component"]
        return plot_basins(ax or own_axes(), flat)


def basins(thing: Any, points: np.ndarray, starts: np.ndarray, *, duration_s: float | None = None) -> Basins:
    """Follow starts until each has come to rest at a stable point.

    A state that passes a saddle slowly has not come to rest there: only points at which the map is stable count as
    ends. What is on a cycle, in chaos, or still under way in the end is undecided.

    Parameters
    ----------
    thing : System, or what `as_system` takes
    points : array_like, shape (n_points, size)
        Fixed points, such as `FixedPoints.states`; unstable ones may be among them.
    starts : array_like, shape (n_starts, size)
    duration_s : float, optional
        For how long to follow them; 5000 steps if not given.

    Returns
    -------
    Basins

    Raises
    ------
    DataError
        If states do not fit the system, or a point moves.
    OptionError
        If the duration is not positive.
    """
    system = as_system(thing)
    at, x = system.check_states(points), system.check_states(starts)
    n_steps = _N_STEPS if duration_s is None else max(round(check_positive("duration_s", duration_s) / system.dt_s), 1)
    _check_rest(system, at)
    is_stable = count_unstable(np.linalg.eigvals(system.jacobian(at))) == 0
    # Products of a batch this small are slower on several threads, and much slower where others use the cores too.
    with threadpool_limits(1):
        ends_at, arrived = _follow(system, at, is_stable, x, n_steps)
    data = xr.Dataset(
        {
            "ends_at": ("start", ends_at),
            "time_s": ("start", np.where(arrived < 0, np.nan, arrived * system.dt_s), {"units": "s"}),
            "is_stable": ("point", is_stable),
            "share": ("point", np.bincount(ends_at[ends_at >= 0], minlength=len(at)) / len(x)),
            "starts": (("start", "state"), x),
            "points": (("point", "state"), at),
        },
        coords={"state": system.labels},
        attrs={
            "system": system.name,
            "duration_s": n_steps * system.dt_s,
            "undecided": float((ends_at == UNDECIDED).mean()),
            "diverged": float((ends_at == DIVERGED).mean()),
        },
    )
    return Basins(data=data)


def complete_patterns(
    thing: Any,
    points: np.ndarray,
    *,
    levels: tuple[float, ...],
    kind: str = "noise",
    n_trials: int = 100,
    seed: int = 0,
) -> xr.Dataset:
    """Disturb stable points and count how often each is completed again.

    The first entries of the state, one a unit, are disturbed: currents or rates, hidden states. What stands behind
    them, as synapses do or an LSTM's cell, keeps the values of the point.

    Parameters
    ----------
    thing : System, or what `as_system` takes
    points : array_like, shape (n_points, size)
        Stable fixed points, at least two.
    levels : tuple of float
        Of noise: its deviation, relative to the root mean square distance of the points' entries from their mean. Of
        corruption: the share of entries that get the values that they have at another point, drawn for each trial.
    kind : {"noise", "corruption"}
    n_trials : int
        Of every point at every level.
    seed : int

    Returns
    -------
    xarray.Dataset
        Over (point, level): `completed`, the share of trials that end at the point, with its 95 % interval
        `completed_low` and `completed_high` (Wilson), `elsewhere`, and `undecided`, which includes what diverged.

    Raises
    ------
    OptionError
        If an argument is not valid.
    DataError
        If there are fewer than two points, or one of them is not stable.
    """
    system = as_system(thing)
    at = system.check_states(points)
    check_choice("kind", kind, ("noise", "corruption"))
    check_count("n_trials", n_trials)
    if len(at) < 2:
        raise DataError(f"{len(at)} point was given; completion needs at least 2.", where=system.name)
    most = 1.0 if kind == "corruption" else np.inf
    if not levels or not all(0.0 <= level <= most for level in levels):
        raise OptionError(f"levels={levels!r} are not valid; expected {kind} from 0" + (" to 1." if most == 1 else "."))
    rng = stream(seed, "theory", "completion", kind)
    starts = np.stack([_disturb(system, at, kind, level, n_trials, rng) for level in levels])
    found = basins(system, at, starts.reshape(-1, system.size))
    if not found.data["is_stable"].values.all():
        unstable = int(np.flatnonzero(~found.data["is_stable"].values)[0])
        raise DataError(f"point {unstable} is not stable: nothing ends there.", where=system.name)
    ends = found.data["ends_at"].values.reshape(len(levels), len(at), n_trials)
    is_own = ends == np.arange(len(at))[:, None]
    completed = is_own.mean(axis=2).T
    low, high = _wilson(completed, n_trials)
    dims = ("point", "level")
    return xr.Dataset(
        {
            "completed": (dims, completed),
            "completed_low": (dims, low),
            "completed_high": (dims, high),
            "elsewhere": (dims, ((ends >= 0) & ~is_own).mean(axis=2).T),
            "undecided": (dims, (ends < 0).mean(axis=2).T),
        },
        coords={"level": np.asarray(levels, float)},
        attrs={"system": system.name, "kind": kind, "n_trials": n_trials, "seed": seed},
    )


def _check_rest(system: System, at: np.ndarray) -> None:
    """Refuse points that are none."""
    moved = np.abs(system.step(at) - at).max(axis=1, initial=0.0)
    limit = 1e-6 * (1.0 + np.abs(at).max(axis=1, initial=0.0))
    if (moved > limit).any():
        k = int(np.argmax(moved / limit))
        raise DataError(f"point {k} moves by {moved[k]:.3g} in a step: it is no fixed point.", where=system.name)


def _follow(
    system: System, at: np.ndarray, is_stable: np.ndarray, x: np.ndarray, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give where every start ends and the step of its arrival, -1 without."""
    ends_at, arrived = np.full(len(x), UNDECIDED), np.full(len(x), -1)
    ends = np.flatnonzero(is_stable)
    radius = _ARRIVED * _next_distance(at)[ends]
    active, x = np.arange(len(x)), x.copy()
    # Since which step a state has been near which point, and how near it was then.
    near, since, then = np.full(len(x), -1), np.zeros(len(x), int), np.zeros(len(x))
    for t in range(n_steps + 1):
        here = x[active]
        is_gone = ~(np.isfinite(here).all(axis=1) & (np.abs(here).max(axis=1) < _FAR))
        ends_at[active[is_gone]] = DIVERGED
        active, here = active[~is_gone], here[~is_gone]
        if not active.size:
            break
        if ends.size:
            distance = np.stack([np.linalg.norm(here - at[k], axis=1) for k in ends], axis=1)
            nearest = distance.argmin(axis=1)
            smallest = distance[np.arange(len(here)), nearest]
            now = np.where(smallest <= radius[nearest], nearest, -1)
            is_new = now != near[active]
            near[active], since[active] = now, np.where(is_new, t, since[active])
            then[active] = np.where(is_new, smallest, then[active])
            is_nearer = smallest <= np.maximum(then[active], _AT_REST * radius[nearest])
            is_over = (now >= 0) & (t - since[active] >= _LATER_STEPS) & is_nearer
            ends_at[active[is_over]] = ends[now[is_over]]
            arrived[active[is_over]] = since[active[is_over]]
            active = active[~is_over]
        with np.errstate(over="ignore", invalid="ignore"):
            x[active] = system.step(x[active])
    return ends_at, arrived


def _next_distance(at: np.ndarray) -> np.ndarray:
    """Give every point's distance to the next one."""
    if len(at) < 2:
        return _ALONE * (1.0 + np.linalg.norm(at, axis=1))
    found = np.empty(len(at))
    for k in range(len(at)):
        distance = np.linalg.norm(at - at[k], axis=1)
        distance[k] = np.inf
        found[k] = distance.min()
    return found


def _disturb(
    system: System, at: np.ndarray, kind: str, level: float, n_trials: int, rng: np.random.Generator
) -> np.ndarray:
    """Give disturbed states of all points, shape (n_points * n_trials, size)."""
    n, n_units = len(at), system.n_units
    x = np.repeat(at, n_trials, axis=0)
    activity = at[:, :n_units]
    if kind == "noise":
        spread = float(np.sqrt(((activity - activity.mean(axis=0)) ** 2).mean()))
        x[:, :n_units] += level * spread * rng.normal(size=(len(x), n_units))
        return x
    own = np.repeat(np.arange(n), n_trials)
    other = (own + rng.integers(1, n, len(x))) % n
    # The same number of entries in every trial.
    rank = rng.random((len(x), n_units)).argsort(axis=1).argsort(axis=1)
    x[:, :n_units] = np.where(rank < round(level * n_units), activity[other], x[:, :n_units])
    return x


def _wilson(share: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the 95 % interval of a share of `n` trials (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    middle = (share + 0.5 * _Z**2 / n) / (1.0 + _Z**2 / n)
    half = _Z / (1.0 + _Z**2 / n) * np.sqrt(share * (1.0 - share) / n + 0.25 * (_Z / n) ** 2)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
