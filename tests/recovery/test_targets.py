"""The ladder's exact targets: what a known process is worth in bits per spike, and what must not be found.

V1 to V7 are the numbers of the specification; closed forms are evaluated here, simulations are compared with
them within the tolerances stated there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from scipy import special, stats

from cortexrnn.encoding import PSTH, CausalGain, Constant, Drift, HistoryGLM, Renewal, UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.renewal import age_steps
from cortexrnn.evaluation import CompareOptions, RunSettings, compare, gain_interval, ladder
from cortexrnn.evaluation.ladder import QUICK_RUNGS
from cortexrnn.evaluation.work import FoldFits
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import expected_counts, simulate_gamma_renewal, simulate_spikes
from cortexrnn.spikes.surrogates import exchange_trials
from cortexrnn.spikes.trial_design import TrialDesign

LN2 = np.log(2.0)
BIN_S = 0.001
DEAD_TIMES = [(5.0, 3), (20.0, 3), (20.0, 5), (50.0, 4)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Known(Rung):
    """A rung that is told the true rate: log expected counts of every bin."""

    name: ClassVar[str] = "truth"
    meaning: ClassVar[str] = "true PSTH"
    baseline: Rung | None = None
    log_rate: tuple[float, ...]

    def fit_on(self, trials, below, log_mu):
        return FittedKnown(below=None, log_rate=np.array(self.log_rate))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedKnown(Fitted):
    """The true rate."""

    below: Fitted | None
    log_rate: np.ndarray

    def extend(self, trials, log_mu):
        return np.tile(self.log_rate, (trials.n_trials, 1))


def single_bins(counts):
    """Trials of one bin each."""
    counts = np.asarray(counts, dtype=np.uint16)[:, None]
    one = np.ones(counts.shape, dtype=bool)
    n = counts.shape[0]
    return UnitTrials(counts, one, one, np.zeros(n, np.int64), np.arange(n, dtype=float), BIN_S, True)


def expected_gain(hazard, log_mu, log_null, code):
    """Give the exact expected gain, in bits per spike, of a model of a renewal process over a constant rate.

    `hazard` is the true chance of a spike 1, 2, ... bins after the last one, `log_mu` the model's log
    expected count there; the likelihood of every bin comes from the scorer of the comparison.
    """
    reached = np.concatenate([[1.0], np.cumprod(1.0 - hazard)[:-1]])
    total = np.zeros(2)
    for y in (0, 1):
        weight = reached * (hazard if y else 1.0 - hazard)
        possible = weight > 0.0
        unit = single_bins(np.full(possible.sum(), y))
        for k, log_rate in enumerate((log_mu, np.full(hazard.size, log_null))):
            total[k] += weight[possible] @ trial_log_likelihood(unit, log_rate[possible][:, None], code)
    return (total[0] - total[1]) / LN2


def hold_out(unit, specs, n_folds=5):
    """Give every spec's held-out log-likelihood per trial, in contiguous folds."""
    fold = assign_folds(unit.condition, n_folds)
    scores = {name: np.empty(unit.n_trials) for name in specs}
    for k in range(n_folds):
        fits = FoldFits(unit.take(fold != k), unit.take(fold == k))
        for name, spec in specs.items():
            scores[name][fold == k] = trial_log_likelihood(fits.test, fits.fit(spec)[1])
    return scores


def gain_over(scores, name, reference, unit):
    """Give a gain with its interval."""
    return gain_interval(scores[name], scores[reference], unit.spikes_per_trial, 5)


@pytest.mark.parametrize(("rate_hz", "n_dead"), DEAD_TIMES)
def test_v1_a_dead_time_is_worth_minus_log2_of_the_live_fraction(rate_hz, n_dead):
    """Poisson likelihood, exact expectation: -log2(1 - n q)."""
    q = rate_hz * BIN_S
    age = np.arange(1, int(60.0 / q))
    hazard = np.where(age <= n_dead, 0.0, q / (1.0 - n_dead * q))
    with np.errstate(divide="ignore"):
        log_mu = np.log(hazard)
    published = {(5.0, 3): 0.0218, (20.0, 3): 0.0893, (20.0, 5): 0.1520, (50.0, 4): 0.3219}[rate_hz, n_dead]
    exact = -np.log2(1.0 - n_dead * q)
    assert exact == pytest.approx(published, abs=5e-5)
    # Intervals beyond 60 means are left out: exp(-60).
    assert expected_gain(hazard, log_mu, np.log(q), POISSON) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("rate_hz", "n_dead"), DEAD_TIMES)
def test_v1b_bernoulli_gain_of_a_dead_time_is_a_difference_of_entropies(rate_hz, n_dead):
    """H(q)/q - H(p)/p with p = q / (1 - n q), in bits."""
    q = rate_hz * BIN_S
    p = q / (1.0 - n_dead * q)
    entropy_q, entropy_p = (-(x * np.log2(x) + (1.0 - x) * np.log2(1.0 - x)) / x for x in (q, p))
    published = {(5.0, 3): 0.0219, (20.0, 3): 0.0902, (20.0, 5): 0.1536, (50.0, 4): 0.3313}[rate_hz, n_dead]
    assert entropy_q - entropy_p == pytest.approx(published, abs=7e-5)
    hazard = np.where(np.arange(1, int(60.0 / q)) <= n_dead, 0.0, p)
    with np.errstate(divide="ignore"):
        log_mu = np.log(-np.log1p(-hazard))
    found = expected_gain(hazard, log_mu, np.log(-np.log1p(-q)), BERNOULLI)
    assert found == pytest.approx(entropy_q - entropy_p, rel=1e-9)


@pytest.mark.parametrize(("rate_hz", "n_dead"), [(20.0, 3), (50.0, 4)])
def test_v1_simulated_spikes_are_worth_the_same(rate_hz, n_dead):
    """The true model's held-out gain over the true constant rate: within four standard errors of V1."""
    rates_hz = np.full((100, 5000), rate_hz)
    counts = simulate_spikes(rates_hz, BIN_S, dead_time_s=n_dead * BIN_S, seed=1)
    one = np.ones(counts.shape, dtype=bool)
    unit = UnitTrials(counts, one, one, np.zeros(100, np.int64), np.arange(100.0), BIN_S, True)
    with np.errstate(divide="ignore"):
        log_mu = np.log(expected_counts(counts, rates_hz, BIN_S, dead_time_s=n_dead * BIN_S))
    null = trial_log_likelihood(unit, np.full(counts.shape, np.log(rate_hz * BIN_S)))
    gain = gain_interval(trial_log_likelihood(unit, log_mu), null, unit.spikes_per_trial, 5)
    assert gain.value == pytest.approx(-np.log2(1.0 - n_dead * rate_hz * BIN_S), abs=4.0 * gain.sd / 10.0)
    assert gain.sd / 10.0 < 0.005


def gamma_bits(shape):
    """Give the information of a Gamma renewal process in bits per spike, in continuous time."""
    k = shape
    return (1.0 - k + np.log(k) - special.gammaln(k) - (1.0 - k) * special.digamma(k)) / LN2


@pytest.mark.parametrize(
    ("shape", "published"), [(0.5, 0.312), (2.0, 0.167), (3.0, 0.362), (4.0, 0.5235), (8.0, 0.958)]
)
def test_v2_gamma_intervals_are_worth_their_closed_form(shape, published):
    """Exact expectation in fine bins; a density that is infinite at zero needs them finer."""
    assert gamma_bits(shape) == pytest.approx(published, abs=7e-4)
    q = 1e-5 if shape < 1.0 else 1e-4
    survival = stats.gamma.sf(np.arange(int(25.0 / q)) * q, shape, scale=1.0 / shape)
    survival = survival[survival > 1e-11]
    chance = -np.diff(survival)
    hazard = chance / survival[:-1]
    mean_bins = 1.0 / (np.arange(1, chance.size + 1) @ chance)
    # A bin's Poisson mean is the integrated hazard; at most one spike a bin, so Bernoulli.
    with np.errstate(divide="ignore"):
        log_mu = np.log(-np.log1p(-hazard))
    found = expected_gain(hazard, log_mu, np.log(-np.log1p(-mean_bins)), BERNOULLI)
    # Shape 1/2 errs by the mass of its first bins, some sqrt(q): 0.4 %.
    assert found == pytest.approx(gamma_bits(shape), rel=0.01)


@pytest.mark.parametrize("shape", [2.0, 4.0])
def test_v2_simulated_gamma_spikes_are_worth_the_same(shape):
    """The integrated hazard from the middle of the spike's bin; 20 000 spikes."""
    q, n_lags = 0.01, 1000
    counts = simulate_gamma_renewal(np.full((100, 20000), q / BIN_S), BIN_S, shape=shape, seed=3)
    one = np.ones(counts.shape, dtype=bool)
    unit = UnitTrials(counts, one, one, np.zeros(100, np.int64), np.arange(100.0), BIN_S, True)
    edges = (np.arange(n_lags + 2) + 0.5) * q
    mu = -np.diff(stats.gamma.logsf(edges, shape, scale=1.0 / shape))
    # Before a trial's first spike nothing is known: both models say q.
    table = np.log(np.r_[q, mu])
    log_mu = table[age_steps(counts, unit.observed, n_lags)]
    null = trial_log_likelihood(unit, np.full(counts.shape, np.log(q)))
    gain = gain_interval(trial_log_likelihood(unit, log_mu), null, unit.spikes_per_trial, 5)
    # Four standard errors, and 1 % for bins of a hundredth of an interval.
    exact = gamma_bits(shape)
    assert gain.value == pytest.approx(exact, abs=4.0 * gain.sd / 10.0 + 0.01 * exact)
    assert gain.sd / 10.0 < 0.01


def sine_design(n_trials, history_s=0.5):
    """Trials of 1 s with a rate of 15 + 15 sin^2 Hz."""
    design = TrialDesign(n_trials=n_trials, duration_s=1.0, history_s=history_s)
    return design, design.rate_hz(lambda time_s: 15.0 + 15.0 * np.sin(2.0 * np.pi * time_s) ** 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_v3_a_dead_time_under_a_changing_rate_is_found_over_the_psth(seed):
    """Exact: spike-weighted mean of -log2(1 - 3 q), 0.107; fitted 0.104; 400 trials of 1 s; +-0.006."""
    design, rate_hz = sine_design(400)
    q = rate_hz[0, 500:] * BIN_S
    exact = -np.sum(q * np.log2(1.0 - 3.0 * q)) / q.sum()
    assert exact == pytest.approx(0.1067, abs=2e-4)
    unit = unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, dead_time_s=0.003, seed=seed)))
    short = HistoryGLM(baseline=PSTH(), history_s=0.003)
    specs = {
        "M1": PSTH(),
        "3 ms": short,
        "500 ms": replace(short, history_s=0.5),
        "M4": Renewal(baseline=PSTH()),
    }
    scores = hold_out(unit, specs)
    for name in ("3 ms", "500 ms", "M4"):
        gain = gain_over(scores, name, "M1", unit)
        assert gain.value == pytest.approx(0.1067, abs=0.006)
        assert gain.low > 0.09
    # Longer windows add nothing.
    assert -0.003 < gain_over(scores, "500 ms", "3 ms", unit).value < 0.003


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_v4_a_fluctuating_gain_masquerades_as_history_over_the_true_psth(seed):
    """Gain variance 1/4, no history: the gain of a history GLM is positive and grows with its window."""
    design, rate_hz = sine_design(400)
    unit = unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, gain_variance=0.25, seed=seed)))
    known = Known(log_rate=tuple(np.log(rate_hz[0] * BIN_S)))
    windows = {
        f"{window_s}": HistoryGLM(baseline=known, history_s=window_s) for window_s in (0.005, 0.1, 0.5)
    }
    scores = hold_out(unit, {"truth": known, **windows})
    gains = [gain_over(scores, name, "truth", unit).value for name in windows]
    assert 0.0 < gains[0] < gains[1] < gains[2]
    # What a long window pretends to find is no trifle.
    assert gains[2] > 0.04


def test_v4_causal_gain_is_worth_its_closed_form():
    """KL(NB || Poisson) / mu = 0.1135 bits/spike; +-0.01 is three standard errors of 6000 trials."""
    design, rate_hz = sine_design(6000, history_s=0.0)
    unit = unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, gain_variance=0.25, seed=1)))
    mean, n = rate_hz[0].sum() * BIN_S, np.arange(400)
    ratio = stats.nbinom.logpmf(n, 4.0, 4.0 / (4.0 + mean)) - stats.poisson.logpmf(n, mean)
    exact = stats.nbinom.pmf(n, 4.0, 4.0 / (4.0 + mean)) @ ratio / (mean * LN2)
    assert exact == pytest.approx(0.1135, abs=1e-4)
    known = Known(log_rate=tuple(np.log(rate_hz[0] * BIN_S)))
    scores = hold_out(unit, {"truth": known, "gain": CausalGain(baseline=known)})
    assert gain_over(scores, "gain", "truth", unit).value == pytest.approx(0.1135, abs=0.01)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_v4_over_the_causal_gain_no_history_is_left(seed):
    """M5 over M3 on the same data, whole ladder fitted: the interval does not exclude zero from above."""
    design, rate_hz = sine_design(400, history_s=0.0)
    unit = unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, gain_variance=0.25, seed=seed)))
    scores = hold_out(
        unit, {"M1": PSTH(), "M2": Drift(), "M3": CausalGain(), "M4": Renewal(), "M5": HistoryGLM()}
    )
    assert gain_over(scores, "M3", "M1", unit).low > 0.05
    for name in ("M4", "M5"):
        gain = gain_over(scores, name, "M3", unit)
        assert gain.low <= 0.0
        assert abs(gain.value) < 0.004


@pytest.mark.parametrize("seed", [1, 2])
def test_v5_exchanged_trials_have_no_history(seed):
    """M5 over M3, and a history GLM over the true PSTH, on exchanged trials of V4: |gain| < 0.003."""
    design, rate_hz = sine_design(400)
    unit = unit_trials(design.trials(simulate_spikes(rate_hz, BIN_S, gain_variance=0.25, seed=seed)))
    counts = exchange_trials(unit.counts, unit.observed, unit.condition, np.random.default_rng(seed))
    exchanged = unit._replace(counts=counts)
    known = Known(log_rate=tuple(np.log(rate_hz[0] * BIN_S)))
    specs = {"truth": known, "GLM": HistoryGLM(baseline=known), "M3": CausalGain(), "M5": HistoryGLM()}
    scores = hold_out(exchanged, specs)
    assert abs(gain_over(scores, "GLM", "truth", exchanged).value) < 0.003
    assert abs(gain_over(scores, "M5", "M3", exchanged).value) < 0.003


def homogeneous(rng, n_trials):
    """Trials of 200 bins with 20 spikes on average."""
    counts = rng.poisson(0.1, (n_trials, 200)).astype(np.uint16)
    one = np.ones(counts.shape, dtype=bool)
    return UnitTrials(
        counts, one, one, np.zeros(n_trials, np.int64), np.arange(n_trials, dtype=float), BIN_S, True
    )


# A bandwidth far below a bin does not smooth.
UNSMOOTHED = PSTH(bandwidths_s=(1e-6,), uses_elephant=False)


@pytest.mark.parametrize("n_trials", [50, 100, 200])
def test_v6_an_unsmoothed_psth_costs_what_its_bins_cost(n_trials):
    """-(B - 1) / (2 n mu ln 2); oracle's expectation over fresh trials is exact, 100 training sets; 5 %."""
    rng = np.random.default_rng(n_trials)
    costs = []
    for _ in range(100):
        train = homogeneous(rng, n_trials)
        one = train.take(np.array([0]))
        log_psth, log_constant = (spec.fit(train).log_mu(one)[0] for spec in (UNSMOOTHED, Constant()))
        expected = 0.1 * (log_psth - log_constant) - (np.exp(log_psth) - np.exp(log_constant))
        costs.append(expected.sum() / (20.0 * LN2))
    exact = -199.0 / (2.0 * n_trials * 20.0 * LN2)
    assert exact == pytest.approx({50: -0.144, 100: -0.072, 200: -0.036}[n_trials], abs=5e-4)
    assert np.mean(costs) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(("n_trials", "published"), [(10, 0.82), (20, 0.41), (50, 0.15)])
def test_v7_a_trial_inside_its_own_psth_gains_from_noise_and_left_out_it_does_not(n_trials, published):
    """Mean of 200 repeats; 5 %. The published gain is that of the plain mean count, floor left out.

    Leave-one-out, which is what the next rung of our ladder is trained on, must not gain.
    """
    rng = np.random.default_rng(n_trials)
    plain, inside, outside = [], [], []
    for _ in range(200):
        train = homogeneous(rng, n_trials)
        fitted, constant = UNSMOOTHED.fit(train), Constant().fit(train)
        with np.errstate(divide="ignore"):
            naive = np.tile(np.log(train.counts.mean(axis=0)), (n_trials, 1))
        left_out = fitted.on_training(train, np.zeros(train.counts.shape))
        null = trial_log_likelihood(train, constant.log_mu(train)).sum()
        bits = LN2 * train.spikes_per_trial.sum()
        for gains, log_mu in ((plain, naive), (inside, fitted.log_mu(train)), (outside, left_out)):
            gains.append((trial_log_likelihood(train, log_mu).sum() - null) / bits)
    assert np.mean(plain) == pytest.approx(published, rel=0.05)
    # The floor takes some of the spurious gain away, but only leaving out takes it all.
    assert 0.5 * published < np.mean(inside) < published
    assert np.mean(outside) <= 0.0


def compare_quickly(design, counts, seed=0):
    """Compare without networks and give the one unit's summary."""
    options = CompareOptions(n_surrogates=19)
    found = compare(
        design.trials(counts),
        models=ladder(QUICK_RUNGS),
        seed=seed,
        options=options,
        run=RunSettings(workers=2),
    )
    return found.summary["units"][0], found.summary["controls"]


@pytest.mark.slow
def test_verdict_on_a_fluctuating_gain_is_not_that_history_matters():
    """V4 through the whole comparison; the pre-window spikes share the trial's gain."""
    design, rate_hz = sine_design(150)
    counts = simulate_spikes(rate_hz, BIN_S, gain_variance=0.25, seed=5)
    unit, controls = compare_quickly(design, counts)
    assert unit["verdict"] != "history matters"
    assert unit["surrogate_kind"] == "simulated from M3"
    assert abs(unit["history_gain"]["value"]) < 0.01
    assert unit["rungs"]["M3"]["bits_per_spike"] - unit["rungs"]["M2"]["bits_per_spike"] > 0.05
    assert not controls["alarm"]


@pytest.mark.slow
def test_verdict_on_a_dead_time_is_that_history_matters_on_its_time_scale():
    """Three dead bins: the gain's target is V3's, and windows of 5 ms hold nine tenths of it."""
    design, rate_hz = sine_design(100)
    counts = simulate_spikes(rate_hz, BIN_S, dead_time_s=0.003, seed=6)
    unit, controls = compare_quickly(design, counts)
    assert unit["verdict"] == "history matters"
    assert unit["surrogate_p"] == 0.05
    low, high = unit["history_gain"]["ci"]
    # The fit of 80 trials falls short of the exact 0.1067 by its parameters.
    assert low < 0.1067 < high + 0.02
    assert low > 0.06
    assert unit["timescale_s"] <= 0.01
    assert unit["refractory_mass"]["observed"] == 0.0
    # Poisson spikes of some 22.5 Hz come within 2 ms of the last one with a chance of 4.4 %.
    assert unit["refractory_mass"]["expected"] == pytest.approx(0.045, abs=0.01)
    assert not controls["alarm"]


@pytest.mark.slow
def test_verdict_on_poisson_spikes_with_a_drift_is_not_that_history_matters():
    """Half of the rate is lost over the session: M2's business."""
    design, rate_hz = sine_design(150)
    drift = np.linspace(1.4, 0.6, 150)[:, None]
    unit, _ = compare_quickly(design, simulate_spikes(rate_hz * drift, BIN_S, seed=7))
    assert unit["verdict"] != "history matters"
    assert unit["steps"]["M2"]["value"] > 0.0
    assert abs(unit["history_gain"]["value"]) < 0.01
