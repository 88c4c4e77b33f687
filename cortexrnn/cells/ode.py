"""Neural ODE for samples at irregular times: a state that flows between samples and jumps at them; sweeps, Jacobian.

The ODE-RNN of Rubanova, Chen and Duvenaud (2019, arXiv:1907.03907). From one sample to the next the state follows a
vector field with one hidden layer, at the sample it is updated as in a vanilla network::

    dh/dt = W_out tanh(W_in h + b_in) + b_out
    h <- h + m (tanh(W_ih x + b_ih + W_hh h + b_hh) - h)

Input 0 is the gap in seconds, of every trial by itself, from the sample before to this one; 0 for no time at all.
Input 1 is m, 1 where there is a sample and 0 where there is none: there the state only flows, so one may ask for it at
any time without a change to what comes later. The other inputs are x.

The flow is that of the classical Runge-Kutta method in `n_substeps` equal steps a gap, and the adjoint is that of the
very same steps, not of the differential equation: the gradient is exact for any number of them (Gholami, Keutzer and
Biros 2019, arXiv:1902.10298, show what the other order of doing things costs). The stages of a gap are computed anew
on the way back instead of being kept: a third more work in the flow, and a tape that is no longer than that of a
vanilla network, whatever the number of substeps.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexrnn.cells.ode_flow import flow, flow_backward, flow_jacobian, flow_room
from cortexrnn.cells.ode_parts import N_SUBSTEPS, N_TIMING, OdeWeights
from cortexrnn.cells.sweeps import (
    CHUNK,
    add_chunk,
    add_start_sums,
    lay_starts,
    lay_step,
    let_through,
    take_row_sums,
    take_sums,
    tanhs,
)
from cortexrnn.numerics.elementwise import one
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows


def ode_jacobian(
    state: np.ndarray, inputs: np.ndarray, weights: OdeWeights, n_substeps: int = N_SUBSTEPS
) -> np.ndarray:
    """Give the derivatives of the state after a sample with respect to the state before its gap.

    Parameters
    ----------
    state : ndarray, shape (n_hidden,)
    inputs : ndarray, shape (n_inputs,)
        Gap, presence, x.
    weights : OdeWeights
        In float64.
    n_substeps : int

    Returns
    -------
    ndarray, shape (n_hidden, n_hidden)
        Entry (i, j) is the derivative of unit i with respect to unit j.
    """
    state, by_state = flow_jacobian(inputs[0], state, weights, n_substeps)
    z = weights.input @ inputs[N_TIMING:] + weights.input_bias + weights.hidden @ state + weights.hidden_bias
    update = (1.0 - np.tanh(z) ** 2)[:, None] * weights.hidden
    return ((1.0 - inputs[1]) * np.eye(state.size) + inputs[1] * update) @ by_state


@njit(cache=True, nogil=True)
def ode_start(weights, group, tape):
    """Lay the start states into entry 0 of the tape.

    Parameters
    ----------
    weights : OdeWeights
    group : ndarray of int64, shape (N_LANES,)
        Row of the start states for every trial.
    tape : OdeTape
    """
    lay_starts(weights.start, group, tape.hidden[0])


@njit(cache=True, nogil=True)
def ode_add_start(tape, group, gradient):
    """Add the carried derivatives to those of the start states.

    Parameters
    ----------
    tape : OdeTape
    group : ndarray of int64, shape (N_LANES,)
    gradient : OdeWeights
        Added to.
    """
    add_start_sums(tape.carried, group, gradient.start)


@njit(cache=True, nogil=True)
def ode_forward(inputs, keep, packed, tape):
    """Run a tile forward from the state in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
        Gap, presence, x.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        What is left of the recurrent input of the update, in every trial; nothing is dropped if empty.
    packed : OdePacked
    tape : OdeTape
        Filled but for entry 0.
    """
    size = tape.hidden.shape[1]
    room = flow_room(packed, size)
    arguments, kept = np.empty_like(packed.bias), np.empty_like(keep)
    for t in range(inputs.shape[0]):
        flow(inputs[t, :N_LANES], tape.hidden[t], packed, room)
        before = room.stages[room.stages.shape[0] - 1]
        arguments[:] = packed.bias
        add_rows(arguments, packed.input, inputs[t])
        add_rows(arguments, packed.hidden, let_through(before, keep, kept))
        tanhs(arguments[:size], tape.arguments[t])
        _update(inputs[t, N_LANES : 2 * N_LANES], before, tape.arguments[t], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def ode_backward(inputs, by_hidden, keep, packed, tape, gradient, truncation):
    """Run the adjoint of `ode_forward` over the tape that it left, from the carried derivatives in the tape.

    Derivatives with respect to x are `add_input_gradient`'s; gap and presence are data and get zeros there.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state after every sample, by its direct way only.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        As in the forward sweep.
    packed : OdePacked
    tape : OdeTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : OdeWeights
        Added to, summed over the tile's trials, but for the start states.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    n_steps, size = inputs.shape[0], tape.hidden.shape[1]
    room = flow_room(packed, size)
    by_h, by_kept, kept = np.empty_like(packed.bias), np.empty_like(packed.bias), np.empty_like(keep)
    by_h[:size] = tape.carried
    tape.outer.sums[:] = 0
    tape.outer_in.sums[:] = 0
    tape.outer_out.sums[:] = 0
    slot = 0
    for t in range(n_steps - 1, -1, -1):
        flows = flow(inputs[t, :N_LANES], tape.hidden[t], packed, room)
        before = room.stages[room.stages.shape[0] - 1]
        _update_backward(inputs[t, N_LANES : 2 * N_LANES], by_hidden[t], by_h, tape.arguments[t])
        by_kept[:] = 0
        add_rows(by_kept, packed.hidden_t, tape.arguments[t])
        _add_kept(by_kept, keep, by_h[:size])
        lay_step(tape.arguments[t], let_through(before, keep, kept), inputs[t], t % CHUNK, tape.outer)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, n_steps - t), tape.outer)
        if flows:
            slot = flow_backward(packed, room, slot, tape, by_h[:size])
        if t > 0 and truncation > 0 and t % truncation == 0:
            by_h[:] = 0
    tape.carried[:] = by_h[:size]
    if slot > 0:
        add_chunk(slot, tape.outer_in)
        add_chunk(slot, tape.outer_out)
    _collect(tape, gradient)


@njit(cache=True, nogil=True)
def _collect(tape, gradient):
    """Add the sums of a sweep to the gradient."""
    n_field, n_hidden = gradient.field_in.shape
    n_columns = n_hidden + N_TIMING + gradient.input.shape[1]
    take_sums(tape.outer, 0, 0, gradient.hidden)
    take_sums(tape.outer, 0, n_hidden + N_TIMING, gradient.input)
    take_row_sums(tape.outer, 0, n_columns, gradient.input_bias)
    take_row_sums(tape.outer, 0, n_columns, gradient.hidden_bias)
    take_sums(tape.outer_in, 0, 0, gradient.field_in)
    take_row_sums(tape.outer_in, 0, n_hidden, gradient.field_in_bias)
    take_sums(tape.outer_out, 0, 0, gradient.field_out)
    take_row_sums(tape.outer_out, 0, n_field, gradient.field_out_bias)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _update(presence, before, target, after):
    """Move the state to its target where there is a sample."""
    unit = one(before[0])
    for first in range(0, after.size, N_LANES):
        for lane in range(N_LANES):
            k, m = first + lane, presence[lane]
            # Not as a difference: a sample leaves exactly the target behind, and none exactly what was there.
            after[k] = (unit - m) * before[k] + m * target[k]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _update_backward(presence, direct, carried, target):
    """Replace the target by the derivatives of its arguments, and what is carried by its direct way."""
    unit = one(direct[0])
    for first in range(0, target.size, N_LANES):
        for lane in range(N_LANES):
            k, m = first + lane, presence[lane]
            by_after = carried[k] + direct[k]
            target[k] = m * by_after * (unit - target[k] * target[k])
            carried[k] = (unit - m) * by_after


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_kept(by_kept, keep, by_state):
    """Run the adjoint of `let_through`, adding."""
    for k in range(by_state.size):
        by_state[k] += keep[k] * by_kept[k] if keep.size else by_kept[k]
