"""One truth written to every format comes back the same (R26).

Oracle: the truth itself. The files are made by hand from their makers' documents (`reference/format_writers`),
so neither Neo nor this package has written what it reads.
"""

from __future__ import annotations

import hashlib
import runpy
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cortexrnn import Recording, read_recording
from cortexrnn.errors import DataWarning

WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
RATE_HZ = 30_000
# Whole tenths of a millisecond, which samples at 30 kHz, steps at 10 kHz and microseconds all hold.
CANONICAL_HZ = 10_000
TRUTH = {
    "rate_hz": RATE_HZ,
    "units": {
        3: [30, 33, 3000, 60_000, 60_003, 89_997, 240_000],
        5: [],
        8: [300, 30_003, 150_000, 210_012, 290_001, 290_004],
    },
    "trials": [(0, 30_000, 1), (45_000, 75_000, 2), (150_000, 180_000, 1), (210_000, 240_000, 2)],
    "observed": [(0, 90_000), (150_000, 300_000)],
}
SAMPLES = {"sample_rate_hz": RATE_HZ}


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a format is written and read, and what it can hold."""

    write: Any
    options: dict = field(default_factory=dict)
    ids: Any = None
    holds_empty: bool = True
    holds_trials: bool = False
    conditions: str | None = None
    tick_hz: float = RATE_HZ


def numbered(text):
    """Give the ids of units whose numbers are 1, 2, 3 in the order of the truth."""
    return {unit: text.format(k + 1) for k, unit in enumerate(TRUTH["units"])}


FORMATS = {
    "phy": Format(write=WRITERS["write_phy"]),
    "alf": Format(write=WRITERS["write_alf"], holds_trials=True, conditions="condition", tick_hz=1e9),
    "pynapple": Format(write=WRITERS["write_pynapple"], tick_hz=1e9),
    "spikeinterface npz": Format(write=WRITERS["write_spikeinterface_npz"]),
    "spikeinterface folder": Format(write=WRITERS["write_spikeinterface_folder"]),
    "plexon": Format(write=WRITERS["write_plexon"], ids=numbered("ch1#{}"), holds_empty=False),
    "blackrock": Format(write=WRITERS["write_blackrock"], ids=numbered("ch7#{}"), holds_empty=False),
    "neuralynx": Format(
        write=WRITERS["write_neuralynx"], ids=numbered("chSE1#0#{}"), holds_empty=False, tick_hz=1_000_000
    ),
    "neuroexplorer": Format(
        write=WRITERS["write_neuroexplorer"], ids={unit: f"unit{unit}" for unit in TRUTH["units"]}, holds_trials=True
    ),
    "spike2": Format(write=WRITERS["write_spike2"], ids=numbered("ch0#{}"), holds_empty=False, tick_hz=10_000),
    "open ephys": Format(write=WRITERS["write_openephys"], ids=numbered("SE0#{}"), holds_empty=False),
    "tdt": Format(write=WRITERS["write_tdt"], ids=numbered("ch1#{}"), holds_empty=False, tick_hz=1e9),
    "axona": Format(write=WRITERS["write_axona"], ids=numbered("tetrode {}"), tick_hz=10_000),
    "nix": Format(
        write=WRITERS["write_nix"],
        ids={unit: str(unit) for unit in TRUTH["units"]},
        holds_trials=True,
        conditions="label",
        tick_hz=1e9,
    ),
    "matlab structs": Format(
        write=WRITERS["write_matlab"], options={"time_unit": "s"}, ids=numbered("{}"), tick_hz=1e9
    ),
    "matlab cells": Format(
        write=WRITERS["write_matlab_cells"], options={"time_unit": "samples", **SAMPLES}, ids=numbered("{}")
    ),
    "fieldtrip": Format(
        write=WRITERS["write_fieldtrip"],
        options={"time_unit": "samples", **SAMPLES},
        ids={unit: f"unit {unit}" for unit in TRUTH["units"]},
    ),
    "csv": Format(write=WRITERS["write_csv"], options=SAMPLES, holds_empty=False),
    "npz": Format(
        write=WRITERS["write_npz"],
        options=SAMPLES,
        ids={unit: f"unit{unit}_samples" for unit in TRUTH["units"]},
        holds_trials=True,
        conditions="condition",
    ),
    "nwb": Format(
        write=lambda folder, truth: as_recording(truth).to_nwb(folder / "session.nwb"),
        holds_trials=True,
        conditions="condition",
    ),
}


def as_recording(truth):
    """Make a recording of the truth."""
    trials = pd.DataFrame(
        {name: [trial[k] for trial in truth["trials"]] for k, name in enumerate(("start_s", "stop_s", "condition"))}
    )
    trials[["start_s", "stop_s"]] /= truth["rate_hz"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return Recording.from_arrays(
            {unit: np.array(ticks) / truth["rate_hz"] for unit, ticks in truth["units"].items()},
            trials=trials,
            observed_s=np.array(truth["observed"]) / truth["rate_hz"],
            tick_hz=truth["rate_hz"],
        )


def read_back(folder, form, truth=TRUTH, **options):
    """Write the truth and read it; a unit without spikes is warned of."""
    path = form.write(folder, truth)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_recording(path, **form.options, **options)


def canonical(recording, ids):
    """Give the SHA-256 of ids and times of all units that have spikes, on one clock for all formats."""
    sha = hashlib.sha256()
    for unit, read_as in ids.items():
        if read_as not in recording.unit_ids:
            continue
        times = recording.spike_times_s(read_as) * CANONICAL_HZ
        # Seconds since 1970 hold a quarter of a microsecond; everything else is exact.
        np.testing.assert_allclose(times, np.rint(times), rtol=0, atol=0.005)
        if times.size:
            sha.update(f"{unit} {np.rint(times).astype(np.int64).tolist()}".encode())
    return sha.hexdigest()


@pytest.fixture(scope="module", params=FORMATS, ids=FORMATS)
def case(request, tmp_path_factory):
    """A format and what came back from it."""
    form = FORMATS[request.param]
    return form, read_back(tmp_path_factory.mktemp("format"), form)


def ids_of(form):
    return form.ids or {unit: unit for unit in TRUTH["units"]}


def test_every_format_gives_the_same_units_and_times(case):
    form, recording = case
    same = {unit: unit for unit in TRUTH["units"]}
    assert canonical(recording, ids_of(form)) == canonical(as_recording(TRUTH), same)


def test_ticks_are_those_of_the_formats_own_clock(case):
    form, recording = case
    assert recording.tick_hz == form.tick_hz
    if form.tick_hz == RATE_HZ:
        for unit, ticks in TRUTH["units"].items():
            if ids_of(form)[unit] in recording.unit_ids:
                position = recording.unit_ids.index(ids_of(form)[unit])
                assert recording.unit_ticks(position).tolist() == ticks


def test_a_unit_without_spikes_stays_where_the_format_knows_it(case):
    form, recording = case
    expected = [ids_of(form)[unit] for unit, ticks in TRUTH["units"].items() if ticks or form.holds_empty]
    assert recording.unit_ids == expected


def test_trials_and_conditions_come_back(case):
    form, recording = case
    if not form.holds_trials:
        assert len(recording.trials) == 0
        return
    edges = np.array([trial[:2] for trial in TRUTH["trials"]]) / RATE_HZ
    np.testing.assert_array_equal(recording.trials[["start_s", "stop_s"]].to_numpy(), edges)
    if form.conditions:
        assert recording.trials[form.conditions].astype(str).tolist() == ["1", "2", "1", "2"]


def test_times_relate_to_trials_as_they_did(case):
    form, recording = case
    if not form.holds_trials:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        counts = recording.align(window_s=(0.0, 1.0), bin_s=0.1, history_s=0.1)["counts"].values
        expected = as_recording(TRUTH).align(window_s=(0.0, 1.0), bin_s=0.1, history_s=0.1)["counts"].values
    # The burn-in before the first trial is observed in some formats and not in others; it holds no spike.
    assert counts.sum(axis=1).tolist() == expected.sum(axis=1).tolist()


@pytest.mark.parametrize("name", ["pynapple", "nwb"])
def test_the_gap_in_what_was_observed_comes_back(tmp_path, name):
    recording = read_back(tmp_path, FORMATS[name])
    observed = recording.unit_observed(0) / recording.tick_hz
    np.testing.assert_array_equal(observed, np.array(TRUTH["observed"]) / RATE_HZ)
    assert recording.attrs["observed"] == "given"


@pytest.mark.parametrize("name", ["phy", "spikeinterface npz", "csv", "matlab cells"])
def test_trials_in_a_file_beside_share_the_sample_clock(tmp_path, name):
    trials = WRITERS["write_trials_csv"](tmp_path, TRUTH)
    # Sorters tell their rate, and trials in samples are on the same clock.
    form = Format(write=FORMATS[name].write, options={**FORMATS[name].options, "trials": trials})
    recording = read_back(tmp_path, form)
    edges = np.array([trial[:2] for trial in TRUTH["trials"]]) / RATE_HZ
    np.testing.assert_array_equal(recording.trials[["start_s", "stop_s"]].to_numpy(), edges)
    assert recording.trials["condition"].tolist() == [1, 2, 1, 2]


def test_an_interval_set_serves_as_trials(tmp_path):
    form = Format(write=FORMATS["pynapple"].write, options={"trials": tmp_path / "epochs.npz"}, tick_hz=1e9)
    recording = read_back(tmp_path, form)
    edges = np.array([trial[:2] for trial in TRUTH["trials"]]) / RATE_HZ
    np.testing.assert_array_equal(recording.trials[["start_s", "stop_s"]].to_numpy(), edges)


@pytest.mark.parametrize(
    ("name", "table"), [("plexon", "Strobed"), ("blackrock", "digital_input_port"), ("spike2", "stim")]
)
def test_events_of_vendors_are_tables_that_can_be_trials(tmp_path, name, table):
    recording = read_back(tmp_path, FORMATS[name], trials=table)
    starts = [trial[0] / RATE_HZ for trial in TRUTH["trials"]]
    assert recording.trials["start_s"].tolist() == starts
    if name != "spike2":
        assert recording.trials["label"].tolist() == ["1", "2", "1", "2"]


def test_events_of_neuralynx_are_a_table_a_condition(tmp_path):
    recording = read_back(tmp_path, FORMATS["neuralynx"])
    starts = {name: table["start_s"].tolist() for name, table in recording.tables.items()}
    assert starts == {"SE1 event_id=11 ttl=1": [0.0, 5.0], "SE1 event_id=11 ttl=2": [1.5, 7.0]}


trains = st.lists(
    st.lists(st.integers(0, 3_000_000), max_size=12).map(lambda ticks: sorted(3 * tick for tick in ticks)),
    min_size=1,
    max_size=4,
).filter(lambda units: any(units))
CHEAP = ("phy", "alf", "pynapple", "spikeinterface npz", "spikeinterface folder", "csv")


@pytest.mark.parametrize("name", CHEAP)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=trains)
def test_any_spike_trains_come_back(tmp_path_factory, name, units):
    ids = [2, 3, 7, 40][: len(units)]
    truth = {
        **TRUTH, "units": dict(zip(ids, units, strict=True)), "observed": [(0, 9_000_001)],
    }  # fmt: skip
    form = FORMATS[name]
    recording = read_back(tmp_path_factory.mktemp("any"), form, truth)
    kept = [unit for unit, ticks in truth["units"].items() if ticks or form.holds_empty]
    assert recording.unit_ids == kept
    for position, unit in enumerate(kept):
        times = recording.unit_ticks(position) / recording.tick_hz
        assert np.rint(times * RATE_HZ).astype(int).tolist() == truth["units"][unit]
