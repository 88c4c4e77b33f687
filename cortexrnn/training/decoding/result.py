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
class NetworkDecoder:
    """A causal network of gated units that reads labels out of activity, and how it is trained.

    At every time it has seen activity up to then and answers; its loss is the mean over times of the cross entropy, or
    of the squared error. It begins with the answer of one who has seen nothing, four fifths of the training trials
    train it, and the last fifth stops it: the parameters with the smallest loss there are kept, the first ones where
    none is smaller.

    Attributes
    ----------
    n_hidden : int
        Gated recurrent units.
    n_seeds : int
        Networks for every fold, with weights and a last fifth of their own. Scores are means over them.
    n_shuffles : int
        Shuffles of the labels that networks are trained on too, the first ones of `DecodeOptions.n_shuffles`; one
        network each for every fold.
    l2_weights : float
        Factor of the sum of squares of all weights but the biases, which is added to the loss.
    learning_rate : float
        Of Adam; every epoch is one step on all training trials.
    max_epochs : int
        Epochs at most.
    patience : int
        Epochs without a smaller loss on the trials that stop the training after which it ends.
    n_workers : int, optional
        Threads; none for every core. No number depends on it.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    n_hidden: int = 16
    n_seeds: int = 3
    n_shuffles: int = 20
    l2_weights: float = 0.03
    learning_rate: float = 0.03
    max_epochs: int = 400
    patience: int = 60
    n_workers: int | None = None

    def __post_init__(self):
        least = {"n_hidden": 1, "n_seeds": 1, "n_shuffles": 0, "max_epochs": 1, "patience": 1}
        for name, at_least in least.items():
            object.__setattr__(self, name, check_count(name, getattr(self, name), at_least=at_least))
        object.__setattr__(self, "learning_rate", check_positive("learning_rate", self.learning_rate))
        if not 0.0 <= self.l2_weights < np.inf:
            raise OptionError(f"l2_weights={self.l2_weights!r} is not valid; expected a finite number of at least 0.")
        if self.n_workers is not None:
            object.__setattr__(self, "n_workers", check_count("n_workers", self.n_workers))


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
    network : NetworkDecoder, optional
        Causal network that is trained beside the linear read-out, on the same folds; none by default.

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
    network: NetworkDecoder | None = None

    def __post_init__(self):
        check_choice("kind", self.kind, (AUTO, *KINDS))
        try:
            penalties = tuple(check_positive("penalties", penalty) for penalty in self.penalties)
        except TypeError:
            raise OptionError(f"penalties={self.penalties!r} is not valid; expected a tuple of numbers.") from None
        if not penalties:
            raise OptionError("penalties=() is not valid; expected at least one.")
        object.__setattr__(self, "penalties", penalties)
        if self.network is not None and not isinstance(self.network, NetworkDecoder):
            raise OptionError(f"network is a {type(self.network).__name__}; expected a NetworkDecoder.")
        # Penalty and end of training are chosen on what is left without the held-out fold: two folds of its own.
        is_chosen = len(penalties) > 1 or self.network is not None
        least = {"n_folds": 3 if is_chosen else 2, "n_shuffles": 0, "n_bootstrap": 1}
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
        ``fold`` and ``truth`` over trial; ``confusion`` over (true, class), in trials. Of values there is also
        ``rmse``, the root mean square error, with its interval.
    options : DecodeOptions
    seed : int
    network : Decoding or None
        What causal networks read out on the same folds, where `options` ask for them. Its `found` has no weights and
        no penalties. Scores are means over networks that differ by their seed; ``_seed`` over `network_seed` holds
        those of each, ``_seed_sd`` their standard deviation. ``answer`` and ``confusion`` are means over them; the
        answers to classes are probabilities. ``n_epochs`` over (network_seed, fold_number) is the epoch that was kept.
        The ``difference`` is that of the main score, networks less linear read-out, with ``difference_low`` and
        ``difference_high``.
    """

    kind: str
    classes: tuple
    found: xr.Dataset
    options: DecodeOptions
    seed: int
    network: Decoding | None = None

    @property
    def score(self) -> xr.DataArray:
        """Accuracy of classes, R2 of values."""
        return self.found[SCORES[self.kind][0]]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the score over time above that of shuffled labels; without time, among those of shuffled labels.

        Where there are networks, their score stands beside that of the linear read-out.

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

        if self.network is not None:
            return figures.plot_decoders(own_axes() if ax is None else ax, self.found, self.network.found)
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
