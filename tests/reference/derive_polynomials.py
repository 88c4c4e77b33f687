"""Derive the polynomial coefficients of cortexrnn/numerics/elementwise.py and print them.

Two functions of a reduced argument are written around a polynomial P::

    exp(r) = 1 + r + r^2 P(r),          abs(r) <= ln(2) / 2
    atanh(s) = s (1 + w P(w)),          w = s^2, 0 <= w <= 1/9

P interpolates what is left of the function at Chebyshev nodes, in extended precision (np.longdouble, 64-bit
significand), which is within a small factor of the minimax polynomial. The last line of each block is the largest
relative error of the function on its interval before rounding to the working precision.

Run ``python tests/reference/derive_polynomials.py``; the test of elementwise.py checks that its coefficients
are the ones derived here. NumPy only.
"""

from __future__ import annotations

import sys

import numpy as np

HALF_LN2 = np.log(np.longdouble(2)) / 2
NINTH = np.longdouble(1) / 9


def scaled_remainder(reduced: np.ndarray) -> np.ndarray:
    """Give (exp(r) - 1 - r) / r^2 from its Taylor series, exact to extended precision for abs(r) < 0.4."""
    term = np.full(reduced.shape, 0.5, dtype=np.longdouble)
    total = term.copy()
    for order in range(3, 32):
        term = term * reduced / order
        total = total + term
    return total


def atanh_remainder(square: np.ndarray) -> np.ndarray:
    """Give (atanh(s) / s - 1) / s^2 of s^2 from its Taylor series, exact to extended precision up to 1/9."""
    total = np.zeros(square.shape, dtype=np.longdouble)
    for order in range(30, -1, -1):
        total = total * square + np.longdouble(1) / (2 * order + 3)
    return total


# What is interpolated, where, and the function made of it with its truth.
FUNCTIONS = {
    "exp": (scaled_remainder, (-HALF_LN2, HALF_LN2), lambda r, p: 1 + r + r**2 * p, np.exp),
    "atanh": (atanh_remainder, (0 * NINTH, NINTH), lambda w, p: 1 + w * p, lambda w: 1 + w * atanh_remainder(w)),
}


def derive_coefficients(function: str, degree: int) -> np.ndarray:
    """Interpolate what is left of a function at the Chebyshev nodes; lowest power first, extended precision."""
    remainder, (low, high), _, _ = FUNCTIONS[function]
    index = np.arange(degree + 1, dtype=np.longdouble)
    # A longdouble pi: the float64 constant would move the nodes, harmlessly, but differently on each platform.
    pi = np.longdouble("3.14159265358979323846264338327950288")
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(pi * (index + np.longdouble(0.5)) / (degree + 1))
    divided = remainder(nodes)
    for order in range(1, degree + 1):
        divided[order:] = (divided[order:] - divided[order - 1 : -1]) / (nodes[order:] - nodes[:-order])
    coefficients = np.zeros(degree + 1, dtype=np.longdouble)
    for order in range(degree, -1, -1):
        shifted = np.concatenate(([np.longdouble(0)], coefficients[:-1]))
        coefficients = shifted - nodes[order] * coefficients
        coefficients[0] += divided[order]
    return coefficients


def relative_error(function: str, coefficients: np.ndarray) -> float:
    """Give the largest relative error of a function made of these coefficients on its interval."""
    _, (low, high), assemble, truth = FUNCTIONS[function]
    reduced = np.linspace(low, high, 20001, dtype=np.longdouble)
    value = np.zeros_like(reduced)
    for coefficient in coefficients[::-1]:
        value = value * reduced + coefficient
    return float(np.max(np.abs(assemble(reduced, value) / truth(reduced) - 1)))


def split_ln2(n_bits: int) -> tuple[float, float]:
    """Split ln(2) into a part of `n_bits` significant bits, exact when multiplied by a small integer, and the rest."""
    ln2 = np.log(np.longdouble(2))
    scale = np.longdouble(2) ** n_bits
    high = np.floor(ln2 * scale) / scale
    return float(high), float(ln2 - high)


if __name__ == "__main__":
    for name, degrees, dtype, n_bits in (
        ("32", {"exp": 4, "atanh": 3}, np.float32, 14),
        ("64", {"exp": 9, "atanh": 9}, np.float64, 42),
    ):
        lines = [f"ln2 for {name} bits = {split_ln2(n_bits)!r}"]
        for function, degree in degrees.items():
            derived = derive_coefficients(function, degree)
            lines += [f"{function}{name}: P of degree {degree}, lowest power first"]
            lines += [f"    {float(value)!r}" for value in derived.astype(dtype).astype(float)]
            lines += [f"    relative error {relative_error(function, derived):.2e}"]
        sys.stdout.write("\n".join(lines) + "\n")
