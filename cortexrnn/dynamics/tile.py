"""A tile of trials on its way through time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexrnn.dynamics.kernels import State
from cortexrnn.dynamics.network import Network
from cortexrnn.dynamics.noise import OrnsteinUhlenbeck
from cortexrnn.dynamics.stimuli import Drive
from cortexrnn.errors import NumericalError
from cortexrnn.numerics.streams import stream


class Beginning(NamedTuple):
    """What a trial begins with and what it is driven by.

    Attributes
    ----------
    drive : Drive
    seed : int
    initial : ndarray, shape (n_units,) or (n_trials, n_units), or None
        State of the units; drawn where it is None.
    n_trials : int
        Trials of the whole simulation.
    """

    drive: Drive
    seed: int
    initial: np.ndarray | None
    n_trials: int


class Kept(NamedTuple):
    """What happened at the kept moments of a block.

    Attributes
    ----------
    state : State
        Each of shape (n_kept, n * lanes).
    external : ndarray, shape (n_kept, n_units, 1 or lanes)
        Current from outside.
    """

    state: State
    external: np.ndarray


class Tile:
    """Trials that are simulated side by side.

    Parameters
    ----------
    network : Network
    beginning : Beginning
    trials : range
        Numbers of the trials, one a lane; those beyond the last of the simulation only fill the tile up.

    Attributes
    ----------
    trials : range
    n_real : int
        How many of them are trials of the simulation.
    """

    def __init__(self, network: Network, beginning: Beginning, trials: range):
        self.trials = trials
        self._network = network
        self._drive = beginning.drive
        self.n_real = min(trials.stop, beginning.n_trials) - trials.start
        self._state = network.resting_state(self._first_state(beginning))
        noise, size = network.circuit.noise, network.circuit.size
        self._noise = None
        if noise is not None and noise.sigma > 0.0:
            key = (beginning.seed,)
            self._noise = OrnsteinUhlenbeck(noise, size, network.dt_s, key=key, trials=trials, dtype=network.dtype)

    def advance(self, start: int, stop: int, every: int) -> Kept:
        """Simulate the steps from `start` to `stop` and keep every so many of them.

        Raises
        ------
        NumericalError
            If a state is no longer finite; says where it happened first.
        """
        before = State(*(part.copy() for part in self._state))
        external = self._external(start, stop)
        kept = self._run(external, every, stop - start)
        if not np.isfinite(self._state.y.reshape(-1, len(self.trials))[:, : self.n_real]).all():
            self._state = before
            raise self._divergence(external, start, stop)
        rows = external.reshape(len(external), self._network.circuit.size, -1)
        return Kept(kept, rows[:: every * (2 if self._has_half_steps else 1)][: len(kept.y)])

    @property
    def _has_half_steps(self) -> bool:
        """Whether the integrator asks for the current in the middle of a step."""
        return self._network.method == "runge_kutta"

    def _first_state(self, beginning: Beginning) -> np.ndarray:
        """Give the units' state before the first step, shape (n_units, lanes)."""
        circuit = self._network.circuit
        if beginning.initial is not None:
            given = np.broadcast_to(beginning.initial, (beginning.n_trials, circuit.size))
            return given[np.minimum(np.arange(self.trials.start, self.trials.stop), beginning.n_trials - 1)].T
        normals = [stream(beginning.seed, "initial state", t).standard_normal(circuit.size) for t in self.trials]
        current = circuit.initial_sd * np.array(normals).T
        if circuit.form == "current":
            return current
        return np.concatenate([p.activation(current[circuit.slices[p.name]]) for p in circuit.populations])

    def _external(self, start: int, stop: int) -> np.ndarray:
        """Give the current from outside, a row for every moment that the integrator asks for."""
        network, lanes = self._network, len(self.trials)
        moments = np.arange(2 * start, 2 * stop + 1) / 2 if self._has_half_steps else np.arange(start, stop)
        # Rounded, so that a pulse begins at the step that is meant.
        current = self._drive.sample(np.round(moments * network.dt_s, 12), self.trials)
        if self._noise is not None:
            noise = self._noise.block(stop - start).reshape(stop - start + 1, -1, lanes)
            if self._has_half_steps:
                between = np.empty((moments.size, *noise.shape[1:]), noise.dtype)
                between[::2], between[1::2] = noise, 0.5 * (noise[1:] + noise[:-1])
                current = current + between
            else:
                current = current + noise[:-1]
        return np.ascontiguousarray(current, network.dtype).reshape(moments.size, -1)

    def _run(self, external: np.ndarray, every: int, n_steps: int) -> State:
        """Run the kernel over a block and give the kept states."""
        n_kept = -(-n_steps // every)
        kept = State(*(np.empty((n_kept, part.size), part.dtype) for part in self._state))
        self._network.advance(len(self.trials), self._state, external, every, kept)
        return kept

    def _divergence(self, external: np.ndarray, start: int, stop: int) -> NumericalError:
        """Find the first state that is not finite by running the block again."""
        states = self._run(external, 1, stop - start).y
        states = np.concatenate([states, self._state.y[None]]).reshape(stop - start + 1, -1, len(self.trials))
        step, unit, lane = np.argwhere(~np.isfinite(states[:, :, : self.n_real]))[0]
        circuit = self._network.circuit
        population = circuit.populations[circuit.population_of[unit]].name
        return NumericalError(
            f"the {'current' if circuit.form == 'current' else 'rate'} of unit {unit} ({population}) is "
            f"{states[step, unit, lane]} in trial {self.trials[lane]} at {(start + step) * self._network.dt_s:.6g} s; "
            f"the step before it was {states[step - 1, unit, lane]:.6g}.",
            where=f"circuit {circuit.name}",
            hint="Lower dt_s or the gain, balance the rows, or take an activation that saturates.",
        )
