"""A made-up comparison of twelve units, as `evaluation` hands it to `report`, and the command line in this process."""

from __future__ import annotations

import copy
import math
import signal
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from cortexrnn import cli

N_TRIALS, N_BINS, BIN_S = 60, 1000, 0.001

# Label, rate (Hz), dead time (bins), burst factor, SD of the log gain, history gain and half width, verdict.
UNITS = [
    ("dead time 3 ms", 35, 3, 1.0, 0.0, 0.196, 0.021, "history matters"),
    ("bursting", 22, 2, 4.0, 0.0, 0.912, 0.064, "history matters"),
    ("adapting", 28, 6, 1.0, 0.0, 0.214, 0.030, "history matters"),
    ("pure Poisson from a PSTH", 18, 0, 1.0, 0.0, -0.0012, 0.0061, "no relevant history"),
    ("Poisson with slow trial gain", 20, 0, 1.0, 0.5, 0.0024, 0.0120, "inconclusive"),
    ("excitatory, network", 8, 4, 1.0, 0.0, 0.058, 0.024, "history matters"),
    ("excitatory, network", 5, 4, 1.0, 0.0, 0.031, 0.036, "inconclusive"),
    ("excitatory, network", 12, 4, 1.0, 0.1, 0.103, 0.022, "history matters"),
    ("inhibitory, network", 41, 2, 1.0, 0.0, 0.148, 0.014, "history matters"),
    ("inhibitory, network", 33, 2, 1.0, 0.0, 0.117, 0.015, "history matters"),
    ("excitatory, network", 3, 4, 1.0, 0.0, 0.012, 0.071, "inconclusive"),
    ("silent", 0, 0, 1.0, 0.0, math.nan, math.nan, "inconclusive"),
]


@pytest.fixture(scope="session")
def report_example():
    """Summary and panels of the whole example; do not change them."""
    rng = np.random.default_rng(20240611)
    counts = np.stack([_simulate(rng, *row[1:5]) for row in UNITS])
    return _make_summary(counts), _make_panels(counts, rng)


@pytest.fixture
def report_summary(report_example):
    """A summary of twelve units that a test may change."""
    return copy.deepcopy(report_example[0])


@pytest.fixture
def report_panels(report_example):
    """The panels that go with `report_summary`."""
    return report_example[1].copy(deep=True)


def _simulate(rng, rate_hz, dead_bins, burst, gain_sd, *_):
    """Draw 0/1 counts (trial, bin) with a stimulus-locked bump, a dead time, bursts and a trial gain."""
    time = np.arange(N_BINS) * BIN_S
    shape = (
        0.5
        + 1.6 * np.exp(-0.5 * ((time - 0.32) / 0.05) ** 2)
        + 0.5 * np.exp(-0.5 * ((time - 0.62) / 0.12) ** 2)
    )
    gain = np.exp(gain_sd * rng.standard_normal(N_TRIALS))
    counts = np.zeros((N_TRIALS, N_BINS), dtype=np.uint8)
    since = np.full(N_TRIALS, 1000)
    for t in range(N_BINS):
        hazard = rate_hz * BIN_S * shape[t] * gain * np.where(since < 12, burst, 1.0) * (since > dead_bins)
        spike = rng.random(N_TRIALS) < hazard
        counts[:, t] = spike
        since = np.where(spike, 1, since + 1)
    return counts


def _interval(value, half):
    """Make a gain with its interval."""
    return {"value": value, "ci": [value - half, value + half]}


def _make_unit(number, counts):
    """Make one entry of `units` with plausible numbers."""
    label, _, dead_bins, burst, gain_sd, gain, half, verdict = UNITS[number]
    if not counts.any():
        return {
            "unit": f"u{number:02d}",
            "n_spikes": 0,
            "rate_hz": 0.0,
            "n_trials": N_TRIALS,
            "rungs": {},
            "steps": {},
            "history_gain": {"value": None, "ci": [None, None], "over": None, "chosen": []},
            "p": None,
            "q": None,
            "detectable_gain": None,
            "surrogate_p": None,
            "surrogate_kind": None,
            "verdict": verdict,
            "sentence": "The unit is silent in the window: nothing can be said.",
            "more_trials": None,
            "more_trials_text": "",
            "timescale_s": None,
            "refractory_mass": {"window_s": 0.002, "observed": math.nan, "model": "M1", "expected": math.nan},
            "isi_violations": 0,
            "warnings": ["The unit has no spikes in the window."],
            "truth": {"label": label, "text": "A unit without spikes.", "has_history": False, "agrees": None},
        }
    gaps_ms = np.concatenate([np.diff(np.flatnonzero(row)) for row in counts])
    m1, m3 = 0.31 - 0.01 * number, 0.313 - 0.01 * number + 0.2 * gain_sd
    level = {
        "M0": 0.0,
        "M1": m1,
        "M2": m1 - 0.002,
        "M3": m3,
        "M4": m3 + 0.7 * gain,
        "M5": m3 + gain,
        "M6cut": m3 - 0.004,
        "M6": m3 + 0.98 * gain,
        "history": m3 + gain,
    }
    below = {"M1": "M0", "M2": "M1", "M3": "M2", "M4": "M3", "M5": "M4", "M6": "M6cut", "M6cut": "M3"}
    return {
        "unit": f"u{number:02d}",
        "n_spikes": int(counts.sum()),
        "rate_hz": float(counts.sum() / N_TRIALS),
        "n_trials": N_TRIALS,
        "rungs": {
            name: {"bits_per_spike": value, "ci": [value - half, value + half]}
            for name, value in level.items()
        },
        "steps": {name: _interval(level[name] - level[low], 0.5 * half) for name, low in below.items()},
        "history_gain": _interval(gain, half) | {"over": "M3", "chosen": ["M5 500 ms"] * 4 + ["M6"]},
        "p": 0.001 if verdict == "history matters" else 0.3,
        "q": 0.002 if verdict == "history matters" else 0.4,
        "is_discovery": verdict == "history matters",
        "detectable_gain": 0.8 * half,
        "surrogate_p": 0.05 if verdict == "history matters" else 0.35,
        "surrogate_kind": "trial exchange",
        "verdict": verdict,
        "sentence": f"The unit's own past spikes predict its next ones by {gain:+.3f} bits/spike.",
        "more_trials": None if verdict == "history matters" else 140,
        "more_trials_text": "" if verdict == "history matters" else "about 140 more trials",
        "timescale_s": 0.004 if dead_bins else 0.05,
        "refractory_mass": {
            "window_s": 0.002,
            "observed": float((gaps_ms <= 2).mean()),
            "model": "M1",
            "expected": float(0.0025 * counts.sum() / N_TRIALS),
        },
        "isi_violations": int((gaps_ms <= 1).sum()),
        "warnings": [],
        "truth": {
            "label": label,
            "text": f"Simulated with a dead time of {dead_bins} ms.",
            "has_history": dead_bins > 0 or burst > 1.0,
            "agrees": True,
        },
    }


def _make_summary(counts):
    """Make the whole summary."""
    units = [_make_unit(number, unit_counts) for number, unit_counts in enumerate(counts)]
    names = [unit["verdict"] for unit in units]
    return {
        "recording": {
            "name": "embedded.nwb",
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "n_units": 12,
            "n_trials": N_TRIALS,
            "n_spikes": int(counts.sum()),
            "duration_s": 118.4,
            "bin_s": BIN_S,
            "window_s": [0.0, 1.0],
            "align_to": "stimulus_on",
            "n_multi_spike_bins": 0,
            "clock": "session seconds",
            "notes": ["Unit u11 has no spikes in the window."],
        },
        "settings": {
            "version": "0.1.0",
            "command": "cortexrnn compare",
            "rungs": ["M0", "M1", "M2", "M3", "M4", "M5", "M6cut", "M6"],
            "folds": 5,
            "fold_order": "contiguous",
            "seed": 0,
            "n_seeds": 3,
            "likelihood": "bernoulli-cloglog",
            "history_s": 0.5,
            "surrogates": 19,
            "rope": 0.01,
        },
        "controls": {
            "trial_exchange_bits_per_spike": 0.0004,
            "trial_exchange_ci": [-0.0011, 0.0019],
            "leak_probe": "passed",
            "n_leak_probes": 48,
            "alarm": False,
        },
        "units": units,
        "population": {
            "n_units": 12,
            "verdicts": {name: names.count(name) for name in set(names)},
            "history_gain": {"mean": 0.163, "median": 0.103, "ci": [0.06, 0.31]},
            "sentence": "The history gain is 0.163 bits/spike on average, 95 % interval [0.060, 0.310].",
        },
        "verdict_sentence": "Spike history matters in 7 of 12 units; in 1 it does not, and 4 are undecided.",
        "methods": None,
    }


def _make_panels(counts, rng):
    """Make the panels: PSTH, ISI histograms, filters, raster."""
    n_units = counts.shape[0]
    psth_hz = counts.mean(axis=1) / BIN_S
    kernel = np.exp(-0.5 * (np.arange(-60, 61) / 20.0) ** 2)
    smooth_hz = np.stack([np.convolve(row, kernel / kernel.sum(), mode="same") for row in psth_hz])
    n_isi = 100
    observed = np.zeros((n_units, n_isi))
    for number in range(n_units):
        gaps = np.concatenate([np.diff(np.flatnonzero(row)) for row in counts[number]])
        observed[number] = np.bincount(gaps[gaps < n_isi], minlength=n_isi)[:n_isi]
    bins = np.arange(n_isi)
    rate = counts.mean(axis=(1, 2))[:, None]
    poisson = counts.sum(axis=(1, 2))[:, None] * 1.6 * rate * np.exp(-1.6 * rate * bins)
    fitted = np.stack([np.convolve(row, [0.25, 0.5, 0.25], mode="same") for row in observed])
    lag_s = np.arange(1, 501) * BIN_S
    factor = np.ones((n_units, lag_s.size))
    for number, (_, _, dead_bins, burst, *_) in enumerate(UNITS):
        factor[number] *= 1.0 + (burst - 1.0) * np.exp(-lag_s / 0.012)
        factor[number] *= 1.0 - (dead_bins > 0) * np.exp(-((1e3 * lag_s / (dead_bins + 1.0)) ** 4))
    factor[-1] = np.nan
    unit, trial, bin_ = np.nonzero(counts)
    return xr.Dataset(
        {
            "psth_hz": (("unit", "condition", "time"), psth_hz[:, None]),
            "psth_model_hz": (("unit", "condition", "time"), smooth_hz[:, None]),
            "isi_observed": (("unit", "isi"), observed),
            "isi_model": (("unit", "model", "isi"), np.stack([poisson, fitted], axis=1)),
            "history_gain_factor": (("unit", "lag"), factor),
            "history_low": (("unit", "lag"), factor * np.exp(-0.3 * lag_s**-0.2)),
            "history_high": (("unit", "lag"), factor * np.exp(0.12 * lag_s**-0.2)),
            "spike_unit": ("spike", unit),
            "spike_trial": ("spike", trial),
            "spike_time_s": ("spike", bin_ * BIN_S + rng.random(bin_.size) * BIN_S),
        },
        coords={
            "unit": [f"u{number:02d}" for number in range(n_units)],
            "condition": ["all trials"],
            "time": np.arange(N_BINS) * BIN_S,
            "isi": bins * BIN_S,
            "model": ["M1", "history"],
            "lag": lag_s,
        },
    )


@pytest.fixture
def invoke(monkeypatch, capsys):
    """Call the command line in this process; gives exit code, output and messages."""

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(cli.entry, "_exit_at_once", leave)
    monkeypatch.setattr(cli.entry, "_let_signals_kill", lambda: None)
    handler, hook = signal.getsignal(signal.SIGTERM), sys.unraisablehook

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["cortexrnn", *map(str, arguments)])
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as left:
                cli.main()
        told = capsys.readouterr()
        return SimpleNamespace(code=left.value.code, out=told.out, err=told.err)

    yield call
    signal.signal(signal.SIGTERM, handler)
    sys.unraisablehook = hook
