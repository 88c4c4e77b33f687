"""The eigenvalues of the weights that a circuit draws, beside what was predicted of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.circuit.build import build_weights
from cortexrnn.circuit.spec import Circuit
from cortexrnn.circuit.spectrum import predict_spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def drawn_spectrum(circuit: Circuit) -> xr.Dataset:
    """Give the eigenvalues of the weights that the wiring seed draws, with the prediction as attributes.

    Parameters
    ----------
    circuit : Circuit

    Returns
    -------
    xarray.Dataset
        ``eigenvalues``, and attributes ``radius`` and ``outliers``.
    """
    predicted = predict_spectrum(circuit)
    values = np.linalg.eigvals(build_weights(circuit).total()).astype(complex)
    attrs = {"radius": predicted.radius, "outliers": predicted.outliers}
    return xr.Dataset({"eigenvalues": ("eigenvalue", values)}, attrs=attrs)


def plot_spectrum(circuit: Circuit, ax: Axes | None = None) -> Axes:
    """Lay the eigenvalues of the drawn weights over the predicted bulk and outliers.

    Parameters
    ----------
    circuit : Circuit
    ax : matplotlib.axes.Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    OptionError
        If the circuit is too large for dense weights.

    Examples
    --------
    >>> plot_spectrum(Circuit.random(100, gain=1.5)).get_xlabel()
    'real part'
    """
    from cortexrnn.report import circuits

    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(4.4, 3.4), layout="constrained").add_subplot()
    return circuits.plot_spectrum(ax, drawn_spectrum(circuit))
