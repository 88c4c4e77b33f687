"""Networks that hear spikes of their own while they are trained, so that they have met what they will run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.generate_kernels import LARGEST_EXPECTED

if TYPE_CHECKING:
    from cortexrnn.encoding.network_rung import NetworkRung
    from cortexrnn.encoding.rnn_tiles import InputScale

# Part of the schedule over which the share of own spikes rises.
_RAMP = 1.0 / 3.0


def n_ramp(spec: NetworkRung) -> int:
    """Give the epochs over which the share of bins with own spikes rises; 0 without scheduled sampling."""
    return round(_RAMP * spec.max_epochs) if spec.own_spikes > 0.0 else 0


def make_feed(
    spec: NetworkRung, trials: UnitTrials, log_baseline: np.ndarray, scale: InputScale
) -> Feed | None:
    """Give the feed of a network; None where it is fed what was recorded, or no spikes at all."""
    return Feed(spec, trials, log_baseline, scale) if spec.own_spikes > 0.0 and spec.uses_own_spikes else None


class Feed:
    """What a network is fed in every epoch: recorded spikes, and in some bins those that it draws itself.

    Parameters
    ----------
    spec : NetworkRung
        Share of bins, likelihood and seed.
    trials : UnitTrials
        Trials that the network is trained on; their burn-in stays as recorded.
    log_baseline : ndarray, shape (n_trials, n_bins)
        What the rung below expects on recorded spikes.
    scale : InputScale

    Notes
    -----
    Bengio et al. (2015), arXiv:1506.03099, but spikes are drawn before an epoch and not while it runs, so that the
    sweeps over pieces stay what they are.
    """

    def __init__(self, spec: NetworkRung, trials: UnitTrials, log_baseline: np.ndarray, scale: InputScale):
        self._spec, self._trials, self._scale = spec, trials, scale
        self._log_baseline = log_baseline
        self._base = np.ascontiguousarray(log_baseline.T)

    def inputs(self, weights: np.ndarray, epoch: int) -> np.ndarray:
        """Give the inputs of the pieces for an epoch.

        Parameters
        ----------
        weights : ndarray of float32, shape (n_weights,)
            Of the network as it stands.
        epoch : int
            From 0; in the first ones the share of own spikes rises linearly from 0.

        Returns
        -------
        ndarray of float32, shape (n_tiles, n_steps, n_inputs, N_LANES)
        """
        heard = self._trials._replace(counts=self.hear(weights, epoch))
        # The stream that laid the pieces out lays them out again.
        return self._spec.pieces(heard, self._log_baseline, self._scale, self._spec.training_stream()).inputs

    def hear(self, weights: np.ndarray, epoch: int) -> np.ndarray:
        """Give the counts that the network hears, uint16 of shape (n_trials, n_bins); parameters as `inputs`."""
        spec, trials = self._spec, self._trials
        rng = stream(spec.seed, "scheduled sampling", epoch)
        share = spec.own_spikes * min(1.0, epoch / max(n_ramp(spec), 1))
        is_own = np.ascontiguousarray(((rng.random(trials.counts.shape) < share) & trials.scored).T)
        heard = np.ascontiguousarray(trials.counts.T)
        stepper = spec.as_fitted(spec.untested(weights, self._scale), None, trials.bin_s).stepper(trials)
        is_bernoulli = LIKELIHOODS[spec.likelihood] == BERNOULLI
        for t in range(len(heard)):
            mu = np.minimum(np.exp(np.minimum(stepper.predict(t, self._base[t]), 700.0)), LARGEST_EXPECTED)
            drawn = rng.random(mu.size) < -np.expm1(-mu) if is_bernoulli else rng.poisson(mu)
            heard[t] = np.where(is_own[t], drawn, heard[t])
            stepper.update(t, heard[t])
        return np.ascontiguousarray(heard.T)
