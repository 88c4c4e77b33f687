"""Roots of ``step(x) - x`` from many starts: Newton's method, and Levenberg and Marquardt's where it gets stuck.

Gradient descent on ``q = 1/2 |step(x) - x|^2`` leads most starts in a random network into minima of q that are no
roots, and starting with it takes Newton's method there too. So Newton's steps come first, cut until q falls, and what
they cannot solve goes to Levenberg-Marquardt, whose first steps, heavily damped, are those of gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
from threadpoolctl import threadpool_limits

from cortexrnn.runs.executor import default_workers
from cortexrnn.theory.system import System

POINT, SINGULAR, SLOW, UNFINISHED, DIVERGED = OUTCOMES = ("point", "singular", "slow", "unfinished", "diverged")

_MAX_NEWTON, _MAX_DAMPED, _MAX_POLISH = 40, 200, 8
# Halvings of a step before it is given up; each needs one more step of the system, which costs little.
_MAX_HALVINGS = 8
# Newton's steps are solved in float32 until they are this small relative to the state, then in float64.
_COARSE = 1e-6
# Longest step, relative to the state, whose direction is more than round-off.
_LONGEST = 1e3
# Share of the residual that a whole step must take away.
_DECREASE = 0.1
# Residual, relative to the state, that is a root in float64 whatever the Jacobian is there.
_ROUND_OFF = 2e-14
# At a minimum of q the gradient is this small beside its bound |J| |F|, or a window of steps takes less than this part.
_FLAT, _STILL, _WINDOW = 1e-6, 1e-4, 5
# States that have gone this far beyond the starts have left.
_FAR = 1e6
# Damping at first, down to where float32 solves the damped equations, and the least, relative to the mean square of
# the Jacobian's columns.
_FIRST_DAMPING, _ROUGH_DAMPING, _LEAST_DAMPING = 3e-2, 1e-6, 1e-12
# Entries of all Jacobians of a chunk of starts: they stay in the cache.
_CHUNK_ENTRIES, _MAX_CHUNK = 2**19, 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Roots:
    """Where every start went.

    Attributes
    ----------
    states : ndarray, shape (n_starts, size)
    outcome : ndarray of str, shape (n_starts,)
        "point": a root. "singular": a root where the Jacobian is singular, as on a line of roots or where two merge.
        "slow": a minimum of q that is no root. "unfinished": none of these within the allowed iterations. "diverged":
        left the finite numbers or went far away.
    residual : ndarray, shape (n_starts,)
        Largest entry of ``step(x) - x``.
    correction : ndarray, shape (n_starts,)
        Largest entry of Newton's last step: an estimate of the distance to the root. NaN for what is no root.
    n_iterations : ndarray of int, shape (n_starts,)
        Jacobians taken.
    """

    states: np.ndarray
    outcome: np.ndarray
    residual: np.ndarray
    correction: np.ndarray
    n_iterations: np.ndarray


def search_roots(system: System, starts: np.ndarray, *, tolerance: float) -> Roots:
    """Look for a root of ``step(x) - x`` from every start: `newton_roots`, then `damped_roots` for what got stuck.

    Parameters
    ----------
    system : System
    starts : ndarray, shape (n_starts, size)
    tolerance : float
        A root is a state whose residual and whose last Newton step are at most this, relative to 1 + max|x|.

    Returns
    -------
    Roots
    """
    first = newton_roots(system, starts, tolerance=tolerance)
    stuck = first.outcome == UNFINISHED
    if not stuck.any():
        return first
    second = damped_roots(system, first.states[stuck], tolerance=tolerance)
    parts = {}
    for field in fields(Roots):
        parts[field.name] = getattr(first, field.name).copy()
        parts[field.name][stuck] = getattr(second, field.name)
    parts["n_iterations"][stuck] += first.n_iterations[stuck]
    return Roots(**parts)


def newton_roots(system: System, starts: np.ndarray, *, tolerance: float) -> Roots:
    """Take Newton's steps, cut until q falls, from every start; the outcome is "point", "unfinished" or "diverged".

    Parameters
    ----------
    system, starts, tolerance
        As for `search_roots`.

    Returns
    -------
    Roots
    """
    return _in_chunks(system, starts, tolerance, _Search.newton)


def damped_roots(system: System, starts: np.ndarray, *, tolerance: float) -> Roots:
    """Go down in q by Levenberg and Marquardt's steps from every start, to a root or to a minimum that is none.

    Parameters
    ----------
    system, starts, tolerance
        As for `search_roots`.

    Returns
    -------
    Roots
    """
    return _in_chunks(system, starts, tolerance, _Search.damped)


def _in_chunks(system: System, starts: np.ndarray, tolerance: float, method: Callable[[_Search], None]) -> Roots:
    """Search chunk by chunk; chunks have a fixed size, so that the number of threads changes no bit."""
    n_chunk = int(np.clip(_CHUNK_ENTRIES // system.size**2, 1, _MAX_CHUNK))
    chunks = [starts[first : first + n_chunk] for first in range(0, len(starts), n_chunk)]

    def work(chunk: np.ndarray) -> _Search:
        # States that overflow on their way are an outcome with a name.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            search = _Search(system, chunk, tolerance)
            method(search)
            search.name_the_lost()
        return search

    with threadpool_limits(1), ThreadPoolExecutor(min(default_workers(), len(chunks))) as pool:
        done = list(pool.map(work, chunks))
    return Roots(
        states=np.concatenate([each.x for each in done]),
        outcome=np.concatenate([each.outcome for each in done]),
        residual=np.concatenate([np.abs(each.f).max(axis=1) for each in done]),
        correction=np.concatenate([each.correction for each in done]),
        n_iterations=np.concatenate([each.n_iterations for each in done]),
    )


def solve_each(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Solve one linear system each; those that are exactly singular get the shortest least-squares solution.

    Parameters
    ----------
    matrices : ndarray, shape (n, size, size)
    vectors : ndarray, shape (n, size)

    Returns
    -------
    ndarray, shape (n, size)
        In float64; NaN where a matrix is not finite.
    """
    try:
        return np.linalg.solve(matrices, vectors[:, :, None])[:, :, 0].astype(float)
    except np.linalg.LinAlgError:
        found = np.full(vectors.shape, np.nan)
        for k in np.flatnonzero(np.isfinite(matrices).all(axis=(1, 2)) & np.isfinite(vectors).all(axis=1)):
            found[k] = np.linalg.lstsq(matrices[k], vectors[k], rcond=None)[0]
        return found


class _Search:
    """The search from one chunk of starts."""

    def __init__(self, system: System, starts: np.ndarray, tolerance: float):
        n = len(starts)
        self._system, self._tolerance = system, tolerance
        self.x = starts.astype(float)
        self.f, self.q = self._residuals(self.x)
        self.outcome = np.full(n, UNFINISHED, dtype="<U10")
        self.correction = np.full(n, np.nan)
        self.n_iterations = np.zeros(n, int)
        self._far = _FAR * _size(self.x)

    def newton(self) -> None:
        """Take Newton's steps until they are small, then polish; what gets stuck on the way stays unfinished."""
        active = np.flatnonzero(np.isfinite(self.q))
        for _ in range(_MAX_NEWTON):
            if not active.size:
                return
            d = solve_each(self._derivative(active, np.float32), -self.f[active].astype(np.float32))
            step = np.abs(d).max(axis=1) / _size(self.x[active])
            # A step this long is that of a matrix which is as good as singular, and its direction is round-off.
            can_move = step < _LONGEST
            has_moved = np.zeros(active.size, bool)
            has_moved[can_move] = self._cut(active[can_move], d[can_move])
            is_small = has_moved & (step < _COARSE)
            self._polish(active[is_small | ~has_moved & (step < _COARSE)])
            active = active[has_moved & ~is_small]

    def damped(self) -> None:
        """Go down in q to a root or to a minimum, and tell which it is."""
        self._descend()
        self._polish(np.flatnonzero(np.isfinite(self.q)))
        is_root = np.abs(self.f).max(axis=1) <= _ROUND_OFF * _size(self.x)
        self.outcome[(self.outcome != POINT) & is_root] = SINGULAR

    def name_the_lost(self) -> None:
        """Name what left the finite numbers or went far away."""
        is_here = np.isfinite(self.q) & (_size(self.x) <= self._far)
        self.outcome[(self.outcome != POINT) & ~is_here] = DIVERGED

    def _descend(self) -> None:
        """Take damped steps until each start has come to a minimum of q."""
        active = np.flatnonzero(np.isfinite(self.q))
        # Relative to the mean square of the Jacobian's columns.
        damping, was_refused = np.full(len(self.x), _FIRST_DAMPING), np.zeros(len(self.x), bool)
        before = self.q.copy()
        for n in range(1, _MAX_DAMPED + 1):
            if not active.size:
                return
            is_rough = damping[active] > _ROUGH_DAMPING
            for some, kind in ((active[is_rough], np.float32), (active[~is_rough], np.float64)):
                if some.size:
                    gain, is_flat = self._damped_step(some, damping[some], kind)
                    # Where a smaller damping has just been refused it is not tried again at once.
                    less = np.where(was_refused[some], 1.0, 0.2)
                    factor = np.select([gain > 0.75, gain > 0.25, gain > 0.0], [less, 1.0, 2.0], default=5.0)
                    damping[some] = np.maximum(damping[some] * factor, _LEAST_DAMPING)
                    was_refused[some] = gain <= 0.0
                    self.outcome[some[is_flat]] = SLOW
            if n % _WINDOW == 0:
                self.outcome[active[self.q[active] >= (1.0 - _STILL) * before[active]]] = SLOW
                before[active] = self.q[active]
            is_root = np.abs(self.f[active]).max(axis=1) <= _ROUND_OFF * _size(self.x[active])
            has_left = _size(self.x[active]) > self._far[active]
            active = active[(self.outcome[active] == UNFINISHED) & ~is_root & ~has_left]

    def _damped_step(self, some: np.ndarray, damping: np.ndarray, kind: type) -> tuple[np.ndarray, np.ndarray]:
        """Try one damped step each; tell what share of the promised descent it brought, and where q is flat."""
        jacobian = self._derivative(some, kind)
        f = self.f[some].astype(kind, copy=False)
        gradient = np.matmul(f[:, None, :], jacobian)[:, 0]
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian
        diagonal = np.einsum("kii->ki", normal)
        # The trace is |J|_F^2.
        trace = diagonal.sum(axis=1)
        is_flat = np.linalg.norm(gradient, axis=1) <= _FLAT * np.sqrt(2.0 * trace * self.q[some])
        added = damping * trace / self._system.size
        diagonal += added[:, None].astype(kind)
        d = solve_each(normal, -gradient)
        promised = 0.5 * np.einsum("ki,ki->k", d, added[:, None] * d - gradient)
        x = self.x[some] + d
        f, q = self._residuals(x)
        is_down = q < self.q[some]
        gain = np.where(is_down, (self.q[some] - q) / np.maximum(promised, np.finfo(float).tiny), 0.0)
        k = some[is_down]
        self.x[k], self.f[k], self.q[k] = x[is_down], f[is_down], q[is_down]
        return gain, is_flat

    def _polish(self, some: np.ndarray) -> None:
        """Take whole steps in float64, and keep where they lead only if it is a root."""
        x, f, before = self.x[some].copy(), self.f[some].copy(), self.q[some].copy()
        left = np.arange(some.size)
        for _ in range(_MAX_POLISH):
            if not left.size:
                return
            self.n_iterations[some[left]] += 1
            d = solve_each(self._minus_one(x[left]), -f[left])
            x[left] += d
            f[left], q = self._residuals(x[left])
            correction, scale = np.abs(d).max(axis=1), self._tolerance * _size(x[left])
            is_root = (correction <= scale) & (np.abs(f[left]).max(axis=1) <= scale)
            k = some[left[is_root]]
            self.x[k], self.f[k], self.q[k] = x[left[is_root]], f[left[is_root]], q[is_root]
            self.correction[k], self.outcome[k] = correction[is_root], POINT
            # Near a root whole steps only lead down.
            is_down = q <= before[left]
            before[left] = q
            left = left[~is_root & is_down]

    def _cut(self, some: np.ndarray, d: np.ndarray) -> np.ndarray:
        """Take steps, halved until each takes away its share of q; tell which could be taken."""
        length = np.ones(some.size)
        left = np.arange(some.size)
        for _ in range(_MAX_HALVINGS):
            x = self.x[some[left]] + length[left, None] * d[left]
            f, q = self._residuals(x)
            is_down = q <= (1.0 - _DECREASE * length[left]) ** 2 * self.q[some[left]]
            k = some[left[is_down]]
            self.x[k], self.f[k], self.q[k] = x[is_down], f[is_down], q[is_down]
            left = left[~is_down]
            if not left.size:
                break
            length[left] *= 0.5
        return ~np.isin(np.arange(some.size), left)

    def _derivative(self, some: np.ndarray, kind: type) -> np.ndarray:
        """Give the Jacobians of the residual of some starts, and count them."""
        self.n_iterations[some] += 1
        return self._minus_one(self.x[some]).astype(kind, copy=False)

    def _minus_one(self, x: np.ndarray) -> np.ndarray:
        """Give the Jacobians of the residual."""
        jacobian = np.array(self._system.jacobian(x))
        np.einsum("kii->ki", jacobian)[...] -= 1.0
        return jacobian

    def _residuals(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give residuals and q."""
        f = self._system.step(x) - x
        return f, 0.5 * np.einsum("ki,ki->k", f, f)


def _size(x: np.ndarray) -> np.ndarray:
    """Give the scale that tolerances of a state are relative to."""
    return 1.0 + np.abs(x).max(axis=1)
