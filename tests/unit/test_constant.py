"""M0, the constant rate; every number by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding.constant import Constant, mean_count


def test_mean_count_adds_half_a_spike(make_unit):
    # Burn-in holds two of the five spikes: (3 + 1/2) / 6 scored bins.
    unit = make_unit([[2, 0, 1, 1], [0, 0, 0, 1]], n_burn_in=1)
    assert mean_count(unit) == pytest.approx(3.5 / 6.0, rel=1e-15)


def test_mean_count_of_a_silent_unit_is_positive(make_unit):
    assert mean_count(make_unit(np.zeros((4, 5)))) == 0.5 / 20.0


def test_unobserved_bins_are_no_silence(make_unit):
    observed = np.ones((2, 4), dtype=bool)
    observed[1] = False
    assert mean_count(make_unit([[1, 0, 1, 0], [0, 0, 0, 0]], observed=observed)) == 2.5 / 4.0


def test_the_rate_is_the_same_in_every_bin_of_new_trials(make_unit):
    fitted = Constant().fit(make_unit(np.eye(4)))
    new = make_unit(np.zeros((2, 7)))
    np.testing.assert_array_equal(fitted.log_mu(new), np.full((2, 7), np.log(4.5 / 16.0)))
    np.testing.assert_allclose(fitted.predict_rate(new), 4.5 / 16.0 / 0.001, rtol=1e-14)


def test_score_is_the_mean_log_likelihood_of_a_spike_in_bits(make_unit):
    fitted = Constant().fit(make_unit(np.eye(4)))
    new = make_unit([[0, 2, 0], [1, 0, 0]])
    mu = 4.5 / 16.0
    expected = (3.0 * np.log(mu) - 6.0 * mu - np.log(2.0)) / (3.0 * np.log(2.0))
    assert fitted.score(new) == pytest.approx(expected, rel=1e-14)


def test_score_without_a_spike_is_no_number_and_not_zero(make_unit):
    fitted = Constant().fit(make_unit(np.eye(4)))
    assert np.isnan(fitted.score(make_unit(np.zeros((2, 4)))))
