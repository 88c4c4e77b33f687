"""Gradients of single trials: what each trial of a task would have of the parameters.

A network that is fed back its output is fed its own, as when its performance is looked at.
"""

from __future__ import annotations

import numpy as np

from cortexrnn._checks import check_choice
from cortexrnn.numerics.streams import stream
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.losses import CROSS_ENTROPY, MSE
from cortexrnn.training.model import Model
from cortexrnn.training.tasks.contract import Batch


def loss_gradients(model: Model, batch: Batch, *, seed: int = 0) -> np.ndarray:
    """Give the gradient of every trial's own loss, the mean over its steps with the weights of its mask.

    Their squares average to the diagonal of the empirical Fisher information, which vanishes with the errors: what a
    task without errors needs is no longer seen in them (Kunstner, Hennig & Balles 2019, arXiv:1905.12558).

    Parameters
    ----------
    model : Model
    batch : Batch
        Trials of a task.
    seed : int
        Of the noise within the network, drawn anew for every trial.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_parameters)
        Zero for parameters that are not trained.
    """
    trainer = Trainer(model, 1)
    rows = np.zeros((len(batch.inputs), model.theta.size))
    for k in range(len(rows)):
        rows[k] = trainer.run(_trial(batch, k), Sweep(noise_key=(seed, "trial gradient", k), own=1.0)).gradient
    return rows


def answer_gradients(model: Model, batch: Batch, *, seed: int = 0) -> np.ndarray:
    """Give the gradient of every trial's loss against answers drawn from what the network itself predicts.

    Their outer products average to the Fisher information of the network's answers, which is the Gauss-Newton part
    of the loss's Hessian; the task's targets play no part in it. Every row is a random combination of the gradients
    of one trial's outputs.

    Parameters
    ----------
    model : Model
    batch : Batch
        Trials of a task with a squared error or a cross entropy.
    seed : int
        Of the drawn answers, and of the noise within the network.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_parameters)
        Zero for parameters that are not trained.

    Raises
    ------
    OptionError
        If the task has another loss.

    Notes
    -----
    A squared error, the mean of ``(z - target)^2`` over K outputs, is a Gaussian's negative log-probability with
    variance ``K / 2`` but for a constant. Steps are weighted by the root of the mask's share instead of the share
    itself, because products of two rows bring it in twice.
    """
    check_choice("loss", batch.loss, (MSE, CROSS_ENTROPY))
    trainer = Trainer(model, 1)
    rows = np.zeros((len(batch.inputs), model.theta.size))
    for k in range(len(rows)):
        trial, key = _trial(batch, k), (seed, "trial gradient", k)
        outputs = trainer.run(trial, Sweep(noise_key=key, wants_gradient=False, own=1.0)).outputs.astype(float)
        weight = np.sqrt(trial.mask / trial.mask.sum(dtype=float))
        drawn = _draw_answers(trial, outputs, stream(seed, "drawn answers", k))._replace(mask=weight)
        # The trainer divides a mask by its sum.
        rows[k] = trainer.run(drawn, Sweep(noise_key=key, own=1.0)).gradient
        rows[k] *= weight.sum()
    return rows


def _draw_answers(trial: Batch, outputs: np.ndarray, rng: np.random.Generator) -> Batch:
    """Put answers that the network gives with the probability that it assigns to them in the place of the task's."""
    if trial.loss == MSE:
        spread = np.sqrt(0.5 * outputs.shape[2])
        return trial._replace(targets=outputs + spread * rng.standard_normal(outputs.shape))
    # The largest of outputs plus Gumbel noise is distributed as their softmax.
    return trial._replace(labels=np.argmax(outputs + rng.gumbel(size=outputs.shape), axis=2))


def _trial(batch: Batch, k: int) -> Batch:
    """Give trial k as a batch of one."""
    return Batch(*(part[k : k + 1] if hasattr(part, "shape") else part for part in batch))
