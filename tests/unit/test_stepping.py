"""Rungs one bin at a time, and free running. Oracles: `log_mu` of the finished spikes, a slow twin, closed forms."""

from __future__ import annotations

import math
import runpy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding import PSTH, CausalGain, Constant, Drift, HistoryGLM, Renewal
from cortexrnn.encoding.constant import FittedConstant
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.likelihood import LIKELIHOODS, trial_log_likelihood
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.renewal import FittedRenewal
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "free_run_twin.py"))


@pytest.fixture(scope="module")
def gappy(make_unit):
    """Twenty trials with two conditions, burn-in, gaps and bursts, at most one spike a bin."""
    rng = np.random.default_rng(1)
    observed = rng.random((20, 300)) < 0.97
    observed[3, :40] = False
    counts = rng.random((20, 300)) < 0.05 * (1.0 + np.sin(np.arange(300) / 20.0))
    return make_unit(counts.astype(int), observed=observed, n_burn_in=60, condition=np.arange(20) % 2)


def run_steps(fitted, unit):
    """Give log mu of every bin by the chain of steppers, fed with the unit's own spikes."""
    chain = []
    while fitted is not None:
        chain.insert(0, fitted)
        fitted = fitted.below
    steppers = [each.stepper(unit) for each in chain]
    log_mu = np.zeros(unit.counts.shape)
    for t in range(unit.counts.shape[1]):
        column = np.zeros(unit.n_trials)
        for stepper in steppers:
            column = stepper.predict(t, column)
        log_mu[:, t] = column
        for stepper in steppers:
            stepper.update(t, np.ascontiguousarray(unit.counts[:, t]))
    return log_mu


def test_steps_say_of_given_spikes_what_log_mu_says(rung, gappy):
    """Every rung; the network sums in float32, the others are the same sums in another order."""
    fitted = rung.fit(gappy)
    tolerance = 1e-6 if rung.name.startswith("M6") else 1e-11
    scored = gappy.scored
    np.testing.assert_allclose(run_steps(fitted, gappy)[scored], fitted.log_mu(gappy)[scored], atol=tolerance)


def test_a_rung_without_a_stepper_of_its_own_is_replayed(gappy):
    """Oracle: its own stepper, to the last spike."""

    class Slow(FittedHistoryGLM):
        def stepper(self, trials):
            return ReplayStepper(self, trials)

    fitted = HistoryGLM().fit(gappy)
    slow = Slow(**{name: getattr(fitted, name) for name in FittedHistoryGLM.__dataclass_fields__})
    few = gappy.take(np.arange(4))
    fast, replayed = (simulate_copies(each, few, n_copies=2, seed=3) for each in (fitted, slow))
    np.testing.assert_array_equal(fast.counts, replayed.counts)
    assert fast.counts.sum() > 0


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_free_running_glm_makes_the_spikes_of_the_slow_twin(likelihood, gappy):
    """To the bit: same uniform numbers, same order of sums."""
    fitted = HistoryGLM(baseline=PSTH(), history_s=0.05).fit(gappy)
    copies = simulate_copies(fitted, gappy, n_copies=3, likelihood=likelihood, seed=7)
    ground = fitted.below.log_mu(gappy)
    model = (ground, float(fitted.weights[0]), fitted.weights[1:] @ fitted.basis, fitted.mean, fitted.ceiling)
    for k in range(3):
        uniforms = stream(7, "free run", k).random((300, 20)).T
        expected = TWIN["glm_copy"](gappy.counts, gappy.observed, gappy.scored, model, uniforms, likelihood)
        np.testing.assert_array_equal(copies.counts[k], expected)


def test_burn_in_is_kept_gaps_stay_empty_and_everything_scored_is_drawn_anew(gappy):
    copies = simulate_copies(PSTH().fit(gappy), gappy, n_copies=50, seed=0).counts
    burn_in = np.broadcast_to(gappy.counts[:, :60], copies[:, :, :60].shape)
    np.testing.assert_array_equal(copies[:, :, :60], burn_in)
    assert copies[:, ~gappy.observed].sum() == 0
    assert np.all((copies[:, gappy.scored] > 0).mean(axis=0) < 0.5)


def test_copies_do_not_depend_on_how_many_there_are(gappy, monkeypatch):
    fitted = CausalGain().fit(gappy)
    many = simulate_copies(fitted, gappy, n_copies=5, seed=2)
    np.testing.assert_array_equal(simulate_copies(fitted, gappy, n_copies=2, seed=2).counts, many.counts[:2])
    monkeypatch.setattr("cortexrnn.encoding.simulation._MAX_SEQUENCES", 45)
    chunked = simulate_copies(fitted, gappy, n_copies=5, seed=2)
    np.testing.assert_array_equal(chunked.counts, many.counts)
    np.testing.assert_array_equal(chunked.log_likelihood, many.log_likelihood)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_log_likelihood_of_a_copy_is_that_of_its_spikes(likelihood, gappy):
    fitted = Renewal().fit(gappy)
    copies = simulate_copies(fitted, gappy, n_copies=2, likelihood=likelihood, seed=4)
    for counts, found in zip(copies.counts, copies.log_likelihood, strict=True):
        copy = gappy._replace(counts=counts)
        expected = trial_log_likelihood(copy, fitted.log_mu(copy), LIKELIHOODS[likelihood])
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_copies_of_a_psth_have_its_mean_and_poisson_variance(gappy):
    """Oracle: mean and variance mu of every bin, within 4.5 standard errors of 8000 draws."""
    fitted = PSTH().fit(gappy)
    counts = simulate_copies(fitted, gappy, n_copies=800, seed=5).counts[:, :, 60:].astype(float)
    mu = np.exp(fitted.log_mu(gappy))[:, 60:]
    for condition in (0, 1):
        rows = np.flatnonzero((gappy.condition == condition) & gappy.observed[:, 60:].all(axis=1))
        rows = rows if rows.size else np.flatnonzero(gappy.condition == condition)[:1]
        shown = gappy.scored[rows, 60:].all(axis=0)
        drawn, expected = counts[:, rows][:, :, shown], mu[rows[0], shown]
        n = drawn.shape[0] * drawn.shape[1]
        error = np.sqrt(expected / n)
        assert np.all(np.abs(drawn.mean(axis=(0, 1)) - expected) < 4.5 * error)


def test_a_dead_time_process_has_the_geometric_intervals_of_its_closed_form(make_unit):
    """Oracle: P(interval = 3 + k) = p (1 - p)^(k - 1) after a dead time of 3 bins; chi2 of 30 cells, one fixed seed."""
    from scipy import stats

    p, n_dead = 0.05, 3
    log_factor = np.r_[0.0, np.full(n_dead, -1e3), 0.0]
    ground = FittedConstant(below=None, mu=-math.log1p(-p))
    fitted = FittedRenewal(below=ground, log_factor=log_factor, prior_count=1.0, validation_log_likelihood=0.0)
    unit = make_unit(np.zeros((10, 5000), dtype=int))
    counts = simulate_copies(fitted, unit, n_copies=4, likelihood="bernoulli", seed=6).counts.reshape(40, -1)
    intervals = np.concatenate([np.diff(np.flatnonzero(row)) for row in counts])
    assert intervals.min() == n_dead + 1
    found = np.bincount(np.minimum(intervals - n_dead, 30), minlength=31)[1:]
    k = np.arange(1, 30)
    expected = intervals.size * np.r_[p * (1.0 - p) ** (k - 1), (1.0 - p) ** 29]
    assert intervals.size > 5000
    # The end of a trial cuts long intervals: at 23 of 5000 bins a half per cent, far below the sampling error.
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-3


def test_a_trial_gain_spreads_counts_as_the_negative_binomial(make_unit):
    """Oracle: variance of a trial's count m + v m^2 with m = 30, v = 0.25: 255, within 10 % of 6000 trials."""
    from cortexrnn.encoding.gain import FittedGain

    unit = make_unit(np.zeros((60, 1000), dtype=int))
    fitted = FittedGain(below=FittedConstant(below=None, mu=0.03), variance=0.25)
    totals = simulate_copies(fitted, unit, n_copies=100, seed=1).counts.sum(axis=2).ravel()
    assert totals.mean() == pytest.approx(30.0, rel=0.03)
    assert totals.var() == pytest.approx(255.0, rel=0.1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Level(Fitted):
    """A rung at one level, whatever the spikes."""

    below: Fitted | None = None
    level: float = 0.0

    def extend(self, trials, log_mu):
        return np.full(trials.counts.shape, self.level)


def test_an_expectation_beyond_fifty_spikes_a_bin_is_drawn_at_fifty_and_marked(make_unit):
    unit = make_unit(np.zeros((2, 200), dtype=int))
    for level in (5.0, 1e4, math.inf):
        copies = simulate_copies(Level(level=level), unit, n_copies=1)
        assert copies.is_capped.all()
        assert copies.counts.mean() == pytest.approx(50.0, abs=4.0 * math.sqrt(50.0 / 400.0))
    assert not simulate_copies(Level(level=-2.0), unit, n_copies=1).is_capped.any()


def test_a_prediction_that_is_no_number_is_an_error(make_unit):
    unit = make_unit(np.zeros((2, 5), dtype=int))
    with pytest.raises(NumericalError, match="became NaN in 4 of 4 simulated trials"):
        simulate_copies(Level(level=math.nan), unit, n_copies=2)


def test_wrong_options_are_refused(gappy):
    fitted = Constant().fit(gappy)
    with pytest.raises(OptionError, match="n_copies=0 is not valid"):
        simulate_copies(fitted, gappy, n_copies=0)
    with pytest.raises(OptionError, match="likelihood='normal' is unknown"):
        simulate_copies(fitted, gappy, likelihood="normal")
    with pytest.raises(DataError, match="trials is a str"):
        simulate_copies(fitted, "trials")


def test_rungs_that_look_at_no_spikes_say_so_truly(gappy):
    """Oracle: their prediction does not move when every spike is taken away."""
    silent = gappy._replace(counts=np.zeros_like(gappy.counts))
    cases = {Constant(): False, PSTH(): False, Drift(): False, Renewal(): True, HistoryGLM(): True}
    for spec, looks in cases.items():
        fitted = spec.fit(gappy)
        below = np.zeros(gappy.counts.shape)
        moved = not np.array_equal(fitted.extend(gappy, below), fitted.extend(silent, below))
        assert fitted.looks_at_spikes == looks == moved


def test_each_kernel_has_one_specialisation(gappy):
    from cortexrnn.encoding import simulation, stepping

    for fitted in (HistoryGLM().fit(gappy), Level(below=CausalGain().fit(gappy), level=-4.0), Constant().fit(gappy)):
        for likelihood in LIKELIHOODS:
            simulate_copies(fitted, gappy, n_copies=1, likelihood=likelihood)
    for kernel in (simulation._draw_bin, stepping._lay_down, stepping._pick_up, stepping._raise_by_gain):
        assert len(kernel.signatures) == 1


def test_a_gain_without_variance_changes_nothing(gappy):
    fitted = replace(CausalGain().fit(gappy), variance=0.0)
    np.testing.assert_array_equal(run_steps(fitted, gappy), fitted.log_mu(gappy))
