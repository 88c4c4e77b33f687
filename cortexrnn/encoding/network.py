"""M6 in other cells: vanilla, LSTM, GRU, or excitatory and inhibitory rate units with plastic synapses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.circuit.spec import Circuit
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.network_cells import CELLS, make_model, raw_circuit
from cortexrnn.encoding.network_rung import NetworkRung, TrainedNetwork, stop_early
from cortexrnn.encoding.network_stepping import ModelStepper
from cortexrnn.encoding.network_sweep import LogRateNetwork, PieceLearning, log_gain
from cortexrnn.encoding.remedies import BoundedStepper
from cortexrnn.encoding.rnn_tiles import InputScale, measure_inputs, trace_decay
from cortexrnn.encoding.scheduled_sampling import make_feed
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.errors import OptionError
from cortexrnn.theory.system import System

# Whole trials are predicted in chunks of this many bins, so that the tapes stay in the cache.
_CHUNK_BINS = 256
_NAMES = {"vanilla": "M6 vanilla", "lstm": "M6 LSTM", "gru": "M6 GRU", "dale": "M6 Dale", "ode": "M6 ODE"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Network(NetworkRung):
    """log mu = log M3 + what a network of some kind makes of the unit's own past spikes and of log M3.

    Everything but the cell is as in `cortexrnn.encoding.rnn.RNN`. The Dale network is a `Circuit` in the rate form:
    four softplus units in five are excitatory, all connected, every weight keeps its sign, and every population's
    synapses have short-term plasticity of Tsodyks and Markram whose parameters are trained too. Inputs reach both
    populations; the read-out, of any sign, sees the excitatory one.

    Attributes
    ----------
    cell : {"vanilla", "lstm", "gru", "dale", "ode"}
        Kind of network; "ode" is a neural ODE whose state flows from bin to bin and jumps at the unit's own spikes, see
        `cortexrnn.encoding.network_cells.OdeModel`. Further fields as in `NetworkRung`.
    """

    cell: str = "lstm"

    def __post_init__(self) -> None:
        """Check every field."""
        NetworkRung.__post_init__(self)
        check_choice("cell", self.cell, CELLS)
        if self.cell == "dale" and self.n_hidden < 2:
            raise OptionError(f"n_hidden={self.n_hidden} is not valid for cell='dale'; expected a unit of either sign.")

    @property
    def name(self) -> str:
        """M6 and the cell, with `cut` behind it without the unit's own spikes."""
        return _NAMES[self.cell] if self.uses_own_spikes else f"{_NAMES[self.cell]} cut"

    def train(self, trials: UnitTrials, log_baseline: np.ndarray, is_validation: np.ndarray) -> TrainedNetwork:
        """Train on top of any baseline; see `NetworkRung.train`."""
        rng = self.training_stream()
        training, base = trials.take(~is_validation), log_baseline[~is_validation]
        held_out, held_base = trials.take(is_validation), log_baseline[is_validation]
        scale = measure_inputs(training, base, self.trace_s)
        pieces = self.pieces(training, base, scale, rng)
        n_tiles, n_steps, n_inputs, _ = pieces.inputs.shape
        model = make_model(self, n_inputs, trials.bin_s)
        network = LogRateNetwork(model, n_steps=n_steps, spectral_cap=self.spectral_cap)
        start = network.weights.copy()
        learning = PieceLearning(
            network,
            pieces,
            self.whole_trials(held_out, held_base, scale),
            held_out.n_trials,
            is_bernoulli=LIKELIHOODS[self.likelihood] == BERNOULLI,
            feed=make_feed(self, training, base, scale),
        )
        weights, score, gains = stop_early(self, learning, held_out, held_base, n_tiles=n_tiles, rng=rng)
        return TrainedNetwork(start if weights is None else weights, scale, score, gains)

    def as_fitted(
        self, trained: TrainedNetwork, below: Fitted | None, bin_s: float, log_bound: float = np.inf
    ) -> FittedNetwork:
        """Give what was trained as a fitted rung; see `NetworkRung.as_fitted`."""
        if log_bound < np.inf:
            return BoundedNetwork(below=below, spec=self, bin_s=bin_s, log_bound=log_bound, **trained._asdict())
        return FittedNetwork(below=below, spec=self, bin_s=bin_s, **trained._asdict())


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedNetwork(Fitted):
    """A trained network on top of a fitted rung; fields as in `TrainedNetwork`."""

    below: Fitted | None
    spec: Network
    bin_s: float
    weights: np.ndarray
    scale: InputScale
    validation_log_likelihood: float
    validation_gain: np.ndarray

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the network's output, given all spikes before each bin."""
        inputs = self.spec.whole_trials(trials, log_mu, self.scale)
        network = self.network(n_steps=min(_CHUNK_BINS, inputs.shape[1]))
        return log_mu + log_gain(network, inputs, trials.n_trials)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give the network one bin at a time."""
        return ModelStepper(
            self.network(n_steps=1),
            scale=self.scale,
            decay=trace_decay(self.spec.trace_s, self.bin_s),
            with_spikes=self.spec.uses_own_spikes,
            trials=trials,
        )

    def network(self, *, n_steps: int) -> LogRateNetwork:
        """Give the network with its weights, to be swept some steps at a time.

        Parameters
        ----------
        n_steps : int
            Steps of a sweep at most.

        Returns
        -------
        LogRateNetwork
        """
        model = make_model(self.spec, self.scale.mean.size, self.bin_s)
        return LogRateNetwork(model, self.weights.copy(), n_steps=n_steps)

    def system(self, *, baseline_hz: float, rate_hz: float = 0.0) -> System:
        """Give the network at a constant input, for what `cortexrnn.theory` makes of it.

        Parameters
        ----------
        baseline_hz : float
            Rate that the rungs below expect, above 0.
        rate_hz : float
            Rate at which the unit fires, at least 0: traces of its spikes stand at their means.

        Returns
        -------
        System

        Raises
        ------
        OptionError
            If a rate is not valid.
        """
        if not 0.0 <= rate_hz < np.inf:
            raise OptionError(f"rate_hz={rate_hz!r} is not valid; expected a finite number of at least 0.")
        baseline = self.bin_s * check_positive("baseline_hz", baseline_hz)
        decay = trace_decay(self.spec.trace_s, self.bin_s)
        raw = np.append(self.bin_s * rate_hz / (1.0 - decay), np.log(baseline))
        inputs = (raw - self.scale.mean) / self.scale.spread
        if not self.spec.uses_own_spikes:
            inputs[:-1] = 0.0
        return self.network(n_steps=1).model.system(inputs, self.bin_s)

    def to_circuit(self, *, baseline_hz: float) -> Circuit:
        """Give the Dale network as a circuit that can be simulated, analysed and saved.

        Its channels are the network's inputs before they are scaled: ``count``, the spikes of the bin before, and
        the exponential traces of all bins before, ``trace_2_ms`` and so on, in spikes; all are 0 for a silent unit.
        The network whose spikes are cut off has no channels. The rates are those of the network's units; what the
        read-out makes of them, and the direct path from the inputs, is in `network`.

        Parameters
        ----------
        baseline_hz : float
            Rate that the rungs below expect, above 0, which is part of the circuit's biases.

        Returns
        -------
        Circuit

        Raises
        ------
        OptionError
            If the rate is not valid or the network is of another cell.
        """
        baseline = np.log(self.bin_s * check_positive("baseline_hz", baseline_hz))
        return raw_circuit(self.spec, self.network(n_steps=1).model, self.scale, float(baseline))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoundedNetwork(FittedNetwork):
    """A trained network with a bounded link.

    Attributes
    ----------
    log_bound : float
        Largest log mu. Further fields as in `FittedNetwork`.
    """

    log_bound: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the network's output, up to the bound."""
        return np.minimum(FittedNetwork.extend(self, trials, log_mu), self.log_bound)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give the network one bin at a time, up to the bound."""
        return BoundedStepper(FittedNetwork.stepper(self, trials), self.log_bound)
