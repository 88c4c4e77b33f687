"""Mean field theory of rank-one networks.

Oracle: drawn networks iterated to their fixed points, the eigenvalues of their Jacobians, and limits in closed form.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexrnn.circuit import Circuit
from cortexrnn.circuit.build import loadings
from cortexrnn.dynamics import Record, simulate
from cortexrnn.errors import OptionError
from cortexrnn.theory.mean_field import dmft, rank_one, rank_one_curve

# The note of models/mastrogiuseppe_ostojic_2018.toml: overlap 2, gain 0.8.
NOTE = {"current_variance": 1.787, "kappa": 1.212}


def fixed_point(overlap, gain, n, seed):
    """Draw a network with exactly that overlap and relax it: currents, Jacobian without leak, kappa."""
    rng = np.random.default_rng(seed)
    m = rng.standard_normal(n)
    m /= math.sqrt(np.mean(m**2))
    random = rng.standard_normal((n, n)) * gain / math.sqrt(n)
    x = m.copy()
    for _ in range(500):
        x = 0.5 * x + 0.5 * (m * overlap * np.mean(m * np.tanh(x)) + random @ np.tanh(x))
    weights = random + np.outer(m, overlap * m) / n
    return x, weights * (1.0 - np.tanh(x) ** 2), overlap * np.mean(m * np.tanh(x))


@pytest.mark.parametrize(("overlap", "kappa"), [(1.5, 0.843), (2.0, 1.337), (3.0, 2.222)])
def test_published_activity_comes_out(overlap, kappa):
    # A table of three decimals, cut rather than rounded in places.
    assert rank_one(overlap).kappa == pytest.approx(kappa, abs=1e-3)


def test_the_self_consistency_holds_by_another_quadrature():
    found = rank_one(2.0)
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    mean = 2.0 * np.sum(weights * (1.0 - np.tanh(found.kappa * z) ** 2)) / weights.sum()
    # Gauss-Hermite with 200 points and poles at 1.17: about exp(-2 * 1.17 * 14), and the root: 1e-12.
    assert mean == pytest.approx(1.0, abs=1e-11)


def test_with_a_random_part_the_noted_values_come_out():
    found = rank_one(2.0, gain=0.8)
    assert found.phase == "structured"
    assert found.current_variance == pytest.approx(NOTE["current_variance"], abs=1e-3)
    assert found.kappa == pytest.approx(NOTE["kappa"], abs=1e-3)


def test_right_above_an_overlap_of_one_kappa_grows_as_the_root():
    # 1 = s (1 - kappa^2 + ...): kappa = sqrt(s - 1), with terms of relative order s - 1.
    assert rank_one(1.0001).kappa == pytest.approx(0.01, rel=1e-3)


def test_large_overlaps_have_the_activity_of_sign_units():
    assert rank_one(50.0).kappa == pytest.approx(50.0 * math.sqrt(2.0 / math.pi), rel=1e-3)


@pytest.mark.parametrize("overlap", [-2.0, 0.0, 0.5, 1.0])
def test_without_overlap_and_gain_there_is_silence_which_is_stable_below_one(overlap):
    found = rank_one(overlap)
    assert (found.phase, found.kappa, found.current_variance) == ("silent", 0.0, 0.0)
    assert found.is_stable == (overlap < 1.0)


def test_strong_random_parts_leave_the_chaos_of_the_random_part_alone():
    found = rank_one(1.2, gain=1.5)
    assert found.phase == "chaos"
    assert found.current_variance == dmft(1.5).current_variance
    assert not found.is_stable


@pytest.mark.parametrize(("overlap", "gain"), [(1.3, 0.5), (2.0, 1.2)])
def test_drawn_networks_have_the_predicted_fixed_point(overlap, gain):
    found = rank_one(overlap, gain=gain)
    drawn = [fixed_point(overlap, gain, 1000, seed) for seed in (1, 2, 3)]
    # Means over three networks of 1000: five standard errors of 1 % each.
    assert np.mean([abs(kappa) for *_, kappa in drawn]) == pytest.approx(found.kappa, rel=0.05)
    assert np.mean([np.mean(x**2) for x, *_ in drawn]) == pytest.approx(found.current_variance, rel=0.08)


def test_the_outlier_and_the_bulk_of_the_jacobian_are_predicted():
    found = rank_one(1.2, gain=0.4)
    (outlier,) = found.outliers
    values = np.concatenate([np.linalg.eigvals(fixed_point(1.2, 0.4, 400, seed)[1])[None] for seed in (1, 2, 3)])
    largest = np.array([each[np.argmax(np.abs(each))] for each in values])
    assert np.abs(largest.imag).max() == 0.0
    # Single draws of 400 scatter by 0.02; the bulk's edge is rounded by N^-1/2.
    assert np.mean(largest.real) == pytest.approx(outlier.real, abs=0.03)
    bulk = np.array([np.sort(np.abs(each))[-2] for each in values])
    assert np.mean(bulk) == pytest.approx(found.bulk_radius, rel=0.08)
    assert found.is_stable


def test_without_a_random_part_the_outlier_is_the_slope_of_the_map_of_kappa():
    overlap, step = 2.0, 1e-4
    found = rank_one(overlap)
    z, weights = np.polynomial.hermite_e.hermegauss(200)

    def image(kappa):
        return overlap * np.sum(weights * z * np.tanh(kappa * z)) / weights.sum()

    slope = (image(found.kappa + step) - image(found.kappa - step)) / (2.0 * step)
    # Central differences: step squared.
    assert found.outliers[0] == pytest.approx(slope, abs=1e-7)


def test_where_stationary_activity_becomes_unstable_the_fluctuating_one_begins():
    below, above = rank_one(2.0, gain=1.645), rank_one(2.0, gain=1.66)
    assert (below.phase, above.phase) == ("structured", "structured chaos")
    assert above.kappa == pytest.approx(below.kappa, abs=0.03)
    assert 0.95 * above.current_variance < above.static_variance < above.current_variance


def test_where_kappa_vanishes_the_fluctuating_state_is_that_of_the_random_part():
    # The overlap at which D equals that of the random part: kappa and the static variance go to zero there.
    gain = 1.9
    overlap = 1.0 / mean_slope_of(dmft(gain).current_variance)
    found = rank_one(overlap * 1.0005, gain=gain)
    assert found.phase == "structured chaos"
    assert found.kappa < 0.06
    assert found.static_variance < 0.02
    assert rank_one(overlap * 0.9995, gain=gain).phase == "chaos"


def mean_slope_of(variance):
    """Give E[tanh'] by Gauss-Hermite."""
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    return np.sum(weights * (1.0 - np.tanh(math.sqrt(variance) * z) ** 2)) / weights.sum()


@pytest.mark.slow
def test_a_simulated_network_has_the_predicted_static_part_in_structured_chaos():
    found = rank_one(3.0, gain=2.4)
    assert found.phase == "structured chaos"
    kappas, statics = [], []
    for seed in range(6):
        circuit = Circuit.low_rank(1000, 3.0, gain=2.4, seed=seed)
        m, n = loadings(circuit, circuit.low_rank_terms[0], 0)
        run = simulate(circuit, duration_s=1.5, dt_s=1e-3, initial=2.0 * m, record=Record(start_s=0.5, every=5))
        rate = run["rate"].values[0]
        kappas.append(abs(np.mean(rate @ n) / n.size))
        x = np.arctanh(np.clip(rate, -1 + 1e-12, 1 - 1e-12))
        statics.append(np.mean(x.mean(axis=0) ** 2))
    # Draws of 1000 scatter by a fifth in kappa and a quarter in the variance: two standard errors of six.
    assert np.mean(kappas) == pytest.approx(found.kappa, rel=0.17)
    assert np.mean(statics) == pytest.approx(found.static_variance, rel=0.2)


def test_a_curve_holds_what_single_calls_give():
    curve = rank_one_curve([0.5, 1.5, 2.0], gain=0.8)
    assert curve["phase"].values.tolist() == ["silent", "structured", "structured"]
    assert float(curve["kappa"][2]) == rank_one(2.0, gain=0.8).kappa


def test_the_figure_marks_both_states():
    ax = rank_one(2.0).plot()
    marked = [line for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(marked[0].get_ydata(), [1.3371, -1.3371], atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"overlap": math.nan}, "overlap"),
        ({"overlap": "2"}, "overlap"),
        ({"overlap": 51.0}, "larger than 50"),
        ({"overlap": 2.0, "gain": -1.0}, "gain"),
        ({"overlap": 2.0, "gain": 31.0}, "expected 0 to 1"),
    ],
)
def test_what_cannot_be_solved_is_refused(arguments, words):
    with pytest.raises(OptionError, match=words):
        rank_one(**arguments)
