"""Slow twins of Tsodyks-Markram plasticity: events one by one, and the mean field by a classical Runge-Kutta rule.

Written from the equations, decay and jump apart; NumPy and the standard library only. Utilisation decays to `rest`:
0 is Tsodyks, Pawelzik and Markram (1998), U is the event reading of Mongillo, Barak and Tsodyks (2008). tau_f = 0
means that u is U.
"""

from __future__ import annotations

import math

import numpy as np


def release_train(times_s, U, tau_f_s, tau_d_s, rest):
    """Give release, fraction used and resources found of every spike, from rest; shape (3, n_spikes)."""
    u, x, last_s = rest, 1.0, -math.inf
    rows = []
    for time_s in times_s:
        interval_s = time_s - last_s
        x = 1.0 + (x - 1.0) * math.exp(-interval_s / tau_d_s)
        if tau_f_s > 0.0:
            u = rest + (u - rest) * math.exp(-interval_s / tau_f_s)
            u = u + U * (1.0 - u)
        else:
            u = U
        rows.append((u * x, u, x))
        x = x - u * x
        last_s = time_s
    return np.array(rows).reshape(-1, 3).T


def release_before_jump(times_s, U, tau_f_s, tau_d_s):
    """Give the releases where u decays to U and a spike releases with the u that it finds, then raises it."""
    u, x, last_s = U, 1.0, -math.inf
    releases = []
    for time_s in times_s:
        interval_s = time_s - last_s
        x = 1.0 + (x - 1.0) * math.exp(-interval_s / tau_d_s)
        u = U + (u - U) * math.exp(-interval_s / tau_f_s)
        releases.append(u * x)
        x = x - u * x
        u = u + U * (1.0 - u)
        last_s = time_s
    return np.array(releases)


def mean_field(state, rate_hz, duration_s, n_steps, parameters):
    """Give u and x after a time at a constant rate; parameters are U, tau_f_s, tau_d_s and whether v is u+U(1-u)."""
    U, tau_f_s, tau_d_s, is_before_jump = parameters

    def derivative(state):
        u, x = state
        v = u + U * (1.0 - u) if is_before_jump else u
        by_u = (U - u) / tau_f_s + U * (1.0 - u) * rate_hz
        return np.array([by_u, (1.0 - x) / tau_d_s - v * x * rate_hz])

    state, step_s = np.array(state, dtype=float), duration_s / n_steps
    for _ in range(n_steps):
        k1 = derivative(state)
        k2 = derivative(state + 0.5 * step_s * k1)
        k3 = derivative(state + 0.5 * step_s * k2)
        k4 = derivative(state + step_s * k3)
        state = state + step_s / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return state
