"""Loops of a simulation: a block of time steps of one tile of trials.

A tile holds `lanes` trials side by side, 16 or 1: every quantity is a flat array in which the lanes of a unit are
neighbours, so that element-wise work is one long loop and a trial never meets another.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from cortexrnn.cells.activation import activate
from cortexrnn.cells.stp_kernels import PlasticityLaw, advance_rates, rate_derivatives, release_rates
from cortexrnn.numerics.lanes import N_LANES, fill_lanes
from cortexrnn.numerics.packed import add_columns, add_rows

CURRENT, RATE = 0, 1
# A group of sources without plasticity has no law.
STATIC = -1


class Units(NamedTuple):
    """The units of a circuit as kernels see them; flat arrays have the lanes innermost.

    Attributes
    ----------
    form : int
        `CURRENT` or `RATE`.
    lanes : int
        Trials side by side.
    decay, gain : ndarray, shape (n_units * lanes,)
        One step is ``y <- decay y + gain target``.
    speed : ndarray, shape (n_units * lanes,)
        1 / tau in 1/s.
    first : ndarray of int64, shape (n_populations + 1,)
        Where each population's units start.
    codes : ndarray of int64, shape (n_populations,)
        Activation of each population.
    shapes : ndarray of float64, shape (n_populations, 3)
        Its gain, threshold and exponent.
    dt_s : float
        Time step.
    """

    form: int
    lanes: int
    decay: np.ndarray
    gain: np.ndarray
    speed: np.ndarray
    first: np.ndarray
    codes: np.ndarray
    shapes: np.ndarray
    dt_s: float


class Recurrent(NamedTuple):
    """Recurrent weights and what they multiply: groups of neighbouring units, each with or without plasticity.

    Attributes
    ----------
    weights : ndarray
        From sources to units, packed by `pack_rows` or, for one lane, by `pack_columns`.
    unit : ndarray of int64, shape (n_groups,)
        First unit of every group.
    size : ndarray of int64, shape (n_groups,)
        Its units.
    first : ndarray of int64, shape (n_groups,)
        Its first source.
    state : ndarray of int64, shape (n_groups,)
        Where its utilisation and resources start; `STATIC` without plasticity.
    laws : ndarray of float64, shape (n_groups, 4)
        U, tau_f_s, tau_d_s and convention.
    rate_scale_hz : float
        What a rate of 1 is in Hz.
    """

    weights: np.ndarray
    unit: np.ndarray
    size: np.ndarray
    first: np.ndarray
    state: np.ndarray
    laws: np.ndarray
    rate_scale_hz: float


class State(NamedTuple):
    """The state of a tile.

    Attributes
    ----------
    y : ndarray, shape (n_units * lanes,)
        Current (current form) or rate (rate form).
    u, x : ndarray, shape (n_plastic * lanes,)
        Utilisation and resources.
    """

    y: np.ndarray
    u: np.ndarray
    x: np.ndarray


@numba.njit(cache=True, nogil=True)
def advance(units, recurrent, state, external, every, kept):
    """Advance a tile by a block of steps of Euler's or the exponential Euler method.

    Parameters
    ----------
    units : Units
    recurrent : Recurrent
    state : State
        Changed in place.
    external : ndarray, shape (n_steps, n_units * lanes) or (n_steps, n_units)
        Current from outside at every step, for each lane or for all.
    every : int
        Steps from one kept state to the next.
    kept : State of arrays with a leading axis of ceil(n_steps / every)
        Receives the states before the steps 0, every, 2 every, ...
    """
    n_steps = external.shape[0]
    rate, sent, drive = _work_space(units, recurrent, state)
    for t in range(n_steps):
        if t % every == 0:
            keep(state, kept, t // every)
        rates_of(units, state.y, rate)
        spread(units, external[t], drive)
        if sends_rates(units, recurrent):
            multiply(recurrent.weights, rate, drive)
        else:
            send(units, recurrent, rate, state, sent)
            multiply(recurrent.weights, sent, drive)
        recover(units, recurrent, rate, state)
        relax(units, drive, rate, state)


@numba.njit(cache=True, nogil=True)
def advance_runge_kutta(units, recurrent, state, external, every, kept):
    """Advance a tile by a block of steps of the classical Runge-Kutta method; parameters as `advance`.

    `external` has two rows a step, at its beginning and at its middle, and one more at the end of the last.
    """
    n_steps = external.shape[0] // 2
    rate, sent, drive = _work_space(units, recurrent, state)
    slope = State(np.empty_like(state.y), np.empty_like(state.u), np.empty_like(state.x))
    point = State(state.y.copy(), state.u.copy(), state.x.copy())
    total = State(state.y.copy(), state.u.copy(), state.x.copy())
    kind = state.y.dtype.type
    for t in range(n_steps):
        if t % every == 0:
            keep(state, kept, t // every)
        _copy(state, point)
        _copy(state, total)
        for stage in range(4):
            rates_of(units, point.y, rate)
            send(units, recurrent, rate, point, sent)
            spread(units, external[2 * t + (stage + 1) // 2], drive)
            multiply(recurrent.weights, sent, drive)
            _slope_of_plasticity(units, recurrent, rate, point, slope)
            if units.form == RATE:
                activate_all(units, drive, rate)
                _slope_of_units(units.speed, rate, point.y, slope.y)
            else:
                _slope_of_units(units.speed, drive, point.y, slope.y)
            share = units.dt_s * (1.0 / 6.0 if stage in (0, 3) else 1.0 / 3.0)
            _add_slope(total, slope, kind(share), total)
            if stage < 3:
                _add_slope(state, slope, kind(units.dt_s * (0.5 if stage < 2 else 1.0)), point)
        _copy(total, state)


@numba.njit(cache=True, nogil=True, forceinline=True)
def rates_of(units, y, rate):
    """Give the rates that a state stands for."""
    if units.form == CURRENT:
        activate_all(units, y, rate)
    else:
        rate[:] = y


@numba.njit(cache=True, nogil=True, forceinline=True)
def activate_all(units, z, out):
    """Apply every population's activation; arrays may be longer than the units are."""
    for p in range(units.codes.size):
        a, b = units.first[p] * units.lanes, units.first[p + 1] * units.lanes
        activate(units.codes[p], units.shapes[p, 0], units.shapes[p, 1], units.shapes[p, 2], z[a:b], out[a:b])


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath={"contract"})
def send(units, recurrent, rate, state, sent):
    """Lay down what every source sends: its rate, or the part of it that its synapses let through."""
    lanes = units.lanes
    for g in range(recurrent.unit.size):
        n, at, unit = recurrent.size[g] * lanes, recurrent.first[g] * lanes, recurrent.unit[g] * lanes
        if recurrent.state[g] == STATIC:
            sent[at : at + n] = rate[unit : unit + n]
        else:
            s = recurrent.state[g] * lanes
            u, x, out = state.u[s : s + n], state.x[s : s + n], sent[at : at + n]
            release_rates(u, x, rate[unit : unit + n], _law_of(recurrent.laws[g]), out)


@numba.njit(cache=True, nogil=True, forceinline=True)
def sends_rates(units, recurrent):
    """Tell whether what is sent is the rate of every unit: then nothing has to be copied."""
    sizes = recurrent.size
    return sizes.size == 1 and sizes[0] == units.first[-1] and recurrent.state[0] == STATIC


@numba.njit(cache=True, nogil=True)
def send_all(units, recurrent, kept, sent):
    """Lay down what every source sent at kept moments, shape (n_kept, n_sources * lanes)."""
    rate = np.empty(kept.y.shape[1], kept.y.dtype)
    for k in range(kept.y.shape[0]):
        rates_of(units, kept.y[k], rate)
        send(units, recurrent, rate, State(kept.y[k], kept.u[k], kept.x[k]), sent[k])


@numba.njit(cache=True, nogil=True)
def rates_of_all(units, kept, rate):
    """Give the rates at kept moments, shape (n_kept, n_units * lanes)."""
    for k in range(kept.y.shape[0]):
        rates_of(units, kept.y[k], rate[k])


@numba.njit(cache=True, nogil=True, forceinline=True)
def _law_of(numbers):
    """Give a group's plasticity from its row of numbers."""
    return PlasticityLaw(numbers[0], numbers[1], numbers[2], int(numbers[3]))


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath={"contract"})
def recover(units, recurrent, rate, state):
    """Let utilisation and resources go on by one step at these rates."""
    if state.u.size == 0:
        return
    rate_hz = np.empty(recurrent.size.max() * units.lanes if recurrent.size.size else 0, rate.dtype)
    scale = rate.dtype.type(recurrent.rate_scale_hz)
    for g in range(recurrent.unit.size):
        if recurrent.state[g] != STATIC:
            n = recurrent.size[g] * units.lanes
            unit, s = recurrent.unit[g] * units.lanes, recurrent.state[g] * units.lanes
            for i in range(n):
                rate_hz[i] = rate[unit + i] * scale
            u, x = state.u[s : s + n], state.x[s : s + n]
            advance_rates(u, x, rate_hz[:n], units.dt_s, _law_of(recurrent.laws[g]))


@numba.njit(cache=True, nogil=True, forceinline=True)
def spread(units, external, drive):
    """Start the drive with the external current, the same for all lanes unless it is given for each."""
    n_units, lanes = units.first[-1], units.lanes
    if external.size > n_units or lanes == 1:
        drive[: n_units * lanes] = external
    else:
        for unit in range(n_units):
            fill_lanes(drive, unit * N_LANES, external[unit])
    drive[n_units * lanes :] = 0


@numba.njit(cache=True, nogil=True, forceinline=True)
def multiply(weights, sent, drive):
    """Add the recurrent current to the drive."""
    if sent.size == 0:
        return
    if weights.ndim == 3:
        add_rows(drive, weights, sent)
    else:
        add_columns(drive, weights, sent, 0, drive.size)


@numba.njit(cache=True, nogil=True, forceinline=True, fastmath={"contract"})
def relax(units, drive, rate, state):
    """Move the state of all units towards its target; `rate` is overwritten."""
    if units.form == RATE:
        activate_all(units, drive, rate)
        target = rate
    else:
        target = drive
    y = state.y
    for i in range(y.size):
        y[i] = units.decay[i] * y[i] + units.gain[i] * target[i]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _slope_of_plasticity(units, recurrent, rate, state, slope):
    """Give the derivatives of utilisation and resources."""
    kind = state.u.dtype.type
    scale = kind(recurrent.rate_scale_hz)
    for g in range(recurrent.unit.size):
        if recurrent.state[g] != STATIC:
            law = recurrent.laws[g]
            U, tau_f_s, tau_d_s, convention = kind(law[0]), kind(law[1]), kind(law[2]), int(law[3])
            unit, s = recurrent.unit[g] * units.lanes, recurrent.state[g] * units.lanes
            for i in range(recurrent.size[g] * units.lanes):
                slope.u[s + i], slope.x[s + i] = rate_derivatives(
                    state.u[s + i], state.x[s + i], rate[unit + i] * scale, U, tau_f_s, tau_d_s, convention
                )


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _slope_of_units(speed, target, y, slope):
    """Give the derivative of the units' state."""
    for i in range(y.size):
        slope[i] = speed[i] * (target[i] - y[i])


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _add_slope(state, slope, share, out):
    """Give ``state + share slope``."""
    for i in range(out.y.size):
        out.y[i] = state.y[i] + share * slope.y[i]
    for i in range(out.u.size):
        out.u[i] = state.u[i] + share * slope.u[i]
        out.x[i] = state.x[i] + share * slope.x[i]


@numba.njit(cache=True, nogil=True)
def _work_space(units, recurrent, state):
    """Make the arrays that a block of steps works in: rates, what is sent, the drive."""
    n_sources = recurrent.first[-1] + recurrent.size[-1] if recurrent.size.size else 0
    # Packed products write whole blocks.
    multiple = N_LANES * 8 if units.lanes > 1 else N_LANES
    padded = -(-state.y.size // multiple) * multiple
    kind = state.y.dtype
    return np.empty(state.y.size, kind), np.empty(n_sources * units.lanes, kind), np.zeros(padded, kind)


@numba.njit(cache=True, nogil=True, forceinline=True)
def keep(state, kept, place):
    """Note the state at a place."""
    kept.y[place] = state.y
    kept.u[place] = state.u
    kept.x[place] = state.x


@numba.njit(cache=True, nogil=True)
def _copy(state, out):
    """Copy a state."""
    out.y[:] = state.y
    out.u[:] = state.u
    out.x[:] = state.x
