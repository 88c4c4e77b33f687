"""A branch of fixed points followed in one parameter, around its turns, with the places where stability changes.

Pseudo-arclength continuation (Keller 1977): the next point is looked for on a plane at a right angle to the branch, so
that a saddle-node, where the branch turns back in the parameter, is a point like any other.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.optimize
import xarray as xr

from cortexrnn._checks import check_count, check_positive, check_window
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.theory.modes import count_growing, count_unstable, flow_exponents
from cortexrnn.theory.system import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SADDLE_NODE, BRANCH_POINT, OSCILLATION, DOUBLING = "saddle-node", "branch point", "oscillation", "period doubling"
AT_LIMIT, CLOSED, TOO_MANY, LOST = "limit", "closed", "too many points", "lost"

# Newton's steps of a correction, and how small the last must be in scaled coordinates.
_MAX_CORRECTIONS, _CORRECTED = 8, 1e-11
# The step grows after corrections this quick; tangents may turn by this much (cosine) between points.
_QUICK, _GROWS, _STRAIGHT = 3, 1.4, 0.95
_LEAST_STEP = 1e-9
# Central differences in the parameter, relative to its range: the third root of the round-off.
_DIFFERENCE = 6e-6
_N_HALVINGS = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """A branch of fixed points.

    Attributes
    ----------
    data : xarray.Dataset
        Over place, along the branch: `parameter`, `n_unstable` directions (of the flow where there is one),
        `is_stable`, `mean_rate`, `arclength`; `states` over (place, state). Over event: `event_kind` ("saddle-node",
        "branch point", "oscillation", where a pair of complex modes becomes unstable, or "period doubling"),
        `event_parameter`, `event_place`, the place before it, and `event_states` over (event, state). Attributes:
        `first_end` and `last_end` say why the branch ends there: "limit", "closed", "too many points" or "lost".
    """

    data: xr.Dataset

    @property
    def saddle_nodes(self) -> np.ndarray:
        """Values of the parameter at which two points merge, along the branch."""
        return self.data["event_parameter"].values[self.data["event_kind"].values == SADDLE_NODE]

    def plot(self, ax: Axes | None = None, *, entry: str = "") -> Axes:
        """Draw the branch over the parameter: stable parts solid, unstable ones dashed, events marked.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.
        entry : str
            Entry of the state to draw, such as ``"rate 0"``; the mean rate of all units if empty.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        OptionError
            If there is no such entry.
        """
        from cortexrnn.report.dynamics import plot_branch
        from cortexrnn.report.figure_file import own_axes

        labels = list(map(str, self.data["state"].values))
        if entry and entry not in labels:
            raise OptionError(f"entry={entry!r} is unknown; the state has {', '.join(labels[:8])}.")
        shown = self.data
        if entry:
            k = labels.index(entry)
            shown = shown.assign(height=shown["states"][:, k], event_height=shown["event_states"][:, k])
        else:
            shown = shown.assign(height=shown["mean_rate"], event_height=shown["event_mean_rate"])
        shown.attrs["height"] = entry or "mean rate"
        return plot_branch(ax or own_axes(), shown)


class _Place(NamedTuple):
    """A point of the branch in scaled coordinates (state, parameter), its unit tangent, and unstable directions."""

    z: np.ndarray
    tangent: np.ndarray
    n_unstable: int


def follow_branch(
    family: Callable[[float], System],
    state: np.ndarray,
    *,
    parameter: float,
    limits: tuple[float, float],
    step: float = 0.02,
    max_points: int = 2000,
) -> Branch:
    """Follow a branch of fixed points both ways through a known point.

    Parameters
    ----------
    family : callable
        Takes a value of the parameter, gives the `System`; states must keep their meaning, and the map must be smooth
        in the parameter.
    state : array_like, shape (size,)
        A fixed point, or a state near one, at `parameter`.
    parameter : float
    limits : tuple of float
        Range of the parameter, low and high.
    step : float
        Largest step along the branch, where the range of the parameter and the size of the state count as 1 each.
    max_points : int
        For each way.

    Returns
    -------
    Branch
        From the end that a falling parameter leads to, at first, to the other one.

    Raises
    ------
    OptionError
        If an argument is not valid.
    DataError
        If the state does not fit the system.
    NumericalError
        If there is no fixed point near the state.

    Warns
    -----
    NumericalWarning
        If an end of the branch was not reached.
    """
    low, high = check_window("limits", limits)
    check_positive("step", step)
    check_count("max_points", max_points)
    if not low <= parameter <= high:
        raise OptionError(f"parameter={parameter!r} is not within limits={limits!r}.")
    system = family(parameter)
    x = system.check_states(state)
    if len(x) != 1:
        raise DataError(f"{len(x)} states were given; expected one.", where=system.name)
    tracer = _Tracer(family, (low, high), x[0])
    first = tracer.begin(x[0], parameter)
    down, down_end = tracer.trace(first, -1.0, step, max_points)
    if down_end == CLOSED:
        places, ends = [*down, first], (CLOSED, CLOSED)
    else:
        up, up_end = tracer.trace(first, 1.0, step, max_points)
        places, ends = [*down[::-1], first, *up], (down_end, up_end)
    for end in set(ends) - {AT_LIMIT, CLOSED}:
        warnings.warn(f"{system.name}: the branch ends early: {end}.", NumericalWarning, stacklevel=2)
    return Branch(data=tracer.describe(places, ends))


class _Tracer:
    """What following a branch needs to know: the family and the scales."""

    def __init__(self, family: Callable[[float], System], limits: tuple[float, float], x: np.ndarray):
        # A step asks for the same few values again and again, and building a circuit takes long.
        self._family, self._limits = functools.lru_cache(maxsize=4)(family), limits
        size = x.size
        self._scale = np.append(np.full(size, np.sqrt(size) * max(1.0, float(np.sqrt((x**2).mean())))), np.ptp(limits))

    def begin(self, x: np.ndarray, parameter: float) -> _Place:
        """Give the fixed point near a state at a value of the parameter."""
        z = np.append(x, parameter) / self._scale
        aim = np.zeros(z.size)
        aim[-1] = 1.0
        found = self._correct(z, aim)[0]
        if found is None:
            raise NumericalError(
                f"no fixed point near the state was found at the parameter {parameter:g}.",
                where=self._family(parameter).name,
                hint="Start from a point of fixed_points().",
            )
        tangent = self._tangent(found, aim)
        return _Place(found, tangent, self._n_unstable(found))

    def trace(self, first: _Place, way: float, largest: float, max_points: int) -> tuple[list[_Place], str]:
        """Follow the branch one way; give the points after the first and why it ends."""
        here, places, length = first._replace(tangent=way * first.tangent), [], largest
        low, high = np.array(self._limits) / self._scale[-1]
        while len(places) < max_points:
            at, n_corrections = self._correct(here.z + length * here.tangent, here.tangent)
            tangent = None if at is None else self._tangent(at, here.tangent)
            if tangent is None or tangent @ here.tangent < _STRAIGHT:
                length *= 0.5
                if length < _LEAST_STEP:
                    return places, LOST
                continue
            if not low <= at[-1] <= high:
                edge = self._to_edge(here, at, high if at[-1] > high else low)
                return (places, LOST) if edge is None else ([*places, edge], AT_LIMIT)
            here = _Place(at, tangent, self._n_unstable(at))
            places.append(here)
            is_home = len(places) > 3 and np.linalg.norm(at - first.z) < 0.5 * length
            if is_home and way * (tangent @ first.tangent) > _STRAIGHT:
                return places, CLOSED
            if n_corrections <= _QUICK:
                length = min(length * _GROWS, largest)
        return places, TOO_MANY

    def describe(self, places: list[_Place], ends: tuple[str, str]) -> xr.Dataset:
        """Label the branch and look for its events."""
        z = np.stack([place.z for place in places])
        system = self._system(z[0])
        n_unstable = np.array([place.n_unstable for place in places])
        events = [event for k in range(len(places) - 1) for event in self._events(k, places[k], places[k + 1])]
        at = np.stack([event[0] for event in events]) if events else np.empty((0, z.shape[1]))
        data = xr.Dataset(
            {
                "parameter": ("place", z[:, -1] * self._scale[-1]),
                "states": (("place", "state"), z[:, :-1] * self._scale[:-1]),
                "n_unstable": ("place", n_unstable),
                "is_stable": ("place", n_unstable == 0),
                "mean_rate": ("place", self._mean_rates(z)),
                "arclength": ("place", np.append(0.0, np.linalg.norm(np.diff(z, axis=0), axis=1).cumsum())),
                "event_kind": ("event", np.array([event[1] for event in events], dtype="<U16")),
                "event_place": ("event", np.array([event[2] for event in events], dtype=int)),
                "event_parameter": ("event", at[:, -1] * self._scale[-1]),
                "event_states": (("event", "state"), at[:, :-1] * self._scale[:-1]),
                "event_mean_rate": ("event", self._mean_rates(at)),
            },
            coords={"state": system.labels},
            attrs={"system": system.name, "first_end": ends[0], "last_end": ends[1]},
        )
        return data

    def _events(self, k: int, a: _Place, b: _Place) -> list[tuple[np.ndarray, str, int]]:
        """Give what happens between two neighbouring places: a turn, or a change of stability without one."""
        gap = b.z - a.z
        forward = a.tangent if a.tangent @ gap > 0.0 else -a.tangent
        length = float(forward @ gap)

        def at(s: float) -> np.ndarray:
            found = self._correct(a.z + s * forward, forward)[0]
            return a.z + s * gap / length if found is None else found

        def slope(s: float) -> float:
            z = at(s)
            return float(self._tangent(z, forward)[-1])

        if length > 0.0 and slope(0.0) * slope(length) < 0.0:
            z = at(scipy.optimize.brentq(slope, 0.0, length, xtol=1e-13 * max(1.0, length)))
            return [(z, SADDLE_NODE, k)]
        if a.n_unstable == b.n_unstable:
            return []
        low, high = 0.0, length
        for _ in range(_N_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self._n_unstable(at(middle)) == a.n_unstable else (low, middle)
        z = at(high)
        return [(z, self._crossing(z), k)]

    def _crossing(self, z: np.ndarray) -> str:
        """Name the change of stability by the mode that is nearest to neither growing nor decaying."""
        system, x = self._system(z), self._state(z)
        if system.is_flow:
            values = flow_exponents(system, x)[0]
            nearest = values[np.abs(values.real).argmin()]
            return OSCILLATION if abs(nearest.imag) > abs(nearest.real) * 10.0 and nearest.imag != 0.0 else BRANCH_POINT
        values = np.linalg.eigvals(system.jacobian(x))[0]
        nearest = values[np.abs(np.abs(values) - 1.0).argmin()]
        if nearest.imag != 0.0:
            return OSCILLATION
        return BRANCH_POINT if nearest.real > 0.0 else DOUBLING

    def _to_edge(self, here: _Place, beyond: np.ndarray, edge: float) -> _Place | None:
        """Give the point of the branch at a limit of the parameter."""
        share = (edge - here.z[-1]) / (beyond[-1] - here.z[-1])
        guess = here.z + share * (beyond - here.z)
        guess[-1] = edge
        aim = np.zeros(guess.size)
        aim[-1] = 1.0
        at = self._correct(guess, aim)[0]
        if at is None:
            return None
        at[-1] = edge
        return _Place(at, self._tangent(at, here.tangent), self._n_unstable(at))

    def _correct(self, guess: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray | None, int]:
        """Find the branch on the plane through a guess; give the point, or None, and the number of steps."""
        z = guess.copy()
        for n in range(1, _MAX_CORRECTIONS + 1):
            residual = (self._system(z).step(self._state(z)) - self._state(z))[0]
            matrix = np.vstack([self._derivative(z), normal])
            try:
                d = np.linalg.solve(matrix, -np.append(residual, normal @ (z - guess)))
            except np.linalg.LinAlgError:
                return None, n
            if not np.isfinite(d).all():
                return None, n
            z = z + d
            if np.abs(d).max() <= _CORRECTED:
                return z, n
        return None, _MAX_CORRECTIONS

    def _tangent(self, z: np.ndarray, along: np.ndarray) -> np.ndarray:
        """Give the unit tangent of the branch, on the side of a vector."""
        # The kernel of a wide matrix; unlike a bordered system this works at branch points too.
        kernel = np.linalg.svd(self._derivative(z))[2][-1]
        return kernel if kernel @ along > 0.0 else -kernel

    def _derivative(self, z: np.ndarray) -> np.ndarray:
        """Give the derivative of the residual with respect to scaled state and parameter, shape (size, size + 1)."""
        x, parameter, size = self._state(z), z[-1] * self._scale[-1], z.size - 1
        h = _DIFFERENCE * self._scale[-1]
        by_parameter = (self._family(parameter + h).step(x) - self._family(parameter - h).step(x))[0] / (2.0 * h)
        by_state = self._system(z).jacobian(x)[0] - np.eye(size)
        return np.column_stack([by_state, by_parameter]) * self._scale

    def _n_unstable(self, z: np.ndarray) -> int:
        """Count the unstable directions, of the flow where there is one."""
        system, x = self._system(z), self._state(z)
        if system.is_flow:
            return int(count_growing(flow_exponents(system, x))[0])
        return int(count_unstable(np.linalg.eigvals(system.jacobian(x)))[0])

    def _mean_rates(self, z: np.ndarray) -> np.ndarray:
        """Give the mean rate of the units at every point."""
        return np.array([float(self._system(row).rates(self._state(row)).mean()) for row in z])

    def _system(self, z: np.ndarray) -> System:
        """Give the system at a point."""
        return self._family(float(z[-1] * self._scale[-1]))

    def _state(self, z: np.ndarray) -> np.ndarray:
        """Give the state at a point as a batch of one."""
        return (z[:-1] * self._scale[:-1])[None]
