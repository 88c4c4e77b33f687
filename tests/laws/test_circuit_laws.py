"""What must hold for every circuit: signs, files, determinism, and independence of what stands beside a projection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.stp import CONVENTIONS, ShortTermPlasticity
from cortexrnn.circuit import (
    Circuit,
    Input,
    LowRank,
    Noise,
    Population,
    Projection,
    Ring,
    WeightLaw,
    audit_signs,
    balance_rows,
    build_weights,
    predict_spectrum,
)
from cortexrnn.circuit.files import circuit_from_toml, circuit_to_toml

FEW = settings(deadline=None, max_examples=60)
MANY = settings(deadline=None, max_examples=250)
SEEDS = st.integers(0, 2**70)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,8}", fullmatch=True)
NUMBERS = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-3, 1e3)
FRACTIONS = st.floats(1e-3, 1.0)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def times_s(longest_s):
    """Time constants that are accepted."""
    return st.floats(1e-6, longest_s)


@st.composite
def weight_laws(draw, *, is_signed):
    """Laws that a signed or a mixed population can have."""
    law = draw(st.sampled_from(["gaussian", "lognormal", "gamma", "exponential", "constant"]))
    mean = draw(POSITIVE)
    sd = {"constant": 0.0, "exponential": mean}.get(law, mean * draw(st.floats(0.05, 0.9)))
    is_negative = not is_signed and draw(st.booleans())
    return WeightLaw(law=law, mean=-mean if is_negative else mean, sd=sd)


@st.composite
def populations(draw):
    """One to three populations of one to six units, all with rates that plasticity accepts or not."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))
    found = []
    for name in names:
        size = draw(st.integers(1, 6))
        kind = draw(st.sampled_from(KINDS))
        exponent = draw(st.floats(1.0, 4.0)) if kind == "power" else 1.0
        shape = Activation(kind=kind, gain=draw(POSITIVE), threshold=draw(NUMBERS), exponent=exponent)
        found.append(
            Population(
                name=name,
                size=size,
                sign=draw(st.sampled_from(["excitatory", "inhibitory", "mixed"])),
                activation=shape,
                tau_s=draw(times_s(1.0) | st.tuples(*[times_s(1.0)] * size)),
                bias=draw(NUMBERS | st.tuples(*[NUMBERS] * size)),
                area=draw(NAMES | st.just("")),
            )
        )
    return tuple(found)


@st.composite
def projections(draw, among, classes):
    """A projection between two of some populations, with any of its options."""
    source, target = draw(st.sampled_from(among)), draw(st.sampled_from(among))
    with_self = source is target and (source.size == 1 or draw(st.booleans()))
    options = {}
    match draw(st.sampled_from(["full", "density", "in_degree", "ring", "mask"])):
        case "density":
            options["density"] = draw(FRACTIONS)
        case "in_degree":
            options["in_degree"] = draw(st.integers(1, source.size - (source is target and not with_self)))
        case "ring":
            options["distance"] = Ring(width_rad=draw(st.floats(2.0 * np.pi / source.size, 2.0 * np.pi)))
        case "mask":
            row = st.text("01", min_size=source.size, max_size=source.size)
            options["mask"] = tuple(draw(st.lists(row, min_size=target.size, max_size=target.size)))
    if source.activation.is_nonnegative and draw(st.booleans()):
        options["plasticity"] = draw(st.sampled_from(classes))
    law = draw(weight_laws(is_signed=source.sign != "mixed"))
    return Projection(source=source.name, target=target.name, weights=law, allow_autapses=with_self, **options)


@st.composite
def low_rank_terms(draw, size):
    """A term with given or with drawn loadings."""
    if draw(st.booleans()):
        loading = st.tuples(*[NUMBERS] * size)
        return LowRank(m=draw(loading), n=draw(loading))
    return LowRank(overlap=draw(st.floats(-10.0, 10.0)), m_variance=draw(POSITIVE))


@st.composite
def circuits(draw):
    """Any circuit that the package accepts, small."""
    among = draw(populations())
    size = sum(population.size for population in among)
    classes = draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
    wired = tuple(draw(st.lists(projections(among, classes), max_size=5)))
    used = {projection.plasticity for projection in wired} - {""}
    stp = st.builds(
        ShortTermPlasticity,
        U=FRACTIONS,
        tau_f_s=times_s(10.0) | st.just(0.0),
        tau_d_s=times_s(10.0),
        convention=st.sampled_from(CONVENTIONS),
    )
    inputs = st.builds(
        Input, name=NAMES, target=st.sampled_from([p.name for p in among]), weights=weight_laws(is_signed=False)
    )
    is_mixed = all(population.sign == "mixed" for population in among)
    return Circuit(
        name=draw(NAMES),
        form=draw(st.sampled_from(["current", "rate"])),
        populations=among,
        projections=wired,
        plasticity={name: draw(stp) for name in classes if name in used},
        inputs=tuple(draw(st.lists(inputs, max_size=3))),
        low_rank_terms=tuple(draw(st.lists(low_rank_terms(size), max_size=2))) if is_mixed else (),
        noise=draw(st.none() | st.builds(Noise, sigma=POSITIVE, tau_s=times_s(1.0), shared=st.floats(0.0, 1.0))),
        initial_sd=draw(st.floats(0.0, 10.0)),
        wiring_seed=draw(SEEDS),
        rate_scale_hz=draw(POSITIVE),
        citation=draw(TEXTS),
        notes=draw(st.dictionaries(st.sampled_from(["known", "chosen"]), st.lists(TEXTS, max_size=2), max_size=2)),
    )


@MANY
@given(circuit=circuits())
def test_every_circuit_comes_back_from_its_file_exactly(circuit):
    again = circuit_from_toml(circuit_to_toml(circuit).encode(), where="c.toml")
    assert again == circuit
    assert again.hash() == circuit.hash()


@FEW
@given(circuit=circuits())
def test_every_signed_column_keeps_its_sign_and_every_number_is_finite(circuit):
    weights = build_weights(circuit)
    for block in (weights.static, *weights.plastic.values()):
        audit_signs(block, circuit.signs)
        assert np.isfinite(block).all()


@FEW
@given(circuit=circuits())
def test_the_same_description_gives_the_same_bits(circuit):
    first, second = (build_weights(replace(circuit, name=name)) for name in ("one", "two"))
    np.testing.assert_array_equal(first.static, second.static)
    for name, block in first.plastic.items():
        np.testing.assert_array_equal(block, second.plastic[name])


@FEW
@given(circuit=circuits(), seed=st.integers(0, 2**32))
def test_the_order_of_projections_between_different_ends_does_not_matter(circuit, seed):
    """To round-off where blocks add, which is nowhere: equal ends are left out."""
    ends = [(p.source, p.target) for p in circuit.projections]
    assume(len(set(ends)) == len(ends))
    order = np.random.default_rng(seed).permutation(len(ends))
    shuffled = replace(circuit, projections=tuple(circuit.projections[i] for i in order))
    np.testing.assert_array_equal(build_weights(shuffled).total(), build_weights(circuit).total())


@FEW
@given(circuit=circuits())
def test_degrees_masks_and_absent_autapses_are_exact(circuit):
    ends = [(p.source, p.target) for p in circuit.projections]
    assume(len(set(ends)) == len(ends))
    weights = build_weights(replace(circuit, low_rank_terms=())).total()
    for projection in circuit.projections:
        block = weights[circuit.slices[projection.target], circuit.slices[projection.source]]
        if projection.in_degree is not None:
            assert set((block != 0.0).sum(axis=1)) == {projection.in_degree}
        if projection.mask:
            assert not block[np.array([list(row) for row in projection.mask]) == "0"].any()
        if projection.skips_self:
            assert not np.diag(block).any()


@FEW
@given(circuit=circuits())
def test_every_prediction_is_finite_and_sorted(circuit):
    spectrum = predict_spectrum(circuit)
    assert np.isfinite(spectrum.radius)
    assert spectrum.radius >= 0.0
    assert (np.abs(spectrum.outliers) > spectrum.radius).all()
    assert (np.diff(np.abs(spectrum.mean_eigenvalues)) <= 0.0).all()


@MANY
@given(seed=st.integers(0, 2**32), n=st.integers(2, 40), spread=st.floats(0.0, 8.0), density=st.floats(0.1, 1.0))
def test_balanced_rows_sum_to_zero_with_signs_and_zeros_kept(seed, n, spread, density):
    """Relative to the row's absolute sum, to 1e-12, over weights that span up to fourteen decades."""
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(n) < max(n // 2, 1), 1, -1)
    weights = rng.lognormal(0.0, spread, (n, n)) * signs * (rng.random((n, n)) < density)
    assume((weights[:, signs > 0].any(axis=1) == weights[:, signs < 0].any(axis=1)).all())
    balanced, residual = balance_rows(weights, signs)
    assert residual <= 1e-12
    np.testing.assert_array_equal(np.sign(balanced), np.sign(weights))
