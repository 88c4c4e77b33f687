"""From the states of a tile to the variables of a Dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from cortexrnn.dynamics.network import Network
from cortexrnn.dynamics.record import Record, Store
from cortexrnn.dynamics.tile import Kept, Tile
from cortexrnn.errors import OptionError


class Observer:
    """Turns kept states into rates, synaptic states and currents of the chosen units.

    Parameters
    ----------
    network : Network
    record : Record
    dtype : numpy float type

    Raises
    ------
    OptionError
        If units do not exist, or currents are asked of populations that have no sign.
    """

    def __init__(self, network: Network, record: Record, dtype: np.dtype):
        self.units = record.chosen(network.circuit)
        self._network, self._record, self._dtype = network, record, dtype
        mixed = [population.name for population in network.circuit.populations if population.sign == "mixed"]
        if record.currents and mixed:
            raise OptionError(
                f"currents cannot be kept: population {mixed[0]!r} is mixed, so its current is neither excitatory "
                "nor inhibitory.",
                hint="Give every population a sign, or leave currents out.",
            )

    def layout(self) -> dict[str, tuple[np.dtype, dict[str, Any]]]:
        """Give precision and attributes of every variable."""
        # A rate of 1 is either a hertz or a number without unit, which rate_scale_hz turns into hertz.
        is_hertz = self._network.circuit.rate_scale_hz == 1.0
        variables = {"rate": (self._dtype, {"units": "Hz" if is_hertz else "1", "long_name": "rate"})}
        for name, (u, x) in self._synapses().items():
            of = f" of {name}" if len(self._synapses()) > 1 else ""
            variables[u] = (self._dtype, {"units": "1", "long_name": f"utilisation{of}"})
            variables[x] = (self._dtype, {"units": "1", "long_name": f"resources{of}"})
        if self._record.currents:
            for name, what in (("e", "recurrent excitatory"), ("i", "recurrent inhibitory"), ("ext", "external")):
                variables[f"current_{name}"] = (self._dtype, {"units": "1", "long_name": f"{what} current"})
        return variables

    def put(self, store: Store, tile: Tile, kept: Kept, first: int) -> None:
        """Store what a tile did at the kept moments from number `first` on."""
        lanes = len(tile.trials)
        n_kept = len(kept.state.y)
        trials, times = slice(tile.trials.start, tile.trials.start + tile.n_real), slice(first, first + n_kept)

        def store_as(name: str, values: np.ndarray) -> None:
            store.put(name, trials, times, values[:, :, : tile.n_real])

        rate = self._network.rates(kept.state, lanes).reshape(n_kept, -1, lanes)
        store_as("rate", rate[:, self.units])
        for name, (u, x) in self._synapses().items():
            place, units = self._network.plastic_unit[name]
            for variable, values in ((u, kept.state.u), (x, kept.state.x)):
                laid_out = np.full(rate.shape, np.nan, self._dtype)
                laid_out[:, units] = values.reshape(n_kept, -1, lanes)[:, place]
                store_as(variable, laid_out[:, self.units])
        if self._record.currents:
            excitatory, inhibitory = self._network.currents(kept.state, lanes, self.units)
            store_as("current_e", excitatory)
            store_as("current_i", inhibitory)
            external = kept.external[:, self.units]
            store_as("current_ext", np.broadcast_to(external, (*external.shape[:2], lanes)))

    def _synapses(self) -> dict[str, tuple[str, str]]:
        """Give the names of the variables that hold the state of every class of plasticity."""
        if not self._record.plasticity:
            return {}
        names = list(self._network.circuit.plasticity)
        return {names[0]: ("u", "x")} if len(names) == 1 else {name: (f"u_{name}", f"x_{name}") for name in names}
