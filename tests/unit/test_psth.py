"""M1, the smoothed PSTH. Oracles: a slow twin with plain loops, and cases by hand."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.psth import PSTH
from cortexrnn.errors import DataError

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))
# The FFT of a row leaves round-off of some 1e-16 of its largest value in every bin.
FFT_RTOL = 1e-11


def fixed(bandwidth_s):
    """A PSTH of one bandwidth."""
    return PSTH(bandwidths_s=(bandwidth_s,), uses_elephant=False)


def draw(rng, n_trials, rate_hz):
    """Poisson counts of a rate (Hz) per 1 ms bin."""
    return rng.poisson(np.asarray(rate_hz) * 1e-3, (n_trials, np.size(rate_hz)))


@pytest.mark.parametrize("bandwidth_s", [0.001, 0.0035, 0.02, 0.5, np.inf])
def test_smoothing_equals_the_slow_twin(make_unit, bandwidth_s):
    rng = np.random.default_rng(1)
    counts = draw(rng, 12, np.full(60, 80.0))
    observed = rng.random(counts.shape) < 0.9
    unit = make_unit(counts, observed=observed, n_burn_in=10)
    fitted = fixed(bandwidth_s).fit(unit)
    expected = TWIN["psth"](unit.counts[:, 10:], unit.scored[:, 10:], bandwidth_s / 1e-3)
    np.testing.assert_allclose(np.exp(fitted.log_mu(unit)[3, 10:]), expected, rtol=FFT_RTOL)


def test_every_condition_has_its_own_psth_and_one_floor(make_unit):
    """Oracle: the twin's formula with the spikes of one condition and the mean of all."""
    rng = np.random.default_rng(2)
    counts = np.concatenate([draw(rng, 6, np.full(40, 100.0)), draw(rng, 4, np.full(40, 10.0))])
    unit = make_unit(counts, condition=np.repeat([0, 1], [6, 4]))
    log_mu = fixed(0.001).fit(unit).log_mu(unit)
    width, mean = 2.0 * np.sqrt(np.pi), (counts.sum() + 0.5) / counts.size
    for rows, example in ((slice(0, 6), 0), (slice(6, 10), 9)):
        spikes = TWIN["gaussian_sum"](counts[rows].sum(axis=0), 1.0)
        exposure = TWIN["gaussian_sum"](np.full(40, float(len(counts[rows]))), 1.0)
        expected = (spikes + 0.5 / width) / (exposure + 0.5 / (width * mean))
        np.testing.assert_allclose(np.exp(log_mu[example]), expected, rtol=FFT_RTOL)


def test_burn_in_takes_the_first_scored_value(make_unit):
    unit = make_unit(draw(np.random.default_rng(3), 8, np.full(30, 60.0)), n_burn_in=12)
    log_mu = fixed(0.003).fit(unit).log_mu(unit)
    np.testing.assert_array_equal(log_mu[:, :12], np.repeat(log_mu[:, 12:13], 12, axis=1))


def test_spikes_of_the_burn_in_do_not_enter_the_psth(make_unit):
    counts = draw(np.random.default_rng(4), 8, np.full(30, 60.0))
    changed = counts.copy()
    changed[:, :10] += 3
    first, second = (
        fixed(0.003).fit(make_unit(c, n_burn_in=10)).log_mu(make_unit(c, n_burn_in=10))
        for c in (counts, changed)
    )
    np.testing.assert_array_equal(first, second)


def test_training_sees_the_psth_of_the_other_trials(make_unit):
    """Oracle: the same formula without the trial, whatever its spikes."""
    counts = draw(np.random.default_rng(5), 7, np.full(50, 60.0))
    unit = make_unit(counts)
    fitted = fixed(0.004).fit(unit)
    left_out = np.exp(fitted.on_training(unit, np.zeros(counts.shape)))
    sd = 4.0
    width, mean = 2.0 * np.sqrt(np.pi) * sd, (counts.sum() + 0.5) / counts.size
    for i in range(7):
        others = np.delete(counts, i, axis=0)
        spikes = TWIN["gaussian_sum"](others.sum(axis=0), sd)
        exposure = TWIN["gaussian_sum"](np.full(50, 6.0), sd)
        expected = (spikes + 0.5 / width) / (exposure + 0.5 / (width * mean))
        np.testing.assert_allclose(left_out[i], expected, rtol=FFT_RTOL)


def test_a_rate_of_zero_never_appears(make_unit):
    counts = np.zeros((5, 100), dtype=int)
    counts[:, 3] = 1
    unit = make_unit(counts)
    for bandwidth_s in (1e-6, 0.003):
        fitted = fixed(bandwidth_s).fit(unit)
        assert np.isfinite(fitted.log_mu(unit)).all()
        assert np.isfinite(fitted.on_training(unit, np.zeros(counts.shape))).all()


def test_unsmoothed_floor_is_half_a_spike_over_n_plus_half_a_mean(make_unit):
    """Oracle: (count + 1/2) / (n + 1/(2 mean)), target V6."""
    counts = draw(np.random.default_rng(6), 9, np.full(50, 40.0))
    unit = make_unit(counts)
    mean = (counts.sum() + 0.5) / counts.size
    expected = (counts.sum(axis=0) + 0.5) / (9 + 0.5 / mean)
    np.testing.assert_allclose(np.exp(fixed(1e-6).fit(unit).log_mu(unit)[0]), expected, rtol=FFT_RTOL)


def test_a_narrow_bump_takes_a_narrow_kernel_and_a_flat_rate_a_wide_one(make_unit):
    rng = np.random.default_rng(7)
    rate_hz = 5.0 + 200.0 * np.exp(-0.5 * ((np.arange(400) - 200.0) / 10.0) ** 2)
    assert PSTH().fit(make_unit(draw(rng, 60, rate_hz))).bandwidth_s <= 0.025
    assert PSTH().fit(make_unit(draw(rng, 60, np.full(400, 30.0)))).bandwidth_s >= 0.2


def test_chosen_bandwidth_has_the_best_inner_held_out_likelihood(make_unit):
    """Oracle: the five inner folds by hand, each predicted from the trials of the other four."""
    rng = np.random.default_rng(8)
    counts = draw(rng, 15, 40.0 + 39.0 * np.sin(np.arange(120) / 20.0))
    candidates = (0.002, 0.006, 0.02, np.inf)
    scores = []
    mean = (counts.sum() + 0.5) / counts.size
    for bandwidth_s in candidates:
        sd = bandwidth_s / 1e-3
        width = 120.0 if np.isinf(sd) else min(max(1.0, 2.0 * np.sqrt(np.pi) * sd), 120.0)
        total = 0.0
        for k in range(5):
            test, train = counts[3 * k : 3 * k + 3], np.delete(counts, range(3 * k, 3 * k + 3), axis=0)
            spikes = TWIN["gaussian_sum"](train.sum(axis=0), sd)
            exposure = TWIN["gaussian_sum"](np.full(120, 12.0), sd)
            mu = (spikes + 0.5 / width) / (exposure + 0.5 / (width * mean))
            total += float(np.sum(test * np.log(mu) - mu))
        scores.append(total)
    fitted = PSTH(bandwidths_s=candidates, uses_elephant=False).fit(make_unit(counts))
    assert fitted.bandwidth_s == candidates[int(np.argmax(scores))]
    assert len(set(scores)) == 4


def test_elephants_bandwidth_joins_the_candidates(make_unit):
    """Oracle: Elephant itself, called on the same spike times; the other candidate is hopeless."""
    from elephant.statistics import optimal_kernel_bandwidth

    rate_hz = 2.0 + 150.0 * np.exp(-0.5 * ((np.arange(300) - 150.0) / 25.0) ** 2)
    counts = draw(np.random.default_rng(9), 40, rate_hz)
    times_s = np.repeat((np.arange(300) + 0.5) * 1e-3, counts.sum(axis=0))
    with np.errstate(all="ignore"):
        expected = optimal_kernel_bandwidth(times_s, times=np.linspace(0.0, 0.3, 300))["optw"]
    fitted = PSTH(bandwidths_s=(np.inf,)).fit(make_unit(counts))
    assert fitted.bandwidth_s == pytest.approx(expected, rel=1e-12)
    assert expected < 0.1


def test_blocks_of_a_continuous_recording_have_a_constant_rate(make_unit):
    rate_hz = 5.0 + 200.0 * np.exp(-0.5 * ((np.arange(200) - 100.0) / 10.0) ** 2)
    unit = make_unit(draw(np.random.default_rng(10), 40, rate_hz), is_locked=False)
    log_mu = PSTH().fit(unit).log_mu(unit)
    assert np.ptp(log_mu) == 0.0


def test_a_condition_that_training_did_not_hold_gets_the_mean_rate(make_unit):
    """Oracle: no spikes in no trials leave the floor, whose ratio is the mean (N + 1/2) / T."""
    counts = draw(np.random.default_rng(11), 10, np.full(50, 60.0))
    train = make_unit(counts)
    for missing in (1, 4):
        test = make_unit(counts[:1], condition=[missing])
        log_mu = PSTH().fit(train).log_mu(test)
        np.testing.assert_allclose(np.exp(log_mu), (counts.sum() + 0.5) / counts.size, rtol=1e-12)


def test_one_condition_of_one_trial_is_fitted_and_left_out(make_unit):
    """Oracle: without its own trial a condition is empty, and what is left is the mean."""
    counts = draw(np.random.default_rng(12), 10, np.full(50, 60.0))
    unit = make_unit(counts, condition=[0] * 9 + [1])
    fitted = fixed(0.005).fit(unit)
    left_out = fitted.on_training(unit, np.zeros(counts.shape))
    # The FFT leaves some 1e-16 spikes where there are none, beside a floor of 0.03.
    np.testing.assert_allclose(np.exp(left_out[9]), (counts.sum() + 0.5) / counts.size, rtol=1e-10)


def test_a_gap_in_every_trial_is_bridged_by_its_neighbours(make_unit):
    counts = draw(np.random.default_rng(13), 30, np.full(100, 80.0))
    observed = np.ones(counts.shape, dtype=bool)
    observed[:, 40:50] = False
    unit = make_unit(counts, observed=observed)
    rate = np.exp(fixed(0.02).fit(unit).log_mu(unit)[0])
    # Read as silence, the gap would lower the rate at its centre by a fifth, the kernel's mass there.
    assert rate[45] == pytest.approx(rate[[30, 60]].mean(), rel=0.1)


def test_training_set_that_nobody_recorded_is_a_named_error(make_unit):
    unit = make_unit(np.zeros((3, 10)), observed=np.zeros((3, 10), dtype=bool))
    with pytest.raises(DataError, match="none of the 3 training trials was observed"):
        PSTH().fit(unit)


def test_a_silent_unit_has_a_small_constant_rate(make_unit):
    unit = make_unit(np.zeros((6, 50)))
    fitted = PSTH().fit(unit)
    # (0 + 1/2 / w) / (n + 1/2 / (w mean)) with the mean 1/2 / (n w).
    np.testing.assert_allclose(np.exp(fitted.log_mu(unit)), 0.5 / 600.0, rtol=1e-12)
    assert np.isfinite(trial_log_likelihood(unit, fitted.log_mu(unit))).all()


def test_a_spec_is_frozen_and_can_be_varied():
    with pytest.raises(AttributeError, match="cannot assign"):
        PSTH().bandwidths_s = (1.0,)
    assert replace(PSTH(), uses_elephant=False) == PSTH(uses_elephant=False)
