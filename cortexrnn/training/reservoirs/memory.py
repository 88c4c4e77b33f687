"""What a reservoir remembers: the echo-state property, and how many past inputs its state holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.reservoirs.readout import Ridge
from cortexrnn.training.reservoirs.reservoir import Reservoir
from cortexrnn.training.reservoirs.reservoir_kernels import follow_twin

# Small enough for the tangent, large enough for the digits that are left of a difference.
_SEPARATION = 1e-7
# Parts of the steps that are left out in turn for a standard error.
_N_LEFT_OUT = 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EchoStateTest:
    """Whether a reservoir forgets where it started.

    Attributes
    ----------
    distance : ndarray, shape (n_steps,)
        Largest distance between the starts after every step, relative to that before the first.
    exponent : float
        Largest conditional Lyapunov exponent a step: the mean logarithm of the factor by which a small difference
        grows under this input, without the first tenth of the steps.
    standard_error : float
        Of the exponent, from ten blocks.
    tolerance : float
        Relative distance at the end below which the starts count as one.
    """

    distance: np.ndarray
    exponent: float
    standard_error: float
    tolerance: float

    @property
    def converges(self) -> bool:
        """Whether all starts have met: the echo-state property, for these starts and this input."""
        return bool(self.distance[-1] <= self.tolerance)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MemoryCapacity:
    """How well past inputs can be read out of a reservoir.

    Attributes
    ----------
    curve : ndarray, shape (n_delays,)
        Squared correlation between the input k steps ago, k = 0, 1, ..., and its best linear read-out.
    bound : int
        Number of units, which the capacity of no reservoir exceeds (Jaeger 2001).
    standard_error : float
        Of the capacity, by leaving out one twentieth of the steps at a time; 0 where it is exact.
    """

    curve: np.ndarray
    bound: int
    standard_error: float

    @property
    def capacity(self) -> float:
        """Sum of the curve."""
        return float(self.curve.sum())


def echo_state_test(
    reservoir: Reservoir, inputs: np.ndarray, *, n_starts: int = 2, tolerance: float = 1e-6, seed: int = 0
) -> EchoStateTest:
    """Run a reservoir from several initial states under one input.

    A linear reservoir converges if and only if its `effective_radius` is below 1, whatever the input, and its exponent
    is the radius' logarithm. Others may converge under one input and not under another.

    Parameters
    ----------
    reservoir : Reservoir
    inputs : ndarray, shape (n_steps, n_inputs), or (n_steps,) for one input
        At least 20 steps. Near the edge the distance needs about ``log(tolerance)/exponent`` of them.
    n_starts : int
        Initial states, at least 2, drawn uniformly between -1 and 1.
    tolerance : float
        See `EchoStateTest`.
    seed : int
        Of the initial states.

    Returns
    -------
    EchoStateTest

    Raises
    ------
    DataError
        If the inputs do not fit or are too short.
    NumericalError
        If the states are no longer finite.
    """
    n_starts = check_count("n_starts", n_starts, at_least=2)
    tolerance = check_positive("tolerance", tolerance)
    external = np.ascontiguousarray(reservoir.external(inputs))
    if external.ndim != 2 or len(external) < 20:
        raise DataError(f"inputs of {external.shape[:-1]} steps are not valid; expected one trial of at least 20.")
    rng = stream(seed, "echo state", "starts")
    starts = rng.uniform(-1.0, 1.0, (n_starts, reservoir.n_units))
    runs = np.stack([reservoir.run(inputs, initial=start) for start in starts])
    distance = np.linalg.norm(runs[1:] - runs[0], axis=2) / np.linalg.norm(starts[1:] - starts[0], axis=1)[:, None]
    direction, logs = rng.normal(size=reservoir.n_units), np.empty(len(external))
    direction /= np.linalg.norm(direction)
    follow_twin(reservoir.network(), starts[0].copy(), direction, _SEPARATION, external, logs)
    means = np.array([block.mean() for block in np.array_split(logs[len(logs) // 10 :], 10)])
    is_finite = bool(np.isfinite(means).all())
    return EchoStateTest(
        distance=distance.max(axis=0),
        exponent=float(means.mean()) if is_finite else -np.inf,
        standard_error=float(means.std(ddof=1) / np.sqrt(means.size)) if is_finite else 0.0,
        tolerance=tolerance,
    )


def memory_capacity(
    reservoir: Reservoir, *, n_steps: int = 10_000, max_delay: int | None = None, washout: int = 1000, seed: int = 0
) -> MemoryCapacity:
    """Measure how well past inputs can be read out, with a random input.

    The input is independent and uniform between -1 and 1. One half of the steps fits a read-out a delay, the other
    half gives the squared correlations r^2. Without any memory r^2 over T steps is 1/(T - 1) on average and not 0,
    which adds up over delays; ``(r^2 (T - 1) - 1) / (T - 2)`` takes this off and leaves r^2 = 1 as it is. What is left
    is at most the true capacity on average, because the read-outs are fitted to other steps.

    Parameters
    ----------
    reservoir : Reservoir
        With one input.
    n_steps : int
        Steps of each half, more than twice the units.
    max_delay : int, optional
        Longest delay; twice the units by default.
    washout : int
        Steps before the first that counts, beyond the longest delay.
    seed : int
        Of the input.

    Returns
    -------
    MemoryCapacity

    Raises
    ------
    OptionError
        If the reservoir has several inputs, or there are too few steps.
    NumericalError
        If the states are no longer finite.
    """
    _check_single_input(reservoir)
    max_delay = 2 * reservoir.n_units if max_delay is None else check_count("max_delay", max_delay, at_least=0)
    n_steps = check_count("n_steps", n_steps)
    if n_steps <= 2 * reservoir.n_units:
        raise OptionError(f"n_steps={n_steps} is too few for {reservoir.n_units} units; expected over twice as many.")
    first = max_delay + check_count("washout", washout, at_least=0)
    inputs = stream(seed, "memory capacity", "input").uniform(-1.0, 1.0, first + 2 * n_steps)
    states = reservoir.run(inputs)[first:]
    delayed = np.stack([inputs[first - k : inputs.size - k] for k in range(max_delay + 1)], axis=1)
    # Without a penalty: what is far in the past lies in directions of very little variance.
    readout = Ridge(penalties=(0.0,)).fit(states[:n_steps], delayed[:n_steps])
    predicted, wanted = readout.predict(states[n_steps:]), delayed[n_steps:]
    curve = _corrected_correlations(predicted, wanted)
    without = []
    for steps in np.array_split(np.arange(n_steps), _N_LEFT_OUT):
        rest = np.delete(np.arange(n_steps), steps)
        without.append(_corrected_correlations(predicted[rest], wanted[rest]).sum())
    # The jackknife: delays share their inputs, so that their errors add up and a sum over delays has to be left whole.
    variance = (_N_LEFT_OUT - 1) * np.var(without)
    return MemoryCapacity(curve=curve, bound=reservoir.n_units, standard_error=float(np.sqrt(variance)))


def linear_memory(reservoir: Reservoir, max_delay: int | None = None) -> MemoryCapacity:
    """Compute the memory of a linear reservoir for a white input, without any sample.

    The state is ``sum_k c_k s(t - k)`` with ``c_k = A^k c_0``; the squared correlation at delay k is
    ``c_k^T (sum_j c_j c_j^T)^-1 c_k``, the leverage of column k of the matrix of all c (Jaeger 2001; White, Lee and
    Sompolinsky 2004, doi:10.1103/PhysRevLett.92.148102). All delays together give the rank of that matrix, the number
    of units where inputs reach all directions.

    Parameters
    ----------
    reservoir : Reservoir
        Linear, with one input and an effective radius below 1.
    max_delay : int, optional
        Longest delay; twice the units by default.

    Returns
    -------
    MemoryCapacity

    Raises
    ------
    OptionError
        If the reservoir is not linear, has several inputs, or does not forget.
    NumericalError
        If it forgets so slowly that the sum would not end.
    """
    _check_single_input(reservoir)
    if any(activation.kind != "linear" for activation in reservoir.activations):
        raise OptionError("the reservoir is not linear; expected activations of kind 'linear'.")
    n, leak = reservoir.n_units, reservoir.leak
    max_delay = 2 * n if max_delay is None else check_count("max_delay", max_delay, at_least=0)
    gains = np.repeat([activation.gain for activation in reservoir.activations], reservoir.sizes)[:, None]
    step = (1.0 - leak) * np.eye(n) + leak * gains * reservoir.weights
    radius = float(np.abs(np.linalg.eigvals(step)).max())
    if not radius < 1.0:
        raise OptionError(f"effective radius {radius:.6g} is not below 1: the reservoir never forgets.")
    column = leak * gains[:, 0] * reservoir.input_weights[:, 0]
    columns, largest = [], 0.0
    while len(columns) <= max_delay or np.linalg.norm(column) > 1e-17 * largest:
        if len(columns) > 1_000_000 // n + 100 * n:
            raise NumericalError(f"with an effective radius of {radius:.6g} the input fades too slowly to be summed.")
        columns.append(column)
        largest = max(largest, float(np.linalg.norm(column)))
        column = step @ column
    values, right = np.linalg.svd(np.transpose(columns), full_matrices=False)[1:]
    kept = values > max(n, len(columns)) * np.finfo(float).eps * values[0]
    leverage = np.sum(right[kept] ** 2, axis=0)
    return MemoryCapacity(curve=leverage[: max_delay + 1], bound=n, standard_error=0.0)


def _check_single_input(reservoir: Reservoir) -> None:
    """Refuse a reservoir with several inputs."""
    n_inputs = reservoir.input_weights.shape[1]
    if n_inputs != 1:
        raise OptionError(f"the reservoir has {n_inputs} inputs; memory capacity is defined for one.")


def _corrected_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give the squared correlation of every pair of columns, less what chance gives; 0 where one is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    n_steps, powers = len(a), np.sum(a**2, axis=0) * np.sum(b**2, axis=0)
    squared = np.divide(np.sum(a * b, axis=0) ** 2, powers, out=np.zeros(len(powers)), where=powers > 0.0)
    return (squared * (n_steps - 1) - 1.0) / (n_steps - 2)
