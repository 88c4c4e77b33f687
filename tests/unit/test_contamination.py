"""The guard against foreign spikes, and their share from violations of the refractory period.

Oracles: the mixture's formula, SciPy's optimiser on the whole likelihood, data drawn from the mixture, and what an
unguarded rung says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from cortexrnn.encoding import Constant, HistoryGLM, Renewal
from cortexrnn.encoding.contamination import FittedGuard, Guarded, foreign_share, guarded
from cortexrnn.encoding.coupled_glm import CoupledHistoryGLM
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.renewal import age_steps
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation.work import FoldFits, leaks
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.refractory import foreign_spikes

DEAD, RATE = 3, 0.04


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadTime(Rung):
    """A constant rate with a dead time of three bins, in which e^-30 spikes are expected."""

    name: ClassVar[str] = "dead"
    meaning: ClassVar[str] = "dead time"
    sees_history: ClassVar[bool] = True
    baseline: Rung | None = None

    def fit_on(self, trials, below, log_mu):
        return FittedDeadTime(below=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedDeadTime(Fitted):
    """The dead time."""

    below: Fitted | None
    validation_log_likelihood: float = -7.0

    def extend(self, trials, log_mu):
        steps = age_steps(trials.counts, trials.observed, DEAD)
        return np.where((steps > 0) & (steps <= DEAD), -30.0, np.log(RATE))


def dead_time_unit(make_unit, *, foreign=0.0, n_trials=60, seed=1):
    """Draw a unit bin by bin from the mixture itself: a dead time, and spikes that heed nothing."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_trials, 500), dtype=int)
    since = np.full(n_trials, 100)
    # Mean of the dead-time rung: a renewal process with a mean interval of 1 / RATE + DEAD bins.
    mean = 1.0 / (1.0 / RATE + DEAD)
    for t in range(500):
        mu = np.where(since > DEAD, RATE, 0.0)
        counts[:, t] = rng.random(n_trials) < -np.expm1(-((1.0 - foreign) * mu + foreign * mean))
        since = np.where(counts[:, t] > 0, 1, since + 1)
    return make_unit(counts)


def test_a_stray_spike_costs_the_logarithm_of_the_share(make_unit):
    """Oracle: log2(1 / e) bits over a constant rate, where the unguarded rung pays 30 / ln 2 and more."""
    fitted = Guarded(baseline=DeadTime()).fit(dead_time_unit(make_unit))
    test = dead_time_unit(make_unit, n_trials=1, seed=2)
    spike = int(np.flatnonzero(test.counts[0])[3])
    stray = test._replace(counts=test.counts.copy())
    stray.counts[0, spike + 1] = 1
    at_stray = (0, spike + 1)
    over_constant = (fitted.log_mu(stray)[at_stray] - np.log(fitted.mean)) / np.log(2.0)
    # Own spikes add e^-30 to e.
    assert over_constant == pytest.approx(np.log2(fitted.share), abs=1e-6)
    assert -13.0 < over_constant < -8.0
    unguarded = (fitted.below.log_mu(stray)[at_stray] - np.log(fitted.mean)) / np.log(2.0)
    assert unguarded < -35.0


@pytest.mark.parametrize("name", ["poisson", "bernoulli"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_share_has_the_highest_likelihood(make_unit, name, seed):
    """Oracle: SciPy on the log-likelihood of all bins, that of every bin without a spike included."""
    unit = dead_time_unit(make_unit, foreign=0.1, seed=seed)
    rung = Guarded(baseline=DeadTime(), likelihood=name)
    fitted = rung.fit(unit)
    code = {"poisson": POISSON, "bernoulli": BERNOULLI}[name]
    log_mu = fitted.below.log_mu(unit)

    def loss(share):
        mixed = FittedGuard(below=None, share=share, mean=float(np.exp(log_mu[unit.scored]).mean())).mix(log_mu)
        return -trial_log_likelihood(unit, mixed, code).sum()

    best = minimize_scalar(loss, bounds=(1e-5, 1.0), method="bounded", options={"xatol": 1e-9})
    # A flat optimum: the loss to 1e-9 relative gives the share to its square root.
    assert fitted.share == pytest.approx(best.x, rel=1e-3)
    assert loss(fitted.share) <= best.fun + 1e-6


def test_the_share_comes_back(make_unit):
    """Oracle: data drawn from the mixture; four standard errors by the information in the spikes."""
    unit = dead_time_unit(make_unit, foreign=0.1, n_trials=200)
    fitted = Guarded(baseline=DeadTime(), likelihood="bernoulli").fit(unit)
    log_mu = fitted.below.log_mu(unit)[unit.counts > 0]
    ratio = fitted.mean / np.exp(log_mu) - 1.0
    error = 1.0 / np.sqrt(np.sum((ratio / (1.0 + 0.1 * ratio)) ** 2))
    assert error < 0.02
    # What is drawn is a rate of foreign spikes; the mean of the rung on all spikes is not that of its own alone.
    assert abs(fitted.share * fitted.mean * (1.0 / RATE + DEAD) - 0.1) < 4.0 * error


@pytest.mark.parametrize(
    "rung",
    [Renewal(baseline=Constant()), HistoryGLM(baseline=Constant(), history_s=0.02), DeadTime()],
    ids=["M4", "M5", "truth"],
)
def test_on_clean_data_it_costs_next_to_nothing(make_unit, rung):
    """Promise: less than 1e-3 bits per spike, held out."""
    train, test = dead_time_unit(make_unit, n_trials=100), dead_time_unit(make_unit, n_trials=100, seed=2)
    fitted = Guarded(baseline=rung).fit(train)
    assert fitted.share < 0.02
    assert fitted.below.score(test) - fitted.score(test) < 1e-3


def test_without_a_stray_spike_in_training_the_share_is_half_a_spike(make_unit):
    """Oracle: by hand; spikes that come where more than the mean is expected speak for no foreign ones."""
    log_mu = np.log(np.array([0.2, 0.3, 0.4]))
    assert foreign_share(np.array([1.0, 1.0, 2.0]), log_mu, 0.1, POISSON) == pytest.approx(0.5 / 5.0)
    assert foreign_share(np.ones(3), log_mu, 0.1, BERNOULLI) == pytest.approx(0.5 / 4.0)


def test_where_nothing_speaks_for_the_rung_the_share_is_all():
    """Oracle: by hand; every spike comes where less than the mean is expected."""
    assert foreign_share(np.ones(3), np.log(np.array([0.02, 0.03, 0.04])), 0.1, POISSON) == 1.0
    assert foreign_share(np.ones(2), np.array([-np.inf, -np.inf]), 0.1, POISSON) == 1.0
    whole = FittedGuard(below=None, share=1.0, mean=0.1)
    np.testing.assert_allclose(whole.mix(np.array([-np.inf, 3.0])), np.log(0.1))


def test_a_silent_unit_is_guarded_too(make_unit):
    fitted = Guarded(baseline=Constant()).fit(make_unit(np.zeros((4, 50))))
    assert fitted.share == 0.5
    assert np.isfinite(fitted.log_mu(make_unit(np.zeros((1, 50))))).all()


def test_it_is_the_rung_that_it_guards():
    rung = Guarded(baseline=HistoryGLM())
    assert (rung.name, rung.sees_history, rung.is_candidate) == ("M5 guarded", True, True)
    assert not Guarded(baseline=Constant()).sees_history
    assert not rung.needs_neighbours
    assert Guarded(baseline=CoupledHistoryGLM()).needs_neighbours
    assert rung == Guarded(baseline=HistoryGLM()) != Guarded(baseline=HistoryGLM(history_s=0.1))
    assert "M5" not in rung.meaning


def test_rungs_that_see_history_are_guarded_once():
    glm = HistoryGLM(likelihood="bernoulli")
    assert guarded(glm) == Guarded(baseline=glm, likelihood="bernoulli")
    assert guarded(guarded(glm)) == guarded(glm)
    assert guarded(DeadTime()) == Guarded(baseline=DeadTime())
    assert guarded(Constant()) == Constant()


def test_the_choice_among_history_rungs_is_that_of_the_rung(make_unit):
    fitted = Guarded(baseline=DeadTime()).fit(dead_time_unit(make_unit))
    assert fitted.validation_log_likelihood == -7.0


def test_bin_by_bin_it_is_what_it_is_at_once(make_unit):
    """Oracle: `extend`; mixing has no state, so every bit must be the same."""
    unit = dead_time_unit(make_unit, n_trials=5)
    fitted = Guarded(baseline=Renewal(baseline=Constant())).fit(unit)
    below = fitted.below.log_mu(unit)
    fast, slow = fitted.stepper(unit), ReplayStepper(fitted, unit)
    for t in range(100):
        np.testing.assert_array_equal(fast.predict(t, below[:, t]), slow.predict(t, below[:, t]))
        fast.update(t, unit.counts[:, t])
        slow.update(t, unit.counts[:, t])


def test_leak_probe_and_free_run_see_the_guard(make_unit):
    """Oracle: the share of intervals within the dead time, which only foreign spikes can give."""
    unit = dead_time_unit(make_unit, foreign=0.3)
    fits = FoldFits(unit, unit)
    fitted, log_mu = fits.fit(Guarded(baseline=DeadTime()))
    np.testing.assert_array_equal(log_mu, fitted.log_mu(unit))
    assert not leaks(fitted, unit, stream(0, "test"))
    copies = simulate_copies(fitted, unit, n_copies=4, likelihood="bernoulli", seed=1).counts.reshape(-1, 500)
    near = sum((copies[:, lag:] * copies[:, :-lag]).sum() for lag in range(1, DEAD + 1))
    expected = DEAD * fitted.share * fitted.mean * copies.sum()
    # A Poisson count, and a few pairs at the end of a trial.
    assert abs(near - expected) < 4.0 * np.sqrt(expected) + 0.02 * expected


def test_bernoulli_refuses_several_spikes(make_unit):
    with pytest.raises(DataError, match="more than one spike"):
        Guarded(baseline=Constant(), likelihood="bernoulli").fit(make_unit(np.full((4, 10), 2)))


def mixed_train(share, *, n_own=20000, rate_hz=20.0, dead_s=0.0025, seed=1):
    """Draw a renewal train with a dead time and foreign spikes at random; gives times and duration."""
    rng = np.random.default_rng(seed)
    own = np.cumsum(dead_s + rng.exponential(1.0 / rate_hz - dead_s, n_own))
    n_foreign = round(n_own * share / (1.0 - share))
    return np.sort(np.concatenate([own, rng.uniform(0.0, own[-1], n_foreign)])), float(own[-1])


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1, 0.3])
def test_foreign_spikes_are_found_by_the_violations(share):
    """Oracle: the share that was put in."""
    times_s, duration_s = mixed_train(share)
    found = foreign_spikes(times_s, duration_s, refractory_s=0.002)
    assert found.low <= share <= found.high
    assert found.share == pytest.approx(share, abs=0.02)


def test_foreign_share_by_hand():
    """Three violations of 100 spikes in 2 s within 1.5 ms, where 7.5 are possible."""
    times_s = np.arange(1, 98) * 0.02
    # 0.4 ms lie between the spikes of the fourth close pair, which is censored.
    times_s = np.sort(np.r_[times_s, times_s[[3, 7]] + 0.0010, times_s[3] + 0.0014])
    found = foreign_spikes(times_s, 2.0, refractory_s=0.002, censored_s=0.0005)
    assert found.n_violations == 3
    assert found.share == pytest.approx(1.0 - np.sqrt(1.0 - 3.0 / 7.5), rel=1e-12)
    # Exact Poisson limits for 3 events are 0.6187 and 8.7673 (Garwood 1936).
    assert found.low == pytest.approx(1.0 - np.sqrt(1.0 - 0.6187 / 7.5), abs=1e-5)
    assert found.high == 1.0
    assert foreign_spikes(times_s, 2.0, refractory_s=0.002).n_violations == 4
    assert foreign_spikes(np.array([0.1, 0.1, 0.1]), 2.0).n_violations == 3


def test_a_train_without_any_refractory_period_is_foreign_throughout():
    times_s = np.sort(np.random.default_rng(1).uniform(0.0, 1000.0, 20000))
    assert foreign_spikes(times_s, 1000.0).high == 1.0
    assert np.isnan(foreign_spikes(np.zeros(0), 10.0).share)


def test_wrong_durations_are_refused():
    with pytest.raises(OptionError, match=r"censored_s=0\.002 is not valid"):
        foreign_spikes(np.arange(3.0), 10.0, censored_s=0.002)
    with pytest.raises(OptionError, match="observed_s=0"):
        foreign_spikes(np.arange(3.0), 0.0)


def test_simulated_dead_time_gives_no_violation():
    counts = simulate_spikes(np.full((1, 200_000), 30.0), 0.001, dead_time_s=0.003, seed=1)
    times_s = np.flatnonzero(counts[0]) * 0.001
    assert foreign_spikes(times_s, 200.0, refractory_s=0.002).share == 0.0
