"""A network that reads every trial from its beginning and from its end."""

from __future__ import annotations

from collections import namedtuple
from typing import Any, NamedTuple

import numpy as np

from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import OptionError
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.model import Asked, Core, Omega
from cortexrnn.training.tile import Tile, reverse_lanes

# Streams of the second direction's weights are those of another seed.
_BACK_SEED = 2**32


class BothTapes(NamedTuple):
    """Tapes of the two directions, and what is turned around between them.

    Attributes
    ----------
    ahead, back : NamedTuple
        Of the cell that reads from the beginning and of the one that reads from the end.
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
        Of the latter.
    hidden : ndarray, shape (n_steps + 1, n_hidden * N_LANES)
        States of both side by side, each as of the time at which it is read.
    """

    ahead: Any
    back: Any
    inputs: np.ndarray
    hidden: np.ndarray


class BidirectionalModel(CellModel):
    """Two cells of a kind, one of which reads every trial from its own end (Schuster and Paliwal 1997).

    Parameters as for `CellModel`; the weights of the second have ``_back`` behind their names.
    """

    def __init__(self, network: CellNetwork, asked: Asked, *, seed: int, dtype: type):
        cell = CELLS[network.kind].weights
        names = (*cell._fields, *(f"{name}_back" for name in cell._fields))
        self._both = namedtuple("BothWeights", names)
        super().__init__(network, asked, seed=seed, dtype=dtype)
        self.states, self.per_step, self.has_omega = (), (), False

    def pack(self, weights: Any) -> Any:
        """Pack the weights of both."""
        return tuple(self._cell.pack(each) for each in self._halves(weights))

    def empty_tape(self, n_steps: int, weights: Any) -> BothTapes:
        """Allocate the tapes of both."""
        ahead, back = (self._cell.empty_tape(n_steps, each) for each in self._halves(weights))
        n_lanes = ahead.hidden.shape[1] // self.network.n_hidden
        return BothTapes(
            ahead, back, np.zeros((n_steps, self.n_inputs * n_lanes), self.dtype),
            np.zeros((n_steps + 1, self.n_hidden * n_lanes), self.dtype),
        )  # fmt: skip

    def start(self, tile: Tile, weights: Any, tape: BothTapes) -> None:
        """Lay the start states of both, and clear what an adjoint sweep before left."""
        for each, part in zip(self._halves(weights), (tape.ahead, tape.back), strict=True):
            self._cell.start(each, tile.group, part)
            for name in part._fields:
                if name.startswith("carried"):
                    getattr(part, name)[...] = 0

    def forward(self, tile: Tile, core: Core, tape: BothTapes) -> np.ndarray:
        """Sweep one from the beginning and one from every trial's end."""
        reverse_lanes(tile.inputs, tile.length, tape.inputs)
        size = tape.ahead.hidden.shape[1]
        sides = zip(
            (tile.inputs, tape.inputs), (tile.keep[:size], tile.keep[size:]), core.packed, (tape.ahead, tape.back),
            strict=True,
        )  # fmt: skip
        for inputs, keep, pack, part in sides:
            self._cell.forward(inputs, keep, pack, part)
        turned = np.empty_like(tape.back.hidden[1:])
        reverse_lanes(tape.back.hidden[1:], tile.length, turned)
        tape.hidden[:, :size] = tape.ahead.hidden
        tape.hidden[1:, size:] = turned
        return tape.hidden

    def backward(
        self, tile: Tile, by_hidden: np.ndarray, core: Core, tape: BothTapes, gradient: Any, omega: Omega
    ) -> float:
        """Sweep both back; adds the derivatives of the weights."""
        size = tape.ahead.hidden.shape[1]
        turned = np.empty((len(by_hidden), size), by_hidden.dtype)
        reverse_lanes(np.ascontiguousarray(by_hidden[:, size:]), tile.length, turned)
        ahead = np.ascontiguousarray(by_hidden[:, :size])
        sides = zip(
            (tile.inputs, tape.inputs), (ahead, turned), (tile.keep[:size], tile.keep[size:]), core.packed,
            (tape.ahead, tape.back), self._halves(gradient), strict=True,
        )  # fmt: skip
        for inputs, by, keep, pack, part, total in sides:
            self._cell.backward(inputs, by, keep, pack, part, total, self.truncation)
        return 0.0

    def add_start(self, tile: Tile, tape: BothTapes, gradient: Any) -> None:
        """Add the derivatives of the start states of both."""
        for part, total in zip((tape.ahead, tape.back), self._halves(gradient), strict=True):
            self._cell.add_start(part, tile.group, total)

    def system(self, inputs: np.ndarray, dt_s: float) -> CellSystem:
        """Refuse: what looks ahead has no step from one state to the next."""
        raise OptionError("a bidirectional network has no step from one state to the next, and so is no system.")

    def matrix(self) -> np.ndarray:
        """Give the recurrent weights of both, that of the way back below."""
        weights = self.core_weights()
        return np.concatenate([weights.hidden, weights.hidden_back])

    def _fields(self) -> type:
        """Give the type of the weights of both."""
        return self._both

    def _halves(self, weights: Any) -> tuple[Any, Any]:
        """Give the weights of the two directions."""
        n = len(self._cell.weights._fields)
        return self._cell.weights(*weights[:n]), self._cell.weights(*weights[n:])

    def _drawn(self, n_inputs: int, seed: int, dtype: type) -> Any:
        """Draw the weights of both."""
        return self._both(
            *super()._drawn(n_inputs, seed, dtype),
            *super()._drawn(n_inputs, _BACK_SEED + seed, dtype),
        )
