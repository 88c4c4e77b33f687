"""Delayed match: tell whether a test direction fits the sample, as it is, rotated, or by its category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import CROSS_ENTROPY
from cortexrnn.training.tasks.contract import Batch, Draws, Task, table_of
from cortexrnn.training.tasks.timeline import Duration, Timeline, check_duration, longest, n_steps_of, sample

_OUTPUTS = ("fixation", "non-match", "match")
_FIXATION, _NON_MATCH, _MATCH = range(3)
# Draws 0 and 1 choose sample and match, 2 the test among those that fit, 3 the delay.
_TEST, _DELAY = 2, 3


@dataclass(frozen=True, kw_only=True)
class DelayedMatch(Task):
    """A sample direction, a delay, a test direction: report match or non-match while the test is on.

    The label is "fixation" until the test. Steps within `grace_s` of the start of the test do not count. The answer is
    the output with the largest mean over the rest of the test.

    Attributes
    ----------
    n_directions : int
        Directions of motion; 8.
    n_tuned : int
        Inputs with evenly spaced preferred directions; 24.
    height, kappa : float
        Tuning ``height exp(kappa (cos(direction - preferred) - 1))``; 4 and 2.
    rotation_deg : float
        A match is the sample turned by this angle; a multiple of the spacing of directions. 0 matches the sample itself
        (DMS); 45, 90 and 180 are the published rotated tasks (DMRS).
    fixation_s, sample_s, test_s : float
        0.5 s each.
    delay_s : float or Duration
        1 s.
    grace_s : float
        0.05 s.
    noise_sd : float
        0.1.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Masse, Yang, Song, Wang & Freedman (2019), doi:10.1038/s41593-019-0414-3, and their code
    (nmasse/Short-term-plasticity-RNN), where the number, height and noise of the inputs changed from version to version
    (24 or 36, 4 or 2, 0.1 or 0.01). They use steps of 10 ms and judge every step of the test; here every trial.
    """

    name: ClassVar[str] = "delayed match"
    loss: ClassVar[str] = CROSS_ENTROPY
    condition_columns: ClassVar[tuple[str, ...]] = ("sample_deg", "is_match")

    n_directions: int = 8
    n_tuned: int = 24
    height: float = 4.0
    kappa: float = 2.0
    rotation_deg: float = 0.0
    fixation_s: float = 0.5
    sample_s: float = 0.5
    delay_s: float | Duration = 1.0
    test_s: float = 0.5
    grace_s: float = 0.05
    noise_sd: float = 0.1

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_directions", self.n_directions, at_least=4)
        check_count("n_tuned", self.n_tuned, at_least=2)
        for name in ("height", "kappa", "fixation_s", "sample_s", "test_s"):
            check_positive(name, getattr(self, name))
        check_duration("delay_s", self.delay_s, allow_zero=True)
        if not 0.0 <= self.grace_s < self.test_s:
            raise OptionError(f"grace_s={self.grace_s} leaves nothing of test_s={self.test_s} to answer in.")
        turns = self.rotation_deg * self.n_directions / 360.0
        if abs(turns - round(turns)) > 1e-9:
            raise OptionError(
                f"rotation_deg={self.rotation_deg} leads between the {self.n_directions} directions; expected a "
                f"multiple of {360.0 / self.n_directions:g}."
            )

    @property
    def input_names(self) -> tuple[str, ...]:
        """Preferred directions."""
        return tuple(f"{360.0 * k / self.n_tuned:g} deg" for k in range(self.n_tuned))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Fixation, non-match, match."""
        return _OUTPUTS

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        return sum(n_steps_of(longest(duration), self.dt_s) for duration in self._epochs().values())

    @property
    def chance(self) -> float:
        """One third: answers that know nothing may also be "fixation"."""
        return 1.0 / 3.0

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, see the sample, remember, see the test."""
        return {
            "fixation": self.fixation_s,
            "sample": self.sample_s,
            "delay": self.delay_s,
            "test": self.test_s,
        }

    def _test_direction(self, sample_index: np.ndarray, is_match: np.ndarray, draws: Draws) -> np.ndarray:
        """Give the test: the turned sample, or any other direction."""
        matching = sample_index + round(self.rotation_deg * self.n_directions / 360.0)
        other = 1 + draws.index(_TEST, self.n_directions - 1)
        return np.where(is_match, matching, matching + other) % self.n_directions

    def _compose(self, draws: Draws) -> Batch:
        """Show sample and test, and ask for fixation before and for the answer during the test."""
        sample_index, match_level = draws.choose((self.n_directions, 2))
        is_match = match_level == 1
        test_index = self._test_direction(sample_index, is_match, draws)
        epochs = {name: sample(duration, draws.uniform[:, _DELAY]) for name, duration in self._epochs().items()}
        timeline = Timeline(epochs, self.dt_s, self.n_steps)
        inputs = np.zeros((len(is_match), self.n_steps, self.n_inputs), dtype=np.float32)
        for epoch, index in (("sample", sample_index), ("test", test_index)):
            inputs += timeline.inside(epoch)[:, :, None] * self._tuning(index)[:, None, :]
        answer = np.where(is_match, _MATCH, _NON_MATCH)
        labels = np.where(timeline.inside("test"), answer[:, None], _FIXATION)
        start = timeline.start["test"]
        in_grace = timeline.between(start, start + round(self.grace_s / self.dt_s))
        spacing = 360.0 / self.n_directions
        table = table_of(
            sample_deg=sample_index * spacing, test_deg=test_index * spacing, is_match=is_match,
            delay_s=epochs["delay"], **timeline.columns(),
        )  # fmt: skip
        mask = (timeline.inside(*epochs) & ~in_grace).astype(np.float32)
        return Batch(inputs, None, labels.astype(np.int64), mask, timeline.length, table, CROSS_ENTROPY)

    def _tuning(self, index: np.ndarray) -> np.ndarray:
        """Give the inputs that a direction evokes, shape (n_trials, n_tuned)."""
        angle = 2.0 * np.pi * index / self.n_directions
        preferred = 2.0 * np.pi * np.arange(self.n_tuned) / self.n_tuned
        tuning = self.height * np.exp(self.kappa * (np.cos(angle[:, None] - preferred) - 1.0))
        return tuning.astype(np.float32)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take the output with the largest mean over the test without its first moments."""
        start = np.rint(batch.table["test_start_s"].to_numpy() / self.dt_s)
        counts = (np.arange(outputs.shape[1]) >= start[:, None]) & (batch.mask > 0.0)
        means = np.where(counts[:, :, None], outputs, 0.0).sum(axis=1)
        response = np.argmax(means, axis=1)
        expected = np.where(batch.table["is_match"].to_numpy(), _MATCH, _NON_MATCH)
        return (response == expected).astype(float), {"response": response}


@dataclass(frozen=True, kw_only=True)
class CategoryMatch(DelayedMatch):
    """Delayed match to category: a test matches if it lies on the same side of the boundary as the sample.

    Directions from 0 to below 180 degrees make up one category, the others the second. A matching test never equals the
    sample.

    Raises
    ------
    OptionError
        If the number of directions is odd, or a rotation is asked for.

    Notes
    -----
    The task DMC of Masse et al. (2019); after Freedman & Assad (2006), doi:10.1038/nature05078.
    """

    name: ClassVar[str] = "delayed match to category"

    def __post_init__(self):
        DelayedMatch.__post_init__(self)
        if self.n_directions % 2:
            raise OptionError(f"n_directions={self.n_directions} does not divide into two categories; expected even.")
        if self.rotation_deg:
            raise OptionError(f"rotation_deg={self.rotation_deg} has no meaning for categories; expected 0.")

    def _test_direction(self, sample_index: np.ndarray, is_match: np.ndarray, draws: Draws) -> np.ndarray:
        """Give another direction of the sample's category, or any of the other."""
        half = self.n_directions // 2
        category, place = sample_index // half, sample_index % half
        matching = category * half + (place + 1 + draws.index(_TEST, half - 1)) % half
        return np.where(is_match, matching, (1 - category) * half + draws.index(_TEST, half))
