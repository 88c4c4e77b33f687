"""Elementary functions: against NumPy in extended precision, at the edges, and against their derivation."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from cortexrnn.numerics import elementwise

DERIVATION = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "derive_polynomials.py"))


@njit
def _exp64(x, out):
    for i in range(x.size):
        out[i] = elementwise.exp64(x[i])


@njit
def _exp32(x, out):
    for i in range(x.size):
        out[i] = elementwise.exp32(x[i])


@njit
def _tanh64(x, out):
    for i in range(x.size):
        out[i] = elementwise.tanh64(x[i])


@njit
def _tanh32(x, out):
    for i in range(x.size):
        out[i] = elementwise.tanh32(x[i])


@njit
def _sigmoid64(x, out):
    for i in range(x.size):
        out[i] = elementwise.sigmoid64(x[i])


@njit
def _sigmoid32(x, out):
    for i in range(x.size):
        out[i] = elementwise.sigmoid32(x[i])


@njit
def _expm1_64(x, out):
    for i in range(x.size):
        out[i] = elementwise.expm1_64(x[i])


@njit
def _expm1_32(x, out):
    for i in range(x.size):
        out[i] = elementwise.expm1_32(x[i])


@njit
def _softplus64(x, out):
    for i in range(x.size):
        out[i] = elementwise.softplus64(x[i])


@njit
def _softplus32(x, out):
    for i in range(x.size):
        out[i] = elementwise.softplus32(x[i])


# The functions that take the width of their argument, as a caller's kernel uses them.
OF_WIDTH = {
    "exp": njit(lambda x: elementwise.exp(x)),
    "expm1": njit(lambda x: elementwise.expm1(x)),
    "one": njit(lambda x: elementwise.one(x)),
    "sigmoid": njit(lambda x: elementwise.sigmoid(x)),
    "softplus": njit(lambda x: elementwise.softplus(x)),
    "tanh": njit(lambda x: elementwise.tanh(x)),
}


def _logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


def _log_of_one_plus_exp(x):
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


# Kernel, precision, oracle, range, and the error that the docstring states.
ALL_FUNCTIONS = {
    "exp64": (_exp64, np.float64, np.exp, (-707.0, 708.0), 3e-16),
    "exp32": (_exp32, np.float32, np.exp, (-86.0, 87.0), 1.2e-7),
    "tanh64": (_tanh64, np.float64, np.tanh, (-25.0, 25.0), 4e-16),
    "tanh32": (_tanh32, np.float32, np.tanh, (-12.0, 12.0), 2.4e-7),
    "sigmoid64": (_sigmoid64, np.float64, _logistic, (-700.0, 700.0), 5e-16),
    "sigmoid32": (_sigmoid32, np.float32, _logistic, (-86.0, 86.0), 2.4e-7),
    "expm1_64": (_expm1_64, np.float64, np.expm1, (-707.0, 708.0), 4e-16),
    "expm1_32": (_expm1_32, np.float32, np.expm1, (-86.0, 87.0), 2e-7),
    "softplus64": (_softplus64, np.float64, _log_of_one_plus_exp, (-707.0, 1000.0), 6e-16),
    "softplus32": (_softplus32, np.float32, _log_of_one_plus_exp, (-86.0, 1000.0), 3e-7),
}


def _apply(kernel, values, dtype):
    x = np.asarray(values, dtype=dtype)
    out = np.empty_like(x)
    kernel(x, out)
    return out


@pytest.mark.parametrize("name", ALL_FUNCTIONS)
def test_relative_error_is_the_stated_one_against_extended_precision(name):
    kernel, dtype, oracle, limits, tolerance = ALL_FUNCTIONS[name]
    rng = np.random.default_rng(20)
    wide = rng.uniform(*limits, 100_000)
    x = np.concatenate((wide, rng.normal(size=100_000), rng.normal(size=50_000) * 1e-4)).astype(dtype)
    with np.errstate(over="ignore", under="ignore"):
        truth = oracle(x.astype(np.longdouble))
    np.testing.assert_array_less(np.abs((_apply(kernel, x, dtype) - truth) / truth), tolerance)


@pytest.mark.parametrize("name", ALL_FUNCTIONS)
def test_nan_stays_nan_and_nothing_overflows(name):
    kernel, dtype, _, _, _ = ALL_FUNCTIONS[name]
    out = _apply(kernel, [np.nan, 1e30, -1e30, -np.inf, 0.0, np.inf], dtype)
    assert np.isnan(out[0])
    assert np.isfinite(out[1:-1]).all()
    # Softplus is its argument there; the others saturate.
    assert np.isinf(out[-1]) == name.startswith("softplus")


@pytest.mark.parametrize(
    ("name", "at_zero", "at_infinity"),
    [("tanh64", 0.0, 1.0), ("sigmoid64", 0.5, 1.0), ("softplus64", float(np.log(2.0)), np.inf)],
)
def test_limits_are_exact(name, at_zero, at_infinity):
    kernel, dtype, _, _, _ = ALL_FUNCTIONS[name]
    assert _apply(kernel, [0.0, np.inf], dtype).tolist() == [at_zero, at_infinity]


@pytest.mark.parametrize("name", ["tanh64", "tanh32"])
def test_tanh_is_odd_to_the_bit(name):
    kernel, dtype, _, _, _ = ALL_FUNCTIONS[name]
    x = np.random.default_rng(3).normal(size=1000)
    np.testing.assert_array_equal(_apply(kernel, x, dtype), -_apply(kernel, -x, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OF_WIDTH)
def test_functions_of_width_keep_it_and_agree_with_python(name, dtype):
    kernel = OF_WIDTH[name]
    x = np.linspace(-5.0, 5.0, 101)
    by_kernel = [kernel(dtype(v)) for v in x]
    widths = {str(signature.args[0]): str(signature.return_type) for signature in kernel.nopython_signatures}
    assert widths[np.dtype(dtype).name] == np.dtype(dtype).name
    by_python = [getattr(elementwise, name)(float(dtype(v))) for v in x]
    # The stated errors are at most three units of the last place.
    np.testing.assert_allclose(by_kernel, by_python, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["expm1_64", "expm1_32"])
def test_expm1_is_zero_at_zero_and_minus_one_far_below(name):
    kernel, dtype, _, _, _ = ALL_FUNCTIONS[name]
    assert _apply(kernel, [0.0, -50.0, -1e30], dtype).tolist() == [0.0, -1.0, -1.0]


@pytest.mark.parametrize(
    ("function", "stored", "dtype"),
    [
        ("exp", elementwise.EXP32_COEFFICIENTS, np.float32),
        ("exp", elementwise.EXP64_COEFFICIENTS, np.float64),
        ("atanh", elementwise.ATANH32_COEFFICIENTS, np.float32),
        ("atanh", elementwise.ATANH64_COEFFICIENTS, np.float64),
    ],
)
def test_coefficients_are_those_of_the_derivation(function, stored, dtype):
    derived = DERIVATION["derive_coefficients"](function, len(stored) - 1)
    largest = float(DERIVATION["FUNCTIONS"][function][1][1])
    # High coefficients are divided differences, which lose digits where the extended precision has fewer; what counts
    # is their part of the sum.
    powers = largest ** np.arange(len(stored))
    np.testing.assert_allclose(powers * stored, powers * derived.astype(float), rtol=0.0, atol=np.finfo(dtype).eps)
    extended = float(np.finfo(np.longdouble).eps)
    assert DERIVATION["relative_error"](function, derived) < 0.3 * np.finfo(dtype).eps + 4.0 * extended


def test_ln2_is_split_exactly():
    high, low = DERIVATION["split_ln2"](42)
    assert (high, low) == (elementwise._LN2_HIGH64, elementwise._LN2_LOW64)
    # 42 bits times an exponent of at most 11 bits fit in the 53 bits of a float64.
    assert high * 2**42 == int(high * 2**42)
