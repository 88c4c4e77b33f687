"""Loss and gradient of a batch: tiles of 16 trials over threads, their sums in a fixed order."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import padded_rows
from cortexrnn.training.feedback import check_feedback, draw_fed, feed
from cortexrnn.training.losses import CODES, tile_loss, wanted
from cortexrnn.training.model import Core, Model, Omega
from cortexrnn.training.output import Readout, pack_readout, read_out, read_out_backward
from cortexrnn.training.penalties import Penalties, add_rate_penalties, alive
from cortexrnn.training.tile import Tile, draw_keep, from_lanes, groups_of, lane_values, to_lanes

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """How a batch is swept.

    Attributes
    ----------
    noise_key : tuple
        What noise, dropout and sampling of this batch are drawn for, a seed first.
    wants_gradient : bool
    dropout : float
        Share of units that are silent to the others through a whole trial.
    own : float
        Probability that a step is fed the network's own last output where the batch feeds back the target: 0 is
        teacher forcing, 1 free running, between them scheduled sampling (Bengio et al. 2015, arXiv:1506.03099).
        Derivatives do not go through what was fed.
    current : ndarray, shape (n_trials, n_steps, n_hidden), optional
        Added to the current of every unit of a circuit.
    """

    noise_key: tuple
    wants_gradient: bool = True
    dropout: float = 0.0
    own: float = 0.0
    current: np.ndarray | None = None


class Trainer:
    """Runs a model forward and back; keeps the tapes from one batch to the next.

    Parameters
    ----------
    model : Model
    n_threads : int
        No number depends on it.
    penalties : Penalties, optional
        What is paid for beside errors.
    segment_steps : int
        Steps of which the tape is kept: trials are swept segment after segment, and swept again on the way back
        (gradient checkpointing). 0 keeps whole trials.

    Raises
    ------
    OptionError
        If the network or a penalty needs whole trials.
    """

    def __init__(self, model: Model, n_threads: int, penalties: Penalties | None = None, segment_steps: int = 0):
        self.model = model
        self._penalties = penalties or Penalties()
        self._n_threads = n_threads
        self._segment_steps = segment_steps
        self._rooms: dict[tuple[int, int], tuple[Any, np.ndarray]] = {}
        # Looking for the libraries of linear algebra takes as long as a step of a small network: once.
        self._libraries = ThreadpoolController()
        if self._penalties.omega and not model.has_omega:
            raise OptionError(
                f"the penalty omega is not defined for {model.name!r}; it is for circuits and vanilla cells.",
                hint="Gated cells keep derivatives alive by their gates: leave it out.",
            )
        if segment_steps:
            _check_segments(model, self._penalties, segment_steps)

    def run(self, batch: Batch, sweep: Sweep) -> Gradient:
        """Give loss, gradient and outputs of a batch.

        Parameters
        ----------
        batch : Batch
            From a task.
        sweep : Sweep

        Returns
        -------
        Gradient
            The loss without penalties where no gradient is wanted.

        Raises
        ------
        OptionError
            If the batch, the network and the sweep do not fit.
        """
        model = self.model
        core, readout = self._packed()
        tiles = self._tiles(batch, sweep)
        targets = to_lanes(wanted(batch, model.n_outputs), model.dtype)
        masks = to_lanes(batch.mask[:, :, None] / batch.mask.sum(dtype=float), model.dtype)
        shares = to_lanes(alive(batch.length, batch.mask.shape[1])[:, :, None], model.dtype)

        def work(k: int) -> tuple[float, Any, tuple[np.ndarray, np.ndarray], np.ndarray]:
            tape, by_hidden = self._room(k, batch.mask.shape[1], core.weights)
            tile = _TileSweep(model, (core, readout), tiles[k], tape, self._segment_steps)
            answers = tile.forward()
            by_answers = np.empty_like(answers)
            by_trial = np.empty(N_LANES)
            tile_loss(CODES[batch.loss], answers, targets[k], masks[k], by_answers, by_trial)
            loss = float(by_trial.sum())
            if not sweep.wants_gradient:
                return loss, None, (), answers[:, : model.n_outputs * N_LANES]
            extra, by_weights, by_readout = tile.backward(by_answers, by_hidden, self._penalties, shares[k])
            return loss + extra, by_weights, by_readout, answers[:, : model.n_outputs * N_LANES]

        n_threads = min(self._n_threads, len(tiles))
        with self._libraries.limit(limits=1):
            if n_threads == 1:
                parts = [work(k) for k in range(len(tiles))]
            else:
                with ThreadPoolExecutor(n_threads) as pool:
                    parts = list(pool.map(work, range(len(tiles))))
        outputs = from_lanes([part[3] for part in parts], len(batch.inputs))
        loss = sum(part[0] for part in parts)
        if not sweep.wants_gradient:
            return Gradient(loss, np.empty(0), outputs)
        weights, readout = core.weights, model.readout()[0]
        by_weights = type(weights)(*(sum(values) for values in zip(*(part[1] for part in parts), strict=True)))
        by_readout = tuple(sum(values) for values in zip(*(part[2] for part in parts), strict=True))
        of_weights, by_penalty = self._penalties.of_weights(weights, readout)
        for name, by in by_penalty.items():
            target = by_readout[0] if name == "readout" else getattr(by_weights, name)
            target += by
        return Gradient(loss + of_weights, model.pull_back(weights, by_weights, by_readout), outputs)

    def record(self, batch: Batch, sweep: Sweep, *, currents: bool = False) -> dict[str, np.ndarray]:
        """Give by name what the network does in a batch, after every step.

        Parameters
        ----------
        batch : Batch
        sweep : Sweep
        currents : bool
            Whether also to give the currents of every step.

        Returns
        -------
        dict of str to ndarray, shape (n_trials, n_steps, n)
            ``rate``, and ``u`` and ``x`` of plastic synapses; ``current_e``, ``current_i`` and ``current_ext``.

        Raises
        ------
        OptionError
            If the network has no currents of a sign.
        """
        model, (core, readout) = self.model, self._packed()
        found: dict[str, list[np.ndarray]] = {}
        for k, tile in enumerate(self._tiles(batch, sweep)):
            tape, _ = self._room(k, batch.mask.shape[1], core.weights)
            swept = _TileSweep(model, (core, readout), tile, tape, 0)
            swept.forward()
            for name, values in model.recorded(tape, swept.hidden).items():
                found.setdefault(name, []).append(values[1:].copy())
            if currents:
                for name, values in model.currents(swept.tile, core, tape).items():
                    found.setdefault(name, []).append(values)
        return {name: from_lanes(tiles, len(batch.inputs)) for name, tiles in found.items()}

    def _packed(self) -> tuple[Core, Readout]:
        """Give core and read-out, packed."""
        weights = self.model.core_weights()
        return Core(weights, self.model.pack(weights)), pack_readout(*self.model.readout())

    def _tiles(self, batch: Batch, sweep: Sweep) -> list[_Drawn]:
        """Cut a batch into tiles and say what is drawn for each."""
        model, key = self.model, sweep.noise_key
        inputs = to_lanes(batch.inputs, model.dtype)
        groups = lane_values(groups_of(batch, model.start_by, model.levels))
        lengths = lane_values(batch.length)
        currents: list = [None] * len(inputs) if sweep.current is None else to_lanes(sweep.current, model.dtype)
        n_fed = batch.n_fed_back if sweep.own > 0.0 else 0
        if n_fed:
            check_feedback(batch, model.n_outputs, bool(model.per_step))
        drawn = []
        for k, values in enumerate(inputs):
            trials = range(k * N_LANES, (k + 1) * N_LANES)
            keep = draw_keep(key, trials, model.n_hidden, sweep.dropout, model.dtype)
            tile = Tile(values.copy() if n_fed else values, np.empty((0, 0), model.dtype), keep, groups[k], lengths[k])
            fed = draw_fed(key, trials, len(values), sweep.own, batch.n_primed) if n_fed else None
            drawn.append(_Drawn(tile, model.noise(key, trials), currents[k], fed, batch.loss))
        return drawn

    def _room(self, k: int, n_steps: int, weights: Any) -> tuple[Any, np.ndarray]:
        """Give the tape of a tile and room for the derivatives of its hidden states, made once for every length."""
        n_steps = min(n_steps, self._segment_steps or n_steps)
        if (k, n_steps) not in self._rooms:
            # Products write whole blocks: the last step's reaches beyond the last row.
            extra = padded_rows(self.model.n_hidden) - self.model.n_hidden
            room = np.zeros((n_steps * self.model.n_hidden + extra) * N_LANES, self.model.dtype)
            self._rooms[k, n_steps] = (self.model.empty_tape(n_steps, weights), room)
        return self._rooms[k, n_steps]


class _Drawn(NamedTuple):
    """A tile, where its noise comes from, what else is added to its current, and which steps are fed their output."""

    tile: Tile
    noise: Any
    current: np.ndarray | None
    fed: np.ndarray | None
    loss: str


class _TileSweep:
    """The sweeps of one tile: forward over all segments, and back over them from the last to the first."""

    def __init__(self, model: Model, packed: tuple[Core, Readout], drawn: _Drawn, tape: Any, segment_steps: int):
        self._model, (self._core, self._readout), self._drawn, self._tape = model, packed, drawn, tape
        n_steps = len(drawn.tile.inputs)
        size = segment_steps or n_steps
        self._segments = [(first, min(first + size, n_steps)) for first in range(0, n_steps, size)]
        # States and noise at the start of every segment but the first.
        self._marks: list[tuple[list[np.ndarray], Any]] = []
        self._noise = drawn.noise
        self.hidden = np.empty((0, 0))

    @property
    def tile(self) -> Tile:
        """What the last segment was given, with its noise, and the inputs that it was fed."""
        return self._last[0]

    def forward(self) -> np.ndarray:
        """Sweep forward; gives the outputs, (n_steps, padded)."""
        model, readout = self._model, self._readout
        answers = np.zeros((len(self._drawn.tile.inputs), padded_rows(readout.bias.size) * N_LANES), model.dtype)
        model.start(self._drawn.tile, self._core.weights, self._tape)
        for first, stop in self._segments:
            if len(self._segments) > 1:
                self._marks.append((self._states(0), copy.deepcopy(self._noise)))
            tile, tape = self._part(first, stop)
            if self._drawn.fed is None:
                self.hidden = model.forward(tile, self._core, tape)
                read_out(self.hidden, readout, answers[first:stop])
            else:
                self._forward_fed(tile, tape, answers, first)
            if stop < len(answers):
                self._lay(self._states(stop - first))
        return answers

    def backward(
        self, by_answers: np.ndarray, by_hidden: np.ndarray, penalties: Penalties, share: np.ndarray
    ) -> tuple[float, Any, tuple[np.ndarray, np.ndarray]]:
        """Sweep back; gives the penalties of rates, and the derivatives of weights and of read-out and its bias."""
        model, core, readout = self._model, self._core, self._readout
        gradient = type(core.weights)(*(np.zeros_like(part) for part in core.weights))
        by_readout = np.zeros((model.n_outputs, model.n_hidden), model.dtype), np.zeros_like(readout.bias)
        for name in self._tape._fields:
            if name.startswith("carried"):
                getattr(self._tape, name)[...] = 0
        extra = 0.0
        for k, (first, stop) in reversed(list(enumerate(self._segments))):
            if k < len(self._segments) - 1:
                self._lay(self._marks[k][0])
                self._noise = self._marks[k][1]
                tile, tape = self._part(first, stop)
                self.hidden = model.forward(tile, core, tape)
            else:
                tile, tape = self._last
            read_out_backward(self.hidden, readout, by_answers[first:stop], by_hidden, *by_readout)
            if penalties.is_on_rates:
                factors = penalties.l2_rates, penalties.smoothness
                extra += add_rate_penalties(self.hidden, share[first:stop], *factors, by_hidden)
            by_steps = by_hidden[: (stop - first) * self.hidden.shape[1]].reshape(stop - first, -1)
            extra += model.backward(tile, by_steps, core, tape, gradient, Omega(share[first:stop], penalties.omega))
        model.add_start(self._drawn.tile, self._tape, gradient)
        return extra, gradient, by_readout

    def _part(self, first: int, stop: int) -> tuple[Tile, Any]:
        """Give the inputs and the tape of a segment, its noise drawn; the same of the last one are kept."""
        tape = self._tape if not self._model.per_step else self._model.part_of(self._tape, 0, stop - first)
        self._last = self._drawn.tile.between(first, stop, self._current(first, stop)), tape
        return self._last

    def _current(self, first: int, stop: int) -> np.ndarray:
        """Give noise and added current of a segment; the noise goes on from where it was."""
        added = self._drawn.current
        noise = None if self._noise is None else self._noise.block(stop - first)[:-1]
        if added is None:
            return np.empty((0, 0), self._model.dtype) if noise is None else noise
        return added[first:stop] if noise is None else noise + added[first:stop]

    def _forward_fed(self, tile: Tile, tape: Any, answers: np.ndarray, first: int) -> None:
        """Sweep forward one step at a time, feeding back outputs where that was drawn."""
        model, fed = self._model, self._drawn.fed
        for t in range(len(tile.inputs)):
            if first + t > 0:
                feed(self._drawn.loss, answers[first + t - 1], fed[first + t], model.n_outputs, tile.inputs[t])
            step = tile.between(t, t + 1, tile.current[t : t + 1])
            hidden = model.forward(step, self._core, model.part_of(tape, t, t + 1))
            read_out(hidden, self._readout, answers[first + t : first + t + 1])
        self.hidden = getattr(tape, model.hidden_state)

    def _states(self, entry: int) -> list[np.ndarray]:
        """Copy the states at an entry of the tape."""
        return [getattr(self._tape, name)[entry].copy() for name in self._model.states]

    def _lay(self, states: list[np.ndarray]) -> None:
        """Lay states into entry 0 of the tape."""
        for name, values in zip(self._model.states, states, strict=True):
            getattr(self._tape, name)[0] = values


def check_current(model: Model, current: np.ndarray) -> None:
    """Refuse a current that no unit of the network can be given."""
    if model.hidden_state != "rate":
        raise OptionError(f"current is not valid for {model.name!r}: only the units of a circuit have a current.")
    if current.ndim != 3 or current.shape[2] != model.n_hidden or not np.isfinite(current).all():
        raise OptionError(
            f"current has shape {current.shape}; expected finite numbers, (n_trials, n_steps, {model.n_hidden})."
        )


def _check_segments(model: Model, penalties: Penalties, segment_steps: int) -> None:
    """Refuse what needs whole trials."""
    reasons = {
        "a bidirectional network": not model.per_step,
        "truncation": model.truncation > 0,
        "the penalty smoothness": penalties.smoothness > 0.0,
    }
    for what, applies in reasons.items():
        if applies:
            raise OptionError(f"segment_steps={segment_steps} is not valid: {what} needs whole trials.")
