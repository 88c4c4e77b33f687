"""The committed recording is the one that its card describes, and its units are what they claim to be."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
RECORDING = DATA / "recording.nwb"


@pytest.fixture(scope="module")
def recording():
    """Units and trials of the file, read with h5py alone."""
    with h5py.File(RECORDING, "r") as file:
        units, trials = file["units"], file["intervals/trials"]
        return {
            "id": units["id"][:],
            "spikes": np.split(units["spike_times"][:], units["spike_times_index"][:-1]),
            "obs_intervals": units["obs_intervals"][:],
            "obs_intervals_index": units["obs_intervals_index"][:],
            "resolution": units["spike_times"].attrs["resolution"],
            **{name: units[name].asstr()[:] for name in ("truth", "has_history", "truth_text")},
            **{name: trials[name][:] for name in ("start_time", "stop_time", "stimulus_on")},
            "condition": trials["condition"].asstr()[:],
            "notes": file["general/notes"].asstr()[()],
        }


def unit_spikes(recording, truth):
    """Spike times of the one unit with this truth."""
    (position,) = np.flatnonzero(recording["truth"] == truth)
    return recording["spikes"][position]


def trial_counts(recording, spikes_s):
    """Spikes of every trial."""
    return np.searchsorted(spikes_s, recording["stop_time"]) - np.searchsorted(spikes_s, recording["start_time"])


def fano(recording, truth):
    """Fano factor of the trial counts, pooled over conditions."""
    counts = trial_counts(recording, unit_spikes(recording, truth))
    parts = [counts[recording["condition"] == name] for name in ("weak", "strong")]
    return np.mean([part.var(ddof=1) / part.mean() for part in parts])


def test_file_is_the_one_that_is_pinned():
    digest = hashlib.sha256(RECORDING.read_bytes()).hexdigest()
    assert (DATA / "recording.sha256").read_text(encoding="ascii") == f"{digest}  recording.nwb\n"
    assert f"`{digest}`" in (DATA / "CARD.md").read_text(encoding="ascii")


def test_file_is_small_enough_for_a_wheel():
    assert RECORDING.stat().st_size <= 2_000_000


def test_card_names_the_versions_that_made_the_file(recording):
    card = (DATA / "CARD.md").read_text(encoding="ascii")
    assert recording["notes"].replace("; ", ", ") in card


def test_card_table_states_the_statistics_of_the_file(recording):
    card = (DATA / "CARD.md").read_text(encoding="ascii")
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| \d+ \|.*$", card, re.M)]
    assert len(rows) == len(recording["spikes"])
    session_s = recording["obs_intervals"][0, 1]
    for row, unit, truth, has_history, spikes_s in zip(
        rows, recording["id"], recording["truth"], recording["has_history"], recording["spikes"], strict=True
    ):
        intervals_s = np.diff(spikes_s)
        pairs = 2.0 * np.abs(np.diff(intervals_s)) / (intervals_s[1:] + intervals_s[:-1])
        assert row[:4] == [str(unit), truth, has_history, str(spikes_s.size)]
        # Half a unit of the last printed digit.
        assert float(row[4]) == pytest.approx(spikes_s.size / session_s, abs=0.0051)
        assert float(row[5]) == pytest.approx(intervals_s.std() / intervals_s.mean(), abs=0.0051)
        assert float(row[6]) == pytest.approx(pairs.mean(), abs=0.0051)
        assert float(row[7]) == pytest.approx(np.mean(intervals_s < 0.003), abs=0.00051)


def test_sixty_trials_of_two_conditions_leave_half_a_second_of_history(recording):
    start, stop, onset = (recording[name] for name in ("start_time", "stop_time", "stimulus_on"))
    assert start.size == 60
    assert {name: int(np.sum(recording["condition"] == name)) for name in ("weak", "strong")} == {
        "weak": 30,
        "strong": 30,
    }
    np.testing.assert_allclose(stop - start, 1.2, atol=1e-9)
    np.testing.assert_allclose(onset - start, 0.2, atol=1e-9)
    gaps_s = start[1:] - stop[:-1]
    assert start[0] >= 0.5
    assert gaps_s.min() >= 1.5 - 1e-9
    assert gaps_s.max() <= 2.0 + 1e-9


def test_every_unit_is_observed_over_the_whole_session(recording):
    n_units = recording["id"].size
    assert n_units == 11
    np.testing.assert_array_equal(recording["obs_intervals_index"], np.arange(1, n_units + 1))
    start_s, stop_s = recording["obs_intervals"].T
    assert start_s.max() == 0.0
    assert stop_s.min() >= recording["stop_time"][-1]
    assert all(spikes_s[0] >= 0.0 and spikes_s[-1] < stop_s[0] for spikes_s in recording["spikes"])


def test_spike_times_are_sorted_ticks_without_duplicates(recording):
    for spikes_s in recording["spikes"]:
        ticks = spikes_s / recording["resolution"]
        # 177 s in double precision: 2e6 ticks times 1e-16, with room.
        np.testing.assert_allclose(ticks, np.rint(ticks), atol=1e-8)
        assert np.all(np.diff(np.rint(ticks)) >= 1)


def test_rates_within_trials_lie_between_five_and_forty_hz(recording):
    rates_hz = [trial_counts(recording, spikes_s).mean() / 1.2 for spikes_s in recording["spikes"]]
    assert min(rates_hz) >= 5.0
    assert max(rates_hz) <= 40.0


def test_history_is_denied_to_the_poisson_units_alone(recording):
    without = set(recording["truth"][recording["has_history"] == "no"])
    assert without == {"poisson", "poisson with trial gain"}
    assert set(recording["has_history"]) == {"yes", "no"}
    assert all(text.endswith(".") for text in recording["truth_text"])


def test_network_neurons_and_dead_time_unit_keep_their_refractory_period(recording):
    for truth, spikes_s in zip(recording["truth"], recording["spikes"], strict=True):
        limit_s = {"E-I network, inhibitory": 0.0015, "dead time 3 ms": 0.003}.get(truth)
        if limit_s is None and truth.startswith("E-I network, excitatory"):
            limit_s = 0.0025
        if limit_s is not None:
            assert np.diff(spikes_s).min() >= limit_s - 1e-9


def test_poisson_counts_vary_as_their_mean_and_gain_counts_by_a_quarter_of_its_square_more(recording):
    # 58 degrees of freedom: a Poisson Fano factor has standard error sqrt(2/58) = 0.19; four of them.
    assert abs(fano(recording, "poisson") - 1.0) <= 4 * 0.19
    counts = trial_counts(recording, unit_spikes(recording, "poisson with trial gain"))
    expected = 1.0 + 0.25 * counts.mean()
    # A negative-binomial variance of 60 trials has a relative standard error of about 0.25; three of them.
    assert expected * 0.25 <= fano(recording, "poisson with trial gain") <= expected * 1.75


def test_network_fires_more_under_the_strong_stimulus_and_less_after_its_onset_transient(recording):
    """The response must be worth a PSTH: contrast is seen, and excitation depresses under the stimulus."""
    onset = recording["stimulus_on"]
    is_network = np.char.startswith(recording["truth"].astype(str), "E-I network")
    strong, transient, late = [], [], []
    for spikes_s in (recording["spikes"][k] for k in np.flatnonzero(is_network)):
        during = np.searchsorted(spikes_s, onset + 0.6) - np.searchsorted(spikes_s, onset)
        strong.append(during[recording["condition"] == "strong"].sum() / during.sum())
        transient.append(np.sum(np.searchsorted(spikes_s, onset + 0.2) - np.searchsorted(spikes_s, onset + 0.05)))
        late.append(np.sum(np.searchsorted(spikes_s, onset + 0.55) - np.searchsorted(spikes_s, onset + 0.4)))
    assert min(strong) > 0.5
    assert sum(transient) > sum(late)


def test_pynwb_reads_what_h5py_reads(recording):
    import pynwb

    with pynwb.NWBHDF5IO(RECORDING, mode="r") as nwb:
        file = nwb.read()
        assert file.identifier == "cortexrnn-embedded-recording-1"
        np.testing.assert_array_equal(file.trials["condition"][:], recording["condition"])
        np.testing.assert_array_equal(file.trials["stimulus_on"][:], recording["stimulus_on"])
        for position, spikes_s in enumerate(recording["spikes"]):
            np.testing.assert_array_equal(file.units.get_unit_spike_times(position), spikes_s)
            np.testing.assert_array_equal(
                file.units.get_unit_obs_intervals(position), recording["obs_intervals"][[position]]
            )
        assert pynwb.validate(path=RECORDING) == []
