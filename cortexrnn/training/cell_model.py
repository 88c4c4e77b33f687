"""A vanilla, LSTM, GRU or neural-ODE network whose weights are trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cortexrnn._checks import check_choice, check_count
from cortexrnn.cells.initial import Initial
from cortexrnn.cells.omega import vanilla_omega
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import OptionError
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.training.model import Asked, Core, Model, Omega, check_sizes
from cortexrnn.training.tile import Tile

# Fields of a cell's tape, and of its products', that have an entry for every step.
_PER_STEP = ("arguments", "normal", "scale")


@dataclass(frozen=True, kw_only=True, slots=True)
class CellNetwork:
    """A network of one layer.

    Attributes
    ----------
    kind : {"vanilla", "lstm", "gru", "ode"}
        "ode" is for irregular samples; its first input is the gap to the sample before, see `cortexrnn.cells.ode`.
    n_hidden : int
        Units, in each direction.
    initial : Initial
        How weights are drawn.
    has_norm : bool
        Whether the recurrent drive is normalised over units (layer norm); not for "ode".
    is_bidirectional : bool
        Whether a second network of the same kind reads every trial from its end, and the read-out sees both.
    start_by : str
        Column of the trial table: trials with different values there have start states of their own. Empty for one
        that all share.
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
    has_norm: bool = False
    is_bidirectional: bool = False
    start_by: str = ""
    truncation: int = 0

    def __post_init__(self):
        check_choice("kind", self.kind, CELLS)
        object.__setattr__(self, "n_hidden", check_count("n_hidden", self.n_hidden))
        object.__setattr__(self, "truncation", check_count("truncation", self.truncation, at_least=0))
        if self.has_norm and self.kind == "ode":
            raise OptionError("has_norm=True is not valid for the kind 'ode'; expected a vanilla, LSTM or GRU network.")
        if self.is_bidirectional and self.kind == "ode":
            # Read from the end, a gap would stand on the wrong side of its sample.
            raise OptionError("is_bidirectional=True is not valid for the kind 'ode'; its gaps point ahead in time.")


class CellModel(Model):
    """The parameters of a cell network, in one flat array.

    Parameters
    ----------
    network : CellNetwork
    asked : Asked
    seed : int
    dtype : numpy float type
    """

    def __init__(self, network: CellNetwork, asked: Asked, *, seed: int, dtype: type):
        self.network, self.name = network, network.kind
        self.start_by, self.levels, self.truncation = network.start_by, asked.levels, network.truncation
        self._cell = CELLS[network.kind]
        n_hidden = network.n_hidden * (2 if network.is_bidirectional else 1)
        n_inputs, n_hidden, n_outputs = check_sizes(asked.n_inputs, n_hidden, asked.n_outputs)
        super().__init__(
            self._drawn(n_inputs, seed, dtype)._asdict(), (n_inputs, n_hidden, n_outputs), readout_gain=1.0,
            reads=np.ones(n_hidden), seed=seed, dtype=dtype,
        )  # fmt: skip
        self.states, self.per_step = self._cell.states, _PER_STEP
        self.has_omega = network.kind == "vanilla"

    def identity(self) -> dict[str, str]:
        """Say which network this is."""
        return {"network": repr(self.network)}

    def core_weights(self) -> Any:
        """Give the cell's weights."""
        raw = self.parts(self.theta)
        return self._fields()(*(raw[name].copy() for name in self._fields()._fields))

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

    def start(self, tile: Tile, weights: Any, tape: Any) -> None:
        """Lay the start states."""
        self._cell.start(weights, tile.group, tape)

    def forward(self, tile: Tile, core: Core, tape: Any) -> np.ndarray:
        """Sweep a tile forward; gives the hidden states."""
        self._cell.forward(tile.inputs, tile.keep, core.packed, tape)
        return tape.hidden

    def backward(
        self, tile: Tile, by_hidden: np.ndarray, core: Core, tape: Any, gradient: Any, omega: Omega
    ) -> float:
        """Sweep a tile back; adds the derivatives of the weights."""
        later = tape.carried.copy()
        self._cell.backward(tile.inputs, by_hidden, tile.keep, core.packed, tape, gradient, self.truncation)
        if omega.factor == 0.0:
            return 0.0
        return vanilla_omega(by_hidden, later, tile.keep, core.packed, tape, *omega, gradient, self.truncation)

    def add_start(self, tile: Tile, tape: Any, gradient: Any) -> None:
        """Add the derivatives of the start states."""
        self._cell.add_start(tape, tile.group, gradient)

    def system(self, inputs: np.ndarray, dt_s: float) -> CellSystem:
        """Give the network at a constant input."""
        return CellSystem(self.network.kind, self.core_weights(), inputs, dt_s=dt_s)

    def matrix(self) -> np.ndarray:
        """Give the recurrent weights, gates stacked."""
        return self.core_weights().hidden

    def _fields(self) -> type:
        """Give the type of the core's weights."""
        return self._cell.weights

    def _drawn(self, n_inputs: int, seed: int, dtype: type) -> Any:
        """Draw the core's weights."""
        network = self.network
        options = {"norm": True} if network.has_norm else {}
        drawn = self._cell.draw(
            n_inputs, network.n_hidden, seed=seed, initial=network.initial, dtype=dtype, **options
        )
        n_groups = max(1, len(self.levels))
        starts = {name: np.repeat(getattr(drawn, name), n_groups, axis=0) for name in _starts(drawn)}
        return drawn._replace(**starts)


def _starts(weights: Any) -> list[str]:
    """Give the names of the start states."""
    return [name for name in weights._fields if name.startswith("start")]
