"""The balanced state at a finite number of inputs (van Vreeswijk and Sompolinsky 1996, 1998).

Threshold-linear population means ``tau dr/dt = -r + [sqrt(K) (W r + h)]_+`` (doi:10.1162/089976698300017214). Where all
populations are active, ``(I/sqrt(K) - W) r = h``: currents of order sqrt(K) cancel down to what the rates need. For
infinite K this is ``W r + h = 0``; at finite K the rates are off by ``W^-1 r / sqrt(K)`` and terms of order 1/K.
Rectified units have other states too, in which some populations are silent; all are found.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn._checks import check_positive
from cortexrnn.errors import NumericalError, OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# All 2^P sets of active populations are tried.
MOST_POPULATIONS = 12
# Relative to the largest: below, a rate or a distance to threshold is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BalancedState:
    """Mean rates of populations whose large excitatory and inhibitory currents cancel.

    Attributes
    ----------
    weights : ndarray, shape (n, n)
        W, target first; the weights of the circuit times sqrt(K), summed over the K inputs, are sqrt(K) W.
    drive : ndarray, shape (n,)
        h; the external current is sqrt(K) h.
    in_degree : float
        K.
    limit : ndarray, shape (n,)
        Rates for infinite K, ``-W^-1 h``; where one is negative there is no balanced state.
    correction : ndarray, shape (n,)
        First correction at this K, ``W^-1 limit / sqrt(K)``: rates are limit plus correction plus terms of order 1/K.
    states : xarray.Dataset
        Every state at this K: ``rate`` (state, population), ``is_active`` (state, population), ``growth`` (state), the
        largest real part of the linearised dynamics per unit of tau, and ``is_stable``; all populations active first.
    failures : tuple of str
        Why this is no balanced state, in words; empty where it is one.
    """

    weights: np.ndarray
    drive: np.ndarray
    in_degree: float
    limit: np.ndarray
    correction: np.ndarray
    states: xr.Dataset
    failures: tuple[str, ...]

    @property
    def is_balanced(self) -> bool:
        """Whether all populations are active, at this K and in the limit, and stable."""
        return not self.failures

    @property
    def rates(self) -> np.ndarray:
        """Rates of the state with all populations active, shape (n,); NaN where there is none."""
        is_all = self.states["is_active"].all("population").values
        return self.states["rate"].values[is_all][0] if is_all.any() else np.full(self.limit.size, np.nan)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rates against K, exact, to first order, and in the limit.

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

        in_degrees = np.geomspace(min(10.0, self.in_degree), max(1e6, self.in_degree), 200)
        curve = balanced_curve(self.weights, self.drive, in_degrees=in_degrees)
        ax = own_axes() if ax is None else ax
        return mean_field.plot_balance(ax, curve, in_degree=self.in_degree)


def balanced_state(weights, drive, *, in_degree: float, taus=1.0) -> BalancedState:
    """Find the states of threshold-linear populations with K inputs each.

    Parameters
    ----------
    weights : array_like, shape (n, n)
        W, target first, inhibition negative; populations of at most 12.
    drive : array_like, shape (n,)
        h.
    in_degree : float
        K, positive.
    taus : float or array_like, shape (n,)
        Time constants in any one unit; they decide stability only.

    Returns
    -------
    BalancedState

    Raises
    ------
    OptionError
        If shapes do not fit, there are too many populations, or a value is not finite or not positive.
    NumericalError
        If W is singular: no rates cancel the currents.

    Examples
    --------
    >>> found = balanced_state([[1.0, -2.0], [1.0, -1.8]], [1.0, 0.8], in_degree=100)
    >>> found.rates.round(3), found.limit.round(3), found.is_balanced
    (array([1.034, 0.966]), array([1., 1.]), True)
    """
    weights, drive, taus = _checked(weights, drive, taus)
    in_degree = check_positive("in_degree", in_degree)
    limit = _limit(weights, drive)
    correction = np.linalg.solve(weights, limit) / math.sqrt(in_degree)
    states = _states(math.sqrt(in_degree) * weights, math.sqrt(in_degree) * drive, taus)
    return BalancedState(
        weights=weights,
        drive=drive,
        in_degree=in_degree,
        limit=limit,
        correction=correction,
        states=states,
        failures=_failures(limit, states),
    )


def balanced_curve(weights, drive, *, in_degrees) -> xr.Dataset:
    """Give the rates with all populations active for many K, whether or not they are positive.

    Parameters
    ----------
    weights, drive : array_like
        As `balanced_state` takes them.
    in_degrees : array_like, shape (n_k,)

    Returns
    -------
    xarray.Dataset
        ``rate``, exact, and ``first_order``, over ``in_degree`` and ``population``; ``limit`` over ``population``.

    Raises
    ------
    OptionError
        If shapes do not fit or a value is not valid.
    NumericalError
        If W is singular.
    """
    weights, drive, _ = _checked(weights, drive, 1.0)
    k = np.array([check_positive("in_degrees", value) for value in np.atleast_1d(in_degrees)])
    limit = _limit(weights, drive)
    unit = np.eye(drive.size)
    exact = np.array([np.linalg.solve(unit / math.sqrt(each) - weights, drive) for each in k])
    first = limit + np.linalg.solve(weights, limit) / np.sqrt(k)[:, None]
    dims = ("in_degree", "population")
    return xr.Dataset(
        {"rate": (dims, exact), "first_order": (dims, first), "limit": ("population", limit)},
        coords={"in_degree": ("in_degree", k), "population": ("population", _names(drive.size))},
    )


def _checked(weights, drive, taus) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the arguments as arrays that fit each other."""
    matrix, vector = np.array(weights, dtype=np.float64), np.array(drive, dtype=np.float64)
    n = vector.size
    if vector.ndim != 1 or matrix.shape != (n, n) or not 0 < n <= MOST_POPULATIONS:
        raise OptionError(
            f"weights has shape {matrix.shape} and drive {vector.shape}; "
            f"expected (n, n) and (n,) with n from 1 to {MOST_POPULATIONS}."
        )
    if not (np.isfinite(matrix).all() and np.isfinite(vector).all()):
        raise OptionError("weights or drive hold a value that is not finite.")
    times = np.array(taus, dtype=np.float64)
    if times.shape not in ((), (n,)) or not ((times > 0.0) & np.isfinite(times)).all():
        raise OptionError(f"taus={taus!r} is not valid; expected one positive time constant, or one a population.")
    return matrix, vector, np.broadcast_to(times, (n,))


def _limit(weights: np.ndarray, drive: np.ndarray) -> np.ndarray:
    """Solve ``W r + h = 0``."""
    if np.linalg.cond(weights) > 1.0 / _ROUNDING:
        raise NumericalError(
            f"the weights are singular (determinant {np.linalg.det(weights):.1e}): no rates cancel the currents.",
            hint="Populations must differ in how they weigh their inputs.",
        )
    return np.linalg.solve(weights, -drive)


def _states(weights: np.ndarray, drive: np.ndarray, taus: np.ndarray) -> xr.Dataset:
    """Find every set of active populations whose linear solution is positive while the others stay below threshold."""
    n = drive.size
    found = []
    for active in itertools.product((True, False), repeat=n):
        on = np.array(active)
        rate = np.zeros(n)
        matrix = np.eye(on.sum()) - weights[np.ix_(on, on)]
        if abs(np.linalg.det(matrix)) == 0.0:
            continue
        rate[on] = np.linalg.solve(matrix, drive[on])
        current = weights @ rate + drive
        margin = _ROUNDING * max(np.abs(drive).max(), np.abs(rate).max())
        if (rate[on] > margin).all() and (current[~on] <= margin).all():
            # Silent populations only decay.
            slopes = -matrix / taus[on][:, None]
            growth = max([*np.linalg.eigvals(slopes).real, *(-1.0 / taus[~on])])
            found.append((rate, on, growth))
    rates, actives, growths = ([each[i] for each in found] for i in range(3))
    dims = ("state", "population")
    return xr.Dataset(
        {
            "rate": (dims, np.array(rates).reshape(-1, n)),
            "is_active": (dims, np.array(actives, dtype=bool).reshape(-1, n)),
            "growth": ("state", np.array(growths, dtype=float)),
            "is_stable": ("state", np.array(growths, dtype=float) < 0.0),
        },
        coords={"population": ("population", _names(n))},
    )


def _failures(limit: np.ndarray, states: xr.Dataset) -> tuple[str, ...]:
    """Say in words which condition of the balanced state does not hold."""
    names = states["population"].values
    words = [
        f"the currents into all populations cancel only at a negative rate of {name} ({rate:.4g})"
        for name, rate in zip(names, limit, strict=True)
        if rate <= 0.0
    ]
    is_all = states["is_active"].all("population").values
    if not is_all.any():
        words.append("no state at this K has all populations active")
    elif not states["is_stable"].values[is_all].all():
        growth = float(states["growth"].values[is_all].max())
        words.append(f"the state with all populations active is unstable (growth {growth:.4g} per unit of tau)")
    return tuple(words)


def _names(n: int) -> list[str]:
    """Name populations: two are excitatory and inhibitory."""
    return ["excitatory", "inhibitory"] if n == 2 else [f"population {i}" for i in range(n)]
