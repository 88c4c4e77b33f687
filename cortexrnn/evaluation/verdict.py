"""The three-valued answer, and how many more trials an undecided one would need."""

from __future__ import annotations

import math
from typing import NamedTuple

from cortexrnn.evaluation.detectable import POWER_SUPERIORITY
from cortexrnn.evaluation.scores import Gain

HISTORY_MATTERS = "history matters"
NO_RELEVANT_HISTORY = "no relevant history"
INCONCLUSIVE = "inconclusive"
VERDICTS = (HISTORY_MATTERS, NO_RELEVANT_HISTORY, INCONCLUSIVE)

MIN_TRIALS = 10
MIN_SPIKES = 30
SIGNIFICANCE = 0.05
_TOO_MANY_FACTOR = 10
_POWER_EQUIVALENCE = 1.96 + 1.28


class Verdict(NamedTuple):
    """An answer with its reason.

    Attributes
    ----------
    verdict : str
        One of `VERDICTS`.
    reason : str
        One sentence.
    """

    verdict: str
    reason: str


def decide(gains: list[Gain], surrogate_p: float | None, n_spikes: int, rope: float) -> Verdict:
    """Say whether history matters.

    Parameters
    ----------
    gains : list of Gain
        Gain of the history rung over each control (M3, and M6cut where networks were fitted); the
        decisive one, over the better control, first.
    surrogate_p : float or None
        p of the surrogate test; None where it was left out, and then nothing can matter.
    n_spikes : int
        Held-out spikes.
    rope : float
        Half-width of the region of equivalence in bits per spike.

    Returns
    -------
    Verdict
    """
    gain = gains[0]
    if gain.n_trials < MIN_TRIALS:
        return Verdict(INCONCLUSIVE, f"Only {gain.n_trials} trials; at least {MIN_TRIALS} are needed.")
    if n_spikes < MIN_SPIKES or math.isnan(gain.value):
        return Verdict(INCONCLUSIVE, f"Only {n_spikes} held-out spikes; at least {MIN_SPIKES} are needed.")
    is_above = all(g.low > 0.0 for g in gains)
    if is_above and surrogate_p is not None and surrogate_p <= SIGNIFICANCE:
        size = "detectable, but negligible" if gain.value < rope else "past spikes predict, beyond rate, drift and gain"
        return Verdict(HISTORY_MATTERS, f"{_signed(gain)} bits/spike: {size}.")
    if -rope <= gain.low and gain.high <= rope:
        return Verdict(NO_RELEVANT_HISTORY, f"{_signed(gain)} bits/spike lies within +-{rope:g}.")
    if gain.high < 0.0:
        return Verdict(INCONCLUSIVE, f"{_signed(gain)} bits/spike: the history models over-fit these few data.")
    if is_above:
        why = "no surrogate test was made" if surrogate_p is None else f"the surrogate test gives p = {surrogate_p:.2g}"
        return Verdict(INCONCLUSIVE, f"{_signed(gain)} bits/spike, but {why}.")
    open_ended = f"the interval neither excludes zero nor fits within +-{rope:g}."
    return Verdict(INCONCLUSIVE, f"{_signed(gain)} bits/spike: {open_ended}")


def more_trials(gain: Gain, rope: float) -> int | None:
    """Estimate how many more trials would settle an undecided answer.

    Parameters
    ----------
    gain : Gain
        The undecided gain.
    rope : float
        Half-width of the region of equivalence in bits per spike.

    Returns
    -------
    int or None
        None where it would take over ten times this recording. Approximate: it takes the estimate
        for the truth.
    """
    if math.isnan(gain.value) or not gain.sd > 0.0:
        return None
    spread = (gain.inflation * gain.sd) ** 2
    needed = []
    if gain.value > 0.0:
        needed.append(POWER_SUPERIORITY**2 * spread / gain.value**2)
    if abs(gain.value) < rope:
        needed.append(_POWER_EQUIVALENCE**2 * spread / (rope - abs(gain.value)) ** 2)
    if not needed:
        return None
    extra = max(0, math.ceil(min(needed)) - gain.n_trials, MIN_TRIALS - gain.n_trials)
    return extra if extra <= _TOO_MANY_FACTOR * gain.n_trials else None


def _signed(gain: Gain) -> str:
    """Write a gain with its interval."""
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
