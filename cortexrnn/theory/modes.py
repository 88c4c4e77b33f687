"""Modes of a system around its states: how long they last and how fast they turn, of the map and of the flow.

A multiplier ``lambda`` of the map has ``tau = -dt / ln|lambda|`` and ``f = |arg(lambda)| / (2 pi dt)``; an exponent
``mu`` of the flow has ``tau = -1 / Re mu`` and ``f = |Im mu| / (2 pi)``. Time constants of modes that grow are
negative.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.errors import NumericalWarning
from cortexrnn.theory.system import System, as_system

# A flow decays by this factor before round-off is all that is left of a mode; slower ones are neither way.
_NEUTRAL = 1e-10


def modes(thing: Any, states: np.ndarray, *, has_vectors: bool = True) -> xr.Dataset:
    """Give the time constants and frequencies of the modes around states.

    Parameters
    ----------
    thing : System, or what `as_system` takes
    states : array_like, shape (n_points, size) or (size,)
        Fixed or slow points; nothing here asks whether they are.
    has_vectors : bool
        Whether to give the modes' directions too, which takes longer.

    Returns
    -------
    xarray.Dataset
        Over (point, mode), modes of the map with the largest modulus first: `multiplier` (complex), `tau_s`,
        `frequency_hz`, and `vector` over (point, state, mode). Where there is a flow also, with the largest real part
        first: `exponent_per_s` (complex), `flow_tau_s`, `flow_frequency_hz`. Over point: `n_unstable` and, of the flow,
        `flow_n_unstable`.

    Raises
    ------
    DataError
        If the states do not fit the system.

    Warns
    -----
    NumericalWarning
        If the map is unstable at a point at which the flow is stable, or the other way round.

    Notes
    -----
    A pair of complex modes shares one time constant and one frequency. A negative multiplier of the map has the
    frequency ``1 / (2 dt)``.
    """
    system = as_system(thing)
    x = system.check_states(states)
    jacobian = system.jacobian(x)
    found = xr.Dataset(coords={"state": system.labels}, attrs={"dt_s": system.dt_s, "system": system.name})
    if has_vectors:
        values, vectors = np.linalg.eig(jacobian)
    else:
        values, vectors = np.linalg.eigvals(jacobian), None
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    multiplier = np.take_along_axis(values, order, axis=1).astype(complex)
    found["multiplier"] = ("point", "mode"), multiplier
    found["tau_s"] = ("point", "mode"), map_tau_s(multiplier, system.dt_s), {"units": "s"}
    turns = np.abs(np.angle(multiplier)) / (2.0 * np.pi * system.dt_s)
    found["frequency_hz"] = ("point", "mode"), turns, {"units": "Hz"}
    if vectors is not None:
        found["vector"] = (
            ("point", "state", "mode"),
            np.take_along_axis(vectors, order[:, None, :], axis=2).astype(complex),
        )
    found["n_unstable"] = "point", count_unstable(multiplier)
    if system.is_flow:
        exponent = flow_exponents(system, x)
        with np.errstate(divide="ignore"):
            tau_s = -1.0 / exponent.real
        found["exponent_per_s"] = ("point", "mode"), exponent, {"units": "1/s"}
        found["flow_tau_s"] = ("point", "mode"), tau_s, {"units": "s"}
        found["flow_frequency_hz"] = ("point", "mode"), np.abs(exponent.imag) / (2.0 * np.pi), {"units": "Hz"}
        found["flow_n_unstable"] = "point", count_growing(exponent)
        warn_of_disagreement(system, multiplier, exponent)
    return found


def map_tau_s(multiplier: np.ndarray, dt_s: float) -> np.ndarray:
    """Give the time constants of multipliers in seconds: 0 for a multiplier of 0, infinite on the unit circle.

    Parameters
    ----------
    multiplier : ndarray of complex
    dt_s : float

    Returns
    -------
    ndarray of float
        In the same shape; negative where a mode grows.
    """
    with np.errstate(divide="ignore"):
        rate = -np.log(np.abs(multiplier)) / dt_s
        return np.where(np.isinf(rate), 0.0, 1.0 / np.abs(rate) * np.where(rate < 0.0, -1.0, 1.0))


def flow_exponents(system: System, states: np.ndarray) -> np.ndarray:
    """Give the eigenvalues of the flow's derivative per second, the largest real part first.

    Parameters
    ----------
    system : System
        With a flow.
    states : ndarray, shape (n, size)

    Returns
    -------
    ndarray of complex, shape (n, size)
    """
    values = np.linalg.eigvals(system.velocity_jacobian(states))
    return np.take_along_axis(values, np.argsort(-values.real, axis=1, kind="stable"), axis=1).astype(complex)


def count_unstable(multiplier: np.ndarray) -> np.ndarray:
    """Count the multipliers beyond the unit circle, by more than round-off.

    Parameters
    ----------
    multiplier : ndarray of complex, shape (n, n_modes)

    Returns
    -------
    ndarray of int, shape (n,)
    """
    return (np.abs(multiplier) > 1.0 + _NEUTRAL).sum(axis=1)


def count_growing(exponent: np.ndarray) -> np.ndarray:
    """Count the exponents with a positive real part, by more than round-off.

    Parameters
    ----------
    exponent : ndarray of complex, shape (n, n_modes)

    Returns
    -------
    ndarray of int, shape (n,)
    """
    return (exponent.real > _NEUTRAL * np.abs(exponent).max(axis=1, keepdims=True)).sum(axis=1)


def warn_of_disagreement(system: System, multiplier: np.ndarray, exponent: np.ndarray) -> None:
    """Warn where the map and the flow disagree about stability.

    Parameters
    ----------
    system : System
    multiplier, exponent : ndarray of complex, shape (n, n_modes)

    Warns
    -----
    NumericalWarning
        With the number of points, and below which step the Euler map is stable where the flow is.
    """
    by_map, by_flow = count_unstable(multiplier) == 0, count_growing(exponent) == 0
    apart = by_map != by_flow
    if not apart.any():
        return
    message = (
        f"{system.name}: at {apart.sum()} of {apart.size} points the map with dt_s={system.dt_s:g} and the flow "
        "disagree about stability."
    )
    decays = exponent[apart & by_flow]
    if decays.size:
        # Euler's map multiplies by 1 + dt mu.
        largest_s = float((-2.0 * decays.real / np.abs(decays) ** 2).min())
        message += f" Euler's map is stable where the flow is with a dt_s below {largest_s:.3g}."
    warnings.warn(message, NumericalWarning, stacklevel=3)
