"""What must hold for any synapse, rate and train. Oracle: the bounds of the equations, and their symmetries."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cortexrnn.cells.stp import CONVENTIONS, ShortTermPlasticity, release_train
from cortexrnn.cells.stp_kernels import advance_rates, release_rates

MANY = settings(deadline=None, max_examples=200)
UTILISATIONS = st.floats(min_value=1e-9, max_value=1.0)
TIME_CONSTANTS_S = st.floats(min_value=1e-6, max_value=1e6)
SYNAPSES = st.builds(
    ShortTermPlasticity,
    U=UTILISATIONS,
    tau_f_s=st.one_of(st.just(0.0), TIME_CONSTANTS_S),
    tau_d_s=TIME_CONSTANTS_S,
    convention=st.sampled_from(CONVENTIONS),
)
FRACTIONS = st.floats(min_value=0.0, max_value=1.0)
RATES_HZ = st.floats(min_value=-1e30, max_value=1e30)
STEPS_S = st.floats(min_value=1e-9, max_value=1e9)
TIMES_S = st.lists(st.floats(min_value=-1e9, max_value=1e9), max_size=40).map(sorted)


@MANY
@given(SYNAPSES, FRACTIONS, FRACTIONS, RATES_HZ, STEPS_S)
# U almost 1 and rates at which rounding alone would carry u past 1, in either precision.
@example(
    ShortTermPlasticity(U=1.0 - 2.0**-52, tau_f_s=1.9977422765877457, tau_d_s=0.2), 0.3, 1.0, 1338040.0078573104, 1e9
)
@example(
    ShortTermPlasticity(U=1.0 - 1.5 * 2.0**-23, tau_f_s=0.004156428389251232, tau_d_s=0.2), 0.0, 1.0, 25292.746, 1e9
)
def test_no_step_and_no_rate_takes_u_or_x_out_of_zero_to_one(stp, u, x, rate_hz, dt_s):
    for dtype in (np.float64, np.float32):
        state_u, state_x, rates = (np.full(1, value, dtype) for value in (u, x, rate_hz))
        release = np.empty(1, dtype)
        for _ in range(3):
            advance_rates(state_u, state_x, rates, dt_s, stp.law)
            release_rates(state_u, state_x, rates, stp.law, release)
            assert 0.0 <= state_u[0] <= 1.0
            assert 0.0 <= state_x[0] <= 1.0
            assert 0.0 <= release[0] <= max(rates[0], 0.0)


@MANY
@given(SYNAPSES, TIMES_S)
def test_no_train_takes_u_or_x_out_of_zero_to_one(stp, times_s):
    release, u, x = release_train(stp, times_s)
    for column in (release, u, x):
        assert ((column >= 0.0) & (column <= 1.0)).all()
    assert (u >= stp.U * (1.0 - 1e-15)).all()


@MANY
@given(SYNAPSES, TIMES_S)
def test_no_more_is_released_than_was_there_and_came_back(stp, times_s):
    total = release_train(stp, times_s).release.sum()
    duration_s = times_s[-1] - times_s[0] if times_s else 0.0
    # At most everything at first, then 1 / tau_d a second; round-off of up to 40 terms.
    assert total <= (1.0 + duration_s / stp.tau_d_s) * (1.0 + 1e-12)


@MANY
@given(SYNAPSES, st.lists(st.integers(min_value=0, max_value=2**20), max_size=30).map(sorted), st.integers(-50, 50))
def test_releases_do_not_depend_on_when_a_train_begins(stp, ticks, shift):
    # Multiples of 2^-10 s, whose differences are exact.
    times_s = np.array(ticks, dtype=float) / 1024.0
    np.testing.assert_array_equal(release_train(stp, times_s + shift), release_train(stp, times_s))


@MANY
@given(SYNAPSES, st.floats(min_value=0.0, max_value=1e6), st.floats(min_value=0.0, max_value=1e6))
def test_a_higher_rate_releases_more_a_second_and_leaves_fewer_resources(stp, one_hz, other_hz):
    low, high = (stp.steady_state(rate_hz) for rate_hz in sorted((one_hz, other_hz)))
    # A few roundings.
    assert high.release_hz >= low.release_hz * (1.0 - 1e-14)
    assert high.x <= low.x * (1.0 + 1e-14)
    assert high.u >= low.u * (1.0 - 1e-14)
    assert high.release_hz <= stp.limit_hz * (1.0 + 1e-14)


@MANY
@given(SYNAPSES, st.floats(min_value=1e-3, max_value=1e4))
def test_release_per_spike_is_nowhere_larger_than_at_the_peak_rate(stp, rate_hz):
    peak = stp.steady_state(stp.peak_rate_hz).efficacy
    # The peak rate of a synapse with extreme parameters has a rounding, at which the peak is flat.
    assert stp.steady_state(rate_hz).efficacy <= peak * (1.0 + 1e-12)
