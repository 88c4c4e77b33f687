"""What only an LSTM does: its cell keeps, leaks and counts; the contract is in test_recurrent.py."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.initial import Initial
from cortexrnn.cells.lstm import (
    LSTMWeights,
    draw_lstm,
    empty_lstm_tape,
    lstm_add_start,
    lstm_backward,
    lstm_forward,
    lstm_jacobian,
    lstm_start,
    pack_lstm_weights,
)
from cortexrnn.numerics.lanes import N_LANES

SHUT, OPEN = -800.0, 800.0
GROUP, NO_DROPOUT = np.zeros(N_LANES, int), np.empty(0)


def an_lstm(i, f, g, o, start_cell=0.7):
    """One unit without recurrent weights whose gates have these arguments; the input goes nowhere."""
    bias = np.array([i, f, g, o], float)
    zeros = np.zeros((4, 1))
    return LSTMWeights(
        zeros, zeros.copy(), bias, np.zeros(4), np.zeros(0), np.zeros((1, 1)), np.full((1, 1), start_cell)
    )


def run(weights, inputs):
    """Run forward; gives packed weights and tape."""
    packed, tape = pack_lstm_weights(weights), empty_lstm_tape(len(inputs), weights)
    lstm_start(weights, GROUP, tape)
    lstm_forward(inputs, NO_DROPOUT, packed, tape)
    return packed, tape


def silence(weights, n_steps):
    """Give inputs of zero."""
    return np.zeros((n_steps, weights.input.shape[1] * N_LANES))


def sweep_back(weights, inputs, by_hidden, packed, tape):
    """Run back over a fresh tape; gives the gradient."""
    gradient = LSTMWeights(*(np.zeros_like(part) for part in weights))
    lstm_backward(inputs, by_hidden, NO_DROPOUT, packed, tape, gradient, 0)
    lstm_add_start(tape, GROUP, gradient)
    return gradient


def test_a_shut_input_gate_and_an_open_forget_gate_keep_the_cell_for_ever():
    weights = an_lstm(SHUT, OPEN, 0.3, OPEN)
    _, tape = run(weights, silence(weights, 1000))
    np.testing.assert_array_equal(tape.cell, 0.7)
    # One rounding of tanh.
    np.testing.assert_allclose(tape.hidden[1:], np.tanh(0.7), rtol=1e-15)


def test_a_forget_gate_is_a_leak_with_the_time_constant_of_its_value():
    """c(t) = c(0) exp(-t / tau) with tau = -dt / log(f), here 20 steps."""
    f = np.exp(-1.0 / 20.0)
    weights = an_lstm(SHUT, np.log(f / (1.0 - f)), 0.0, OPEN)
    _, tape = run(weights, silence(weights, 100))
    # A rounding a step.
    np.testing.assert_allclose(tape.cell[:, 0], 0.7 * np.exp(-np.arange(101) / 20.0), rtol=1e-13)


def test_open_gates_add_up_a_constant_input():
    """c(t) = c(0) + t tanh(g)."""
    weights = an_lstm(OPEN, OPEN, 0.5, 0.0)
    _, tape = run(weights, silence(weights, 50))
    np.testing.assert_allclose(tape.cell[:, 3], 0.7 + np.arange(51) * np.tanh(0.5), rtol=1e-13)


def test_the_gradient_of_a_leaking_cell_is_its_power():
    """With the output gate open and no recurrence the derivative of h(T) by c(0) is f^T (1 - tanh(c(T))^2)."""
    weights, f, n_steps = an_lstm(SHUT, 2.0, 0.0, OPEN), 1.0 / (1.0 + np.exp(-2.0)), 30
    inputs = silence(weights, n_steps)
    by_hidden = np.zeros((n_steps, N_LANES))
    by_hidden[-1, 5] = 1.0
    gradient = sweep_back(weights, inputs, by_hidden, *run(weights, inputs))
    expected = f**n_steps * (1.0 - np.tanh(0.7 * f**n_steps) ** 2)
    # A rounding a step.
    assert gradient.start_cell[0, 0] == pytest.approx(expected, rel=1e-13)
    assert gradient.start[0, 0] == 0.0


def test_the_carried_derivatives_are_the_product_of_the_jacobians():
    weights = draw_lstm(2, 4, seed=1, initial=Initial(keep_bias=1.0), dtype=np.float64)
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(12, 2 * N_LANES))
    packed, tape = run(weights, inputs)
    by_hidden = np.zeros((12, 4 * N_LANES))
    last = rng.normal(size=4)
    by_hidden[-1] = np.repeat(last, N_LANES)
    lane, product = 9, np.concatenate([last, np.zeros(4)])
    for t in range(11, -1, -1):
        state = np.concatenate([tape.hidden[t, lane::N_LANES], tape.cell[t, lane::N_LANES]])
        product = product @ lstm_jacobian(state, inputs[t, lane::N_LANES], weights)
    sweep_back(weights, inputs, by_hidden, packed, tape)
    found = np.concatenate([tape.carried[lane::N_LANES], tape.carried_cell[lane::N_LANES]])
    # Round-off of twelve products of 8 x 8.
    np.testing.assert_allclose(found, product, rtol=0, atol=1e-14)


def test_a_chrono_lstm_remembers_longer_than_one_with_random_biases():
    """Norm of the derivative of the last state by the start cell after 200 steps without input, in float64."""
    norms = []
    for wish in (Initial(chrono_steps=400), Initial()):
        weights = draw_lstm(1, 16, seed=0, initial=wish, dtype=np.float64)
        inputs = silence(weights, 200)
        by_hidden = np.zeros((200, 16 * N_LANES))
        by_hidden[-1] = 1.0
        gradient = sweep_back(weights, inputs, by_hidden, *run(weights, inputs))
        norms.append(np.linalg.norm(gradient.start_cell))
    # 200 steps of a leak of one half leave 1e-60, of one with a time constant of hundreds a fraction.
    assert norms[0] > 1.0
    assert norms[1] < 1e-20
