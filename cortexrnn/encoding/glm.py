"""M5: a generalised linear model of the spikes of the last half second."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import ClassVar, NamedTuple

import numpy as np

from cortexrnn._checks import check_choice
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.basis import history_basis
from cortexrnn.encoding.constant import mean_count
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.kernels import HistoryDesign, history_design, history_effect, history_pass, thin_blocks
from cortexrnn.encoding.likelihood import likelihood_code, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.newton import (
    CHOICE_NATS,
    Optimum,
    approach,
    follow,
    maximise,
    ridge_path,
    ridge_precision,
    thinning,
)
from cortexrnn.encoding.remedies import LINKS, N_LEVELS, BoundedStepper, bound_levels, mildest
from cortexrnn.encoding.stepping import FilterStepper, Stepper
from cortexrnn.errors import NumericalWarning
from cortexrnn.spikes.folds import validation_split

# So near an optimum the curvature hardly changes any more.
_NEAR_NATS = 1.0
# Precisions of the penalty of excitation, per lag: from one that many recordings do not feel to one that few resist.
_EXCITATION_PRECISIONS = (1.0, 1e4)
_MOST_ROUNDS = 20
_SHORTEST_WAY = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryGLM(Rung):
    """log mu = b + log M3 + sum over past spikes of a filter made of `history_basis`.

    Bins that nobody observed enter the history with the unit's mean count, so that the start of a
    recording is not read as silence.

    Attributes
    ----------
    history_s : float
        Longest lag in seconds.
    ridges : tuple of float
        Precisions of the Gaussian prior on the filter's weights, to choose from by the validation
        fifth of the training trials.
    likelihood : {"poisson", "bernoulli"}
        Observation model that is maximised.
    tolerance_nats : float
        Newton's method stops when one more step would gain less than this.
    link : {"log", "bounded"}
        A remedy for run-away generation. The log link has no bound but that of the largest effect of history met in
        training. The bounded one also stops at the highest rate with which copies of the training trials do not run
        away (`cortexrnn.encoding.remedies`), and weights are fitted under that bound; a rung that is stable gets
        none. It costs score where the unit fires faster than the bound, and some ten times the time of a fit, most of
        it for the copies. Under a bound the likelihood is no longer concave: the weights are those of a summit near
        the one without.
    is_stabilised : bool
        Another remedy: the filter's positive values are penalised, ``1/2 p sum h^2`` over the lags at which it is
        positive without penalty, with the smallest p under which copies of the training trials do not run away. It
        costs score because after-effects that are there are made smaller, and as much time as a bounded link. With
        both remedies each is strengthened along with the other.
    """

    name: ClassVar[str] = "M5"
    meaning: ClassVar[str] = "spike history, GLM"
    sees_history: ClassVar[bool] = True
    baseline: Rung | None = CausalGain()
    history_s: float = 0.5
    ridges: tuple[float, ...] = (0.3, 3.0, 30.0, 300.0)
    likelihood: str = "poisson"
    tolerance_nats: float = 1e-6
    link: str = "log"
    is_stabilised: bool = False

    def __post_init__(self) -> None:
        """Check the link."""
        check_choice("link", self.link, LINKS)

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedHistoryGLM:
        """Choose the ridge on the validation trials, then fit to all training trials."""
        problem = self._problem(trials, log_mu)
        choice = self._choose(problem, validation_split(trials.condition))
        everyone = np.ones(trials.n_trials, bool)
        start = problem.follow(everyone, choice.weights, choice.ridge, choice.curvature, self.tolerance_nats)
        return self._finish(problem, below, start, choice.ridge, choice.score)

    def fit_with_ridge(
        self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray, ridge: float
    ) -> FittedHistoryGLM:
        """Fit to all training trials with a ridge that was chosen before.

        Parameters
        ----------
        trials : UnitTrials
            Training trials.
        below : Fitted or None
            The fitted rung below.
        log_mu : ndarray, shape (n_trials, n_bins)
            What that says of the training trials.
        ridge : float
            Precision of the prior.

        Returns
        -------
        FittedHistoryGLM
            Without a validation score (NaN).
        """
        problem = self._problem(trials, log_mu)
        start = problem.approach(np.ones(trials.n_trials, bool), ridge)
        return self._finish(problem, below, start, ridge, np.nan)

    def _problem(self, trials: UnitTrials, log_mu: np.ndarray) -> _Problem:
        """Set up the regression on all training trials."""
        design = history_design(trials, history_basis(self.history_s, trials.bin_s), mean_count(trials))
        return _Problem(trials, design, np.ascontiguousarray(log_mu), likelihood_code(self.likelihood, trials.counts))

    def _finish(
        self, problem: _Problem, below: Fitted | None, start: np.ndarray, ridge: float, score: float
    ) -> FittedHistoryGLM:
        """Climb from `start` to the optimum of all training trials, and apply the remedies."""
        trials = problem.trials
        everyone = np.ones(trials.n_trials, bool)
        optimum = problem.maximise(everyone, start, ridge, self.tolerance_nats)
        if not optimum.is_converged:
            warnings.warn(
                f"the history GLM stopped with an expected gain of {optimum.decrement:.2g} nats left "
                f"(wanted {self.tolerance_nats:.2g}); a stronger ridge makes it converge.",
                NumericalWarning,
                stacklevel=2,
            )
        effect = problem.effect(optimum.weights, everyone)
        plain = FittedHistoryGLM(
            below=below,
            history_s=self.history_s,
            bin_s=trials.bin_s,
            basis=problem.design.basis,
            weights=optimum.weights,
            covariance=optimum.covariance,
            ridge=ridge,
            mean=problem.design.mean,
            ceiling=float(effect[trials.scored].max()) if trials.scored.any() else 0.0,
            validation_log_likelihood=score,
            is_converged=optimum.is_converged,
        )
        if self.link == "log" and not self.is_stabilised:
            return plain
        bounds = np.full(N_LEVELS + 1, np.inf)
        if self.link == "bounded" and trials.scored.any():
            bounds = bound_levels(trials, problem.log_mu + effect)
        return mildest(lambda level: self._remedied(problem, plain, level, bounds[level]), trials, self.likelihood)

    def _remedied(
        self, problem: _Problem, plain: FittedHistoryGLM, level: int, log_bound: float
    ) -> FittedHistoryGLM:
        """Fit again with the remedies at a level; the validation score is that of a fit without those trials."""
        if level == 0:
            return plain
        excitation = _excitation(plain.filter()[1], plain.basis, level) if self.is_stabilised else None
        remedy = _Remedy(plain.ridge, log_bound, excitation)
        everyone = np.ones(problem.trials.n_trials, bool)
        optimum = problem.climb(everyone, plain.weights, remedy, self.tolerance_nats)
        score = plain.validation_log_likelihood
        if not np.isnan(score):
            is_validation = validation_split(problem.trials.condition)
            weights = problem.climb(~is_validation, optimum.weights, remedy, CHOICE_NATS).weights
            score = problem.log_likelihood(weights, is_validation, log_bound)
        changed = {
            "weights": optimum.weights,
            "covariance": optimum.covariance,
            "ceiling": float(problem.effect(optimum.weights, everyone)[problem.trials.scored].max()),
            "validation_log_likelihood": score,
            "is_converged": optimum.is_converged,
        }
        if np.isinf(log_bound):
            return replace(plain, **changed)
        values = {each.name: getattr(plain, each.name) for each in fields(plain)}
        return BoundedHistoryGLM(**(values | changed), log_bound=log_bound)

    def _choose(self, problem: _Problem, is_validation: np.ndarray) -> _Choice:
        """Choose the ridge.

        Only the weakest ridge is fitted, as closely as a choice needs; one Newton step from there, with
        its Hessian, gives the others.
        """
        weakest = min(self.ridges)
        start = problem.approach(~is_validation, weakest)
        near = problem.maximise(~is_validation, start, weakest, _NEAR_NATS)
        curvature = np.linalg.inv(near.covariance) - np.diag(ridge_precision(start.size, weakest))
        optimum = problem.follow(~is_validation, near.weights, weakest, curvature, CHOICE_NATS)
        # As much more of it as there are more trials.
        of_all = curvature * (is_validation.size / np.count_nonzero(~is_validation))
        best = _Choice(optimum, weakest, -np.inf, of_all)
        for ridge, weights in ridge_path(optimum, curvature, self.ridges):
            score = problem.log_likelihood(weights, is_validation)
            if score > best.score:
                best = _Choice(weights, ridge, score, of_all)
        return best


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedHistoryGLM(Fitted):
    """A fitted history GLM.

    Attributes
    ----------
    basis : ndarray, shape (n_basis, n_lags)
        Functions at lags of 1, 2, ... bins.
    weights, covariance : ndarray
        Intercept and filter weights, and their posterior covariance.
    ridge : float
        Chosen precision of the prior.
    mean : float
        Mean count of a bin, which stands in where nobody observed.
    ceiling : float
        Largest log effect met in training. Prediction stops there: a log-linear filter that is fed
        more spikes than it has ever seen would otherwise run away.
    validation_log_likelihood : float
        Score on the validation trials, by which history rungs are chosen, in nats; NaN where the ridge
        was given.
    is_converged : bool
    """

    below: Fitted | None
    history_s: float
    bin_s: float
    basis: np.ndarray
    weights: np.ndarray
    covariance: np.ndarray
    ridge: float
    mean: float
    ceiling: float
    validation_log_likelihood: float
    is_converged: bool

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add intercept and history effect, capped at the largest one met in training."""
        design = history_design(trials, self.basis, self.mean)
        effect = history_effect(self.weights, design, trials.scored, np.ones(trials.n_trials, bool))
        return log_mu + np.minimum(effect, self.ceiling)

    def stepper(self, trials: UnitTrials) -> FilterStepper:
        """Give the after-effects one bin at a time."""
        effect = self.weights[1:] @ self.basis
        return FilterStepper(self.weights[0], effect, mean=self.mean, ceiling=self.ceiling, trials=trials)

    def filter(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give lags in seconds, the log effect of a spike at each, and its standard error."""
        lag_s = np.arange(1, self.basis.shape[1] + 1) * self.bin_s
        spread = self.covariance[1:, 1:]
        error = np.sqrt(np.einsum("kl,km,ml->l", self.basis, spread, self.basis))
        return lag_s, self.weights[1:] @ self.basis, error


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoundedHistoryGLM(FittedHistoryGLM):
    """A history GLM with a bounded link.

    Attributes
    ----------
    log_bound : float
        Largest log mu. Further fields as in `FittedHistoryGLM`.
    """

    log_bound: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add intercept and history effect, up to the bound."""
        return np.minimum(FittedHistoryGLM.extend(self, trials, log_mu), self.log_bound)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give the after-effects one bin at a time, up to the bound."""
        return BoundedStepper(FittedHistoryGLM.stepper(self, trials), self.log_bound)


class _Choice(NamedTuple):
    """The best ridge: weights without the validation trials, their score, and the curvature to expect of all trials."""

    weights: np.ndarray
    ridge: float
    score: float
    curvature: np.ndarray


class _Remedy(NamedTuple):
    """What a fit is held back by: ridge, largest log mu, and a further precision matrix of the weights."""

    ridge: float
    log_bound: float
    excitation: np.ndarray | None


def _excitation(effect: np.ndarray, basis: np.ndarray, level: int) -> np.ndarray:
    """Give the precision matrix that penalises the filter where `effect` is positive, the intercept not at all."""
    excited = basis[:, effect > 0.0]
    low, high = np.log(_EXCITATION_PRECISIONS)
    precision = np.zeros((1 + len(basis), 1 + len(basis)))
    precision[1:, 1:] = np.exp(low + (high - low) * (level - 1) / (N_LEVELS - 1)) * (excited @ excited.T)
    return precision


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """The regression of one training set: what every ridge and subset of trials shares."""

    trials: UnitTrials
    design: HistoryDesign
    log_mu: np.ndarray
    likelihood: int

    def maximise(self, mask: np.ndarray, start: np.ndarray, ridge: float, tolerance_nats: float) -> Optimum:
        """Fit to the trials in `mask`."""
        run_pass = self._pass_over(mask, self.trials.scored)
        return maximise(run_pass, start, ridge_precision(start.size, ridge), tolerance_nats=tolerance_nats)

    def follow(
        self, mask: np.ndarray, start: np.ndarray, ridge: float, curvature: np.ndarray, tolerance_nats: float
    ) -> np.ndarray:
        """Come nearer to the optimum of the trials in `mask` with a curvature that is known already."""

        def run_slope(weights: np.ndarray) -> tuple[float, np.ndarray]:
            terms = (self.design, self.trials.counts, self.trials.scored, self.log_mu, mask, self.likelihood)
            return history_pass(weights, *terms, False)[:2]

        precision = ridge_precision(start.size, ridge)
        return follow(run_slope, start, precision, curvature, tolerance_nats=tolerance_nats)

    def climb(self, mask: np.ndarray, start: np.ndarray, remedy: _Remedy, tolerance_nats: float) -> Optimum:
        """Fit to the trials in `mask` with remedies.

        A bin that is at the bound has no slope. Without such bins the objective is concave, and the way to its summit
        leads uphill with them too: as far along it as is higher, then again.
        """
        weights, best = start, self._objective(mask, start, remedy)
        for _ in range(_MOST_ROUNDS):
            is_free = self.log_mu + self.effect(weights, mask) < remedy.log_bound
            run_pass = self._pass_over(mask, self.trials.scored & is_free, remedy.excitation)
            precision = ridge_precision(start.size, remedy.ridge)
            optimum = maximise(run_pass, weights, precision, tolerance_nats=tolerance_nats)
            way, share = optimum.weights - weights, 1.0
            while (reached := self._objective(mask, weights + share * way, remedy)) <= best and share > _SHORTEST_WAY:
                share *= 0.5
            if not reached > best + tolerance_nats:
                break
            weights, best = weights + share * way, reached
        return optimum._replace(weights=weights)

    def _objective(self, mask: np.ndarray, weights: np.ndarray, remedy: _Remedy) -> float:
        """Give the log-likelihood under the bound minus all penalties."""
        value = self.log_likelihood(weights, mask, remedy.log_bound)
        value -= 0.5 * float(ridge_precision(weights.size, remedy.ridge) @ weights**2)
        return value if remedy.excitation is None else value - 0.5 * float(weights @ remedy.excitation @ weights)

    def approach(self, mask: np.ndarray, ridge: float) -> np.ndarray:
        """Give weights to start from, fitted to more and more blocks of bins where there are spikes enough."""
        start = np.zeros(1 + self.design.basis.shape[0])
        every = thinning(int(self.trials.spikes_per_trial[mask].sum()), start.size)
        while every > 1:
            run_part = self._pass_over(mask, thin_blocks(self.trials.scored, every))
            start = approach(run_part, start, ridge_precision(start.size, ridge) / every)
            every //= 4
        return start

    def _pass_over(self, mask: np.ndarray, scored: np.ndarray, extra: np.ndarray | None = None) -> Callable:
        """Give the pass over these bins of the trials in `mask`, with a further precision matrix in the objective."""
        counts = self.trials.counts

        def run_pass(weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            found = history_pass(weights, self.design, counts, scored, self.log_mu, mask, self.likelihood, True)
            if extra is None:
                return found
            value, gradient, hessian = found
            pull = extra @ weights
            return value - 0.5 * float(weights @ pull), gradient - pull, hessian + extra

        return run_pass

    def effect(self, weights: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Give the log effect of history in every scored bin of the trials in `mask`."""
        return history_effect(weights, self.design, self.trials.scored, mask)

    def log_likelihood(self, weights: np.ndarray, mask: np.ndarray, log_bound: float = np.inf) -> float:
        """Score the trials in `mask`, without a ceiling of the effect."""
        log_mu = np.minimum(self.log_mu + self.effect(weights, mask), log_bound)[mask]
        return float(trial_log_likelihood(self.trials.take(mask), log_mu, self.likelihood).sum())
