"""Basis for a spike's after-effect: raised cosines that widen with the lag, and single bins for its sharp start."""

from __future__ import annotations

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError

# Refractory periods end within these lags, and their edge is sharp.
_SINGLE_BINS_S = 0.005
_LOG_SPACING = 0.45
_LOG_OFFSET_S = 1e-3


def history_basis(history_s: float, bin_s: float) -> np.ndarray:
    """Build raised cosines over the logarithm of the lag, and one function a bin up to 5 ms.

    The peaks of the cosines lie at equal steps of ``log(lag + 1 ms)`` from the first bin to
    `history_s`, so that a longer window adds functions at long lags and hardly moves the short ones.
    They blur the sharp end of a refractory period; the single bins add what they miss (both after
    Pillow et al. 2008, doi:10.1038/nature07140, methods). A window with no more lags than that makes functions is made
    of single bins alone.

    Parameters
    ----------
    history_s : float
        Longest lag in seconds, at least one bin.
    bin_s : float
        Bin width in seconds.

    Returns
    -------
    ndarray of float64, shape (n_basis, n_lags)
        Value of each function at lags of 1, 2, ... bins, cosines first; every function peaks at 1
        or, where its peak falls between bins, a little below.

    Raises
    ------
    OptionError
        If `history_s` is shorter than a bin.
    """
    check_positive("history_s", history_s)
    n_lags = round(history_s / bin_s)
    if n_lags < 1:
        raise OptionError(f"history_s={history_s} is shorter than a bin of {bin_s} s.", hint="Use at least one bin.")
    n_single = round(_SINGLE_BINS_S / bin_s)
    cosines = _raised_cosines(np.log(np.arange(1, n_lags + 1) * bin_s + _LOG_OFFSET_S))
    # What lives on the single bins alone is made of them already.
    cosines = cosines[cosines[:, n_single:].any(axis=1)]
    if len(cosines) + n_single >= n_lags:
        return np.eye(n_lags)
    return np.concatenate([cosines, np.eye(n_single, n_lags)])


def _raised_cosines(position: np.ndarray) -> np.ndarray:
    """Give raised cosines over positions in rising order, the first with its peak on the first."""
    if position.size == 1:
        return np.ones((1, 1))
    n_basis = min(position.size, max(2, 1 + round((position[-1] - position[0]) / _LOG_SPACING)))
    # The last peak stops one spacing short of the window, where the function has come back to zero by half.
    spacing = (position[-1] - position[0]) / n_basis
    peaks = position[0] + spacing * np.arange(n_basis)
    phase = np.clip((position[None, :] - peaks[:, None]) * np.pi / (2.0 * spacing), -np.pi, np.pi)
    basis = 0.5 * (1.0 + np.cos(phase))
    # Every function lives on at least one bin, also where several peaks share the first bins.
    return basis[basis.max(axis=1) > 0.05]


def coupling_basis(coupling_s: float, bin_s: float) -> np.ndarray:
    """Build raised cosines over the logarithm of the lag, for the effect of another unit's spikes.

    As those of `history_basis`, without single bins: there is no dead time to be sharp about.

    Parameters
    ----------
    coupling_s : float
        Longest lag in seconds, at least one bin.
    bin_s : float
        Bin width in seconds.

    Returns
    -------
    ndarray of float64, shape (n_basis, n_lags)

    Raises
    ------
    OptionError
        If `coupling_s` is shorter than a bin.
    """
    check_positive("coupling_s", coupling_s)
    n_lags = round(coupling_s / bin_s)
    if n_lags < 1:
        raise OptionError(f"coupling_s={coupling_s} is shorter than a bin of {bin_s} s.", hint="Use at least one bin.")
    return _raised_cosines(np.log(np.arange(1, n_lags + 1) * bin_s + _LOG_OFFSET_S))
