"""Vanilla, LSTM, GRU and neural-ODE networks as systems: maps without a flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortexrnn.cells.ode_parts import N_TIMING
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.system import System


class CellSystem(System):
    """A cell network at a constant input; the state is h, of an LSTM h and then c.

    Parameters
    ----------
    kind : {"vanilla", "lstm", "gru", "ode"}
    weights : NamedTuple of ndarray
        Of the cell, in any precision.
    inputs : ndarray, shape (n_inputs,)
    dt_s : float
        Time of a step.

    Raises
    ------
    OptionError
        If there are not as many inputs as the network has.
    """

    def __init__(self, kind: str, weights: Any, inputs: np.ndarray, *, dt_s: float):
        self._cell = CELLS[kind]
        self.name, self.dt_s = kind, dt_s
        self._weights = type(weights)(*(np.ascontiguousarray(part, dtype=float) for part in weights))
        self.n_units = self._weights.start.shape[1]
        self.size = self.n_units * len(self._cell.states)
        self._packed = self._cell.pack(self._weights)
        self._inputs = np.ascontiguousarray(inputs, dtype=float)
        # A neural ODE has the gap and the presence of a sample before its inputs.
        n_inputs = self._weights.input.shape[1] + (N_TIMING if kind == "ode" else 0)
        if self._inputs.shape != (n_inputs,):
            raise OptionError(f"inputs have the shape {self._inputs.shape}; expected ({n_inputs},).", where=kind)

    @property
    def labels(self) -> list[str]:
        """Names of the state's entries."""
        return [f"{name} {k}" for name in self._cell.states for k in range(self.n_units)]

    def start(self, n: int, *, seed: int) -> np.ndarray:
        """Draw states between -1 and 1, where hidden states are."""
        return stream(seed, "theory", "start").uniform(-1.0, 1.0, (n, self.size))

    def rates(self, states: np.ndarray) -> np.ndarray:
        """Give the hidden states."""
        return states[:, : self.n_units]

    def step(self, states: np.ndarray) -> np.ndarray:
        """Advance by one step, tile by tile."""
        out = np.empty_like(states)
        tape = self._cell.empty_tape(1, self._weights)
        inputs, keep = np.repeat(self._inputs, N_LANES)[None], np.empty(0)
        names = self._cell.states
        for first in range(0, len(states), N_LANES):
            part = states[first : first + N_LANES]
            lanes = np.zeros((self.size, N_LANES))
            lanes[:, : len(part)] = part.T
            for name, values in zip(names, np.split(lanes, len(names)), strict=True):
                getattr(tape, name)[0] = values.ravel()
            self._cell.forward(inputs, keep, self._packed, tape)
            after = [getattr(tape, name)[1].reshape(self.n_units, N_LANES) for name in names]
            out[first : first + N_LANES] = np.concatenate(after).T[: len(part)]
        return out

    def jacobian(self, states: np.ndarray) -> np.ndarray:
        """Give the derivative of the step, state by state."""
        out = np.empty((len(states), self.size, self.size))
        for k, state in enumerate(states):
            out[k] = self._cell.jacobian(state, self._inputs, self._weights)
        return out

    def push(self, states: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Apply the derivative of the step."""
        return self.jacobian(states) @ vectors
