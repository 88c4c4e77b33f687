"""A bidirectional network that tells some units' rates from other units' spikes at all times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.encoding.smoothers import FittedSmoother, GroupedCounts, Smoother
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.runs.executor import default_workers
from cortexrnn.spikes.folds import validation_split
from cortexrnn.training.adam import adam_step, init_adam
from cortexrnn.training.bidirectional import BidirectionalModel
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.losses import POISSON
from cortexrnn.training.model import Asked, Model
from cortexrnn.training.tasks.contract import Batch

CELLS = ("vanilla", "lstm", "gru")
# The expected count of a bin stays within e^30 of one, whatever the inputs.
_LARGEST_LOG = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RecurrentSmoother(Smoother):
    """Two recurrent networks over the held-in units' spikes, from a trial's beginning and from its end.

    The logarithms of the held-out units' expected counts are a linear read-out of both (Schuster and Paliwal 1997,
    doi:10.1109/78.650093). Trained by Adam on four fifths of the training trials to the Poisson likelihood; the
    parameters that are best on the last fifth are kept. It starts near the units' mean rates.

    Attributes
    ----------
    cell : {"vanilla", "lstm", "gru"}
        Kind of both networks.
    n_hidden : int
        Units of each.
    dropout : float
        Share of units that are silent to the others through a whole trial, in training.
    learning_rate : float
        Of Adam.
    batch_size : int
        Trials a step.
    max_steps : int
        Steps at most.
    evaluate_every : int
        Steps from one look at the validation trials to the next.
    patience : int
        Looks without a better score after which training stops.
    seed : int
        Of weights, batches and dropout.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    name: ClassVar[str] = "bidirectional network"
    cell: str = "gru"
    n_hidden: int = 32
    dropout: float = 0.2
    learning_rate: float = 5e-3
    batch_size: int = 64
    max_steps: int = 1000
    evaluate_every: int = 10
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("cell", self.cell, CELLS)
        for name in ("n_hidden", "batch_size", "max_steps", "evaluate_every", "patience"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, at_least=0)
        check_positive("learning_rate", self.learning_rate)
        if not 0.0 <= self.dropout < 1.0:
            raise OptionError(f"dropout={self.dropout!r} is not valid; expected at least 0 and below 1.")

    def fit(self, data: GroupedCounts) -> FittedRecurrentSmoother:
        """Train on four fifths of the trials and keep what is best on the last fifth.

        Parameters
        ----------
        data : GroupedCounts

        Returns
        -------
        FittedRecurrentSmoother

        Raises
        ------
        DataError
            If there are fewer than two trials.
        NumericalError
            If loss or gradient is not finite.
        """
        is_validation = validation_split(data.condition)
        if is_validation.all():
            raise DataError(f"{len(data.condition)} training trial cannot be divided for early stopping.")
        seen = data.held_in[data.observed]
        spread = seen.std(axis=0)
        fitted = FittedRecurrentSmoother(
            model=self._start(data), center=seen.mean(axis=0), scale=np.where(spread > 0.0, spread, 1.0)
        )
        self._train(fitted, data.take(~is_validation), data.take(is_validation))
        return fitted

    def _start(self, data: GroupedCounts) -> BidirectionalModel:
        """Draw the weights; the read-out starts at the mean rates."""
        network = CellNetwork(kind=self.cell, n_hidden=self.n_hidden, is_bidirectional=True)
        asked = Asked(data.held_in.shape[2], data.held_out.shape[2], data.bin_s)
        model = BidirectionalModel(network, asked, seed=self.seed, dtype=np.float32)
        parts = model.parts(model.theta)
        parts["readout"][:] *= 0.1
        parts["readout_bias"][:] = np.log(data.mean_counts)
        return model

    def _train(self, fitted: FittedRecurrentSmoother, training: GroupedCounts, validation: GroupedCounts) -> None:
        """Take steps until the validation trials no longer gain; leaves the best parameters in the model."""
        model = fitted.model
        trainer = Trainer(model, default_workers())
        state, rng = init_adam(model.theta.size, np.float32), stream(self.seed, "smoother batches")
        batches, held_out = fitted.batch(training), fitted.batch(validation)
        best, best_theta, n_waited, order = np.inf, model.theta.copy(), 0, np.zeros(0, np.int64)
        for step in range(self.max_steps + 1):
            if step % self.evaluate_every == 0:
                key = (self.seed, "validation")
                loss = trainer.run(held_out, Sweep(noise_key=key, wants_gradient=False)).loss
                n_waited += 1
                if loss < best:
                    best, best_theta, n_waited = loss, model.theta.copy(), 0
                if n_waited >= self.patience:
                    break
            if not order.size:
                order = rng.permutation(len(batches.inputs))
            chosen, order = order[: self.batch_size], order[self.batch_size :]
            found = trainer.run(_take(batches, chosen), Sweep(noise_key=(self.seed, step), dropout=self.dropout))
            norm = adam_step(model.theta, found.gradient, state, self.learning_rate, 1.0)
            if not np.isfinite(norm) or not np.isfinite(found.loss):
                raise NumericalError(f"the gradient is not finite at step {step}.", hint="Lower learning_rate.")
        model.theta[:] = best_theta


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedRecurrentSmoother(FittedSmoother):
    """A trained network.

    Attributes
    ----------
    model : Model
        Its parameters.
    center, scale : ndarray, shape (n_in,)
        Standardisation of the held-in units' counts.
    """

    model: Model
    center: np.ndarray
    scale: np.ndarray

    def predict(self, data: GroupedCounts) -> np.ndarray:
        """Give the expected counts of every bin."""
        trainer = Trainer(self.model, default_workers())
        outputs = trainer.run(self.batch(data), Sweep(noise_key=(0, "smoothing"), wants_gradient=False)).outputs
        return np.exp(np.clip(outputs.astype(float), -_LARGEST_LOG, _LARGEST_LOG))

    def batch(self, data: GroupedCounts) -> Batch:
        """Lay trials out as the trainer takes them: unobserved bins are at the mean, unscored ones weigh nothing.

        Parameters
        ----------
        data : GroupedCounts

        Returns
        -------
        Batch
        """
        n_trials, n_bins = data.scored.shape
        inputs = (data.held_in - self.center) / self.scale
        return Batch(
            inputs=np.where(data.observed[:, :, None], inputs, 0.0).astype(np.float32),
            targets=data.held_out.astype(np.float32),
            labels=None,
            mask=data.scored.astype(np.float32),
            length=np.full(n_trials, n_bins, np.int64),
            table=pd.DataFrame(index=pd.RangeIndex(n_trials, name="trial")),
            loss=POISSON,
        )


def _take(batch: Batch, trials: np.ndarray) -> Batch:
    """Keep some trials of a batch."""
    names = ("inputs", "targets", "mask", "length")
    return batch._replace(**{name: getattr(batch, name)[trials] for name in names}, table=batch.table.iloc[trials])
