"""Random dots: tell which of two directions the dots move in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.tasks.choice import TwoChoice, add_to
from cortexrnn.training.tasks.contract import Batch
from cortexrnn.training.tasks.timeline import Duration, Timeline, check_duration, longest


@dataclass(frozen=True, kw_only=True)
class RandomDots(TwoChoice):
    """Perceptual decision: two inputs carry the evidence for each direction, ``(1 + c) / 2`` and ``(1 - c) / 2``.

    Attributes
    ----------
    coherence : tuple of float
        Coherences c of the motion, 0 to 1; 0.032 to 0.512 as in Roitman & Shadlen (2002),
        doi:10.1523/JNEUROSCI.22-21-09475.2002. At 0 the target is drawn and no answer counts.
    stimulus_s : float or Duration
        Duration of the motion; 0.8 s. ``TruncatedExponential(0.33, 0.08, 1.5)`` is the version with variable duration,
        after Kiani, Hanks & Shadlen (2008), J. Neurosci. 28, 3017.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    The model files rdm_fixed, rdm_varstim and rdm_rt of PyCog (Song, Yang & Wang 2016,
    doi:10.1371/journal.pcbi.1004792) write the coherences as 1, 2, 4, 8, 16 and multiply by 3.2 %. They train to 85 %.
    """

    name: ClassVar[str] = "random dots"
    stimulus_column: ClassVar[str | None] = "signed_coherence"
    condition_columns: ClassVar[tuple[str, ...]] = ("signed_coherence",)

    coherence: tuple[float, ...] = (0.032, 0.064, 0.128, 0.256, 0.512)
    stimulus_s: float | Duration = 0.8

    def __post_init__(self):
        check_duration("stimulus_s", self.stimulus_s)
        check_coherences("coherence", self.coherence)
        TwoChoice.__post_init__(self)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Evidence for either choice."""
        return ("evidence 0", "evidence 1")

    @property
    def levels(self) -> tuple[int, ...]:
        """Coherences and directions."""
        return (len(self.coherence), 2)

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, look, decide."""
        return {"fixation": self.fixation_s, "stimulus": self.stimulus_s, "decision": self.decision_s}

    def _conditions(self, levels: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Coherence, and with a sign that is positive for choice 0."""
        coherence = np.asarray(self.coherence, dtype=float)[levels[0]]
        return {"coherence": coherence, "signed_coherence": coherence * (1 - 2 * levels[1]), "choice": levels[1]}

    def _has_answer(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        """Leave out dots without direction."""
        return columns["coherence"] > 0.0

    def _present(self, inputs: np.ndarray, columns: dict[str, np.ndarray], timeline: Timeline) -> None:
        """Show the motion."""
        for channel, sign in enumerate((1.0, -1.0)):
            evidence = 0.5 * (1.0 + sign * columns["signed_coherence"])
            add_to(inputs, channel, timeline.inside("stimulus"), evidence)


@dataclass(frozen=True, kw_only=True)
class ReactionDots(RandomDots):
    """Random dots with a reaction time: the motion stays on, and the answer is asked for soon after its start.

    A third input is on with the motion. The reaction time is when the output of the final choice first exceeds
    `threshold`, from the start of the motion; NaN where it never does.

    Attributes
    ----------
    stimulus_s : float or Duration
        Duration of the motion and of the trial after fixation; 1 s.
    patience_s : float
        Time from the start of the motion from which the output has to be high; 0.3 s.
    threshold : float
        0.8 in PyCog's analysis.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Model file rdm_rt of PyCog; twice as many catch trials as in the other versions, and a longer stimulus, 1.5 s, when
    the trained network is tested.
    """

    name: ClassVar[str] = "random dots, reaction time"

    stimulus_s: float | Duration = 1.0
    patience_s: float = 0.3
    threshold: float = 0.8
    catch_fraction: float | None = 2.0 / 11.0

    def __post_init__(self):
        RandomDots.__post_init__(self)
        check_positive("patience_s", self.patience_s)
        if not self.patience_s < longest(self.stimulus_s):
            raise OptionError(f"patience_s={self.patience_s} leaves no time in stimulus_s={self.stimulus_s}.")
        if not self.low < self.threshold < self.high:
            raise OptionError(f"threshold={self.threshold} is not between low={self.low} and high={self.high}.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Evidence for either choice, and a cue that the motion is on."""
        return ("evidence 0", "evidence 1", "start")

    def _epochs(self) -> dict[str, float | Duration]:
        """Fixate, look and decide."""
        return {"fixation": self.fixation_s, "stimulus": self.stimulus_s}

    def _asked(self, timeline: Timeline) -> np.ndarray:
        """From a while after the start of the motion to the end."""
        patience = round(self.patience_s / self.dt_s)
        return timeline.between(timeline.start["stimulus"] + patience, timeline.stop["stimulus"])

    def _present(self, inputs: np.ndarray, columns: dict[str, np.ndarray], timeline: Timeline) -> None:
        """Show the motion and the cue."""
        super()._present(inputs, columns, timeline)
        add_to(inputs, 2, timeline.inside("stimulus"), 1.0)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Take the larger output at the last step, and when it crossed the threshold."""
        correct, responses = super()._judge(outputs, batch)
        start = np.rint(batch.table["stimulus_start_s"].to_numpy() / self.dt_s).astype(np.int64)
        step = np.arange(outputs.shape[1])
        chosen = np.take_along_axis(outputs, responses["response"][:, None, None], axis=2)[:, :, 0]
        allowed = (step >= start[:, None]) & (step < batch.length[:, None])
        crosses = (chosen > self.threshold) & allowed
        # An output at step k has seen the input until the end of that step.
        reaction_s = (np.argmax(crosses, axis=1) + 1 - start) * self.dt_s
        return correct, {**responses, "reaction_time_s": np.where(crosses.any(axis=1), reaction_s, np.nan)}


def check_coherences(name: str, values: tuple[float, ...]) -> None:
    """Raise OptionError where there are no coherences or one lies outside 0 to 1."""
    if not values or not all(0.0 <= value <= 1.0 for value in values):
        raise OptionError(f"{name}={values!r} is not valid; expected numbers from 0 to 1.")
