"""Slow twin of a free-running history GLM, from its definition, with plain loops. NumPy only."""

from __future__ import annotations

import math

import numpy as np


def draw(mu, uniform, likelihood):
    """Invert the distribution function of a bin's count at one uniform number."""
    if likelihood == "bernoulli":
        return 1 if uniform < -math.expm1(-mu) else 0
    n, term = 0, math.exp(-mu)
    total = term
    while uniform >= total and term > 1e-300:
        n += 1
        term *= mu / n
        total += term
    return n


def glm_copy(counts, observed, scored, model, uniforms, likelihood):
    """Simulate one copy; `model` is log mu below, intercept, effect of a spike by lag, mean count and ceiling."""
    ground, intercept, effect, mean, ceiling = model
    n_lags = len(effect)
    out = np.zeros(counts.shape, dtype=int)
    for i in range(counts.shape[0]):
        # What nobody saw counts as the mean, and so does the time before the first bin.
        known = []
        for t in range(counts.shape[1]):
            before = 0.0
            for lag in range(n_lags, t, -1):
                before += effect[lag - 1]
            log_effect = mean * before
            for s in range(max(0, t - n_lags), t):
                if known[s] != 0.0:
                    log_effect += known[s] * effect[t - s - 1]
            if scored[i, t]:
                mu = math.exp(ground[i, t] + min(intercept + log_effect, ceiling))
                out[i, t] = draw(mu, uniforms[i, t], likelihood)
            elif not scored[i, :t].any():
                out[i, t] = counts[i, t]
            known.append(float(out[i, t]) if observed[i, t] else mean)
    return out
