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

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.activation import activate, slope_of_rate
from cortexrnn.cells.stp_adjoint import (
    recover_backward,
    recover_forward,
    release_backward,
    release_forward,
    spread_synapses,
)
from cortexrnn.cells.sweeps import (
    CHUNK,
    OuterSums,
    add_chunk,
    add_lane_sums,
    empty_outer_sums,
    lay_step,
    spread,
    take_row_sums,
    take_sums,
)
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows, padded_rows

CURRENT, RATE = 0, 1


class RateUnits(NamedTuple):
    """What does not change while a cell is trained.

    Attributes
    ----------
    form : int
        `CURRENT` or `RATE`.
    first : ndarray of int64, shape (n_populations + 1,)
        Where each population's units start.
    codes : ndarray of int64, shape (n_populations,)
        Activation of each population.
    shapes : ndarray of float64, shape (n_populations, 3)
        Its gain, threshold and exponent.
    static_unit : ndarray of int64, shape (n_static,)
        Units that send through static weights.
    plastic_unit : ndarray of int64, shape (n_plastic,)
        Units that send through plastic weights; their sources come after the static ones.
    convention : ndarray of int64, shape (n_plastic,)
        Convention of the plasticity of each.
    rate_scale_hz : float
        What a rate of 1 is in Hz.
    dt_s : float
        Time step.
    """

    form: int
    first: np.ndarray
    codes: np.ndarray
    shapes: np.ndarray
    static_unit: np.ndarray
    plastic_unit: np.ndarray
    convention: np.ndarray
    rate_scale_hz: float
    dt_s: float


class RateWeights(NamedTuple):
    """What is trained, all float32 or all float64; the gradient has the same fields.

    Attributes
    ----------
    recurrent : ndarray, shape (n_units, n_sources)
        From static and plastic sources to units.
    input : ndarray, shape (n_units, n_inputs)
    bias, tau_s, start : ndarray, shape (n_units,)
        Bias, time constant, and state before the first step.
    U, tau_f_s, tau_d_s : ndarray, shape (n_plastic,)
        Plasticity of every plastic source.
    """

    recurrent: np.ndarray
    input: np.ndarray
    bias: np.ndarray
    tau_s: np.ndarray
    start: np.ndarray
    U: np.ndarray
    tau_f_s: np.ndarray
    tau_d_s: np.ndarray


class RatePacked(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser.

    Attributes
    ----------
    recurrent, input : ndarray
        From `pack_rows`.
    recurrent_t : ndarray
        The transposed recurrent weights, for the way back.
    """

    recurrent: np.ndarray
    input: np.ndarray
    recurrent_t: np.ndarray


class RateTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    y, rate : ndarray, shape (n_steps + 1, n_units * N_LANES)
        State and rate; entry 0 is before the first step.
    drive : ndarray, shape (n_steps, padded)
        Argument z; the adjoint sweep overwrites it with the derivatives of the loss with respect to it.
    sent : ndarray, shape (n_steps, n_sources * N_LANES)
        What the sources send; not touched where that is the rate of every unit.
    u, x : ndarray, shape (n_steps + 1, n_plastic * N_LANES)
        State of the plastic synapses.
    outer : OuterSums
        Of the derivatives with what was sent and with the inputs.
    """

    y: np.ndarray
    rate: np.ndarray
    drive: np.ndarray
    sent: np.ndarray
    u: np.ndarray
    x: np.ndarray
    outer: OuterSums


def pack_rate_weights(weights: RateWeights) -> RatePacked:
    """Pack the weights for the products of a sweep."""
    return RatePacked(
        recurrent=pack_rows(weights.recurrent),
        input=pack_rows(weights.input),
        recurrent_t=pack_rows(np.ascontiguousarray(weights.recurrent.T)),
    )


def empty_rate_tape(n_steps: int, weights: RateWeights) -> RateTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    n_units, n_sources = weights.recurrent.shape
    n_plastic, dtype = weights.U.size, weights.bias.dtype

    def room(n_rows: int, n: int) -> np.ndarray:
        return np.zeros((n_rows, n * N_LANES), dtype)

    return RateTape(
        y=room(n_steps + 1, n_units),
        rate=room(n_steps + 1, n_units),
        drive=room(n_steps, padded_rows(n_units)),
        sent=room(n_steps, n_sources),
        u=room(n_steps + 1, n_plastic),
        x=room(n_steps + 1, n_plastic),
        outer=empty_outer_sums(n_units, n_sources + weights.input.shape[1], dtype),
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def rate_forward(inputs, noise, units, weights, packed, tape):
    """Run a tile forward from rest.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    noise : ndarray, shape (n_steps, n_units * N_LANES) or (0, 0)
        Current noise, drawn beforehand.
    units : RateUnits
    weights : RateWeights
    packed : RatePacked
        The same weights.
    tape : RateTape
        Filled.
    """
    n_units, n_static = weights.bias.size, units.static_unit.size * N_LANES
    n = n_units * N_LANES
    synapses = spread_synapses(weights.U, weights.tau_f_s, weights.tau_d_s, units.convention)
    kind = weights.bias.dtype.type
    scales = (kind(units.rate_scale_hz), kind(units.dt_s))
    decay = np.exp(-scales[1] / weights.tau_s)
    from_plastic = np.empty(units.plastic_unit.size * N_LANES, weights.bias.dtype)
    spread(weights.start, tape.y[0])
    spread(weights.U, tape.u[0])
    tape.x[0] = kind(1)
    target = np.empty(n, weights.bias.dtype)
    _rates(units, tape.y[0], tape.rate[0])
    for t in range(inputs.shape[0]):
        rate, drive = tape.rate[t], tape.drive[t]
        sent = rate if _sends_rates(units) else tape.sent[t]
        if not _sends_rates(units):
            _take(units.static_unit, rate, sent[:n_static])
            _take(units.plastic_unit, rate, from_plastic)
            release_forward(tape.u[t], tape.x[t], from_plastic, synapses, sent[n_static:])
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
def rate_backward(inputs, by_rate, units, weights, packed, tape, gradient, truncation):
    """Run the adjoint of `rate_forward` over the tape that it left.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_rate : ndarray, shape (n_steps, at least n_units * N_LANES)
        Derivatives of the loss with respect to the rates after every step.
    units : RateUnits
    weights : RateWeights
    packed : RatePacked
    tape : RateTape
        ``drive`` is overwritten.
    gradient : RateWeights
        Added to, summed over the tile's trials.
    truncation : int
        Steps of a block; what one block passes to the block before is cut. 0 for none.
    """
    n_steps = inputs.shape[0]
    n, kind = weights.bias.size * N_LANES, weights.bias.dtype.type
    decay = np.exp(-kind(units.dt_s) / weights.tau_s)
    by_y, slope = np.zeros(n, weights.bias.dtype), np.empty(n, weights.bias.dtype)
    by_r = np.zeros(tape.drive.shape[1], weights.bias.dtype)
    by_r[:n] = by_rate[n_steps - 1, :n]
    by_decay = np.zeros(n, weights.bias.dtype)
    tape.outer.sums[:] = 0
    lane_decay = np.repeat(decay, N_LANES)
    synapses = spread_synapses(weights.U, weights.tau_f_s, weights.tau_d_s, units.convention)
    # With respect to u, x, U, tau_f and tau_d of every lane.
    by_stp = np.zeros((5, tape.u.shape[1]), weights.bias.dtype)
    by_sent = np.empty(packed.recurrent_t.shape[0] * packed.recurrent_t.shape[2] * N_LANES, weights.bias.dtype)
    for t in range(n_steps - 1, -1, -1):
        if units.form == CURRENT:
            _slopes(units, tape.rate[t + 1], slope)
            _add_product(slope, by_r, by_y)
        else:
            _add(by_r, by_y)
        _step_backward(units, tape, t, lane_decay, by_y, slope, by_decay)
        sent = tape.rate[t] if _sends_rates(units) else tape.sent[t]
        lay_step(tape.drive[t], sent, inputs[t], t % CHUNK, tape.outer)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, n_steps - t), tape.outer)
        by_r[:] = 0
        if t > 0:
            by_r[:n] = by_rate[t - 1, :n]
        if _sends_rates(units):
            add_rows(by_r, packed.recurrent_t, tape.drive[t, :n])
        else:
            by_sent[:] = 0
            add_rows(by_sent, packed.recurrent_t, tape.drive[t, :n])
            _send_backward(units, synapses, tape, t, by_sent, by_stp, by_r)
        if truncation > 0 and t > 0 and t % truncation == 0:
            # The state went on to this block; the derivatives do not go back.
            by_y[:] = 0
            by_stp[:2] = 0
            by_r[:n] = by_rate[t - 1, :n]
            by_r[n:] = 0
    if units.form == CURRENT:
        _slopes(units, tape.rate[0], slope)
        _add_product(slope, by_r, by_y)
    else:
        _add(by_r, by_y)
    add_lane_sums(by_y, gradient.start)
    n_sources, n_columns = gradient.recurrent.shape[1], gradient.recurrent.shape[1] + gradient.input.shape[1]
    take_sums(tape.outer, 0, 0, gradient.recurrent)
    take_sums(tape.outer, 0, n_sources, gradient.input)
    take_row_sums(tape.outer, 0, n_columns, gradient.bias)
    by_tau = np.zeros_like(decay)
    add_lane_sums(by_decay, by_tau)
    for i in range(decay.size):
        gradient.tau_s[i] += by_tau[i] * decay[i] * kind(units.dt_s) / (weights.tau_s[i] * weights.tau_s[i])
    # The utilisation begins at U.
    add_lane_sums(by_stp[0], gradient.U)
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
