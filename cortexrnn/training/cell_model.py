"""A vanilla, LSTM or GRU network whose weights are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexrnn._checks import check_choice, check_count
from cortexrnn.cells.initial import Initial
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.training.model import Model, check_sizes


@dataclass(frozen=True, kw_only=True, slots=True)
class CellNetwork:
    """A network of one layer.

    Attributes
    ----------
    kind : {"vanilla", "lstm", "gru"}
    n_hidden : int
        Units.
    initial : Initial
        How weights are drawn.
    truncation : int
        Steps after which gradients are cut; 0 for none.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    kind: str = "gru"
    n_hidden: int = 64
    initial: Initial = field(default_factory=Initial)
    truncation: int = 0

    def __post_init__(self):
        check_choice("kind", self.kind, CELLS)
        object.__setattr__(self, "n_hidden", check_count("n_hidden", self.n_hidden))
        object.__setattr__(self, "truncation", check_count("truncation", self.truncation, at_least=0))


class CellModel(Model):
    """The parameters of a cell network, in one flat array.

    Parameters
    ----------
    network : CellNetwork
    sizes : tuple of int
        Number of inputs and of outputs.
    seed : int
    dtype : numpy float type
    """

    def __init__(self, network: CellNetwork, sizes: tuple[int, int], *, seed: int, dtype: type):
        self.network, self.name = network, network.kind
        self._cell = CELLS[network.kind]
        n_inputs, n_hidden, n_outputs = check_sizes(sizes[0], network.n_hidden, sizes[1])
        drawn = self._cell.draw(n_inputs, n_hidden, seed=seed, initial=network.initial, dtype=dtype)
        super().__init__(
            drawn._asdict(), (n_inputs, n_hidden, n_outputs), readout_gain=1.0, reads=np.ones(n_hidden), seed=seed,
            dtype=dtype,
        )  # fmt: skip

    def identity(self) -> dict[str, str]:
        """Say which network this is."""
        return {"network": repr(self.network)}

    def core_weights(self) -> Any:
        """Give the cell's weights."""
        raw = self.parts(self.theta)
        return self._cell.weights(*(raw[name].copy() for name in self._cell.weights._fields))

    def pull_back_core(self, weights: Any, by_weights: Any, views: dict[str, np.ndarray]) -> None:
        """Fill in the derivatives of the parameters, which are the weights."""
        for name, part in by_weights._asdict().items():
            views[name][:] = part

    def pack(self, weights: Any) -> Any:
        """Pack the weights for the products of a sweep."""
        return self._cell.pack(weights)

    def empty_tape(self, n_steps: int, weights: Any) -> Any:
        """Allocate the tape of a tile."""
        return self._cell.empty_tape(n_steps, weights)

    def noise(self, key: tuple, trials: range, n_steps: int) -> np.ndarray:
        """Give nothing: these cells have no noise of their own."""
        return np.empty((0, 0), self.dtype)

    def forward(self, inputs: np.ndarray, noise: np.ndarray, weights: Any, packed: Any, tape: Any) -> np.ndarray:
        """Sweep a tile forward; gives the hidden states."""
        self._cell.forward(inputs, weights, packed, tape)
        return tape.hidden

    def backward(self, inputs: np.ndarray, by_hidden: np.ndarray, weights: Any, packed: Any, tape: Any) -> Any:
        """Sweep a tile back; gives the derivatives of the weights."""
        gradient = self._cell.weights(*(np.zeros_like(part) for part in weights))
        self._cell.backward(inputs, by_hidden, weights, packed, tape, gradient, self.network.truncation)
        return gradient

    def matrix(self) -> np.ndarray:
        """Give the recurrent weights, gates stacked."""
        return self.core_weights().hidden
