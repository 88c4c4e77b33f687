"""Published circuits do what their papers say. Oracles: the papers' numbers and theory, by a plain NumPy simulation."""

from __future__ import annotations

import runpy
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.optimize import brentq

from cortexrnn.circuit import audit_signs, build_inputs, build_weights, circuit_names, load_circuit, predict_spectrum
from cortexrnn.circuit.build import loadings
from cortexrnn.circuit.files import circuit_from_toml, circuit_to_toml

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "circuit_twin.py"))
NAMES = (
    "balanced_chaos",
    "hennequin_2018",
    "masse_2019",
    "mastrogiuseppe_ostojic_2018",
    "mi_katkov_tsodyks_2017",
    "mongillo_2008",
    "murphy_miller_2009",
    "rajan_abbott_2006",
    "rubin_2015",
    "sompolinsky_1988",
    "song_2016",
    "sparse_100k",
    "tsodyks_pawelzik_markram_1998",
    "van_vreeswijk_sompolinsky_1998",
    "wilson_cowan_1972",
)
ITEM_PULSE, ALL_PULSE = (1.0, 1.35), (2.55, 2.65)


def run(circuit, duration_s, dt_s, **options):
    """Simulate a circuit with the twin."""
    weights = build_weights(circuit)
    network = {
        "form": circuit.form,
        "static": weights.static,
        "plastic": weights.plastic,
        "stp": {name: asdict(stp) for name, stp in circuit.plasticity.items()},
        "tau_s": circuit.tau_s,
        "bias": circuit.bias,
        "shapes": [(circuit.slices[p.name], asdict(p.activation)) for p in circuit.populations],
        "rate_scale_hz": circuit.rate_scale_hz,
    }
    return TWIN["simulate"](network, duration_s=duration_s, dt_s=dt_s, **options)


def onsets(rate, level):
    """Steps at which a rate crosses a level upwards."""
    return np.flatnonzero((rate[1:] > level) & (rate[:-1] <= level)) + 1


def start_of(circuit, seed=1):
    """A random initial state of the circuit's own deviation."""
    return circuit.initial_sd * np.random.default_rng(seed).standard_normal(circuit.size)


def test_all_published_circuits_are_found_by_name():
    assert circuit_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_published_circuit_says_where_it_comes_from_and_what_was_chosen(name):
    circuit = load_circuit(name)
    assert circuit.name == name
    assert len(circuit.citation) > 60
    assert set(circuit.notes) == {"known", "chosen"}
    assert all(circuit.notes.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_published_circuit_comes_back_from_its_own_text(name):
    circuit = load_circuit(name)
    assert circuit_from_toml(circuit_to_toml(circuit).encode(), where=name) == circuit


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"sparse_100k"}))
def test_a_published_circuit_is_built_with_its_signs(name):
    circuit = load_circuit(name)
    weights = build_weights(circuit, np.float32)
    audit_signs(weights.total(), circuit.signs)
    assert weights.total().shape == (circuit.size, circuit.size)
    assert build_inputs(circuit).shape == (circuit.size, len(circuit.channels))


def test_sompolinsky_falls_silent_below_gain_1_and_goes_on_above():
    """Target C1: the deviation after 200 tau is below 1e-3 at gain 0.8 and above 0.3 at 1.5; 300 units here."""
    circuit = load_circuit("sompolinsky_1988")
    small = replace(
        circuit,
        populations=(replace(circuit.populations[0], size=300),),
        projections=(replace(circuit.projections[0], weights=replace(circuit.projections[0].weights, sd=300**-0.5)),),
    )
    for gain, is_silent in ((0.8, True), (1.5, False)):
        rates, _ = run(replace(small, gain=gain), 2.0, 1e-3, start=start_of(small))
        assert (rates[-1].std() < 1e-3) if is_silent else (rates[-1].std() > 0.3)


def test_balanced_chaos_goes_on_and_its_currents_cancel():
    """Rows sum to zero: what excitation brings, inhibition takes, to a tenth of either for rates of any pattern."""
    circuit = load_circuit("balanced_chaos")
    rates, _ = run(circuit, 2.0, 1e-3, start=start_of(circuit))
    late = rates[1000:]
    assert late.std(axis=0).mean() > 0.2
    # A trajectory that had come to rest or to a short cycle would repeat itself.
    assert np.abs(late[-1] - late[:-200]).mean(axis=1).min() > 0.05
    weights = build_weights(circuit).total()
    ones = np.ones(circuit.size)
    assert np.abs(weights @ ones).max() < 1e-10 * np.abs(weights).sum(axis=1).max()


def test_van_vreeswijk_currents_cancel_and_fix_the_rates():
    """Linear theory: r = (1, 1) up to the order of 1/sqrt(K) = 0.1, twice that here, and a net input that is small."""
    circuit = load_circuit("van_vreeswijk_sompolinsky_1998")
    rates, _ = run(circuit, 0.6, 5e-4, start=np.abs(start_of(circuit)))
    late = rates[600:]
    weights = build_weights(circuit).static
    excitation = (weights[:800, :800] @ late[:, :800].mean(axis=0)).mean() + 10.0
    inhibition = (weights[:800, 800:] @ late[:, 800:].mean(axis=0)).mean()
    assert late[:, :800].mean() == pytest.approx(1.0, abs=0.2)
    assert late[:, 800:].mean() == pytest.approx(1.0, abs=0.2)
    assert abs(excitation + inhibition) < 0.1 * excitation
    assert late.std(axis=0).mean() > 0.3


def test_murphy_miller_turns_a_difference_into_a_large_sum_that_dies():
    """Schur form by hand: eigenvalues 0 and -3/7, feed-forward weight 9; the response by the matrix exponential."""
    circuit = load_circuit("murphy_miller_2009")
    weights = build_weights(circuit).static
    rotation = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2.0)
    np.testing.assert_allclose(rotation @ weights @ rotation, [[-3.0 / 7.0, 9.0], [0.0, 0.0]], atol=1e-12)
    start = np.array([1.0, -1.0]) / np.sqrt(2.0)
    rates, _ = run(circuit, 0.1, 1e-5, start=start)
    sums = rates.sum(axis=1) / np.sqrt(2.0)
    exact = expm((weights - np.eye(2)) * 1.0) @ start
    np.testing.assert_allclose(rates[1000], exact, rtol=2e-3)
    # 9 / (1.4286 - 1) (e^-t - e^-1.4286 t) is largest at t = 0.832: 2.742.
    assert sums.max() == pytest.approx(2.742, rel=2e-3)
    assert abs(sums[-1]) < 0.01


def test_wilson_cowan_oscillates_with_its_drive_and_rests_without():
    """The paper's limit cycle; the period is ours, because the refractory factors are left out."""
    circuit = load_circuit("wilson_cowan_1972")
    rates, _ = run(circuit, 1.5, 1e-4, start=np.array([0.1, 0.05]))
    late = rates[5000:, 0]
    periods_s = np.diff(onsets(late, late.mean())) * 1e-4
    assert np.ptp(late) > 0.3
    np.testing.assert_allclose(periods_s, 0.080, rtol=0.02)
    rest = replace(circuit, populations=tuple(replace(p, bias=0.0) for p in circuit.populations))
    assert np.ptp(run(rest, 1.0, 1e-4, start=np.array([0.1, 0.05]))[0][5000:]) < 1e-6


def test_hennequin_rises_bends_and_falls():
    """Target C16 from the file: supralinear, then sublinear, then supersaturating."""
    circuit = load_circuit("hennequin_2018")
    found = [
        run(circuit, 0.6, 1e-4, stimulus=lambda t, h=h: np.full(2, h))[0][-1, 0] for h in (2.0, 5.0, 10.0, 15.0, 20.0)
    ]
    np.testing.assert_allclose(found, [3.261, 8.454, 10.667, 11.209, 11.087], atol=1e-3)


def test_rubin_adds_weak_gratings_to_more_and_strong_ones_to_less_than_their_sum():
    """Two orthogonal gratings: weight of summation above 1 at contrast 2, below 0.75 at contrast 40."""
    circuit = load_circuit("rubin_2015")
    angle = np.arange(180.0)

    def grating(orientation):
        distance = np.abs(angle - orientation)
        return np.tile(np.exp(-(np.minimum(distance, 180.0 - distance) ** 2) / (2.0 * 30.0**2)), 2)

    weights = {}
    for contrast in (2.0, 40.0):
        one, two = contrast * grating(45.0), contrast * grating(135.0)
        first, second, both = (
            run(circuit, 0.5, 2.5e-4, stimulus=lambda t, s=s: s)[0][-1, :180] for s in (one, two, one + two)
        )
        weights[contrast] = both @ (first + second) / ((first + second) @ (first + second))
        assert np.argmax(first) == 45
    assert weights[2.0] > 1.1
    assert weights[40.0] < 0.75
    kernel = build_weights(circuit).static
    # The paper's peak weights, and the sum of its Gaussian over the ring.
    np.testing.assert_allclose(kernel[[0, 180, 0, 180], [0, 0, 180, 180]], [0.044, 0.042, -0.023, -0.018], rtol=1e-6)
    np.testing.assert_allclose(kernel[0, :180].sum(), 0.044 * grating(0.0)[:180].size * 0.44343065, rtol=1e-6)


def test_tsodyks_pawelzik_markram_bursts_until_its_drive_makes_it_steady():
    """Bursts of the depressing loop at the file's background; steady with 2 more, silent with 2 less."""
    circuit = load_circuit("tsodyks_pawelzik_markram_1998")
    rates, states = run(circuit, 5.0, 5e-4)
    burst_hz = 1.5 * rates[4000:, 0]
    periods_s = np.diff(onsets(burst_hz, burst_hz.mean())) * 5e-4
    assert burst_hz.max() > 7.0
    np.testing.assert_allclose(periods_s, 0.86, rtol=0.05)
    u, x = states["depressing"]
    np.testing.assert_array_equal(u, 0.5)
    # A burst takes a quarter of what synapses had.
    assert x[4000:, 0].min() < 0.8 * x[4000:, 0].max()
    steady, silent = (
        1.5 * run(circuit, 3.0, 5e-4, stimulus=lambda t, s=s: np.array([s, 0.0]))[0][4000:, 0] for s in (2.0, -2.0)
    )
    assert np.ptp(steady) < 0.01
    assert steady.mean() == pytest.approx(2.7, abs=0.1)
    assert silent.max() < 0.2


@pytest.mark.parametrize("is_loaded", [True, False])
def test_mongillo_wakes_the_loaded_item_alone(is_loaded):
    """Target C14: silent before the pulse to all, with u above that of the others, and then far above them."""
    circuit = load_circuit("mongillo_2008")

    def stimulus(t):
        current = np.zeros(6)
        current[0] = 20.0 * (is_loaded and ITEM_PULSE[0] <= t < ITEM_PULSE[1])
        current[:5] += 8.0 * (ALL_PULSE[0] <= t < ALL_PULSE[1])
        return current

    rates, states = run(circuit, 3.5, 5e-4, stimulus=stimulus, start=np.full(6, -3.0))
    rate_hz, before = 1.5 * rates, round(ALL_PULSE[0] / 5e-4) - 10
    assert rate_hz[before, :5].max() < 0.3
    peaks = rate_hz[before:, :5].max(axis=0)
    if is_loaded:
        assert states["facilitating"][0][before, 0] > 1.5 * states["facilitating"][0][before, 1]
        assert peaks[0] > 5.0 * peaks[1:].max()
    else:
        np.testing.assert_allclose(peaks, peaks[0], rtol=1e-9)


@pytest.mark.parametrize("facilitates", [True, False])
def test_a_loaded_item_of_mi_keeps_emitting_population_spikes(facilitates):
    """Peak about 133 Hz every 264 to 272 ms, 10 %, unloaded clusters below 1 Hz; without facilitation nothing."""
    circuit = load_circuit("mi_katkov_tsodyks_2017")
    if not facilitates:
        stp = replace(circuit.plasticity["facilitating"], tau_f_s=0.0)
        circuit = replace(circuit, plasticity={"facilitating": stp})

    def stimulus(t):
        current = np.zeros(17)
        current[0] = 365.0 / 1.5 * (0.3 <= t < 0.33)
        return current

    rates, _ = run(circuit, 2.5, 1e-4, stimulus=stimulus)
    late_hz = 1.5 * rates[8000:]
    spikes = onsets(late_hz[:, 0], 20.0)
    if not facilitates:
        assert late_hz.max(initial=0.0, where=np.arange(17) < 16) < 1.0
        return
    np.testing.assert_allclose(np.diff(spikes) * 1e-4, 0.268, rtol=0.1)
    assert late_hz[:, 0].max() == pytest.approx(133.0, rel=0.1)
    assert late_hz[:, 1:16].max() < 1.0
    assert late_hz[:, 1:16].mean() == pytest.approx(0.25, abs=0.1)
    # The last spike is not the end of it.
    assert len(late_hz) - spikes[-1] < 3200


def test_mastrogiuseppe_rests_along_its_loading():
    """Mean field: 1 = s E[1 - tanh^2(sqrt(D) z)], kappa^2 = D - g^2 E[tanh^2], with the drawn overlap s; 8 %."""
    circuit = load_circuit("mastrogiuseppe_ostojic_2018")
    m, n = loadings(circuit, circuit.low_rank_terms[0], 0)
    overlap = m @ n / circuit.size
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()

    def square(variance):
        return weight @ np.tanh(np.sqrt(variance) * z) ** 2

    variance = brentq(lambda d: 1.0 - overlap * (1.0 - square(d)), 1e-6, 50.0)
    rates, _ = run(circuit, 0.5, 5e-4, start=start_of(circuit))
    assert np.abs(rates[-1] - rates[-100]).max() < 1e-6
    assert abs(n @ rates[-1]) / circuit.size == pytest.approx(np.sqrt(variance - 0.64 * square(variance)), rel=0.08)
    assert brentq(lambda d: 1.0 - 2.0 * (1.0 - square(d)), 1e-6, 50.0) == pytest.approx(1.787, abs=1e-3)


def test_the_sparse_network_is_balanced_and_chaotic_without_a_stored_weight():
    """By hand: 800 x 0.025 = 200 x 0.1, radius 1.573; a network of 2000 with the same in-degrees goes on."""
    circuit = load_circuit("sparse_100k")
    assert circuit.size == 100_000
    assert {p.weights.law for p in circuit.projections} == {"constant"}
    assert [p.in_degree for p in circuit.projections] == [800, 200, 800, 200]
    predicted = predict_spectrum(circuit)
    assert predicted.radius == pytest.approx(np.sqrt(0.99 * (800 * 0.025**2 + 200 * 0.1**2)), rel=1e-4)
    assert predicted.outliers.size == 0
    assert predicted.is_tight
    populations = tuple(replace(p, size=p.size // 50) for p in circuit.populations)
    small = replace(circuit, populations=populations, gain=1.573, balance="")
    weights = build_weights(small).static
    assert np.abs(weights.sum(axis=1)).max() < 1e-10
    rates, _ = run(small, 0.5, 2e-3, start=start_of(small))
    assert rates[-1].std() > 0.2
