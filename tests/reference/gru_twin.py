"""Slow twin of the GRU and of the recurrent rung's output: one trial at a time, plain loops, NumPy only.

The equations are those of torch.nn.GRU's documentation:

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r * (W_hn h + b_hn))
    h' = (1 - z) * n + z * h
"""

from __future__ import annotations

import numpy as np


def sigmoid(x):
    """Logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def run_gru(inputs, weight_ih, weight_hh, bias_ih, bias_hh, state):
    """Give the states after every step of one trial, shape (n_steps, n_hidden)."""
    n = state.size
    states = []
    for x in inputs:
        from_input = weight_ih @ x + bias_ih
        from_hidden = weight_hh @ state + bias_hh
        reset = sigmoid(from_input[:n] + from_hidden[:n])
        update = sigmoid(from_input[n : 2 * n] + from_hidden[n : 2 * n])
        new = np.tanh(from_input[2 * n :] + reset * from_hidden[2 * n :])
        state = (1.0 - update) * new + update * state
        states.append(state)
    return np.array(states)


def network_inputs(counts, log_baseline, trace_s, bin_s, mean_count):
    """Give count of the last bin, traces of all bins before, log baseline; shape (n_bins, n_traces + 2)."""
    n_bins = counts.size
    inputs = np.zeros((n_bins, len(trace_s) + 2))
    for t in range(n_bins):
        inputs[t, 0] = counts[t - 1] if t > 0 else mean_count
        for k, tau_s in enumerate(trace_s):
            decay = np.exp(-bin_s / tau_s)
            past = sum(decay ** (t - 1 - s) * counts[s] for s in range(t))
            # Before the first bin every bin held the mean count.
            inputs[t, k + 1] = past + mean_count * decay**t / (1.0 - decay)
        inputs[t, -1] = log_baseline[t]
    return inputs
