"""What a recurrent rung is shown of the units beside its own: a few directions of their common activity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.neighbours import check_neighbours, mean_counts
from cortexrnn.encoding.rnn_kernels import exponential_traces

# A direction along which nothing varies is left unscaled: it carries nothing but round-off.
_SMALLEST_SPREAD = 1e-6


class PopulationAxes(NamedTuple):
    """Directions in the space of the neighbours' traces, measured on the training trials.

    Attributes
    ----------
    positions : ndarray of int, shape (n_neighbours,)
        Columns of the neighbours' counts.
    mean : ndarray of float64, shape (n_neighbours,)
        Mean count of a bin, which stands in before the first bin of a trial.
    axes : ndarray of float64, shape (n_neighbours, n_axes)
        What a spike more than expected adds to every input.
    offset : ndarray of float64, shape (n_axes,)
        Mean of the inputs over the scored bins, which is taken off.
    decay : float
        Factor of a trace in a bin.
    """

    positions: np.ndarray
    mean: np.ndarray
    axes: np.ndarray
    offset: np.ndarray
    decay: float


def find_axes(trials: UnitTrials, n_axes: int, trace_s: float) -> PopulationAxes:
    """Find the leading principal components of the neighbours' exponential traces.

    A trace is ``x_t = exp(-bin_s / trace_s) x_{t-1} + y_{t-1} - mean`` and knows the bins before t only. Traces are
    divided by the roots of the neighbours' mean counts first: the noise that a Poisson neighbour has for itself is
    then the same in all, and what stands out of it is shared.

    Parameters
    ----------
    trials : UnitTrials
        Training trials.
    n_axes : int
        Components at most; no more than there are neighbours.
    trace_s : float
        Time constant in seconds.

    Returns
    -------
    PopulationAxes
        Scaled so that every input has mean 0 and variance 1 over the scored bins; the neighbour with the largest part
        in a component has a positive one.

    Raises
    ------
    DataError
        If there are no neighbours.
    """
    positions, mean = check_neighbours(trials), mean_counts(trials)
    decay = float(np.exp(-trials.bin_s / trace_s))
    root = np.sqrt(mean)
    total, products = np.zeros(mean.size), np.zeros((mean.size, mean.size))
    # One thread of linear algebra: matrices are small, and threads would wait for each other.
    with threadpool_limits(1):
        for counts, scored in zip(trials.neighbours.counts, trials.scored, strict=True):
            traces = _traces((counts[:, positions].T - mean[:, None]) / root[:, None], decay)[:, scored]
            total += traces.sum(axis=1)
            products += traces @ traces.T
        n_bins = max(int(trials.scored.sum()), 1)
        centre = total / n_bins
        variance, vectors = np.linalg.eigh(products / n_bins - np.outer(centre, centre))
    largest = np.argsort(variance, kind="stable")[::-1][: min(n_axes, mean.size)]
    spread = np.sqrt(np.maximum(variance[largest], 0.0))
    axes = vectors[:, largest] / np.where(spread > _SMALLEST_SPREAD, spread, 1.0)
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(largest.size)])
    return PopulationAxes(positions, mean, axes / root[:, None], centre @ axes, decay)


def population_inputs(trials: UnitTrials, axes: PopulationAxes) -> np.ndarray:
    """Give the inputs of every bin along the axes.

    Parameters
    ----------
    trials : UnitTrials
    axes : PopulationAxes

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins, n_axes)

    Raises
    ------
    DataError
        If the neighbours are not those of the training trials.
    """
    check_neighbours(trials, axes.positions)
    inputs = np.empty((*trials.counts.shape, axes.offset.size))
    weights = np.ascontiguousarray(axes.axes.T)
    with threadpool_limits(1):
        for trial, counts in enumerate(trials.neighbours.counts):
            along = weights @ (counts[:, axes.positions].T - axes.mean[:, None])
            inputs[trial] = _traces(along, axes.decay).T - axes.offset
    return inputs


def _traces(rows: np.ndarray, decay: float) -> np.ndarray:
    """Give the exponential trace of every row; it begins at 0."""
    traces = np.empty((*rows.shape, 1))
    exponential_traces(np.ascontiguousarray(rows), np.array([decay]), np.zeros(1), traces)
    return traces[:, :, 0]
