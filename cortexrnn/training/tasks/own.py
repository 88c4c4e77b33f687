"""A task of one's own, from a function that makes one trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cortexrnn._checks import check_choice, check_count
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.losses import (
    CLOGLOG,
    COUNTS,
    CROSS_ENTROPY,
    MSE,
    NEGATIVE_BINOMIAL,
    POISSON,
    trial_losses,
    wanted,
)
from cortexrnn.training.tasks.contract import Batch, Draws, Mode, Task
from cortexrnn.training.tasks.waves import relative_error

# Right without a judge of one's own: a root mean square error of at most this part of the target's size.
_TOLERANCE = 0.25


class Trial(NamedTuple):
    """One trial of a task of one's own.

    Attributes
    ----------
    inputs : ndarray, shape (n_steps, n_inputs)
    targets : ndarray, shape (n_steps, n_outputs), optional
        What the outputs should be, for a squared error, or counts, for a likelihood of counts.
    labels : ndarray of int, shape (n_steps,), optional
        Which output should be largest, for a cross entropy; exactly one of the two is given.
    mask : ndarray, shape (n_steps,), optional
        Weight of every step in the loss; left out, all count the same.
    conditions : mapping, optional
        The trial's row of the table.
    n_outputs : int, optional
        With labels: the number of outputs.
    counts : {"", "poisson", "bernoulli cloglog", "negative binomial"}
        Likelihood of targets that are counts; outputs are the logarithms of their means, and for the negative binomial
        as many again that say how little they are dispersed. Empty where targets are values.
    """

    inputs: np.ndarray
    targets: np.ndarray | None = None
    labels: np.ndarray | None = None
    mask: np.ndarray | None = None
    conditions: Mapping[str, Any] = {}
    n_outputs: int | None = None
    counts: str = ""


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
    primed_steps : int, optional
        Where the last inputs are the targets of the step before: first steps in which they are so in free running too.
    shape : tuple
        Numbers of the function's inputs, of its targets and of outputs, and the loss; read off the first trial.
    """

    function: Callable[[np.random.Generator, str], Trial] = field(repr=False)
    label: str
    longest: int
    judge: Callable[[np.ndarray, Trial], float] | None = field(default=None, repr=False)
    primed_steps: int | None = None
    shape: tuple[int, int, int, str] = field(init=False)

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_steps", self.longest)
        trial = self._one(stream(0, "task", self.label, "shape"), "train")
        is_labelled = trial.labels is not None
        n_outputs = trial.n_outputs if is_labelled else np.shape(trial.targets)[1]
        if is_labelled:
            check_count("n_outputs", n_outputs or 0)
        if is_labelled and trial.counts:
            raise OptionError(f"counts={trial.counts!r} needs targets that are counts, not labels.", where=self.label)
        check_choice("counts", trial.counts, ("", *COUNTS))
        loss = CROSS_ENTROPY if is_labelled else trial.counts or MSE
        n_predicted = 2 * n_outputs if loss == NEGATIVE_BINOMIAL else n_outputs
        object.__setattr__(self, "shape", (np.shape(trial.inputs)[1], int(n_outputs), int(n_predicted), loss))

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.label

    @property
    def loss(self) -> str:
        """Loss of the trials that the function makes."""
        return self.shape[3]

    @property
    def input_names(self) -> tuple[str, ...]:
        """Numbered inputs."""
        fed = tuple(f"target {k} before" for k in range(self.shape[1])) if self.primed_steps is not None else ()
        return tuple(f"input {k}" for k in range(self.shape[0])) + fed

    @property
    def output_names(self) -> tuple[str, ...]:
        """Numbered outputs."""
        return tuple(f"output {k}" for k in range(self.shape[2]))

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
        if trial.counts:
            most = 1.0 if trial.counts == CLOGLOG else np.inf
            values = np.asarray(trial.targets)
            if not ((values >= 0.0) & (values <= most) & (values == np.floor(values))).all():
                raise OptionError(
                    f"targets of the loss {trial.counts!r} must be whole numbers from 0 to {most:g}.", where=self.label
                )
        return trial

    def _compose(self, draws: Draws) -> Batch:
        """Pad the trials of the function."""
        made = [
            self._one(stream(draws.seed, "task", self.label, "function", draws.mode, int(number)), draws.mode)
            for number in draws.number
        ]
        n_inputs, n_targets, _, loss = self.shape
        n, n_steps = len(made), self.longest
        inputs = np.zeros((n, n_steps, n_inputs), dtype=np.float32)
        targets = np.zeros((n, n_steps, n_targets), dtype=np.float32) if loss != CROSS_ENTROPY else None
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
        batch = Batch(inputs, targets, labels, mask, length, table, loss)
        return batch if self.primed_steps is None else with_feedback(batch, n_targets, self.primed_steps)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Ask the judge; without one, take the last step that counts, the size of the error, or the likelihood."""
        if self.judge is not None:
            answers = [out[:length] for out, length in zip(outputs, batch.length, strict=True)]
            return np.array([float(self.judge(out, _trial_of(batch, k))) for k, out in enumerate(answers)]), {}
        if batch.loss == MSE:
            error = relative_error(outputs, batch)
            return (error <= _TOLERANCE).astype(float), {"relative_error": error}
        if batch.loss in COUNTS:
            loss, constant = trial_losses(batch, outputs), trial_losses(*constant_rates(batch))
            return (loss < constant).astype(float), {"loss": loss, "loss_at_mean_rate": constant}
        last = batch.mask.shape[1] - 1 - np.argmax(batch.mask[:, ::-1] > 0.0, axis=1)
        rows = np.arange(len(last))
        response = np.argmax(outputs[rows, last], axis=1)
        return (response == batch.labels[rows, last]).astype(float), {"response": response}


def with_feedback(batch: Batch, n_targets: int, n_primed: int) -> Batch:
    """Add inputs that hold the target of the step before: teacher forcing; zero before the first step.

    Parameters
    ----------
    batch : Batch
    n_targets : int
        Values a step, or classes.
    n_primed : int
        First steps that are fed the target in free running too.

    Returns
    -------
    Batch
    """
    before = np.zeros((*batch.inputs.shape[:2], n_targets), np.float32)
    before[:, 1:] = wanted(batch, n_targets)[:, :-1]
    before[np.arange(before.shape[1]) >= batch.length[:, None]] = 0.0
    inputs = np.concatenate([batch.inputs, before], axis=2)
    return batch._replace(inputs=inputs, n_fed_back=n_targets, n_primed=n_primed)


def constant_rates(batch: Batch) -> tuple[Batch, np.ndarray]:
    """Give the outputs of a Poisson process of each target's mean rate in the batch, and the batch to judge it by."""
    weight = batch.mask[:, :, None].astype(float)
    mean = (weight * batch.targets).sum(axis=(0, 1)) / weight.sum()
    outputs = np.broadcast_to(np.log(np.maximum(mean, 1e-12)), batch.targets.shape)
    return batch._replace(loss=POISSON), outputs


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
    primed_steps: int | None = None,
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
        targets, the root mean square error may be a quarter of the targets' size; with counts, a trial has to be more
        likely than under a Poisson process of the batch's mean rate.
    primed_steps : int, optional
        Given, inputs are added that hold the target of the step before (1 at its class, with labels), so that the
        network can be trained by teacher forcing or scheduled sampling; run freely it is fed its own outputs instead,
        but for so many first steps, which tell it how to go on.

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
    return OwnTask(
        function=function, label=str(name), longest=n_steps, dt_s=dt_s, noise_sd=noise_sd, judge=judge,
        primed_steps=primed_steps if primed_steps is None else check_count("primed_steps", primed_steps, at_least=0),
    )  # fmt: skip
