"""Co-smoothing and the scores of the Neural Latents Benchmark.

Oracles: the slow twin of the benchmark's definitions, scikit-learn's r2_score, known latent rates, models whose answer
is known by hand.
"""

from __future__ import annotations

import runpy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import scipy.ndimage
from sklearn.metrics import r2_score

from cortexrnn.encoding import HistoryGLM
from cortexrnn.encoding.recurrent_smoother import RecurrentSmoother
from cortexrnn.encoding.smoothers import FittedSmoother, PoissonSmoother, Smoother, smoothed_columns
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.evaluation.co_smoothing import bits_per_spike, co_smoothing, psth_r2
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.trial_design import TrialDesign

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "nlb_twin.py"))
QUICK = RecurrentSmoother(n_hidden=8, max_steps=120, batch_size=32, learning_rate=0.01)
LN2 = np.log(2.0)


@dataclass(frozen=True, kw_only=True)
class Known(Smoother):
    """Gives what it was told to give, whatever it sees, and keeps what it was shown."""

    name: ClassVar[str] = "known"
    answer: object = None
    shown: list = field(default_factory=list, compare=False)

    def fit(self, data):
        self.shown.append(data)
        return FittedKnown(self, data.mean_counts)


class FittedKnown(FittedSmoother):
    """The answer, or the mean counts where there is none."""

    def __init__(self, spec, means):
        self.spec, self.means = spec, means

    def predict(self, data):
        self.spec.shown.append(data)
        if callable(self.spec.answer):
            return self.spec.answer(data)
        return np.broadcast_to(self.means, data.held_out.shape)


def draw(n_trials=40, n_units=8, *, strength=0.8, seed=1):
    """Units with one common latent, a slow Gaussian process; gives trials and expected counts."""
    rng = np.random.default_rng(seed)
    design = TrialDesign(n_trials=n_trials, duration_s=0.5, bin_s=0.01, history_s=0.1)
    latent = scipy.ndimage.gaussian_filter1d(rng.standard_normal((n_trials, design.time_s.size)), 4.0, axis=1)
    latent /= latent.std()
    mu = 0.3 * np.exp(strength * latent[:, :, None] * rng.choice([-1.0, 1.0], n_units))
    return design.trials(rng.poisson(mu).astype(np.uint16), condition=np.arange(n_trials) % 2), mu


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bits_per_spike_are_those_of_the_benchmark(seed):
    """Oracle: the twin, with NaN masks and zero rates; V17 of the specification asks for 1e-10."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(1.0, 0.5, (6, 20, 4))
    spikes = rng.poisson(rates).astype(float)
    rates[rng.random(rates.shape) < 0.1] = 0.0
    spikes[rng.random(spikes.shape) < 0.1] = np.nan
    spikes[:, 15:, 2] = np.nan
    before = rates.copy(), spikes.copy()
    assert bits_per_spike(rates, spikes) == pytest.approx(TWIN["bits_per_spike"](rates, spikes), abs=1e-10)
    np.testing.assert_array_equal(rates, before[0])
    np.testing.assert_array_equal(spikes, before[1])


def test_bits_per_spike_by_hand():
    """Two units, 3 spikes and none; rate 0 where a spike is: log2(1e9) bits and a little."""
    spikes = np.array([[3.0, 0.0], [0.0, 0.0]])
    assert bits_per_spike(np.array([[3.0, 0.0], [0.0, 0.0]]), spikes) == pytest.approx(1.0, abs=1e-8)
    lost = bits_per_spike(np.array([[0.0, 0.5], [3.0, 0.5]]), spikes)
    nats = 3.0 * np.log(1e-9) - 1e-9 - 3.0 - 1.0 - (3.0 * np.log(1.5) - 3.0)
    assert lost == pytest.approx(nats / (3.0 * LN2), abs=1e-8)
    assert np.isnan(bits_per_spike(np.ones((2, 2)), np.zeros((2, 2))))
    assert np.isnan(bits_per_spike(np.ones((2, 2)), np.full((2, 2), np.nan)))


def test_rates_that_are_none_are_refused():
    with pytest.raises(DataError, match="1 rates are negative or NaN"):
        bits_per_spike(np.array([[-1.0], [1.0]]), np.ones((2, 1)))
    with pytest.raises(DataError, match=r"rates have shape \(2, 1\) and spikes \(1, 2\)"):
        bits_per_spike(np.ones((2, 1)), np.ones((1, 2)))
    # Where nothing is scored a rate may be missing.
    assert bits_per_spike(np.array([[np.nan], [1.0]]), np.array([[np.nan], [1.0]])) == 0.0


@pytest.mark.parametrize("seed", [1, 2])
def test_psth_r2_is_that_of_the_benchmark(seed):
    """Oracles: the twin, and scikit-learn on the same rows."""
    rng = np.random.default_rng(seed)
    psth = rng.random((4, 15, 3))
    psth[1, 10:] = np.nan
    condition = np.array([0, 0, 1, 3, 3, 3, 1])
    rates = psth[condition] + 0.2 * rng.standard_normal((7, 15, 3))
    found = psth_r2(psth, rates, condition)
    assert found == pytest.approx(TWIN["psth_r2"](psth, rates, condition), abs=1e-10)
    rows = [(psth[c], rates[condition == c].mean(axis=0)) for c in (0, 1, 3)]
    kept = [~np.isnan(truth[:, 0]) for truth, _ in rows]
    truth, guess = (np.concatenate([row[k][keep] for row, keep in zip(rows, kept, strict=True)]) for k in (0, 1))
    assert found == pytest.approx(r2_score(truth, guess), abs=1e-12)


def test_a_flat_psth_scores_as_in_scikit_learn():
    psth = np.stack([np.ones((5, 1)), np.ones((5, 1))])
    for rates in (np.ones((2, 5, 1)), np.full((2, 5, 1), 2.0)):
        assert psth_r2(psth, rates, np.array([0, 1])) == r2_score(psth.reshape(-1, 1), rates.reshape(-1, 1))


def test_psth_r2_refuses_what_does_not_fit():
    psth = np.ones((2, 5, 1))
    with pytest.raises(DataError, match="do not fit together"):
        psth_r2(psth, np.ones((3, 4, 1)), np.zeros(3, int))
    with pytest.raises(DataError, match="rows of psth, 0 to 1"):
        psth_r2(psth, np.ones((1, 5, 1)), np.array([2]))
    with pytest.raises(DataError, match="5 trial-averaged rates are NaN"):
        psth_r2(psth, np.full((1, 5, 1), np.nan), np.array([0]))


def test_models_see_neither_held_out_spikes_nor_the_fold():
    """Oracle: what a model that keeps everything was shown."""
    trials, _ = draw()
    model = Known()
    found = co_smoothing(model, trials, held_out=[2, 5], n_folds=4)
    assert found.held_in == (0, 1, 3, 4, 6, 7)
    np.testing.assert_array_equal(found.data["unit"], [2, 5])
    fold = assign_folds(trials["condition"].values, 4)
    counts = trials["counts"].values
    for k, (training, test) in enumerate(zip(model.shown[::2], model.shown[1::2], strict=True)):
        np.testing.assert_array_equal(training.held_out, counts[fold != k][:, :, [2, 5]])
        np.testing.assert_array_equal(test.held_in, counts[fold == k][:, :, [0, 1, 3, 4, 6, 7]])
        assert not test.held_out.any()


def test_the_mean_of_training_gains_nothing_over_itself():
    """Oracle: by hand; over the mean of the scored trials it loses by how far the two are apart."""
    trials, _ = draw()
    found = co_smoothing(Known(), trials, held_out=[2, 5])
    assert found.gain.value == 0.0
    scored = trials["scored"].values
    spikes = trials["counts"].values[:, scored][:, :, [2, 5]].astype(float)
    expected = found.data["expected"].values[:, scored]
    assert found.bits_per_spike == pytest.approx(TWIN["bits_per_spike"](expected, spikes), abs=1e-10)
    # The mean of 32 trials is off by the latent's own fluctuation from trial to trial.
    assert -0.03 < found.bits_per_spike < 0.0


def test_the_true_rates_score_what_the_benchmark_gives_them():
    trials, mu = draw()
    fold = assign_folds(trials["condition"].values, 5)
    parts = iter([mu[fold == k][:, :, [0, 1]] for k in range(5)])
    found = co_smoothing(Known(answer=lambda data: next(parts)), trials, held_out=[0, 1])
    scored = trials["scored"].values
    spikes = trials["counts"].values[:, scored][:, :, :2].astype(float)
    assert found.bits_per_spike == pytest.approx(TWIN["bits_per_spike"](mu[:, scored][:, :, :2], spikes), abs=1e-10)
    for u in range(2):
        alone = TWIN["bits_per_spike"](mu[:, scored][:, :, [u]], spikes[..., [u]])
        assert float(found.data["bits_per_spike"][u]) == pytest.approx(alone, abs=1e-10)
    total = float((found.data["log_likelihood"] - found.data["null"]).sum() / found.data["n_spikes"].sum() / LN2)
    assert found.gain.value == pytest.approx(total, rel=1e-12)
    assert f"{found.bits_per_spike:.3f} bits per spike" in found.sentence


def test_bins_that_nobody_observed_do_not_count():
    """Oracle: other predictions there, the same score."""
    trials, mu = draw()
    observed = trials["observed"].values.copy()
    observed[3, 20:40, 1] = False
    trials["observed"] = (trials["observed"].dims, observed)
    trials["counts"] = trials["counts"].where(trials["observed"], 0).astype(np.uint16)
    fold = assign_folds(trials["condition"].values, 5)
    scores = []
    for fill in (mu, np.where(observed.all(axis=2)[:, :, None], mu, np.nan)):
        parts = iter([fill[fold == k][:, :, [0]] for k in range(5)])
        scores.append(co_smoothing(Known(answer=lambda data, parts=parts: next(parts)), trials, held_out=[0]))
    assert scores[0].bits_per_spike == scores[1].bits_per_spike
    np.testing.assert_array_equal(scores[0].data["log_likelihood"], scores[1].data["log_likelihood"])
    assert not scores[0].data["scored"].values[3, 20:40].any()


def test_a_silent_unit_is_no_number_alone():
    trials, _ = draw()
    trials["counts"][:, :, 0] = 0
    found = co_smoothing(PoissonSmoother(widths_s=(0.0,), ridges=(10.0,)), trials, held_out=[0, 1])
    assert np.isnan(found.data["bits_per_spike"][0])
    assert np.isfinite(found.bits_per_spike)


def test_regression_finds_a_common_latent_and_nothing_where_there_is_none():
    """Oracle: the true rates, which no model beats but by chance."""
    for strength, is_common in ((0.8, True), (0.0, False)):
        trials, mu = draw(60, strength=strength)
        found = co_smoothing(PoissonSmoother(), trials, held_out=[0, 1])
        scored = trials["scored"].values
        counts = trials["counts"].values[:, scored][:, :, :2].astype(float)
        best = bits_per_spike(mu[:, scored][:, :, :2], counts)
        if is_common:
            assert 0.3 * best < found.bits_per_spike < best + 0.02
            assert found.gain.low > 0.0
        else:
            # Weights found in noise cost a little, and a strong ridge next to nothing.
            assert -0.03 < found.gain.value < 0.01


def test_regression_weights_solve_the_score_equation():
    """Oracle: X'(y - mu) = ridge times weight on columns of unit variance."""
    trials, _ = draw()
    model = Known()
    co_smoothing(model, trials, held_out=[0])
    data = model.shown[0]
    fitted = PoissonSmoother(ridges=(20.0,)).fit(data)
    rows = (smoothed_columns(data, (0.0, 0.02, 0.1))[data.scored] - fitted.center) / fitted.scale
    np.testing.assert_allclose(rows.std(axis=0), 1.0, rtol=1e-9)
    mu = fitted.means[0] * np.exp(fitted.weights[0, 0] + rows @ fitted.weights[1:, 0])
    slope = rows.T @ (data.held_out[data.scored][:, 0] - mu)
    # A decrement of 1e-4 nats, squared by the last step, at a curvature of some 300 spikes.
    np.testing.assert_allclose(slope, 20.0 * fitted.weights[1:, 0], atol=0.02)


def test_smoothing_leaves_out_what_nobody_observed():
    """Oracle: by hand; of constant counts every weighted mean is the constant."""
    trials, _ = draw(4)
    model = Known()
    co_smoothing(model, trials, held_out=[0], n_folds=2)
    data = model.shown[0]
    observed = np.ones(data.observed.shape, bool)
    observed[:, 10:20] = False
    flat = data._replace(held_in=np.full(data.held_in.shape, 2), observed=observed)
    columns = smoothed_columns(flat, (0.02, 1.0))
    np.testing.assert_allclose(columns[:, :, 0], 2.0, rtol=1e-12)
    np.testing.assert_allclose(columns[:, :, -1], 2.0, rtol=1e-12)


def late_copy():
    """A unit that repeats another's spikes three bins before it fires them: only the future tells."""
    trials, _ = draw(40, 2, strength=0.0)
    counts = trials["counts"].values.copy()
    counts[:, :-3, 1] = counts[:, 3:, 0]
    trials["counts"] = (trials["counts"].dims, counts)
    return trials


def test_the_future_is_used():
    found = co_smoothing(PoissonSmoother(widths_s=(0.02,)), late_copy(), held_out=[1])
    assert found.gain.low > 0.0


@pytest.mark.slow
def test_a_bidirectional_network_uses_the_future_and_beats_smoothing():
    """Oracle: the planted copy: a network can wait three bins, a kernel only blurs."""
    trials = late_copy()
    network = co_smoothing(replace(QUICK, max_steps=400), trials, held_out=[1])
    assert network.gain.low > 0.3
    assert network.bits_per_spike > co_smoothing(PoissonSmoother(), trials, held_out=[1]).bits_per_spike


def test_a_bidirectional_network_finds_the_latent_and_is_the_same_twice():
    trials, mu = draw(40)
    found, again = (co_smoothing(QUICK, trials, held_out=[0, 1], n_folds=2) for _ in range(2))
    np.testing.assert_array_equal(found.data["expected"], again.data["expected"])
    scored = trials["scored"].values
    counts = trials["counts"].values[:, scored][:, :, :2].astype(float)
    assert 0.2 * bits_per_spike(mu[:, scored][:, :, :2], counts) < found.bits_per_spike
    assert found.gain.low > 0.0


def test_a_network_that_learns_nothing_stays_near_the_mean():
    """Oracle: independent units; the parameters of the best look are kept."""
    trials, _ = draw(40, strength=0.0)
    found = co_smoothing(replace(QUICK, max_steps=40), trials, held_out=[0, 1], n_folds=2)
    assert -0.03 < found.gain.value < 0.01


def test_units_are_drawn_by_the_seed():
    trials, _ = draw(n_units=8)
    drawn = [tuple(co_smoothing(Known(), trials, seed=seed).data["unit"].values) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 2


def test_smoothers_are_refused_as_predictors():
    assert not PoissonSmoother.is_causal
    assert not RecurrentSmoother.is_causal
    model = Known()
    co_smoothing(model, draw()[0], held_out=[0])
    fitted = PoissonSmoother(ridges=(10.0,)).fit(model.shown[0])
    with pytest.raises(OptionError, match=r"FittedPoissonSmoother sees later bins .* Use co_smoothing"):
        fitted.score(draw()[0])


def test_what_cannot_be_smoothed_is_said():
    trials, _ = draw()
    with pytest.raises(OptionError, match=r"HistoryGLM is no Smoother.*goes to compare"):
        co_smoothing(HistoryGLM(), trials)
    with pytest.raises(OptionError, match="held_out names 9, which is no unit"):
        co_smoothing(Known(), trials, held_out=[9])
    with pytest.raises(OptionError, match="names 8 of 8 units; expected some, and not all"):
        co_smoothing(Known(), trials, held_out=range(8))
    with pytest.raises(OptionError, match=r"held_out=1\.5 of 8 units"):
        co_smoothing(Known(), trials, held_out=1.5)
    with pytest.raises(NumericalError, match="400 of 400 predicted counts are not positive"):
        co_smoothing(Known(answer=lambda data: np.zeros(data.held_out.shape)), trials, held_out=[0])
    with pytest.raises(NumericalError, match="has shape"):
        co_smoothing(Known(answer=lambda data: np.ones((1, 1, 1))), trials, held_out=[0])
    trials["observed"] = (trials["observed"].dims, np.zeros(trials["observed"].shape, bool))
    trials["counts"] = trials["counts"] * np.uint16(0)
    with pytest.raises(DataError, match="observed in no scored bin"):
        co_smoothing(Known(), trials, held_out=[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "ode"}, "cell='ode' is unknown"),
        ({"dropout": 1.0}, r"dropout=1\.0 is not valid"),
        ({"n_hidden": 0}, "n_hidden=0"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_networks_refuse_wrong_values(change, message):
    with pytest.raises(OptionError, match=message):
        RecurrentSmoother(**change)


def test_regressions_refuse_wrong_values():
    with pytest.raises(OptionError, match="widths_s"):
        PoissonSmoother(widths_s=(-1.0,))
    with pytest.raises(OptionError, match="at least one of each"):
        PoissonSmoother(ridges=())
