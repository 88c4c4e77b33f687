"""Loss and gradient of a batch: tiles of 16 trials over threads, their sums in a fixed order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit
from threadpoolctl import threadpool_limits

from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows, padded_rows
from cortexrnn.training.losses import CODES, tile_loss
from cortexrnn.training.model import Model
from cortexrnn.training.penalties import Penalties, add_rate_penalties, alive

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch

# Steps whose read-out gradient is formed in one product.
_CHUNK = 32


class Readout(NamedTuple):
    """The read-out, packed.

    Attributes
    ----------
    forward, backward : ndarray
        From `pack_rows`, of the matrix and of its transpose.
    bias : ndarray, shape (n_outputs,)
    """

    forward: np.ndarray
    backward: np.ndarray
    bias: np.ndarray


class Gradient(NamedTuple):
    """Loss, its gradient and what the network answered.

    Attributes
    ----------
    loss : float
    gradient : ndarray, shape (n_parameters,)
        With respect to the model's flat parameters; empty where it was not asked for.
    outputs : ndarray, shape (n_trials, n_steps, n_outputs)
    """

    loss: float
    gradient: np.ndarray
    outputs: np.ndarray


def to_lanes(values: np.ndarray, dtype: np.dtype) -> list[np.ndarray]:
    """Lay (n_trials, n_steps, n) out as tiles of (n_steps, n * N_LANES); a last tile is filled up with zeros."""
    n_trials, n_steps, n = values.shape
    n_tiles = -(-n_trials // N_LANES)
    padded = np.zeros((n_tiles * N_LANES, n_steps, n), dtype)
    padded[:n_trials] = values
    return [
        np.ascontiguousarray(padded[k * N_LANES : (k + 1) * N_LANES].transpose(1, 2, 0)).reshape(n_steps, -1)
        for k in range(n_tiles)
    ]


def wanted(batch: Batch, n_outputs: int) -> np.ndarray:
    """Give what outputs are held against: targets, or 1 at the right class; (n_trials, n_steps, n_outputs)."""
    if batch.labels is None:
        return batch.targets
    return (batch.labels[:, :, None] == np.arange(n_outputs)).astype(np.float32)


class Trainer:
    """Runs a model forward and back; keeps the tapes from one batch to the next.

    Parameters
    ----------
    model : Model
    n_threads : int
        No number depends on it.
    penalties : Penalties, optional
        What is paid for beside errors.
    """

    def __init__(self, model: Model, n_threads: int, penalties: Penalties | None = None):
        self.model = model
        self._penalties = penalties or Penalties()
        self._n_threads = n_threads
        self._rooms: dict[tuple[int, int], tuple[Any, np.ndarray]] = {}

    def run(self, batch: Batch, *, noise_key: tuple, wants_gradient: bool = True) -> Gradient:
        """Give loss, gradient and outputs of a batch.

        Parameters
        ----------
        batch : Batch
            From a task.
        noise_key : tuple
            What the noise of this batch is drawn for, a seed first.
        wants_gradient : bool

        Returns
        -------
        Gradient
            The loss without penalties where no gradient is wanted.
        """
        model = self.model
        weights, (readout, bias) = model.core_weights(), model.readout()
        packed = model.pack(weights)
        out = Readout(pack_rows(readout), pack_rows(np.ascontiguousarray(readout.T)), bias)
        inputs = to_lanes(batch.inputs, model.dtype)
        targets = to_lanes(wanted(batch, bias.size), model.dtype)
        masks = to_lanes(batch.mask[:, :, None] / batch.mask.sum(dtype=float), model.dtype)
        penalties = self._penalties
        if penalties.is_on_rates:
            steps = to_lanes(alive(batch.length, batch.mask.shape[1])[:, :, None], model.dtype)

        def work(k: int) -> tuple[float, Any, tuple[np.ndarray, np.ndarray], np.ndarray]:
            n_steps = len(inputs[k])
            tape, by_hidden = self._room(k, n_steps, weights)
            noise = model.noise(noise_key, range(k * N_LANES, (k + 1) * N_LANES), n_steps)
            hidden = model.forward(inputs[k], noise, weights, packed, tape)
            answers = np.zeros((n_steps, padded_rows(bias.size) * N_LANES), model.dtype)
            read_out(hidden, out, answers)
            by_answers = np.empty_like(answers)
            loss = tile_loss(CODES[batch.loss], answers, targets[k], masks[k], by_answers)
            by_weights, by_readout = None, (np.zeros_like(readout), np.zeros_like(bias))
            if wants_gradient:
                read_out_backward(hidden, out, by_answers, by_hidden, *by_readout)
                if penalties.is_on_rates:
                    loss += add_rate_penalties(hidden, steps[k], penalties.l2_rates, penalties.smoothness, by_hidden)
                by_steps = by_hidden[: n_steps * hidden.shape[1]].reshape(n_steps, -1)
                by_weights = model.backward(inputs[k], by_steps, weights, packed, tape)
            return loss, by_weights, by_readout, answers[:, : bias.size * N_LANES]

        with threadpool_limits(1), ThreadPoolExecutor(min(self._n_threads, len(inputs))) as pool:
            parts = list(pool.map(work, range(len(inputs))))
        outputs = np.concatenate([part[3].reshape(-1, bias.size, N_LANES).transpose(2, 0, 1) for part in parts])
        loss = sum(part[0] for part in parts)
        if not wants_gradient:
            return Gradient(loss, np.empty(0), outputs[: len(batch.inputs)])
        by_weights = type(weights)(*(sum(values) for values in zip(*(part[1] for part in parts), strict=True)))
        by_readout = tuple(sum(values) for values in zip(*(part[2] for part in parts), strict=True))
        of_weights, by_penalty = penalties.of_weights(weights, readout)
        for name, by in by_penalty.items():
            target = by_readout[0] if name == "readout" else getattr(by_weights, name)
            target += by
        loss += of_weights
        return Gradient(loss, model.pull_back(weights, by_weights, by_readout), outputs[: len(batch.inputs)])

    def hidden(self, batch: Batch, *, noise_key: tuple) -> np.ndarray:
        """Give the hidden states after every step of a batch, shape (n_trials, n_steps, n_hidden).

        Parameters
        ----------
        batch : Batch
        noise_key : tuple
            As in `run`.

        Returns
        -------
        ndarray
        """
        model = self.model
        weights = model.core_weights()
        packed = model.pack(weights)
        found = []
        for k, inputs in enumerate(to_lanes(batch.inputs, model.dtype)):
            tape, _ = self._room(k, len(inputs), weights)
            noise = model.noise(noise_key, range(k * N_LANES, (k + 1) * N_LANES), len(inputs))
            hidden = model.forward(inputs, noise, weights, packed, tape)
            found.append(hidden[1:].reshape(len(inputs), -1, N_LANES).transpose(2, 0, 1).copy())
        return np.concatenate(found)[: len(batch.inputs)]

    def _room(self, k: int, n_steps: int, weights: Any) -> tuple[Any, np.ndarray]:
        """Give the tape of a tile and room for the derivatives of its hidden states, made once for every length."""
        if (k, n_steps) not in self._rooms:
            # Products write whole blocks: the last step's reaches beyond the last row.
            extra = padded_rows(self.model.n_hidden) - self.model.n_hidden
            room = np.zeros((n_steps * self.model.n_hidden + extra) * N_LANES, self.model.dtype)
            self._rooms[k, n_steps] = (self.model.empty_tape(n_steps, weights), room)
        return self._rooms[k, n_steps]


@njit(cache=True, nogil=True)
def read_out(rate, readout, outputs):
    """Fill the outputs of every step from the rates after it.

    Parameters
    ----------
    rate : ndarray, shape (n_steps + 1, n_units * N_LANES)
    readout : Readout
    outputs : ndarray, shape (n_steps, padded)
    """
    for t in range(outputs.shape[0]):
        outputs[t] = 0
        for k in range(readout.bias.size):
            for lane in range(N_LANES):
                outputs[t, k * N_LANES + lane] = readout.bias[k]
        add_rows(outputs[t], readout.forward, rate[t + 1])


@njit(cache=True, nogil=True)
def read_out_backward(rate, readout, by_outputs, by_rate, by_readout, by_bias):
    """Run the adjoint of `read_out`.

    Parameters
    ----------
    rate : ndarray, shape (n_steps + 1, n_units * N_LANES)
    readout : Readout
    by_outputs : ndarray, shape (n_steps, padded)
    by_rate : ndarray, shape (at least n_steps * n_units * N_LANES,)
        Filled, step after step, with room for a whole block behind the last.
    by_readout, by_bias : ndarray, shape (n_outputs, n_units) and (n_outputs,)
        Added to.
    """
    n_outputs = by_bias.size * N_LANES
    size = rate.shape[1]
    for t in range(by_outputs.shape[0]):
        # What a block has beyond the step is zero, and the next step begins anew.
        by_rate[t * size : (t + 1) * size] = 0
        add_rows(by_rate[t * size :], readout.backward, by_outputs[t, :n_outputs])
        for i in range(n_outputs):
            by_bias[i // N_LANES] += by_outputs[t, i]
    for first in range(0, by_outputs.shape[0], _CHUNK):
        stop = min(first + _CHUNK, by_outputs.shape[0])
        _add_outer_products(by_outputs[first:stop], rate[first + 1 : stop + 1], by_readout)


@njit(cache=True, nogil=True)
def _add_outer_products(left, right, total):
    """Add the sum over steps and lanes of ``outer(left, right)`` to `total`.

    Parameters
    ----------
    left : ndarray, shape (n_steps, at least n_left * N_LANES)
    right : ndarray, shape (n_steps, at least n_right * N_LANES)
    total : ndarray, shape (n_left, n_right)
    """
    if total.size:
        total += np.dot(_rows_of(left, total.shape[0]), _rows_of(right, total.shape[1]).T)


@njit(cache=True, nogil=True)
def _rows_of(steps, n_rows):
    """Give steps of lanes as a matrix with a row for every unit: (n_rows, n_steps * N_LANES)."""
    out = np.empty((n_rows, steps.shape[0] * N_LANES), steps.dtype)
    for i in range(n_rows):
        for t in range(steps.shape[0]):
            for lane in range(N_LANES):
                out[i, t * N_LANES + lane] = steps[t, i * N_LANES + lane]
    return out
