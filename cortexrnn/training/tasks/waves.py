"""Sine generation: a constant input says how fast to oscillate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, table_of
from cortexrnn.training.tasks.timeline import Duration, Timeline, Uniform, check_duration, longest, n_steps_of, sample

# The level of the input for the slowest and the fastest sine; never zero, so that the input also says "start".
_LOW, _HIGH = 0.25, 1.25
_DURATION = Uniform(1.6, 2.4)


@dataclass(frozen=True, kw_only=True)
class SineGeneration(Task):
    """The output is ``sin(2 pi f t)`` from the start of the trial, the input a constant level that stands for f.

    Right is a trial whose root mean square error, over that of the sine itself, stays within `tolerance`.

    Attributes
    ----------
    frequency_hz : tuple of float
        Frequencies; with a single one the input only says that the trial runs.
    duration_s : float or Duration
        Uniform from 1.6 to 2.4 s, two to three periods of 1.25 Hz.
    tolerance : float
        Of a constant zero output the measure is 1.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    The level instead of a separate network for each frequency: Sussillo & Barak (2013), doi:10.1162/NECO_a_00409.
    Durations and the frequency in the middle: PyCog's model file sinewave (Song, Yang & Wang 2016), which
    has no input and a period of eight time constants of 0.1 s. The other frequencies and the tolerance are ours.
    """

    name: ClassVar[str] = "sine generation"
    condition_columns: ClassVar[tuple[str, ...]] = ("frequency_hz",)

    frequency_hz: tuple[float, ...] = (0.75, 1.0, 1.25, 1.5, 1.75)
    duration_s: float | Duration = _DURATION
    tolerance: float = 0.25
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        check_duration("duration_s", self.duration_s)
        check_positive("tolerance", self.tolerance)
        highest = 0.25 / self.dt_s
        if not self.frequency_hz or not all(0.0 < value <= highest for value in self.frequency_hz):
            raise OptionError(
                f"frequency_hz={self.frequency_hz!r} is not valid; expected frequencies up to {highest:g} Hz, four "
                f"steps of {self.dt_s} s a period."
            )

    @property
    def input_names(self) -> tuple[str, ...]:
        """The level."""
        return ("frequency",)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The sine."""
        return ("sine",)

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        return n_steps_of(longest(self.duration_s), self.dt_s)

    @property
    def chance(self) -> float:
        """Noise is never a sine."""
        return 0.0

    def _compose(self, draws: Draws) -> Batch:
        """Hold the level and ask for the sine."""
        frequency_hz = np.asarray(self.frequency_hz, dtype=float)[draws.choose((len(self.frequency_hz),))[0]]
        duration_s = sample(self.duration_s, draws.uniform[:, 1])
        timeline = Timeline({"sine": duration_s}, self.dt_s, self.n_steps)
        inside = timeline.inside("sine")
        low, high = min(self.frequency_hz), max(self.frequency_hz)
        place = (frequency_hz - low) / (high - low) if high > low else np.ones_like(frequency_hz)
        inputs = (inside * (_LOW + (_HIGH - _LOW) * place)[:, None]).astype(np.float32)[:, :, None]
        # An output at step k answers the input until the end of that step.
        time_s = self.dt_s * np.arange(1, self.n_steps + 1)
        targets = (inside * np.sin(2.0 * np.pi * frequency_hz[:, None] * time_s)).astype(np.float32)[:, :, None]
        table = table_of(frequency_hz=frequency_hz, duration_s=duration_s)
        return Batch(inputs, targets, None, inside.astype(np.float32), timeline.length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the error with the size of the sine."""
        error = relative_error(outputs, batch)
        return (error <= self.tolerance).astype(float), {"relative_error": error}


def relative_error(outputs: np.ndarray, batch: Batch) -> np.ndarray:
    """Give root mean square error over root mean square target of every trial, where the mask counts."""
    counts = batch.mask[:, :, None] > 0.0
    square = np.where(counts, np.square(outputs.astype(float) - batch.targets), 0.0).sum(axis=(1, 2))
    size = np.where(counts, np.square(batch.targets.astype(float)), 0.0).sum(axis=(1, 2))
    # A target that is zero throughout has no size of its own; there the error itself is the measure.
    n_values = np.maximum(counts.sum(axis=(1, 2)) * outputs.shape[2], 1)
    return np.sqrt(square / np.where(size > 0.0, size, n_values))
