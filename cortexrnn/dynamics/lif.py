"""Leaky integrate-and-fire neurons in noise: their firing rate, and the neurons whose rates are those of rate units.

Between spikes ``tau_m dv/dt = mean - v`` plus white noise that gives a membrane without threshold the standard
deviation `noise_sd`; at ``v = 1`` the neuron spikes, v is set to 0 and stays there for the refractory period.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.special import erfcx

from cortexrnn._checks import check_positive
from cortexrnn.cells.activation import Activation
from cortexrnn.errors import OptionError

# How far a threshold that is looked at every step seems to be moved, in standard deviations of one step's noise:
# -zeta(1/2)/sqrt(2 pi), Broadie, Glasserman and Kou (1997), doi:10.1111/1467-9965.00035.
_SEEMING_SHIFT = 0.5825971579390107
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(64)
# Beyond this many standard deviations from threshold a neuron fires less than once in a billion time constants.
_FARTHEST = 6.0
_SMALLEST_NOISE, _LARGEST_NOISE = 0.02, 2.0
_N_FITTED = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class LIF:
    """What all neurons of a spiking twin have in common.

    Attributes
    ----------
    tau_m_s : float
        Membrane time constant in seconds.
    refractory_s : float
        Refractory period in seconds; 0 for none.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    tau_m_s: float = 0.01
    refractory_s: float = 0.002

    def __post_init__(self):
        object.__setattr__(self, "tau_m_s", check_positive("tau_m_s", self.tau_m_s))
        if not 0.0 <= self.refractory_s < float("inf"):
            raise OptionError(f"refractory_s={self.refractory_s!r} is not valid; expected a time of at least 0 s.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """How the input z of a rate unit becomes the membrane's mean and noise in its neurons.

    Attributes
    ----------
    offset, slope : float
        The membrane's mean is ``offset + slope z``.
    noise_sd : float
        Standard deviation of a membrane without threshold.
    largest_error_hz : float
        Largest difference between the neurons' rate and the unit's over the inputs of the fit.
    highest_hz : float
        Highest rate of the unit over these inputs.
    """

    offset: float
    slope: float
    noise_sd: float
    largest_error_hz: float
    highest_hz: float


def lif_rate_hz(mean, noise_sd: float, neuron: LIF, *, dt_s: float = 0.0) -> np.ndarray:
    """Give the stationary firing rate of LIF neurons in white noise.

    The mean first-passage time of Siegert (1951), doi:10.1103/PhysRev.81.617, as in Brunel (2000),
    doi:10.1023/A:1008925309027, eq. 21, to 1e-9 of the rate. A simulation that looks at the threshold once a step
    misses crossings; for the rate under a step of `dt_s` the threshold is moved up by 0.583 standard deviations of
    the noise of one step, which is exact to first order.

    Parameters
    ----------
    mean : array_like
        Mean of a membrane without threshold.
    noise_sd : float
        Its standard deviation, positive.
    neuron : LIF
    dt_s : float
        Time step in seconds; 0 for continuous time.

    Returns
    -------
    ndarray
        In Hz, in the shape of `mean`.
    """
    mean = np.asarray(mean, dtype=float)
    threshold = 1.0
    if dt_s > 0.0:
        threshold += _SEEMING_SHIFT * noise_sd * np.sqrt(-np.expm1(-2.0 * dt_s / neuron.tau_m_s))
    scale = np.sqrt(2.0) * noise_sd
    low, high = -mean / scale, (threshold - mean) / scale
    # exp(x^2) (1 + erf x) is erfcx(-x); nodes of every neuron in a last axis. Cut where it would overflow.
    cut = np.minimum(high, _FARTHEST)
    low = np.minimum(low, cut)
    nodes = 0.5 * (cut + low)[..., None] + 0.5 * (cut - low)[..., None] * _NODES
    integral = 0.5 * (cut - low) * (erfcx(-nodes) @ _NODE_WEIGHTS)
    interval_s = neuron.refractory_s + neuron.tau_m_s * np.sqrt(np.pi) * integral
    return np.where(high < _FARTHEST, 1.0 / interval_s, 0.0)


def fit_transfer(activation: Activation, rate_scale_hz: float, inputs, neuron: LIF, *, dt_s: float) -> Transfer:
    """Find the mean and the noise with which LIF neurons fire as a rate unit does.

    Least squares over the inputs given; an activation is matched as well as the curve of an LIF neuron can be bent.

    Parameters
    ----------
    activation : Activation
    rate_scale_hz : float
        Hertz per unit of rate.
    inputs : array_like
        Inputs z that the unit meets, each as often as it counts.
    neuron : LIF
    dt_s : float
        Time step of the simulation; the rates fitted are those under this step.

    Returns
    -------
    Transfer

    Raises
    ------
    OptionError
        If the unit's rate is negative or the same everywhere, or faster than the refractory period allows.
    """
    z = np.sort(np.asarray(inputs, dtype=float).ravel())
    # Half the weight where the activity was, half spread evenly over its range.
    z = np.concatenate([np.quantile(z, np.linspace(0, 1, _N_FITTED)), np.linspace(z[0], z[-1], _N_FITTED)])
    wanted_hz = rate_scale_hz * activation(z)
    highest_hz = float(wanted_hz.max())
    if wanted_hz.min() < 0.0 or not highest_hz > 0.0:
        raise OptionError(
            f"rates from {wanted_hz.min():.4g} to {highest_hz:.4g} Hz cannot be those of spikes; expected some above 0 "
            "and none below.",
            hint="Take an activation that is never negative, or another stimulus.",
        )
    if highest_hz * neuron.refractory_s >= 0.9:
        raise OptionError(
            f"a rate of {highest_hz:.4g} Hz is too fast for a refractory period of {neuron.refractory_s} s.",
            hint="Shorten refractory_s.",
        )

    # In these the curve's place, steepness and bend hardly depend on each other: the mean in the middle of the
    # inputs, its change over their range, and the logarithm of the noise.
    middle, width = 0.5 * (z[0] + z[-1]), max(z[-1] - z[0], 1e-12)

    def rates(p: np.ndarray) -> np.ndarray:
        return lif_rate_hz(p[0] + p[1] * (z - middle) / width, np.exp(p[2]), neuron, dt_s=dt_s)

    # Far above threshold the rate grows by about 1/tau_m per unit of the mean.
    change = max((wanted_hz.max() - wanted_hz.min()) * neuron.tau_m_s, 1e-6)
    starts = [(1.0, change, np.log(sd)) for sd in (0.1, 0.3, 0.6)]
    bounds = ((-np.inf, 0.0, np.log(_SMALLEST_NOISE)), (np.inf, np.inf, np.log(_LARGEST_NOISE)))
    fits = [
        least_squares(lambda p: (rates(p) - wanted_hz) / highest_hz, start, bounds=bounds, x_scale="jac", ftol=1e-7)
        for start in starts
    ]
    best = min(fits, key=lambda fit: fit.cost).x
    slope = best[1] / width
    return Transfer(
        offset=float(best[0] - slope * middle),
        slope=float(slope),
        noise_sd=float(np.exp(best[2])),
        largest_error_hz=float(np.abs(rates(best) - wanted_hz).max()),
        highest_hz=highest_hz,
    )
