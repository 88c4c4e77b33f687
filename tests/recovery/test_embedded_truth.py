"""The embedded recording comes out of its script again, and other noise gives the same statistics."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "data"
RECORDING = DATA / "recording.nwb"


def read_arrays(path):
    """Read spike times of every unit, trial columns and the versions that made the file."""
    with h5py.File(path, "r") as file:
        units, trials = file["units"], file["intervals/trials"]
        spikes = np.split(units["spike_times"][:], units["spike_times_index"][:-1])
        columns = {name: trials[name][:] for name in ("start_time", "stop_time", "stimulus_on")}
        notes = file["general/notes"].asstr()[()]
    return spikes, columns, dict(entry.split() for entry in notes.split("; "))


def same_versions(*packages):
    """Tell whether the installed packages are those that made the committed file."""
    made_with = read_arrays(RECORDING)[2]
    return all(made_with[name] == importlib.metadata.version(name) for name in packages)


def isi_statistics(spikes_s, stop_s, blocks):
    """Rate (Hz), CV and fraction of intervals below 3 ms of the kept blocks; a block ends with its trial."""
    edges = np.concatenate(([0.0], stop_s))
    cut = [spikes_s[(spikes_s >= edges[k]) & (spikes_s < edges[k + 1])] for k in blocks]
    intervals_s = np.concatenate([np.diff(block) for block in cut])
    length_s = np.diff(edges)[blocks].sum()
    return np.array(
        [
            sum(map(len, cut)) / length_s,
            intervals_s.std() / intervals_s.mean(),
            np.mean(intervals_s < 0.003),
        ]
    )


def statistics_with_errors(spikes_s, stop_s):
    """Give the statistics and their standard errors by leaving out one block at a time."""
    every = np.arange(stop_s.size)
    left_out = np.array([isi_statistics(spikes_s, stop_s, np.delete(every, k)) for k in every])
    error = np.sqrt((every.size - 1) * left_out.var(axis=0))
    return isi_statistics(spikes_s, stop_s, every), error


def assert_same_statistics(spikes_s, expected_s, stop_s):
    """Compare two draws of a unit: 5 standard errors of a difference, from the sampling error over blocks."""
    value, error = statistics_with_errors(spikes_s, stop_s)
    expected, expected_error = statistics_with_errors(expected_s, stop_s)
    # Where a fraction is 0 in every block its error is 0 too: allow what three intervals would make.
    floor = np.array([0.0, 0.0, 3.0 / expected_s.size])
    tolerance = 5.0 * np.hypot(error, expected_error) + floor
    assert np.all(np.abs(value - expected) <= tolerance), (value, expected, tolerance)


@pytest.fixture
def script(monkeypatch):
    """Import the script of the data folder as it imports its own network."""
    monkeypatch.syspath_prepend(str(DATA))
    for name in ("make_recording", "ei_network"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module("make_recording")
    for name in ("make_recording", "ei_network"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def run_script(out, *options):
    """Run the documented command in a process of its own."""
    command = [sys.executable, str(DATA / "make_recording.py"), str(out), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return read_arrays(out)


def test_control_units_come_out_of_the_script_again(script):
    spikes, trials, _ = read_arrays(RECORDING)
    session = script.make_session()
    remade = [script.make_control(control, session) for control in script.CONTROLS]
    for unit, expected_s in zip(remade, spikes[-len(remade) :], strict=True):
        if same_versions("numpy"):
            np.testing.assert_array_equal(unit.ticks / script.TICK_RATE_HZ, expected_s)
        else:
            assert_same_statistics(unit.ticks / script.TICK_RATE_HZ, expected_s, trials["stop_time"])


def test_tolerance_tells_a_dead_time_from_a_poisson_unit():
    # The comparison that the other tests rely on must be able to fail.
    spikes, trials, _ = read_arrays(RECORDING)
    with pytest.raises(AssertionError):
        assert_same_statistics(spikes[8], spikes[6], trials["stop_time"])


def test_bursting_control_follows_its_law_at_a_constant_rate(script):
    """Oracle: the distribution of the interval under the stated factors, tick by tick."""
    control = next(control for control in script.CONTROLS if control.truth == "bursting")
    rate_hz = control.rate_hz[0]
    flat = dataclasses.replace(control, rate_hz=(rate_hz, 0.0, 0.0))
    intervals_s = np.diff(script.make_control(flat, script.make_session()).ticks) / script.TICK_RATE_HZ
    chance = rate_hz / script.TICK_RATE_HZ
    burst = 1.0 - (1.0 - 20.0 * chance) ** 40
    before_40_ms = 1.0 - (1.0 - burst) * (1.0 - chance / 3.0) ** 340
    for limit_s, expected in ((0.002, 0.0), (0.006, burst), (0.040, before_40_ms)):
        # Four binomial standard errors.
        tolerance = 4.0 * np.sqrt(expected * (1.0 - expected) / intervals_s.size)
        assert abs(np.mean(intervals_s < limit_s) - expected) <= tolerance


@pytest.mark.slow
def test_the_script_makes_the_committed_recording(tmp_path):
    spikes, trials, _ = read_arrays(RECORDING)
    remade, remade_trials, _ = run_script(tmp_path / "again.nwb")
    for name, values in trials.items():
        np.testing.assert_array_equal(remade_trials[name], values)
    for unit_s, expected_s in zip(remade, spikes, strict=True):
        if same_versions("numpy", "brian2"):
            np.testing.assert_array_equal(unit_s, expected_s)
        else:
            assert_same_statistics(unit_s, expected_s, trials["stop_time"])


@pytest.mark.slow
def test_other_noise_gives_the_same_rates_and_intervals(tmp_path):
    """Oracle: the sampling error over blocks; this is what the card promises for other versions."""
    spikes, trials, _ = read_arrays(RECORDING)
    remade, _, _ = run_script(tmp_path / "other.nwb", "--noise-seed", "11")
    for unit_s, expected_s in zip(remade, spikes, strict=True):
        assert not np.array_equal(unit_s, expected_s)
        assert_same_statistics(unit_s, expected_s, trials["stop_time"])


@pytest.mark.slow
def test_network_synapse_releases_as_tsodyks_1998():
    """Oracle: the closed form between spikes, written out, on an irregular train."""
    program = f"""
import sys; sys.path.insert(0, {str(DATA)!r})
import numpy as np, brian2 as b2
from brian2 import second
from ei_network import ON_SPIKE, SYNAPSE
b2.prefs.codegen.target = "numpy"
b2.defaultclock.dt = 0.1 * b2.ms
train_s = np.array([0.01, 0.03, 0.035, 0.2, 0.21, 0.7])
source = b2.SpikeGeneratorGroup(1, np.zeros(6, int), train_s * second)
target = b2.NeuronGroup(1, "g_e : 1\\ng_i : 1")
synapse = b2.Synapses(source, target, SYNAPSE, on_pre=ON_SPIKE)
synapse.connect(i=[0], j=[0])
synapse.use, synapse.weight_e, synapse.weight_i, synapse.u, synapse.x = 0.15, 1.0, 0.0, 0.0, 1.0
synapse.tau_f, synapse.tau_d = 0.6 * second, 0.13 * second
monitor = b2.StateMonitor(target, "g_e", record=True)
b2.Network(source, target, synapse, monitor).run(0.8 * second)
total = monitor.g_e[0]
print(*(np.diff(total)[np.diff(total) > 0.0]).tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    released = np.array(done.stdout.split(), dtype=float)
    u, x, last_s, expected = 0.0, 1.0, 0.0, []
    for time_s in (0.01, 0.03, 0.035, 0.2, 0.21, 0.7):
        u *= np.exp(-(time_s - last_s) / 0.6)
        x = 1.0 + (x - 1.0) * np.exp(-(time_s - last_s) / 0.13)
        u += 0.15 * (1.0 - u)
        expected.append(u * x)
        x -= u * x
        last_s = time_s
    # Differences of a running sum of order 1: a few units of round-off.
    np.testing.assert_allclose(released, expected, rtol=1e-12)
