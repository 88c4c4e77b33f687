"""The picture of a spectrum: drawn eigenvalues over the prediction."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.circuit import Circuit, build_weights, plot_spectrum, predict_spectrum
from cortexrnn.circuit.eigenvalues import drawn_spectrum
from cortexrnn.errors import OptionError


def test_the_eigenvalues_are_those_of_the_drawn_weights():
    """Against NumPy on the same weights, paired by size; the prediction travels with them."""
    circuit = Circuit.balanced(50, gain=1.5, seed=2)
    spectrum = drawn_spectrum(circuit)
    values = np.linalg.eigvals(build_weights(circuit).total())
    np.testing.assert_allclose(np.sort(np.abs(spectrum["eigenvalues"])), np.sort(np.abs(values)), atol=1e-10)
    assert spectrum.attrs["radius"] == predict_spectrum(circuit).radius == pytest.approx(1.5)


def test_the_picture_holds_every_eigenvalue_and_goes_where_it_is_told(ax_of):
    """One point an eigenvalue."""
    ax = plot_spectrum(Circuit.random(40, gain=1.0), ax_of)
    assert ax is ax_of
    points = [line for line in ax.lines if line.get_linestyle() in ("None", "")]
    assert sum(len(line.get_xdata()) for line in points) + sum(len(c.get_offsets()) for c in ax.collections) >= 40


def test_a_circuit_without_a_matrix_is_refused():
    """Thirty thousand units and more have no dense weights."""
    with pytest.raises(OptionError, match="30001"):
        plot_spectrum(Circuit.random(30_001, gain=1.0))


@pytest.fixture
def ax_of():
    """Axes of a figure that no global list knows."""
    from matplotlib.figure import Figure

    return Figure().add_subplot()
