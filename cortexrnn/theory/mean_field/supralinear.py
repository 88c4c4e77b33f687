"""The branch of steady states that begins at rest, followed as the drive grows, up to where it turns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.theory.mean_field.pair import EIPair, checked_drive, describe_states

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_NEWTON = 30
_CONVERGED = 1e-13
# Of the largest drive: the first step, and the one below which the branch is taken to have turned.
_FIRST_STEP, _LAST_STEP = 1e-2, 1e-12
# A state may not move further than this in one step, relative to itself or 1: else Newton could have left the branch.
_LARGEST_MOVE = 0.2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RestBranch:
    """Steady states of a pair along the branch that begins without drive.

    Attributes
    ----------
    pair : EIPair
    direction : ndarray, shape (2,)
        Drive to both populations is `direction` times the drive.
    states : xarray.Dataset
        Over ``drive``, as `PairStates.states` has them over ``state``; NaN and false beyond `turning_drive`.
    turning_drive : float
        Drive at which the branch ends in a saddle-node; infinite where it reaches the largest drive.
    """

    pair: EIPair
    direction: np.ndarray
    states: xr.Dataset
    turning_drive: float

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rates against the drive, and where inhibition stabilises the pair.

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

        return mean_field.plot_branch(own_axes() if ax is None else ax, self.states)


def rest_branch(pair: EIPair, drives, *, direction=1.0) -> RestBranch:
    """Follow the steady state of a pair from no drive to each of many.

    Parameters
    ----------
    pair : EIPair
    drives : array_like, shape (n_drives,)
        Ascending, at least 0.
    direction : float or array_like, shape (2,)
        What a drive of 1 is to both populations, or to each.

    Returns
    -------
    RestBranch

    Raises
    ------
    OptionError
        If drives are not ascending finite numbers of at least 0, or the direction is not valid.
    NumericalError
        If the pair has no steady state near rest without drive.

    Examples
    --------
    >>> from cortexrnn.circuit import Circuit
    >>> branch = rest_branch(EIPair.of_circuit(Circuit.ssn()), [2.0, 5.0, 10.0])
    >>> branch.states.rate.sel(population="excitatory").values.round(3)
    array([ 3.261,  8.454, 10.667])
    """
    goals = np.atleast_1d(np.array(drives, dtype=np.float64))
    if (
        goals.ndim != 1
        or not goals.size
        or not np.isfinite(goals).all()
        or (np.diff(goals) <= 0.0).any()
        or goals[0] < 0.0
    ):
        raise OptionError(f"drives={drives!r} are not valid; expected ascending finite numbers of at least 0.")
    direction = checked_drive(direction)
    rates = _settled(pair, np.zeros(2), np.zeros(2))
    if rates is None:
        raise NumericalError(
            "Newton's method from silence finds no steady state without drive.",
            hint="pair_states lists all steady states.",
        )
    found, turning, at = np.full((goals.size, 2), np.nan), math.inf, 0.0
    for i, goal in enumerate(goals):
        rates, at = _followed(pair, direction, rates, (at, float(goal)), largest=float(goals[-1]) or 1.0)
        if at < goal:
            turning = at
            break
        found[i] = rates
    n = int(np.isfinite(found[:, 0]).sum())
    reached = describe_states(pair, found[:n], goals[:n, None] * direction).rename(state="drive")
    states = reached.assign_coords(drive=goals[:n]).reindex(drive=goals)
    flags = {name: states[name].fillna(False).astype(bool) for name in reached if reached[name].dtype == bool}
    return RestBranch(pair=pair, direction=direction, states=states.assign(flags), turning_drive=turning)


def _followed(
    pair: EIPair, direction: np.ndarray, rates: np.ndarray, span: tuple[float, float], *, largest: float
) -> tuple[np.ndarray, float]:
    """Follow a branch over a span of drives; give the last state and its drive, short of the end where it turns."""
    at, goal = span
    step = _FIRST_STEP * largest
    while at < goal:
        step = min(step, goal - at)
        # The last step lands on the goal itself.
        there = goal if step == goal - at else at + step
        guess = rates + _tangent(pair, rates, at * direction) @ (direction * (there - at))
        moved = _settled(pair, guess, there * direction)
        is_near = moved is not None and (np.abs(moved - rates) <= _LARGEST_MOVE * np.maximum(1.0, np.abs(rates))).all()
        if is_near and _orientation(pair, moved, there * direction) == _orientation(pair, rates, at * direction):
            rates, at, step = moved, there, 1.5 * step
        else:
            step *= 0.5
            if step < _LAST_STEP * largest:
                return rates, at
    return rates, at


def _settled(pair: EIPair, rates: np.ndarray, drive: np.ndarray) -> np.ndarray | None:
    """Solve for a steady state by Newton's method; none where it does not converge."""
    taus_s = np.array(pair.taus_s)
    for _ in range(_MOST_NEWTON):
        jacobian = pair.jacobian(rates, drive) * taus_s[:, None]
        if abs(np.linalg.det(jacobian)) < _CONVERGED:
            return None
        change = np.linalg.solve(jacobian, -pair.velocity(rates, drive) * taus_s)
        rates = rates + change
        if not np.isfinite(rates).all():
            return None
        if np.abs(change).max() <= _CONVERGED * max(1.0, float(np.abs(rates).max())):
            return rates
    return None


def _tangent(pair: EIPair, rates: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """Give the derivative of the steady state with respect to both drives."""
    weights = np.array(pair.weights)
    slopes = pair.slopes(weights @ rates + drive + pair.bias)
    return np.linalg.solve(np.eye(2) - slopes[:, None] * weights, np.diag(slopes))


def _orientation(pair: EIPair, rates: np.ndarray, drive: np.ndarray) -> float:
    """Give the sign of the Jacobian's determinant, which changes where a branch turns."""
    return float(np.sign(np.linalg.det(pair.jacobian(rates, drive))))
