"""What must hold for any spikes, rates, windows and bins. Oracle: a slow twin on exact fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cortexrnn.spikes.binning import count_spikes, make_grid, merge_intervals, observed_bins

RATES = st.sampled_from([1000.0, 12800.0, 24414.0625, 30000.0, 1e9])
BINS_MS = st.sampled_from([1, 2, 5])


@st.composite
def cases(draw):
    """A grid with the numbers it came from, sorted ticks and events."""
    rate, bin_ms = draw(RATES), draw(BINS_MS)
    start_ms = draw(st.integers(-30, 30))
    n_bins, history_ms = draw(st.integers(1, 20)), draw(st.integers(0, 20))
    window = (start_ms / 1000, (start_ms + n_bins * bin_ms) / 1000)
    grid = make_grid(window, bin_s=bin_ms / 1000, history_s=history_ms / 1000, tick_hz=rate)
    reach = int(0.3 * rate)
    # Ticks near multiples of a bin are where floating point would err, so half of them are put there.
    edges = st.integers(-300, 300).map(lambda k: int(k * rate / 1000) if k % 2 else round(k * rate / 1000))
    ticks = np.sort(np.array(draw(st.lists(st.integers(-reach, reach) | edges, max_size=60)), dtype=np.int64))
    events = np.array(draw(st.lists(st.integers(-reach, reach), min_size=1, max_size=5)), dtype=np.int64)
    n_history = -(-history_ms // bin_ms)
    first = Fraction(start_ms - n_history * bin_ms, 1000) * Fraction(rate)
    return grid, ticks, events, first, Fraction(bin_ms, 1000) * Fraction(rate), n_history + n_bins


def slow_counts(ticks, events, first, width, n_bins):
    """Ask every spike and every bin."""
    counts = np.zeros((len(events), n_bins), dtype=int)
    for i, event in enumerate(events):
        for k in range(n_bins):
            low = first + k * width
            counts[i, k] = sum(low <= int(tick) - int(event) < low + width for tick in ticks)
    return counts


@settings(deadline=None, max_examples=150)
@given(cases())
def test_counts_equal_the_slow_twin(case):
    grid, ticks, events, first, width, n_bins = case
    np.testing.assert_array_equal(
        count_spikes(ticks, events, grid), slow_counts(ticks, events, first, width, n_bins)
    )


@settings(deadline=None, max_examples=100)
@given(cases())
def test_every_spike_between_the_outer_edges_is_counted_once(case):
    grid, ticks, events, first, width, n_bins = case
    inside = sum(
        first <= int(tick) - int(event) < first + n_bins * width for event in events for tick in ticks
    )
    assert int(count_spikes(ticks, events, grid).sum()) == inside


@settings(deadline=None, max_examples=100)
@given(cases(), st.integers(-(10**15), 10**15))
def test_shifting_spikes_and_events_together_changes_nothing(case, shift):
    grid, ticks, events, *_ = case
    np.testing.assert_array_equal(
        count_spikes(ticks, events, grid), count_spikes(ticks + shift, events + shift, grid)
    )


@settings(deadline=None, max_examples=100)
@given(cases())
def test_counts_of_two_units_add_up_to_those_of_their_union(case):
    grid, ticks, events, *_ = case
    parts = count_spikes(ticks[::2], events, grid) + count_spikes(ticks[1::2], events, grid)
    np.testing.assert_array_equal(parts, count_spikes(ticks, events, grid))


@settings(deadline=None, max_examples=150)
@given(
    cases(), st.lists(st.tuples(st.integers(-9000, 9000), st.integers(0, 3000)), max_size=6), st.booleans()
)
def test_observed_bins_equal_the_slow_twin(case, pieces, is_exact):
    grid, _, events, first, width, n_bins = case
    intervals = np.array(sorted((start, start + length) for start, length in pieces), dtype=np.int64).reshape(
        -1, 2
    )
    merged = merge_intervals(intervals)
    expected = np.zeros((len(events), n_bins), dtype=bool)
    for i, event in enumerate(events):
        for k in range(n_bins):
            low = int(event) + first + k * width
            for start, stop in merged.tolist():
                covers = start <= low and low + width <= stop
                touches = start < low + width and low < stop and start < stop
                expected[i, k] |= covers if is_exact else touches
    np.testing.assert_array_equal(observed_bins(intervals, events, grid, is_exact=is_exact), expected)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 20)), max_size=10))
def test_merged_intervals_cover_the_same_ticks_and_never_touch(pieces):
    intervals = np.array(sorted((start, start + length) for start, length in pieces), dtype=np.int64).reshape(
        -1, 2
    )
    merged = merge_intervals(intervals)
    assert {t for a, b in intervals.tolist() for t in range(a, b)} == {
        t for a, b in merged.tolist() for t in range(a, b)
    }
    assert (merged[1:, 0] > merged[:-1, 1]).all()
