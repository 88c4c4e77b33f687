"""What every rung is: a frozen spec whose fit gives a frozen fitted model, stacked on the rung below."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import xarray as xr

from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import POISSON, trial_log_likelihood
from cortexrnn.encoding.stepping import ReplayStepper, Stepper

if TYPE_CHECKING:
    from cortexrnn.encoding.brian import BrianCopies

LN2 = float(np.log(2.0))


class Fitted(abc.ABC):
    """A fitted rung: the log expected count of every bin, given only the past.

    Subclasses are frozen dataclasses with a field `below`, the fitted rung they multiply (None for
    a rung that stands on the ground). One that `looks_at_spikes` gives a `stepper` for free running.
    """

    __slots__ = ()
    looks_at_spikes: ClassVar[bool] = True
    below: Fitted | None

    @abc.abstractmethod
    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give log mu of this rung from that of the rung below, both of shape (n_trials, n_bins)."""

    def on_training(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give log mu of the training trials as the next rung should see it.

        A rung whose prediction for a trial contains that trial's own spikes overrides this with a
        leave-one-out version, so that the next rung learns on the baseline it will meet when tested.
        """
        return self.extend(trials, log_mu)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give this rung one bin at a time; rungs with a state of their own override this, and are much faster."""
        return ReplayStepper(self, trials)

    def log_mu(self, trials: UnitTrials | xr.Dataset) -> np.ndarray:
        """Predict the log expected count of every bin of new trials, one step ahead.

        Parameters
        ----------
        trials : xarray.Dataset of one unit, or UnitTrials
            Trials with the same bins as the training trials.

        Returns
        -------
        ndarray of float64, shape (n_trials, n_bins)
        """
        data = as_unit_trials(trials)
        below = np.zeros(data.counts.shape) if self.below is None else self.below.log_mu(data)
        return self.extend(data, below)

    def predict_rate(self, trials: UnitTrials | xr.Dataset) -> np.ndarray:
        """Predict the firing rate in Hz of every bin, one step ahead; shape (n_trials, n_bins)."""
        data = as_unit_trials(trials)
        return np.exp(self.log_mu(data)) / data.bin_s

    def score(self, trials: UnitTrials | xr.Dataset) -> float:
        """Give the mean log-likelihood of the trials in bits per spike, Poisson; NaN without spikes."""
        data = as_unit_trials(trials)
        n_spikes = data.spikes_per_trial.sum()
        total = trial_log_likelihood(data, self.log_mu(data), POISSON).sum()
        return float(total / (n_spikes * LN2)) if n_spikes else float("nan")

    def to_brian2(
        self, trials: UnitTrials | xr.Dataset, *, n_copies: int = 1, seed: int = 0, keeps_log_mu: bool = False
    ) -> BrianCopies:
        """Make a Brian2 network that fires as this rung does, one neuron a copy of a trial and one step a bin.

        A neuron fires at most once in a step, with the probability ``1 - exp(-mu)``. Its spikes are those of
        `simulate_copies` with the Bernoulli likelihood and the same seed, unless a uniform number falls between two
        probabilities that differ by round-off.

        Parameters
        ----------
        trials : xarray.Dataset of one unit, or UnitTrials
            Trials to copy: their conditions, start times, burn-in spikes and unobserved bins are taken over.
        n_copies : int
            Copies of every trial.
        seed : int
            Seed of the spikes.
        keeps_log_mu : bool
            Whether the log expected count of every bin is monitored.

        Returns
        -------
        BrianCopies
            With `run`, the `objects` of Brian2, and a `script` that needs brian2 and numpy only.

        Raises
        ------
        OptionError
            If an argument is not valid or a rung that looks at spikes is none of trial gain, renewal, history GLM,
            network and guard, with or without a bound.
        NumericalError
            If the prediction of the rungs that look at no spikes is NaN.

        Warns
        -----
        DataWarning
            If scored bins hold several spikes, which the network cannot fire.
        """
        # Here, because what exports the rungs imports them, and they this file.
        from cortexrnn.encoding.brian import to_brian2

        return to_brian2(self, trials, n_copies=n_copies, seed=seed, keeps_log_mu=keeps_log_mu)


class Rung(abc.ABC):
    """The spec of a rung.

    Subclasses are frozen keyword-only dataclasses with a field `baseline`, the spec of the rung below.
    A rung that `sees_history` uses the unit's own past spikes beyond a trial's gain. If it `is_candidate`, it may be
    chosen as the history rung of a training set, by the `validation_log_likelihood` of its fitted model, and is fitted
    to surrogates too. One that `needs_neighbours` is fitted to trials that hold the spikes of other units.
    One that is not `is_causal` looks at later bins and cannot be scored one step ahead.
    """

    __slots__ = ()
    name: ClassVar[str]
    meaning: ClassVar[str]
    sees_history: ClassVar[bool] = False
    is_candidate: ClassVar[bool] = True
    needs_neighbours: ClassVar[bool] = False
    is_causal: ClassVar[bool] = True
    baseline: Rung | None

    @abc.abstractmethod
    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> Fitted:
        """Fit this rung given the fitted rung below and what that says of the training trials."""

    def fit(self, trials: UnitTrials | xr.Dataset) -> Fitted:
        """Fit this rung and all below it.

        Parameters
        ----------
        trials : xarray.Dataset of one unit, or UnitTrials
            Training trials.

        Returns
        -------
        Fitted
            The fitted rung, with `log_mu`, `predict_rate` and `score`.
        """
        data = as_unit_trials(trials)
        return self.fit_on(data, *fit_below(self, data))


def fit_below(rung: Rung, trials: UnitTrials) -> tuple[Fitted | None, np.ndarray]:
    """Fit every rung below `rung`; give the topmost and its log mu of the training trials."""
    if rung.baseline is None:
        return None, np.zeros(trials.counts.shape)
    below, log_mu = fit_below(rung.baseline, trials)
    fitted = rung.baseline.fit_on(trials, below, log_mu)
    return fitted, fitted.on_training(trials, log_mu)


def as_unit_trials(trials: UnitTrials | xr.Dataset) -> UnitTrials:
    """Take the one unit out of a Trials dataset; pass UnitTrials through."""
    return trials if isinstance(trials, UnitTrials) else unit_trials(trials)
