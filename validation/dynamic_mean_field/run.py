"""Sompolinsky, Crisanti and Sommers (1988): what dynamic mean field theory says of chaos, and what networks do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.circuit import Circuit, build_weights
from cortexrnn.dynamics import Record, Solver, simulate
from cortexrnn.report import style
from cortexrnn.theory.mean_field import dmft
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAINS = (1.5, 2.0, 3.0)
N_UNITS, N_DRAWS = 1000, 10
TAU_S, STEP_TAU, EVERY = 0.01, 0.2, 2
SETTLING_TAU, LENGTH_TAU, N_LAGS = 100, 300, 60
SETTLING_STEPS, LENGTH_STEPS = 100, 300


def network_autocovariance(gain: float, seed: int) -> np.ndarray:
    """Simulate one draw and give the autocovariance of its currents at lags of 0.4 tau."""
    run = simulate(
        Circuit.random(N_UNITS, gain, seed=seed), duration_s=LENGTH_TAU * TAU_S, dt_s=STEP_TAU * TAU_S, seed=seed,
        record=Record(start_s=SETTLING_TAU * TAU_S, every=EVERY), solver=Solver(method="runge_kutta"),
    )  # fmt: skip
    current = np.arctanh(run["rate"].values[0])
    # Padded with as many zeros, the circular correlation of the transform is that of the record.
    power = np.abs(np.fft.rfft(current, 2 * len(current), axis=0)) ** 2
    return np.fft.irfft(power.mean(axis=1))[:N_LAGS] / (len(current) - np.arange(N_LAGS))


def network_map_variance(gain: float, seed: int) -> float:
    """Iterate the map with one draw and give the variance of h over units and time."""
    weights = build_weights(Circuit.random(N_UNITS, gain, seed=seed)).total()
    h = np.random.default_rng(seed).standard_normal(N_UNITS)
    squares = []
    for _ in range(LENGTH_STEPS):
        h = weights @ np.tanh(h)
        squares.append(np.mean(h**2))
    return float(np.mean(squares[SETTLING_STEPS:]))


def half_lag(covariance: np.ndarray) -> float:
    """Give the lag in tau at which half is left, between samples by a straight line; infinite beyond the last lag."""
    is_less = covariance < 0.5 * covariance[0]
    if not is_less.any():
        return float("inf")
    after = int(np.argmax(is_less))
    over, under = covariance[after - 1], covariance[after]
    return STEP_TAU * EVERY * (after - 1 + (over - 0.5 * covariance[0]) / (over - under))


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Solve the theory and average ten networks a gain."""
    values, networks = {}, {}
    for gain in GAINS:
        found, name = dmft(gain), f"{gain:g}"
        draws = np.array([network_autocovariance(gain, seed) for seed in range(N_DRAWS)])
        networks[gain] = np.median(draws, axis=0)
        values |= {
            f"variance_{name}": found.current_variance,
            f"half_current_{name}": found.current_half_lag,
            f"half_rate_{name}": found.rate_half_lag,
            f"exponent_{name}": found.exponent,
            f"network_variance_{name}": float(draws[:, 0].mean()),
            f"map_{name}": dmft(gain, dynamics="discrete").current_variance,
            f"network_map_{name}": float(np.mean([network_map_variance(gain, seed) for seed in range(N_DRAWS)])),
        }
        if gain >= 2.0:
            # A median: some draws of this size fall into slow cycles.
            values[f"network_half_{name}"] = float(np.median([half_lag(covariance) for covariance in draws]))
    fine = np.linspace(1.01, 3.2, 45)
    exponents = np.array([dmft(gain).exponent for gain in fine])
    return values, {"networks": networks, "gains": fine, "exponents": exponents}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw autocovariances and exponents."""
    left, right = figure.subplots(1, 2)
    lag = STEP_TAU * EVERY * np.arange(N_LAGS)
    for gain, colour in zip(GAINS, style.CONDITIONS, strict=False):
        found = dmft(gain)
        theory = found.autocovariance
        left.plot(theory["lag"], theory["current"] / found.current_variance, color=colour, linewidth=1.4)
        left.plot(lag[::2], evidence["networks"][gain][::2] / found.current_variance, "o", color=colour, markersize=2.6)
    left.set(xlim=(0.0, lag[-1]), ylim=(-0.05, 1.05), xlabel="lag (tau)", ylabel="autocovariance / variance")
    gains = evidence["gains"]
    right.plot(gains, evidence["exponents"], color=style.INK)
    right.plot(gains, 0.5 * (gains - 1.0) ** 2, color=style.MUTED, linestyle=(0, (3.0, 2.0)), linewidth=1.0)
    published = (0.0467, 0.1125, 0.2355)
    right.plot(GAINS, published, "o", markerfacecolor="none", markeredgecolor=style.PSTH_MODEL, markersize=6.5)
    right.set(xlim=(1.0, 3.2), ylim=(0.0, 0.3), xlabel="gain", ylabel="largest exponent (1/tau)")


if __name__ == "__main__":
    run_script("dynamic_mean_field", __file__)
