"""Co-smoothing: how well held-out units' rates are told from held-in units' spikes, at all times of unseen trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import gammaln

from cortexrnn.encoding.smoothers import GroupedCounts, Smoother
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.evaluation.scores import LN2, Gain, gain_interval
from cortexrnn.numerics.streams import stream
from cortexrnn.schema import TRIAL_DIMS, check_trials
from cortexrnn.spikes.folds import assign_folds

# What the Neural Latents Benchmark puts in the place of a rate of zero.
_SMALLEST_RATE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CoSmoothing:
    """Outcome of a co-smoothing.

    Attributes
    ----------
    data : xarray.Dataset
        Of the held-out units: ``expected`` counts (trial, time, unit), told by models that were not fitted to the trial
        and saw no spike of these units in it, ``scored`` (trial, time), ``bits_per_spike`` (unit; NaN for a unit
        without spikes), ``n_spikes`` (trial, unit), and per trial and unit the ``log_likelihood`` and that of the
        ``null``, the mean count of the training trials, in nats.
    bits_per_spike : float
        All held-out units together over their mean rates in the very trials that are scored, as the Neural Latents
        Benchmark has it (co-bps).
    gain : Gain
        All held-out units together over their mean rates in the training trials, in bits per spike, with its interval.
    held_in : tuple
        Ids of the units that were seen.
    """

    data: xr.Dataset
    bits_per_spike: float
    gain: Gain
    held_in: tuple

    @property
    def sentence(self) -> str:
        """What came out, in words."""
        low, high = self.gain.interval
        return (
            f"{self.data.sizes['unit']} units told from {len(self.held_in)} others: {self.bits_per_spike:.3f} bits per "
            f"spike over their mean rates ({self.gain.value:.3f}, {low:.3f} to {high:.3f}, over those of training)."
        )


def co_smoothing(
    model: Smoother,
    trials: xr.Dataset,
    *,
    held_out: float | Sequence = 0.25,
    n_folds: int = 5,
    seed: int = 0,
) -> CoSmoothing:
    """Tell held-out units' rates from held-in units' spikes on held-out trials, and score them.

    The model is fitted to both groups on the training trials of every fold, and sees the held-in units alone, at all
    times, on the fold's own. Bins in which a unit was not observed do not count.

    Parameters
    ----------
    model : Smoother
        `PoissonSmoother`, `RecurrentSmoother`, or one of your own.
    trials : xarray.Dataset
        Trials of several units; bins of 5 to 20 ms are usual.
    held_out : float or sequence
        Ids of the units that are to be told, or which share of all units, drawn by the seed.
    n_folds : int
        Cross-validation folds over trials, contiguous and stratified by condition.
    seed : int
        Of the draw of units.

    Returns
    -------
    CoSmoothing

    Raises
    ------
    OptionError
        If the model is no smoother, or `held_out` leaves a group empty or names a unit that is not there.
    DataError
        If the trials break the contract, or no bin is scored in the training trials of a fold.
    NumericalError
        If a predicted count is not a positive number.
    """
    if not isinstance(model, Smoother):
        raise OptionError(
            f"{type(model).__name__} is no Smoother.", hint="A model that predicts from the past goes to compare()."
        )
    check_trials(trials)
    is_out = _choose_units(trials["unit"].values, held_out, seed)
    data = _group(trials, is_out)
    fold = assign_folds(data.condition, n_folds)
    expected = np.empty(data.held_out.shape)
    null = np.empty(data.held_out.shape)
    for k in range(n_folds):
        training, test = data.take(fold != k), data.take(fold == k)
        if not training.scored.any():
            raise DataError(f"all units were observed in no scored bin of the training trials of fold {k}.")
        expected[fold == k] = _checked(model.fit(training).predict(test.hidden()), test)
        null[fold == k] = training.mean_counts
    return _score(trials, data, expected, null, is_out, n_folds)


def bits_per_spike(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Give the bits per spike of predicted rates over every unit's mean, as the Neural Latents Benchmark does.

    The mean is that of the spikes that are scored, which no model can know; units are weighed by their spikes.

    Parameters
    ----------
    rates : ndarray of float, shape (..., n_units)
        Expected counts, not negative; a rate of zero counts as 1e-9.
    spikes : ndarray, same shape
        Counts; where they are NaN nothing is scored.

    Returns
    -------
    float
        NaN without spikes.

    Raises
    ------
    DataError
        If shapes differ, or a rate is NaN or negative where spikes are scored.

    Notes
    -----
    Pei et al. (2021), arXiv:2109.04463: the difference of the Poisson log-likelihoods in bits over the number of
    spikes. Neither array is changed, where the benchmark's own program writes its 1e-9 into the caller's rates.

    Examples
    --------
    >>> import numpy as np
    >>> spikes = np.array([[0.0], [2.0]])
    >>> bits_per_spike(np.ones((2, 1)), spikes)
    0.0
    """
    rates, spikes = np.asarray(rates, dtype=float), np.asarray(spikes, dtype=float)
    if rates.shape != spikes.shape or rates.ndim < 1:
        raise DataError(f"rates have shape {rates.shape} and spikes {spikes.shape}; expected the same.")
    is_scored = ~np.isnan(spikes)
    if not (rates[is_scored] >= 0.0).all():
        n_wrong = int((~(rates[is_scored] >= 0.0)).sum())
        raise DataError(f"{n_wrong} rates are negative or NaN where spikes are scored.")
    by_unit = tuple(range(spikes.ndim - 1))
    n_scored = np.maximum(is_scored.sum(axis=by_unit), 1)
    means = np.where(is_scored, spikes, 0.0).sum(axis=by_unit) / n_scored
    counted = spikes[is_scored]
    if not counted.sum():
        return float("nan")
    loss = _poisson_loss(rates[is_scored], counted)
    null = _poisson_loss(np.broadcast_to(means, spikes.shape)[is_scored], counted)
    return float((null - loss) / counted.sum() / LN2)


def psth_r2(psth: np.ndarray, rates: np.ndarray, condition: np.ndarray) -> float:
    """Give the coefficient of determination of PSTHs by trial-averaged rates, as the Neural Latents Benchmark does.

    Parameters
    ----------
    psth : ndarray, shape (n_conditions, n_bins, n_units)
        True PSTHs; bins in which the first unit is NaN are left out.
    rates : ndarray, shape (n_trials, n_bins, n_units)
        Predicted rates.
    condition : ndarray of int, shape (n_trials,)
        Row of `psth` that every trial belongs to; conditions without trials are left out.

    Returns
    -------
    float
        Mean over units of ``1 - SSE / SST``, with the conditions end to end; a unit whose PSTH is flat counts 1 where
        it is met exactly and 0 else, as in scikit-learn.

    Raises
    ------
    DataError
        If shapes do not fit, or a rate is NaN where it counts.
    """
    psth, rates, condition = np.asarray(psth, float), np.asarray(rates, float), np.asarray(condition)
    if psth.ndim != 3 or rates.shape[1:] != psth.shape[1:] or condition.shape != rates.shape[:1]:
        raise DataError(f"psth {psth.shape}, rates {rates.shape} and condition {condition.shape} do not fit together.")
    if condition.size == 0 or condition.min() < 0 or condition.max() >= len(psth):
        raise DataError(f"condition must name rows of psth, 0 to {len(psth) - 1}, in at least one trial.")
    true, told = [], []
    for c in np.unique(condition):
        is_known = ~np.isnan(psth[c, :, 0])
        true.append(psth[c, is_known])
        told.append(rates[condition == c].mean(axis=0)[is_known])
    truth, guess = np.concatenate(true), np.concatenate(told)
    if np.isnan(guess).any():
        raise DataError(f"{int(np.isnan(guess).sum())} trial-averaged rates are NaN where the PSTH is known.")
    error = ((truth - guess) ** 2).sum(axis=0)
    total = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    ratio = np.divide(error, total, out=(error > 0.0).astype(float), where=total > 0.0)
    return float(np.mean(1.0 - ratio))


def _poisson_loss(rates: np.ndarray, spikes: np.ndarray) -> float:
    """Give minus the Poisson log-likelihood, zero rates raised."""
    raised = np.where(rates == 0.0, _SMALLEST_RATE, rates)
    return float(np.sum(raised - spikes * np.log(raised) + gammaln(spikes + 1.0)))


def _choose_units(units: np.ndarray, held_out: float | Sequence, seed: int) -> np.ndarray:
    """Mark the units that are to be told."""
    if isinstance(held_out, int | float):
        if not 0.0 < held_out < 1.0 or units.size < 2:
            raise OptionError(
                f"held_out={held_out!r} of {units.size} units leaves nothing to do; expected a share between 0 and 1 "
                "of at least two, or unit ids."
            )
        n_out = min(max(1, round(held_out * units.size)), units.size - 1)
        chosen = stream(seed, "co-smoothing units").permutation(units.size)[:n_out]
        return np.isin(np.arange(units.size), chosen)
    wanted = list(held_out)
    unknown = [unit for unit in wanted if unit not in units.tolist()]
    if unknown:
        raise OptionError(f"held_out names {unknown[0]!r}, which is no unit; there are {units.tolist()[:8]}.")
    is_out = np.isin(units, wanted)
    if not is_out.any() or is_out.all():
        raise OptionError(f"held_out names {int(is_out.sum())} of {units.size} units; expected some, and not all.")
    return is_out


def _group(trials: xr.Dataset, is_out: np.ndarray) -> GroupedCounts:
    """Part the units of a Trials dataset."""
    counts = trials["counts"].values
    observed = trials["observed"].values.all(axis=2)
    _, condition = np.unique(trials["condition"].values, return_inverse=True)
    return GroupedCounts(
        held_in=counts[:, :, ~is_out],
        held_out=counts[:, :, is_out],
        observed=observed,
        scored=observed & trials["scored"].values,
        condition=condition.astype(np.int64),
        bin_s=float(trials.attrs["bin_s"]),
    )


def _checked(expected: np.ndarray, data: GroupedCounts) -> np.ndarray:
    """Refuse predictions of another shape, or that are no positive numbers in a scored bin."""
    expected = np.asarray(expected, dtype=float)
    if expected.shape != data.held_out.shape:
        raise NumericalError(f"the prediction has shape {expected.shape}; expected {data.held_out.shape}.")
    counted = expected[data.scored]
    is_right = np.isfinite(counted) & (counted > 0.0)
    if not is_right.all():
        raise NumericalError(f"{int((~is_right).sum())} of {counted.size} predicted counts are not positive numbers.")
    return expected


def _score(
    trials: xr.Dataset, data: GroupedCounts, expected: np.ndarray, null: np.ndarray, is_out: np.ndarray, n_folds: int
) -> CoSmoothing:
    """Put the scores of all trials together."""
    scored = data.scored[:, :, None]
    spikes = np.where(scored, data.held_out, np.nan)
    likelihoods = []
    for mu in (expected, null):
        terms = data.held_out * np.log(np.where(scored, mu, 1.0)) - mu - gammaln(data.held_out + 1.0)
        likelihoods.append(np.where(scored, terms, 0.0).sum(axis=1))
    n_spikes = np.where(scored, data.held_out, 0).sum(axis=1)
    per_unit = [bits_per_spike(expected[..., [u]], spikes[..., [u]]) for u in range(expected.shape[2])]
    unit_dims = ("trial", "unit")
    dataset = xr.Dataset(
        {
            "expected": (TRIAL_DIMS, expected),
            "scored": (TRIAL_DIMS[:2], data.scored),
            "bits_per_spike": ("unit", np.array(per_unit)),
            "n_spikes": (unit_dims, n_spikes),
            "log_likelihood": (unit_dims, likelihoods[0]),
            "null": (unit_dims, likelihoods[1]),
        },
        coords={
            "time": trials["time"].values,
            "unit": trials["unit"].values[is_out],
            "condition": ("trial", trials["condition"].values),
        },
    )
    gain = gain_interval(*(values.sum(axis=1) for values in likelihoods), n_spikes.sum(axis=1), n_folds)
    return CoSmoothing(
        data=dataset,
        bits_per_spike=bits_per_spike(expected, spikes),
        gain=gain,
        held_in=tuple(trials["unit"].values[~is_out].tolist()),
    )
