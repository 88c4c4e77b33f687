"""A circuit whose parameters are trained: what is free, and how it becomes weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.cells.rate import (
    CURRENT,
    RATE,
    RatePacked,
    RateTape,
    RateUnits,
    RateWeights,
    empty_rate_tape,
    pack_rate_weights,
    rate_backward,
    rate_forward,
)
from cortexrnn.circuit.build import build_weights
from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.noise import OrnsteinUhlenbeck
from cortexrnn.errors import OptionError
from cortexrnn.training.dale import Dale
from cortexrnn.training.model import Model, check_sizes, draw

FIELDS = (*RateWeights._fields, "readout", "readout_bias")
DEFAULT_TRAINS = ("recurrent", "input", "bias", "start", "readout", "readout_bias")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainable:
    """What of a circuit is trained, and how.

    Attributes
    ----------
    dale : {"relu", "abs", "exp", "softplus", "projected"}
        How a parameter becomes a weight of its population's sign; see `cortexrnn.training.dale`.
    trains : tuple of str
        Which of recurrent, input, bias, tau_s, start, U, tau_f_s, tau_d_s, readout and readout_bias move.
    input_gain, readout_gain : float
        Standard deviations of the input and read-out weights at the start, times the root of the number of sources.
    reads : tuple of str
        Populations that the read-out sees; empty for the excitatory and mixed ones.
    truncation : int
        Steps of a block beyond which gradients are cut (truncated backpropagation); 0 for none.

    Raises
    ------
    OptionError
        If a name is unknown.
    """

    dale: str = "relu"
    trains: tuple[str, ...] = DEFAULT_TRAINS
    input_gain: float = 1.0
    readout_gain: float = 1.0
    reads: tuple[str, ...] = ()
    truncation: int = 0

    def __post_init__(self):
        object.__setattr__(self, "truncation", check_count("truncation", self.truncation, at_least=0))
        unknown = [name for name in self.trains if name not in FIELDS]
        if unknown:
            raise OptionError(f"trains={unknown[0]!r} is no parameter; expected some of {', '.join(FIELDS)}.")


class CircuitModel(Model):
    """The parameters of a circuit, in one flat array.

    Parameters
    ----------
    circuit : Circuit
    sizes : tuple of int
        Number of inputs and of outputs.
    dt_s : float
    trainable : Trainable
    seed : int
        Of the input and read-out weights at the start; the recurrent ones are the circuit's.
    dtype : numpy float type

    Attributes
    ----------
    units : RateUnits
        What does not change.
    """

    def __init__(
        self, circuit: Circuit, sizes: tuple[int, int], dt_s: float, trainable: Trainable, *, seed: int, dtype: type
    ):
        self.circuit, self.trainable, self.name = circuit, trainable, circuit.name
        n_inputs, n_hidden, n_outputs = check_sizes(sizes[0], circuit.size, sizes[1])
        matrix, static, plastic = _sources(circuit)
        self.units = _units(circuit, static, plastic, dt_s)
        signs = circuit.signs[np.concatenate([static, [unit for _, unit in plastic]]).astype(int)]
        self._dale = Dale(trainable.dale, signs, matrix != 0.0)
        laws = [circuit.plasticity[name] for name, _ in plastic]
        core = {
            "recurrent": self._dale.parameters(matrix),
            "input": draw(seed, "input", (n_hidden, n_inputs), trainable.input_gain),
            "bias": circuit.bias,
            # Time constants and utilisations move on scales on which they cannot leave their range.
            "tau_s": np.log(circuit.tau_s),
            "start": np.zeros(n_hidden),
            "U": np.array([_logit(min(law.U, 1.0 - 1e-6)) for law in laws]),
            "tau_f_s": np.array([np.log(law.tau_f_s) if law.tau_f_s else -np.inf for law in laws]),
            "tau_d_s": np.array([np.log(law.tau_d_s) for law in laws]),
        }
        super().__init__(
            core, (n_inputs, n_hidden, n_outputs), readout_gain=trainable.readout_gain,
            reads=_reads(circuit, trainable.reads), seed=seed, dtype=dtype,
        )  # fmt: skip
        for name, view in self.parts(self.moves).items():
            view[...] = name in trainable.trains

    def identity(self) -> dict[str, str]:
        """Say which network this is."""
        return {"network": self.circuit.hash(), "trainable": repr(self.trainable)}

    @property
    def signs(self) -> np.ndarray:
        """Signs of the units' outgoing weights."""
        return self.circuit.signs

    @property
    def populations(self) -> np.ndarray:
        """Names of the units' populations."""
        return np.array([population.name for population in self.circuit.populations])[self.circuit.population_of]

    def core_weights(self) -> RateWeights:
        """Give the cell's weights."""
        raw = self.parts(self.theta)
        return RateWeights(
            recurrent=self._dale.weights(raw["recurrent"]),
            input=raw["input"].copy(),
            bias=raw["bias"].copy(),
            tau_s=np.exp(raw["tau_s"]),
            start=raw["start"].copy(),
            U=_logistic(raw["U"]),
            tau_f_s=np.exp(raw["tau_f_s"]),
            tau_d_s=np.exp(raw["tau_d_s"]),
        )

    def pull_back_core(self, weights: RateWeights, by_weights: RateWeights, views: dict[str, np.ndarray]) -> None:
        """Fill in the derivatives of the parameters."""
        theta = self.parts(self.theta)["recurrent"]
        views["recurrent"][:] = self._dale.pull_back(theta, by_weights.recurrent)
        for name in ("input", "bias", "start"):
            views[name][:] = getattr(by_weights, name)
        for name in ("tau_s", "tau_f_s", "tau_d_s"):
            views[name][:] = getattr(by_weights, name) * getattr(weights, name)
        views["U"][:] = by_weights.U * weights.U * (1.0 - weights.U)

    def project(self) -> None:
        """Put the weights back to their signs where the parametrisation asks for it."""
        self._dale.project(self.parts(self.theta)["recurrent"])

    def pack(self, weights: RateWeights) -> RatePacked:
        """Pack the weights for the products of a sweep."""
        return pack_rate_weights(weights)

    def empty_tape(self, n_steps: int, weights: RateWeights) -> RateTape:
        """Allocate the tape of a tile."""
        return empty_rate_tape(n_steps, weights)

    def noise(self, key: tuple, trials: range, n_steps: int) -> np.ndarray:
        """Draw the current noise of a tile, (n_steps, n_units * N_LANES), or nothing."""
        noise = self.circuit.noise
        if noise is None or noise.sigma == 0.0:
            return np.empty((0, 0), self.dtype)
        source = OrnsteinUhlenbeck(
            noise, self.n_hidden, self.units.dt_s, key=key, trials=trials, dtype=self.dtype
        )
        return source.block(n_steps)[:-1]

    def forward(
        self, inputs: np.ndarray, noise: np.ndarray, weights: RateWeights, packed: RatePacked, tape: RateTape
    ) -> np.ndarray:
        """Sweep a tile forward; gives the rates."""
        rate_forward(inputs, noise, self.units, weights, packed, tape)
        return tape.rate

    def backward(
        self, inputs: np.ndarray, by_hidden: np.ndarray, weights: RateWeights, packed: RatePacked, tape: RateTape
    ) -> RateWeights:
        """Sweep a tile back; gives the derivatives of the weights."""
        gradient = RateWeights(*(np.zeros_like(part) for part in weights))
        rate_backward(inputs, by_hidden, self.units, weights, packed, tape, gradient, self.trainable.truncation)
        return gradient

    def matrix(self) -> np.ndarray:
        """Give the recurrent weights, all synapses of a pair together."""
        recurrent = self.core_weights().recurrent
        total = np.zeros((self.n_hidden, self.n_hidden), self.dtype)
        for k, unit in enumerate(np.concatenate([self.units.static_unit, self.units.plastic_unit])):
            total[:, unit] += recurrent[:, k]
        return total


def _sources(circuit: Circuit) -> tuple[np.ndarray, np.ndarray, list[tuple[str, int]]]:
    """Give the matrix from sources to units, the static sources' units, and class and unit of the plastic ones."""
    weights = build_weights(circuit)
    static = np.flatnonzero(np.any(weights.static != 0.0, axis=0))
    plastic = [
        (name, int(unit))
        for name, block in weights.plastic.items()
        for unit in np.flatnonzero(np.any(block != 0.0, axis=0))
    ]
    columns = [weights.static[:, static], *(weights.plastic[name][:, [unit]] for name, unit in plastic)]
    return np.hstack(columns), static, plastic


def _units(circuit: Circuit, static: np.ndarray, plastic: list[tuple[str, int]], dt_s: float) -> RateUnits:
    """Describe the units to the kernels."""
    activations = [population.activation for population in circuit.populations]
    return RateUnits(
        form=CURRENT if circuit.form == "current" else RATE,
        first=np.cumsum([0, *(population.size for population in circuit.populations)]),
        codes=np.array([a.code for a in activations]),
        shapes=np.array([(a.gain, a.threshold, a.exponent) for a in activations]),
        static_unit=static.astype(np.int64),
        plastic_unit=np.array([unit for _, unit in plastic], dtype=np.int64),
        convention=np.array([circuit.plasticity[name].law.convention for name, _ in plastic], dtype=np.int64),
        rate_scale_hz=circuit.rate_scale_hz or 1.0,
        dt_s=dt_s,
    )


def _reads(circuit: Circuit, names: tuple[str, ...]) -> np.ndarray:
    """Give 1 for the units that the read-out sees, 0 for the others."""
    unknown = [name for name in names if name not in circuit.slices]
    if unknown:
        raise OptionError(f"reads={unknown[0]!r} is no population; the circuit has {', '.join(circuit.slices)}.")
    chosen = names or [p.name for p in circuit.populations if p.sign != "inhibitory"]
    seen = np.zeros(circuit.size)
    for name in chosen:
        seen[circuit.slices[name]] = 1.0
    return seen


def _logit(p: float) -> float:
    """Give the number whose logistic is p."""
    return float(np.log(p) - np.log1p(-p))


def _logistic(v: np.ndarray) -> np.ndarray:
    """Give ``1 / (1 + exp(-v))``."""
    return (0.5 + 0.5 * np.tanh(0.5 * v)).astype(v.dtype)
