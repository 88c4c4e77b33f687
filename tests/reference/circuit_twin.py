"""A circuit in plain NumPy: one trial, forward Euler, no noise.

``current`` form: ``tau dx/dt = -x + W phi(x) + b + s``; ``rate`` form: ``tau dr/dt = -r + phi(W r + b + s)``.
Plastic weights drive with ``u x r`` (``mongillo2008``: ``v x r`` with ``v = u + U (1 - u)``), and with R the rate
in Hz ``du/dt = (U - u)/tau_f + U (1 - u) R`` and ``dx/dt = (1 - x)/tau_d - v x R``. All right-hand sides use the
old values.
"""

from __future__ import annotations

import numpy as np

SHAPES = {
    "linear": lambda v: v,
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0.0),
    "softplus": lambda v: np.logaddexp(0.0, v),
    "sigmoid": lambda v: 0.5 + 0.5 * np.tanh(0.5 * v),
}


def transfer(shape, z):
    """Apply an activation."""
    v = shape["gain"] * (z - shape["threshold"])
    if shape["kind"] == "wilson_cowan":
        return SHAPES["sigmoid"](v) - SHAPES["sigmoid"](-shape["gain"] * shape["threshold"])
    if shape["kind"] == "power":
        return shape["gain"] * np.maximum(z - shape["threshold"], 0.0) ** shape["exponent"]
    return SHAPES[shape["kind"]](v)


def simulate(network, *, duration_s, dt_s, stimulus=None, start=None):
    """Give rates, and u and x of every class of plasticity, at every step, before the step is made.

    Parameters
    ----------
    network : dict
        ``form``, ``static`` (n, n), ``plastic`` (name -> (n, n)), ``stp`` (name -> dict of U, tau_f_s, tau_d_s and
        convention), ``tau_s`` (n,), ``bias`` (n,), ``shapes`` (list of (slice, dict of an activation)),
        ``rate_scale_hz``.
    duration_s, dt_s : float
    stimulus : callable, optional
        Gives the current into every unit at a time in seconds.
    start : ndarray, shape (n,), optional
        Current (current form) or rate (rate form) at time 0.

    Returns
    -------
    rates : ndarray, shape (n_steps, n)
    states : dict of str to tuple of ndarray
        u and x, each of shape (n_steps, n), by class.
    """
    n = network["bias"].size
    y = np.zeros(n) if start is None else np.array(start, dtype=float)
    stp = network["stp"]
    state = {name: (np.full(n, law["U"]), np.ones(n)) for name, law in stp.items()}
    n_steps = round(duration_s / dt_s)
    rates = np.empty((n_steps, n))
    kept = {name: (np.empty((n_steps, n)), np.empty((n_steps, n))) for name in stp}
    share = dt_s / network["tau_s"]
    for t in range(n_steps):
        rate = y if network["form"] == "rate" else _activate(network, y)
        rates[t] = rate
        drive = network["static"] @ rate + network["bias"]
        if stimulus is not None:
            drive = drive + stimulus(t * dt_s)
        for name, law in stp.items():
            u, x = state[name]
            kept[name][0][t], kept[name][1][t] = u, x
            v = u + law["U"] * (1.0 - u) if law["convention"] == "mongillo2008" and law["tau_f_s"] > 0.0 else u
            drive = drive + network["plastic"][name] @ (v * x * rate)
            rate_hz = network["rate_scale_hz"] * rate
            relaxed = (law["U"] - u) / law["tau_f_s"] + law["U"] * (1.0 - u) * rate_hz if law["tau_f_s"] > 0.0 else 0.0
            state[name] = (u + dt_s * relaxed, x + dt_s * ((1.0 - x) / law["tau_d_s"] - v * x * rate_hz))
        y = y + share * (-y + (_activate(network, drive) if network["form"] == "rate" else drive))
    return rates, kept


def _activate(network, z):
    """Apply every population's activation."""
    out = np.empty_like(z)
    for place, shape in network["shapes"]:
        out[place] = transfer(shape, z[place])
    return out
