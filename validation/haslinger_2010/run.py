"""Haslinger, Pipa and Brown (2010): rescaled intervals of discrete time, and what trials and few spikes do to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.encoding import UnitTrials
from cortexrnn.evaluation.rescaling import KS_LIMIT, detectable_dead_time, ks_distance, rescale
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINS = ((0.02, 1000), (0.02, 5000), (0.04, 1000), (0.1, 200), (0.1, 1000))
N_GLUED, P_GLUED = 3000, 0.04
SHORT_TRIALS, SHORT_BINS, SHORT_P = 150, 500, 0.008
DEAD_TIMES = ((5.0, 0.003, 8344, 259), (20.0, 0.003, 545, 63), (50.0, 0.003, 95, 24))
POWER_RATE, POWER_BINS = 0.02, 3
LR_LIMIT = 3.841
N_REPEATS, N_QUICK = 1000, 250


def one_unit(counts: np.ndarray) -> UnitTrials:
    """Give counts of 1 ms bins, all scored, as trials."""
    everywhere = np.ones(counts.shape, dtype=bool)
    n_trials = counts.shape[0]
    return UnitTrials(
        counts=np.ascontiguousarray(counts, dtype=np.uint16),
        observed=everywhere,
        scored=everywhere,
        condition=np.zeros(n_trials, dtype=np.int64),
        start_s=np.arange(n_trials, dtype=float),
        bin_s=1e-3,
        is_locked=True,
    )


def train(gaps: np.ndarray) -> np.ndarray:
    """Lay spikes that are so many bins apart into one row of bins."""
    counts = np.zeros((1, int(gaps.sum())), dtype=np.uint16)
    counts[0, np.cumsum(gaps) - 1] = 1
    return counts


def is_rejected(uniforms: np.ndarray) -> bool:
    """Tell whether the median distance over the rows lies beyond the 5 % limit."""
    rows = np.sort(np.atleast_2d(uniforms), axis=1)
    return bool(np.median(ks_distance(rows)) > KS_LIMIT / math.sqrt(rows.shape[1]))


def corrected(counts: np.ndarray, p: float, seed: int) -> np.ndarray:
    """Give the package's uniforms for a true chance of p a bin."""
    log_mu = np.full(counts.shape, math.log(-math.log1p(-p)))
    return rescale(one_unit(counts), log_mu, likelihood="bernoulli", seed=seed).uniforms


def by_hand(counts: np.ndarray, p: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Rescale short trials in the three ways that do not carry what a trial leaves over."""
    q = -math.log1p(-p)
    trial, t = np.nonzero(counts)
    is_first = np.diff(trial, prepend=-1) > 0
    since = np.where(is_first, t, t - np.roll(t, 1) - 1)
    part = -np.log1p(-p * rng.random(t.size))
    intervals = q * since + part
    # Spike times on the clock of all trials end to end, each within its bin, and their differences.
    glued = np.diff(q * (trial * counts.shape[1] + t) + part, prepend=0.0)
    return {
        "within": -np.expm1(-intervals[~is_first]),
        "from_start": -np.expm1(-intervals),
        "differenced": -np.expm1(-glued),
    }


def false_alarms(n_repeats: int) -> dict[str, float]:
    """Give shares of rejections of the true chance of a spike, one long train a repetition."""
    found: dict[str, float] = {}
    for p, n in TRAINS:
        rng = stream(0, "trains", p, n)
        naive, ours = 0, 0
        for k in range(n_repeats):
            gaps = rng.geometric(p, n)
            # As in continuous time: p a bin up to the spike's own.
            naive += is_rejected(-np.expm1(-p * gaps))
            ours += is_rejected(corrected(train(gaps), p, k))
        key = f"{round(100 * p)}_{n}"
        found |= {f"naive_{key}": naive / n_repeats, f"corrected_{key}": ours / n_repeats}
    rng = stream(0, "glued")
    rejected = 0
    for _ in range(n_repeats):
        rejected += is_rejected(by_hand(train(rng.geometric(P_GLUED, N_GLUED)), P_GLUED, rng)["differenced"])
    return found | {"differenced": rejected / n_repeats}


def short_trials(n_repeats: int) -> dict[str, float]:
    """Give shares of rejections of the true rate where trials are shorter than intervals."""
    rng = stream(0, "short trials")
    mu = -math.log1p(-SHORT_P)
    rejected = dict.fromkeys(("within", "from_start", "glued", "glued_poisson"), 0)
    for k in range(n_repeats):
        counts = (rng.random((SHORT_TRIALS, SHORT_BINS)) < SHORT_P).astype(np.uint16)
        uniforms = by_hand(counts, SHORT_P, rng) | {"glued": corrected(counts, SHORT_P, k)}
        poisson = rng.poisson(mu, counts.shape)
        log_mu = np.full(counts.shape, math.log(mu))
        uniforms["glued_poisson"] = rescale(one_unit(poisson), log_mu, seed=k).uniforms
        for name in rejected:
            rejected[name] += is_rejected(uniforms[name])
    return {name: count / n_repeats for name, count in rejected.items()}


def dead_time_power(n_repeats: int) -> dict[str, float]:
    """Give how often a dead time of 3 ms at 20 Hz is found by the distance and by a likelihood ratio."""
    alive = POWER_RATE / (1.0 - POWER_BINS * POWER_RATE)
    _, _, n_ks, n_ratio = DEAD_TIMES[1]
    by_distance = dict.fromkeys((n_ks, n_ks // 4), 0)
    by_ratio = dict.fromkeys((n_ratio, n_ratio // 4), 0)
    rng = stream(0, "dead time")
    for k in range(n_repeats):
        for n in by_distance:
            gaps = POWER_BINS + rng.geometric(alive, n)
            by_distance[n] += is_rejected(corrected(train(gaps), POWER_RATE, k))
        for n in by_ratio:
            gaps = POWER_BINS + rng.geometric(alive, n)
            by_ratio[n] += likelihood_ratio(int(gaps.sum()), n) > LR_LIMIT
    return {
        "power_ks": by_distance[n_ks] / n_repeats,
        "power_ks_quarter": by_distance[n_ks // 4] / n_repeats,
        "power_ratio": by_ratio[n_ratio] / n_repeats,
        "power_ratio_quarter": by_ratio[n_ratio // 4] / n_repeats,
    }


def likelihood_ratio(n_bins: int, n_spikes: int) -> float:
    """Give twice the log-likelihood that a free chance in the dead bins gains; no spike lies in them."""

    def log_likelihood(n: int) -> float:
        p = n_spikes / n
        return n_spikes * math.log(p) + (n - n_spikes) * math.log1p(-p)

    return 2.0 * (log_likelihood(n_bins - POWER_BINS * n_spikes) - log_likelihood(n_bins))


def sample_sizes() -> dict[str, float]:
    """Give the dead times, in ms, that the package calls detectable with the published numbers of spikes."""
    found = {}
    for rate_hz, _, n_ks, n_ratio in DEAD_TIMES:
        found[f"ks_{rate_hz:.0f}"] = 1e3 * detectable_dead_time(n_ks, rate_hz)["ks"]
        found[f"ratio_{rate_hz:.0f}"] = 1e3 * detectable_dead_time(n_ratio, rate_hz)["likelihood_ratio"]
    return found


def measure_repeats(n_repeats: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Count rejections, and keep one repetition for the figure."""
    values = false_alarms(n_repeats) | short_trials(n_repeats) | dead_time_power(n_repeats) | sample_sizes()
    rng = stream(0, "figure")
    gaps = rng.geometric(0.1, 1000)
    short = (rng.random((SHORT_TRIALS, SHORT_BINS)) < SHORT_P).astype(np.uint16)
    trains = {"naive": -np.expm1(-0.1 * gaps), "corrected": corrected(train(gaps), 0.1, 0)[0]}
    hand = by_hand(short, SHORT_P, rng)
    trials = {"within": hand["within"], "from start": hand["from_start"], "glued": corrected(short, SHORT_P, 0)[0]}
    return values, {"trains": trains, "trials": trials}


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Count rejections in 1000 repetitions."""
    return measure_repeats(N_REPEATS)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Count rejections in 250 repetitions."""
    return measure_repeats(N_QUICK)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw distances from the law over its quantiles, for long trains and for short trials, with their limits."""
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_distances(left, evidence["trains"], (style.PSTH_MODEL, style.HISTORY_MODEL))
    _draw_distances(right, evidence["trials"], (style.PSTH_MODEL, style.CONDITIONS[4], style.HISTORY_MODEL))
    left.set_ylabel("observed minus expected share")


def _draw_distances(ax: Axes, curves: dict[str, np.ndarray], colours: tuple[str, ...]) -> None:
    """Draw one line a way of rescaling, and the limit of the last."""
    for (name, uniforms), colour in zip(curves.items(), colours, strict=True):
        n = uniforms.size
        quantile = np.sort(uniforms)
        ax.plot(quantile, (np.arange(n) + 0.5) / n - quantile, color=colour, label=name, linewidth=1.2)
        limit = KS_LIMIT / math.sqrt(n)
    ax.axhspan(-limit, limit, color=style.EQUIVALENCE, zorder=0)
    ax.set(xlim=(0.0, 1.0), xlabel="quantile")
    ax.legend(loc="best", fontsize=9.0)


if __name__ == "__main__":
    run_script("haslinger_2010", __file__)
