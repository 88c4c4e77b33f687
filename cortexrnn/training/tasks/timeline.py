"""How long the parts of a trial last, and which time steps each of them fills."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cortexrnn.errors import OptionError


class Duration(abc.ABC):
    """A duration that differs between trials."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def longest_s(self) -> float:
        """Longest duration in seconds."""

    @abc.abstractmethod
    def at(self, quantile: np.ndarray) -> np.ndarray:
        """Give the durations in seconds at quantiles between 0 and 1."""


@dataclass(frozen=True, slots=True)
class Uniform(Duration):
    """Any duration between two, equally likely.

    Attributes
    ----------
    low_s, high_s : float
        Shortest and longest in seconds.

    Raises
    ------
    OptionError
        If the two are not in order.
    """

    low_s: float
    high_s: float

    def __post_init__(self):
        if not 0.0 <= self.low_s <= self.high_s < float("inf"):
            raise OptionError(f"durations from {self.low_s} s to {self.high_s} s are not in order.")

    @property
    def longest_s(self) -> float:
        """Longest duration in seconds."""
        return float(self.high_s)

    def at(self, quantile: np.ndarray) -> np.ndarray:
        """Interpolate."""
        return self.low_s + (self.high_s - self.low_s) * np.asarray(quantile)


@dataclass(frozen=True, slots=True)
class TruncatedExponential(Duration):
    """Durations with a constant hazard between two limits: when they end cannot be foreseen.

    Attributes
    ----------
    mean_s : float
        Mean of the exponential before it is cut, in seconds.
    low_s, high_s : float
        Limits in seconds.

    Raises
    ------
    OptionError
        If the mean is not positive or the limits are not in order.
    """

    mean_s: float
    low_s: float
    high_s: float

    def __post_init__(self):
        if not (self.mean_s > 0.0 and 0.0 <= self.low_s < self.high_s < float("inf")):
            raise OptionError(
                f"mean_s={self.mean_s} with limits {self.low_s} s and {self.high_s} s is no truncated exponential."
            )

    @property
    def longest_s(self) -> float:
        """Longest duration in seconds."""
        return float(self.high_s)

    def at(self, quantile: np.ndarray) -> np.ndarray:
        """Invert the distribution function; one number a trial, where rejection would take any number."""
        reach = -np.expm1(-(self.high_s - self.low_s) / self.mean_s)
        return self.low_s - self.mean_s * np.log1p(-np.asarray(quantile) * reach)


@dataclass(frozen=True, slots=True)
class OneOf(Duration):
    """One of several durations, equally likely.

    Attributes
    ----------
    values_s : tuple of float
        In seconds.

    Raises
    ------
    OptionError
        If there is none, or one is negative.
    """

    values_s: tuple[float, ...]

    def __post_init__(self):
        if not self.values_s or not all(0.0 <= value < float("inf") for value in self.values_s):
            raise OptionError(f"values_s={self.values_s!r} holds no durations; expected numbers of at least 0.")

    @property
    def longest_s(self) -> float:
        """Longest duration in seconds."""
        return float(max(self.values_s))

    def at(self, quantile: np.ndarray) -> np.ndarray:
        """Take the value whose share of the unit interval holds the quantile."""
        values = np.asarray(self.values_s, dtype=float)
        return values[np.minimum((np.asarray(quantile) * values.size).astype(np.int64), values.size - 1)]


def longest(duration: float | Duration) -> float:
    """Give the longest value in seconds of a fixed or a variable duration."""
    return duration.longest_s if isinstance(duration, Duration) else float(duration)


def sample(duration: float | Duration, quantile: np.ndarray) -> np.ndarray:
    """Give one duration in seconds for every quantile, the same everywhere where it is fixed."""
    return duration.at(quantile) if isinstance(duration, Duration) else np.full(np.shape(quantile), float(duration))


def check_duration(name: str, duration: float | Duration, *, allow_zero: bool = False) -> None:
    """Raise OptionError where a duration is neither a `Duration` nor a positive finite number of seconds."""
    if isinstance(duration, Duration):
        return
    is_number = isinstance(duration, int | float) and not isinstance(duration, bool)
    if not is_number or not 0.0 <= duration < float("inf") or (duration == 0.0 and not allow_zero):
        raise OptionError(
            f"{name}={duration!r} is no duration.", hint="Give seconds, or Uniform(0.2, 0.4) from cortexrnn.tasks."
        )


def n_steps_of(seconds: float, dt_s: float) -> int:
    """Give the number of time steps that a duration fills: the nearest, and at least one where it is not zero."""
    return max(round(seconds / dt_s), 1 if seconds > 0.0 else 0)


class Timeline:
    """The epochs of every trial in time steps, one after the other from step 0.

    Parameters
    ----------
    epochs : mapping of str to ndarray, shape (n_trials,)
        Durations in seconds by name, in order.
    dt_s : float
        Time step in seconds.
    n_steps : int
        Steps of the arrays that are filled.
    """

    def __init__(self, epochs: Mapping[str, np.ndarray], dt_s: float, n_steps: int):
        self._dt_s = dt_s
        self._step = np.arange(n_steps)
        self.start: dict[str, np.ndarray] = {}
        self.stop: dict[str, np.ndarray] = {}
        end = np.zeros_like(next(iter(epochs.values())), dtype=np.int64)
        for name, seconds in epochs.items():
            steps = np.rint(np.asarray(seconds) / dt_s).astype(np.int64)
            self.start[name] = end
            end = end + np.where(np.asarray(seconds) > 0.0, np.maximum(steps, 1), 0)
            self.stop[name] = end
        self.length = end

    def inside(self, *names: str) -> np.ndarray:
        """Tell which steps belong to one of the epochs, bool, shape (n_trials, n_steps)."""
        return np.logical_or.reduce([self.between(self.start[name], self.stop[name]) for name in names])

    def between(self, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """Tell which steps lie from `start` on and before `stop`, bool, shape (n_trials, n_steps)."""
        return (self._step >= start[:, None]) & (self._step < stop[:, None])

    def columns(self) -> dict[str, np.ndarray]:
        """Give when every epoch but the first begins, in seconds, as columns of a trial table."""
        return {f"{name}_start_s": start * self._dt_s for name, start in list(self.start.items())[1:]}
