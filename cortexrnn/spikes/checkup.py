"""Five seconds with a recording: what was read, and what in it could spoil the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.spikes.binning import merge_intervals
from cortexrnn.spikes.recording import SYNTHETIC, Recording
from cortexrnn.spikes.refractory import ForeignSpikes, foreign_spikes

OK, NOTE, WARNING = "ok", "note", "warning"
REFRACTORY_S = 0.002
# Less than one sample of any recorder: such spikes are one spike written twice.
SAME_SPIKE_S = 5e-6
_DRIFT_WINDOW_S = 60.0
_DRIFT_WINDOWS = 5
# 80 % power of a likelihood-ratio test at 5 %: n = 3.92 / -ln(1 - rate * dead time).
_POWER_SPIKES = 3.92
_SCALES = (
    (1e-3, "milliseconds that were read as seconds"),
    (1e-6, "microseconds that were read as seconds"),
    (1.0 / 30_000.0, "samples that were read as seconds"),
    (1e3, "seconds that were read as milliseconds"),
    (1e6, "seconds that were read as microseconds"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the report: `severity` is "ok", "note" or "warning"."""

    severity: str
    text: str


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class DoctorReport:
    """What the doctor saw.

    Attributes
    ----------
    summary : dict
        source, sha256, reader, clock, n_units, n_spikes, n_trials, duration_s, observed_s.
    units : pandas.DataFrame
        One row a unit: n_spikes, rate_hz, cv, lv (local variation of successive intervals), isi_min_s,
        refractory_fraction (of intervals below 2 ms), n_duplicates (spikes within 5 us of the one before; left out of
        the four before), foreign_share with foreign_low and foreign_high (spikes of other neurons, see
        `cortexrnn.spikes.refractory.foreign_spikes`),
        fano (variance over mean of counts in trials with a stop, else in windows of 60 s; NaN without
        five of them), trend_z (z score of the correlation of rates with the number of the trial or
        window), dead_time_min_s (smallest dead time that can be told from none with 80 % power).
    findings : tuple of Finding
        In the order a reader should see them.
    """

    summary: dict[str, Any]
    units: pd.DataFrame
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        """Give the report for a terminal."""
        s = self.summary
        lines = [
            f"{s['source'] or 'recording'}: {s['n_units']} units, {s['n_spikes']} spikes, {s['n_trials']} trials, "
            f"{s['duration_s']:.3f} s on the {s['clock']} clock",
            "",
            # A column that is unknown in every unit says nothing.
            self.units.drop(columns=["foreign_low", "foreign_high"], errors="ignore")
            .dropna(axis="columns", how="all")
            .to_string(
                max_rows=40, float_format=lambda value: f"{value:.4g}", na_rep="-"
            ),
            "",
            *(f"{finding.severity:>7}: {finding.text}" for finding in self.findings),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Give the report as JSON holds it; what cannot be known is None."""
        rows = [
            {"unit": unit, **{name: _plain(value) for name, value in row.items()}}
            for unit, row in zip(self.units.index.tolist(), self.units.to_dict("records"), strict=True)
        ]
        findings = [{"severity": finding.severity, "text": finding.text} for finding in self.findings]
        return {**self.summary, "units": rows, "findings": findings}


def doctor(recording: Recording) -> DoctorReport:
    """Look at a recording before anything is fitted to it.

    Parameters
    ----------
    recording : Recording
        As it was read; trials and observed intervals are looked at where there are any.

    Returns
    -------
    DoctorReport

    Notes
    -----
    The smallest detectable dead time of a unit with n spikes at rate r solves
    ``n = 3.92 / -ln(1 - r * tau)``: ``tau = (1 - exp(-3.92 / n)) / r``. The local variation is
    ``3 <((b - a) / (a + b))^2>`` over successive intervals a, b (Shinomoto, Shima and Tanji 2003,
    doi:10.1162/089976603322518759): 0 for a clock, 1 for a Poisson process whatever its slow rate does.
    """
    rows = [_examine(recording, position) for position in range(recording.n_units)]
    columns = list(rows[0]) if rows else []
    units = pd.DataFrame(rows, index=recording.units.index, columns=columns)
    summary = {
        "source": str(recording.attrs.get("source", "")),
        "sha256": str(recording.attrs.get("sha256", "")),
        "reader": str(recording.attrs.get("reader", "")),
        "clock": str(recording.attrs.get("clock", "session")),
        "n_units": recording.n_units,
        "n_spikes": recording.n_spikes,
        "n_trials": len(recording.trials),
        "duration_s": recording.duration_s,
        "observed_s": float(units["observed_s"].max()) if rows else 0.0,
    }
    findings = [
        *_unit_of_time(recording, units),
        *_trials(recording),
        *_gaps(recording),
        *_spikes(units),
        *_drift(units),
        *_detectable(units),
        *(Finding(severity=NOTE, text=str(note)) for note in recording.attrs.get("notes", ())),
    ]
    if not any(finding.severity == WARNING for finding in findings):
        findings.insert(0, Finding(severity=OK, text="nothing that would spoil the answer was found."))
    return DoctorReport(
        summary=summary, units=units.drop(columns="observed_s", errors="ignore"), findings=tuple(findings)
    )


def _examine(recording: Recording, position: int) -> dict[str, Any]:
    """Return the row of one unit."""
    ticks = recording.unit_ticks(position)
    intervals = merge_intervals(recording.unit_observed(position))
    observed_s = float((intervals[:, 1] - intervals[:, 0]).sum()) / recording.tick_hz
    every_isi_s = _intervals_s(ticks, intervals, recording.tick_hz)
    isi_s = every_isi_s[every_isi_s >= SAME_SPIKE_S]
    foreign = _foreign(ticks, intervals, recording.tick_hz)
    rate_hz = ticks.size / observed_s if observed_s > 0 else np.nan
    edges = _drift_windows(recording, intervals)
    counts = np.searchsorted(ticks, edges[:, 1]) - np.searchsorted(ticks, edges[:, 0])
    share = (edges[:, 1] - edges[:, 0]) / max(int((edges[:, 1] - edges[:, 0]).sum()), 1)
    is_drift_known = counts.size >= _DRIFT_WINDOWS and counts.sum() > 0
    return {
        "n_spikes": int(ticks.size),
        "rate_hz": rate_hz,
        "cv": float(isi_s.std() / isi_s.mean()) if isi_s.size > 1 and isi_s.mean() > 0 else np.nan,
        "lv": _local_variation(ticks, intervals, recording.tick_hz),
        "isi_min_s": float(isi_s.min()) if isi_s.size else np.nan,
        "refractory_fraction": float((isi_s < REFRACTORY_S).mean()) if isi_s.size else np.nan,
        "n_duplicates": int((every_isi_s < SAME_SPIKE_S).sum()),
        "foreign_share": foreign.share,
        "foreign_low": foreign.low,
        "foreign_high": foreign.high,
        "fano": _fano(counts, counts.sum() * share) if is_drift_known else np.nan,
        "trend_z": _trend_z(counts / share) if is_drift_known else np.nan,
        "dead_time_min_s": float(-np.expm1(-_POWER_SPIKES / ticks.size) / rate_hz) if ticks.size else np.nan,
        "observed_s": observed_s,
    }


def _intervals_s(ticks: np.ndarray, intervals: np.ndarray, tick_hz: float) -> np.ndarray:
    """Return the intervals between spikes in seconds, leaving out those across a gap."""
    piece = np.searchsorted(intervals[:, 0], ticks, side="right")
    return np.diff(ticks)[np.diff(piece) == 0] / tick_hz


def _local_variation(ticks: np.ndarray, intervals: np.ndarray, tick_hz: float) -> float:
    """Return the local variation; intervals on both sides of a gap are no successive ones."""
    squares = []
    for some in np.split(ticks, np.searchsorted(ticks, intervals[1:, 0])):
        isi_s = np.diff(some) / tick_hz
        isi_s = isi_s[isi_s >= SAME_SPIKE_S]
        squares.append((np.diff(isi_s) / (isi_s[1:] + isi_s[:-1])) ** 2)
    every = np.concatenate(squares) if squares else np.empty(0)
    return float(3.0 * every.mean()) if every.size else np.nan


def _foreign(ticks: np.ndarray, intervals: np.ndarray, tick_hz: float) -> ForeignSpikes:
    """Estimate the share of foreign spikes; spikes on both sides of a gap do not violate."""
    observed_s = float((intervals[:, 1] - intervals[:, 0]).sum()) / tick_hz
    if observed_s <= 0.0:
        return ForeignSpikes(np.nan, np.nan, np.nan, 0)
    # Gaps are stretched until no pair across one is close.
    piece = np.searchsorted(intervals[:, 0], ticks, side="right")
    times_s = ticks / tick_hz + piece
    return foreign_spikes(times_s, observed_s, refractory_s=REFRACTORY_S, censored_s=SAME_SPIKE_S)


def _drift_windows(recording: Recording, intervals: np.ndarray) -> np.ndarray:
    """Return [start, stop) ticks of the observed trials where they have a stop, else of whole windows of 60 s."""
    if recording.attrs.get("clock") == SYNTHETIC:
        return intervals[intervals[:, 1] > intervals[:, 0]]
    first, last = recording.span_ticks
    edges = np.empty((0, 2), dtype=np.int64)
    if "stop_s" in recording.trials:
        spans = recording.trials[["start_s", "stop_s"]].dropna().sort_values("start_s").to_numpy(dtype=float)
        # Times that no tick can hold lie outside the recording like others.
        spans = np.clip(spans, (first - 1) / recording.tick_hz, (last + 1) / recording.tick_hz)
        edges = np.rint(spans * recording.tick_hz).astype(np.int64)
        piece = np.searchsorted(intervals[:, 0], edges[:, 0], side="right") - 1
        # Silence where nobody recorded would pass for a change of rate.
        is_observed = (piece >= 0) & (edges[:, 1] <= np.append(intervals[:, 1], 0)[piece])
        edges = edges[is_observed & (edges[:, 1] > edges[:, 0])]
    if len(edges) >= _DRIFT_WINDOWS:
        return edges
    width = round(_DRIFT_WINDOW_S * recording.tick_hz)
    starts = first + np.arange((last - first) // width, dtype=np.int64) * width
    return np.stack([starts, starts + width], axis=1)


def _fano(counts: np.ndarray, expected: np.ndarray) -> float:
    """Return the variance of counts over their mean; windows of unequal length expect spikes by their length."""
    return float(((counts - expected) ** 2 / expected).sum() / (counts.size - 1))


def _trend_z(rates: np.ndarray) -> float:
    """Return the z score of the correlation between values and their order; near 0 without a trend."""
    order = np.arange(rates.size) - (rates.size - 1) / 2.0
    centred = rates - rates.mean()
    norm = float(np.sqrt((order**2).sum() * (centred**2).sum()))
    return float((order * centred).sum()) / norm * float(np.sqrt(rates.size - 1)) if norm > 0 else 0.0


def _unit_of_time(recording: Recording, units: pd.DataFrame) -> list[Finding]:
    """Say where the times look as if they were in another unit."""
    active = units[units["n_spikes"] >= 20] if len(units) else units
    if not len(active):
        return []
    rate, isi_min = float(active["rate_hz"].median()), float(active["isi_min_s"].min())
    found = []
    whole = round(recording.tick_hz)
    if whole == recording.tick_hz and whole > 1 and not (recording.ticks % whole).any():
        text = "all spike times are whole seconds; they look like milliseconds or samples that were read as seconds."
        found.append(Finding(severity=WARNING, text=text))
    # A quarter of the intervals of the median unit below 2 ms is no neuron, whatever its mean rate.
    is_fast = rate > 500.0 or float(active["refractory_fraction"].median()) > 0.25
    is_slow = rate < 0.001 or (rate < 0.05 and isi_min > 0.3) or recording.duration_s > 100 * 3600.0
    if is_fast or is_slow:
        fits = [
            f"{name} ({rate / scale:.3g} Hz)"
            for scale, name in _SCALES
            if 0.05 <= rate / scale <= 200.0 and isi_min * scale >= 2e-4
        ]
        text = (
            f"the median rate is {rate:.3g} Hz, the shortest interval {isi_min:.3g} s, the recording "
            f"{recording.duration_s:.4g} s long: is the unit of time right? "
            f"It would make sense for {' or '.join(fits) if fits else 'no common unit'}."
        )
        found.append(Finding(severity=WARNING, text=text))
    return found


def _trials(recording: Recording) -> list[Finding]:
    """Say what is odd about the trials."""
    trials = recording.trials
    if not len(trials):
        tables = ", ".join(sorted(map(str, recording.tables)))
        hint = f"; interval tables: {tables}" if tables else ""
        return [Finding(severity=NOTE, text=f"there are no trials: it will be compared in blocks{hint}.")]
    found = []
    starts = np.sort(trials["start_s"].dropna().to_numpy(dtype=float))
    first, last = (tick / recording.tick_hz for tick in recording.span_ticks)
    last_spike = recording.ticks.max(initial=0) / recording.tick_hz
    is_session = recording.attrs.get("clock") != SYNTHETIC
    if (
        is_session
        and starts.size >= 5
        and recording.n_spikes
        and last_spike < first + 0.2 * (starts[-1] - starts[0])
    ):
        text = (
            f"all spikes lie before {last_spike:.4g} s while trials start up to {starts[-1]:.4g} s: the spike times "
            "look as if they restart with every trial (a trial column is needed) or are in another unit."
        )
        found.append(Finding(severity=WARNING, text=text))
    n_outside = int(((starts < first) | (starts > last)).sum())
    if n_outside:
        text = f"{n_outside} of {starts.size} trials start outside the recording ({first:.4g} to {last:.4g} s)."
        found.append(Finding(severity=WARNING, text=text))
    if "stop_s" in trials and trials["stop_s"].notna().all():
        n_overlaps = int((np.diff(trials.sort_values("start_s")["start_s"]) < 0).sum())
        spans = trials[["start_s", "stop_s"]].sort_values("start_s").to_numpy(dtype=float)
        n_overlaps += int((spans[1:, 0] < spans[:-1, 1]).sum())
        if n_overlaps:
            text = f"{n_overlaps} trials start before the one before has stopped; they are not independent."
            found.append(Finding(severity=WARNING, text=text))
    else:
        found.append(
            Finding(
                severity=NOTE, text="the trials have no stop: give a window, or it ends with the last spike."
            )
        )
    if len(trials) < 10:
        text = f"fewer than 10 trials ({len(trials)}) give no verdict."
        found.append(Finding(severity=WARNING, text=text))
    return found


def _gaps(recording: Recording) -> list[Finding]:
    """Say where nobody recorded, or nobody seems to have."""
    if recording.attrs.get("clock") == SYNTHETIC or not recording.n_units:
        return []
    n_gaps = [len(merge_intervals(recording.unit_observed(k))) - 1 for k in range(recording.n_units)]
    found = []
    if max(n_gaps) > 0:
        text = f"{sum(n > 0 for n in n_gaps)} units have gaps in what was observed (up to {max(n_gaps)})."
        found.append(Finding(severity=NOTE, text=text))
    pooled = np.sort(recording.ticks)
    if max(n_gaps) <= 0 and pooled.size > 100:
        silence = np.diff(pooled)
        longest_s, at = float(silence.max()) / recording.tick_hz, int(silence.argmax())
        # The longest of n exponential intervals is about ln(n) means; ten times that is no chance.
        expected_s = float(silence.mean()) / recording.tick_hz * np.log(pooled.size)
        if longest_s > max(10.0 * expected_s, 5.0):
            text = (
                f"no unit fires for {longest_s:.4g} s from {pooled[at] / recording.tick_hz:.4g} s on: if nobody "
                "recorded then, give observed intervals, or silence will be modelled."
            )
            found.append(Finding(severity=WARNING, text=text))
    return found


def _spikes(units: pd.DataFrame) -> list[Finding]:
    """Say which units are silent, hold duplicates or violate the refractory period."""
    found = []
    if not len(units):
        return [Finding(severity=WARNING, text="the recording has no units.")]
    silent = units.index[units["n_spikes"] == 0]
    if len(silent):
        found.append(Finding(severity=WARNING, text=f"{len(silent)} units have no spikes: {_names(silent)}."))
    few = units.index[(units["n_spikes"] > 0) & (units["n_spikes"] < 30)]
    if len(few):
        found.append(Finding(severity=NOTE, text=f"{len(few)} units have fewer than 30 spikes: {_names(few)}."))
    twice = units.index[units["n_duplicates"] > 0]
    if len(twice):
        text = f"{int(units['n_duplicates'].sum())} spikes come within 5 us of the one before (units {_names(twice)})."
        found.append(Finding(severity=WARNING, text=text))
    dirty = units.index[(units["refractory_fraction"] > 0.01) & (units["n_spikes"] >= 30)]
    if len(dirty):
        unit = units.loc[units.loc[dirty, "refractory_fraction"].idxmax()]
        low, share, high = (100.0 * unit[f"foreign_{name}"] for name in ("low", "share", "high"))
        foreign = f"{share:.0f} % [{low:.0f}, {high:.0f}] would be" if share < 100.0 else "not even all could be"
        text = (
            f"{len(dirty)} units have over 1 % of their intervals below 2 ms (up to "
            f"{100 * unit['refractory_fraction']:.1f} %; units {_names(dirty)}): bursts, or spikes of other neurons "
            f"(of the worst unit's spikes {foreign})."
        )
        found.append(Finding(severity=WARNING, text=text))
    return found


def _drift(units: pd.DataFrame) -> list[Finding]:
    """Say which units change their rate in the course of the recording."""
    if not len(units):
        return []
    drifting = units.index[(units["trend_z"].abs() > 3.0) | (units["fano"] > 5.0)]
    if not len(drifting):
        return []
    text = (
        f"{len(drifting)} units are not stationary (trend over |z| 3, or variance of counts over 5 times the mean; "
        f"units {_names(drifting)}): compare with the drift and gain rungs, not with the constant."
    )
    return [Finding(severity=NOTE, text=text)]


def _detectable(units: pd.DataFrame) -> list[Finding]:
    """Say what the smallest detectable dead time is."""
    known = units["dead_time_min_s"].dropna() if len(units) else pd.Series(dtype=float)
    if not len(known):
        return []
    text = (
        f"smallest dead time that can be told from none (80 % power): {1e3 * known.min():.2g} ms in the best unit "
        f"({known.idxmin()}), {1e3 * known.median():.2g} ms in the median unit."
    )
    return [Finding(severity=NOTE, text=text)]


def _names(index: pd.Index) -> str:
    """Return the first unit ids as text."""
    return ", ".join(map(str, index[:8])) + (", ..." if len(index) > 8 else "")


def _plain(value: Any) -> Any:
    """Return a number as JSON holds it, None for NaN."""
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not np.isfinite(number) else number
