"""Short-term plasticity: closed forms, the slow twin, Poisson averages, and what peers get wrong."""

from __future__ import annotations

import itertools
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from scipy.optimize import minimize_scalar

from cortexrnn.cells.stp import (
    CONVENTIONS,
    ShortTermPlasticity,
    poisson_average,
    release_train,
    release_trains,
)
from cortexrnn.cells.stp_kernels import (
    MONGILLO2008,
    advance_rates,
    rate_derivatives,
    rate_step,
    release_rates,
    release_spikes,
)
from cortexrnn.errors import DataError, OptionError

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "stp_twin.py"))
# Mongillo, Barak and Tsodyks (2008), Masse et al. (2019) twice, depression alone, and an edge.
PARAMETERS = {
    "mongillo": (0.2, 1.5, 0.2),
    "facilitating": (0.15, 1.5, 0.2),
    "depressing": (0.45, 0.2, 1.5),
    "depression only": (0.5, 0.0, 0.8),
    "all at once": (1.0, 0.3, 0.3),
}
ALL_STP = {
    f"{name} {convention}": ShortTermPlasticity(U=U, tau_f_s=tau_f_s, tau_d_s=tau_d_s, convention=convention)
    for name, (U, tau_f_s, tau_d_s) in PARAMETERS.items()
    for convention in CONVENTIONS
}
RATES_HZ = np.array([0.0, 0.3, 3.0, 20.0, 300.0])


def _rest(stp):
    return stp.U if stp.convention == "mongillo2008" else 0.0


def _by_twin(stp, times_s):
    return TWIN["release_train"](times_s, stp.U, stp.tau_f_s, stp.tau_d_s, _rest(stp))


def _trains(seed, n_trains):
    """Random trains of 0 to 60 spikes, in flat times and offsets; some spikes coincide."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 60, n_trains)
    counts[[0, n_trains // 2, -1]] = 0
    trains = [np.sort(rng.uniform(-3.0, 3.0, n).round(2)) for n in counts]
    return np.concatenate(trains), np.concatenate([[0], np.cumsum(counts)])


@njit
def _step(state, rate_hz, dt_s, law):
    return rate_step(state[0], state[1], rate_hz, dt_s, law.U, law.tau_f_s, law.tau_d_s, law.convention)


@njit
def _derivatives(state, rate_hz, law):
    return rate_derivatives(state[0], state[1], rate_hz, law.U, law.tau_f_s, law.tau_d_s, law.convention)


def _advance(stp, state, rate_hz, dt_s, n_steps):
    """State after some steps at a constant rate."""
    state = tuple(map(float, state))
    for _ in range(n_steps):
        state = _step(state, float(rate_hz), dt_s, stp.law)
    return np.array(state)


def _argmax(function, high):
    """Where a function of one peak between 0 and `high` is largest."""
    options = {"xatol": 1e-7}
    return minimize_scalar(lambda at: -function(at), bounds=(0.0, high), method="bounded", options=options).x


@pytest.mark.parametrize("name", ALL_STP)
def test_releases_of_many_trains_equal_the_slow_twin(name):
    stp = ALL_STP[name]
    times_s, offsets = _trains(1, 100)
    # More spikes than a block of the kernel, so that trains straddle its edge.
    assert times_s.size > 2000
    found = np.array(release_trains(stp, times_s, offsets))
    expected = np.concatenate([_by_twin(stp, times_s[a:b]) for a, b in itertools.pairwise(offsets)], 1)
    # Round-off of recurrences that contract.
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ALL_STP)
def test_release_is_used_times_found(name):
    times_s, offsets = _trains(2, 10)
    release, u, x = release_trains(ALL_STP[name], times_s, offsets)
    np.testing.assert_array_equal(release, u * x)


@pytest.mark.parametrize("rate_hz", [0.2, 5.0, 20.0, 200.0])
@pytest.mark.parametrize("name", ALL_STP)
def test_a_regular_train_approaches_its_closed_form(name, rate_hz):
    stp = ALL_STP[name]
    n_spikes = math.ceil(40.0 * (1.0 + rate_hz * max(stp.tau_f_s, stp.tau_d_s)))
    found = release_train(stp, np.arange(n_spikes) / rate_hz)
    steady = stp.regular_train(rate_hz)
    # The start is forgotten to exp(-40); spike times of some hundred seconds have a rounding of 3e-14 s.
    expected = [steady.efficacy, steady.u, steady.x]
    np.testing.assert_allclose([column[-1] for column in found], expected, rtol=1e-9)
    np.testing.assert_allclose(steady.release_hz, steady.efficacy * rate_hz, rtol=1e-15)


def test_amplitudes_of_a_depressing_train_follow_the_geometric_recursion():
    """Tsodyks and Markram (1997): x after k spikes is a geometric sum; every spike uses U."""
    stp = ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.8)
    left = math.exp(-0.05 / 0.8)
    ratio, n = 0.5 * left, np.arange(30)
    x = ratio**n + (1.0 - left) * (1.0 - ratio**n) / (1.0 - ratio)
    np.testing.assert_allclose(release_train(stp, 0.05 * n).release, 0.5 * x, rtol=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_utilisation_of_a_facilitating_train_is_a_geometric_sum(convention):
    stp = ShortTermPlasticity(U=0.15, tau_f_s=1.5, tau_d_s=0.2, convention=convention)
    ratio, n = 0.85 * math.exp(-0.05 / 1.5), np.arange(40)
    first = 0.15 if convention == "tsodyks1998" else 0.15 * 1.85
    steady = (first - ratio * _rest(stp)) / (1.0 - ratio)
    expected = steady + (first - steady) * ratio**n
    np.testing.assert_allclose(release_train(stp, 0.05 * n).u, expected, rtol=1e-9)


@pytest.mark.parametrize("name", ALL_STP)
def test_two_spikes_by_hand(name):
    stp = ALL_STP[name]
    release, u, x = release_train(stp, [0.0, 0.1])
    first = stp.U + (1.0 - stp.U) * _rest(stp) if stp.tau_f_s > 0.0 else stp.U
    decayed = _rest(stp) + (first - _rest(stp)) * math.exp(-0.1 / stp.tau_f_s) if stp.tau_f_s > 0.0 else 0.0
    second = decayed + stp.U * (1.0 - decayed) if stp.tau_f_s > 0.0 else stp.U
    recovered = 1.0 - first * math.exp(-0.1 / stp.tau_d_s)
    np.testing.assert_allclose(u, [first, second], rtol=1e-14)
    np.testing.assert_allclose(x, [1.0, recovered], rtol=1e-14)
    np.testing.assert_allclose(release, [first, second * recovered], rtol=1e-14)


def test_decay_to_U_and_release_before_the_jump_gives_the_releases_of_tsodyks1998():
    rng = np.random.default_rng(3)
    for _ in range(20):
        U, tau_f_s, tau_d_s = rng.uniform([0.02, 0.01, 0.01], [1.0, 2.0, 2.0])
        times_s = np.sort(rng.uniform(0.0, 3.0, 50))
        ours = release_train(ShortTermPlasticity(U=U, tau_f_s=tau_f_s, tau_d_s=tau_d_s), times_s).release
        # Round-off of two orders of the same recurrence.
        np.testing.assert_allclose(TWIN["release_before_jump"](times_s, U, tau_f_s, tau_d_s), ours, rtol=1e-11)


@pytest.mark.parametrize(("convention", "first"), [("tsodyks1998", 0.5), ("mongillo2008", 0.75)])
def test_nothing_is_released_after_depletion(convention, first):
    """A peer depletes x first and then releases u x: 0.75 * 0.25 at rest with U = 0.5."""
    stp = ShortTermPlasticity(U=0.5, tau_f_s=1.5, tau_d_s=0.2, convention=convention)
    release, u, x = release_train(stp, [0.0, 0.0])
    assert release[0] == first
    # What the first released is missing at once for the second, and nothing else is.
    assert x.tolist() == [1.0, 1.0 - first]
    assert release[0] != u[0] * (1.0 - u[0])


def test_a_rate_raises_the_utilisation():
    """A peer has the wrong sign before U (1 - u) r, and its facilitation depresses."""
    stp = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
    # At rest only the jumps move u: U (1 - U) r.
    by_u, _ = _derivatives((0.2, 1.0), 10.0, stp.law)
    assert by_u == pytest.approx(0.2 * 0.8 * 10.0, rel=1e-15)
    assert (np.diff(stp.steady_state(RATES_HZ).u) > 0.0).all()
    assert _advance(stp, (0.2, 1.0), 10.0, 0.01, 1)[0] > 0.2
    assert (np.diff(release_train(stp, 0.05 * np.arange(20)).u) > 0.0).all()


@pytest.mark.parametrize("start_s", [0.0, -7.0, 1e6])
@pytest.mark.parametrize("name", ALL_STP)
def test_first_release_is_not_depressed_whenever_it_comes(name, start_s):
    """A peer's first response was already depressed, because it let the time before it count as an interval."""
    stp = ALL_STP[name]
    is_raised = stp.convention == "mongillo2008" and stp.tau_f_s > 0.0
    release, _, x = release_train(stp, [start_s])
    assert x[0] == 1.0
    assert release[0] == pytest.approx(stp.U * (2.0 - stp.U) if is_raised else stp.U, rel=1e-15)


def test_trains_do_not_see_each_other():
    stp = ALL_STP["mongillo mongillo2008"]
    times_s, offsets = _trains(4, 30)
    together = np.array(release_trains(stp, times_s, offsets))
    for a, b in itertools.pairwise(offsets):
        np.testing.assert_array_equal(together[:, a:b], np.array(release_train(stp, times_s[a:b])))


def test_no_spikes_release_nothing():
    stp = ALL_STP["mongillo tsodyks1998"]
    assert [column.size for column in release_train(stp, [])] == [0, 0, 0]
    assert [column.size for column in release_trains(stp, [], [0, 0, 0])] == [0, 0, 0]


@pytest.mark.parametrize(
    ("times_s", "offsets", "message"),
    [
        ([0.0, 0.2, 0.1], [0, 3], r"spike 2 of train 0 is at 0\.1 s"),
        ([5.0, 1.0, 0.5], [0, 1, 3], r"spike 1 of train 1 is at 0\.5 s"),
        ([0.0, math.nan, 0.1], [0, 3], "spike 1 of train 0 is at nan s"),
        ([0.0, 1.0, math.nan], [0, 2, 2, 3], "spike 0 of train 2 is at nan s"),
        ([-math.inf, 1.0], [0, 2], "spike 0 of train 0 is at -inf s"),
        ([0.0, math.inf], [0, 2], "spike 1 of train 0 is at inf s"),
        ([-1.7e308, 1.7e308], [0, 2], r"spike 1 of train 0 is at 1\.7e\+308 s"),
        ([0.0, 1.0], [0, 1], r"offsets=\[0 1\] do not cut 2 spikes into trains"),
        ([0.0, 1.0], [0, 2, 1, 2], "do not cut 2 spikes into trains"),
        ([0.0, 1.0], [], "do not cut 2 spikes into trains"),
        ([0.0, 1.0], [0.0, 2.0], "do not cut 2 spikes into trains. Expected whole numbers"),
        ([[0.0, 1.0]], [0, 2], r"spike_times_s has shape \(1, 2\)"),
    ],
)
def test_trains_that_are_none_are_refused(times_s, offsets, message):
    with pytest.raises(DataError, match=message):
        release_trains(ALL_STP["mongillo tsodyks1998"], times_s, offsets)


@pytest.mark.parametrize("name", ALL_STP)
def test_rate_form_reaches_its_steady_state_from_rest_and_from_nothing(name):
    stp = ALL_STP[name]
    for rate_hz in RATES_HZ:
        steady = stp.steady_state(rate_hz)
        for start in ((stp.U, 1.0), (0.0 if stp.tau_f_s > 0.0 else stp.U, 0.0)):
            # Twenty time constants leave 2e-9 of the way.
            found = _advance(stp, start, rate_hz, 0.01, 3000)
            np.testing.assert_allclose(found, [steady.u, steady.x], rtol=1e-6)


@pytest.mark.parametrize("dt_s", [1e-4, 0.01, 1.0, 1e6])
@pytest.mark.parametrize("name", ALL_STP)
def test_steady_state_stays_where_it_is(name, dt_s):
    stp = ALL_STP[name]
    for rate_hz in RATES_HZ:
        steady = stp.steady_state(rate_hz)
        found = _advance(stp, (steady.u, steady.x), rate_hz, dt_s, 1)
        np.testing.assert_allclose(found, [steady.u, steady.x], rtol=1e-12)
        # The derivative is a difference of terms of up to 300 / s.
        assert np.abs(_derivatives((float(steady.u), float(steady.x)), float(rate_hz), stp.law)).max() < 1e-12


@pytest.mark.parametrize("name", [name for name, stp in ALL_STP.items() if stp.tau_f_s > 0.0])
def test_one_step_is_second_order(name):
    stp = ALL_STP[name]
    start, rate_hz, duration_s = (0.9, 0.3), 8.0, 0.4
    parameters = (stp.U, stp.tau_f_s, stp.tau_d_s, stp.law.convention == MONGILLO2008)
    truth = TWIN["mean_field"](start, rate_hz, duration_s, 20_000, parameters)
    errors = [abs(_advance(stp, start, rate_hz, duration_s / n, n)[1] - truth[1]) for n in (64, 128, 256)]
    # With U = 1 the used fraction of mongillo2008 is 1 whatever u, and the step is exact.
    if stp.U == 1.0 and stp.convention == "mongillo2008":
        assert max(errors) < 1e-12
        return
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2.0, atol=0.05)


@pytest.mark.parametrize("name", ALL_STP)
def test_u_and_x_without_facilitation_or_without_rate_are_exact_at_any_step(name):
    stp = ALL_STP[name]
    if stp.tau_f_s == 0.0:
        # x alone relaxes towards 1 / (1 + U tau_d r) at the rate 1 / tau_d + U r.
        towards, relaxation_hz = 1.0 / (1.0 + stp.U * stp.tau_d_s * 5.0), 1.0 / stp.tau_d_s + stp.U * 5.0
        expected = (stp.U, towards + (0.3 - towards) * math.exp(-relaxation_hz * 0.37))
        np.testing.assert_allclose(_advance(stp, (stp.U, 0.3), 5.0, 0.37, 1), expected, rtol=1e-14)
    else:
        u = stp.U + (0.1 - stp.U) * math.exp(-0.37 / stp.tau_f_s)
        x = 1.0 - 0.7 * math.exp(-0.37 / stp.tau_d_s)
        np.testing.assert_allclose(_advance(stp, (0.1, 0.3), 0.0, 0.37, 1), (u, x), rtol=1e-14)


@pytest.mark.parametrize("name", ALL_STP)
def test_the_step_moves_as_the_derivatives_say(name):
    stp = ALL_STP[name]
    state = (0.4 if stp.tau_f_s > 0.0 else stp.U, 0.6)
    step_s = 1e-6
    moved = (_advance(stp, state, 7.0, step_s, 1) - state) / step_s
    # Half a step times a second derivative of at most 200, and a rounding of 1e-16 divided by the step.
    np.testing.assert_allclose(moved, _derivatives(state, 7.0, stp.law), rtol=0.0, atol=100.0 * step_s + 1e-9)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ALL_STP)
def test_array_kernels_equal_the_scalar_step_in_both_precisions(name, dtype):
    stp = ALL_STP[name]
    rng = np.random.default_rng(5)
    u, x = rng.random((2, 77)).astype(dtype)
    rate_hz = rng.exponential(20.0, 77).astype(dtype)
    before_u, before_x, release = u.copy(), x.copy(), np.empty_like(u)
    advance_rates(u, x, rate_hz, 0.005, stp.law)
    release_rates(before_u, before_x, rate_hz, stp.law, release)
    scalar = [_advance(stp, pair, r, 0.005, 1) for *pair, r in zip(before_u, before_x, rate_hz, strict=True)]
    v = before_u + stp.U * (1.0 - before_u) if name.endswith("mongillo2008") and stp.tau_f_s > 0.0 else before_u
    # A few roundings of either precision.
    np.testing.assert_allclose(np.stack([u, x], 1), scalar, rtol=10 * np.finfo(dtype).eps)
    np.testing.assert_allclose(release, v * before_x * rate_hz, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_negative_rate_counts_as_none_and_nan_stays_nan(dtype):
    stp = ALL_STP["mongillo tsodyks1998"]
    rate_hz = np.array([-5.0, 0.0, np.nan], dtype)
    u, x, release = np.full(3, 0.7, dtype), np.full(3, 0.4, dtype), np.empty(3, dtype)
    release_rates(u, x, rate_hz, stp.law, release)
    advance_rates(u, x, rate_hz, 0.01, stp.law)
    for column in (u, x, release):
        assert column[0] == column[1]
        assert np.isnan(column[2])
    assert release[0] == 0.0
    assert _derivatives((0.7, 0.4), -5.0, stp.law) == _derivatives((0.7, 0.4), 0.0, stp.law)


def test_kernels_have_one_specialisation_a_precision():
    stp = ALL_STP["mongillo tsodyks1998"]
    for dtype in (np.float32, np.float64):
        u, x, rate, out = np.zeros((4, 3), dtype)
        advance_rates(u, x, rate, 0.01, stp.law)
        release_rates(u, x, rate, stp.law, out)
    release_train(stp, [0.0])
    release_train(ALL_STP["depression only mongillo2008"], [0.0])
    assert len(release_spikes.signatures) == 1
    for kernel in (advance_rates, release_rates):
        assert len(kernel.signatures) == 2, kernel.signatures


@pytest.mark.parametrize(
    ("name", "peak_hz"),
    [
        ("mongillo tsodyks1998", 2.985),
        ("facilitating tsodyks1998", 3.679),
        ("mongillo mongillo2008", 2.066),
        ("facilitating mongillo2008", 2.774),
    ],
)
def test_published_facilitating_synapses_peak_at_the_known_rate(name, peak_hz):
    # The numbers are rounded to the third digit.
    assert ALL_STP[name].peak_rate_hz == pytest.approx(peak_hz, abs=5e-4)
    assert ALL_STP[name].is_facilitating


def test_peak_rate_is_where_the_release_per_spike_is_largest():
    rng = np.random.default_rng(6)
    n_facilitating = 0
    for convention in CONVENTIONS * 20:
        U, tau_f_s, tau_d_s = rng.uniform([0.02, 0.1, 0.05], [0.6, 2.0, 1.0])
        stp = ShortTermPlasticity(U=U, tau_f_s=tau_f_s, tau_d_s=tau_d_s, convention=convention)
        # The search is bounded: a depressing synapse ends at its lower edge.
        best = _argmax(lambda rate_hz, stp=stp: float(stp.steady_state(rate_hz).efficacy), 200.0)
        # A maximum is known to the root of the rounding of its value.
        assert stp.peak_rate_hz == pytest.approx(best, abs=1e-4)
        assert stp.is_facilitating == (best > 1e-3)
        if convention == "tsodyks1998":
            assert stp.is_facilitating == (U * (tau_f_s + tau_d_s) < tau_f_s)
        else:
            assert stp.is_facilitating == ((1.0 - U) ** 2 * tau_f_s > U * (2.0 - U) ** 2 * tau_d_s)
        n_facilitating += stp.is_facilitating
    assert 5 < n_facilitating < 35


@pytest.mark.parametrize("name", ALL_STP)
def test_release_per_second_approaches_one_over_tau_d(name):
    stp = ALL_STP[name]
    release_hz = stp.steady_state(np.array([1e3, 1e6, 1e9])).release_hz
    assert (np.diff(release_hz) > 0.0).all()
    # 1 / (1 + 1 / (v tau_d r)) at v of at least 0.15, tau_d of at least 0.2 s.
    assert release_hz[-1] == pytest.approx(stp.limit_hz, rel=1e-7)
    assert stp.limit_hz == 1.0 / stp.tau_d_s


def test_steady_state_equals_the_published_formulas():
    """Tsodyks, Pawelzik and Markram (1998): u = U (1 + tau_f r) / (1 + U tau_f r), x = 1 / (1 + u tau_d r)."""
    steady = ALL_STP["mongillo tsodyks1998"].steady_state([0.0, 10.0])
    np.testing.assert_allclose(steady.u, [0.2, 0.2 * 16.0 / 4.0], rtol=1e-15)
    np.testing.assert_allclose(steady.x, [1.0, 1.0 / (1.0 + 0.8 * 0.2 * 10.0)], rtol=1e-15)
    np.testing.assert_allclose(steady.efficacy, [0.2, 0.8 / 2.6], rtol=1e-15)
    np.testing.assert_allclose(steady.release_hz, [0.0, 8.0 / 2.6], rtol=1e-15)


@pytest.mark.parametrize("rate_hz", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("name", ALL_STP)
def test_poisson_average_is_the_mean_field_and_the_covariance(name, rate_hz):
    stp = ALL_STP[name]
    average, steady = poisson_average(stp, rate_hz, seed=7), stp.steady_state(rate_hz)
    used = float(steady.efficacy / steady.x)
    # u obeys a linear equation, so its mean field is exact; four standard errors, and round-off where u never moves.
    assert abs(average.u - used) < 4.0 * average.u_error + 1e-12
    # Resources that come back are those released: (1 - x) / tau_d = r (u x), exactly.
    returned = (1.0 - average.x) / (stp.tau_d_s * rate_hz)
    error = average.release_error + average.x_error / (stp.tau_d_s * rate_hz)
    assert abs(average.release - returned) < 4.0 * error
    # The same balance with the covariance c: x = (1 - c tau_d r) / (1 + u tau_d r).
    corrected = (1.0 - average.covariance * stp.tau_d_s * rate_hz) / (1.0 + used * stp.tau_d_s * rate_hz)
    assert abs(average.x - corrected) < 4.0 * error * stp.tau_d_s * rate_hz
    assert average.release == pytest.approx(average.u * average.x + average.covariance, rel=1e-12)


def test_poisson_average_of_the_working_memory_synapse_lies_within_five_percent_of_the_mean_field():
    stp = ALL_STP["mongillo tsodyks1998"]
    average, steady = poisson_average(stp, 10.0), stp.steady_state(10.0)
    assert average.u == pytest.approx(0.8, abs=4.0 * average.u_error)
    assert average.release == pytest.approx(float(steady.efficacy), rel=0.05)
    # What the mean field leaves out is there, and negative: a spike that uses more finds less.
    assert average.covariance < -10.0 * average.covariance_error


def test_poisson_average_depends_on_its_seed_alone_and_its_errors_are_those_of_repetition():
    stp = ALL_STP["mongillo tsodyks1998"]
    assert poisson_average(stp, 5.0, n_trains=20, seed=1) == poisson_average(stp, 5.0, n_trains=20, seed=1)
    repeated = np.array([poisson_average(stp, 5.0, n_trains=50, seed=seed) for seed in range(60)])
    spread = repeated[:, :4].std(axis=0, ddof=1)
    # A standard deviation of 60 values is known to 9 %; four of them.
    np.testing.assert_allclose(repeated[:, 4:].mean(axis=0), spread, rtol=0.37)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"U": 0.0}, r"U=0\.0 is not a positive finite number"),
        ({"U": 1.2}, r"U=1\.2 is above 1; expected the fraction in \(0, 1\]"),
        ({"tau_d_s": 0.0}, r"tau_d_s=0\.0 is not a positive finite number"),
        ({"tau_f_s": -1.0}, r"tau_f_s=-1\.0 is not a positive finite number"),
        ({"tau_f_s": math.nan}, "tau_f_s=nan is not a positive finite number"),
        ({"tau_f_s": "slow"}, "tau_f_s='slow' is not a number"),
        ({"convention": "nest"}, "convention='nest' is unknown; expected one of tsodyks1998, mongillo2008"),
    ],
)
def test_parameters_that_cannot_be_used_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        ShortTermPlasticity(**{"U": 0.2, "tau_f_s": 1.5, "tau_d_s": 0.2, **options})


def test_rates_that_are_none_are_refused():
    stp = ALL_STP["mongillo tsodyks1998"]
    with pytest.raises(OptionError, match=r"rate_hz holds -1\.0; expected finite rates"):
        stp.steady_state([0.0, -1.0])
    with pytest.raises(OptionError, match="rate_hz holds nan"):
        stp.regular_train(math.nan)
    with pytest.raises(OptionError, match="a train without spikes has no steady state"):
        stp.regular_train([1.0, 0.0])
    with pytest.raises(OptionError, match=r"rate_hz=0\.0 is not a positive finite number"):
        poisson_average(stp, 0.0)
    with pytest.raises(OptionError, match="n_trains=1 is not valid; expected an integer of at least 2"):
        poisson_average(stp, 1.0, n_trains=1)
