"""No rung sees what it must not: a thousand poisoned bins each, and poisoned trials. Oracle: leaks planted on purpose.

A bin of a held-out trial is poisoned by another count, in the unit and in all units beside it. What a rung expects of
that bin and of those before it must stay the same to the bit. Held-out trials are poisoned as a whole to show that no
fit and no choice has looked at them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from cortexrnn.encoding import HistoryGLM, Network, UnitTrials
from cortexrnn.encoding.arrays import Neighbours
from cortexrnn.encoding.contamination import FittedGuard
from cortexrnn.encoding.hmm import HMM
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.encoding.stimulus import Stimulus
from cortexrnn.evaluation.ladder import QUICK_RUNGS, RUNGS, USUAL_RUNGS, ladder
from cortexrnn.evaluation.work import FoldFits, UnitCase, fold_work
from cortexrnn.spikes.folds import assign_folds

N_POISONED, N_BINS, N_BURN_IN, N_FOLDS = 1000, 150, 10, 3
# Rungs that no spike of the trial itself can move.
BLIND = ("M0", "M1", "M2", "S1")
SMALL = {"n_hidden": 4, "max_epochs": 2, "piece_s": 0.05}


def smaller(rung):
    """Give a rung with fewer units, epochs and starts; the code that it runs is the same."""
    if isinstance(rung, NetworkRung):
        return replace(rung, **SMALL)
    return replace(rung, n_starts=1, max_iterations=20) if isinstance(rung, HMM) else rung


def every_rung():
    """Give the usual ladder, that of all rungs on covariates, Bernoulli fits and remedies."""
    stimulus = Stimulus(lags_s=(0.0, 0.03), n_basis=(5,), ridges=(1.0, 10.0))
    rungs = {f"usual {name}": rung for name, rung in ladder(USUAL_RUNGS).items()}
    rungs |= ladder(RUNGS, stimulus=stimulus)
    above = {name: ladder(RUNGS, likelihood="bernoulli")[name] for name in ("M4", "MK", "M5", "M5 coupled", "M6")}
    rungs |= {f"bernoulli {name}": rung for name, rung in above.items()}
    usual = ladder()
    rungs |= {
        "M6 GRU": Network(cell="gru"),
        "M5 short": replace(usual["M5"], history_s=0.005),
        "M5 bounded": replace(usual["M5"], link="bounded"),
        "M5 stabilised": replace(usual["M5"], is_stabilised=True),
        "M6 bounded": replace(usual["M6"], link="bounded"),
        "M6 fed with its own spikes": replace(usual["M6"], own_spikes=0.5),
    }
    return {name: smaller(rung) for name, rung in rungs.items()}


EVERY_RUNG = every_rung()
GLM = HistoryGLM(history_s=0.02)


@dataclass(frozen=True, kw_only=True, slots=True)
class Peeking(Rung):
    """A leak on purpose, of one part in a thousand million: own or neighbours' spikes, `ahead` bins too early."""

    name: ClassVar[str] = "peek"
    meaning: ClassVar[str] = "leak"
    baseline: Rung | None = None
    ahead: int = 0
    own: bool = True

    def fit_on(self, trials, below, log_mu):
        return FittedPeek(below=None, spec=self)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedPeek(Fitted):
    """A fitted leak."""

    below: Fitted | None
    spec: Peeking

    def extend(self, trials, log_mu):
        seen = trials.counts if self.spec.own else trials.neighbours.counts[:, :, trials.neighbours.positions[0]]
        seen = np.roll(seen.astype(float), -self.spec.ahead, axis=1)
        # What was rolled around the ends of a trial is neither its past nor its future.
        seen[:, min(0, -self.spec.ahead) or N_BINS :] = 0.0
        seen[:, : max(0, -self.spec.ahead)] = 0.0
        return -3.0 + 1e-9 * seen


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Told(Rung):
    """A rung that was told of all trials beforehand, as where spikes are standardised before the folds are cut."""

    name: ClassVar[str] = "told"
    meaning: ClassVar[str] = "leak"
    baseline: Rung | None = None
    everything: UnitTrials

    def fit_on(self, trials, below, log_mu):
        return FittedMean(below=None, log_mean=float(np.log(self.everything.counts.mean())))


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedMean(Fitted):
    """A constant."""

    below: Fitted | None
    log_mean: float

    def extend(self, trials, log_mu):
        return np.full(trials.counts.shape, self.log_mean)


@pytest.fixture(scope="module")
def unit(make_unit):
    """24 trials of two conditions with a gain, a refractory bin, gaps, a covariate and two neighbours."""
    rng = np.random.default_rng(11)
    counts = np.zeros((24, N_BINS, 3), dtype=np.uint16)
    gain = rng.gamma(2.0, 0.5, (24, 1))
    for t in range(N_BINS):
        refractory = 1.0 if t == 0 else 1.0 - counts[:, t - 1]
        counts[:, t] = rng.random((24, 3)) < 0.08 * (1.0 + 0.5 * np.sin(t / 9.0)) * np.minimum(gain, 3.0) * refractory
    observed = np.repeat(rng.random((24, N_BINS // 10)) < 0.95, 10, axis=1)
    one = make_unit(counts[:, :, 0], observed=observed, n_burn_in=N_BURN_IN, condition=np.tile([0, 1], 12))
    counts[:, :, 0] = one.counts
    covariates = rng.standard_normal((24, N_BINS, 1))
    return one._replace(covariates=covariates, neighbours=Neighbours(counts, 0), covariate_names=("x",))


@pytest.fixture(scope="module")
def fold(unit):
    """Three folds."""
    return assign_folds(unit.condition, N_FOLDS)


@pytest.fixture(scope="module")
def fits(unit, fold):
    """Fits to all folds but the first, which the rungs share."""
    return FoldFits(unit.take(fold != 0), unit.take(fold == 0))


@pytest.fixture(scope="module")
def fits_beside_poison(unit, fold):
    """The same where nothing of the held-out trials is as it was."""
    return FoldFits(unit.take(fold != 0), poison_trials(unit, fold).take(fold == 0))


def poison_trials(unit, fold):
    """Change what was observed of the first fold in every bin: spikes, neighbours' spikes and covariates."""
    is_poisoned = unit.observed & (fold == 0)[:, None]
    beside = np.where(is_poisoned[:, :, None], 7 - unit.neighbours.counts, unit.neighbours.counts)
    return unit._replace(
        counts=np.where(is_poisoned, 7 - unit.counts, unit.counts),
        covariates=unit.covariates + 100.0 * is_poisoned[:, :, None],
        neighbours=unit.neighbours._replace(counts=beside),
    )


def poison_bins(test, seed):
    """Give a thousand scored bins, and for each a copy of its trial before and after it was poisoned."""
    rng = np.random.default_rng(seed)
    trial, bin_ = np.nonzero(test.scored)
    chosen = rng.permutation(trial.size)[:N_POISONED]
    trial, bin_ = trial[chosen], bin_[chosen]
    clean, each = test.take(trial), np.arange(N_POISONED)
    counts, beside = clean.counts.copy(), clean.neighbours.counts.copy()
    value = rng.choice([1, 7], (N_POISONED, 3))
    # No bin held more than one spike: those that held one are emptied or hold seven.
    beside[each, bin_] = np.where(value == 7, 7, 1 - beside[each, bin_])
    counts[each, bin_] = beside[each, bin_, 0]
    assert (counts[each, bin_] != clean.counts[each, bin_]).all()
    return bin_, clean, clean._replace(counts=counts, neighbours=clean.neighbours._replace(counts=beside))


def moved(fitted, test, seed):
    """Tell of every poisoned bin whether a prediction up to it moved, and whether one behind it did."""
    bin_, clean, poisoned = poison_bins(test, seed)
    changed = fitted.log_mu(clean) != fitted.log_mu(poisoned)
    is_past = np.arange(changed.shape[1]) <= bin_[:, None]
    return (changed & is_past).any(axis=1), (changed & ~is_past).any(axis=1)


@pytest.mark.parametrize("name", EVERY_RUNG)
def test_no_poisoned_bin_moves_its_own_prediction_or_an_earlier_one(fits, name):
    """To the bit, a thousand bins a rung, with the guard and without."""
    fitted = fits.fit(EVERY_RUNG[name])[0]
    for model in (fitted, fitted.below) if isinstance(fitted, FittedGuard) else (fitted,):
        leaks, answers = moved(model, fits.test, seed=1)
        assert leaks.size == N_POISONED
        assert leaks.sum() == 0
        # A rung that answers to nothing could not leak: the poison must show behind most poisoned bins.
        assert not answers.any() if EVERY_RUNG[name].name in BLIND else answers.mean() > 0.5


@pytest.mark.parametrize("ahead", [0, 1, 5])
@pytest.mark.parametrize("own", [True, False])
def test_a_planted_leak_shows_in_every_poisoned_bin(fits, ahead, own):
    leaks, _ = moved(Peeking(ahead=ahead, own=own).fit(fits.train), fits.test, seed=1)
    assert leaks.sum() == N_POISONED


@pytest.mark.parametrize("own", [True, False])
def test_spikes_of_the_bin_before_are_no_leak(fits, own):
    leaks, answers = moved(Peeking(ahead=-1, own=own).fit(fits.train), fits.test, seed=1)
    assert leaks.sum() == 0
    assert answers.mean() > 0.9


@pytest.mark.parametrize("name", EVERY_RUNG)
def test_poisoned_held_out_trials_leave_the_fit_as_it_was(fits, fits_beside_poison, name):
    """To the bit, on the training trials and on the held-out ones as they were."""
    first, second = (found.fit(EVERY_RUNG[name])[0] for found in (fits, fits_beside_poison))
    for trials in (fits.train, fits.test):
        np.testing.assert_array_equal(first.log_mu(trials), second.log_mu(trials))


def test_a_fit_that_was_told_of_held_out_trials_shows(unit, fold, fits):
    first, second = (Told(everything=told).fit(fits.train) for told in (unit, poison_trials(unit, fold)))
    assert (first.log_mu(fits.train) != second.log_mu(fits.train)).all()


def test_poisoned_held_out_trials_change_scores_but_no_choice(unit, fold):
    """What the history rung is chosen by is the same to the bit; the poison is not, so the scores are worse."""
    rungs = ladder(QUICK_RUNGS) | {"M5 short": GLM}
    cases = [
        UnitCase(name="a", trials=trials, fold=fold, seed=0, likelihood="poisson")
        for trials in (unit, poison_trials(unit, fold))
    ]
    first, second = (fold_work(case, rungs, 0) for case in cases)
    np.testing.assert_array_equal(first["validation"], second["validation"])
    assert np.isfinite(first["validation"]).sum() == 3
    assert (second["log_likelihood"] < first["log_likelihood"]).all()


def test_what_a_choice_is_made_by_does_depend_on_training_trials(unit, fold):
    """The first fold is trained on here, with its trials turned end to start."""
    turned = unit._replace(counts=np.where((fold == 0)[:, None], unit.counts[:, ::-1] * unit.observed, unit.counts))
    fits = [FoldFits(trials.take(fold != 1), trials.take(fold == 1)) for trials in (unit, turned)]
    first, second = (found.fit(GLM)[0].validation_log_likelihood for found in fits)
    assert first != second
