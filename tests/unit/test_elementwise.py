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
def _of_width(x, out):
    for i in range(x.size):
        out[i] = elementwise.tanh(x[i]) + elementwise.sigmoid(x[i]) * elementwise.exp(x[i])


def _logistic(x):
    return 1.0 / (1.0 + np.exp(-x))


# Kernel, precision, oracle, range, and the error that the docstring states.
ALL_FUNCTIONS = {
    "exp64": (_exp64, np.float64, np.exp, (-707.0, 708.0), 3e-16),
    "exp32": (_exp32, np.float32, np.exp, (-86.0, 87.0), 1.2e-7),
    "tanh64": (_tanh64, np.float64, np.tanh, (-25.0, 25.0), 4e-16),
    "tanh32": (_tanh32, np.float32, np.tanh, (-12.0, 12.0), 2.4e-7),
    "sigmoid64": (_sigmoid64, np.float64, _logistic, (-700.0, 700.0), 5e-16),
    "sigmoid32": (_sigmoid32, np.float32, _logistic, (-86.0, 86.0), 2.4e-7),
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
    out = _apply(kernel, [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0], dtype)
    assert np.isnan(out[0])
    assert np.isfinite(out[1:]).all()


@pytest.mark.parametrize(("name", "at_zero", "at_infinity"), [("tanh64", 0.0, 1.0), ("sigmoid64", 0.5, 1.0)])
def test_limits_are_exact(name, at_zero, at_infinity):
    kernel, dtype, _, _, _ = ALL_FUNCTIONS[name]
    assert _apply(kernel, [0.0, np.inf], dtype).tolist() == [at_zero, at_infinity]


@pytest.mark.parametrize("name", ["tanh64", "tanh32"])
def test_tanh_is_odd_to_the_bit(name):
    kernel, dtype, _, _, _ = ALL_FUNCTIONS[name]
    x = np.random.default_rng(3).normal(size=1000)
    np.testing.assert_array_equal(_apply(kernel, x, dtype), -_apply(kernel, -x, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_of_width_follow_their_argument_and_agree_with_python(dtype):
    x = np.linspace(-5.0, 5.0, 101)
    by_python = [elementwise.tanh(v) + elementwise.sigmoid(v) * elementwise.exp(v) for v in x]
    # A few roundings of the working precision.
    np.testing.assert_allclose(_apply(_of_width, x, dtype), by_python, rtol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("stored", "degree", "dtype"),
    [
        (elementwise.EXP32_COEFFICIENTS, 4, np.float32),
        (elementwise.EXP64_COEFFICIENTS, 9, np.float64),
    ],
)
def test_coefficients_are_those_of_the_derivation(stored, degree, dtype):
    derived = DERIVATION["derive_coefficients"](degree)
    extended = float(np.finfo(np.longdouble).eps)
    # High coefficients are divided differences, which lose ten digits of the precision they are derived in.
    tolerance = max(1e10 * extended, float(np.finfo(dtype).eps))
    np.testing.assert_allclose(np.array(stored, dtype), derived.astype(float), rtol=tolerance)
    assert DERIVATION["relative_error"](derived) < 0.3 * np.finfo(dtype).eps + 4.0 * extended


def test_ln2_is_split_exactly():
    high, low = DERIVATION["split_ln2"](42)
    assert (high, low) == (elementwise._LN2_HIGH64, elementwise._LN2_LOW64)
    # 42 bits times an exponent of at most 11 bits fit in the 53 bits of a float64.
    assert high * 2**42 == int(high * 2**42)
