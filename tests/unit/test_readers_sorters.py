"""Folders of spike sorters: Phy and Kilosort, ALF, SpikeInterface. Oracle: what the files were made of."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn import doctor, read_recording
from cortexrnn.errors import (
    DataError,
    DataWarning,
    FileAccessError,
    MissingFileError,
    OptionError,
    TimeUnitError,
    UnsafeFileError,
)

WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 901], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}


@pytest.fixture
def phy(tmp_path):
    """A folder of Phy with three good units."""
    return WRITERS["write_phy"](tmp_path, TRUTH)


@pytest.fixture
def alf(tmp_path):
    """An ALF folder with three good clusters of ten."""
    return WRITERS["write_alf"](tmp_path, TRUTH)


@pytest.fixture
def sorting(tmp_path):
    """A saved SpikeInterface sorting."""
    return WRITERS["write_spikeinterface_folder"](tmp_path, TRUTH)


def label(folder, **groups):
    """Write the labels that were chosen by hand."""
    rows = "".join(f"{unit[1:]}\t{group}\n" for unit, group in groups.items())
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n" + rows)


def test_good_units_are_kept_and_the_others_counted(phy):
    label(phy, u2="good", u4="mua", u9="noise")
    recording = read_recording(phy)
    assert recording.unit_ids == [2]
    assert recording.attrs["notes"] == ["left out by their quality: 1 mua, 1 noise"]
    assert "left out by their quality: 1 mua, 1 noise" in str(doctor(recording))


@pytest.mark.parametrize(("wanted", "kept"), [("good,mua", [2, 4]), ("all", [2, 4, 9]), (["noise"], [9]), ("mua", [4])])
def test_the_labels_to_keep_are_an_option(phy, wanted, kept):
    label(phy, u2="good", u4="mua", u9="noise")
    recording = read_recording(phy, select={"quality": wanted})
    assert recording.unit_ids == kept
    assert set(recording.units["quality"]) <= {"good", "mua", "noise"}


def test_what_was_chosen_by_hand_counts_more_than_kilosort(phy):
    # Kilosort calls all of them mua here; an empty or unsorted group leaves it at that.
    label(phy, u2="good", u4="", u9="unsorted")
    assert read_recording(phy).unit_ids == [2]
    assert read_recording(phy, select={"quality": "mua"}).unit_ids == [4, 9]


def test_the_copy_of_kilosorts_labels_is_read_as_such(phy):
    # Kilosort copies its labels into cluster_group.tsv under their own name.
    (phy / "cluster_group.tsv").write_text("cluster_id\tKSLabel\n2\tgood\n4\tmua\n9\tgood\n")
    (phy / "cluster_KSLabel.tsv").unlink()
    assert read_recording(phy).unit_ids == [2, 9]


def test_the_summary_of_phy_gives_columns(phy):
    info = "cluster_id\tamp\tgroup\tdepth\tsh\n2\t1.5\tgood\t20\tA\n4\t2.5\tmua\t40\tA\n9\t3.5\tgood\t60\tB\n"
    (phy / "cluster_info.tsv").write_text(info)
    units = read_recording(phy).units
    assert units["depth"].tolist() == [20.0, 40.0, 60.0]
    assert units["sh"].tolist() == ["A", "A", "B"]


def test_no_good_unit_is_said_with_what_there_is(phy):
    label(phy, u2="mua", u4="mua", u9="noise")
    with pytest.raises(OptionError, match=r"no unit has quality good. There are 2 mua, 1 noise; select="):
        read_recording(phy)


def test_without_labels_every_cluster_is_a_unit(phy):
    for name in ("cluster_group.tsv", "cluster_KSLabel.tsv"):
        (phy / name).unlink()
    recording = read_recording(phy)
    assert recording.unit_ids == [2, 4, 9]
    assert recording.attrs["notes"] == ["no unit has a quality label; all are kept"]


def test_a_table_of_labels_with_a_header_alone_says_nothing(phy):
    (phy / "cluster_group.tsv").write_text("cluster_id\tgroup\n")
    (phy / "cluster_KSLabel.tsv").write_text("cluster_id\tKSLabel\n")
    assert read_recording(phy).unit_ids == [2, 4, 9]


def test_templates_serve_where_phy_was_never_opened(phy):
    (phy / "spike_clusters.npy").rename(phy / "spike_templates.npy")
    assert read_recording(phy).unit_ids == [2, 4, 9]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("sample_rate = 25000.", 25_000.0),
        ("x = 1\nsample_rate=3e4 # Hz\r\ny = 2", 30_000.0),
        ("sample_rate = 30000.123\nsample_rate = 30000.123\n", 30_000.123),
    ],
)
def test_the_rate_is_read_from_params_as_text(phy, text, rate):
    (phy / "params.py").write_text(text)
    assert read_recording(phy).tick_hz == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sample_rate = 2 * 15000",
        "sample_rate = float('3e4')",
        "sample_rate = 0",
        "sample_rate = 1e99",
        "sample_rate = 30000\nsample_rate = 20000",
        "my_sample_rate = 30000",
    ],
)
def test_a_rate_that_would_have_to_be_computed_is_asked_for(phy, text):
    (phy / "params.py").write_text(text)
    with pytest.raises(TimeUnitError, match=r"for sample_rate; expected one plain positive number. Give"):
        read_recording(phy)


def test_params_is_never_executed(phy):
    touched = phy / "touched"
    (phy / "params.py").write_text(f"open({str(touched)!r}, 'w').close()\nsample_rate = 30000\n")
    assert read_recording(phy).tick_hz == 30_000.0
    assert not touched.exists()


def test_rate_and_unit_of_time_must_not_contradict_the_folder(phy):
    assert read_recording(phy, sample_rate_hz=30_000, time_unit="samples").tick_hz == 30_000.0
    with pytest.raises(OptionError, match=r"sample_rate_hz=20000 was given, and params.py says 30000"):
        read_recording(phy, sample_rate_hz=20_000)
    with pytest.raises(OptionError, match="time_unit='s' was given, but these times are samples"):
        read_recording(phy, time_unit="s")
    (phy / "params.py").unlink()
    assert read_recording(phy, sample_rate_hz=20_000).tick_hz == 20_000.0


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("spike_times.npy", np.array([1, 2, 3]), "3 spike times and 6 cluster numbers"),
        ("spike_times.npy", np.array([0.5] * 6), "6 of 6 values are no whole numbers"),
        ("spike_times.npy", np.array([1, 2, 3, 4, 5, np.nan]), "1 of 6 values are no whole numbers"),
        ("spike_times.npy", np.array([-1, 2, 3, 4, 5, 6]), "the values run from -1 to 6"),
        ("spike_times.npy", np.array([2**63] * 6, dtype=np.uint64), "expected 0 to 2"),
        ("spike_times.npy", np.array(list("abcdef")), "expected whole numbers"),
        ("spike_times.npy", np.ones((3, 2)), r"shape \(3, 2\); expected a vector"),
        ("spike_clusters.npy", np.array([-2] * 6), "the values run from -2 to -2"),
    ],
)
def test_arrays_that_cannot_be_spikes_are_refused(phy, name, values, message):
    np.save(phy / name, values)
    with pytest.raises(DataError, match=message):
        read_recording(phy)


def test_whole_numbers_as_floats_are_samples(phy):
    np.save(phy / "spike_times.npy", np.array([300.0, 450, 600, 900, 901, 1500]))
    assert read_recording(phy).unit_ticks(0).tolist() == [300, 600]


def test_pickled_arrays_are_refused(phy):
    np.save(phy / "spike_times.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnsafeFileError, match="holds Python objects"):
        read_recording(phy)


def test_unsorted_samples_are_sorted_with_a_warning(phy):
    np.save(phy / "spike_times.npy", np.array([600, 450, 300, 900, 901, 1500]))
    with pytest.warns(DataWarning, match="unit 2: spike times were not sorted"):
        assert read_recording(phy).unit_ticks(0).tolist() == [300, 600]


def test_a_cluster_listed_twice_or_without_an_id_is_refused(phy):
    (phy / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tgood\n2\tmua\n")
    with pytest.raises(DataError, match="a cluster is listed twice"):
        read_recording(phy)
    (phy / "cluster_group.tsv").write_text("cluster\tgroup\n2\tgood\n")
    with pytest.raises(DataError, match="there is no column cluster_id; the columns are cluster, group"):
        read_recording(phy)


def test_a_folder_without_clusters_says_so(phy):
    (phy / "spike_clusters.npy").unlink()
    with pytest.raises(MissingFileError, match=r"has spike_times.npy and no spike_clusters.npy"):
        read_recording(phy)


def test_the_hash_of_a_folder_is_that_of_what_was_read(phy):
    before = read_recording(phy).attrs["sha256"]
    (phy / "notes.txt").write_text("of no matter")
    assert read_recording(phy).attrs["sha256"] == before
    label(phy, u2="good", u4="good", u9="mua")
    assert read_recording(phy).attrs["sha256"] != before


def test_the_command_line_takes_a_folder(phy, invoke):
    told = invoke("doctor", phy, "--json")
    assert told.code == 0
    assert [row["unit"] for row in json.loads(told.out)["units"]] == [2, 4, 9]
    assert json.loads(invoke("doctor", phy, "--select", "quality=good", "--json").out)["reader"] == "phy"


def test_alf_labels_uuids_and_vectors_are_columns(alf):
    recording = read_recording(alf)
    assert recording.unit_ids == [2, 4, 9]
    assert recording.units["uuid"].tolist() == ["uuid-2", "uuid-4", "uuid-9"]
    assert recording.units["depths"].tolist() == [40.0, 80.0, 180.0]
    assert recording.attrs["notes"] == ["left out by their quality: 7 mua"]


def test_alf_keeps_what_the_label_says(alf):
    rows = "".join(f"{k},{value}\n" for k, value in [(2, 1.0), (4, 2 / 3), (9, "")])
    (alf / "clusters.metrics.csv").write_text("cluster_id,label\n" + rows)
    assert read_recording(alf).unit_ids == [2]
    assert read_recording(alf, select={"quality": "mua"}).unit_ids == [4]
    (alf / "clusters.metrics.csv").write_text("cluster_id,ks2_label\n2,mua\n4,good\n9,good\n")
    assert read_recording(alf).unit_ids == [4, 9]


def test_alf_trials_are_found_above_the_probe(alf, tmp_path):
    probe = tmp_path / "alf" / "probe00" / "pykilosort"
    probe.mkdir(parents=True)
    for path in list(alf.iterdir()):
        path.rename((tmp_path / "alf" if "trials" in path.name else probe) / path.name)
    trials = read_recording(probe).trials
    assert trials["start_s"].tolist() == [0.0, 0.02]
    assert trials["condition"].tolist() == [1, 2]


def test_alf_names_may_have_a_namespace_and_more(alf):
    (alf / "spikes.times.npy").rename(alf / "_kilosort_spikes.times.4dd1-a.npy")
    np.save(alf / "_ibl_trials.stimOn_times.npy", np.array([0.001, 0.021]))
    recording = read_recording(alf)
    assert recording.unit_ids == [2, 4, 9]
    assert recording.trials["stimOn_times"].tolist() == [0.001, 0.021]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("spikes.times.npy", np.array([0.1, np.nan, 0.3, 0.4, 0.5, 0.6]), "1 of 6 times are NaN"),
        ("spikes.times.npy", np.array([0.1]), "1 spike times and 6 cluster numbers"),
        ("spikes.clusters.npy", np.array([0.5] * 6), "no whole numbers"),
        ("_ibl_trials.condition.npy", np.arange(3), "the trials files have different lengths"),
        ("_ibl_trials.intervals.npy", np.arange(2.0), "no trials.intervals"),
    ],
)
def test_alf_files_that_do_not_fit_are_refused(alf, name, values, message):
    np.save(alf / name, values)
    with pytest.raises((DataError, MissingFileError), match=message):
        read_recording(alf)


def test_two_alf_files_for_one_thing_are_not_guessed(alf):
    np.save(alf / "_other_spikes.times.npy", np.arange(6.0))
    with pytest.raises(DataError, match="two files hold the same"):
        read_recording(alf)


def test_a_parquet_table_without_its_library_is_left_out(alf, monkeypatch):
    (alf / "clusters.metrics.csv").unlink()
    (alf / "clusters.metrics.pqt").write_bytes(b"PAR1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    recording = read_recording(alf)
    assert "clusters.metrics.pqt needs pyarrow, which is not installed, and is left out" in recording.attrs["notes"]
    assert recording.unit_ids == [2, 4, 9]


def test_properties_of_a_sorting_are_columns_and_labels(sorting):
    np.save(sorting / "properties" / "quality.npy", np.array(["good", "mua", "good"]))
    np.save(sorting / "properties" / "location.npy", np.zeros((3, 2)))
    recording = read_recording(sorting)
    assert recording.unit_ids == [2, 9]
    assert list(recording.units.columns) == ["quality"]


def test_a_sorting_tells_its_own_rate(sorting):
    assert read_recording(sorting, time_unit="samples", sample_rate_hz=30_000).unit_ids == [2, 4, 9]
    with pytest.raises(OptionError, match="time_unit='ms' was given, but these times are samples"):
        read_recording(sorting, time_unit="ms")
    with pytest.raises(OptionError, match="sample_rate_hz=20000 was given"):
        read_recording(sorting, sample_rate_hz=20_000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_segments": 2}, "the sorting has 2 segments; expected one"),
        ({"sampling_frequency": "x"}, "'sampling_frequency' is missing or of a wrong kind"),
        ({"sampling_frequency": -1.0}, "the sampling frequency is -1.0"),
        ({"unit_ids": [1, 1, 2]}, "unit ids are repeated"),
        ({"unit_ids": [1]}, "a spike belongs to unit 2 of 1"),
        ({"unit_ids": {"a": 1}}, "'unit_ids' is missing or of a wrong kind"),
    ],
)
def test_a_sorting_that_contradicts_itself_is_refused(sorting, change, message):
    path = sorting / "numpysorting_info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=message):
        read_recording(sorting)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "null", "\x00"])
def test_a_sorting_whose_description_is_no_json_is_refused(sorting, text):
    (sorting / "numpysorting_info.json").write_text(text)
    with pytest.raises(DataError, match=r"the file is no JSON|'sampling_frequency' is missing"):
        read_recording(sorting)


def test_the_npz_of_several_segments_is_refused(tmp_path):
    path = WRITERS["write_spikeinterface_npz"](tmp_path, TRUTH)
    with np.load(path) as arrays:
        changed = {**dict(arrays), "num_segment": np.array([2])}
    np.savez(path, **changed)
    with pytest.raises(DataError, match=r"2 segments; expected one. Segments have no common clock"):
        read_recording(path)


def test_the_pickled_metadata_of_pynapple_are_not_opened(tmp_path):
    path = WRITERS["write_pynapple"](tmp_path, TRUTH)
    WRITERS["add_member"](path, "_metadata.npy", b"no array at all")
    assert read_recording(path).unit_ids == [2, 4, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": np.arange(2)}, "the unit of each spike is missing or does not fit"),
        ({"keys": np.array([2, 4])}, "spikes belong to none of them"),
        ({"keys": np.array([2, 4, 9, 9])}, "the keys of the units are repeated"),
        ({"t": np.array(list("abcdef"))}, "array 't' is missing or no vector of numbers"),
        ({"end": np.array([1.0, 2.0])}, "1 interval starts and 2 ends"),
        ({"end": np.array([-1.0])}, "an interval stops before it starts"),
        ({"type": np.array(["IntervalSet"])}, "a pynapple IntervalSet, which are no spikes"),
    ],
)
def test_a_group_that_contradicts_itself_is_refused(tmp_path, change, message):
    path = WRITERS["write_pynapple"](tmp_path, TRUTH)
    with np.load(path) as arrays:
        changed = {**dict(arrays), **change}
    np.savez(path, **changed)
    with pytest.raises(DataError, match=message):
        read_recording(path)


def test_a_folder_of_nothing_known_lists_what_is_read(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(FileAccessError, match=r"the path is a directory. Name a file .* or a folder of Phy"):
        read_recording(tmp_path)


def test_the_binary_format_of_open_ephys_points_to_the_sorter(tmp_path):
    (tmp_path / "structure.oebin").write_text("{}")
    with pytest.raises(DataError, match=r"Neo reads no spikes of Open Ephys' binary format. Read the folder of the"):
        read_recording(tmp_path)
