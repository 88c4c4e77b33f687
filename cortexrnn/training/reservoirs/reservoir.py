"""Reservoirs: fixed recurrent networks of which only a linear read-out is fitted (Jaeger 2001)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.cells.activation import Activation
from cortexrnn.circuit.build import build_inputs, build_weights
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.circuit.parts import Population, Projection
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.reservoirs.reservoir_kernels import LARGEST, Network, make_network, run

WIRINGS = ("sparse", "dale", "orthogonal", "cycle")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reservoir:
    """A reservoir with its weights: ``h <- (1 - leak) h + leak phi(W h + U s + b)``.

    It is the Euler step of a circuit of form ``rate`` with ``dt = leak tau``.

    Attributes
    ----------
    weights : ndarray, shape (n_units, n_units)
        ``[post, pre]``.
    input_weights : ndarray, shape (n_units, n_inputs)
    bias : ndarray, shape (n_units,)
    leak : float
        In (0, 1].
    activations : tuple of Activation
        One a population.
    sizes : tuple of int
        Units of each population.
    signs : ndarray of int8, shape (n_units,)
        Sign of every unit's outgoing weights; 0 without constraint.

    Raises
    ------
    DataError
        If the shapes do not fit or a number is not finite.
    OptionError
        If the leak is not valid.
    """

    weights: np.ndarray
    input_weights: np.ndarray
    bias: np.ndarray
    leak: float = 1.0
    activations: tuple[Activation, ...] = (Activation(),)
    sizes: tuple[int, ...] = ()
    signs: np.ndarray | None = None

    def __post_init__(self):
        object.__setattr__(self, "leak", _check_leak(self.leak))
        for name in ("weights", "input_weights", "bias"):
            array = np.array(getattr(self, name), dtype=float)
            if not np.isfinite(array).all():
                raise DataError(f"{name} hold numbers that are not finite.")
            object.__setattr__(self, name, array)
        n = self.bias.size
        if self.weights.shape != (n, n) or self.input_weights.ndim != 2 or len(self.input_weights) != n:
            raise DataError(
                f"weights {self.weights.shape}, input_weights {self.input_weights.shape} and bias {self.bias.shape} "
                "do not fit; expected (n_units, n_units), (n_units, n_inputs) and (n_units,)."
            )
        object.__setattr__(self, "sizes", tuple(self.sizes) or (n,))
        signs = np.zeros(n, np.int8) if self.signs is None else np.array(self.signs, np.int8)
        object.__setattr__(self, "signs", signs)
        if sum(self.sizes) != n or len(self.sizes) != len(self.activations) or signs.shape != (n,) or n > LARGEST:
            raise DataError(
                f"{n} units do not fit sizes {self.sizes}, {len(self.activations)} activations and "
                f"{signs.size} signs; expected populations that make up at most {LARGEST} units."
            )

    @classmethod
    def from_circuit(cls, circuit: Circuit, *, leak: float = 1.0, spectral_radius: float | None = None) -> Reservoir:
        """Take the weights, inputs, biases, activations and signs of a circuit.

        Parameters
        ----------
        circuit : Circuit
            Without plasticity; its time constants give way to the leak, its channels become the inputs.
        leak : float
        spectral_radius : float, optional
            Scale the weights to it; by default they stay as they are.

        Returns
        -------
        Reservoir

        Raises
        ------
        OptionError
            If the circuit has plasticity.
        NumericalError
            If the weights have a spectral radius of zero.
        """
        if circuit.plasticity:
            raise OptionError(f"circuit {circuit.name!r} has plasticity; expected one without.")
        weights = build_weights(circuit).total()
        if spectral_radius is not None:
            weights = scale_to_radius(weights, spectral_radius)
        return cls(
            weights=weights,
            input_weights=build_inputs(circuit),
            bias=circuit.bias,
            leak=leak,
            activations=tuple(population.activation for population in circuit.populations),
            sizes=tuple(population.size for population in circuit.populations),
            signs=circuit.signs,
        )

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.bias.size

    @property
    def spectral_radius(self) -> float:
        """Largest modulus of the eigenvalues of the weights, computed from all of them."""
        return spectral_radius(self.weights)

    @property
    def effective_radius(self) -> float:
        """Largest modulus of the eigenvalues of ``(1 - leak) I + leak W``.

        A linear reservoir of gain 1 has the echo-state property if and only if it is below 1.
        """
        return spectral_radius((1.0 - self.leak) * np.eye(self.n_units) + self.leak * self.weights)

    def network(self) -> Network:
        """Lay the reservoir out for the kernels.

        Returns
        -------
        Network
        """
        decay = np.full(self.n_units, 1.0 - self.leak)
        return make_network(self.weights, decay, self.activations, self.sizes, form="rate")

    def external(self, inputs: np.ndarray) -> np.ndarray:
        """Give what inputs and bias send to every unit.

        Parameters
        ----------
        inputs : ndarray, shape (..., n_steps, n_inputs), or (n_steps,) for one input

        Returns
        -------
        ndarray, shape (..., n_steps, n_units)

        Raises
        ------
        DataError
            If the inputs do not fit or are not finite.
        """
        inputs = np.asarray(inputs, dtype=float)
        n_inputs = self.input_weights.shape[1]
        inputs = inputs[:, None] if inputs.ndim == 1 and n_inputs == 1 else inputs
        if inputs.ndim not in (2, 3) or inputs.shape[-1] != n_inputs or not np.isfinite(inputs).all():
            raise DataError(
                f"inputs of shape {inputs.shape} are not valid; expected finite numbers of shape "
                f"(n_steps, {n_inputs}) or (n_trials, n_steps, {n_inputs})."
            )
        return inputs @ self.input_weights.T + self.bias

    def run(self, inputs: np.ndarray, *, initial: np.ndarray | None = None) -> np.ndarray:
        """Give the states under an input.

        Parameters
        ----------
        inputs : ndarray, shape (n_steps, n_inputs) or (n_trials, n_steps, n_inputs), or (n_steps,) for one input
        initial : ndarray, shape (n_units,), optional
            State before the first step, of every trial; zero by default.

        Returns
        -------
        ndarray, shape (n_steps, n_units) or (n_trials, n_steps, n_units)
            The state after each input.

        Raises
        ------
        DataError
            If inputs or the initial state do not fit or are not finite.
        NumericalError
            If the states are no longer finite.
        """
        external = self.external(inputs)
        start = np.zeros(self.n_units) if initial is None else np.array(initial, dtype=float)
        if start.shape != (self.n_units,) or not np.isfinite(start).all():
            raise DataError(f"initial has shape {start.shape}; expected finite ({self.n_units},).")
        trials = external if external.ndim == 3 else external[None]
        network, states = self.network(), np.empty_like(trials)
        for trial, kept in zip(trials, states, strict=True):
            run(network, start.copy(), np.ascontiguousarray(trial), kept)
        if not np.isfinite(states).all():
            raise NumericalError(
                "the states are no longer finite.", hint="Lower the spectral radius, or take a bounded activation."
            )
        return states.reshape(external.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReservoirSpec:
    """How a reservoir is drawn.

    Attributes
    ----------
    n_units, n_inputs : int
    wiring : {"sparse", "dale", "orthogonal", "cycle"}
        ``sparse``: independent Gaussian weights. ``dale``: excitatory and inhibitory units 4 to 1 with balanced rows,
        as `Circuit.balanced`. ``orthogonal``: drawn uniformly from all rotations and reflections.
        ``cycle``: every unit drives the next (Rodan and Tino 2011, doi:10.1109/TNN.2010.2089641).
    spectral_radius : float
        Of the weights, exact: they are divided by the largest modulus of all their eigenvalues. The radius of a large
        random matrix is a law of large numbers and misses by several percent at hundreds of units.
    density : float
        Fraction of the connections that exist, for ``sparse`` and ``dale``.
    leak : float
        In (0, 1].
    input_scale : float
        Input weights are uniform between minus and plus this.
    bias_scale : float
        Biases likewise.
    activation : Activation
    seed : int

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    n_units: int = 300
    n_inputs: int = 1
    wiring: str = "sparse"
    spectral_radius: float = 0.9
    density: float = 0.1
    leak: float = 1.0
    input_scale: float = 1.0
    bias_scale: float = 0.0
    activation: Activation = field(default_factory=Activation)
    seed: int = 0

    def __post_init__(self):
        check_choice("wiring", self.wiring, WIRINGS)
        smallest = 10 if self.wiring == "dale" else 1
        object.__setattr__(self, "n_units", check_count("n_units", self.n_units, at_least=smallest))
        for name in ("n_inputs", "seed"):
            object.__setattr__(self, name, check_count(name, getattr(self, name), at_least=name == "n_inputs"))
        for name in ("spectral_radius", "density", "input_scale"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        if self.density > 1.0:
            raise OptionError(f"density={self.density} is above 1; expected a fraction in (0, 1].")
        if self.bias_scale != 0.0:
            check_positive("bias_scale", self.bias_scale)
        _check_leak(self.leak)
        if not isinstance(self.activation, Activation):
            raise OptionError(f"activation={self.activation!r} is not valid; expected Activation(kind=...).")

    def build(self) -> Reservoir:
        """Draw the reservoir.

        Returns
        -------
        Reservoir

        Raises
        ------
        NumericalError
            If the drawn weights have a spectral radius of zero.
        """
        weights, signs = self._draw_weights()
        shape = (self.n_units, self.n_inputs)
        return Reservoir(
            weights=weights,
            input_weights=self._stream("inputs").uniform(-self.input_scale, self.input_scale, shape),
            bias=self._stream("bias").uniform(-self.bias_scale, self.bias_scale, self.n_units),
            leak=self.leak,
            activations=(self.activation,),
            signs=signs,
        )

    def _draw_weights(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw the recurrent weights and their signs."""
        n = self.n_units
        match self.wiring:
            case "orthogonal":
                triangle = np.linalg.qr(self._stream("orthogonal").normal(size=(n, n)))
                # Signs of the diagonal: without them the draw is not uniform (Mezzadri 2007).
                return self.spectral_radius * triangle.Q * np.sign(np.diag(triangle.R)), None
            case "cycle":
                return self.spectral_radius * np.roll(np.eye(n), 1, axis=0), None
            case "dale":
                circuit = Circuit.balanced(n, 1.0, density=self.density, seed=self.seed)
                return scale_to_radius(build_weights(circuit).total(), self.spectral_radius), circuit.signs
        law = WeightLaw(law="gaussian", mean=0.0, sd=1.0)
        loop = Projection(source="units", target="units", weights=law, density=self.density, allow_autapses=True)
        units = (Population(name="units", size=n),)
        circuit = Circuit(name="reservoir", populations=units, projections=(loop,), wiring_seed=self.seed)
        return scale_to_radius(build_weights(circuit).total(), self.spectral_radius), None

    def _stream(self, purpose: str) -> np.random.Generator:
        """Give the random numbers of one part."""
        return stream(self.seed, "reservoir", purpose)


def spectral_radius(weights: np.ndarray) -> float:
    """Give the largest modulus of a matrix's eigenvalues, computed from all of them.

    Parameters
    ----------
    weights : ndarray, shape (n, n)

    Returns
    -------
    float
    """
    # One thread of linear algebra: the same bits whatever else runs.
    with threadpool_limits(1):
        return float(np.abs(np.linalg.eigvals(weights)).max())


def scale_to_radius(weights: np.ndarray, radius: float) -> np.ndarray:
    """Scale a matrix to a spectral radius.

    Parameters
    ----------
    weights : ndarray, shape (n, n)
    radius : float

    Returns
    -------
    ndarray, shape (n, n)

    Raises
    ------
    NumericalError
        If its own radius is zero to working precision.
    """
    radius, found = check_positive("spectral_radius", radius), spectral_radius(weights)
    # Eigenvalues of a nilpotent matrix come out as roots of round-off.
    if not found > 1e-3 * np.linalg.norm(weights) / len(weights):
        raise NumericalError(
            f"weights of spectral radius {found:.3g} cannot be scaled to {radius}.",
            hint="Raise the density: no activity returns to its source.",
        )
    return weights * (radius / found)


def _check_leak(leak: float) -> float:
    """Return a leak in (0, 1], or refuse it."""
    leak = check_positive("leak", leak)
    if leak > 1.0:
        raise OptionError(f"leak={leak} is above 1; expected a fraction in (0, 1].")
    return leak
