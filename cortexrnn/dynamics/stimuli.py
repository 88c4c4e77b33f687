"""What is sent into a circuit: signals over time, for an input channel, a population or single units."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.circuit.build import build_inputs
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream


class Signal(abc.ABC):
    """A value at every moment; two signals can be added."""

    __slots__ = ()

    @abc.abstractmethod
    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Give the signal at times in seconds, shape (n_times, n_targets, n_trials); 1 stands for any number."""

    def __add__(self, other: Signal) -> Sum:
        """Add two signals."""
        return Sum((self, other))


@dataclass(frozen=True, slots=True)
class Sum(Signal):
    """The sum of several signals."""

    parts: tuple[Signal, ...]

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Add the parts."""
        return np.sum(np.broadcast_arrays(*(part.sample(time_s) for part in self.parts)), axis=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulse(Signal):
    """`amplitude` from `start_s` on and before `stop_s`, `baseline` otherwise.

    Attributes
    ----------
    amplitude : float
        Height, in the unit of the activation's argument where it is sent straight to units.
    start_s, stop_s : float
        Half-open interval in seconds; without a stop it is a step.
    baseline : float
        Value outside.

    Raises
    ------
    OptionError
        If the interval has no length.
    """

    amplitude: float
    start_s: float = 0.0
    stop_s: float = np.inf
    baseline: float = 0.0

    def __post_init__(self):
        if not self.start_s < self.stop_s:
            raise OptionError(f"a pulse from {self.start_s} s to {self.stop_s} s has no length.")

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Switch on and off."""
        return _column(np.where((time_s >= self.start_s) & (time_s < self.stop_s), self.amplitude, self.baseline))


@dataclass(frozen=True, kw_only=True, slots=True)
class Ramp(Signal):
    """A straight line between two moments, constant before and after.

    Attributes
    ----------
    start, stop : float
        Values at the two moments.
    start_s, stop_s : float
        The moments in seconds.

    Raises
    ------
    OptionError
        If the second is not after the first.
    """

    start: float
    stop: float
    start_s: float
    stop_s: float

    def __post_init__(self):
        if not self.start_s < self.stop_s:
            raise OptionError(f"a ramp from {self.start_s} s to {self.stop_s} s has no length.")

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Interpolate."""
        return _column(np.interp(time_s, [self.start_s, self.stop_s], [self.start, self.stop]))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sinusoid(Signal):
    """``offset + amplitude sin(2 pi frequency t + phase)``.

    Attributes
    ----------
    amplitude, offset : float
        In the unit of the activation's argument where it is sent straight to units.
    frequency_hz : float
    phase : float
        At time 0, in radians.
    """

    amplitude: float
    frequency_hz: float
    phase: float = 0.0
    offset: float = 0.0

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Evaluate the sine."""
        return _column(self.offset + self.amplitude * np.sin(2.0 * np.pi * self.frequency_hz * time_s + self.phase))


@dataclass(frozen=True, kw_only=True, slots=True)
class Fluctuation(Signal):
    """A frozen Ornstein-Uhlenbeck signal, the same in every trial.

    Attributes
    ----------
    sd, mean : float
        Of the signal at any moment.
    tau_s : float
        Its time constant in seconds.
    seed : int
        Which signal it is.
    grid_s : float
        Time from one value to the next in seconds; each is held.

    Raises
    ------
    OptionError
        If a time is not positive.
    """

    sd: float
    tau_s: float
    mean: float = 0.0
    seed: int = 0
    grid_s: float = 1e-3

    def __post_init__(self):
        check_positive("tau_s", self.tau_s)
        check_positive("grid_s", self.grid_s)

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Run the exact update from time 0 and hold every value for one step of the grid."""
        number = np.floor(np.asarray(time_s) / self.grid_s + 1e-9).astype(np.int64)
        normals = stream(self.seed, "fluctuation").standard_normal(int(number.max()) + 1)
        keep = float(np.exp(-self.grid_s / self.tau_s))
        values = np.empty_like(normals)
        values[0] = normals[0]
        for k in range(1, normals.size):
            values[k] = keep * values[k - 1] + np.sqrt(1.0 - keep**2) * normals[k]
        return _column(self.mean + self.sd * values[number])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples(Signal):
    """Values on a grid, each held for `step_s`; zero beyond their end.

    Attributes
    ----------
    values : ndarray, shape (n_samples,), (n_samples, n_targets) or (n_trials, n_samples, n_targets)
        One column for each unit that the signal is sent to, or one for all.
    step_s : float
        Time from one sample to the next; the first is at time 0.

    Raises
    ------
    OptionError
        If a value is not finite or the shape is another.
    """

    values: np.ndarray
    step_s: float

    def __post_init__(self):
        check_positive("step_s", self.step_s)
        values = np.asarray(self.values, dtype=float)
        if values.ndim not in (1, 2, 3) or not np.isfinite(values).all():
            raise OptionError(
                f"values has shape {values.shape}; expected finite (n_samples,), (n_samples, n_targets) or "
                "(n_trials, n_samples, n_targets)."
            )
        laid_out = values.transpose(1, 2, 0) if values.ndim == 3 else values.reshape(len(values), -1, 1)
        object.__setattr__(self, "values", np.ascontiguousarray(laid_out))

    def sample(self, time_s: np.ndarray) -> np.ndarray:
        """Look the values up."""
        number = np.floor(np.asarray(time_s) / self.step_s + 1e-9).astype(np.int64)
        inside = (number >= 0) & (number < len(self.values))
        return np.where(inside[:, None, None], self.values[np.where(inside, number, 0)], 0.0)


Stimulus = Mapping[str, Signal]


class Drive:
    """The external current of a circuit without noise: bias plus every signal at its target.

    Parameters
    ----------
    circuit : Circuit
        Its channels and populations are what signals can be sent to.
    stimulus : mapping of str to Signal
        By the name of a channel (through its weights) or of a population (straight into its units).

    Raises
    ------
    OptionError
        If a name is neither a channel nor a population.
    """

    def __init__(self, circuit: Circuit, stimulus: Stimulus):
        self._bias = circuit.bias
        self._parts: list[tuple[Signal, np.ndarray | slice, str]] = []
        loading = build_inputs(circuit)
        for name, signal in stimulus.items():
            if not isinstance(signal, Signal):
                raise OptionError(
                    f"stimulus[{name!r}] is a {type(signal).__name__}; expected a Signal.",
                    hint="For example Pulse(amplitude=1.0, start_s=0.1, stop_s=0.2).",
                )
            if name in circuit.channels:
                self._parts.append((signal, loading[:, circuit.channels.index(name)], name))
            elif name in circuit.slices:
                self._parts.append((signal, circuit.slices[name], name))
            else:
                known = ", ".join([*circuit.channels, *circuit.slices])
                raise OptionError(f"stimulus[{name!r}] has no target; the circuit has {known}.")

    @property
    def differs_between_trials(self) -> bool:
        """Whether a signal has values of its own for every trial."""
        return any(signal.sample(np.zeros(1)).shape[2] > 1 for signal, _, _ in self._parts)

    def sample(self, time_s: np.ndarray, trials: range) -> np.ndarray:
        """Give the external current of every unit.

        Parameters
        ----------
        time_s : ndarray, shape (n_times,)
        trials : range
            Numbers of the trials.

        Returns
        -------
        ndarray, shape (n_times, n_units, 1) or (n_times, n_units, n_trials)
            The latter where a signal differs between trials.

        Raises
        ------
        OptionError
            If a signal has the wrong number of columns or of trials.
        """
        values = [_of_trials(signal.sample(time_s), trials, name) for signal, _, name in self._parts]
        n_trials = max((value.shape[2] for value in values), default=1)
        current = np.broadcast_to(self._bias[None, :, None], (time_s.size, self._bias.size, n_trials)).copy()
        for value, (_, target, name) in zip(values, self._parts, strict=True):
            n_targets = target.stop - target.start if isinstance(target, slice) else 1
            if value.shape[1] not in (1, n_targets):
                raise OptionError(
                    f"stimulus[{name!r}] has {value.shape[1]} columns; expected 1 or {n_targets}, one a unit of it."
                )
            if isinstance(target, slice):
                current[:, target] += value
            else:
                current += value * target[:, None]
        return current


def _column(values: np.ndarray) -> np.ndarray:
    """Lay values over time out for any target and any trial."""
    return np.asarray(values, dtype=float)[:, None, None]


def _of_trials(values: np.ndarray, trials: range, name: str) -> np.ndarray:
    """Take the trials of a tile out of a signal that has its own values in each."""
    if values.shape[2] == 1:
        return values
    if trials.start >= values.shape[2]:
        raise OptionError(
            f"stimulus[{name!r}] has values for {values.shape[2]} trials; expected at least {trials.start + 1}."
        )
    # A tile may be filled up beyond the last trial; what happens there is thrown away.
    return values[:, :, np.minimum(np.arange(trials.start, trials.stop), values.shape[2] - 1)]
