"""The regulariser Omega against vanishing gradients (Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, equations 9, 10).

Over the steps and trials of a batch, with e the derivatives of the loss with respect to the state after a step and
J the Jacobian of the step::

    Omega = mean of (|J' e| / |e| - 1)^2

It is zero where every step carries errors back at their length. As in the paper, its gradient is taken through the
recurrent weights only where they stand in J: errors, states and with them slopes are held fixed. Plastic synapses
are held at the efficacy that they have, ``used(u) x``: J is that of the units' state alone. A layer norm is held
at the mean and variance that it has found, but for what they are to J.

The authors' program and that of Song, Yang and Wang (2016) take the ratio of the squared lengths, without the roots
of the equation; near a ratio of 1 that is four times as much. They also divide by the steps whose error is not
zero; here such a step adds nothing to the mean.

Arrays of a tile have the shape (step, row * N_LANES): the lanes are the trials.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexrnn.cells.activation import slope_of_rate
from cortexrnn.cells.layer_norm import normalise_backward
from cortexrnn.cells.rate_parts import CURRENT
from cortexrnn.cells.stp_adjoint import release_forward, spread_synapses
from cortexrnn.cells.sweeps import CHUNK, add_chunk, lay_step, take_sums
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def rate_omega(keep, units, weights, packed, tape, share, factor, gradient):
    """Give Omega of a tile of rate units, and add its gradient, after `rate_backward`.

    Parameters
    ----------
    keep : ndarray, shape (n_units * N_LANES,) or (0,)
        As in the sweeps.
    units : RateUnits
    weights : RateWeights
    packed : RatePacked
    tape : RateTape
        As the adjoint sweep left it: ``drive`` holds the derivatives of the arguments, entries 1 and later of ``y``
        those of the states.
    share : ndarray, shape (n_steps, N_LANES)
        Weight of every step; sums to 1 over the batch, and is 0 behind a trial's end.
    factor : float
        Of the term.
    gradient : RateWeights
        ``recurrent`` is added to.

    Returns
    -------
    float
        The term, `factor` times the tile's part of Omega.
    """
    n_steps, dtype = share.shape[0], weights.bias.dtype
    n = weights.bias.size * N_LANES
    decay = np.repeat(np.exp(-dtype.type(units.dt_s) / weights.tau_s), N_LANES)
    synapses = spread_synapses(weights.U, weights.tau_f_s, weights.tau_d_s, units.convention)
    unit_of = np.concatenate((units.static_unit, units.plastic_unit))
    passed, sources = np.empty(unit_of.size * N_LANES, dtype), np.empty(unit_of.size * N_LANES, dtype)
    by_sent = np.empty(packed.recurrent_t.shape[0] * packed.recurrent_t.shape[2] * N_LANES, dtype)
    back, along, slope = np.empty(n, dtype), np.empty(n, dtype), np.empty(n, dtype)
    rows, nothing, scales = np.zeros(tape.drive.shape[1], dtype), np.empty(0, dtype), np.empty((2, N_LANES))
    tape.outer.sums[:] = 0
    total = 0.0
    for t in range(n_steps - 1, -1, -1):
        error = tape.y[t + 1]
        _pass_on(keep, units, synapses, tape, t, slope, passed)
        by_sent[:] = 0
        add_rows(by_sent, packed.recurrent_t, tape.drive[t, :n])
        for i in range(n):
            back[i] = decay[i] * error[i]
        for k in range(unit_of.size):
            for lane in range(N_LANES):
                back[unit_of[k] * N_LANES + lane] += by_sent[k * N_LANES + lane] * passed[k * N_LANES + lane]
        total += _compare(error, back, share[t], factor, scales)
        _scale(tape.drive[t, :n], scales[0], rows)
        _scale(back, scales[1], along)
        for k in range(unit_of.size):
            for lane in range(N_LANES):
                sources[k * N_LANES + lane] = passed[k * N_LANES + lane] * along[unit_of[k] * N_LANES + lane]
        lay_step(rows, sources, nothing, t % CHUNK, tape.outer)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, n_steps - t), tape.outer)
    take_sums(tape.outer, 0, 0, gradient.recurrent)
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def vanilla_omega(by_hidden, later, keep, packed, tape, share, factor, gradient, truncation):
    """Give Omega of a tile of a vanilla network, and add its gradient, after its adjoint sweep.

    Parameters
    ----------
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivatives of the loss with respect to the states, by their direct way only, as in the sweep.
    later : ndarray, shape (n_hidden * N_LANES,)
        Derivatives that later steps passed to the last one: what ``tape.carried`` was before the sweep.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        As in the sweeps.
    packed : VanillaPacked
    tape : VanillaTape
        As the adjoint sweep left it: ``arguments`` holds derivatives.
    share : ndarray, shape (n_steps, N_LANES)
        Weight of every step; sums to 1 over the batch, and is 0 behind a trial's end.
    factor : float
        Of the term.
    gradient : VanillaWeights
        ``hidden`` is added to.
    truncation : int
        As in the sweep.

    Returns
    -------
    float
        The term, `factor` times the tile's part of Omega.
    """
    n, products = later.size, tape.products
    error, back = later.copy(), np.empty_like(products.by_seen)
    rows, sources, nothing = np.empty_like(later), np.empty_like(later), later[:0]
    scales = np.empty((2, N_LANES))
    products.outer.sums[:] = 0
    total = 0.0
    for t in range(share.shape[0] - 1, -1, -1):
        by_product = tape.arguments[t]
        if packed.norm_gain.size:
            by_product, normal, scale = products.product, products.normal[t], products.scale[t]
            normalise_backward(tape.arguments[t], packed.norm_gain, normal, scale, by_product, products.by_gain)
        back[:] = 0
        add_rows(back, packed.hidden_t, by_product)
        for i in range(keep.size):
            back[i] *= keep[i]
        for i in range(n):
            error[i] += by_hidden[t, i]
        total += _compare(error, back[:n], share[t], factor, scales)
        _scale(by_product[:n], scales[0], rows)
        _scale(back[:n], scales[1], sources)
        for i in range(keep.size):
            sources[i] *= keep[i]
        lay_step(rows, sources, nothing, t % CHUNK, products.outer)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, share.shape[0] - t), products.outer)
        error[:] = back[:n]
        if truncation > 0 and t % truncation == 0:
            error[:] = 0
    take_sums(products.outer, 0, 0, gradient.hidden)
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _pass_on(keep, units, synapses, tape, t, slope, passed):
    """Give the derivatives of what sources send in a step with respect to their units' state, efficacies fixed."""
    dtype, n_static = slope.dtype, units.static_unit.size
    slope[:] = 1
    if units.form == CURRENT:
        for p in range(units.codes.size):
            a, b, shape = units.first[p] * N_LANES, units.first[p + 1] * N_LANES, units.shapes[p]
            slope_of_rate(units.codes[p], shape[0], shape[1], shape[2], tape.rate[t, a:b], slope[a:b])
    for i in range(keep.size):
        slope[i] *= keep[i]
    for k in range(n_static):
        for lane in range(N_LANES):
            passed[k * N_LANES + lane] = slope[units.static_unit[k] * N_LANES + lane]
    # What is let through of a rate of 1.
    release_forward(tape.u[t], tape.x[t], np.ones(tape.u.shape[1], dtype), synapses, passed[n_static * N_LANES :])
    for k in range(tape.u.shape[1]):
        i = units.plastic_unit[k // N_LANES] * N_LANES + k % N_LANES
        is_positive = tape.rate[t, i] > dtype.type(0)
        passed[n_static * N_LANES + k] *= slope[i] if is_positive else dtype.type(0)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _compare(error, back, share, factor, scales):
    """Give a step's part of the term, and the scales of the two sides of its gradient in every lane.

    An error that is gone has no direction to keep, and one that a step brings to nothing has no gradient.
    """
    # In float64: the square of an error that vanished is soon beyond float32.
    before, after = np.zeros(N_LANES), np.zeros(N_LANES)
    for i in range(error.size // N_LANES):
        for lane in range(N_LANES):
            e, b = np.float64(error[i * N_LANES + lane]), np.float64(back[i * N_LANES + lane])
            before[lane] += b * b
            after[lane] += e * e
    scales[:] = 0.0
    total = 0.0
    for lane in range(N_LANES):
        if share[lane] > 0 and after[lane] != 0.0:
            length, size = np.sqrt(after[lane]), np.sqrt(before[lane])
            excess = size / length - 1.0
            total += factor * share[lane] * excess * excess
            if size != 0.0:
                scales[0, lane] = 1.0 / length
                scales[1, lane] = 2.0 * factor * share[lane] * excess / size
    return total


@njit(cache=True, nogil=True)
def _scale(values, scale, out):
    """Multiply every lane by its scale."""
    for i in range(values.size // N_LANES):
        for lane in range(N_LANES):
            out[i * N_LANES + lane] = values[i * N_LANES + lane] * scale[lane]
