"""Mastrogiuseppe and Ostojic (2018): one structured pattern in the weights, and the activity that it brings about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.circuit import Circuit, LowRank, Population, Projection, WeightLaw
from cortexrnn.circuit.build import loadings
from cortexrnn.dynamics import Record, simulate
from cortexrnn.report import style
from cortexrnn.theory.mean_field import rank_one, rank_one_curve
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERLAPS = (1.5, 2.0, 3.0)
N_UNITS, N_DRAWS = 4000, 10
N_RANDOM, N_RANDOM_DRAWS = 1500, 8
STATIONARY, FLUCTUATING = (2.0, 0.8), (3.0, 2.4)
TAU_S, STEP_S = 0.01, 1e-3
SETTLING_S, LENGTH_S = 0.6, 1.6


def drawn_kappa(overlap: float, seed: int) -> tuple[float, float]:
    """Iterate a network without a random part to its fixed point; give its own overlap and its kappa."""
    circuit = Circuit.low_rank(N_UNITS, overlap, seed=seed)
    m, n = loadings(circuit, circuit.low_rank_terms[0], 0)
    # Currents along m alone are left after a few tau: x = kappa m, one number a network.
    kappa = overlap
    for _ in range(2000):
        kappa = float(np.mean(n * np.tanh(kappa * m)))
    return float(np.mean(n * m)), kappa


def with_random_part(overlap: float, gain: float, seed: int) -> tuple[float, float]:
    """Simulate a network with a random part; give its mean kappa and the variance of its units' mean currents."""
    m = np.random.default_rng([2018, seed]).standard_normal(N_RANDOM)
    m /= np.sqrt(np.mean(m**2))
    term = LowRank(m=tuple(m), n=tuple(overlap * m))
    random = WeightLaw(law="gaussian", mean=0.0, sd=1.0)
    circuit = Circuit(
        name="rank_one",
        populations=(Population(name="units", size=N_RANDOM, tau_s=TAU_S),),
        projections=(Projection(source="units", target="units", weights=random, allow_autapses=True),),
        low_rank_terms=(term,),
        gain=gain,
        wiring_seed=seed,
    )
    run = simulate(
        circuit, duration_s=LENGTH_S, dt_s=STEP_S, initial=2.0 * m, record=Record(start_s=SETTLING_S, every=5)
    )
    rate = run["rate"].values[0]
    return float(np.mean(rate @ (overlap * m)) / N_RANDOM), float(np.mean(np.arctanh(rate).mean(axis=0) ** 2))


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Solve the theory and draw networks."""
    values, points = {}, []
    for overlap in OVERLAPS:
        drawn = [drawn_kappa(overlap, seed) for seed in range(N_DRAWS)]
        ratios = [kappa / rank_one(own).kappa for own, kappa in drawn]
        points += drawn
        values |= {f"kappa_{overlap:g}": rank_one(overlap).kappa, f"network_{overlap:g}": float(np.mean(ratios))}
    stationary, fluctuating = (rank_one(overlap, gain=gain) for overlap, gain in (STATIONARY, FLUCTUATING))
    calm, restless = (
        np.mean([with_random_part(*setting, seed) for seed in range(N_RANDOM_DRAWS)], axis=0)
        for setting in (STATIONARY, FLUCTUATING)
    )
    values |= {
        "kappa_random": stationary.kappa,
        "network_random": float(calm[0] / stationary.kappa),
        "network_fluctuating": float(restless[0] / fluctuating.kappa),
        "static_fluctuating": float(restless[1] / fluctuating.static_variance),
    }
    return values, {"points": np.array(points), "calm": calm[0], "restless": restless[0]}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw kappa against the overlap for three gains."""
    ax = figure.subplots()
    looks = (
        (0.0, style.INK, 0.04),
        (STATIONARY[1], style.HISTORY_MODEL, -0.06),
        (FLUCTUATING[1], style.PSTH_MODEL, 0.0),
    )
    for gain, colour, raised in looks:
        # Closer together where kappa begins to grow like a root.
        overlap = 1.0 + np.linspace(0.0, np.sqrt(2.4), 150) ** 2
        if gain > 1.0:
            overlap = np.linspace(1.0, 3.4, 481)
        curve = rank_one_curve(overlap, gain=gain)
        is_on = curve["kappa"].values > 0.0
        # From the last point without activity on.
        first = max(int(np.argmax(is_on)) - 1, 0)
        kappa = curve["kappa"].values[first:]
        is_chaos = curve["phase"].values[first:] == "structured chaos"
        is_chaos[0] = is_chaos[1]
        for chosen, dashes in ((~is_chaos, "-"), (is_chaos, (0, (1.0, 1.6)))):
            ax.plot(overlap[first:], np.where(chosen, kappa, np.nan), color=colour, linestyle=dashes, linewidth=1.5)
        words = f"gain {gain:g}" if gain else "no random part"
        ax.text(3.42, kappa[-1] + raised, words, color=colour, va="center", fontsize=9.5)
    ax.plot(*evidence["points"].T, "o", color=style.INK, markersize=3.0)
    for setting, kappa, colour in (
        (STATIONARY, evidence["calm"], style.HISTORY_MODEL),
        (FLUCTUATING, evidence["restless"], style.PSTH_MODEL),
    ):
        ax.plot(setting[0], kappa, "o", markerfacecolor="white", markeredgecolor=colour, markersize=6.0)
    ax.set(xlim=(0.8, 4.3), ylim=(-0.05, 2.7), xlabel="overlap of the loadings", ylabel="activity along m, kappa")
    ax.set_xticks([1.0, 2.0, 3.0])


if __name__ == "__main__":
    run_script("mastrogiuseppe_ostojic_2018", __file__)
