"""The law that a projection's weights follow, with the mean and standard deviation that were asked for.

From a signed population mean and deviation are those of the MAGNITUDE and every draw is positive. A Gaussian
that is cut at zero loses its lower tail, and with it the mean and the deviation that were asked for. Here the
parent Gaussian is the one whose part above zero has exactly the mean and the deviation asked for (two moment
equations, one unknown, the cut's place in units of the parent's deviation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erfc, erfcinv, erfcx

from cortexrnn.circuit import fields

LAWS = ("gaussian", "lognormal", "gamma", "exponential", "constant")
# The part of a Gaussian above zero tends to an exponential, whose ratio is 1, and is not the law one means by then.
LARGEST_GAUSSIAN_RATIO = 0.9
_SQRT2 = math.sqrt(2.0)
_N_HALVINGS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightLaw:
    """Distribution of the weights of the connections that exist.

    Attributes
    ----------
    law : {"gaussian", "lognormal", "gamma", "exponential", "constant"}
        Shape. All but the Gaussian have one sign, that of the mean.
    mean : float
        Mean weight. From a signed population a magnitude of at least 0; the sign is the population's.
    sd : float
        Standard deviation. ``constant`` has none; ``exponential`` has the mean's, and it may be left at 0.

    Raises
    ------
    OptionError
        If the law is unknown or its mean and deviation do not fit together.
    """

    law: str = "constant"
    mean: float = 1.0
    sd: float = 0.0

    def __post_init__(self):
        fields.choice("law", self.law, LAWS)
        object.__setattr__(self, "mean", fields.number("mean", self.mean))
        sd = fields.number("sd", self.sd, expected="a standard deviation of at least 0", low=0.0)
        object.__setattr__(self, "sd", sd)
        if self.law == "constant" and sd != 0.0:
            fields.refuse("sd", sd, "0 for the law 'constant'", "Leave sd out, or take law = 'gaussian'.")
        if self.law == "exponential":
            if sd not in (0.0, abs(self.mean)):
                fix = "Leave sd out, or take law = 'gamma', whose deviation is free."
                fields.refuse("sd", sd, f"the mean's size {abs(self.mean):g} for the law 'exponential'", fix)
            object.__setattr__(self, "sd", abs(self.mean))
        if self.law in ("lognormal", "gamma") and (self.mean == 0.0 or sd == 0.0):
            field, value = ("mean", self.mean) if self.mean == 0.0 else ("sd", sd)
            expected = f"a value other than 0 for the law {self.law!r}"
            fix = "Take law = 'constant' where nothing varies, or 'gaussian' where the mean is 0."
            fields.refuse(field, value, expected, fix)

    def check_magnitude(self) -> None:
        """Raise OptionError where the law cannot give the magnitudes of a signed population."""
        if self.mean < 0.0:
            expected = "a magnitude of at least 0: the sign is the source population's"
            fields.refuse("mean", self.mean, expected, f"Write mean = {-self.mean:g}; inhibition stays negative.")
        if self.law == "gaussian" and self.sd > LARGEST_GAUSSIAN_RATIO * self.mean:
            expected = f"at most {LARGEST_GAUSSIAN_RATIO:g} of the mean for a Gaussian of one sign"
            fields.refuse("sd", self.sd, expected, "Take law = 'gamma' or 'lognormal', or lower sd.")

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...], *, is_magnitude: bool) -> np.ndarray:
        """Draw weights.

        Parameters
        ----------
        rng : numpy.random.Generator
        shape : tuple of int
        is_magnitude : bool
            Whether they are magnitudes of a signed population; then none is negative.

        Returns
        -------
        ndarray of float64
        """
        size, sign = abs(self.mean), math.copysign(1.0, self.mean)
        match self.law:
            case "constant":
                return np.full(shape, self.mean)
            case "exponential":
                return sign * rng.exponential(size, shape)
            case "gamma":
                return sign * rng.gamma((size / self.sd) ** 2, self.sd**2 / size, shape)
            case "lognormal":
                log_variance = math.log1p((self.sd / size) ** 2)
                return sign * rng.lognormal(math.log(size) - 0.5 * log_variance, math.sqrt(log_variance), shape)
        if not is_magnitude or self.sd == 0.0:
            return rng.normal(self.mean, self.sd, shape)
        return _draw_positive(self.mean, self.sd, rng, shape)


def positive_gaussian(mean: float, sd: float) -> tuple[float, float]:
    """Give the parent Gaussian whose part above zero has the given mean and deviation.

    With the cut at ``a`` deviations from the parent's mean and ``h(a) = pdf(a)/(1 - cdf(a))`` the part above has
    mean ``s (h - a)`` and variance ``s^2 (1 + a h - h^2)`` (Johnson, Kotz and Balakrishnan 1994, section 13.10.1).

    Parameters
    ----------
    mean, sd : float
        Asked for; ``0 < sd <= 0.9 mean``.

    Returns
    -------
    parent_mean, parent_sd : float
    """
    if mean > 36.0 * sd:
        # The cut removes less than the smallest float64.
        return mean, sd

    # The ratio of deviation to mean grows with the cut, from 1/37 to 0.999: halve the interval down to round-off.
    # SciPy's root finders would do, but importing them takes as long as the rest of this room.
    low, high = -37.0, 30.0
    for _ in range(_N_HALVINGS):
        cut = 0.5 * (low + high)
        h = _hazard(cut)
        ratio = math.sqrt(max(1.0 + cut * h - h * h, 0.0)) / (h - cut)
        low, high = (cut, high) if ratio < sd / mean else (low, cut)
    parent_sd = mean / (_hazard(cut) - cut)
    return -cut * parent_sd, parent_sd


def _draw_positive(mean: float, sd: float, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from the part above zero by inverting its distribution: nothing is redrawn, one number a weight."""
    parent_mean, parent_sd = positive_gaussian(mean, sd)
    # 1 - random() lies in (0, 1]; the largest value, 1, is the cut itself.
    survival = (1.0 - rng.random(shape)) * (0.5 * erfc(-parent_mean / parent_sd / _SQRT2))
    weights = parent_mean + parent_sd * (_SQRT2 * erfcinv(2.0 * survival))
    return np.maximum(weights, 0.0, out=weights)


def _hazard(a: float) -> float:
    """Give pdf(a)/(1 - cdf(a)) of the standard normal without cancellation."""
    return math.sqrt(2.0 / math.pi) / float(erfcx(a / _SQRT2))
