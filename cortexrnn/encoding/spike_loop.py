"""A fitted network as a linear system from its unit's spikes to the log of its rate, and with that loop closed.

A network is driven by the spikes of its unit, so its fixed points are not those of an autonomous system. Here it is
the map of the mean: the state is the traces x and the network's own state h just before the spikes y of a bin, and ::

    x' = d x + y,    h' = F(h, u(x')),    averaged over y

with y at the counts that the likelihood allows. A network has never seen a fraction of a spike, so the average is taken
over spike and no spike and not over the input. Open, y has a fixed mean. Closed, it has the mean that the network
itself expects, ``log mu = log mu_0 + B tanh(eta / B)``, with the rungs below held constant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cortexrnn.cells.gru_packed import GRUCellWeights
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.encoding.network import FittedNetwork
from cortexrnn.encoding.rnn import FittedRNN
from cortexrnn.encoding.rnn_kernels import LOG_BOUND, as_network
from cortexrnn.encoding.rnn_tiles import trace_decay
from cortexrnn.errors import OptionError
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.system import System

# Counts of a bin whose probabilities, together, are smaller than this are left out.
_TAIL = 1e-9
# Step of the central differences in the inputs, which are of order one.
_STEP = 1e-4


class Counts(NamedTuple):
    """The counts of a bin and how likely each is.

    Attributes
    ----------
    weight : ndarray, shape (n_counts,)
        Probability of 0, 1, 2, ... spikes.
    by_log_mu : ndarray, shape (n_counts,)
        Its derivative with respect to the log of the expected count.
    """

    weight: np.ndarray
    by_log_mu: np.ndarray

    @property
    def mean_by_log_mu(self) -> float:
        """Derivative of the mean count with respect to the log of the expected count."""
        return float(np.arange(self.weight.size) @ self.by_log_mu)


def count_law(mu: float, likelihood: str) -> Counts:
    """Give the counts of a bin with an expected count of mu.

    Parameters
    ----------
    mu : float
        Poisson: the mean count. Bernoulli: the integral of the intensity, with ``p = 1 - exp(-mu)``.
    likelihood : {"poisson", "bernoulli"}

    Returns
    -------
    Counts
    """
    if LIKELIHOODS[likelihood] == BERNOULLI:
        silent = np.exp(-mu)
        return Counts(np.array([silent, 1.0 - silent]), mu * silent * np.array([-1.0, 1.0]))
    weight, k = [np.exp(-mu)], 0
    while k < 2 or 1.0 - sum(weight) > _TAIL:
        k += 1
        weight.append(weight[-1] * mu / k)
    found = np.array(weight) / sum(weight)
    k_of = np.arange(found.size)
    return Counts(found, found * (k_of - k_of @ found))


class MeanOf(System):
    """The mean of several maps of the same state.

    Parameters
    ----------
    systems : list of System
    weight : ndarray, shape (n_systems,)
        Sums to 1.
    """

    def __init__(self, systems: list[System], weight: np.ndarray):
        first = systems[0]
        self.name, self.dt_s, self.size, self.n_units = first.name, first.dt_s, first.size, first.n_units
        self._systems, self._weight = systems, weight

    @property
    def labels(self) -> list[str]:
        """Names of the state's entries."""
        return self._systems[0].labels

    def start(self, n: int, *, seed: int) -> np.ndarray:
        """Draw states as the first system does."""
        return self._systems[0].start(n, seed=seed)

    def rates(self, states: np.ndarray) -> np.ndarray:
        """Give the rates of the network's units, which are no rates of spikes."""
        return self._systems[0].rates(states)

    def step(self, states: np.ndarray) -> np.ndarray:
        """Average the steps."""
        return sum(w * system.step(states) for w, system in zip(self._weight, self._systems, strict=True))

    def push(self, states: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Average the derivatives of the steps."""
        return sum(w * system.push(states, vectors) for w, system in zip(self._weight, self._systems, strict=True))


class SpikeLoop(System):
    """A network with its traces, open or closed; the state is the traces in spikes and then the network's own.

    Parameters
    ----------
    fitted : FittedRNN or FittedNetwork
        Whose own spikes are not cut off.
    baseline : float
        Count that the rungs below expect in a bin.
    count : float
        Expected count of a bin at which an open loop is held.
    is_closed : bool
        Whether the spikes are those that the network itself expects.
    likelihood : {"poisson", "bernoulli"}, optional
        Of the spikes; that of the training if not given.

    Raises
    ------
    OptionError
        If the network hears no spikes.
    """

    def __init__(
        self, fitted: FittedRNN | FittedNetwork, *, baseline: float, count: float, is_closed: bool,
        likelihood: str | None = None,
    ):  # fmt: skip
        if not fitted.spec.uses_own_spikes:
            raise OptionError(f"{fitted.spec.name} hears no spikes: it has no response to one.")
        self.name = f"{fitted.spec.name}, {'closed' if is_closed else 'open'} loop"
        self.dt_s, self.is_closed = fitted.bin_s, is_closed
        self.likelihood = likelihood or fitted.spec.likelihood
        self.decay = trace_decay(fitted.spec.trace_s, fitted.bin_s)
        self.count = count
        self._scale, self._log_baseline = fitted.scale, float(np.log(baseline))
        self._inner, self._readout, self._skip, self._offset = _parts(fitted)
        self._like = self.inner(np.zeros(self.decay.size))
        self.n_units, self.size = self._like.n_units, self.decay.size + self._like.size

    @property
    def labels(self) -> list[str]:
        """Names of the state's entries."""
        return [f"trace {k}" for k in range(self.decay.size)] + self._like.labels

    def inner(self, traces: np.ndarray) -> System:
        """Give the network alone while its traces are held, shape (n_traces,)."""
        return self._inner(self._inputs(traces))

    def held(self, traces: np.ndarray, count: float) -> MeanOf:
        """Give the network alone, averaged over the counts of a bin after held traces."""
        law = count_law(count, self.likelihood)
        return MeanOf([self.inner(self.decay * traces + k) for k in range(law.weight.size)], law.weight)

    def mean_traces(self, count: float) -> np.ndarray:
        """Give the traces' means at an expected count of a bin, shape (n_traces,)."""
        law = count_law(count, self.likelihood)
        return (np.arange(law.weight.size) @ law.weight) / (1.0 - self.decay)

    def start(self, n: int, *, seed: int) -> np.ndarray:
        """Draw states of the network, with the traces at their means."""
        traces = np.broadcast_to(self.mean_traces(self.count), (n, self.decay.size))
        return np.hstack([traces, self._like.start(n, seed=seed)])

    def rates(self, states: np.ndarray) -> np.ndarray:
        """Give the rates of the network's units, which are no rates of spikes."""
        return self._like.rates(states[:, self.decay.size :])

    def log_mu(self, states: np.ndarray) -> np.ndarray:
        """Give the log expected count of the bin that begins in these states, shape (n,)."""
        return self._log_baseline + LOG_BOUND * np.tanh(self._eta(states) / LOG_BOUND)

    def read_out(self, state: np.ndarray) -> np.ndarray:
        """Give the derivative of the log expected count by the state, shape (size,)."""
        slope = 1.0 - np.tanh(self._eta(state[None])[0] / LOG_BOUND) ** 2
        n = self.decay.size
        return slope * np.concatenate([self._skip[:n] / self._scale.spread[:n], self._readout])

    def law(self, state: np.ndarray) -> Counts:
        """Give the counts of the bin that begins in a state."""
        mu = float(np.exp(self.log_mu(state[None])[0])) if self.is_closed else self.count
        return count_law(mu, self.likelihood)

    def kick(self, state: np.ndarray) -> np.ndarray:
        """Give by how much one more spike moves the state after the bin, shape (size,)."""
        law = self.law(state)
        return law.by_log_mu @ self._after(state, law.weight.size) / law.mean_by_log_mu

    def step(self, states: np.ndarray) -> np.ndarray:
        """Advance by a bin, state by state."""
        out = np.empty_like(states)
        for k, state in enumerate(states):
            weight = self.law(state).weight
            out[k] = weight @ self._after(state, weight.size)
        return out

    def jacobian(self, states: np.ndarray) -> np.ndarray:
        """Give the derivative of the step."""
        n, out = self.decay.size, np.zeros((len(states), self.size, self.size))
        for k, state in enumerate(states):
            law = self.law(state)
            out[k, :n, :n] = np.diag(self.decay)
            for count, weight in enumerate(law.weight):
                traces = self.decay * state[:n] + count
                out[k, n:, n:] += weight * self.inner(traces).jacobian(state[None, n:])[0]
                out[k, n:, :n] += weight * self._by_traces(traces, state[n:]) * self.decay
            if self.is_closed:
                out[k] += law.mean_by_log_mu * np.outer(self.kick(state), self.read_out(state))
        return out

    def push(self, states: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Apply the derivative of the step."""
        return self.jacobian(states) @ vectors

    def _after(self, state: np.ndarray, n_counts: int) -> np.ndarray:
        """Give the states after 0, 1, 2, ... spikes, shape (n_counts, size)."""
        n = self.decay.size
        traces = self.decay * state[:n] + np.arange(n_counts)[:, None]
        return np.hstack([traces, np.concatenate([self.inner(x).step(state[None, n:]) for x in traces])])

    def _by_traces(self, traces: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Give the derivative of the network's step by its traces, by central differences in float64."""
        columns = []
        for k, spread in enumerate(self._scale.spread[: traces.size]):
            move = np.zeros(traces.size)
            move[k] = _STEP * spread
            ends = [self.inner(traces + sign * move).step(hidden[None])[0] for sign in (1.0, -1.0)]
            columns.append((ends[0] - ends[1]) / (2.0 * _STEP * spread))
        return np.stack(columns, axis=1)

    def _inputs(self, traces: np.ndarray) -> np.ndarray:
        """Give the scaled inputs, those from other units at their means."""
        inputs = (np.append(traces, self._log_baseline) - self._scale.mean) / self._scale.spread
        return np.pad(inputs, (0, self._scale.n_inputs - inputs.size))

    def _eta(self, states: np.ndarray) -> np.ndarray:
        """Give what the read-out and the direct path say, before the bound."""
        n = self.decay.size
        direct = np.array([self._skip @ self._inputs(traces) for traces in states[:, :n]])
        return self._offset + direct + states[:, n:] @ self._readout


def _parts(fitted: FittedRNN | FittedNetwork) -> tuple[Callable, np.ndarray, np.ndarray, float]:
    """Give the network at an input, its read-out of the whole state, its direct path and its offset."""
    if isinstance(fitted, FittedRNN):
        network = as_network(fitted.weights, fitted.scale.n_inputs, fitted.spec.n_hidden)
        gru = GRUCellWeights(*network.gru[:4], norm_gain=np.empty(0), start=network.gru.start[None])
        readout, offset, skip = network.readout, network.offset[0], network.skip

        def inner(inputs: np.ndarray) -> System:
            return CellSystem("gru", gru, inputs, dt_s=fitted.bin_s)

        size = fitted.spec.n_hidden
    else:
        swept = fitted.network(n_steps=1)
        (readout,), (offset,) = swept.model.readout()
        skip = swept.skip

        def inner(inputs: np.ndarray) -> System:
            return swept.model.system(inputs, fitted.bin_s)

        size = inner(np.zeros(fitted.scale.n_inputs)).size
    return inner, np.pad(readout.astype(float), (0, size - readout.size)), skip.astype(float), float(offset)
