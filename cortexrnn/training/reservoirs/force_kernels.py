"""Loops of a network whose read-out is fed back and learned while it runs."""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexrnn.dynamics.kernels import State, rates_of
from cortexrnn.training.reservoirs.reservoir_kernels import step
from cortexrnn.training.reservoirs.rls_kernels import dot, update, update_signed


@njit(cache=True, nogil=True)
def run_closed(network, y, external, feedback, weights, outputs):
    """Let a network run on its own outputs.

    Parameters
    ----------
    network : Network
    y : ndarray, shape (n_units,)
        State; changed in place.
    external : ndarray, shape (n_steps, n_units) or (1, n_units)
        Input to every unit at every step, or at all.
    feedback : ndarray, shape (n_units, n_outputs)
    weights : ndarray, shape (n_outputs, n_units)
    outputs : ndarray, shape (n_steps, n_outputs)
        Receives the outputs of the rates before every step.
    """
    rate, drive = np.empty_like(y), np.empty_like(y)
    for t in range(outputs.shape[0]):
        rates_of(network.units, y, rate)
        read(weights, rate, outputs[t])
        close(network, y, external[t % external.shape[0]], feedback, outputs[t], rate, drive)


@njit(cache=True, nogil=True)
def learn(network, y, external, feedback, learner, every, targets, outputs):
    """Let a network run on its own outputs while `rls_kernels.update` corrects them; gives the number of steps done.

    Parameters
    ----------
    network, y, external, feedback
        As in `run_closed`.
    learner : Filter
        Changed in place.
    every : int
        Steps from one update to the next.
    targets : ndarray, shape (n_steps, n_outputs)
    outputs
        As in `run_closed`.
    """
    rate, drive, errors = np.empty_like(y), np.empty_like(y), np.empty(targets.shape[1])
    for t in range(outputs.shape[0]):
        rates_of(network.units, y, rate)
        read(learner.weights, rate, outputs[t])
        errors[:] = targets[t] - outputs[t]
        if not np.isfinite(errors.sum()):
            return t
        if t % every == 0:
            update(learner, rate, errors)
        close(network, y, external[t % external.shape[0]], feedback, outputs[t], rate, drive)
    return outputs.shape[0]


@njit(cache=True, nogil=True)
def learn_signed(network, y, external, feedback, learner, signs, every, targets, outputs):
    """Do what `learn` does with `rls_kernels.update_signed`.

    Parameters
    ----------
    network, y, external, feedback
        As in `learn`.
    learner : SignedFilter
        Changed in place.
    signs : ndarray of float64, shape (n_units,)
        +1 or -1; rates are multiplied by them before they are learned from.
    every, targets, outputs
        As in `learn`.

    Returns
    -------
    n_steps, n_exchanges, n_unfinished : int
        Steps done, features exchanged, and updates that stopped before their optimum.
    """
    rate, drive, signed = np.empty_like(y), np.empty_like(y), np.empty_like(y)
    n_exchanges, n_unfinished = 0, 0
    for t in range(outputs.shape[0]):
        rates_of(network.units, y, rate)
        for i in range(rate.size):
            signed[i] = signs[i] * rate[i]
        read(learner.weights, signed, outputs[t])
        if not np.isfinite(outputs[t].sum()):
            return t, n_exchanges, n_unfinished
        if t % every == 0:
            n = update_signed(learner, signed, targets[t])
            n_exchanges += max(n, 0)
            n_unfinished += n < 0
        close(network, y, external[t % external.shape[0]], feedback, outputs[t], rate, drive)
    return outputs.shape[0], n_exchanges, n_unfinished


@njit(cache=True, nogil=True)
def read(weights, rate, outputs):
    """Give the outputs of rates."""
    for output in range(outputs.size):
        outputs[output] = dot(weights[output], rate)


@njit(cache=True, nogil=True)
def close(network, y, external, feedback, outputs, rate, drive):
    """Advance the state by one step under its input and the outputs that are fed back."""
    for i in range(drive.size):
        drive[i] = external[i] + dot(feedback[i], outputs)
    nothing = np.empty(0)
    step(network, State(y, nothing, nothing), rate, drive)
