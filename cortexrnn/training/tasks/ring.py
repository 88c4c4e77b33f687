"""Angles on a ring: report where a stimulus was after a delay, or point away from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, at_step, table_of
from cortexrnn.training.tasks.timeline import Duration, OneOf, Timeline, check_duration, longest, n_steps_of, sample

# Yang et al. (2019): bumps of this width and height; the outputs rest slightly above zero, fixation holds below one.
_WIDTH_RAD = np.pi / 8.0
_HEIGHT = 0.8
_REST = 0.05
_HOLD = 0.85
_RULES = ("pro", "anti")
_FIXATION_S = OneOf((0.3, 0.5, 0.7))
_STIMULUS_S = OneOf((0.2, 0.4, 0.6))
_DELAY_S = OneOf((0.2, 0.4, 0.8, 1.6))
# Draws: the rule, the angle, and one for each variable duration.
_RULE, _ANGLE, _DURATION = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class DelayedEstimation(Task):
    """A stimulus somewhere on a ring, a delay, and when the fixation input goes off, its angle on a ring of outputs.

    The reported angle is that of the mean vector of the ring of outputs at the last step. Right is an answer within
    `tolerance_rad` of the target while the fixation output is below one half.

    Attributes
    ----------
    n_ring : int
        Inputs, and outputs, with evenly spaced preferred angles; 32.
    fixation_s, stimulus_s, delay_s : float or Duration
        One of 0.3, 0.5, 0.7 s; of 0.2, 0.4, 0.6 s; of 0.2, 0.4, 0.8, 1.6 s.
    response_s : float
        0.5 s, of which the first `grace_s` do not count.
    grace_s : float
        0.1 s.
    response_weight : float
        Weight in the loss of a step of the response; 5, a step before it has 1.
    tolerance_rad : float
        A fifth of pi.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    The task "delay go" of Yang, Joglekar, Song, Newsome & Wang (2019), doi:10.1038/s41593-018-0310-2, and their code
    (gyyang/multitask), for one ring of inputs instead of two and without rule inputs. There the weights of the two
    epochs are set so that both count the same, the first 0.1 s of a trial do not count, and the fixation output counts
    twice.
    """

    name: ClassVar[str] = "delayed estimation"

    n_ring: int = 32
    fixation_s: float | Duration = _FIXATION_S
    stimulus_s: float | Duration = _STIMULUS_S
    delay_s: float | Duration = _DELAY_S
    response_s: float = 0.5
    grace_s: float = 0.1
    response_weight: float = 5.0
    tolerance_rad: float = 0.2 * np.pi

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_ring", self.n_ring, at_least=4)
        check_positive("response_s", self.response_s)
        check_positive("response_weight", self.response_weight)
        for name in ("fixation_s", "stimulus_s"):
            check_duration(name, getattr(self, name))
        check_duration("delay_s", self.delay_s, allow_zero=True)
        if not 0.0 <= self.grace_s < self.response_s:
            raise OptionError(f"grace_s={self.grace_s} leaves nothing of response_s={self.response_s} to answer in.")
        if not 0.0 < self.tolerance_rad < np.pi:
            raise OptionError(f"tolerance_rad={self.tolerance_rad} is not between 0 and pi.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Fixation, then the ring."""
        return ("fixation", *(f"{360.0 * k / self.n_ring:g} deg" for k in range(self.n_ring)))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Fixation, then the ring."""
        return ("fixation", *(f"{360.0 * k / self.n_ring:g} deg" for k in range(self.n_ring)))

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        return sum(n_steps_of(longest(duration), self.dt_s) for duration in self._epochs().values())

    @property
    def chance(self) -> float:
        """Share of the ring that counts as right."""
        return self.tolerance_rad / np.pi

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, see, remember, respond."""
        return {
            "fixation": self.fixation_s,
            "stimulus": self.stimulus_s,
            "delay": self.delay_s,
            "response": self.response_s,
        }

    def _rule(self, draws: Draws) -> np.ndarray:
        """Give 0 where the answer is at the stimulus and 1 where it is opposite."""
        return np.zeros(len(draws.number), dtype=np.int64)

    def _compose(self, draws: Draws) -> Batch:
        """Show a bump, and ask for a bump at the angle of the answer."""
        rule = self._rule(draws)
        angle = 2.0 * np.pi * draws.uniform[:, _ANGLE]
        target = (angle + np.pi * rule) % (2.0 * np.pi)
        epochs = {
            name: sample(duration, draws.uniform[:, _DURATION + k])
            for k, (name, duration) in enumerate(self._epochs().items())
        }
        timeline = Timeline(epochs, self.dt_s, self.n_steps)
        inside, response = timeline.inside(*epochs), timeline.inside("response")
        inputs = np.zeros((len(rule), self.n_steps, self.n_inputs), dtype=np.float32)
        inputs[:, :, 0] = inside & ~response
        ring = slice(1, 1 + self.n_ring)
        inputs[:, :, ring] = timeline.inside("stimulus")[:, :, None] * self._bump(angle)[:, None, :]
        for channel in range(1 + self.n_ring, self.n_inputs):
            inputs[:, :, channel] = inside & (rule == channel - 1 - self.n_ring)[:, None]
        targets = np.full((len(rule), self.n_steps, self.n_outputs), _REST, dtype=np.float32)
        targets[:, :, 0] = np.where(response, _REST, _HOLD)
        targets[:, :, ring] += response[:, :, None] * self._bump(target)[:, None, :]
        start = timeline.start["response"]
        in_grace = timeline.between(start, start + round(self.grace_s / self.dt_s))
        mask = (inside & ~in_grace) * np.where(response, self.response_weight, 1.0)
        table = table_of(
            rule=np.array(_RULES)[rule], angle_rad=angle, target_rad=target, delay_s=epochs["delay"],
            **timeline.columns(),
        )  # fmt: skip
        targets *= inside[:, :, None]
        return Batch(inputs, targets, None, mask.astype(np.float32), timeline.length, table, MSE)

    def _bump(self, angle: np.ndarray) -> np.ndarray:
        """Give the ring's activity for an angle, shape (n_trials, n_ring)."""
        preferred = 2.0 * np.pi * np.arange(self.n_ring) / self.n_ring
        distance = _wrap(angle[:, None] - preferred)
        return (_HEIGHT * np.exp(-0.5 * (distance / _WIDTH_RAD) ** 2)).astype(np.float32)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Read the angle of the ring's mean vector at the last step."""
        final = at_step(outputs, batch.last)
        preferred = 2.0 * np.pi * np.arange(self.n_ring) / self.n_ring
        ring = final[:, 1:]
        reported = np.arctan2(ring @ np.sin(preferred), ring @ np.cos(preferred)) % (2.0 * np.pi)
        error = _wrap(reported - batch.table["target_rad"].to_numpy())
        correct = (np.abs(error) < self.tolerance_rad) & (final[:, 0] < 0.5)
        return correct.astype(float), {"response_rad": reported, "error_rad": error}


@dataclass(frozen=True, kw_only=True)
class ProAnti(DelayedEstimation):
    """Point to the stimulus, or away from it: two more inputs say for the whole trial which of the two is asked.

    Notes
    -----
    The tasks "delay go" and "delay anti" of Yang et al. (2019), mixed half and half; the rule inputs are 1, as there.
    """

    name: ClassVar[str] = "pro/anti"
    condition_columns: ClassVar[tuple[str, ...]] = ("rule",)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Fixation, the ring, the two rules."""
        return (*super().input_names, *_RULES)

    def _rule(self, draws: Draws) -> np.ndarray:
        """Draw the rule."""
        return draws.choose((2,))[0]


def _wrap(angle: np.ndarray) -> np.ndarray:
    """Bring angles into -pi to pi."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi
