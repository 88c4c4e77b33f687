"""Slow twin of the neural ODE cell: one trial at a time, plain loops, NumPy only.

Every function is analytic, so that an imaginary step gives derivatives without a difference: f'(x) = Im f(x + i e) / e
with e far below one rounding. Weights are a dictionary by the names of the cell's fields.
"""

from __future__ import annotations

import numpy as np


def field(h, weights):
    """Give the time derivative of the state."""
    layer = np.tanh(weights["field_in"] @ h + weights["field_in_bias"])
    return weights["field_out"] @ layer + weights["field_out_bias"]


def flow(h, gap, weights, n_substeps):
    """Cross a gap by the classical Runge-Kutta method of order four."""
    s = gap / n_substeps
    for _ in range(n_substeps):
        k1 = field(h, weights)
        k2 = field(h + s / 2 * k1, weights)
        k3 = field(h + s / 2 * k2, weights)
        k4 = field(h + s * k3, weights)
        h = h + s / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return h


def step(h, inputs, weights, n_substeps, keep=1.0):
    """Give the state after a sample."""
    gap, presence, x = inputs[0], inputs[1], inputs[2:]
    h = flow(h, gap, weights, n_substeps)
    z = weights["input"] @ x + weights["input_bias"] + weights["hidden"] @ (keep * h) + weights["hidden_bias"]
    return h + presence * (np.tanh(z) - h)


def run(inputs, start, weights, n_substeps, keep=1.0):
    """Give the states after all samples of one trial: (n_steps, n_hidden)."""
    h, seen = start, []
    for x in inputs:
        h = step(h, x, weights, n_substeps, keep)
        seen.append(h)
    return np.array(seen)
