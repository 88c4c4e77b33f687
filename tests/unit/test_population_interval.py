"""The population's gain. Oracles: Student's interval, closed-form variances, coverage in simulated populations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from cortexrnn.errors import OptionError
from cortexrnn.evaluation.evidence import UnitEvidence
from cortexrnn.evaluation.population_interval import history_errors, population_gain
from cortexrnn.evaluation.scores import gain_interval

MEAN = 0.05


def draw(rng, *, n_units, n_trials, between, within, shared=0.0, inflation=1.5):
    """Draw measured gains around a mean of .05, and their errors; a share of the noise is common to all units.

    The error of training, which the inflation stands for, is drawn beside that of the trials.
    """

    def noise(*shape):
        return math.sqrt(shared) * rng.normal(size=shape[1:]) + math.sqrt(1.0 - shared) * rng.normal(size=shape)

    errors = within * noise(n_units, n_trials)
    training = within * math.sqrt((inflation**2 - 1.0) / n_trials) * noise(n_units, 1)[:, 0]
    gains = MEAN + between * rng.normal(size=n_units) + errors.mean(axis=1) + training
    return gains, errors - errors.mean(axis=1, keepdims=True)


def student(gains):
    """Half width of the plain t interval over units."""
    return stats.t.ppf(0.975, gains.size - 1) * gains.std(ddof=1) / np.sqrt(gains.size)


def test_interval_of_the_mean_is_students_where_trials_add_no_noise():
    """Oracle: t over units; 10 000 resamples give its ends within 2 %."""
    gains = np.random.default_rng(1).normal(0.1, 0.05, 40)
    found = population_gain(gains, np.zeros((40, 30)), inflation=1.5, seed=0)
    assert found.mean == pytest.approx(gains.mean(), rel=1e-12)
    assert found.median == pytest.approx(np.median(gains), rel=1e-12)
    assert found.between_sd == pytest.approx(gains.std(ddof=1), rel=1e-12)
    low, high = found.mean_ci
    assert 0.5 * (high - low) == pytest.approx(student(gains), rel=0.02)


def test_noise_that_all_units_share_is_not_averaged_away():
    """Closed form: variance of the mean = shared variance f^2 s^2 / n, here without any of the units' own."""
    rng = np.random.default_rng(2)
    one = rng.normal(size=60)
    errors = np.tile(one - one.mean(), (50, 1))
    found = population_gain(np.full(50, 0.1), errors, inflation=1.5, seed=0)
    half = stats.t.ppf(0.975, 59) * 1.5 * one.std(ddof=1) / np.sqrt(60)
    assert 0.5 * (found.mean_ci[1] - found.mean_ci[0]) == pytest.approx(half, rel=0.02)
    # All units move together, and so does their median.
    np.testing.assert_allclose(found.median_ci, found.mean_ci, rtol=1e-12)
    assert found.between_sd == 0.0


def test_spread_between_units_is_found_under_the_noise():
    """Planted: .05 beside noise of the same size; 200 populations of 50 units, mean variance within 3 errors."""
    rng = np.random.default_rng(3)
    variances = []
    for _ in range(200):
        gains, errors = draw(rng, n_units=50, n_trials=100, between=0.05, within=0.33, shared=0.3)
        variances.append(population_gain(gains, errors, inflation=1.5, seed=0, n_resamples=1).between_sd ** 2)
    assert np.mean(variances) == pytest.approx(0.05**2, abs=3.0 * np.std(variances) / np.sqrt(200))


def test_errors_and_gains_are_those_of_the_verdict():
    """Oracle: gain_interval on the scores averaged over seeds, control by control."""
    rng = np.random.default_rng(4)
    evidence, expected, over = [], [], ["M3", "M6cut"]
    for u in range(2):
        rows = {name: rng.normal(size=(3, 12)) for name in ("history", "M3", "M6cut")}
        n = rng.poisson(4.0, 12) + 1
        evidence.append(
            UnitEvidence(
                name=str(u), log_likelihood=rows, n_spikes=n, n_bins=np.full(12, 9), fold=np.arange(12) % 4,
                chosen=[], exchange_gains=[], leaking=[], n_leak_probes=0,
            )
        )  # fmt: skip
        expected.append(gain_interval(rows["history"].mean(axis=0), rows[over[u]].mean(axis=0), n, 4))
    gains, errors = history_errors(evidence, over)
    np.testing.assert_allclose(gains, [gain.value for gain in expected], rtol=1e-12)
    np.testing.assert_allclose(errors.std(axis=1, ddof=1), [gain.sd for gain in expected], rtol=1e-12)
    np.testing.assert_allclose(errors.mean(axis=1), 0.0, atol=1e-12)


def test_same_seed_gives_the_same_bits_and_another_does_not():
    gains, errors = draw(np.random.default_rng(5), n_units=10, n_trials=20, between=0.1, within=0.3)
    one, same, other = (population_gain(gains, errors, inflation=1.5, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert one.mean_ci != other.mean_ci


def test_few_units_have_no_interval_and_none_no_number():
    few = population_gain(np.array([0.1, 0.2, 0.3, 0.4]), np.zeros((4, 10)), inflation=1.5, seed=0)
    assert (few.mean, few.median, few.n_units) == (pytest.approx(0.25), pytest.approx(0.25), 4)
    assert few.to_dict()["mean_ci"] is None
    assert few.sentence == "Over 4 units the history gain is 0.250 bits/spike on average, median 0.250."
    nothing = population_gain(np.zeros(0), np.zeros((0, 10)), inflation=1.5, seed=0)
    assert nothing.to_dict()["mean"] is None
    assert nothing.sentence == ""
    one = population_gain(np.array([0.1]), np.zeros((1, 10)), inflation=1.5, seed=0)
    assert one.to_dict()["between_sd"] is None
    for found in (few, nothing, one):
        json.dumps(found.to_dict(), allow_nan=False)


def test_equal_units_are_no_reason_to_fail():
    found = population_gain(np.full(6, 0.1), np.zeros((6, 10)), inflation=1.5, seed=0)
    np.testing.assert_allclose([*found.mean_ci, *found.median_ci], 0.1, rtol=1e-12)
    assert found.sentence == (
        "Over 6 units the history gain is 0.100 [0.100, 0.100] bits/spike on average, median 0.100 [0.100, 0.100]; "
        "intervals of 95 % over units and trials."
    )


def test_the_number_of_resamples_must_be_positive():
    with pytest.raises(OptionError, match="n_resamples=0 is not valid"):
        population_gain(np.zeros(6), np.zeros((6, 10)), inflation=1.5, seed=0, n_resamples=0)


# Units, trials, spread between units, noise of a trial, share of it that units have in common.
POPULATIONS = {
    "units differ": (30, 100, 0.05, 0.1, 0.0),
    "trials are noisy": (30, 100, 0.05, 0.5, 0.0),
    "units share their noise": (30, 100, 0.02, 0.5, 0.2),
    "eight units": (8, 60, 0.05, 0.3, 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("population", POPULATIONS.values(), ids=POPULATIONS.keys())
def test_interval_holds_the_mean_of_the_population(population):
    """Nominal .95 within .92 to .98 in 400 populations; the median's interval may be wider, not narrower."""
    n_units, n_trials, between, within, shared = population
    rng = np.random.default_rng(6)
    held = {"mean": 0, "median": 0, "student": 0}
    for repeat in range(400):
        gains, errors = draw(
            rng, n_units=n_units, n_trials=n_trials, between=between, within=within, shared=shared
        )
        found = population_gain(gains, errors, inflation=1.5, seed=repeat, n_resamples=1000)
        held["mean"] += found.mean_ci[0] <= MEAN <= found.mean_ci[1]
        held["median"] += found.median_ci[0] <= MEAN <= found.median_ci[1]
        held["student"] += abs(gains.mean() - MEAN) <= student(gains)
    assert 0.92 <= held["mean"] / 400 <= 0.98
    assert held["median"] / 400 >= 0.92
    if shared:
        # What the plain t over units does not know.
        assert held["student"] < held["mean"]
