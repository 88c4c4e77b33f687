"""How a gradient fares on its way through time: products of the derivatives of single steps, both ways.

Through time k steps back a gradient is multiplied by ``J_(T-1) ... J_(T-k)``; a small change of the state at 0 has
become ``J_(k-1) ... J_0`` of itself after k steps. The largest singular value of either grows at the rate of the
largest Lyapunov exponent (Oseledets): gradients explode where the dynamics are chaotic and vanish where they contract.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.system import as_system

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DIRECTIONS = ("backward", "forward")
# Rates are taken from this part of the steps on: before it the products still find their directions.
_FIRST = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class ProductOptions:
    """What is kept of products.

    Attributes
    ----------
    n_values : int
        Leading singular values.
    n_lags : int
        Numbers of steps at which they are taken, spread evenly.
    step_bound : float, optional
        Upper bound of the norm of every factor, see `step_bound`.
    loss_gradient : ndarray, shape (size,), optional
        Gradient of a loss with respect to the last state, which is followed back.

    Raises
    ------
    OptionError
        If a value is out of range.
    """

    n_values: int = 8
    n_lags: int = 50
    step_bound: float | None = None
    loss_gradient: np.ndarray | None = field(default=None, compare=False)

    def __post_init__(self):
        check_count("n_values", self.n_values)
        check_count("n_lags", self.n_lags, at_least=4)
        if self.step_bound is not None:
            check_positive("step_bound", self.step_bound)


DEFAULT = ProductOptions()


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientFlow:
    """Products of the derivatives of steps.

    Attributes
    ----------
    name : str
        Of the network.
    dt_s : float
        Time of a step.
    products : xarray.Dataset
        Natural logarithms over `lag` (steps, with the coordinate ``lag_s``) and `direction`: ``log_value`` of the
        leading singular values (`index`), NaN where rounding hides them behind the largest; ``log_norm`` of the
        Frobenius norm; ``log_bound`` of the bound and ``log_gradient`` of the norm of the loss's gradient, over `lag`,
        where they were asked for.
    rates : xarray.Dataset
        Per second, over (direction, index): ``growth`` of the singular values and ``lyapunov``, the exponents of the
        same derivatives; both from a quarter of the steps on.
    """

    name: str
    dt_s: float
    products: xr.Dataset
    rates: xr.Dataset

    @property
    def growth_per_s(self) -> float:
        """Growth of the largest singular value of backward products, per second."""
        return float(self.rates["growth"].sel(direction="backward")[0])

    @property
    def lyapunov_per_s(self) -> float:
        """Largest Lyapunov exponent of the same derivatives, per second."""
        return float(self.rates["lyapunov"].sel(direction="backward")[0])

    @property
    def discount(self) -> float:
        """Factor by which a gradient changes with each step back: what gamma is in reinforcement learning.

        Of the loss's gradient where one was given, else of the largest singular value.
        """
        if "log_gradient" not in self.products:
            return math.exp(self.growth_per_s * self.dt_s)
        followed = self.products["log_gradient"]
        late = followed.isel(lag=slice(_first(followed.sizes["lag"]), None))
        steps = float(late["lag"][-1] - late["lag"][0])
        return math.exp(float(late[-1] - late[0]) / steps)

    @property
    def horizon_s(self) -> float:
        """Time over which a gradient falls to 1/e; infinite where it does not fall, zero where it vanishes at once."""
        discount = self.discount
        if discount == 0.0:
            return 0.0
        return math.inf if discount >= 1.0 else -self.dt_s / math.log(discount)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the singular values over the number of steps, with the Lyapunov exponent's slope.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import lyapunov as figures
        from cortexrnn.report.figure_file import own_axes

        drawn = self.products.assign(lyapunov=self.rates["lyapunov"])
        return figures.plot_products(own_axes() if ax is None else ax, drawn)


def gradient_flow(
    thing: Any, *, n_steps: int, transient_s: float = 0.0, start: np.ndarray | None = None, seed: int = 0,
    options: ProductOptions = DEFAULT,
) -> GradientFlow:  # fmt: skip
    """Follow gradients along a trajectory at a constant input.

    Parameters
    ----------
    thing : System, Circuit, or an object with a method ``system``
        See `cortexrnn.theory.system.as_system`.
    n_steps : int
        Factors of the longest product, at least 8.
    transient_s : float
        Time between the start and the first step that counts.
    start : ndarray, shape (size,), optional
        Drawn by the system if not given.
    seed : int
        Of the start, and of the vectors that give the Lyapunov exponents.
    options : ProductOptions

    Returns
    -------
    GradientFlow

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If the trajectory or a derivative is not finite.

    Notes
    -----
    For a network driven by a stimulus that changes, give the derivatives of its steps to `jacobian_products`.
    """
    system = as_system(thing)
    n_steps = check_count("n_steps", n_steps, at_least=8)
    n_before = round(check_positive("transient_s", transient_s) / system.dt_s) if transient_s else 0
    state = system.check_states(start if start is not None else system.start(1, seed=seed))[:1]
    with threadpool_limits(1), np.errstate(over="ignore", invalid="ignore"):
        for _ in range(n_before):
            state = system.step(state)
        states = system.trajectory(state, n_steps)[:-1]
    if not np.isfinite(states).all():
        raise NumericalError("the trajectory left the finite numbers: there is no gradient.", where=system.name)
    return _follow(_Along(system.jacobian, states), system.dt_s, system.name, options, seed)


def jacobian_products(
    jacobians: Sequence[np.ndarray], *, dt_s: float, name: str = "", options: ProductOptions = DEFAULT, seed: int = 0
) -> GradientFlow:
    """Follow gradients through given derivatives, of a network with any input.

    Parameters
    ----------
    jacobians : sequence of ndarray, each of shape (size, size)
        Of the steps in their order, at least 8; entry (i, j) is the derivative of entry i after with respect to entry
        j before.
    dt_s : float
        Time of a step.
    name : str
        Of the network.
    options : ProductOptions
    seed : int
        Of the vectors that give the Lyapunov exponents.

    Returns
    -------
    GradientFlow

    Raises
    ------
    DataError
        If there are fewer than 8 derivatives, or one is not square.
    NumericalError
        If a derivative is not finite.
    """
    if len(jacobians) < 8 or np.ndim(jacobians[0]) != 2 or len({*np.shape(jacobians[0])}) != 1:
        raise DataError(f"{len(jacobians)} derivatives were given; expected at least 8, of the shape (size, size).")
    return _follow(jacobians, check_positive("dt_s", dt_s), name, options, seed)


def step_bound(weights: np.ndarray, *, slope: float = 1.0, move: float = 1.0) -> float:
    """Give an upper bound of the norm of the derivative of one step, ``1 - move + move slope norm(weights)``.

    Its power k bounds the norm of any product of k steps. It holds for a vanilla network (``move = 1``) and for a leaky
    one in the current or the rate form with one time constant.

    Parameters
    ----------
    weights : ndarray, shape (n_units, n_units)
        Recurrent weights.
    slope : float
        Largest slope of the activation, see ``Activation.lipschitz``.
    move : float
        Fraction of the way to its target that a unit moves in a step: ``1 - exp(-dt/tau)`` for exponential Euler,
        ``dt/tau`` for Euler.

    Returns
    -------
    float

    Raises
    ------
    OptionError
        If `slope` or `move` is not positive, or `move` exceeds 1.

    Examples
    --------
    >>> step_bound(2.0 * np.eye(3), move=0.25)
    1.25
    """
    slope, move = check_positive("slope", slope), check_positive("move", move)
    if move > 1.0:
        raise OptionError(f"move={move} is not valid; expected at most 1.")
    return 1.0 - move + move * slope * float(np.linalg.norm(weights, 2))


class _Along(Sequence):
    """Derivatives of the steps from given states, made when they are asked for: all at once would not fit."""

    def __init__(self, jacobian: Callable[[np.ndarray], np.ndarray], states: np.ndarray):
        self._jacobian, self._states = jacobian, states

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, step: int) -> np.ndarray:
        return self._jacobian(self._states[step])[0]


def _follow(
    jacobians: Sequence[np.ndarray], dt_s: float, name: str, options: ProductOptions, seed: int
) -> GradientFlow:
    """Multiply both ways."""
    n_steps, size = len(jacobians), len(jacobians[0])
    n = min(options.n_values, size)
    lags = np.unique(np.linspace(1, n_steps, min(options.n_lags, n_steps)).round().astype(int))
    # Backwards the transposes are multiplied: that leaves singular values as they are.
    orders = {
        "backward": lambda: (jacobians[t].T for t in range(n_steps - 1, -1, -1)),
        "forward": lambda: iter(jacobians),
    }
    found = []
    with threadpool_limits(1):
        for direction in DIRECTIONS:
            vectors = stream(seed, "theory", "gradient flow", direction).standard_normal((size, n))
            found.append(_products(orders[direction](), lags, vectors, name))
        log_value, log_norm, log_stretch = (np.stack(parts) for parts in zip(*found, strict=True))
        variables = {
            "log_value": (("direction", "lag", "index"), log_value),
            "log_norm": (("direction", "lag"), log_norm),
        }
        if options.step_bound is not None:
            variables["log_bound"] = ("lag", lags * math.log(options.step_bound))
        if options.loss_gradient is not None:
            gradient = np.asarray(options.loss_gradient, dtype=float)
            if gradient.shape != (size,) or not np.isfinite(gradient).all() or not gradient.any():
                raise OptionError(f"loss_gradient is not valid; expected {size} finite numbers that are not all zero.")
            variables["log_gradient"] = ("lag", _follow_vector(orders["backward"](), lags, gradient))
    index = np.arange(1, n + 1)
    first = _first(lags.size)
    window_s = (lags[-1] - lags[first]) * dt_s
    with np.errstate(invalid="ignore"):
        rates = {
            "growth": (log_value[:, -1] - log_value[:, first]) / window_s,
            "lyapunov": (log_stretch[:, -1] - log_stretch[:, first]) / window_s,
        }
    coords = {"direction": list(DIRECTIONS), "index": index}
    return GradientFlow(
        name=name,
        dt_s=dt_s,
        products=xr.Dataset(variables, coords={**coords, "lag": lags, "lag_s": ("lag", lags * dt_s)}),
        rates=xr.Dataset({key: (("direction", "index"), rate) for key, rate in rates.items()}, coords=coords),
    )


def _products(
    factors: Iterator[np.ndarray], lags: np.ndarray, vectors: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give logarithms of singular values, of the norm, and of how far vectors were stretched, at every lag."""
    size, n = vectors.shape
    product, log_scale, stretch = np.eye(size), 0.0, np.zeros(n)
    vectors = np.linalg.qr(vectors)[0]
    values, norms, stretches = np.empty((lags.size, n)), np.empty(lags.size), np.empty((lags.size, n))
    at = 0
    for lag, factor in enumerate(factors, start=1):
        if not np.isfinite(factor).all():
            raise NumericalError(f"the derivative of a step is not finite, {lag} steps along.", where=name)
        product = factor @ product
        vectors, triangle = np.linalg.qr(factor @ vectors)
        with np.errstate(divide="ignore"):
            stretch = stretch + np.log(np.abs(np.diag(triangle)))
        # Kept near 1: products of a few hundred steps leave the range of numbers.
        norm = float(np.linalg.norm(product))
        if norm > 0.0:
            product = product / norm
            log_scale += math.log(norm)
        if lag == lags[at]:
            norms[at] = log_scale if norm > 0.0 else -math.inf
            values[at] = _log_values(product, n) + log_scale
            stretches[at] = stretch
            at += 1
    return values, norms, stretches


def _log_values(product: np.ndarray, n: int) -> np.ndarray:
    """Give logarithms of the leading singular values, NaN for those that are rounding of the largest."""
    values = np.linalg.svd(product, compute_uv=False)[:n]
    if values[0] == 0.0:
        return np.full(n, -math.inf)
    is_known = values > 100.0 * len(product) * np.finfo(float).eps * values[0]
    return np.where(is_known, np.log(np.where(is_known, values, 1.0)), np.nan)


def _follow_vector(factors: Iterator[np.ndarray], lags: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Give the logarithm of the length of a vector at every lag."""
    logs, log_scale = np.empty(lags[-1]), 0.0
    for step, factor in enumerate(factors):
        length = float(np.linalg.norm(vector))
        if length > 0.0:
            vector = factor @ (vector / length)
            log_scale += math.log(length)
        length = float(np.linalg.norm(vector))
        logs[step] = log_scale + math.log(length) if length > 0.0 else -math.inf
    return logs[lags - 1]


def _first(n_lags: int) -> int:
    """Give the position of the lag from which on rates are taken."""
    return int(_FIRST * n_lags)
