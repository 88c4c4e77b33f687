"""Curves of behaviour, selectivity and their figures.

Oracle: curves from which the choices were drawn, closed forms, statsmodels' probit, Wilson intervals and regression.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import xarray as xr
from matplotlib.figure import Figure
from scipy.special import ndtr
from statsmodels.stats.proportion import proportion_confint

from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.report.behaviour import draw_behaviour, plot_chronometric, plot_example, plot_psychometric
from cortexrnn.training.behaviour import chronometric, example_trials, psychometric, wilson
from cortexrnn.training.behaviour_fits import fit_cumulative_gaussian, fit_diffusion_times
from cortexrnn.training.selectivity import regression_weights, selectivity
from cortexrnn.training.tasks import load_task

LEVELS = np.array([-0.512, -0.256, -0.128, -0.064, -0.032, 0.032, 0.064, 0.128, 0.256, 0.512])


def draw_choices(mean, sd, lapse, *, n_per_level=300, seed=1):
    """Draw choices from a known curve; response 0 is the counted one."""
    stimulus = np.repeat(LEVELS, n_per_level)
    p = lapse + (1.0 - 2.0 * lapse) * ndtr((stimulus - mean) / sd)
    response = np.where(np.random.default_rng(seed).random(stimulus.size) < p, 0, 1)
    return pd.DataFrame({"signed_coherence": stimulus, "response": response, "is_catch": False})


def draw_times(bound, sensitivity, residual_s, *, n_per_level=400, noise_s=0.05, seed=2):
    """Draw reaction times around a known curve, a tenth of the answers wrong and slower."""
    rng = np.random.default_rng(seed)
    coherence = np.repeat(LEVELS[5:], n_per_level)
    mean_s = bound / (sensitivity * coherence) * np.tanh(bound * sensitivity * coherence) + residual_s
    correct = (np.arange(coherence.size) % 10 > 0).astype(float)
    times = mean_s + 0.1 * (1.0 - correct) + noise_s * rng.standard_normal(coherence.size)
    return pd.DataFrame({"coherence": coherence, "correct": correct, "reaction_time_s": times})


def test_a_psychometric_fit_recovers_the_curve_that_the_choices_come_from():
    curves = psychometric(draw_choices(0.03, 0.12, 0.04), stimulus="signed_coherence", n_bootstrap=200)
    for name, truth in (("mean", 0.03), ("sd", 0.12), ("lapse", 0.04)):
        low, high = float(curves[f"{name}_low"][0]), float(curves[f"{name}_high"][0])
        # Four half-widths of a 95 % interval are about eight standard errors; the interval itself must be narrow.
        assert abs(float(curves[name][0]) - truth) < 2.0 * (high - low), name
        assert high - low < {"mean": 0.04, "sd": 0.07, "lapse": 0.06}[name]
    assert bool(curves["is_converged"][0])


@pytest.mark.slow
def test_the_intervals_of_the_fit_cover_the_truth_as_often_as_they_say():
    n_repeats, hits = 60, {"mean": 0, "sd": 0}
    for seed in range(n_repeats):
        trials = draw_choices(0.02, 0.1, 0.02, n_per_level=80, seed=seed)
        curves = psychometric(trials, stimulus="signed_coherence", n_bootstrap=100, seed=seed)
        for name, truth in (("mean", 0.02), ("sd", 0.1)):
            hits[name] += float(curves[f"{name}_low"][0]) <= truth <= float(curves[f"{name}_high"][0])
    # 57 of 60 are expected; fewer than 48 has a probability below 1e-4 at a coverage of 95 %.
    assert min(hits.values()) >= 48, hits


def test_without_lapses_the_fit_is_that_of_a_probit_regression():
    trials = draw_choices(0.02, 0.15, 0.0)
    counts = trials.groupby("signed_coherence")["response"].agg(["size", "sum"])
    chosen = (counts["size"] - counts["sum"]).to_numpy()
    fit = fit_cumulative_gaussian(LEVELS, chosen, counts["size"].to_numpy(), max_lapse=0.0)
    design = sm.add_constant(trials["signed_coherence"].to_numpy())
    probit = sm.Probit((trials["response"] == 0).to_numpy().astype(float), design).fit(disp=0)
    constant, slope = probit.params
    # Both stop at gradients of about 1e-6 a trial.
    assert fit.sd == pytest.approx(1.0 / slope, rel=1e-3)
    assert fit.mean == pytest.approx(-constant / slope, abs=2e-4)
    assert fit.log_likelihood == pytest.approx(probit.llf, rel=1e-6)


def test_the_fitted_curve_is_at_its_mean_one_half_and_ends_in_its_lapses():
    fit = fit_cumulative_gaussian(LEVELS, np.rint(100 * (0.05 + 0.9 * ndtr(LEVELS / 0.1))), np.full(10, 100))
    assert float(fit.at(fit.mean)) == pytest.approx(0.5, abs=1e-12)
    assert float(fit.at(100.0)) == pytest.approx(1.0 - fit.lapse, abs=1e-12)
    assert fit.lapse == pytest.approx(0.05, abs=0.01)  # counts are rounded to a hundredth


def test_no_other_parameters_are_likelier_than_those_of_the_fit():
    counts = draw_choices(0.03, 0.12, 0.04).assign(hit=lambda t: t["response"] == 0).groupby("signed_coherence")["hit"]
    chosen, total = counts.sum().to_numpy(), counts.size().to_numpy()
    fit = fit_cumulative_gaussian(LEVELS, chosen, total)

    def log_likelihood(mean, sd, lapse):
        p = lapse + (1.0 - 2.0 * lapse) * ndtr((LEVELS - mean) / sd)
        return (chosen * np.log(p) + (total - chosen) * np.log1p(-p)).sum()

    assert fit.log_likelihood == pytest.approx(log_likelihood(*fit[:3]), rel=1e-10)
    rng = np.random.default_rng(3)
    for _ in range(300):
        mean, sd = fit.mean + 0.05 * rng.standard_normal(), fit.sd * np.exp(0.3 * rng.standard_normal())
        assert log_likelihood(mean, sd, rng.uniform(0.001, 0.1)) <= fit.log_likelihood + 1e-6


def test_points_are_fractions_with_wilson_intervals():
    trials = draw_choices(0.0, 0.1, 0.0, n_per_level=40)
    curves = psychometric(trials, stimulus="signed_coherence", n_bootstrap=0).isel(curve=0)
    hits = trials.assign(hit=trials["response"] == 0).groupby("signed_coherence")["hit"].sum().to_numpy()
    np.testing.assert_allclose(curves["fraction"], hits / 40, rtol=1e-12)
    low, high = proportion_confint(hits, 40, alpha=0.05, method="wilson")
    np.testing.assert_allclose(curves["fraction_low"], low, atol=1e-12)
    np.testing.assert_allclose(curves["fraction_high"], high, atol=1e-12)
    assert np.isnan(curves["sd_low"])
    assert np.isnan(wilson(np.array([0]), np.array([0]))[0]).all()


def test_each_group_gets_a_curve_of_its_own():
    narrow = draw_choices(0.0, 0.06, 0.0).assign(modality="both")
    wide = draw_choices(0.0, 0.2, 0.0, seed=7).assign(modality="visual")
    trials = pd.concat([wide, narrow[narrow["signed_coherence"] > -0.3]])
    curves = psychometric(trials, stimulus="signed_coherence", by="modality", n_bootstrap=20)
    assert curves["curve"].values.tolist() == ["visual", "both"]
    assert float(curves["sd"].sel(curve="both")) < 0.5 * float(curves["sd"].sel(curve="visual"))
    assert int(curves["n_trials"].sel(curve="both", level=-0.512)) == 0
    assert np.isnan(curves["fraction"].sel(curve="both", level=-0.512))
    alone = psychometric(narrow[narrow["signed_coherence"] > -0.3], stimulus="signed_coherence", by="modality",
                         n_bootstrap=20)  # fmt: skip
    assert float(alone["mean"][0]) == pytest.approx(float(curves["mean"].sel(curve="both")), rel=1e-12)


def test_the_same_seed_gives_the_same_intervals():
    trials = draw_choices(0.0, 0.1, 0.02, n_per_level=50)
    once, again, other = (
        psychometric(trials, stimulus="signed_coherence", n_bootstrap=30, seed=seed) for seed in (1, 1, 2)
    )
    xr.testing.assert_identical(once, again)
    assert float(once["sd_low"][0]) != float(other["sd_low"][0])


def test_catch_trials_and_trials_without_a_response_do_not_count():
    trials = draw_choices(0.0, 0.1, 0.0, n_per_level=20)
    extra = trials.head(30).assign(is_catch=True, response=1)
    silent = trials.head(10).assign(response=np.nan)
    curves = psychometric(pd.concat([trials, extra, silent]), stimulus="signed_coherence", n_bootstrap=0)
    np.testing.assert_array_equal(curves["n_trials"][0], 20)


def test_a_step_between_two_levels_is_told_with_a_warning():
    trials = pd.DataFrame({"signed_coherence": np.repeat(LEVELS, 5)})
    trials["response"] = (trials["signed_coherence"] < 0.0).astype(int)
    with pytest.warns(NumericalWarning, match=r"psychometric fit did not converge: sd=.* for 'all'"):
        curves = psychometric(trials, stimulus="signed_coherence", n_bootstrap=0)
    assert not curves["is_converged"][0]
    np.testing.assert_allclose(curves["fitted"][0, [0, -1]], [0.0, 1.0], atol=1e-6)


def test_one_choice_throughout_is_told_with_a_warning():
    trials = pd.DataFrame({"signed_coherence": np.repeat(LEVELS, 5), "response": 0})
    with pytest.warns(NumericalWarning, match="did not converge"):
        psychometric(trials, stimulus="signed_coherence", n_bootstrap=0)


def test_a_chronometric_fit_recovers_the_curve_that_the_times_come_from():
    curves = chronometric(draw_times(0.6, 20.0, 0.25), n_bootstrap=100).isel(curve=0)
    for name, truth in (("bound", 0.6), ("sensitivity", 20.0), ("residual_s", 0.25)):
        low, high = float(curves[f"{name}_low"]), float(curves[f"{name}_high"])
        assert abs(float(curves[name]) - truth) < 2.0 * (high - low), name
        assert high - low < 0.3 * truth, name
    # Means of 360 and of 40 times with a standard deviation of 50 ms.
    np.testing.assert_allclose(curves["mean_s"].sel(outcome="correct"), curves["fitted_s"].interp(x=curves["level"]),
                               atol=4.0 * 0.05 / np.sqrt(360))  # fmt: skip
    slower = curves["mean_s"].sel(outcome="wrong") - curves["mean_s"].sel(outcome="correct")
    np.testing.assert_allclose(slower, 0.1, atol=4.0 * 0.05 / np.sqrt(36))
    assert curves["n_trials"].values.tolist() == [[360] * 5, [40] * 5]


def test_without_noise_the_times_give_the_exact_parameters():
    coherence = np.array([0.0, 0.05, 0.1, 0.2, 0.4])
    drift = 15.0 * coherence
    mean_s = np.where(drift > 0, 0.7 / np.where(drift > 0, drift, 1.0) * np.tanh(0.7 * drift), 0.49) + 0.3
    fit = fit_diffusion_times(coherence, mean_s, np.full(5, 0.01))
    # The optimiser stops at a relative change of 1e-8.
    assert fit[:3] == pytest.approx((0.7, 15.0, 0.3), rel=1e-4)
    np.testing.assert_allclose(fit.at(-coherence), mean_s, rtol=1e-6)


def test_missing_reaction_times_are_counted_and_few_levels_are_not_fitted():
    trials = draw_times(0.6, 20.0, 0.25, n_per_level=30)
    trials.loc[trials["coherence"] > 0.1, "reaction_time_s"] = np.nan
    curves = chronometric(trials, n_bootstrap=10).isel(curve=0)
    np.testing.assert_array_equal(curves["n_missing"], [0, 0, 30, 30, 30])
    assert np.isnan(curves["bound"])
    assert not curves["is_converged"]
    assert np.isfinite(curves["mean_s"].sel(outcome="correct")[:2]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: psychometric(t, stimulus="rate_hz"), DataError, "no column 'rate_hz'; they have signed_coherence"),
        (lambda t: psychometric(t, stimulus="signed_coherence", by="context"), DataError, "no column 'context'"),
        (lambda t: psychometric(t.iloc[:5], stimulus="signed_coherence"), DataError, "has one level in the trials"),
        (lambda t: psychometric(t.iloc[:0], stimulus="signed_coherence"), DataError, "no trial has signed_coherence"),
        (lambda t: psychometric(t, stimulus="signed_coherence", n_bootstrap=-1), OptionError, "n_bootstrap=-1"),
        (lambda t: chronometric(t, stimulus="signed_coherence"), DataError, "no column 'correct'"),
        (
            lambda t: chronometric(t.assign(correct=1.0, reaction_time_s=np.nan), stimulus="signed_coherence"),
            DataError,
            "hold no reaction time",
        ),
        (lambda t: fit_cumulative_gaussian([1.0], [1], [2]), OptionError, "has 1 levels with trials"),
        (lambda t: fit_cumulative_gaussian([0.0, 1.0], [3, 1], [2, 2]), OptionError, "n_chosen must lie within"),
        (lambda t: fit_diffusion_times([0.1, 0.2], [1.0, 0.5], [0.1, 0.1]), OptionError, "need at least three"),
    ],
)
def test_what_makes_no_curve_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(draw_choices(0.0, 0.1, 0.0, n_per_level=5))


def rates(values):
    """Label rates of units over trials, or over trials and times."""
    dims = ("trial", "unit") if values.ndim == 2 else ("trial", "time", "unit")
    return xr.DataArray(values, dims=dims, coords={"unit": [f"u{k}" for k in range(values.shape[-1])]})


def test_selectivity_is_the_difference_of_means_in_standard_deviations():
    side = np.array([0, 0, 0, 1, 1, 1])
    values = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0], [3.0, 5.0], [5.0, 5.0], [7.0, 5.0]])
    found = selectivity(rates(values), pd.DataFrame({"choice": side}), variables=["choice"])
    # Means 2 and 5, variances 1 and 4: 3 / sqrt(2.5). The second unit never varies.
    assert float(found["dprime"].sel(variable="choice", unit="u0")) == pytest.approx(3.0 / np.sqrt(2.5), rel=1e-12)
    assert np.isnan(found["dprime"].sel(variable="choice", unit="u1"))
    expected = np.sqrt(6.0 / 9.0 + 9.0 / 2.5 / 12.0)
    assert float(found["dprime_se"].sel(variable="choice", unit="u0")) == pytest.approx(expected, rel=1e-12)


def test_selectivity_over_time_leaves_out_what_is_past_a_trials_end():
    rng = np.random.default_rng(1)
    side = np.repeat(["left", "right"], 200)
    values = rng.standard_normal((400, 3, 2)) + (side == "right")[:, None, None] * np.array([0.0, 2.0])
    values[::2, 2] = np.nan
    found = selectivity(rates(values), pd.DataFrame({"side": side}), variables=["side"])
    assert found["dprime"].dims == ("variable", "time", "unit")
    assert (found.attrs["low"], found.attrs["high"]) == (["left"], ["right"])
    z = (found["dprime"].sel(variable="side") - [0.0, 2.0]) / found["dprime_se"].sel(variable="side")
    assert float(np.abs(z).max()) < 4.0
    assert float(found["dprime_se"][0, 2, 0]) > 1.3 * float(found["dprime_se"][0, 0, 0])


def test_regression_weights_are_those_of_ordinary_least_squares():
    rng = np.random.default_rng(2)
    trials = pd.DataFrame({"motion": rng.standard_normal(60), "context": np.tile(["colour", "motion"], 30)})
    values = rng.standard_normal((60, 2)) + 3.0 * trials["motion"].to_numpy()[:, None]
    found = regression_weights(rates(values), trials, variables=["motion", "context"])
    columns = np.column_stack([trials["motion"], trials["context"] == "motion"]).astype(float)
    scaled = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    for unit in range(2):
        ols = sm.OLS(values[:, unit], sm.add_constant(scaled)).fit()
        np.testing.assert_allclose(found["weight"][:, unit], ols.params[1:], rtol=1e-9)
        np.testing.assert_allclose(found["weight_se"][:, unit], ols.bse[1:], rtol=1e-9)
        assert float(found["r_squared"][unit]) == pytest.approx(ols.rsquared, rel=1e-9)


def test_regression_goes_over_time_and_leaves_out_unknown_trials():
    rng = np.random.default_rng(3)
    trials = pd.DataFrame({"motion": rng.standard_normal(40)})
    trials.loc[3, "motion"] = np.nan
    values = rng.standard_normal((40, 2, 1))
    values[5:9, 1] = np.nan
    found = regression_weights(rates(values), trials, variables=["motion"])
    kept = np.delete(np.arange(40), [3, 5, 6, 7, 8])
    motion = trials["motion"].to_numpy()[kept]
    expected = sm.OLS(values[kept, 1, 0], sm.add_constant((motion - motion.mean()) / motion.std())).fit()
    assert float(found["weight"].sel(variable="motion")[1, 0]) == pytest.approx(expected.params[1], rel=1e-9)
    too_few = regression_weights(rates(values[:2]), trials.iloc[:2], variables=["motion"])
    assert np.isnan(too_few["weight"]).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r, t: selectivity(r.values, t, variables=["choice"]), DataError, "rate has dims ndarray"),
        (lambda r, t: selectivity(r, t.iloc[:3], variables=["choice"]), DataError, "3 trials in the table and 6"),
        (lambda r, t: selectivity(r, t, variables=["colour"]), DataError, "no column 'colour'; they have choice"),
        (lambda r, t: selectivity(r, t, variables=["level"]), OptionError, "level has 3 values; expected two"),
        (lambda r, t: regression_weights(r, t, variables=["word"]), OptionError, "word holds 3 different words"),
        (lambda r, t: regression_weights(r, t, variables=["one"]), DataError, "one is the same in all trials"),
        (lambda r, t: regression_weights(r, t, variables=["level", "twice"]), DataError, "are collinear"),
    ],
)
def test_what_cannot_be_regressed_is_refused(call, error, message):
    level = np.array([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    table = {"choice": [0, 1] * 3, "level": level, "twice": 2.0 * level, "one": 1.0, "word": list("abcabc")}
    with pytest.raises(error, match=message):
        call(rates(np.arange(12.0).reshape(6, 2)), pd.DataFrame(table))


def test_examples_carry_names_times_and_nothing_past_the_end():
    task = load_task("random_dots_variable")
    batch = task.trials(6, seed=1, first=10)
    examples = example_trials(task, batch, batch.targets, trials=(4, 0))
    assert examples["trial"].values.tolist() == [14, 10]
    assert examples["input"].values.tolist() == ["evidence 0", "evidence 1"]
    inside = np.isfinite(examples["stimulus"]).all("input").sum("time").values
    np.testing.assert_array_equal(inside, batch.length[[4, 0]])
    assert float(examples["time"][1]) == 0.02
    with pytest.raises(DataError, match=r"trials=\(6,\) are not all in the batch, which has 6 trials"):
        example_trials(task, batch, trials=(6,))


def test_answers_to_labels_are_shown_as_probabilities():
    task = load_task("delayed_match")
    batch = task.trials(2, seed=1)
    examples = example_trials(task, batch, np.zeros((2, 125, 3)), trials=(1,))
    np.testing.assert_allclose(examples["answer"], 1.0 / 3.0, rtol=1e-12)
    np.testing.assert_array_equal(np.argmax(examples["target"].values[0], axis=1), batch.labels[1])


def test_the_psychometric_figure_draws_its_points_and_its_curve():
    curves = psychometric(draw_choices(0.0, 0.1, 0.0), stimulus="signed_coherence", n_bootstrap=0)
    ax = plot_psychometric(Figure().add_subplot(), curves)
    fitted = next(line for line in ax.lines if len(line.get_xdata()) == 201)
    points = next(line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(fitted.get_ydata(), curves["fitted"][0], rtol=1e-12)
    np.testing.assert_allclose(points.get_xdata(), LEVELS, rtol=1e-12)
    np.testing.assert_allclose(points.get_ydata(), curves["fraction"][0], rtol=1e-12)
    assert ax.get_xlabel() == "signed coherence"
    assert ax.get_ylabel() == "fraction of choice 0"
    with pytest.raises(DataError, match="there is no variable 'fitted'"):
        plot_psychometric(ax, curves.drop_vars("fitted"))


def test_the_chronometric_figure_shows_right_answers_filled_and_wrong_ones_open():
    curves = chronometric(draw_times(0.6, 20.0, 0.25, n_per_level=50), n_bootstrap=10)
    ax = plot_chronometric(Figure().add_subplot(), curves, xlabel="motion strength")
    right, wrong = (line for line in ax.lines if line.get_marker() == "o")
    np.testing.assert_allclose(right.get_ydata(), curves["mean_s"].sel(outcome="correct")[0], rtol=1e-12)
    np.testing.assert_allclose(wrong.get_ydata(), curves["mean_s"].sel(outcome="wrong")[0], rtol=1e-12)
    assert wrong.get_markerfacecolor() == "white"
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "motion strength")


@pytest.mark.parametrize("name", ["random_dots", "delayed_match", "pro_anti"])
def test_an_example_is_drawn_for_few_and_for_many_channels(name):
    task = load_task(name)
    batch = task.trials(2, seed=1)
    examples = example_trials(task, batch, np.zeros((2, task.n_steps, task.n_outputs)), trials=(0,))
    upper, lower = plot_example(Figure().subplots(2, 1), examples)
    assert len(upper.images) == (task.n_inputs > 6)
    assert len(lower.images) == (task.n_outputs > 6)
    assert upper.get_xlim() == pytest.approx((0.0, 0.02 * batch.length[0]))
    if name == "random_dots":
        np.testing.assert_allclose(upper.lines[0].get_ydata(), batch.inputs[0, :, 0], rtol=1e-6)
    with pytest.raises(OptionError, match="trial=1 is not valid; expected a position from 0 to 0"):
        plot_example((upper, lower), examples, trial=1)


def test_every_figure_becomes_a_file_with_the_same_bytes(tmp_path):
    task = load_task("random_dots")
    batch = task.trials(3, seed=1)
    examples = example_trials(task, batch, batch.targets, trials=(0, 1))
    parts = {
        "psychometric": psychometric(draw_choices(0.0, 0.1, 0.0), stimulus="signed_coherence", n_bootstrap=0),
        "chronometric": chronometric(draw_times(0.6, 20.0, 0.25, n_per_level=20), n_bootstrap=5),
        "examples": examples,
    }
    first, second = (draw_behaviour(tmp_path / folder, **parts) for folder in ("a", "b"))
    assert [path.name for path in first] == ["psychometric.svg", "chronometric.svg", "trial_0.svg", "trial_1.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert draw_behaviour(tmp_path / "c") == []


def test_the_curves_can_be_written_and_read(tmp_path):
    curves = psychometric(draw_choices(0.0, 0.1, 0.0), stimulus="signed_coherence", n_bootstrap=5)
    curves.to_netcdf(tmp_path / "curves.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "curves.nc", engine="h5netcdf") as found:
        xr.testing.assert_equal(found.load(), curves)
