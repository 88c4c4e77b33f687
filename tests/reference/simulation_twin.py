"""Slow twin of a simulation, written from the equations with plain loops; NumPy only."""

from __future__ import annotations

import math

import numpy as np

ACTIVATIONS = {
    "linear": lambda a, z: a["gain"] * (z - a["threshold"]),
    "tanh": lambda a, z: math.tanh(a["gain"] * (z - a["threshold"])),
    "relu": lambda a, z: max(a["gain"] * (z - a["threshold"]), 0.0),
    "softplus": lambda a, z: math.log1p(math.exp(a["gain"] * (z - a["threshold"]))),
    "sigmoid": lambda a, z: 1.0 / (1.0 + math.exp(-a["gain"] * (z - a["threshold"]))),
    "wilson_cowan": lambda a, z: (
        1.0 / (1.0 + math.exp(-a["gain"] * (z - a["threshold"]))) - 1.0 / (1.0 + math.exp(a["gain"] * a["threshold"]))
    ),
    "power": lambda a, z: a["gain"] * max(z - a["threshold"], 0.0) ** a["exponent"],
}


def derivative(form, activations, tau_s, static, synapses, scale_hz, external, y, u, x):
    """Give dy/dt, du/dt and dx/dt.

    `synapses` is a list of (weights, U, tau_f_s, tau_d_s, is_mongillo); u and x have a row for each.
    """
    n = len(y)
    phi = [ACTIVATIONS[a["kind"]] for a in activations]
    rate = [phi[i](activations[i], y[i]) if form == "current" else y[i] for i in range(n)]
    drive = list(external)
    for i in range(n):
        for j in range(n):
            drive[i] += static[i, j] * rate[j]
    du, dx = np.zeros_like(u), np.zeros_like(x)
    for k, (weights, use, tau_f_s, tau_d_s, is_mongillo) in enumerate(synapses):
        for j in range(n):
            used = u[k, j] + use * (1.0 - u[k, j]) if is_mongillo else u[k, j]
            rate_hz = scale_hz * rate[j]
            du[k, j] = (use - u[k, j]) / tau_f_s + use * (1.0 - u[k, j]) * rate_hz
            dx[k, j] = (1.0 - x[k, j]) / tau_d_s - used * x[k, j] * rate_hz
            for i in range(n):
                drive[i] += weights[i, j] * used * x[k, j] * rate[j]
    target = drive if form == "current" else [phi[i](activations[i], drive[i]) for i in range(n)]
    dy = np.array([(target[i] - y[i]) / tau_s[i] for i in range(n)])
    return dy, du, dx


def runge_kutta(system, external_at, y, u, x, dt_s, n_steps):
    """Integrate by the classical method; `system` holds the arguments of `derivative` up to the external current.

    Returns y at every step, shape (n_steps + 1, n_units).
    """
    state = (np.array(y, dtype=float), np.array(u, dtype=float), np.array(x, dtype=float))
    path = [state[0].copy()]
    for step in range(n_steps):
        t = step * dt_s
        k1 = derivative(*system, external_at(t), *state)
        k2 = derivative(*system, external_at(t + dt_s / 2), *moved(state, dt_s / 2, k1))
        k3 = derivative(*system, external_at(t + dt_s / 2), *moved(state, dt_s / 2, k2))
        k4 = derivative(*system, external_at(t + dt_s), *moved(state, dt_s, k3))
        for share, slope in ((1, k1), (2, k2), (2, k3), (1, k4)):
            state = moved(state, share * dt_s / 6, slope)
        path.append(state[0].copy())
    return np.array(path)


def moved(state, by, slope):
    """Give ``state + by slope``, part by part."""
    return tuple(state[i] + by * slope[i] for i in range(3))
