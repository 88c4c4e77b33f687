"""How results of units of work fit together. Oracles: the work itself run by hand, and made-up results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.encoding import RNN
from cortexrnn.evaluation.goodness import goodness_of_fit
from cortexrnn.evaluation.ladder import ladder
from cortexrnn.evaluation.noise_ceiling import ceiling_work
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.plan import UnitPlan
from cortexrnn.evaluation.work import EXCHANGED, JUDGED, SIMULATED, FoldFits, UnitCase, fold_work
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import simulate_spikes

OPTIONS = CompareOptions(n_folds=3, n_surrogates=2, n_copies=0, n_seeds=2, history_windows_s=(0.01,))
NETWORK = {"n_hidden": 2, "max_epochs": 1}


@pytest.fixture
def case(make_unit):
    """Twelve trials with a dead time."""
    counts = simulate_spikes(np.full((12, 320), 60.0), 0.001, dead_time_s=0.003, seed=1)
    unit = make_unit(counts, n_burn_in=20)
    return UnitCase(name="a", trials=unit, fold=assign_folds(unit.condition, 3), seed=3, likelihood="poisson")


def make_plan(case, *, with_networks=False, options=OPTIONS, code="code"):
    """Plan a comparison of M0, M1, M3 and M5, and of small networks."""
    models = ladder([])
    if with_networks:
        models |= {"M6": RNN(**NETWORK), "M6cut": RNN(uses_own_spikes=False, **NETWORK)}
    return UnitPlan(case, models, options, code)


def run(works):
    """Run units of work in order."""
    return {work.key: work.run() for work in works}


def kinds(works):
    """Count the works by their label."""
    labels = [work.label.removeprefix("unit a: ") for work in works]
    return {label: labels.count(label) for label in labels}


def test_every_fold_seed_and_surrogate_is_a_unit_of_work(case):
    plan = make_plan(case, with_networks=True)
    works = plan.fits()
    assert kinds(works) == {"ladder": 3, "ladder, other folds": 3, "ceiling": 1, "figures": 1, "networks": 6}
    assert len({work.key for work in works}) == len(works)
    assert kinds(make_plan(case).fits()) == {"ladder": 3, "ladder, other folds": 3, "ceiling": 1, "figures": 1}
    blocks = make_plan(replace(case, trials=case.trials._replace(is_locked=False)))
    assert "ceiling" not in kinds(blocks.fits())


def test_keys_depend_on_everything_that_changes_a_number(case):
    """Else a resumed run would take results that belong to another question."""
    keys = {make_plan(case).fits()[0].key}
    changed_counts = case.trials.counts.copy()
    changed_counts[0, 30] += 1
    variants = [
        make_plan(replace(case, seed=4)),
        make_plan(replace(case, name="b")),
        make_plan(replace(case, likelihood="bernoulli")),
        make_plan(replace(case, fold=case.fold[::-1].copy())),
        make_plan(replace(case, trials=case.trials._replace(counts=changed_counts))),
        make_plan(replace(case, trials=case.trials._replace(bin_s=0.002))),
        make_plan(replace(case, trials=case.trials._replace(start_s=case.trials.start_s + 1.0))),
        make_plan(replace(case, trials=case.trials._replace(is_locked=False))),
        make_plan(case, code="other code"),
        make_plan(case, options=CompareOptions(n_folds=3, history_windows_s=(0.02,))),
        make_plan(case, with_networks=True),
    ]
    keys |= {plan.fits()[0].key for plan in variants}
    assert len(keys) == 1 + len(variants)
    assert make_plan(case).fits()[0].key in keys


def test_goodness_of_fit_is_that_of_all_held_out_trials_glued(case):
    """Each fold's clock knows its own trials; together they are the test of the whole held-out prediction."""
    plan = make_plan(case)
    fits = run(plan.fits())
    scores = plan.collect(fits | run(plan.surrogates(fits)))
    log_mu = np.empty(case.trials.counts.shape)
    for k in range(3):
        is_test = case.fold == k
        fits = FoldFits(case.trials.take(~is_test), case.trials.take(is_test))
        log_mu[is_test] = fits.fit(ladder([])["M5"])[1]
    expected = goodness_of_fit(case.trials, log_mu, seed=case.seed)
    assert set(scores.goodness) == {"M1", "M5"}
    assert scores.goodness["M5"].to_dict() == expected.to_dict()
    assert scores.goodness["M1"].to_dict() != expected.to_dict()


def test_scores_are_laid_back_onto_their_trials(case):
    plan = make_plan(case)
    fits = run(plan.fits())
    results = fits | run(plan.surrogates(fits))
    scores = plan.collect(results)
    for k in range(3):
        rows = fold_work(case, plan.plain, k)["log_likelihood"]
        for j, name in enumerate(plan.plain):
            np.testing.assert_array_equal(scores.log_likelihood[name][0, case.fold == k], rows[j])
    assert list(plan.plain) == ["M0", "M1", "M3", "M5", "M5 10 ms"]
    assert scores.timescale.shape == (8, 12)
    assert scores.leaking == []
    assert scores.n_leak_probes == 3 * 5
    assert scores.age_spikes.sum() == case.trials.spikes_per_trial.sum()


def silent_clock(n_trials):
    """Give the clock of trials without spikes."""
    spikes = {"quiet": np.zeros(0), "mu": np.zeros(0), "n_spikes": np.zeros(0, int)}
    return spikes | {"n_with": np.zeros(n_trials, int), "rest": np.ones(n_trials), "n_scored": np.full(n_trials, 300)}


def fake_results(plan, scores_of_fold, validation):
    """Make results of the ladder's folds: scores by rung, validation scores by fold and rung."""
    n_rungs = len(plan.plain)
    results = {}
    for k, row in enumerate(validation):
        n_test = int((plan.case.fold == k).sum())
        results[plan._key("fold", k)] = {
            "log_likelihood": np.repeat(np.array(scores_of_fold, dtype=float)[:, None], n_test, axis=1),
            "validation": np.array(row, dtype=float),
            "age_expected": np.tile(0.5 + np.arange(n_rungs)[:, None], (1, 102)),
            "age_spikes": np.ones(102),
            "leaks": np.zeros(n_rungs, dtype=bool),
            "timescale": np.zeros((8, n_test)),
            **{f"{name} {field}": values for name in JUDGED for field, values in silent_clock(n_test).items()},
        }
        other = int((plan.refolded.fold == k).sum())
        results[plan._key("refold", k)] = {"log_likelihood": np.zeros((len(plan.twice), other))}
    results[plan._key("ceiling")] = ceiling_work(plan.case)
    results[plan._key("panel")] = {}
    for kind in (EXCHANGED, SIMULATED):
        for b in range(plan.options.n_surrogates):
            results[plan._key("surrogate", kind, b)] = {"b": np.array(b)}
    return results


NAN = np.nan


def test_history_rung_is_chosen_by_validation_and_not_by_test_scores(case):
    """Rungs M0, M1, M3, M5, M5 10 ms: the best test score is that of M5 in every fold."""
    plan = make_plan(case)
    validation = [[NAN, NAN, NAN, -5.0, -4.0], [NAN, NAN, NAN, -3.0, -4.0], [NAN, NAN, NAN, -9.0, -8.0]]
    scores = plan.collect(fake_results(plan, [-9.0, -8.0, -8.0, -1.0, -2.0], validation))
    assert scores.chosen == ["M5 10 ms", "M5", "M5 10 ms"]
    assert scores.chosen_glm == scores.chosen
    expected = np.select([case.fold == 0, case.fold == 1], [-2.0, -1.0], -2.0)
    np.testing.assert_array_equal(scores.log_likelihood["history"][0], expected)
    # Expected spikes by age: 4.5, 3.5 and 4.5 in a step.
    np.testing.assert_array_equal(scores.age_expected["history"], np.full(102, 4.5 + 3.5 + 4.5))


def test_a_network_is_chosen_where_its_mean_validation_score_is_higher(case):
    plan = make_plan(case, with_networks=True)
    validation = [[NAN, NAN, NAN, -5.0, -4.0]] * 3
    results = fake_results(plan, [-9.0, -8.0, -8.0, -1.0, -2.0], validation)
    for seed in range(2):
        for k in range(3):
            # Mean over seeds of M6: -3.5 in fold 0, -4.5 in folds 1 and 2; the cut network never counts.
            score = -3.5 if k == 0 else -4.5
            results[plan._key("network", seed, k)] = {
                "log_likelihood": np.array([[-0.5 - seed] * 4, [-8.0] * 4]),
                "validation": np.array([score + (0.25 if seed else -0.25), NAN]),
                "age_expected": np.ones((2, 102)),
                "leaks": np.array([False, seed == 1 and k == 2]),
            }
    scores = plan.collect(results)
    assert scores.chosen == ["M6", "M5 10 ms", "M5 10 ms"]
    assert scores.chosen_glm == ["M5 10 ms"] * 3
    np.testing.assert_array_equal(scores.log_likelihood["M6"], np.array([[-0.5] * 12, [-1.5] * 12]))
    in_fold_0 = case.fold == 0
    np.testing.assert_array_equal(
        scores.log_likelihood["history"], np.where(in_fold_0, [[-0.5], [-1.5]], -2.0)
    )
    np.testing.assert_array_equal(scores.log_likelihood["history GLM"], -2.0)
    assert scores.leaking == ["M6cut"]
    assert scores.n_leak_probes == 3 * 5 + 6 * 2


@pytest.mark.parametrize(("m3", "kind"), [(-8.0, EXCHANGED), (-7.9, SIMULATED), (-8.1, EXCHANGED)])
def test_surrogates_are_simulated_where_the_gain_is_not_negligible(case, m3, kind):
    """M3 over M1: 0.1 nats a trial of some six spikes is above .001 bits/spike."""
    plan = make_plan(case)
    results = fake_results(plan, [-9.0, -8.0, m3, -1.0, -2.0], [[NAN, NAN, NAN, -5.0, -4.0]] * 3)
    assert plan.surrogate_kind(results) == kind
    works = plan.surrogates(results)
    # Two surrogates of the test, and as many exchanges for the control where the test makes none.
    assert len(works) == (2 if kind == EXCHANGED else 4)
    scores = plan.collect(results)
    assert scores.surrogate_kind == kind
    assert len(scores.surrogates) == len(scores.exchanged) == 2


def test_surrogate_takes_the_rung_that_its_own_validation_chose(case):
    plan = make_plan(case)
    rows = np.arange(5.0)[:, None] + np.zeros(12)
    surrogate = {
        "log_likelihood": rows,
        "validation": np.array([[NAN, NAN, NAN, 1, 2], [NAN, NAN, NAN, 2, 1]] * 2)[:3],
    }
    history, glm, control = plan.surrogate_gain(surrogate)
    np.testing.assert_array_equal(history, np.select([case.fold == 1], [3.0], 4.0))
    np.testing.assert_array_equal(glm, 3.0)
    np.testing.assert_array_equal(control, 2.0)


def test_networks_of_two_seeds_differ_and_repeat(case):
    learns = RNN(n_hidden=4, max_epochs=6)
    plan = UnitPlan(
        case, ladder([]) | {"M6": learns, "M6cut": replace(learns, uses_own_spikes=False)}, OPTIONS, "code"
    )
    works = {work.key: work for work in plan.fits()}
    first, again, other = (works[plan._key("network", *which)].run() for which in ((0, 0), (0, 0), (1, 0)))
    np.testing.assert_array_equal(first["log_likelihood"], again["log_likelihood"])
    assert not np.array_equal(first["log_likelihood"], other["log_likelihood"])


def test_cost_is_that_of_the_works(case):
    plan = make_plan(case)
    fits = run(plan.fits())
    works = plan.fits() + plan.surrogates(fits)
    if plan.surrogate_kind(fits) == EXCHANGED:
        assert plan.cost() == pytest.approx(sum(work.cost for work in works), rel=1e-12)
    assert plan.cost() > 0.0
