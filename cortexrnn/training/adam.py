"""Adam with a clipped gradient, for weights that live in one flat array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# Kingma & Ba (2015), arXiv:1412.6980, section 2; the second decay is 0.99 because fits take hundreds of steps,
# not the tens of thousands for which 0.999 was recommended.
_FIRST_DECAY = 0.9
_SECOND_DECAY = 0.99
_EPSILON = 1e-8


class AdamState(NamedTuple):
    """Running moments of the gradient.

    Attributes
    ----------
    first, second : ndarray, shape (n_weights,)
        Decayed means of the gradient and of its square.
    n_steps : ndarray of int64, shape (1,)
        Steps taken so far.
    """

    first: np.ndarray
    second: np.ndarray
    n_steps: np.ndarray


def init_adam(n_weights: int, dtype: type = np.float32) -> AdamState:
    """Start with zero moments."""
    return AdamState(np.zeros(n_weights, dtype), np.zeros(n_weights, dtype), np.zeros(1, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def clip(gradient, max_norm):
    """Give the norm of a gradient and the factor that brings it to at most `max_norm`."""
    square = 0.0
    for i in range(gradient.size):
        square += float(gradient[i]) * float(gradient[i])
    norm = np.sqrt(square)
    return norm, 1.0 if norm <= max_norm else max_norm / norm


@njit(cache=True, nogil=True, error_model="numpy")
def adam_step(weights, gradient, state, learning_rate, max_norm):
    """Take one step of Adam, in place.

    Equations of algorithm 1 of Kingma & Ba (2015), after scaling the gradient to a norm of at most `max_norm`
    (Pascanu et al. 2013, arXiv:1211.5063). Nothing is changed where the gradient is not finite.

    Parameters
    ----------
    weights, gradient : ndarray, shape (n_weights,)
    state : AdamState
    learning_rate : float
    max_norm : float
        Largest norm of the gradient that is used as it is.

    Returns
    -------
    float
        Norm of the gradient before clipping; not finite if the step was refused.
    """
    norm, scale = clip(gradient, max_norm)
    if not np.isfinite(norm):
        return norm
    state.n_steps[0] += 1
    n = state.n_steps[0]
    first_correction = 1.0 / (1.0 - _FIRST_DECAY**n)
    second_correction = 1.0 / (1.0 - _SECOND_DECAY**n)
    first, second = state.first, state.second
    for i in range(weights.size):
        g = gradient[i] * scale
        m = _FIRST_DECAY * first[i] + (1.0 - _FIRST_DECAY) * g
        v = _SECOND_DECAY * second[i] + (1.0 - _SECOND_DECAY) * g * g
        first[i] = m
        second[i] = v
        weights[i] -= learning_rate * (m * first_correction) / (np.sqrt(v * second_correction) + _EPSILON)
    return norm
