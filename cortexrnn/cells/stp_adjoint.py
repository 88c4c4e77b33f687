"""Adjoint of the rate form of Tsodyks-Markram plasticity, for synapses that all differ.

Arrays are flat, with 16 trials (lanes) side by side, and so are the parameters: every loop is one long run of
SIMD code. The equations are those of `stp_kernels.rate_step`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.stp_kernels import MONGILLO2008
from cortexrnn.numerics.elementwise import expm1
from cortexrnn.numerics.lanes import N_LANES


class Synapses(NamedTuple):
    """Parameters of plastic synapses, the same in all lanes of one; shape (n_synapses * N_LANES,).

    Attributes
    ----------
    U : ndarray
    per_tau_f, per_tau_d : ndarray
        1 / tau_f_s and 1 / tau_d_s.
    facilitates : ndarray
        1 where tau_f is above 0, else 0.
    jumps : ndarray
        1 where a spike finds u before its jump (mongillo2008 with facilitation), else 0.
    """

    U: np.ndarray
    per_tau_f: np.ndarray
    per_tau_d: np.ndarray
    facilitates: np.ndarray
    jumps: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def spread_synapses(U, tau_f_s, tau_d_s, convention):
    """Give every lane the parameters of its synapse.

    Parameters
    ----------
    U, tau_f_s, tau_d_s : ndarray, shape (n_synapses,)
    convention : ndarray of int64, shape (n_synapses,)

    Returns
    -------
    Synapses
    """
    out = Synapses(
        np.repeat(U, N_LANES),
        np.zeros(U.size * N_LANES, U.dtype),
        np.zeros(U.size * N_LANES, U.dtype),
        np.zeros(U.size * N_LANES, U.dtype),
        np.zeros(U.size * N_LANES, U.dtype),
    )
    for s in range(U.size):
        for i in range(s * N_LANES, (s + 1) * N_LANES):
            out.per_tau_d[i] = 1.0 / tau_d_s[s]
            if tau_f_s[s] > 0:
                out.per_tau_f[i] = 1.0 / tau_f_s[s]
                out.facilitates[i] = 1
                out.jumps[i] = convention[s] == MONGILLO2008
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def release_forward(u, x, rate, synapses, out):
    """Fill in what synapses let through, ``v x rate``.

    Parameters
    ----------
    u, x, rate : ndarray, shape (n_synapses * N_LANES,)
        State and presynaptic rates.
    synapses : Synapses
    out : ndarray, shape (n_synapses * N_LANES,)
        Where the released rates go.
    """
    kind = u.dtype.type
    for i in range(u.size):
        r = rate[i] if rate[i] > kind(0) else kind(0)
        out[i] = (u[i] + synapses.jumps[i] * synapses.U[i] * (kind(1) - u[i])) * x[i] * r


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def recover_forward(u, x, rate, scales, synapses, new_u, new_x):
    """Advance synapses by one step.

    Parameters
    ----------
    u, x, rate : ndarray, shape (n_synapses * N_LANES,)
        State and presynaptic rates.
    scales : tuple of two float
        Hertz of a rate of 1, and the step in seconds, in the precision of the state.
    synapses : Synapses
    new_u, new_x : ndarray, shape (n_synapses * N_LANES,)
        Filled.
    """
    kind = u.dtype.type
    scale_hz, dt_s = scales
    unit, half = kind(1), kind(0.5)
    for i in range(u.size):
        U = synapses.U[i]
        r = scale_hz * (rate[i] if rate[i] > kind(0) else kind(0))
        speed = synapses.per_tau_f[i] + U * r
        towards = U * (synapses.per_tau_f[i] + r) / speed
        stepped = u[i] - (towards - u[i]) * expm1(-dt_s * speed)
        now = stepped if synapses.facilitates[i] > kind(0) else U
        middle = half * (u[i] + now)
        speed = synapses.per_tau_d[i] + (middle + synapses.jumps[i] * U * (unit - middle)) * r
        new_u[i] = now
        new_x[i] = x[i] - (synapses.per_tau_d[i] / speed - x[i]) * expm1(-dt_s * speed)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def release_backward(by_out, u, x, rate, synapses, by_state, by_rate, by_U):
    """Add the adjoint of `release_forward`.

    Parameters
    ----------
    by_out : ndarray, shape (n_synapses * N_LANES,)
        Derivatives of the loss with respect to what was released.
    u, x, rate, synapses
        As in the forward function.
    by_state : tuple of two ndarray
        With respect to u and x; added to.
    by_rate, by_U : ndarray
        With respect to the presynaptic rates and to U, lane by lane; added to.
    """
    kind = u.dtype.type
    by_u, by_x = by_state
    for i in range(u.size):
        is_positive = rate[i] > kind(0)
        r = rate[i] if is_positive else kind(0)
        jump = synapses.jumps[i] * synapses.U[i]
        used = u[i] + jump * (kind(1) - u[i])
        by_used = by_out[i] * x[i] * r
        by_u[i] += (kind(1) - jump) * by_used
        by_x[i] += by_out[i] * used * r
        by_rate[i] += by_out[i] * used * x[i] if is_positive else kind(0)
        by_U[i] += synapses.jumps[i] * by_used * (kind(1) - u[i])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def recover_backward(u, x, rate, scales, synapses, by_state, by_rate, by_parameters):
    """Turn derivatives with respect to the state after a step into those before it.

    Parameters
    ----------
    u, x, rate, scales, synapses
        As in `recover_forward`.
    by_state : tuple of two ndarray
        Derivatives of the loss with respect to u and x after the step; afterwards, before it.
    by_rate : ndarray
        With respect to the presynaptic rates; added to.
    by_parameters : tuple of three ndarray
        With respect to U, tau_f_s and tau_d_s, lane by lane; added to.
    """
    kind = u.dtype.type
    scale_hz, dt_s = scales
    by_u, by_x = by_state
    by_U, by_tau_f, by_tau_d = by_parameters
    unit, half = kind(1), kind(0.5)
    for i in range(u.size):
        U, per_f, per_d = synapses.U[i], synapses.per_tau_f[i], synapses.per_tau_d[i]
        facilitates, jump = synapses.facilitates[i], synapses.jumps[i]
        is_positive = rate[i] > kind(0)
        r = scale_hz * (rate[i] if is_positive else kind(0))
        # The step of u once more: now = u - (a - u) e, a = U (1 / tau_f + r) / speed.
        speed = per_f + U * r
        inverse = unit / speed if facilitates > kind(0) else kind(0)
        a = U * (per_f + r) * inverse
        e = expm1(-dt_s * speed)
        now = u[i] - (a - u[i]) * e if facilitates > kind(0) else U
        # The step of x: x - (c - x) f, c = 1 / (tau_d fast).
        middle = half * (u[i] + now)
        used = middle + jump * U * (unit - middle)
        fast = per_d + used * r
        c = per_d / fast
        f = expm1(-dt_s * fast)
        by_c = -by_x[i] * f
        by_fast = by_x[i] * (c - x[i]) * (f + unit) * dt_s - by_c * c / fast
        by_per_d = by_fast + by_c / fast
        by_used = by_fast * r
        by_middle = by_used * (unit - jump * U) * half
        by_now = by_u[i] + by_middle
        by_a = -by_now * e * facilitates
        by_speed = by_now * (a - u[i]) * (e + unit) * dt_s * facilitates - by_a * a * inverse
        by_per_f = by_speed + by_a * U * inverse
        by_U[i] += (
            by_used * jump * (unit - middle)
            + by_a * (per_f + r) * inverse
            + by_speed * r
            + by_now * (unit - facilitates)
        )
        by_tau_f[i] -= by_per_f * per_f * per_f
        by_tau_d[i] -= by_per_d * per_d * per_d
        by_r = by_fast * used + by_a * U * inverse + by_speed * U
        by_rate[i] += by_r * scale_hz if is_positive else kind(0)
        by_u[i] = by_now * (e + unit) * facilitates + by_middle
        by_x[i] = by_x[i] * (f + unit)
