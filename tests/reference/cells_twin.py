"""Slow twins of the vanilla, LSTM and GRU cells: one trial at a time, plain loops, NumPy only.

The equations are those of the documentation of torch.nn.RNN, LSTM and GRU. Every function is analytic, so that an
imaginary step gives derivatives without a difference: f'(x) = Im f(x + i e) / e with e far below one rounding.
"""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def relu(x):
    """Rectifier, its kink where the real part is zero."""
    return np.where(np.real(x) > 0.0, x, 0.0)


def vanilla_step(x, states, weights, activation=np.tanh):
    """Give the states after a step: (h,)."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    (h,) = states
    return (activation(weight_ih @ x + bias_ih + weight_hh @ h + bias_hh),)


def lstm_step(x, states, weights):
    """Give the states after a step: (h, c)."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    h, c = states
    a = weight_ih @ x + bias_ih + weight_hh @ h + bias_hh
    n = h.size
    i, f, g, o = sigmoid(a[:n]), sigmoid(a[n : 2 * n]), np.tanh(a[2 * n : 3 * n]), sigmoid(a[3 * n :])
    c = f * c + i * g
    return o * np.tanh(c), c


def gru_step(x, states, weights):
    """Give the states after a step: (h,)."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    (h,) = states
    n = h.size
    from_input = weight_ih @ x + bias_ih
    from_hidden = weight_hh @ h + bias_hh
    r = sigmoid(from_input[:n] + from_hidden[:n])
    z = sigmoid(from_input[n : 2 * n] + from_hidden[n : 2 * n])
    new = np.tanh(from_input[2 * n :] + r * from_hidden[2 * n :])
    return ((1.0 - z) * new + z * h,)


STEPS = {"vanilla": vanilla_step, "lstm": lstm_step, "gru": gru_step}


def run(step, inputs, weights, starts):
    """Give h after every step of one trial: (n_steps, n_hidden)."""
    states, seen = tuple(starts), []
    for x in inputs:
        states = step(x, states, weights)
        seen.append(states[0])
    return np.array(seen)


def jacobian(step, x, states, weights, e=1e-200):
    """Give the derivatives of all states after a step by those before it, by imaginary steps."""
    flat = np.concatenate(states)
    columns = []
    for k in range(flat.size):
        moved = flat.astype(complex)
        moved[k] += 1j * e
        columns.append(np.concatenate(step(x, tuple(np.split(moved, len(states))), weights)).imag / e)
    return np.array(columns).T
