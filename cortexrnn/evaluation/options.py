"""How a comparison is made: everything that changes its numbers, in one frozen place."""

from __future__ import annotations

from dataclasses import dataclass

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.encoding.likelihood import OBSERVATION_MODELS
from cortexrnn.spikes.folds import FOLD_ORDERS

MIN_COPIES = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareOptions:
    """Settings of a comparison.

    Attributes
    ----------
    n_folds : int
        Cross-validation folds over trials.
    fold_order : {"contiguous", "random"}
        Contiguous folds extrapolate a drift, random ones interpolate it.
    n_seeds : int
        Networks a fold, whose scores are averaged.
    n_surrogates : int
        Surrogates of the test; 19 give a smallest p of .05. 0 leaves the test out, and then no verdict
        says that history matters.
    n_copies : int
        Copies of every held-out trial that the history GLM and the networks make on their own spikes, at least 40 for
        a range of 95 %; 0 leaves the free run out.
    rope : float
        Half-width of the region of equivalence in bits per spike.
    likelihood : {"poisson", "bernoulli", "negative binomial"}
        Observation model of fit and score, the same for every rung. Under the negative binomial, which is meant for
        bins of 10 ms and more, rungs maximise the Poisson likelihood, and their dispersion is that of the training
        trials; there is no free run.
    history_windows_s : tuple of float
        Windows of the history GLM among which the history rung is chosen, beside that of M5 itself.
    """

    n_folds: int = 5
    fold_order: str = "contiguous"
    n_seeds: int = 3
    n_surrogates: int = 19
    n_copies: int = 100
    rope: float = 0.01
    likelihood: str = "poisson"
    history_windows_s: tuple[float, ...] = (0.02, 0.1)

    def __post_init__(self) -> None:
        """Check every field."""
        check_count("folds", self.n_folds, at_least=2)
        check_choice("fold_order", self.fold_order, FOLD_ORDERS)
        check_count("seeds", self.n_seeds)
        check_count("surrogates", self.n_surrogates, at_least=0)
        check_count("copies", self.n_copies, at_least=MIN_COPIES if self.n_copies else 0)
        check_positive("rope", self.rope)
        check_choice("likelihood", self.likelihood, OBSERVATION_MODELS)
        for window_s in self.history_windows_s:
            check_positive("history_windows_s", window_s)
