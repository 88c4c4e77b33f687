"""A model of whole trials, from another library, as a rung."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.template import RATE_METHOD, as_numbers, as_template, check_methods, raise_to, smallest_count
from cortexrnn.schema import BLOCKS, TRIAL_DIMS, make_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptedTrials(Rung):
    """A model of whole trials: ``fit(trials)``, then ``predict_rate(trials)`` in Hz, shape (n_trials, n_bins).

    It is given a Trials dataset of one unit, with time in seconds from the first scored bin, codes for the conditions,
    covariates and neighbours where there are any, and ``baseline_hz`` (trial, time) where it stands on a rung. It sees
    all spikes and must not use those of a bin, or of later ones, for the rate of that bin: the comparison's leak probe
    says so if it does. The same trials must get the same rates each time. If `fit` gives an object with
    `predict_rate`, that is asked, else the model itself. Like `Adapted` it is compared with the other rungs, but never
    chosen as the history rung and not fitted to surrogates.

    Attributes
    ----------
    model : object
        With `fit`; kept as a `Template`.
    name : str
        What it is called.
    baseline : Rung or None
        The rung below, of which it is told; it does not multiply it.

    Raises
    ------
    OptionError
        If the model has no method `fit`.
    """

    meaning: ClassVar[str] = "a model of another library"
    sees_history: ClassVar[bool] = True
    is_candidate: ClassVar[bool] = False
    model: Any = field(kw_only=False)
    name: str = "adapted"
    baseline: Rung | None = None

    def __post_init__(self) -> None:
        """Keep the model as a template."""
        object.__setattr__(self, "model", as_template(self.model, "fit"))

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedAdaptedTrials:
        """Fit a fresh copy of the model to the training trials.

        Raises
        ------
        OptionError
            If neither the model nor what its `fit` gives has a method `predict_rate`.
        """
        model = self.model.fresh()
        answer = model.fit(_as_dataset(trials, None if below is None else log_mu))
        fitted = answer if hasattr(answer, RATE_METHOD) else model
        check_methods(fitted, RATE_METHOD)
        return FittedAdaptedTrials(below=below, spec=self, model=fitted, floor=smallest_count(trials))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedAdaptedTrials(Fitted):
    """A fitted model of whole trials; `floor` is the smallest expected count of a bin."""

    below: Fitted | None
    spec: AdaptedTrials
    model: Any
    floor: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Ask the model for the rate of every bin."""
        answer = self.model.predict_rate(_as_dataset(trials, None if self.below is None else log_mu))
        mu = as_numbers(answer, trials.counts.shape, self.spec.name) * trials.bin_s
        return np.log(raise_to(mu, self.floor, trials.scored, self.spec.name))


def _as_dataset(trials: UnitTrials, log_mu: np.ndarray | None) -> xr.Dataset:
    """Give trials as the dataset that they were cut from, as far as it is known."""
    scored = trials.scored.any(axis=0)
    first = int(np.argmax(scored))
    neighbours = trials.neighbours
    own = -1 if neighbours is None else neighbours.own
    dataset = make_trials(
        trials.counts[:, :, None],
        observed=trials.observed[:, :, None],
        scored=scored,
        time_s=(np.arange(scored.size) - first) * trials.bin_s,
        coords={"condition": ("trial", trials.condition), "start_s": ("trial", trials.start_s), "unit": [own]},
        attrs={
            "bin_s": trials.bin_s,
            "align_to": "trial" if trials.is_locked else BLOCKS,
            "history_s": first * trials.bin_s,
        },
    )
    if log_mu is not None:
        dataset["baseline_hz"] = (TRIAL_DIMS[:2], np.exp(log_mu) / trials.bin_s)
    if trials.covariates is not None:
        dataset["covariates"] = ((*TRIAL_DIMS[:2], "covariate"), trials.covariates)
        if trials.covariate_names:
            dataset = dataset.assign_coords(covariate=list(trials.covariate_names))
    if neighbours is not None:
        dataset["neighbours"] = ((*TRIAL_DIMS[:2], "neighbour"), neighbours.counts)
        dataset = dataset.assign_coords(neighbour=np.arange(neighbours.counts.shape[2]))
    return dataset
