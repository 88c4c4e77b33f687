"""Activations: against NumPy's functions in extended precision, differences, and the stated bounds.

The relative errors are those of the docstring of `activate`, given v; v itself is computed as the kernel does, in the
working precision, because its rounding is the argument's and not the function's.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexrnn.cells.activation import KINDS, Activation, activate
from cortexrnn.errors import OptionError

ERROR = {np.float64: 6e-16, np.float32: 3e-7}
DTYPES = [np.float64, np.float32]
# One of every kind, with a gain and a threshold that are no power of two, and both paths of the power law.
ALL_ACTIVATIONS = {
    **{kind: Activation(kind=kind, gain=1.3, threshold=0.4) for kind in KINDS if kind != "power"},
    "power 1": Activation(kind="power", gain=0.7, threshold=-0.2),
    "power 2": Activation(kind="power", gain=0.04, threshold=-0.2, exponent=2.0),
    "power 3": Activation(kind="power", gain=0.04, threshold=0.3, exponent=3.0),
    "power 2.5": Activation(kind="power", gain=0.04, threshold=0.3, exponent=2.5),
}


def _truth(activation, z):
    """The rates in extended precision, from v and z - threshold in the working precision."""
    gain, threshold = z.dtype.type(activation.gain), z.dtype.type(activation.threshold)
    above = z - threshold
    v = (gain * above).astype(np.longdouble)
    logistic = 1.0 / (1.0 + np.exp(-v))
    match activation.kind:
        case "linear":
            return v
        case "tanh":
            return np.tanh(v)
        case "relu":
            return np.maximum(v, 0.0)
        case "softplus":
            return np.maximum(v, 0.0) + np.log1p(np.exp(-np.abs(v)))
        case "sigmoid":
            return logistic
        case "wilson_cowan":
            return logistic - 1.0 / (1.0 + np.exp(np.longdouble(gain * threshold)))
        case "power":
            return np.longdouble(gain) * np.maximum(above, 0.0).astype(np.longdouble) ** activation.exponent


def _inputs(dtype, seed=0):
    rng = np.random.default_rng(seed)
    wide, near = rng.uniform(-30.0, 30.0, 20_000), rng.normal(size=20_000)
    return np.concatenate([wide, near, [0.0, 0.4, -0.2, 0.3]]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL_ACTIVATIONS)
def test_rates_have_the_stated_error_against_extended_precision(name, dtype):
    activation = ALL_ACTIVATIONS[name]
    z = _inputs(dtype)
    rates, truth = activation(z), _truth(activation, z)
    # The difference of Wilson and Cowan has the error of its larger term.
    scale = np.maximum(np.abs(truth), 1.0 / (1.0 + math.exp(1.3 * 0.4))) if name == "wilson_cowan" else np.abs(truth)
    assert rates.dtype == dtype
    assert (np.abs(rates - truth) <= ERROR[dtype] * scale).all()


@pytest.mark.parametrize("name", ALL_ACTIVATIONS)
def test_slopes_equal_central_differences(name):
    activation = ALL_ACTIVATIONS[name]
    z = np.random.default_rng(1).uniform(-6.0, 6.0, 4000)
    step = 1e-5
    # A difference across a kink is no derivative.
    z = z[np.abs(z - activation.threshold) > 2.0 * step]
    difference = (activation(z + step) - activation(z - step)) / (2.0 * step)
    # step^2 / 6 of a third derivative of at most 5, and a rounding of rates of at most 10 divided by the step.
    np.testing.assert_allclose(
        activation.slope(z), difference, rtol=0.0, atol=5.0 * step**2 / 6.0 + 10.0 * 2e-16 / step
    )


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "wilson_cowan", "softplus", "power 2.5"])
def test_slopes_equal_the_complex_step_to_their_last_digits(name):
    activation = ALL_ACTIVATIONS[name]
    z = np.linspace(activation.threshold + 0.01, 10.0, 300)
    above = (z - activation.threshold) + 1e-200j
    v = activation.gain * above
    analytic = {
        "tanh": np.tanh(v),
        "sigmoid": 1.0 / (1.0 + np.exp(-v)),
        "wilson_cowan": 1.0 / (1.0 + np.exp(-v)),
        "softplus": np.log(1.0 + np.exp(v)),
        "power 2.5": activation.gain * above**2.5,
    }[name]
    # A few roundings each; v enters the exponential with a rounding of up to 13 / 2 last places.
    np.testing.assert_allclose(activation.slope(z), analytic.imag / 1e-200, rtol=30 * 2.2e-16)


@pytest.mark.parametrize("name", ALL_ACTIVATIONS)
def test_float32_slopes_are_those_of_float64(name):
    activation = ALL_ACTIVATIONS[name]
    z = np.random.default_rng(2).uniform(-4.0, 4.0, 1000).astype(np.float32)
    slopes = activation.slope(z)
    assert slopes.dtype == np.float32
    # z - threshold carries a rounding of 2e-7, times a second derivative of at most 4.
    np.testing.assert_allclose(slopes, activation.slope(z.astype(float)), rtol=2e-6, atol=8e-7)


@pytest.mark.parametrize("name", ALL_ACTIVATIONS)
def test_slope_never_exceeds_the_lipschitz_constant_and_reaches_it(name):
    activation = ALL_ACTIVATIONS[name]
    if activation.exponent > 1.0:
        assert activation.lipschitz == math.inf
        return
    z = np.concatenate([np.linspace(-40.0, 40.0, 8001), [activation.threshold]])
    # A few roundings.
    np.testing.assert_allclose(activation.slope(z).max(), activation.lipschitz, rtol=1e-14)


@pytest.mark.parametrize("name", ALL_ACTIVATIONS)
def test_stated_range_of_rates_holds_and_is_reached(name):
    activation = ALL_ACTIVATIONS[name]
    rates = activation(np.concatenate([np.linspace(-50.0, 50.0, 2001), [-1e6, 1e6]]))
    assert (rates.min() >= 0.0) == activation.is_nonnegative
    if math.isinf(activation.ceiling):
        assert rates.max() > 1e4
    else:
        assert rates.max() == pytest.approx(activation.ceiling, rel=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL_ACTIVATIONS)
def test_nan_stays_nan_in_rates_and_slopes(name, dtype):
    activation = ALL_ACTIVATIONS[name]
    z = np.array([np.nan, 0.5], dtype)
    assert np.isnan(activation(z)).tolist() == [True, False]
    assert np.isnan(activation.slope(z)).tolist() == [True, False]


def test_no_input_gives_exactly_no_rate_in_wilson_cowan():
    activation = Activation(kind="wilson_cowan", gain=1.2, threshold=2.8)
    assert [float(activation(dtype(0.0))) for dtype in DTYPES] == [0.0, 0.0]


def test_rates_of_the_published_units_by_hand():
    # Hennequin et al. (2018): k = 0.3, n = 2; Wilson and Cowan (1972): a = 1.2, theta = 2.8.
    assert float(Activation(kind="power", gain=0.3, exponent=2.0)(2.0)) == pytest.approx(1.2, rel=1e-15)
    by_hand = 1.0 / (1.0 + math.exp(-1.2 * 2.2)) - 1.0 / (1.0 + math.exp(1.2 * 2.8))
    assert float(Activation(kind="wilson_cowan", gain=1.2, threshold=2.8)(5.0)) == pytest.approx(by_hand, rel=1e-14)


def test_shape_and_order_of_the_inputs_are_kept_and_integers_become_floats():
    activation = Activation(kind="relu")
    z = np.arange(-6, 6).reshape(3, 4)
    np.testing.assert_array_equal(activation(z.T), np.maximum(z.T, 0))
    assert activation(z).dtype == np.float64
    assert np.shape(activation(-2.0)) == ()
    assert activation.slope(z).shape == (3, 4)


def test_kernel_leaves_its_input_alone_and_has_one_specialisation_a_precision():
    for dtype in DTYPES:
        for activation in ALL_ACTIVATIONS.values():
            z = np.linspace(-1.0, 1.0, 5).astype(dtype)
            activation(z)
            np.testing.assert_array_equal(z, np.linspace(-1.0, 1.0, 5).astype(dtype))
    widths = [str(signature[4]) for signature in activate.signatures]
    assert sorted(widths) == ["array(float32, 1d, C)", "array(float64, 1d, C)"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "swish"}, "kind='swish' is unknown; expected one of linear, tanh, relu"),
        ({"gain": 0.0}, r"gain=0\.0 is not a positive finite number"),
        ({"gain": "steep"}, "gain='steep' is not a number"),
        ({"threshold": math.nan}, "threshold=nan is not finite"),
        ({"threshold": None}, "threshold=None is not a number"),
        ({"kind": "tanh", "exponent": 2.0}, r"exponent=2\.0 means nothing to an activation of kind 'tanh'"),
        ({"kind": "power", "exponent": 0.5}, r"exponent=0\.5 is below 1"),
        ({"kind": "power", "exponent": -2.0}, r"exponent=-2\.0 is not a positive finite number"),
    ],
)
def test_options_that_cannot_be_used_are_named(options, message):
    with pytest.raises(OptionError, match=message):
        Activation(**options)
