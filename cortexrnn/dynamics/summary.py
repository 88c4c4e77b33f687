"""What a simulation did, in numbers and figures: for the screen, for a file, for a paper."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.circuit.eigenvalues import drawn_spectrum
from cortexrnn.circuit.files import save_circuit
from cortexrnn.circuit.spec import Circuit
from cortexrnn.circuit.spectrum import predict_spectrum
from cortexrnn.report.simulation import draw_simulation
from cortexrnn.runs.files import atomic_write, sweep

# Eigenvalues of a larger matrix take more than half a minute.
LARGEST_SPECTRUM = 2000


def describe(circuit: Circuit, run: xr.Dataset) -> dict[str, Any]:
    """Summarise a simulation.

    Parameters
    ----------
    circuit : Circuit
    run : xarray.Dataset
        From `simulate`.

    Returns
    -------
    dict
        ``circuit``, ``run`` (how it was simulated), ``populations`` (a dict for each: size, sign, mean rate, its
        standard deviation over time and over units, and where currents were kept the balance index), ``spectrum``
        (predicted radius and outliers; percentile and largest modulus of the eigenvalues where they were computed)
        and ``plasticity`` (mean u and x of every class). Ready for JSON.
    """
    attrs = dict(run.attrs)
    return {
        "circuit": {"name": circuit.name, "citation": circuit.citation, "n_units": circuit.size, "form": circuit.form},
        "run": {
            "n_trials": run.sizes["trial"],
            "duration_s": float(run["time"].values[-1]) + attrs["dt_s"],
            **{name: attrs[name] for name in ("dt_s", "method", "seed", "wiring_seed", "circuit_hash", "cortexrnn")},
            "rate_unit": run["rate"].attrs["units"],
        },
        "populations": [_population(run, p.name, p.sign) for p in circuit.populations if p.name in run["population"]],
        "spectrum": _spectrum(circuit),
        "plasticity": _plasticity(circuit, run),
    }


def balance_index(run: xr.Dataset) -> xr.DataArray:
    """Give what is left of a unit's excitation after inhibition, on average over time and trials.

    ``|mean(E + I + external)| / mean(|E| + max(external, 0))``: 0 is exact cancellation, 1 none.

    Parameters
    ----------
    run : xarray.Dataset
        With ``current_e``, ``current_i`` and ``current_ext``.

    Returns
    -------
    xarray.DataArray, dims (unit,)
        NaN where nothing excites.
    """
    net = run["current_e"] + run["current_i"] + run["current_ext"]
    excitation = abs(run["current_e"]) + run["current_ext"].clip(min=0.0)
    mean = excitation.mean(["trial", "time"])
    return abs(net.mean(["trial", "time"])) / mean.where(mean > 0.0)


def save_figures(circuit: Circuit, run: xr.Dataset, folder: str | Path) -> list[Path]:
    """Draw a simulation: rates, currents where they were kept, plasticity, and the spectrum of small circuits.

    Parameters
    ----------
    circuit : Circuit
    run : xarray.Dataset
    folder : path

    Returns
    -------
    list of pathlib.Path
        The figures, as SVG.
    """
    sweep(folder)
    spectrum = drawn_spectrum(circuit) if circuit.size <= LARGEST_SPECTRUM else None
    return draw_simulation(folder, run, spectrum, tuple(circuit.plasticity))


def save_simulation(folder: str | Path, circuit: Circuit, run: xr.Dataset, summary: dict[str, Any]) -> None:
    """Write a simulation: ``run.nc``, ``circuit.toml`` and ``summary.json``, each atomically.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    circuit : Circuit
    run : xarray.Dataset
    summary : dict
        From `describe`.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to or the disk is full.
    """
    target = Path(folder)
    sweep(target)
    save_circuit(circuit, target / "circuit.toml")
    # Made in memory: on a full disk the HDF5 library ends the whole process.
    atomic_write(target / "run.nc", bytes(run.to_netcdf(engine="h5netcdf")))
    atomic_write(target / "summary.json", (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())


def moderate_dt_s(circuit: Circuit) -> float:
    """Give a time step of 1, 2 or 5 times a power of ten: 1 ms, or at most a tenth of the shortest time constant."""
    longest = min(1e-3, 0.1 * float(circuit.tau_s.min()))
    power = math.floor(math.log10(longest) + 1e-9)
    return next(round(k * 10.0**power, 12) for k in (5, 2, 1) if k * 10.0**power <= longest * (1.0 + 1e-9))


def show(summary: dict[str, Any]) -> str:
    """Write a summary for the screen."""
    about, run = summary["circuit"], summary["run"]
    unit = {"Hz": " Hz", "1": ""}[run["rate_unit"]]
    lines = [
        f"{about['name']}: {about['n_units']} units, {about['form']} form",
        f"{run['n_trials']} trials of {run['duration_s']:g} s, {run['method']} at {1e3 * run['dt_s']:g} ms, "
        f"seed {run['seed']}, wiring seed {run['wiring_seed']}",
        "",
        f"{'population':<16}{'units':>7}  {'mean rate':>12}  {'sd over time':>12}  {'sd over units':>13}   balance",
    ]
    for entry in summary["populations"]:
        balance = "" if entry["balance_index"] is None else f"{entry['balance_index']:.3f}"
        lines.append(
            f"{entry['name'][:15]:<16}{entry['n_units']:>7}  {entry['mean_rate']:>9.4g}{unit:<3}  "
            f"{entry['sd_over_time']:>12.4g}  {entry['sd_over_units']:>13.4g}  {balance:>8}"
        )
    spectrum = summary["spectrum"]
    outliers = ", ".join(f"{re:.3g}{im:+.3g}i" if im else f"{re:.3g}" for re, im in spectrum["outliers"][:4]) or "none"
    lines += ["", f"spectrum predicted: bulk radius {spectrum['radius']:.4g}, outliers {outliers}"]
    if spectrum["drawn_percentile_99"] is not None:
        lines.append(
            f"spectrum drawn: 99 % of the eigenvalues within {spectrum['drawn_percentile_99']:.4g}, "
            f"largest modulus {spectrum['drawn_largest']:.4g}"
        )
    for entry in summary["plasticity"]:
        lines.append(
            f"plasticity {entry['name']} ({entry['kind']}): mean u {entry['u']:.3f}, mean x {entry['x']:.3f}, "
            f"at rest {entry['u_at_rest']:.3f}, 1"
        )
    return "\n".join(lines)


def _population(run: xr.Dataset, name: str, sign: str) -> dict[str, Any]:
    """Summarise the rates of one population."""
    own = run.isel(unit=np.flatnonzero(run["population"].values == name))
    rate = own["rate"].values
    by_unit = rate.mean(axis=(0, 1), dtype=float)
    balance = None
    if "current_e" in own:
        found = balance_index(own)
        balance = None if bool(found.isnull().all()) else float(found.mean())
    return {
        "name": name,
        "sign": sign,
        "n_units": own.sizes["unit"],
        "mean_rate": float(by_unit.mean()),
        "sd_over_time": float(rate.std(axis=1, dtype=float).mean()),
        "sd_over_units": float(by_unit.std()),
        "balance_index": balance,
    }


def _spectrum(circuit: Circuit) -> dict[str, Any]:
    """Give the predicted spectrum, and the drawn one of a small circuit."""
    predicted = predict_spectrum(circuit)
    modulus = None
    if circuit.size <= LARGEST_SPECTRUM:
        modulus = np.abs(drawn_spectrum(circuit)["eigenvalues"].values)
    return {
        "radius": predicted.radius,
        "outliers": [[float(value.real), float(value.imag)] for value in predicted.outliers],
        "drawn_percentile_99": None if modulus is None else float(np.percentile(modulus, 99.0)),
        "drawn_largest": None if modulus is None else float(modulus.max()),
    }


def _plasticity(circuit: Circuit, run: xr.Dataset) -> list[dict[str, Any]]:
    """Summarise the synapses of every class that was kept."""
    rows = []
    for name, stp in circuit.plasticity.items():
        suffix = "" if len(circuit.plasticity) == 1 else f"_{name}"
        if f"u{suffix}" in run:
            rows.append(
                {
                    "name": name,
                    "kind": "facilitating" if stp.is_facilitating else "depressing",
                    "u": float(run[f"u{suffix}"].mean()),
                    "x": float(run[f"x{suffix}"].mean()),
                    "u_at_rest": stp.U,
                }
            )
    return rows
