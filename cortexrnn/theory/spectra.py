"""Non-normal matrices: how far from normal, hidden feed-forward weights, and how much they amplify before they decay.

Everything is about ``dx/dt = A x``. Of a rate circuit A is the flow's derivative at a state, ``(-I + W phi') / tau``;
of a map it is ``(J - I) / dt``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg
import scipy.optimize
import xarray as xr

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, OptionError
from cortexrnn.theory.system import as_system

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Times at which a transient is looked at before its peak is refined, and how many of the slowest time constants.
_N_TIMES, _N_DECAYS = 200, 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NonNormality:
    """How far a matrix is from normal.

    Attributes
    ----------
    henrici : float
        Departure from normality, ``sqrt(|A|_F^2 - sum |lambda|^2)``: the norm of all feed-forward weights together
        (Henrici 1962, doi:10.1007/BF01386294).
    relative_henrici : float
        The same over ``|A|_F``: 0 for a normal matrix, 1 for a nilpotent one.
    spectral_abscissa : float
        Largest real part of an eigenvalue: growth in the end.
    numerical_abscissa : float
        Largest eigenvalue of ``(A + A^T) / 2``: growth at first, of the input for which it is fastest.
    """

    henrici: float
    relative_henrici: float
    spectral_abscissa: float
    numerical_abscissa: float

    @property
    def is_amplifying(self) -> bool:
        """Whether some input grows at first although all decay in the end."""
        return self.spectral_abscissa < 0.0 < self.numerical_abscissa


@dataclass(frozen=True, kw_only=True, slots=True)
class Transient:
    """The largest response of a decaying linear system to a start of unit length.

    Attributes
    ----------
    gain : float
        Largest norm of ``exp(A t)`` over all times; 1 if nothing grows.
    peak_s : float
        When, in seconds.
    start, response : ndarray, shape (size,)
        The start of unit length that is amplified most, and the direction of the response at the peak.
    curve : xarray.DataArray
        Norm of ``exp(A t)`` over `time` in seconds.
    """

    gain: float
    peak_s: float
    start: np.ndarray
    response: np.ndarray
    curve: xr.DataArray

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the gain over time.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.dynamics import plot_transient
        from cortexrnn.report.figure_file import own_axes

        curves = xr.Dataset({"gain": self.curve}, attrs={"peak_s": self.peak_s, "peak": self.gain})
        return plot_transient(ax or own_axes(), curves)


def generator(thing: Any, state: np.ndarray | None = None) -> np.ndarray:
    """Give the matrix A of ``dx/dt = A x``: a matrix itself, or that of a system at a state.

    Parameters
    ----------
    thing : array_like, shape (n, n), or System, or what `as_system` takes
    state : array_like, shape (size,), optional
        Needed for a system.

    Returns
    -------
    ndarray, shape (n, n)
        Per second for a system.

    Raises
    ------
    OptionError
        If a system comes without a state or a matrix with one.
    DataError
        If the matrix is not square and finite, or the state does not fit.
    """
    if isinstance(thing, np.ndarray | list | tuple):
        if state is not None:
            raise OptionError("a matrix has no state: leave it out.")
        matrix = np.asarray(thing, float)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise DataError(f"a matrix of shape {matrix.shape} was given; expected a square one of finite numbers.")
        return matrix
    system = as_system(thing)
    if state is None:
        raise OptionError("a system is linear only around a state.", hint="Give the state, such as a fixed point.")
    x = system.check_states(state)
    if len(x) != 1:
        raise DataError(f"{len(x)} states were given; expected one.", where=system.name)
    if system.is_flow:
        return system.velocity_jacobian(x)[0]
    return (system.jacobian(x)[0] - np.eye(system.size)) / system.dt_s


def non_normality(thing: Any, state: np.ndarray | None = None) -> NonNormality:
    """Measure how far a matrix, or a system at a state, is from normal.

    Parameters
    ----------
    thing, state
        As `generator` takes them.

    Returns
    -------
    NonNormality

    Raises
    ------
    OptionError, DataError
        As `generator` does.
    """
    matrix = generator(thing, state)
    # From the Schur form: the difference of squares would lose all digits of a matrix that is nearly normal.
    triangle = scipy.linalg.schur(matrix, output="complex")[0]
    henrici = float(np.linalg.norm(np.triu(triangle, 1)))
    norm = float(np.linalg.norm(matrix))
    return NonNormality(
        henrici=henrici,
        relative_henrici=henrici / norm if norm else 0.0,
        spectral_abscissa=float(np.diag(triangle).real.max()),
        numerical_abscissa=float(np.linalg.eigvalsh(0.5 * (matrix + matrix.T))[-1]),
    )


def feed_forward_weights(thing: Any, state: np.ndarray | None = None) -> xr.Dataset:
    """Give the Schur form: patterns at right angles, each of which decays by itself and drives those before it.

    Patterns are ordered from the largest real part of their eigenvalue to the smallest. The order is a choice, and
    with it single feed-forward weights; their norm is the same in every order.

    Parameters
    ----------
    thing, state
        As `generator` takes them.

    Returns
    -------
    xarray.Dataset
        `eigenvalue` over pattern, `weight` over (driven, driving), zero unless driving is behind driven, and `vector`
        over (entry, pattern), unit vectors; all complex.

    Raises
    ------
    OptionError, DataError
        As `generator` does.
    """
    matrix = generator(thing, state)
    triangle, vectors = scipy.linalg.schur(matrix, output="complex")
    triangle, vectors = _order_schur(triangle, vectors)
    return xr.Dataset(
        {
            "eigenvalue": ("pattern", np.diag(triangle)),
            "weight": (("driven", "driving"), np.triu(triangle, 1)),
            "vector": (("entry", "pattern"), vectors),
        }
    )


def transient_gain(
    thing: Any, state: np.ndarray | None = None, *, duration_s: float | None = None, n_times: int = _N_TIMES
) -> Transient:
    """Find the largest norm of ``exp(A t)`` over time, and the start that is amplified that much.

    Parameters
    ----------
    thing, state
        As `generator` takes them.
    duration_s : float, optional
        Until when to look; eight times the slowest time constant if not given.
    n_times : int
        Times of the curve, before the peak is refined.

    Returns
    -------
    Transient

    Raises
    ------
    OptionError, DataError
        As `generator` does, or if the system does not decay: its gain has no bound.
    """
    matrix = generator(thing, state)
    slowest = float(np.linalg.eigvals(matrix).real.max())
    if slowest >= 0.0:
        raise DataError(
            f"the largest real part of an eigenvalue is {slowest:.3g}: what does not decay has a gain without a bound."
        )
    duration_s = _N_DECAYS / -slowest if duration_s is None else check_positive("duration_s", duration_s)
    times = np.linspace(0.0, duration_s, check_count("n_times", n_times, at_least=3))
    step, power = scipy.linalg.expm(matrix * times[1]), np.eye(len(matrix))
    norms = np.empty(times.size)
    for k in range(times.size):
        norms[k] = np.linalg.norm(power, 2)
        power = step @ power
    k = int(norms.argmax())
    peak_s = float(times[k])
    if k or np.linalg.eigvalsh(matrix + matrix.T)[-1] > 0.0:
        bounds = (times[max(k - 1, 0)], times[min(k + 1, times.size - 1)])
        best = scipy.optimize.minimize_scalar(
            lambda t: -np.linalg.norm(scipy.linalg.expm(matrix * t), 2), bounds=bounds, method="bounded",
            options={"xatol": 1e-9 * duration_s},
        )  # fmt: skip
        peak_s = float(best.x)
    left, values, right = np.linalg.svd(scipy.linalg.expm(matrix * peak_s))
    sign = -1.0 if right[0][np.abs(right[0]).argmax()] < 0.0 else 1.0
    return Transient(
        gain=float(values[0]),
        peak_s=peak_s,
        start=sign * right[0],
        response=sign * left[:, 0],
        curve=xr.DataArray(norms, dims="time", coords={"time": ("time", times, {"units": "s"})}, name="gain"),
    )


def _order_schur(triangle: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exchange neighbours of a complex Schur form until real parts fall."""
    exchange = scipy.linalg.get_lapack_funcs("trexc", (triangle,))
    n = len(triangle)
    for k in range(n):
        best = k + int(np.argmax(np.diag(triangle)[k:].real))
        if best != k and triangle[best, best].real > triangle[k, k].real:
            # An exchange of 1 x 1 blocks cannot fail: the third result is always 0.
            triangle, vectors, _ = exchange(triangle, vectors, best + 1, k + 1)
    return triangle, vectors
