"""A task of one's own, from a function that makes one trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cortexrnn._checks import check_count
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.tasks.contract import CROSS_ENTROPY, MSE, Batch, Draws, Mode, Task
from cortexrnn.training.tasks.waves import relative_error

# Right without a judge of one's own: a root mean square error of at most this part of the target's size.
_TOLERANCE = 0.25


class Trial(NamedTuple):
    """One trial of a task of one's own.

    Attributes
    ----------
    inputs : ndarray, shape (n_steps, n_inputs)
    targets : ndarray, shape (n_steps, n_outputs), optional
        What the outputs should be, for a squared error.
    labels : ndarray of int, shape (n_steps,), optional
        Which output should be largest, for a cross entropy; exactly one of the two is given.
    mask : ndarray, shape (n_steps,), optional
        Weight of every step in the loss; left out, all count the same.
    conditions : mapping, optional
        The trial's row of the table.
    n_outputs : int, optional
        With labels: the number of outputs.
    """

    inputs: np.ndarray
    targets: np.ndarray | None = None
    labels: np.ndarray | None = None
    mask: np.ndarray | None = None
    conditions: Mapping[str, Any] = {}
    n_outputs: int | None = None


@dataclass(frozen=True, kw_only=True)
class OwnTask(Task):
    """A task made by `from_function`, which see.

    Attributes
    ----------
    function : callable
        Gives one `Trial` for a random generator and a mode.
    label : str
        Name of the task, key of its random numbers, and what a saved network knows it by.
    longest : int
        Steps of the longest trial.
    judge : callable, optional
        Tells for one trial's outputs and its `Trial` whether they are right: 1, 0, or NaN where neither.
    shape : tuple
        Numbers of inputs and outputs, and the loss; read off the first trial.
    """

    function: Callable[[np.random.Generator, str], Trial] = field(repr=False)
    label: str
    longest: int
    judge: Callable[[np.ndarray, Trial], float] | None = field(default=None, repr=False)
    shape: tuple[int, int, str] = field(init=False)

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_steps", self.longest)
        trial = self._one(stream(0, "task", self.label, "shape"), "train")
        is_labelled = trial.labels is not None
        n_outputs = trial.n_outputs if is_labelled else np.shape(trial.targets)[1]
        if is_labelled:
            check_count("n_outputs", n_outputs or 0)
        shape = (np.shape(trial.inputs)[1], int(n_outputs), CROSS_ENTROPY if is_labelled else MSE)
        object.__setattr__(self, "shape", shape)

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.label

    @property
    def loss(self) -> str:
        """Loss of the trials that the function makes."""
        return self.shape[2]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Numbered inputs."""
        return tuple(f"input {k}" for k in range(self.shape[0]))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Numbered outputs."""
        return tuple(f"output {k}" for k in range(self.shape[1]))

    @property
    def n_steps(self) -> int:
        """Steps of the longest trial."""
        return self.longest

    @property
    def chance(self) -> float:
        """Unknown."""
        return float("nan")

    def _one(self, rng: np.random.Generator, mode: str) -> Trial:
        """Call the function and check what it gives."""
        trial = self.function(rng, mode)
        if not isinstance(trial, Trial):
            raise OptionError(f"the function gave a {type(trial).__name__}; expected a Trial.", where=self.label)
        if (trial.targets is None) == (trial.labels is None):
            raise OptionError("a trial needs either targets or labels, not both.", where=self.label)
        asked = trial.targets if trial.labels is None else trial.labels
        shapes = {"inputs": np.shape(trial.inputs), "targets" if trial.labels is None else "labels": np.shape(asked)}
        if trial.mask is not None:
            shapes["mask"] = np.shape(trial.mask)
        expected = {"inputs": 2, "targets": 2, "labels": 1, "mask": 1}
        n_steps = shapes["inputs"][0] if shapes["inputs"] else 0
        for part, shape in shapes.items():
            if len(shape) != expected[part] or shape[0] != n_steps or not 0 < n_steps <= self.longest:
                raise OptionError(
                    f"{part} of a trial has shape {shape}; expected {expected[part]} axes, the first of {n_steps} "
                    f"steps as inputs have it, and at most n_steps={self.longest}.",
                    where=self.label,
                )
        return trial

    def _compose(self, draws: Draws) -> Batch:
        """Pad the trials of the function."""
        made = [
            self._one(stream(draws.seed, "task", self.label, "function", draws.mode, int(number)), draws.mode)
            for number in draws.number
        ]
        n_inputs, n_outputs, loss = self.shape
        n, n_steps = len(made), self.longest
        inputs = np.zeros((n, n_steps, n_inputs), dtype=np.float32)
        targets = np.zeros((n, n_steps, n_outputs), dtype=np.float32) if loss == MSE else None
        labels = np.zeros((n, n_steps), dtype=np.int64) if loss == CROSS_ENTROPY else None
        mask = np.zeros((n, n_steps), dtype=np.float32)
        length = np.array([len(trial.inputs) for trial in made], dtype=np.int64)
        for k, trial in enumerate(made):
            inputs[k, : length[k]] = trial.inputs
            mask[k, : length[k]] = 1.0 if trial.mask is None else trial.mask
            if targets is not None:
                targets[k, : length[k]] = trial.targets
            else:
                labels[k, : length[k]] = trial.labels
        table = pd.DataFrame([dict(trial.conditions) for trial in made], index=range(n))
        return Batch(inputs, targets, labels, mask, length, table, loss)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Ask the judge; without one, take the last step that counts, or the size of the error."""
        if self.judge is not None:
            answers = [out[:length] for out, length in zip(outputs, batch.length, strict=True)]
            return np.array([float(self.judge(out, _trial_of(batch, k))) for k, out in enumerate(answers)]), {}
        if batch.loss == MSE:
            error = relative_error(outputs, batch)
            return (error <= _TOLERANCE).astype(float), {"relative_error": error}
        last = batch.mask.shape[1] - 1 - np.argmax(batch.mask[:, ::-1] > 0.0, axis=1)
        rows = np.arange(len(last))
        response = np.argmax(outputs[rows, last], axis=1)
        return (response == batch.labels[rows, last]).astype(float), {"response": response}


def _trial_of(batch: Batch, k: int) -> Trial:
    """Cut one trial out of a batch, its inputs as the network saw them."""
    length = batch.length[k]
    return Trial(
        inputs=batch.inputs[k, :length],
        targets=None if batch.targets is None else batch.targets[k, :length],
        labels=None if batch.labels is None else batch.labels[k, :length],
        mask=batch.mask[k, :length],
        conditions=batch.table.iloc[k].to_dict(),
    )


def from_function(
    function: Callable[[np.random.Generator, Mode], Trial],
    *,
    name: str,
    n_steps: int,
    dt_s: float = 0.02,
    noise_sd: float = 0.0,
    judge: Callable[[np.ndarray, Trial], float] | None = None,
) -> OwnTask:
    """Make a task of a function that makes one trial.

    Parameters
    ----------
    function : callable
        Takes a random generator and the mode, "train" or "test", and gives a `Trial`. All that it draws must come from
        the generator; each trial gets its own.
    name : str
        Name of the task; other names get other random numbers.
    n_steps : int
        Steps of the longest trial.
    dt_s : float
        Time step in seconds.
    noise_sd : float
        Input noise, as `Task` says.
    judge : callable, optional
        Takes one trial's outputs (n_steps, n_outputs) and its `Trial`, and tells whether they are right: 1, 0, or NaN
        where neither. Left out: with labels, the largest output at the last step that counts has to be right; with
        targets, the root mean square error may be a quarter of the targets' size.

    Returns
    -------
    OwnTask

    Raises
    ------
    OptionError
        If the function gives no `Trial`, or one whose parts do not fit together.

    Examples
    --------
    Hold the side of a pulse:

    >>> import numpy as np
    >>> def hold(rng, mode):
    ...     side, onset = rng.choice([-1.0, 1.0]), rng.integers(10, 30)
    ...     inputs, targets = np.zeros((60, 1)), np.zeros((60, 1))
    ...     inputs[onset : onset + 5] = side
    ...     targets[onset + 5 :] = side
    ...     return Trial(inputs=inputs, targets=targets, conditions={"side": side})
    >>> task = from_function(hold, name="hold a pulse", n_steps=60)
    >>> task.trials(32, seed=1).inputs.shape
    (32, 60, 1)
    """
    if not callable(function):
        raise OptionError(f"function={function!r} cannot be called; expected a function that makes a Trial.")
    return OwnTask(function=function, label=str(name), longest=n_steps, dt_s=dt_s, noise_sd=noise_sd, judge=judge)
