"""Time constants, frequencies and fixed points of a fitted model of spike history: what it says its unit does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from cortexrnn._checks import check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.encoding.loops import Loop, ReadOff
from cortexrnn.encoding.model import Fitted, as_unit_trials
from cortexrnn.encoding.network import FittedNetwork
from cortexrnn.encoding.response_modes import added_spike, realised_modes, system_modes, system_response
from cortexrnn.encoding.rnn import FittedRNN
from cortexrnn.encoding.spike_loop import MeanOf, SpikeLoop, count_law
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.theory.fixed_points import FixedPoints, fixed_points

_MEAN_MAP = "the map of the mean, averaged over the counts of a bin"
_N_STARTS = 64
# Rates at which the closed loop may rest: from a thirtieth of the unit's to thirty times that.
_FACTORS = np.geomspace(1.0 / 30.0, 30.0, 25)
_NEWTON_STEPS, _TOLERANCE = 40, 1e-10


def read_off(
    fitted: Fitted,
    trials: UnitTrials | xr.Dataset | None = None,
    *,
    baseline_hz: float | None = None,
    rate_hz: float | None = None,
    lag_s: float = 0.5,
    likelihood: str | None = None,
) -> ReadOff:
    """Read time constants and frequencies off a fitted model of spike history.

    A network that is driven by spikes is no autonomous system. It is linearised around the fixed point of the map of
    its mean, in which the spikes of a bin are averaged over and not replaced by their mean. The traces that are its
    inputs are part of the state. Open, the unit fires at its rate whatever the network says. Closed, the spikes that
    the network expects are those that it hears: time constants and frequencies of an autocorrelation are the closed
    loop's, those of a mechanism the open one's. The rungs below are held in both.

    Parameters
    ----------
    fitted : FittedRNN, FittedNetwork or FittedHistoryGLM
    trials : xarray.Dataset of one unit, or UnitTrials, optional
        Give the rates, and the response that is measured on them.
    baseline_hz : float, optional
        Rate that the rungs below expect. If not given the geometric mean over the scored bins of `trials`, or of the
        training.
    rate_hz : float, optional
        Rate of the unit. If not given that in `trials`, or in the training.
    lag_s : float
        How long responses are followed.
    likelihood : {"poisson", "bernoulli"}, optional
        Of the spikes that are fed back. If not given that of a network's training, and Poisson for a GLM.

    Returns
    -------
    ReadOff

    Raises
    ------
    OptionError
        If the model is of another kind or hears no spikes, an argument is not valid, or a GLM's baseline is not known.
    DataError
        If trials are too short.
    NumericalError
        If the network has no fixed point.

    Warns
    -----
    NumericalWarning
        As `cortexrnn.theory.fixed_points.fixed_points` does.
    """
    if not isinstance(fitted, FittedRNN | FittedNetwork | FittedHistoryGLM):
        raise OptionError(
            f"a {type(fitted).__name__} has no modes to read off; expected a fitted network or history GLM."
        )
    data = None if trials is None else as_unit_trials(trials)
    law = likelihood or ("poisson" if isinstance(fitted, FittedHistoryGLM) else fitted.spec.likelihood)
    if law not in LIKELIHOODS:
        raise OptionError(f"likelihood={law!r} is unknown; expected one of {', '.join(LIKELIHOODS)}.")
    baseline_hz, rate_hz = _rates(fitted, data, baseline_hz, rate_hz)
    n_lags = max(4, round(check_positive("lag_s", lag_s) / fitted.bin_s))
    share = rate_hz * fitted.bin_s
    count = -np.log1p(-share) if LIKELIHOODS[law] == BERNOULLI and share < 1.0 else share
    at = _Point(baseline_hz * fitted.bin_s, count, n_lags, law)
    if isinstance(fitted, FittedHistoryGLM):
        name, points, (opened, closed, closed_hz) = "M5", None, _read_filter(fitted, at)
    else:
        name = fitted.spec.name
        points, opened, closed, closed_hz = _read_network(fitted, at)
    measured = None
    if data is not None:
        response = added_spike(fitted, data, lag_s=n_lags * fitted.bin_s)
        measured = Loop(
            label="recording", of="one more spike, averaged over the trials", rate_hz=rate_hz, expected_hz=rate_hz,
            radius=float("nan"), modes=realised_modes(response, fitted.bin_s), response=response,
        )  # fmt: skip
    return ReadOff(
        name=name, bin_s=fitted.bin_s, baseline_hz=baseline_hz, open=opened, closed=closed, measured=measured,
        points=points, closed_hz=closed_hz,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Point:
    """Where a model is read off: expected counts of a bin, lags, and the law of the counts."""

    baseline: float
    count: float
    n_lags: int
    likelihood: str


def _rates(
    fitted: Fitted, trials: UnitTrials | None, baseline_hz: float | None, rate_hz: float | None
) -> tuple[float, float]:
    """Fill in the rates that were not given, from trials or from the training."""
    is_filter, bin_s = isinstance(fitted, FittedHistoryGLM), fitted.bin_s
    if baseline_hz is None:
        if fitted.below is None:
            baseline_hz = 1.0 / bin_s
        elif trials is not None:
            baseline_hz = float(np.exp(fitted.below.log_mu(trials)[trials.scored].mean()) / bin_s)
        elif is_filter:
            raise OptionError(
                "the rate that stands below the history GLM is not known.", hint="Give trials or baseline_hz."
            )
        else:
            baseline_hz = float(np.exp(fitted.scale.mean[-1]) / bin_s)
    if rate_hz is None:
        if trials is not None:
            rate_hz = float(trials.counts[trials.scored].mean() / bin_s) if trials.scored.any() else 0.0
            if rate_hz == 0.0:
                raise DataError("there is no spike in the scored bins.", hint="Give rate_hz, or other trials.")
        else:
            rate_hz = (fitted.mean if is_filter else fitted.scale.mean_count) / bin_s
    return check_positive("baseline_hz", baseline_hz), check_positive("rate_hz", rate_hz)


def _read_filter(fitted: FittedHistoryGLM, at: _Point) -> tuple[Loop, Loop | None, tuple[float, ...]]:
    """Read a GLM off: its state is the counts of the last bins, its response its filter."""
    effect, bin_s = fitted.weights[1:] @ fitted.basis, fitted.bin_s
    level, total = float(np.log(at.baseline) + fitted.weights[0]), float(effect.sum())

    def excess(log_mu: float) -> float:
        weight = count_law(np.exp(log_mu), at.likelihood).weight
        return level + total * float(np.arange(weight.size) @ weight) - log_mu

    def read(label: str, of: str, log_mu: float, feedback: float) -> Loop:
        matrix = np.eye(effect.size, k=-1)
        matrix[0] = feedback * effect
        response = system_response(matrix, np.eye(effect.size)[0], effect, at.n_lags)
        radius = float(np.abs(np.linalg.eigvals(matrix)).max()) if feedback else 0.0
        return Loop(
            label=label, of=of, rate_hz=at.count / bin_s, expected_hz=float(np.exp(log_mu)) / bin_s, radius=radius,
            modes=realised_modes(response, bin_s), response=response,
        )  # fmt: skip

    opened = read("open loop", "the filter", excess(np.log(at.count)) + np.log(at.count), 0.0)
    grid = np.log(at.count * _FACTORS)
    found = _crossings(excess, grid)
    closed_hz = tuple(float(np.exp(x)) / bin_s for x in found)
    if not found:
        return opened, None, closed_hz
    log_mu = min(found, key=lambda x: abs(x - np.log(at.count)))
    feedback = count_law(np.exp(log_mu), at.likelihood).mean_by_log_mu
    return opened, read("closed loop", "the filter with its mean spikes fed back", log_mu, feedback), closed_hz


def _read_network(
    fitted: FittedRNN | FittedNetwork, at: _Point
) -> tuple[FixedPoints, Loop, Loop | None, tuple[float, ...]]:
    """Read a network off around the point at which it is while its unit fires at its rate."""
    opened = SpikeLoop(fitted, baseline=at.baseline, count=at.count, is_closed=False, likelihood=at.likelihood)
    traces = opened.mean_traces(at.count)
    points = fixed_points(opened.held(traces, at.count), n_starts=_N_STARTS)
    if not len(points.states):
        raise NumericalError(f"{fitted.spec.name} has no fixed point at {at.count / fitted.bin_s:g} Hz.")
    # Points come with the fewest unstable directions first, and then those that most starts led to.
    hidden = points.states[0]
    loop = _loop(opened, np.concatenate([traces, hidden]), at)
    branch: dict[float, np.ndarray] = {}

    def state(log_mu: float) -> np.ndarray | None:
        count = float(np.exp(log_mu))
        held = opened.mean_traces(count)
        near = min(branch, key=lambda x: abs(x - log_mu), default=None)
        found = _settle(opened.held(held, count), hidden if near is None else branch[near])
        if found is None:
            return None
        branch[log_mu] = found
        return np.concatenate([held, found])

    def excess(log_mu: float) -> float:
        at_rate = state(log_mu)
        return float("nan") if at_rate is None else float(opened.log_mu(at_rate[None])[0]) - log_mu

    # From the unit's rate outwards, so that every point starts from its neighbour on the branch.
    grid = np.log(at.count * _FACTORS)
    for x in sorted(grid, key=lambda x: abs(x - np.log(at.count))):
        state(x)
    rests = _crossings(excess, grid)
    closed_hz = tuple(float(np.exp(x)) / fitted.bin_s for x in rests)
    if not rests:
        return points, loop, None, closed_hz
    log_mu = min(rests, key=lambda x: abs(x - np.log(at.count)))
    closed = SpikeLoop(fitted, baseline=at.baseline, count=at.count, is_closed=True, likelihood=at.likelihood)
    return points, loop, _loop(closed, state(log_mu), at), closed_hz


def _loop(system: SpikeLoop, state: np.ndarray, at: _Point) -> Loop:
    """Linearise a loop around a state."""
    parts = system.jacobian(state[None])[0], system.kick(state), system.read_out(state)
    bin_s, expected = system.dt_s, float(np.exp(system.log_mu(state[None])[0]))
    return Loop(
        label="closed loop" if system.is_closed else "open loop",
        of=_MEAN_MAP,
        rate_hz=(expected if system.is_closed else at.count) / bin_s,
        expected_hz=expected / bin_s,
        radius=float(np.abs(np.linalg.eigvals(parts[0])).max()),
        modes=system_modes(*parts, bin_s),
        response=system_response(*parts, at.n_lags),
    )


def _settle(system: MeanOf, start: np.ndarray) -> np.ndarray | None:
    """Follow a fixed point by Newton's method from one that is near; None where it does not converge."""
    x, eye = start[None], np.eye(system.size)
    for _ in range(_NEWTON_STEPS):
        away = (system.step(x) - x)[0]
        try:
            move = np.linalg.solve(eye - system.jacobian(x)[0], away)
        except np.linalg.LinAlgError:
            return None
        x = x + move
        if not np.isfinite(x).all():
            return None
        if np.abs(move).max() <= _TOLERANCE * (1.0 + np.abs(x).max()):
            return x[0]
    return None


def _crossings(excess: Callable[[float], float], grid: np.ndarray) -> list[float]:
    """Give the places at which a function is zero or, between grid points, changes its sign."""
    sign = np.sign([excess(x) for x in grid])
    # A product with NaN, where there is no point, is no change of sign.
    changes = np.flatnonzero(sign[:-1] * sign[1:] < 0.0)
    between = [brentq(excess, grid[k], grid[k + 1], xtol=1e-12) for k in changes]
    return sorted([*grid[sign == 0.0], *between])
