"""How a decoder is asked, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.decoding.scores import KINDS, SCORES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeOptions:
    """How a read-out is fitted and judged.

    Attributes
    ----------
    kind : {"auto", "classes", "values"}
        What labels are. By default numbers with more than 12 distinct values are values, all else classes.
    n_folds : int
        Parts of the trials that are held out in turn, at least 3, or 2 with a single penalty.
    penalties : tuple of float
        Candidates of the ridge penalty, above 0, relative to the number of trials: features have unit variance. One of
        several is chosen for every fold on the other folds alone.
    n_shuffles : int
        Shuffles of the labels for chance level and p-value, 0 for none.
    n_bootstrap : int
        Resamples of the trials for intervals.
    is_balanced : bool
        Whether the class counts whose answer is largest relative to its share of the training trials, as if all classes
        were as frequent. By default the largest answer counts: a rare class is then rarely answered.
    window_s : float, optional
        Width in seconds of neighbouring windows over which activity is averaged; every time on its own by default.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    kind: str = AUTO
    n_folds: int = 5
    penalties: tuple[float, ...] = tuple(10.0 ** np.arange(-4.0, 3.0))
    n_shuffles: int = 100
    n_bootstrap: int = 1000
    is_balanced: bool = False
    window_s: float | None = None

    def __post_init__(self):
        check_choice("kind", self.kind, (AUTO, *KINDS))
        try:
            penalties = tuple(check_positive("penalties", penalty) for penalty in self.penalties)
        except TypeError:
            raise OptionError(f"penalties={self.penalties!r} is not valid; expected a tuple of numbers.") from None
        if not penalties:
            raise OptionError("penalties=() is not valid; expected at least one.")
        object.__setattr__(self, "penalties", penalties)
        # The penalty is chosen on what is left without the held-out fold, which needs two folds of its own.
        least = {"n_folds": 3 if len(penalties) > 1 else 2, "n_shuffles": 0, "n_bootstrap": 1}
        for name, at_least in least.items():
            object.__setattr__(self, name, check_count(name, getattr(self, name), at_least=at_least))
        if self.window_s is not None:
            check_positive("window_s", self.window_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decoding:
    """How well labels are read out, from what, and with which weights.

    Attributes
    ----------
    kind : {"classes", "values"}
    classes : tuple
        Labels of the classes, ascending; empty for values.
    found : xarray.Dataset
        Over `time` where activity has one. Every score (``accuracy`` and ``balanced_accuracy``, or ``r2`` and
        ``correlation``) has ``_low`` and ``_high``, its 95 % interval, and where labels were shuffled ``_chance``, the
        mean of the shuffles, ``_shuffled`` over `shuffle`, ``_p``, and ``_p_any``, which is corrected for looking at
        all times (of the shuffles, the best time counts). ``answer`` over (trial, class) or trial holds what the
        read-out that has not seen a trial says: estimates of the indicators, or the value; NaN past a trial's end.
        ``weight`` and ``pattern`` over the features, and over classes; ``intercept``; ``penalty`` over `fold`;
        ``fold`` and ``truth`` over trial; ``confusion`` over (true, class), in trials.
    options : DecodeOptions
    seed : int
    """

    kind: str
    classes: tuple
    found: xr.Dataset
    options: DecodeOptions
    seed: int

    @property
    def score(self) -> xr.DataArray:
        """Accuracy of classes, R2 of values."""
        return self.found[SCORES[self.kind][0]]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the score over time above that of shuffled labels; without time, among those of shuffled labels.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import decoding as figures
        from cortexrnn.report.figure_file import own_axes

        draw = figures.plot_scores if "time" in self.found.dims else figures.plot_shuffles
        return draw(own_axes() if ax is None else ax, self.found)

    def plot_confusion(self, ax: Axes | None = None, *, time_s: float | None = None) -> Axes:
        """Draw which classes are taken for which.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.
        time_s : float, optional
            The nearest time is drawn; by default that of the highest accuracy.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        DataError
            If labels are values.
        """
        from cortexrnn.report import decoding as figures
        from cortexrnn.report.figure_file import own_axes

        return figures.plot_confusion(own_axes() if ax is None else ax, self.found, time_s=time_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SourceComparison:
    """The same labels read out of several sources.

    Attributes
    ----------
    decodings : dict of str to Decoding
        By source, all with the same folds and trials.
    found : xarray.Dataset
        The main score over `source` with its interval and chance, and over `pair` the ``difference``, that of the
        first-named less the second, with ``difference_low`` and ``difference_high``.
    """

    decodings: dict[str, Decoding]
    found: xr.Dataset

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the scores of all sources over time; without time, side by side.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import decoding as figures
        from cortexrnn.report.figure_file import own_axes

        return figures.plot_sources(own_axes() if ax is None else ax, self.found)
