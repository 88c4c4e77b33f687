"""Sequence generation: a known sequence of three eye movements, each to one of two targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, at_step, table_of
from cortexrnn.training.tasks.timeline import Timeline, n_steps_of

# Dots of a 3 x 3 grid, numbered by rows from the top left; every movement goes to a neighbour of the last dot.
_N_DOTS = 9
_CENTRE = 4
_SEQUENCES = (
    (5, 1, 0), (3, 1, 2), (3, 7, 8), (5, 7, 6), (5, 1, 2), (3, 1, 0), (3, 7, 6), (5, 7, 8),
)  # fmt: skip
_OPTIONS = {4: (3, 5), 5: (1, 7), 3: (1, 7), 1: (0, 2), 7: (6, 8)}
_SPACING = 0.5
_MOVEMENTS = ("first", "second", "third")


@dataclass(frozen=True, kw_only=True)
class SequenceGeneration(Task):
    """Outputs are the coordinates of the gaze; inputs are nine dots that light up and one channel a sequence.

    After a pause the central dot is lit. Then, three times, the dot last looked at is lit with two others, and the gaze
    has to go to the one that comes next in the sequence. Right is a trial in which at the end of every movement the
    gaze is nearer to the right dot than to the other one.

    Attributes
    ----------
    pause_s, fixation_s : float
        1 s each; the gaze is free during the pause.
    movement_s : float
        0.5 s for each of the three.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Averbeck & Lee (2007), J. Neurosci. 27, 2204, by PyCog's model file lee (Song, Yang & Wang 2016): its
    eight sequences, its grid from -0.5 to 0.5, inputs of 1. It trains until the error is below 0.05.
    """

    name: ClassVar[str] = "sequence generation"
    condition_columns: ClassVar[tuple[str, ...]] = ("sequence",)

    pause_s: float = 1.0
    fixation_s: float = 1.0
    movement_s: float = 0.5

    def __post_init__(self):
        Task.__post_init__(self)
        for name in ("pause_s", "fixation_s", "movement_s"):
            check_positive(name, getattr(self, name))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Dots, then sequences."""
        dots = (f"dot {k}" for k in range(_N_DOTS))
        return (*dots, *(f"sequence {k}" for k in range(len(_SEQUENCES))))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Coordinates of the gaze."""
        return ("x", "y")

    @property
    def n_steps(self) -> int:
        """Steps of every trial."""
        return sum(n_steps_of(seconds, self.dt_s) for seconds in self._epochs().values())

    @property
    def chance(self) -> float:
        """Three choices between two."""
        return 0.125

    def _epochs(self) -> dict[str, float]:
        """Rest, fixate, move three times."""
        return {
            "pause": self.pause_s, "fixation": self.fixation_s, **dict.fromkeys(_MOVEMENTS, self.movement_s),
        }  # fmt: skip

    def _compose(self, draws: Draws) -> Batch:
        """Light the dots, and ask for the gaze on the right ones."""
        sequence = draws.choose((len(_SEQUENCES),))[0]
        n = len(sequence)
        epochs = {name: np.full(n, seconds) for name, seconds in self._epochs().items()}
        timeline = Timeline(epochs, self.dt_s, self.n_steps)
        inputs = np.zeros((n, self.n_steps, self.n_inputs), dtype=np.float32)
        inputs[np.arange(n), :, _N_DOTS + sequence] = 1.0
        targets = np.zeros((n, self.n_steps, 2), dtype=np.float32)
        path = np.column_stack([np.full(n, _CENTRE), np.asarray(_SEQUENCES)[sequence]])
        fixation = timeline.inside("fixation")
        inputs[:, :, _CENTRE] += fixation
        for k, epoch in enumerate(_MOVEMENTS):
            inside = timeline.inside(epoch)
            for trial in range(n):
                lit = [path[trial, k], *_OPTIONS[int(path[trial, k])]]
                inputs[trial, :, lit] += inside[trial]
            targets += inside[:, :, None] * _position(path[:, k + 1])[:, None, :]
        mask = timeline.inside("fixation", *_MOVEMENTS).astype(np.float32)
        table = table_of(sequence=sequence, **timeline.columns())
        return Batch(inputs, targets, None, mask, timeline.length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the distances to both dots at the end of every movement."""
        sequence = batch.table["sequence"].to_numpy()
        path = np.column_stack([np.full(len(sequence), _CENTRE), np.asarray(_SEQUENCES)[sequence]])
        per_movement = n_steps_of(self.movement_s, self.dt_s)
        is_right = np.empty((len(sequence), len(_MOVEMENTS)), dtype=bool)
        for k in range(len(_MOVEMENTS)):
            gaze = at_step(outputs, batch.last - (len(_MOVEMENTS) - 1 - k) * per_movement)
            options = np.array([_OPTIONS[int(dot)] for dot in path[:, k]])
            wrong = np.where(options[:, 0] == path[:, k + 1], options[:, 1], options[:, 0])
            distance = [np.linalg.norm(gaze - _position(dots), axis=1) for dots in (path[:, k + 1], wrong)]
            is_right[:, k] = distance[0] < distance[1]
        return is_right.all(axis=1).astype(float), {"n_right_movements": is_right.sum(axis=1)}


def _position(dot: np.ndarray) -> np.ndarray:
    """Give the coordinates of dots, shape (n, 2)."""
    return np.column_stack([_SPACING * (dot % 3 - 1), _SPACING * (1 - dot // 3)]).astype(np.float32)
