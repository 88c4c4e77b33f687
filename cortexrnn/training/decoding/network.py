"""A causal gated network that reads labels out of activity: its training, stopped early, and what it answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from cortexrnn.errors import NumericalError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.adam import adam_step, init_adam
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.decoding.data import Target, draw_folds
from cortexrnn.training.decoding.result import NetworkDecoder
from cortexrnn.training.decoding.scores import CLASSES
from cortexrnn.training.losses import CROSS_ENTROPY, MSE
from cortexrnn.training.model import Asked
from cortexrnn.training.penalties import Penalties
from cortexrnn.training.tasks.contract import Batch

# Gradients of a larger norm are scaled down to it.
_MAX_NORM = 1.0
# One training trial in so many, and at least one, stops the training.
_N_PARTS = 5
_FLOAT = np.float32
# Nothing is drawn: there is neither noise nor dropout.
_STEP = Sweep(noise_key=(0, "decoding"))
_LOOK = Sweep(noise_key=(0, "decoding"), wants_gradient=False)


class Lesson(NamedTuple):
    """Trials with their labels.

    Attributes
    ----------
    values : ndarray, shape (n_trials, n_times, n_features)
    known : ndarray of bool, shape (n_trials, n_times)
        Where there are activity and label.
    truth : ndarray, shape (n_trials,) or (n_trials, n_times)
        Number of the class, or the value.
    groups : ndarray of int, shape (n_trials,), or None
    """

    values: np.ndarray
    known: np.ndarray
    truth: np.ndarray
    groups: np.ndarray | None

    def take(self, trials: np.ndarray) -> Lesson:
        """Give some of the trials."""
        groups = None if self.groups is None else self.groups[trials]
        return Lesson(self.values[trials], self.known[trials], self.truth[trials], groups)


class Scale(NamedTuple):
    """How activity and values are standardised, measured on training trials.

    Attributes
    ----------
    mean : ndarray, shape (n_times, n_features)
        Of activity at every time, over trials.
    spread : ndarray, shape (n_features,)
        Standard deviation about that mean, infinite for a feature that is the same in all trials at every time.
    centre, size : float
        Mean and standard deviation of the values; 0 and 1 for classes.
    """

    mean: np.ndarray
    spread: np.ndarray
    centre: float
    size: float

    def inputs(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Give what a network is shown: standardised activity, 0 where there is none."""
        scaled = (np.where(known[:, :, None], values, self.mean) - self.mean) / self.spread
        return scaled.astype(_FLOAT)


class TrainedDecoder(NamedTuple):
    """A network that reads labels.

    Attributes
    ----------
    model : CellModel
    scale : Scale
    kind : {"classes", "values"}
    n_epochs : int
        Epoch whose weights were kept; 0 for the start, which knows the shares of the classes or the mean value.
    validation_loss : ndarray, shape (n_epochs + 1,)
        On the trials that stopped the training, from the start on.
    """

    model: CellModel
    scale: Scale
    kind: str
    n_epochs: int
    validation_loss: np.ndarray

    def answer(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Answer trials at every time from what was seen up to then.

        Parameters
        ----------
        values : ndarray, shape (n_trials, n_times, n_features)
        known : ndarray of bool, shape (n_trials, n_times)
            Where there is activity.

        Returns
        -------
        ndarray of float64, shape (n_trials, n_times, n_answers)
            Probabilities of all classes, or the value.
        """
        inputs = self.scale.inputs(values, known)
        batch = _batch(inputs, np.ones(known.shape, bool), np.zeros(known.shape), self.kind)
        outputs = Trainer(self.model, 1).run(batch, _LOOK).outputs.astype(float)
        if self.kind != CLASSES:
            return self.scale.centre + self.scale.size * outputs
        odds = np.exp(outputs - outputs.max(axis=2, keepdims=True))
        return odds / odds.sum(axis=2, keepdims=True)


def train_decoder(spec: NetworkDecoder, target: Target, lesson: Lesson, seed: int, key: tuple) -> TrainedDecoder:
    """Train a network on four fifths of some trials and stop by the last fifth.

    Parameters
    ----------
    spec : NetworkDecoder
    target : Target
        Says what labels are.
    lesson : Lesson
        Training trials.
    seed : int
        The user's.
    key : tuple
        What weights and the trials that stop the training are drawn for.

    Returns
    -------
    TrainedDecoder

    Raises
    ------
    NumericalError
        If the gradient of an epoch is not finite.
    """
    rng = stream(seed, "decoding", "network", *key)
    is_validation = _validation(target, lesson, rng)
    scale = _measure(lesson, target.kind)
    model = _start(spec, target, lesson, rng)
    batches = [_lay_out(lesson.take(part), scale, target.kind) for part in (~is_validation, is_validation)]
    losses, best = _stop_early(spec, model, *batches)
    model.theta[:] = best
    return TrainedDecoder(model, scale, target.kind, int(np.argmin(losses)), losses)


def _stop_early(
    spec: NetworkDecoder, model: CellModel, training: Batch, validation: Batch
) -> tuple[np.ndarray, np.ndarray]:
    """Take steps until the validation trials no longer gain; gives their losses and the best parameters."""
    trainer = Trainer(model, 1, Penalties(l2_weights=spec.l2_weights))
    looker = Trainer(model, 1)
    state = init_adam(model.theta.size, model.dtype.type)
    losses, best, n_waited = [looker.run(validation, _LOOK).loss], model.theta.copy(), 0
    while len(losses) <= spec.max_epochs and n_waited < spec.patience:
        gradient = trainer.run(training, _STEP).gradient
        if not np.isfinite(adam_step(model.theta, gradient, state, spec.learning_rate, _MAX_NORM)):
            raise NumericalError(
                f"the gradient of epoch {len(losses)} is not finite.", hint="Use a smaller learning_rate."
            )
        losses.append(looker.run(validation, _LOOK).loss)
        n_waited += 1
        if losses[-1] < min(losses[:-1]):
            best, n_waited = model.theta.copy(), 0
    return np.array(losses), best


def _start(spec: NetworkDecoder, target: Target, lesson: Lesson, rng: np.random.Generator) -> CellModel:
    """Give a network that answers the shares of the classes, or the mean value, whatever it sees."""
    n_answers = max(1, len(target.classes))
    asked = Asked(lesson.values.shape[2], n_answers)
    cells = CellNetwork(kind="gru", n_hidden=spec.n_hidden)
    model = CellModel(cells, asked, seed=int(rng.integers(2**31)), dtype=_FLOAT)
    parts = model.parts(model.theta)
    parts["readout"][:] = 0.0
    if target.kind == CLASSES:
        # Shuffles leave every fold its labels, so no class is absent from the training trials.
        parts["readout_bias"][:] = np.log(np.bincount(lesson.truth, minlength=n_answers) / lesson.truth.size)
    return model


def _validation(target: Target, lesson: Lesson, rng: np.random.Generator) -> np.ndarray:
    """Choose the trials that stop the training: some of every class or range, or whole groups."""
    n_trials = len(lesson.values)
    if lesson.groups is not None:
        names, codes = np.unique(lesson.groups, return_inverse=True)
        chosen = rng.permutation(names.size)[: max(1, names.size // _N_PARTS)]
        return np.isin(codes, chosen)
    part = draw_folds(target._replace(truth=lesson.truth), None, min(_N_PARTS, n_trials), int(rng.integers(2**31)))
    return part == 0


def _measure(lesson: Lesson, kind: str) -> Scale:
    """Measure mean and spread of activity and values."""
    known = lesson.known[:, :, None]
    n = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, lesson.values, 0.0)
    mean = values.sum(axis=0) / n
    centred = np.where(known, lesson.values - mean, 0.0)
    sd = np.sqrt((centred**2).sum(axis=(0, 1)) / max(1, known.sum()))
    # The round-off of a mean gives a constant feature a deviation; it must not be blown up to one.
    is_constant = sd <= known.size * np.finfo(float).eps * np.abs(mean).max(axis=0)
    spread = np.where(is_constant, np.inf, sd)
    if kind == CLASSES:
        return Scale(mean, spread, 0.0, 1.0)
    truth = _over_time(lesson.truth, lesson.known.shape)[lesson.known]
    return Scale(mean, spread, float(truth.mean()), float(truth.std()) or 1.0)


def _lay_out(lesson: Lesson, scale: Scale, kind: str) -> Batch:
    """Give trials as the engine takes them; every step with activity and label counts the same."""
    truth = _over_time(lesson.truth, lesson.known.shape)
    if kind != CLASSES:
        truth = (np.where(lesson.known, truth, scale.centre) - scale.centre) / scale.size
    return _batch(scale.inputs(lesson.values, lesson.known), lesson.known, truth, kind)


def _batch(inputs: np.ndarray, known: np.ndarray, truth: np.ndarray, kind: str) -> Batch:
    """Give inputs and labels, (n_trials, n_times), as a batch."""
    n_trials, n_times = known.shape
    is_labelled = kind == CLASSES
    return Batch(
        inputs=inputs,
        targets=None if is_labelled else truth[:, :, None].astype(_FLOAT),
        labels=truth.astype(np.int64) if is_labelled else None,
        mask=known.astype(_FLOAT),
        length=np.full(n_trials, n_times, np.int64),
        table=pd.DataFrame(index=range(n_trials)),
        loss=CROSS_ENTROPY if is_labelled else MSE,
    )


def _over_time(truth: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Give the label of every trial at every time."""
    return truth if truth.ndim == 2 else np.repeat(truth[:, None], shape[1], axis=1)
