"""The spiking twin of a circuit: every rate unit becomes a cluster of leaky integrate-and-fire neurons in Brian2.

What carries over exactly: the weights between clusters, with their signs; the unit's time constant, which is the
time constant of the synaptic current (current form) or of the trace that spikes leave (rate form); bias, stimulus
and noise of the unit; and Tsodyks-Markram plasticity, which acts in every neuron spike by spike. A spike of one of n
neurons counts as 1/n of a spike of the unit. What is fitted: mean and noise of the membranes, so that a neuron in
steady input fires at the unit's rate (`cortexrnn.dynamics.lif.fit_transfer`).

As n grows the steady rates of the two therefore agree up to the error of that fit and, with plasticity, what
mean-field synapses leave out: the covariance of u and x over spikes, and that neurons fire more regularly than the
Poisson processes for which the mean field of depression is exact, so that spikes find more resources than it says
while their mean over time is lower. What does not agree: transients shorter than the membrane time constant, because
a rate unit answers its input at once and a membrane does not; and, with few neurons a unit, anything that hangs on
the noise of the spikes themselves.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.signal import lfilter

from cortexrnn._checks import check_count
from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.brian_layout import BrianRun, Layout, lay_out
from cortexrnn.dynamics.clusters import Clusters
from cortexrnn.dynamics.lif import LIF, Transfer, fit_transfer
from cortexrnn.dynamics.record import Record
from cortexrnn.dynamics.simulate import Solver, simulate
from cortexrnn.errors import NumericalWarning, OptionError
from cortexrnn.spikes.recording import Recording

MODELS = ("rate", "spiking")
# A fit whose error is larger than this fraction of the highest rate deserves a warning.
_POOR_FIT = 0.1
_LABELS = {"rate": ("Hz", "rate"), "u": ("1", "utilisation"), "x": ("1", "resources")}
# Longest time step, in membrane time constants.
_COARSEST = 0.05


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpikingTwin:
    """What a circuit and its spiking twin did with the same input.

    Attributes
    ----------
    rates : xarray.Dataset
        ``rate`` in Hz, dims (model, time, population), with the models "rate" and "spiking"; ``u`` and ``x`` where
        synapses are plastic (``u_name`` where there are several classes), NaN for populations without, with u as
        in the rate form. Of the current form, ``rate`` is the mean from `time` to the next; of the rate form, where
        a unit's rate is the trace that spikes leave, it is as of `time`.
    recording : Recording
        Spikes of all neurons; the columns `population` and `unit` of its table of units say whose they are.
    transfers : dict of str to Transfer
        What was fitted, by population.
    """

    rates: xr.Dataset
    recording: Recording
    transfers: dict[str, Transfer]


def spiking_twin(
    circuit: Circuit, run: BrianRun, *, neuron: LIF | None = None, n_per_unit: int = 100, bin_s: float = 5e-3
) -> SpikingTwin:
    """Run a circuit and its spiking twin on the same input.

    Parameters
    ----------
    circuit : Circuit
        Of signed populations whose activation gives no negative rate, with a `rate_scale_hz`.
    run : BrianRun
        Duration, stimulus, seed and so on, with a time step of at most a twentieth of the membrane time constant.
    neuron : LIF, optional
        Membrane time constant and refractory period.
    n_per_unit : int
        Neurons a unit.
    bin_s : float
        Time from one moment of the result to the next, a whole number of steps that divides the duration.

    Returns
    -------
    SpikingTwin

    Raises
    ------
    OptionError
        If the circuit can have no spiking twin, or an argument is not valid.

    Warns
    -----
    NumericalWarning
        If LIF neurons cannot fire as the rate units do.
    DataWarning
        If a neuron has no spikes.
    """
    neuron, n_per_unit = neuron or LIF(), check_count("n_per_unit", n_per_unit)
    n_bin = _check(circuit, run, neuron, bin_s)
    layout = lay_out(circuit, run)
    modelled = simulate(
        circuit,
        duration_s=run.duration_s,
        dt_s=run.dt_s,
        stimulus=run.stimulus,
        seed=run.seed,
        initial=run.initial,
        record=Record(currents=True),
        solver=Solver(method=run.method),
    )
    transfers = _transfers(layout, modelled, neuron)
    cluster = Clusters(layout, transfers, neuron, n_per_unit)
    sampled = cluster.run(bin_s)
    recording = _recording(cluster, run.duration_s)
    return SpikingTwin(
        rates=_rates(layout, modelled, sampled, recording, n_bin),
        recording=recording,
        transfers=transfers,
    )


def _check(circuit: Circuit, run: BrianRun, neuron: LIF, bin_s: float) -> int:
    """Refuse what has no spiking twin, and give the number of steps in a bin."""
    if circuit.rate_scale_hz is None:
        raise OptionError(
            f"circuit {circuit.name!r} has no rate_scale_hz; expected how many spikes per second a rate of 1 is.",
            hint="Write rate_scale_hz = 1.0 where rates are in Hz.",
        )
    if run.dt_s > _COARSEST * neuron.tau_m_s:
        raise OptionError(
            f"dt_s={run.dt_s} is too long for a membrane time constant of {neuron.tau_m_s} s.",
            hint=f"Take {_COARSEST * neuron.tau_m_s:g} s or less, as in BrianRun(dt_s=1e-4).",
        )
    n_bin = bin_s / run.dt_s
    if round(n_bin) < 1 or abs(n_bin - round(n_bin)) > 1e-6 * n_bin or run.n_steps % round(n_bin):
        raise OptionError(
            f"bin_s={bin_s} is {n_bin:.6g} steps of {run.n_steps}; expected a whole number that divides them."
        )
    return round(n_bin)


def _transfers(layout: Layout, modelled: xr.Dataset, neuron: LIF) -> dict[str, Transfer]:
    """Fit the neurons of every population to the inputs that its units met in the rate model."""
    circuit, run = layout.circuit, layout.run
    inputs = (modelled.current_e + modelled.current_i + modelled.current_ext).values[0]
    transfers = {}
    for population in circuit.populations:
        place = circuit.slices[population.name]
        met = inputs[:, place]
        if circuit.form == "current":
            met = _filtered(met, layout.units[population.name].values["current"], circuit.tau_s[place], run.dt_s)
        transfer = fit_transfer(population.activation, circuit.rate_scale_hz, met, neuron, dt_s=run.dt_s)
        transfers[population.name] = transfer
        if transfer.largest_error_hz > _POOR_FIT * transfer.highest_hz:
            warnings.warn(
                NumericalWarning(
                    f"LIF neurons fire up to {transfer.largest_error_hz:.3g} Hz off the activation of "
                    f"{population.name!r}, whose highest rate is {transfer.highest_hz:.3g} Hz."
                ),
                stacklevel=3,
            )
    return transfers


def _filtered(inputs: np.ndarray, start: np.ndarray, tau_s: np.ndarray, dt_s: float) -> np.ndarray:
    """Give the currents of units that follow these inputs from a start, shape (n_steps, n_units)."""
    keep = np.exp(-dt_s / tau_s)
    columns = [
        lfilter([0.0, 1.0 - k], [1.0, -k], column, zi=[first])[0]
        for k, column, first in zip(keep, inputs.T, start, strict=True)
    ]
    return np.stack(columns, axis=1)


def _recording(cluster: Clusters, duration_s: float) -> Recording:
    """Collect the spikes of all neurons."""
    times_s, rows = [], []
    for name, (units, spikes) in cluster.spikes().items():
        times_s += spikes
        rows += [{"population": name, "unit": int(unit)} for unit in units]
    trials = pd.DataFrame({"start_s": [0.0], "stop_s": [duration_s]})
    recording = Recording.from_arrays(
        times_s, trials=trials, observed_s=np.array([[0.0, duration_s]]), attrs={"source": "spiking twin"}
    )
    return replace(recording, units=pd.DataFrame(rows, index=recording.units.index))


def _rates(
    layout: Layout, modelled: xr.Dataset, sampled: dict[str, np.ndarray], recording: Recording, n_bin: int
) -> xr.Dataset:
    """Lay the two models over each other, population by population."""
    circuit, run = layout.circuit, layout.run
    names = list(circuit.slices)
    n_times, bin_s = run.n_steps // n_bin, n_bin * run.dt_s
    dims = ("model", "time", "population")
    if circuit.form == "current":
        sampled = {"rate": _spike_rates(recording, circuit, bin_s, n_times), **sampled}
    variables: dict[str, Any] = {}
    for name in sampled:
        units, what = _LABELS[name.partition("_")[0]]
        values = np.full((2, n_times, len(names)), np.nan)
        for k, place in enumerate(circuit.slices.values()):
            of_units = modelled[name].values[0, :, place]
            if name == "rate" and circuit.form == "current":
                of_units = of_units.reshape(n_times, n_bin, -1).mean(axis=1)
            else:
                of_units = of_units[::n_bin]
            values[0, :, k] = of_units.mean(axis=1)
        values[1] = sampled[name]
        scale = circuit.rate_scale_hz if name == "rate" else 1.0
        variables[name] = (dims, scale * values, {"units": units, "long_name": what})
    coords = {
        "model": list(MODELS),
        "time": ("time", np.round(np.arange(n_times) * bin_s, 12), {"units": "s", "long_name": "time"}),
        "population": names,
    }
    return xr.Dataset(variables, coords=coords, attrs={**modelled.attrs, "bin_s": bin_s})


def _spike_rates(recording: Recording, circuit: Circuit, bin_s: float, n_times: int) -> np.ndarray:
    """Count the spikes of populations in bins, as rates in the circuit's unit, shape (n_times, n_populations)."""
    owner = recording.units["population"].to_numpy()
    edges = np.round(np.arange(n_times + 1) * bin_s * recording.tick_hz)
    rates = []
    for name in circuit.slices:
        ticks = np.concatenate([recording.unit_ticks(k) for k in np.flatnonzero(owner == name)])
        # Spikes carry the time at which their step began; half a tick keeps them off the edges.
        rates.append(np.histogram(ticks + 0.5, edges)[0] / np.sum(owner == name))
    return np.stack(rates, axis=1) / (bin_s * circuit.rate_scale_hz)
