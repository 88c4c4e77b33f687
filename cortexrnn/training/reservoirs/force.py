"""FORCE learning: a chaotic circuit learns to produce a target by the read-out that is fed back into it.

Sussillo and Abbott (2009), doi:10.1016/j.neuron.2009.07.018: the read-out is corrected by recursive least squares
while its output is fed back, so that the output is close to the target from the first steps on. With signs for the
units the read-out keeps Dale's law at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.circuit.build import build_inputs, build_weights
from cortexrnn.circuit.parts import LowRank
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.reservoirs.force_kernels import learn, learn_signed, run_closed
from cortexrnn.training.reservoirs.reservoir_kernels import LARGEST, Network, make_network
from cortexrnn.training.reservoirs.rls import RLS, SignedRLS, warn_of_unfinished


@dataclass(frozen=True, kw_only=True, slots=True)
class Force:
    """FORCE learning of a circuit's read-out.

    ``tau dx/dt = -x + W phi(x) + U s + b + F z`` with outputs ``z = w phi(x)``; `w` is learned. The output that is fed
    back at a step is that before the step's correction, as published.

    Attributes
    ----------
    circuit : Circuit
        Of form ``current``, without plasticity and noise; published are gain 1.5 and density 0.1.
    learner : RLS or SignedRLS
        With `SignedRLS` every unit's read-out weight keeps its sign.
    feedback : tuple of float
        The weights F are drawn uniformly between these two numbers. With (0, 1) and a signed learner the
        loop through the read-out keeps Dale's law between the units themselves.
    every : int
        Steps from one correction to the next.
    dt_s : float
        Time step in seconds.

    Raises
    ------
    OptionError
        If a value is not valid or the circuit cannot be used.
    """

    circuit: Circuit
    learner: RLS | SignedRLS = field(default_factory=RLS)
    feedback: tuple[float, float] = (-1.0, 1.0)
    every: int = 2
    dt_s: float = 1e-3

    def __post_init__(self):
        object.__setattr__(self, "every", check_count("every", self.every))
        object.__setattr__(self, "dt_s", check_positive("dt_s", self.dt_s))
        low, high = (float(value) for value in self.feedback)
        if not -np.inf < low <= high < np.inf:
            raise OptionError(f"feedback={self.feedback!r} is not valid; expected finite (low, high), low <= high.")
        object.__setattr__(self, "feedback", (low, high))
        if not isinstance(self.learner, RLS | SignedRLS):
            raise OptionError(f"learner={self.learner!r} is not valid; expected RLS() or SignedRLS(signs=...).")
        _check_circuit(self.circuit)

    def fit(self, targets: np.ndarray, *, inputs: np.ndarray | None = None, seed: int = 0) -> FittedForce:
        """Learn to produce a target.

        Parameters
        ----------
        targets : ndarray, shape (n_steps,) or (n_steps, n_outputs)
            One row a time step.
        inputs : ndarray, shape (n_steps, n_channels), optional
            Values of the circuit's channels, in the order of `Circuit.channels`.
        seed : int
            Of the initial state; the feedback weights belong to the circuit's wiring seed.

        Returns
        -------
        FittedForce

        Raises
        ------
        DataError
            If targets or inputs have the wrong shape or are not finite.
        NumericalError
            If the activity is no longer finite.
        """
        targets = _check_series("targets", targets)
        circuit, n_steps = self.circuit, len(targets)
        external = _external(circuit, inputs, n_steps)
        feedback = self.feedback_weights(targets.shape[1])
        y = circuit.initial_sd * stream(seed, "force", "initial state").normal(size=circuit.size)
        state = self.learner.start(circuit.size, targets.shape[1])
        network, outputs, counts = self.network(), np.empty_like(targets), (0, 0)
        if isinstance(self.learner, SignedRLS):
            flips = self.learner.flips
            n_done, *counts = learn_signed(network, y, external, feedback, state, flips, self.every, targets, outputs)
            weights = state.weights * flips
        else:
            n_done = learn(network, y, external, feedback, state, self.every, targets, outputs)
            weights = state.weights
        if n_done < n_steps or not np.isfinite(weights).all():
            raise NumericalError(
                f"the outputs are not finite at step {n_done} of {n_steps}.",
                hint="Raise the learner's penalty, lower dt_s, or take an activation with a ceiling.",
            )
        warn_of_unfinished(counts[1], -(-n_steps // self.every))
        return FittedForce(
            force=self, weights=weights, feedback=feedback, outputs=outputs, state=y, n_exchanges=counts[0]
        )

    def feedback_weights(self, n_outputs: int) -> np.ndarray:
        """Draw the feedback weights that the circuit's wiring seed decides.

        Parameters
        ----------
        n_outputs : int

        Returns
        -------
        ndarray, shape (n_units, n_outputs)
        """
        columns = [
            stream(self.circuit.wiring_seed, "force", "feedback", i).uniform(*self.feedback, self.circuit.size)
            for i in range(n_outputs)
        ]
        return np.ascontiguousarray(np.transpose(columns))

    def network(self) -> Network:
        """Lay the circuit out for the kernels.

        Returns
        -------
        Network
        """
        populations = self.circuit.populations
        return make_network(
            build_weights(self.circuit).total(),
            np.exp(-self.dt_s / self.circuit.tau_s),
            tuple(population.activation for population in populations),
            tuple(population.size for population in populations),
            form="current",
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedForce:
    """A circuit with a read-out that it learned.

    Attributes
    ----------
    force : Force
        What was fitted.
    weights : ndarray, shape (n_outputs, n_units)
        Of the read-out.
    feedback : ndarray, shape (n_units, n_outputs)
        Weights by which the outputs are fed back.
    outputs : ndarray, shape (n_steps, n_outputs)
        During learning.
    state : ndarray, shape (n_units,)
        Currents after the last step.
    n_exchanges : int
        Units that entered or left the read-out; 0 without signs.
    """

    force: Force
    weights: np.ndarray
    feedback: np.ndarray
    outputs: np.ndarray
    state: np.ndarray
    n_exchanges: int = 0

    def run(self, n_steps: int, *, inputs: np.ndarray | None = None, initial: np.ndarray | None = None) -> np.ndarray:
        """Let the circuit run on its own, with the weights as they are.

        Parameters
        ----------
        n_steps : int
        inputs : ndarray, shape (n_steps, n_channels), optional
            As in `Force.fit`.
        initial : ndarray, shape (n_units,), optional
            Currents before the first step; by default those after learning.

        Returns
        -------
        ndarray, shape (n_steps, n_outputs)

        Raises
        ------
        DataError
            If inputs or the initial state have the wrong shape or are not finite.
        """
        n_steps = check_count("n_steps", n_steps)
        y = np.array(self.state if initial is None else initial, dtype=float)
        if y.shape != self.state.shape or not np.isfinite(y).all():
            raise DataError(f"initial has shape {y.shape}; expected finite {self.state.shape}.")
        external = _external(self.force.circuit, inputs, n_steps)
        outputs = np.empty((n_steps, len(self.weights)))
        run_closed(self.force.network(), y, external, self.feedback, self.weights, outputs)
        return outputs

    def circuit(self) -> Circuit:
        """Give the trained network as a circuit: the loop through the read-out is a low-rank term.

        Returns
        -------
        Circuit
            For every tool that takes one; `simulate` with the same time step goes the same way as `run`.

        Raises
        ------
        OptionError
            If the circuit has signed populations, whose low-rank terms could break Dale's law.
        """
        circuit = self.force.circuit
        terms = tuple(
            LowRank(m=tuple(self.feedback[:, i].tolist()), n=tuple((circuit.size * self.weights[i]).tolist()))
            for i in range(len(self.weights))
        )
        return replace(circuit, name=f"{circuit.name}_force", low_rank_terms=circuit.low_rank_terms + terms)

    def total_weights(self) -> np.ndarray:
        """Give the weights between the units, the loop through the read-out among them.

        Returns
        -------
        ndarray, shape (n_units, n_units)
            ``[post, pre]``.
        """
        return build_weights(self.force.circuit).total() + self.feedback @ self.weights


def _check_circuit(circuit: Circuit) -> None:
    """Refuse a circuit that the kernels cannot run."""
    if not isinstance(circuit, Circuit):
        raise OptionError(f"circuit is a {type(circuit).__name__}; expected a Circuit.")
    if circuit.form != "current":
        raise OptionError(f"form={circuit.form!r} cannot be used; expected a circuit of form 'current'.")
    if circuit.plasticity or circuit.noise is not None:
        found = "plasticity" if circuit.plasticity else "noise"
        raise OptionError(f"circuit {circuit.name!r} has {found}; expected one without plasticity and noise.")
    if circuit.size > LARGEST:
        raise OptionError(f"{circuit.size} units are too many; expected at most {LARGEST}.")


def _check_series(name: str, values: np.ndarray) -> np.ndarray:
    """Return a series as a C-contiguous matrix with one row a step."""
    series = np.ascontiguousarray(values, dtype=float)
    series = series[:, None] if series.ndim == 1 else series
    if series.ndim != 2 or 0 in series.shape or not np.isfinite(series).all():
        raise DataError(f"{name} of shape {np.shape(values)} are not valid; expected finite (n_steps, n_columns).")
    return series


def _external(circuit: Circuit, inputs: np.ndarray | None, n_steps: int) -> np.ndarray:
    """Give the input to every unit, one row where it is always the same."""
    if inputs is None:
        return circuit.bias[None, :].copy()
    series = _check_series("inputs", inputs)
    if series.shape != (n_steps, len(circuit.channels)):
        raise DataError(
            f"inputs have shape {series.shape}; expected ({n_steps}, {len(circuit.channels)}), "
            f"one column for each of the channels {circuit.channels}."
        )
    return series @ build_inputs(circuit).T + circuit.bias
