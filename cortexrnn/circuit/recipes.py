"""Circuits whose weights at the start follow a published recipe for training under Dale's law.

Both are those of Li, Cornford, Ghosh and Richards (2023), Learning better with Dale's law: a spectral perspective,
doi:10.1101/2023.06.28.546924, as the authors' code draws them: exponential magnitudes, rectified units.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import fields
from cortexrnn.circuit.build import build_weights
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.circuit.parts import Population, Projection
from cortexrnn.circuit.spec import Circuit

# A rectified unit halves the second moment of a centred Gaussian and keeps 1/(2 pi) of its variance as squared mean.
_RECTIFIED = (2.0 * math.pi - 1.0) / (2.0 * math.pi)


def spectral_recipe(
    n_excitatory: int, n_inhibitory: int, *, radius: float | None = 1.5, seed: int = 0, tau_s: float = 0.1
) -> Circuit:
    """Give an excitatory-inhibitory circuit whose weights begin with one sign a column and a set spectral radius.

    With ``n_E`` and ``n_I`` units excitation has the mean and deviation ``s``, inhibition ``s n_E/n_I``, where
    ``1/s^2 = (2 pi - 1)/(2 pi) (n_E + n_E^2/n_I)``. All are then multiplied by what brings the largest absolute
    eigenvalue of the drawn matrix to `radius`.

    Parameters
    ----------
    n_excitatory, n_inhibitory : int
        Numbers of units.
    radius : float, optional
        Largest absolute eigenvalue of the weights of this wiring seed; None leaves the weights as they are drawn.
    seed : int
        Wiring seed.
    tau_s : float
        Time constant in seconds.

    Returns
    -------
    Circuit
        Rate form, whose Euler step of one time constant is the network of the paper; no autapses.

    Raises
    ------
    OptionError
        If a number is not valid.

    Notes
    -----
    The authors train with a radius of 1.5, as Song, Yang and Wang (2016) do, and compare others.
    """
    sizes = _sizes(n_excitatory, n_inhibitory)
    n_e, n_i = sizes.values()
    mean = (_RECTIFIED * (n_e + n_e**2 / n_i)) ** -0.5
    means = {"excitatory": mean, "inhibitory": mean * n_e / n_i}
    circuit = _circuit("spectral_recipe", sizes, [(s, t, means[s], False) for s in sizes for t in sizes], seed, tau_s)
    if radius is None:
        return circuit
    largest = float(np.abs(np.linalg.eigvals(build_weights(circuit).static)).max())
    factor = fields.positive("radius", radius) / largest
    projections = tuple(
        replace(p, weights=WeightLaw(law="exponential", mean=factor * p.weights.mean)) for p in circuit.projections
    )
    return replace(circuit, projections=projections)


def dann_recipe(n_excitatory: int, n_inhibitory: int, *, seed: int = 0, tau_s: float = 0.1) -> Circuit:
    """Give the circuit from which a recurrent Dale's ANN begins; train it with ``Trainable(dale="dann")``.

    Excitation has the mean and deviation ``1/sqrt(3 (n_E - 1))``. The weights of the other two blocks count by their
    proportions alone: the option ``dann`` scales them so that inhibition centres excitation
    (`cortexrnn.training.dale.Interneurons`).

    Parameters
    ----------
    n_excitatory, n_inhibitory : int
        Numbers of units; of excitatory ones at least 2.
    seed : int
        Wiring seed.
    tau_s : float
        Time constant in seconds.

    Returns
    -------
    Circuit
        Rate form; no connections among inhibitory units.

    Raises
    ------
    OptionError
        If a number is not valid.
    """
    sizes = _sizes(n_excitatory, n_inhibitory, smallest=2)
    mean = (3.0 * (sizes["excitatory"] - 1)) ** -0.5
    links = [
        ("excitatory", "excitatory", mean, True),
        ("excitatory", "inhibitory", mean, False),
        ("inhibitory", "excitatory", 1.0 / sizes["inhibitory"], False),
    ]
    return _circuit("dann_recipe", sizes, links, seed, tau_s)


def _sizes(n_excitatory: int, n_inhibitory: int, smallest: int = 1) -> dict[str, int]:
    """Give the checked sizes of the two populations by name."""
    return {
        "excitatory": fields.whole("n_excitatory", n_excitatory, low=smallest),
        "inhibitory": fields.whole("n_inhibitory", n_inhibitory, low=1),
    }


def _circuit(
    name: str, sizes: dict[str, int], links: list[tuple[str, str, float, bool]], seed: int, tau_s: float
) -> Circuit:
    """Wire rectified units with exponential weights; a link is source, target, mean, and whether it has autapses."""
    return Circuit(
        name=name,
        form="rate",
        populations=tuple(
            Population(name=name, size=size, sign=name, tau_s=tau_s, activation=Activation(kind="relu"))
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=source,
                target=target,
                weights=WeightLaw(law="exponential", mean=mean),
                allow_autapses=has_autapses,
            )
            for source, target, mean, has_autapses in links
        ),
        wiring_seed=seed,
    )
