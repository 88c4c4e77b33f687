"""Echo state networks: a reservoir with a read-out of its states (Jaeger 2001)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.reservoirs.readout import Readout, Ridge, SignedRidge
from cortexrnn.training.reservoirs.reservoir import Reservoir


@dataclass(frozen=True, kw_only=True, slots=True)
class EchoStateNetwork:
    """A reservoir with a read-out of its states.

    Attributes
    ----------
    reservoir : Reservoir
    readout : Ridge or SignedRidge
        With ``SignedRidge(signs=reservoir.signs)`` the read-out keeps Dale's law.
    washout : int
        Steps at the beginning of every trial that are left out of the fit, while the initial state is forgotten.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    reservoir: Reservoir
    readout: Ridge | SignedRidge = field(default_factory=Ridge)
    washout: int = 100

    def __post_init__(self):
        object.__setattr__(self, "washout", check_count("washout", self.washout, at_least=0))
        if not isinstance(self.reservoir, Reservoir) or not isinstance(self.readout, Ridge | SignedRidge):
            raise OptionError(
                f"reservoir of type {type(self.reservoir).__name__} and readout of type "
                f"{type(self.readout).__name__} are not valid; expected a Reservoir and Ridge or SignedRidge.",
                hint="ReservoirSpec(...).build() draws a Reservoir.",
            )

    def fit(self, inputs: np.ndarray, targets: np.ndarray, *, mask: np.ndarray | None = None) -> FittedEchoStateNetwork:
        """Run the reservoir and fit the read-out.

        Parameters
        ----------
        inputs : ndarray, shape (n_steps, n_inputs) or (n_trials, n_steps, n_inputs), or (n_steps,) for one input
        targets : ndarray, shape (n_steps,), (n_steps, n_outputs) or (n_trials, n_steps, n_outputs)
        mask : ndarray, shape (n_steps,) or (n_trials, n_steps), optional
            Weights of the samples.

        Returns
        -------
        FittedEchoStateNetwork

        Raises
        ------
        DataError
            If the shapes do not fit, a number is not finite, or the washout leaves nothing.
        NumericalError
            If the states are no longer finite, or too much alike for the penalty.
        """
        states, targets = self.reservoir.run(inputs), np.asarray(targets, dtype=float)
        axis = states.ndim - 2
        n_steps = states.shape[axis]
        if targets.ndim <= axis or targets.shape[: axis + 1] != states.shape[: axis + 1]:
            raise DataError(f"inputs and targets of shape {targets.shape} differ in their steps or trials.")
        if self.washout >= n_steps:
            raise DataError(f"washout={self.washout} leaves none of {n_steps} steps.", hint="Lower washout.")
        kept = (slice(None),) * axis + (slice(self.washout, None),)
        found = self.readout.fit(states[kept], targets[kept], mask=None if mask is None else np.asarray(mask)[kept])
        return FittedEchoStateNetwork(network=self, readout=found)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedEchoStateNetwork:
    """A reservoir with a fitted read-out.

    Attributes
    ----------
    network : EchoStateNetwork
        What was fitted.
    readout : Readout
    """

    network: EchoStateNetwork
    readout: Readout

    def predict(self, inputs: np.ndarray, *, initial: np.ndarray | None = None) -> np.ndarray:
        """Give the outputs under an input.

        Parameters
        ----------
        inputs, initial
            As in `Reservoir.run`.

        Returns
        -------
        ndarray, shape (..., n_steps, n_outputs)
        """
        return self.readout.predict(self.network.reservoir.run(inputs, initial=initial))
