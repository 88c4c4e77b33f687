"""The units of work of a comparison. Oracles: the rungs fitted one by one, and leaks planted on purpose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from cortexrnn.encoding import PSTH, CausalGain, Constant, Drift, HistoryGLM, Renewal
from cortexrnn.encoding.contamination import guarded
from cortexrnn.encoding.likelihood import POISSON, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.evaluation.work import (
    EXCHANGED,
    SIMULATED,
    TIMESCALE_WINDOWS_S,
    FoldFits,
    UnitCase,
    _make_surrogate,
    fold_work,
    leaks,
    panel_work,
    surrogate_work,
)
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import simulate_spikes

GLM = HistoryGLM(history_s=0.05)
RUNGS = {"M0": Constant(), "M1": PSTH(), "M3": CausalGain(), "M4": Renewal(), "M5": GLM}


@pytest.fixture
def case(make_unit):
    """Twenty trials of two conditions with a dead time and gaps."""
    rate_hz = np.tile(40.0 + 30.0 * np.sin(np.arange(160) / 15.0), (20, 1))
    counts = simulate_spikes(rate_hz, 0.001, dead_time_s=0.003, seed=1)
    observed = np.repeat(np.random.default_rng(1).random((20, 16)) < 0.95, 10, axis=1)
    unit = make_unit(counts, observed=observed, n_burn_in=30, condition=np.tile([0, 1], 10))
    return UnitCase(name="a", trials=unit, fold=assign_folds(unit.condition, 4), seed=7, likelihood="poisson")


@dataclass(frozen=True, kw_only=True, slots=True)
class Peeking(Rung):
    """A rung that looks `ahead` bins into the future, or at its own bin."""

    name: ClassVar[str] = "peek"
    meaning: ClassVar[str] = "leak"
    baseline: Rung | None = None
    ahead: int = 0

    def fit_on(self, trials, below, log_mu):
        return FittedPeek(below=None, ahead=self.ahead)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedPeek(Fitted):
    """A fitted leak."""

    below: Fitted | None
    ahead: int

    def extend(self, trials, log_mu):
        seen = np.roll(trials.counts.astype(float), -self.ahead, axis=1)
        if self.ahead:
            seen[:, -self.ahead :] = 0.0
        return -3.0 + 1e-9 * seen


def test_sharing_lower_rungs_gives_the_bits_of_fitting_them_one_by_one(case):
    train, test = case.trials.take(case.fold != 0), case.trials.take(case.fold == 0)
    fits = FoldFits(train, test)
    for spec in RUNGS.values():
        np.testing.assert_array_equal(fits.fit(spec)[1], guarded(spec).fit(train).log_mu(test))


def test_lower_rungs_are_fitted_once(case):
    fits = FoldFits(case.trials.take(case.fold != 0), case.trials.take(case.fold == 0))
    gain = fits.fit(CausalGain())[0]
    # A rung that sees history stands below its guard.
    assert fits.fit(GLM)[0].below.below is gain
    assert fits.fit(Renewal())[0].below.below is gain
    assert fits.fit(Drift())[0] is gain.below


def test_a_fold_is_scored_by_rungs_that_never_saw_it(case):
    """Oracle: fit and score by hand; and garbage in the held-out trials leaves the fit as it was."""
    result = fold_work(case, RUNGS, 2)
    train, test = case.trials.take(case.fold != 2), case.trials.take(case.fold == 2)
    for j, spec in enumerate(RUNGS.values()):
        expected = trial_log_likelihood(test, guarded(spec).fit(train).log_mu(test), POISSON)
        np.testing.assert_array_equal(result["log_likelihood"][j], expected)
    poisoned = case.trials.counts.copy()
    poisoned[case.fold == 2] = np.where(case.trials.observed[case.fold == 2], 40, 0)
    bad = fold_work(replace(case, trials=case.trials._replace(counts=poisoned)), RUNGS, 2)
    np.testing.assert_array_equal(bad["validation"], result["validation"])
    assert (bad["log_likelihood"] != result["log_likelihood"]).all()


def test_only_history_rungs_have_a_validation_score(case):
    validation = fold_work(case, RUNGS, 0)["validation"]
    np.testing.assert_array_equal(np.isnan(validation), [True, True, True, False, False])


def test_spikes_by_age_add_up(case):
    """Oracle: all scored spikes of the fold, and all expected ones of each rung."""
    result = fold_work(case, RUNGS, 1)
    train, test = case.trials.take(case.fold != 1), case.trials.take(case.fold == 1)
    assert result["age_spikes"].sum() == test.spikes_per_trial.sum()
    # Dead time: no spike follows another by less than four bins.
    assert not result["age_spikes"][1:4].any()
    for j, spec in enumerate(RUNGS.values()):
        total = np.exp(guarded(spec).fit(train).log_mu(test))[test.scored].sum()
        assert result["age_expected"][j].sum() == pytest.approx(total, rel=1e-12)
    # Only the renewal rung knows of the dead time, as far as so few spikes outweigh its prior.
    assert result["age_expected"][1][1:4].sum() > 2.0 * result["age_expected"][3][1:4].sum()


def test_windows_of_the_time_scale_reuse_the_ridge(case):
    rows = fold_work(case, RUNGS, 0)["timescale"]
    assert rows.shape == (len(TIMESCALE_WINDOWS_S), 5)
    train, test = case.trials.take(case.fold != 0), case.trials.take(case.fold == 0)
    guard = guarded(GLM).fit(train)
    for row, window_s in zip(rows, TIMESCALE_WINDOWS_S, strict=True):
        fitted = replace(GLM, history_s=window_s, ridges=(guard.below.ridge,)).fit(train)
        # The same optimum, come to from another start: a thousandth of the last step's 1e-6 nats.
        expected = trial_log_likelihood(test, guard.mix(fitted.log_mu(test)), POISSON)
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_only_a_ladder_with_m5_has_a_time_scale(case):
    assert "timescale" not in fold_work(case, {"M0": Constant()}, 0)


def test_surrogates_are_scored_by_the_whole_pipeline(case):
    """Oracle: the folds' work on the surrogate trials."""
    result = surrogate_work(case, RUNGS, EXCHANGED, 3)
    surrogate = replace(case, trials=_make_surrogate(case, EXCHANGED, 3))
    assert (surrogate.trials.counts != case.trials.counts).any()
    np.testing.assert_array_equal(result["n_spikes"], surrogate.trials.spikes_per_trial)
    for k in range(4):
        fold = fold_work(surrogate, RUNGS, k)
        np.testing.assert_array_equal(result["log_likelihood"][:, case.fold == k], fold["log_likelihood"])
        np.testing.assert_array_equal(result["validation"][k], fold["validation"])


def test_surrogates_differ_from_each_other_and_repeat_with_the_seed(case):
    first, again, other = (_make_surrogate(case, EXCHANGED, b).counts for b in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    elsewhere = _make_surrogate(replace(case, seed=8), EXCHANGED, 0).counts
    assert (first != elsewhere).any()


def test_simulated_surrogates_keep_rate_and_gain_and_lose_history(make_unit):
    """Oracle: the law they are drawn from: Gamma gain times PSTH, Poisson spikes."""
    rng = np.random.default_rng(2)
    gain = rng.gamma(4.0, 0.25, 300)
    counts = rng.poisson(0.04 * gain[:, None], (300, 200))
    counts[:, 1:] *= counts[:, :-1] == 0
    observed = np.ones(counts.shape, dtype=bool)
    observed[:, 190:] = False
    unit = make_unit(counts, observed=observed)
    case = UnitCase(name="a", trials=unit, fold=assign_folds(unit.condition, 2), seed=1, likelihood="poisson")
    drawn = _make_surrogate(case, SIMULATED, 0)
    assert not drawn.counts[:, 190:].any()
    totals, original = drawn.spikes_per_trial, unit.spikes_per_trial
    # Negative-binomial totals: mean 7.5, variance 7.5 + .25 * 56; four standard errors.
    assert abs(totals.mean() - original.mean()) < 4.0 * np.sqrt(2.0 * 21.5 / 300)
    assert 10.0 < totals.var() < 40.0
    pairs = np.sum((drawn.counts[:, 1:190] > 0) & (drawn.counts[:, :189] > 0))
    # Neighbouring spikes, absent from the data: 0.0385^2 (1 + .25) * 189 * 300 = 105 expected.
    assert 60 < pairs < 160


def test_simulated_bernoulli_surrogates_hold_one_spike_a_bin(make_unit):
    counts = (np.random.default_rng(3).random((20, 100)) < 0.3).astype(int)
    unit = make_unit(counts)
    case = UnitCase(
        name="a", trials=unit, fold=assign_folds(unit.condition, 2), seed=1, likelihood="bernoulli"
    )
    assert _make_surrogate(case, SIMULATED, 0).counts.max() == 1
    assert _make_surrogate(replace(case, likelihood="poisson"), SIMULATED, 0).counts.max() > 1


def test_a_leak_is_found_wherever_it_is(case):
    rng = stream(0, "test")
    assert leaks(Peeking(ahead=0).fit(case.trials), case.trials, rng)
    # The past is allowed, and so is what no spike can change.
    for spec in RUNGS.values():
        assert not leaks(spec.fit(case.trials), case.trials, rng)
    found = [leaks(Peeking(ahead=5).fit(case.trials), case.trials, rng) for _ in range(20)]
    # A peek of five bins shows unless the changed bin is among the first five.
    assert np.mean(found) > 0.8


def test_a_leaking_rung_is_named_in_the_results(case):
    result = fold_work(case, RUNGS | {"peek": Peeking()}, 0)
    np.testing.assert_array_equal(result["leaks"], [False] * 5 + [True])


def test_figures_are_fitted_to_all_trials(case):
    panel = panel_work(case, RUNGS, GLM)
    fitted = GLM.fit(case.trials)
    np.testing.assert_array_equal(panel["filter"], fitted.filter()[1])
    first = np.array([0, 1])
    np.testing.assert_array_equal(
        panel["psth_log_mu"], PSTH().fit(case.trials).log_mu(case.trials.take(first))
    )
