"""S1, the stimulus filters. Oracles: statsmodels on an explicit design, the score equation, planted filters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from cortexrnn.encoding import PSTH, CausalGain, Constant, Drift, HistoryGLM, stimulus_design
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stimulus import Stimulus
from cortexrnn.encoding.stimulus_design import lag_basis
from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.evaluation.work import leaks
from cortexrnn.report.stimulus import draw_stimulus_filters, plot_stimulus_filter, plot_stimulus_filters

LAGS = np.arange(31)
# Log change of the rate by a unit of the stimulus; raised to a sum of squares of 0.36.
PLANTED = 0.6 * np.exp(-0.5 * ((LAGS - 8) / 4.0) ** 2) / np.sqrt(np.exp(-(((LAGS - 8) / 4.0) ** 2)).sum())
FREE = Stimulus(lags_s=(0.0, 0.03), n_basis=(10,), ridges=(1e-9,), tolerance_nats=1e-12)


def planted_effect(stimulus, planted):
    """Add up what earlier bins of the stimulus do, lag by lag."""
    effect = np.zeros(stimulus.shape)
    for lag, weight in enumerate(planted):
        effect[:, lag:] += weight * stimulus[:, : stimulus.shape[1] - lag]
    return effect


@pytest.fixture(scope="session")
def make_driven(make_unit):
    """Give the function that makes trials of a unit that follows the first of some covariates."""

    def make(seed, *, n_trials=30, n_bins=1100, n_covariates=1, planted=PLANTED, width=0, is_locked=False):
        rng = np.random.default_rng(seed)
        covariates = rng.standard_normal((n_trials, n_bins, n_covariates))
        if width:
            kernel = np.hanning(width) / np.sqrt((np.hanning(width) ** 2).sum())
            covariates = np.apply_along_axis(np.convolve, 1, covariates, kernel, "same")
        effect = planted_effect(covariates[:, :, 0], planted)
        counts = rng.poisson(0.02 * np.exp(effect - 0.5 * effect.var()))
        unit = make_unit(counts, n_burn_in=100, is_locked=is_locked)
        names = tuple(f"x{k}" for k in range(n_covariates))
        return unit._replace(covariates=covariates, covariate_names=names)

    return make


@pytest.fixture(scope="session")
def halves(make_driven):
    """Trials to learn on and as many to test on, driven by a white stimulus."""
    unit = make_driven(3, n_trials=120)
    return unit.take(np.arange(60)), unit.take(np.arange(60, 120))


def gain(model, reference, test):
    """Held-out bits per spike of one fitted rung over another."""
    nats = trial_log_likelihood(test, model.log_mu(test)) - trial_log_likelihood(test, reference.log_mu(test))
    return nats.sum() / np.log(2.0) / test.spikes_per_trial.sum()


def explicit_design(unit, lags_s, n_basis):
    """Give ones and the z-scored covariates filtered by the basis, over the scored bins, by plain loops."""
    lags, basis = lag_basis(lags_s, unit.bin_s, n_basis)
    columns = [np.ones(int(unit.scored.sum()))]
    for values in np.moveaxis(unit.covariates, 2, 0):
        known = values[unit.scored & np.isfinite(values)]
        z = np.where(np.isfinite(values), (values - known.mean()) / known.std(), 0.0)
        for row in basis:
            column = np.zeros(z.shape)
            for lag, weight in zip(lags, row, strict=True):
                moved = np.roll(z, lag, axis=1)
                if lag >= 0:
                    moved[:, :lag] = 0.0
                else:
                    moved[:, lag:] = 0.0
                column += weight * moved
            columns.append(column[unit.scored])
    return np.stack(columns, axis=1), basis


def test_functions_add_up_to_two_inside_the_window_and_peak_at_its_ends():
    lags, basis = lag_basis((-0.02, 0.04), 0.001, 7)
    assert lags[[0, -1]].tolist() == [-20, 40]
    np.testing.assert_allclose(basis.max(axis=1), 1.0, rtol=1e-12)
    assert basis[0, 0] == basis[-1, -1] == 1.0
    # Peaks are 10 bins apart, and from two spacings inside on nothing is cut.
    np.testing.assert_allclose(basis.sum(axis=0)[10:-10], 2.0, rtol=1e-12)


def test_a_window_with_few_lags_has_a_weight_for_each():
    lags, basis = lag_basis((0.0, 0.004), 0.001, 10)
    assert lags.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(basis, np.eye(5))


@pytest.mark.parametrize("lags_s", [(0.0, 0.03), (-0.02, 0.01), (0.01, 0.04), (-0.03, -0.01)])
def test_filters_and_errors_are_those_of_statsmodels_on_the_explicit_design(make_driven, lags_s):
    import statsmodels.api as sm

    unit = make_driven(1, n_trials=10, n_covariates=2)
    covariates = unit.covariates.copy()
    covariates[2, 300:400] = np.nan
    covariates[:, :, 1] = 5.0 + 3.0 * covariates[:, :, 1]
    unit = unit._replace(covariates=covariates)
    design, basis = explicit_design(unit, lags_s, 6)
    offset = np.full(len(design), Constant().fit(unit).log_mu(unit)[0, 0])
    model = sm.GLM(unit.counts[unit.scored], design, family=sm.families.Poisson(), offset=offset).fit(tol=1e-14)
    found = replace(FREE, lags_s=lags_s, n_basis=(6,)).fit(unit).filters()
    for k in range(2):
        chosen = slice(1 + 6 * k, 7 + 6 * k)
        scale = found["scale"].values[k]
        expected = model.params[chosen] @ basis / scale
        np.testing.assert_allclose(found["filter"].values[k], expected, rtol=0, atol=1e-6)
        spread = basis.T @ model.cov_params()[chosen, chosen] @ basis
        np.testing.assert_allclose(found["filter_se"].values[k], np.sqrt(np.diag(spread)) / scale, rtol=1e-4)
        # The sum over lags, and its error.
        np.testing.assert_allclose(found["summed"].values[k], expected.sum(), rtol=0, atol=1e-5)
        np.testing.assert_allclose(found["summed_se"].values[k], np.sqrt(spread.sum()) / scale, rtol=1e-4)


def test_bernoulli_weights_solve_the_score_equation(make_driven):
    """Oracle: the derivative of the log-likelihood, written out, is zero at the maximum."""
    unit = make_driven(2, n_trials=10)
    unit = unit._replace(counts=np.minimum(unit.counts, 1))
    fitted = replace(FREE, likelihood="bernoulli", n_basis=(6,)).fit(unit)
    design, _ = explicit_design(unit, FREE.lags_s, 6)
    mu, y = np.exp(fitted.log_mu(unit)[unit.scored]), unit.counts[unit.scored]
    slope = design.T @ np.where(y > 0, mu / np.expm1(mu), -mu)
    # A step less than 1e-12 nats away; columns of size 1 over 9000 bins.
    np.testing.assert_allclose(slope, 0.0, atol=1e-3)


def test_a_planted_filter_lies_within_its_intervals_nineteen_times_in_twenty(make_driven):
    weak = Stimulus(lags_s=(0.0, 0.03), n_basis=(10,), ridges=(0.3,))
    inside = []
    for seed in range(100, 130):
        found = weak.fit(make_driven(seed)).filters().isel(covariate=0)
        inside.append(np.abs(found["filter"] - PLANTED).values < 1.96 * found["filter_se"].values)
    # Lags of a filter are not independent: about 6 of them a fit, 180 in all, standard error .016.
    assert 0.90 < np.mean(inside) <= 0.99


def test_a_finer_basis_is_chosen_where_the_filter_is_fine(make_driven):
    fine = np.zeros(51)
    fine[[5, 6]] = 0.5, -0.5
    spec = Stimulus(lags_s=(0.0, 0.05), n_basis=(6, 51))
    chosen = spec.fit(make_driven(4, planted=fine))
    assert chosen.weights.size == 52
    assert spec.fit(make_driven(4, planted=np.zeros(1))).weights.size == 7


def test_a_covariate_that_says_nothing_gains_nothing(make_driven):
    gains = []
    for seed in range(20):
        unit = make_driven(seed, n_trials=40, planted=np.zeros(1))
        train, test = unit.take(np.arange(20)), unit.take(np.arange(20, 40))
        gains.append(gain(Stimulus(lags_s=(0.0, 0.1)).fit(train), Constant().fit(train), test))
    # Thirty free weights would cost 30 / (2 * 400 ln 2) = .054 bits/spike.
    assert -0.02 < np.mean(gains) < 0.005


def test_the_filters_find_nearly_all_that_the_true_model_knows(halves):
    train, test = halves
    constant = Constant().fit(train)
    effect = planted_effect(test.covariates[:, :, 0], PLANTED)
    true = np.log(0.02) + effect - 0.5 * effect.var()
    nats = trial_log_likelihood(test, true) - trial_log_likelihood(test, constant.log_mu(test))
    best = nats.sum() / np.log(2.0) / test.spikes_per_trial.sum()
    # Ten weights over 1200 spikes cost .006.
    assert best - 0.03 < gain(Stimulus(lags_s=(0.0, 0.04)).fit(train), constant, test) < best + 0.01
    assert best > 0.2


def test_what_looks_like_history_is_gone_once_the_stimulus_is_known(make_driven):
    """A stimulus that changes within 20 ms makes spikes come in groups, without any effect of a spike."""
    unknown, known = [], []
    stimulus = Stimulus(lags_s=(0.0, 0.04))
    for seed in range(4):
        unit = make_driven(seed, n_trials=160, width=40, planted=0.4 * PLANTED)
        train, test = unit.take(np.arange(80)), unit.take(np.arange(80, 160))
        for below, gains in ((PSTH(uses_elephant=False), unknown), (stimulus, known)):
            control = CausalGain(baseline=Drift(baseline=below))
            gains.append(gain(HistoryGLM(baseline=control, history_s=0.1).fit(train), control.fit(train), test))
    # The null costs a history GLM of some 15 weights over 1600 spikes up to .005.
    assert min(unknown) > 0.02
    assert np.abs(known).max() < 0.01


def test_a_psth_may_stand_below_and_explains_what_is_locked(make_driven):
    unit = make_driven(5, n_trials=60, is_locked=True)
    same = unit._replace(covariates=np.tile(unit.covariates[:1], (60, 1, 1)))
    over = Stimulus(baseline=PSTH(uses_elephant=False), lags_s=(0.0, 0.03))
    assert over.fit(unit).below.bandwidth_s > 0.0
    assert gain(over.fit(unit), over.baseline.fit(unit), unit) > 0.1
    # A stimulus that is the same in every trial is time within the trial.
    assert abs(gain(over.fit(same), over.baseline.fit(same), same)) < 0.05


def test_own_spikes_change_nothing_and_no_rung_above_leaks(halves):
    train, test = halves
    top = HistoryGLM(baseline=CausalGain(baseline=Drift(baseline=Stimulus(lags_s=(0.0, 0.03)))), history_s=0.05)
    fitted = top.fit(train)
    assert not any(leaks(fitted, test, np.random.default_rng(seed)) for seed in range(20))
    filters = fitted.below.below.below
    assert not filters.looks_at_spikes
    other = test._replace(counts=np.random.default_rng(0).poisson(1.0, test.counts.shape).astype(np.uint16))
    np.testing.assert_array_equal(filters.log_mu(test), filters.log_mu(other))


def test_free_running_spikes_follow_the_stimulus(halves):
    train, test = halves
    fitted = HistoryGLM(baseline=Stimulus(lags_s=(0.0, 0.03)), history_s=0.02).fit(train)
    copies = simulate_copies(fitted, test, n_copies=100, seed=1)
    mean = copies.counts.mean(axis=0)[test.scored]
    expected = np.exp(fitted.below.log_mu(test))[test.scored]
    # 100 copies of 60 trials of a second: 120000 spikes, whose total is known to .3 %.
    assert mean.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert np.corrcoef(mean, expected)[0, 1] > 0.6


def test_scale_and_zero_of_a_covariate_are_without_meaning(halves):
    train, test = halves
    spec = Stimulus(lags_s=(0.0, 0.03), n_basis=(10,))
    expected = spec.fit(train).log_mu(test)
    moved = [unit._replace(covariates=1e4 + 1e-3 * unit.covariates) for unit in (train, test)]
    # Seven digits of the covariate are above its offset.
    np.testing.assert_allclose(spec.fit(moved[0]).log_mu(moved[1]), expected, atol=1e-5)


def test_a_filter_is_told_per_unit_of_the_covariate(halves):
    train = halves[0]
    spec = Stimulus(lags_s=(0.0, 0.03), n_basis=(10,), ridges=(3.0,))
    one, tenth = spec.fit(train), spec.fit(train._replace(covariates=10.0 * train.covariates))
    for name in ("filter", "filter_se", "summed", "summed_se"):
        np.testing.assert_allclose(10.0 * tenth.filters()[name], one.filters()[name], rtol=1e-6)


def test_a_covariate_that_is_constant_in_trials_has_one_weight(make_unit):
    rng = np.random.default_rng(6)
    contrast = rng.choice([0.0, 0.5, 1.0], 100)
    counts = rng.poisson(0.02 * np.exp(1.2 * contrast)[:, None], (100, 500))
    given = np.tile(contrast[:, None, None], (1, 500, 1))
    given[7] = np.nan
    unit = make_unit(counts)._replace(covariates=given, covariate_names=("contrast",))
    fitted = replace(FREE, lags_s=(-0.01, 0.03)).fit(unit)
    found = fitted.filters()
    assert fitted.weights.size == 2
    assert found["filter"].shape == (1, 0)
    assert abs(found["summed"].item() - 1.2) < 3.0 * found["summed_se"].item() < 0.4
    # No burn-in, and no ramp either: the first bin has the rate of all others, an unknown value the mean.
    log_mu = fitted.log_mu(unit)
    np.testing.assert_allclose(log_mu, np.tile(log_mu[:, :1], (1, 500)), rtol=1e-12)
    assert log_mu[7, 0] == pytest.approx(fitted.below.log_mu(unit)[7, 0] + fitted.weights[0], rel=1e-12)
    with pytest.raises(DataError, match="no covariate has a filter"):
        fitted.plot()


def test_bins_beyond_the_trial_and_unknown_ones_count_as_the_mean(halves):
    train, test = halves
    fitted = Stimulus(lags_s=(-0.01, 0.03), n_basis=(10,)).fit(train)
    mean = float(train.covariates[train.scored].mean())
    covariates = test.covariates.copy()
    covariates[:, 300:350] = np.nan
    filled = np.where(np.isnan(covariates), mean, covariates)
    expected = fitted.log_mu(test._replace(covariates=filled))
    np.testing.assert_allclose(fitted.log_mu(test._replace(covariates=covariates)), expected, atol=1e-12)
    only_mean = fitted.log_mu(test._replace(covariates=np.full_like(covariates, mean)))
    np.testing.assert_allclose(only_mean, only_mean[0, 0], rtol=1e-12)


def test_prediction_stops_at_the_range_met_in_training(halves):
    train, test = halves
    fitted = Stimulus(lags_s=(0.0, 0.03), n_basis=(10,)).fit(train)
    largest, smallest = fitted.log_mu(train)[train.scored].max(), fitted.log_mu(train)[train.scored].min()
    wild = fitted.log_mu(test._replace(covariates=50.0 * test.covariates))
    assert wild.max() == pytest.approx(largest, abs=1e-9)
    assert wild.min() == pytest.approx(smallest, abs=1e-9)


def test_columns_made_again_in_every_pass_give_the_same_fit(halves, monkeypatch):
    train = halves[0]
    kept = Stimulus(lags_s=(0.0, 0.03)).fit(train)
    monkeypatch.setattr(stimulus_design, "_MOST_KEPT", 0)
    made = Stimulus(lags_s=(0.0, 0.03)).fit(train)
    np.testing.assert_array_equal(made.weights, kept.weights)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
@pytest.mark.parametrize("value", [0, 1], ids=["silent", "always"])
def test_extreme_units_and_covariates_have_a_finite_fit(make_unit, likelihood, value):
    unit = make_unit(np.full((8, 60), value))
    rng = np.random.default_rng(7)
    covariates = np.stack([rng.standard_normal((8, 60)), np.zeros((8, 60)), np.full((8, 60), np.nan)], axis=2)
    unit = unit._replace(covariates=covariates)
    fitted = Stimulus(lags_s=(0.0, 0.01), likelihood=likelihood).fit(unit)
    assert fitted.is_converged
    assert np.isfinite(fitted.log_mu(unit)).all()
    assert list(fitted.filters()["covariate"].values) == ["covariate 0", "covariate 1", "covariate 2"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lags_s": (0.3, 0.0)}, "lags_s="),
        ({"n_basis": (0,)}, "n_basis=0"),
        ({"n_basis": ()}, "expected at least one of each"),
        ({"ridges": (-1.0,)}, "ridges of 0 or more"),
    ],
)
def test_impossible_options_are_refused(fields, message):
    with pytest.raises(OptionError, match=message):
        Stimulus(**fields)


def test_trials_without_the_covariates_are_refused(halves, make_unit):
    train, test = halves
    with pytest.raises(DataError, match="hold no covariates"):
        Stimulus().fit(make_unit(train.counts))
    fitted = Stimulus(lags_s=(0.0, 0.03), n_basis=(10,)).fit(train)
    with pytest.raises(DataError, match="hold no covariates"):
        fitted.log_mu(make_unit(test.counts))
    with pytest.raises(DataError, match="the covariates sound; the filters were fitted to x0"):
        fitted.log_mu(test._replace(covariate_names=("sound",)))


def test_a_fit_that_stops_short_says_so(halves):
    with pytest.warns(NumericalWarning, match=r"stopped with an expected gain of .* nats left"):
        fitted = replace(FREE, tolerance_nats=0.0).fit(halves[0])
    assert not fitted.is_converged


def test_drawn_filters_are_those_of_the_model(make_driven, tmp_path):
    fitted = Stimulus(lags_s=(-0.01, 0.03), n_basis=(10,)).fit(make_driven(8, n_covariates=2))
    found = fitted.filters()
    ax = fitted.plot()
    lines = {line.get_label(): line for line in ax.get_lines()}
    for k, name in enumerate(("x0", "x1")):
        np.testing.assert_allclose(lines[name].get_xdata(), 1e3 * found["lag"])
        np.testing.assert_allclose(lines[name].get_ydata(), found["scale"][k] * found["filter"][k])
    one = plot_stimulus_filter(ax.figure.add_subplot(), found.sel(covariate="x1"))
    assert one.get_title() == "x1"
    np.testing.assert_allclose(one.get_lines()[-1].get_ydata(), found["filter"][1])
    [path] = draw_stimulus_filters(tmp_path, found)
    assert b"<svg" in path.read_bytes()
    with pytest.raises(DataError, match="one filter is drawn at a time"):
        plot_stimulus_filter(ax, found)
    with pytest.raises(DataError, match="no variable 'filter'"):
        plot_stimulus_filters(ax, xr.Dataset())
