"""A rotation that a unit's own spikes excite: fitted networks must give back its time constant and its frequency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.encoding import Constant, HistoryGLM, UnitTrials
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.loops import ReadOff
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.read_off import read_off
from cortexrnn.encoding.rnn import RNN
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.report.read_off import plot_responses
from cortexrnn.report.style import CONDITIONS
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BIN_S, TRIAL_S, N_TRIALS, N_RECORDINGS = 5e-3, 10.0, 100, 5
TAU_S, FREQUENCY_HZ, SIZE, BASE_HZ = 0.08, 12.0, 0.22, 40.0
# No traces: their modes are not the network's, and it must grow its memory itself.
SETTINGS = {
    "baseline": Constant(), "trace_s": (), "piece_s": 0.5, "learning_rate": 0.007, "max_epochs": 40, "patience": 8,
}  # fmt: skip
# A GRU with the traces that are its default, for comparison.
CELLS = ("GRU", "vanilla", "LSTM", "Dale", "GLM", "GRU with traces")
_N_NETWORKS = 4
# Trials on which the response to one more spike is measured.
N_MEASURED = 20


def unit() -> FittedHistoryGLM:
    """Give the unit: every spike adds a damped cosine to the log of its rate."""
    lag_s = BIN_S * np.arange(1, round(0.6 / BIN_S) + 1)
    effect = SIZE * np.exp(-lag_s / TAU_S) * np.cos(2.0 * np.pi * FREQUENCY_HZ * lag_s)
    return FittedHistoryGLM(
        below=None,
        history_s=float(lag_s[-1]),
        bin_s=BIN_S,
        basis=np.eye(lag_s.size),
        weights=np.r_[np.log(BASE_HZ * BIN_S), effect],
        covariance=np.eye(1 + lag_s.size),
        ridge=0.0,
        mean=BASE_HZ * BIN_S,
        ceiling=np.inf,
        validation_log_likelihood=float("nan"),
        is_converged=True,
    )


def record(seed: int, n_trials: int) -> UnitTrials:
    """Record trials of the unit."""
    shape = (n_trials, round(TRIAL_S / BIN_S))
    everywhere = np.ones(shape, dtype=bool)
    empty = UnitTrials(
        counts=np.zeros(shape, dtype=np.uint16),
        observed=everywhere,
        scored=everywhere,
        condition=np.zeros(n_trials, dtype=np.int64),
        start_s=2.0 * TRIAL_S * np.arange(n_trials),
        bin_s=BIN_S,
        is_locked=False,
    )
    return empty._replace(counts=simulate_copies(unit(), empty, n_copies=1, likelihood="poisson", seed=seed).counts[0])


def fit(cell: str, trials: UnitTrials, seed: int) -> Fitted:
    """Fit a model of some kind."""
    match cell:
        case "GLM":
            return HistoryGLM(baseline=Constant()).fit(trials)
        case "GRU":
            return RNN(**SETTINGS, seed=seed).fit(trials)
        case "GRU with traces":
            return RNN(**{**SETTINGS, "trace_s": RNN().trace_s}, seed=seed).fit(trials)
    return Network(cell=cell.lower(), **SETTINGS, seed=seed).fit(trials)


def measure_recordings(n_recordings: int, cells: tuple[str, ...]) -> tuple[dict[str, float], dict]:
    """Fit recordings and read every model off; medians over recordings."""
    found: dict[str, list[ReadOff]] = {cell: [] for cell in cells}
    own: list[ReadOff] = []
    for seed in range(n_recordings):
        trials = record(seed, N_TRIALS)
        own.append(read_off(unit(), trials.take(np.arange(N_MEASURED))))
        for cell in cells:
            fitted = fit(cell, trials, seed)
            found[cell].append(read_off(fitted, trials.take(np.arange(N_MEASURED))))
    values = {
        "closed_tau_ms": _median(own, "closed", "tau_s"),
        "gru_closed_tau_ms": _median(found["GRU"], "closed", "tau_s"),
    }
    reported = [(cell, loop) for cell in cells[:_N_NETWORKS] for loop in ("open", "measured")]
    for cell, loop in (*reported, ("GLM", "open"), ("GRU with traces", "measured")):
        key = f"{cell.lower().replace(' ', '_')}_{loop}"
        if cell != "GLM":
            values[f"{key}_tau_ms"] = _median(found[cell], loop, "tau_s")
        values[f"{key}_hz"] = _median(found[cell], loop, "frequency_hz")
    for loop in ("open", "measured"):
        networks = [each for cell in cells[:_N_NETWORKS] for each in found[cell]]
        values[f"single_{loop}"] = float(np.mean([_is_near(each, loop) for each in networks]))
    return values, {"found": found}


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit five recordings of 1000 s."""
    return measure_recordings(N_RECORDINGS, CELLS)


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Fit one recording of 1000 s."""
    return measure_recordings(1, CELLS)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw responses to a spike of a network, and what every model says about the rotation."""
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1.0))
    plot_responses(left, evidence["found"]["GRU"][0].to_dataset())
    left.legend(loc="upper right", frameon=False, handlelength=1.6)
    right.axhspan(0.8 * 1e3 * TAU_S, 1.2 * 1e3 * TAU_S, color="#eef1f4", zorder=0)
    right.axhline(1e3 * TAU_S, color=CONDITIONS[0], linewidth=0.8, zorder=1)
    # Models with traces may be far off: they would flatten all the rest.
    shown = [cell for cell in evidence["found"] if cell != "GRU with traces"]
    for label, marker, colour, shift in (("open", "o", CONDITIONS[1], -0.12), ("measured", "^", CONDITIONS[2], 0.12)):
        for k, cell in enumerate(shown):
            values = [1e3 * _value(each, label, "tau_s") for each in evidence["found"][cell]]
            right.plot(
                np.full(len(values), k + shift), values, linestyle="none", marker=marker, color=colour, markersize=4.0,
                label=("eigenvalue" if label == "open" else "recording") if k == 0 else None,
            )  # fmt: skip
    right.set_xticks(range(len(shown)), shown, rotation=35.0)
    right.set_ylim(bottom=0.0)
    right.set_ylabel("time constant (ms)")
    right.legend(loc="lower center", frameon=False, handlelength=1.0)


def _median(reads: list[ReadOff], loop: str, name: str) -> float:
    """Give the median over recordings, time constants in milliseconds."""
    values = [_value(each, loop, name) for each in reads]
    return float(np.median(values)) * (1e3 if name == "tau_s" else 1.0) if values else float("nan")


def _is_near(found: ReadOff, loop: str) -> bool:
    """Tell whether one fit alone is within 20 % of the time constant and 10 % of the frequency."""
    tau_s, frequency_hz = _value(found, loop, "tau_s"), _value(found, loop, "frequency_hz")
    return abs(tau_s / TAU_S - 1.0) <= 0.2 and abs(frequency_hz / FREQUENCY_HZ - 1.0) <= 0.1


def _value(found: ReadOff, loop: str, name: str) -> float:
    """Give a number of the rotation; NaN where there is none."""
    read = getattr(found, loop)
    turning = None if read is None else read.rotation
    return float("nan") if turning is None else float(turning[name])


if __name__ == "__main__":
    run_script("planted_rotation", __file__)
