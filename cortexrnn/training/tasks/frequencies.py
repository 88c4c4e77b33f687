"""Parametric working memory: tell whether the first of two vibrations was the faster one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.tasks.choice import TwoChoice, add_to
from cortexrnn.training.tasks.timeline import Duration, Timeline, Uniform, check_duration

_DELAY = Uniform(2.5, 3.5)


@dataclass(frozen=True, kw_only=True)
class ParametricMemory(TwoChoice):
    """Two frequencies with a delay between them; choice 0 if the first is higher, choice 1 if the second is.

    One input grows with the frequency, ``0.2 + 0.8 (f - f_min) / (f_max - f_min)``, the other falls with it likewise.

    Attributes
    ----------
    pairs_hz : tuple of (float, float)
        Higher and lower frequency; each comes in both orders. 18 and 10, 22 and 14, 26 and 18, 30 and 22, 34 and 26.
    first_s, second_s : float
        Durations of the two stimuli; 0.5 s.
    delay_s : float or Duration
        Uniform from 2.5 to 3.5 s in training; PyCog tests with 3 s.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Romo, Brody, Hernandez & Lemus (1999), doi:10.1038/20939; frequencies of Barak, Tsodyks & Romo (2010),
    J. Neurosci. 30, 9424, by PyCog's model file romo (Song, Yang & Wang 2016). It trains until the worst
    of the ten conditions reaches 85 %: ``performance.worst(task.condition_columns)``.
    """

    name: ClassVar[str] = "parametric working memory"
    stimulus_column: ClassVar[str | None] = "difference_hz"
    condition_columns: ClassVar[tuple[str, ...]] = ("first_hz", "second_hz")

    pairs_hz: tuple[tuple[float, float], ...] = ((18.0, 10.0), (22.0, 14.0), (26.0, 18.0), (30.0, 22.0), (34.0, 26.0))
    first_s: float = 0.5
    second_s: float = 0.5
    delay_s: float | Duration = _DELAY

    def __post_init__(self):
        check_positive("first_s", self.first_s)
        check_positive("second_s", self.second_s)
        check_duration("delay_s", self.delay_s)
        if not self.pairs_hz or not all(len(pair) == 2 and pair[0] > pair[1] for pair in self.pairs_hz):
            raise OptionError(f"pairs_hz={self.pairs_hz!r} is not valid; expected pairs, the higher frequency first.")
        TwoChoice.__post_init__(self)

    @property
    def input_names(self) -> tuple[str, ...]:
        """An input that grows with the frequency and one that falls."""
        return ("frequency +", "frequency -")

    @property
    def levels(self) -> tuple[int, ...]:
        """Pairs and orders."""
        return (len(self.pairs_hz), 2)

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, feel, remember, feel, decide."""
        return {
            "fixation": self.fixation_s,
            "first": self.first_s,
            "delay": self.delay_s,
            "second": self.second_s,
            "decision": self.decision_s,
        }

    def _conditions(self, levels: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Both frequencies in their order."""
        pairs = np.asarray(self.pairs_hz, dtype=float)[levels[0]]
        rows = np.arange(len(pairs))
        first_hz, second_hz = pairs[rows, levels[1]], pairs[rows, 1 - levels[1]]
        return {
            "first_hz": first_hz,
            "second_hz": second_hz,
            "difference_hz": first_hz - second_hz,
            "choice": levels[1],
        }

    def _present(self, inputs: np.ndarray, columns: dict[str, np.ndarray], timeline: Timeline) -> None:
        """Vibrate."""
        low, high = np.min(self.pairs_hz), np.max(self.pairs_hz)
        for epoch in ("first", "second"):
            place = (columns[f"{epoch}_hz"] - low) / (high - low)
            add_to(inputs, 0, timeline.inside(epoch), 0.2 + 0.8 * place)
            add_to(inputs, 1, timeline.inside(epoch), 0.2 + 0.8 * (1.0 - place))
