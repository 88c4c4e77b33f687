"""Slow twins of the vanilla, LSTM and GRU cells: one trial at a time, plain loops, NumPy only.

The equations are those of the documentation of torch.nn.RNN, LSTM and GRU, with what they have not: a mask of the
state in front of the recurrent weights (Gal and Ghahramani 2016), and layer norm of the recurrent product of every
gate (Ba, Kiros and Hinton 2016), as torch.nn.functional.layer_norm computes it. Weights are W_ih, W_hh, b_ih, b_hh
and the gain of the norm, which is empty where there is none.

Every function is analytic, so that an imaginary step gives derivatives without a difference: f'(x) = Im f(x + i e) / e
with e far below one rounding.
"""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def relu(x):
    """Rectifier, its kink where the real part is zero."""
    return np.where(np.real(x) > 0.0, x, 0.0)


def layer_norm(values, gain, epsilon=1e-5):
    """Bring the values of one gate to mean 0 and variance 1, times the gain."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return gain * (values - mean) / np.sqrt(variance + epsilon)


def from_state(h, weights, keep):
    """Give what the state adds to the arguments of all gates."""
    _, weight_hh, _, bias_hh, gain = weights
    product = weight_hh @ (keep * h)
    if len(gain):
        n = len(h)
        gates = range(0, len(product), n)
        product = np.concatenate([layer_norm(product[k : k + n], gain[k : k + n]) for k in gates])
    return product + bias_hh


def vanilla_step(x, states, weights, keep, activation=np.tanh):
    """Give the states after a step: (h,)."""
    (h,) = states
    return (activation(weights[0] @ x + weights[2] + from_state(h, weights, keep)),)


def lstm_step(x, states, weights, keep):
    """Give the states after a step: (h, c)."""
    h, c = states
    a = weights[0] @ x + weights[2] + from_state(h, weights, keep)
    n = h.size
    i, f, g, o = sigmoid(a[:n]), sigmoid(a[n : 2 * n]), np.tanh(a[2 * n : 3 * n]), sigmoid(a[3 * n :])
    c = f * c + i * g
    return o * np.tanh(c), c


def gru_step(x, states, weights, keep):
    """Give the states after a step: (h,)."""
    (h,) = states
    n = h.size
    from_input = weights[0] @ x + weights[2]
    from_hidden = from_state(h, weights, keep)
    r = sigmoid(from_input[:n] + from_hidden[:n])
    z = sigmoid(from_input[n : 2 * n] + from_hidden[n : 2 * n])
    new = np.tanh(from_input[2 * n :] + r * from_hidden[2 * n :])
    return ((1.0 - z) * new + z * h,)


STEPS = {"vanilla": vanilla_step, "lstm": lstm_step, "gru": gru_step}


def run(step, inputs, weights, starts, keep=1.0):
    """Give h after every step of one trial: (n_steps, n_hidden)."""
    states, seen = tuple(starts), []
    for x in inputs:
        states = step(x, states, weights, keep)
        seen.append(states[0])
    return np.array(seen)


def jacobian(step, x, states, weights, e=1e-200):
    """Give the derivatives of all states after a step by those before it, by imaginary steps."""
    flat = np.concatenate(states)
    columns = []
    for k in range(flat.size):
        moved = flat.astype(complex)
        moved[k] += 1j * e
        columns.append(np.concatenate(step(x, tuple(np.split(moved, len(states))), weights, 1.0)).imag / e)
    return np.array(columns).T
