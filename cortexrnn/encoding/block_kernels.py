"""What a pass of the point-process regression does with a block of bins, and the pass over a ready design.

A block is `BLOCK` bins, few enough to stay in the second-level cache. Its expected counts give the log-likelihood,
the residuals its gradient, and products of its features the negative Hessian.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from cortexrnn.numerics.elementwise import exp64

BLOCK = 512
# Rows that are a power of two apart would fall into the same few sets of the first-level cache.
ROW = BLOCK + 8
SUM = {"reassoc", "contract", "nsz"}


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _predictor(features, weights, n, eta):
    """Add the weighted features to `eta`."""
    for p in range(weights.size):
        w = weights[p]
        row = features[p]
        for i in range(n):
            eta[i] += w * row[i]


@numba.njit(cache=True, nogil=True, fastmath=SUM)
def dot(a, b):
    """Inner product."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@numba.njit(cache=True, nogil=True, fastmath=SUM)
def _four_dots(a, b, c, d):
    """Inner products of two rows with two others; every value that is loaded serves two of them."""
    # A zero of the rows' own precision: 0.0 would turn float32 arithmetic into float64.
    ac = a.dtype.type(0.0)
    ad, bc, bd = ac, ac, ac
    for i in range(a.size):
        ac += a[i] * c[i]
        ad += a[i] * d[i]
        bc += b[i] * c[i]
        bd += b[i] * d[i]
    return ac, ad, bc, bd


@numba.njit(cache=True, nogil=True)
def _multiply(a, b, product):
    """Product of two rows, value by value."""
    for i in range(a.size):
        product[i] = a[i] * b[i]


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _exponentials(eta, n, mu):
    """Exponential of the first n values."""
    for i in range(n):
        mu[i] = exp64(eta[i])


@numba.njit(cache=True, nogil=True, fastmath=SUM, error_model="numpy")
def _poisson_terms(counts, use, eta, mu, n, residual):
    """Log-likelihood of n bins; fills the residual y - mu and leaves the curvature in `mu`."""
    total = 0.0
    for i in range(n):
        total += use[i] * (counts[i] * eta[i] - mu[i])
        residual[i] = use[i] * (counts[i] - mu[i])
        mu[i] *= use[i]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bernoulli_terms(counts, use, mu, n, residual):
    """As `_poisson_terms`, for one spike at most and p = 1 - exp(-mu)."""
    total = 0.0
    for i in range(n):
        m = mu[i]
        if counts[i] > 0.0:
            slope = m / math.expm1(m) if m > 1e-12 else 1.0
            total += use[i] * math.log(-math.expm1(-max(m, 1e-300)))
            residual[i] = use[i] * slope
            mu[i] = use[i] * slope * max(m + slope - 1.0, 0.0)
        else:
            total -= use[i] * m
            residual[i] = -use[i] * m
            mu[i] = use[i] * m
    return total


@numba.njit(cache=True, nogil=True)
def weigh_block(counts, use, eta, n, likelihood, mu, residual):
    """Fill the curvature `mu` and the residual of n bins; give their log-likelihood."""
    _exponentials(eta, n, mu)
    if likelihood == 1:
        return _bernoulli_terms(counts, use, mu, n, residual)
    return _poisson_terms(counts, use, eta, mu, n, residual)


@numba.njit(cache=True, nogil=True)
def add_products(features, mu, left, n, n_full, hessian):
    """Add n bins to the first `n_full` rows of the Hessian, an even number, whose lower triangle is filled.

    Two rows go with two columns; `left` holds two rows.
    """
    a, b = left[0, :n], left[1, :n]
    for p in range(0, n_full, 2):
        _multiply(features[p, :n], mu[:n], a)
        _multiply(features[p + 1, :n], mu[:n], b)
        for q in range(0, p + 2, 2):
            ac, ad, bc, bd = _four_dots(a, b, features[q, :n], features[q + 1, :n])
            hessian[p, q] += ac
            hessian[p, q + 1] += ad
            hessian[p + 1, q] += bc
            hessian[p + 1, q + 1] += bd


@numba.njit(cache=True, nogil=True)
def design_pass(weights, design, scale, counts, offset, likelihood):
    """As `history_pass`, for the columns of a design of shape (n_bins, n_weights), each multiplied by its scale."""
    n_bins, n_weights = design.shape
    # An odd number of features is made even by a row of zeros.
    features, left = np.zeros((n_weights + n_weights % 2, ROW)), np.zeros((2, ROW))
    block_counts, use, eta = np.zeros(BLOCK), np.ones(BLOCK), np.zeros(BLOCK)
    mu, residual = np.zeros(BLOCK), np.zeros(BLOCK)
    gradient = np.zeros(n_weights)
    hessian = np.zeros((features.shape[0], features.shape[0]))
    total = 0.0
    for t0 in range(0, n_bins, BLOCK):
        n = min(BLOCK, n_bins - t0)
        for i in range(n):
            block_counts[i] = counts[t0 + i]
            eta[i] = offset[t0 + i]
            for p in range(n_weights):
                features[p, i] = design[t0 + i, p] * scale[p]
        _predictor(features, weights, n, eta)
        total += weigh_block(block_counts, use, eta, n, likelihood, mu, residual)
        for p in range(n_weights):
            gradient[p] += dot(features[p, :n], residual[:n])
        add_products(features, mu, left, n, features.shape[0], hessian)
    return total, gradient, symmetric(hessian, n_weights)


@numba.njit(cache=True, nogil=True)
def symmetric(lower, n):
    """Give the first n rows and columns of a matrix of which only the lower triangle holds."""
    matrix = np.empty((n, n))
    for p in range(n):
        for q in range(p + 1):
            matrix[p, q] = lower[p, q]
            matrix[q, p] = lower[p, q]
    return matrix
