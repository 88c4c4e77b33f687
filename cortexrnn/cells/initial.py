"""Weights that a vanilla, LSTM or GRU network starts from, every array from a stream of its own.

Without a wish everything is as in PyTorch: uniform in +-1/sqrt(n_hidden), start states zero. A recurrent matrix may be
orthogonal instead (Saxe, McClelland and Ganguli 2014, arXiv:1312.6120) or a multiple of the identity, which with
rectified units makes the IRNN of Le, Jaitly and Hinton (2015, arXiv:1504.00941); biases are then zero. The gate that
keeps the state, the forget gate of an LSTM and the update gate of a GRU, may get a bias that opens it (Gers,
Schmidhuber and Cummins 2000, doi:10.1162/089976600300015015) or the chrono biases of Tallec and Ollivier (2018,
arXiv:1804.11188), which spread the time constants of the units over what the task needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream

RECURRENT = ("uniform", "orthogonal", "identity")


@dataclass(frozen=True, kw_only=True, slots=True)
class Initial:
    """How weights are drawn.

    Attributes
    ----------
    recurrent : {"uniform", "orthogonal", "identity"}
        The recurrent matrix; of a gated cell that of every gate by itself. The identity is for vanilla cells.
    gain : float
        Factor of an orthogonal matrix or of the identity, positive.
    keep_bias : float or None
        Bias of the gate that keeps the state, the sum of PyTorch's two; None for a random one.
    chrono_steps : int or None
        Longest memory in steps, at least 3: the bias of the gate that keeps is ``log(u)`` with u uniform in
        1 to ``chrono_steps - 1``, and an LSTM's input gate gets the negative of it.

    Raises
    ------
    OptionError
        If a value is unknown or out of range, or two wishes exclude each other.
    """

    recurrent: str = "uniform"
    gain: float = 1.0
    keep_bias: float | None = None
    chrono_steps: int | None = None

    def __post_init__(self):
        check_choice("recurrent", self.recurrent, RECURRENT)
        object.__setattr__(self, "gain", check_positive("gain", self.gain))
        if self.recurrent == "uniform" and self.gain != 1.0:
            raise OptionError(
                f"gain={self.gain!r} means nothing to uniform weights.", hint="Leave it out, or take 'orthogonal'."
            )
        if self.keep_bias is not None and not math.isfinite(self.keep_bias):
            raise OptionError(f"keep_bias={self.keep_bias!r} is not finite; 1.0 opens the gate at the start.")
        if self.chrono_steps is not None:
            object.__setattr__(self, "chrono_steps", check_count("chrono_steps", self.chrono_steps, at_least=3))
            if self.keep_bias is not None:
                raise OptionError(
                    f"keep_bias={self.keep_bias!r} and chrono_steps={self.chrono_steps!r} both set one bias.",
                    hint="Give one of them.",
                )


UNIFORM = Initial()


def draw_arrays(
    n_gates: int, n_inputs: int, n_hidden: int, *, seed: int, initial: Initial, norm: bool
) -> dict[str, np.ndarray]:
    """Draw weights and biases, gates stacked; the bias of a gate that keeps is left to `draw_keep_bias`.

    Parameters
    ----------
    n_gates, n_inputs, n_hidden : int
    seed : int
    initial : Initial
    norm : bool
        Whether there is layer norm, whose gain starts at one.

    Returns
    -------
    dict of ndarray
        ``input`` (n_gates n_hidden, n_inputs), ``hidden`` (n_gates n_hidden, n_hidden), ``input_bias`` and
        ``hidden_bias`` (n_gates n_hidden,), ``norm_gain`` (n_gates n_hidden,) or (0,), float64.

    Raises
    ------
    OptionError
        If a size is not a count, or the cell has no gates, or gates, that the wish is about.
    """
    n_hidden = check_count("n_hidden", n_hidden)
    n_inputs = check_count("n_inputs", n_inputs, at_least=0)
    _check_fits(n_gates, initial)
    bound = 1.0 / math.sqrt(n_hidden)

    def uniform(name: str, *shape: int) -> np.ndarray:
        return stream(seed, "cell", name).uniform(-bound, bound, shape)

    n_rows = n_gates * n_hidden
    drawn, gain = {"input": uniform("input", n_rows, n_inputs)}, np.ones(n_rows if norm else 0)
    if initial.recurrent == "uniform":
        return drawn | {
            "hidden": uniform("hidden", n_rows, n_hidden),
            "input_bias": uniform("input bias", n_rows),
            "hidden_bias": uniform("hidden bias", n_rows),
            "norm_gain": gain,
        }
    if initial.recurrent == "identity":
        hidden = np.eye(n_hidden)
    else:
        hidden = np.concatenate([_orthogonal(stream(seed, "cell", "hidden", k), n_hidden) for k in range(n_gates)])
    return drawn | {
        "hidden": initial.gain * hidden,
        "input_bias": np.zeros(n_rows),
        "hidden_bias": np.zeros(n_rows),
        "norm_gain": gain,
    }


def draw_keep_bias(n_hidden: int, *, seed: int, initial: Initial) -> np.ndarray | None:
    """Give the bias of the gate that keeps the state, (n_hidden,), or None where nothing was wished."""
    if initial.keep_bias is not None:
        return np.full(n_hidden, float(initial.keep_bias))
    if initial.chrono_steps is not None:
        return np.log(stream(seed, "cell", "chrono").uniform(1.0, initial.chrono_steps - 1.0, n_hidden))
    return None


def _check_fits(n_gates: int, initial: Initial) -> None:
    """Refuse a wish that is about gates the cell has not, or has."""
    if n_gates > 1 and initial.recurrent == "identity":
        raise OptionError(
            "recurrent='identity' is for vanilla cells; the gates of a gated cell would copy its state.",
            hint="Take 'orthogonal', or keep_bias.",
        )
    if n_gates == 1 and (initial.keep_bias is not None or initial.chrono_steps is not None):
        name = "chrono_steps" if initial.keep_bias is None else "keep_bias"
        raise OptionError(
            f"{name}={getattr(initial, name)!r} is the bias of a gate, and a vanilla cell has none.",
            hint="Leave it out, or take an LSTM or a GRU.",
        )


def _orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw an orthogonal matrix evenly: the signs of R make the QR decomposition unique (Mezzadri 2007)."""
    q, r = np.linalg.qr(rng.normal(size=(n, n)))
    return q * np.where(np.diag(r) < 0.0, -1.0, 1.0)
