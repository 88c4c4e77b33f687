"""Multisensory integration: tell whether flashes, clicks or both come faster than the boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn.errors import OptionError
from cortexrnn.training.tasks.choice import TwoChoice, add_to
from cortexrnn.training.tasks.timeline import Duration, Timeline, check_duration

MODALITIES = ("visual", "auditory", "both")


@dataclass(frozen=True, kw_only=True)
class Multisensory(TwoChoice):
    """Event rates come over visual inputs, auditory inputs or both; choice 0 is for rates above the boundary.

    Each modality has an input that grows with the rate, ``offset + gain (f - f_min) / (f_max - f_min)``, and one that
    falls with it in the same way.

    Attributes
    ----------
    rate_hz : tuple of float
        Event rates; 6 to 19 Hz in PyCog's training, of which it analyses 9 to 16.
    boundary_hz : float
        12.5 Hz.
    stimulus_s : float or Duration
        1 s.
    offset, gain : float
        0.5 and 0.6.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Raposo, Kaufman & Churchland (2014), doi:10.1038/nn.3865, by PyCog's model file multisensory (Song, Yang & Wang
    2016), which trains to 90 %. There the visual inputs reach the first third of the units and the auditory ones the
    second third only; which units an input reaches is a matter of the circuit.
    """

    name: ClassVar[str] = "multisensory integration"
    stimulus_column: ClassVar[str | None] = "rate_hz"
    group_column: ClassVar[str | None] = "modality"
    condition_columns: ClassVar[tuple[str, ...]] = ("modality", "rate_hz")

    rate_hz: tuple[float, ...] = tuple(float(rate) for rate in range(6, 20))
    boundary_hz: float = 12.5
    stimulus_s: float | Duration = 1.0
    offset: float = 0.5
    gain: float = 0.6

    def __post_init__(self):
        check_duration("stimulus_s", self.stimulus_s)
        if len(self.rate_hz) < 2 or not min(self.rate_hz) < self.boundary_hz < max(self.rate_hz):
            raise OptionError(f"rate_hz={self.rate_hz!r} does not lie on both sides of {self.boundary_hz} Hz.")
        TwoChoice.__post_init__(self)

    @property
    def input_names(self) -> tuple[str, ...]:
        """A rising and a falling input of either modality."""
        return ("visual +", "auditory +", "visual -", "auditory -")

    @property
    def levels(self) -> tuple[int, ...]:
        """Modalities and rates."""
        return (3, len(self.rate_hz))

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, look and listen, decide."""
        return {"fixation": self.fixation_s, "stimulus": self.stimulus_s, "decision": self.decision_s}

    def _conditions(self, levels: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Modality and rate."""
        rate_hz = np.asarray(self.rate_hz, dtype=float)[levels[1]]
        return {
            "modality": np.array(MODALITIES)[levels[0]],
            "rate_hz": rate_hz,
            "choice": np.where(rate_hz > self.boundary_hz, 0, 1),
        }

    def _has_answer(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Leave out rates at the boundary."""
        return columns["rate_hz"] != self.boundary_hz

    def _present(self, inputs: np.ndarray, columns: dict[str, np.ndarray], timeline: Timeline) -> None:
        """Show or play the events."""
        low, high = min(self.rate_hz), max(self.rate_hz)
        place = (columns["rate_hz"] - low) / (high - low)
        for k, modality in enumerate(MODALITIES[:2]):
            is_on = (columns["modality"] == modality) | (columns["modality"] == "both")
            add_to(inputs, k, timeline.inside("stimulus"), is_on * (self.offset + self.gain * place))
            add_to(inputs, k + 2, timeline.inside("stimulus"), is_on * (self.offset + self.gain * (1.0 - place)))
