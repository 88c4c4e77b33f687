"""Read-outs that learn sample by sample: recursive least squares, free and with a sign for every feature."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.training.reservoirs.rls_kernels import Filter, SignedFilter, filter_samples, filter_signed_samples


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedRLS:
    """Weights learned sample by sample.

    Attributes
    ----------
    weights : ndarray, shape (n_outputs, n_features)
        After the last sample.
    errors : ndarray, shape (n_samples, n_outputs)
        Target minus output of every sample before it was taken in.
    path : ndarray, shape (n_kept, n_outputs, n_features)
        Weights on the way, as asked for.
    n_exchanges : int
        Features that entered or left the read-outs; 0 without signs.
    n_unfinished : int
        Updates that stopped before their optimum; 0 without signs.
    """

    weights: np.ndarray
    errors: np.ndarray
    path: np.ndarray
    n_exchanges: int = 0
    n_unfinished: int = 0

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Give the outputs of states.

        Parameters
        ----------
        states : ndarray, shape (..., n_features)

        Returns
        -------
        ndarray, shape (..., n_outputs)
        """
        return np.asarray(states, dtype=float) @ self.weights.T


@dataclass(frozen=True, kw_only=True, slots=True)
class RLS:
    """Recursive least squares.

    After every sample the weights minimise
    ``sum_t forgetting^(T-t) |y_t - w x_t|^2 + forgetting^T penalty |w|^2``. There is no intercept: give a constant
    feature where one is needed.

    Attributes
    ----------
    penalty : float
        Inverse of the scale of the first inverse, ``P(0) = I/penalty``; the alpha of Sussillo and Abbott (2009),
        doi:10.1016/j.neuron.2009.07.018, who recommend values far below the number of units.
    forgetting : float
        Weight of a sample relative to the next one, in (0, 1].

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    penalty: float = 1.0
    forgetting: float = 1.0

    def __post_init__(self):
        _check_numbers(self)

    def start(self, n_features: int, n_outputs: int) -> Filter:
        """Give the state before the first sample, for the kernels.

        Parameters
        ----------
        n_features, n_outputs : int

        Returns
        -------
        Filter
        """
        return Filter(
            inverse=np.eye(n_features) / self.penalty,
            weights=np.zeros((n_outputs, n_features)),
            work=np.empty(n_features),
            forgetting=self.forgetting,
        )

    def fit(self, states: np.ndarray, targets: np.ndarray, *, keep_every: int | None = None) -> FittedRLS:
        """Learn from samples in their order.

        Parameters
        ----------
        states : ndarray, shape (n_samples, n_features)
        targets : ndarray, shape (n_samples,) or (n_samples, n_outputs)
        keep_every : int, optional
            Samples from one kept set of weights to the next; none are kept without it.

        Returns
        -------
        FittedRLS

        Raises
        ------
        DataError
            If the shapes do not fit or a number is not finite.
        NumericalError
            If the weights are no longer finite.
        """
        states, targets = check_samples(states, targets)
        state = self.start(states.shape[1], targets.shape[1])
        errors, every, path = _make_room(states, targets, keep_every)
        filter_samples(state, states, targets, errors, every, path)
        _check_finite(state.weights, self)
        return FittedRLS(weights=state.weights, errors=errors, path=path)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedRLS:
    """Recursive least squares in which every feature has a sign that its weight never leaves.

    After every sample the weights are the minimum of the objective of `RLS` over all weights of the right sign:
    the non-negative least squares solution of all samples so far. It is also the point of the right signs that is
    nearest to the free solution in the metric of the Gram matrix; clipping the free solution is not, and repeated
    clipping does not converge to it. Each update starts from the last optimum and exchanges features between those
    that are used and those that are held at zero, once the first samples are past fewer than one on average. It
    costs about two free updates, and one and a half more for every exchange.

    Attributes
    ----------
    signs : tuple of int, one a feature
        +1, -1, or 0 for a feature without constraint; a circuit's are `Circuit.signs`.
    penalty, forgetting : float
        As in `RLS`.
    most_exchanges : int
        Features that may enter or leave at one update. An update that needs more keeps the signs, is counted as
        unfinished, and the next one goes on from there.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    signs: tuple[int, ...]
    penalty: float = 1.0
    forgetting: float = 1.0
    most_exchanges: int = 10_000

    def __post_init__(self):
        object.__setattr__(self, "signs", check_signs(self.signs))
        _check_numbers(self)
        object.__setattr__(self, "most_exchanges", check_count("most_exchanges", self.most_exchanges))

    @property
    def flips(self) -> np.ndarray:
        """Factors that turn weights of the right sign into weights that are not negative, shape (n_features,)."""
        return np.where(np.array(self.signs) < 0, -1.0, 1.0)

    def start(self, n_features: int, n_outputs: int) -> SignedFilter:
        """Give the state before the first sample, for the kernels.

        Parameters
        ----------
        n_features, n_outputs : int

        Returns
        -------
        SignedFilter

        Raises
        ------
        DataError
            If there is not one sign a feature.
        """
        if len(self.signs) != n_features:
            raise DataError(f"{n_features} features do not fit {len(self.signs)} signs; expected one a feature.")
        is_free = np.array(self.signs) == 0
        return SignedFilter(
            gram=np.eye(n_features) * self.penalty,
            moment=np.zeros((n_outputs, n_features)),
            power=np.zeros(n_outputs),
            n_seen=np.zeros(1, np.int64),
            inverse=np.tile(np.diag(is_free / self.penalty), (n_outputs, 1, 1)),
            used=np.tile(is_free.astype(np.uint8), (n_outputs, 1)),
            weights=np.zeros((n_outputs, n_features)),
            is_signed=(~is_free).astype(np.uint8),
            work=np.empty((4, n_features)),
            forgetting=self.forgetting,
            most_exchanges=self.most_exchanges,
        )

    def fit(self, states: np.ndarray, targets: np.ndarray, *, keep_every: int | None = None) -> FittedRLS:
        """Learn from samples in their order.

        Parameters
        ----------
        states, targets, keep_every
            As in `RLS.fit`.

        Returns
        -------
        FittedRLS

        Raises
        ------
        DataError
            If the shapes do not fit or a number is not finite.
        NumericalError
            If the weights are no longer finite.
        """
        states, targets = check_samples(states, targets)
        state = self.start(states.shape[1], targets.shape[1])
        errors, every, path = _make_room(states, targets, keep_every)
        found = filter_signed_samples(state, states * self.flips, targets, errors, every, path)
        _check_finite(state.weights, self)
        warn_of_unfinished(found[1], len(states))
        return FittedRLS(
            weights=state.weights * self.flips,
            errors=errors,
            path=path * self.flips,
            n_exchanges=found[0],
            n_unfinished=found[1],
        )


def check_signs(signs: Iterable[int]) -> tuple[int, ...]:
    """Return signs as a tuple of -1, 0 and 1.

    Parameters
    ----------
    signs : iterable of int

    Returns
    -------
    tuple of int

    Raises
    ------
    OptionError
        If there is none, or another number.
    """
    array = np.asarray(signs)
    if array.ndim != 1 or array.size == 0 or not np.isin(array, (-1, 0, 1)).all():
        raise OptionError(
            f"signs of shape {array.shape} are not valid; expected one of -1, 0 and 1 a feature.",
            hint="Take circuit.signs or reservoir.signs.",
        )
    return tuple(int(sign) for sign in array)


def check_samples(states: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return states and targets as C-contiguous float64 matrices with one row a sample.

    Parameters
    ----------
    states : ndarray, shape (n_samples, n_features)
    targets : ndarray, shape (n_samples,) or (n_samples, n_outputs)

    Returns
    -------
    states : ndarray, shape (n_samples, n_features)
    targets : ndarray, shape (n_samples, n_outputs)

    Raises
    ------
    DataError
        If the shapes do not fit or a number is not finite.
    """
    states = np.ascontiguousarray(states, dtype=float)
    targets = np.ascontiguousarray(targets, dtype=float)
    targets = targets[:, None] if targets.ndim == 1 else targets
    if states.ndim != 2 or targets.ndim != 2 or len(states) != len(targets) or 0 in states.shape + targets.shape:
        raise DataError(
            f"states of shape {states.shape} and targets of shape {targets.shape} do not fit; "
            "expected (n_samples, n_features) and (n_samples, n_outputs)."
        )
    for name, array in (("states", states), ("targets", targets)):
        if not np.isfinite(array).all():
            row, column = np.argwhere(~np.isfinite(array))[0]
            raise DataError(f"{name} hold {array[row, column]} at [{row}, {column}]; expected finite numbers.")
    return states, targets


def warn_of_unfinished(n_unfinished: int, n_updates: int) -> None:
    """Warn where updates stopped before their optimum.

    Parameters
    ----------
    n_unfinished, n_updates : int
    """
    if n_unfinished:
        warnings.warn(
            f"{n_unfinished} of {n_updates} updates stopped before their optimum; the signs hold, the weights are "
            "behind the data. Raise most_exchanges.",
            NumericalWarning,
            stacklevel=3,
        )


def _check_numbers(spec: RLS | SignedRLS) -> None:
    """Refuse a penalty or a forgetting factor that cannot be used."""
    object.__setattr__(spec, "penalty", check_positive("penalty", spec.penalty))
    object.__setattr__(spec, "forgetting", check_positive("forgetting", spec.forgetting))
    if spec.forgetting > 1.0:
        raise OptionError(f"forgetting={spec.forgetting} is above 1; expected a number in (0, 1].")


def _make_room(states, targets, keep_every) -> tuple[np.ndarray, int, np.ndarray]:
    """Give arrays for the errors and the kept weights."""
    n_samples = len(states)
    every = n_samples + 1 if keep_every is None else check_count("keep_every", keep_every)
    return np.empty(targets.shape), every, np.empty((n_samples // every, targets.shape[1], states.shape[1]))


def _check_finite(weights: np.ndarray, spec: RLS | SignedRLS) -> None:
    """Refuse weights that are not finite."""
    if not np.isfinite(weights).all():
        raise NumericalError(
            f"the weights are not finite with penalty={spec.penalty} and forgetting={spec.forgetting}.",
            hint="Raise the penalty or bring forgetting nearer to 1: old samples fade, and directions without new "
            "ones are left to round-off.",
        )
