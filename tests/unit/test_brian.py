"""The rate network in Brian2. Oracle: `simulate`, whose kernels have slow twins of their own.

Both do the same operations in another order, so that rates differ by round-off alone: 1e-12 is a thousand roundings.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, Noise, Population, Projection, WeightLaw
from cortexrnn.dynamics.brian import to_brian2
from cortexrnn.dynamics.brian_layout import BrianRun, lay_out
from cortexrnn.dynamics.simulate import Solver, simulate
from cortexrnn.dynamics.stimuli import Pulse, Samples, Sinusoid
from cortexrnn.errors import OptionError

ROUND_OFF = 1e-12
# Targets of one kind each, and the plasticity of what they send on.
CLASSES = {"relu": "facilitating", "softplus": "depressing", "sigmoid": "mongillo", "power": "facilitating"}


def everything(form, noise=None):
    """A circuit with every activation, both conventions of plasticity, and tau and bias of single units."""
    populations = [
        Population(
            name=kind,
            size=4,
            sign="inhibitory" if kind == "power" else "excitatory",
            activation=Activation(kind=kind, gain=0.7, threshold=0.1, **({"exponent": 2.0} if kind == "power" else {})),
            tau_s=(0.01, 0.015, 0.02, 0.03),
            bias=(0.1, 0.4, 0.7, 1.0),
        )
        for kind in KINDS
    ]
    law = WeightLaw(law="gaussian", mean=0.4, sd=0.1)
    projections = [
        Projection(source=source, target=target, weights=law, density=0.7, plasticity=CLASSES.get(source, ""))
        for k, source in enumerate(KINDS)
        for target in (KINDS[(k + 1) % len(KINDS)], source)
    ]
    return Circuit(
        name="everything",
        form=form,
        populations=tuple(populations),
        projections=tuple(projections),
        plasticity={
            "facilitating": ShortTermPlasticity(U=0.2, tau_f_s=0.5, tau_d_s=0.1),
            "depressing": ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.3),
            "mongillo": ShortTermPlasticity(U=0.2, tau_f_s=0.5, tau_d_s=0.1, convention="mongillo2008"),
        },
        inputs=(Input(name="drive", target="relu", weights=WeightLaw(law="gaussian", mean=1.0, sd=0.2)),),
        noise=noise,
        rate_scale_hz=20.0,
        initial_sd=0.5,
        wiring_seed=3,
    )


STIMULUS = {
    "drive": Pulse(amplitude=1.0, start_s=0.01, stop_s=0.03),
    "tanh": Sinusoid(amplitude=0.3, frequency_hz=20.0),
}


def uncoupled(form="current", **more):
    """Four units on their own."""
    activation = Activation(kind="tanh")
    units = Population(name="units", size=4, activation=activation, tau_s=0.01, bias=(0.1, 0.2, 0.3, 0.4))
    return Circuit(name="uncoupled", form=form, populations=(units,), initial_sd=1.0, **more)


def largest_differences(circuit, **settings):
    """Largest difference between Brian2 and `simulate`, by variable."""
    ours = simulate(
        circuit,
        duration_s=settings["duration_s"],
        dt_s=settings.get("dt_s", 1e-3),
        stimulus=settings.get("stimulus"),
        seed=settings.get("seed", 0),
        initial=settings.get("initial"),
        solver=Solver(method=settings.get("method", "exponential_euler")),
    )
    theirs = to_brian2(circuit, BrianRun(**settings)).run()
    assert set(theirs.data_vars) == set(ours.data_vars)
    assert theirs.rate.dims == ours.rate.dims
    for coordinate in ours.coords:
        np.testing.assert_array_equal(theirs[coordinate], ours[coordinate])
    np.testing.assert_array_equal(np.isnan(theirs.to_array()), np.isnan(ours.to_array()))
    return {name: float(abs(theirs[name] - ours[name]).max()) for name in ours.data_vars}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exponential_euler", "euler"])
@pytest.mark.parametrize("form", ["current", "rate"])
def test_brian2_gives_the_rates_and_synaptic_states_of_simulate(form, method):
    found = largest_differences(everything(form), duration_s=0.05, method=method, stimulus=STIMULUS, seed=4)
    assert {"rate", "u_facilitating", "x_depressing", "x_mongillo"} < set(found)
    assert max(found.values()) < ROUND_OFF


@pytest.mark.parametrize("circuit", [Circuit.balanced(40, 1.5, seed=2), Circuit.low_rank(20, 2.0, gain=0.8, seed=2)])
def test_the_builders_circuits_give_the_rates_of_simulate(circuit):
    assert largest_differences(circuit, duration_s=0.05, seed=1)["rate"] < ROUND_OFF


@pytest.mark.parametrize(
    "noise", [Noise(sigma=0.3), Noise(sigma=0.3, tau_s=0.02, shared=0.5), Noise(sigma=0.3, covariance=np.eye(4) + 1.0)]
)
def test_the_noise_is_that_of_simulate(noise):
    assert largest_differences(uncoupled(noise=noise), duration_s=0.05, seed=7)["rate"] < ROUND_OFF


def test_runge_kutta_gives_the_rates_of_simulate_where_nothing_recurs():
    found = largest_differences(uncoupled("rate"), duration_s=0.05, method="runge_kutta", seed=2)
    assert found["rate"] < ROUND_OFF


def test_runge_kutta_with_recurrence_is_off_by_the_first_power_of_the_step():
    """Brian2 holds the recurrent current over a step; halving the step halves the difference, to a tenth."""
    circuit, initial = Circuit.random(10, 1.2, seed=3), np.linspace(-1.0, 1.0, 10)
    found = [
        largest_differences(circuit, duration_s=0.04, dt_s=dt_s, method="runge_kutta", initial=initial)["rate"]
        for dt_s in (1e-3, 5e-4)
    ]
    assert found[0] / found[1] == pytest.approx(2.0, rel=0.1)


def test_a_stimulus_of_single_units_reaches_them_and_a_given_state_is_the_first():
    values = np.random.default_rng(5).normal(size=(30, 4))
    stimulus = {"units": Samples(values=values, step_s=2e-3)}
    settings = {"duration_s": 0.06, "stimulus": stimulus, "initial": [1.0, 0.5, -0.5, -1.0]}
    assert largest_differences(uncoupled(), **settings)["rate"] < ROUND_OFF


def test_the_network_is_brian2_own_and_can_be_changed_and_run_on():
    import brian2

    made = to_brian2(Circuit.ssn(), BrianRun(duration_s=0.01))
    assert isinstance(made.network, brian2.Network)
    made.units["excitatory"].bias = 2.0
    made.run()
    made.network.run(5 * brian2.ms, namespace={})
    run = made.to_dataset()
    assert run.sizes["time"] == 15
    assert float(run.rate[0, -1, 0]) > 0.0


def test_nothing_of_brian2_or_numpy_is_changed_for_others():
    import brian2

    before = brian2.prefs.codegen.target, np.random.get_state()[1].copy()  # noqa: NPY002 -- the state nobody may touch
    to_brian2(uncoupled(noise=Noise(sigma=0.1)), BrianRun(duration_s=0.01)).run()
    assert brian2.prefs.codegen.target == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_brian2_is_loaded_by_the_first_call_only():
    statement = "import sys, cortexrnn.dynamics.brian, cortexrnn.dynamics.twin; print('brian2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_names_that_differ_in_a_dot_or_a_dash_stay_apart():
    populations = tuple(Population(name=name, size=1) for name in ("a.b", "a-b", "a_b"))
    layout = lay_out(Circuit(name="alike", populations=populations), BrianRun())
    assert [group.name for group in layout.units.values()] == ["units_a_b", "units_a_b_", "units_a_b__"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "rk4"}, "method='rk4' is unknown"),
        ({"dt_s": 0.0}, "dt_s=0.0 is not a positive"),
        ({"duration_s": "soon"}, "duration_s='soon' is not a number"),
        ({"duration_s": 0.0105}, r"duration_s is 10\.5 steps of dt_s=0\.001"),
    ],
)
def test_a_run_that_cannot_be_is_refused(settings, message):
    with pytest.raises(OptionError, match=message):
        BrianRun(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial": np.zeros(3)}, r"initial has shape \(3,\); expected finite \(4,\)"),
        ({"initial": np.full(4, np.nan)}, r"initial has shape \(4,\); expected finite"),
        ({"stimulus": {"nobody": Pulse(amplitude=1.0)}}, "'nobody'"),
        ({"stimulus": {"units": Pulse(amplitude=np.inf, start_s=0.5)}}, r"not finite at 0\.5 s"),
    ],
)
def test_a_run_that_does_not_fit_the_circuit_is_refused(settings, message):
    with pytest.raises(OptionError, match=message):
        lay_out(uncoupled(), BrianRun(**settings))
