"""Lyapunov exponents: how fast small differences grow, what dimension the attractor has, how much it forgets.

Vectors are carried along a trajectory and made orthonormal again every few steps; the mean logarithm of what each had
grown by is its exponent (Benettin, Galgani, Giorgilli and Strelcyn 1980, doi:10.1007/BF02128236). The exponents are
those of the map of one step: they approach those of the flow as the step gets shorter.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import NumericalError, NumericalWarning, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.lyapunov_spectrum import ZERO_STEP, LyapunovSpectrum, SumRule
from cortexrnn.theory.system import System, as_system
from cortexrnn.theory.tangent import OBLIQUE, make_carrier, orthonormalise, random_vectors

# Orthonormalisation every so many steps costs a tenth of the products; a longer interval gains little.
_LONGEST = 16
# Blocks of which the convergence error is made, and points of the running estimate within each at most.
_N_BLOCKS, _N_POINTS = 10, 20
# Error of the interval that is asked for, in units of a tenth of the inverse step: steps are about a tenth of tau.
_INTERVAL_ERROR, _SUM_ERROR = 1e-10, 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class LyapunovOptions:
    """How exponents are computed.

    Attributes
    ----------
    interval : int, optional
        Steps between orthonormalisations; chosen if not given, as many as leave the exponents the same to 1e-10 (of
        a tenth of the inverse step).
    start : ndarray, shape (size,), optional
        State before the transient; drawn by the system if not given.
    tau_s : float, optional
        Time constant in seconds, for exponents per tau.
    n_checked : int
        Steps at which the sum rule is tested, where all exponents are computed; 0 for none.

    Raises
    ------
    OptionError
        If a value is out of range.
    """

    interval: int | None = None
    start: np.ndarray | None = field(default=None, compare=False)
    tau_s: float | None = None
    n_checked: int = 16

    def __post_init__(self):
        if self.interval is not None:
            check_count("interval", self.interval)
        if self.tau_s is not None:
            check_positive("tau_s", self.tau_s)
        check_count("n_checked", self.n_checked, at_least=0)


DEFAULT = LyapunovOptions()


def lyapunov(
    thing: Any, *, duration_s: float, transient_s: float | None = None, n: int | None = None, seed: int = 0,
    options: LyapunovOptions = DEFAULT,
) -> LyapunovSpectrum:  # fmt: skip
    """Compute all or the leading Lyapunov exponents along one trajectory.

    Parameters
    ----------
    thing : System, Circuit, or an object with a method ``system``
        See `cortexrnn.theory.system.as_system`; a circuit gets a step of a tenth of its shortest time constant.
    duration_s : float
        Time over which is averaged, at least ten steps.
    transient_s : float, optional
        Time before that; in its second half the vectors come along, so that they have found their directions. A
        quarter of the duration if not given.
    n : int, optional
        Number of leading exponents; all if not given. The Kaplan-Yorke dimension needs one more than itself.
    seed : int
        Of the start and of the vectors.
    options : LyapunovOptions

    Returns
    -------
    LyapunovSpectrum

    Raises
    ------
    OptionError
        If an argument is not valid or the thing is no system.
    NumericalError
        If the trajectory or a vector leaves the finite numbers.
    """
    system = as_system(thing)
    n = system.size if n is None else check_count("n", n)
    if n > system.size:
        raise OptionError(f"n={n} is more than the {system.size} exponents that there are.", where=system.name)
    n_steps = round(check_positive("duration_s", duration_s) / system.dt_s)
    if n_steps < _N_BLOCKS:
        raise OptionError(
            f"duration_s={duration_s} is {n_steps} steps of {system.dt_s} s; expected at least {_N_BLOCKS} steps."
        )
    before_s = 0.25 * duration_s if transient_s is None else transient_s
    n_before = round(check_positive("transient_s", before_s) / system.dt_s) if before_s else 0
    # One thread: the same sums in the same order everywhere, on which a chaotic trajectory depends.
    with threadpool_limits(1), np.errstate(over="ignore", invalid="ignore"):
        run = _Run(system, n, seed, options)
        run.skip(n_before // 2)
        run.carry(n_before - n_before // 2)
        edges, growth, sums = run.measure(n_steps)
    return _summarise(run, (edges, growth), sums)


class _Run:
    """A state and the vectors at it."""

    def __init__(self, system: System, n: int, seed: int, options: LyapunovOptions):
        self.system, self.options = system, options
        start = options.start if options.start is not None else system.start(1, seed=seed)
        self._state = system.check_states(start)[:1]
        self._vectors = random_vectors(system, n, stream(seed, "theory", "lyapunov"))
        self._carry = make_carrier(system, n)
        self._adapts = options.interval is None
        self.interval = options.interval or 1
        # Error of a logarithm of growth, in units of how oblique vectors are: rounding turns each a little.
        self._rounding = np.finfo(float).eps * math.sqrt(n)
        self._n_done, self.error = 0, 0.0

    def skip(self, n_steps: int) -> None:
        """Let the state go on alone."""
        for _ in range(n_steps):
            self._state = self.system.step(self._state)
        self._n_done += n_steps
        self._check_finite()

    def carry(self, n_steps: int) -> None:
        """Let the vectors find their directions, with intervals as long as they stay far from parallel."""
        end = self._n_done + n_steps
        while self._n_done < end:
            n_taken = min(self.interval, end - self._n_done)
            obliqueness = self._advance(n_taken)[1]
            # It grows exponentially: over twice as many steps to its square.
            if self._adapts and n_taken == self.interval and obliqueness**2 < self._most(2 * self.interval):
                self.interval = min(2 * self.interval, _LONGEST)
            self._shorten(obliqueness)

    def measure(self, n_steps: int) -> tuple[np.ndarray, np.ndarray, tuple[int, np.ndarray]]:
        """Go on; give the edges of pieces in steps, how vectors grew in each, and what the sum rule is made of."""
        # Pieces are whole intervals, so that none is cut short.
        whole = max(min(self.interval, n_steps // _N_BLOCKS), 1)
        n_pieces = _N_BLOCKS * int(np.clip(n_steps // (_N_BLOCKS * whole), 1, _N_POINTS))
        edges = whole * np.linspace(0, n_steps // whole, n_pieces + 1).round().astype(int)
        edges[-1] = n_steps
        growth = np.zeros((n_pieces, self._vectors.shape[1]))
        is_full = growth.shape[1] == self.system.size
        n_checked, sums, t, worst = 0, np.zeros(3), 0, 0.0
        for piece, end in enumerate(edges[1:]):
            while t < end:
                n_taken = min(self.interval, int(end) - t)
                # Spread evenly over the run.
                is_checked = is_full and n_checked * n_steps < self.options.n_checked * (t + n_taken)
                grown, obliqueness, volume = self._advance(n_taken, is_checked=is_checked)
                growth[piece] += grown
                t += n_taken
                if n_taken > 1:
                    self.error += self._rounding * obliqueness
                if obliqueness <= OBLIQUE:
                    worst = max(worst, obliqueness)
                if is_checked:
                    n_checked += n_taken
                    sums += [grown.sum(), *volume]
                self._shorten(obliqueness)
        # What one pass of Cholesky QR gets wrong, the next takes back: it is left at both ends only.
        self.error += 2.0 * np.finfo(float).eps * worst**2
        return edges, growth, (n_checked, sums)

    def _advance(self, n_steps: int, *, is_checked: bool = False) -> tuple[np.ndarray, float, np.ndarray]:
        """Push through steps and orthonormalise; give growth, obliqueness, and sums of log det and trace."""
        volume = np.zeros(2)
        for _ in range(n_steps if is_checked else 1):
            if is_checked:
                volume += self._volume()
            n_taken = 1 if is_checked else n_steps
            self._state, self._vectors = self._carry(self._state, self._vectors, n_taken)
        self._n_done += n_steps
        self._vectors, growth, obliqueness = orthonormalise(self._vectors)
        self._check_finite()
        if np.isnan(growth).any():
            raise NumericalError(
                f"vectors left the finite numbers within {self.interval} steps.", where=self.system.name,
                hint="Take a shorter dt_s or a smaller interval.",
            )  # fmt: skip
        return growth, obliqueness, volume

    def _shorten(self, obliqueness: float) -> None:
        """Halve the interval where vectors came too close to each other."""
        if self._adapts and obliqueness > self._most(self.interval):
            self.interval = max(self.interval // 2, 1)

    def _most(self, interval: int) -> float:
        """Give how oblique vectors may become over an interval."""
        return min(OBLIQUE, _INTERVAL_ERROR * 0.1 * interval / self._rounding)

    def _volume(self) -> np.ndarray:
        """Give log(abs(det J)) of the next step, and the trace of the flow's derivative times the step."""
        log_det = np.linalg.slogdet(self.system.jacobian(self._state)[0])[1]
        if not self.system.is_flow:
            return np.array([log_det, np.nan])
        return np.array([log_det, np.trace(self.system.velocity_jacobian(self._state)[0]) * self.system.dt_s])

    def _check_finite(self) -> None:
        """Raise where the state diverged."""
        if not np.isfinite(self._state).all():
            raise NumericalError(
                f"the trajectory left the finite numbers before step {self._n_done}: it has no exponents.",
                where=self.system.name, hint="Start nearer to where it stays bounded, or take a shorter dt_s.",
            )  # fmt: skip


def _summarise(run: _Run, pieces: tuple[np.ndarray, np.ndarray], sums: tuple[int, np.ndarray]) -> LyapunovSpectrum:
    """Put the means of a run together."""
    (edges, growth), (n_checked, totals), system = pieces, sums, run.system
    dt_s, n_steps = system.dt_s, int(edges[-1])
    reached = np.cumsum(growth, axis=0)
    order = np.argsort(-reached[-1], kind="stable")
    running = reached[:, order] / (edges[1:, None] * dt_s)
    every = len(growth) // _N_BLOCKS
    ends = reached[every - 1 :: every, order]
    with np.errstate(invalid="ignore"):
        in_blocks = np.diff(ends, axis=0, prepend=0.0) / (np.diff(edges[::every])[:, None] * dt_s)
        errors = in_blocks.std(axis=0, ddof=1) / math.sqrt(_N_BLOCKS)
    rule = SumRule(n_checked, *(float(total) / (n_checked * dt_s) for total in totals)) if n_checked else None
    if rule is not None and not rule.residual <= _SUM_ERROR and abs(rule.volume - rule.exponents) * dt_s > ZERO_STEP:
        warnings.warn(
            f"{system.name}: the exponents sum up to {rule.exponents:.8g} per s, the logarithms of determinants to "
            f"{rule.volume:.8g}: a step is too close to singular for all exponents to be known.",
            NumericalWarning, stacklevel=3,
        )  # fmt: skip
    return LyapunovSpectrum(
        name=system.name,
        dt_s=dt_s,
        tau_s=run.options.tau_s,
        size=system.size,
        n_steps=n_steps,
        interval=run.interval,
        interval_error_per_s=run.error / (n_steps * dt_s),
        exponents_per_s=running[-1],
        errors_per_s=errors,
        running=xr.Dataset(
            {"exponent": (("time", "index"), running)},
            coords={
                "time": ("time", edges[1:] * dt_s, {"units": "s", "long_name": "time averaged over"}),
                "index": np.arange(1, order.size + 1),
            },
        ),
        sum_rule=rule,
    )
