"""How many of a unit's spikes come from other neurons, from how often its refractory period is violated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError


class ForeignSpikes(NamedTuple):
    """Estimated share of spikes that belong to other neurons.

    Attributes
    ----------
    share : float
        From 0 to 1; 1 where there are as many violations as a train without any refractory period would have.
        NaN without spikes.
    low, high : float
        95 % interval from the number of violations, a Poisson count.
    n_violations : int
        Pairs of spikes closer than the refractory period.
    """

    share: float
    low: float
    high: float
    n_violations: int


def foreign_spikes(
    times_s: np.ndarray, observed_s: float, *, refractory_s: float = 0.002, censored_s: float = 0.0
) -> ForeignSpikes:
    """Estimate the share of foreign spikes from violations of the refractory period.

    Foreign spikes are taken to come at random, from many neurons and independent of the unit's own: if they follow the
    unit's own spikes, or the same stimulus, the share is overestimated. A bursting unit whose refractory period is
    shorter than `refractory_s` violates it itself.

    Parameters
    ----------
    times_s : array_like of float, shape (n_spikes,)
        Spike times in seconds, ascending.
    observed_s : float
        Seconds of recording.
    refractory_s : float
        Refractory period in seconds.
    censored_s : float
        Shortest interval that the detector can see, in seconds; closer pairs are not counted.

    Returns
    -------
    ForeignSpikes

    Raises
    ------
    OptionError
        If a duration is not positive, or the censored period is not shorter than the refractory period.

    Notes
    -----
    Of N spikes in T seconds, a share C of them foreign, the pairs within tau = refractory - censored seconds of which
    not both are the unit's own number ``(N^2 tau / T) (1 - (1 - C)^2)``, so that with v violations
    ``C = 1 - sqrt(1 - v T / (N^2 tau))`` (Llobet, Wyngaard and Barbour 2022, doi:10.1101/2022.02.08.479192). Hill,
    Mehta and Kleinfeld (2011), doi:10.1523/JNEUROSCI.0971-11.2011, take all foreign spikes to come from one neuron
    that has the same refractory period: ``v = 2 (N^2 tau / T) C (1 - C)``. For a few violations both give
    ``v T / (2 N^2 tau)``.

    Examples
    --------
    >>> import numpy as np
    >>> foreign_spikes(np.array([0.1, 0.2, 0.3]), 1.0).share
    0.0
    """
    check_positive("observed_s", observed_s)
    check_positive("refractory_s", refractory_s)
    if not 0.0 <= censored_s < refractory_s:
        raise OptionError(f"censored_s={censored_s!r} is not valid; expected 0 to below refractory_s={refractory_s}.")
    times = np.asarray(times_s, dtype=float)
    if times.size == 0:
        return ForeignSpikes(np.nan, np.nan, np.nan, 0)
    # Each spike counts those behind it; of spikes at the very same time every pair once.
    near = np.searchsorted(times, times + censored_s, side="right") if censored_s else np.arange(1, times.size + 1)
    far = np.searchsorted(times, times + refractory_s, side="left")
    n_violations = int((far - near).sum())
    possible = times.size**2 * (refractory_s - censored_s) / observed_s
    low = float(chi2.ppf(0.025, 2 * n_violations)) / 2.0 if n_violations else 0.0
    high = float(chi2.ppf(0.975, 2 * n_violations + 2)) / 2.0
    return ForeignSpikes(*(_share(count / possible) for count in (n_violations, low, high)), n_violations)


def _share(violations: float) -> float:
    """Give the share of foreign spikes from violations over those of a train without a refractory period."""
    return 1.0 - float(np.sqrt(max(0.0, 1.0 - violations)))
