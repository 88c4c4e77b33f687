"""Laws of weights. Oracles: the moments that were asked for, SciPy's distributions and truncated normal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cortexrnn.circuit import WeightLaw
from cortexrnn.circuit.laws import positive_gaussian

N = 200_000
LAWS = [
    WeightLaw(law="gaussian", mean=0.06, sd=0.02),
    WeightLaw(law="gaussian", mean=1.0, sd=0.7),
    WeightLaw(law="lognormal", mean=0.5, sd=0.25),
    WeightLaw(law="gamma", mean=2.0, sd=3.0),
    WeightLaw(law="exponential", mean=0.3),
    WeightLaw(law="constant", mean=0.7),
]


def draw(law, *, is_magnitude=True, seed=1):
    """A large sample of a law."""
    return law.draw(np.random.default_rng(seed), (N,), is_magnitude=is_magnitude)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{law.law} {law.mean} {law.sd}")
def test_magnitudes_have_the_mean_and_deviation_asked_for(law):
    """Within 4.5 standard errors, those of the deviation from the sample's own kurtosis."""
    weights = draw(law)
    assert weights.min() >= 0.0
    assert abs(weights.mean() - law.mean) <= 4.5 * law.sd / math.sqrt(N) + 1e-15
    if law.sd:
        error = law.sd * math.sqrt((stats.kurtosis(weights, fisher=False) - 1.0) / (4.0 * N))
        assert abs(weights.std() - law.sd) < 4.5 * error


@pytest.mark.parametrize(
    ("law", "distribution"),
    [
        (LAWS[1], None),
        (LAWS[2], stats.lognorm(s=math.sqrt(math.log(1.25)), scale=0.5 / math.sqrt(1.25))),
        (LAWS[3], stats.gamma(a=4.0 / 9.0, scale=4.5)),
        (LAWS[4], stats.expon(scale=0.3)),
    ],
    ids=lambda value: getattr(value, "law", ""),
)
def test_the_shape_is_that_of_the_named_law(law, distribution):
    """Kolmogorov-Smirnov against SciPy; the Gaussian is the part above zero of its parent."""
    if distribution is None:
        mean, sd = positive_gaussian(law.mean, law.sd)
        distribution = stats.truncnorm(a=-mean / sd, b=np.inf, loc=mean, scale=sd)
    assert stats.kstest(draw(law), distribution.cdf).pvalue > 1e-3


@pytest.mark.parametrize("ratio", [0.03, 0.2, 0.25, 1.0 / 3.0, 0.5, 0.8, 0.9])
def test_the_cut_gaussian_has_exactly_the_moments_asked_for(ratio):
    """SciPy's truncated normal; 1e-8 is what its own moments hold at the largest ratio."""
    mean, sd = positive_gaussian(2.0, 2.0 * ratio)
    cut = stats.truncnorm(a=-mean / sd, b=np.inf, loc=mean, scale=sd)
    np.testing.assert_allclose([cut.mean(), cut.std()], [2.0, 2.0 * ratio], rtol=1e-8)


def test_a_gaussian_far_from_zero_is_its_own_parent():
    """At 40 deviations the part below zero is smaller than the smallest float64."""
    assert positive_gaussian(40.0, 1.0) == (40.0, 1.0)


@pytest.mark.parametrize("law", ["gamma", "lognormal", "exponential", "constant"])
def test_a_negative_mean_mirrors_the_laws_of_one_sign(law):
    """The same stream with the opposite mean gives the opposite weights."""
    sd = {"constant": 0.0, "exponential": 0.5}.get(law, 0.2)
    weights = draw(WeightLaw(law=law, mean=0.5, sd=sd), is_magnitude=False)
    mirrored = draw(WeightLaw(law=law, mean=-0.5, sd=sd), is_magnitude=False)
    np.testing.assert_array_equal(mirrored, -weights)


def test_a_gaussian_of_a_mixed_population_takes_both_signs():
    weights = draw(WeightLaw(law="gaussian", mean=0.0, sd=1.0), is_magnitude=False)
    assert stats.kstest(weights, "norm").pvalue > 1e-3


def test_the_deviation_of_an_exponential_may_be_left_out():
    assert WeightLaw(law="exponential", mean=-0.3) == WeightLaw(law="exponential", mean=-0.3, sd=0.3)
