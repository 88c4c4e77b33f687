"""How a recording comes from and goes to other libraries and files; each method leads to its one door."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import brian2
    import neo
    import pandas as pd
    import pynapple
    import xarray as xr

    from cortexrnn.spikes.recording import Recording


class Exchange:
    """The part of a Recording that talks to others; heavy libraries are imported behind the doors."""

    __slots__ = ()

    @classmethod
    def from_neo(cls, block: neo.Block) -> Recording:
        """Make a recording of a Neo block: see `cortexrnn.spikes.export.from_neo`."""
        from cortexrnn.spikes.export import from_neo

        return from_neo(block)

    def to_neo(self) -> neo.Block:
        """Make a Neo block: see `cortexrnn.spikes.export.to_neo`."""
        from cortexrnn.spikes.export import to_neo

        return to_neo(self)

    def to_nwb(self, path: str | Path) -> Path:
        """Write an NWB file: see `cortexrnn.spikes.export.to_nwb`."""
        from cortexrnn.spikes.export import to_nwb

        return to_nwb(self, path)

    def to_xarray(self) -> xr.Dataset:
        """Make a flat xarray Dataset: see `cortexrnn.spikes.export.to_xarray`."""
        from cortexrnn.spikes.export import to_xarray

        return to_xarray(self)

    @classmethod
    def from_xarray(cls, dataset: xr.Dataset) -> Recording:
        """Undo `to_xarray`: see `cortexrnn.spikes.export.from_xarray`."""
        from cortexrnn.spikes.export import from_xarray

        return from_xarray(dataset)

    @classmethod
    def from_pandas(cls, table: pd.DataFrame, **given: Any) -> Recording:
        """Make a recording of a table with one spike a row: see `cortexrnn.spikes.live.from_pandas`."""
        from cortexrnn.spikes.live import from_pandas

        return from_pandas(table, **given)

    @classmethod
    def from_pynapple(cls, spikes: Any, epochs: Any = None) -> Recording:
        """Make a recording of a pynapple TsGroup or Ts: see `cortexrnn.spikes.live.from_pynapple`."""
        from cortexrnn.spikes.live import from_pynapple

        return from_pynapple(spikes, epochs)

    def to_pynapple(self) -> tuple[pynapple.TsGroup, pynapple.IntervalSet | None]:
        """Make a pynapple TsGroup and an IntervalSet: see `cortexrnn.spikes.live.to_pynapple`."""
        from cortexrnn.spikes.live import to_pynapple

        return to_pynapple(self)

    @classmethod
    def from_spikeinterface(cls, sorting: Any, **given: Any) -> Recording:
        """Make a recording of a SpikeInterface sorting: see `cortexrnn.spikes.live.from_spikeinterface`."""
        from cortexrnn.spikes.live import from_spikeinterface

        return from_spikeinterface(sorting, **given)

    @classmethod
    def from_brian2(cls, monitor: Any, **given: Any) -> Recording:
        """Make a recording of a Brian2 SpikeMonitor: see `cortexrnn.spikes.live.from_brian2`."""
        from cortexrnn.spikes.live import from_brian2

        return from_brian2(monitor, **given)

    def to_spike_generator(self, **given: Any) -> brian2.SpikeGeneratorGroup:
        """Make a Brian2 SpikeGeneratorGroup: see `cortexrnn.spikes.live.to_spike_generator`."""
        from cortexrnn.spikes.live import to_spike_generator

        return to_spike_generator(self, **given)
