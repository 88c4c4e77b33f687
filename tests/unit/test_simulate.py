"""Simulation: against a slow twin, closed forms, and the laws of streams and chunks."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, Noise, Population, Projection, WeightLaw, build_weights
from cortexrnn.dynamics import Pulse, Ramp, Record, Samples, Sinusoid, Solver, simulate
from cortexrnn.errors import FileAccessError, NumericalError, OptionError

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "simulation_twin.py"))
KINDS = ("linear", "tanh", "relu", "softplus", "sigmoid", "wilson_cowan", "power")


def two_populations(form="current", kind="tanh", plasticity=True, **more):
    """A small E-I circuit with plastic excitation and a channel into both populations."""
    shape = Activation(kind=kind, gain=0.8, threshold=0.1, **({"exponent": 2.0} if kind == "power" else {}))
    laws = {"excitatory": (0.3, 0.1), "inhibitory": (0.5, 0.2)}
    stp = {"facil": ShortTermPlasticity(U=0.2, tau_f_s=0.5, tau_d_s=0.1)} if plasticity else {}
    return Circuit(
        name="small",
        form=form,
        populations=(
            Population(name="excitatory", size=5, sign="excitatory", activation=shape, tau_s=0.02, bias=0.3),
            Population(name="inhibitory", size=3, sign="inhibitory", activation=shape, tau_s=0.01, bias=0.2),
        ),
        projections=tuple(
            Projection(
                source=source,
                target=target,
                weights=WeightLaw(law="gaussian", mean=laws[source][0], sd=laws[source][1]),
                plasticity="facil" if plasticity and source == "excitatory" else "",
            )
            for source in laws
            for target in laws
        ),
        plasticity=stp,
        inputs=(Input(name="drive", target="excitatory"), Input(name="drive", target="inhibitory")),
        rate_scale_hz=5.0,
        wiring_seed=3,
        **more,
    )


def twin_of(circuit, drive, initial, dt_s, n_steps):
    """Run the slow twin on a circuit."""
    weights = build_weights(circuit)
    activations = [
        {name: getattr(p.activation, name) for name in ("kind", "gain", "threshold", "exponent")}
        for p in circuit.populations
        for _ in range(p.size)
    ]
    synapses = [
        (weights.plastic[name], stp.U, stp.tau_f_s, stp.tau_d_s, stp.convention == "mongillo2008")
        for name, stp in circuit.plasticity.items()
    ]
    use = np.array([[s[1]] * circuit.size for s in synapses]).reshape(len(synapses), circuit.size)
    system = (circuit.form, activations, circuit.tau_s, weights.static, synapses, circuit.rate_scale_hz or 1.0)
    return TWIN["runge_kutta"](
        system, lambda t: circuit.bias + drive(t), initial, use, np.ones_like(use), dt_s, n_steps
    )


@pytest.mark.parametrize("form", ["current", "rate"])
@pytest.mark.parametrize("kind", KINDS)
def test_runge_kutta_takes_the_steps_of_the_twin(form, kind):
    """Both take the same steps, so that only rounding (1e-12) can differ; plastic excitation, 40 steps."""
    # Plastic synapses see rates of at least 0.
    circuit = two_populations(form, kind, plasticity=kind not in ("linear", "tanh", "wilson_cowan"))
    initial = np.random.default_rng(1).random(8)
    run = simulate(
        circuit, duration_s=0.2, dt_s=5e-3, initial=initial, solver=Solver(method="runge_kutta"),
        stimulus={"drive": Sinusoid(amplitude=0.4, frequency_hz=7.0)},
    )  # fmt: skip
    path = twin_of(circuit, lambda t: 0.4 * np.sin(2 * np.pi * 7.0 * t), initial, 5e-3, 40)
    expected = path[:-1]
    if form == "current":
        expected = np.concatenate(
            [p.activation(path[:-1, circuit.slices[p.name]]) for p in circuit.populations], axis=1
        )
    np.testing.assert_allclose(run["rate"].values[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("exponential_euler", 1), ("runge_kutta", 4)])
@pytest.mark.parametrize("form", ["current", "rate"])
def test_order_of_convergence_is_that_of_the_method(method, order, form):
    """Errors at one moment against Runge-Kutta at a fine step; order from one halving, within 0.05."""
    circuit = two_populations(form, "softplus")
    initial = np.random.default_rng(2).random(8)

    def final(method, dt_s):
        run = simulate(
            circuit, duration_s=0.1 + dt_s, dt_s=dt_s, initial=initial, solver=Solver(method=method),
            stimulus={"drive": Ramp(start=0.0, stop=1.0, start_s=0.0, stop_s=0.2)},
        )  # fmt: skip
        return run["rate"].sel(time=0.1, method="nearest").values[0]

    exact = final("runge_kutta", 5e-5)
    steps = [1e-3, 5e-4] if order == 4 else [1e-4, 5e-5]
    coarse, fine = (np.linalg.norm(final(method, dt_s) - exact) for dt_s in steps)
    measured = np.log2(coarse / fine)
    assert measured == pytest.approx(order, abs=0.05)


def test_euler_at_dt_equal_tau_is_the_vanilla_rnn_to_the_bit():
    """Weights and inputs are multiples of 1/64 and rates of 1/64 squared, so that no sum rounds."""
    rng = np.random.default_rng(0)
    n = 23
    circuit = Circuit(
        name="vanilla",
        form="rate",
        populations=(Population(name="units", size=n, tau_s=0.01, activation=Activation(kind="relu")),),
        projections=(
            Projection(source="units", target="units", weights=WeightLaw(mean=0.25), mask=tuple(
                "".join(rng.choice(["0", "1"], n, p=[0.9, 0.1])) for _ in range(n)
            )),
        ),
    )  # fmt: skip
    weights = build_weights(circuit).total()
    signal = rng.integers(-64, 64, (20, n)) / 64
    run = simulate(
        circuit, duration_s=0.2, dt_s=0.01, initial=np.zeros(n), solver=Solver(method="euler"),
        stimulus={"units": Samples(values=signal, step_s=0.01)},
    )  # fmt: skip
    h = np.zeros(n)
    for t in range(20):
        np.testing.assert_array_equal(run["rate"].values[0, t], h)
        h = np.maximum(weights @ h + signal[t], 0.0)


def test_a_leak_alone_decays_exactly_under_the_exponential_method():
    """Closed form ``exp(-t / tau)``, 1e-14, at a step of half the time constant."""
    circuit = Circuit(
        name="leak", populations=(Population(name="units", size=3, tau_s=0.01, activation=Activation(kind="linear")),)
    )
    run = simulate(circuit, duration_s=0.05, dt_s=5e-3, initial=[1.0, -2.0, 0.5])
    exact = np.exp(-run["time"].values / 0.01)[:, None] * [1.0, -2.0, 0.5]
    np.testing.assert_allclose(run["rate"].values[0], exact, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_trial_is_the_same_to_the_bit_alone_and_in_company(dtype):
    """20 trials are a tile of 16 and four alone; 9 are one tile that is filled up; threads do not matter."""
    circuit = two_populations("rate", "softplus", noise=Noise(sigma=0.3, tau_s=0.02, shared=0.4), initial_sd=1.0)
    runs = [
        simulate(circuit, duration_s=0.3, n_trials=n, seed=4, dtype=dtype, solver=Solver(n_threads=threads))
        for n, threads in ((20, 2), (20, 1), (9, 2), (1, 1))
    ]
    for run in runs[1:]:
        for name in ("rate", "u", "x"):
            np.testing.assert_array_equal(run[name].values, runs[0][name].values[: run.sizes["trial"]])
    other = simulate(circuit, duration_s=0.3, n_trials=1, seed=5, dtype=dtype)
    assert not np.array_equal(other["rate"].values, runs[3]["rate"].values)


def test_recording_every_third_step_of_some_units_keeps_the_same_numbers(tmp_path):
    """What is kept changes nothing; a file gives the same Dataset as memory."""
    circuit = two_populations("rate", "relu", noise=Noise(sigma=0.3))
    whole = simulate(circuit, duration_s=0.4, n_trials=10, record=Record(currents=True))
    record = Record(every=3, start_s=0.1, units="inhibitory", currents=True)
    part = simulate(circuit, duration_s=0.4, n_trials=10, record=record)
    expected = whole.isel(time=slice(100, None, 3)).sel(unit=[5, 6, 7])
    xr.testing.assert_identical(part, expected)
    record = Record(every=3, start_s=0.1, units="inhibitory", currents=True, path=tmp_path / "run.nc")
    with simulate(circuit, duration_s=0.4, n_trials=10, record=record) as stored:
        xr.testing.assert_equal(stored.load(), expected)
        assert stored.attrs == expected.attrs
        assert stored["rate"].attrs == expected["rate"].attrs
        assert set(stored.coords) == set(expected.coords)


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path):
    """A folder stands where the file should be."""
    (tmp_path / "run.nc").mkdir()
    with pytest.raises(FileAccessError, match=r"run\.nc"):
        simulate(two_populations("rate", "relu"), duration_s=0.01, record=Record(path=tmp_path / "run.nc"))


def test_a_run_that_does_not_fit_on_the_disk_is_refused_before_it_starts(tmp_path, monkeypatch):
    """Free space is asked first: a full disk under HDF5 would end the process."""
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("cortexrnn.dynamics.record.shutil.disk_usage", lambda _: usage)
    with pytest.raises(FileAccessError, match=r"run\.nc.*1000 bytes are free"):
        simulate(two_populations("rate", "relu"), duration_s=0.1, record=Record(path=tmp_path / "run.nc"))
    assert not list(tmp_path.iterdir())


def test_currents_are_what_the_weights_make_of_the_rates():
    """Against ``W_E (u x r)`` and ``W_I r`` by NumPy, 1e-12; the external current is bias plus input."""
    circuit = two_populations("rate", "relu")
    run = simulate(
        circuit, duration_s=0.2, record=Record(currents=True), initial=np.full(8, 0.2),
        stimulus={"drive": Pulse(amplitude=0.5, start_s=0.05, stop_s=0.15)},
    )  # fmt: skip
    weights = build_weights(circuit)
    rate, sent = run["rate"].values[0], (run["u"] * run["x"] * run["rate"]).values[0]
    sent = np.where(np.isnan(sent), 0.0, sent)
    np.testing.assert_allclose(run["current_e"].values[0], sent @ weights.plastic["facil"].T, atol=1e-12)
    np.testing.assert_allclose(run["current_i"].values[0], rate @ weights.static.T, atol=1e-12)
    is_on = (run["time"].values >= 0.05) & (run["time"].values < 0.15)
    np.testing.assert_allclose(run["current_ext"].values[0], circuit.bias + 0.5 * is_on[:, None], atol=1e-15)
    assert np.isnan(run["u"].sel(unit=5)).all()


def test_synapses_settle_where_the_closed_form_says():
    """A rate that is held gives the steady state of the rate form, 1e-6 after 40 time constants."""
    stp = ShortTermPlasticity(U=0.3, tau_f_s=0.2, tau_d_s=0.1)
    circuit = Circuit(
        name="held",
        form="rate",
        populations=(
            Population(name="e", size=2, sign="excitatory", activation=Activation(kind="relu"), bias=(7.0, 20.0)),
            Population(name="i", size=1, sign="inhibitory", activation=Activation(kind="relu")),
        ),
        projections=(Projection(source="e", target="i", weights=WeightLaw(mean=1.0), plasticity="stp"),),
        plasticity={"stp": stp},
        rate_scale_hz=1.0,
    )
    run = simulate(circuit, duration_s=8.0, n_trials=1, record=Record(every=1000)).isel(time=-1, trial=0)
    expected = stp.steady_state([7.0, 20.0])
    np.testing.assert_allclose(run["u"].values[:2], expected.u, rtol=1e-6)
    np.testing.assert_allclose(run["x"].values[:2], expected.x, rtol=1e-6)
    assert run["rate"].attrs["units"] == "Hz"


def test_noise_has_the_variance_and_the_correlations_that_are_asked_for_at_any_step():
    """Sampling error of a variance estimate over 400 trials is 7 %; asserted within 4 of them: 0.28."""
    base = Circuit(
        name="noisy", form="current",
        populations=(Population(name="units", size=2, tau_s=1e-6, activation=Activation(kind="linear")),),
    )  # fmt: skip
    for dt_s in (1e-3, 5e-3, 2e-2):
        noise = Noise(sigma=1.0, tau_s=0.02, shared=0.5)
        circuit = Circuit(name="noisy", populations=base.populations, noise=noise)
        run = simulate(circuit, duration_s=10 * dt_s, dt_s=dt_s, n_trials=400)
        # With a time constant far below the step the current follows the noise of the step before.
        values = run["rate"].values[:, -1]
        assert values.var() == pytest.approx(1.0, abs=0.28)
        assert np.mean(values[:, 0] * values[:, 1]) == pytest.approx(0.5, abs=0.25)
        before = run["rate"].values[:, -2]
        keep = np.exp(-dt_s / 0.02)
        assert np.mean(values * before) == pytest.approx(keep, abs=0.25)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5])
def test_the_naive_update_has_the_known_excess_of_variance_and_ours_has_none(alpha):
    """4000 units over 50 kept moments two time constants apart: error of a variance 0.3 %; asserted within 4 of them.

    The naive ``eta <- (1 - alpha) eta + sqrt(2 alpha) xi`` has the variance ``1 / (1 - alpha / 2)``.
    """
    tau_s, n_units, every = 0.01, 4000, round(2 / alpha)
    circuit = Circuit(
        name="noisy",
        populations=(Population(name="units", size=n_units, tau_s=1e-6, activation=Activation(kind="linear")),),
        noise=Noise(sigma=1.0, tau_s=tau_s),
    )
    dt_s = alpha * tau_s
    run = simulate(circuit, duration_s=50 * every * dt_s, dt_s=dt_s, record=Record(every=every))
    assert run["rate"].values[0, 1:].var() == pytest.approx(1.0, rel=0.013)
    rng = np.random.default_rng(0)
    naive, kept = rng.standard_normal(n_units), []
    for step in range(50 * every):
        naive = (1.0 - alpha) * naive + np.sqrt(2.0 * alpha) * rng.standard_normal(n_units)
        if step % every == 0:
            kept.append(naive)
    assert np.var(kept[2:]) == pytest.approx(1.0 / (1.0 - alpha / 2.0), rel=0.013)


def test_noise_with_a_covariance_has_it():
    """Estimated from 4000 trials: standard error at most 0.045 an entry, asserted within 5 of them."""
    covariance = ((1.0, 0.8, -0.3), (0.8, 2.0, 0.0), (-0.3, 0.0, 0.5))
    circuit = Circuit(
        name="noisy",
        populations=(Population(name="units", size=3, tau_s=1e-6, activation=Activation(kind="linear")),),
        noise=Noise(sigma=1.0, tau_s=0.01, covariance=covariance),
    )
    run = simulate(circuit, duration_s=2e-3, n_trials=4000)
    np.testing.assert_allclose(np.cov(run["rate"].values[:, 1].T), covariance, atol=0.23)


def test_stimuli_may_differ_between_trials():
    """A unit that follows its input at once; 18 trials are a tile and two alone."""
    circuit = Circuit(
        name="follow", populations=(Population(name="units", size=2, tau_s=1e-6, activation=Activation(kind="linear")),)
    )
    values = np.random.default_rng(0).normal(size=(18, 5, 2))
    run = simulate(
        circuit, duration_s=5e-3, n_trials=18, stimulus={"units": Samples(values=values, step_s=1e-3)}, initial=[0, 0]
    )
    np.testing.assert_allclose(run["rate"].values[:, 1:], values[:, :-1], atol=1e-12)
    with pytest.raises(OptionError, match="18 trials"):
        simulate(
            circuit, duration_s=5e-3, n_trials=19, stimulus={"units": Samples(values=values, step_s=1e-3)}
        )


def test_divergence_names_trial_time_unit_and_the_last_finite_value():
    """A linear unit that doubles every step from 1 leaves float32 at step 128."""
    circuit = Circuit(
        name="runaway",
        form="rate",
        populations=(Population(name="units", size=2, tau_s=1e-3, activation=Activation(kind="linear")),),
        projections=(
            Projection(
                source="units", target="units", weights=WeightLaw(mean=2.0), allow_autapses=True, mask=("10", "00")
            ),
        ),
    )
    initial = np.zeros((3, 2))
    initial[2, 0] = 1.0
    with pytest.raises(NumericalError, match=r"rate of unit 0 \(units\) is inf in trial 2 at 0\.128 s.*1\.70141e\+38"):
        simulate(
            circuit, duration_s=0.5, n_trials=3, initial=initial, dtype=np.float32, solver=Solver(method="euler")
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"duration_s": 0.0}, "duration_s=0.0 is not a positive"),
        ({"duration_s": 0.0105}, "10.5 steps"),
        ({"dt_s": float("nan")}, "dt_s"),
        ({"n_trials": 0}, "n_trials=0"),
        ({"dtype": "int32"}, "float32 or float64"),
        ({"initial": [1.0]}, r"expected finite \(8,\)"),
        ({"initial": np.full(8, np.nan)}, "finite"),
        ({"stimulus": {"nobody": Pulse(amplitude=1.0)}}, "drive, excitatory, inhibitory"),
        ({"stimulus": {"drive": 1.0}}, "expected a Signal"),
        ({"stimulus": {"inhibitory": Samples(values=np.ones((5, 2)), step_s=1e-3)}}, "expected 1 or 3"),
        ({"dt_s": 0.05, "duration_s": 0.5, "solver": Solver(method="euler")}, "unstable"),
        ({"record": Record(units="nobody")}, "no population"),
        ({"record": Record(units=[8])}, "from 0 to 7"),
        ({"record": Record(start_s=0.1)}, "not before the end"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    """Each names what was wrong."""
    with pytest.raises(OptionError, match=message):
        simulate(two_populations("rate", "relu"), **{"duration_s": 0.01, **arguments})


def test_currents_of_a_mixed_population_are_refused():
    """Its current is neither excitatory nor inhibitory."""
    with pytest.raises(OptionError, match="mixed"):
        simulate(Circuit.random(5, gain=1.0), duration_s=0.01, record=Record(currents=True))


def test_the_dataset_keeps_the_contract():
    """Dims, coordinates and provenance as the design has them."""
    circuit = two_populations("rate", "relu")
    run = simulate(circuit, duration_s=0.01, n_trials=2)
    assert run["rate"].dims == run["u"].dims == run["x"].dims == ("trial", "time", "unit")
    assert run["population"].values.tolist() == ["excitatory"] * 5 + ["inhibitory"] * 3
    assert run["sign"].values.tolist() == [1] * 5 + [-1] * 3
    assert run.attrs["circuit_hash"] == circuit.hash()
    assert run["rate"].attrs["units"] == "1"
    assert run.attrs["dt_s"] == 1e-3


@pytest.mark.parametrize("form", ["current", "rate"])
@pytest.mark.parametrize("layout", ["sparse", "hashed"])
def test_sparse_layouts_simulate_the_same_network(form, layout):
    """Against the dense layout, 1e-12: only the order of summation differs; currents too, for 1 and for 17 trials."""
    names = ("excitatory", "inhibitory")
    circuit = Circuit(
        name="fan",
        form=form,
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind="relu"), bias=0.5)
            for name, size in zip(names, (40, 10), strict=True)
        ),
        projections=tuple(
            Projection(
                source=source,
                target=target,
                in_degree=5,
                weights=WeightLaw(mean=0.1 if source == "excitatory" else 0.3),
                plasticity="depressing" if source == target == "excitatory" else "",
            )
            for source in names
            for target in names
        ),
        plasticity={"depressing": ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.4)},
        rate_scale_hz=10.0,
        noise=Noise(sigma=0.1),
    )
    record = Record(currents=True, every=2)
    runs = {
        (kind, n): simulate(circuit, duration_s=0.2, n_trials=n, record=record, solver=Solver(layout=kind))
        for kind in ("dense", layout)
        for n in (1, 17)
    }
    for n in (1, 17):
        xr.testing.assert_allclose(runs[layout, n], runs["dense", n], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(runs[layout, 1]["rate"].values[0], runs[layout, 17]["rate"].values[0])
    with pytest.raises(OptionError, match="runge_kutta"):
        simulate(circuit, duration_s=0.1, solver=Solver(layout=layout, method="runge_kutta"))
