"""Oscillations seen at irregular times, as they come and on a grid; what is asked for is the next sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, table_of
from cortexrnn.training.tasks.waves import relative_error

FILLS = ("zero", "hold")


class Samples(NamedTuple):
    """What is seen of a batch of oscillations.

    Attributes
    ----------
    time_s : ndarray, shape (n_trials, n_samples)
        In order, from the start of the trial.
    value : ndarray, shape (n_trials, n_samples)
    table : pandas.DataFrame
    """

    time_s: np.ndarray
    value: np.ndarray
    table: pd.DataFrame


@dataclass(frozen=True, kw_only=True)
class IrregularWaves(Task):
    """A damped cosine ``exp(-t / decay) cos(2 pi f t + phase)`` sampled at irregular times; say the next value.

    Every sample but the first takes two steps, a question and its answer::

        gap_s        time since the sample before      0
        is_observed  0                                 1
        value        0                                 value of the sample
        target       value of the sample               none

    so a network knows the time that it is asked about, but not the value, when it answers, and gets the value after.
    These are the inputs that a cell of the kind "ode" expects; other networks may take the gap as a number.
    Right is a trial whose root mean square error, over that of always answering zero, stays within `tolerance`.

    Attributes
    ----------
    dt_s : float
        Mean gap in seconds. A step here is a sample, not a time: the time axis of a recording counts questions and
        answers, and a cell with a time constant takes the mean gap for the length of every step.
    n_samples : int
        Samples a trial. Their times are those of a Poisson process given that number: independent and uniform in the
        trial of ``dt_s (n_samples + 1)``, which makes gaps exponential in all but the longest.
    n_given : int
        Samples that are shown before the first question that counts; 4 are enough for frequency, phase and size.
    frequency_hz : tuple of float
        Lowest and highest frequency, of which it is drawn uniformly; the phase is any.
    decay_s : float
        Time constant of the damping; infinite for none.
    tolerance : float
        0.25; of a constant zero output the measure is 1.

    Raises
    ------
    OptionError
        If a field is not valid; noise would fall on the gaps too and is refused.

    Notes
    -----
    After the periodic toy data of Rubanova, Chen & Duvenaud (2019, arXiv:1907.03907); the question for the next sample
    and all numbers are ours.
    """

    name: ClassVar[str] = "irregular waves"

    dt_s: float = 0.4
    noise_sd: float = 0.0
    n_samples: int = 30
    n_given: int = 5
    frequency_hz: tuple[float, float] = (0.2, 0.6)
    decay_s: float = 20.0
    tolerance: float = 0.25

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_given", self.n_given)
        check_count("n_samples", self.n_samples, at_least=self.n_given + 1)
        check_positive("tolerance", self.tolerance)
        if not self.decay_s > 0.0:
            raise OptionError(f"decay_s={self.decay_s!r} is not a positive number.")
        low, high = self.frequency_hz
        if not 0.0 < low <= high < float("inf"):
            raise OptionError(f"frequency_hz={self.frequency_hz!r} is not valid; expected 0 < lowest <= highest.")
        if self.noise_sd != 0.0:
            raise OptionError(f"noise_sd={self.noise_sd!r} would fall on the gaps, which are inputs; expected 0.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Gap, presence, value."""
        return ("gap_s", "is_observed", "value")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The next value."""
        return ("value",)

    @property
    def n_steps(self) -> int:
        """The first sample, and a question and an answer for every other."""
        return 2 * self.n_samples - 1

    @property
    def duration_s(self) -> float:
        """Length of every trial in seconds."""
        return self.dt_s * (self.n_samples + 1)

    @property
    def chance(self) -> float:
        """Noise is never a cosine."""
        return 0.0

    @property
    def n_draws(self) -> int:
        """Frequency, phase, times."""
        return 2 + self.n_samples

    def samples(self, draws: Draws) -> Samples:
        """Give times and values of the samples of trials.

        Parameters
        ----------
        draws : Draws

        Returns
        -------
        Samples
        """
        low, high = self.frequency_hz
        frequency_hz = low + (high - low) * draws.uniform[:, 0]
        phase_rad = 2.0 * np.pi * draws.uniform[:, 1]
        time_s = self.duration_s * np.sort(draws.uniform[:, 2:], axis=1)
        angle = 2.0 * np.pi * frequency_hz[:, None] * time_s + phase_rad[:, None]
        value = np.exp(-time_s / self.decay_s) * np.cos(angle)
        return Samples(time_s, value, table_of(frequency_hz=frequency_hz, phase_rad=phase_rad))

    def _compose(self, draws: Draws) -> Batch:
        """Lay out questions and answers."""
        time_s, value, table = self.samples(draws)
        inputs = np.zeros((len(value), self.n_steps, 3), dtype=np.float32)
        inputs[:, 1::2, 0] = np.diff(time_s, axis=1)
        inputs[:, ::2, 1] = 1.0
        inputs[:, ::2, 2] = value
        targets = np.zeros((len(value), self.n_steps, 1), dtype=np.float32)
        targets[:, 1::2, 0] = value[:, 1:]
        mask = np.zeros((len(value), self.n_steps), dtype=np.float32)
        mask[:, 2 * self.n_given - 1 :: 2] = 1.0
        length = np.full(len(value), self.n_steps, dtype=np.int64)
        return Batch(inputs, targets, None, mask, length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the errors with the size of what was to be said."""
        error = relative_error(outputs, batch)
        return (error <= self.tolerance).astype(float), {"relative_error": error}


@dataclass(frozen=True, kw_only=True)
class GriddedWaves(Task):
    """The same trials for networks that know no gaps: samples are put into the bins of a regular grid.

    The samples of a bin are shown as their mean, one step later than the bin, so that a step's output predicts
    what falls into its bin. Where a sample lies in its bin is lost, and so is what the first of two samples in a bin
    would have told about the second; `relative_error` in the trials of a `Performance` is that of the samples
    themselves, as in `IrregularWaves`, and can be compared. The loss, and ``error``, is that of the means, each
    weighted with the number of its samples.

    Attributes
    ----------
    waves : IrregularWaves
        Whose trials these are: trial k of a seed is trial k there.
    dt_s : float
        Width of a bin in seconds.
    fill : {"zero", "hold"}
        What is shown where there is no sample: 0, or the last value again.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Bins and their means are what is usually done with irregular samples (Rubanova et al. 2019, section 1); a mask
    beside the value is that of Che et al. (2018), doi:10.1038/s41598-018-24271-9.
    """

    name: ClassVar[str] = "gridded waves"

    dt_s: float = 0.1
    noise_sd: float = 0.0
    waves: IrregularWaves = field(default_factory=IrregularWaves)
    fill: str = "hold"

    def __post_init__(self):
        Task.__post_init__(self)
        check_choice("fill", self.fill, FILLS)
        if not isinstance(self.waves, IrregularWaves):
            raise OptionError(f"waves is a {type(self.waves).__name__}; expected IrregularWaves.")
        if self.noise_sd != 0.0:
            raise OptionError(f"noise_sd={self.noise_sd!r} is not valid: the same trials have none; expected 0.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Presence, value."""
        return ("is_observed", "value")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The value in the bin."""
        return ("value",)

    @property
    def n_steps(self) -> int:
        """Bins of a trial."""
        # A quotient of round numbers may lie a rounding above the whole one.
        return int(np.ceil(self.waves.duration_s / self.dt_s - 1e-9))

    @property
    def chance(self) -> float:
        """Noise is never a cosine."""
        return 0.0

    @property
    def n_draws(self) -> int:
        """As many as there."""
        return self.waves.n_draws

    def _draw(self, n: int, seed: int, mode: str, first: int) -> tuple[Draws, np.ndarray | None]:
        """Draw what the irregular trials draw."""
        return self.waves._draw(n, seed, mode, first)

    def _compose(self, draws: Draws) -> Batch:
        """Put the samples into bins."""
        time_s, value, table = self.waves.samples(draws)
        n_trials, n_given = len(value), self.waves.n_given
        bins = np.minimum((time_s / self.dt_s).astype(np.int64), self.n_steps - 1)
        mean, count = _means(bins, value, self.n_steps)
        target, asked = _means(bins[:, n_given:], value[:, n_given:], self.n_steps)
        inputs = np.zeros((n_trials, self.n_steps, 2), dtype=np.float32)
        inputs[:, 1:, 0] = count[:, :-1] > 0
        inputs[:, 1:, 1] = mean[:, :-1]
        if self.fill == "hold":
            seen = np.maximum.accumulate(np.where(inputs[:, :, 0] > 0.0, np.arange(self.n_steps), 0), axis=1)
            inputs[:, :, 1] = np.take_along_axis(inputs[:, :, 1], seen, axis=1)
        of_bin = np.take_along_axis(target, bins[:, n_given:], axis=1)
        table = table.assign(
            square_within=np.square(value[:, n_given:] - of_bin).sum(axis=1),
            square_total=np.square(value[:, n_given:]).sum(axis=1),
        )
        length = np.full(n_trials, self.n_steps, dtype=np.int64)
        targets = target.astype(np.float32)[:, :, None]
        return Batch(inputs, targets, None, asked.astype(np.float32), length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the errors of the samples with their size."""
        square = batch.mask * np.square(outputs.astype(float) - batch.targets)[:, :, 0]
        total = square.sum(axis=1) + batch.table["square_within"].to_numpy()
        error = np.sqrt(total / batch.table["square_total"].to_numpy())
        return (error <= self.waves.tolerance).astype(float), {"relative_error": error}


def _means(bins: np.ndarray, value: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Give mean and number of the samples in every bin, (n_trials, n_bins); the mean of none is 0."""
    rows = np.arange(len(bins))[:, None]
    count, total = np.zeros((len(bins), n_bins)), np.zeros((len(bins), n_bins))
    np.add.at(count, (rows, bins), 1.0)
    np.add.at(total, (rows, bins), value)
    return total / np.maximum(count, 1.0), count
