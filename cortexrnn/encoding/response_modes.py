"""What a spike does to the log of a rate, bin after bin, and the few modes that such a response is made of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cortexrnn._checks import check_count, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.model import Fitted
from cortexrnn.errors import DataError
from cortexrnn.theory.modes import map_tau_s

COLUMNS = ("tau_s", "frequency_hz", "share", "turns")
# Share of a response's energy from which on a realisation explains it, and the most states that it may have.
_EXPLAINED, _MOST_STATES = 0.95, 8
# A mode that carries less of a response is no rotation that could be seen.
_SEEN = 0.01


def added_spike(fitted: Fitted, trials: UnitTrials, *, lag_s: float, n_places: int = 8) -> np.ndarray:
    """Measure by how much one more spike changes the log rate that a rung predicts, on average over real trials.

    Parameters
    ----------
    fitted : Fitted
        A rung that looks at its unit's spikes. The rungs below do not see the spike that is added.
    trials : UnitTrials
        More than twice as long as `lag_s`.
    lag_s : float
        How long the response is followed.
    n_places : int
        Bins of every trial in which a spike is added, one at a time.

    Returns
    -------
    ndarray, shape (n_lags,)
        At lags of 1, 2, ... bins.

    Raises
    ------
    DataError
        If the trials are too short.
    """
    n_lags, n_bins = round(lag_s / trials.bin_s), trials.counts.shape[1]
    if n_bins <= 2 * n_lags:
        raise DataError(
            f"trials of {n_bins * trials.bin_s:g} s are too short for a response of {lag_s:g} s; expected more than "
            "twice that.",
            hint="Give a shorter lag_s, or leave trials out.",
        )
    below = np.zeros(trials.counts.shape) if fitted.below is None else fitted.below.log_mu(trials)
    without, total = fitted.extend(trials, below), np.zeros(n_lags)
    places = np.unique(np.linspace(n_lags, n_bins - n_lags - 1, n_places).astype(int))
    for place in places:
        counts = trials.counts.copy()
        counts[:, place] += 1
        changed = fitted.extend(trials._replace(counts=counts), below) - without
        total += changed[:, place + 1 : place + 1 + n_lags].mean(axis=0)
    return total / places.size


def system_response(matrix: np.ndarray, kick: np.ndarray, read_out: np.ndarray, n_lags: int) -> np.ndarray:
    """Give the impulse response ``read_out @ matrix^(k - 1) @ kick`` of a linear system.

    Parameters
    ----------
    matrix : ndarray, shape (size, size)
    kick, read_out : ndarray, shape (size,)
    n_lags : int

    Returns
    -------
    ndarray, shape (n_lags,)
        At lags of k = 1, 2, ... bins.
    """
    response, state = np.empty(n_lags), kick
    for k in range(n_lags):
        response[k] = read_out @ state
        state = matrix @ state
    return response


def system_modes(matrix: np.ndarray, kick: np.ndarray, read_out: np.ndarray, dt_s: float) -> pd.DataFrame:
    """Give the modes of a linear system, those that carry most of its response first.

    Parameters
    ----------
    matrix : ndarray, shape (size, size)
    kick, read_out : ndarray, shape (size,)
    dt_s : float

    Returns
    -------
    pandas.DataFrame
        One row a mode or a pair of complex ones: `real` and `imag` of the multiplier; `tau_s`, negative where it
        grows; `frequency_hz`; `share`, the energy of its part of the response, relative to that of all parts (parts
        of opposite sign may cancel); `turns`, the radians that it turns by while it decays to 1/e.
    """
    values, vectors = np.linalg.eig(matrix)
    # Modes of a matrix that is no more than nearly diagonalisable have large parts that cancel.
    residue = (read_out @ vectors) * np.linalg.lstsq(vectors, kick.astype(complex), rcond=None)[0]
    return _table(values, residue, dt_s)


def realised_modes(response: np.ndarray, dt_s: float, *, n_states: int | None = None) -> pd.DataFrame:
    """Give the modes of the smallest linear system that has a response.

    Parameters
    ----------
    response : array_like, shape (n_lags,)
        At lags of 1, 2, ... bins.
    dt_s : float
        Bin width.
    n_states : int, optional
        States of the system. If not given, the fewest, up to 8, that explain 95 % of the response's energy.

    Returns
    -------
    pandas.DataFrame
        As `system_modes` gives it; empty for a response of zero.

    Raises
    ------
    DataError
        If there are too few lags or one is not finite.

    Notes
    -----
    The realisation of Kung (1978) from the singular vectors of the Hankel matrix of the response.
    """
    values = np.asarray(response, dtype=float)
    check_positive("dt_s", dt_s)
    half = (values.size + 1) // 2
    if values.ndim != 1 or half < 2 or not np.isfinite(values).all():
        raise DataError(f"the response has the shape {values.shape}; expected at least 3 finite lags.")
    if n_states is not None:
        check_count("n_states", n_states)
    if not values.any():
        return pd.DataFrame(columns=["real", "imag", *COLUMNS], dtype=float)
    hankel = np.lib.stride_tricks.sliding_window_view(values, values.size - half + 1)
    left, size, right = np.linalg.svd(hankel, full_matrices=False)
    most = min(half - 1, int((size > 1e-12 * size[0]).sum()))
    tried = range(1, min(_MOST_STATES, most) + 1) if n_states is None else [min(n_states, most)]
    for n in tried:
        observed = left[:, :n] * np.sqrt(size[:n])
        matrix = np.linalg.lstsq(observed[:-1], observed[1:], rcond=None)[0]
        parts = matrix, np.sqrt(size[:n]) * right[:n, 0], observed[0]
        missed = values - system_response(*parts, values.size)
        if missed @ missed <= (1.0 - _EXPLAINED) * (values @ values):
            break
    return system_modes(*parts, dt_s)


def rotation(modes: pd.DataFrame) -> pd.Series | None:
    """Give the mode that turns by a radian or more and carries most of the response.

    It turns while it decays to 1/e, and carries at least 1 % of the response.

    Parameters
    ----------
    modes : pandas.DataFrame
        As `system_modes` gives it.

    Returns
    -------
    pandas.Series or None
        None where there is none.
    """
    turning = modes[(modes["turns"] >= 1.0) & (modes["imag"] > 0.0) & (modes["share"] >= _SEEN)]
    return None if turning.empty else turning.iloc[0]


def _table(multiplier: np.ndarray, residue: np.ndarray, dt_s: float) -> pd.DataFrame:
    """Lay out modes, one row a pair."""
    size = np.abs(multiplier)
    # A mode that grows has no energy of its own; it counts over as many steps as it takes to grow by e.
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(size == 1.0, np.inf, 1.0 / np.abs(1.0 - size**2))
        energy = np.abs(residue) ** 2 * steps
        tau_s = map_tau_s(multiplier, dt_s)
        frequency_hz = np.abs(np.angle(multiplier)) / (2.0 * np.pi * dt_s)
        turns = 2.0 * np.pi * frequency_hz * np.abs(tau_s)
    energy = np.nan_to_num(energy, nan=0.0)
    table = pd.DataFrame(
        {
            "real": multiplier.real, "imag": multiplier.imag, "tau_s": tau_s, "frequency_hz": frequency_hz,
            "share": energy * np.where(multiplier.imag != 0.0, 2.0, 1.0), "turns": turns,
        }
    )  # fmt: skip
    table = table[table["imag"] >= 0.0]
    total = table["share"].sum()
    table["share"] /= total if total > 0.0 else 1.0
    return table.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)
