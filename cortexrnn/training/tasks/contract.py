"""What a task is: trials drawn from a seed, and a judge of what a network answers."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.losses import MSE, trial_losses

TRAIN = "train"
TEST = "test"
Mode = Literal["train", "test"]


class Batch(NamedTuple):
    """Trials, padded behind their ends to a common number of time steps.

    Attributes
    ----------
    inputs : ndarray of float32, shape (n_trials, n_steps, n_inputs)
        Zero past a trial's end.
    targets : ndarray of float32, shape (n_trials, n_steps, n_outputs), or None
        What the outputs should be, where the loss is a squared error, or the counts whose likelihood it is.
    labels : ndarray of int64, shape (n_trials, n_steps), or None
        Which output should be largest, where the loss is a cross entropy.
    mask : ndarray of float32, shape (n_trials, n_steps)
        Weight of every step in the loss; 0 past a trial's end.
    length : ndarray of int64, shape (n_trials,)
        Steps of every trial.
    table : pandas.DataFrame
        One row a trial: its conditions and the times of its events; the index is the number of the trial.
    loss : {"mse", "cross entropy", "poisson", "bernoulli cloglog", "negative binomial"}
        See `cortexrnn.training.losses`.
    n_fed_back : int
        Last inputs that hold the target of the step before: 1 at its class where the loss is a cross entropy. 0 where
        nothing is fed back.
    n_primed : int
        First steps in which that is the target in free running too.
    """

    inputs: np.ndarray
    targets: np.ndarray | None
    labels: np.ndarray | None
    mask: np.ndarray
    length: np.ndarray
    table: pd.DataFrame
    loss: str
    n_fed_back: int = 0
    n_primed: int = 0

    @property
    def last(self) -> np.ndarray:
        """Last step of every trial, shape (n_trials,)."""
        return self.length - 1


class Performance(NamedTuple):
    """How a network did.

    Attributes
    ----------
    correct : ndarray of float, shape (n_trials,)
        1 for right, 0 for wrong, NaN where no answer is right or wrong (catch trials, zero coherence).
    fraction : float
        Mean of `correct` over the trials where it is defined; NaN if there are none.
    error : float
        The loss: mean over trials, steps and outputs with the weights of the mask.
    trials : pandas.DataFrame
        The batch's table with what the network did beside it: ``correct``, and columns such as ``response``,
        ``reaction_time_s`` or ``error_rad`` that the task names.
    """

    correct: np.ndarray
    fraction: float
    error: float
    trials: pd.DataFrame

    def worst(self, by: Sequence[str]) -> float:
        """Give the fraction correct in the worst condition.

        Parameters
        ----------
        by : sequence of str
            Columns of `trials` that make up a condition.

        Returns
        -------
        float
            NaN where nothing is defined.
        """
        defined = self.trials.dropna(subset="correct")
        if defined.empty:
            return float("nan")
        return float(defined.groupby(list(by))["correct"].mean().min())


class Draws(NamedTuple):
    """The random numbers that make trials what they are, before any noise.

    Attributes
    ----------
    uniform : ndarray, shape (n_trials, n_draws)
        Between 0 and 1.
    number : ndarray of int64, shape (n_trials,)
        Numbers of the trials.
    mode : {"train", "test"}
    seed : int
        The user's seed.
    """

    uniform: np.ndarray
    number: np.ndarray
    mode: str
    seed: int

    def choose(self, sizes: Sequence[int]) -> list[np.ndarray]:
        """Give a level of every factor: drawn in training, in test all combinations in turn.

        Parameters
        ----------
        sizes : sequence of int
            Number of levels of each factor; factor k takes draw k.

        Returns
        -------
        list of ndarray of int64, shape (n_trials,)
        """
        if self.mode == TEST:
            turn = np.unravel_index(self.number % int(np.prod(sizes)), tuple(sizes))
            return [np.asarray(levels, dtype=np.int64) for levels in turn]
        return [self.index(k, size) for k, size in enumerate(sizes)]

    def index(self, draw: int, size: int | np.ndarray) -> np.ndarray:
        """Give an index below `size` from one draw, in both modes."""
        return np.floor(self.uniform[:, draw] * size).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class Task(abc.ABC):
    """A task: trials from a seed, and a judge.

    Input noise is white: independent in every step and input, and scaled so that a leaky unit with the time constant
    `noise_tau_s` that receives it, integrated exactly, fluctuates by `noise_sd` at any time step.

    Attributes
    ----------
    dt_s : float
        Time step in seconds; 20 ms is a fifth of the time constant of Song, Yang & Wang (2016), table 1.
    noise_sd : float
        What a leaky unit makes of the input noise, see above; 0.01 in Song et al. (2016), table 1.
    noise_tau_s : float
        Time constant of that unit in seconds; 0.1 there.

    Raises
    ------
    OptionError
        If a number is not valid.

    Notes
    -----
    The noise of one step has variance ``noise_sd^2 coth(dt / (2 noise_tau))``, which for small steps is the
    ``2 tau / dt`` of Song et al. (2016), Masse et al. (2019) and Yang et al. (2019). They cut inputs at zero; here
    negative inputs stay, because the cut shifts the mean by an amount that depends on the time step.

    A task is a function of its random numbers: those of trial k come from the block k of the counter of
    ``stream(seed, "task", name, mode)``, conditions first and noise after. Trial k is the same whatever is drawn beside
    it, its conditions are the same at every time step, and no trial of a test was ever one of the training.
    """

    name: ClassVar[str]
    loss: ClassVar[str] = MSE
    stimulus_column: ClassVar[str | None] = None
    """Column of the table that the psychometric curve goes over, where there is one."""
    group_column: ClassVar[str | None] = None
    """Column of the table with one psychometric curve for each of its values, where there is one."""
    condition_columns: ClassVar[tuple[str, ...]] = ()
    """Columns that make up a condition."""

    dt_s: float = 0.02
    noise_sd: float = 0.01
    noise_tau_s: float = 0.1

    def __post_init__(self):
        check_positive("dt_s", self.dt_s)
        check_positive("noise_tau_s", self.noise_tau_s)
        if not 0.0 <= self.noise_sd < float("inf"):
            raise OptionError(f"noise_sd={self.noise_sd!r} is not valid; expected a number of at least 0.")

    @property
    @abc.abstractmethod
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs in their order."""

    @property
    @abc.abstractmethod
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs in their order."""

    @property
    @abc.abstractmethod
    def n_steps(self) -> int:
        """Steps of the longest trial."""

    @property
    @abc.abstractmethod
    def chance(self) -> float:
        """Fraction correct of answers that know nothing of the trial."""

    @property
    def n_draws(self) -> int:
        """Uniform numbers that decide what a trial is."""
        return 8

    @property
    def n_inputs(self) -> int:
        """Number of inputs."""
        return len(self.input_names)

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return len(self.output_names)

    @property
    def step_noise_sd(self) -> float:
        """Standard deviation of the input noise of one step."""
        return float(self.noise_sd / np.sqrt(np.tanh(0.5 * self.dt_s / self.noise_tau_s)))

    def trials(self, n: int, *, seed: int, mode: Mode = TRAIN, first: int = 0) -> Batch:
        """Make trials.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            The user's seed.
        mode : {"train", "test"}
            In training conditions are drawn, with catch trials among them; in a test they come in turn, each equally
            often, and there are no catch trials. The two never share a trial.
        first : int
            Number of the first trial: batch k of training takes ``first=k * n``.

        Returns
        -------
        Batch

        Raises
        ------
        OptionError
            If an argument is not valid.
        """
        n, first = check_count("n", n), check_count("first", first, at_least=0)
        seed = check_count("seed", seed, at_least=0)
        draws, noise = self._draw(n, seed, check_choice("mode", mode, (TRAIN, TEST)), first)
        batch = self._compose(draws)
        if noise is not None:
            inside = np.arange(self.n_steps) < batch.length[:, None]
            noise *= np.float32(self.step_noise_sd)
            noise *= inside[:, :, None]
            batch = batch._replace(inputs=batch.inputs + noise)
        return batch._replace(table=batch.table.set_axis(pd.RangeIndex(first, first + n, name="trial")))

    def performance(self, outputs: np.ndarray, batch: Batch) -> Performance:
        """Judge what a network answered.

        Parameters
        ----------
        outputs : ndarray, shape (n_trials, n_steps, n_outputs)
            The network's outputs, without softmax where the loss is a cross entropy.
        batch : Batch
            What it was asked, from `trials`.

        Returns
        -------
        Performance

        Raises
        ------
        OptionError
            If the outputs have another shape.
        NumericalError
            If an output within a trial is not finite.
        """
        outputs = np.asarray(outputs)
        expected = (*batch.inputs.shape[:2], self.n_outputs)
        if outputs.shape != expected:
            raise OptionError(f"outputs has shape {outputs.shape}; expected {expected} (trial, step, output).")
        inside = np.arange(expected[1]) < batch.length[:, None]
        if not np.isfinite(outputs[inside]).all():
            trial, step, output = np.argwhere(~np.isfinite(outputs) & inside[:, :, None])[0]
            raise NumericalError(
                f"outputs holds {outputs[trial, step, output]} at trial {trial}, step {step}, output {output}.",
                hint="The network left the finite numbers; train with a smaller step or a clipped gradient.",
            )
        correct, responses = self._judge(outputs, batch)
        defined = correct[~np.isnan(correct)]
        return Performance(
            correct=correct,
            fraction=float(defined.mean()) if defined.size else float("nan"),
            error=float(trial_losses(batch, outputs).sum() / batch.mask.sum(dtype=float)),
            trials=batch.table.assign(correct=correct, **responses),
        )

    @abc.abstractmethod
    def _compose(self, draws: Draws) -> Batch:
        """Make noiseless trials out of their random numbers."""

    @abc.abstractmethod
    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Give `correct` of every trial and columns that say what the network did."""

    def _draw(self, n: int, seed: int, mode: str, first: int) -> tuple[Draws, np.ndarray | None]:
        """Draw conditions and standard normal noise, trial by trial, each from its own block of the counter."""
        key = stream(seed, "task", self.name, mode).bit_generator.state["state"]["key"]
        uniform = np.empty((n, self.n_draws))
        noise = np.empty((n, self.n_steps, self.n_inputs), dtype=np.float32) if self.noise_sd > 0.0 else None
        for k in range(n):
            # The third word of Philox's counter: 2^128 numbers lie between one trial and the next.
            rng = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, first + k, 0]))
            rng.random(out=uniform[k])
            if noise is not None:
                rng.standard_normal(out=noise[k], dtype=np.float32)
        return Draws(uniform, np.arange(first, first + n), mode, seed), noise


def at_step(outputs: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Give every trial's outputs at one step of its own, shape (n_trials, n_outputs)."""
    return outputs[np.arange(len(outputs)), step]


def table_of(**columns: np.ndarray) -> pd.DataFrame:
    """Make a trial table of columns."""
    return pd.DataFrame(columns)
