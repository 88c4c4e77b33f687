"""Generators: every law is checked against its closed form or a count that can be done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.schema import check_trials
from cortexrnn.spikes.generate import (
    StateBursts,
    draw_trial_gain,
    expected_burst_counts,
    expected_counts,
    linear_drift,
    simulate_gamma_renewal,
    simulate_spikes,
    simulate_state_bursts,
)
from cortexrnn.spikes.generate_kernels import draw_history
from cortexrnn.spikes.trial_design import TrialDesign

BIN_S = 0.001


def flat(rate_hz, n_trials=400, n_bins=1000):
    """A constant rate."""
    return np.full((n_trials, n_bins), float(rate_hz))


def assert_mean_close(values, expected):
    """The mean of independent values lies within four standard errors of what is expected."""
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - expected) <= 4.0 * error


def intervals(counts):
    """Intervals between spikes of the same trial, in bins."""
    return np.concatenate([np.diff(np.repeat(np.arange(row.size), row)) for row in counts])


def test_poisson_counts_have_the_poisson_distribution():
    counts = simulate_spikes(flat(800.0), BIN_S, seed=1)
    assert counts.dtype == np.uint16
    for n, chance in enumerate(np.exp(-0.8) * 0.8 ** np.arange(5) / np.array([1, 1, 2, 6, 24])):
        # Four binomial standard errors of 400 000 bins.
        tolerance = 4.0 * np.sqrt(chance * (1.0 - chance) / counts.size)
        assert abs(np.mean(counts == n) - chance) <= tolerance


def test_rate_may_change_within_the_trial():
    rate_hz = np.tile(np.repeat([5.0, 50.0], 500), (400, 1))
    counts = simulate_spikes(rate_hz, BIN_S, seed=2)
    assert_mean_close(counts[:, :500].sum(axis=1), 2.5)
    assert_mean_close(counts[:, 500:].sum(axis=1), 25.0)


def test_same_seed_gives_the_same_spikes_and_another_seed_others():
    first = simulate_spikes(flat(20.0), BIN_S, seed=3)
    np.testing.assert_array_equal(first, simulate_spikes(flat(20.0), BIN_S, seed=3))
    assert np.any(first != simulate_spikes(flat(20.0), BIN_S, seed=4))


def test_dead_time_keeps_the_realised_rate_from_the_first_bin():
    """Oracle: the rate that was asked for; the hazard must make up for the silences, in every phase."""
    profile = 15.0 + 100.0 * np.sin(np.linspace(0.0, 3.0 * np.pi, 400)) ** 2
    counts = simulate_spikes(np.tile(profile, (20000, 1)), BIN_S, dead_time_s=0.003, seed=5)
    for part in np.split(np.arange(400), 20):
        assert_mean_close(counts[:, part].sum(axis=1), profile[part].sum() * BIN_S)
    assert counts.max() == 1
    assert intervals(counts).min() == 4


def test_dead_time_intervals_are_geometric_after_the_dead_bins():
    """Oracle: constant hazard p = q / (1 - n q) once the dead time is over."""
    counts = simulate_spikes(flat(50.0, n_bins=4000), BIN_S, dead_time_s=0.004, seed=6)
    hazard = 0.05 / (1.0 - 4 * 0.05)
    waits = intervals(counts) - 5
    for limit in (1, 5, 20, 60):
        chance = 1.0 - (1.0 - hazard) ** limit
        # Four binomial standard errors, and the 0.5 % by which trial ends cut long intervals.
        tolerance = 4.0 * np.sqrt(chance * (1.0 - chance) / waits.size) + 0.005 * chance
        assert abs(np.mean(waits < limit) - chance) <= tolerance


@pytest.mark.parametrize(
    ("rate_hz", "n_dead", "bits"), [(5.0, 3, 0.0218), (20.0, 3, 0.0893), (20.0, 5, 0.1520), (50.0, 4, 0.3219)]
)
def test_true_model_of_a_dead_time_is_worth_minus_log2_of_its_live_fraction(rate_hz, n_dead, bits):
    """Oracle: target V1, -log2(1 - n q) bits a spike over a homogeneous Poisson process."""
    rates_hz = flat(rate_hz, n_trials=200, n_bins=10000)
    counts = simulate_spikes(rates_hz, BIN_S, dead_time_s=n_dead * BIN_S, seed=7)
    expected = expected_counts(counts, rates_hz, BIN_S, dead_time_s=n_dead * BIN_S)
    q = rate_hz * BIN_S
    exact = -np.log2(1.0 - n_dead * q)
    assert exact == pytest.approx(bits, abs=5e-5)
    log_ratio = np.log(np.where(counts > 0, expected, q) / q)
    gain_of_trial = (counts * log_ratio - (expected - q)).sum(axis=1) / np.log(2.0)
    assert_mean_close(gain_of_trial - exact * counts.sum(axis=1), 0.0)


def test_expected_counts_follow_the_history_by_hand():
    counts = np.array([[0, 2, 0, 0, 1, 0]], dtype=np.uint16)
    history = np.log(np.array([0.5, 3.0]))
    expected = expected_counts(counts, flat(10.0, 1, 6), BIN_S, history=history)
    # Two spikes one bin ago: 0.5**2; two bins ago: 3**2; one spike one bin ago: 0.5.
    np.testing.assert_allclose(expected[0] / 0.01, [1.0, 1.0, 0.25, 9.0, 1.0, 0.5], rtol=1e-12)


def test_expected_counts_are_blind_to_the_present_and_the_future():
    rates_hz = flat(20.0, 3, 200)
    counts = simulate_spikes(rates_hz, BIN_S, history=np.full(20, -0.3), seed=8)
    changed = counts.copy()
    changed[:, 100:] += 1
    before = expected_counts(counts, rates_hz, BIN_S, history=np.full(20, -0.3))
    after = expected_counts(changed, rates_hz, BIN_S, history=np.full(20, -0.3))
    np.testing.assert_array_equal(before[:, :101], after[:, :101])
    assert np.any(before[:, 101:] != after[:, 101:])


def test_spikes_with_history_are_explained_by_their_expected_counts():
    """Oracle: count - expected is a martingale difference with the expected count as its variance."""
    history = np.concatenate((np.full(3, -3.0), np.full(5, 0.8), np.full(40, -0.3)))
    rates_hz = flat(40.0)
    counts = simulate_spikes(rates_hz, BIN_S, history=history, seed=9)
    expected = expected_counts(counts, rates_hz, BIN_S, history=history)
    residual = counts - expected
    assert_mean_close(residual.sum(axis=1), 0.0)
    # Relative standard error of the variance of 400 000 residuals of mostly 0 or 1: under 1 %; four of them.
    assert residual.var() == pytest.approx(expected.mean(), rel=0.04)
    lagged = np.sum(residual[:, 1:] * counts[:, :-1], axis=1)
    assert_mean_close(lagged, 0.0)


def test_gain_makes_counts_negative_binomial():
    """Oracle: variance mu + v mu^2 of a Gamma-Poisson count."""
    counts = simulate_spikes(flat(20.0, 20000, 100), 0.01, gain_variance=0.25, seed=10).sum(axis=1)
    assert_mean_close(counts, 20.0)
    assert_mean_close((counts - 20.0) ** 2, 20.0 + 0.25 * 400.0)


def test_gain_of_a_trial_can_be_recovered_from_the_seed():
    gain = draw_trial_gain(50, 0.25, seed=11)
    counts = simulate_spikes(flat(400.0, 50, 5000), BIN_S, gain_variance=0.25, seed=11).sum(axis=1)
    # Five Poisson standard deviations of each trial's own count.
    np.testing.assert_array_less(np.abs(counts - 2000.0 * gain), 5.0 * np.sqrt(2000.0 * gain) + 5.0)


def test_linear_drift_has_mean_one_and_the_stated_change():
    factors = linear_drift(5, 0.8)
    np.testing.assert_allclose(factors, [0.6, 0.8, 1.0, 1.2, 1.4], rtol=1e-12)


@pytest.mark.parametrize("shape", [0.5, 2.0, 4.0])
def test_gamma_renewal_has_its_rate_everywhere_and_gamma_intervals(shape):
    """Oracle: stationarity (the rate from the first bin on) and the CV 1/sqrt(shape) of the intervals."""
    counts = simulate_gamma_renewal(flat(50.0, 2000, 5000), 0.0005, shape=shape, seed=12)
    for part in np.split(np.arange(5000), 10):
        assert_mean_close(counts[:, part].sum(axis=1), 12.5)
    waits = np.concatenate([np.diff(np.repeat(np.arange(5000), row)) for row in counts])
    # Cutting intervals at the end of 125 mean intervals biases the CV by under 2 %; the bin adds less.
    assert waits.std() / waits.mean() == pytest.approx(1.0 / np.sqrt(shape), rel=0.02)


def test_gamma_renewal_follows_a_changing_rate():
    rate_hz = np.tile(np.repeat([10.0, 80.0], 500), (2000, 1))
    counts = simulate_gamma_renewal(rate_hz, BIN_S, shape=3.0, seed=13)
    assert_mean_close(counts[:, :500].sum(axis=1), 5.0)
    assert_mean_close(counts[:, 500:].sum(axis=1), 40.0)


def test_gamma_renewal_of_shape_one_is_poisson():
    """Oracle: variance equals mean; more than one chunk of intervals a trial is drawn."""
    counts = simulate_gamma_renewal(flat(10.0, 20000, 100), 0.01, shape=1.0, seed=14).sum(axis=1)
    assert_mean_close(counts, 10.0)
    assert_mean_close((counts - 10.0) ** 2, 10.0)


def test_burst_starts_only_out_of_silence_by_hand():
    bursts = StateBursts(silence_s=0.004, start_s=0.002, stop_s=0.004, factor=10.0)
    #        bin  0  1  2  3  4  5  6  7  8  9 10 11
    counts = np.array([[1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0]], dtype=np.uint16)
    expected = expected_burst_counts(counts, flat(1.0, 1, 12), BIN_S, bursts=bursts)
    # The trial begins in silence, so the first spike bursts in bins 2 and 3; the spike in bin 3 comes after
    # two empty bins and does not; the one in bin 8 comes after four and does, in bins 10 and 11.
    np.testing.assert_allclose(expected[0] / BIN_S, [1, 1, 10, 10, 1, 1, 1, 1, 1, 1, 10, 10], rtol=1e-12)


def test_state_bursts_are_explained_by_their_expected_counts():
    """Oracle: count - expected is a martingale difference."""
    bursts = StateBursts()
    rates_hz = flat(15.0)
    counts = simulate_state_bursts(rates_hz, BIN_S, bursts=bursts, seed=15)
    expected = expected_burst_counts(counts, rates_hz, BIN_S, bursts=bursts)
    assert_mean_close((counts - expected).sum(axis=1), 0.0)
    is_burst = expected > 0.1
    assert_mean_close(np.where(is_burst, counts - expected, 0.0).sum(axis=1), 0.0)
    assert is_burst.any()


def test_design_lays_burn_in_before_the_event():
    design = TrialDesign(n_trials=3, duration_s=0.02, bin_s=0.005, history_s=0.01)
    np.testing.assert_allclose(design.time_s, [-0.01, -0.005, 0.0, 0.005, 0.01, 0.015], atol=1e-15)
    rates_hz = design.rate_hz(lambda time_s: np.where(time_s < 0.0, 5.0, 20.0))
    np.testing.assert_array_equal(rates_hz, np.tile([5.0, 5.0, 20.0, 20.0, 20.0, 20.0], (3, 1)))
    np.testing.assert_array_equal(design.rate_hz(7.0), np.full((3, 6), 7.0))


def test_design_makes_a_trials_dataset():
    design = TrialDesign(n_trials=4, duration_s=1.0)
    counts = simulate_spikes(design.rate_hz(20.0), design.bin_s, seed=16)
    trials = check_trials(design.trials(counts, condition=np.array(["a", "b", "a", "b"])))
    assert dict(trials.sizes) == {"trial": 4, "time": 1500, "unit": 1}
    assert int(trials["scored"].sum()) == 1000
    assert bool(trials["observed"].all())
    np.testing.assert_array_equal(trials["counts"].values[:, :, 0], counts)
    np.testing.assert_allclose(trials["start_s"], [0.5, 2.0, 3.5, 5.0])


def test_design_takes_several_units():
    design = TrialDesign(n_trials=2, duration_s=0.01, history_s=0.0)
    assert design.trials(np.zeros((2, 10, 3), dtype=np.uint16)).sizes["unit"] == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TrialDesign(n_trials=0, duration_s=1.0), "n_trials=0"),
        (lambda: TrialDesign(n_trials=2, duration_s=0.0015), "no whole number of bins"),
        (
            lambda: TrialDesign(n_trials=2, duration_s=0.01).trials(np.zeros((2, 3), np.uint16)),
            "counts has shape",
        ),
        (lambda: simulate_spikes(flat(-1.0), BIN_S, seed=1), "rate_hz reaches from -1.0"),
        (lambda: simulate_spikes(flat(np.nan), BIN_S, seed=1), "rate_hz reaches from nan"),
        (lambda: simulate_spikes(np.zeros(3), BIN_S, seed=1), "rate_hz has shape"),
        (lambda: simulate_spikes(flat(300.0), BIN_S, dead_time_s=0.003, seed=1), "dead time of 3 bins"),
        (lambda: simulate_spikes(flat(10.0), BIN_S, dead_time_s=0.0025, seed=1), "dead_time_s=0.0025"),
        (lambda: simulate_spikes(flat(10.0), BIN_S, gain_variance=-1.0, seed=1), "variance=-1.0"),
        (lambda: simulate_gamma_renewal(flat(10.0), BIN_S, shape=0.0, seed=1), "shape=0.0"),
        (lambda: linear_drift(5, 2.5), "change=2.5"),
    ],
)
def test_impossible_requests_are_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_history_that_runs_away_is_an_error_and_not_an_endless_draw():
    with pytest.raises(NumericalError, match="drives the rate away"):
        simulate_spikes(flat(50.0), BIN_S, history=np.full(20, 1.0), seed=17)


def test_burst_beyond_any_neuron_is_an_error():
    with pytest.raises(NumericalError, match="spikes in one bin"):
        simulate_state_bursts(flat(50.0), BIN_S, bursts=StateBursts(factor=2000.0), seed=18)


def test_rate_at_the_limit_of_the_dead_time_is_allowed():
    """Oracle: one spike every fourth bin on average with three dead bins is a clock once it has started."""
    counts = simulate_spikes(flat(250.0, 50, 1000), BIN_S, dead_time_s=0.003, seed=19)
    assert set(np.unique(intervals(counts))) == {4}


def test_inputs_are_left_as_they_were_and_the_kernel_has_one_specialisation():
    rates_hz = flat(20.0)
    history = np.full(20, -0.3)
    simulate_spikes(rates_hz, BIN_S, history=history, seed=20)
    simulate_spikes(rates_hz.astype(np.float32), BIN_S, dead_time_s=0.002, seed=20)
    np.testing.assert_array_equal(rates_hz, flat(20.0))
    np.testing.assert_array_equal(history, np.full(20, -0.3))
    assert len(draw_history.signatures) == 1
