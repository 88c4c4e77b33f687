"""Kernels of Tsodyks-Markram plasticity: what spike trains release, and one step under a rate.

``u`` decays to ``rest``, which is 0 or U by convention; a spike raises it to ``u + U (1 - u)``, the fraction that it
uses of the resources ``x`` that it finds. From spike to spike, an interval T apart, the fraction used and the
resources found therefore follow two linear recurrences, with the old values on the right::

    used  <- first + (1 - U) exp(-T / tau_f) (used - rest),    first = U + (1 - U) rest
    found <- 1 - exp(-T / tau_d) (1 - (1 - used) found)

Under rates, a negative rate counts as 0 everywhere here: no unit takes back what a synapse released. NaN stays NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.numerics.elementwise import exp64, expm1, one

TSODYKS1998, MONGILLO2008 = 0, 1
# Spikes whose exponentials are computed together; the buffers stay in the first-level cache.
_BLOCK = 512
# Between a train's first spike and the rest before it: any exponential of it is nothing beside 1.
_LONG_AGO_S = 1e300


class PlasticityLaw(NamedTuple):
    """Parameters of one class of synapses, as kernels take them.

    Attributes
    ----------
    U, tau_f_s, tau_d_s : float
        As in `ShortTermPlasticity`.
    convention : int
        TSODYKS1998 or MONGILLO2008.
    """

    U: float
    tau_f_s: float
    tau_d_s: float
    convention: int


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def release_spikes(times_s, offsets, law, release, u, x):
    """Give what every spike of many trains releases; every train starts at rest.

    Intervals and exponentials are computed a block at a time, where they become SIMD code; only the two
    recurrences, a multiply-add each, go spike by spike.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n_spikes,)
        Spike times, train after train.
    offsets : ndarray of int64, shape (n_trains + 1,)
        Train k holds the spikes offsets[k] to offsets[k + 1].
    law : PlasticityLaw
    release, u, x : ndarray of float64, shape (n_spikes,)
        Filled: fraction released, fraction used, resources found.

    Returns
    -------
    bool
        Whether all times are finite and in order within their train; if not, nothing that was filled is of use.
    """
    intervals, u_factor, x_factor = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    rest = law.U if law.convention == MONGILLO2008 and law.tau_f_s > 0.0 else 0.0
    first = law.U + (1.0 - law.U) * rest
    # Without facilitation nothing is kept from spike to spike, and every spike uses `first`, which is U.
    kept, u_decay = (1.0 - law.U, -1.0 / law.tau_f_s) if law.tau_f_s > 0.0 else (0.0, 0.0)
    used, found = first, 1.0
    train = 0
    is_ordered = True
    for start in range(0, times_s.size, _BLOCK):
        n = min(_BLOCK, times_s.size - start)
        for i in range(n):
            intervals[i] = times_s[start + i] - times_s[max(start + i - 1, 0)]
        while train < offsets.size - 1 and offsets[train] < start + n:
            is_ordered &= np.isfinite(times_s[offsets[train]])
            intervals[offsets[train] - start] = _LONG_AGO_S
            train += 1
        is_ordered &= _decay(intervals[:n], (kept, u_decay), -1.0 / law.tau_d_s, u_factor, x_factor)
        for i in range(n):
            found = (1.0 - x_factor[i]) + (x_factor[i] * (1.0 - used)) * found
            used = (first - u_factor[i] * rest) + u_factor[i] * used
            u[start + i] = used
            x[start + i] = found
            release[start + i] = used * found
    return is_ordered


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def advance_rates(u, x, rate_hz, dt_s, law):
    """Advance many synapses of one class by one step, in place; the loop becomes SIMD code. See `rate_step`.

    Parameters
    ----------
    u, x : ndarray, shape (n,), both float32 or both float64
        State.
    rate_hz : ndarray, shape (n,), of the same precision
        Presynaptic rates.
    dt_s : float
    law : PlasticityLaw
    """
    kind = u.dtype.type
    U, tau_f_s, tau_d_s, dt_s = kind(law.U), kind(law.tau_f_s), kind(law.tau_d_s), kind(dt_s)
    for i in range(u.size):
        u[i], x[i] = rate_step(u[i], x[i], rate_hz[i], dt_s, U, tau_f_s, tau_d_s, law.convention)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def release_rates(u, x, rate, law, out):
    """Fill in what many synapses of one class release, ``v x rate``; the loop becomes SIMD code.

    Parameters
    ----------
    u, x : ndarray, shape (n,), both float32 or both float64
        State.
    rate : ndarray, shape (n,), of the same precision
        Presynaptic rates in any unit.
    law : PlasticityLaw
    out : ndarray, shape (n,), of the same precision
        Filled, in the unit of the rates.
    """
    U, tau_f_s = u.dtype.type(law.U), u.dtype.type(law.tau_f_s)
    for i in range(u.size):
        out[i] = used_fraction(u[i], U, tau_f_s, law.convention) * x[i] * _positive(rate[i])


@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def rate_step(u, x, rate_hz, dt_s, U, tau_f_s, tau_d_s, convention):
    """Give u and x after one step of the mean field, the rate held over the step.

    Each state relaxes exactly towards the value that it would reach, so neither leaves [0, 1] however long the
    step. x uses the fraction half-way between the old and the new u, which makes the step second order; the
    steady state is reached and kept exactly. All arguments but the convention have one precision. For use inside
    kernels.

    Parameters
    ----------
    u, x : float
        State, in [0, 1].
    rate_hz : float
        Presynaptic rate.
    dt_s : float
    U, tau_f_s, tau_d_s : float
        As in `ShortTermPlasticity`.
    convention : int
        TSODYKS1998 or MONGILLO2008.

    Returns
    -------
    tuple of float
        u and x.
    """
    unit = one(u)
    rate_hz = _positive(rate_hz)
    new_u = U
    if tau_f_s > 0:
        relaxation_hz = unit / tau_f_s + U * rate_hz
        towards = U * (unit / tau_f_s + rate_hz) / relaxation_hz
        # Rounding may carry it past 1 when U is almost 1.
        towards = unit if towards > unit else towards
        new_u = u - (towards - u) * expm1(-dt_s * relaxation_hz)
    half_way = (u + new_u) / (unit + unit)
    relaxation_hz = unit / tau_d_s + used_fraction(half_way, U, tau_f_s, convention) * rate_hz
    towards = (unit / tau_d_s) / relaxation_hz
    return new_u, x - (towards - x) * expm1(-dt_s * relaxation_hz)


@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def rate_derivatives(u, x, rate_hz, U, tau_f_s, tau_d_s, convention):
    """Give du/dt and dx/dt of the mean field, in 1/s; parameters as `rate_step`.

    Without facilitation u stands still, and should stand at U.
    """
    unit = one(u)
    rate_hz = _positive(rate_hz)
    by_u = unit - unit
    if tau_f_s > 0:
        by_u = (U - u) / tau_f_s + U * (unit - u) * rate_hz
    by_x = (unit - x) / tau_d_s - used_fraction(u, U, tau_f_s, convention) * x * rate_hz
    return by_u, by_x


@njit(forceinline=True, error_model="numpy", fastmath={"contract"})
def used_fraction(u, U, tau_f_s, convention):
    """Give the fraction of x that a spike uses at u; times x and the rate it is the release per second."""
    if convention == MONGILLO2008 and tau_f_s > 0:
        return u + U * (one(u) - u)
    return u


@njit(forceinline=True, error_model="numpy")
def _positive(rate):
    """Give a rate, or 0 for a negative one; a NaN falls through."""
    return one(rate) - one(rate) if rate < 0 else rate


@njit(error_model="numpy", fastmath={"contract"})
def _decay(intervals, u_law, x_decay, u_factor, x_factor):
    """Give what is left of u and x after every interval, and whether all intervals are times."""
    kept, u_decay = u_law
    n_wrong = 0
    for i in range(intervals.size):
        u_factor[i] = kept * exp64(u_decay * intervals[i])
        x_factor[i] = exp64(x_decay * intervals[i])
    for i in range(intervals.size):
        n_wrong += not (0.0 <= intervals[i] < np.inf)
    return n_wrong == 0
