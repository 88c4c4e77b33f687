"""Hidden states against recurrent networks: who predicts a unit that switches between two rates, and when."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import stats

from cortexrnn.encoding import Constant, HistoryGLM, UnitTrials
from cortexrnn.encoding.constant import FittedConstant
from cortexrnn.encoding.hmm import HMM, FittedHMM, States
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.encoding.rnn import RNN
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BIN_S, N_BINS, SMALLEST, MIDDLE, LARGEST = 0.01, 100, 5, 50, 500
RATES_HZ, STAY_S = np.array([5.0, 40.0]), np.array([0.3, 0.15])
# Log effect of a spike in the next bin, and its time constant: the unit that no chain of states describes.
AFTER_EFFECT, AFTER_EFFECT_S = -0.7, 0.02
N_PARTS = 5
LN2 = float(np.log(2.0))

HIDDEN, MIXTURE, GLM, FLAT = "HMM", "HMM, mixture", "GLM", "constant rate"
GRUS = {"GRU 4": 4, "GRU 16": 16, "GRU 32": 32}
VANILLA, TOGETHER = "vanilla 16", "five GRU 16"
FEWER = (FLAT, HIDDEN, GLM, "GRU 16", TOGETHER)
MARKS = {
    FLAT: (style.NOT_HISTORY, "x", ":"), GLM: (style.PSTH_MODEL, "s", "-"), HIDDEN: (style.INK, "o", "-"),
    "GRU 4": (style.HISTORY_MODEL, "v", ":"), "GRU 16": (style.HISTORY_MODEL, "o", "-"),
    "GRU 32": (style.HISTORY_MODEL, "^", "--"), VANILLA: (style.CONDITIONS[4], "D", "-"),
    TOGETHER: (style.CONDITIONS[3], "P", "-"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    n_sets : dict of int to int
        Independent training sets by number of trials, the smallest 5 and the largest 500: a score varies more from one
        small set to the next.
    n_test : int
        Test trials, the same for all.
    n_seeds : int
        Of every network and training set.
    with_vanilla : bool
        Whether the vanilla network, the slowest, is trained.
    """

    n_sets: dict[int, int] = field(
        default_factory=lambda: {SMALLEST: 60, 10: 30, 20: 16, MIDDLE: 8, 100: 6, 200: 6, LARGEST: 6}
    )
    n_test: int = 1000
    n_seeds: int = 2
    with_vanilla: bool = True


class Truth(NamedTuple):
    """A unit whose rate a hidden chain multiplies.

    Attributes
    ----------
    states : States
    mu : float
        Mean count of a bin without after-effect.
    after_effect : float
        Log effect of a spike in the next bin, which fades exponentially.
    """

    states: States
    mu: float
    after_effect: float

    def draw(self, n_trials: int, *key: str | int) -> UnitTrials:
        """Draw trials."""
        rng = stream(0, *key)
        counts = np.zeros((n_trials, N_BINS), dtype=np.uint16)
        state = (rng.random(n_trials) < self.states.start[1]).astype(int)
        trace = np.zeros(n_trials)
        for t in range(N_BINS):
            counts[:, t] = rng.poisson(self.mu * self.states.gain[state] * np.exp(self.after_effect * trace))
            trace = np.exp(-BIN_S / AFTER_EFFECT_S) * trace + counts[:, t]
            state = (rng.random(n_trials) < self.states.move[state, 1]).astype(int)
        return as_unit(counts)

    def log_base(self, trials: UnitTrials) -> np.ndarray:
        """Give the log of the expected count at gain 1, of which past spikes tell everything."""
        trace, out = np.zeros(trials.n_trials), np.empty(trials.counts.shape)
        for t in range(trials.counts.shape[1]):
            out[:, t] = np.log(self.mu) + self.after_effect * trace
            trace = np.exp(-BIN_S / AFTER_EFFECT_S) * trace + trials.counts[:, t]
        return out

    def filter(self) -> FittedHMM:
        """Give the filter that knows the truth."""
        return FittedHMM(
            below=FittedConstant(below=None, mu=self.mu),
            states=self.states,
            bin_s=BIN_S,
            log_likelihood=np.zeros(1),
            validation_log_likelihood=float("nan"),
        )


class Curves(NamedTuple):
    """Gaps to the truth's own filter.

    Attributes
    ----------
    gap : dict of str to dict of int to ndarray, shape (n_sets,)
        Bits per spike that a model is below the filter, by number of trials, mean over seeds; every model predicts one
        rate a bin.
    mixture : dict of int to ndarray, shape (n_sets,)
        What the mixture adds to the HMM's score.
    seed_sd : float
        Standard deviation over seeds of the GRU of 16 units at the largest size.
    ceiling, ceiling_se : float
        Gain of the filter over the constant rate of the truth on the test trials.
    ceiling_mixture : float
        What the mixture adds to that.
    highest_z : float
        Largest of all fits' scores above the filter's, in standard errors over test trials.
    """

    gap: dict[str, dict[int, np.ndarray]]
    mixture: dict[int, np.ndarray]
    seed_sd: float
    ceiling: float
    ceiling_se: float
    ceiling_mixture: float
    highest_z: float


def make_truth(after_effect: float) -> Truth:
    """Make the unit."""
    leave = BIN_S / STAY_S
    start = leave[::-1] / leave.sum()
    move = np.array([[1.0 - leave[0], leave[0]], [leave[1], 1.0 - leave[1]]])
    mean_hz = float(start @ RATES_HZ)
    return Truth(States(start, move, RATES_HZ / mean_hz), mean_hz * BIN_S, after_effect)


def as_unit(counts: np.ndarray) -> UnitTrials:
    """Give counts, all observed and scored, as trials of one condition."""
    everywhere = np.ones(counts.shape, dtype=bool)
    return UnitTrials(
        counts=np.ascontiguousarray(counts, dtype=np.uint16),
        observed=everywhere,
        scored=everywhere,
        condition=np.zeros(len(counts), dtype=np.int64),
        start_s=10.0 * np.arange(len(counts)),
        bin_s=BIN_S,
        is_locked=False,
    )


def predict_alone(spec: Rung, train: UnitTrials, test: UnitTrials) -> np.ndarray:
    """Fit a rung and give its log expected counts of the test trials."""
    return spec.fit(train).log_mu(test)


def predict_together(spec: NetworkRung, train: UnitTrials, test: UnitTrials) -> np.ndarray:
    """Train five networks, each stopped by another fifth, so that every trial is learned from; give their mean rate."""
    below = spec.baseline.fit(train)
    log_mu, log_test = below.log_mu(train), below.log_mu(test)
    total = np.zeros(log_test.shape)
    for part in range(N_PARTS):
        trained = spec.train(train, log_mu, np.arange(train.n_trials) % N_PARTS == part)
        total += np.exp(spec.as_fitted(trained, below, BIN_S).extend(test, log_test))
    return np.log(total / N_PARTS)


def contestants(effort: Effort, wanted: tuple[str, ...]) -> dict[str, list[Callable[..., np.ndarray]]]:
    """List who is fitted, every seed of every network; all stand on the same constant rate."""
    flat, seeds = Constant(), range(effort.n_seeds)
    specs: dict[str, list[Rung]] = {FLAT: [flat], GLM: [HistoryGLM(baseline=flat)]}
    specs |= {name: [RNN(baseline=flat, n_hidden=n, seed=k) for k in seeds] for name, n in GRUS.items()}
    if effort.with_vanilla:
        specs[VANILLA] = [Network(cell="vanilla", baseline=flat, seed=k) for k in seeds]
    found = {name: [partial(predict_alone, spec) for spec in group] for name, group in specs.items()}
    found[TOGETHER] = [partial(predict_together, RNN(baseline=flat, seed=k)) for k in seeds]
    return {name: group for name, group in found.items() if name in wanted}


def race(truth: Truth, name: str, effort: Effort, wanted: tuple[str, ...]) -> Curves:
    """Fit everyone to ever more trials of every training set, and score them on the same test trials."""
    test = truth.draw(effort.n_test, name, "test")
    ideal, base, n_spikes = truth.filter(), truth.log_base(test), float(test.counts.sum())
    flat = np.full(base.shape, np.log(n_spikes / base.size))
    reference = trial_log_likelihood(test, ideal.extend(test, base))
    above_flat = (reference - trial_log_likelihood(test, flat)) / LN2
    z: list[float] = []

    def below_ideal(log_mu: np.ndarray) -> float:
        bits = (reference - trial_log_likelihood(test, log_mu)) / LN2
        z.append(float(-bits.mean() / bits.std() * np.sqrt(bits.size)))
        return float(bits.sum() / n_spikes)

    everyone = contestants(effort, wanted)
    gap = {each: {n: np.empty(k) for n, k in effort.n_sets.items()} for each in (HIDDEN, *everyone)}
    mixture = {n: np.empty(k) for n, k in effort.n_sets.items()}
    spread = []
    for size, n_sets in effort.n_sets.items():
        for number in range(n_sets):
            train = truth.draw(LARGEST, name, "training", number).take(np.arange(size))
            fitted = HMM(baseline=Constant()).fit(train)
            log_mu = fitted.below.log_mu(test)
            single = fitted.extend(test, log_mu)
            gap[HIDDEN][size][number] = below_ideal(single)
            gained = fitted.mixture_log_likelihood(test, log_mu) - trial_log_likelihood(test, single)
            mixture[size][number] = gained.sum() / (n_spikes * LN2)
            for each, group in everyone.items():
                scores = [below_ideal(predict(train, test)) for predict in group]
                gap[each][size][number] = np.mean(scores)
                if each == "GRU 16" and size == LARGEST:
                    spread.append(np.var(scores, ddof=1) if len(scores) > 1 else np.nan)
    gained = ideal.mixture_log_likelihood(test, base) - reference
    return Curves(
        gap=gap,
        mixture=mixture,
        seed_sd=float(np.sqrt(np.mean(spread))),
        ceiling=float(above_flat.sum() / n_spikes),
        ceiling_se=float(above_flat.std() / np.sqrt(effort.n_test) / (n_spikes / effort.n_test)),
        ceiling_mixture=float(gained.sum() / (n_spikes * LN2)),
        highest_z=max(z),
    )


def expected_ceiling(truth: Truth, n_grid: int = 4001, most: int = 12) -> tuple[float, float]:
    """Give what filter and mixture gain in expectation, from the law of the belief, for a unit without after-effect.

    The belief in the second state is one number; its law is carried from bin to bin on a grid, over all counts.
    """
    grid, counts = np.linspace(0.0, 1.0, n_grid), np.arange(most + 1)
    chance = stats.poisson.pmf(counts[:, None], truth.mu * truth.states.gain)
    marginal = (1.0 - grid) * chance[:, :1] + grid * chance[:, 1:]
    enter, stay = truth.states.move[:, 1]
    then = enter + (stay - enter) * grid * chance[:, 1:] / marginal
    place = np.minimum((then * (n_grid - 1)).astype(int), n_grid - 2)
    share = then * (n_grid - 1) - place
    mean = truth.mu * ((1.0 - grid) * truth.states.gain[0] + grid * truth.states.gain[1])
    of_single = mean * np.log(mean / truth.mu) - mean + truth.mu
    of_mixture = (marginal * np.log(marginal / stats.poisson.pmf(counts[:, None], mean))).sum(axis=0)
    law, single, mixture = np.zeros(n_grid), 0.0, 0.0
    at = truth.states.start[1] * (n_grid - 1)
    law[int(at) : int(at) + 2] = 1.0 - at % 1.0, at % 1.0
    for _ in range(N_BINS):
        single += law @ of_single
        mixture += law @ of_mixture
        weight = law * marginal
        law = np.bincount(place.ravel(), (weight * (1.0 - share)).ravel(), n_grid)
        law += np.bincount(place.ravel() + 1, (weight * share).ravel(), n_grid)
    scale = LN2 * N_BINS * truth.mu
    return single / scale, mixture / scale


def paths_differ(truth: Truth, n_bins: int = 10) -> float:
    """Hold the filter against the sum over all paths: the mixture's score and every bin's mean, in nats."""
    trials = as_unit(stream(0, "paths").poisson(0.4, (8, n_bins)))
    base, ideal = truth.log_base(trials), truth.filter()
    log_mu = ideal.extend(trials, base)
    paths = np.array(list(itertools.product(range(2), repeat=n_bins)))
    prior = truth.states.start[paths[:, 0]] * truth.states.move[paths[:, :-1], paths[:, 1:]].prod(axis=1)
    largest = 0.0
    for k, scored in enumerate(ideal.mixture_log_likelihood(trials, base)):
        expected = np.exp(base[k]) * truth.states.gain[paths]
        chance = stats.poisson.pmf(trials.counts[k], expected)
        largest = max(largest, abs(scored - np.log(prior @ chance.prod(axis=1))))
        for t in range(n_bins):
            weight = prior * chance[:, :t].prod(axis=1)
            largest = max(largest, abs(log_mu[k, t] - np.log(weight @ expected[:, t] / weight.sum())))
    return float(largest)


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Give the mean over training sets and its 95 % interval."""
    mean = float(values.mean())
    reach = float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
    return mean, mean - reach, mean + reach


def best_network(curves: Curves, size: int) -> np.ndarray:
    """Give the gaps of the network with the best mean at a size: chosen in the test itself, in its favour."""
    networks = [gap[size] for name, gap in curves.gap.items() if name not in (HIDDEN, GLM, FLAT)]
    return min(networks, key=np.mean)


def ahead(curves: Curves, size: int) -> np.ndarray:
    """Give by how much the HMM is above the best network at a size, for every training set."""
    return best_network(curves, size) - curves.gap[HIDDEN][size]


def trials_ratio(curves: Curves) -> float:
    """Give how many times the trials the best network needs for what the HMM has learned from 50."""
    sizes = np.array(sorted(curves.mixture, reverse=True))
    gaps = [best_network(curves, int(size)).mean() for size in sizes]
    wanted = np.log(curves.gap[HIDDEN][MIDDLE].mean())
    return float(np.exp(np.interp(wanted, np.log(gaps), np.log(sizes))) / MIDDLE)


def measure(effort: Effort | None = None) -> tuple[dict[str, float], dict[str, Any]]:
    """Race in the unit that switches, and in one whose spikes also have an after-effect."""
    effort = effort or Effort()
    plain, other = make_truth(0.0), make_truth(AFTER_EFFECT)
    inside = race(plain, "switching", effort, tuple(MARKS))
    outside = race(other, "after-effect", effort, FEWER)
    exact, exact_mixture = expected_ceiling(plain)
    ahead_many = ahead(inside, LARGEST)
    mixture_many = inside.mixture[LARGEST].mean()
    values = {
        "paths": max(paths_differ(plain), paths_differ(other)),
        "ceiling_z": abs(inside.ceiling - exact) / inside.ceiling_se,
        "mixture_truth": inside.ceiling_mixture / exact_mixture,
        "highest_z": max(inside.highest_z, outside.highest_z),
        "hmm_many": inside.gap[HIDDEN][LARGEST].mean(),
        "network_many": best_network(inside, LARGEST).mean(),
        "glm_many": inside.gap[GLM][LARGEST].mean(),
        "ahead_few": ahead(inside, SMALLEST).mean(),
        "ahead_few_low": interval(ahead(inside, SMALLEST))[1],
        "ahead_many": ahead_many.mean(),
        "ahead_many_low": interval(ahead_many)[1],
        "mixture_over_ahead": mixture_many / ahead_many.mean(),
        "trials_ratio": trials_ratio(inside),
        "outside_few": interval(ahead(outside, SMALLEST))[2],
        "outside_many": interval(ahead(outside, LARGEST))[2],
    }
    return values, {"inside": inside, "outside": outside}


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Race at three sizes in fewer training sets, without the vanilla network."""
    return measure(Effort(n_sets={SMALLEST: 40, MIDDLE: 4, LARGEST: 3}, n_test=500, n_seeds=1, with_vanilla=False))


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw how far everyone is below the truth's filter against the number of trials, for both units."""
    figure.set_size_inches(figure.get_figwidth(), 1.3 * figure.get_figheight())
    left, right = figure.subplots(1, 2, sharey=True)
    for ax, name, title in ((left, "inside", "two states"), (right, "outside", "with after-effects")):
        _draw_curves(ax, evidence[name])
        ax.set_title(title)
    left.set_ylabel("bits/spike below the filter")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9.0)


def _draw_curves(ax: Axes, curves: Curves) -> None:
    """Draw means over training sets with their intervals."""
    for name, (colour, marker, line) in MARKS.items():
        if name not in curves.gap:
            continue
        found = np.array([interval(values) for values in curves.gap[name].values()])
        reach = np.abs(found[:, 1:] - found[:, :1]).T
        # An interval that reaches zero has no lower end on a logarithmic axis.
        reach[0] = np.minimum(reach[0], 0.999 * found[:, 0])
        ax.errorbar(
            list(curves.gap[name]), found[:, 0], reach, color=colour, marker=marker, markersize=3.5, linestyle=line,
            linewidth=1.2, elinewidth=0.7, label=name,
        )  # fmt: skip
    worth = curves.ceiling_mixture
    ax.axhline(worth, color=style.MUTED, linewidth=0.9, linestyle=(0, (5, 3)), label="worth of mixture")
    ax.set(xscale="log", yscale="log", xlabel="training trials", ylim=(3e-4, 0.4))
    ax.set_yticks([1e-3, 1e-2, 1e-1], ["0.001", "0.01", "0.1"])
    ax.set_xticks([5, 20, 100, 500], ["5", "20", "100", "500"])
    ax.minorticks_off()


if __name__ == "__main__":
    run_script("hmm_vs_rnn", __file__)
