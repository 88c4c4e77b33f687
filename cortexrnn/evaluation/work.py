"""The pure units of work of a comparison: one fold of one unit, one seed of its networks, one surrogate."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.contamination import FittedGuard, guarded
from cortexrnn.encoding.gain import CausalGain, FittedGain
from cortexrnn.encoding.glm import FittedHistoryGLM, HistoryGLM
from cortexrnn.encoding.likelihood import (
    LIKELIHOODS,
    NEGATIVE_BINOMIAL,
    count_dispersion,
    draw_gains,
    mean_likelihood,
    negative_binomial_log_likelihood,
    trial_log_likelihood,
)
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.renewal import age_steps, sum_by_step
from cortexrnn.encoding.simulation import draw_without_history
from cortexrnn.evaluation.copying import copy_fold
from cortexrnn.evaluation.ladder import TWINS
from cortexrnn.evaluation.rescaling import wind_clock
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.surrogates import exchange_trials

AGE_WINDOW_S = 0.1
# Rungs that are held against the data on the rescaled clock: what the stimulus says, and what history adds.
JUDGED = ("M1", "S1", "M5")
# Rungs that copy the trials on their own spikes.
RUNS_FREELY = ("M5", *TWINS)
TIMESCALE_WINDOWS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
EXCHANGED = "trial exchange"
SIMULATED = "simulated from M3"
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, eq=False)
class UnitCase:
    """One unit under comparison.

    Attributes
    ----------
    name : str
        Unit id; part of the key of every random stream.
    trials : UnitTrials
        All trials.
    fold : ndarray of int64, shape (n_trials,)
        Fold in which each trial is held out.
    seed : int
        The user's seed.
    likelihood : str
        Observation model of the scorer.
    control : CausalGain
        M3 of the ladder.
    """

    name: str
    trials: UnitTrials
    fold: np.ndarray
    seed: int
    likelihood: str
    control: CausalGain = CausalGain()

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1

    @functools.cached_property
    def null(self) -> FittedGain:
        """The unit without history, fitted to all trials: what surrogates are simulated from."""
        return self.control.fit(self.trials)

    @functools.cached_property
    def null_dispersion(self) -> float:
        """Dispersion of the counts around what `null` expects; 0 unless the observation model has one."""
        if self.likelihood != NEGATIVE_BINOMIAL:
            return 0.0
        return count_dispersion(self.trials, self.null.log_mu(self.trials))


class FoldFits:
    """Fits of many rungs to one training set, sharing every rung below them.

    Parameters
    ----------
    train, test : UnitTrials
        Training and held-out trials.
    """

    def __init__(self, train: UnitTrials, test: UnitTrials):
        self.train = train
        self.test = test
        self._fitted: dict[Rung, Fitted] = {}
        self._on_train: dict[Rung, np.ndarray] = {}
        self._on_test: dict[Rung, np.ndarray] = {}
        self._dispersion: dict[Rung, float] = {}

    def fit(self, rung: Rung) -> tuple[Fitted, np.ndarray]:
        """Give the fitted rung, guarded where it sees history, and its log mu of the test trials."""
        rung = guarded(rung)
        return self._fit(rung), self._test(rung)

    def fit_with_ridge(self, glm: HistoryGLM, ridge: float) -> np.ndarray:
        """Fit a history GLM with a given ridge and give its log mu of the test trials."""
        below = self._fit(glm.baseline)
        fitted = glm.fit_with_ridge(self.train, below, self._train(glm.baseline), ridge)
        return fitted.extend(self.test, self._test(glm.baseline))

    def score(self, rung: Rung, log_mu: np.ndarray, likelihood: str) -> np.ndarray:
        """Give the log-likelihood of every test trial under a prediction of this rung, or of one of its kind."""
        if likelihood != NEGATIVE_BINOMIAL:
            return trial_log_likelihood(self.test, log_mu, LIKELIHOODS[likelihood])
        return negative_binomial_log_likelihood(self.test, log_mu, self.dispersion(rung, likelihood))

    def dispersion(self, rung: Rung, likelihood: str) -> float:
        """Give the dispersion of the training counts around what the rung expects; 0 unless the law has one."""
        if likelihood != NEGATIVE_BINOMIAL:
            return 0.0
        if rung not in self._dispersion:
            self._dispersion[rung] = count_dispersion(self.train, self._train(guarded(rung)))
        return self._dispersion[rung]

    def _fit(self, rung: Rung) -> Fitted:
        """Fit a rung once, on the rung below it."""
        if rung not in self._fitted:
            below = None if rung.baseline is None else self._fit(rung.baseline)
            self._fitted[rung] = rung.fit_on(self.train, below, self._train(rung.baseline))
        return self._fitted[rung]

    def _train(self, rung: Rung | None) -> np.ndarray:
        """Give log mu of the training trials as the rung above should see it, once; 0 on the ground."""
        if rung is None:
            return np.zeros(self.train.counts.shape)
        if rung not in self._on_train:
            self._on_train[rung] = self._fit(rung).on_training(self.train, self._train(rung.baseline))
        return self._on_train[rung]

    def _test(self, rung: Rung | None) -> np.ndarray:
        """Give log mu of the test trials, once; 0 on the ground."""
        if rung is None:
            return np.zeros(self.test.counts.shape)
        if rung not in self._on_test:
            self._on_test[rung] = self._fit(rung).extend(self.test, self._test(rung.baseline))
        return self._on_test[rung]


def fold_work(case: UnitCase, rungs: Mapping[str, Rung], k: int, n_copies: int = 0) -> Arrays:
    """Fit every rung on all folds but `k` and score fold `k`.

    Parameters
    ----------
    case : UnitCase
    rungs : mapping of str to Rung
    k : int
    n_copies : int
        Copies of every held-out trial that each of `RUNS_FREELY` among the rungs makes on its own spikes.

    Returns
    -------
    dict of ndarray
        ``log_likelihood`` (n_rungs, n_test); ``validation`` (n_rungs,), NaN for rungs that are no
        candidates; ``age_expected`` (n_rungs, n_steps) and ``age_spikes`` (n_steps,), expected and
        observed spikes of the test trials by bins since the last spike; ``leaks`` (n_rungs,) bool;
        ``timescale`` (n_windows, n_test), scores of history GLMs of growing windows
        (`TIMESCALE_WINDOWS_S`) with the ridge that M5 chose, where M5 is among the rungs; and for
        each of `JUDGED` among the rungs its clock on the test trials, under ``"M5 quiet"`` and so on
        (see `cortexrnn.evaluation.rescaling.Clock`); with copies also what `copy_fold` gives, under ``"M5 copied"`` and
        so on, unless the observation model is the negative binomial.
    """
    train, test = case.trials.take(case.fold != k), case.trials.take(case.fold == k)
    fits = FoldFits(train, test)
    n_lags = max(1, round(AGE_WINDOW_S / test.bin_s))
    steps = age_steps(test.counts, test.observed, n_lags)
    rows: dict[str, list] = {"log_likelihood": [], "validation": [], "age_expected": [], "leaks": []}
    spikes = np.zeros(n_lags + 2)
    extra: Arrays = {}
    for name, rung in rungs.items():
        fitted, log_mu = fits.fit(rung)
        log_mu = np.ascontiguousarray(log_mu)
        if name in JUDGED:
            rng = stream(case.seed, "gains", case.name, name, k)
            gained = draw_gains(test, log_mu, fits.dispersion(rung, case.likelihood), rng)
            clock = wind_clock(test, gained, likelihood=mean_likelihood(case.likelihood))
            extra |= {f"{name} {field}": values for field, values in clock._asdict().items()}
        # Nothing draws negative-binomial counts bin by bin.
        if name in RUNS_FREELY and n_copies and case.likelihood in LIKELIHOODS:
            seed = int(stream(case.seed, "copies", case.name, name, k).integers(2**62))
            copied = copy_fold(fitted, test, log_mu, n_copies=n_copies, likelihood=case.likelihood, seed=seed)
            extra |= {f"{name} {field}": values for field, values in copied.items()}
        spikes_by_trial, expected = sum_by_step(test.counts, test.scored, log_mu, steps, n_lags + 2)
        spikes = spikes_by_trial.sum(axis=0)
        rows["log_likelihood"].append(fits.score(rung, log_mu, case.likelihood))
        rows["validation"].append(fitted.validation_log_likelihood if _is_candidate(rung) else np.nan)
        rows["age_expected"].append(expected.sum(axis=0))
        rows["leaks"].append(leaks(fitted, test, stream(case.seed, "leak probe", case.name, k)))
    if "M5" in rungs:
        glm = rungs["M5"]
        rows["timescale"] = [fits.score(glm, log_mu, case.likelihood) for log_mu in _by_window(fits, glm)]
    return {name: np.array(values) for name, values in rows.items()} | {"age_spikes": spikes} | extra


def _by_window(fits: FoldFits, glm: HistoryGLM) -> list[np.ndarray]:
    """Give log mu of the test trials under history GLMs of growing windows, with the ridge and the guard of the GLM."""
    guard: FittedGuard = fits.fit(glm)[0]
    windows_s = [max(window_s, fits.train.bin_s) for window_s in TIMESCALE_WINDOWS_S]
    ridge = guard.below.ridge
    return [guard.mix(fits.fit_with_ridge(replace(glm, history_s=window_s), ridge)) for window_s in windows_s]


def surrogate_work(case: UnitCase, rungs: Mapping[str, Rung], kind: str, b: int) -> Arrays:
    """Make surrogate `b` and run the whole ladder without networks on it, choices included.

    Returns
    -------
    dict of ndarray
        ``log_likelihood`` (n_rungs, n_trials), ``validation`` (n_folds, n_rungs) and ``n_spikes``
        (n_trials,) of the surrogate.
    """
    trials = _make_surrogate(case, kind, b)
    log_likelihood = np.empty((len(rungs), case.fold.size))
    validation = np.full((case.n_folds, len(rungs)), np.nan)
    for k in range(case.n_folds):
        is_test = case.fold == k
        fits = FoldFits(trials.take(~is_test), trials.take(is_test))
        for j, rung in enumerate(rungs.values()):
            fitted, log_mu = fits.fit(rung)
            log_likelihood[j, is_test] = fits.score(rung, log_mu, case.likelihood)
            if _is_candidate(rung):
                validation[k, j] = fitted.validation_log_likelihood
    return {
        "log_likelihood": log_likelihood,
        "validation": validation,
        "n_spikes": trials.spikes_per_trial,
    }


def panel_work(case: UnitCase, rungs: Mapping[str, Rung], glm: HistoryGLM) -> Arrays:
    """Fit the PSTH and the history GLM to all trials, for the figures.

    Returns
    -------
    dict of ndarray
        ``psth_log_mu`` (n_conditions, n_bins), ``lag_s``, ``filter`` and ``filter_error`` (n_lags,).
    """
    fits = FoldFits(case.trials, case.trials)
    fitted: FittedHistoryGLM = fits.fit(glm)[0].below
    lag_s, effect, error = fitted.filter()
    conditions = np.unique(case.trials.condition)
    first = np.array([np.flatnonzero(case.trials.condition == c)[0] for c in conditions])
    psth = rungs["M1"].fit(case.trials).log_mu(case.trials.take(first))
    return {"psth_log_mu": psth, "lag_s": lag_s, "filter": effect, "filter_error": error}


def leaks(fitted: Fitted, trials: UnitTrials, rng: np.random.Generator) -> bool:
    """Tell whether a change of all units' spikes in one bin moves the prediction of that bin or an earlier one.

    The prediction must stay the same to the bit: it may depend on the past only.
    """
    if not trials.scored.any():
        return False
    trial = int(rng.choice(np.flatnonzero(trials.scored.any(axis=1))))
    t = int(rng.choice(np.flatnonzero(trials.scored[trial])))
    one = trials.take(np.array([trial]))
    counts = one.counts.copy()
    counts[0, t] = 0 if counts[0, t] else 1
    changed = one._replace(counts=counts)
    if one.neighbours is not None:
        beside = one.neighbours.counts.copy()
        beside[0, t] = beside[0, t] == 0
        changed = changed._replace(neighbours=one.neighbours._replace(counts=beside))
    return not np.array_equal(fitted.log_mu(one)[0, : t + 1], fitted.log_mu(changed)[0, : t + 1])


def _is_candidate(rung: Rung) -> bool:
    """Tell whether a rung may be chosen as the history rung."""
    return rung.sees_history and rung.is_candidate


def _make_surrogate(case: UnitCase, kind: str, b: int) -> UnitTrials:
    """Give trials with the same PSTH (and gain, where simulated) and no history."""
    rng = stream(case.seed, "surrogate", case.name, kind, b)
    trials = case.trials
    if kind == EXCHANGED:
        counts = exchange_trials(trials.counts, trials.observed, trials.condition, rng)
        return trials._replace(counts=counts)
    dispersion = case.null_dispersion
    counts = draw_without_history(case.null, trials, case.likelihood, rng, dispersion=dispersion)
    return trials._replace(counts=counts)
