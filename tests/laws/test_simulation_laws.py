"""Laws of any simulation: Dale's sign, bounded synapses, non-negative rates, streams that nobody else touches."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw, audit_signs, build_weights
from cortexrnn.dynamics import Solver, simulate

SIGNS = ("excitatory", "inhibitory")


@st.composite
def circuits(draw):
    """E-I circuits of any form, size, activation, plasticity and noise; inhibition is strong enough to hold."""
    kind = draw(st.sampled_from(["relu", "softplus", "sigmoid", "power"]))
    activation = Activation(kind=kind, gain=draw(st.floats(0.1, 1.0)), threshold=draw(st.floats(-1.0, 1.0)))
    conventions = draw(st.sampled_from(["tsodyks1998", "mongillo2008"]))
    stp = ShortTermPlasticity(
        U=draw(st.floats(0.01, 1.0)),
        tau_f_s=draw(st.sampled_from([0.0, 0.05, 1.5])),
        tau_d_s=draw(st.floats(0.01, 1.0)),
        convention=conventions,
    )
    sizes = {"excitatory": draw(st.integers(1, 20)), "inhibitory": draw(st.integers(1, 6))}
    strength = {"excitatory": 0.5 / sizes["excitatory"], "inhibitory": 1.0 / sizes["inhibitory"]}
    return Circuit(
        name="any",
        form=draw(st.sampled_from(["current", "rate"])),
        populations=tuple(
            Population(name=name, size=sizes[name], sign=name, activation=activation, bias=draw(st.floats(-1.0, 2.0)))
            for name in SIGNS
        ),
        projections=tuple(
            Projection(
                source=source,
                target=target,
                weights=WeightLaw(law="gamma", mean=strength[source], sd=0.5 * strength[source]),
                density=draw(st.floats(0.1, 1.0)),
                plasticity="any" if source == "excitatory" else "",
                allow_autapses=True,
            )
            for source in SIGNS
            for target in SIGNS
        ),
        plasticity={"any": stp},
        noise=Noise(sigma=draw(st.floats(0.0, 1.0)), shared=draw(st.floats(0.0, 1.0))),
        rate_scale_hz=draw(st.floats(0.1, 100.0)),
        initial_sd=1.0,
        wiring_seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=40, deadline=None)
@given(circuits(), st.sampled_from(["euler", "exponential_euler"]), st.sampled_from([np.float32, np.float64]))
def test_rates_are_not_negative_and_synapses_stay_between_0_and_1(circuit, method, dtype):
    """At any step up to the time constant; weights keep Dale's law."""
    weights = build_weights(circuit)
    audit_signs(weights.total(), circuit.signs)
    run = simulate(
        circuit, duration_s=0.2, dt_s=0.01, n_trials=2, dtype=dtype, seed=1, solver=Solver(method=method)
    )
    assert (run["rate"].values >= 0.0).all()
    # Units without plastic synapses have no u and no x.
    is_plastic = (weights.plastic["any"][:, run["sign"].values > 0] != 0.0).any()
    for name in ("u", "x"):
        values = run[name].values[:, :, run["sign"].values > 0]
        assert ((values >= 0.0) & (values <= 1.0)).all() if is_plastic else np.isnan(values).all()


@settings(max_examples=15, deadline=None)
@given(circuits(), st.integers(1, 34), st.integers(1, 3))
def test_any_number_of_trials_and_threads_gives_the_same_bits(circuit, n_trials, n_threads):
    """Trial by trial against a run of 34."""
    whole = simulate(circuit, duration_s=0.05, n_trials=34, seed=3, solver=Solver(n_threads=1))
    part = simulate(circuit, duration_s=0.05, n_trials=n_trials, seed=3, solver=Solver(n_threads=n_threads))
    for name in ("rate", "u", "x"):
        np.testing.assert_array_equal(part[name].values, whole[name].values[:n_trials])
