"""Omega of Pascanu, Mikolov, Bengio (2013) with explicit Jacobians of one trial; imports numpy only.

Steps are functions ``(states, drive) -> states`` of complex arrays, so that their Jacobians are those of imaginary
steps.
"""

from __future__ import annotations

import numpy as np

ACTIVATIONS = {
    "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "relu": (lambda z: z * (z.real > 0.0), lambda z: (z > 0.0) * 1.0),
    "softplus": (lambda z: np.log1p(np.exp(z)), lambda z: 1.0 / (1.0 + np.exp(-z))),
}


def jacobian(step, states, drive):
    """Give the derivatives of a step's states with respect to those before, (n, n)."""
    moved = states + 1e-30j * np.eye(states.size)
    return np.stack([step(row, drive).imag / 1e-30 for row in moved], axis=1)


def errors(step, states, drives, direct, truncation=0):
    """Give the derivatives of a loss with respect to the states after every step, (n_steps, n).

    `states` has an entry before the first step; `direct` is what the loss sees of the states itself.
    """
    found = np.array(direct, dtype=float)
    for t in range(len(drives) - 1, 0, -1):
        if truncation == 0 or t % truncation:
            found[t - 1] += found[t] @ jacobian(step, states[t], drives[t])
    return found


def omega(error, jacobians, share):
    """Give the sum over steps of ``share (|J' e| / |e| - 1)^2``; errors of zero add nothing."""
    total = 0.0
    for e, matrix, weight in zip(error, jacobians, share, strict=True):
        if e.any():
            total += weight * (np.linalg.norm(e @ matrix) / np.linalg.norm(e) - 1.0) ** 2
    return total


def synapse_step(u, x, rate_hz, dt_s, synapses):
    """Give u and x after a step of rate_hz: exact in u, and in x at the mean of both ends of u."""
    U, tau_f, tau_d, jumps = synapses
    speed = 1.0 / tau_f + U * rate_hz
    target = U * (1.0 / tau_f + rate_hz) / speed
    new_u = target + (u - target) * np.exp(-dt_s * speed)
    middle = 0.5 * (u + new_u)
    fast = 1.0 / tau_d + (middle + jumps * U * (1.0 - middle)) * rate_hz
    return new_u, 1.0 / (tau_d * fast) + (x - 1.0 / (tau_d * fast)) * np.exp(-dt_s * fast)


class RateCell:
    """A leaky rate cell; its states are y, then u and x of the plastic sources.

    Parameters
    ----------
    form : {"current", "rate"}
    kind : str
        Key of `ACTIVATIONS`.
    weights : dict of ndarray
        recurrent, tau_s, U, tau_f_s, tau_d_s.
    sources : tuple of two ndarray of int
        Units that send through static, and through plastic weights.
    scales : tuple of two float
        Hertz of a rate of 1, and the step in seconds.
    jumps : float
        1 where a spike finds u before its jump, else 0.
    keep : ndarray, shape (n_units,)
        What is left of all that a unit sends.
    """

    def __init__(self, form, kind, weights, sources, scales, jumps, keep):
        self.form, (self.phi, self.slope), self.weights = form, ACTIVATIONS[kind], weights
        self.static, self.plastic = sources
        self.rate_scale_hz, self.dt_s = scales
        self.jumps, self.keep = jumps, keep
        self.decay = np.exp(-self.dt_s / weights["tau_s"])

    def split(self, states):
        """Give y, the rates, and the efficacies of the plastic sources."""
        n, m = self.decay.size, self.plastic.size
        y, u, x = states[:n], states[n : n + m], states[n + m :]
        rate = self.phi(y) if self.form == "current" else y
        return y, rate, (u + self.jumps * self.weights["U"] * (1.0 - u)) * x

    def argument(self, states, drive):
        """Give the argument z of a step; drive is all that comes from outside."""
        _, rate, efficacy = self.split(states)
        positive = rate[self.plastic] * (rate[self.plastic].real > 0.0)
        sent = np.concatenate([(self.keep * rate)[self.static], self.keep[self.plastic] * efficacy * positive])
        return self.weights["recurrent"] @ sent + drive

    def step(self, states, drive):
        """Give the states after a step."""
        y, rate, _ = self.split(states)
        w, n, m = self.weights, self.decay.size, self.plastic.size
        z = self.argument(states, drive)
        target = z if self.form == "current" else self.phi(z)
        rate_hz = self.rate_scale_hz * rate[self.plastic] * (rate[self.plastic].real > 0.0)
        synapses = (w["U"], w["tau_f_s"], w["tau_d_s"], self.jumps)
        stepped = synapse_step(states[n : n + m], states[n + m :], rate_hz, self.dt_s, synapses)
        return np.concatenate([target + self.decay * (y - target), *stepped])

    def unit_jacobian(self, states, drive, recurrent):
        """Give the Jacobian of y at fixed efficacies, with `recurrent` where it stands in it and nowhere else."""
        y, rate, efficacy = self.split(states)
        n_static, m = self.static.size, self.plastic.size
        spread = np.zeros((n_static + m, y.size))
        spread[np.arange(n_static), self.static] = 1.0
        spread[n_static + np.arange(m), self.plastic] = efficacy * (rate[self.plastic] > 0.0)
        by_rate = recurrent @ spread @ np.diag(self.keep)
        if self.form == "current":
            by_y = by_rate @ np.diag(self.slope(y))
        else:
            by_y = np.diag(self.slope(self.argument(states, drive))) @ by_rate
        return np.diag(self.decay) + np.diag(1.0 - self.decay) @ by_y


class VanillaCell:
    """A vanilla network, with layer norm of the recurrent product or without.

    Parameters
    ----------
    kind : str
        Key of `ACTIVATIONS`.
    hidden : ndarray, shape (n_hidden, n_hidden)
    keep : ndarray, shape (n_hidden,)
        What is left of all that a unit sends.
    gain : ndarray, shape (n_hidden,) or (0,)
        Of the layer norm; empty without one.
    """

    def __init__(self, kind, hidden, keep, gain):
        self.phi, self.slope = ACTIVATIONS[kind]
        self.hidden, self.keep, self.gain = hidden, keep, gain

    def normal(self, product):
        """Give the recurrent product as it comes in."""
        if not self.gain.size:
            return product
        apart = product - product.mean()
        return self.gain * apart / np.sqrt((apart**2).mean() + 1e-5)

    def step(self, states, drive):
        """Give the states after a step."""
        return self.phi(self.normal(self.hidden @ (self.keep * states)) + drive)

    def unit_jacobian(self, states, drive, hidden):
        """Give the Jacobian of a step, with `hidden` where it stands in it and nowhere else."""
        product = self.hidden @ (self.keep * states)
        by_product = jacobian(lambda p, _: self.normal(p), product, drive)
        return np.diag(self.slope(self.normal(product) + drive)) @ by_product @ hidden @ np.diag(self.keep)
