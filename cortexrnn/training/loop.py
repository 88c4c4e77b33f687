"""Train a network on a task by backpropagation through time."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from tqdm import tqdm

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import InterruptedRunError, NumericalError
from cortexrnn.numerics.streams import stream
from cortexrnn.runs.executor import default_workers
from cortexrnn.training.adam import adam_step, init_adam
from cortexrnn.training.bptt import Trainer
from cortexrnn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cortexrnn.training.circuit_model import Trainable
from cortexrnn.training.model import Model
from cortexrnn.training.networks import Network, make_model
from cortexrnn.training.penalties import Penalties
from cortexrnn.training.trained import HISTORY, Trained, history_dataset

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """How a training goes.

    Attributes
    ----------
    max_steps : int
        Steps of the optimiser at most.
    batch_size : int
        Trials a step; tiles of 16.
    learning_rate : float
        Of Adam.
    max_norm : float
        Largest norm of the gradient that is used as it is.
    penalties : Penalties
        What is paid for beside errors.
    evaluate_every : int
        Steps from one look at the performance to the next.
    n_validation : int
        Trials of that look.
    criterion : float
        Performance, fraction correct, at which the training stops; above 1 it goes on to `max_steps`.
    folder : path, optional
        Where checkpoints are kept; a stopped training goes on from there, to the same bits.
    n_threads : int, optional
        Threads; none for every core. No number depends on it.
    shows_progress : bool
        Whether to draw a progress bar on the error stream.

    Raises
    ------
    OptionError
        If a value is out of range.
    """

    max_steps: int = 2000
    batch_size: int = 64
    learning_rate: float = 2e-3
    max_norm: float = 1.0
    penalties: Penalties = field(default_factory=Penalties)
    evaluate_every: int = 25
    n_validation: int = 256
    criterion: float = 0.9
    folder: str | os.PathLike | None = None
    n_threads: int | None = None
    shows_progress: bool = False

    def __post_init__(self):
        for name in ("max_steps", "batch_size", "evaluate_every", "n_validation"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        for name in ("learning_rate", "max_norm", "criterion"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        if self.n_threads is not None:
            object.__setattr__(self, "n_threads", check_count("n_threads", self.n_threads))


def train(
    network: Network,
    task: Task,
    *,
    seed: int = 0,
    trainable: Trainable | None = None,
    options: TrainOptions | None = None,
    dtype: type = np.float32,
) -> Trained:
    """Train a network on a task.

    Parameters
    ----------
    network : Circuit or CellNetwork
        A circuit's weights are the start, its connections and signs stay, its noise is drawn anew in every trial.
    task : Task
    seed : int
        Of trials, noise, input and read-out weights.
    trainable : Trainable, optional
        What of a circuit is trained and how weights keep their signs.
    options : TrainOptions, optional
    dtype : numpy float type

    Returns
    -------
    Trained

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If loss or gradient is not finite; the last finite parameters are in the checkpoint.
    InterruptedRunError
        If the user pressed Ctrl-C.
    """
    options = options or TrainOptions()
    model = make_model(network, task, trainable, seed=int(seed), dtype=dtype)
    run = _Run(model, task, int(seed), options)
    try:
        run.go()
    except KeyboardInterrupt as error:
        run.save()
        raise InterruptedRunError(
            f"stopped after {run.step} of {options.max_steps} steps.",
            hint="The same call goes on from here." if options.folder else "Give a folder to be able to resume.",
        ) from error
    return Trained(model=model, task=task, seed=int(seed), history=run.history())


class _Run:
    """A training under way."""

    def __init__(self, model: Model, task: Task, seed: int, options: TrainOptions):
        self.model, self.task, self.seed, self.options = model, task, seed, options
        self.step = 0
        self._rows: list[tuple[float, ...]] = []
        self._adam = init_adam(model.theta.size, model.dtype.type)
        self._trainer = Trainer(model, options.n_threads or default_workers(), options.penalties)
        self._path = Path(options.folder) / "training.safetensors" if options.folder is not None else None
        self._identity = checkpoint_identity(model, task, seed, options)
        if self._path is not None and self._path.exists():
            self._resume(load_checkpoint(self._path, self._identity))

    def go(self) -> None:
        """Take steps until the criterion is met or there are no more."""
        options = self.options
        bar = tqdm(
            total=options.max_steps, initial=self.step, disable=not options.shows_progress, leave=False, file=sys.stderr
        )
        with bar:
            if not self._rows:
                self._evaluate(np.nan, np.nan)
            while self.step < options.max_steps and not self._is_good_enough():
                loss, norm = self._take_step()
                if self.step % options.evaluate_every == 0 or self.step == options.max_steps:
                    self._evaluate(loss, norm)
                    self.save()
                    bar.set_description_str(f"loss {loss:.4g}, performance {self._rows[-1][4]:.3f}", refresh=False)
                bar.update()
        self.save()

    def save(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        if self._path is not None:
            rows = np.array(self._rows, dtype=float).reshape(-1, len(HISTORY))
            found = Checkpoint(theta=self.model.theta, adam=self._adam, step=self.step, rows=rows)
            save_checkpoint(self._path, found, self._identity)

    def history(self) -> xr.Dataset:
        """Give what was seen on the way, over the steps at which the performance was looked at."""
        return history_dataset(np.array(self._rows, dtype=float).reshape(-1, len(HISTORY)))

    def _take_step(self) -> tuple[float, float]:
        """Take one step of the optimiser; give the loss before it and the norm of the gradient."""
        options, model = self.options, self.model
        batch = self.task.trials(options.batch_size, seed=_key(self.seed, "batch", self.step))
        found = self._trainer.run(batch, noise_key=(self.seed, "training", self.step))
        if not np.isfinite(found.loss):
            raise self._broken("the loss", found.gradient)
        norm = adam_step(model.theta, found.gradient, self._adam, options.learning_rate, options.max_norm)
        if not np.isfinite(norm):
            raise self._broken("the gradient", found.gradient)
        model.project()
        self.step += 1
        return found.loss, norm

    def _evaluate(self, loss: float, norm: float) -> None:
        """Look at the performance on trials of its own."""
        batch = self.task.trials(self.options.n_validation, seed=_key(self.seed, "validation"))
        found = self._trainer.run(batch, noise_key=(self.seed, "validation"), wants_gradient=False)
        if not np.isfinite(found.loss):
            raise self._broken("the loss on held-out trials", np.zeros(0))
        performance = self.task.performance(found.outputs, batch).fraction
        self._rows.append((self.step, loss, norm, found.loss, performance))

    def _is_good_enough(self) -> bool:
        """Tell whether the last look met the criterion."""
        return bool(self._rows) and self._rows[-1][4] >= self.options.criterion

    def _resume(self, found: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.model.theta[:] = found.theta
        self._adam, self.step = found.adam, found.step
        self._rows = [tuple(row) for row in found.rows]

    def _broken(self, what: str, gradient: np.ndarray) -> NumericalError:
        """Say where a training broke."""
        parts = self.model.parts(gradient) if gradient.size else {}
        bad = [name for name, part in parts.items() if not np.isfinite(part).all()] or ["none"]
        norm = float(np.linalg.norm(gradient[np.isfinite(gradient)]))
        return NumericalError(
            f"{what} is not finite at step {self.step}; derivatives that are not: {', '.join(bad)}; norm of the others "
            f"{norm:.4g}.",
            where=self.model.name,
            hint="Lower learning_rate or max_norm, or take an activation that saturates.",
        )


def checkpoint_identity(model: Model, task: Task, seed: int, options: TrainOptions) -> dict[str, str]:
    """Say which training a checkpoint belongs to: a checkpoint of another one is refused."""
    return {
        **model.identity(),
        "task": repr(task),
        "seed": str(seed),
        "dtype": str(model.dtype),
        "optimiser": f"adam {options.learning_rate} {options.max_norm} {options.batch_size} {options.penalties}",
    }


def _key(seed: int, *key: object) -> int:
    """Give the seed of a batch."""
    return int(stream(seed, *key).integers(2**62))


