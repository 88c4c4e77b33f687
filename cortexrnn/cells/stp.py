"""Short-term plasticity of Tsodyks and Markram: what a synapse releases, spike by spike and in rates.

``u`` is the utilisation and ``x`` the resources; between spikes both relax, with tau_f and tau_d. The literature
has two conventions, which release differently:

==============  ===================  =================================================================  =============
name            between spikes       at a spike                                                         first release
==============  ===================  =================================================================  =============
tsodyks1998     u decays to 0        u <- u + U (1 - u), then u x is released, then x <- x - u x        U
mongillo2008    u decays to U        the same                                                           U (2 - U)
==============  ===================  =================================================================  =============

The first is that of Tsodyks, Pawelzik and Markram (1998), doi:10.1162/089976698300017502; the second is how the
equations of Mongillo, Barak and Tsodyks (2008), doi:10.1126/science.1150769, read as events. With tau_f = 0 there is
depression only, and u is U in both.

The rate form is the mean field of these events under a rate r::

    du/dt = (U - u) / tau_f + U (1 - u) r
    dx/dt = (1 - x) / tau_d - v x r,        release per second v x r

with ``v = u`` for tsodyks1998, where u stands for the utilisation that a spike finds after its own jump, and
``v = u + U (1 - u)`` for mongillo2008, where it is that before the jump. Published rate models, that of Mongillo et
al. (2008) among them, write ``v = u``: take tsodyks1998 for them. What the mean field leaves out is the covariance of
v and x over Poisson trains, which `poisson_average` gives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.cells.stp_kernels import PlasticityLaw, release_spikes
from cortexrnn.errors import DataError, OptionError
from cortexrnn.numerics.streams import stream

# In the order of the kernels' codes.
CONVENTIONS = ("tsodyks1998", "mongillo2008")
# Spikes of each train over which `poisson_average` takes its means.
_N_AVERAGED = 1000


class Releases(NamedTuple):
    """What every spike releases.

    Attributes
    ----------
    release : ndarray, shape (n_spikes,)
        Fraction of all resources that the spike releases, ``u x``.
    u : ndarray, shape (n_spikes,)
        Fraction that the spike uses, after its own jump.
    x : ndarray, shape (n_spikes,)
        Resources that the spike finds.
    """

    release: np.ndarray
    u: np.ndarray
    x: np.ndarray


class PoissonAverage(NamedTuple):
    """Means over the spikes of Poisson trains, and their standard errors.

    Attributes
    ----------
    release : float
        Release per spike, ``u x + covariance``; times the rate, it is the release per second.
    u : float
        Fraction that a spike uses; for mongillo2008 the mean field's v.
    x : float
        Resources that a spike finds.
    covariance : float
        Covariance of u and x over spikes, which the mean field leaves out.
    release_error, u_error, x_error, covariance_error : float
        Standard errors.
    """

    release: float
    u: float
    x: float
    covariance: float
    release_error: float
    u_error: float
    x_error: float
    covariance_error: float


class SteadyState(NamedTuple):
    """Where a rate or a regular train leads; arrays in the shape of the rates.

    Attributes
    ----------
    u, x : ndarray
        State: for rates that of the rate form, for regular trains as in `Releases`.
    efficacy : ndarray
        Release per spike.
    release_hz : ndarray
        Release per second.
    """

    u: np.ndarray
    x: np.ndarray
    efficacy: np.ndarray
    release_hz: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortTermPlasticity:
    """Parameters of one class of synapses.

    Attributes
    ----------
    U : float
        Fraction that is added to the utilisation by a spike, in (0, 1].
    tau_f_s : float
        Time constant of facilitation in seconds; 0 for depression only.
    tau_d_s : float
        Time constant of the recovery from depression in seconds.
    convention : {"tsodyks1998", "mongillo2008"}
        What u decays to; see the head of the module.

    Raises
    ------
    OptionError
        If a value is out of range or the convention unknown.

    Examples
    --------
    >>> stp = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
    >>> stp.is_facilitating, round(stp.peak_rate_hz, 3)
    (True, 2.985)
    """

    U: float
    tau_f_s: float
    tau_d_s: float
    convention: str = "tsodyks1998"

    def __post_init__(self):
        check_choice("convention", self.convention, CONVENTIONS)
        U = check_positive("U", self.U)
        if U > 1.0:
            raise OptionError(
                f"U={self.U!r} is above 1; expected the fraction in (0, 1] that a spike adds to the utilisation."
            )
        tau_d_s = check_positive("tau_d_s", self.tau_d_s)
        if self.tau_f_s != 0:
            check_positive("tau_f_s", self.tau_f_s)
        for name, value in (("U", U), ("tau_f_s", float(self.tau_f_s)), ("tau_d_s", tau_d_s)):
            object.__setattr__(self, name, value)

    @property
    def law(self) -> PlasticityLaw:
        """The parameters as kernels take them."""
        return PlasticityLaw(self.U, self.tau_f_s, self.tau_d_s, CONVENTIONS.index(self.convention))

    @property
    def is_facilitating(self) -> bool:
        """Whether the release per spike first grows with the rate: ``U < tau_f / (tau_f + tau_d)`` for tsodyks1998."""
        return self.peak_rate_hz > 0.0

    @property
    def peak_rate_hz(self) -> float:
        """Rate at which the release per spike ``v x`` of the mean field is largest; 0 for a depressing synapse."""
        if self.tau_f_s == 0.0:
            return 0.0
        # 1 / (v x) is 1 / v + tau_d r, and 1 / v = (1 + U tau_f r) / (U (offset + tau_f r)) in both conventions.
        offset = 1.0 if self.convention == "tsodyks1998" else 2.0 - self.U
        slope = math.sqrt(1.0 - self.U) if self.convention == "tsodyks1998" else 1.0 - self.U
        return max((slope * math.sqrt(self.tau_f_s / (self.U * self.tau_d_s)) - offset) / self.tau_f_s, 0.0)

    @property
    def limit_hz(self) -> float:
        """Release per second that the mean field approaches at high rates, in either convention."""
        return 1.0 / self.tau_d_s

    def steady_state(self, rate_hz) -> SteadyState:
        """Give the steady state of the rate form.

        Parameters
        ----------
        rate_hz : float or array_like
            Presynaptic rates, at least 0.

        Returns
        -------
        SteadyState

        Raises
        ------
        OptionError
            If a rate is negative or not finite.
        """
        rate_hz = _check_rates(rate_hz)
        u = self.U * (1.0 + self.tau_f_s * rate_hz) / (1.0 + self.U * self.tau_f_s * rate_hz)
        v = self._used(u)
        x = 1.0 / (1.0 + v * self.tau_d_s * rate_hz)
        return SteadyState(u, x, v * x, v * x * rate_hz)

    def regular_train(self, rate_hz) -> SteadyState:
        """Give what every spike of a regular train does in the end.

        Parameters
        ----------
        rate_hz : float or array_like
            Spikes per second, positive.

        Returns
        -------
        SteadyState

        Raises
        ------
        OptionError
            If a rate is not positive and finite.
        """
        rate_hz = _check_rates(rate_hz)
        if not (rate_hz > 0.0).all():
            raise OptionError("rate_hz is 0: a train without spikes has no steady state.")
        kept = (1.0 - self.U) * np.exp(-1.0 / (self.tau_f_s * rate_hz)) if self.tau_f_s > 0.0 else 0.0 * rate_hz
        rest, first = self._rest_and_first()
        u = (first - kept * rest) / (1.0 - kept)
        recovered, left = -np.expm1(-1.0 / (self.tau_d_s * rate_hz)), np.exp(-1.0 / (self.tau_d_s * rate_hz))
        x = recovered / (1.0 - (1.0 - u) * left)
        return SteadyState(u, x, u * x, u * x * rate_hz)

    def _used(self, u):
        """Give the fraction v that a spike uses at a state u of the rate form."""
        is_before_jump = self.convention == "mongillo2008" and self.tau_f_s > 0.0
        return u + self.U * (1.0 - u) if is_before_jump else u

    def _rest_and_first(self) -> tuple[float, float]:
        """Give what u decays to, and the fraction that a spike at rest uses."""
        rest = self.U if self.convention == "mongillo2008" and self.tau_f_s > 0.0 else 0.0
        return rest, self.U + (1.0 - self.U) * rest


def release_train(stp: ShortTermPlasticity, spike_times_s) -> Releases:
    """Give what every spike of one train releases, from rest.

    Parameters
    ----------
    stp : ShortTermPlasticity
    spike_times_s : array_like, shape (n_spikes,)
        Spike times in seconds, in order.

    Returns
    -------
    Releases

    Raises
    ------
    DataError
        If a time is not finite or they are not in order.

    Examples
    --------
    >>> stp = ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=1.0)
    >>> release_train(stp, [0.0, 0.0, 100.0]).release
    array([0.5 , 0.25, 0.5 ])
    """
    times_s = np.asarray(spike_times_s, dtype=np.float64)
    return release_trains(stp, times_s, np.array([0, times_s.size]))


def release_trains(stp: ShortTermPlasticity, spike_times_s, offsets) -> Releases:
    """Give what every spike of many trains releases, every train from rest.

    Parameters
    ----------
    stp : ShortTermPlasticity
    spike_times_s : array_like, shape (n_spikes,)
        Spike times in seconds, train after train, in order within each.
    offsets : array_like of int, shape (n_trains + 1,)
        Train k holds the spikes offsets[k] to offsets[k + 1]; from 0 to n_spikes.

    Returns
    -------
    Releases

    Raises
    ------
    DataError
        If a time is not finite, times are not in order, or the offsets do not cut the spikes into trains.
    """
    times_s = np.ascontiguousarray(spike_times_s, dtype=np.float64)
    bounds = np.asarray(offsets)
    if times_s.ndim != 1 or bounds.ndim != 1:
        raise DataError(f"spike_times_s has shape {times_s.shape} and offsets {bounds.shape}; expected one axis each.")
    is_whole = bounds.size > 0 and bounds.dtype.kind in "iu"
    if not is_whole or bounds[0] != 0 or bounds[-1] != times_s.size or (bounds[1:] < bounds[:-1]).any():
        raise DataError(
            f"offsets={bounds} do not cut {times_s.size} spikes into trains.",
            hint=f"Expected whole numbers that never fall, from 0 to {times_s.size}.",
        )
    bounds = np.ascontiguousarray(bounds, dtype=np.int64)
    releases = Releases(np.empty_like(times_s), np.empty_like(times_s), np.empty_like(times_s))
    if not release_spikes(times_s, bounds, stp.law, *releases):
        raise _misplaced_spike(times_s, bounds)
    return releases


def poisson_average(stp: ShortTermPlasticity, rate_hz: float, *, n_trains: int = 200, seed: int = 0) -> PoissonAverage:
    """Average what the spikes of simulated Poisson trains release, long after their start.

    Poisson spikes find the time average of u and x, so that these are the means of which `steady_state` is the mean
    field. Its release per second is too high where u and x fall and rise against each other: their covariance is
    what it leaves out.

    Parameters
    ----------
    stp : ShortTermPlasticity
    rate_hz : float
        Spikes per second, positive.
    n_trains : int
        Independent trains of 1000 spikes each after the state has forgotten its start; at least 2.
    seed : int

    Returns
    -------
    PoissonAverage

    Raises
    ------
    OptionError
        If the rate is not positive or there are fewer than two trains.

    Examples
    --------
    >>> stp = ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.8)
    >>> average, mean_field = poisson_average(stp, 10.0), stp.steady_state(10.0)
    >>> bool(abs(average.release - mean_field.efficacy) < 4.0 * average.release_error)
    True
    """
    rate_hz, n_trains = check_positive("rate_hz", rate_hz), check_count("n_trains", n_trains, at_least=2)
    # After this many Poisson spikes a start is forgotten to exp(-20).
    n_settling = math.ceil(20.0 * (1.0 + rate_hz * max(stp.tau_f_s, stp.tau_d_s)))
    n_spikes = n_settling + _N_AVERAGED
    means = np.empty((3, n_trains))
    for train in range(n_trains):
        intervals_s = stream(seed, "poisson average", train).exponential(1.0 / rate_hz, n_spikes)
        means[:, train] = [of_spikes[n_settling:].mean() for of_spikes in release_train(stp, np.cumsum(intervals_s))]
    release, u, x = means.mean(axis=1)
    # The covariance to first order in what each train adds to the three means.
    covariance_of_train = means[0] - x * means[1] - u * means[2]
    errors = [of_trains.std(ddof=1) / math.sqrt(n_trains) for of_trains in (*means, covariance_of_train)]
    values = (release, u, x, release - u * x)
    return PoissonAverage(*map(float, values), *map(float, errors))


def _misplaced_spike(times_s: np.ndarray, offsets: np.ndarray) -> DataError:
    """Say which spike is not finite or comes before its predecessor."""
    with np.errstate(invalid="ignore", over="ignore"):
        intervals = np.diff(times_s, prepend=0.0)
    intervals[offsets[:-1][offsets[:-1] < times_s.size]] = 0.0
    at = int(np.flatnonzero(~np.isfinite(times_s) | ~((intervals >= 0.0) & (intervals < np.inf)))[0])
    train = int(np.searchsorted(offsets, at, side="right")) - 1
    return DataError(
        f"spike {at - offsets[train]} of train {train} is at {times_s[at]} s, which is not finite or not in order.",
        where="spike_times_s",
        hint="Sort the times of every train and leave out what is missing.",
    )


def _check_rates(rate_hz) -> np.ndarray:
    """Give rates as an array, or raise OptionError where one is negative or not finite."""
    rates = np.asarray(rate_hz, dtype=np.float64)
    is_rate = np.isfinite(rates) & (rates >= 0.0)
    if not is_rate.all():
        raise OptionError(f"rate_hz holds {rates[~is_rate].flat[0]}; expected finite rates of at least 0.")
    return rates
