"""Mean field of rank-one networks, alone and on top of a random part (Mastrogiuseppe and Ostojic 2018).

``tau dx/dt = -x + (m n^T / N + J) tanh(x)``, Gaussian loadings of mean zero, var m = 1 and cov(m, n) = overlap s, J
Gaussian of variance g^2 / N (doi:10.1016/j.neuron.2018.07.003). With kappa = n . tanh(x) / N the currents are
``kappa m`` plus a Gaussian of the random part; D is their variance, and kappa is not zero where ::

    1 = s E[tanh'(sqrt(D) z)]

which fixes D by the overlap alone. What is left of D for kappa is ``kappa^2 = D - g^2 E[tanh(sqrt(D) z)^2]`` where
activity is stationary. Where the random part makes it fluctuate (``g^2 E[tanh'^2] > 1``), D decays over time to a
static part P, ``kappa^2 = P - g^2 C(P)``, and the energy at both ends is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from cortexrnn.circuit import fields
from cortexrnn.errors import OptionError
from cortexrnn.theory.mean_field.dmft import LARGEST_GAIN, NEAREST_GAIN, current_variance
from cortexrnn.theory.mean_field.gaussian import (
    gaussian_mean,
    mean_slope,
    mean_square_rate,
    mean_square_slope,
    pair_series,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PHASES = ("silent", "structured", "structured chaos", "chaos")
LARGEST_OVERLAP = 50.0
# A fluctuating part below this fraction of the variance is lost in rounding: the state counts as stationary.
_SMALLEST_PART = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RankOne:
    """The state of a rank-one network of infinite size; where there are two, kappa and minus kappa, that above 0.

    Attributes
    ----------
    overlap, gain : float
        Covariance of the loadings; deviation of the random weights times sqrt(N).
    phase : {"silent", "structured", "structured chaos", "chaos"}
        Structured where kappa is not 0, chaos where activity fluctuates for ever.
    kappa : float
        Activity along m, at least 0.
    current_variance, rate_variance : float
        Variance of x and of tanh(x), over units and time.
    static_variance : float
        Part of the current's variance that does not fluctuate in time: that over units of each one's mean.
    bulk_radius : float
        Radius of the bulk of the eigenvalues of ``J tanh'(x)``; the linearised dynamics have -1 added.
    outliers : tuple of complex
        Its eigenvalues that the rank-one term makes, where activity is stationary and they lie outside the bulk.
    """

    overlap: float
    gain: float
    phase: str
    kappa: float
    current_variance: float
    rate_variance: float
    static_variance: float
    bulk_radius: float
    outliers: tuple[complex, ...]

    @property
    def is_stable(self) -> bool:
        """Whether the state is a stable fixed point."""
        return self.bulk_radius < 1.0 and all(value.real < 1.0 for value in self.outliers)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw kappa against the overlap at this gain, and mark this state.

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

        curve = rank_one_curve(np.linspace(0.0, max(1.3 * self.overlap, 2.0), 53), gain=self.gain)
        ax = own_axes() if ax is None else ax
        return mean_field.plot_kappa(ax, curve, at=(self.overlap, self.kappa))


def rank_one(overlap: float, *, gain: float = 0.0) -> RankOne:
    """Solve the mean field theory of a rank-one network, with a random part where a gain is given.

    Parameters
    ----------
    overlap : float
        Covariance of the loadings m and n, var m = 1; at most 50.
    gain : float
        Deviation of the random weights times sqrt(N), from 0 to 30.

    Returns
    -------
    RankOne

    Raises
    ------
    OptionError
        If the overlap is not finite or too large, or the gain is negative, too large or too close to 1 from above.
    NumericalError
        If the averages at this overlap and gain cannot be computed.

    Examples
    --------
    >>> found = rank_one(2.0)
    >>> found.phase, round(found.kappa, 3)
    ('structured', 1.337)
    >>> rank_one(2.0, gain=0.8).kappa < found.kappa
    True
    """
    overlap, gain = _checked(overlap, gain)
    if overlap <= 1.0:
        return _unstructured(overlap, gain)
    variance = structured_variance(overlap)
    if gain**2 * mean_square_slope(variance) <= 1.0:
        kappa_squared = variance - gain**2 * mean_square_rate(variance)
        # The silent state of a gain above 1 is unstable: what is left without structure is chaos.
        return (
            _structured(overlap, gain, variance, kappa_squared) if kappa_squared > 0.0 else _unstructured(overlap, gain)
        )
    if variance <= current_variance(gain):
        return _unstructured(overlap, gain)
    return _fluctuating(overlap, gain, variance)


def rank_one_curve(overlaps: Sequence[float], *, gain: float = 0.0) -> xr.Dataset:
    """Solve for many overlaps.

    Parameters
    ----------
    overlaps : sequence of float
        As `rank_one` takes them.
    gain : float

    Returns
    -------
    xarray.Dataset
        ``kappa``, ``current_variance``, ``static_variance`` and ``phase`` over ``overlap``; attribute ``gain``.

    Raises
    ------
    OptionError
        If an overlap or the gain is not valid.
    """
    found = [rank_one(overlap, gain=gain) for overlap in overlaps]
    names = ("kappa", "current_variance", "static_variance", "phase")
    return xr.Dataset(
        {name: ("overlap", np.array([getattr(each, name) for each in found])) for name in names},
        coords={"overlap": ("overlap", np.array([each.overlap for each in found]))},
        attrs={"gain": float(gain)},
    )


def structured_variance(overlap: float) -> float:
    """Give the variance D of the currents with ``1 = s E[tanh'(sqrt(D) z)]`` for an overlap s above 1."""
    # E[tanh'] is at most E|d sign|: sqrt(2 / (pi D)).
    high = 2.0 * overlap**2
    log_d = brentq(
        lambda log_d: overlap * mean_slope(math.exp(log_d)) - 1.0, math.log(1e-18), math.log(high), xtol=1e-14
    )
    return math.exp(log_d)


def _checked(overlap: float, gain: float) -> tuple[float, float]:
    """Refuse overlaps and gains for which there is no answer."""
    gain = fields.number("gain", gain, expected="a deviation of at least 0", low=0.0)
    overlap = fields.number("overlap", overlap)
    if overlap > LARGEST_OVERLAP:
        raise OptionError(
            f"overlap={overlap!r} is larger than {LARGEST_OVERLAP:g}; tanh is then a step for nearly all units.",
            hint="For large overlaps kappa is sqrt(2/pi) times the overlap.",
        )
    if gain > LARGEST_GAIN or 1.0 < gain < NEAREST_GAIN:
        raise OptionError(
            f"gain={gain!r} is not valid; expected 0 to 1, or {NEAREST_GAIN} to {LARGEST_GAIN:g}.",
            hint="Right above 1 numbers are lost in rounding; see dmft.",
        )
    return overlap, gain


def _unstructured(overlap: float, gain: float) -> RankOne:
    """Describe the state with kappa = 0: silence, or the chaos of the random part alone."""
    is_silent = gain <= 1.0
    variance = 0.0 if is_silent else current_variance(gain)
    return RankOne(
        overlap=overlap,
        gain=gain,
        phase="silent" if is_silent else "chaos",
        kappa=0.0,
        current_variance=variance,
        rate_variance=mean_square_rate(variance),
        static_variance=0.0,
        bulk_radius=gain * math.sqrt(mean_square_slope(variance)),
        outliers=(complex(overlap),) if is_silent and abs(overlap) > gain else (),
    )


def _structured(overlap: float, gain: float, variance: float, kappa_squared: float) -> RankOne:
    """Describe the stationary state with kappa above 0, and its stability."""
    radius = gain * math.sqrt(mean_square_slope(variance))
    values = _outliers(overlap, gain, variance, kappa_squared)
    return RankOne(
        overlap=overlap,
        gain=gain,
        phase="structured",
        kappa=math.sqrt(kappa_squared),
        current_variance=variance,
        rate_variance=mean_square_rate(variance),
        static_variance=variance,
        bulk_radius=radius,
        outliers=tuple(complex(value) for value in values if abs(value) > radius),
    )


def _outliers(overlap: float, gain: float, variance: float, kappa_squared: float) -> np.ndarray:
    """Give the eigenvalues of the two averages that close on themselves when all currents are perturbed.

    Of a perturbation y of the currents x, ``c = E[x y]`` and ``d``, that of kappa. With Gaussian x and y (Stein) an
    eigenvalue L of the weights times tanh' has ``L c = kappa d + g^2 A c``, ``A = E[tanh'^2 + tanh tanh'']``, and
    ``L d = d + s kappa E[tanh'''] L c``.
    """
    third = gaussian_mean(_third_derivative, variance)
    # tanh tanh'' is -2 tanh^2 tanh'.
    pairs = gain**2 * gaussian_mean(lambda x: _slope(x) ** 2 - 2.0 * np.tanh(x) ** 2 * _slope(x), variance)
    kappa = math.sqrt(kappa_squared)
    bend = overlap * kappa * third
    return np.linalg.eigvals(np.array([[pairs, kappa], [bend * pairs, 1.0 + bend * kappa]]))


def _slope(x: np.ndarray) -> np.ndarray:
    """Give tanh'."""
    return 1.0 - np.tanh(x) ** 2


def _third_derivative(x: np.ndarray) -> np.ndarray:
    """Give tanh'''."""
    return _slope(x) * (6.0 * np.tanh(x) ** 2 - 2.0)


def _fluctuating(overlap: float, gain: float, variance: float) -> RankOne:
    """Describe the state with kappa above 0 whose currents fluctuate about their own means."""
    series = pair_series(variance)

    def kappa_squared(part: float) -> float:
        """Give kappa^2 for a fluctuating part of the variance, as a fraction."""
        static = variance * (1.0 - part)
        return static - gain**2 * float(series.rates(1.0 - part)[0])

    def imbalance(part: float) -> float:
        """Give the energy at lag zero less that at infinity, over the square of the part: without its trivial root."""
        fallen = gain**2 * float(series.remainder(math.log1p(-part))[0])
        height = 0.5 * variance**2 * part * (2.0 - part)
        return (height - fallen - kappa_squared(part) * variance * part) / (variance * part) ** 2

    is_lost = imbalance(_SMALLEST_PART) >= 0.0
    part = _SMALLEST_PART if is_lost else brentq(imbalance, _SMALLEST_PART, 1.0 - 1e-12, xtol=1e-14)
    return RankOne(
        overlap=overlap,
        gain=gain,
        phase="structured chaos",
        kappa=math.sqrt(max(kappa_squared(part), 0.0)),
        current_variance=variance,
        rate_variance=mean_square_rate(variance),
        static_variance=variance * (1.0 - part),
        bulk_radius=gain * math.sqrt(mean_square_slope(variance)),
        outliers=(),
    )
