"""What a mean-field theory says of a circuit, laid over what the circuit does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit.build import build_inputs, loadings
from cortexrnn.circuit.spec import Circuit
from cortexrnn.circuit.spectrum import predict_spectrum
from cortexrnn.theory.lyapunov_spectrum import LyapunovSpectrum
from cortexrnn.theory.mean_field.dmft import FORMS, LARGEST_GAIN, NEAREST_GAIN, dmft
from cortexrnn.theory.mean_field.pair import EIPair, pair_states
from cortexrnn.theory.mean_field.rank_one import LARGEST_OVERLAP, rank_one
from cortexrnn.theory.system import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Share of a trajectory that is not looked at, and how often it is looked at in a time constant.
_SETTLING, _PER_TAU = 0.25, 5
# Dots of an autocovariance.
_N_DOTS = 40


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prediction:
    """A theory's numbers beside the circuit's.

    Attributes
    ----------
    theory : str
        Which one, with its parameters.
    table : pandas.DataFrame
        Over `quantity`: ``predicted`` and ``measured``.
    solution : object
        What the theory gives, with a method ``plot``.
    dots : ndarray, shape (n, 2)
        What was measured, in the axes of that plot.
    """

    theory: str
    table: pd.DataFrame
    solution: Any
    dots: np.ndarray

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the theory, and over it what was measured as rings.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.mean_field import plot_over

        return plot_over(self.solution.plot(ax), self.dots)


def predict(
    circuit: Circuit, system: System, spectrum: LyapunovSpectrum, points: np.ndarray, *,
    inputs: Mapping[str, float] | None = None, seed: int = 0,
) -> Prediction | None:  # fmt: skip
    """Find the theory that a circuit is a case of, and hold what was found in the circuit against it.

    There are three: dynamic mean-field theory for independent weights of mean zero and tanh units; the same with one
    low-rank term, Mastrogiuseppe and Ostojic (2018); and all steady states of one excitatory and one inhibitory unit.

    Parameters
    ----------
    circuit : Circuit
    system : System
        Of the circuit; its trajectory is as long as the exponents' was.
    spectrum : LyapunovSpectrum
        Leading exponents.
    points : ndarray, shape (n_points, size)
        Fixed points that were found.
    inputs : mapping of str to float, optional
        Levels at which the inputs are held.
    seed : int
        Of the trajectory's start.

    Returns
    -------
    Prediction or None
        None where the circuit is none of these cases.
    """
    levels = {name: float(value) for name, value in (inputs or {}).items() if value}
    theory = _theory_of(circuit, levels)
    return theory(circuit, system, spectrum, points, levels, seed) if theory else None


def _theory_of(circuit: Circuit, levels: Mapping[str, float]) -> Callable | None:
    """Give the function that predicts a circuit."""
    if _is_pair(circuit):
        return _predict_pair
    if not _is_random(circuit) or levels:
        return None
    radius = predict_spectrum(circuit).radius if circuit.projections else 0.0
    if 1.0 < radius < NEAREST_GAIN or radius > LARGEST_GAIN:
        return None
    terms = circuit.low_rank_terms
    if not terms:
        return _predict_random if radius else None
    has_unit_variance = len(terms) == 1 and terms[0].m_variance == 1.0 and circuit.form == "current"
    return _predict_rank_one if has_unit_variance and abs(terms[0].overlap) <= LARGEST_OVERLAP else None


def _is_pair(circuit: Circuit) -> bool:
    """Tell whether `EIPair` reads the circuit."""
    return circuit.form == "rate" and circuit.signs.tolist() == [1, -1] and not circuit.plasticity


def _is_random(circuit: Circuit) -> bool:
    """Tell whether weights have mean zero and all units are alike: tanh, one time constant, no bias."""
    are_alike = all(population.activation == Activation(kind="tanh") for population in circuit.populations)
    return (
        are_alike
        and circuit.form in FORMS
        and np.ptp(circuit.tau_s) == 0.0
        and not np.any(circuit.bias)
        and not circuit.plasticity
        and all(not p.is_given and p.weights.mean == 0.0 for p in circuit.projections)
    )


def _predict_random(circuit, system, spectrum, _points, _levels, seed) -> Prediction:
    """Hold dynamic mean-field theory against autocovariance and largest exponent."""
    solution = dmft(predict_spectrum(circuit).radius, form=circuit.form)
    tau_s = float(circuit.tau_s[0])
    rates, every_s = _settled_rates(system, spectrum.n_steps * system.dt_s, tau_s, seed)
    lags, covariance = _autocovariance(rates, every_s / tau_s)
    is_less = covariance < 0.5 * covariance[0]
    half = float(lags[np.argmax(is_less)]) if covariance[0] > 0.0 and is_less.any() else np.nan
    last = float(solution.autocovariance["lag"].max())
    shown = np.flatnonzero(lags <= last)[:: max(1, round(last / every_s * tau_s / _N_DOTS))]
    return Prediction(
        theory=f"dynamic mean field, g = {solution.gain:.4g}",
        table=_table(
            ("standard deviation of the rates", np.sqrt(solution.rate_variance), np.sqrt(covariance[0])),
            ("lag at which half of their autocovariance is left (tau)", solution.rate_half_lag, half),
            ("largest exponent (1/tau)", solution.exponent, tau_s * float(spectrum.exponents_per_s[0])),
        ),
        solution=solution,
        dots=np.stack([lags[shown], covariance[shown]], axis=1),
    )


def _predict_rank_one(circuit, system, spectrum, _points, _levels, seed) -> Prediction:
    """Hold the theory of a rank-one network against its activity along m."""
    m, n = loadings(circuit, circuit.low_rank_terms[0], 0)
    overlap = float(np.mean(m * n))
    radius = predict_spectrum(circuit).radius if circuit.projections else 0.0
    solution = rank_one(min(overlap, LARGEST_OVERLAP), gain=radius)
    rates, _ = _settled_rates(system, spectrum.n_steps * system.dt_s, float(circuit.tau_s[0]), seed)
    kappa = abs(float(np.mean(rates @ n) / n.size))
    return Prediction(
        theory=f"rank one, overlap of the drawn loadings {overlap:.4g}, g = {radius:.4g}: {solution.phase}",
        table=_table(
            ("activity along m, kappa", solution.kappa, kappa),
            ("mean square of the rates", solution.rate_variance, np.mean(rates**2)),
        ),
        solution=solution,
        dots=np.array([[overlap, kappa]]),
    )


def _predict_pair(circuit, system, _spectrum, points, levels, _seed) -> Prediction:
    """Hold all steady states of a pair against the fixed points that were found."""
    drive = build_inputs(circuit) @ np.array([levels.get(name, 0.0) for name in circuit.channels])
    solution = pair_states(EIPair.of_circuit(circuit), drive if circuit.channels else 0.0)
    found = system.rates(points) if len(points) else np.full((1, 2), np.nan)
    rows = []
    for number, state in enumerate(solution.states["rate"].values):
        nearest = found[np.argmin(np.sum((found - state) ** 2, axis=1))] if len(points) else found[0]
        is_held = bool(solution.states["is_inhibition_stabilised"][number])
        words = f"state {number}{', inhibition-stabilised' if is_held else ''}: "
        rows += [(words + name, *pair) for name, pair in zip("EI", zip(state, nearest, strict=True), strict=True)]
    rows.append(("number of steady states", len(solution.states["rate"]), len(points)))
    return Prediction(theory="steady states of the pair", table=_table(*rows), solution=solution, dots=found)


def _settled_rates(system: System, duration_s: float, tau_s: float, seed: int) -> tuple[np.ndarray, float]:
    """Follow a trajectory and give its rates after a while, (n_times, n_units), and the time between two."""
    every = max(1, round(tau_s / _PER_TAU / system.dt_s))
    state, kept = system.start(1, seed=seed), []
    n_steps = round(duration_s / system.dt_s)
    for step in range(n_steps):
        state = system.step(state)
        if step >= _SETTLING * n_steps and step % every == 0:
            kept.append(system.rates(state)[0])
    return np.array(kept), every * system.dt_s


def _autocovariance(rates: np.ndarray, every_tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Average the autocovariance of rates of mean zero over units, over the first third of the lags."""
    # Padded with as many zeros, the circular correlation of the transform is that of the record.
    power = np.abs(np.fft.rfft(rates, 2 * len(rates), axis=0)) ** 2
    lags = np.arange(max(len(rates) // 3, 1))
    return every_tau * lags, np.fft.irfft(power.mean(axis=1))[: lags.size] / (len(rates) - lags)


def _table(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """Lay rows out with the quantity as the index."""
    return pd.DataFrame(rows, columns=["quantity", "predicted", "measured"]).set_index("quantity").astype(float)
