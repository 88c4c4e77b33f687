"""What must hold for every rung and recording: causality, relabelling, additivity, blindness to gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from cortexrnn.encoding import PSTH, CausalGain, Constant, Drift, HistoryGLM, Renewal, UnitTrials, fit_poisson
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, trial_log_likelihood
from cortexrnn.encoding.overdispersion import gain_variance
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.spikes.folds import assign_folds, validation_split
from cortexrnn.spikes.surrogates import exchange_trials

FEW = settings(deadline=None, max_examples=12)
MANY = settings(deadline=None, max_examples=100)
SEEDS = st.integers(0, 2**32 - 1)


def draw_unit(seed, *, n_trials=None, max_count=1, share_observed=0.95):
    """Trials with a rate that changes, a gain, gaps, burn-in and one to three conditions."""
    rng = np.random.default_rng(seed)
    n_trials = int(rng.integers(4, 25)) if n_trials is None else n_trials
    n_bins, n_burn_in = int(rng.integers(20, 90)), int(rng.integers(0, 15))
    rate = rng.uniform(0.02, 0.3) * (1.0 + 0.8 * np.sin(np.arange(n_bins) / 9.0))
    counts = rng.poisson(rate * rng.gamma(4.0, 0.25, (n_trials, 1)))
    observed = rng.random(counts.shape) < share_observed
    scored = observed.copy()
    scored[:, :n_burn_in] = False
    return UnitTrials(
        counts=np.where(observed, np.minimum(counts, max_count), 0).astype(np.uint16),
        observed=observed,
        scored=scored,
        condition=rng.integers(0, rng.integers(1, 4), n_trials),
        start_s=np.sort(rng.uniform(0.0, 1e4, n_trials)),
        bin_s=0.001,
        is_locked=bool(rng.random() < 0.8),
    )


@FEW
@given(seed=SEEDS)
def test_a_spike_changes_no_prediction_of_its_own_bin_or_an_earlier_one(rung, seed):
    """To the bit, for every rung: the leak probe of pitfall 5."""
    unit = draw_unit(seed)
    fitted = rung.fit(unit)
    before = fitted.log_mu(unit)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        i, t = int(rng.integers(unit.n_trials)), int(rng.integers(unit.counts.shape[1]))
        counts = unit.counts.copy()
        counts[i, t] = 1 - counts[i, t]
        after = fitted.log_mu(unit._replace(counts=counts))
        np.testing.assert_array_equal(after[i, : t + 1], before[i, : t + 1])
        others = np.arange(unit.n_trials) != i
        np.testing.assert_array_equal(after[others], before[others])


def test_history_rungs_do_answer_to_a_spike(rung):
    """The law above would hold for a rung that ignores spikes; those that should not, do not."""
    unit = draw_unit(5, n_trials=20)
    fitted = rung.fit(unit)
    counts = unit.counts.copy()
    t = np.flatnonzero(unit.scored[0])[2]
    counts[0, t] = 1 - counts[0, t]
    moved = fitted.log_mu(unit)[0, t + 1 :] != fitted.log_mu(unit._replace(counts=counts))[0, t + 1 :]
    if rung.name in ("M0", "M1", "M2"):
        assert not moved.any()
    elif rung.name in ("M4", "M5"):
        assert moved.any()


@FEW
@given(seed=SEEDS)
def test_predictions_follow_their_trials_in_any_order(rung, seed):
    """A trial's prediction depends on itself alone; round-off is that of another order of summation."""
    unit = draw_unit(seed)
    fitted = rung.fit(unit)
    order = np.random.default_rng(seed).permutation(unit.n_trials)[: max(1, unit.n_trials - 2)]
    np.testing.assert_allclose(
        fitted.log_mu(unit.take(order)), fitted.log_mu(unit)[order], rtol=1e-12, atol=1e-13
    )


@FEW
@given(seed=SEEDS)
def test_fitting_twice_gives_the_same_bits(rung, seed):
    unit = draw_unit(seed)
    np.testing.assert_array_equal(rung.fit(unit).log_mu(unit), rung.fit(unit).log_mu(unit))


@FEW
@given(seed=SEEDS)
def test_fitting_and_predicting_leave_the_trials_as_they_were(rung, seed):
    unit = draw_unit(seed)
    copy = unit.take(np.arange(unit.n_trials))
    rung.fit(unit).log_mu(unit)
    for array, kept in zip(unit[:5], copy[:5], strict=True):
        np.testing.assert_array_equal(array, kept)


@FEW
@given(seed=SEEDS)
def test_every_prediction_is_finite(rung, seed):
    unit = draw_unit(seed, share_observed=0.7)
    assume(unit.scored.any())
    log_mu = rung.fit(unit).log_mu(unit)
    assert log_mu.shape == unit.counts.shape
    assert np.isfinite(log_mu).all()


@FEW
@given(seed=SEEDS)
def test_shifting_the_session_clock_changes_no_prediction(rung, seed):
    """Only differences of session time may matter."""
    unit = draw_unit(seed)
    later = unit._replace(start_s=unit.start_s + 4096.0)
    # Round-off of the shifted clock, amplified by the spline's differences of cubes and by a fit on top.
    np.testing.assert_allclose(
        rung.fit(unit).log_mu(unit), rung.fit(later).log_mu(later), rtol=1e-5, atol=1e-6
    )


ORDERLESS = (Constant(), PSTH(bandwidths_s=(0.005,), uses_elephant=False), CausalGain(baseline=Constant()))


@FEW
@given(seed=SEEDS)
def test_what_is_fitted_without_folds_does_not_depend_on_the_order_of_trials(seed):
    unit = draw_unit(seed)
    order = np.random.default_rng(seed).permutation(unit.n_trials)
    for spec in ORDERLESS:
        found, shuffled = spec.fit(unit).log_mu(unit), spec.fit(unit.take(order)).log_mu(unit)
        # The search for the gain variance stops at 1e-3 of its log, from sums that differ by round-off.
        np.testing.assert_allclose(found, shuffled, rtol=1e-9, atol=1e-9)


@FEW
@given(seed=SEEDS)
def test_renaming_conditions_changes_no_psth(seed):
    """With equally many trials of each condition in every fold, the codes are mere names."""
    unit = draw_unit(seed, n_trials=20)._replace(condition=np.tile([0, 1], 10))
    renamed = unit._replace(condition=1 - unit.condition)
    np.testing.assert_allclose(PSTH().fit(unit).log_mu(unit), PSTH().fit(renamed).log_mu(renamed), rtol=1e-10)


@FEW
@given(seed=SEEDS)
def test_duplicated_trials_say_the_same_twice(seed):
    """Each fit on doubled data, its prior doubled with it, is the fit on the data."""
    unit = draw_unit(seed)
    assume(unit.spikes_per_trial.sum() > 0)
    twice = unit.take(np.tile(np.arange(unit.n_trials), 2))
    below = Constant().fit(unit)
    log_mu, log_mu_twice = below.log_mu(unit), below.log_mu(twice)
    single, double = Renewal(prior_counts=(3.0,)), Renewal(prior_counts=(6.0,))
    found = [
        spec.fit_on(*args).log_factor
        for spec, args in ((single, (unit, below, log_mu)), (double, (twice, below, log_mu_twice)))
    ]
    np.testing.assert_allclose(*found, rtol=1e-10, atol=1e-12)
    glm = HistoryGLM(history_s=0.01, tolerance_nats=1e-12)
    weights = [
        replace(glm, ridges=(ridge,)).fit_on(*args).weights
        for ridge, args in ((2.0, (unit, below, log_mu)), (4.0, (twice, below, log_mu_twice)))
    ]
    # Mean counts of unobserved bins, (N + 1/2) / T, differ by half a spike in N; Newton stops at 1e-12 nats.
    np.testing.assert_allclose(*weights, atol=0.1)
    spikes = unit.spikes_per_trial.astype(float)
    variance = gain_variance(spikes, np.full(spikes.size, spikes.mean()))
    both = gain_variance(np.tile(spikes, 2), np.full(2 * spikes.size, spikes.mean()))
    assert np.isclose(variance, both, rtol=1e-6)


@FEW
@given(seed=SEEDS, columns=st.integers(1, 4))
def test_permuting_and_rescaling_columns_permutes_and_rescales_coefficients(seed, columns):
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(80), rng.normal(size=(80, columns))])
    counts = rng.poisson(1.5, 80)
    factor, order = np.exp(rng.normal(0.0, 4.0, columns + 1)), rng.permutation(columns + 1)
    plain, changed = fit_poisson(design, counts), fit_poisson((design * factor)[:, order], counts)
    # Newton stops at 1e-10 nats: 1e-5 of a standard error of about 0.1.
    np.testing.assert_allclose(changed.coefficients * factor[order], plain.coefficients[order], atol=1e-5)
    assert np.isclose(changed.deviance, plain.deviance, rtol=1e-9)


@MANY
@given(seed=SEEDS, code=st.sampled_from([POISSON, BERNOULLI]))
def test_log_likelihood_adds_up_over_trials_and_over_bins(seed, code):
    unit = draw_unit(seed)
    rng = np.random.default_rng(seed)
    log_mu = rng.normal(-3.0, 1.0, unit.counts.shape)
    whole = trial_log_likelihood(unit, log_mu, code)
    chosen = rng.random(unit.n_trials) < 0.5
    assume(chosen.any())
    np.testing.assert_array_equal(
        trial_log_likelihood(unit.take(chosen), log_mu[chosen], code), whole[chosen]
    )
    part = rng.random(unit.scored.shape) < 0.5
    parts = sum(
        trial_log_likelihood(unit._replace(scored=unit.scored & half), log_mu, code) for half in (part, ~part)
    )
    # Two sums of up to 90 terms.
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)


@MANY
@given(seed=SEEDS, code=st.sampled_from([POISSON, BERNOULLI]))
def test_the_true_rate_has_the_highest_expected_likelihood(seed, code):
    """Gibbs: oracle is the exact expectation over one bin's count."""
    rng = np.random.default_rng(seed)
    mu, wrong = np.exp(rng.normal(-2.0, 1.0, 2))
    counts = np.arange(40 if code == POISSON else 2)
    weight = stats.poisson.pmf(counts, mu) if code == POISSON else np.array([np.exp(-mu), -np.expm1(-mu)])
    one = np.ones((counts.size, 1), dtype=bool)
    unit = UnitTrials(counts[:, None].astype(np.uint16), one, one, counts * 0, counts * 1.0, 0.001, True)
    scores = [weight @ trial_log_likelihood(unit, np.full(one.shape, np.log(m)), code) for m in (mu, wrong)]
    assert scores[0] >= scores[1] - 1e-12


@FEW
@given(seed=SEEDS, values=st.lists(st.floats(-30.0, 5.0), min_size=1, max_size=5))
def test_offsets_of_unscored_bins_never_matter(seed, values):
    """Spikes cannot stand in unobserved bins; the prediction of the rung below can say anything there."""
    unit = draw_unit(seed, share_observed=0.8)
    assume(unit.scored.any())
    rng = np.random.default_rng(seed)
    log_mu = rng.normal(-3.0, 0.5, unit.counts.shape)
    changed = np.where(unit.scored, log_mu, rng.choice(values, log_mu.shape))
    for spec in (
        Drift(),
        CausalGain(),
        Renewal(),
        HistoryGLM(history_s=0.02),
        HistoryGLM(likelihood="bernoulli"),
    ):
        first, second = (spec.fit_on(unit, None, base) for base in (log_mu, changed))
        scores = [
            trial_log_likelihood(unit, fitted.extend(unit, base), POISSON)
            for fitted, base in ((first, log_mu), (second, changed))
        ]
        np.testing.assert_array_equal(*scores)


@MANY
@given(seed=SEEDS)
def test_exchanged_trials_keep_every_bins_counts_in_every_condition(seed):
    unit = draw_unit(seed, max_count=5, share_observed=0.8)
    exchanged = exchange_trials(unit.counts, unit.observed, unit.condition, np.random.default_rng(seed))
    for value in np.unique(unit.condition):
        members = unit.condition == value
        np.testing.assert_array_equal(
            np.sort(exchanged[members], axis=0), np.sort(unit.counts[members], axis=0)
        )
    assert not exchanged[~unit.observed].any()


@MANY
@given(
    condition=hnp.arrays(np.int64, st.integers(2, 120), elements=st.integers(0, 6)),
    n_folds=st.integers(2, 12),
    order=st.sampled_from(["contiguous", "random"]),
    seed=st.integers(0, 99),
)
def test_folds_are_stratified_and_none_is_empty(condition, n_folds, order, seed):
    assume(n_folds <= condition.size)
    fold = assign_folds(condition, n_folds, order=order, seed=seed)
    assert set(fold) == set(range(n_folds))
    for value in np.unique(condition):
        sizes = np.bincount(fold[condition == value], minlength=n_folds)
        assert np.ptp(sizes) <= 1
        if order == "contiguous" and sizes.min() > 0:
            assert (np.diff(fold[condition == value]) >= 0).all()


@MANY
@given(condition=hnp.arrays(np.int64, st.integers(2, 60), elements=st.integers(0, 20)))
def test_validation_split_leaves_something_on_both_sides(condition):
    held_out = validation_split(condition)
    assert held_out.any()
    assert not held_out.all()


@MANY
@given(seed=SEEDS, n_folds=st.integers(2, 10))
def test_gains_are_antisymmetric_additive_and_blind_to_the_order_of_trials(seed, n_folds):
    rng = np.random.default_rng(seed)
    n_trials = int(rng.integers(2, 60))
    a, b, c = rng.normal(0.0, 5.0, (3, n_trials))
    n = rng.poisson(3.0, n_trials)
    assume(n.sum() > 0)
    ab, ba, bc, ac = (gain_interval(x, y, n, n_folds) for x, y in ((a, b), (b, a), (b, c), (a, c)))
    assert np.isclose(ab.value, -ba.value, rtol=1e-12)
    assert np.isclose(ab.value + bc.value, ac.value, rtol=1e-9, atol=1e-9)
    assert ab.low <= ab.value <= ab.high
    order = rng.permutation(n_trials)
    again = gain_interval(a[order], b[order], n[order], n_folds)
    np.testing.assert_allclose(again[:5], ab[:5], rtol=1e-9, atol=1e-12)
