"""What a known history is worth in bits per spike: closed forms, simulated spikes, fitted rungs, words of the past."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from cortexrnn.encoding import Constant, HistoryGLM, Renewal, UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS, POISSON, trial_log_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.renewal import age_steps
from cortexrnn.report import style
from cortexrnn.spikes.generate import expected_counts, simulate_gamma_renewal, simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LN2 = np.log(2.0)
BIN_S = 0.001
DEAD_TIMES = ((5, 3), (20, 3), (20, 5), (50, 4))
SHAPES, FITTED_SHAPES = (0.5, 2, 3, 4, 8), (2, 4)
# Words, marker, colour and size of everything that is drawn.
MARKS = {
    "poisson": ("true chance", "o", style.INK, 9.0),
    "exact": ("true hazard", "o", style.INK, 9.0),
    "renewal": ("time since last spike", "x", style.PSTH_MODEL, 6.0),
    "glm": ("history GLM", "+", style.HISTORY_MODEL, 8.0),
    "glm_bernoulli": ("history GLM", "+", style.HISTORY_MODEL, 8.0),
    "words": ("words of the past", "s", style.CONDITIONS[3], 4.0),
}
TRIAL_S, GAMMA_RATE_HZ = 20.0, 20.0
# Edges of the words of the past, in bins: every bin of a dead time; ever wider bins for Gamma intervals.
DEAD_EDGES = np.arange(6)
GAMMA_EDGES = [np.r_[0, np.round(np.geomspace(first, 160, d)).astype(int)] for first in (2, 4, 8) for d in (5, 7, 10)]


def record(counts: np.ndarray) -> UnitTrials:
    """Lay counts out as trials that are scored from their first bin on."""
    design = TrialDesign(n_trials=len(counts), duration_s=counts.shape[1] * BIN_S, history_s=0.0)
    return unit_trials(design.trials(counts))


def gain_in_bits(unit: UnitTrials, log_mu: np.ndarray, log_null: np.ndarray, likelihood: int = POISSON) -> float:
    """Give the bits per spike by which one prediction is better than another."""
    better, null = (trial_log_likelihood(unit, values, likelihood).sum() for values in (log_mu, log_null))
    return float((better - null) / LN2 / unit.spikes_per_trial.sum())


def dead_time_trials(rate_hz: float, n_dead: int, n_spikes: int, seed: int) -> tuple[UnitTrials, np.ndarray]:
    """Draw a recording of about so many spikes; give it with the true chance of a spike in every bin."""
    rates = np.full((round(n_spikes / rate_hz / TRIAL_S), round(TRIAL_S / BIN_S)), float(rate_hz))
    counts = simulate_spikes(rates, BIN_S, dead_time_s=n_dead * BIN_S, seed=seed)
    return record(counts), expected_counts(counts, rates, BIN_S, dead_time_s=n_dead * BIN_S)


def true_dead_time(rate_hz: float, n_dead: int, n_blocks: int) -> dict[str, float]:
    """Score the true chance of a spike against the true constant rate, in both observation models."""
    q, found = rate_hz * BIN_S, {"poisson": [], "bernoulli": []}
    for seed in range(n_blocks):
        unit, chance = dead_time_trials(rate_hz, n_dead, 50_000, seed)
        with np.errstate(divide="ignore"):
            found["poisson"].append(gain_in_bits(unit, np.log(chance), np.full(chance.shape, np.log(q))))
            log_mu, log_null = np.log(-np.log1p(-chance)), np.log(-np.log1p(-q))
        found["bernoulli"].append(gain_in_bits(unit, log_mu, np.full(chance.shape, log_null), BERNOULLI))
    return {name: float(np.mean(gains)) for name, gains in found.items()}


def held_out_gain(spec: Rung, train: UnitTrials, test: UnitTrials) -> float:
    """Fit a rung that stands on a constant rate, and score it against that rate on other trials."""
    fitted = spec.fit(train)
    return gain_in_bits(test, fitted.log_mu(test), fitted.below.log_mu(test), LIKELIHOODS[spec.likelihood])


def word_information(train: UnitTrials, test: UnitTrials, edges: np.ndarray) -> float:
    """Give R H(y) / q, what the words of the past say of a bin, in bits per spike.

    A word says in which of the stretches of bins between `edges`, counted backwards, a spike came: the embedding of
    Rudelt et al. (2021). Its entropy given the past is the length of a code learned from other trials, so that no
    bias has to be taken off.
    """
    (words, spikes), (test_words, test_spikes) = (find_words(unit, edges) for unit in (train, test))
    n_words = 2 ** (edges.size - 1)
    n, q = np.bincount(words, minlength=n_words), spikes.mean()
    chance = (np.bincount(words, weights=spikes, minlength=n_words) + q) / (n + 1.0)
    n_test = np.bincount(test_words, minlength=n_words)
    n_spikes = np.bincount(test_words, weights=test_spikes, minlength=n_words)
    code = -(n_spikes @ np.log2(chance) + (n_test - n_spikes) @ np.log2(1.0 - chance))
    return float((test_spikes.size * entropy(test_spikes.mean()) - code) / test_spikes.sum())


def find_words(unit: UnitTrials, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the word before every bin that has a whole past, and whether a spike came."""
    before = np.cumsum(np.pad(unit.counts, ((0, 0), (1, 0))), axis=1, dtype=np.int32)
    last, n_bins = int(edges[-1]), unit.counts.shape[1]
    words = np.zeros((unit.n_trials, n_bins - last), dtype=np.int32)
    for near, far in itertools.pairwise(edges):
        words = 2 * words + (before[:, last - near : n_bins - near] > before[:, last - far : n_bins - far])
    return words.ravel(), (unit.counts[:, last:] > 0).ravel()


def entropy(p: np.ndarray | float) -> np.ndarray | float:
    """Give the entropy of a chance in bits."""
    return (special.entr(p) + special.entr(1.0 - p)) / LN2


def gamma_bits(shape: np.ndarray | float) -> np.ndarray | float:
    """Give the closed form of a Gamma renewal process, in continuous time."""
    k = shape
    return (1.0 - k + np.log(k) - special.gammaln(k) - (1.0 - k) * special.digamma(k)) / LN2


def exact_gamma(shape: float, q: float) -> float:
    """Add the likelihood of every interval in bins of q mean intervals, by the scorer of the comparison."""
    survival = stats.gamma.sf(np.arange(int(25.0 / q)) * q, shape, scale=1.0 / shape)
    # Intervals of which there are fewer than one in 10^11 are left out.
    survival = survival[survival > 1e-11]
    chance = -np.diff(survival)
    # Where an interval this short never comes, the hazard vanishes to the last digit.
    log_mu = np.log(np.maximum(-np.diff(np.log(survival)), 1e-300))
    log_null = np.full(chance.size, np.log(-np.log1p(-1.0 / (np.arange(1, chance.size + 1) @ chance))))
    total = 0.0
    for y, weight in enumerate((survival[1:], chance)):
        bins = record(np.full((chance.size, 1), y, dtype=np.uint16))
        better, null = (trial_log_likelihood(bins, values[:, None], BERNOULLI) for values in (log_mu, log_null))
        total += weight @ (better - null)
    return float(total / LN2)


def true_gamma(shape: float, n_blocks: int) -> float:
    """Score the integrated hazard from the middle of the last spike's bin, in bins of 1/100 interval."""
    q, n_lags, gains = 0.01, 1000, []
    hazard = -np.diff(stats.gamma.logsf((np.arange(n_lags + 2) + 0.5) * q, shape, scale=1.0 / shape))
    table = np.log(np.r_[q, hazard])
    for seed in range(n_blocks):
        unit = gamma_trials(shape, np.full((50, 100_000), q / BIN_S), seed)
        log_mu = table[age_steps(unit.counts, unit.observed, n_lags)]
        gains.append(gain_in_bits(unit, log_mu, np.full(log_mu.shape, np.log(-np.log1p(-q))), BERNOULLI))
    return float(np.mean(gains)) + lost_in_bins(q)


def gamma_trials(shape: float, rates_hz: np.ndarray, seed: int) -> UnitTrials:
    """Draw Gamma intervals; one spike in 4000 or fewer shares its bin, and Bernoulli bins know of one."""
    return record(np.minimum(simulate_gamma_renewal(rates_hz, BIN_S, shape=shape, seed=seed), 1))


def lost_in_bins(q: float) -> float:
    """Give what bins with q spikes hide: that no second spike came in what was left of a spike's own bin."""
    return q / (2.0 * LN2)


def compare_rungs(rungs: dict[str, Rung], pair: list[UnitTrials], embeddings: list[np.ndarray]) -> dict[str, float]:
    """Learn from one recording, score the other: gains over a constant rate, and R H(y) / q of the best embedding."""
    gains = {name: held_out_gain(rung, *pair) for name, rung in rungs.items()}
    gains["words"] = max(word_information(*pair, edges) for edges in embeddings)
    return gains | {"words_over_glm": gains["words"] / gains["glm_bernoulli"]}


def measure_spikes(n_blocks: int, n_gamma_blocks: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Hold closed forms, simulated spikes and fitted rungs side by side."""
    values: dict[str, float] = {}
    glm = {"glm_bernoulli": HistoryGLM(baseline=Constant(), likelihood="bernoulli")}
    rungs = glm | {"renewal": Renewal(baseline=Constant()), "glm": HistoryGLM(baseline=Constant())}
    for rate_hz, n_dead in DEAD_TIMES:
        pair = [dead_time_trials(rate_hz, n_dead, 50_000, seed)[0] for seed in (100, 101)]
        found = true_dead_time(rate_hz, n_dead, n_blocks) | compare_rungs(rungs, pair, [DEAD_EDGES])
        values |= {f"{name}_{rate_hz}_{n_dead}": value for name, value in found.items()}
    # Bins must be fine where the density is infinite: the first ones hold a mass of some sqrt(q).
    values |= {f"exact_{shape:g}": exact_gamma(shape, 1e-5 if shape < 1 else 1e-4) for shape in SHAPES}
    values |= {f"simulated_{shape:g}": true_gamma(shape, n_gamma_blocks) for shape in FITTED_SHAPES}
    rungs = glm | {"renewal": Renewal(baseline=Constant(), window_s=0.2, likelihood="bernoulli")}
    rates, lost = np.full((100, round(TRIAL_S / BIN_S)), GAMMA_RATE_HZ), lost_in_bins(GAMMA_RATE_HZ * BIN_S)
    for shape in FITTED_SHAPES:
        found = compare_rungs(rungs, [gamma_trials(shape, rates, seed) for seed in (100, 101)], GAMMA_EDGES)
        values[f"gamma_words_over_glm_{shape:g}"] = found.pop("words_over_glm")
        values |= {f"gamma_{name}_{shape:g}": gain + lost for name, gain in found.items()}
    # What words say is held against the GLM.
    return {name: value for name, value in values.items() if "words" not in name or "over" in name}, values


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Score 200 000 spikes of every dead time and a million of every shape."""
    return measure_spikes(4, 20)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Score 100 000 spikes of every dead time and 500 000 of every shape."""
    return measure_spikes(2, 10)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw closed forms as lines and what was measured as points: dead times left, Gamma intervals right."""
    left, right = figure.subplots(1, 2)
    rate, shape = np.linspace(0.0, 60.0, 200), np.geomspace(0.4, 10.0, 300)
    for n_dead in (5, 4, 3):
        information = -np.log2(1.0 - n_dead * rate * BIN_S)
        left.plot(rate, information, color=style.NOT_HISTORY, zorder=1)
        left.annotate(f"{n_dead} ms", (rate[-1], information[-1]), (3, -3), textcoords="offset points", fontsize=9.0)
    draw_points(left, evidence, dict.fromkeys(("poisson", "renewal", "glm"), DEAD_TIMES))
    left.set(xlabel="rate (Hz)", ylabel="bits/spike", xlim=(0.0, 60.0), ylim=(0.0, None))
    right.plot(shape, gamma_bits(shape), color=style.NOT_HISTORY, zorder=1)
    fitted = dict.fromkeys(("gamma_renewal", "gamma_glm_bernoulli", "gamma_words"), FITTED_SHAPES)
    draw_points(right, evidence, {"exact": SHAPES} | fitted)
    right.set(xlabel="shape of Gamma intervals", xscale="log", ylim=(0.0, None))
    right.set_xticks(SHAPES, [f"{k:g}" for k in SHAPES])
    right.minorticks_off()


def draw_points(ax: Axes, evidence: dict[str, Any], kinds: dict[str, tuple]) -> None:
    """Draw one mark a measured value."""
    for kind, settings in kinds.items():
        words, marker, colour, size = MARKS[kind.removeprefix("gamma_")]
        parts = [np.atleast_1d(setting) for setting in settings]
        heights = [evidence["_".join([kind, *(f"{part:g}" for part in each)])] for each in parts]
        look = {"color": colour, "markersize": size, "markerfacecolor": "none"}
        ax.plot([each[0] for each in parts], heights, marker, label=words, **look)
    ax.legend(loc="upper left", fontsize=9.0)


if __name__ == "__main__":
    run_script("history_information", __file__)
