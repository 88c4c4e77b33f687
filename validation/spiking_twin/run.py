"""Tsodyks, Pawelzik and Markram (1998): rates and mean-field synapses against the spikes that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity, release_trains
from cortexrnn.circuit import Circuit, Input, Population, Projection, WeightLaw
from cortexrnn.dynamics.brian_layout import BrianRun
from cortexrnn.dynamics.simulate import simulate
from cortexrnn.dynamics.stimuli import Pulse
from cortexrnn.dynamics.twin import SpikingTwin, spiking_twin
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_EXCITATORY, N_INHIBITORY, DENSITY = 40, 10, 0.4
# Sum of the weights from a whole population, target and source.
TOTALS = {("excitatory", "excitatory"): 4.0, ("inhibitory", "excitatory"): 4.0}
TOTALS |= {("excitatory", "inhibitory"): 0.8, ("inhibitory", "inhibitory"): 0.5}
CLASSES = {("excitatory", "excitatory"): "depressing", ("inhibitory", "excitatory"): "facilitating"}
RUN = {"duration_s": 2.4, "dt_s": 2e-4, "seed": 1}
STEP_S, N_PER_UNIT = 1.2, 200
WINDOWS = {"before": slice(0.6, STEP_S - 1e-6), "during": slice(1.8, None)}


def circuit() -> Circuit:
    """Give a sparse excitatory-inhibitory circuit with depressing and facilitating synapses."""
    sizes = {"excitatory": N_EXCITATORY, "inhibitory": N_INHIBITORY}
    taus_s = {"excitatory": 0.02, "inhibitory": 0.01}
    populations = tuple(
        Population(name=name, size=n, sign=name, activation=Activation(kind="softplus"), tau_s=taus_s[name])
        for name, n in sizes.items()
    )
    projections = []
    for (target, source), total in TOTALS.items():
        mean = total / (DENSITY * sizes[source])
        projections.append(
            Projection(
                source=source,
                target=target,
                weights=WeightLaw(law="lognormal", mean=mean, sd=0.5 * mean),
                density=DENSITY,
                plasticity=CLASSES.get((target, source), ""),
            )
        )
    return Circuit(
        name="spiking_twin",
        populations=populations,
        projections=tuple(projections),
        plasticity={
            "depressing": ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.3),
            "facilitating": ShortTermPlasticity(U=0.15, tau_f_s=0.5, tau_d_s=0.1),
        },
        inputs=(Input(name="drive", target="excitatory"),),
        rate_scale_hz=10.0,
        wiring_seed=7,
    )


def unit_rates_hz(twin: SpikingTwin, window: slice) -> np.ndarray:
    """Count the spikes of every unit's neurons from the start of a window to the end, as rates, shape (n_units,)."""
    recording = twin.recording
    owners = recording.units["unit"].to_numpy()
    first = round(window.start * recording.tick_hz)
    counts = np.array([np.sum(recording.unit_ticks(k) >= first) for k in range(recording.n_units)])
    return np.bincount(owners, counts) / np.bincount(owners) / (RUN["duration_s"] - window.start)


def interval_cv(twin: SpikingTwin, window: slice) -> float:
    """Give the mean coefficient of variation of the intervals between spikes, of neurons with at least 5 spikes."""
    recording, found = twin.recording, []
    for k in range(recording.n_units):
        times_s = recording.unit_ticks(k) / recording.tick_hz
        intervals_s = np.diff(times_s[times_s >= window.start])
        if intervals_s.size >= 4:
            found.append(intervals_s.std(ddof=1) / intervals_s.mean())
    return float(np.mean(found))


def found_by_spikes(twin: SpikingTwin, spec: Circuit, modelled: xr.Dataset) -> tuple[float, float]:
    """Give the mean resources that spikes find at depressing synapses, and what the rate model says of it."""
    excitatory = twin.recording.select(
        units=twin.recording.units.index[twin.recording.units.population == "excitatory"]
    )
    times_s = excitatory.ticks / excitatory.tick_hz
    found = release_trains(spec.plasticity["depressing"], times_s, excitatory.offsets).x
    place = spec.slices["excitatory"]
    mean_field = np.average(modelled.x_depressing.values[place], weights=modelled.rate.values[place])
    return float(found[times_s >= WINDOWS["during"].start].mean()), float(mean_field)


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Run both models over a step of the drive and compare their steady states."""
    spec = circuit()
    stimulus = {"drive": Pulse(amplitude=2.0, start_s=STEP_S)}
    twin = spiking_twin(spec, BrianRun(stimulus=stimulus, **RUN), n_per_unit=N_PER_UNIT)
    modelled = simulate(spec, stimulus=stimulus, **RUN).sel(time=WINDOWS["during"]).mean(("trial", "time"))
    values: dict[str, float] = {}
    for when, window in WINDOWS.items():
        mean = twin.rates.sel(time=window).mean("time")
        for name in ("excitatory", "inhibitory"):
            rate, spiking = mean.rate.sel(population=name).values
            values[f"{name}_{when}"] = float(spiking / rate - 1.0)
        for variable in ("x_depressing", "u_facilitating", "x_facilitating"):
            rate, spiking = mean[variable].sel(population="excitatory").values
            values[f"{variable}_{when}"] = float(spiking - rate)
    spiking_hz = unit_rates_hz(twin, WINDOWS["during"])
    values["units"] = float(np.corrcoef(spiking_hz, spec.rate_scale_hz * modelled.rate.values)[0, 1])
    found, mean_field = found_by_spikes(twin, spec, modelled)
    values["found"] = found - mean_field
    values["interval_cv"] = interval_cv(twin, WINDOWS["during"])
    values["fit_hz"] = max(transfer.largest_error_hz for transfer in twin.transfers.values())
    onset = twin.rates.rate.sel(time=slice(STEP_S, STEP_S + 0.1), population="excitatory")
    values["onset"] = float(abs(onset[0] - onset[1]).max() / onset[0].max())
    return values, {"rates": twin.rates}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw rates, and utilisation and resources, of both models over the step."""
    left, right = figure.subplots(1, 2)
    rates = evidence["rates"].sel(time=slice(0.9, 2.0))
    ms = 1000.0 * (rates.time - STEP_S)
    for name, colour in (("excitatory", EXCITATORY), ("inhibitory", INHIBITORY)):
        rate, spiking = rates.rate.sel(population=name)
        left.plot(ms, spiking, color=colour, linewidth=0.7, alpha=0.6)
        left.plot(ms, rate, color=colour, linewidth=1.6)
        left.annotate(name, (ms[-1], rate[-1]), xytext=(0, -22 if name == "excitatory" else 22),
                      textcoords="offset points", ha="right", color=colour)  # fmt: skip
    left.set(xlabel="time from the step (ms)", ylabel="rate (Hz)", ylim=(0.0, 25.0), xlim=(ms[0], ms[-1]))
    lines = (("x_depressing", style.INK, "x, depressing", -14), ("u_facilitating", "#0a8066", "u, facilitating", 6))
    for variable, colour, words, height in (*lines, ("x_facilitating", "#a9538a", "x, facilitating", -14)):
        rate, spiking = rates[variable].sel(population="excitatory")
        right.plot(ms, spiking, color=colour, linewidth=0.7, alpha=0.6)
        right.plot(ms, rate, color=colour, linewidth=1.6)
        right.annotate(words, (ms[-1], rate[-1]), xytext=(0, height), textcoords="offset points", ha="right",
                       color=colour)  # fmt: skip
    right.set(xlabel="time from the step (ms)", ylabel="mean over synapses", ylim=(0.0, 1.0), xlim=(ms[0], ms[-1]))


if __name__ == "__main__":
    run_script("spiking_twin", __file__)
