"""Go or no-go: respond after a cue, stay silent without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, table_of
from cortexrnn.training.tasks.timeline import Duration, Timeline, check_duration, longest, n_steps_of, sample


@dataclass(frozen=True, kw_only=True)
class GoNoGo(Task):
    """One input, on in go trials only; after it the output is 1 in go trials and 0 in the others.

    Right is an output that exceeds `go_above` once after the cue in go trials, and one that never leaves the band of
    `nogo_below` around zero in no-go trials.

    Attributes
    ----------
    wait_s : float or Duration
        Time before the cue; 0.25 s.
    cue_s : float
        0.125 s.
    response_s : float
        Time after it; 0.625 s.
    go_above, nogo_below : float
        0.7 and 0.3.
    noise_sd : float
        0 there, and the cue is 1.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Kim, Li & Sejnowski (2019), doi:10.1073/pnas.1905926116, and their code (rkim35/spikeRNN), in steps of 5 ms.
    """

    name: ClassVar[str] = "go/no-go"
    condition_columns: ClassVar[tuple[str, ...]] = ("is_go",)

    wait_s: float | Duration = 0.25
    cue_s: float = 0.125
    response_s: float = 0.625
    go_above: float = 0.7
    nogo_below: float = 0.3
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        check_duration("wait_s", self.wait_s)
        check_positive("cue_s", self.cue_s)
        check_positive("response_s", self.response_s)
        if not 0.0 < self.nogo_below < self.go_above < 1.0:
            raise OptionError(f"nogo_below={self.nogo_below} and go_above={self.go_above} are not in order in 0 to 1.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """The cue."""
        return ("go",)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The response."""
        return ("response",)

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        return sum(n_steps_of(longest(duration), self.dt_s) for duration in self._epochs().values())

    @property
    def chance(self) -> float:
        """One half: responding always, or never."""
        return 0.5

    def _epochs(self) -> dict[str, float | Duration]:
        """Wait, see the cue or nothing, respond or not."""
        return {"wait": self.wait_s, "cue": self.cue_s, "response": self.response_s}

    def _compose(self, draws: Draws) -> Batch:
        """Show the cue in go trials."""
        is_go = draws.choose((2,))[0] == 1
        epochs = {name: sample(duration, draws.uniform[:, 1]) for name, duration in self._epochs().items()}
        timeline = Timeline(epochs, self.dt_s, self.n_steps)
        inputs = (timeline.inside("cue") & is_go[:, None]).astype(np.float32)[:, :, None]
        targets = (timeline.inside("response") & is_go[:, None]).astype(np.float32)[:, :, None]
        mask = timeline.inside(*epochs).astype(np.float32)
        table = table_of(is_go=is_go, **timeline.columns())
        return Batch(inputs, targets, None, mask, timeline.length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the extremes after the cue with the two limits."""
        start = np.rint(batch.table["response_start_s"].to_numpy() / self.dt_s)
        step = np.arange(outputs.shape[1])
        after = (step >= start[:, None]) & (step < batch.length[:, None])
        highest = np.where(after, outputs[:, :, 0], -np.inf).max(axis=1)
        farthest = np.where(after, np.abs(outputs[:, :, 0]), 0.0).max(axis=1)
        is_go = batch.table["is_go"].to_numpy()
        correct = np.where(is_go, highest > self.go_above, farthest < self.nogo_below)
        return correct.astype(float), {"response": (highest > self.go_above).astype(np.int64)}
