"""Memory and computation of driven random networks across the edge of chaos, which the input itself moves."""

from __future__ import annotations

import concurrent.futures
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.runs.executor import default_workers
from cortexrnn.theory.mean_field.driven_map import driven_map, transition_gain
from cortexrnn.theory.mean_field.driven_memory import driven_memory
from cortexrnn.training.reservoirs.memory import echo_state_test, linear_memory, memory_capacity
from cortexrnn.training.reservoirs.readout import Ridge
from cortexrnn.training.reservoirs.reservoir import Reservoir, ReservoirSpec
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_UNITS, N_SEEDS = 200, 3
STRENGTHS = {"weak": 0.1, "medium": 0.3, "strong": 1.0}
COLOURS = dict(zip(STRENGTHS, (style.CONDITIONS[1], style.CONDITIONS[3], style.CONDITIONS[2]), strict=True))
GAINS = np.round(np.arange(0.4, 2.25, 0.15), 10)
# Deviation of the noise that a read-out sees on every rate, which lies between -1 and 1.
READOUT_NOISE = 0.1
WASHOUT, N_STEPS, N_TEST_STEPS = 500, 2500, 2500
LONGEST, N_PARITIES = 60, 16
# The edge itself: larger networks, three gains around the one of the theory.
N_EDGE_UNITS, N_EDGE_SEEDS, N_EDGE_STEPS, AROUND = 400, 4, 1500, (-0.15, 0.0, 0.15)


class Score(NamedTuple):
    """What one network does under one input."""

    exponent: float
    memory: float
    parity: float
    clean_parity: float
    narma_error: float
    theory: float


def draw_reservoir(gain: float, input_sd: float, seed: int, n_units: int = N_UNITS) -> Reservoir:
    """Draw Gaussian weights; the same for all gains and inputs."""
    rng = stream(seed, "edge of chaos", "weights")
    weights = rng.normal(size=(n_units, n_units)) / np.sqrt(n_units)
    column = rng.normal(size=n_units)
    column *= input_sd / np.sqrt(np.mean(column**2))
    return Reservoir(weights=gain * weights, input_weights=column[:, None], bias=np.zeros(n_units))


def draw_signs(n_steps: int, seed: int) -> np.ndarray:
    """Draw an input of random signs: under Gaussian weights its variance over units is always the same."""
    return stream(seed, "edge of chaos", "signs").choice([-1.0, 1.0], size=n_steps)


def delayed(values: np.ndarray, n_delays: int) -> np.ndarray:
    """Lay a signal out with delays 0, 1, ... without its first steps, (n_steps, n_delays)."""
    return np.stack([values[WASHOUT - k : values.size - k] for k in range(n_delays)], axis=1)


def correlations(states: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Fit read-outs to the first steps; squared correlations in the others, less what chance gives."""
    found = Ridge(penalties=(1e-9,)).fit(states[:N_STEPS], targets[:N_STEPS]).predict(states[N_STEPS:])
    a, b = found - found.mean(axis=0), targets[N_STEPS:] - targets[N_STEPS:].mean(axis=0)
    squared = np.sum(a * b, axis=0) ** 2 / (np.sum(a**2, axis=0) * np.sum(b**2, axis=0))
    return (squared * (N_TEST_STEPS - 1) - 1.0) / (N_TEST_STEPS - 2)


def narma(inputs: np.ndarray) -> np.ndarray:
    """Give the series of Atiya and Parlos (2000) of order 10; the value after the last input of every step."""
    y = np.zeros(inputs.size + 1)
    for t in range(9, inputs.size):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * inputs[t - 9] * inputs[t] + 0.1
    return y[1:]


def narma_error(reservoir: Reservoir, seed: int) -> float:
    """Give the error of a noisy read-out of the series, as a fraction of its deviation."""
    rng = stream(seed, "edge of chaos", "narma")
    u = rng.uniform(0.0, 0.5, WASHOUT + N_STEPS + N_TEST_STEPS)
    # Centred and of variance 1, as the random signs.
    states = reservoir.run((u - 0.25) * np.sqrt(48.0))[WASHOUT:]
    states += READOUT_NOISE * rng.normal(size=states.shape)
    wanted = narma(u)[WASHOUT:]
    readout = Ridge(penalties=(1e-9,)).fit(states[:N_STEPS], wanted[:N_STEPS])
    off = readout.predict(states[N_STEPS:])[:, 0] - wanted[N_STEPS:]
    return float(np.sqrt(np.mean(off**2)) / wanted[N_STEPS:].std())


def score(gain: float, input_sd: float, seed: int) -> Score:
    """Measure one network."""
    reservoir = draw_reservoir(gain, input_sd, seed)
    signs = draw_signs(WASHOUT + N_STEPS + N_TEST_STEPS, seed)
    states = reservoir.run(signs)[WASHOUT:]
    noisy = states + READOUT_NOISE * stream(seed, "edge of chaos", "noise").normal(size=states.shape)
    # Three signs in a row, as of Bertschinger and Natschlaeger.
    product = signs * np.roll(signs, 1) * np.roll(signs, 2)
    parities = delayed(product, N_PARITIES)
    found = correlations(noisy, np.hstack([delayed(signs, LONGEST + 1), parities]))
    theory = driven_memory(reservoir.weights, reservoir.input_weights[:, 0], LONGEST, readout_noise_sd=READOUT_NOISE)
    return Score(
        exponent=echo_state_test(reservoir, signs[:1500]).exponent,
        memory=float(found[: LONGEST + 1].sum()),
        parity=float(found[LONGEST + 1 :].sum()),
        clean_parity=float(correlations(states, parities).sum()) if input_sd == STRENGTHS["medium"] else np.nan,
        narma_error=narma_error(reservoir, seed),
        theory=float(theory["memory"].sum()),
    )


def find_edge(input_sd: float, n_seeds: int) -> float:
    """Find the gain at which the exponent of larger networks, the mean over draws, is zero."""
    gains = transition_gain(input_sd) + np.array(AROUND)
    signs = [draw_signs(N_EDGE_STEPS, seed) for seed in range(n_seeds)]
    exponents = [
        np.mean([
            echo_state_test(draw_reservoir(gain, input_sd, seed, N_EDGE_UNITS), signs[seed]).exponent
            for seed in range(n_seeds)
        ])
        for gain in gains
    ]  # fmt: skip
    return float(np.interp(0.0, exponents, gains))


def compare_linear() -> float:
    """Give the largest distance of a hardly driven tanh reservoir's memory from the exact one of the linear reservoir.

    In standard errors of a squared correlation, plus what a fit of n weights to as many steps loses.
    """
    # Orthogonal: the least variance of a random matrix's state is below the rounding of its largest.
    n_units, n_steps, longest = 50, 10_000, 99
    spec = ReservoirSpec(n_units=n_units, wiring="orthogonal", spectral_radius=0.9, input_scale=1e-3)
    tanh, linear = (replace(spec, activation=Activation(kind=kind)).build() for kind in ("tanh", "linear"))
    r2 = linear_memory(linear, longest).curve
    measured = memory_capacity(tanh, n_steps=n_steps, max_delay=longest).curve
    error = np.sqrt(4.0 * r2 * (1.0 - r2) ** 2 / n_steps + 2.0 / n_steps**2) + (1.0 - r2) * n_units / n_steps
    return float(np.max(np.abs(measured - r2) / error))


def measure(n_seeds: int = N_SEEDS, n_edge_seeds: int = N_EDGE_SEEDS) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure all networks, then read peaks and falls off the means over draws."""
    jobs = [(gain, sd, seed) for sd in STRENGTHS.values() for gain in GAINS for seed in range(n_seeds)]
    with concurrent.futures.ThreadPoolExecutor(default_workers()) as pool:
        scores = np.array(list(pool.map(lambda job: score(*job), jobs)))
        edges = dict(zip(STRENGTHS, pool.map(lambda sd: find_edge(sd, n_edge_seeds), STRENGTHS.values()), strict=True))
    means = scores.reshape(len(STRENGTHS), GAINS.size, n_seeds, -1).mean(axis=2)
    curves = {name: Score(*means[i].T) for i, name in enumerate(STRENGTHS)}
    theory = {name: np.array([driven_map(gain, sd).exponent for gain in GAINS]) for name, sd in STRENGTHS.items()}
    values = {f"edge_{name}": edge for name, edge in edges.items()}
    values["exponent_off"] = max(float(np.abs(curves[name].exponent - theory[name]).max()) for name in STRENGTHS)
    return values | read_curves(curves), {"curves": curves}


def read_curves(curves: dict[str, Score]) -> dict[str, float]:
    """Read peaks, falls and distances from the theory off the means over draws."""
    values = {"linear_off": compare_linear()}
    for name, curve in curves.items():
        values[f"memory_peak_{name}"] = float(GAINS[curve.memory.argmax()])
        values[f"parity_exponent_{name}"] = float(curve.exponent[curve.parity.argmax()])
    values["peak_exponent"] = max(float(curve.exponent[curve.memory.argmax()]) for curve in curves.values())
    off = []
    for name in ("weak", "medium"):
        curve = curves[name]
        values[f"memory_fall_{name}"] = float(curve.memory[-1] / curve.memory.max())
        values[f"narma_peak_{name}"] = float(GAINS[curve.narma_error.argmin()])
        off.append(np.abs(curve.memory / curve.theory - 1.0)[curve.exponent < 0.0])
    values["memory_off"] = float(np.concatenate(off).max())
    medium = curves["medium"]
    values["parity_low"], values["parity_high"] = (float(medium.parity[k] / medium.parity.max()) for k in (0, -1))
    values["clean_parity_peak"] = float(GAINS[medium.clean_parity.argmax()])
    return values


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure fewer networks."""
    return measure(n_seeds=2, n_edge_seeds=2)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw exponent, memory, parity and the series over the gain."""
    panels = figure.subplots(2, 2, sharex=True).ravel()
    words = ("exponent", "memory (steps)", "parities", "error of NARMA-10")
    fields = ("exponent", "memory", "parity", "narma_error")
    fine = np.linspace(GAINS[0], GAINS[-1], 91)
    for ax, field, label in zip(panels, fields, words, strict=True):
        for name, curve in evidence["curves"].items():
            sd, colour = STRENGTHS[name], COLOURS[name]
            if field == "exponent":
                ax.plot(fine, [driven_map(gain, sd).exponent for gain in fine], color=colour, linewidth=1.1)
            elif field == "memory":
                ax.plot(GAINS, curve.theory, color=colour, linewidth=1.1)
            mark = "o" if field in ("exponent", "memory") else "o-"
            ax.plot(GAINS, getattr(curve, field), mark, color=colour, markersize=2.6, linewidth=1.0, label=f"{sd:g}")
            ax.axvline(transition_gain(sd), color=colour, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        ax.set(xlim=(GAINS[0] - 0.05, GAINS[-1] + 0.05), ylabel=label)
    panels[0].axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    # Opaque: the edge of the strong input runs behind it.
    panels[0].legend(
        title="input", loc="lower right", handletextpad=0.1, borderpad=0.1, labelspacing=0.15, frameon=True,
        framealpha=1.0, edgecolor="none",
    )  # fmt: skip
    for ax in panels[1:3]:
        ax.set_ylim(bottom=0.0)
    panels[3].set_ylim(top=1.0)
    for ax in panels[2:]:
        ax.set_xlabel("gain")


if __name__ == "__main__":
    run_script("edge_of_chaos", __file__)
