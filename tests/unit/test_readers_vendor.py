"""Vendors' files through Neo in the guarded child. Oracle: what the files were made of."""

from __future__ import annotations

import pickle
import runpy
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from cortexrnn import read_recording
from cortexrnn.errors import CortexError, DataError, DataWarning, OptionError
from cortexrnn.spikes.readers import neo_child

WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
TRUTH = {
    "rate_hz": 30_000,
    "units": {1: [300, 600], 2: [450, 900, 903], 3: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
NUMBERED = {
    "plexon": "write_plexon",
    "blackrock": "write_blackrock",
    "neuralynx": "write_neuralynx",
    "spike2": "write_spike2",
    "openephys": "write_openephys",
    "tdt": "write_tdt",
}


@pytest.mark.parametrize("kind", NUMBERED)
def test_unsorted_spikes_are_left_out_and_said(tmp_path, kind):
    # Number 0 means unsorted to all of these makers.
    recording = read_recording(WRITERS[NUMBERED[kind]](tmp_path, TRUTH, unit_numbers=(0, 1, 2)))
    assert recording.n_units == 2
    assert recording.units["quality"].tolist() == ["sorted", "sorted"]
    assert "left out by their quality: 1 unsorted" in recording.attrs["notes"]
    assert recording.attrs["reader"] == kind


def test_unsorted_spikes_are_read_when_asked_for(tmp_path):
    path = WRITERS["write_plexon"](tmp_path, TRUTH, unit_numbers=(0, 1, 2))
    assert read_recording(path, select={"quality": "all"}).unit_ids == ["ch1#0", "ch1#1", "ch1#2"]
    assert read_recording(path, select={"quality": "unsorted"}).unit_ids == ["ch1#0"]


def test_noise_is_what_blackrock_says_it_is(tmp_path):
    path = WRITERS["write_blackrock"](tmp_path, TRUTH, unit_numbers=(1, 0, 255))
    recording = read_recording(path)
    assert recording.unit_ids == ["ch7#1"]
    assert recording.attrs["notes"] == ["left out by their quality: 1 noise, 1 unsorted"]


def test_a_file_that_nobody_sorted_is_read_with_a_warning(tmp_path):
    path = WRITERS["write_blackrock"](tmp_path, TRUTH, unit_numbers=(0, 0, 0))
    with pytest.warns(DataWarning, match=r"no unit is sorted; all are kept .1 unsorted."):
        recording = read_recording(path)
    assert recording.unit_ticks(0).tolist() == [300, 450, 600, 900, 903, 1500]


def test_tetrodes_of_axona_are_never_sorted(tmp_path):
    path = WRITERS["write_axona"](tmp_path, TRUTH)
    with pytest.warns(DataWarning, match=r"no unit is sorted; all are kept .3 unsorted."):
        recording = read_recording(path)
    assert recording.unit_ids == ["tetrode 1", "tetrode 2", "tetrode 3"]
    (tmp_path / "session.2").unlink()
    with pytest.warns(DataWarning, match=r"no unit is sorted; all are kept .1 unsorted."):
        other = read_recording(path)
    assert other.attrs["sha256"] != recording.attrs["sha256"]


def test_electrodes_written_one_after_the_other_are_sorted(tmp_path):
    path = WRITERS["write_neuralynx"](tmp_path, TRUTH)
    content = (path / "SE1.nse").read_bytes()
    records = [content[at : at + 112] for at in range(16384, len(content), 112)]
    (path / "SE1.nse").write_bytes(content[:16384] + b"".join(records[::-1]))
    assert read_recording(path).unit_ticks(1).tolist() == [15_000, 30_000, 30_100]


def test_a_single_file_of_neuralynx_is_read_alone(tmp_path):
    folder = WRITERS["write_neuralynx"](tmp_path, TRUTH)
    recording = read_recording(folder / "SE1.nse")
    assert recording.n_spikes == 6
    assert dict(recording.tables) == {}


def test_events_of_neuralynx_alone_point_to_their_folder(tmp_path):
    folder = WRITERS["write_neuralynx"](tmp_path, TRUTH)
    with pytest.raises(DataError, match=r"a Neuralynx file .nev has no spikes. Name the folder"):
        read_recording(folder / "Events.nev")


def test_signals_beside_the_spikes_stay_closed(tmp_path):
    # Neo would read these and fail: they are no signals.
    folder = WRITERS["write_neuralynx"](tmp_path, TRUTH)
    (folder / "CSC1.ncs").write_bytes(b"x" * 20_000)
    path = WRITERS["write_blackrock"](tmp_path, TRUTH)
    (tmp_path / "session.ns5").write_bytes(b"x" * 20_000)
    assert read_recording(folder).n_spikes == 6
    assert read_recording(path).n_spikes == 6


def test_a_name_with_an_ending_in_the_middle_is_no_trouble(tmp_path):
    path = WRITERS["write_blackrock"](tmp_path, TRUTH)
    folder = tmp_path / "my.nev.files"
    folder.mkdir()
    assert read_recording(path.rename(folder / "b.nev.nev")).n_spikes == 6


def test_times_of_plexon_beyond_32_bits(tmp_path):
    truth = {**TRUTH, "units": {1: [5, 2**32 + 7], 2: [9], 3: [11]}}
    assert read_recording(WRITERS["write_plexon"](tmp_path, truth)).unit_ticks(0).tolist() == [5, 2**32 + 7]


def test_a_unit_of_time_is_not_asked_for(tmp_path):
    path = WRITERS["write_plexon"](tmp_path, TRUTH)
    with pytest.raises(OptionError, match="time_unit='s' was given, but the times of a plexon file"):
        read_recording(path, time_unit="s")
    with pytest.raises(OptionError, match=r"trials='no' is neither a file nor an interval table. The file has Strobed"):
        read_recording(path, trials="no")


@pytest.mark.parametrize("ending", [".pl2", ".smrx", ".nex5", ".pkl"])
def test_formats_that_would_load_code_are_refused_with_a_way_out(tmp_path, ending):
    path = tmp_path / f"session{ending}"
    path.write_bytes(b"whatever it holds")
    with pytest.raises(DataError, match=rf"files of {ending} are not read. .*(export|save)"):
        read_recording(path)


@pytest.mark.parametrize("ending", [".plx", ".nev", ".nex", ".smr", ".nse", ".nix", ".mat", ".pkl", ".h5"])
def test_a_pickle_under_any_name_is_not_opened(tmp_path, ending):
    path = tmp_path / f"canary{ending}"
    touched = tmp_path / "touched"
    path.write_bytes(pickle.dumps(Touch(touched)))
    with pytest.raises(CortexError, match=r"not read|promises|unknown"):
        read_recording(path)
    assert not touched.exists()


class Touch:
    """What a pickle of it does: touch a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_only_the_allow_list_is_ever_opened():
    assert set(neo_child._READERS) == set(neo_child._MEANING)
    opened = {reader("x.y", ["x.tsq"]).__class__.__name__ for reader in (neo_child._plexon, neo_child._spike2)}
    assert opened == {"PlexonRawIO", "Spike2RawIO"}
    with pytest.raises(KeyError, match="pickle"):
        neo_child.read_vendor("pickle", "x.pkl", [])


@pytest.mark.parametrize("kind", ["plexon", "blackrock", "neuralynx", "spike2", "openephys", "neuroexplorer"])
def test_a_file_cut_short_is_a_typed_error(tmp_path, kind):
    path = WRITERS[NUMBERED.get(kind, "write_neuroexplorer")](tmp_path, TRUTH)
    largest = path if path.is_file() else max(path.iterdir(), key=lambda file: file.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[: len(content) // 3])
    with pytest.raises(DataError, match=r"damaged|spike channels"):
        read_recording(path)


@pytest.mark.parametrize("kind", ["plexon", "neuralynx", "blackrock"])
def test_the_latest_spike_is_kept_wherever_it_stands_in_the_file(tmp_path, kind):
    # Neo cuts at the time of the last record; here that is the earliest one. 8.000001 s is truncated to 8 s.
    truth = {**TRUTH, "units": {1: [240_000, 300], 2: [600], 3: [900]}, "trials": [(0, 3, 1)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        path = WRITERS[NUMBERED[kind]](tmp_path, truth)
        if kind == "plexon":
            content = path.read_bytes()
            head, blocks = content[: 7504 + 1020 + 296], content[7504 + 1020 + 296 :]
            path.write_bytes(head + blocks[16:] + blocks[:16])
        assert read_recording(path).n_spikes == 4


def test_the_last_microsecond_is_not_lost(tmp_path):
    # One whole microsecond of seventy is less than itself after a way through seconds, and Neo truncates.
    last = next(tick for tick in range(1_000_000, 2_000_000) if int(tick / 1e6 * 1e6) < tick)
    truth = {"rate_hz": 1_000_000, "units": {1: [300, last], 2: [600], 3: [900]}, "trials": [(0, 3, 1)]}
    path = WRITERS["write_neuralynx"](tmp_path, truth)
    assert read_recording(path).unit_ticks(0).tolist() == [300, last]


def test_a_header_that_declares_a_billion_variables_is_refused(tmp_path):
    path = WRITERS["write_neuroexplorer"](tmp_path, TRUTH)
    content = bytearray(path.read_bytes())
    content[280:284] = struct.pack("<i", 2**30)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged|needs more than|took longer"):
        read_recording(path)


def test_a_clock_that_starts_again_is_refused():
    class Reader:
        def segment_t_start(self, block, segment):
            return 0.0

        def segment_t_stop(self, block, segment):
            return 5.0

    with pytest.raises(DataError, match="the clock of the recording starts again: its 2 segments overlap"):
        neo_child._limits(Reader(), range(2), "blackrock")


def test_whole_stamps_keep_their_clock_and_others_become_nanoseconds():
    class Reader:
        def __init__(self, rate):
            self.rate = rate

        def rescale_spike_timestamp(self, stamps, dtype):
            return stamps.astype(dtype) / self.rate

    rate, ticks = neo_child._on_one_clock(Reader(24_414.0625), [[np.array([3, 1])]])
    assert (rate, ticks[0].tolist()) == (24_414.0625, [1, 3])
    rate, ticks = neo_child._on_one_clock(Reader(1.0), [[np.array([0.25, 0.5])]])
    assert (rate, ticks[0].tolist()) == (1e9, [250_000_000, 500_000_000])
    with pytest.raises(DataError, match="1 of 2 times are NaN"):
        neo_child._on_one_clock(Reader(1.0), [[np.array([0.25, np.nan])]])


def test_milliseconds_of_nix_are_milliseconds(tmp_path):
    # Neo 0.14's raw reader of NIX gives 10 s for 10 ms.
    recording = read_recording(WRITERS["write_nix"](tmp_path, TRUTH))
    assert recording.spike_times_s("1").tolist() == [0.01, 0.02]


def test_nix_is_told_by_its_content(tmp_path):
    path = WRITERS["write_nix"](tmp_path, TRUTH)
    recording = read_recording(path.rename(tmp_path / "renamed.h5"))
    assert recording.attrs["reader"] == "nix"


def test_a_nix_file_with_a_strange_unit_or_two_segments_is_refused(tmp_path):
    import h5py

    path = WRITERS["write_nix"](tmp_path, TRUTH)
    with h5py.File(path, "a") as file:
        file["data/block/groups/segment/multi_tags/train 1/positions"].attrs["unit"] = "fortnights"
    with pytest.raises(DataError, match="the unit of time 'fortnights' is unknown"):
        read_recording(path)
    with h5py.File(path, "a") as file:
        file.create_group("data/block/groups/other").attrs["type"] = "neo.segment"
    with pytest.raises(DataError, match="the file has 2 Neo segments; expected one"):
        read_recording(path)
