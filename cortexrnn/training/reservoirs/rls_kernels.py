"""Recursive least squares, free and with signs, on symmetric matrices of which only the lower triangle is used.

Every matrix here is as large as the square of the features and is gone through at every update, so memory decides
the time: half of it is never touched.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

# No flag that would assume away NaN or infinity.
_REORDERED = {"contract", "reassoc", "nsz"}
# Relative slopes: below the first, an unused feature stays out; above the second, the used ones are corrected.
_ROUND_OFF = 1e-11
_TOO_STEEP = 1e-9
_MOST_CORRECTIONS = 3


class Filter(NamedTuple):
    """Recursive least squares.

    Attributes
    ----------
    inverse : ndarray, shape (n_features, n_features)
        Inverse of the penalised Gram matrix, lower triangle.
    weights : ndarray, shape (n_outputs, n_features)
    work : ndarray, shape (n_features,)
    forgetting : float
    """

    inverse: np.ndarray
    weights: np.ndarray
    work: np.ndarray
    forgetting: float


class SignedFilter(NamedTuple):
    """Recursive least squares with signs; all in coordinates of which the constrained ones must not be negative.

    Attributes
    ----------
    gram : ndarray, shape (n_features, n_features)
        Penalised Gram matrix, lower triangle.
    moment : ndarray, shape (n_outputs, n_features)
        Products of features and targets.
    power : ndarray, shape (n_outputs,)
        Sum of the squared targets.
    n_seen : ndarray of int64, shape (1,)
        Samples so far.
    inverse : ndarray, shape (n_outputs, n_features, n_features)
        Inverse of the Gram matrix of the features in use, lower triangle; zero in the rows and columns of others.
    used : ndarray of uint8, shape (n_outputs, n_features)
        1 for features in use; the weights of all others are zero.
    weights : ndarray, shape (n_outputs, n_features)
        Products of weights and signs.
    is_signed : ndarray of uint8, shape (n_features,)
        1 for features whose weight must not be negative.
    work : ndarray, shape (4, n_features)
    forgetting : float
    most_exchanges : int
        Features that may enter or leave at one update.
    """

    gram: np.ndarray
    moment: np.ndarray
    power: np.ndarray
    n_seen: np.ndarray
    inverse: np.ndarray
    used: np.ndarray
    weights: np.ndarray
    is_signed: np.ndarray
    work: np.ndarray
    forgetting: float
    most_exchanges: int


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def multiply(matrix, vector, out):
    """Give ``matrix vector``, shape (n,), from the lower triangle."""
    out[:] = 0.0
    for i in range(vector.size):
        row, v, total = matrix[i], vector[i], 0.0
        for j in range(i):
            total += row[j] * vector[j]
            out[j] += row[j] * v
        out[i] += total + row[i] * v


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def change(matrix, keep, scale, u):
    """Turn the lower triangle of a matrix into that of ``keep matrix + scale u u^T``, in place."""
    for i in range(u.size):
        row, a = matrix[i], scale * u[i]
        for j in range(i + 1):
            row[j] = keep * row[j] + a * u[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_REORDERED)
def dot(a, b):
    """Give the scalar product."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def update(state, features, errors):
    """Take in one sample; Haykin (2002), Adaptive Filter Theory, table 9.1, and Sussillo and Abbott (2009).

    ``k = P x``, ``c = forgetting + x^T k``, ``w += e k/c``, ``P <- (P - k k^T/c) / forgetting``, right-hand sides
    with the old values.

    Parameters
    ----------
    state : Filter
        Changed in place.
    features : ndarray, shape (n_features,)
    errors : ndarray, shape (n_outputs,)
        Target minus output before the update.
    """
    k = state.work
    multiply(state.inverse, features, k)
    c = state.forgetting + dot(features, k)
    for output in range(errors.size):
        for i in range(k.size):
            state.weights[output, i] += errors[output] / c * k[i]
    change(state.inverse, 1.0 / state.forgetting, -1.0 / (c * state.forgetting), k)


@njit(cache=True, nogil=True, error_model="numpy")
def update_signed(state, features, targets):
    """Take in one sample and go to the weights of the right sign that fit all samples so far best.

    A primal active-set method (Nocedal and Wright 2006, algorithm 16.3) that starts from the last optimum, with the
    inverse kept by rank-one changes. The weights have their signs at every moment.

    Parameters
    ----------
    state : SignedFilter
        Changed in place.
    features : ndarray, shape (n_features,)
        Times the signs.
    targets : ndarray, shape (n_outputs,)

    Returns
    -------
    int
        Features that entered or left, -1 if an output stopped before the optimum.
    """
    k, direction = state.work[0], state.work[2]
    is_first = state.n_seen[0] == 0
    state.n_seen[0] += 1
    change(state.gram, state.forgetting, 1.0, features)
    total = 0
    for output in range(targets.size):
        inverse, moment, z = state.inverse[output], state.moment[output], state.weights[output]
        state.power[output] = state.forgetting * state.power[output] + targets[output] ** 2
        for i in range(moment.size):
            moment[i] = state.forgetting * moment[i] + targets[output] * features[i]
        if is_first:
            _use_at_first(state, output, features, targets[output])
        # The step of free recursive least squares within the features in use.
        multiply(inverse, features, k)
        c = state.forgetting + dot(features, k)
        error = dot(z, features) - targets[output]
        for i in range(k.size):
            direction[i] = error / c * k[i]
        change(inverse, 1.0 / state.forgetting, -1.0 / (c * state.forgetting), k)
        n = _settle(state, output)
        total = -1 if n < 0 or total < 0 else total + n
    return total


@njit(cache=True, nogil=True)
def _use_at_first(state, output, features, target):
    """Use the features that the first sample wants: from zero weights they are those with the target's sign."""
    inverse, used = state.inverse[output], state.used[output]
    for i in range(used.size):
        if not used[i] and features[i] * target > 0.0:
            # So far the Gram matrix is the penalty and one sample, which the caller brings in next.
            inverse[i, i] = state.forgetting / (state.gram[i, i] - features[i] ** 2)
            used[i] = 1


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(state, output):
    """Exchange features until the optimum, from a direction that is laid down; -1 if that took too many."""
    gradient, direction = state.work[1], state.work[2]
    inverse, used, z = state.inverse[output], state.used[output], state.weights[output]
    n_exchanges, n_corrections = 0, 0
    while True:
        share, blocking = _largest_step(used, state.is_signed, z, direction)
        for i in range(z.size):
            if used[i]:
                z[i] -= share * direction[i]
        if blocking >= 0:
            z[blocking] = 0.0
            _leave(state, output, blocking)
        _slope(state, output)
        if blocking < 0:
            steepest, entering = _most_wanted(state, output)
            if steepest > _TOO_STEEP and n_corrections < _MOST_CORRECTIONS:
                # Rank-one changes have let the inverse drift: correct once with what is left of it, then renew it.
                n_corrections += 1
                if n_corrections > 1:
                    _invert_again(state, output)
                multiply(inverse, gradient, direction)
                continue
            if entering < 0:
                return n_exchanges
            _enter(state, output, entering)
        n_exchanges += 1
        if n_exchanges >= state.most_exchanges:
            return -1
        multiply(inverse, gradient, direction)


@njit(cache=True, nogil=True)
def _largest_step(used, is_signed, z, direction):
    """Give the share of a step down the direction that keeps all signs, and the feature that forbids more, or -1."""
    share, blocking = 1.0, -1
    for i in range(z.size):
        if used[i] and is_signed[i] and z[i] < direction[i]:
            ratio = z[i] / direction[i]
            if ratio < share or blocking < 0:
                share, blocking = ratio, i
    return share, blocking


@njit(cache=True, nogil=True)
def _slope(state, output):
    """Lay down the gradient of the squared error."""
    gradient, moment = state.work[1], state.moment[output]
    multiply(state.gram, state.weights[output], gradient)
    for i in range(moment.size):
        gradient[i] -= moment[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _most_wanted(state, output):
    """Give the steepest slope of a weight in use, and the feature that should enter first, or -1.

    Slopes are relative to the product of the norms of feature and target, which bounds them.
    """
    gradient, used, power = state.work[1], state.used[output], state.power[output]
    steepest, lowest, entering = 0.0, -_ROUND_OFF, -1
    for i in range(used.size):
        slope = gradient[i] / np.sqrt(state.gram[i, i] * power)
        if used[i]:
            steepest = max(steepest, abs(slope))
        elif slope < lowest:
            lowest, entering = slope, i
    return steepest, entering


@njit(cache=True, nogil=True, error_model="numpy")
def _leave(state, output, feature):
    """Take a feature out of the inverse."""
    inverse, column = state.inverse[output], state.work[3]
    _copy_column(inverse, feature, column)
    state.used[output, feature] = 0
    if column[feature] > 0.0:
        change(inverse, 1.0, -1.0 / column[feature], column)
        for i in range(feature + 1):
            inverse[feature, i] = 0.0
        for i in range(feature, column.size):
            inverse[i, feature] = 0.0
    else:
        _invert_again(state, output)


@njit(cache=True, nogil=True, error_model="numpy")
def _enter(state, output, feature):
    """Bring a feature into the inverse."""
    inverse, column, known = state.inverse[output], state.work[2], state.work[3]
    _copy_column(state.gram, feature, column)
    multiply(inverse, column, known)
    rest = column[feature] - dot(column, known)
    state.used[output, feature] = 1
    if rest > 1e-12 * column[feature]:
        known[feature] = -1.0
        change(inverse, 1.0, 1.0 / rest, known)
    else:
        _invert_again(state, output)


@njit(cache=True, nogil=True)
def _invert_again(state, output):
    """Compute the inverse from the Gram matrix, where rank-one changes have lost it."""
    inverse, places = state.inverse[output], np.flatnonzero(state.used[output])
    block = np.empty((places.size, places.size))
    for a in range(places.size):
        for b in range(a + 1):
            block[a, b] = state.gram[places[a], places[b]]
            block[b, a] = block[a, b]
    block = np.linalg.inv(block)
    inverse[:] = 0.0
    for a in range(places.size):
        for b in range(a + 1):
            inverse[places[a], places[b]] = block[a, b]


@njit(cache=True, nogil=True)
def _copy_column(matrix, j, out):
    """Copy a column of a symmetric matrix."""
    for i in range(j):
        out[i] = matrix[j, i]
    for i in range(j, out.size):
        out[i] = matrix[i, j]


@njit(cache=True, nogil=True)
def filter_samples(state, features, targets, errors, every, path):
    """Take in samples one after the other.

    Parameters
    ----------
    state : Filter
        Changed in place.
    features : ndarray, shape (n_samples, n_features)
    targets : ndarray, shape (n_samples, n_outputs)
    errors : ndarray, shape (n_samples, n_outputs)
        Receives target minus output before each update.
    every : int
        Samples from one kept set of weights to the next.
    path : ndarray, shape (n_samples // every, n_outputs, n_features)
        Receives the weights.
    """
    for t in range(features.shape[0]):
        for output in range(targets.shape[1]):
            errors[t, output] = targets[t, output] - dot(state.weights[output], features[t])
        update(state, features[t], errors[t])
        if (t + 1) % every == 0:
            path[t // every] = state.weights


@njit(cache=True, nogil=True)
def filter_signed_samples(state, features, targets, errors, every, path):
    """Do what `filter_samples` does with signs, and give the number of exchanges and of unfinished updates."""
    n_exchanges, n_unfinished = 0, 0
    for t in range(features.shape[0]):
        for output in range(targets.shape[1]):
            errors[t, output] = targets[t, output] - dot(state.weights[output], features[t])
        n = update_signed(state, features[t], targets[t])
        n_exchanges += max(n, 0)
        n_unfinished += n < 0
        if (t + 1) % every == 0:
            path[t // every] = state.weights
    return n_exchanges, n_unfinished
