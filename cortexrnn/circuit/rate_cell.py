"""A circuit as a rate cell: who sends through which weights."""

from __future__ import annotations

import numpy as np

from cortexrnn.cells.rate_parts import CURRENT, RATE, RateUnits
from cortexrnn.circuit.build import build_weights
from cortexrnn.circuit.spec import Circuit


def circuit_sources(circuit: Circuit) -> tuple[np.ndarray, np.ndarray, list[tuple[str, int]]]:
    """Give the matrix from sources to units, and who the sources are.

    Parameters
    ----------
    circuit : Circuit

    Returns
    -------
    matrix : ndarray, shape (n_units, n_sources)
        Static sources first.
    static : ndarray of int, shape (n_static,)
        Units that send through static weights.
    plastic : list of (str, int)
        Class and unit of every plastic source.
    """
    weights = build_weights(circuit)
    static = np.flatnonzero(np.any(weights.static != 0.0, axis=0))
    plastic = [
        (name, int(unit))
        for name, block in weights.plastic.items()
        for unit in np.flatnonzero(np.any(block != 0.0, axis=0))
    ]
    columns = [weights.static[:, static], *(weights.plastic[name][:, [unit]] for name, unit in plastic)]
    return np.hstack(columns), static, plastic


def circuit_units(circuit: Circuit, static: np.ndarray, plastic: list[tuple[str, int]], dt_s: float) -> RateUnits:
    """Describe the units of a circuit to the kernels.

    Parameters
    ----------
    circuit : Circuit
    static, plastic
        From `circuit_sources`.
    dt_s : float
        Time step.

    Returns
    -------
    RateUnits
    """
    activations = [population.activation for population in circuit.populations]
    return RateUnits(
        form=CURRENT if circuit.form == "current" else RATE,
        first=np.cumsum([0, *(population.size for population in circuit.populations)]),
        codes=np.array([a.code for a in activations]),
        shapes=np.array([(a.gain, a.threshold, a.exponent) for a in activations]),
        static_unit=static.astype(np.int64),
        plastic_unit=np.array([unit for _, unit in plastic], dtype=np.int64),
        convention=np.array([circuit.plasticity[name].law.convention for name, _ in plastic], dtype=np.int64),
        rate_scale_hz=circuit.rate_scale_hz or 1.0,
        dt_s=dt_s,
    )
