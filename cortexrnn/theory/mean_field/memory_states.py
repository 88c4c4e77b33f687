"""All steady states of memory items at a background, and the window of backgrounds in which a memory can be held."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr
from scipy.optimize import brentq, minimize_scalar

from cortexrnn._checks import check_window
from cortexrnn.circuit import fields
from cortexrnn.theory.mean_field.memory import MemoryItems

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Currents of the grid on which curves are followed: two states closer than a step are not told apart.
_N_GRID = 4001
_N_STABILITY = 400
# An eigenvalue is real below this imaginary part, per second.
_REAL = 1e-9
# Backgrounds this close to a saddle-node are it; both are found to less.
_AT_FOLD = 1e-7
EDGES = ("saddle-node", "oscillation", "branch point", "end of range")


class Edge(NamedTuple):
    """Where a state stops being stable.

    Attributes
    ----------
    background : float
    kind : {"saddle-node", "oscillation", "branch point", "end of range"}
        Two states meet and vanish; a pair of complex eigenvalues crosses (Hopf); one real eigenvalue crosses where
        items part from each other; the range that was looked at ends.
    """

    background: float
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BistableWindow:
    """Backgrounds at which the silent state and that of one active item are both stable.

    Attributes
    ----------
    low, high : Edge, optional
        Ends of the window; none where there is none.
    saddle_nodes : ndarray, shape (n,)
        Backgrounds of all saddle-nodes, of stable and unstable states.
    branches : xarray.Dataset
        All states: ``background``, ``rate_hz``, ``rate_others_hz`` and ``growth`` (1/s) along ``point``, with
        ``branch`` numbering the pieces of connected states.
    """

    low: Edge | None
    high: Edge | None
    saddle_nodes: np.ndarray
    branches: xr.Dataset

    @property
    def is_bistable(self) -> bool:
        """Whether there is such a window."""
        return self.low is not None

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rate of the item in all states against the background, stable ones solid, and the window.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import mean_field
        from cortexrnn.report.figure_file import own_axes

        window = (self.low.background, self.high.background) if self.is_bistable else None
        ax = own_axes() if ax is None else ax
        return mean_field.plot_memory(ax, self.branches, window=window, saddle_nodes=self.saddle_nodes)


class _Curve(NamedTuple):
    """Connected steady states over the current h of one item; the others are at it too, or at a root between bounds."""

    items: MemoryItems
    h: np.ndarray
    background: np.ndarray
    others: tuple[float, float] | None

    def others_at(self, h: float) -> float:
        """Give the current of the others where the item is at `h`."""
        if self.others is None:
            return h
        goal = self.items.held_at(h)
        low, high = self.others
        below, above = (float(self.items.held_at(end) - goal) for end in self.others)
        if below * above >= 0.0:
            # At the curve's end, where the others turn, rounding may put the root outside.
            return low if abs(below) < abs(above) else high
        return brentq(lambda other: float(self.items.held_at(other) - goal), low, high, xtol=1e-14)

    def background_at(self, h: float) -> float:
        """Give the background at which the item rests at `h`."""
        return float(self.items.held_at(h) + self.items.pull(h, self.others_at(h)))

    def leading(self, h: float) -> complex:
        """Give the eigenvalue of largest real part, per second."""
        return complex(self.items.eigenvalues(h, self.others_at(h))[0])


class _Piece(NamedTuple):
    """A stretch of stable states between two edges, by ascending background."""

    low: Edge
    high: Edge
    middle: float


def memory_states(items: MemoryItems, background: float) -> xr.Dataset:
    """Find all steady states in which the items other than one are alike.

    Parameters
    ----------
    items : MemoryItems
    background : float
        Constant input to every item.

    Returns
    -------
    xarray.Dataset
        Over ``state``, by ascending current of the item: ``current``, ``rate_hz``, ``u`` and ``x`` of the item,
        ``current_others`` and ``rate_others_hz``; ``growth``, the largest real part of the eigenvalues of the full
        Jacobian, per second, ``frequency_hz`` of that eigenvalue, and ``is_stable``.

    Raises
    ------
    OptionError
        If the background is not finite.

    Examples
    --------
    >>> from cortexrnn.circuit import load_circuit
    >>> items = MemoryItems.of_circuit(load_circuit("mongillo_2008"))
    >>> states = memory_states(items, -1.0)
    >>> states.where(states.is_stable, drop=True).rate_hz.values.round(1)
    array([ 0.6, 12.7])
    """
    number = fields.number("background", background)
    found = []
    for curve in _curves(items, (number, number)):
        above = curve.background > number
        for i in np.flatnonzero(above[1:] != above[:-1]):
            h = brentq(lambda h, on=curve: on.background_at(h) - number, curve.h[i], curve.h[i + 1], xtol=1e-14)
            found.append((h, curve.others_at(h)))
    return _described(items, sorted(found), number)


def bistable_window(items: MemoryItems, backgrounds: tuple[float, float]) -> BistableWindow:
    """Find where silence and one active item are both stable, within a range of backgrounds.

    Where there are several windows the widest is given.

    Parameters
    ----------
    items : MemoryItems
    backgrounds : tuple of float
        Lowest and highest background to look at.

    Returns
    -------
    BistableWindow

    Raises
    ------
    OptionError
        If the range is not one of finite numbers.
    """
    span = check_window("backgrounds", backgrounds)
    curves = _curves(items, span)
    turns = _turns(items, curves[0].h)
    folds = np.sort([fold for curve in curves for fold in _folds(curve)])
    silent, active = [], []
    for curve in curves:
        for piece in _stable_pieces(curve, folds):
            level = np.searchsorted(turns, piece.middle)
            if curve.others is None and level == 0:
                silent.append(piece)
            # One item is active: with others, they are at their lowest root.
            is_alone = items.n_items == 1 or (curve.others is not None and curve.others[1] == turns[0])
            if turns.size and level == turns.size and is_alone:
                active.append(piece)
    windows = [_overlap(one, two, span) for one in silent for two in active]
    widest = max((window for window in windows if window is not None), key=_width, default=(None, None))
    return BistableWindow(
        low=widest[0],
        high=widest[1],
        saddle_nodes=folds[(folds >= span[0]) & (folds <= span[1])],
        branches=_branches(curves, span),
    )


def _grid(items: MemoryItems, span: tuple[float, float]) -> np.ndarray:
    """Give currents that hold every steady state of the backgrounds of a span."""
    # An item's own synapses release at most 1 / tau_d a second, and inhibition is largest where all release that.
    highest = span[1] + items.weight * items.plasticity.limit_hz / items.rate_scale_hz
    lowest = span[0] - float(items.pull(highest, highest))
    return np.linspace(lowest - 1e-6 * (1.0 + abs(lowest)), highest + 1e-6 * (1.0 + abs(highest)), _N_GRID)


def _turns(items: MemoryItems, h: np.ndarray) -> np.ndarray:
    """Give the currents, ascending, at which the input that holds an item turns."""
    return np.array(_extrema(h, items.held_at(h), lambda at: float(items.held_at(at))))


def _extrema(h: np.ndarray, values: np.ndarray, function: Callable[[float], float]) -> list[float]:
    """Give the places of the interior extrema of a sampled function, refined."""
    rising = np.diff(values) > 0.0
    found = []
    for i in np.flatnonzero(rising[1:] != rising[:-1]):
        sought = (lambda at: -function(at)) if rising[i] else function
        best = minimize_scalar(sought, bounds=(h[i], h[i + 2]), method="bounded", options={"xatol": 1e-12})
        found.append(float(best.x))
    return found


def _curves(items: MemoryItems, span: tuple[float, float]) -> list[_Curve]:
    """Lay out all curves of steady states; the first is that of items that are all alike."""
    h = _grid(items, span)
    curves = [_Curve(items, h, items.held_at(h) + items.pull(h, h), None)]
    if items.n_items == 1:
        return curves
    turns = _turns(items, h)
    ends = np.concatenate([h[:1], turns, h[-1:]])
    held = items.held_at(h)
    for low, high in itertools.pairwise(ends):
        reach = np.sort(items.held_at(np.array([low, high])))
        is_open = (held >= reach[0]) & (held <= reach[1]) & ((h < low) | (h > high))
        for places in np.split(np.arange(h.size), 1 + np.flatnonzero(is_open[1:] != is_open[:-1])):
            if is_open[places[0]] and places.size > 1:
                curve = _Curve(items, h[places], np.empty(places.size), (float(low), float(high)))
                curve.background[:] = [curve.background_at(at) for at in curve.h]
                curves.append(curve)
    return curves


def _folds(curve: _Curve) -> list[float]:
    """Give the backgrounds of the saddle-nodes on a curve."""
    return [curve.background_at(h) for h in _extrema(curve.h, curve.background, curve.background_at)]


def _stable_pieces(curve: _Curve, folds: np.ndarray) -> list[_Piece]:
    """Cut the stable stretches out of a curve; their edges to rounding."""
    every = max(1, curve.h.size // _N_STABILITY)
    h = np.append(curve.h[::every], curve.h[-1])
    is_stable = np.array([curve.leading(at).real < 0.0 for at in h])
    crossings = np.flatnonzero(is_stable[1:] != is_stable[:-1])
    places = [brentq(lambda at: curve.leading(at).real, h[i], h[i + 1], xtol=1e-13) for i in crossings]
    bounds = [h[0], *places, h[-1]]
    pieces = []
    for i in range(int(not is_stable[0]), len(bounds) - 1, 2):
        edges = [_edge(curve, bounds[at], folds, is_end=at in (0, len(bounds) - 1)) for at in (i, i + 1)]
        pieces.append(_Piece(*sorted(edges), middle=0.5 * (bounds[i] + bounds[i + 1])))
    return pieces


def _edge(curve: _Curve, h: float, folds: np.ndarray, *, is_end: bool) -> Edge:
    """Say what happens at the end of a stable stretch."""
    background = curve.background_at(h)
    if is_end:
        return Edge(background, "end of range")
    if abs(curve.leading(h).imag) > _REAL:
        return Edge(background, "oscillation")
    is_fold = folds.size > 0 and np.abs(folds - background).min() < _AT_FOLD
    return Edge(background, "saddle-node" if is_fold else "branch point")


def _overlap(one: _Piece, two: _Piece, span: tuple[float, float]) -> tuple[Edge, Edge] | None:
    """Give the backgrounds that two stretches and a span share; none where they share none."""
    low = max(one.low, two.low, Edge(span[0], "end of range"))
    high = min(one.high, two.high, Edge(span[1], "end of range"))
    return (low, high) if low.background < high.background else None


def _width(window: tuple[Edge, Edge]) -> float:
    """Give the width of a window."""
    return window[1].background - window[0].background


def _described(items: MemoryItems, found: list[tuple[float, float]], background: float) -> xr.Dataset:
    """Lay states out with what they are and how stable."""
    h, h_others = np.array(found).reshape(-1, 2).T
    rate, rate_others = (items.rate_scale_hz * items.activation(current) for current in (h, h_others))
    synapses = items.plasticity.steady_state(rate)
    leading = np.array([items.eigenvalues(*pair)[0] for pair in found], dtype=complex)
    variables = {
        "current": h,
        "rate_hz": rate,
        "u": synapses.u,
        "x": synapses.x,
        "current_others": h_others,
        "rate_others_hz": rate_others,
        "growth": leading.real,
        "frequency_hz": np.abs(leading.imag) / (2.0 * np.pi),
        "is_stable": leading.real < 0.0,
    }
    return xr.Dataset({name: ("state", values) for name, values in variables.items()}, attrs={"background": background})


def _branches(curves: list[_Curve], span: tuple[float, float]) -> xr.Dataset:
    """Sample all curves within a span of backgrounds, for a figure."""
    rows = []
    for number, curve in enumerate(curves):
        is_shown = (curve.background >= span[0]) & (curve.background <= span[1])
        every = max(1, int(is_shown.sum()) // _N_STABILITY)
        for place in np.flatnonzero(is_shown)[::every]:
            h = float(curve.h[place])
            rows.append((curve.background[place], h, curve.others_at(h), curve.leading(h).real, number))
    background, h, h_others, growth, branch = np.array(rows).reshape(-1, 5).T
    items = curves[0].items
    return xr.Dataset(
        {
            "background": ("point", background),
            "rate_hz": ("point", items.rate_scale_hz * items.activation(h)),
            "rate_others_hz": ("point", items.rate_scale_hz * items.activation(h_others)),
            "growth": ("point", growth, {"units": "1/s"}),
            "branch": ("point", branch.astype(int)),
        }
    )
