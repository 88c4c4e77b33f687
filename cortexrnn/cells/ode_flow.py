"""Flow of a tile of 16 trials along a vector field with one hidden layer, each trial for a time of its own.

The field is ``dh/dt = W_out tanh(W_in h + b_in) + b_out``. A gap is crossed by the classical Runge-Kutta method of
order four (Kutta 1901) in equal steps, and the adjoint is that of these steps.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.ode_parts import OdeWeights
from cortexrnn.cells.sweeps import CHUNK, add_chunk, lay_step, tanhs
from cortexrnn.numerics.elementwise import one
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows

# Rows of `FlowRoom.steps`: the step of every lane, times 1/6, 1/3, 1/2 and 1.
_SIXTH, _THIRD, _HALF, _WHOLE = 0, 1, 2, 3
# What each of the four slopes counts for in the sum, and how far it leads to the next stage.
_SHARE = (_SIXTH, _THIRD, _THIRD, _SIXTH)
_REACH = (_HALF, _HALF, _WHOLE, _WHOLE)
_N_STAGES = 4


class FlowRoom(NamedTuple):
    """Room for one gap, used again for all gaps of a sweep.

    Attributes
    ----------
    stages : ndarray, shape (4 n_substeps + 1, n_hidden * N_LANES)
        States of the four stages of every substep; the last row is the state at the end of the gap.
    layers : ndarray, shape (4 n_substeps, n_field * N_LANES)
        Values of the field's hidden layer in them.
    steps : ndarray, shape (4, n_hidden * N_LANES)
        Length of a substep in every lane, times 1/6, 1/3, 1/2 and 1, spread over units.
    slope, layer : ndarray, shape (padded,)
        Products of the field's two layers.
    total, by_stage : ndarray, shape (n_hidden * N_LANES,) and (padded,)
        Sum of the slopes, derivatives of a stage.
    """

    stages: np.ndarray
    layers: np.ndarray
    steps: np.ndarray
    slope: np.ndarray
    layer: np.ndarray
    total: np.ndarray
    by_stage: np.ndarray


def flow_jacobian(
    gap_s: float, state: np.ndarray, weights: OdeWeights, n_substeps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Let the state of one trial flow, and its derivatives with it.

    Parameters
    ----------
    gap_s : float
    state : ndarray, shape (n_hidden,)
    weights : OdeWeights
        In float64.
    n_substeps : int

    Returns
    -------
    end : ndarray, shape (n_hidden,)
        State at the end of the gap.
    by_state : ndarray, shape (n_hidden, n_hidden)
        Entry (i, j) is the derivative of unit i at the end with respect to unit j at the start.
    """
    step = gap_s / n_substeps
    by_state = np.eye(state.size)
    for _ in range(n_substeps):
        slope, by_slope, total, by_total = np.zeros_like(state), np.zeros_like(by_state), state, by_state
        for reach, share in ((0.0, 1.0), (0.5, 2.0), (0.5, 2.0), (1.0, 1.0)):
            layer = np.tanh(weights.field_in @ (state + reach * step * slope) + weights.field_in_bias)
            by_stage = by_state + reach * step * by_slope
            slope = weights.field_out @ layer + weights.field_out_bias
            by_slope = weights.field_out @ ((1.0 - layer**2)[:, None] * (weights.field_in @ by_stage))
            total, by_total = total + share * step / 6.0 * slope, by_total + share * step / 6.0 * by_slope
        state, by_state = total, by_total
    return state, by_state


@njit(cache=True, nogil=True)
def flow_room(packed, size):
    """Allocate the room for one gap.

    Parameters
    ----------
    packed : OdePacked
    size : int
        Elements of a state, ``n_hidden * N_LANES``.

    Returns
    -------
    FlowRoom
    """
    n, dtype = packed.n_substeps * _N_STAGES, packed.bias.dtype
    return FlowRoom(
        np.zeros((n + 1, size), dtype),
        np.zeros((n, packed.field_out.shape[1] * N_LANES), dtype),
        np.zeros((4, size), dtype),
        np.zeros(packed.field_out_bias.size, dtype),
        np.zeros(packed.field_in_bias.size, dtype),
        np.zeros(size, dtype),
        np.zeros(packed.field_out_bias.size, dtype),
    )


@njit(cache=True, nogil=True)
def flow(gap, state, packed, room):
    """Let a state flow; all stages stay in the room.

    Parameters
    ----------
    gap : ndarray, shape (N_LANES,)
        Time of every lane in seconds.
    state : ndarray, shape (n_hidden * N_LANES,)
    packed : OdePacked
    room : FlowRoom
        Filled.

    Returns
    -------
    bool
        Whether any time passes; where it does not, only the end is filled.
    """
    n_field = room.layers.shape[1]
    if not np.any(gap):
        room.stages[room.stages.shape[0] - 1] = state
        return False
    _lay_steps(gap, packed.n_substeps, room.steps)
    room.stages[0] = state
    for first in range(0, packed.n_substeps * _N_STAGES, _N_STAGES):
        room.total[:] = room.stages[first]
        for i in range(_N_STAGES):
            room.layer[:] = packed.field_in_bias
            add_rows(room.layer, packed.field_in, room.stages[first + i])
            tanhs(room.layer[:n_field], room.layers[first + i])
            room.slope[:] = packed.field_out_bias
            add_rows(room.slope, packed.field_out, room.layers[first + i])
            _add_scaled(room.steps[_SHARE[i]], room.slope, room.total)
            if i + 1 < _N_STAGES:
                _move(room.stages[first], room.steps[_REACH[i]], room.slope, room.stages[first + i + 1])
        room.stages[first + _N_STAGES] = room.total
    return True


@njit(cache=True, nogil=True)
def flow_backward(packed, room, slot, tape, by_state):
    """Run the adjoint of `flow`, whose stages are in the room.

    With steps s, shares b and reaches a, ``by k_i = s b_i by end + s a_i by y_(i+1)`` and
    ``by y_i = J(y_i)' by k_i``; the derivatives of the start are those of the end and of all stages.

    Parameters
    ----------
    packed : OdePacked
    room : FlowRoom
    slot : int
        First free slot of the sums of outer products.
    tape : OdeTape
        Gets the outer products of the field's weights.
    by_state : ndarray, shape (n_hidden * N_LANES,)
        Derivatives of the end become those of the start.

    Returns
    -------
    int
        First slot that is free now.
    """
    n_field, size = room.layers.shape[1], by_state.size
    nothing = np.empty(0, by_state.dtype)
    for first in range((packed.n_substeps - 1) * _N_STAGES, -1, -_N_STAGES):
        room.total[:] = by_state
        room.by_stage[:] = 0
        for i in range(_N_STAGES - 1, -1, -1):
            _slope_backward(room.steps[_SHARE[i]], by_state, room.steps[_REACH[i]], room.by_stage, room.slope)
            room.layer[:] = 0
            add_rows(room.layer, packed.field_out_t, room.slope[:size])
            _tanh_backward(room.layers[first + i], room.layer[:n_field])
            room.by_stage[:] = 0
            add_rows(room.by_stage, packed.field_in_t, room.layer[:n_field])
            _add(room.by_stage, room.total)
            lay_step(room.slope, room.layers[first + i], nothing, slot, tape.outer_out)
            lay_step(room.layer, room.stages[first + i], nothing, slot, tape.outer_in)
            slot += 1
            if slot == CHUNK:
                add_chunk(CHUNK, tape.outer_out)
                add_chunk(CHUNK, tape.outer_in)
                slot = 0
        by_state[:] = room.total
    return slot


@njit(cache=True, nogil=True)
def _lay_steps(gap, n_substeps, steps):
    """Spread the length of a substep, times 1/6, 1/3, 1/2 and 1, over units."""
    for k in range(0, steps.shape[1], N_LANES):
        for lane in range(N_LANES):
            step = gap[lane] / n_substeps
            steps[_SIXTH, k + lane] = step / 6
            steps[_THIRD, k + lane] = step / 3
            steps[_HALF, k + lane] = step / 2
            steps[_WHOLE, k + lane] = step


@njit(cache=True, nogil=True, fastmath={"contract"})
def _move(start, step, slope, out):
    """Give ``start + step slope``."""
    for k in range(out.size):
        out[k] = start[k] + step[k] * slope[k]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _add_scaled(step, slope, total):
    """Add ``step slope``."""
    for k in range(total.size):
        total[k] += step[k] * slope[k]


@njit(cache=True, nogil=True)
def _add(values, total):
    """Add."""
    for k in range(total.size):
        total[k] += values[k]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _slope_backward(share, by_end, reach, by_next, by_slope):
    """Give the derivatives of a slope from those of the end and of the stage that it leads to."""
    for k in range(by_end.size):
        by_slope[k] = share[k] * by_end[k] + reach[k] * by_next[k]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _tanh_backward(values, by_values):
    """Turn derivatives of values of tanh into those of its arguments."""
    unit = one(values[0])
    for k in range(values.size):
        by_values[k] *= unit - values[k] * values[k]
