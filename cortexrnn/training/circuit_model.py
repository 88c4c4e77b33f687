"""A circuit whose parameters are trained: what is free, and how it becomes weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.cells.omega import rate_omega
from cortexrnn.cells.rate import rate_add_start, rate_backward, rate_forward, rate_start
from cortexrnn.cells.rate_parts import (
    STATES,
    RatePacked,
    RateTape,
    RateWeights,
    empty_rate_tape,
    pack_rate_weights,
)
from cortexrnn.circuit.rate_cell import circuit_sources, circuit_units
from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.noise import OrnsteinUhlenbeck
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.theory.rate_system import RateSystem
from cortexrnn.training.dale import parametrise
from cortexrnn.training.model import Asked, Core, Model, Omega, check_sizes, draw
from cortexrnn.training.tile import Tile

FIELDS = (*RateWeights._fields, "readout", "readout_bias")
DEFAULT_TRAINS = ("recurrent", "input", "bias", "start", "readout", "readout_bias")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainable:
    """What of a circuit is trained, and how.

    Attributes
    ----------
    dale : {"relu", "abs", "exp", "softplus", "projected", "dann"}
        How a parameter becomes a weight of its population's sign; see `cortexrnn.training.dale`.
    balance : {"", "rows"}
        ``rows``: at the start and after every step excitation and inhibition of every row are scaled so that the row
        sums to zero, signs and zeros kept (see `cortexrnn.circuit.balance_rows`).
    trains : tuple of str
        Which of recurrent, input, bias, tau_s, start, U, tau_f_s, tau_d_s, readout and readout_bias move.
    frozen : tuple of (str, str)
        Projections, source and target, whose weights stay as the circuit has them.
    input_gain, readout_gain : float
        Standard deviations of the input and read-out weights at the start, times the root of the number of sources.
    reads : tuple of str
        Populations that the read-out sees; empty for the excitatory and mixed ones.
    truncation : int
        Steps of a block beyond which gradients are cut (truncated backpropagation); 0 for none.
    start_by : str
        Column of the trial table: trials with different values there have start states of their own. Empty for one
        that all share.

    Raises
    ------
    OptionError
        If a name is unknown, or projections are frozen whose weights the balance scales.
    """

    dale: str = "relu"
    balance: str = ""
    trains: tuple[str, ...] = DEFAULT_TRAINS
    frozen: tuple[tuple[str, str], ...] = ()
    input_gain: float = 1.0
    readout_gain: float = 1.0
    reads: tuple[str, ...] = ()
    truncation: int = 0
    start_by: str = ""

    def __post_init__(self):
        object.__setattr__(self, "truncation", check_count("truncation", self.truncation, at_least=0))
        unknown = [name for name in self.trains if name not in FIELDS]
        if unknown:
            raise OptionError(f"trains={unknown[0]!r} is no parameter; expected some of {', '.join(FIELDS)}.")
        object.__setattr__(self, "frozen", tuple(tuple(pair) for pair in self.frozen))
        if self.frozen and self.balance:
            raise OptionError(
                f"frozen={self.frozen} is not valid with balance={self.balance!r}, which scales all weights."
            )


class CircuitModel(Model):
    """The parameters of a circuit, in one flat array.

    Parameters
    ----------
    circuit : Circuit
    asked : Asked
    trainable : Trainable
    seed : int
        Of the input and read-out weights at the start; the recurrent ones are the circuit's.
    dtype : numpy float type

    Attributes
    ----------
    units : RateUnits
        What does not change.
    class_names : tuple of str
        Class of plasticity of every plastic source.
    """

    states, per_step, hidden_state = STATES, ("drive", "sent"), "rate"
    has_omega = True

    def __init__(self, circuit: Circuit, asked: Asked, trainable: Trainable, *, seed: int, dtype: type):
        self.circuit, self.trainable, self.name = circuit, trainable, circuit.name
        self.start_by, self.levels, self.truncation = trainable.start_by, asked.levels, trainable.truncation
        n_inputs, n_hidden, n_outputs = check_sizes(asked.n_inputs, circuit.size, asked.n_outputs)
        matrix, static, plastic = circuit_sources(circuit)
        self.units = circuit_units(circuit, static, plastic, asked.dt_s)
        self._dale = parametrise(
            trainable.dale, trainable.balance, circuit.signs, self.units.static_unit, self.units.plastic_unit,
            matrix != 0.0,
        )  # fmt: skip
        self.class_names = tuple(name for name, _ in plastic)
        laws = [circuit.plasticity[name] for name in self.class_names]
        core = {
            "recurrent": self._dale.start(matrix),
            "input": draw(seed, "input", (n_hidden, n_inputs), trainable.input_gain),
            "bias": circuit.bias,
            # Time constants and utilisations move on scales on which they cannot leave their range.
            "tau_s": np.log(circuit.tau_s),
            "start": np.zeros((max(1, len(asked.levels)), n_hidden)),
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
        self._freeze(trainable.frozen)

    def _freeze(self, projections: tuple[tuple[str, str], ...]) -> None:
        """Keep the weights of some projections as they are."""
        sources = self.circuit.population_of[np.concatenate([self.units.static_unit, self.units.plastic_unit])]
        names, moves = [p.name for p in self.circuit.populations], self.parts(self.moves)["recurrent"]
        known = {(projection.source, projection.target) for projection in self.circuit.projections}
        for source, target in projections:
            if (source, target) not in known:
                raise OptionError(
                    f"frozen has {(source, target)!r}; the circuit's projections are {sorted(known)}.", where=self.name
                )
            rows = self.circuit.slices[target]
            moves[rows, sources == names.index(source)] = False

    def identity(self) -> dict[str, str]:
        """Say which network this is."""
        return {"network": self.circuit.hash(), "trainable": repr(self.trainable)}

    @property
    def signs(self) -> np.ndarray:
        """Signs of the units' outgoing weights."""
        return self.circuit.signs

    @property
    def senders(self) -> np.ndarray:
        """Units that send through the plastic sources."""
        return self.units.plastic_unit

    @property
    def populations(self) -> np.ndarray:
        """Names of the units' populations."""
        return np.array([population.name for population in self.circuit.populations])[self.circuit.population_of]

    def core_weights(self) -> RateWeights:
        """Give the cell's weights."""
        raw = self.parts(self.theta)
        return RateWeights(
            recurrent=self._dale.effective(raw["recurrent"]),
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
        """Put the weights back to their signs and balance where the parametrisation asks for it."""
        if "recurrent" in self.trainable.trains:
            self._dale.project(self.parts(self.theta)["recurrent"])

    def pack(self, weights: RateWeights) -> RatePacked:
        """Pack the weights for the products of a sweep."""
        return pack_rate_weights(weights)

    def empty_tape(self, n_steps: int, weights: RateWeights) -> RateTape:
        """Allocate the tape of a tile."""
        return empty_rate_tape(n_steps, weights)

    def noise(self, key: tuple, trials: range) -> OrnsteinUhlenbeck | None:
        """Give the current noise of a tile."""
        noise = self.circuit.noise
        if noise is None or noise.sigma == 0.0:
            return None
        return OrnsteinUhlenbeck(noise, self.n_hidden, self.units.dt_s, key=key, trials=trials, dtype=self.dtype)

    def start(self, tile: Tile, weights: RateWeights, tape: RateTape) -> None:
        """Lay the start states."""
        rate_start(self.units, weights, tile.group, tape)

    def forward(self, tile: Tile, core: Core, tape: RateTape) -> np.ndarray:
        """Sweep a tile forward; gives the rates."""
        rate_forward(tile.inputs, tile.current, tile.keep, self.units, *core, tape)
        return tape.rate

    def backward(
        self, tile: Tile, by_hidden: np.ndarray, core: Core, tape: RateTape, gradient: RateWeights, omega: Omega
    ) -> float:
        """Sweep a tile back; adds the derivatives of the weights."""
        rate_backward(tile.inputs, by_hidden, tile.keep, self.units, *core, tape, gradient, self.truncation)
        if omega.factor == 0.0:
            return 0.0
        return rate_omega(tile.keep, self.units, *core, tape, omega.share, omega.factor, gradient)

    def add_start(self, tile: Tile, tape: RateTape, gradient: RateWeights) -> None:
        """Add the derivatives of the start states."""
        rate_add_start(tape, tile.group, gradient)

    def recorded(self, tape: RateTape, hidden: np.ndarray) -> dict[str, np.ndarray]:
        """Give rates and the states of plastic synapses."""
        return {"rate": hidden} | ({"u": tape.u, "x": tape.x} if self.units.plastic_unit.size else {})

    def currents(self, tile: Tile, core: Core, tape: RateTape) -> dict[str, np.ndarray]:
        """Give by name the currents of every step of a tile: recurrent excitatory and inhibitory, and external."""
        self._check_currents()
        weights, n_steps = core.weights, len(tape.drive)
        sources = np.concatenate([self.units.static_unit, self.units.plastic_unit])
        # Where all that is sent is the rates of all units, the tape holds it nowhere else.
        sends_rates = not self.senders.size and sources.size == self.n_hidden
        sent = tape.rate[:-1] if sends_rates else tape.sent

        def through(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
            return (matrix @ values.reshape(n_steps, -1, N_LANES)).reshape(n_steps, -1)

        signs = self.signs[sources]
        external = through(weights.input, tile.inputs) + np.repeat(weights.bias, N_LANES)
        return {
            "current_e": through(weights.recurrent * (signs > 0), sent),
            "current_i": through(weights.recurrent * (signs < 0), sent),
            "current_ext": external + tile.current if tile.current.size else external,
        }

    def _check_currents(self) -> None:
        """Refuse where a current is neither excitatory nor inhibitory."""
        mixed = [population.name for population in self.circuit.populations if population.sign == "mixed"]
        if mixed:
            raise OptionError(
                f"currents cannot be kept: population {mixed[0]!r} is mixed, so its current is neither excitatory "
                "nor inhibitory.",
                hint="Give every population a sign, or leave currents out.",
            )
        if self.trainable.dale == "dann":
            raise OptionError(
                "currents cannot be kept with dale='dann': inhibition answers at once, as a part of the weights that "
                "excitatory units send through."
            )

    def system(self, inputs: np.ndarray, dt_s: float) -> RateSystem:
        """Give the circuit at a constant input."""
        weights = RateWeights(*(np.asarray(part, dtype=float) for part in self.core_weights()))
        return RateSystem(self.name, self.units, weights, drive=weights.input @ inputs, method="exponential_euler")

    def matrix(self) -> np.ndarray:
        """Give the recurrent weights that are wired, all synapses of a pair together."""
        recurrent = self._dale.weights(self.parts(self.theta)["recurrent"])
        total = np.zeros((self.n_hidden, self.n_hidden), self.dtype)
        for k, unit in enumerate(np.concatenate([self.units.static_unit, self.units.plastic_unit])):
            total[:, unit] += recurrent[:, k]
        return total


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
