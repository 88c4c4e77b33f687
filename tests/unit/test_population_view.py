"""Principal components against scikit-learn and planted planes; excitation against inhibition, by hand and recorded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

import cortexrnn as cx
from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.dynamics.summary import balance_index
from cortexrnn.errors import DataError, OptionError
from cortexrnn.report import population_view as figures
from cortexrnn.theory.population import ei_balance, principal_components
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks import RandomDots
from cortexrnn.training.tasks.own import Trial, from_function

SHORT = TrainOptions(max_steps=1, batch_size=16, evaluate_every=1, n_validation=16, criterion=2.0)
TASK = RandomDots(coherence=(0.0, 0.5), stimulus_s=0.4)


def trajectories(seed=0, n_trials=12, n_times=20, n_units=9):
    """Activity of unequal variance along mixed directions."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((n_units, n_units)) * np.arange(1, n_units + 1)[:, None]
    return rng.standard_normal((n_trials, n_times, n_units)) @ mixing + 4.0


def test_components_are_those_of_scikit_learn():
    """Loadings up to a sign, variances, shares, and what new activity becomes: 1e-10 is round-off."""
    activity = trajectories()
    found = principal_components(activity, 4)
    known = PCA(svd_solver="full").fit(activity.reshape(-1, 9))
    signs = np.sign(np.sum(found.loadings.values * known.components_[:4], axis=1))
    np.testing.assert_allclose(found.loadings.values, signs[:, None] * known.components_[:4], atol=1e-10)
    np.testing.assert_allclose(found.variance_fraction.values, known.explained_variance_ratio_, atol=1e-12)
    new = trajectories(seed=1)
    expected = known.transform(new.reshape(-1, 9)).reshape(12, 20, 9)[:, :, :4] * signs
    np.testing.assert_allclose(found.transform(new).values, expected, atol=1e-10)
    np.testing.assert_allclose(found.trajectories.values, found.transform(activity).values, atol=1e-12)
    assert found.transform(new[0, 0]).dims == ("component",)


def test_signs_do_not_depend_on_the_order_of_trials():
    """The largest entry of every row is positive; the same components from trials in another order, to round-off."""
    activity = trajectories(seed=2)
    found = principal_components(activity)
    rows = found.loadings.values
    assert (rows[np.arange(9), np.abs(rows).argmax(axis=1)] > 0.0).all()
    again = principal_components(activity[::-1])
    np.testing.assert_allclose(again.loadings.values, rows, atol=1e-9)


def test_a_planted_plane_is_found_with_its_dimension():
    """Two directions of variances 9 and 1, exact by orthogonal waves: ratio (9 + 1)^2 / (81 + 1), 90 % in one."""
    angle = 2.0 * np.pi * np.arange(40) / 40.0
    plane = np.linalg.qr(np.random.default_rng(3).standard_normal((7, 2)))[0]
    waves = np.sqrt(2.0) * np.stack([3.0 * np.cos(angle), np.sin(angle)], axis=1)
    found = principal_components((waves @ plane.T)[None])
    np.testing.assert_allclose(found.variance.values[:2], [9.0, 1.0], rtol=1e-12)
    assert found.participation_ratio == pytest.approx(100.0 / 82.0, rel=1e-10)
    assert found.n_for_90_percent == 1
    np.testing.assert_allclose(np.abs(plane.T @ found.loadings.values[:2].T), np.eye(2), atol=1e-10)


def test_conditions_are_averaged_over_the_trials_that_last():
    """By hand, with a trial that ends early and a condition of which nothing is left in the end."""
    values = trajectories(seed=4, n_trials=5, n_times=6)
    values[0, 3:], values[4, 5:] = np.nan, np.nan
    names = np.array(["a", "a", "b", "b", "c"])
    activity = xr.DataArray(values, dims=("trial", "time", "unit"), coords={"time": 0.1 * np.arange(6)})
    found = principal_components(activity, by_condition=names)
    means = np.stack([np.mean(values[:2], axis=0), np.mean(values[2:4], axis=0), values[4]])
    means[0, 3:] = values[1, 3:]
    cloud = means.reshape(-1, 9)[np.isfinite(means.reshape(-1, 9)).all(axis=1)]
    np.testing.assert_allclose(found.mean.values, cloud.mean(axis=0), rtol=1e-12)
    back = found.trajectories.values @ found.loadings.values + found.mean.values
    np.testing.assert_allclose(back, means, atol=1e-10)
    assert found.trajectories["condition"].values.tolist() == ["a", "b", "c"]
    assert np.isnan(found.trajectories.values[2, 5]).all()
    assert found.transform(activity).dims == ("trial", "time", "component")


def test_what_has_no_components_is_refused():
    """Constant, infinite or torn activity, wrong shapes, and more components than there are."""
    activity = trajectories()
    torn, infinite = activity.copy(), activity.copy()
    torn[0, 0, 0], infinite[0, 0, 0] = np.nan, np.inf
    for values, match in (
        (np.full((2, 3, 4), 1.0 / 3.0), "does not vary"),
        (np.full((2, 3, 4), np.nan), "does not vary in 0 moments"),
        (activity[0], "expected \\(n_trials, n_times, n_units\\)"),
        (xr.DataArray(activity, dims=("time", "trial", "unit")), "has dims"),
        (torn, "NaN for some units"),
        (infinite, "infinite"),
    ):
        with pytest.raises(DataError, match=match):
            principal_components(values)
    with pytest.raises(DataError, match="by_condition has shape"):
        principal_components(activity, by_condition=np.zeros(3))
    with pytest.raises(OptionError, match="n_components=10"):
        principal_components(activity, 10)
    with pytest.raises(DataError, match="does not fit components of 9 units"):
        principal_components(activity).transform(activity[:, :, :3])


def currents(excitation, inhibition, external, dt_s=0.001):
    """Lay currents out as a run."""
    dims = ("trial", "time", "unit")
    return xr.Dataset(
        {"current_e": (dims, excitation), "current_i": (dims, inhibition), "current_ext": (dims, external)},
        coords={"time": dt_s * np.arange(excitation.shape[1])},
    )


def test_inhibition_that_repeats_excitation_is_late_by_its_delay():
    """White noise and its copy 4 ms later: the largest correlation is 1 there, up to 4 / sqrt(n); elsewhere it is 0."""
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((6, 1010, 2))
    excitation, inhibition = 10.0 + noise[:, 10:], -10.0 - noise[:, 6:-4]
    found = ei_balance(currents(excitation, inhibition, np.zeros_like(excitation)), max_lag_s=0.01)
    np.testing.assert_allclose(found["lag_s"].values, 0.004, rtol=1e-9)
    np.testing.assert_allclose(found["peak_correlation"].values, 1.0, atol=4.0 / np.sqrt(6000))
    assert abs(found["correlation"].values).max() < 4.0 / np.sqrt(6000)
    np.testing.assert_allclose(found["net"].values, 0.0, atol=0.1)


def test_the_correlation_over_lags_is_that_of_the_sums_by_hand():
    """Slow twin with a loop over lags; a trial that ends early has fewer pairs. Without lag it is a correlation."""
    rng = np.random.default_rng(6)
    excitation = np.cumsum(rng.standard_normal((3, 40, 2)), axis=1) + 20.0
    inhibition = -0.7 * excitation + rng.standard_normal((3, 40, 2))
    for values in (excitation, inhibition):
        values[1, 25:] = np.nan
    run = currents(excitation, inhibition, np.zeros_like(excitation), dt_s=0.01)
    found = ei_balance(run, max_lag_s=0.05)
    e, i = excitation, -inhibition
    e, i = (x - np.nanmean(x, axis=1, keepdims=True) for x in (e, i))
    scale = np.sqrt(np.nanmean(e**2, axis=(0, 1)) * np.nanmean(i**2, axis=(0, 1)))
    for k, lag in enumerate(range(-5, 6)):
        ahead, behind = e[:, max(0, -lag) : 40 - max(0, lag)], i[:, max(0, lag) : 40 + min(0, lag)]
        expected = np.nanmean(ahead * behind, axis=(0, 1)) / scale
        np.testing.assert_allclose(found["cross_correlation"].values[k], expected, atol=1e-10)
    one = ei_balance(run.isel(trial=[0]), max_lag_s=0.01)
    known = [np.corrcoef(excitation[0, :, k], -inhibition[0, :, k])[0, 1] for k in range(2)]
    np.testing.assert_allclose(one["correlation"].values, known, atol=1e-12)


def test_external_currents_count_by_their_sign_and_the_index_is_that_of_the_summary():
    """By hand: E 3, I -2, external +1 or -1; what does not vary has no correlation."""
    ones = np.ones((2, 10, 2))
    external = ones * [1.0, -1.0]
    run = currents(3.0 * ones, -2.0 * ones, external).assign_coords(population=("unit", ["a", "b"]))
    found = ei_balance(run)
    np.testing.assert_allclose(found["excitation"].values, [4.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(found["inhibition"].values, [2.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(found["net"].values, [2.0, 0.0], atol=1e-12)
    np.testing.assert_array_equal(found["balance_index"].values, balance_index(run).values)
    assert found["mean_excitation"].values.tolist() == [4.0, 3.0]
    assert np.isnan(found["correlation"].values).all()
    assert np.isnan(found["lag_s"].values).all()
    with pytest.raises(DataError, match="no current_e"):
        ei_balance(run.drop_vars("current_e"))
    with pytest.raises(OptionError, match="max_lag_s"):
        ei_balance(run, max_lag_s=0.0)


def circuit(form="current", *, plastic=False, sign="excitatory"):
    """Excitatory and inhibitory units with noise, with or without plasticity among the excitatory ones."""
    shape = Activation(kind="relu")
    populations = (
        Population(name="exc", size=8, sign=sign, activation=shape, tau_s=0.1, bias=0.3),
        Population(name="inh", size=4, sign="inhibitory", activation=shape, tau_s=0.05, bias=0.2),
    )
    projections = [
        Projection(source=source, target=target, weights=WeightLaw(mean=size))
        for source, size in (("exc", 0.05), ("inh", 0.1))
        for target in ("exc", "inh")
    ]
    if plastic:
        projections[0] = replace(projections[0], plasticity="stp")
    laws = {"stp": ShortTermPlasticity(U=0.3, tau_f_s=0.5, tau_d_s=0.2)} if plastic else {}
    return Circuit(
        name="small", populations=populations, projections=tuple(projections), form=form, plasticity=laws,
        rate_scale_hz=10.0 if plastic else None, noise=Noise(sigma=0.1, tau_s=0.05),
    )  # fmt: skip


@pytest.mark.parametrize("plastic", [False, True])
@pytest.mark.parametrize("form", ["current", "rate"])
def test_recorded_currents_are_what_the_units_follow(form, plastic):
    """By hand from what was recorded: W+ and W- times what was sent, and rates from the sum of all currents.

    The state is integrated from the sum alone with the exponential Euler step; float32 over 35 steps: 1e-4.
    """
    trained = train(circuit(form, plastic=plastic), TASK, options=SHORT, trainable=Trainable(reads=("exc",)))
    model = trained.model
    batch = TASK.trials(20, seed=3, mode="test")
    run = trained.record(batch, seed=4, currents=True)
    assert run["current_e"].dims == ("trial", "time", "unit")
    assert run["current_i"].attrs["long_name"] == "recurrent inhibitory current"
    weights = model.core_weights()
    sources = np.concatenate([model.units.static_unit, model.units.plastic_unit])
    sent = run["rate"].values[:, :-1][:, :, sources].astype(float)
    if plastic:
        first = model.units.static_unit.size
        sent[:, :, first:] *= (run["u"] * run["x"]).values[:, :-1]
    sign = model.signs[sources]
    for name, own in (("current_e", sign > 0), ("current_i", sign < 0)):
        expected = sent[:, :, own] @ weights.recurrent[:, own].T.astype(float)
        np.testing.assert_allclose(run[name].values[:, 1:], expected, atol=1e-5)
    total = sum(run[f"current_{name}"].values.astype(float) for name in ("e", "i", "ext"))
    rectify = lambda values: np.maximum(values, 0.0)  # noqa: E731
    state = np.repeat(weights.start[:1].astype(float), 20, axis=0)
    decay = np.exp(-TASK.dt_s / weights.tau_s)
    for t in range(total.shape[1]):
        target = rectify(total[:, t]) if form == "rate" else total[:, t]
        state = target + decay * (state - target)
        rate = state if form == "rate" else rectify(state)
        known = batch.length > t
        np.testing.assert_allclose(run["rate"].values[known, t], rate[known], atol=1e-4)


def wave(rng, mode):
    """A sine of random phase, to be foretold one step at a time."""
    phase = rng.uniform(0.0, 6.0) + 0.3 * np.arange(30)[:, None]
    return Trial(inputs=np.zeros((30, 1)), targets=np.sin(phase), conditions={})


FED = from_function(wave, name="foretell", n_steps=30, primed_steps=5)


@pytest.mark.parametrize("task", [TASK, FED], ids=["choice", "fed its own output"])
def test_currents_add_up_to_the_argument_of_the_step(monkeypatch, task):
    """The argument z is what the sweep left on its tape, also where outputs are fed back; float32: 1e-5 of its size."""
    trained = train(circuit(plastic=True), task, options=SHORT, trainable=Trainable(reads=("exc",)))
    apart = []
    original = CircuitModel.currents

    def watched(self, tile, core, tape):
        found = original(self, tile, core, tape)
        wanted = tape.drive[:, : tile.current.shape[1]]
        apart.append(np.max(np.abs(sum(found.values()) - wanted)) / np.max(np.abs(wanted)))
        return found

    monkeypatch.setattr(CircuitModel, "currents", watched)
    trained.record(task.trials(20, seed=3, mode="test"), seed=4, currents=True)
    assert len(apart) == 2
    assert max(apart) < 1e-5


def test_what_is_recorded_does_not_depend_on_the_currents():
    """Bit for bit; and an added current is in the external one, exactly in float32's round-off."""
    trained = train(circuit(), TASK, options=SHORT, trainable=Trainable(reads=("exc",)))
    batch = TASK.trials(18, seed=1, mode="test")
    plain, more = trained.record(batch, seed=2), trained.record(batch, seed=2, currents=True)
    xr.testing.assert_identical(plain, more[["rate"]])
    current = np.full((18, TASK.n_steps, 12), 0.5, np.float32)
    pushed = trained.record(batch, seed=2, current=current, currents=True)
    apart = (pushed["current_ext"] - more["current_ext"]).values
    np.testing.assert_allclose(apart[np.isfinite(apart)], 0.5, atol=1e-6)
    balance = ei_balance(more)
    np.testing.assert_array_equal(balance["balance_index"].values, balance_index(more).values)
    assert balance["group"].values.tolist() == ["exc", "inh"]


def test_currents_without_a_sign_are_refused():
    """Cells, mixed populations, and inhibition that is a part of excitatory units' weights."""
    batch = TASK.trials(4, seed=1, mode="test")
    cells = train(CellNetwork(kind="gru", n_hidden=4), TASK, options=SHORT)
    mixed = train(circuit(sign="mixed"), TASK, options=SHORT, trainable=Trainable(reads=("exc",)))
    dann = train(circuit(), TASK, options=SHORT, trainable=Trainable(reads=("exc",), dale="dann"))
    for trained, match in ((cells, "only the units of a circuit"), (mixed, "'exc' is mixed"), (dann, "dale='dann'")):
        with pytest.raises(OptionError, match=match):
            trained.record(batch, currents=True)


def test_a_simulation_of_the_balanced_network_is_balanced():
    """van Vreeswijk and Sompolinsky (1998): what is left of the currents is small beside them, in both populations."""
    run = cx.simulate(
        cx.load_circuit("van_vreeswijk_sompolinsky_1998"), duration_s=0.3, dt_s=0.001, seed=1,
        record=cx.Record(currents=True, start_s=0.1, units=tuple(range(0, 400, 4))),
    )  # fmt: skip
    found = ei_balance(run, max_lag_s=0.02)
    assert float(found["mean_balance_index"].max()) < 0.3
    assert (found["mean_excitation"].values > 5.0 * abs(found["mean_net"].values)).all()


def test_figures_show_what_was_found(tmp_path):
    """Two and three dimensions with a legend of conditions, the scree, and the three panels of balance."""
    activity = trajectories(seed=7)
    names = np.array(["left", "right"])[np.arange(12) % 2]
    found = principal_components(activity, by_condition=names)
    flat, deep = found.plot(), found.plot(n_dimensions=3)
    assert [text.get_text() for text in flat.get_legend().get_texts()] == ["left", "right"]
    assert deep.name == "3d"
    assert deep.get_zlabel().startswith("component 3")
    whole = principal_components(activity, 2)
    whole.plot(colour_by=np.arange(12))
    with pytest.raises(DataError, match="3 dimensions need more"):
        whole.plot(n_dimensions=3)
    with pytest.raises(DataError, match="colour_by has shape"):
        whole.plot(colour_by=[1, 2])
    with pytest.raises(OptionError, match="n_dimensions"):
        whole.plot(n_dimensions=4)
    assert "participation ratio" in found.plot_scree().texts[0].get_text()
    rng = np.random.default_rng(8)
    noise = rng.standard_normal((2, 50, 6)) + 5.0
    figure = Figure()
    figures.draw_balance(figure, ei_balance(currents(noise, -noise, np.zeros_like(noise))))
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "mean excitation", "mean current", "inhibition after excitation (ms)",
    ]  # fmt: skip
    for number, ax in enumerate((flat, deep)):
        ax.figure.savefig(tmp_path / f"{number}.svg")
