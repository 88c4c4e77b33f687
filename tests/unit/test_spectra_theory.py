"""Non-normality: closed forms of Murphy and Miller's pair and of triangular matrices, and SciPy's exponential."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, OptionError
from cortexrnn.theory.balanced_amplification import balanced_amplification
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.theory.spectra import feed_forward_weights, generator, non_normality, transient_gain

TAU_S = 0.01


def pair(weight, ratio):
    """Murphy and Miller's pair: ``[[w, -k w], [w, -k w]]``."""
    return weight * np.array([[1.0, -ratio], [1.0, -ratio]])


def test_a_normal_matrix_has_no_feed_forward_weights():
    """Symmetric, antisymmetric, orthogonal: departure at round-off, and the numerical abscissa is the spectral one."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(20, 20))
    for normal in (matrix + matrix.T, matrix - matrix.T, np.linalg.qr(matrix)[0]):
        found = non_normality(normal)
        assert found.relative_henrici < 1e-13
        assert found.numerical_abscissa == pytest.approx(found.spectral_abscissa, abs=1e-12)
        assert not found.is_amplifying


def test_the_departure_is_the_norm_of_what_is_beside_the_diagonal():
    """Triangular by hand: ``[[-1, 3], [0, -2]]`` has 3 and the abscissa ``(-3 + sqrt(10)) / 2``, rotated or not."""
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(2, 2)))[0]
    for matrix in (np.array([[-1.0, 3.0], [0.0, -2.0]]), turn @ [[-1.0, 3.0], [0.0, -2.0]] @ turn.T):
        found = non_normality(matrix)
        assert found.henrici == pytest.approx(3.0, rel=1e-13)
        assert found.relative_henrici == pytest.approx(3.0 / np.sqrt(14.0), rel=1e-13)
        assert found.spectral_abscissa == pytest.approx(-1.0, rel=1e-13)
        assert found.numerical_abscissa == pytest.approx(0.5 * (np.sqrt(10.0) - 3.0), rel=1e-12)
        assert found.is_amplifying
    assert non_normality([[0.0, 1.0], [0.0, 0.0]]).relative_henrici == pytest.approx(1.0, rel=1e-15)
    assert non_normality(np.zeros((2, 2))).relative_henrici == 0.0


def test_the_departure_is_that_of_henricis_formula():
    """``sqrt(|A|_F^2 - sum |lambda|^2)`` of a random matrix: 1e-10."""
    matrix = np.random.default_rng(2).normal(size=(30, 30))
    values = np.linalg.eigvals(matrix)
    expected = np.sqrt((matrix**2).sum() - (np.abs(values) ** 2).sum())
    assert non_normality(matrix).henrici == pytest.approx(expected, rel=1e-10)


def test_patterns_and_weights_give_the_matrix_back():
    """``V (diag + weights) V* = A``, V unitary, real parts falling: 1e-13 of the norm."""
    matrix = np.random.default_rng(3).normal(size=(15, 15))
    found = feed_forward_weights(matrix)
    vectors, weight = found["vector"].values, found["weight"].values
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(15), atol=1e-13)
    back = vectors @ (np.diag(found["eigenvalue"].values) + weight) @ vectors.conj().T
    np.testing.assert_allclose(back, matrix, atol=1e-12)
    assert (np.diff(found["eigenvalue"].values.real) <= 1e-12).all()
    np.testing.assert_array_equal(np.tril(weight), 0.0)
    assert np.linalg.norm(weight) == pytest.approx(non_normality(matrix).henrici, rel=1e-12)


@pytest.mark.parametrize(("weight", "ratio"), [(4.0 / 1.1, 1.1), (0.5, 1.0), (30.0, 1.2)])
def test_the_pair_of_murphy_and_miller_has_its_closed_forms(weight, ratio):
    """``w_FF = w (1 + k)``, eigenvalues 0 and ``-w (k - 1)``, patterns sum and difference; gains by the formulas.

    Steady gain ``w_FF / (1 + w_+)``; peak at ``tau ln(1 + w_+) / w_+`` (tau for w_+ = 0), of height
    ``w_FF (1 + w_+)^(-1 - 1/w_+)`` (``w_FF / e``).
    """
    found = balanced_amplification(pair(weight, ratio), tau_s=TAU_S)
    plus = weight * (ratio - 1.0)
    assert found.feed_forward == pytest.approx(weight * (1.0 + ratio), rel=1e-13)
    np.testing.assert_allclose([found.driving, found.driven], [0.0, -plus], atol=1e-12 * weight)
    np.testing.assert_allclose(np.abs(found.driven_pattern @ [1.0, 1.0]) / np.sqrt(2.0), 1.0, rtol=1e-7)
    np.testing.assert_allclose(np.abs(found.driving_pattern @ [1.0, -1.0]) / np.sqrt(2.0), 1.0, rtol=1e-7)
    assert found.steady_gain == pytest.approx(found.feed_forward / (1.0 + plus), rel=1e-12)
    peak_s = TAU_S * (np.log1p(plus) / plus if plus else 1.0)
    height = found.feed_forward * ((1.0 + plus) ** (-1.0 - 1.0 / plus) if plus else np.exp(-1.0))
    assert found.peak_s == pytest.approx(peak_s, rel=1e-9)
    assert found.peak_gain == pytest.approx(height, rel=1e-9)


def test_the_gain_grows_with_the_feed_forward_weight_while_the_eigenvalues_decay():
    """Murphy and Miller 2009: with ``w (k - 1)`` held, the eigenvalues of A stay, and the gain goes with w_FF."""
    gains, forward, slowest = [], [], []
    for weight in (2.0, 8.0, 32.0):
        matrix = pair(weight, 1.0 + 0.4 / weight)
        found = balanced_amplification(matrix, tau_s=TAU_S)
        gains.append(found.peak_gain)
        forward.append(found.feed_forward)
        slowest.append(np.linalg.eigvals((matrix - np.eye(2)) / TAU_S).real.max())
    np.testing.assert_allclose(slowest, -1.0 / TAU_S, rtol=1e-9)
    np.testing.assert_allclose(np.array(gains) / forward, gains[0] / forward[0], rtol=1e-9)
    assert gains[-1] > 12.0 * gains[0]


@pytest.mark.parametrize("weights", [pair(3.0, 1.1), [[0.5, -2.0], [0.1, -0.6]], [[0.3, 0.0], [0.9, 0.3]]])
def test_closed_form_numerical_search_and_exponential_agree(weights):
    """Response and norm against SciPy's matrix exponential, 1e-12; the largest gain against the search, 1e-9."""
    weights = np.asarray(weights, float)
    found = balanced_amplification(weights, tau_s=TAU_S)
    matrix = (weights - np.eye(2)) / TAU_S
    for time_s in (0.0, 0.003, 0.02):
        power = scipy.linalg.expm(matrix * time_s)
        response = found.driven_pattern @ power @ found.driving_pattern
        assert response == pytest.approx(float(found.driven_response(time_s)), rel=1e-10, abs=1e-12)
        assert np.linalg.norm(power, 2) == pytest.approx(float(found.gain(time_s)), rel=1e-10)
    searched = transient_gain(matrix)
    assert searched.gain == pytest.approx(float(found.gain(searched.peak_s)), rel=1e-10)
    around = np.linspace(0.0, 0.1, 20001)
    assert searched.gain == pytest.approx(float(found.gain(around).max()), rel=1e-7)


def test_the_best_start_has_the_gain_that_was_promised():
    """A random stable matrix of ten: the start, run for the peak time, has the gain and no random start has more."""
    rng = np.random.default_rng(4)
    matrix = np.triu(rng.normal(size=(10, 10)) * 6.0, 1) - np.eye(10)
    found = transient_gain(matrix)
    power = scipy.linalg.expm(matrix * found.peak_s)
    assert np.linalg.norm(found.start) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(power @ found.start, found.gain * found.response, rtol=0, atol=1e-9 * found.gain)
    others = rng.normal(size=(10, 500))
    assert (np.linalg.norm(power @ others, axis=0) / np.linalg.norm(others, axis=0)).max() < found.gain
    assert float(found.curve.max()) <= found.gain * (1.0 + 1e-12)
    assert found.curve.values[0] == pytest.approx(1.0, rel=1e-14)


def test_what_only_decays_has_a_gain_of_one_at_once():
    """A symmetric matrix: the norm of its exponential falls from 1 on."""
    found = transient_gain(np.diag([-1.0, -3.0]))
    assert (found.gain, found.peak_s) == (1.0, 0.0)


def test_a_circuit_at_a_state_is_its_linear_flow():
    """Rectified units above threshold: ``(W - 1) / tau`` and so the pair's transient gain; a map: ``(J - 1) / dt``."""
    names = ("excitatory", "inhibitory")
    weights = pair(3.0, 1.1)
    circuit = Circuit(
        name="pair",
        form="rate",
        populations=tuple(
            Population(name=name, size=1, sign=name, activation=Activation(kind="relu"), tau_s=TAU_S, bias=1.0)
            for name in names
        ),
        projections=tuple(
            Projection(
                source=names[j], target=names[i], weights=WeightLaw(law="constant", mean=abs(weights[i, j])),
                allow_autapses=True,
            )
            for i in range(2)
            for j in range(2)
        ),
    )  # fmt: skip
    system = circuit_system(circuit)
    state = np.linalg.solve(np.eye(2) - weights, np.ones(2))
    np.testing.assert_allclose(generator(system, state), (weights - np.eye(2)) / TAU_S, rtol=1e-12)
    expected = transient_gain((weights - np.eye(2)) / TAU_S)
    assert transient_gain(system, state).gain == pytest.approx(expected.gain, rel=1e-9)
    system.is_flow = False
    move = -np.expm1(-system.dt_s / TAU_S)
    np.testing.assert_allclose(generator(system, state), move * (weights - np.eye(2)) / system.dt_s, rtol=1e-10)


def test_the_figure_marks_the_peak():
    """The annotation is the gain."""
    found = transient_gain((pair(3.0, 1.1) - np.eye(2)) / TAU_S)
    ax = found.plot()
    assert ax.texts[0].get_text() == f"{found.gain:.3g}"


def test_what_has_no_such_measure_is_refused():
    """No decay, complex eigenvalues, shapes, states missing or too many."""
    with pytest.raises(DataError, match=r"eigenvalue is 0\.5: what does not decay"):
        transient_gain([[0.5]])
    with pytest.raises(DataError, match="eigenvalues are complex"):
        balanced_amplification([[0.0, -2.0], [2.0, 0.0]], tau_s=TAU_S)
    with pytest.raises(DataError, match="expected one below 1"):
        balanced_amplification([[1.5, 0.0], [0.0, 0.0]], tau_s=TAU_S)
    with pytest.raises(DataError, match=r"expected \(2, 2\)"):
        balanced_amplification(np.eye(3), tau_s=TAU_S)
    with pytest.raises(DataError, match="expected a square one of finite numbers"):
        non_normality(np.zeros((2, 3)))
    with pytest.raises(OptionError, match="a matrix has no state"):
        generator(np.eye(2), np.zeros(2))
    circuit = Circuit(
        name="unit", populations=(Population(name="p", size=1, activation=Activation(kind="tanh"), tau_s=0.01),)
    )
    with pytest.raises(OptionError, match="linear only around a state"):
        generator(circuit)
    with pytest.raises(DataError, match="2 states were given"):
        generator(circuit, np.zeros((2, 1)))
