"""Dynamic mean field of random tanh networks: how large activity is, how long it lasts, how fast chaos parts.

Continuous time (Sompolinsky, Crisanti and Sommers 1988, doi:10.1103/PhysRevLett.61.259), times in units of tau::

    dx/dt = -x + J tanh(x)   or   dr/dt = -r + tanh(J r),       J Gaussian of variance g^2 / N

In either form one current, x or J r, has the autocovariance ``D(t)`` that solves ``D'' = D - g^2 C(D)``, with C the
covariance of the rates of two currents. Of its solutions the one that falls to zero is taken; conservation of the
energy ``D'^2 / 2 + V(D)`` fixes its variance, ``D(0)^2 / 2 = g^2 Var[log cosh x]``. The largest exponent is
``sqrt(1 - E) - 1`` with E the ground state of ``-d^2/dt^2 + 1 - g^2 E[tanh' tanh'](D(t))``.

Discrete time (``h <- J tanh(h)``, times in steps): ``q = g^2 E[tanh(sqrt(q) z)^2]`` is the variance of h; nothing is
left of it one step later, and the exponent is ``log(g^2 E[tanh'^2]) / 2``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.theory.mean_field.elements import lowest_states, make_panels
from cortexrnn.theory.mean_field.gaussian import (
    PairSeries,
    log_cosh,
    mean_square_rate,
    mean_square_slope,
    pair_series,
    potential_variance,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DYNAMICS = ("continuous", "discrete")
FORMS = ("current", "rate")
# Between these the theory says silence or chaos, but numbers of order (g - 1)^2 are lost in rounding.
NEAREST_GAIN = 1.0 + 1e-4
LARGEST_GAIN = 30.0
# D(t) = D(0) / cosh(w): w is t near zero and proportional to it at the end, where D has fallen by 1e-8.
_EDGES = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.4, 2.2, 3.4, 5.0, 7.0, 10.0, 14.0, 19.0])
_POINTS_PER_PANEL = 16
_N_LAGS = 401
# Autocovariances are shown until this fraction of the variance is left.
_SHOWN = 1e-3
_LOST = 1e-6
_SAME = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MeanField:
    """What dynamic mean field theory says of a random tanh network of infinite size.

    Attributes
    ----------
    gain : float
        Deviation of the weights times sqrt(N).
    dynamics : {"continuous", "discrete"}
    form : {"current", "rate"}
        Which variable the equation of motion is written for.
    current_variance : float
        Variance of the current, the argument of tanh: x (current form), J r (rate form) or h (discrete).
    rate_variance : float
        Variance of the rate: of tanh(x) in the current form, of r in the rate form, where it is
        ``current_variance / gain^2``.
    current_half_lag, rate_half_lag : float
        Lag at which the autocovariance is half the variance, in tau or steps; NaN in the silent phase, and 1, the
        first lag at which it is less, in discrete time.
    exponent : float
        Largest Lyapunov exponent per tau or step; of the silent state, where there is nothing else.
    autocovariance : xarray.Dataset
        ``current`` and ``rate`` over ``lag``.
    residual : float
        Largest relative violation of what must hold exactly: of the energy balance and of the state of energy zero
        that the derivative of D is; of the equation for q in discrete time.
    """

    gain: float
    dynamics: str
    form: str
    current_variance: float
    rate_variance: float
    current_half_lag: float
    rate_half_lag: float
    exponent: float
    autocovariance: xr.Dataset
    residual: float

    @property
    def is_silent(self) -> bool:
        """Whether the only solution is no activity: gain of at most 1."""
        return self.current_variance == 0.0

    @property
    def time_unit(self) -> str:
        """Unit of lags and of the inverse exponent: "tau" or "step"."""
        return "tau" if self.dynamics == "continuous" else "step"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the autocovariances of current and rate over the lag.

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

        return mean_field.plot_autocovariance(own_axes() if ax is None else ax, self.autocovariance)


def dmft(gain: float, *, dynamics: str = "continuous", form: str = "current") -> MeanField:
    """Solve the dynamic mean field theory of a random tanh network.

    Parameters
    ----------
    gain : float
        Deviation of the weights times sqrt(N), up to 30. Between 1 and 1.0001 the answer would be rounding noise.
    dynamics : {"continuous", "discrete"}
    form : {"current", "rate"}
        Equation written for the current or for the rate; it decides which variable has which variance.

    Returns
    -------
    MeanField

    Raises
    ------
    OptionError
        If the gain is not positive, too close to 1 or too large, or a choice is unknown.
    NumericalError
        If the solution violates its own conservation laws.

    Examples
    --------
    >>> found = dmft(2.0)
    >>> round(found.current_variance, 3), round(found.current_half_lag, 2), round(found.exponent, 4)
    (1.925, 5.36, 0.1125)
    """
    gain = check_positive("gain", gain)
    check_choice("dynamics", dynamics, DYNAMICS)
    check_choice("form", form, FORMS)
    if 1.0 < gain < NEAREST_GAIN:
        raise OptionError(
            f"gain={gain!r} is within {NEAREST_GAIN - 1.0:.0e} above 1: variance and exponent are rounding noise.",
            hint="Use the expansion about the transition, or a gain further from it.",
        )
    if gain > LARGEST_GAIN:
        raise OptionError(
            f"gain={gain!r} is above {LARGEST_GAIN:g}, beyond which the series of tanh is too long.",
            hint="The variance is then that of sign units, 2 (1 - 2/pi) gain^2.",
        )
    if gain <= 1.0:
        return _silent(gain, dynamics, form)
    return _continuous(gain, form) if dynamics == "continuous" else _discrete(gain, form)


def current_variance(gain: float) -> float:
    """Solve the energy balance ``D^2 / 2 = g^2 Var[log cosh(sqrt(D) z)]`` for a gain above 1."""
    # Var|x| is less than the variance of x, so that the root lies below 2 g^2.
    low, high = 1e-14, 2.0 * gain**2
    return math.exp(
        brentq(
            lambda log_d: 2.0 * gain**2 * potential_variance(math.exp(log_d)) / math.exp(2.0 * log_d) - 1.0,
            math.log(low), math.log(high), xtol=1e-15, rtol=1e-15,
        )
    )  # fmt: skip


class _Profile(NamedTuple):
    """The solution on the panels of w: times, dt/dw, and the potential of the stability problem."""

    w: np.ndarray
    time: np.ndarray
    speed: np.ndarray
    potential: np.ndarray


def _continuous(gain: float, form: str) -> MeanField:
    """Solve for the autocovariance and its stability."""
    variance = current_variance(gain)
    series = pair_series(variance)
    panels = make_panels(_EDGES, _POINTS_PER_PANEL)
    profile = _profile(gain, series, panels)
    ground, derivative = lowest_states(panels, profile.speed, profile.potential)
    balance = 2.0 * gain**2 * float(series.integral(1.0)[0]) / variance**2 - 1.0
    # The derivative of D is the lowest odd state, of energy zero: relative to the ground state below it.
    residual = max(abs(balance), abs(derivative / ground))
    if ground >= 0.0 or not residual < _LOST:
        raise NumericalError(
            f"the mean field at gain {gain:g} violates its conservation laws by {residual:.1e}, wanted {_LOST:.0e}.",
            hint="Take a gain further from 1.",
        )
    mean_square = mean_square_rate(variance)
    half = brentq(lambda rho: float(series.rates(rho)[0]) - 0.5 * mean_square, 0.1, 1.0, xtol=1e-15)
    lags = _time_at(profile, [0.5, half])
    is_rate = form == "rate"
    return MeanField(
        gain=gain,
        dynamics="continuous",
        form=form,
        current_variance=variance,
        rate_variance=variance / gain**2 if is_rate else mean_square,
        current_half_lag=float(lags[0]),
        rate_half_lag=float(lags[0] if is_rate else lags[1]),
        exponent=-ground / (1.0 + math.sqrt(1.0 - ground)),
        autocovariance=_over_lags(gain, series, profile, form),
        residual=residual,
    )


def _profile(gain: float, series: PairSeries, panels) -> _Profile:
    """Find the time at which the autocovariance has fallen to D(0) / cosh(w), for every point w of the panels."""
    variance = series.variance
    w = panels.points.ravel()
    rho = 1.0 / np.cosh(w)
    is_upper = rho > 0.5
    kinetic = np.empty_like(w)
    # D'^2 = 2 (V(D0) - V(D)) = -2 V(D): each where it is a sum of what is small there.
    lower = rho[~is_upper]
    fallen = series.remainder(-log_cosh(w[is_upper]))
    kinetic[is_upper] = 2.0 * gain**2 * fallen - variance**2 * np.tanh(w[is_upper]) ** 2
    kinetic[~is_upper] = (variance * lower) ** 2 - 2.0 * gain**2 * series.integral(lower)
    speed = np.empty_like(w)
    speed[1:] = variance * rho[1:] * np.tanh(w[1:]) / np.sqrt(kinetic[1:])
    speed[0] = math.sqrt(variance / (gain**2 * float(series.rates(1.0)[0]) - variance))
    shape = panels.points.shape
    speed, potential = speed.reshape(shape), (1.0 - gain**2 * series.slopes(rho)).reshape(shape)
    return _Profile(panels.points, panels.cumulate(speed), speed, potential)


def _time_at(profile: _Profile, rho) -> np.ndarray:
    """Give the lags at which the correlation of the current is `rho`."""
    w, time, speed = _without_repeats(profile)
    return CubicHermiteSpline(w, time, speed)(np.arccosh(1.0 / np.asarray(rho)))


def _over_lags(gain: float, series: PairSeries, profile: _Profile, form: str) -> xr.Dataset:
    """Lay both autocovariances over evenly spaced lags."""
    w, time, speed = _without_repeats(profile)
    lag = np.linspace(0.0, float(_time_at(profile, _SHOWN)), _N_LAGS)
    rho = 1.0 / np.cosh(CubicHermiteSpline(time, w, 1.0 / speed)(lag))
    current = series.variance * rho
    return _dataset(lag, current, current / gain**2 if form == "rate" else series.rates(rho), "tau")


def _without_repeats(profile: _Profile) -> tuple[np.ndarray, ...]:
    """Give w, time and speed with the points that panels share only once."""
    is_new = np.concatenate([[True], np.diff(profile.w.ravel()) > _SAME])
    return profile.w.ravel()[is_new], profile.time.ravel()[is_new], profile.speed.ravel()[is_new]


def _discrete(gain: float, form: str) -> MeanField:
    """Solve for the variance of the map, whose values at two times are independent."""

    def excess(log_q: float) -> float:
        q = math.exp(log_q)
        return gain**2 * mean_square_rate(q) / q - 1.0

    q = math.exp(brentq(excess, math.log(1e-14), math.log(gain**2), xtol=1e-15, rtol=1e-15))
    lag = np.arange(6.0)
    current = np.where(lag == 0.0, q, 0.0)
    return MeanField(
        gain=gain,
        dynamics="discrete",
        form=form,
        current_variance=q,
        rate_variance=q / gain**2,
        current_half_lag=1.0,
        rate_half_lag=1.0,
        exponent=0.5 * math.log(gain**2 * mean_square_slope(q)),
        autocovariance=_dataset(lag, current, current / gain**2, "step"),
        residual=abs(excess(math.log(q))),
    )


def _silent(gain: float, dynamics: str, form: str) -> MeanField:
    """Describe the state without activity, which the eigenvalue of the weights of largest real part or size rules."""
    is_flow = dynamics == "continuous"
    lag = np.linspace(0.0, 10.0, 11)
    return MeanField(
        gain=gain,
        dynamics=dynamics,
        form=form,
        current_variance=0.0,
        rate_variance=0.0,
        current_half_lag=math.nan,
        rate_half_lag=math.nan,
        exponent=gain - 1.0 if is_flow else math.log(gain),
        autocovariance=_dataset(lag, np.zeros_like(lag), np.zeros_like(lag), "tau" if is_flow else "step"),
        residual=0.0,
    )


def _dataset(lag: np.ndarray, current: np.ndarray, rate: np.ndarray, unit: str) -> xr.Dataset:
    """Label autocovariances."""
    return xr.Dataset(
        {
            "current": ("lag", current, {"long_name": "autocovariance of the current"}),
            "rate": ("lag", rate, {"long_name": "autocovariance of the rate"}),
        },
        coords={"lag": ("lag", lag, {"units": unit})},
    )
