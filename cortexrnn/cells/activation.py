"""The transfer function of a rate unit: what turns its input into its rate.

With ``v = gain (z - threshold)`` the kinds are::

    linear         v
    tanh           tanh(v)
    relu           max(v, 0)
    softplus       log(1 + exp(v))
    sigmoid        1 / (1 + exp(-v))
    wilson_cowan   1 / (1 + exp(-v)) - 1 / (1 + exp(gain threshold))
    power          gain max(z - threshold, 0)^exponent

The sigmoid of Wilson and Cowan (1972), doi:10.1016/S0006-3495(72)86068-5, is shifted so that no input gives no
rate. The power law is that of the supralinear stabilised network (Rubin, Van Hooser and Miller 2015,
doi:10.1016/j.neuron.2014.12.026), whose ``k`` is the gain here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.numerics.elementwise import expm1, sigmoid, softplus, tanh

KINDS = ("linear", "tanh", "relu", "softplus", "sigmoid", "wilson_cowan", "power")
# The kernel's branches, in the order of KINDS.
_LINEAR, _TANH, _RELU, _SOFTPLUS, _SIGMOID, _WILSON_COWAN, _POWER = range(len(KINDS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """A transfer function; call it with inputs to get rates.

    Attributes
    ----------
    kind : {"linear", "tanh", "relu", "softplus", "sigmoid", "wilson_cowan", "power"}
        Shape; the formulas stand at the head of the module.
    gain : float
        Slope scale, positive.
    threshold : float
        Input at which ``v`` is zero, in the input's unit.
    exponent : float
        Exponent of the power law, at least 1; the other kinds have none.

    Raises
    ------
    OptionError
        If the kind is unknown, a value is out of range, or an exponent is given to a kind that has none.
    """

    kind: str = "tanh"
    gain: float = 1.0
    threshold: float = 0.0
    exponent: float = 1.0

    def __post_init__(self):
        check_choice("kind", self.kind, KINDS)
        object.__setattr__(self, "gain", check_positive("gain", self.gain))
        object.__setattr__(self, "exponent", check_positive("exponent", self.exponent))
        object.__setattr__(self, "threshold", _check_finite("threshold", self.threshold))
        if self.kind != "power" and self.exponent != 1.0:
            raise OptionError(
                f"exponent={self.exponent!r} means nothing to an activation of kind {self.kind!r}.",
                hint="Leave it out, or take kind='power'.",
            )
        if self.exponent < 1.0:
            raise OptionError(
                f"exponent={self.exponent!r} is below 1: the slope would be infinite at threshold.",
                hint="Expected an exponent of at least 1; the published power laws have 2 to 5.",
            )

    def __call__(self, z):
        """Give the rates of inputs `z`, in their shape and precision (float32 or float64)."""
        inputs = _as_floats(z)
        rates = np.empty_like(inputs)
        activate(self.code, self.gain, self.threshold, self.exponent, inputs.reshape(-1), rates.reshape(-1))
        return rates[()]

    def slope(self, z):
        """Give the derivative of the rate with respect to the input, in its shape and precision.

        At the kink of a rectifying kind the slope is the one below it, zero.
        """
        inputs = _as_floats(z)
        gain, threshold = inputs.dtype.type(self.gain), inputs.dtype.type(self.threshold)
        above = inputs - threshold
        v = gain * above
        match self.kind:
            case "linear":
                slopes = np.where(np.isnan(v), v, gain)
            case "tanh":
                # 1 - tanh(v)^2 would lose its digits where it is small.
                slopes = 4.0 * gain * _bell(2.0 * v)
            case "relu":
                slopes = gain * np.heaviside(v, 0.0)
            case "softplus":
                slopes = gain * Activation(kind="sigmoid")(v)
            case "sigmoid" | "wilson_cowan":
                slopes = gain * _bell(v)
            case "power":
                slopes = gain * self.exponent * np.maximum(above, 0.0) ** (self.exponent - 1.0) * np.heaviside(v, 0.0)
        return slopes.astype(inputs.dtype, copy=False)[()]

    @property
    def code(self) -> int:
        """Number of the kind in `KINDS`, for `activate`."""
        return KINDS.index(self.kind)

    @property
    def lipschitz(self) -> float:
        """Largest slope; infinite for a power law with an exponent above 1."""
        if self.kind == "power" and self.exponent > 1.0:
            return math.inf
        return self.gain / 4.0 if self.kind in ("sigmoid", "wilson_cowan") else self.gain

    @property
    def is_nonnegative(self) -> bool:
        """Whether no input gives a negative rate."""
        return self.kind in ("relu", "softplus", "sigmoid", "power")

    @property
    def ceiling(self) -> float:
        """Rate that no input exceeds; infinite where there is none."""
        if self.kind in ("tanh", "sigmoid"):
            return 1.0
        if self.kind == "wilson_cowan":
            return _logistic(self.gain * self.threshold)
        return math.inf


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def activate(code, gain, threshold, exponent, z, out):
    """Apply an activation to a slice; the loops become SIMD code.

    The error is at most 6e-16 (float64) or 3e-7 (float32) of the rate given `v`, and for ``wilson_cowan`` of the
    larger of its two terms. A power law with an exponent other than 2 and 3 is a scalar loop.

    Parameters
    ----------
    code : int
        `Activation.code`.
    gain, threshold, exponent : float
        Of the activation.
    z, out : ndarray, shape (n,), C-contiguous, both float32 or both float64
        Inputs, and where the rates go. In place the result is the same, but ten times slower: the loops are
        SIMD code only where the two do not overlap.
    """
    g, theta = z.dtype.type(gain), z.dtype.type(threshold)
    zero = z.dtype.type(0.0)
    if code == _LINEAR:
        for i in range(z.size):
            out[i] = g * (z[i] - theta)
    elif code == _TANH:
        for i in range(z.size):
            out[i] = tanh(g * (z[i] - theta))
    elif code == _RELU:
        for i in range(z.size):
            v = g * (z[i] - theta)
            # This way round a NaN stays a NaN.
            out[i] = zero if v < zero else v
    elif code == _SOFTPLUS:
        for i in range(z.size):
            out[i] = softplus(g * (z[i] - theta))
    elif code == _SIGMOID:
        for i in range(z.size):
            out[i] = sigmoid(g * (z[i] - theta))
    elif code == _WILSON_COWAN:
        # In the same operations as below, so that an input of zero gives exactly zero.
        resting = sigmoid(g * (zero - theta))
        for i in range(z.size):
            out[i] = sigmoid(g * (z[i] - theta)) - resting
    else:
        _power_law(g, theta, z.dtype.type(exponent), z, out)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def slope_of_rate(code, gain, threshold, exponent, rate, out):
    """Give the slope of an activation where it takes the value `rate`; the loops become SIMD code.

    The rate says all about the slope, so that an adjoint sweep needs no inputs: ``gain (1 - r^2)`` for tanh,
    ``gain (1 - exp(-r))`` for softplus, and so on. At a kink it is the slope below it, zero.

    Parameters
    ----------
    code : int
        `Activation.code`.
    gain, threshold, exponent : float
        Of the activation.
    rate, out : ndarray, shape (n,), C-contiguous, both float32 or both float64
        Values of the activation, and where the slopes go.
    """
    kind = rate.dtype.type
    g, theta, unit = kind(gain), kind(threshold), kind(1.0)
    zero = unit - unit
    if code == _LINEAR:
        for i in range(rate.size):
            out[i] = g
    elif code == _TANH:
        for i in range(rate.size):
            out[i] = g * (unit - rate[i] * rate[i])
    elif code == _RELU:
        for i in range(rate.size):
            out[i] = g if rate[i] > zero else zero
    elif code == _SOFTPLUS:
        for i in range(rate.size):
            out[i] = -g * expm1(-rate[i])
    elif code == _SIGMOID:
        for i in range(rate.size):
            out[i] = g * rate[i] * (unit - rate[i])
    elif code == _WILSON_COWAN:
        resting = sigmoid(g * (zero - theta))
        for i in range(rate.size):
            s = rate[i] + resting
            out[i] = g * s * (unit - s)
    else:
        power = kind((exponent - 1.0) / exponent)
        factor = kind(exponent) * g
        for i in range(rate.size):
            above = rate[i] if rate[i] > zero else zero
            out[i] = factor * (above / g) ** power
            # A power of one has a slope below its threshold too, which is none.
            out[i] = out[i] if rate[i] > zero else zero


@njit(error_model="numpy", fastmath={"contract"})
def _power_law(gain, threshold, exponent, z, out):
    """Apply gain max(z - threshold, 0)^exponent; products for 2 and 3, because a general power is a scalar call."""
    zero = z.dtype.type(0.0)
    if exponent == 2.0:
        for i in range(z.size):
            above = z[i] - threshold
            above = zero if above < zero else above
            out[i] = gain * (above * above)
    elif exponent == 3.0:
        for i in range(z.size):
            above = z[i] - threshold
            above = zero if above < zero else above
            out[i] = gain * (above * above * above)
    else:
        for i in range(z.size):
            above = z[i] - threshold
            above = zero if above < zero else above
            out[i] = gain * above**exponent


def _bell(v):
    """Give the slope of the logistic sigmoid, to a few roundings of itself."""
    s = Activation(kind="sigmoid")(-abs(v))
    return s * (1.0 - s)


def _as_floats(z) -> np.ndarray:
    """Give inputs as a C-contiguous float array, float32 only if they are float32."""
    inputs = np.asarray(z)
    return np.ascontiguousarray(inputs, dtype=np.float32 if inputs.dtype == np.float32 else np.float64).reshape(
        inputs.shape
    )


def _check_finite(name: str, value: float) -> float:
    """Return `value` as a float, or raise OptionError where it is not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise OptionError(f"{name}={value!r} is not a number.") from None
    if not math.isfinite(number):
        raise OptionError(f"{name}={value!r} is not finite; expected a number in the input's unit.")
    return number


def _logistic(v: float) -> float:
    """Give 1 / (1 + exp(-v)) without overflow."""
    return 0.5 + 0.5 * math.tanh(0.5 * v)
