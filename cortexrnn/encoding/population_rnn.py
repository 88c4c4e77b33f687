"""M7: the recurrent network of M6 that also sees what the units beside it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.encoding.population_inputs import find_axes
from cortexrnn.encoding.rnn import RNN
from cortexrnn.encoding.rnn_tiles import InputScale


@dataclass(frozen=True, kw_only=True, slots=True)
class PopulationRNN(RNN):
    """log mu = log M3 + what a GRU makes of the unit's own past spikes, of log M3, and of its neighbours' past spikes.

    The neighbours enter as the leading principal components of their exponential traces (see `find_axes`), measured
    on the trials that the network is trained on. M6 is its control: the same network without them.

    Attributes
    ----------
    n_population : int
        Principal components at most. Further fields as in `NetworkRung`.
    population_s : float
        Time constant of the traces in seconds.
    """

    meaning: ClassVar[str] = "spikes of other units, recurrent network"
    # What it gains is not all of the unit's own history.
    is_candidate: ClassVar[bool] = False
    needs_neighbours: ClassVar[bool] = True
    n_population: int = 8
    population_s: float = 0.02

    def __post_init__(self) -> None:
        """Check every field."""
        NetworkRung.__post_init__(self)
        check_count("n_population", self.n_population)
        check_positive("population_s", self.population_s)

    @property
    def name(self) -> str:
        """M7, or M7cut without the unit's own spikes."""
        return "M7" if self.uses_own_spikes else "M7cut"

    def measure(self, trials: UnitTrials, log_baseline: np.ndarray) -> InputScale:
        """Measure how inputs are standardised, and the directions of the population.

        Parameters
        ----------
        trials : UnitTrials
            Trials that the network is trained on, without those that stop the training.
        log_baseline : ndarray, shape (n_trials, n_bins)

        Returns
        -------
        InputScale

        Raises
        ------
        DataError
            If there are no neighbours.
        """
        axes = find_axes(trials, self.n_population, self.population_s)
        return RNN.measure(self, trials, log_baseline)._replace(population=axes)
