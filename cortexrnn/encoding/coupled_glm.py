"""M5 coupled: a generalised linear model of the unit's own past spikes and of those of the units beside it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import ClassVar, NamedTuple

import numpy as np

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.basis import coupling_basis
from cortexrnn.encoding.coupled_regression import (
    Bases,
    CoupledRegression,
    CoupledWeights,
    Prior,
    add_past,
    past_of_others,
    past_of_own,
)
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.glm import FittedHistoryGLM, HistoryGLM
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.neighbours import check_neighbours
from cortexrnn.encoding.newton import CHOICE_NATS, ridge_precision
from cortexrnn.encoding.remedies import LINKS, runs_away
from cortexrnn.encoding.stepping import FilterStepper, Stepper
from cortexrnn.spikes.folds import validation_split


@dataclass(frozen=True, kw_only=True, slots=True)
class CoupledHistoryGLM(Rung):
    """log mu = b + log M3 + filter of the unit's own past spikes + filters of the past spikes of its neighbours.

    The own filter and its ridge are as in `HistoryGLM`; all filters are then fitted together (Pillow et al. 2008,
    doi:10.1038/nature07140). A neighbour's filter is made of `coupling_basis`. Its ridge is a multiple of what the
    training trials tell about a weight, which goes with the neighbour's rate: a ridge of 1 halves the weights of fast
    and slow neighbours alike, in short recordings and in long ones. Neighbours enter with no spikes where they were
    not observed, and with their mean counts before the first bin of a trial.

    Attributes
    ----------
    history_s : float
        Longest lag of the unit's own spikes in seconds.
    coupling_s : float
        Longest lag of its neighbours' spikes.
    ridges : tuple of float
        Precisions of the prior on the weights of the own filter, to choose from by the validation fifth of the
        training trials.
    coupling_ridges : tuple of float
        Ridges of the neighbours' filters, to choose from by the same trials.
    likelihood : {"poisson", "bernoulli"}
        Observation model that is maximised.
    tolerance_nats : float
        The climb stops when one more step would gain less than this.
    link : {"log", "bounded"}
    is_stabilised : bool
        Remedies for run-away generation, as in `HistoryGLM`. In a free run the neighbours' spikes are given and only
        the unit's own feed back, so that the own filter alone is fitted again, on top of the neighbours' filters as
        they are without a remedy. A rung that is stable stays as it is.
    """

    name: ClassVar[str] = "M5 coupled"
    meaning: ClassVar[str] = "spikes of other units, GLM"
    sees_history: ClassVar[bool] = True
    # What it gains is not all of the unit's own history.
    is_candidate: ClassVar[bool] = False
    needs_neighbours: ClassVar[bool] = True
    baseline: Rung | None = CausalGain()
    history_s: float = 0.5
    coupling_s: float = 0.05
    ridges: tuple[float, ...] = (0.3, 3.0, 30.0, 300.0)
    coupling_ridges: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    likelihood: str = "poisson"
    tolerance_nats: float = 1e-6
    link: str = "log"
    is_stabilised: bool = False

    def __post_init__(self) -> None:
        """Check what `HistoryGLM` does not, and the link before any fit."""
        check_choice("link", self.link, LINKS)
        check_positive("coupling_s", self.coupling_s)
        check_positive("tolerance_nats", self.tolerance_nats)
        for ridge in self.coupling_ridges:
            check_positive("coupling_ridges", ridge)

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedCoupledGLM:
        """Choose the ridges on the validation trials, then fit to all training trials.

        Raises
        ------
        DataError
            If there are no neighbours, or several spikes in a bin under the Bernoulli likelihood.
        NumericalError
            If the fit does not arrive.
        """
        positions = check_neighbours(trials)
        alone = self._history().fit_on(trials, below, log_mu)
        regression = CoupledRegression(
            trials,
            np.ascontiguousarray(log_mu),
            Bases(own=alone.basis, coupling=coupling_basis(self.coupling_s, trials.bin_s)),
            mean=alone.mean,
            is_bernoulli=LIKELIHOODS[self.likelihood] == BERNOULLI,
        )
        start, ridge, score = self._choose(regression, alone, validation_split(trials.condition))
        everyone = np.ones(trials.n_trials, bool)
        prior = _prior(regression, alone, ridge)
        weights = regression.fit(everyone, start, prior, alone.covariance, self.tolerance_nats)
        own, others = regression.effects(weights)
        is_scored = trials.scored.any()
        plain = FittedCoupledGLM(
            below=below,
            regression=regression,
            prior=prior,
            weights=weights,
            own_ridge=alone.ridge,
            coupling_ridge=ridge,
            positions=positions,
            ceiling=float(own[trials.scored].max()) if is_scored else 0.0,
            coupling_ceiling=float(others[trials.scored].max()) if is_scored else 0.0,
            validation_log_likelihood=score,
        )
        if self.link == "log" and not self.is_stabilised:
            return plain
        return self._remedied(plain, log_mu) if runs_away(plain, trials, self.likelihood) else plain

    def _remedied(self, plain: FittedCoupledGLM, log_mu: np.ndarray) -> RemediedCoupledGLM:
        """Fit the own filter again, with the remedies, on top of what the neighbours add."""
        trials = plain.regression.trials
        spec = replace(self._history(), link=self.link, is_stabilised=self.is_stabilised)
        ground = _FittedCoupling(below=plain.below, coupled=plain)
        own = spec.fit_with_ridge(trials, ground, ground.extend(trials, log_mu), plain.own_ridge)
        values = {each.name: getattr(plain, each.name) for each in fields(plain)}
        values["weights"] = CoupledWeights(own.weights, plain.weights.coupling)
        values |= {"ceiling": own.ceiling, "validation_log_likelihood": np.nan}
        return RemediedCoupledGLM(**values, history=replace(own, below=None), unremedied=plain)

    def _history(self) -> HistoryGLM:
        """Give the rung without neighbours, whose ridge and start are taken."""
        return HistoryGLM(
            baseline=self.baseline, history_s=self.history_s, ridges=self.ridges, likelihood=self.likelihood
        )

    def _choose(
        self, regression: CoupledRegression, alone: FittedHistoryGLM, is_validation: np.ndarray
    ) -> tuple[CoupledWeights, float, float]:
        """Give weights, ridge and validation score of the best ridge of the neighbours' filters."""
        shape = (regression.means.size, len(regression.bases.coupling))
        weights = CoupledWeights(alone.weights, np.zeros(shape))
        best = (weights, np.nan, -np.inf)
        # From the strongest on, each fit starts near its end.
        for ridge in sorted(self.coupling_ridges, reverse=True):
            prior = _prior(regression, alone, ridge)
            weights = regression.fit(~is_validation, weights, prior, alone.covariance, CHOICE_NATS)
            score = regression.log_likelihood(weights, is_validation)
            if score > best[2]:
                best = (weights, ridge, score)
        return best


class CoupledFilters(NamedTuple):
    """Log effect of a spike by lag, with standard errors.

    Attributes
    ----------
    own_lag_s, own, own_error : ndarray, shape (n_own_lags,)
        Of the unit's own spikes.
    lag_s : ndarray, shape (n_lags,)
    coupling, coupling_error : ndarray, shape (n_neighbours, n_lags)
        Of the spikes of neighbours, in the order of their positions.
    """

    own_lag_s: np.ndarray
    own: np.ndarray
    own_error: np.ndarray
    lag_s: np.ndarray
    coupling: np.ndarray
    coupling_error: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedCoupledGLM(Fitted):
    """A fitted GLM of own and neighbours' spikes.

    Attributes
    ----------
    regression : CoupledRegression
        What was fitted, for what is still to be computed from it.
    prior : Prior
    weights : CoupledWeights
    own_ridge, coupling_ridge : float
        Chosen ridges.
    positions : ndarray of int, shape (n_neighbours,)
        Which columns of the neighbours' counts they are.
    ceiling, coupling_ceiling : float
        Largest log effect of the unit's own spikes, with the intercept, and of its neighbours' met in training;
        prediction stops there, as that of `FittedHistoryGLM`.
    validation_log_likelihood : float
        Score on the validation trials, in nats; NaN with a remedy.
    """

    below: Fitted | None
    regression: CoupledRegression
    prior: Prior
    weights: CoupledWeights
    own_ridge: float
    coupling_ridge: float
    positions: np.ndarray
    ceiling: float
    coupling_ceiling: float
    validation_log_likelihood: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add intercept, own history and coupling, each capped at the largest effect met in training.

        Raises
        ------
        DataError
            If the neighbours are not those of the training trials.
        """
        own = np.full(trials.counts.shape, self.weights.own[0])
        add_past(past_of_own(trials, self.regression.mean), self._own_filter[None], own)
        return log_mu + np.minimum(own, self.ceiling) + self.coupling_effect(trials)

    def coupling_effect(self, trials: UnitTrials) -> np.ndarray:
        """Give what neighbours add to log mu of every bin.

        Parameters
        ----------
        trials : UnitTrials

        Returns
        -------
        ndarray of float64, shape (n_trials, n_bins)

        Raises
        ------
        DataError
            If the neighbours are not those of the training trials.
        """
        check_neighbours(trials, self.positions)
        effect = np.zeros(trials.counts.shape)
        filters = self.weights.coupling @ self.regression.bases.coupling
        add_past(past_of_others(trials, self.regression.means), filters, effect)
        return np.minimum(effect, self.coupling_ceiling)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give the own after-effects one bin at a time; the neighbours' spikes are those of the trials."""
        own = FilterStepper(
            self.weights.own[0], self._own_filter, mean=self.regression.mean, ceiling=self.ceiling, trials=trials
        )
        return CoupledStepper(own, self.coupling_effect(trials))

    def filters(self) -> CoupledFilters:
        """Give all filters with their standard errors; the covariance of all weights is computed anew."""
        own_basis, basis = self.regression.bases
        bin_s, n_own, k = self.regression.trials.bin_s, len(own_basis), len(basis)
        covariance = self.regression.covariance(self.weights, self.prior)
        blocks = [covariance[i : i + k, i : i + k] for i in range(1, len(covariance) - n_own, k)]
        return CoupledFilters(
            own_lag_s=bin_s * np.arange(1, own_basis.shape[1] + 1),
            own=self._own_filter,
            own_error=np.sqrt(np.einsum("kl,km,ml->l", own_basis, covariance[-n_own:, -n_own:], own_basis)),
            lag_s=bin_s * np.arange(1, basis.shape[1] + 1),
            coupling=self.weights.coupling @ basis,
            coupling_error=np.sqrt(np.einsum("kl,jkm,ml->jl", basis, np.array(blocks), basis)),
        )

    @property
    def _own_filter(self) -> np.ndarray:
        """Log effect of a spike of the unit's own by lag."""
        return self.weights.own[1:] @ self.regression.bases.own


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RemediedCoupledGLM(FittedCoupledGLM):
    """A GLM of own and neighbours' spikes whose own filter was fitted again with a remedy for run-away generation.

    Attributes
    ----------
    history : FittedHistoryGLM
        The own filter, with its bound where it has one, on top of the rung below and the neighbours' filters.
    unremedied : FittedCoupledGLM
        The fit without a remedy. Further fields as there.
    """

    history: FittedHistoryGLM
    unremedied: FittedCoupledGLM

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add coupling and own history, up to the bound.

        Raises
        ------
        DataError
            If the neighbours are not those of the training trials.
        """
        return self.history.extend(trials, log_mu + self.coupling_effect(trials))

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give the own after-effects one bin at a time, up to the bound."""
        return CoupledStepper(self.history.stepper(trials), self.coupling_effect(trials))

    def filters(self) -> CoupledFilters:
        """Give all filters with their standard errors: of the neighbours without a remedy, of its own given those."""
        _, own, own_error = self.history.filter()
        return self.unremedied.filters()._replace(own=own, own_error=own_error)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _FittedCoupling(Fitted):
    """The neighbours' filters of a coupled GLM alone, which its own filter stands on while it is fitted again."""

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None
    coupled: FittedCoupledGLM

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add what the neighbours do."""
        return log_mu + self.coupled.coupling_effect(trials)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give it bin by bin."""
        return GivenStepper(self.coupled.coupling_effect(trials))


class GivenStepper(Stepper):
    """A factor that is known before the first bin.

    Parameters
    ----------
    given : ndarray, shape (n_sequences, n_bins)
        Added to log mu of the rung below.
    """

    def __init__(self, given: np.ndarray):
        self._given = np.ascontiguousarray(given.T)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Add what is given."""
        return below + self._given[t]

    def update(self, t: int, counts: np.ndarray) -> None:
        """Nothing is carried on."""


class CoupledStepper(GivenStepper):
    """What the neighbours do, which is given, and on top of it what follows the unit's own spikes.

    Parameters
    ----------
    own : Stepper
        What follows the unit's own spikes.
    given : ndarray, shape (n_sequences, n_bins)
        Added to log mu of the rung below.
    """

    def __init__(self, own: Stepper, given: np.ndarray):
        super().__init__(given)
        self._own = own

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Add what is given and what follows the unit's own spikes."""
        return self._own.predict(t, super().predict(t, below))

    def update(self, t: int, counts: np.ndarray) -> None:
        """Take in the spikes of bin t."""
        self._own.update(t, counts)


def _prior(regression: CoupledRegression, alone: FittedHistoryGLM, ridge: float) -> Prior:
    """Give the precisions of all weights; that of the intercept only keeps it finite."""
    own = ridge_precision(alone.weights.size, alone.ridge)
    return Prior(own=own, coupling=ridge * regression.information)
