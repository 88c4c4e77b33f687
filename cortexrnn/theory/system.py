"""What can be taken apart: anything with a state, a step and its derivative.

A `System` is a map from one time step to the next at a constant input, and, where there is one, the flow behind it.
Everything is float64 and batched: states have the shape (n, size).
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from cortexrnn.errors import DataError, OptionError


class System(abc.ABC):
    """A network at a constant input.

    Attributes
    ----------
    name : str
    dt_s : float
        Time of a step in seconds.
    size : int
        Length of the state.
    n_units : int
        Units whose rates a read-out sees.
    is_flow : bool
        Whether `velocity` exists.
    """

    name: str
    dt_s: float
    size: int
    n_units: int
    is_flow: bool = False

    @property
    @abc.abstractmethod
    def labels(self) -> list[str]:
        """Name of every entry of the state, such as ``"current 3"`` or ``"u 5"``."""

    @abc.abstractmethod
    def start(self, n: int, *, seed: int) -> np.ndarray:
        """Give states to start from, near rest but all different.

        Parameters
        ----------
        n : int
        seed : int

        Returns
        -------
        ndarray, shape (n, size)
        """

    @abc.abstractmethod
    def step(self, states: np.ndarray) -> np.ndarray:
        """Advance states by one time step.

        Parameters
        ----------
        states : ndarray, shape (n, size)

        Returns
        -------
        ndarray, shape (n, size)
        """

    @abc.abstractmethod
    def push(self, states: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Apply the derivative of `step` to vectors.

        Parameters
        ----------
        states : ndarray, shape (n, size)
            Before the step.
        vectors : ndarray, shape (n, size, k)

        Returns
        -------
        ndarray, shape (n, size, k)
        """

    @abc.abstractmethod
    def rates(self, states: np.ndarray) -> np.ndarray:
        """Give the rates of states.

        Parameters
        ----------
        states : ndarray, shape (n, size)

        Returns
        -------
        ndarray, shape (n, n_units)
        """

    def jacobian(self, states: np.ndarray) -> np.ndarray:
        """Give the derivative of `step`.

        Parameters
        ----------
        states : ndarray, shape (n, size)

        Returns
        -------
        ndarray, shape (n, size, size)
            Entry (i, j): of entry i after the step with respect to entry j before it.
        """
        eye = np.eye(self.size)
        return self.push(states, np.broadcast_to(eye, (len(states), *eye.shape)))

    def velocity(self, states: np.ndarray) -> np.ndarray:
        """Give the time derivative of states, per second.

        Parameters
        ----------
        states : ndarray, shape (n, size)

        Returns
        -------
        ndarray, shape (n, size)

        Raises
        ------
        OptionError
            If the system is a map without a flow.
        """
        raise OptionError(f"{self.name!r} is a map: it has steps, but no velocity.")

    def velocity_jacobian(self, states: np.ndarray) -> np.ndarray:
        """Give the derivative of `velocity`.

        Parameters
        ----------
        states : ndarray, shape (n, size)

        Returns
        -------
        ndarray, shape (n, size, size)

        Raises
        ------
        OptionError
            If the system is a map without a flow.
        """
        raise OptionError(f"{self.name!r} is a map: it has steps, but no velocity.")

    def trajectory(self, start: np.ndarray, n_steps: int) -> np.ndarray:
        """Give the states from a start on.

        Parameters
        ----------
        start : ndarray, shape (n, size)
        n_steps : int

        Returns
        -------
        ndarray, shape (n_steps + 1, n, size)
        """
        states = np.empty((n_steps + 1, *start.shape))
        states[0] = start
        for t in range(n_steps):
            states[t + 1] = self.step(states[t])
        return states

    def check_states(self, states: np.ndarray) -> np.ndarray:
        """Return states as (n, size) in float64, or refuse them.

        Parameters
        ----------
        states : array_like
            One state or several.

        Returns
        -------
        ndarray, shape (n, size)

        Raises
        ------
        DataError
            If the shape is another one or an entry is not finite.
        """
        found = np.atleast_2d(np.asarray(states, dtype=float))
        if found.ndim != 2 or found.shape[1] != self.size:
            raise DataError(f"states have the shape {np.shape(states)}; expected (n, {self.size}).", where=self.name)
        if not np.isfinite(found).all():
            raise DataError("states hold values that are not finite.", where=self.name)
        return found


def as_system(thing: Any, **options: Any) -> System:
    """Give the system that something is.

    Parameters
    ----------
    thing : System, Circuit, or an object with a method ``system``
        As trained networks and fitted spike models have it.
    **options
        For a circuit those of `cortexrnn.theory.rate_system.circuit_system`, else those of the method.

    Returns
    -------
    System

    Raises
    ------
    OptionError
        If it is none, or options are given for what is one already.
    """
    # A circuit pulls in the builders of weights.
    from cortexrnn.circuit.spec import Circuit
    from cortexrnn.theory.rate_system import circuit_system

    if isinstance(thing, System):
        if options:
            raise OptionError(f"{next(iter(options))} was settled when the system was made: leave it out.")
        return thing
    if isinstance(thing, Circuit):
        return circuit_system(thing, **options)
    if callable(getattr(thing, "system", None)):
        return thing.system(**options)
    raise OptionError(
        f"a {type(thing).__name__} is no system; expected a System, a Circuit, a trained network or a fitted network."
    )
