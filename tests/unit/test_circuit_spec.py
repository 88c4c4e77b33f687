"""What a circuit is. Oracles: layouts counted by hand, moments that were asked for, the formulas of the papers."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, LowRank, Noise, Population, Projection, Ring, WeightLaw, build_weights
from cortexrnn.errors import OptionError

EXCITATORY = Population(name="e", size=3, sign="excitatory", tau_s=0.02, bias=(0.1, 0.2, 0.3), area="v1")
INHIBITORY = Population(name="i", size=2, sign="inhibitory", tau_s=(0.01, 0.005), area="v2")
LAW = WeightLaw(law="gamma", mean=0.5, sd=0.1)


def make_circuit(**changes):
    """Two populations, one projection, two channels."""
    parts = {
        "name": "pair",
        "populations": (EXCITATORY, INHIBITORY),
        "projections": (Projection(source="e", target="i", weights=LAW),),
        "inputs": (Input(name="b", target="i"), Input(name="a", target="e"), Input(name="b", target="e")),
    }
    return Circuit(**{**parts, **changes})


def test_units_are_laid_out_population_by_population():
    circuit = make_circuit()
    assert circuit.size == 5
    assert circuit.slices == {"e": slice(0, 3), "i": slice(3, 5)}
    np.testing.assert_array_equal(circuit.population_of, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(circuit.signs, [1, 1, 1, -1, -1])
    np.testing.assert_array_equal(circuit.tau_s, [0.02, 0.02, 0.02, 0.01, 0.005])
    np.testing.assert_array_equal(circuit.bias, [0.1, 0.2, 0.3, 0.0, 0.0])


def test_channels_come_in_the_order_of_their_first_appearance():
    assert make_circuit().channels == ("b", "a")


def test_mixed_populations_have_sign_zero():
    assert Circuit.random(4, 1.0).signs.tolist() == [0, 0, 0, 0]


def test_nothing_of_a_circuit_can_be_assigned():
    with pytest.raises(FrozenInstanceError, match="gain"):
        make_circuit().gain = 2.0


def test_numbers_are_kept_as_floats_and_minus_zero_as_zero():
    """-0.0 equals 0.0 but is written differently, and would change the hash of an equal circuit."""
    population = Population(name="e", size=np.int64(3), bias=(-0.0, 1, np.float32(0.5)))
    assert [str(value) for value in population.bias] == ["0.0", "1.0", "0.5"]
    assert type(population.size) is int


def test_the_hash_ignores_what_only_names_and_explains():
    circuit = make_circuit()
    renamed = replace(circuit, name="other", citation="somebody", notes={"known": "something"})
    assert renamed.hash() == circuit.hash()
    assert renamed != circuit


@pytest.mark.parametrize(
    "change",
    [
        {"wiring_seed": 1},
        {"form": "rate"},
        {"rate_scale_hz": 10.0},
        {"initial_sd": 0.5},
        {"inputs": ()},
        {"noise": Noise(sigma=0.1)},
        {"projections": (Projection(source="e", target="i", weights=replace(LAW, sd=0.2)),)},
        {"projections": (Projection(source="e", target="i", weights=LAW, density=0.5),)},
        {"populations": (replace(EXCITATORY, tau_s=0.021), INHIBITORY)},
    ],
)
def test_the_hash_changes_with_whatever_changes_the_network(change):
    assert make_circuit(**change).hash() != make_circuit().hash()


def test_the_hash_is_the_same_in_every_process_and_version():
    """Written down once: a change here means that stored results no longer belong to their circuits."""
    assert make_circuit().hash() == "79985641b4a52b321983e0c54dc6c30532f13069ff191904d0a04ef14a84b6de"


def test_random_gives_gaussian_weights_of_the_paper():
    """Sompolinsky et al. (1988): independent weights of variance gain^2/N."""
    circuit = Circuit.random(100, 1.5, seed=3, tau_s=0.05)
    (loop,) = circuit.projections
    assert (loop.weights.law, loop.weights.mean, loop.weights.sd) == ("gaussian", 0.0, pytest.approx(0.1, rel=1e-15))
    assert (circuit.gain, circuit.wiring_seed, circuit.form) == (1.5, 3, "current")
    assert circuit.tau_s[0] == 0.05


def test_balanced_is_four_to_one_with_inhibition_four_times_as_strong():
    circuit = Circuit.balanced(50, 1.2, density=0.3)
    assert [p.size for p in circuit.populations] == [40, 10]
    assert circuit.signs.sum() == 30
    means = {(p.source, p.target): p.weights.mean for p in circuit.projections}
    assert set(means) == {(s, t) for s in ("excitatory", "inhibitory") for t in ("excitatory", "inhibitory")}
    assert means["inhibitory", "excitatory"] == 4.0 * means["excitatory", "excitatory"]
    assert circuit.balance == "rows"


def test_every_unit_of_balanced_has_sources_of_both_signs():
    """Density 0.2 of 8 and 2 units is rounded to 2 and to at least 1."""
    circuit = Circuit.balanced(10, 1.0)
    degrees = {(p.source, p.target): p.in_degree for p in circuit.projections}
    assert degrees["excitatory", "inhibitory"] == 2
    assert degrees["inhibitory", "inhibitory"] == 1
    assert Circuit.balanced(50, 1.0, density=1.0).projections[0].in_degree == 39


def test_low_rank_has_a_random_part_only_with_a_gain():
    assert Circuit.low_rank(30, 2.0).projections == ()
    both = Circuit.low_rank(30, 2.0, gain=0.8, seed=4)
    assert both.projections == Circuit.random(30, 0.8, seed=4).projections
    assert both.low_rank_terms == (LowRank(overlap=2.0),)


def test_ssn_has_the_published_fixed_points():
    """Target C16 of the science notes, by relaxing r' = -r + 0.3 max(W r + h, 0)^2 in plain NumPy."""
    circuit = Circuit.ssn()
    weights = build_weights(circuit).static
    np.testing.assert_allclose(weights, [[1.25, -0.65], [1.2, -0.5]], rtol=0)
    found = []
    for drive in (2.0, 5.0, 10.0, 15.0, 20.0):
        rate = np.zeros(2)
        for _ in range(40_000):
            rate += 2e-5 / circuit.tau_s * (-rate + 0.3 * np.maximum(weights @ rate + drive, 0.0) ** 2)
        found.append(rate[0])
    np.testing.assert_allclose(found, [3.261, 8.454, 10.667, 11.209, 11.087], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"populations": ()}, "populations: .* expected at least one population"),
        ({"populations": (EXCITATORY, EXCITATORY)}, r"populations\[1\].name: 'e' is not valid"),
        ({"populations": [EXCITATORY, "i"]}, "populations: .*a tuple of Population"),
        ({"name": "2 words"}, "name: '2 words' is not valid"),
        ({"form": "currents"}, "Did you mean 'current'"),
        ({"balance": "row"}, "Did you mean 'rows'"),
        ({"gain": 0}, "gain: 0 is not valid; expected a number above 0"),
        ({"gain": 1.0, "projections": ()}, "no gain without projections"),
        ({"wiring_seed": -1}, "wiring_seed: -1 is not valid"),
        ({"wiring_seed": 1.5}, "wiring_seed: 1.5 is not valid"),
        ({"noise": 0.1}, "noise: 0.1 is not valid"),
        ({"plasticity": ("a",)}, "plasticity: .* expected named classes"),
        ({"plasticity": {"a": 0.2}}, "plasticity.a: 0.2 is not valid; expected short-term plasticity"),
        ({"notes": {"knwon": "x"}}, "notes.knwon: .*Did you mean 'known'"),
        ({"balance": "random part"}, "a subtraction breaks signs"),
        ({"low_rank_terms": (LowRank(overlap=1.0),)}, "breaks Dale's law"),
        ({"noise": Noise(sigma=1.0, covariance=((1.0,),))}, "noise.covariance: .*expected 5 rows"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(changes, match):
    with pytest.raises(OptionError, match=match):
        make_circuit(**changes)


def test_row_balance_needs_both_signs():
    with pytest.raises(OptionError, match="balance: 'rows' is not valid"):
        replace(Circuit.random(10, 1.0), balance="rows")


def test_plasticity_that_nothing_uses_is_refused():
    stp = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
    with pytest.raises(OptionError, match=r"plasticity.fac: .*a class that a projection uses"):
        make_circuit(plasticity={"fac": stp}, rate_scale_hz=1.0)


def test_plasticity_of_a_population_with_negative_rates_is_refused():
    """A negative rate would take u and x out of [0, 1]."""
    stp = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
    plastic = Projection(source="e", target="i", weights=LAW, plasticity="fac")
    with pytest.raises(OptionError, match=r"projections\[0\].plasticity: .*'tanh' gives negative rates"):
        make_circuit(projections=(plastic,), plasticity={"fac": stp}, rate_scale_hz=1.0)
    relu = replace(EXCITATORY, activation=Activation(kind="relu"))
    rectified = make_circuit(
        populations=(relu, INHIBITORY), projections=(plastic,), plasticity={"fac": stp}, rate_scale_hz=1.0
    )
    assert rectified.plasticity["fac"] is stp


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Population(name="e", size=3, tau_s=20), "tau_s: 20 is not valid; .* write tau_s = 0.02"),
        (lambda: Population(name="e", size=3, tau_s=(0.01, 0.02)), "an array of 2 is not valid; .* 3 numbers"),
        (lambda: Population(name="e", size=3, tau_s=(0.01, 0.02, -1.0)), r"tau_s\[2\]: -1.0 is not valid"),
        (lambda: Population(name="e", size=True), "size: True is not valid"),
        (lambda: Population(name="e", size=2.5), "size: 2.5 is not valid"),
        (lambda: Population(name="e", size=3, bias=float("nan")), "bias: nan is not valid; expected a finite number"),
        (lambda: Population(name="e", size=3, activation="tanh"), "activation: 'tanh' is not valid"),
        (lambda: Ring(width_rad=0.0), "width_rad: 0.0 is not valid; expected a number above 0"),
        (lambda: Ring(width_rad=40.0), "If it is in degrees, write width_rad = 0.6981"),
        (lambda: WeightLaw(law="constant", mean=1.0, sd=0.1), "sd: 0.1 is not valid; expected 0 for the law"),
        (lambda: WeightLaw(law="exponential", mean=1.0, sd=0.1), "sd: 0.1 is not valid; expected the mean's size 1"),
        (lambda: WeightLaw(law="gamma", mean=0.0, sd=0.1), "mean: 0.0 is not valid; expected a value other than 0"),
        (lambda: WeightLaw(law="normal", mean=0.0, sd=0.1), "law: 'normal' is not valid"),
        (lambda: WeightLaw(law="gaussian", mean=0.0, sd=-0.1), r"sd: -0.1 is not valid; .* Write sd = 0.1"),
        (lambda: LowRank(overlap=2.0, n_variance=1.0), r"n_variance: 1.0 is not valid; expected at least .* = 4"),
        (lambda: LowRank(m_variance=0.0), "m_variance: 0.0 is not valid"),
        (lambda: LowRank(m=(1.0, 2.0), n=(1.0,)), "n: an array of 1 is not valid; .* 2"),
        (lambda: LowRank(m=(1.0,), n=(1.0,), overlap=1.0), "overlap: 1.0 is not valid; expected no moments"),
        (lambda: LowRank(m=3.0), "m: 3.0 is not valid; expected an array of numbers"),
        (lambda: Input(name="a", target="e", weights=LAW, vector=(1.0,)), "vector: .*expected no law of the weights"),
        (lambda: Noise(sigma=-1.0), "sigma: -1.0 is not valid"),
        (lambda: Noise(sigma=1.0, shared=30), "shared: 30.0 is not valid; .*percent"),
        (lambda: Noise(sigma=1.0, tau_s=5), "tau_s: 5 is not valid; .*write tau_s = 0.005"),
        (lambda: Noise(sigma=1.0, covariance=((1.0, 0.5), (0.4, 1.0))), "covariance: .*symmetric square table"),
        (lambda: Noise(sigma=1.0, covariance=((1.0, 2.0), (2.0, 1.0))), "without negative eigenvalues"),
        (lambda: Noise(sigma=1.0, covariance=(1.0, 0.5)), r"covariance\[0\]: 1.0 is not valid"),
        (lambda: Noise(sigma=1.0, shared=0.5, covariance=((1.0,),)), "no shared fraction beside a covariance"),
        (lambda: Projection(source="e", target="i", weights=0.5), "weights: 0.5 is not valid; expected a weight law"),
        (lambda: Projection(source="e", target="i", weights=LAW, density=0), "density: 0 is not valid"),
        (lambda: Projection(source="e", target="i", weights=LAW, density=20), "percent"),
        (lambda: Projection(source="e", target="i", weights=LAW, in_degree=0), "in_degree: 0 is not valid"),
        (lambda: Projection(source="e", target="i", weights=LAW, in_degree=2, density=0.5), "beside a density"),
        (lambda: Projection(source="e", target="i", weights=LAW, mask=("01", "2x")), "mask: .*one text of 0 and 1"),
        (lambda: Projection(source="e", target="i", weights=LAW, mask=("01", "1")), "rows of equal length"),
        (lambda: Projection(source="e", target="i", weights=LAW, mask="01"), "mask: '01' is not valid"),
        (lambda: Projection(source="e", target="i", weights=LAW, allow_autapses=1), "allow_autapses: 1 is not valid"),
    ],
)
def test_fields_out_of_range_are_refused_with_their_value_and_a_fix(make, match):
    with pytest.raises(OptionError, match=match) as caught:
        make()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("projection", "match"),
    [
        (Projection(source="e", target="x", weights=LAW), r"projections\[0\].target: 'x' is not valid; .*'e', 'i'"),
        (Projection(source="e", target="i", weights=LAW, in_degree=4), r"\[0\].in_degree: 4 .* at most the 3 possible"),
        (Projection(source="e", target="e", weights=LAW, in_degree=3), r"\[0\].in_degree: 3 .* at most the 2 possible"),
        (Projection(source="e", target="i", weights=LAW, mask=("11", "11", "11")), "2 rows .* of 3 characters"),
        (Projection(source="e", target="i", weights=replace(LAW, mean=-1.0)), r"weights.mean: -1.0 .*Write mean = 1"),
        (
            Projection(source="e", target="i", weights=WeightLaw(law="gaussian", mean=1.0, sd=1.0)),
            r"projections\[0\].weights.sd: 1.0 is not valid; expected at most 0.9 of the mean",
        ),
        (Projection(source="e", target="i", weights=LAW, distance=Ring(width_rad=1.0)), "width_rad: 1.0 .*2.094"),
        (Projection(source="e", target="i", weights=LAW, plasticity="fac"), r"plasticity: 'fac' .*none is defined"),
    ],
)
def test_projections_that_do_not_fit_their_populations_are_refused(projection, match):
    with pytest.raises(OptionError, match=match):
        make_circuit(projections=(projection,))


def test_a_single_unit_reaches_itself_only_with_autapses():
    one = Population(name="a", size=1)
    loop = Projection(source="a", target="a", weights=WeightLaw())
    with pytest.raises(OptionError, match="allow_autapses: False is not valid; expected true"):
        Circuit(name="one", populations=(one,), projections=(loop,))


def test_a_ring_of_density_may_not_ask_for_more_than_certain_connections():
    ring = Population(name="a", size=100)
    peak = 1.0 / np.mean(np.exp((np.cos(2 * np.pi * np.arange(100) / 100) - 1.0) / 0.25))
    distance = Ring(width_rad=0.5, modulates="density")
    loop = Projection(source="a", target="a", weights=LAW, density=0.99 / peak, distance=distance)
    assert Circuit(name="ring", populations=(ring,), projections=(loop,)).size == 100
    with pytest.raises(OptionError, match=r"projections\[0\].density: .* nearest connect with probability 1"):
        Circuit(name="ring", populations=(ring,), projections=(replace(loop, density=1.01 / peak),))
