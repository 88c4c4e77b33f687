"""Predicted against drawn eigenvalues. Oracles: targets C8 and C9, Bessel functions, NumPy's eigenvalues."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ive

from cortexrnn.circuit import (
    Circuit,
    LowRank,
    Population,
    Projection,
    Ring,
    WeightLaw,
    build_weights,
    load_circuit,
    predict_spectrum,
)


def sparse_dale(*, inhibition=1.0, **changes):
    """Target C9: 600 units, 80 % excitatory, density 0.2."""
    sizes = {"excitatory": 480, "inhibitory": 120}
    populations = tuple(Population(name=name, size=size, sign=name) for name, size in sizes.items())
    laws = {
        "excitatory": WeightLaw(law="gaussian", mean=0.06, sd=0.02),
        "inhibitory": WeightLaw(law="gaussian", mean=0.24 * inhibition, sd=0.08 * inhibition),
    }
    projections = tuple(
        Projection(source=s, target=t, weights=laws[s], density=0.2, allow_autapses=True) for s in laws for t in laws
    )
    return Circuit(name="c9", populations=populations, projections=projections, **changes)


def drawn(circuit, n_draws=5):
    """Absolute eigenvalues of several draws, shape (n_draws, size)."""
    matrices = [build_weights(replace(circuit, wiring_seed=seed)).total() for seed in range(n_draws)]
    return np.abs(np.linalg.eigvals(np.array(matrices)))


def with_autapses(circuit):
    """The same circuit with units that may reach themselves."""
    return replace(circuit, projections=tuple(replace(p, allow_autapses=True) for p in circuit.projections))


def sorted_eigenvalues(matrix):
    """Eigenvalues that are not zero, by modulus, then by imaginary part."""
    found = np.linalg.eigvals(matrix)
    found = found[np.abs(found) > 1e-9 * np.abs(found).max()]
    return found[np.lexsort((np.round(found.imag, 9), np.round(found.real, 9), -np.round(np.abs(found), 9)))]


def same_order(values):
    """The same order for a prediction."""
    return values[np.lexsort((np.round(values.imag, 9), np.round(values.real, 9), -np.round(np.abs(values), 9)))]


def test_the_radius_of_a_sparse_dale_matrix_is_the_formula():
    """R = sqrt(N a [f (sE^2 + (1-a) mE^2) + (1-f) (sI^2 + (1-a) mI^2)]) = 1.255, from the paper's constants."""
    a, f = 0.2, 0.8
    formula = np.sqrt(600 * a * (f * (0.02**2 + (1 - a) * 0.06**2) + (1 - f) * (0.08**2 + (1 - a) * 0.24**2)))
    assert predict_spectrum(sparse_dale()).radius == pytest.approx(formula, rel=1e-12)
    assert formula == pytest.approx(1.255, abs=5e-4)


@pytest.mark.slow
def test_the_bulk_of_a_balanced_sparse_matrix_ends_at_the_predicted_radius():
    """Target C9: the 99th percentile lies at 1.21 to 1.28, 4 %, mean of 5 draws."""
    circuit = sparse_dale(balance="rows")
    predicted = predict_spectrum(circuit)
    percentile = np.percentile(drawn(circuit), 99, axis=1).mean()
    assert percentile == pytest.approx(predicted.radius, rel=0.04)
    assert predicted.outliers.size == 0
    assert predicted.is_tight
    assert not predict_spectrum(sparse_dale()).is_tight


@pytest.mark.slow
def test_the_outlier_of_an_unbalanced_sparse_matrix_is_where_it_is_predicted():
    """Target C9 with half the inhibition: outlier 2.88, drawn 2.87 to 3.01, 5 %; radius 0.79."""
    circuit = sparse_dale(inhibition=0.5)
    predicted = predict_spectrum(circuit)
    assert predicted.radius == pytest.approx(0.79, abs=0.005)
    assert predicted.outliers[0].real == pytest.approx(2.88, rel=1e-12)
    assert predicted.outliers.size == 1
    assert drawn(circuit).max(axis=1).mean() == pytest.approx(predicted.outliers[0].real, rel=0.05)


@pytest.mark.slow
def test_the_published_dense_matrix_ends_at_its_radius_once_rows_are_balanced():
    """Target C8: the 99th percentile at 0.806 within 4 %; unbalanced, several eigenvalues beyond 1.1 R."""
    circuit = load_circuit("rajan_abbott_2006")
    predicted = predict_spectrum(circuit)
    assert predicted.radius == pytest.approx(0.806, abs=5e-4)
    assert np.percentile(drawn(circuit), 99, axis=1).mean() == pytest.approx(0.806, rel=0.04)
    unbalanced = drawn(replace(circuit, balance=""))
    assert ((unbalanced > 1.1 * predicted.radius).sum(axis=1) >= 2).all()
    assert not predict_spectrum(replace(circuit, balance="")).is_tight


@pytest.mark.parametrize("gain", [0.5, 1.5])
@pytest.mark.parametrize(
    "circuit",
    [Circuit.random(400, 1.0), Circuit.balanced(400, 1.0, density=0.3), with_autapses(Circuit.balanced(400, 1.0))],
    ids=["random", "sparse", "autapses"],
)
def test_the_gain_is_the_radius_of_the_bulk(circuit, gain):
    """The 99th percentile of the circular law is 0.995 R; 5 % for 400 units, mean of two draws."""
    scaled = replace(circuit, gain=gain)
    assert predict_spectrum(scaled).radius == pytest.approx(gain, rel=1e-12)
    assert np.percentile(drawn(scaled, 2), 99, axis=1).mean() == pytest.approx(0.995 * gain, rel=0.05)


def test_blocks_of_different_variance_follow_aljadeff():
    """sqrt of the largest eigenvalue of block variances times sizes, against two draws of 600 units, 4 %."""
    sds = {("a", "a"): 0.01, ("a", "b"): 0.09, ("b", "a"): 0.02, ("b", "b"): 0.05}
    populations = (Population(name="a", size=400), Population(name="b", size=200))
    projections = tuple(
        Projection(source=s, target=t, weights=WeightLaw(law="gaussian", mean=0.0, sd=sd), allow_autapses=True)
        for (t, s), sd in sds.items()
    )
    circuit = Circuit(name="blocks", populations=populations, projections=projections)
    by_hand = np.array([[400 * 0.01**2, 200 * 0.09**2], [400 * 0.02**2, 200 * 0.05**2]])
    expected = np.sqrt(np.linalg.eigvals(by_hand).max())
    assert predict_spectrum(circuit).radius == pytest.approx(expected, rel=1e-12)
    assert np.percentile(drawn(circuit, 2), 99, axis=1).mean() == pytest.approx(0.995 * expected, rel=0.04)


def test_in_degree_has_less_variance_than_its_mean_alone():
    """K sources of weight w among n candidates: variance of an entry p (1 - p) w^2."""
    loop = Projection(source="a", target="a", weights=WeightLaw(mean=0.1), in_degree=60, allow_autapses=True)
    circuit = Circuit(name="k", populations=(Population(name="a", size=300),), projections=(loop,))
    predicted = predict_spectrum(circuit)
    assert predicted.radius == pytest.approx(0.1 * np.sqrt(60 * 0.8), rel=1e-12)
    assert predicted.outliers.real == pytest.approx([6.0], rel=1e-12)
    sizes = np.sort(drawn(circuit, 1)[0])
    # Every row has the sum 6, so that the outlier is exact.
    assert sizes[-1] == pytest.approx(6.0, rel=1e-12)
    assert np.percentile(sizes[:-1], 99) == pytest.approx(0.995 * predicted.radius, rel=0.06)


def test_a_matrix_without_chance_is_predicted_exactly():
    """Constant weights under masks: all eigenvalues, to round-off."""
    rng = np.random.default_rng(3)
    sizes = {"excitatory": 9, "inhibitory": 4}
    populations = tuple(Population(name=name, size=size, sign=name) for name, size in sizes.items())
    projections = tuple(
        Projection(
            source=s,
            target=t,
            weights=WeightLaw(mean={"excitatory": 0.3, "inhibitory": 0.8}[s]),
            mask=tuple("".join(rng.choice(["0", "1"], sizes[s])) for _ in range(sizes[t])),
        )
        for s in sizes
        for t in sizes
    )
    circuit = Circuit(name="masks", populations=populations, projections=projections)
    predicted = predict_spectrum(circuit)
    assert predicted.radius == 0.0
    expected = sorted_eigenvalues(build_weights(circuit).static)
    np.testing.assert_allclose(np.abs(same_order(predicted.outliers)), np.abs(expected), rtol=1e-9)
    np.testing.assert_allclose(predicted.outliers.sum(), expected.sum(), rtol=1e-9)


@pytest.mark.parametrize("n", [100, 1000])
def test_a_ring_has_the_fourier_modes_of_its_profile(n):
    """n mean I_k(w^-2)/I_0(w^-2), each but the first twice; 1000 units are predicted in 256 sectors, 1e-6."""
    law, ring = WeightLaw(mean=2.0 / n), Ring(width_rad=0.5)
    loop = Projection(source="a", target="a", weights=law, distance=ring, allow_autapses=True)
    circuit = Circuit(name="ring", populations=(Population(name="a", size=n),), projections=(loop,))
    found = predict_spectrum(circuit).outliers[:5].real
    modes = 2.0 * ive(np.array([0, 1, 1, 2, 2]), 4.0) / ive(0, 4.0)
    np.testing.assert_allclose(found, modes, rtol=1e-6)
    drawn_modes = np.sort(np.linalg.eigvals(build_weights(circuit).static).real)[::-1][:5]
    np.testing.assert_allclose(found, drawn_modes, rtol=1e-6)


def test_a_ring_of_density_has_a_bulk_of_its_mean_variance():
    """Variances p(d) (1 - p(d)) w^2 add up to the same sum in every row; 5 % for 500 units."""
    ring = Ring(width_rad=0.8, modulates="density")
    law = WeightLaw(mean=0.2)
    loop = Projection(source="a", target="a", weights=law, density=0.2, distance=ring, allow_autapses=True)
    circuit = Circuit(name="ring", populations=(Population(name="a", size=500),), projections=(loop,))
    angle = 2.0 * np.pi * np.arange(500) / 500
    profile = np.exp((np.cos(angle) - 1.0) / 0.64)
    p = 0.2 * profile / profile.mean()
    predicted = predict_spectrum(circuit)
    assert predicted.radius == pytest.approx(0.2 * np.sqrt((p * (1.0 - p)).sum()), rel=1e-4)
    sizes = np.sort(drawn(circuit, 1)[0])
    bulk = sizes[: -predicted.outliers.size]
    assert np.percentile(bulk, 99) == pytest.approx(predicted.radius, rel=0.1)
    np.testing.assert_allclose(sizes[-1], predicted.outliers[0].real, rtol=0.03)


def test_given_loadings_and_the_mean_are_predicted_together():
    """Two terms that overlap each other and the constant mean: all non-zero eigenvalues, to round-off."""
    rng = np.random.default_rng(8)
    m, n, k = (tuple(row) for row in rng.normal(0.5, 1.0, (3, 40)))
    loop = Projection(source="a", target="a", weights=WeightLaw(mean=0.05), allow_autapses=True)
    circuit = Circuit(
        name="terms",
        populations=(Population(name="a", size=40),),
        projections=(loop,),
        low_rank_terms=(LowRank(m=m, n=n), LowRank(m=n, n=k)),
    )
    found = same_order(predict_spectrum(circuit).mean_eigenvalues)
    np.testing.assert_allclose(found, sorted_eigenvalues(build_weights(circuit).static), rtol=1e-9)


def test_an_overlap_beyond_the_bulk_is_an_outlier_and_one_inside_is_none():
    """Tao (2013): 2.0 against a radius of 0.8; drawn within 5/sqrt(N) of the overlap of its loadings."""
    outside, inside = (predict_spectrum(Circuit.low_rank(400, overlap, gain=0.8)) for overlap in (2.0, 0.5))
    np.testing.assert_allclose(outside.outliers, [2.0], rtol=1e-12)
    assert outside.radius == pytest.approx(0.8, rel=1e-12)
    assert inside.outliers.size == 0
    np.testing.assert_allclose(inside.mean_eigenvalues, [0.5], rtol=1e-12)
    assert drawn(Circuit.low_rank(400, 2.0, gain=0.8), 3).max(axis=1).mean() == pytest.approx(2.0, abs=5.0 * 2.0 / 20)


def test_rows_of_unequal_excitation_keep_an_outlier_although_they_sum_to_zero():
    """Blocks [[a, -a], [b, -b]] have the eigenvalue a - b: balance alone does not remove it."""
    populations = tuple(Population(name=n, size=50, sign=n) for n in ("excitatory", "inhibitory"))
    means = {"excitatory": 0.1, "inhibitory": 0.02}
    projections = tuple(
        Projection(source=s, target=t, weights=WeightLaw(mean=means[t]), allow_autapses=True)
        for s in means
        for t in means
    )
    circuit = Circuit(name="unequal", populations=populations, projections=projections, balance="rows")
    np.testing.assert_allclose(predict_spectrum(circuit).outliers, [4.0], rtol=1e-12)
    assert drawn(circuit, 1).max() == pytest.approx(4.0, rel=1e-9)
