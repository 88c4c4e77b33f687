"""Histograms, smoothed PSTH and autocorrelation against Elephant's.

Intervals, CV, CV2 and Fano factors are held against Elephant's in `tests/unit/test_spike_statistics.py`.
"""

from __future__ import annotations

import math
import warnings

import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from elephant.kernels import GaussianKernel
from elephant.spike_train_correlation import cross_correlation_histogram
from elephant.statistics import instantaneous_rate, time_histogram

from cortexrnn.encoding import PSTH, spike_statistics

N_TRIALS, N_BINS = 12, 600


def draw_unit(make_unit, seed):
    """Draw trials whose rate rises and falls, at most one spike a bin."""
    chance = 0.05 * (1.0 + np.sin(np.linspace(0.0, 9.0, N_BINS)))
    return make_unit(np.random.default_rng(seed).random((N_TRIALS, N_BINS)) < chance)


def elephant_trains(unit):
    """Give the trials as Neo spike trains, a spike in the middle of its bin."""
    return [neo.SpikeTrain((np.flatnonzero(row) + 0.5) * pq.ms, t_stop=N_BINS * pq.ms) for row in unit.counts]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_box", [1, 5, 20])
def test_psth_in_boxes_is_the_time_histogram(make_unit, n_box, seed):
    """Theirs is the mean count of a box, ours that of a bin of the box."""
    unit = draw_unit(make_unit, seed)
    found = spike_statistics.psth(unit.counts, unit, n_box)[0]
    theirs = time_histogram(elephant_trains(unit), bin_size=n_box * pq.ms, output="mean")
    np.testing.assert_allclose(found * n_box, theirs.magnitude.ravel(), rtol=1e-12)


@pytest.mark.parametrize("bandwidth_ms", [3, 10, 25])
def test_smoothed_psth_is_the_instantaneous_rate(make_unit, bandwidth_ms):
    """Same kernel, cut at four standard deviations; ours is scaled to a sum of 1, theirs lacks what was cut off."""
    unit = draw_unit(make_unit, seed=4)
    spec = PSTH(bandwidths_s=(bandwidth_ms / 1e3,), uses_elephant=False)
    fitted = spec.fit(unit)
    theirs = instantaneous_rate(
        elephant_trains(unit),
        sampling_period=1 * pq.ms,
        kernel=GaussianKernel(bandwidth_ms * pq.ms),
        cutoff=4.0,
        pool_spike_trains=True,
    )
    kept = math.erf(4.0 / math.sqrt(2.0))
    in_bins = theirs.magnitude.ravel() * 1e-3 * N_TRIALS / kept
    # The sum over bins and the integral of the kernel differ by half its height at the cut, 4e-4 of a bin's share.
    np.testing.assert_allclose(fitted.spikes[0], in_bins, rtol=2e-4, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_autocorrelation_counts_the_pairs_of_the_correlation_histogram(make_unit, seed):
    """Theirs counts pairs of spikes at each lag; ours divides by the spikes that a lag can start from."""
    unit = draw_unit(make_unit, seed)
    one = unit.take(np.array([0]))
    n_lags = 50
    binned = BinnedSpikeTrain(elephant_trains(one)[0], bin_size=1 * pq.ms)
    with warnings.catch_warnings():
        # Elephant calls Quantities with an argument that has gone out of use.
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs, lags = cross_correlation_histogram(binned, binned, window=[-n_lags, n_lags])
    assert lags[-n_lags:].tolist() == list(range(1, n_lags + 1))
    pairs = theirs.magnitude.ravel()[-n_lags:]
    starts = np.array([one.counts[0, : N_BINS - lag].sum() for lag in range(1, n_lags + 1)])
    found = spike_statistics.autocorrelation(one.counts, one.scored, n_lags)
    # Theirs comes from a Fourier transform: a pair that is not there is one to round-off.
    np.testing.assert_allclose(found * starts, pairs, rtol=1e-12, atol=1e-9)
