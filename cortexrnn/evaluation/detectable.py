"""How small a gain these trials could have shown: what "inconclusive" and "no" are worth."""

from __future__ import annotations

import math

from cortexrnn.evaluation.scores import Gain

# Normal quantiles of a two-sided 5 % test and of a power of 80 %.
POWER_SUPERIORITY = 1.96 + 0.84


def detectable_gain(gain: Gain) -> float:
    """Give the true gain that so many trials would show with a power of 80 %.

    Parameters
    ----------
    gain : Gain
        Measured gain, of which only the spread over trials is used.

    Returns
    -------
    float
        ``(1.96 + .84) f s / sqrt(n)`` in bits per spike; NaN where the spread is not known.
    """
    return POWER_SUPERIORITY * gain.inflation * gain.sd / math.sqrt(gain.n_trials) if gain.n_trials else math.nan


def detectable_words(smallest: float | None, n_trials: int) -> str:
    """Say which gain these trials would have shown.

    Parameters
    ----------
    smallest : float or None
        From `detectable_gain`.
    n_trials : int

    Returns
    -------
    str
        One sentence; empty where it is not known.
    """
    if smallest is None or not math.isfinite(smallest):
        return ""
    return f"A gain of {smallest:.3f} bits/spike would show in {n_trials} trials with a power of 80 %."
