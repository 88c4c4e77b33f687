"""Context-dependent decision: attend to motion or to colour, ignore the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn.training.tasks.choice import TwoChoice, add_to
from cortexrnn.training.tasks.dots import check_coherences
from cortexrnn.training.tasks.timeline import Duration, Timeline, check_duration

CONTEXTS = ("motion", "colour")


@dataclass(frozen=True, kw_only=True)
class ContextDecision(TwoChoice):
    """Motion and colour each speak for one of two choices; a context input says which of them counts.

    Attributes
    ----------
    motion, colour : tuple of float
        Coherences; 0.05, 0.15, 0.5 (PyCog writes 1, 3, 10 and multiplies by 5 %).
    stimulus_s : float or Duration
        0.75 s as in the experiment; PyCog trains with 0.7 s and tests with 0.75 s.
    high : float
        1.2 in PyCog's model of this task.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Mante, Sussillo, Shenoy & Newsome (2013), doi:10.1038/nature12742, by PyCog's model file mante (Song, Yang & Wang
    2016), which trains to 90 %. All coherences are signed; positive speaks for choice 0. ``signed_coherence`` of the
    table is that of the relevant modality.
    """

    name: ClassVar[str] = "context-dependent decision"
    stimulus_column: ClassVar[str | None] = "signed_coherence"
    group_column: ClassVar[str | None] = "context"
    condition_columns: ClassVar[tuple[str, ...]] = ("context", "motion", "colour")

    motion: tuple[float, ...] = (0.05, 0.15, 0.5)
    colour: tuple[float, ...] = (0.05, 0.15, 0.5)
    stimulus_s: float | Duration = 0.75
    high: float = 1.2

    def __post_init__(self):
        check_duration("stimulus_s", self.stimulus_s)
        check_coherences("motion", self.motion)
        check_coherences("colour", self.colour)
        TwoChoice.__post_init__(self)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Two contexts, and the evidence of either modality for either choice."""
        return ("motion context", "colour context", "motion 0", "motion 1", "colour 0", "colour 1")

    @property
    def levels(self) -> tuple[int, ...]:
        """Contexts, coherences and directions of both modalities."""
        return (2, len(self.motion), 2, len(self.colour), 2)

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, look, decide."""
        return {"fixation": self.fixation_s, "stimulus": self.stimulus_s, "decision": self.decision_s}

    def _conditions(self, levels: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Context and both coherences with a sign that is positive for choice 0."""
        context, motion, motion_side, colour, colour_side = levels
        signed = {
            "motion": np.asarray(self.motion, dtype=float)[motion] * (1 - 2 * motion_side),
            "colour": np.asarray(self.colour, dtype=float)[colour] * (1 - 2 * colour_side),
        }
        relevant = np.where(context == 0, signed["motion"], signed["colour"])
        choice = np.where(context == 0, motion_side, colour_side)
        return {"context": np.array(CONTEXTS)[context], **signed, "signed_coherence": relevant, "choice": choice}

    def _has_answer(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Leave out trials whose relevant modality has no coherence."""
        return columns["signed_coherence"] != 0.0

    def _present(self, inputs: np.ndarray, columns: dict[str, np.ndarray], timeline: Timeline) -> None:
        """Show the context and both modalities."""
        stimulus = timeline.inside("stimulus")
        for k, modality in enumerate(CONTEXTS):
            add_to(inputs, k, stimulus, columns["context"] == modality)
            add_to(inputs, 2 + 2 * k, stimulus, 0.5 * (1.0 + columns[modality]))
            add_to(inputs, 3 + 2 * k, stimulus, 0.5 * (1.0 - columns[modality]))
