"""Which model of the training engine a network rung is, and what of it can stand as a circuit of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.ode_parts import N_SUBSTEPS, N_TIMING, pack_ode_weights
from cortexrnn.cells.rate_parts import RateWeights
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.circuit.parts import Population, Projection
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.explicit import explicit_circuit
from cortexrnn.training.model import Asked, Core, Model, Omega
from cortexrnn.training.tile import Tile

if TYPE_CHECKING:
    from cortexrnn.encoding.network import Network
    from cortexrnn.encoding.rnn_tiles import InputScale

CELLS = ("vanilla", "lstm", "gru", "dale", "ode")
# Short for rate units, because bins are; they are trained.
_TAU_S = {"excitatory": 0.01, "inhibitory": 0.005}
# Synapses of excitatory units facilitate, as between pyramidal cells of prefrontal cortex (Wang et al. 2006,
# doi:10.1038/nn1670, type E1), those of inhibitory units depress; rounded, a start for the training.
_PLASTICITY = {
    "excitatory": ShortTermPlasticity(U=0.2, tau_f_s=0.5, tau_d_s=0.2),
    "inhibitory": ShortTermPlasticity(U=0.5, tau_f_s=0.02, tau_d_s=0.2),
}
# Hertz of a rate of 1, so that rates of order one keep plasticity in the middle of its range.
_RATE_SCALE_HZ = 10.0
# Radius of the eigenvalues of the weights before plasticity takes its part of them.
_GAIN = 2.0
# A neural ODE's field is per so many seconds: weights of order one then move a state within some bins.
_FLOW_S = 0.01
# Longest gap, in these, that one step of Runge and Kutta crosses.
_LONGEST_STEP = 0.25
# Time constant with which its state is drawn to what the inputs between spikes ask for.
_DRAWN_S = 0.02
# Standardised count of a bin with a spike: p spikes a bin put one sqrt((1 - p) / p) above the mean, where a bin that
# nobody observed lies.
_SPIKE = 0.5
_TRAINS = (
    "recurrent", "input", "bias", "tau_s", "U", "tau_f_s", "tau_d_s", "readout", "readout_bias",
)  # fmt: skip


def make_model(spec: Network, n_inputs: int, bin_s: float, dtype: type = np.float32) -> Model:
    """Give a network at the start of its training.

    Parameters
    ----------
    spec : Network
    n_inputs : int
    bin_s : float
        Time step.
    dtype : numpy float type

    Returns
    -------
    Model
        With one output.
    """
    asked = Asked(n_inputs, 1, bin_s)
    if spec.cell == "ode":
        return OdeModel(spec.n_hidden, asked, seed=spec.seed, dtype=dtype)
    if spec.cell != "dale":
        cells = CellNetwork(kind=spec.cell, n_hidden=spec.n_hidden)
        return CellModel(cells, asked, seed=spec.seed, dtype=dtype)
    return DaleModel(dale_circuit(spec.n_hidden, spec.seed), asked, seed=spec.seed, dtype=dtype)


def dale_circuit(n_units: int, seed: int) -> Circuit:
    """Give the circuit that a Dale network is at the start of its training.

    Parameters
    ----------
    n_units : int
        At least 2; four in five are excitatory.
    seed : int
        Of the weights.

    Returns
    -------
    Circuit
    """
    n_inhibitory = max(1, n_units // 5)
    sizes = {"excitatory": n_units - n_inhibitory, "inhibitory": n_inhibitory}
    law = WeightLaw(law="gamma", mean=1.0, sd=0.5)
    return Circuit(
        name="dale",
        form="rate",
        populations=tuple(
            Population(name=name, size=size, sign=name, tau_s=_TAU_S[name], activation=Activation(kind="softplus"))
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(source=source, target=target, weights=law, plasticity=source, allow_autapses=True)
            for source in sizes
            for target in sizes
        ),
        plasticity=_PLASTICITY,
        balance="rows",
        gain=_GAIN,
        rate_scale_hz=_RATE_SCALE_HZ,
        wiring_seed=seed,
    )


class DaleModel(CircuitModel):
    """A circuit all of whose synapses of one class share their plasticity, in training too.

    Parameters
    ----------
    circuit : Circuit
        In the rate form; rates begin at those of units without input, as in a simulation, and that is not trained.
    asked : Asked
    seed : int
        Of the input weights.
    dtype : numpy float type
    """

    def __init__(self, circuit: Circuit, asked: Asked, *, seed: int, dtype: type):
        # A weight of `abs` may pass through zero and keeps its sign; one of `relu` would stay there.
        trainable = Trainable(dale="abs", trains=_TRAINS)
        super().__init__(circuit, asked, trainable, seed=seed, dtype=dtype)
        silent = [float(p.activation(np.zeros(1))[0]) for p in circuit.populations]
        self.parts(self.theta)["start"][:] = np.repeat(silent, [p.size for p in circuit.populations])
        self._class_of = self.populations[self.senders]

    def pull_back_core(self, weights: RateWeights, by_weights: RateWeights, views: dict[str, np.ndarray]) -> None:
        """Fill in the derivatives of the parameters, those of plasticity averaged over the sources of a class."""
        super().pull_back_core(weights, by_weights, views)
        for name in np.unique(self._class_of):
            members = self._class_of == name
            for parameter in ("U", "tau_f_s", "tau_d_s"):
                # Equal values that take equal steps stay equal. Adam does not see the scale of a derivative.
                views[parameter][members] = views[parameter][members].mean()


class OdeModel(CellModel):
    """A neural ODE whose state flows from bin to bin and jumps at the unit's own spikes.

    In every bin the state h flows along its field, and is then drawn to ``tanh(W x + U h)`` of the inputs x: all the
    way where the bin before held a spike, a jump as at a sample of `cortexrnn.cells.ode`, and elsewhere the share
    ``1 - exp(-b / 20 ms)`` with the length b of a bin, so that inputs that change slowly reach it between spikes too.
    A bin counts as one with a spike where its standardised count is above 0.5; the network whose spikes are cut off has
    none. It is run bin by bin and not from spike to spike, because the rate is asked for in every bin.

    Parameters
    ----------
    n_hidden : int
    asked : Asked
        The inputs as the rungs have them: the count of the bin before is the first.
    seed : int
        Of the weights.
    dtype : numpy float type
    """

    def __init__(self, n_hidden: int, asked: Asked, *, seed: int, dtype: type):
        with_timing = asked._replace(n_inputs=asked.n_inputs + N_TIMING)
        super().__init__(CellNetwork(kind="ode", n_hidden=n_hidden), with_timing, seed=seed, dtype=dtype)
        self.n_inputs = asked.n_inputs
        self._gap = asked.dt_s / _FLOW_S
        self._share = -np.expm1(-asked.dt_s / _DRAWN_S)

    def pack(self, weights: Any) -> Any:
        """Pack the weights, with as many steps a bin as its length asks for."""
        return pack_ode_weights(weights, min(N_SUBSTEPS, int(np.ceil(self._gap / _LONGEST_STEP))))

    def forward(self, tile: Tile, core: Core, tape: Any) -> np.ndarray:
        """Sweep a tile forward; gives the hidden states."""
        return super().forward(self._timed(tile), core, tape)

    def backward(self, tile: Tile, by_hidden: np.ndarray, core: Core, tape: Any, gradient: Any, omega: Omega) -> float:
        """Sweep a tile back; adds the derivatives of the weights."""
        return super().backward(self._timed(tile), by_hidden, core, tape, gradient, omega)

    def system(self, inputs: np.ndarray, dt_s: float) -> CellSystem:
        """Give the network at a constant input."""
        lanes = np.repeat(np.asarray(inputs, float), N_LANES)[None]
        return super().system(self._with_timing(lanes)[0, ::N_LANES], dt_s)

    def _timed(self, tile: Tile) -> Tile:
        """Put gap and jump before the inputs of a tile."""
        return tile._replace(inputs=self._with_timing(tile.inputs))

    def _with_timing(self, inputs: np.ndarray) -> np.ndarray:
        """Put gap and jump before inputs, (n_steps, n_inputs * N_LANES)."""
        is_spike = inputs[:, :N_LANES] > _SPIKE
        jump = np.where(is_spike, inputs.dtype.type(1.0), inputs.dtype.type(self._share))
        return np.concatenate([np.full_like(jump, self._gap), jump, inputs], axis=1)


def raw_circuit(spec: Network, model: Model, scale: InputScale, log_baseline: float) -> Circuit:
    """Give a trained Dale network as a circuit of unscaled inputs at a constant baseline.

    Parameters
    ----------
    spec : Network
    model : Model
    scale : InputScale
    log_baseline : float
        Log of the expected count of a bin, which becomes part of the biases.

    Returns
    -------
    Circuit

    Raises
    ------
    OptionError
        If the network is of another cell.
    """
    if not isinstance(model, CircuitModel):
        raise OptionError(
            f"cell={spec.cell!r} is no circuit of rate units; expected a network with cell='dale'.",
            hint="Look at other cells through system().",
        )
    weights = model.core_weights().input.astype(float) / scale.spread
    bias = weights[:, -1] * (log_baseline - scale.mean[-1])
    channels: list[tuple[str, np.ndarray]] = []
    if spec.uses_own_spikes:
        bias = bias - weights[:, :-1] @ scale.mean[:-1]
        names = ["count", *(f"trace_{tau_s * 1e3:g}_ms" for tau_s in spec.trace_s)]
        channels = list(zip(names, weights[:, :-1].T, strict=True))
    return explicit_circuit(model, channels, name=spec.name.replace(" ", "_"), extra_bias=bias)
