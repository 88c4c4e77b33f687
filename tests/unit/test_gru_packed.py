"""The packed GRU is the GRU: states, gradients and Jacobians; the contract is in test_recurrent.py."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.gru import GRUWeights, empty_tape, gru_backward, gru_forward
from cortexrnn.cells.gru_packed import (
    GRUCellWeights,
    draw_gru,
    empty_gru_tape,
    gru_jacobian,
    pack_gru_weights,
    packed_gru_add_start,
    packed_gru_backward,
    packed_gru_forward,
    packed_gru_start,
)
from cortexrnn.numerics.lanes import N_LANES

N_STEPS = 45


def a_problem(n_hidden, n_inputs, dtype):
    """Weights with a start state, inputs, cotangent."""
    rng = np.random.default_rng(0)
    weights = draw_gru(n_inputs, n_hidden, seed=0, dtype=dtype)
    weights = weights._replace(start=(0.3 * rng.normal(size=(1, n_hidden))).astype(dtype))
    inputs, by_hidden = (rng.normal(size=(N_STEPS, n * N_LANES)).astype(dtype) for n in (n_inputs, n_hidden))
    return weights, inputs, by_hidden


def sweep(weights, inputs, by_hidden):
    """Run forward and back; gives tape and gradient."""
    packed, tape = pack_gru_weights(weights), empty_gru_tape(N_STEPS, weights)
    group, no_dropout = np.zeros(N_LANES, int), np.empty(0, inputs.dtype)
    packed_gru_start(weights, group, tape)
    packed_gru_forward(inputs, no_dropout, packed, tape)
    gradient = GRUCellWeights(*(np.zeros_like(part) for part in weights))
    packed_gru_backward(inputs, by_hidden, no_dropout, packed, tape, gradient, 0)
    packed_gru_add_start(tape, group, gradient)
    return tape, gradient


@pytest.mark.parametrize("size", [(16, 8), (5, 3), (24, 1)])
@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-13), (np.float32, 1e-5)])
def test_states_and_gradients_equal_those_of_the_small_kernels(size, dtype, within):
    """To some tens of roundings of the norm: sums are taken in another order."""
    weights, inputs, by_hidden = a_problem(*size, dtype)
    tape, gradient = sweep(weights, inputs, by_hidden)

    small, small_weights = empty_tape(N_STEPS, size[0], dtype), GRUWeights(*weights[:4], weights.start[0])
    small.hidden[0] = weights.start.T
    cube = inputs.reshape(N_STEPS, -1, N_LANES)
    gru_forward(cube, small_weights, small)
    expected = GRUWeights(*(np.zeros_like(part) for part in small_weights))
    carried = np.zeros_like(small.hidden[0])
    gru_backward(cube, small_weights, small, by_hidden.reshape(N_STEPS, -1, N_LANES), carried, expected)
    expected = expected._replace(start=carried.sum(axis=1))

    np.testing.assert_allclose(tape.hidden.reshape(small.hidden.shape), small.hidden, rtol=0, atol=within)
    scale = max(np.abs(part).max() for part in expected)
    for field in GRUWeights._fields:
        theirs = getattr(expected, field)
        ours = getattr(gradient, field).reshape(theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=within * scale, err_msg=field)


def test_an_open_update_gate_keeps_the_state_for_ever():
    """h <- (1 - z) n + z h with z = 1; its gradient is one and its Jacobian the identity."""
    weights, inputs, by_hidden = a_problem(6, 2, np.float64)
    weights.input_bias[6:12] = 800.0
    by_hidden[:-1] = 0.0
    tape, _ = sweep(weights, inputs, by_hidden)
    # A rounding a step of n + z (h - n).
    last = tape.hidden[-1].reshape(6, N_LANES)
    np.testing.assert_allclose(last, np.repeat(weights.start.T, N_LANES, axis=1), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(tape.carried, by_hidden[-1])
    np.testing.assert_array_equal(gru_jacobian(weights.start[0], inputs[0, ::N_LANES], weights), np.eye(6))
