"""What is trained: a core that is swept over time and a linear read-out, their parameters in one flat array."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.dynamics.noise import OrnsteinUhlenbeck
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.system import System
from cortexrnn.training.tile import Tile


class Asked(NamedTuple):
    """What a task asks of a network.

    Attributes
    ----------
    n_inputs, n_outputs : int
    dt_s : float
        Time step.
    levels : tuple
        Values of the column that start states differ by; empty where all trials start alike.
    """

    n_inputs: int
    n_outputs: int
    dt_s: float = 1.0
    levels: tuple = ()


class Core(NamedTuple):
    """The weights of a network's core, and the same packed for the products of a sweep."""

    weights: Any
    packed: Any


class Omega(NamedTuple):
    """What is paid for errors that shrink or grow on their way back (`cortexrnn.cells.omega`).

    Attributes
    ----------
    share : ndarray, shape (n_steps, N_LANES)
        Weight of every step; sums to 1 over the batch.
    factor : float
        0 where nothing is paid.
    """

    share: np.ndarray
    factor: float


class Model(abc.ABC):
    """Parameters of a network, and how they become weights.

    Parameters
    ----------
    core : dict of str to ndarray
        Parameters of the core at the start.
    sizes : tuple of int
        Number of inputs, of hidden units, and of outputs.
    readout_gain : float
        Deviation of the read-out's weights at the start, times the root of the number of units.
    reads : ndarray, shape (n_hidden,)
        1 for the units that the read-out sees, 0 for the others.
    seed : int
        Of the read-out.
    dtype : numpy float type

    Attributes
    ----------
    theta : ndarray, shape (n_parameters,)
        The parameters; changed in place by an optimiser.
    moves : ndarray of bool, shape (n_parameters,)
        Which of them are trained; all at first.
    states : tuple of str
        Fields of a tape that have an entry before the first step.
    per_step : tuple of str
        Fields of a tape that have an entry for every step; empty for a network that cannot be cut in time.
    hidden_state : str
        Field of a tape that the read-out sees.
    has_omega : bool
        Whether Pascanu's regulariser is defined for it.
    truncation : int
        Steps after which gradients are cut; 0 for none.
    start_by, levels : str and tuple
        Column of the trial table, and its values, that start states differ by; empty where all trials start alike.
    """

    name: str
    states: tuple[str, ...] = ()
    per_step: tuple[str, ...] = ()
    hidden_state: str = "hidden"
    has_omega: bool = False
    truncation: int = 0
    start_by: str = ""
    levels: tuple = ()

    def __init__(
        self, core: dict[str, np.ndarray], sizes: tuple[int, int, int], *, readout_gain: float, reads: np.ndarray,
        seed: int, dtype: type,
    ):  # fmt: skip
        self.n_inputs, self.n_hidden, self.n_outputs = sizes
        self.dtype = np.dtype(dtype)
        self._reads = reads.astype(self.dtype)
        start = dict(core)
        start["readout"] = draw(seed, "readout", (self.n_outputs, self.n_hidden), readout_gain) * reads
        start["readout_bias"] = np.zeros(self.n_outputs)
        self._shapes = {name: part.shape for name, part in start.items()}
        self.theta = np.concatenate([part.ravel() for part in start.values()]).astype(dtype)
        self.moves = np.ones(self.theta.size, dtype=bool)

    @abc.abstractmethod
    def identity(self) -> dict[str, str]:
        """Say which network this is; a checkpoint of another one is refused."""

    @abc.abstractmethod
    def core_weights(self) -> Any:
        """Give the core's weights, a NamedTuple of arrays."""

    @abc.abstractmethod
    def pull_back_core(self, weights: Any, by_weights: Any, views: dict[str, np.ndarray]) -> None:
        """Fill in the derivatives of the core's parameters from those of its weights."""

    @abc.abstractmethod
    def pack(self, weights: Any) -> Any:
        """Pack the weights for the products of a sweep."""

    @abc.abstractmethod
    def empty_tape(self, n_steps: int, weights: Any) -> Any:
        """Allocate the tape of a tile, a NamedTuple."""

    @abc.abstractmethod
    def start(self, tile: Tile, weights: Any, tape: Any) -> None:
        """Lay the start states into entry 0 of the tape."""

    @abc.abstractmethod
    def forward(self, tile: Tile, core: Core, tape: Any) -> np.ndarray:
        """Sweep a tile forward from entry 0 of the tape; gives the hidden states, (n_steps + 1, n_hidden * N_LANES)."""

    @abc.abstractmethod
    def backward(
        self, tile: Tile, by_hidden: np.ndarray, core: Core, tape: Any, gradient: Any, omega: Omega
    ) -> float:
        """Sweep a tile back from the carried derivatives in the tape.

        Adds to the gradient of the weights, and gives the term of Pascanu's regulariser.
        """

    @abc.abstractmethod
    def add_start(self, tile: Tile, tape: Any, gradient: Any) -> None:
        """Add the derivatives that arrived at entry 0 to the gradient of the start states."""

    def noise(self, key: tuple, trials: range) -> OrnsteinUhlenbeck | None:
        """Give the noise of a tile; none for a network without."""
        return None

    def recorded(self, tape: Any, hidden: np.ndarray) -> dict[str, np.ndarray]:
        """Give by name what of a tape is worth keeping, each (n_steps + 1, n * N_LANES)."""
        return {"rate": hidden}

    def currents(self, tile: Tile, core: Core, tape: Any) -> dict[str, np.ndarray]:
        """Give by name the currents of a tile that was swept forward, each (n_steps, n_hidden * N_LANES)."""
        raise OptionError(f"currents cannot be kept of {self.name!r}: only the units of a circuit have them.")

    @abc.abstractmethod
    def matrix(self) -> np.ndarray:
        """Give the recurrent weights ``[post, pre]``, all synapses of a pair together."""

    @abc.abstractmethod
    def system(self, inputs: np.ndarray, dt_s: float) -> System:
        """Give the network at a constant input, (n_inputs,), as a system; noise is left out."""

    @property
    def signs(self) -> np.ndarray:
        """Signs that the columns of `matrix` must have, 0 for any, shape (n_hidden,)."""
        return np.zeros(self.n_hidden, np.int8)

    @property
    def populations(self) -> np.ndarray:
        """Names of the units' populations, shape (n_hidden,)."""
        return np.full(self.n_hidden, self.name)

    def project(self) -> None:
        """Put parameters back to where they may be, after a step of the optimiser."""
        return None

    def part_of(self, tape: Any, first: int, stop: int) -> Any:
        """Give a view of the steps from `first` to before `stop` of a tape."""
        cut = {}
        for name, part in tape._asdict().items():
            if name in self.states:
                cut[name] = part[first : stop + 1]
            elif name in self.per_step:
                cut[name] = part[first:stop]
            elif name == "products":
                cut[name] = self.part_of(part, first, stop)
        return tape._replace(**cut)

    def parts(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Give views of a flat array by name."""
        views, at = {}, 0
        for name, shape in self._shapes.items():
            size = int(np.prod(shape))
            views[name] = flat[at : at + size].reshape(shape)
            at += size
        return views

    def readout(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the read-out's weights (n_outputs, n_hidden) and bias."""
        raw = self.parts(self.theta)
        return raw["readout"] * self._reads, raw["readout_bias"].copy()

    def pull_back(self, weights: Any, by_weights: Any, by_readout: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Turn derivatives with respect to weights into those with respect to the trained parameters."""
        gradient = np.zeros_like(self.theta)
        views = self.parts(gradient)
        self.pull_back_core(weights, by_weights, views)
        views["readout"][:] = by_readout[0] * self._reads
        views["readout_bias"][:] = by_readout[1]
        gradient[~self.moves] = 0.0
        return gradient


def check_sizes(n_inputs: int, n_hidden: int, n_outputs: int) -> tuple[int, int, int]:
    """Return sizes as whole numbers, or refuse them."""
    given = {"n_inputs": n_inputs, "n_hidden": n_hidden, "n_outputs": n_outputs}
    return tuple(check_count(name, value) for name, value in given.items())


def draw(seed: int, what: str, shape: tuple[int, int], gain: float) -> np.ndarray:
    """Draw Gaussian weights of deviation ``gain / sqrt(n_sources)``."""
    return stream(seed, "initial weights", what).normal(0.0, gain / np.sqrt(shape[1]), shape)
