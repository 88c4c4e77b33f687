"""The leaky rate cell with short-term plasticity, for a tile of 16 trials: forward sweep and hand-written adjoint.

One step is that of `cortexrnn.dynamics.simulate` with the exponential Euler method, so what was trained is what a
simulation runs. With ``r = phi(y)`` in the current form and ``r = y`` in the rate form::

    s = r, or used(u) x r through plastic synapses
    z = W s + B input + bias + noise
    y <- d y + (1 - d) z           (current form)
    y <- d y + (1 - d) phi(z)      (rate form),        d = exp(-dt / tau)
    u, x <- one step of the mean field of Tsodyks and Markram at the rate r (`stp_kernels.rate_step`)

What a read-out sees at step t is the rate after the step. Arrays of a tile have the shape (step, row * 16): the
lanes are the trials.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexrnn.cells.activation import activate, slope_of_rate
from cortexrnn.cells.rate_parts import CURRENT, RATE
from cortexrnn.cells.stp_adjoint import (
    recover_backward,
    recover_forward,
    release_backward,
    release_forward,
    spread_synapses,
)
from cortexrnn.cells.sweeps import (
    CHUNK,
    add_chunk,
    add_lane_sums,
    add_start_sums,
    lay_starts,
    lay_step,
    spread,
    take_row_sums,
    take_sums,
)
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows


@njit(cache=True, nogil=True)
def rate_start(units, weights, group, tape):
    """Lay the start states into entry 0 of the tape; plastic synapses begin rested.

    Parameters
    ----------
    units : RateUnits
    weights : RateWeights
    group : ndarray of int64, shape (N_LANES,)
        Row of the start states for every trial.
    tape : RateTape
    """
    lay_starts(weights.start, group, tape.y[0])
    _rates(units, tape.y[0], tape.rate[0])
    spread(weights.U, tape.u[0])
    tape.x[0] = weights.U.dtype.type(1)


@njit(cache=True, nogil=True)
def rate_add_start(tape, group, gradient):
    """Add the carried derivatives to those of the start states, and of the utilisation, which begins at U.

    Parameters
    ----------
    tape : RateTape
    group : ndarray of int64, shape (N_LANES,)
    gradient : RateWeights
        Added to.
    """
    add_start_sums(tape.carried, group, gradient.start)
    add_lane_sums(tape.carried_synapses[0], gradient.U)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def rate_forward(inputs, noise, keep, units, weights, packed, tape):
    """Run a tile forward from the states in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    noise : ndarray, shape (n_steps, n_units * N_LANES) or (0, 0)
        Current noise, drawn beforehand.
    keep : ndarray, shape (n_units * N_LANES,) or (0,)
        What is left of all that a unit sends, in every trial; nothing is dropped if empty.
    units : RateUnits
    weights : RateWeights
    packed : RatePacked
        The same weights.
    tape : RateTape
        Filled but for entry 0.
    """
    n_units, n_static = weights.bias.size, units.static_unit.size * N_LANES
    n = n_units * N_LANES
    synapses = spread_synapses(weights.U, weights.tau_f_s, weights.tau_d_s, units.convention)
    kind = weights.bias.dtype.type
    scales = (kind(units.rate_scale_hz), kind(units.dt_s))
    decay = np.exp(-scales[1] / weights.tau_s)
    from_plastic = np.empty(units.plastic_unit.size * N_LANES, weights.bias.dtype)
    target = np.empty(n, weights.bias.dtype)
    is_direct = _sends_rates(units) and keep.size == 0
    for t in range(inputs.shape[0]):
        rate, drive = tape.rate[t], tape.drive[t]
        sent = rate if is_direct else tape.sent[t]
        if not is_direct:
            _take(units.static_unit, rate, sent[:n_static])
            _take(units.plastic_unit, rate, from_plastic)
            release_forward(tape.u[t], tape.x[t], from_plastic, synapses, sent[n_static:])
            _drop(units, keep, sent)
        spread(weights.bias, drive[:n])
        drive[n:] = 0
        if noise.size:
            _add(noise[t], drive[:n])
        if inputs.shape[1]:
            add_rows(drive, packed.input, inputs[t])
        if sent.size:
            add_rows(drive, packed.recurrent, sent)
        recover_forward(tape.u[t], tape.x[t], from_plastic, scales, synapses, tape.u[t + 1], tape.x[t + 1])
        if units.form == RATE:
            _activate(units, drive[:n], target)
            _relax(tape.y[t], decay, target, tape.y[t + 1])
        else:
            _relax(tape.y[t], decay, drive, tape.y[t + 1])
        _rates(units, tape.y[t + 1], tape.rate[t + 1])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def rate_backward(inputs, by_rate, keep, units, weights, packed, tape, gradient, truncation):
    """Run the adjoint of `rate_forward` over the tape that it left, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_rate : ndarray, shape (n_steps, at least n_units * N_LANES)
        Derivatives of the loss with respect to the rates after every step.
    keep : ndarray, shape (n_units * N_LANES,) or (0,)
        As in the forward sweep.
    units : RateUnits
    weights : RateWeights
    packed : RatePacked
    tape : RateTape
        ``drive`` and ``y`` from entry 1 on become the derivatives with respect to them, the carried derivatives
        those of entry 0.
    gradient : RateWeights
        Added to, summed over the tile's trials, but for the start states.
    truncation : int
        Steps of a block; what one block passes to the block before is cut. 0 for none.
    """
    n_steps = inputs.shape[0]
    n, kind = weights.bias.size * N_LANES, weights.bias.dtype.type
    decay = np.exp(-kind(units.dt_s) / weights.tau_s)
    by_y, slope = tape.carried, np.empty(n, weights.bias.dtype)
    by_r = np.zeros(tape.drive.shape[1], weights.bias.dtype)
    by_r[:n] = by_rate[n_steps - 1, :n]
    by_decay = np.zeros(n, weights.bias.dtype)
    tape.outer.sums[:] = 0
    lane_decay = np.repeat(decay, N_LANES)
    synapses = spread_synapses(weights.U, weights.tau_f_s, weights.tau_d_s, units.convention)
    # With respect to u, x, U, tau_f and tau_d of every lane.
    by_stp = np.zeros((5, tape.u.shape[1]), weights.bias.dtype)
    by_stp[:2] = tape.carried_synapses
    by_sent = np.empty(packed.recurrent_t.shape[0] * packed.recurrent_t.shape[2] * N_LANES, weights.bias.dtype)
    is_direct = _sends_rates(units) and keep.size == 0
    for t in range(n_steps - 1, -1, -1):
        _rates_backward(units, tape.rate[t + 1], by_r, slope, by_y)
        # For what looks at the errors themselves (`cells.omega`).
        tape.y[t + 1] = by_y
        _step_backward(units, tape, t, lane_decay, by_y, slope, by_decay)
        sent = tape.rate[t] if is_direct else tape.sent[t]
        lay_step(tape.drive[t], sent, inputs[t], t % CHUNK, tape.outer)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, n_steps - t), tape.outer)
        by_r[:] = 0
        if t > 0:
            by_r[:n] = by_rate[t - 1, :n]
        if is_direct:
            add_rows(by_r, packed.recurrent_t, tape.drive[t, :n])
        else:
            by_sent[:] = 0
            add_rows(by_sent, packed.recurrent_t, tape.drive[t, :n])
            _drop(units, keep, by_sent)
            _send_backward(units, synapses, tape, t, by_sent, by_stp, by_r)
        if truncation > 0 and t > 0 and t % truncation == 0:
            # The state went on to this block; the derivatives do not go back.
            by_y[:] = 0
            by_stp[:2] = 0
            by_r[:n] = by_rate[t - 1, :n]
            by_r[n:] = 0
    _rates_backward(units, tape.rate[0], by_r, slope, by_y)
    tape.carried_synapses[:] = by_stp[:2]
    n_sources, n_columns = gradient.recurrent.shape[1], gradient.recurrent.shape[1] + gradient.input.shape[1]
    take_sums(tape.outer, 0, 0, gradient.recurrent)
    take_sums(tape.outer, 0, n_sources, gradient.input)
    take_row_sums(tape.outer, 0, n_columns, gradient.bias)
    by_tau = np.zeros_like(decay)
    add_lane_sums(by_decay, by_tau)
    for i in range(decay.size):
        gradient.tau_s[i] += by_tau[i] * decay[i] * kind(units.dt_s) / (weights.tau_s[i] * weights.tau_s[i])
    add_lane_sums(by_stp[2], gradient.U)
    add_lane_sums(by_stp[3], gradient.tau_f_s)
    add_lane_sums(by_stp[4], gradient.tau_d_s)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step_backward(units, tape, t, decay, by_y, slope, by_decay):
    """Go back through one relaxation: `by_y` becomes that before the step, the drive its derivative."""
    n = by_y.size
    drive, y = tape.drive[t], tape.y[t]
    unit = y.dtype.type(1)
    if units.form == RATE:
        # From here on the drive is its activation, whose value tells the slope.
        target = np.empty(n, y.dtype)
        _activate(units, drive[:n], target)
        _slopes(units, target, slope)
        drive[:n] = target
    for k in range(n):
        by_decay[k] += by_y[k] * (y[k] - drive[k])
        drive[k] = by_y[k] * (unit - decay[k])
        by_y[k] *= decay[k]
    if units.form == RATE:
        for k in range(n):
            drive[k] *= slope[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _send_backward(units, synapses, tape, t, by_sent, by_stp, by_r):
    """Go back from what was sent, and through the synapses' step, to the rates of a step."""
    n_static = units.static_unit.size
    _give(units.static_unit, by_sent, by_r)
    n_plastic = units.plastic_unit.size
    if n_plastic == 0:
        return
    kind = by_r.dtype.type
    rate, by_plastic = np.empty(n_plastic * N_LANES, by_r.dtype), np.zeros(n_plastic * N_LANES, by_r.dtype)
    _take(units.plastic_unit, tape.rate[t], rate)
    scales = (kind(units.rate_scale_hz), kind(units.dt_s))
    by_state, by_parameters = (by_stp[0], by_stp[1]), (by_stp[2], by_stp[3], by_stp[4])
    recover_backward(tape.u[t], tape.x[t], rate, scales, synapses, by_state, by_plastic, by_parameters)
    out = by_sent[n_static * N_LANES : (n_static + n_plastic) * N_LANES]
    release_backward(out, tape.u[t], tape.x[t], rate, synapses, by_state, by_plastic, by_stp[2])
    _give(units.plastic_unit, by_plastic, by_r)


@njit(cache=True, nogil=True)
def _sends_rates(units):
    """Tell whether what is sent is the rate of every unit: then nothing has to be copied."""
    return units.plastic_unit.size == 0 and units.static_unit.size == units.first[-1]


@njit(cache=True, nogil=True)
def _activate(units, z, out):
    """Apply every population's activation."""
    for p in range(units.codes.size):
        a, b = units.first[p] * N_LANES, units.first[p + 1] * N_LANES
        activate(units.codes[p], units.shapes[p, 0], units.shapes[p, 1], units.shapes[p, 2], z[a:b], out[a:b])


@njit(cache=True, nogil=True)
def _slopes(units, rate, out):
    """Give every population's slope at the rates that it has."""
    for p in range(units.codes.size):
        a, b = units.first[p] * N_LANES, units.first[p + 1] * N_LANES
        slope_of_rate(units.codes[p], units.shapes[p, 0], units.shapes[p, 1], units.shapes[p, 2], rate[a:b], out[a:b])


@njit(cache=True, nogil=True)
def _rates(units, y, rate):
    """Give the rates that a state stands for."""
    if units.form == CURRENT:
        _activate(units, y, rate)
    else:
        rate[:] = y


@njit(cache=True, nogil=True, fastmath={"contract"})
def _rates_backward(units, rate, by_rate, slope, by_y):
    """Add what the derivatives of the rates are in those of the state."""
    if units.form == CURRENT:
        _slopes(units, rate, slope)
        _add_product(slope, by_rate, by_y)
    else:
        _add(by_rate, by_y)


@njit(cache=True, nogil=True)
def _drop(units, keep, sent):
    """Multiply what is sent by what is left of it; nothing happens where nothing is dropped."""
    if keep.size == 0:
        return
    n_static = units.static_unit.size
    for k in range(n_static + units.plastic_unit.size):
        unit = units.static_unit[k] if k < n_static else units.plastic_unit[k - n_static]
        for lane in range(N_LANES):
            sent[k * N_LANES + lane] *= keep[unit * N_LANES + lane]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _relax(y, decay, target, out):
    """Move every unit towards its target."""
    for i in range(decay.size):
        for k in range(i * N_LANES, (i + 1) * N_LANES):
            out[k] = target[k] + decay[i] * (y[k] - target[k])


@njit(cache=True, nogil=True)
def _take(places, rate, out):
    """Copy the lanes of some units."""
    for k in range(places.size):
        for lane in range(N_LANES):
            out[k * N_LANES + lane] = rate[places[k] * N_LANES + lane]


@njit(cache=True, nogil=True)
def _give(places, values, out):
    """Add lanes to those of some units."""
    for k in range(places.size):
        for lane in range(N_LANES):
            out[places[k] * N_LANES + lane] += values[k * N_LANES + lane]


@njit(cache=True, nogil=True)
def _add(values, out):
    """Add one array to another."""
    for i in range(out.size):
        out[i] += values[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_product(a, b, out):
    """Add a product, element by element."""
    for i in range(out.size):
        out[i] += a[i] * b[i]
