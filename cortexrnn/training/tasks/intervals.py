"""Interval timing: measure the time between two flashes and reproduce it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, table_of
from cortexrnn.training.tasks.timeline import Duration, Timeline, Uniform, check_duration, longest, n_steps_of, sample

_WAIT = Uniform(0.1, 0.3)


@dataclass(frozen=True, kw_only=True)
class IntervalTiming(Task):
    """Ready, set, go: the interval between two flashes has to pass once more before the output reaches one.

    The target is zero until the second flash and then rises as ``t / interval``, past one until the end of the trial.
    The produced interval is when the output first reaches one; right is one within `tolerance` of the sample.

    Attributes
    ----------
    interval_s : tuple of float
        Eleven values from 0.494 to 0.847 s, the short ones of the experiment.
    wait_s : float or Duration
        Time before the first flash.
    flash_s : float
        Duration of either flash.
    after_s : float
        Time that the trial goes on after the right moment.
    tolerance : float
        As a fraction of the interval.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Jazayeri & Shadlen (2010), doi:10.1038/nn.2590, for the task and its intervals. The straight ramp, the flashes, the
    waiting times and the tolerance are ours.
    """

    name: ClassVar[str] = "interval timing"
    condition_columns: ClassVar[tuple[str, ...]] = ("interval_s",)

    interval_s: tuple[float, ...] = tuple(round(0.494 + 0.0353 * k, 4) for k in range(11))
    wait_s: float | Duration = _WAIT
    flash_s: float = 0.05
    after_s: float = 0.2
    tolerance: float = 0.15

    def __post_init__(self):
        Task.__post_init__(self)
        check_duration("wait_s", self.wait_s)
        check_positive("flash_s", self.flash_s)
        check_positive("after_s", self.after_s)
        if not 0.0 < self.tolerance < 1.0:
            raise OptionError(f"tolerance={self.tolerance!r} is not valid; expected between 0 and 1.")
        if not self.interval_s or not all(self.flash_s < value < float("inf") for value in self.interval_s):
            raise OptionError(f"interval_s={self.interval_s!r} is not valid; expected longer than {self.flash_s} s.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """The two flashes."""
        return ("ready", "set")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The ramp."""
        return ("ramp",)

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        parts = (longest(self.wait_s), max(self.interval_s), max(self.interval_s), self.after_s)
        return sum(n_steps_of(seconds, self.dt_s) for seconds in parts)

    @property
    def chance(self) -> float:
        """Noise reaches one at once."""
        return 0.0

    def _compose(self, draws: Draws) -> Batch:
        """Flash twice and ask for the ramp."""
        interval_s = np.asarray(self.interval_s, dtype=float)[draws.choose((len(self.interval_s),))[0]]
        n = len(interval_s)
        epochs = {
            "wait": sample(self.wait_s, draws.uniform[:, 1]),
            "sample": interval_s,
            "production": interval_s,
            "after": np.full(n, self.after_s),
        }
        timeline = Timeline(epochs, self.dt_s, self.n_steps)
        per_flash = n_steps_of(self.flash_s, self.dt_s)
        inputs = np.zeros((n, self.n_steps, 2), dtype=np.float32)
        for channel, epoch in enumerate(("sample", "production")):
            start = timeline.start[epoch]
            inputs[:, :, channel] = timeline.between(start, start + per_flash)
        start = timeline.start["production"]
        n_interval = timeline.stop["production"] - start
        # An output at step k answers the input until the end of that step.
        ramp = (np.arange(1, self.n_steps + 1) - start[:, None]) / n_interval[:, None]
        inside = timeline.inside(*epochs)
        targets = (np.maximum(ramp, 0.0) * inside).astype(np.float32)[:, :, None]
        table = table_of(interval_s=n_interval * self.dt_s, **timeline.columns())
        return Batch(inputs, targets, None, inside.astype(np.float32), timeline.length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Find when the output first reaches one after the second flash."""
        start = np.rint(batch.table["production_start_s"].to_numpy() / self.dt_s).astype(np.int64)
        step = np.arange(outputs.shape[1])
        reaches = (outputs[:, :, 0] >= 1.0) & (step >= start[:, None]) & (step < batch.length[:, None])
        produced_s = (np.argmax(reaches, axis=1) + 1 - start) * self.dt_s
        produced_s = np.where(reaches.any(axis=1), produced_s, np.nan)
        interval_s = batch.table["interval_s"].to_numpy()
        correct = np.abs(produced_s - interval_s) <= self.tolerance * interval_s
        return correct.astype(float), {"produced_s": produced_s}
