"""Slow twin of discrete time rescaling, from its definition, with plain loops. NumPy only."""

from __future__ import annotations

import math


def rescale(counts, scored, mu, uniforms, likelihood):
    """Give the intervals between spikes; one uniform number a spike, in the order of the spikes."""
    numbers = iter(uniforms)
    clock, last, times = 0.0, 0.0, []
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            if not scored[i, t]:
                continue
            n = int(counts[i, t])
            if likelihood == "bernoulli" and n:
                # The clock stands still in what is left of the bin.
                clock += -math.log(1.0 - next(numbers) * (1.0 - math.exp(-mu[i, t])))
                times.append(clock)
                continue
            times += [clock + place * mu[i, t] for place in sorted(next(numbers) for _ in range(n))]
            clock += mu[i, t]
    intervals = []
    for time in times:
        intervals.append(time - last)
        last = time
    return intervals
