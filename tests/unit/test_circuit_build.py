"""From description to weights. Oracles: counting, formulas by hand, NumPy, and moments within sampling error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ive

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import (
    Circuit,
    Input,
    LowRank,
    Population,
    Projection,
    Ring,
    WeightLaw,
    audit_signs,
    build_inputs,
    build_weights,
)
from cortexrnn.circuit.build import loadings
from cortexrnn.errors import OptionError

ONE = WeightLaw()
GAMMA = WeightLaw(law="gamma", mean=0.5, sd=0.2)
LAWS = [
    GAMMA,
    WeightLaw(law="gaussian", mean=0.5, sd=0.4),
    WeightLaw(law="lognormal", mean=0.5, sd=0.5),
    WeightLaw(law="exponential", mean=0.5),
    WeightLaw(law="constant", mean=0.5),
]
RELU = Activation(kind="relu")


def make_circuit(*projections, sizes=(80, 40), **changes):
    """An excitatory and an inhibitory population of rectified units with some projections."""
    populations = (
        Population(name="e", size=sizes[0], sign="excitatory", activation=RELU),
        Population(name="i", size=sizes[1], sign="inhibitory", activation=RELU),
    )
    return Circuit(name="pair", populations=populations, projections=projections, **changes)


def all_four(law=GAMMA, **options):
    """Projections between both populations, all of one law."""
    return [Projection(source=s, target=t, weights=law, **options) for s in "ei" for t in "ei"]


def make_ring(n, **changes):
    """One mixed population on a ring."""
    loop = Projection(**{"source": "a", "target": "a", "weights": ONE, "allow_autapses": True, **changes})
    return Circuit(name="ring", populations=(Population(name="a", size=n),), projections=(loop,))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.law)
@pytest.mark.parametrize("options", [{}, {"density": 0.3}, {"in_degree": 15}], ids=["full", "density", "in_degree"])
def test_dale_holds_by_construction(law, options):
    circuit = make_circuit(*all_four(law, **options))
    weights = build_weights(circuit).static
    audit_signs(weights, circuit.signs)
    assert (weights[:, :80] > 0.0).any()
    assert (weights[:, 80:] < 0.0).any()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.law)
def test_connected_weights_have_the_moments_of_their_law(law):
    """3200 connections of 0.5: five standard errors, 10 % of the deviation for heavy tails."""
    circuit = make_circuit(Projection(source="i", target="e", weights=law, density=0.99999999))
    drawn = build_weights(circuit).static[:80, 80:]
    assert abs(-drawn.mean() - law.mean) <= 5.0 * law.sd / math.sqrt(drawn.size) + 1e-15
    assert drawn.std() == pytest.approx(law.sd, rel=0.1, abs=1e-12)


def test_density_is_the_share_of_connections():
    """Binomial, within 4.5 standard deviations, with as many connections in every quarter of the block."""
    circuit = make_circuit(Projection(source="e", target="e", weights=ONE, density=0.2), sizes=(400, 4))
    is_connected = build_weights(circuit).static[:400, :400] != 0.0
    np.fill_diagonal(is_connected, False)
    for quarter in (is_connected[:200, :200], is_connected[:200, 200:], is_connected[200:, :200]):
        n = quarter.size
        assert abs(quarter.sum() - 0.2 * n) < 4.5 * math.sqrt(0.16 * n) + 0.2 * 200


def test_in_degree_is_exact_in_every_row():
    circuit = make_circuit(*all_four(in_degree=7))
    is_connected = build_weights(circuit).static != 0.0
    assert set(is_connected[:, :80].sum(axis=1)) == {7}
    assert set(is_connected[:, 80:].sum(axis=1)) == {7}


def test_in_degree_reaches_every_source_about_equally_often():
    """Out-degrees are sums of 4000 draws of probability 1/8: 5 deviations of the binomial."""
    circuit = make_circuit(Projection(source="i", target="e", weights=ONE, in_degree=5), sizes=(4000, 40))
    out_degree = (build_weights(circuit).static[:4000, 4000:] != 0.0).sum(axis=0)
    assert out_degree.sum() == 20_000
    assert np.abs(out_degree - 500).max() < 5.0 * math.sqrt(4000 * 7 / 64)


@pytest.mark.parametrize("options", [{}, {"density": 0.5}, {"in_degree": 39}])
def test_autapses_are_off_unless_asked_for(options):
    loop = Projection(source="i", target="i", weights=ONE, **options)
    assert not np.diag(build_weights(make_circuit(loop)).static).any()
    with_self = build_weights(make_circuit(replace(loop, allow_autapses=True))).static
    assert np.diag(with_self)[80:].any()


def test_full_connections_leave_out_nothing_but_the_diagonal():
    weights = build_weights(make_circuit(*all_four(ONE))).static
    expected = np.where(np.arange(120) < 80, 1.0, -1.0) * (1.0 - np.eye(120))
    np.testing.assert_array_equal(weights, expected)


def test_the_draw_of_one_projection_depends_on_no_other():
    """Others may be added, changed, removed or reordered: the block keeps its bits."""
    kept, *others = all_four(density=0.5)
    block = build_weights(make_circuit(kept)).static[:80, :80]
    heavy = WeightLaw(law="exponential", mean=9.0)
    changed = [replace(other, weights=heavy, in_degree=3, density=1.0) for other in others]
    for projections in ([kept, *others], [*others, kept], [changed[0], kept, changed[2]]):
        np.testing.assert_array_equal(build_weights(make_circuit(*projections)).static[:80, :80], block)


def test_projections_of_equal_ends_add_and_are_drawn_independently():
    first = second = Projection(source="e", target="i", weights=GAMMA)
    alone = build_weights(make_circuit(first)).static
    both = build_weights(make_circuit(first, second)).static
    extra = (both - alone)[80:, :80]
    assert extra.min() > 0.0
    # 3200 pairs: the correlation of independent numbers stays below 4.5 standard errors.
    assert abs(np.corrcoef(extra.ravel(), alone[80:, :80].ravel())[0, 1]) < 4.5 / math.sqrt(extra.size)


def test_a_mask_forbids_connections_and_leaves_the_others_as_they_are():
    rng = np.random.default_rng(5)
    allowed = rng.random((40, 80)) < 0.6
    mask = tuple("".join("1" if value else "0" for value in row) for row in allowed)
    full = Projection(source="e", target="i", weights=GAMMA)
    masked = build_weights(make_circuit(replace(full, mask=mask))).static[80:, :80]
    np.testing.assert_array_equal(masked, np.where(allowed, build_weights(make_circuit(full)).static[80:, :80], 0.0))


def test_ring_weights_follow_the_profile():
    """exp((cos d - 1)/w^2) over its mean, which for many units is the Bessel function I0 with that factor."""
    weights = build_weights(make_ring(200, distance=Ring(width_rad=0.4))).static
    angle = 2.0 * np.pi * np.arange(200) / 200
    expected = np.exp((np.cos(angle[:, None] - angle) - 1.0) / 0.16) / ive(0, 1.0 / 0.16)
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 200.0, rtol=1e-12)


def test_ring_rows_have_equal_sums_between_populations_of_different_sizes():
    loop = Projection(source="i", target="e", weights=ONE, distance=Ring(width_rad=0.5))
    block = build_weights(make_circuit(loop, sizes=(70, 30))).static[:70, 70:]
    np.testing.assert_allclose(block.sum(axis=1), -30.0, rtol=1e-8)


def test_ring_density_is_the_probability_at_every_distance():
    """Counts at each of 100 distances, 2000 pairs each, within 4.5 binomial deviations; the mean is the density."""
    n, density, width = 2000, 0.15, 0.9
    circuit = make_ring(n, density=density, distance=Ring(width_rad=width, modulates="density"))
    is_connected = build_weights(circuit).static != 0.0
    lag = (np.arange(n) - np.arange(n)[:, None]) % n
    for d in range(0, n, 20):
        p = density * math.exp((math.cos(2.0 * math.pi * d / n) - 1.0) / width**2) / ive(0, width**-2)
        count = is_connected[lag == d].sum()
        assert abs(count - n * p) < 4.5 * math.sqrt(n * p * (1.0 - p)) + 1.0
    assert is_connected.mean() == pytest.approx(density, rel=0.01)


def test_areas_are_joined_only_by_their_projections():
    populations = tuple(
        Population(name=f"{kind[0]}{area}", size=size, sign=kind, area=area)
        for area in ("v1", "v2")
        for kind, size in (("excitatory", 8), ("inhibitory", 2))
    )
    ends = [(s + area, t + area) for area in ("v1", "v2") for s in "ei" for t in "ei"]
    inside = [Projection(source=source, target=target, weights=ONE) for source, target in ends]
    feedforward = Projection(source="ev1", target="ev2", weights=GAMMA)
    weights = build_weights(Circuit(name="areas", populations=populations, projections=(*inside, feedforward))).static
    assert not weights[:10, 10:].any()
    assert (weights[10:18, :8] > 0.0).all()
    assert not weights[10:, 8:10].any()
    assert not weights[18:, :8].any()


def test_every_class_of_plasticity_has_its_own_matrix():
    stp = {name: ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2) for name in ("fac", "dep")}
    first, second, *rest = all_four()
    projections = [replace(first, plasticity="fac"), replace(second, plasticity="dep"), *rest]
    weights = build_weights(make_circuit(*projections, plasticity=stp, rate_scale_hz=1.0))
    static = build_weights(make_circuit(*all_four())).static
    assert list(weights.plastic) == ["fac", "dep"]
    np.testing.assert_array_equal(weights.total(), static)
    np.testing.assert_array_equal(weights.plastic["fac"][:80, :80], static[:80, :80])
    np.testing.assert_array_equal(weights.plastic["dep"][80:, :80], static[80:, :80])
    assert not weights.plastic["fac"][80:].any()
    assert not weights.static[:, :80].any()


def test_balance_spreads_over_static_and_plastic_weights_alike():
    stp = {"fac": ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)}
    first, *rest = all_four()
    circuit = make_circuit(replace(first, plasticity="fac"), *rest, plasticity=stp, rate_scale_hz=1.0, balance="rows")
    weights = build_weights(circuit)
    total = weights.total()
    np.testing.assert_allclose(total.sum(axis=1), 0.0, atol=1e-12 * np.abs(total).sum(axis=1).max())
    raw = build_weights(replace(circuit, balance="")).plastic["fac"]
    np.testing.assert_array_equal(weights.plastic["fac"] != 0.0, raw != 0.0)


def test_drawn_loadings_have_the_moments_asked_for():
    """10000 units: variances and overlap within 5 standard errors; the term is their outer product over N."""
    n = 10_000
    units = Population(name="a", size=n)
    term = LowRank(overlap=1.5, m_variance=2.0, n_variance=3.0)
    circuit = Circuit(name="rank", populations=(units,), low_rank_terms=(term,))
    m, nn = loadings(circuit, term, 0)
    assert m.var() == pytest.approx(2.0, abs=5.0 * 2.0 * math.sqrt(2.0 / n))
    assert nn.var() == pytest.approx(3.0, abs=5.0 * 3.0 * math.sqrt(2.0 / n))
    assert np.mean(m * nn) == pytest.approx(1.5, abs=5.0 * math.sqrt((2.0 * 3.0 + 1.5**2) / n))


def test_low_rank_terms_add_outer_products_over_n():
    m, n = (1.0, -2.0, 3.0), (0.5, 0.25, -1.0)
    circuit = Circuit(
        name="rank", populations=(Population(name="a", size=3),), low_rank_terms=(LowRank(m=m, n=n), LowRank(m=n, n=n))
    )
    expected = (np.outer(m, n) + np.outer(n, n)) / 3.0
    np.testing.assert_allclose(build_weights(circuit).static, expected, rtol=1e-15)


def test_several_drawn_terms_have_rank_one_each():
    circuit = Circuit(
        name="rank",
        populations=(Population(name="a", size=60),),
        low_rank_terms=(LowRank(overlap=2.0), LowRank(overlap=1.0)),
    )
    singular = np.linalg.svd(build_weights(circuit).static, compute_uv=False)
    assert singular[1] > 0.5
    assert singular[2] < 1e-13


def test_the_gain_leaves_low_rank_terms_alone():
    plain, scaled = (build_weights(Circuit.low_rank(50, 2.0, gain=g, seed=1)).static for g in (1.0, 3.0))
    term = build_weights(Circuit.low_rank(50, 2.0, seed=1)).static
    np.testing.assert_allclose(scaled - term, 3.0 * (plain - term), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("circuit", [Circuit.balanced(100, 1.5, seed=2), Circuit.low_rank(100, 1.5, gain=0.8, seed=2)])
def test_equal_seeds_give_equal_bits_and_float32_is_rounded_once(circuit):
    weights = build_weights(circuit).static
    np.testing.assert_array_equal(build_weights(circuit).static, weights)
    single = build_weights(circuit, np.float32).static
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, weights.astype(np.float32))
    assert (build_weights(replace(circuit, wiring_seed=3)).static != weights).mean() > 0.3


def test_the_weights_of_a_seed_stay_what_they_were():
    """Written down once: another number means that published seeds give other networks."""
    weights = build_weights(Circuit.random(3, 1.0, seed=7)).static
    np.testing.assert_allclose(weights[0], [0.03868887641859559, -0.2564623458066549, -0.6045916606344428], rtol=1e-15)


def test_input_weights_come_by_channel_and_population():
    inputs = (
        Input(name="a", target="i", vector=tuple(range(40))),
        Input(name="b", target="e", weights=WeightLaw(mean=-2.0)),
        Input(name="a", target="e", weights=GAMMA),
    )
    loading = build_inputs(make_circuit(inputs=inputs))
    assert loading.shape == (120, 2)
    np.testing.assert_array_equal(loading[80:, 0], np.arange(40.0))
    np.testing.assert_array_equal(loading[:, 1], np.repeat([-2.0, 0.0], [80, 40]))
    assert loading[:80, 0].std() == pytest.approx(0.2, rel=0.4)
    only = build_inputs(make_circuit(inputs=inputs[2:]))
    np.testing.assert_array_equal(only[:80, 0], loading[:80, 0])


def test_a_matrix_that_would_be_too_large_is_refused_with_the_layouts_that_are_not():
    with pytest.raises(OptionError, match=r"40000 units are not valid for dense weights; .*at most 30000"):
        build_weights(Circuit(name="big", populations=(Population(name="a", size=40_000),)))


@pytest.mark.parametrize("build", [build_weights, build_inputs])
def test_weights_are_float64_or_float32(build):
    with pytest.raises(OptionError, match=r"dtype=<class 'numpy.int64'> is not valid"):
        build(Circuit.random(3, 1.0), np.int64)


def test_a_gain_with_nothing_to_scale_is_refused():
    with pytest.raises(OptionError, match=r"gain: 2.0 is not valid; .*no bulk"):
        build_weights(make_circuit(*all_four(ONE, allow_autapses=True), gain=2.0))
