"""A time in a wrong unit is converted or refused, wherever it can be told (R25).

Oracle: the same times in seconds, by hand. Where a value is legal and merely odd, nobody can tell: no case.
"""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cortexrnn as cx
from cortexrnn import Recording
from cortexrnn.errors import DataError, NoTrialsError, OptionError, TimeUnitError

WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
# Two spikes, which every case below has in one unit or another.
TIMES_S = np.array([0.25, 1.5])
PER_S = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9, "samples": 30_000}
# To half a tick of the clock of nanoseconds, and to the bit of a double.
TOLERANCE_S = 1e-9


def quantity(values, unit):
    """Give a quantity as Neo has them."""
    import quantities

    return quantities.Quantity(values, unit)


def table(folder, header, unit, name="spikes.csv"):
    """Write the two spikes of unit 1."""
    rows = "".join(f"1,{time * PER_S[unit]:.10g}\n" for time in TIMES_S)
    (folder / name).write_text(f"unit,{header}\n{rows}")
    return folder / name


def archive(folder, name, unit):
    """Write the two spikes as the one array of an archive."""
    np.savez(folder / "spikes.npz", **{name: TIMES_S * PER_S[unit]})
    return folder / "spikes.npz"


def spikes(recording):
    """Give all spikes in seconds."""
    return recording.ticks / recording.tick_hz


def read(path, **options):
    return spikes(cx.read_recording(path, **options))


def trials(folder, text, **options):
    """Read trials beside two spikes in seconds and give their edges."""
    (folder / "trials.csv").write_text(text)
    path = table(folder, "time_s", "s")
    found = cx.read_recording(path, trials=folder / "trials.csv", **options).trials
    return found[["start_s", "stop_s"]].to_numpy()


def signals(folder, header, unit, **options):
    """Read a signal and give its times."""
    rows = "".join(f"{time * PER_S[unit]:.10g},1.0\n" for time in TIMES_S)
    (folder / "signals.csv").write_text(f"{header},running\n{rows}")
    return cx.read_signals(folder / "signals.csv", **options)["running"].time_s


def neo_block(unit):
    """Give a block with one train and one epoch object, both in this unit."""
    import neo

    block = neo.Block()
    block.segments.append(neo.Segment())
    times = quantity(TIMES_S, "s").rescale(unit)
    block.segments[0].spiketrains.append(neo.SpikeTrain(times, t_stop=quantity(2.0, "s").rescale(unit)))
    starts, lengths = (quantity(values, "s").rescale(unit) for values in ([0.0, 1.0], [0.5, 0.5]))
    block.segments[0].epochs.append(neo.Epoch(starts, lengths, labels=["a", "b"], name="trials"))
    return block


def session():
    """Give 20 s of one unit with a trial a second, 0.3 s into which something happens."""
    starts = np.arange(20.0)
    table = pd.DataFrame({"start_s": starts, "stop_s": starts + 1.0, "stim_s": starts + 0.3})
    return Recording.from_arrays([np.arange(0.05, 20.0, 0.1)], trials=table, observed_s=np.array([[0.0, 20.0]]))


def align(**how):
    """Cut the session; give the scored span and the width of a bin."""
    found = session().align(**{"window_s": (0.0, 0.5), "bin_s": 0.005, "history_s": 0.1, **how})
    time = found["time"].values
    return [time[0], time[-1], time[1] - time[0], found.sizes["trial"]]


def frame(name, unit, **options):
    """Make a recording of a table in memory."""
    return spikes(Recording.from_pandas(pd.DataFrame({"unit": 1, name: TIMES_S * PER_S[unit]}), **options))


def small_circuit():
    return cx.Circuit.random(10, gain=0.5, seed=1)


def end_of(**how):
    """Simulate and give the last time."""
    return float(cx.simulate(small_circuit(), n_trials=1, **how)["time"].values[-1])


def population(**how):
    return cx.Population(name="e", size=2, **how)


AS_CUT = [-0.1, 0.495, 0.005, 20]
EDGES_S = np.array([[0.0, 0.5], [1.0, 1.5]])
CONVERTED = {
    **{
        f"csv: {header}": (lambda f, h=header, u=unit: read(table(f, h, u)), TIMES_S)
        for header, unit in {"time_ms": "ms", "spike_time_us": "us", "t [ns]": "ns", "Time (msec)": "ms"}.items()
    },
    **{
        f"csv: told to be {unit}": (
            lambda f, u=unit, r=rate: read(table(f, "time", u), time_unit=u, sample_rate_hz=r), TIMES_S,
        )
        for unit, rate in {"ms": None, "us": None, "samples": 30_000}.items()
    },
    "npz: times_ms": (lambda f: read(archive(f, "times_ms", "ms")), TIMES_S),
    "npz: times_samples": (lambda f: read(archive(f, "times_samples", "samples"), sample_rate_hz=30_000), TIMES_S),
    "npz: told to be us": (lambda f: read(archive(f, "unit7", "us"), time_unit="us"), TIMES_S),
    "trials: in ms": (lambda f: trials(f, "start_ms,stop_ms\n0,500\n1000,1500\n"), EDGES_S),
    "trials: a start in samples, a duration in ms": (
        lambda f: trials(f, "start_samples,duration_ms\n0,500\n30000,500\n", sample_rate_hz=30_000), EDGES_S,
    ),
    "signals: time_ms": (lambda f: signals(f, "time_ms", "ms"), TIMES_S),
    "signals: told to be samples": (
        lambda f: signals(f, "time", "samples", time_unit="samples", sample_rate_hz=30_000), TIMES_S,
    ),
    "pandas: time_ms": (lambda f: frame("time_ms", "ms"), TIMES_S),
    "pandas: told to be samples": (
        lambda f: frame("time", "samples", time_unit="samples", sample_rate_hz=30_000), TIMES_S,
    ),
    "nix: in ms": (lambda f: read(WRITERS["write_nix"](f, TRUTH))[:2], np.array([300, 600]) / 30_000),
    "neuralynx: in us": (
        lambda f: np.sort(read(WRITERS["write_neuralynx"](f, TRUTH)))[:2], np.array([300, 450]) / 30_000,
    ),
    **{
        f"neo: trains in {unit}": (lambda f, u=unit: spikes(Recording.from_neo(neo_block(u))), TIMES_S)
        for unit in ("s", "ms", "us", "ns")
    },
    **{
        f"neo: epochs in {unit}": (
            lambda f, u=unit: Recording.from_neo(neo_block(u)).trials[["start_s", "stop_s"]].to_numpy(), EDGES_S,
        )
        for unit in ("ms", "us")
    },
    "arrays: quantities in ms": (lambda f: spikes(Recording.from_arrays([quantity(TIMES_S * 1e3, "ms")])), TIMES_S),
    "arrays: observed in ms": (
        lambda f: Recording.from_arrays([TIMES_S], observed_s=quantity([[0.0, 2000.0]], "ms")).duration_s, 2.0,
    ),
    "arrays: a clock in kHz": (lambda f: Recording.from_arrays([TIMES_S], tick_hz=quantity(30, "kHz")).tick_hz, 3e4),
    "align: a window in ms": (lambda f: align(window_s=(quantity(0, "ms"), quantity(500, "ms"))), AS_CUT),
    "align: a window of one quantity": (lambda f: align(window_s=quantity([0, 500], "ms")), AS_CUT),
    "align: bins in us": (lambda f: align(bin_s=quantity(5000, "us")), AS_CUT),
    "align: a burn-in in ms": (lambda f: align(history_s=quantity(100, "ms")), AS_CUT),
    "blocks: in ms": (
        lambda f: session().blocks(block_s=quantity(2000, "ms"), bin_s=quantity(5, "ms"), history_s=0.1).sizes["time"],
        420,
    ),
    "signal: quantities in ms": (
        lambda f: cx.Signal(time_s=quantity(TIMES_S * 1e3, "ms"), values=np.zeros(2)).time_s, TIMES_S,
    ),
    "simulate: quantities in ms": (
        lambda f: end_of(duration_s=quantity(500, "ms"), dt_s=quantity(1, "ms")),
        lambda: end_of(duration_s=0.5, dt_s=1e-3),
    ),
}  # fmt: skip
REFUSED = {
    "csv: no unit": (lambda f: read(table(f, "time", "ms")), TimeUnitError, "does not say its unit of time"),
    "csv: an unknown unit": (
        lambda f: read(table(f, "time", "ms"), time_unit="min"), TimeUnitError, "'min' is unknown",
    ),
    "csv: another unit than the header": (
        lambda f: read(table(f, "time_ms", "ms"), time_unit="s"), TimeUnitError, "is in ms by its header",
    ),
    "csv: samples without a rate": (lambda f: read(table(f, "time_samples", "samples")), TimeUnitError, "in samples"),
    "csv: a rate for seconds": (
        lambda f: read(table(f, "time_s", "s"), sample_rate_hz=30_000), OptionError, "no time is in samples",
    ),
    "csv: samples and a rate of 0 Hz": (
        lambda f: read(table(f, "time_samples", "samples"), sample_rate_hz=0), OptionError, "not a positive",
    ),
    "npz: no unit": (lambda f: read(archive(f, "unit7", "ms")), TimeUnitError, "does not say its unit of time"),
    "npz: another unit than the name": (
        lambda f: read(archive(f, "times_us", "us"), time_unit="ms"), TimeUnitError, "is in us",
    ),
    "npz: samples without a rate": (
        lambda f: read(archive(f, "times_samples", "samples")), TimeUnitError, "in samples",
    ),
    "npz: a rate for ms": (
        lambda f: read(archive(f, "times_ms", "ms"), sample_rate_hz=1000), OptionError, "no time is in samples",
    ),
    "trials: no unit": (lambda f: trials(f, "start,stop\n0,500\n"), TimeUnitError, "does not say its unit of time"),
    "trials: another unit than the header": (
        lambda f: trials(f, "start_ms,stop_ms\n0,500\n", time_unit="s"), TimeUnitError, "is in ms by its header",
    ),
    "trials: samples without a rate": (
        lambda f: trials(f, "start_samples,stop_samples\n0,500\n"), TimeUnitError, "in samples",
    ),
    "trials: a start in ms for one in seconds": (
        lambda f: Recording.from_arrays([TIMES_S], trials=pd.DataFrame({"start_ms": [0.0, 1000.0]})),
        DataError, "start_s",
    ),
    "signals: no unit": (lambda f: signals(f, "time", "ms"), TimeUnitError, "does not say its unit of time"),
    "signals: another unit than the header": (
        lambda f: signals(f, "time_ms", "ms", time_unit="s"), TimeUnitError, "is in ms by its header",
    ),
    "signals: a quantity that is no time": (
        lambda f: cx.Signal(time_s=quantity(TIMES_S, "mV"), values=np.zeros(2)), OptionError, "is in mV; expected s",
    ),
    "pandas: no unit": (lambda f: frame("time", "ms"), TimeUnitError, "does not say its unit of time"),
    "pandas: a rate for seconds": (lambda f: frame("time_s", "s", sample_rate_hz=1000), OptionError, "in samples"),
    "nwb: told to be ms": (
        lambda f: read(session().to_nwb(f / "a.nwb"), time_unit="ms"), OptionError, "tell their unit",
    ),
    "phy: told to be ms": (
        lambda f: read(WRITERS["write_phy"](f, TRUTH), time_unit="ms"), OptionError, "these times are samples",
    ),
    "phy: a rate in kHz": (
        lambda f: read(WRITERS["write_phy"](f, TRUTH), sample_rate_hz=30), OptionError, "params.py says 30000",
    ),
    "phy: seconds for samples": (
        lambda f: read(seconds_in_phy(f)), DataError, "no whole numbers; expected sample numbers",
    ),
    "spikeinterface: a rate in kHz": (
        lambda f: read(WRITERS["write_spikeinterface_folder"](f, TRUTH), sample_rate_hz=30),
        OptionError, "sample_rate_hz=30",
    ),
    "plexon: told to be samples": (
        lambda f: read(WRITERS["write_plexon"](f, TRUTH), time_unit="samples"), OptionError, "tell their unit",
    ),
    "arrays: nanoseconds for seconds": (
        lambda f: Recording.from_arrays([np.array([2.5e12])]), DataError, "beyond the clock",
    ),
    "arrays: a quantity that is no time": (
        lambda f: Recording.from_arrays([quantity(TIMES_S, "mV")]), OptionError, "is in mV; expected s",
    ),
    "align: a window in ms": (lambda f: align(window_s=(0, 500)), OptionError, "500 ms are 0.5"),
    "align: a window in samples": (lambda f: align(window_s=(-3000, 15_000)), OptionError, "is 18000 s long"),
    "align: a burn-in in ms": (lambda f: align(history_s=100), OptionError, "history_s is 100 s long"),
    "align: bins in ms": (lambda f: align(bin_s=5), OptionError, "does not divide the window"),
    "align: a window in mV": (lambda f: align(window_s=quantity([0, 500], "mV")), OptionError, "is in mV; expected s"),
    "align: bins in Hz": (lambda f: align(bin_s=quantity(200, "Hz")), OptionError, "is in Hz; expected s"),
    "align: an event without a unit": (
        lambda f: event_without_unit(f), TimeUnitError, "does not say its unit of time",
    ),
    "blocks: in ms": (lambda f: session().blocks(block_s=10_000), NoTrialsError, "holds no block of 10000 s"),
    "blocks: a burn-in in ms": (lambda f: session().blocks(history_s=500), OptionError, "history_s is 500 s long"),
    "compare: a window in ms": (
        lambda f: cx.compare(session(), window_s=(0, 500)), OptionError, "500 ms are 0.5",
    ),
    "compare: bins in ms": (
        lambda f: cx.compare(session(), window_s=(0.0, 0.5), bin_s=5), OptionError, "does not divide the window",
    ),
    "simulate: a record from 100 ms": (
        lambda f: end_of(duration_s=0.5, record=cx.Record(start_s=100)),
        OptionError, "start_s=100 is not before the end",
    ),
    "simulate: steps in ms": (lambda f: end_of(duration_s=0.5, dt_s=1), OptionError, "expected a whole number"),
    "simulate: a duration in Hz": (lambda f: end_of(duration_s=quantity(2, "Hz")), OptionError, "is in Hz; expected s"),
    "circuit: a time constant in ms": (lambda f: population(tau_s=20.0), OptionError, "tau_s"),
    "circuit: a key in ms": (lambda f: circuit_in_ms(f), OptionError, "tau_ms"),
    "plasticity: a time constant in ms": (
        lambda f: circuit_with(tau_f_s=1500.0, tau_d_s=200.0), OptionError, "tau_",
    ),
}  # fmt: skip


def seconds_in_phy(folder):
    """Put seconds where Phy keeps samples."""
    path = WRITERS["write_phy"](folder, TRUTH)
    np.save(path / "spike_times.npy", np.load(path / "spike_times.npy") / TRUTH["rate_hz"])
    return path


def event_without_unit(folder):
    """Align to a column of trials whose name tells no unit."""
    (folder / "trials.csv").write_text("start_s,stop_s,stim\n0,0.5,250\n1,1.5,250\n")
    recording = cx.read_recording(table(folder, "time_s", "s"), trials=folder / "trials.csv")
    return recording.align("stim", window_s=(0.0, 0.1))


def circuit_with(**plasticity):
    """Make a published circuit with another class of plasticity."""
    circuit = cx.load_circuit(next(name for name in cx.circuit_names() if cx.load_circuit(name).plasticity))
    law = cx.ShortTermPlasticity(U=0.2, **plasticity)
    return replace(circuit, plasticity=dict.fromkeys(circuit.plasticity, law))


def circuit_in_ms(folder):
    """Read a circuit whose time constant is told in ms."""
    (folder / "a.toml").write_text('name = "x"\n[[populations]]\nname = "e"\nsize = 2\ntau_ms = 20.0\n')
    return cx.load_circuit(folder / "a.toml")


@pytest.mark.filterwarnings("ignore::cortexrnn.errors.DataWarning")
@pytest.mark.parametrize("name", CONVERTED)
def test_a_time_in_another_unit_is_converted(tmp_path, name):
    make, expected = CONVERTED[name]
    expected = expected() if callable(expected) else expected
    np.testing.assert_allclose(make(tmp_path), expected, rtol=1e-15, atol=TOLERANCE_S)


@pytest.mark.filterwarnings("ignore::cortexrnn.errors.DataWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_a_time_in_a_wrong_unit_is_refused(tmp_path, name):
    make, kind, says = REFUSED[name]
    with pytest.raises(kind, match=says):
        make(tmp_path)


def test_a_window_that_reaches_beyond_the_recording_is_not_held_to_be_in_milliseconds():
    # The recording is inferred to last 0.1 s; ten seconds are never refused for their length.
    recording = Recording.from_arrays([np.array([0.1, 0.2])], trials=pd.DataFrame({"start_s": [0.1]}))
    assert recording.align(window_s=(0.0, 10.0), bin_s=0.1, history_s=0.0).sizes["time"] == 100


def test_there_are_forty_calls():
    assert len(CONVERTED) + len(REFUSED) >= 40
