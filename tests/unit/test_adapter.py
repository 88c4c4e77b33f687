"""Models of other libraries as rungs.

Oracles: our own Newton fit of the same regression, our own rungs asked through the adapter, the twin's features, and
leaks planted on purpose.
"""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression, PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cortexrnn.encoding import CausalGain, Constant, HistoryGLM
from cortexrnn.encoding.adapter import Adapted
from cortexrnn.encoding.adapter_trials import AdaptedTrials
from cortexrnn.encoding.arrays import Neighbours, unit_trials
from cortexrnn.encoding.basis import history_basis
from cortexrnn.encoding.constant import mean_count
from cortexrnn.encoding.contamination import guarded
from cortexrnn.encoding.likelihood import POISSON, trial_log_likelihood
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.evaluation import CompareOptions, RunSettings, compare, ladder
from cortexrnn.evaluation.ladder import QUICK_RUNGS
from cortexrnn.evaluation.work import leaks
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))
FREE = PoissonRegressor(alpha=0.0, tol=1e-10, solver="newton-cholesky", max_iter=200)


class HzModel:
    """Gives the mean rate of its training rows, in Hz, or twice that where the first column is above its mean."""

    def __init__(self, bin_s=0.001):
        self.bin_s = bin_s

    def fit(self, X, y):
        self.rate_hz_ = y.mean() / self.bin_s
        self.level_ = X[:, 0].mean()

    def predict_rate(self, X):
        return np.where(X[:, 0] > self.level_, 2.0, 1.0) * self.rate_hz_


class NextRow(HzModel):
    """Gives every row what belongs to the next one, whose history holds the spikes of this bin."""

    def predict_rate(self, X):
        return super().predict_rate(np.roll(X, -1, axis=0))


class Peek:
    """A model of whole trials whose rate depends on the spikes `ahead` bins later, or of the bin itself."""

    def __init__(self, ahead=0):
        self.ahead = ahead

    def fit(self, trials):
        self.rate_hz = float(trials["counts"].mean()) / trials.attrs["bin_s"]

    def predict_rate(self, trials):
        counts = trials["counts"].isel(unit=0).shift(time=-self.ahead, fill_value=0)
        return self.rate_hz * (1.0 + 0.01 * counts)


class Answers:
    """A regressor that gives the same answer to every row."""

    def __init__(self, answer):
        self.answer = answer

    def fit(self, X, y):
        self.n_fits = getattr(self, "n_fits", 0) + 1

    def predict(self, X):
        return np.full(X.shape[0], self.answer)


@pytest.fixture
def unit(make_unit):
    """Thirty trials with gaps, burn-in, a history that suppresses and rebounds, two covariates, one value unknown."""
    counts = simulate_spikes(np.full((30, 150), 60.0), 0.001, history=np.r_[np.full(3, -2.0), np.full(4, 0.4)], seed=1)
    observed = np.repeat(np.random.default_rng(1).random((30, 15)) < 0.9, 10, axis=1)
    covariates = np.random.default_rng(2).standard_normal((30, 150, 2))
    covariates[3, 50, 0] = np.nan
    return make_unit(counts, observed=observed, n_burn_in=20)._replace(covariates=covariates)


def history_columns(unit, basis):
    """The twin's history features, (n_trials, n_bins, n_basis)."""
    return np.moveaxis(TWIN["history_features"](unit.counts, unit.observed, basis, mean_count(unit))[1:], 0, 2)


def test_columns_are_history_then_the_rung_below_then_covariates(unit):
    """Oracle: the twin's loops over lags."""
    fitted = Adapted(FREE, history_s=0.02).fit(unit)
    log_mu = fitted.below.log_mu(unit)
    columns = fitted.columns(unit, log_mu)
    basis = history_basis(0.02, 0.001)
    np.testing.assert_allclose(columns[..., : len(basis)], history_columns(unit, basis), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(columns[..., len(basis)], log_mu)
    known = unit.covariates[unit.scored][:, 0]
    assert columns[3, 50, -2] == pytest.approx(np.nanmean(known), rel=1e-12)
    np.testing.assert_array_equal(columns[..., -1], unit.covariates[..., 1])


def test_a_free_poisson_regression_with_an_offset_is_our_history_glm(unit):
    """Oracle: our Newton fit; both are maximum likelihood of the same design, ours with a ridge of 1e-12."""
    spec = Adapted(FREE, baseline=CausalGain(), baseline_as="offset", history_s=0.02, uses_covariates=False)
    theirs = spec.fit(unit)
    ours = HistoryGLM(history_s=0.02, ridges=(1e-12,), tolerance_nats=1e-12).fit(unit)
    # Both stop near 1e-10 nats; a weight known to 0.1 is then found to some 1e-6, the intercept's prior adds 1e-8.
    np.testing.assert_allclose(theirs.model.coef_, ours.weights[1:], atol=1e-5)
    assert theirs.model.intercept_ == pytest.approx(ours.weights[0], abs=1e-5)
    floored = np.maximum(ours.log_mu(unit), np.log(0.5 / unit.scored.sum()))
    np.testing.assert_allclose(theirs.log_mu(unit)[unit.scored], floored[unit.scored], atol=1e-4)


def test_a_rate_in_hz_is_a_count_over_the_bin(unit):
    """Oracle: by hand, mean rate times one or two."""
    spec = Adapted(HzModel(), predicts="rate_hz", baseline=None, history_s=0.02)
    fitted = spec.fit(unit)
    first = history_columns(unit, history_basis(0.02, 0.001))[..., 0]
    factor = np.where(first > first[unit.scored].mean(), 2.0, 1.0)
    mean = unit.counts[unit.scored].mean()
    np.testing.assert_allclose(fitted.log_mu(unit), np.log(mean * factor), rtol=1e-12)
    np.testing.assert_allclose(fitted.predict_rate(unit), mean * factor / 0.001, rtol=1e-12)


def test_an_offset_multiplies_the_rung_below(unit):
    """Oracle: a constant regressor fitted to y / mu with weights mu gives sum y / sum mu."""
    from sklearn.dummy import DummyRegressor

    fitted = Adapted(DummyRegressor(), baseline_as="offset", history_s=0.01).fit(unit)
    below = fitted.below.log_mu(unit)
    gain = CausalGain().fit(unit)
    seen = gain.on_training(unit, gain.below.on_training(unit, gain.below.below.on_training(unit, below)))
    factor = unit.counts[unit.scored].sum() / np.exp(seen[unit.scored]).sum()
    np.testing.assert_allclose(fitted.log_mu(unit) - below, np.log(factor), rtol=1e-9)


@pytest.mark.parametrize("answer", [0.0, -0.3])
def test_predictions_of_zero_or_less_are_raised_to_half_a_spike_in_all_bins(unit, answer):
    fitted = Adapted(Answers(answer), baseline=None, history_s=0.01).fit(unit)
    np.testing.assert_allclose(fitted.log_mu(unit), np.log(0.5 / unit.scored.sum()), rtol=1e-12)
    silent = unit._replace(counts=np.zeros_like(unit.counts))
    np.testing.assert_allclose(fitted.log_mu(unit), Constant().fit(silent).log_mu(unit), rtol=1e-12)


@pytest.mark.parametrize("answer", [np.nan, np.inf])
def test_predictions_that_are_no_number_are_refused(unit, answer):
    fitted = Adapted(Answers(answer), history_s=0.01, name="broken").fit(unit)
    with pytest.raises(NumericalError, match=rf"broken: .*not finite in {unit.scored.sum()} of"):
        fitted.log_mu(unit)


def test_a_prediction_of_the_wrong_shape_is_refused(unit):
    fitted = Adapted(Answers(np.ones((1, 2))), history_s=0.01).fit(unit)
    fitted.model.predict = lambda X: np.ones((len(X), 2))
    with pytest.raises(NumericalError, match=r"shape \(4500, 2\); expected \(4500,\)"):
        fitted.log_mu(unit)


def test_every_fit_gets_a_fresh_copy(unit):
    model = Answers(0.1)
    spec = Adapted(model, history_s=0.01)
    assert spec.fit(unit).model.n_fits == spec.fit(unit).model.n_fits == 1
    assert not hasattr(model, "n_fits")
    # A model that was fitted elsewhere brings nothing along.
    used = LinearRegression().fit(np.eye(2), np.ones(2))
    assert not hasattr(Adapted(used).model.fresh(), "coef_")
    warm = PoissonRegressor(warm_start=True).fit(np.eye(2), np.ones(2))
    fresh = Adapted(make_pipeline(StandardScaler(), warm)).model.fresh()
    assert not hasattr(fresh[-1], "coef_")


def test_trials_come_back_from_the_dataset_that_a_model_is_given(unit):
    """Oracle: our own rungs, which take datasets and UnitTrials alike, so that nothing may differ."""
    for rung in (Constant(), HistoryGLM(history_s=0.02)):
        # The rate is the exponential, and the logarithm of that is off by the last bit.
        np.testing.assert_allclose(AdaptedTrials(rung).fit(unit).log_mu(unit), rung.fit(unit).log_mu(unit), rtol=1e-14)


class Records:
    """A model that keeps what it was given."""

    def fit(self, trials):
        self.given = trials.copy(deep=True)

    def predict_rate(self, trials):
        return np.ones((trials.sizes["trial"], trials.sizes["time"], 1))


def test_a_model_of_whole_trials_is_told_everything(unit):
    beside = Neighbours(np.random.default_rng(3).integers(0, 2, (30, 150, 3)).astype(np.uint16), 1)
    unit = unit._replace(
        neighbours=beside, counts=beside.counts[..., 1] * unit.observed, covariate_names=("speed", "pupil")
    )
    fitted = AdaptedTrials(Records(), baseline=Constant()).fit(unit)
    given = fitted.model.given
    np.testing.assert_array_equal(given["counts"].values[..., 0], unit.counts)
    np.testing.assert_array_equal(given["scored"].values, np.arange(150) >= 20)
    np.testing.assert_allclose(given["time"].values, (np.arange(150) - 20) * 0.001, atol=1e-15)
    np.testing.assert_allclose(given["baseline_hz"].values, mean_count(unit) / 0.001, rtol=1e-12)
    np.testing.assert_array_equal(given["covariates"].values, unit.covariates)
    assert given["covariate"].values.tolist() == ["speed", "pupil"]
    assert given["neighbour"].values[beside.own] == given["unit"].values[0]
    assert given.attrs["history_s"] == pytest.approx(0.02)
    np.testing.assert_allclose(fitted.log_mu(unit), np.log(0.001), rtol=1e-12)


def test_models_that_look_at_the_bin_they_predict_are_caught(unit):
    """Oracle: leaks planted on purpose, and the same models without."""
    rng = stream(0, "test")
    honest = Adapted(HzModel(), predicts="rate_hz", history_s=0.005)
    assert not leaks(honest.fit(unit), unit, rng)
    assert not leaks(Adapted(FREE, history_s=0.02).fit(unit), unit, rng)
    assert leaks(AdaptedTrials(Peek()).fit(unit), unit, rng)
    assert not leaks(AdaptedTrials(Peek(ahead=-1)).fit(unit), unit, rng)
    assert leaks(replace(honest, model=NextRow()).fit(unit), unit, rng)


@pytest.mark.parametrize(
    "spec",
    [
        Adapted(FREE, history_s=0.02),
        Adapted(FREE, history_s=0.02, baseline_as="offset"),
        Adapted(HzModel(), predicts="rate_hz", baseline=None, history_s=0.01),
    ],
    ids=["column", "offset", "rate"],
)
def test_bin_by_bin_it_predicts_what_it_predicts_at_once(unit, spec):
    """Oracle: `extend`, asked again from the start in every bin."""
    fitted = spec.fit(unit)
    few = unit.take(np.arange(4))
    below = np.zeros(few.counts.shape) if fitted.below is None else fitted.below.log_mu(few)
    fast, slow = fitted.stepper(few), ReplayStepper(fitted, few)
    for t in range(60):
        # Sums over lags run in another order: round-off.
        np.testing.assert_allclose(fast.predict(t, below[:, t]), slow.predict(t, below[:, t]), rtol=1e-9, atol=1e-10)
        fast.update(t, few.counts[:, t])
        slow.update(t, few.counts[:, t])


def test_it_runs_freely(unit):
    """Oracle: the mean count of a unit without history, four standard errors."""
    plain = unit._replace(counts=(np.random.default_rng(4).random((30, 150)) < 0.05).astype(np.uint16) * unit.observed)
    fitted = Adapted(FREE, history_s=0.005, baseline=None).fit(plain)
    copies = simulate_copies(fitted, plain, n_copies=50, seed=1)
    scored = np.broadcast_to(plain.scored, copies.counts.shape)
    expected = plain.counts[plain.scored].mean()
    assert abs(copies.counts[scored].mean() - expected) < 4.0 * np.sqrt(expected / plain.scored.sum() * 1.1)


def test_what_cannot_be_adapted_is_said():
    with pytest.raises(OptionError, match=r"Scaler has no method predict\."):
        Adapted(StandardScaler())
    with pytest.raises(OptionError, match="PoissonRegressor has no method predict_rate"):
        Adapted(PoissonRegressor(), predicts="rate_hz")
    with pytest.raises(OptionError, match=r"the class PoissonRegressor\. Give an object"):
        Adapted(PoissonRegressor)
    with pytest.raises(OptionError, match=r"Answers takes no sample_weight.*baseline_as='column'"):
        Adapted(Answers(1.0), baseline_as="offset")
    with pytest.raises(OptionError, match="predicts='hz' is unknown"):
        Adapted(FREE, predicts="hz")
    with pytest.raises(OptionError, match="has no method fit"):
        AdaptedTrials(object())


def test_without_any_column_nothing_is_fitted(unit):
    bare = Adapted(FREE, history_s=0.0, baseline=None, uses_covariates=False)
    with pytest.raises(OptionError, match="no column to regress on"):
        bare.fit(unit)
    assert not bare.sees_history


def test_specs_are_equal_where_their_models_are():
    spec = Adapted(PoissonRegressor(alpha=0.5))
    assert spec == Adapted(PoissonRegressor(alpha=0.5))
    assert hash(spec) == hash(Adapted(PoissonRegressor(alpha=0.5)))
    assert spec != Adapted(PoissonRegressor(alpha=0.25))
    assert repr(Peek()) != repr(Peek())
    assert repr(AdaptedTrials(Peek())) == repr(AdaptedTrials(Peek())) != repr(AdaptedTrials(Peek(ahead=1)))
    array = Answers(np.arange(3.0))
    assert Adapted(array) == Adapted(copy.deepcopy(array)) != Adapted(Answers(np.arange(4.0)))
    assert replace(spec, history_s=0.2).model is spec.model


def test_a_model_is_described_alike_in_every_process():
    """Oracle: another interpreter."""
    code = (
        "from sklearn.linear_model import PoissonRegressor\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import FunctionTransformer\n"
        "import numpy as np\n"
        "from cortexrnn.encoding.adapter import Adapted\n"
        "print(repr(Adapted(make_pipeline(FunctionTransformer(np.log1p), PoissonRegressor(alpha=0.5)))))"
    )
    command = [sys.executable, "-c", code]
    texts = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in "ab"}
    assert len(texts) == 1
    assert " at 0x" not in texts.pop()


def test_adapted_models_are_compared_resumed_and_caught(tmp_path):
    """Oracle: M5 by hand for the honest ones, and a leak planted on purpose."""
    design = TrialDesign(n_trials=20, duration_s=0.2, history_s=0.1)
    counts = simulate_spikes(design.rate_hz(60.0), 0.001, dead_time_s=0.003, seed=1)
    trials = design.trials(counts[:, :, None], condition=np.tile([0, 1], 10))
    models = ladder(QUICK_RUNGS) | {
        "poisson": Adapted(PoissonRegressor(alpha=1e-3, solver="newton-cholesky"), history_s=0.02),
        "ridge": Adapted(make_pipeline(StandardScaler(), LinearRegression()), history_s=0.02),
        "own": AdaptedTrials(HistoryGLM()),
        "peek": AdaptedTrials(Peek()),
    }
    options = CompareOptions(n_surrogates=1)

    def run(workers):
        return compare(trials, models=models, options=options, run=RunSettings(workers=workers, folder=tmp_path))

    found = run(2)
    scores = found.scores["log_likelihood"]
    # What the adapted M5 expects is what M5 does, under a guard whose share comes of its own training trials.
    unit, fold = unit_trials(trials), found.scores["trial_fold"].values
    by_hand = np.empty(fold.size)
    for k in range(fold.max() + 1):
        train, test = unit.take(fold != k), unit.take(fold == k)
        guard = guarded(models["own"]).fit(train)
        log_mu = guard.mix(HistoryGLM().fit(train).log_mu(test))
        by_hand[fold == k] = trial_log_likelihood(test, log_mu, POISSON)
    np.testing.assert_allclose(scores.sel(rung="own").isel(seed=0, unit=0), by_hand, rtol=1e-12)
    assert float(scores.sel(rung="poisson").sum()) > float(scores.sel(rung="M3").sum())
    assert np.isfinite(scores).all()
    assert json.dumps(found.summary["controls"]).count("peek")
    assert "poisson" not in json.dumps(found.summary["controls"])
    before = sorted(path.name for path in tmp_path.rglob("*.npz"))
    xr.testing.assert_identical(run(1).scores, found.scores)
    assert sorted(path.name for path in tmp_path.rglob("*.npz")) == before
