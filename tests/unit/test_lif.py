"""Firing rates of LIF neurons. Oracles: quadrature of Siegert's integral, the noiseless neuron's closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfcx

from cortexrnn.cells.activation import Activation
from cortexrnn.dynamics.lif import LIF, Transfer, fit_transfer, lif_rate_hz
from cortexrnn.errors import OptionError

NEURON = LIF(tau_m_s=0.01, refractory_s=0.002)


@pytest.mark.parametrize(
    ("mean", "noise_sd"), [(0.5, 0.3), (1.0, 0.2), (2.0, 0.1), (0.2, 0.2), (-1.0, 0.4), (3.0, 0.5)]
)
def test_the_rate_is_siegerts(mean, noise_sd):
    scale = np.sqrt(2.0) * noise_sd
    integral, _ = quad(lambda y: erfcx(-y), -mean / scale, (1.0 - mean) / scale, epsabs=0.0, epsrel=1e-12)
    expected = 1.0 / (0.002 + 0.01 * np.sqrt(np.pi) * integral)
    assert lif_rate_hz(mean, noise_sd, NEURON) == pytest.approx(expected, rel=1e-9)


def test_little_noise_far_above_threshold_gives_the_noiseless_rate():
    """The correction is of the order of noise_sd^2: 1e-4."""
    mean = np.array([1.5, 2.0, 5.0])
    expected = 1.0 / (0.002 + 0.01 * np.log(mean / (mean - 1.0)))
    np.testing.assert_allclose(lif_rate_hz(mean, 0.01, NEURON), expected, rtol=3e-4)


def test_the_rate_grows_with_the_mean_from_nothing_to_the_refractory_limit():
    rates = lif_rate_hz(np.linspace(-50.0, 2000.0, 4001), 0.2, NEURON)
    assert rates[0] == 0.0
    assert (np.diff(rates) >= 0.0).all()
    assert 450.0 < rates[-1] < 500.0


def test_a_step_of_time_lowers_the_rate_as_the_root_of_the_step():
    """Missed crossings: the loss is of the order of sqrt(dt), so four times the step doubles it, to a tenth."""
    rate = lif_rate_hz(1.0, 0.3, NEURON)
    losses = [rate - lif_rate_hz(1.0, 0.3, NEURON, dt_s=dt_s) for dt_s in (1e-5, 4e-5)]
    assert losses[1] / losses[0] == pytest.approx(2.0, rel=0.1)


def test_a_fit_finds_the_neuron_behind_a_curve_of_its_own():
    """A power law from 0 to 40 Hz is a noisy neuron's to 2 % of the highest rate (Hansel and van Vreeswijk 2002)."""
    fits = [
        fit_transfer(
            Activation(kind="power", gain=gain, exponent=2.0), 1.0, np.linspace(0.0, 12.0, 50), NEURON, dt_s=1e-4
        )
        for gain in (0.1, 0.3)
    ]
    for fit in fits:
        assert fit.largest_error_hz < 0.02 * fit.highest_hz
    assert fits[1].slope > fits[0].slope


def test_the_reported_error_is_that_of_the_fitted_curve():
    activation, inputs = Activation(kind="softplus"), np.linspace(-2.0, 3.0, 40)
    fit = fit_transfer(activation, 10.0, inputs, NEURON, dt_s=1e-4)
    assert isinstance(fit, Transfer)
    curve = lif_rate_hz(fit.offset + fit.slope * inputs, fit.noise_sd, NEURON, dt_s=1e-4)
    error = abs(curve - 10.0 * activation(inputs)).max()
    assert 0.5 * fit.largest_error_hz < error <= fit.largest_error_hz * (1.0 + 1e-6)
    assert fit.largest_error_hz < 0.02 * fit.highest_hz


@pytest.mark.parametrize(
    ("kind", "scale_hz", "message"),
    [
        ("tanh", 10.0, r"rates from -9\.\d+ to 9\.\d+ Hz cannot be those of spikes"),
        ("sigmoid", 500.0, r"a rate of 4\d\d(\.\d+)? Hz is too fast for a refractory period of 0\.002 s"),
    ],
)
def test_rates_that_no_neuron_has_are_refused(kind, scale_hz, message):
    with pytest.raises(OptionError, match=message):
        fit_transfer(Activation(kind=kind), scale_hz, np.linspace(-3.0, 3.0, 20), NEURON, dt_s=1e-4)


@pytest.mark.parametrize("settings", [{"tau_m_s": 0.0}, {"refractory_s": -0.001}, {"refractory_s": np.nan}])
def test_a_neuron_that_cannot_be_is_refused(settings):
    with pytest.raises(OptionError, match=next(iter(settings))):
        LIF(**settings)
