"""What the networks among the rungs have in common: their fields, their pieces of trials, and when they stop."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.likelihood import LIKELIHOODS, likelihood_code, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.remedies import LINKS, bound_levels, mildest
from cortexrnn.encoding.rnn_kernels import TrainingSet
from cortexrnn.encoding.rnn_tiles import InputScale, cut_pieces, scaled_inputs, to_lanes
from cortexrnn.encoding.scheduled_sampling import n_ramp
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.folds import validation_split


class TrainedNetwork(NamedTuple):
    """What training gives.

    Attributes
    ----------
    weights : ndarray of float32, shape (n_weights,)
        Parameters of the best epoch; those of the start, which add nothing, where the baseline was kept.
    scale : InputScale
    validation_log_likelihood : float
        Score on the validation trials, in nats.
    validation_gain : ndarray of float64, shape (n_epochs,)
        Gain over the baseline on the validation trials after every epoch, in nats.
    """

    weights: np.ndarray
    scale: InputScale
    validation_log_likelihood: float
    validation_gain: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkRung(Rung):
    """A network on top of a rung, trained with early stopping.

    Trained on four fifths of the training trials by Adam with truncated back-propagation through time; the last
    fifth stops it early. The read-out starts at zero, so that training starts at the baseline, which is kept where
    no epoch is better on the validation trials. Trials are cut into pieces; a piece starts from the state in which
    the piece before it ended when that was last run.

    Attributes
    ----------
    n_hidden : int
        Units of the network.
    likelihood : {"poisson", "bernoulli"}
        Observation model that is maximised.
    uses_own_spikes : bool
        False gives the control: the same network, hyper-parameters and random streams, its spike inputs zero.
    trace_s : tuple of float
        Time constants, in seconds, of the exponential traces of past spikes that are inputs beside the count of
        the last bin. A network can grow such traces itself, but takes several times as many epochs.
    piece_s : float
        Length of the pieces, in seconds, and so of the longest way of a gradient into the past.
    learning_rate : float
        Peak of the schedule, which rises linearly over the first epoch and falls as a cosine to zero.
    max_epochs : int
        Length of the schedule.
    patience : int
        Epochs without a better validation score after which training stops.
    seed : int
        Seed of the initial weights and of the order of the pieces.
    own_spikes : float
        Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099), a remedy for run-away generation: share of the
        bins, from 0 to 1, in which the network is fed what it draws itself instead of what was recorded. The share
        rises from 0 over the first third of the epochs, whose weights are not kept; what is drawn is new in every one.
        What is maximised is then no likelihood any more: the target does not follow from what was fed, and a network
        that hears itself only learns to ignore its history (Huszar 2015, arXiv:1511.05101). Both scores are to be
        looked at. It costs a free run of the training trials an epoch.
    spectral_cap : float or None
        Another remedy: after every step recurrent weights are scaled so that their largest singular value, gate by
        gate, is at most this. It bounds what the network's states make of themselves, and with it its memory; what
        comes back through the spikes it leaves as it is.
    link : {"log", "bounded"}
        Another remedy: as that of `cortexrnn.encoding.glm.HistoryGLM`, for predictions of the trained network only.
        It costs score where the unit fires faster than the bound, and up to six free runs of 20 copies of the
        training trials. The validation score is that without the bound.
    """

    meaning: ClassVar[str] = "spike history, recurrent network"
    baseline: Rung | None = CausalGain()
    n_hidden: int = 16
    likelihood: str = "poisson"
    uses_own_spikes: bool = True
    trace_s: tuple[float, ...] = (0.002, 0.005, 0.012, 0.03, 0.1, 0.3)
    piece_s: float = 0.25
    learning_rate: float = 0.015
    max_epochs: int = 30
    patience: int = 6
    seed: int = 0
    own_spikes: float = 0.0
    spectral_cap: float | None = None
    link: str = "log"

    def __post_init__(self) -> None:
        """Check every field."""
        check_count("n_hidden", self.n_hidden)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        for value in self.trace_s:
            check_positive("trace_s", value)
        check_positive("piece_s", self.piece_s)
        check_positive("learning_rate", self.learning_rate)
        check_count("max_epochs", self.max_epochs)
        check_count("patience", self.patience)
        check_count("seed", self.seed, at_least=0)
        if not 0.0 <= self.own_spikes <= 1.0:
            raise OptionError(f"own_spikes={self.own_spikes!r} is not valid; expected a share from 0 to 1.")
        if self.spectral_cap is not None:
            check_positive("spectral_cap", self.spectral_cap)
        check_choice("link", self.link, LINKS)

    @property
    def sees_history(self) -> bool:
        """Whether the unit's own spikes are inputs."""
        return self.uses_own_spikes

    @abc.abstractmethod
    def train(self, trials: UnitTrials, log_baseline: np.ndarray, is_validation: np.ndarray) -> TrainedNetwork:
        """Train on top of any baseline.

        Parameters
        ----------
        trials : UnitTrials
            Training and validation trials.
        log_baseline : ndarray, shape (n_trials, n_bins)
            Log of the baseline's expected count of every bin, given the past only; finite everywhere.
        is_validation : ndarray of bool, shape (n_trials,)
            Trials that stop the training; at least one, and not all.

        Returns
        -------
        TrainedNetwork

        Raises
        ------
        NumericalError
            If no gradient of an epoch is finite.
        """

    @abc.abstractmethod
    def as_fitted(
        self, trained: TrainedNetwork, below: Fitted | None, bin_s: float, log_bound: float = np.inf
    ) -> Fitted:
        """Give what was trained as a fitted rung, with a bounded link where the bound of log mu is finite."""

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> Fitted:
        """Train on four fifths of the training trials and stop by the last fifth.

        Raises
        ------
        DataError
            If there are fewer than two trials, or several spikes in a bin under the Bernoulli likelihood.
        NumericalError
            If no gradient of an epoch is finite.
        """
        likelihood_code(self.likelihood, trials.counts)
        is_validation = validation_split(trials.condition)
        if is_validation.all():
            raise DataError(
                f"{trials.n_trials} training trial cannot be divided for early stopping; a network needs at least two.",
                hint="Use more trials, or rungs without networks.",
            )
        trained = self.train(trials, log_mu, is_validation)
        fitted = self.as_fitted(trained, below, trials.bin_s)
        if self.link == "log" or not trials.scored.any():
            return fitted
        bounds = bound_levels(trials, fitted.extend(trials, log_mu))
        return mildest(
            lambda level: self.as_fitted(trained, below, trials.bin_s, bounds[level]), trials, self.likelihood
        )

    def untested(self, weights: np.ndarray, scale: InputScale) -> TrainedNetwork:
        """Give a network in the middle of its training, which has no scores yet."""
        return TrainedNetwork(weights, scale, np.nan, np.empty(0))

    def training_stream(self) -> np.random.Generator:
        """Give the stream of the pieces' order, the initial weights and the order of the tiles."""
        return stream(self.seed, "recurrent network")

    def pieces(
        self, trials: UnitTrials, log_baseline: np.ndarray, scale: InputScale, rng: np.random.Generator
    ) -> TrainingSet:
        """Cut trials into pieces, shuffled into tiles; without states."""
        inputs = scaled_inputs(trials, log_baseline, self.trace_s, scale, with_spikes=self.uses_own_spikes)
        n_pieces = max(1, round(trials.counts.shape[1] * trials.bin_s / self.piece_s))
        return cut_pieces(trials, log_baseline, inputs, n_pieces, rng.permutation(trials.n_trials * n_pieces))

    def whole_trials(self, trials: UnitTrials, log_baseline: np.ndarray, scale: InputScale) -> np.ndarray:
        """Give the inputs of whole trials in tiles, shape (n_tiles, n_bins, n_inputs, N_LANES)."""
        inputs = scaled_inputs(trials, log_baseline, self.trace_s, scale, with_spikes=self.uses_own_spikes)
        return to_lanes(inputs, np.arange(trials.n_trials))

    def learning_rates(self, epoch: int, n_tiles: int) -> np.ndarray:
        """Give the learning rate of every step of an epoch: a linear rise over the first, then a cosine to zero."""
        passed = epoch + np.arange(1, n_tiles + 1) / n_tiles
        return self.learning_rate * np.minimum(passed, 0.5 + 0.5 * np.cos(np.pi * passed / self.max_epochs))


class Learning(abc.ABC):
    """A network under training."""

    @abc.abstractmethod
    def epoch(self, order: np.ndarray, rates: np.ndarray) -> int:
        """Take a step for every tile in some order, at rates of their own; gives how many were taken."""

    @abc.abstractmethod
    def kept(self) -> np.ndarray:
        """Give the weights that are validated and kept: their decayed mean over steps."""

    @abc.abstractmethod
    def held_out_gain(self) -> np.ndarray:
        """Give what the kept weights add to the log baseline of the validation trials, (n_held_out, n_bins)."""


def stop_early(
    spec: NetworkRung,
    learning: Learning,
    held_out: UnitTrials,
    log_baseline: np.ndarray,
    *,
    n_tiles: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray | None, float, np.ndarray]:
    """Train until the validation trials no longer gain.

    Parameters
    ----------
    spec : NetworkRung
    learning : Learning
    held_out : UnitTrials
        Validation trials.
    log_baseline : ndarray, shape (n_held_out, n_bins)
        Of these.
    n_tiles : int
        Steps of an epoch.
    rng : numpy.random.Generator
        Of the order of the tiles.

    Returns
    -------
    weights : ndarray or None
        Of the best epoch; None where the baseline is better than every epoch.
    validation_log_likelihood : float
        Of these, in nats.
    validation_gain : ndarray, shape (n_epochs,)
        Over the baseline after every epoch, in nats.

    Raises
    ------
    NumericalError
        If no gradient of an epoch is finite.
    """
    code = LIKELIHOODS[spec.likelihood]
    reference = float(trial_log_likelihood(held_out, log_baseline, code).sum())
    best, best_weights, gains, n_waited = 0.0, None, [], 0
    n_passed_over = n_ramp(spec)
    while len(gains) < spec.max_epochs and n_waited < spec.patience:
        n_taken = learning.epoch(rng.permutation(n_tiles), spec.learning_rates(len(gains), n_tiles))
        # A network near chaos now and then sends an infinite gradient back; one that does nothing else is lost.
        if n_taken == 0:
            raise NumericalError(
                f"no gradient of epoch {len(gains) + 1} is finite; expected most of {n_tiles} to be.",
                hint="Use a smaller learning_rate.",
            )
        log_mu = log_baseline + learning.held_out_gain()
        gains.append(float(trial_log_likelihood(held_out, log_mu, code).sum()) - reference)
        if len(gains) <= n_passed_over:
            continue
        n_waited += 1
        if gains[-1] > best:
            best, best_weights, n_waited = gains[-1], learning.kept().copy(), 0
    return best_weights, reference + best, np.array(gains)
