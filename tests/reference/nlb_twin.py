"""Scores of the Neural Latents Benchmark, number by number, as defined by Pei et al. (2021), arXiv:2109.04463."""

import math


def bits_per_spike(rates, spikes):
    """Poisson log-likelihood over that of every unit's mean over scored bins, in bits, over all spikes.

    Both have the shape (n_trials, n_bins, n_units); NaN spikes are not scored, a rate of zero counts as 1e-9.
    """
    n_trials, n_bins, n_units = spikes.shape
    bits, total = 0.0, 0.0
    for u in range(n_units):
        scored = [
            (rates[i, t, u], spikes[i, t, u])
            for i in range(n_trials)
            for t in range(n_bins)
            if not math.isnan(spikes[i, t, u])
        ]
        if not scored:
            continue
        mean = sum(y for _, y in scored) / len(scored)
        for rate, y in scored:
            bits += (log_probability(y, rate) - log_probability(y, mean)) / math.log(2.0)
            total += y
    return bits / total


def log_probability(y, rate):
    """Log of the Poisson probability of a count."""
    rate = 1e-9 if rate == 0.0 else rate
    return y * math.log(rate) - rate - math.lgamma(y + 1.0)


def psth_r2(psth, rates, condition):
    """Coefficient of determination of trial-averaged rates, conditions end to end, averaged over units.

    Shapes: (n_conditions, n_bins, n_units), (n_trials, n_bins, n_units), (n_trials,). Bins in which the first unit's
    PSTH is NaN are left out, and so are conditions without trials.
    """
    n_conditions, n_bins, n_units = psth.shape
    scores = []
    for u in range(n_units):
        pairs = []
        for c in range(n_conditions):
            members = [i for i in range(len(condition)) if condition[i] == c]
            kept = [t for t in range(n_bins) if members and not math.isnan(psth[c, t, 0])]
            pairs += [(psth[c, t, u], sum(rates[i, t, u] for i in members) / len(members)) for t in kept]
        mean = sum(truth for truth, _ in pairs) / len(pairs)
        error = sum((truth - guess) ** 2 for truth, guess in pairs)
        scores.append(1.0 - error / sum((truth - mean) ** 2 for truth, _ in pairs))
    return sum(scores) / n_units
