"""Limit cycles of an excitatory and an inhibitory population (Wilson and Cowan 1972)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

from cortexrnn._checks import check_positive
from cortexrnn.theory.mean_field.pair import POPULATIONS, EIPair, PairStates, nullclines, pair_states

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCURACY = {"method": "DOP853", "rtol": 1e-10, "atol": 1e-12}
# Two returns to the section this close, relative to the size of the orbit, are one.
_CLOSED = 1e-7
# A smaller orbit is a slowly decaying spiral.
_SMALLEST = 1e-4
_N_POINTS = 500


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LimitCycle:
    """What a pair does in the long run at a constant drive: whether it oscillates, and how.

    Attributes
    ----------
    exists : bool
        Whether a start was found that ends on a stable cycle.
    period_s : float
        NaN where there is none.
    multiplier : float
        By what factor a deviation from the cycle changes over one period, ``exp`` of the integral of the trace of
        the Jacobian along it; below 1.
    orbit : xarray.Dataset
        ``rate`` (time, population) over one period from an upward crossing of the steady excitatory rate; of length
        0 where there is no cycle.
    steady : PairStates
        All steady states at the drive.
    """

    exists: bool
    period_s: float
    multiplier: float
    orbit: xr.Dataset
    steady: PairStates

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the nullclines, the steady states and the cycle.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import mean_field
        from cortexrnn.report.figure_file import own_axes

        seen = np.concatenate([self.orbit["rate"].values, self.steady.states["rate"].values])
        highest = tuple(1.25 * np.maximum(seen.max(axis=0, initial=0.0), 1e-3))
        lines = nullclines(self.steady.pair, self.steady.drive, highest=highest)
        ax = own_axes() if ax is None else ax
        return mean_field.plot_phase_plane(ax, lines, states=self.steady.states, orbit=self.orbit)


class _Orbit(NamedTuple):
    """One period from a state on the section."""

    start: np.ndarray
    period_s: float


def limit_cycle(pair: EIPair, drive, *, longest_s: float = 20.0) -> LimitCycle:
    """Look for a stable limit cycle of a pair at a constant drive.

    Each steady state that is no saddle is a centre about which a cycle can run. From seven starts, beside it and far
    away, the upward crossings of its excitatory rate are followed until two coincide.

    Parameters
    ----------
    pair : EIPair
        Bounded, or stabilised, rates.
    drive : float or array_like, shape (2,)
    longest_s : float
        Seconds after which a start that neither closed nor came to rest is given up.

    Returns
    -------
    LimitCycle

    Raises
    ------
    OptionError
        If an argument is not valid.

    Examples
    --------
    >>> from cortexrnn.circuit import load_circuit
    >>> pair = EIPair.of_circuit(load_circuit("wilson_cowan_1972"))
    >>> limit_cycle(pair, 0.0).exists, limit_cycle(pair, -1.25).exists
    (True, False)
    """
    longest_s = check_positive("longest_s", longest_s)
    steady = pair_states(pair, drive)
    rates = steady.states["rate"].values
    for centre in rates:
        if np.linalg.det(pair.jacobian(centre, steady.drive)) <= 0.0:
            continue
        for start in _starts(pair, rates, centre):
            orbit = _closed(pair, steady.drive, start, (centre, longest_s))
            if orbit is not None:
                return _described(pair, steady, orbit)
    empty = xr.Dataset(
        {"rate": (("time", "population"), np.zeros((0, 2)))},
        coords={"time": np.zeros(0), "population": list(POPULATIONS)},
    )
    return LimitCycle(exists=False, period_s=math.nan, multiplier=math.nan, orbit=empty, steady=steady)


def _starts(pair: EIPair, rates: np.ndarray, centre: np.ndarray) -> list[np.ndarray]:
    """Give starts: beside the centre, then over the plane of the rates."""
    tops = np.array([phi.ceiling for phi in pair.activations])
    tops = np.where(np.isfinite(tops), tops, 2.0 * np.maximum(rates.max(axis=0), 1.0))
    return [
        centre + 1e-2 * tops,
        *(np.array(share) * tops for share in itertools.product((0.02, 0.5), (0.02, 0.5, 0.9))),
    ]


def _closed(pair: EIPair, drive: np.ndarray, start: np.ndarray, until: tuple[np.ndarray, float]) -> _Orbit | None:
    """Follow a start from crossing to crossing until two coincide; none where it comes to rest."""
    centre, longest_s = until
    spent_s, state, before = 0.0, start, None

    def crossing(_time: float, rates: np.ndarray) -> float:
        return rates[0] - centre[0]

    crossing.terminal, crossing.direction = True, 1.0
    # A first bit of time leaves the section, on which the crossing before ended.
    nudge_s = 1e-3 * min(pair.taus_s)
    while spent_s < longest_s:
        left = _integrated(pair, drive, state, nudge_s)
        run = _integrated(pair, drive, left.y[:, -1], longest_s - spent_s, events=crossing)
        if not run.t_events[0].size:
            return None
        period_s, state = nudge_s + float(run.t[-1]), run.y_events[0][0]
        spent_s += period_s
        size = abs(state[1] - centre[1])
        if size < _SMALLEST * max(1.0, float(np.abs(centre).max())):
            return None
        if before is not None and abs(state[1] - before) < _CLOSED * size:
            return _Orbit(state, period_s)
        before = state[1]
    return None


def _integrated(pair: EIPair, drive: np.ndarray, start: np.ndarray, duration_s: float, **options):
    """Integrate the equations of a pair."""
    return solve_ivp(lambda _, rates: pair.velocity(rates, drive), (0.0, duration_s), start, **_ACCURACY, **options)


def _described(pair: EIPair, steady: PairStates, orbit: _Orbit) -> LimitCycle:
    """Integrate once more around the cycle and along it the trace of the Jacobian."""

    def extended(_: float, state: np.ndarray) -> np.ndarray:
        trace = np.trace(pair.jacobian(state[:2], steady.drive))
        return np.append(pair.velocity(state[:2], steady.drive), trace)

    time_s = np.linspace(0.0, orbit.period_s, _N_POINTS)
    run = solve_ivp(extended, (0.0, orbit.period_s), [*orbit.start, 0.0], t_eval=time_s, **_ACCURACY)
    cycle = xr.Dataset(
        {"rate": (("time", "population"), run.y[:2].T)},
        coords={"time": ("time", time_s, {"units": "s"}), "population": list(POPULATIONS)},
    )
    return LimitCycle(
        exists=True,
        period_s=orbit.period_s,
        multiplier=float(np.exp(run.y[2, -1])),
        orbit=cycle,
        steady=steady,
    )
