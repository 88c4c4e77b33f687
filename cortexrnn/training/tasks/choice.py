"""What all tasks with two alternatives share: hold low, look, then raise one of two outputs."""

from __future__ import annotations

import abc
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import TEST, Batch, Draws, Task, at_step
from cortexrnn.training.tasks.timeline import Duration, Timeline, check_duration, longest, n_steps_of, sample

NO_CHOICE = -1
# Draws of a trial: the first five choose conditions, then come the catch trial and the durations of the epochs.
_CATCH, _DURATION = 5, 6
_MAX_EPOCHS = 6


@dataclass(frozen=True, kw_only=True)
class TwoChoice(Task):
    """Two outputs hold low during fixation; in the decision epoch the right one is high and the other low.

    Between the two nothing is asked of the outputs. The network's choice is the larger output at the last step. A catch
    trial has no stimulus and asks for low outputs throughout.

    Attributes
    ----------
    fixation_s, decision_s : float
        Durations in seconds; 0.1 and 0.3 in all tasks of Song et al. (2016).
    high, low : float
        Targets; 1 and 0.2 there.
    baseline : float
        Added to every input in every step of a trial; 0.2 there (table 1).
    catch_fraction : float, optional
        Share of catch trials in training; left out, one in ``n_conditions + 1`` as there.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Song, Yang & Wang (2016), doi:10.1371/journal.pcbi.1004792, and the model files of their package PyCog. There a
    catch trial lasts 1 or 2 s; here as long as the trial that it replaces, so that the batch is no longer than that.
    """

    fixation_s: float = 0.1
    decision_s: float = 0.3
    high: float = 1.0
    low: float = 0.2
    baseline: float = 0.2
    catch_fraction: float | None = None

    def __post_init__(self):
        Task.__post_init__(self)
        check_positive("fixation_s", self.fixation_s)
        check_positive("decision_s", self.decision_s)
        if not self.low < self.high:
            raise OptionError(f"high={self.high} is not above low={self.low}.")
        if self.catch_fraction is not None and not 0.0 <= self.catch_fraction < 1.0:
            raise OptionError(f"catch_fraction={self.catch_fraction!r} is not valid; expected 0 to below 1.")
        for name, duration in self._epochs().items():
            check_duration(f"{name}_s", duration)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Choice 0 and choice 1."""
        return ("choice 0", "choice 1")

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        return sum(n_steps_of(longest(duration), self.dt_s) for duration in self._epochs().values())

    @property
    def chance(self) -> float:
        """One half."""
        return 0.5

    @property
    def n_draws(self) -> int:
        """Uniform numbers that decide what a trial is."""
        return _DURATION + _MAX_EPOCHS

    @property
    @abc.abstractmethod
    def levels(self) -> tuple[int, ...]:
        """Number of levels of each factor of the design."""

    @property
    def n_conditions(self) -> int:
        """Number of conditions: all combinations of the factors."""
        return int(np.prod(self.levels))

    @abc.abstractmethod
    def _epochs(self) -> dict[str, float | Duration]:
        """Give the epochs in their order, the first being the fixation and the last the decision."""

    @abc.abstractmethod
    def _conditions(self, levels: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Give the columns of the table, `choice` (the right one, 0 or 1) among them, by the levels of the factors."""

    @abc.abstractmethod
    def _present(self, inputs: np.ndarray, columns: dict[str, np.ndarray], timeline: Timeline) -> None:
        """Add the stimuli to inputs of shape (n_trials, n_steps, n_inputs), in place."""

    def _has_answer(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Tell on which trials one choice is right."""
        return np.ones(len(columns["choice"]), dtype=bool)

    def _asked(self, timeline: Timeline) -> np.ndarray:
        """Tell in which steps the chosen output has to be high."""
        return timeline.inside("decision")

    def _compose(self, draws: Draws) -> Batch:
        """Lay out the epochs, present the stimuli, and ask for the right output."""
        epochs = {
            name: sample(duration, draws.uniform[:, _DURATION + k])
            for k, (name, duration) in enumerate(self._epochs().items())
        }
        timeline = Timeline(epochs, self.dt_s, self.n_steps)
        columns = self._conditions(draws.choose(self.levels))
        share = 1.0 / (self.n_conditions + 1) if self.catch_fraction is None else self.catch_fraction
        is_catch = (draws.uniform[:, _CATCH] < share) & (draws.mode != TEST)
        inside = timeline.inside(*epochs)
        inputs = np.zeros((len(is_catch), self.n_steps, self.n_inputs), dtype=np.float32)
        self._present(inputs, columns, timeline)
        inputs[is_catch] = 0.0
        inputs += np.float32(self.baseline) * inside[:, :, None]
        asked = self._asked(timeline)
        mask = inside & (asked | timeline.inside("fixation") | is_catch[:, None])
        is_high = asked[:, :, None] & (columns["choice"][:, None] == np.arange(2))[:, None, :]
        is_high &= ~is_catch[:, None, None]
        targets = np.where(is_high, np.float32(self.high), np.float32(self.low)) * inside[:, :, None]
        has_answer = self._has_answer(columns) & ~is_catch
        columns["choice"] = np.where(is_catch, NO_CHOICE, columns["choice"])
        table = pd.DataFrame({**columns, "is_catch": is_catch, "has_answer": has_answer, **timeline.columns()})
        return Batch(inputs, targets.astype(np.float32), None, mask.astype(np.float32), timeline.length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take the larger output at the last step."""
        response = np.argmax(at_step(outputs, batch.last), axis=1)
        correct = (response == batch.table["choice"].to_numpy()).astype(float)
        correct[~batch.table["has_answer"].to_numpy()] = np.nan
        return correct, {"response": response}


def add_to(inputs: np.ndarray, channel: int, inside: np.ndarray, value: np.ndarray | float) -> None:
    """Add a value of every trial to one input within an epoch, in place."""
    inputs[:, :, channel] += inside * np.broadcast_to(np.asarray(value, dtype=np.float32), len(inside))[:, None]
