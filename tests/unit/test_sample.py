"""Spikes from rates: realised rates, intervals, streams, and the way into the comparison."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from cortexrnn.dynamics import SpikeProcess, sample_spikes
from cortexrnn.errors import DataError, OptionError


def a_run(rate, *, scale_hz=1.0, step_s=1e-3, start_s=0.0):
    """A run with given rates (n_trials, n_times, n_units)."""
    rate = np.asarray(rate, dtype=float)
    n_trials, n_times, n_units = rate.shape
    return xr.Dataset(
        {"rate": (("trial", "time", "unit"), rate)},
        coords={
            "trial": np.arange(n_trials),
            "time": start_s + np.arange(n_times) * step_s,
            "unit": np.arange(n_units) + 3,
            "population": ("unit", ["e"] * n_units),
            "sign": ("unit", np.ones(n_units, np.int8)),
        },
        attrs={"rate_scale_hz": scale_hz, "circuit": "made", "circuit_hash": "0", "dt_s": step_s},
    )


PROCESSES = (
    SpikeProcess(),
    SpikeProcess(kind="dead time", dead_time_s=0.005),
    SpikeProcess(kind="gamma", shape=4.0),
)


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.kind)
def test_the_realised_rate_is_the_rate_of_the_run(process):
    """400 trials of a rate between 10 and 70 Hz: counts in 20 bins of 50 ms within 4.5 standard errors of Poisson."""
    time_s = np.arange(1000) * 1e-3
    rate = 40.0 + 30.0 * np.sin(2 * np.pi * 2.0 * time_s)
    recording = sample_spikes(a_run(np.tile(rate[None, :, None] / 20.0, (400, 1, 1)), scale_hz=20.0), process=process)
    trials = recording.align("start_s", window_s=(0.0, 1.0), bin_s=0.05, history_s=0.0)
    counts = trials["counts"].values[:, :, 0].sum(axis=0)
    expected = 400 * rate.reshape(20, 50).sum(axis=1) * 1e-3
    assert np.all(np.abs(counts - expected) < 4.5 * np.sqrt(expected))


def test_a_gamma_process_begins_in_equilibrium():
    """The first quarter of an interval holds a quarter of a spike: 3000 trials, within 4 errors of 0.25 (0.032)."""
    recording = sample_spikes(a_run(np.full((3000, 5, 1), 50.0)), process=PROCESSES[2], seed=4)
    assert recording.n_spikes / 3000 == pytest.approx(0.25, abs=0.032)


@pytest.mark.parametrize(
    ("process", "law"),
    [
        (PROCESSES[0], stats.expon(scale=1 / 50.0)),
        (PROCESSES[1], stats.expon(loc=0.005, scale=1 / 50.0 - 0.005)),
        (PROCESSES[2], stats.gamma(4.0, scale=1 / 200.0)),
    ],
    ids=["poisson", "dead time", "gamma"],
)
def test_intervals_follow_their_law(process, law):
    """100 s at 50 Hz against the exact law by Kolmogorov and Smirnov, p above 1e-3; the first dead time is cut off."""
    recording = sample_spikes(a_run(np.full((1, 100_000, 1), 50.0)), process=process, seed=2)
    times_s = recording.unit_ticks(0) / recording.tick_hz
    assert stats.kstest(np.diff(times_s[times_s > 0.1]), law.cdf).pvalue > 1e-3


def test_a_unit_has_the_same_spikes_whatever_is_beside_it():
    """Streams are keyed by trial and unit."""
    run = a_run(np.full((3, 500, 4), 20.0))
    whole, part = sample_spikes(run, seed=1), sample_spikes(run.isel(unit=[2]), seed=1)
    np.testing.assert_array_equal(whole.unit_ticks(2), part.unit_ticks(0))
    assert part.units["population"].tolist() == ["e"]
    assert part.unit_ids == [5]
    assert not np.array_equal(sample_spikes(run, seed=2).ticks, whole.ticks)


def test_a_run_that_starts_late_keeps_its_times():
    """Kept from 0.2 s on: spikes lie between 0.2 and 0.7 s of the trial's own clock."""
    recording = sample_spikes(a_run(np.full((2, 500, 1), 100.0), start_s=0.2))
    trials = recording.align("zero_s", window_s=(0.2, 0.7), bin_s=0.01, history_s=0.0)
    assert trials["observed"].values.all()
    assert trials["counts"].values.sum() == recording.n_spikes


@pytest.mark.parametrize(
    ("run", "process", "message"),
    [
        (a_run(np.full((1, 5, 1), -1.0)), None, r"unit 3 is -1 Hz in trial 0 at 0 s"),
        (a_run(np.full((1, 5, 1), np.nan)), None, "nan Hz"),
        (a_run(np.ones((1, 5, 1)), scale_hz=np.nan), None, "rate_scale_hz"),
        (a_run(np.full((1, 50, 1), 300.0)), PROCESSES[1], "too high for a dead time of 0.005 s"),
    ],
)
def test_rates_that_cannot_be_are_refused(run, process, message):
    """Negative, not a number, without a scale, or beyond what the dead time allows."""
    with pytest.raises(DataError, match=message):
        sample_spikes(run, process=process)


@pytest.mark.parametrize(
    "given", [{"kind": "weibull"}, {"kind": "gamma", "shape": 0.0}, {"dead_time_s": 0.1}, {"kind": "dead time"}]
)
def test_processes_that_cannot_be_are_refused(given):
    """Unknown, out of range, or a parameter of another kind."""
    with pytest.raises(OptionError):
        SpikeProcess(**given)
