"""Connections of Dale networks, found again from their spikes: with all units recorded, and with a third of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw, build_weights
from cortexrnn.dynamics.lif import LIF, lif_rate_hz
from cortexrnn.encoding.connectivity import Connectivity, functional_connectivity
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.coupling import CoupledGLM
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.report.connectivity import plot_matrix
from cortexrnn.spikes.recording import Recording
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLOCK_S, HISTORY_S, BIN_S = 4.9, 0.1, 1e-3
SPEC = CoupledGLM(history_s=HISTORY_S, coupling_s=0.03)
RATE_HZ = 12.0
# Of units that multiply each other's rates: decay of a spike's effect, and bins without a spike after one.
EFFECT_S, DEAD_BINS = 0.008, 2
# Of neurons that integrate: time step, synaptic delay in steps, and the membrane without synapses.
DT_S, DELAY_STEPS, MEMBRANE_MEAN, MEMBRANE_SD = 2.5e-4, 6, 0.65, 0.25
NEURON = LIF(tau_m_s=0.01, refractory_s=0.002)
N_RECORDED, N_LARGE, DENSITY = 20, 60, 0.15
# Means of excitatory and inhibitory magnitudes: log factors of a rate, and jumps of a membrane with threshold 1.
FACTORS, JUMPS = (0.8, 1.2), (0.12, 0.3)
CHUNK_S = 6.0
MULTIPLYING, INTEGRATING, PARTLY = "Poisson units", "LIF neurons", "LIF, 20 of 60"
COLOURS = {MULTIPLYING: style.HISTORY_MODEL, INTEGRATING: style.CONDITIONS[3], PARTLY: style.PSTH_MODEL}


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is computed.

    Attributes
    ----------
    durations_s : dict of str to tuple of float
        Of the recordings, ascending, by kind of network.
    n_networks : dict of str to int
    """

    durations_s: dict[str, tuple[float, ...]] = field(
        default_factory=lambda: {
            MULTIPLYING: (10.0, 20.0, 40.0, 80.0, 160.0),
            INTEGRATING: (10.0, 20.0, 40.0, 80.0, 160.0),
            PARTLY: (10.0, 20.0, 40.0, 80.0, 160.0),
        }
    )
    n_networks: dict[str, int] = field(default_factory=lambda: {MULTIPLYING: 3, INTEGRATING: 3, PARTLY: 2})


class Wired(NamedTuple):
    """Spikes of a network and the weights among its recorded units.

    Attributes
    ----------
    times_s : list of ndarray
        Of every recorded unit.
    weights : ndarray, shape (n_units, n_units)
        Target first.
    """

    times_s: list[np.ndarray]
    weights: np.ndarray

    def fit(self, duration_s: float) -> Connectivity:
        """Fit the first so many seconds."""
        kept = [times[times < duration_s] for times in self.times_s]
        recording = Recording.from_arrays(kept, observed_s=np.array([[0.0, duration_s]]))
        blocks = recording.blocks(block_s=BLOCK_S, bin_s=BIN_S, history_s=HISTORY_S)
        return functional_connectivity(blocks, spec=SPEC, baseline=Constant())


@numba.njit(cache=True, nogil=True)
def run_multiplying(weights, mu, decay, n_dead, uniforms, last, trace, counts):
    """Step units whose spikes multiply each other's chances; fill in who spikes in which bin."""
    n = weights.shape[0]
    for t in range(uniforms.shape[0]):
        for i in range(n):
            drive = 0.0
            for j in range(n):
                drive += weights[i, j] * trace[j]
            chance = 1.0 - np.exp(-mu * np.exp(drive))
            last[i] += 1
            counts[t, i] = last[i] > n_dead and uniforms[t, i] < chance
        for i in range(n):
            trace[i] = decay * trace[i]
            if counts[t, i]:
                trace[i] += 1.0
                last[i] = 0


@numba.njit(cache=True, nogil=True)
def run_integrating(weights, mean, keep, kick, n_dead, noise, v, dead, arriving, counts):
    """Step leaky neurons with delayed jumps; `arriving` holds the jumps of the steps to come, the next one first."""
    n = weights.shape[0]
    n_delay = arriving.shape[0]
    for t in range(noise.shape[0]):
        now = arriving[t % n_delay]
        for i in range(n):
            if dead[i] > 0:
                dead[i] -= 1
            else:
                v[i] = mean + keep * (v[i] - mean) + kick * noise[t, i] + now[i]
        now[:] = 0.0
        for j in range(n):
            counts[t, j] = v[j] >= 1.0 and dead[j] == 0
            if counts[t, j]:
                v[j] = 0.0
                dead[j] = n_dead
                for i in range(n):
                    now[i] += weights[i, j]


def draw_weights(n_units: int, means: tuple[float, float], seed: int) -> np.ndarray:
    """Draw weights under Dale's law, target first: four units in five excite."""
    sizes = {"excitatory": n_units * 4 // 5, "inhibitory": n_units - n_units * 4 // 5}
    circuit = Circuit(
        name="recovered",
        populations=tuple(Population(name=name, size=size, sign=name) for name, size in sizes.items()),
        projections=tuple(
            Projection(
                source=source,
                target=target,
                density=DENSITY,
                weights=WeightLaw(law="gamma", mean=mean, sd=0.3 * mean),
            )
            for source, mean in zip(sizes, means, strict=True)
            for target in sizes
        ),
        wiring_seed=seed,
    )
    return build_weights(circuit).total()


def multiplying(weights: np.ndarray, duration_s: float, seed: int) -> Wired:
    """Simulate units whose spikes multiply the chances of their targets, all recorded."""
    n_units = len(weights)
    rng = stream(seed, "multiplying")
    last, trace, events = np.full(n_units, 1000), np.zeros(n_units), []
    n_bins = round(CHUNK_S / BIN_S)
    for first in range(0, round(duration_s / BIN_S), n_bins):
        uniforms = rng.random((n_bins, n_units))
        counts = np.empty(uniforms.shape, dtype=np.bool_)
        decay = float(np.exp(-BIN_S / EFFECT_S))
        run_multiplying(weights, RATE_HZ * BIN_S, decay, DEAD_BINS, uniforms, last, trace, counts)
        step, unit = np.nonzero(counts)
        events.append((step + first, unit))
    return _as_wired(events, np.arange(n_units), weights, BIN_S)


def integrating(weights: np.ndarray, recorded: np.ndarray, duration_s: float, seed: int) -> Wired:
    """Simulate leaky integrate-and-fire neurons of which some are recorded."""
    n_units = len(weights)
    rng = stream(seed, "integrating")
    keep = float(np.exp(-DT_S / NEURON.tau_m_s))
    kick = MEMBRANE_SD * float(np.sqrt(1.0 - keep**2))
    v, dead, arriving = np.zeros(n_units), np.zeros(n_units, dtype=np.int64), np.zeros((DELAY_STEPS, n_units))
    n_dead, n_steps, events = round(NEURON.refractory_s / DT_S), round(CHUNK_S / DT_S), []
    # Whose turn it is among the steps to come goes round from chunk to chunk.
    assert n_steps % DELAY_STEPS == 0
    for first in range(0, round(duration_s / DT_S), n_steps):
        noise = rng.standard_normal((n_steps, n_units))
        counts = np.empty(noise.shape, dtype=np.bool_)
        run_integrating(weights, MEMBRANE_MEAN, keep, kick, n_dead, noise, v, dead, arriving, counts)
        step, unit = np.nonzero(counts)
        events.append((step + first, unit))
    return _as_wired(events, recorded, weights, DT_S)


def _as_wired(
    events: list[tuple[np.ndarray, np.ndarray]], recorded: np.ndarray, weights: np.ndarray, step_s: float
) -> Wired:
    """Sort events by unit, in the middle of their steps."""
    step, unit = (np.concatenate(parts) for parts in zip(*events, strict=True))
    return Wired([(step[unit == each] + 0.5) * step_s for each in recorded], weights[np.ix_(recorded, recorded)])


def simulate_kind(kind: str, duration_s: float, seed: int) -> Wired:
    """Draw a network of a kind and record twenty of its units, four in five of them excitatory."""
    if kind == MULTIPLYING:
        return multiplying(draw_weights(N_RECORDED, FACTORS, seed), duration_s, seed)
    n_units = N_LARGE if kind == PARTLY else N_RECORDED
    share = N_RECORDED * 4 // 5
    recorded = np.r_[0:share, n_units * 4 // 5 : n_units * 4 // 5 + N_RECORDED - share]
    return integrating(draw_weights(n_units, JUMPS, seed), recorded, duration_s, seed)


class Tally(NamedTuple):
    """What was found in a recording.

    Attributes
    ----------
    n_spikes : int
    n_true, n_hit, n_false : int
        Connections that there are, that were found, and that were found where there are none.
    n_hit_sign : int
        Of those found, with the right sign.
    n_sources, n_signs, n_wrong_signs : int
        Units with a connection, and those whose summed strength over connections found has the right or wrong sign.
    """

    n_spikes: int
    n_true: int
    n_hit: int
    n_false: int
    n_hit_sign: int
    n_sources: int
    n_signs: int
    n_wrong_signs: int


def tally(weights: np.ndarray, found: Connectivity) -> Tally:
    """Hold what was found at a false discovery rate of 5 % against the weights."""
    signs, truth = found.found(0.05), np.sign(weights)
    np.fill_diagonal(truth, 0.0)
    is_true, is_found = truth != 0.0, signs != 0
    called = np.where(is_found, np.nan_to_num(found.data["strength"].values), 0.0)
    source, of_truth = np.sign(called.sum(axis=0)), np.sign(truth.sum(axis=0))
    is_source = of_truth != 0.0
    return Tally(
        n_spikes=int(found.data["n_spikes"].sum()),
        n_true=int(is_true.sum()),
        n_hit=int((is_true & is_found).sum()),
        n_false=int((~is_true & is_found).sum()),
        n_hit_sign=int((is_true & (signs == truth)).sum()),
        n_sources=int(is_source.sum()),
        n_signs=int((is_source & (source == of_truth)).sum()),
        n_wrong_signs=int((is_source & (source == -of_truth)).sum()),
    )


class Shares(NamedTuple):
    """Sums over networks, one row a duration.

    Attributes
    ----------
    n_spikes : ndarray
        Of a recording on average.
    power, false, signs : ndarray
        Share of connections found, of false ones among those found, of sources whose sign was found; `false` is NaN
        where nothing was found.
    error : ndarray
        Binomial standard error of `false` if it were 5 %.
    hit_signs, wrong_signs : ndarray
        Share of true connections found whose sign is right, and of sources whose sign is wrong.
    """

    n_spikes: np.ndarray
    power: np.ndarray
    false: np.ndarray
    signs: np.ndarray
    error: np.ndarray
    hit_signs: np.ndarray
    wrong_signs: np.ndarray


def add_up(tallies: list[list[Tally]]) -> Shares:
    """Pool networks; `tallies` by network and duration."""
    each = np.array(tallies, dtype=float)
    n_spikes, n_true, n_hit, n_false, n_hit_sign, n_sources, n_signs, n_wrong = each.sum(axis=0).T
    n_found = n_hit + n_false
    some = np.maximum(n_found, 1.0)
    return Shares(
        n_spikes=n_spikes / len(each),
        power=n_hit / n_true,
        false=np.where(n_found > 0.0, n_false / some, np.nan),
        signs=n_signs / n_sources,
        error=np.sqrt(0.05 * 0.95 / some),
        hit_signs=n_hit_sign / np.maximum(n_hit, 1.0),
        wrong_signs=n_wrong / n_sources,
    )


def strength_slope(weights: np.ndarray, found: Connectivity) -> float:
    """Regress strengths, through the origin, on those of the simulated units."""
    lags = np.arange(round(SPEC.coupling_s / BIN_S))
    truth = weights * np.exp(-lags * BIN_S / EFFECT_S).sum()
    pairs = ~np.eye(len(weights), dtype=bool)
    ours = found.data["strength"].values[pairs]
    return float(ours @ truth[pairs] / (truth[pairs] @ truth[pairs]))


def lone_rates() -> dict[str, float]:
    """Give rates of units without connections over those of theory: a renewal process, and Siegert's formula."""
    nobody, duration_s = np.zeros((N_RECORDED, N_RECORDED)), 96.0
    everyone = np.arange(N_RECORDED)
    rates = [
        sum(map(len, wired.times_s)) / (duration_s * N_RECORDED)
        for wired in (multiplying(nobody, duration_s, 0), integrating(nobody, everyone, duration_s, 0))
    ]
    chance = -np.expm1(-RATE_HZ * BIN_S)
    theory = chance / (1.0 + DEAD_BINS * chance) / BIN_S
    lif = float(lif_rate_hz(MEMBRANE_MEAN, MEMBRANE_SD, NEURON, dt_s=DT_S))
    return {"lone_multiplying": rates[0] / theory, "lone_integrating": rates[1] / lif}


def measure(effort: Effort | None = None) -> tuple[dict[str, float], dict[str, Any]]:
    """Fit ever longer recordings of every kind of network."""
    effort = effort or Effort()
    shares, slopes, shown = {}, [], None
    for kind, durations_s in effort.durations_s.items():
        tallies = []
        for seed in range(effort.n_networks[kind]):
            wired = simulate_kind(kind, durations_s[-1], seed)
            fits = [wired.fit(duration_s) for duration_s in durations_s]
            tallies.append([tally(wired.weights, found) for found in fits])
            if kind == MULTIPLYING:
                slopes.append(strength_slope(wired.weights, fits[-1]))
                shown = shown or (wired.weights, fits[-1].data)
        shares[kind] = add_up(tallies)
    poisson, lif, partly = (shares[kind] for kind in (MULTIPLYING, INTEGRATING, PARTLY))
    values = lone_rates() | {
        "slope": float(np.mean(slopes)),
        "power": poisson.power[-1],
        "false": poisson.false[-1],
        "false_errors": (poisson.false[-1] - 0.05) / poisson.error[-1],
        "signs": poisson.signs[-1],
        "first_power": poisson.power[0],
        "lif_power": lif.power[-1],
        "lif_false": lif.false[-1],
        "lif_signs": lif.signs[-1],
        "partly_power": partly.power[-1],
        "partly_false": partly.false[-1],
        "partly_signs": partly.signs[-1],
        "partly_wrong": partly.wrong_signs[-1],
    }
    return values, {"shares": shares, "shown": shown}


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit two recordings of one network of every kind, at most 80 s."""
    return measure(
        Effort(durations_s=dict.fromkeys(COLOURS, (10.0, 80.0)), n_networks=dict.fromkeys(COLOURS, 1))
    )


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw what is found against the number of spikes, and one matrix beside the truth."""
    figure.set_size_inches(figure.get_figwidth(), 1.9 * figure.get_figheight())
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.0, 1.3))
    for ax, name, label in zip(
        top.subplots(1, 3, sharex=True, sharey=True),
        ("power", "signs", "false"),
        ("connections found", "signs of units", "false ones"),
        strict=True,
    ):
        _draw_shares(ax, evidence["shares"], name)
        ax.set_title(label)
    ax.axhline(0.05, color=style.MUTED, linewidth=0.7, linestyle=(0, (4, 3)))
    top.axes[1].set_xlabel("spikes of 20 units, thousands")
    top.axes[0].set_ylabel("share")
    handles, labels = ax.get_legend_handles_labels()
    top.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9.0)
    truth, matrix = bottom.subplots(1, 2, width_ratios=(1.0, 1.02))
    weights, found = evidence["shown"]
    largest = float(np.abs(weights).max())
    truth.imshow(weights, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    truth.set_title("true log factors")
    truth.set(xlabel="source", ylabel="target")
    plot_matrix(matrix, found)
    matrix.set_title("found")
    for each in (truth, matrix):
        each.set(xticks=[], yticks=[])
    for spine in truth.spines.values():
        spine.set_visible(True)
    matrix.set_ylabel("")


def _draw_shares(ax: Axes, shares: dict[str, Shares], name: str) -> None:
    """Draw one share of every kind of network."""
    for kind, found in shares.items():
        ax.plot(
            1e-3 * found.n_spikes, getattr(found, name), color=COLOURS[kind], marker="o", markersize=3.0,
            linewidth=1.2, label=kind,
        )  # fmt: skip
    ax.set(xscale="log", ylim=(-0.04, 1.04))
    ax.set_xticks([3, 10, 30, 100], ["3", "10", "30", "100"])
    ax.minorticks_off()


if __name__ == "__main__":
    run_script("connectivity_recovery", __file__)
