"""Train a network on a task by backpropagation through time."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import xarray as xr
from tqdm import tqdm

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import DataError, InterruptedRunError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.runs.executor import default_workers
from cortexrnn.training.bptt import Gradient, Sweep, Trainer
from cortexrnn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cortexrnn.training.circuit_model import Trainable
from cortexrnn.training.model import Model
from cortexrnn.training.networks import Network, go_on_from, make_model
from cortexrnn.training.optimisers import OPTIMISERS, Schedule, take_step
from cortexrnn.training.penalties import Penalties
from cortexrnn.training.trained import HISTORY, Trained, history_dataset

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch, Task


class Keeper(Protocol):
    """What keeps a training from undoing an earlier one; see `cortexrnn.training.continual`."""

    def penalty(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Give a term of the loss and its gradient, shape (n_parameters,)."""

    def step(self, change: np.ndarray) -> np.ndarray:
        """Give what is left of a change of the parameters, shape (n_parameters,)."""

    def identity(self) -> str:
        """Say what it keeps; a checkpoint of a training that kept something else is refused."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """How a training goes.

    Attributes
    ----------
    max_steps : int
        Steps of the optimiser at most.
    batch_size : int
        Trials a step; tiles of 16.
    optimiser : {"adam", "sgd", "l-bfgs"}
        "l-bfgs" is for one batch of trials that stays the same; it begins anew at every look at the performance.
    learning_rate, momentum : float
        The rate of Adam or of gradient descent, and the momentum of the latter.
    schedule : Schedule
        How the learning rate goes.
    max_norm : float
        Largest norm of the gradient that is used as it is; not for "l-bfgs".
    dropout : float
        Share of units that are silent to the others through a whole trial, in training only (variational dropout).
    sampling, sampling_steps : float and int
        Probability that a step is fed the network's own output, where the task feeds back the target, and the steps
        of the optimiser over which it rises to that from 0: 0 is teacher forcing, 1 free running.
    segment_steps : int
        Time steps whose states are kept at a time (gradient checkpointing); 0 keeps whole trials.
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
    optimiser: str = "adam"
    learning_rate: float = 2e-3
    momentum: float = 0.9
    schedule: Schedule = field(default_factory=Schedule)
    max_norm: float = 1.0
    dropout: float = 0.0
    sampling: float = 0.0
    sampling_steps: int = 0
    segment_steps: int = 0
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
        for name in ("sampling_steps", "segment_steps"):
            object.__setattr__(self, name, check_count(name, getattr(self, name), at_least=0))
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        for name, most in (("dropout", "below 1"), ("momentum", "below 1"), ("sampling", "at most 1")):
            value = getattr(self, name)
            if not (0.0 <= value <= 1.0) or (value == 1.0 and most == "below 1"):
                raise OptionError(f"{name}={value!r} is not valid; expected a number of at least 0 and {most}.")
        if self.n_threads is not None:
            object.__setattr__(self, "n_threads", check_count("n_threads", self.n_threads))


def train(
    network: Network | Trained,
    task: Task,
    *,
    seed: int = 0,
    trainable: Trainable | None = None,
    options: TrainOptions | None = None,
    keeps: Keeper | None = None,
    dtype: type = np.float32,
) -> Trained:
    """Train a network on a task.

    Parameters
    ----------
    network : Circuit, CellNetwork or Trained
        A circuit's weights are the start, its connections and signs stay, its noise is drawn anew in every trial.
        A trained network goes on from its parameters, in its precision and with what of it was trained.
    task : Task
    seed : int
        Of trials, noise, input and read-out weights.
    trainable : Trainable, optional
        What of a circuit is trained and how weights keep their signs.
    options : TrainOptions, optional
    keeps : Keeper, optional
        What must not be unlearned: `cortexrnn.training.continual`.
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
    if isinstance(network, Trained):
        if trainable is not None:
            raise OptionError("trainable was settled when the network was first trained: leave it out.")
        model = go_on_from(network.model, task, network.model.name)
    else:
        model = make_model(network, task, trainable, seed=int(seed), dtype=dtype)
    before = model.theta.copy()
    run = _Run(model, task, int(seed), options, keeps)
    try:
        run.go()
    except KeyboardInterrupt as error:
        # A step may be half done: what was saved at the last look at the performance is whole.
        hint = f"The same call goes on from step {run.saved_step}." if options.folder else "Give a folder to resume."
        raise InterruptedRunError(f"stopped after {run.step} of {options.max_steps} steps.", hint=hint) from error
    return Trained(model=model, task=task, seed=int(seed), history=run.history(), theta_before=before)


class _Run:
    """A training under way."""

    def __init__(self, model: Model, task: Task, seed: int, options: TrainOptions, keeps: Keeper | None):
        self.model, self.task, self.seed, self.options, self.keeps = model, task, seed, options, keeps
        self.step = self.saved_step = 0
        self._rows: list[tuple[float, ...]] = []
        self._state = OPTIMISERS[options.optimiser](model.theta.size, model.dtype.type)
        self._is_stuck = False
        threads = options.n_threads or default_workers()
        self._trainer = Trainer(model, threads, options.penalties, options.segment_steps)
        self._path = Path(options.folder) / "training.safetensors" if options.folder is not None else None
        self._identity = checkpoint_identity(model, task, seed, options, keeps)
        if self._path is not None and self._path.exists():
            self._resume(load_checkpoint(self._path, self._identity, type(self._state)))

    def go(self) -> None:
        """Take steps until the criterion is met or there are no more."""
        options = self.options
        bar = tqdm(
            total=options.max_steps, initial=self.step, disable=not options.shows_progress, leave=False, file=sys.stderr
        )
        with bar:
            if not self._rows:
                self._evaluate(np.nan, np.nan)
            take = self._take_round if options.optimiser == "l-bfgs" else self._take_step
            while self.step < options.max_steps and not self._is_good_enough() and not self._is_stuck:
                begun = self.step
                loss, norm = take()
                is_round = self.step - begun != 1
                if is_round or self.step % options.evaluate_every == 0 or self.step == options.max_steps:
                    self._evaluate(loss, norm)
                    self.save()
                    bar.set_description_str(f"loss {loss:.4g}, performance {self._rows[-1][4]:.3f}", refresh=False)
                bar.update(self.step - begun)
        self.save()

    def save(self) -> None:
        """Write a checkpoint, where there is a folder for it."""
        if self._path is not None:
            rows = np.array(self._rows, dtype=float).reshape(-1, len(HISTORY))
            found = Checkpoint(theta=self.model.theta, state=self._state, step=self.step, rows=rows)
            save_checkpoint(self._path, found, self._identity)
            self.saved_step = self.step

    def history(self) -> xr.Dataset:
        """Give what was seen on the way, over the steps at which the performance was looked at."""
        return history_dataset(np.array(self._rows, dtype=float).reshape(-1, len(HISTORY)))

    def _take_step(self) -> tuple[float, float]:
        """Take one step of the optimiser; give the loss before it and the norm of the gradient."""
        options, model = self.options, self.model
        batch = self.task.trials(options.batch_size, seed=_key(self.seed, "batch", self.step))
        found = self._sweep(batch, self.step)
        before = model.theta.copy()
        rate = options.learning_rate * options.schedule.factor(self.step, options.max_steps)
        norm = take_step(
            model.theta, found.gradient, self._state, learning_rate=rate, max_norm=options.max_norm,
            momentum=options.momentum,
        )  # fmt: skip
        if not np.isfinite(norm):
            raise self._broken("the gradient", found.gradient)
        self._settle(before)
        self.step += 1
        return found.loss, norm

    def _take_round(self) -> tuple[float, float]:
        """Take the steps of L-BFGS up to the next look, all on one batch with the same noise."""
        # SciPy's optimisers take longer to load than a small network to train.
        from scipy.optimize import minimize

        options, model = self.options, self.model
        batch = self.task.trials(options.batch_size, seed=_key(self.seed, "batch", 0))
        before = model.theta.copy()

        def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
            model.theta[:] = theta
            found = self._sweep(batch, 0)
            return found.loss, found.gradient.astype(float)

        n_steps = min(options.evaluate_every, options.max_steps - self.step)
        found = minimize(value, before.astype(float), jac=True, method="L-BFGS-B", options={"maxiter": n_steps})
        model.theta[:] = found.x
        self._settle(before)
        # A round without a step would be followed by the same round.
        self._is_stuck = found.nit == 0
        self.step += int(found.nit)
        return float(found.fun), float(np.linalg.norm(found.jac))

    def _sweep(self, batch: Batch, number: int) -> Gradient:
        """Give loss and gradient of a batch, with what the keeper adds."""
        options = self.options
        rise = min(1.0, (number + 1) / options.sampling_steps) if options.sampling_steps else 1.0
        key = (self.seed, "training", number)
        found = self._trainer.run(batch, Sweep(noise_key=key, dropout=options.dropout, own=options.sampling * rise))
        if self.keeps is not None:
            loss, by_theta = self.keeps.penalty(self.model.theta)
            gradient = found.gradient + np.where(self.model.moves, by_theta, 0.0).astype(self.model.dtype)
            found = found._replace(loss=found.loss + loss, gradient=gradient)
        if not np.isfinite(found.loss):
            raise self._broken("the loss", found.gradient)
        return found

    def _settle(self, before: np.ndarray) -> None:
        """Bring the parameters to where they may be after a change."""
        theta = self.model.theta
        if self.keeps is not None:
            theta[:] = before + self.keeps.step(theta - before)
        self.model.project()

    def _evaluate(self, loss: float, norm: float) -> None:
        """Look at the performance on trials of its own."""
        batch = self.task.trials(self.options.n_validation, seed=_key(self.seed, "validation"))
        # A network that is fed its own outputs is judged by what it does alone.
        sweep = Sweep(noise_key=(self.seed, "validation"), wants_gradient=False, own=1.0)
        found = self._trainer.run(batch, sweep)
        if not np.isfinite(found.loss):
            raise self._broken("the loss on held-out trials", np.zeros(0))
        performance = self.task.performance(found.outputs, batch).fraction
        self._rows.append((self.step, loss, norm, found.loss, performance))

    def _is_good_enough(self) -> bool:
        """Tell whether the last look met the criterion."""
        return bool(self._rows) and self._rows[-1][4] >= self.options.criterion

    def _resume(self, found: Checkpoint) -> None:
        """Go on from a checkpoint whose arrays are those of this training."""
        arrays = [(found.theta, self.model.theta), *zip(found.state, self._state, strict=True)]
        is_fitting = all((new.shape, new.dtype) == (old.shape, old.dtype) for new, old in arrays)
        if not is_fitting or found.rows.shape[1] != len(HISTORY):
            raise DataError(
                "the arrays of the checkpoint have other shapes or types than those of this training.",
                where=str(self._path),
                hint="The file is damaged: delete it and train again.",
            )
        self.model.theta[:] = found.theta
        self._state, self.step = found.state, found.step
        self.saved_step = found.step
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


def checkpoint_identity(
    model: Model, task: Task, seed: int, options: TrainOptions, keeps: Keeper | None
) -> dict[str, str]:
    """Say which training a checkpoint belongs to: a checkpoint of another one is refused."""
    free = ("max_steps", "evaluate_every", "n_validation", "criterion", "folder", "n_threads", "shows_progress")
    settings = {entry.name: getattr(options, entry.name) for entry in fields(options) if entry.name not in free}
    # A learning rate may know how long the training is to last; a round of L-BFGS ends where it is looked at.
    is_open = options.schedule.shape == "constant" and options.optimiser != "l-bfgs"
    lasts = {} if is_open else {"max_steps": options.max_steps, "evaluate_every": options.evaluate_every}
    return {
        **model.identity(),
        "start": hashlib.sha256(model.theta.tobytes()).hexdigest(),
        "task": repr(task),
        "seed": str(seed),
        "dtype": str(model.dtype),
        "options": repr(settings | lasts),
        "keeps": "" if keeps is None else keeps.identity(),
    }


def _key(seed: int, *key: object) -> int:
    """Give the seed of a batch."""
    return int(stream(seed, *key).integers(2**62))


