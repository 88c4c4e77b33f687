"""From rates to spikes: every simulation can become a recording and enter the comparison."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.errors import DataError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.readers.synthetic import Trialised, lay_out
from cortexrnn.spikes.recording import NANOSECONDS_HZ, SYNTHETIC, Recording

POISSON, DEAD_TIME, GAMMA = "poisson", "dead time", "gamma"


@dataclass(frozen=True, kw_only=True, slots=True)
class SpikeProcess:
    """How spikes follow from a rate; the realised rate is the given one in every case.

    Attributes
    ----------
    kind : {"poisson", "dead time", "gamma"}
        ``poisson``: independent of all spikes before. ``dead time``: silent for `dead_time_s` after every spike.
        ``gamma``: intervals are Gamma distributed on the clock of the cumulative rate, and each trial begins in
        equilibrium.
    dead_time_s : float
        Of ``dead time``, in seconds.
    shape : float
        Of ``gamma``: 1 is Poisson, above it regular, below it bursting.

    Raises
    ------
    OptionError
        If a value is not valid or belongs to another kind.
    """

    kind: str = POISSON
    dead_time_s: float = 0.0
    shape: float = 1.0

    def __post_init__(self):
        check_choice("kind", self.kind, (POISSON, DEAD_TIME, GAMMA))
        for name, owner, default in (("dead_time_s", DEAD_TIME, 0.0), ("shape", GAMMA, 1.0)):
            if self.kind == owner:
                check_positive(name, getattr(self, name))
            elif getattr(self, name) != default:
                raise OptionError(f"{name} means nothing to kind={self.kind!r}; expected kind={owner!r}.")


def sample_spikes(run: xr.Dataset, *, process: SpikeProcess | None = None, seed: int = 0) -> Recording:
    """Draw spikes from the rates of a simulation.

    Rates are held from one kept moment to the next. Spike times are continuous.

    Parameters
    ----------
    run : xarray.Dataset
        From `simulate`; its ``rate`` times the circuit's ``rate_scale_hz`` is the rate in Hz.
    process : SpikeProcess, optional
        Poisson by default.
    seed : int
        Every trial and unit has its own stream.

    Returns
    -------
    Recording
        On a synthetic clock, one trial after the other; units carry population and sign.

    Raises
    ------
    DataError
        If the run has no scale in Hz, a rate is negative, or no neuron with this dead time can fire at it.
    """
    process = process or SpikeProcess()
    scale_hz, step_s = _scale(run), _step(run)
    times, trial, unit = [], [], []
    for k in range(run.sizes["trial"]):
        rate_hz = run["rate"].values[k].astype(float) * scale_hz
        _check_rates(run, rate_hz, k)
        for j, number in enumerate(run["unit"].values):
            found = _draw(rate_hz[:, j], step_s, process, stream(seed, "spikes", k, int(number)))
            times.append(found)
            trial.append(np.full(found.size, k))
            unit.append(np.full(found.size, j))
    start_s, n_trials = float(run["time"].values[0]), run.sizes["trial"]
    table = pd.DataFrame({"start_s": start_s, "stop_s": start_s + run.sizes["time"] * step_s}, index=range(n_trials))
    parts = Trialised(
        times_s=np.concatenate(times) + start_s,
        trial=np.concatenate(trial),
        unit=np.concatenate(unit),
        n_units=run.sizes["unit"],
        table=table,
        tick_hz=NANOSECONDS_HZ,
    )
    session, trials, observed = lay_out(parts)
    source = {"source": f"simulation of {run.attrs['circuit']}", "circuit_hash": run.attrs["circuit_hash"]}
    recording = Recording.from_arrays(
        session,
        trials=trials,
        observed_s=observed,
        unit_ids=run["unit"].values.tolist(),
        attrs={**source, "clock": SYNTHETIC, "observed": "given", "spike_seed": int(seed)},
    )
    labels = {name: run[name].values for name in ("population", "sign")}
    return replace(recording, units=recording.units.assign(**labels))


def _scale(run: xr.Dataset) -> float:
    """Give the hertz of a rate of 1."""
    scale_hz = float(run.attrs.get("rate_scale_hz", np.nan))
    if not scale_hz > 0.0:
        raise DataError(
            "the run does not say how many hertz a rate of 1 is.",
            where=f"circuit {run.attrs.get('circuit', '')}",
            hint="Give the circuit a rate_scale_hz and simulate it again.",
        )
    return scale_hz


def _step(run: xr.Dataset) -> float:
    """Give the time between kept moments."""
    time_s = run["time"].values
    return float(time_s[1] - time_s[0]) if time_s.size > 1 else float(run.attrs["dt_s"])


def _check_rates(run: xr.Dataset, rate_hz: np.ndarray, trial: int) -> None:
    """Refuse rates that are negative."""
    if not (rate_hz >= 0.0).all():
        t, j = np.argwhere(~(rate_hz >= 0.0))[0]
        raise DataError(
            f"the rate of unit {run['unit'].values[j]} is {rate_hz[t, j]:.4g} Hz in trial {trial} at "
            f"{run['time'].values[t]:.6g} s; expected rates of at least 0.",
            hint="Take an activation that is never negative, such as relu or sigmoid, or rectify the rate yourself.",
        )


def _draw(rate_hz: np.ndarray, step_s: float, process: SpikeProcess, rng: np.random.Generator) -> np.ndarray:
    """Draw the spike times of one unit in one trial, in seconds since its start."""
    dead_s = process.dead_time_s
    cumulative = np.concatenate([[0.0], np.cumsum(_hazard_hz(rate_hz, step_s, dead_s) * step_s)])
    n = int(cumulative[-1] + 6.0 * np.sqrt(cumulative[-1]) + 16.0)
    shape = process.shape
    # The first interval of a process in equilibrium is a uniform part of a length-biased one.
    intervals = [rng.random() * rng.gamma(shape + 1.0, 1.0 / shape)] if process.kind == GAMMA else []
    while True:
        intervals = np.concatenate([intervals, rng.gamma(shape, 1.0 / shape, n)])
        times_s = np.empty(intervals.size)
        n_spikes = _walk(cumulative, step_s, intervals, dead_s, times_s)
        if n_spikes < intervals.size:
            return times_s[:n_spikes]


def _hazard_hz(rate_hz: np.ndarray, step_s: float, dead_s: float) -> np.ndarray:
    """Give the hazard outside the dead time with which the realised rate is `rate_hz`.

    A unit is alive at t with probability 1 minus the integral of its rate over the dead time before t.
    """
    if dead_s == 0.0:
        return rate_hz
    edges_s = np.arange(rate_hz.size + 1) * step_s
    expected = np.concatenate([[0.0], np.cumsum(rate_hz * step_s)])
    middle_s = edges_s[:-1] + 0.5 * step_s
    alive = 1.0 - (np.interp(middle_s, edges_s, expected) - np.interp(middle_s - dead_s, edges_s, expected))
    if (alive <= 0.0).any():
        raise DataError(
            f"a rate of {rate_hz.max():.4g} Hz is too high for a dead time of {dead_s} s.",
            hint=f"Expected at most {1.0 / dead_s:.4g} Hz over any such time.",
        )
    return rate_hz / alive


@numba.njit(cache=True, nogil=True)
def _walk(cumulative, step_s, intervals, dead_s, times_s):
    """Lay intervals along the clock of the cumulative hazard; give the number of spikes before its end."""
    at, k, n_bins = 0.0, 0, cumulative.size - 1
    for i in range(intervals.size):
        at += intervals[i]
        while k < n_bins and cumulative[k + 1] <= at:
            k += 1
        if k == n_bins:
            return i
        times_s[i] = (k + (at - cumulative[k]) / (cumulative[k + 1] - cumulative[k])) * step_s
        if dead_s > 0.0:
            alive = (times_s[i] + dead_s) / step_s
            k = min(int(alive), n_bins)
            if k == n_bins:
                return i + 1
            at = cumulative[k] + (alive - k) * (cumulative[k + 1] - cumulative[k])
    return intervals.size
