"""Stochastic gradient descent with momentum beside Adam, and how a learning rate goes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn._checks import check_choice, check_count
from cortexrnn.errors import OptionError
from cortexrnn.training.adam import AdamState, adam_step, clip, init_adam

SHAPES = ("constant", "cosine", "exponential")


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """How a learning rate goes over the steps of a training.

    Attributes
    ----------
    shape : {"constant", "cosine", "exponential"}
        From 1 to `last` over all steps.
    last : float
        Factor at the last step, in (0, 1].
    warmup_steps : int
        Steps over which it first rises linearly.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    shape: str = "constant"
    last: float = 0.01
    warmup_steps: int = 0

    def __post_init__(self):
        check_choice("shape", self.shape, SHAPES)
        if not 0.0 < self.last <= 1.0:
            raise OptionError(f"last={self.last!r} is not valid; expected a factor above 0 and at most 1.")
        object.__setattr__(self, "warmup_steps", check_count("warmup_steps", self.warmup_steps, at_least=0))

    def factor(self, step: int, n_steps: int) -> float:
        """Give the factor of the learning rate in a step.

        Parameters
        ----------
        step : int
            From 0.
        n_steps : int
            Steps of the whole training.

        Returns
        -------
        float
            Above 0 and at most 1.
        """
        if step < self.warmup_steps:
            return (step + 1) / (self.warmup_steps + 1)
        done = (step - self.warmup_steps) / max(1, n_steps - 1 - self.warmup_steps)
        if self.shape == "cosine":
            return self.last + (1.0 - self.last) * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
        return self.last ** min(done, 1.0) if self.shape == "exponential" else 1.0


class MomentumState(NamedTuple):
    """Where stochastic gradient descent is going.

    Attributes
    ----------
    velocity : ndarray, shape (n_weights,)
    """

    velocity: np.ndarray


def init_momentum(n_weights: int, dtype: type = np.float32) -> MomentumState:
    """Start at rest."""
    return MomentumState(np.zeros(n_weights, dtype))


@njit(cache=True, nogil=True, error_model="numpy")
def momentum_step(weights, gradient, state, learning_rate, max_norm, momentum):
    """Take one step of gradient descent with momentum (Polyak 1964), in place.

    ``v <- momentum v + g``, ``w <- w - learning_rate v``, with the gradient scaled to a norm of at most `max_norm`.
    Nothing is changed where the gradient is not finite.

    Parameters
    ----------
    weights, gradient : ndarray, shape (n_weights,)
    state : MomentumState
    learning_rate, max_norm, momentum : float

    Returns
    -------
    float
        Norm of the gradient before clipping; not finite if the step was refused.
    """
    norm, scale = clip(gradient, max_norm)
    if not np.isfinite(norm):
        return norm
    velocity = state.velocity
    for i in range(weights.size):
        velocity[i] = momentum * velocity[i] + gradient[i] * scale
        weights[i] -= learning_rate * velocity[i]
    return norm


class NoState(NamedTuple):
    """L-BFGS keeps nothing from one look at the performance to the next."""


State = AdamState | MomentumState | NoState
# How each optimiser begins.
OPTIMISERS = {"adam": init_adam, "sgd": init_momentum, "l-bfgs": lambda n_weights, dtype: NoState()}


def take_step(
    weights: np.ndarray, gradient: np.ndarray, state: State, *, learning_rate: float, max_norm: float, momentum: float
) -> float:
    """Take a step of the optimiser that a state belongs to; see `adam_step` and `momentum_step`."""
    if isinstance(state, AdamState):
        return adam_step(weights, gradient, state, learning_rate, max_norm)
    return momentum_step(weights, gradient, state, learning_rate, max_norm, momentum)
