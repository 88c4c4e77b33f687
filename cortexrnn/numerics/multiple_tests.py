"""Many tests at once: how many of those that are called may be false."""

from __future__ import annotations

import numpy as np


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Give the smallest false discovery rate at which every test would be called (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p : ndarray
        NaN for what is no test.

    Returns
    -------
    ndarray
        In the same shape.

    Notes
    -----
    doi:10.1111/j.2517-6161.1995.tb02031.x. Holds for tests that are independent or positively dependent, as units are
    that share trials.

    Examples
    --------
    >>> false_discovery(np.array([0.01, np.nan, 0.04, 0.5]))
    array([0.03,  nan, 0.06, 0.5 ])
    """
    known = ~np.isnan(p)
    values = p[known]
    order = np.argsort(values)
    scaled = values[order] * values.size / np.arange(1, values.size + 1)
    q = np.empty(values.size)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    out = np.full(p.shape, np.nan)
    out[known] = q
    return out
