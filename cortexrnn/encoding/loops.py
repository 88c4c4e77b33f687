"""What is read off a fitted model of spike history: its loops, their modes, and the words for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn.encoding.response_modes import COLUMNS, rotation
from cortexrnn.theory.fixed_points import FixedPoints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Modes that are written, and those too weak to be.
_MOST_MODES, _WEAK = 8, 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """A model around one state, as a linear system from spikes to the log of the rate.

    Attributes
    ----------
    label : {"open loop", "closed loop", "recording"}
        Open: what a spike does, the spikes to come held at their mean. Closed: the spikes that it causes do the
        same. Recording: as open, measured on real trials and averaged.
    of : str
        Which map that is.
    rate_hz : float
        Rate at which the unit fires.
    expected_hz : float
        Rate that the model expects there.
    radius : float
        Largest modulus of a multiplier, below 1 where the state is stable; NaN where there is no state.
    modes : pandas.DataFrame
        See `cortexrnn.encoding.response_modes.system_modes`; those that carry most of the response first.
    response : ndarray, shape (n_lags,)
        Change of the log-rate 1, 2, ... bins after a spike.
    """

    label: str
    of: str
    rate_hz: float
    expected_hz: float
    radius: float
    modes: pd.DataFrame
    response: np.ndarray

    @property
    def rotation(self) -> pd.Series | None:
        """The mode that turns by a radian or more before it decays and carries most; None if there is none."""
        return rotation(self.modes)

    def to_dict(self) -> dict[str, Any]:
        """Give everything but the response in plain numbers, the eight strongest modes at most."""
        strong = self.modes[self.modes["share"] >= _WEAK].head(_MOST_MODES)
        turning = self.rotation
        return {
            "label": self.label,
            "map": self.of,
            "rate_hz": self.rate_hz,
            "expected_hz": self.expected_hz,
            "is_stable": bool(self.radius < 1.0) if np.isfinite(self.radius) else None,
            "modes": [{name: _plain(row[name]) for name in COLUMNS} for _, row in strong.iterrows()],
            "rotation": None if turning is None else {name: _plain(turning[name]) for name in COLUMNS},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadOff:
    """What `read_off` found.

    Attributes
    ----------
    name : str
        Of the rung.
    bin_s, baseline_hz : float
        Bin width, and the rate that the rungs below expect, which is held.
    open : Loop
    closed : Loop or None
        None where the model expects no rate between a thirtieth and thirty times the unit's at which it would stay.
    measured : Loop or None
        None without trials.
    points : FixedPoints or None
        Fixed points of a network whose unit fires at its rate; None for a GLM, which has no state of its own.
    closed_hz : tuple of float
        All rates at which the closed loop rests, on the branch of points that goes through the open loop's.
    """

    name: str
    bin_s: float
    baseline_hz: float
    open: Loop
    closed: Loop | None
    measured: Loop | None
    points: FixedPoints | None
    closed_hz: tuple[float, ...]

    @property
    def loops(self) -> tuple[Loop, ...]:
        """All that there are, open first."""
        return tuple(loop for loop in (self.open, self.closed, self.measured) if loop is not None)

    @property
    def sentence(self) -> str:
        """What came out, in a sentence or two."""
        words = [f"{self.name}: {_words(self.open)}"]
        if self.measured is not None:
            words.append(f"one more spike in the recording: {_words(self.measured)}")
        if self.closed is None:
            words.append("with the spikes that it causes, no rate at which it would stay")
        else:
            state = "" if self.closed.radius < 1.0 else " (unstable)"
            words.append(
                f"with the spikes that it causes, at {self.closed.expected_hz:.3g} Hz{state}: {_words(self.closed)}"
            )
        return "; ".join(words) + "."

    def to_dict(self) -> dict[str, Any]:
        """Give everything in plain numbers, ready for JSON."""
        return {
            "name": self.name,
            "bin_s": self.bin_s,
            "baseline_hz": self.baseline_hz,
            "loops": [loop.to_dict() for loop in self.loops],
            "fixed_points": None
            if self.points is None
            else {
                "verdict": self.points.verdict,
                "points": [
                    {key: _plain(value) for key, value in row.items()}
                    for row in self.points.table.to_dict(orient="records")
                ],
            },
            "closed_hz": list(self.closed_hz),
            "sentence": self.sentence,
        }

    def to_dataset(self) -> xr.Dataset:
        """Give what the figures draw: `response` over (loop, lag), `tau_s`, `frequency_hz` and `share` over mode."""
        n_lags = min(loop.response.size for loop in self.loops)
        tables = [loop.modes[loop.modes["share"] >= _WEAK].assign(loop=loop.label) for loop in self.loops]
        table = pd.concat([part for part in tables if len(part)] or tables[:1])
        data = xr.Dataset(
            {"response": (("loop", "lag"), np.stack([loop.response[:n_lags] for loop in self.loops]))},
            coords={"loop": [loop.label for loop in self.loops], "lag": self.bin_s * np.arange(1, n_lags + 1)},
            attrs={"name": self.name},
        )
        for name in COLUMNS:
            data[name] = "mode", table[name].to_numpy(float)
        return data.assign(mode_loop=("mode", table["loop"].to_numpy(str)))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw time constants and frequencies of the modes, their size the share of the response that they carry.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.read_off import plot_read_off

        return plot_read_off(ax or own_axes(), self.to_dataset())


def _words(loop: Loop) -> str:
    """Say what a loop's strongest rotation, or its strongest decay, is."""
    if loop.modes.empty or not loop.response.any():
        return f"{loop.label} does not respond to a spike"
    turning = loop.rotation
    mode = loop.modes.iloc[0] if turning is None else turning
    how = "" if turning is None else f" turns at {mode['frequency_hz']:.3g} Hz and"
    does = "decays" if mode["tau_s"] >= 0.0 else "grows"
    return f"{loop.label}{how} {does} with a time constant of {abs(1e3 * mode['tau_s']):.3g} ms"


def _plain(value: Any) -> Any:
    """Give a number that JSON knows; None where it is not finite."""
    if isinstance(value, str):
        return value
    return float(value) if np.isfinite(value) else None
