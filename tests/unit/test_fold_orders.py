"""Random against contiguous folds. Oracles: rungs fitted one by one, gains by hand, drifts planted on purpose."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.encoding import PSTH, CausalGain, Constant, Drift, HistoryGLM
from cortexrnn.encoding.contamination import guarded
from cortexrnn.encoding.likelihood import POISSON, trial_log_likelihood
from cortexrnn.evaluation.fold_orders import REFOLDED, compare_fold_orders, refold, refold_work
from cortexrnn.evaluation.ladder import QUICK_RUNGS
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.evaluation.work import FoldFits, UnitCase
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import simulate_spikes

RUNGS = {"M0": Constant(), "M1": PSTH(), "M2": Drift(), "M3": CausalGain(), "M5": HistoryGLM(history_s=0.02)}
N_TRIALS, N_BINS = 60, 300


def make_case(make_unit, factor, *, seed=1, order="contiguous"):
    """Trials at 20 Hz with a dead time of 3 ms, times a factor a trial."""
    rate_hz = 20.0 * np.broadcast_to(factor, (N_TRIALS,))[:, None] * np.ones(N_BINS)
    unit = make_unit(simulate_spikes(rate_hz, 0.001, dead_time_s=0.003, seed=seed), n_burn_in=20)
    fold = assign_folds(unit.condition, 5, order=order, seed=7)
    return UnitCase(name="a", trials=unit, fold=fold, seed=7, likelihood="poisson")


def score(case, rungs):
    """Lay the folds' scores back onto the trials."""
    rows = np.empty((len(rungs), N_TRIALS))
    for k in range(case.n_folds):
        rows[:, case.fold == k] = refold_work(case, rungs, k)["log_likelihood"]
    return dict(zip(rungs, rows, strict=True))


def both_orders(case, rungs=RUNGS):
    """Score contiguous and random folds and compare them."""
    scores = score(case, rungs), score(refold(case), rungs)
    return compare_fold_orders(*scores, case.trials.spikes_per_trial, n_folds=5, rope=0.01)


def test_all_rungs_without_networks_are_folded_twice():
    assert REFOLDED == QUICK_RUNGS


def test_folds_are_dealt_in_the_other_order(make_unit):
    """Contiguous folds become the random ones of the same seed, and random ones contiguous."""
    case = make_case(make_unit, 1.0)
    other = refold(case)
    expected = assign_folds(case.trials.condition, 5, order="random", seed=7)
    np.testing.assert_array_equal(other.fold, expected)
    np.testing.assert_array_equal(refold(other).fold, case.fold)
    assert other.trials is case.trials
    np.testing.assert_array_equal(np.bincount(other.fold), np.bincount(case.fold))


def test_a_training_set_that_nobody_observed_cannot_be_fitted(make_unit):
    """Only the trials of one random fold were recorded: without that fold nothing is left."""
    case = make_case(make_unit, 1.0)
    lost = assign_folds(case.trials.condition, 5, order="random", seed=7) != 2
    scored = case.trials.scored & ~lost[:, None]
    blind = replace(case, trials=case.trials._replace(scored=scored, observed=scored))
    assert refold(blind) is None


def test_a_fold_is_scored_by_rungs_that_never_saw_it(make_unit):
    """Oracle: fit and score by hand."""
    case = refold(make_case(make_unit, 1.0))
    found = refold_work(case, RUNGS, 2)["log_likelihood"]
    train, test = case.trials.take(case.fold != 2), case.trials.take(case.fold == 2)
    for row, rung in zip(found, RUNGS.values(), strict=True):
        np.testing.assert_array_equal(row, trial_log_likelihood(test, guarded(rung).fit(train).log_mu(test), POISSON))


def test_every_observation_model_can_be_folded_twice(make_unit):
    """Oracle: the shared scorer of the comparison's own folds."""
    case = refold(make_case(make_unit, 1.0))
    for likelihood in ("bernoulli", "negative binomial"):
        other = replace(case, likelihood=likelihood)
        fits = FoldFits(case.trials.take(case.fold != 1), case.trials.take(case.fold == 1))
        rungs = {"M0": RUNGS["M0"], "M1": RUNGS["M1"]}
        found = refold_work(other, rungs, 1)["log_likelihood"]
        for row, rung in zip(found, rungs.values(), strict=True):
            np.testing.assert_array_equal(row, fits.score(rung, fits.fit(rung)[1], likelihood))


def test_changes_are_gains_of_random_over_contiguous_folds():
    rng = np.random.default_rng(3)
    n = rng.poisson(5.0, 20) + 1
    contiguous, random = ({name: rng.normal(size=20) for name in ("M1", "M3", "M5")} for _ in range(2))
    found = compare_fold_orders(contiguous, random, n, n_folds=5, rope=0.01)
    for name in contiguous:
        assert found.changes[name] == gain_interval(random[name], contiguous[name], n, 5)
    # Gain of M5 over M3 with random folds minus that with contiguous ones.
    after, before = (gain_interval(scores["M5"], scores["M3"], n, 5).value for scores in (random, contiguous))
    assert found.history_change.value == pytest.approx(after - before, rel=1e-12)
    assert found.telltale == "M1"


def test_a_step_of_the_rate_is_found_as_drift(make_unit):
    """The last fifth of the session fires four times as much: contiguous folds cannot foresee it."""
    factor = np.where(np.arange(N_TRIALS) >= 48, 4.0, 1.0)
    found = both_orders(make_case(make_unit, factor))
    assert found.telltale == "M2"
    assert found.is_drifting
    assert "the rate drifts over the session" in found.sentence
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.slow
def test_a_steady_unit_is_hardly_ever_said_to_drift(make_unit):
    """Forty steady units; at 5 % a side one or two would be expected, of which the region of equivalence takes some."""
    rungs = {name: RUNGS[name] for name in ("M1", "M2", "M3")} | {"M5": Constant()}
    drifting = [both_orders(make_case(make_unit, 1.0, seed=seed), rungs).is_drifting for seed in range(40)]
    assert sum(drifting) <= 4


def test_few_spikes_say_nothing():
    n = np.zeros(20, dtype=int)
    n[3] = 20
    scores = {name: np.zeros(20) for name in ("M1", "M3", "M5")}
    found = compare_fold_orders(scores, scores, n, n_folds=5, rope=0.01)
    assert found.sentence == ""
    assert not found.is_drifting
    assert found.to_dict()["rungs"]["M1"] == {"value": None, "ci": None}
    silent = compare_fold_orders(scores, scores, np.zeros(20, dtype=int), n_folds=5, rope=0.01)
    json.dumps(silent.to_dict(), allow_nan=False)
