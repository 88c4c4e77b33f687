"""A regressor of another library as a rung.

What is fitted is always a fresh copy of the model that was given, so that nothing goes from one fold to the next.
Expected counts below half a spike in all training bins, which is what `Constant` gives to a silent unit, are raised to
that: zero, or the negative number of a linear regressor, would make a spike impossible.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numba
import numpy as np

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.basis import history_basis
from cortexrnn.encoding.constant import mean_count
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.encoding.template import RATE_METHOD, as_numbers, as_template, raise_to, smallest_count
from cortexrnn.errors import OptionError

COUNT, RATE = "count", "rate_hz"
_METHODS = {COUNT: "predict", RATE: RATE_METHOD}
COLUMN, OFFSET = "column", "offset"


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapted(Rung):
    """A regressor of another library, such as scikit-learn's or NeMoS's, on features of the past that are built here.

    One row a bin. The columns are the functions of `history_basis` applied to the unit's own past spikes, log mu of the
    rung below (where it is a column), and the covariates of the trials; unobserved bins enter the history with the
    unit's mean count, and unknown covariates with their mean, both over the training bins. Nothing is scaled: put a
    scaler into the model, as a pipeline, if its penalty needs one. Rows must be predicted one by one: a model whose
    prediction of a row depends on other rows sees the future, and the comparison's leak probe says so.

    It is compared with the other rungs, but never chosen as the history rung and not fitted to surrogates.

    Attributes
    ----------
    model : object
        With ``fit(X, y)``, y being counts, and the method that `predicts` asks for; kept as a `Template`.
    name : str
        What it is called.
    baseline : Rung or None
        The rung below.
    predicts : {"count", "rate_hz"}
        Whether to ask ``predict(X)``, which gives expected counts, as y has counts, or ``predict_rate(X)``, in Hz.
    baseline_as : {"column", "offset"}
        How log mu of the rung below enters. As an offset the model is fitted to ``y / mu`` with ``sample_weight=mu``,
        and its prediction multiplies mu: for a Poisson regression with a log link the same as an offset of log mu.
    history_s : float
        Longest lag of the unit's own spikes in seconds; 0 for none.
    uses_covariates : bool
        Whether covariates of the trials are columns.

    Raises
    ------
    OptionError
        If the model has no such methods, or a value is not valid.
    """

    meaning: ClassVar[str] = "a model of another library"
    is_candidate: ClassVar[bool] = False
    model: Any = field(kw_only=False)
    name: str = "adapted"
    baseline: Rung | None = CausalGain()
    predicts: str = COUNT
    baseline_as: str = COLUMN
    history_s: float = 0.1
    uses_covariates: bool = True

    def __post_init__(self) -> None:
        """Check every field and keep the model as a template."""
        check_choice("predicts", self.predicts, _METHODS)
        check_choice("baseline_as", self.baseline_as, (COLUMN, OFFSET))
        if self.history_s != 0.0:
            check_positive("history_s", self.history_s)
        object.__setattr__(self, "model", as_template(self.model, "fit", _METHODS[self.predicts]))
        if self.baseline_as == OFFSET and "sample_weight" not in inspect.signature(self.model.model.fit).parameters:
            raise OptionError(
                f"fit() of {type(self.model.model).__name__} takes no sample_weight, which an offset needs.",
                where=self.name,
                hint="Use baseline_as='column'.",
            )

    @property
    def sees_history(self) -> bool:
        """Whether the unit's own past spikes are among the columns."""
        return self.history_s > 0.0

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedAdapted:
        """Fit a fresh copy of the model to the scored bins.

        Raises
        ------
        OptionError
            If there is no column.
        """
        basis = history_basis(self.history_s, trials.bin_s) if self.sees_history else np.zeros((0, 1))
        is_covered = self.uses_covariates and trials.covariates is not None
        fitted = FittedAdapted(
            below=below,
            spec=self,
            model=self.model.fresh(),
            basis=basis,
            mean=mean_count(trials),
            covariate_means=_known_means(trials.covariates[trials.scored]) if is_covered else np.zeros(0),
            floor=smallest_count(trials),
        )
        columns = fitted.columns(trials, log_mu)
        if columns.shape[2] == 0:
            raise OptionError(
                "there is no column to regress on.",
                where=self.name,
                hint="Give history_s, covariates, or the baseline as a column.",
            )
        x, y = columns[trials.scored], trials.counts[trials.scored].astype(float)
        if self.baseline_as == OFFSET:
            mu = np.exp(log_mu[trials.scored])
            fitted.model.fit(x, y / mu, sample_weight=mu)
        else:
            fitted.model.fit(x, y)
        return fitted


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedAdapted(Fitted):
    """A fitted regressor.

    Attributes
    ----------
    spec : Adapted
    model : object
        The fitted copy.
    basis : ndarray, shape (n_basis, n_lags)
        Functions of the history; none where there is none.
    mean : float
        Mean count of a bin, which stands in where nobody observed.
    covariate_means : ndarray, shape (n_covariates,)
        Means that stand in where a covariate is not known; empty without covariates.
    floor : float
        Smallest expected count of a bin.
    """

    below: Fitted | None
    spec: Adapted
    model: Any
    basis: np.ndarray
    mean: float
    covariate_means: np.ndarray
    floor: float

    def columns(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give the features of every bin from its past and from log mu of the rung below.

        Parameters
        ----------
        trials : UnitTrials
        log_mu : ndarray, shape (n_trials, n_bins)

        Returns
        -------
        ndarray of float64, shape (n_trials, n_bins, n_columns)
        """
        history = np.zeros((*trials.counts.shape, len(self.basis)))
        if history.size:
            known = np.where(trials.observed, trials.counts, self.mean)
            _lay_history(known, np.ascontiguousarray(self.basis.T), self.mean, history)
        given = np.empty((*trials.counts.shape, 0))
        if self.covariate_means.size:
            given = np.where(np.isnan(trials.covariates), self.covariate_means, trials.covariates)
        return np.concatenate([history, *self._below_column(log_mu), given], axis=2)

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Ask the model for every bin, trial by trial."""
        columns = self.columns(trials, log_mu)
        rows = columns.reshape(-1, columns.shape[2])
        mu = self.expected(rows, log_mu.ravel(), trials.bin_s, trials.scored.ravel())
        return np.log(mu).reshape(log_mu.shape)

    def expected(self, rows: np.ndarray, log_mu: np.ndarray, bin_s: float, counts_as: np.ndarray) -> np.ndarray:
        """Give the expected counts of some bins, none below the floor.

        Parameters
        ----------
        rows : ndarray, shape (n, n_columns)
        log_mu : ndarray, shape (n,)
            Of the rung below.
        bin_s : float
        counts_as : ndarray of bool, shape (n,)
            Bins that are scored, in which the prediction must be a number.

        Returns
        -------
        ndarray of float64, shape (n,)

        Raises
        ------
        NumericalError
            If the prediction of a scored bin is not finite, or there are not as many as rows.
        """
        answer = getattr(self.model, _METHODS[self.spec.predicts])(rows)
        mu = as_numbers(answer, rows.shape[:1], self.spec.name)
        if self.spec.predicts == RATE:
            mu = mu * bin_s
        if self.spec.baseline_as == OFFSET:
            mu = mu * np.exp(log_mu)
        return raise_to(mu, self.floor, counts_as, self.spec.name)

    def stepper(self, trials: UnitTrials) -> AdaptedStepper:
        """Ask the model for one bin of all sequences at a time."""
        return AdaptedStepper(self, trials)

    def _below_column(self, log_mu: np.ndarray) -> list[np.ndarray]:
        """Give the column of the rung below, where there is one."""
        is_column = self.spec.baseline is not None and self.spec.baseline_as == COLUMN
        return [log_mu[..., None]] if is_column else []


class AdaptedStepper(Stepper):
    """A fitted regressor one bin at a time; its rows are those of `FittedAdapted.columns`, up to round-off.

    Parameters
    ----------
    fitted : FittedAdapted
    trials : UnitTrials
        The sequences.
    """

    def __init__(self, fitted: FittedAdapted, trials: UnitTrials):
        self._fitted, self._trials = fitted, trials
        # The latest bin is the first column.
        self._past = np.full((trials.n_trials, fitted.basis.shape[1]), fitted.mean)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Lay down the row of this bin of every sequence and ask the model."""
        fitted, trials = self._fitted, self._trials
        parts = [self._past @ fitted.basis.T]
        if fitted.spec.baseline is not None and fitted.spec.baseline_as == COLUMN:
            parts.append(below[:, None])
        if fitted.covariate_means.size:
            given = trials.covariates[:, t]
            parts.append(np.where(np.isnan(given), fitted.covariate_means, given))
        rows = np.concatenate(parts, axis=1)
        return np.log(fitted.expected(rows, below, trials.bin_s, trials.scored[:, t]))

    def update(self, t: int, counts: np.ndarray) -> None:
        """Move the past on by a bin."""
        self._past[:, 1:] = self._past[:, :-1].copy()
        self._past[:, 0] = np.where(self._trials.observed[:, t], counts, self._fitted.mean)


def _known_means(covariates: np.ndarray) -> np.ndarray:
    """Give the mean of every column over the rows in which it is known; 0 where it never is."""
    is_known = ~np.isnan(covariates)
    return np.where(is_known, covariates, 0.0).sum(axis=0) / np.maximum(is_known.sum(axis=0), 1)


@numba.njit(cache=True, nogil=True)
def _lay_history(known, basis, mean, history):
    """Add what every bin's past gives to each function; `basis` is (n_lags, n_basis), `history` zero on entry."""
    n_trials, n_bins = known.shape
    n_lags, n_basis = basis.shape
    for k in range(n_basis):
        # The time before the first bin is unobserved.
        before = 0.0
        for t in range(n_lags - 1, -1, -1):
            before += mean * basis[t, k]
            if t < n_bins:
                history[:, t, k] = before
    for i in range(n_trials):
        for t in range(n_bins):
            if known[i, t] == 0.0:
                continue
            for lag in range(min(n_lags, n_bins - t - 1)):
                for k in range(n_basis):
                    history[i, t + 1 + lag, k] += known[i, t] * basis[lag, k]
