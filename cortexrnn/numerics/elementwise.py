"""Exponential, sigmoid, tanh and softplus that a compiler turns into SIMD code inside other kernels.

Numba's wheels come without a vector mathematics library, so ``math.exp`` in a loop is a scalar call and costs
ten to forty times what these polynomials do. The functions take and return scalars; call them in a plain loop
over a contiguous array and the loop vectorises. Coefficients and the split of ln 2 come from
``tests/reference/derive_polynomials.py``.

A NaN stays a NaN. Outside the stated range the result saturates instead of overflowing to infinity. Rounding to
an integer adds and subtracts a large constant, which survives ``contract`` but not ``reassoc``; the functions are
compiled with their own flags, so callers may use any.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

_LOG2_E = 1.4426950408889634
# Adding 1.5 * 2**(significand bits) leaves the rounded integer in the low bits of the sum.
_ROUND64 = 6755399441055744.0
_ROUND32 = np.float32(12582912.0)
_LN2_HIGH64, _LN2_LOW64 = 0.6931471805598903, 5.497924164543644e-14
_LN2_HIGH32, _LN2_LOW32 = np.float32(0.693115234375), np.float32(3.194618494530943e-05)
_LOG2_E32 = np.float32(_LOG2_E)

EXP64_COEFFICIENTS = (
    0.5000000000000001,
    0.16666666666666669,
    0.041666666666624164,
    0.00833333333333013,
    0.00138888889171972,
    0.00019841269862858898,
    2.4801521321319997e-05,
    2.7557268670148492e-06,
    2.762007639958379e-07,
    2.510030864722687e-08,
)
EXP32_COEFFICIENTS = (
    np.float32(0.5),
    np.float32(0.16666577756404877),
    np.float32(0.041666556149721146),
    np.float32(0.008363173343241215),
    np.float32(0.0013926175888627768),
)
ATANH64_COEFFICIENTS = (
    0.3333333333333333,
    0.20000000000007292,
    0.14285714283554343,
    0.11111111358717193,
    0.09090894717911292,
    0.07692785036502565,
    0.06657072045679366,
    0.060005368977609046,
    0.044003670720847196,
    0.08082026728361193,
)
ATANH32_COEFFICIENTS = (
    np.float32(0.33333319425582886),
    np.float32(0.20003780722618103),
    np.float32(0.14118309319019318),
    np.float32(0.1342574954032898),
)


@intrinsic
def _power_of_two64(typing_context, rounded):
    """Give 2**n from the float64 sum n + _ROUND64, by moving its low bits into the exponent."""

    def emit(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(64))
        bits = builder.shl(bits, ir.Constant(ir.IntType(64), 52))
        bits = builder.add(bits, ir.Constant(ir.IntType(64), 1023 << 52))
        return builder.bitcast(bits, ir.DoubleType())

    return types.float64(types.float64), emit


@intrinsic
def _power_of_two32(typing_context, rounded):
    """Give 2**n from the float32 sum n + _ROUND32, by moving its low bits into the exponent."""

    def emit(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(32))
        bits = builder.shl(bits, ir.Constant(ir.IntType(32), 23))
        bits = builder.add(bits, ir.Constant(ir.IntType(32), 127 << 23))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), emit


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def _exp_parts64(x):
    """Give s = 2**n and p = exp(r) - 1 with x = n ln 2 + r, for abs(x) <= 709."""
    shifted = x * _LOG2_E + _ROUND64
    n = shifted - _ROUND64
    r = (x - n * _LN2_HIGH64) - n * _LN2_LOW64
    p = EXP64_COEFFICIENTS[9]
    p = p * r + EXP64_COEFFICIENTS[8]
    p = p * r + EXP64_COEFFICIENTS[7]
    p = p * r + EXP64_COEFFICIENTS[6]
    p = p * r + EXP64_COEFFICIENTS[5]
    p = p * r + EXP64_COEFFICIENTS[4]
    p = p * r + EXP64_COEFFICIENTS[3]
    p = p * r + EXP64_COEFFICIENTS[2]
    p = p * r + EXP64_COEFFICIENTS[1]
    p = p * r + EXP64_COEFFICIENTS[0]
    return _power_of_two64(shifted), (p * r) * r + r


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def _exp_parts32(x):
    """Give s = 2**n and p = exp(r) - 1 with x = n ln 2 + r, for -87 <= x <= 88."""
    shifted = x * _LOG2_E32 + _ROUND32
    n = shifted - _ROUND32
    r = (x - n * _LN2_HIGH32) - n * _LN2_LOW32
    p = EXP32_COEFFICIENTS[4]
    p = p * r + EXP32_COEFFICIENTS[3]
    p = p * r + EXP32_COEFFICIENTS[2]
    p = p * r + EXP32_COEFFICIENTS[1]
    p = p * r + EXP32_COEFFICIENTS[0]
    return _power_of_two32(shifted), (p * r) * r + r


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def exp64(x):
    """Give exp(x) in float64 to 3e-16 relative; saturates at exp(-708) and exp(709)."""
    # Written as comparisons, not min and max, so that a NaN falls through both.
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    s, p = _exp_parts64(x)
    return s * p + s


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def exp32(x):
    """Give exp(x) in float32 to 1.2e-7 relative; saturates at exp(-87) and exp(88)."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    s, p = _exp_parts32(x)
    return s * p + s


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def expm1_64(x):
    """Give exp(x) - 1 in float64 to 4e-16 relative, small arguments included; saturates as `exp64`."""
    x = -708.0 if x < -708.0 else x
    x = 709.0 if x > 709.0 else x
    s, p = _exp_parts64(x)
    return s * p + (s - 1.0)


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def expm1_32(x):
    """Give exp(x) - 1 in float32 to 2e-7 relative, small arguments included; saturates as `exp32`."""
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    s, p = _exp_parts32(x)
    return s * p + (s - np.float32(1.0))


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def tanh64(x):
    """Give tanh(x) in float64 to 4e-16 relative, small arguments included."""
    t = 2.0 * abs(x)
    t = 40.0 if t > 40.0 else t
    s, p = _exp_parts64(t)
    expm1 = s * p + (s - 1.0)
    return math.copysign(expm1 / (expm1 + 2.0), x)


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def tanh32(x):
    """Give tanh(x) in float32 to 2.4e-7 relative, small arguments included."""
    t = np.float32(2.0) * abs(x)
    t = np.float32(20.0) if t > np.float32(20.0) else t
    s, p = _exp_parts32(t)
    expm1 = s * p + (s - np.float32(1.0))
    return np.float32(math.copysign(expm1 / (expm1 + np.float32(2.0)), x))


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def sigmoid64(x):
    """Give 1 / (1 + exp(-x)) in float64 to 5e-16 relative; saturates at exp(-709)."""
    return 1.0 / (1.0 + exp64(-x))


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def sigmoid32(x):
    """Give 1 / (1 + exp(-x)) in float32 to 2.4e-7 relative; saturates at exp(-88)."""
    return np.float32(1.0) / (np.float32(1.0) + exp32(-x))


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def softplus64(x):
    """Give log(1 + exp(x)) in float64 to 6e-16 relative; at least exp(-708)."""
    e = exp64(-abs(x))
    # log(1 + e) = 2 atanh(e / (2 + e)), whose argument never exceeds a third.
    s = e / (2.0 + e)
    w = s * s
    p = ATANH64_COEFFICIENTS[9]
    p = p * w + ATANH64_COEFFICIENTS[8]
    p = p * w + ATANH64_COEFFICIENTS[7]
    p = p * w + ATANH64_COEFFICIENTS[6]
    p = p * w + ATANH64_COEFFICIENTS[5]
    p = p * w + ATANH64_COEFFICIENTS[4]
    p = p * w + ATANH64_COEFFICIENTS[3]
    p = p * w + ATANH64_COEFFICIENTS[2]
    p = p * w + ATANH64_COEFFICIENTS[1]
    p = p * w + ATANH64_COEFFICIENTS[0]
    s = 2.0 * s
    return (0.0 if x < 0.0 else x) + ((p * w) * s + s)


@njit(forceinline=True, fastmath={"contract"}, error_model="numpy")
def softplus32(x):
    """Give log(1 + exp(x)) in float32 to 3e-7 relative; at least exp(-87)."""
    e = exp32(-abs(x))
    s = e / (np.float32(2.0) + e)
    w = s * s
    p = ATANH32_COEFFICIENTS[3]
    p = p * w + ATANH32_COEFFICIENTS[2]
    p = p * w + ATANH32_COEFFICIENTS[1]
    p = p * w + ATANH32_COEFFICIENTS[0]
    s = np.float32(2.0) * s
    return (np.float32(0.0) if x < np.float32(0.0) else x) + ((p * w) * s + s)


def sigmoid(x):
    """Give the logistic sigmoid in the precision of `x`; for use inside kernels compiled for either precision."""
    return float(1.0 / (1.0 + np.exp(-x)))


def tanh(x):
    """Give tanh in the precision of `x`; for use inside kernels compiled for either precision."""
    return math.tanh(x)


def exp(x):
    """Give the exponential in the precision of `x`; for use inside kernels compiled for either precision."""
    return math.exp(x)


def expm1(x):
    """Give exp(x) - 1 in the precision of `x`; for use inside kernels compiled for either precision."""
    return math.expm1(x)


def one(x):
    """Give 1 in the precision of `x`: a literal 1.0 would turn float32 arithmetic into float64."""
    return type(x)(1)


def softplus(x):
    """Give log(1 + exp(x)) in the precision of `x`; for use inside kernels compiled for either precision."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@overload(sigmoid, inline="always")
def _sigmoid_of_width(x):
    """Choose the sigmoid of the argument's precision at compile time."""
    return (lambda x: sigmoid32(x)) if x is types.float32 else (lambda x: sigmoid64(x))


@overload(tanh, inline="always")
def _tanh_of_width(x):
    """Choose the tanh of the argument's precision at compile time."""
    return (lambda x: tanh32(x)) if x is types.float32 else (lambda x: tanh64(x))


@overload(exp, inline="always")
def _exp_of_width(x):
    """Choose the exponential of the argument's precision at compile time."""
    return (lambda x: exp32(x)) if x is types.float32 else (lambda x: exp64(x))


@overload(softplus, inline="always")
def _softplus_of_width(x):
    """Choose the softplus of the argument's precision at compile time."""
    return (lambda x: softplus32(x)) if x is types.float32 else (lambda x: softplus64(x))


@overload(expm1, inline="always")
def _expm1_of_width(x):
    """Choose exp(x) - 1 of the argument's precision at compile time."""
    return (lambda x: expm1_32(x)) if x is types.float32 else (lambda x: expm1_64(x))


@overload(one, inline="always")
def _one_of_width(x):
    """Choose the 1 of the argument's precision at compile time."""
    return (lambda x: np.float32(1.0)) if x is types.float32 else (lambda x: 1.0)
