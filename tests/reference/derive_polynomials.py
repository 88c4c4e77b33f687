"""Derive the polynomial coefficients of cortexrnn/numerics/elementwise.py and print them.

The exponential of a reduced argument is written as exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2)/2. P interpolates
(exp(r) - 1 - r) / r^2 at Chebyshev nodes, in extended precision (np.longdouble, 64-bit significand), which is
within a small factor of the minimax polynomial. The last line of each block is the largest relative error of
exp(r) on the interval before rounding to the working precision.

Run ``python tests/reference/derive_polynomials.py``; the test of elementwise.py checks that its coefficients
are the ones derived here. NumPy only.
"""

from __future__ import annotations

import sys

import numpy as np

HALF_LN2 = np.log(np.longdouble(2)) / 2


def scaled_remainder(reduced: np.ndarray) -> np.ndarray:
    """Give (exp(r) - 1 - r) / r^2 from its Taylor series, exact to extended precision for |r| < 0.4."""
    term = np.full(reduced.shape, 0.5, dtype=np.longdouble)
    total = term.copy()
    for order in range(3, 32):
        term = term * reduced / order
        total = total + term
    return total


def derive_coefficients(degree: int) -> np.ndarray:
    """Interpolate the scaled remainder at the Chebyshev nodes; lowest power first, extended precision."""
    index = np.arange(degree + 1, dtype=np.longdouble)
    # A longdouble pi: the float64 constant would move the nodes, harmlessly, but differently on each platform.
    pi = np.longdouble("3.14159265358979323846264338327950288")
    nodes = HALF_LN2 * np.cos(pi * (index + np.longdouble(0.5)) / (degree + 1))
    divided = scaled_remainder(nodes)
    for order in range(1, degree + 1):
        divided[order:] = (divided[order:] - divided[order - 1 : -1]) / (nodes[order:] - nodes[:-order])
    coefficients = np.zeros(degree + 1, dtype=np.longdouble)
    for order in range(degree, -1, -1):
        shifted = np.concatenate(([np.longdouble(0)], coefficients[:-1]))
        coefficients = shifted - nodes[order] * coefficients
        coefficients[0] += divided[order]
    return coefficients


def relative_error(coefficients: np.ndarray) -> float:
    """Give the largest relative error of 1 + r + r^2 P(r) on the reduced interval."""
    reduced = np.linspace(-HALF_LN2, HALF_LN2, 20001, dtype=np.longdouble)
    value = np.zeros_like(reduced)
    for coefficient in coefficients[::-1]:
        value = value * reduced + coefficient
    return float(np.max(np.abs((1 + reduced + reduced**2 * value) / np.exp(reduced) - 1)))


def split_ln2(n_bits: int) -> tuple[float, float]:
    """Split ln(2) into a part of `n_bits` significant bits, exact when multiplied by a small integer, and the rest."""
    ln2 = np.log(np.longdouble(2))
    scale = np.longdouble(2) ** n_bits
    high = np.floor(ln2 * scale) / scale
    return float(high), float(ln2 - high)


if __name__ == "__main__":
    for name, degree, dtype, n_bits in (("32", 4, np.float32, 14), ("64", 9, np.float64, 42)):
        derived = derive_coefficients(degree)
        lines = [f"exp{name}: P of degree {degree}, lowest power first"]
        lines += [f"    {float(value)!r}" for value in derived.astype(dtype).astype(float)]
        lines += [f"    ln2 = {split_ln2(n_bits)!r}", f"    relative error {relative_error(derived):.2e}"]
        sys.stdout.write("\n".join(lines) + "\n")
