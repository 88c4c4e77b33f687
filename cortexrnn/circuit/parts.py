"""The parts of a circuit: populations, projections, inputs, low-rank terms and noise, each checked when it is made."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import fields
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.errors import OptionError

SIGNS = {"excitatory": 1, "inhibitory": -1, "mixed": 0}
MODULATED = ("weights", "density")
# A table of more rows than this belongs into a density, a law of weights or a distance rule.
LARGEST_TABLE = 1000
# How far below zero, relative to the largest, the smallest eigenvalue of a covariance may lie: round-off.
_ROUND_OFF = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """Units of one kind.

    Attributes
    ----------
    name : str
        Name by which projections and inputs refer to it.
    size : int
        Number of units.
    sign : {"excitatory", "inhibitory", "mixed"}
        Sign of all outgoing weights (Dale's law); ``mixed`` is unconstrained.
    activation : Activation
        Transfer function.
    tau_s : float or tuple of float, one a unit
        Time constant in seconds.
    bias : float or tuple of float, one a unit
        Constant input, in the unit of the activation's argument.
    area : str
        Name of the area that it belongs to; empty where there is only one.

    Raises
    ------
    OptionError
        If a field is not valid.
    """

    name: str
    size: int
    sign: str = "mixed"
    activation: Activation = field(default_factory=Activation)
    tau_s: float | tuple[float, ...] = 0.01
    bias: float | tuple[float, ...] = 0.0
    area: str = ""

    def __post_init__(self):
        fields.name("name", self.name)
        object.__setattr__(self, "size", fields.whole("size", self.size, low=1))
        fields.choice("sign", self.sign, tuple(SIGNS))
        if not isinstance(self.activation, Activation):
            fix = 'In Python give Activation(kind="tanh"), in a file a table such as {kind = "tanh"}.'
            fields.refuse("activation", self.activation, "an activation", fix)
        # A threshold of -0.0 equals 0.0 but would give an equal circuit another hash.
        object.__setattr__(self, "activation", replace(self.activation, threshold=self.activation.threshold + 0.0))
        object.__setattr__(self, "tau_s", fields.vector("tau_s", self.tau_s, self.size, fields.seconds))
        object.__setattr__(self, "bias", fields.vector("bias", self.bias, self.size, fields.number))
        fields.name("area", self.area, may_be_empty=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ring:
    """Dependence on the distance of two units on a ring.

    Unit i of n sits at the angle ``2 pi i / n`` of its own population. The profile
    ``exp((cos(difference) - 1) / width^2)``, divided by its mean over the sources, multiplies weights or density.
    For small widths it is a Gaussian of that deviation; it must not be narrower than the angle between two
    sources, so that every target sees the same profile wherever it sits.

    Attributes
    ----------
    width_rad : float
        Width of the profile in radians.
    modulates : {"weights", "density"}
        What it multiplies.

    Raises
    ------
    OptionError
        If a field is not valid.
    """

    width_rad: float
    modulates: str = "weights"

    def __post_init__(self):
        width = fields.positive("width_rad", self.width_rad)
        if width > 2.0 * math.pi:
            fix = f"If it is in degrees, write width_rad = {math.radians(width):.4g}; leave distance out if it is flat."
            fields.refuse("width_rad", self.width_rad, "a width in radians of at most 2 pi", fix)
        object.__setattr__(self, "width_rad", width)
        fields.choice("modulates", self.modulates, MODULATED)

    def profile(self, target_angles: np.ndarray, source_angles: np.ndarray, n_sources: int) -> np.ndarray:
        """Give the profile, mean 1 over all sources, at the given angles.

        Parameters
        ----------
        target_angles : ndarray, shape (n_targets,)
            In radians.
        source_angles : ndarray, shape (n,)
            In radians.
        n_sources : int
            Size of the source population, over which the mean is 1.

        Returns
        -------
        ndarray, shape (n_targets, n)
        """
        differences = target_angles[:, None] - source_angles[None, :]
        all_angles = 2.0 * np.pi * np.arange(n_sources) / n_sources
        return self._shape(differences) / self._shape(all_angles).mean()

    def _shape(self, differences: np.ndarray) -> np.ndarray:
        """Give the profile with peak 1."""
        return np.exp((np.cos(differences) - 1.0) / self.width_rad**2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Projection:
    """Connections from one population to another (or to itself).

    Attributes
    ----------
    source, target : str
        Names of the populations.
    weights : WeightLaw, or tuple of tuple of float
        Law of the weights of the connections that exist, or the weights themselves: a row a target unit, a number a
        source unit, of the source's sign; 0 is no connection. No density, in_degree, distance or mask stands beside
        given weights.
    density : float
        Probability of a connection, independent for every pair.
    in_degree : int, optional
        Number of sources of every target unit, instead of a density. The candidates are cut into `in_degree`
        runs of equal length to within one and each run gives one source (see `cortexrnn.circuit.wiring`).
    plasticity : str
        Name of the short-term plasticity in the circuit; empty where the weights are static.
    allow_autapses : bool
        Whether a unit may connect to itself.
    distance : Ring, optional
        Dependence on distance.
    mask : tuple of str
        One text of ``0`` and ``1`` a target unit, one character a source unit; ``0`` forbids the connection.

    Raises
    ------
    OptionError
        If a field is not valid, or two fields exclude each other.
    """

    source: str
    target: str
    weights: WeightLaw | tuple[tuple[float, ...], ...]
    density: float = 1.0
    in_degree: int | None = None
    plasticity: str = ""
    allow_autapses: bool = False
    distance: Ring | None = None
    mask: tuple[str, ...] = ()

    def __post_init__(self):
        fields.name("source", self.source)
        fields.name("target", self.target)
        self._check_weights()
        object.__setattr__(self, "density", fields.fraction("density", self.density))
        fields.name("plasticity", self.plasticity, may_be_empty=True)
        fields.flag("allow_autapses", self.allow_autapses)
        if self.distance is not None and not isinstance(self.distance, Ring):
            fields.refuse("distance", self.distance, "a ring", "Give a table such as {width_rad = 0.7}.")
        if self.in_degree is not None:
            object.__setattr__(self, "in_degree", fields.whole("in_degree", self.in_degree, low=1))
            for other, is_given in (
                ("density", self.density != 1.0),
                ("distance", self.distance is not None),
                ("mask", bool(self.mask)),
            ):
                if is_given:
                    expected = f"no in_degree beside a {other}"
                    fields.refuse("in_degree", self.in_degree, expected, f"Leave in_degree or {other} out.")
        self._check_mask()
        if self.is_given:
            self._check_alone()

    @property
    def skips_self(self) -> bool:
        """Whether a unit is left out of its own sources."""
        return self.source == self.target and not self.allow_autapses

    @property
    def is_given(self) -> bool:
        """Whether `weights` are the weights themselves."""
        return not isinstance(self.weights, WeightLaw)

    def _check_weights(self) -> None:
        """Refuse weights that are neither a law nor a table of numbers."""
        if isinstance(self.weights, WeightLaw):
            return
        is_array = isinstance(self.weights, list | tuple | np.ndarray)
        if not is_array or not len(self.weights) or any(isinstance(row, str | bytes) for row in self.weights):
            fix = 'Give WeightLaw(law="gaussian", mean=0.0, sd=0.1), or in a file a table {law = "gaussian", ...}.'
            fields.refuse("weights", self.weights, "a weight law, or a table of weights", fix)
        rows = tuple(fields.numbers(f"weights[{i}]", row) for i, row in enumerate(self.weights))
        object.__setattr__(self, "weights", rows)
        lengths = {len(row) for row in rows}
        if len(lengths) > 1 or max(len(rows), *lengths) > LARGEST_TABLE:
            expected = f"at most {LARGEST_TABLE} rows of equal length, at most {LARGEST_TABLE}"
            fields.refuse("weights", f"an array of {len(rows)}", expected, "Give every row one number a source unit.")

    def _check_alone(self) -> None:
        """Refuse what would thin out or shape weights that are given."""
        for other, is_there in (
            ("density", self.density != 1.0),
            ("in_degree", self.in_degree is not None),
            ("distance", self.distance is not None),
            ("mask", bool(self.mask)),
        ):
            if is_there:
                fix = f"Leave {other} out: a weight of 0 is no connection."
                fields.refuse(other, getattr(self, other), f"no {other} beside given weights", fix)

    def _check_mask(self) -> None:
        """Refuse a mask that is no list of equally long texts of 0 and 1."""
        is_array = isinstance(self.mask, list | tuple)
        if not is_array or not all(isinstance(row, str) and row and not set(row) - {"0", "1"} for row in self.mask):
            expected = "one text of 0 and 1 a target unit"
            fields.refuse("mask", self.mask, expected, 'Write rows such as mask = ["01", "10"].')
        rows = tuple(self.mask)
        object.__setattr__(self, "mask", rows)
        lengths = {len(row) for row in rows}
        if len(rows) > LARGEST_TABLE or len(lengths) > 1 or max(lengths, default=0) > LARGEST_TABLE:
            expected = f"at most {LARGEST_TABLE} rows of equal length, at most {LARGEST_TABLE}"
            fields.refuse("mask", f"an array of {len(rows)}", expected, "Give every row one character a source unit.")


@dataclass(frozen=True, kw_only=True, slots=True)
class LowRank:
    """A term ``m n^T / N`` with Gaussian loadings over all N units.

    ``m`` has variance `m_variance`, ``n`` variance `n_variance` and covariance `overlap` with ``m`` (means are zero):
    ``n = (overlap/m_variance) m + rest``, with an independent rest. Its eigenvalue is `overlap`, up to a
    fluctuation of order ``1/sqrt(N)`` (Mastrogiuseppe and Ostojic 2018, doi:10.1016/j.neuron.2018.07.003).
    Given loadings `m` and `n` are used as they are, without the three moments.

    Attributes
    ----------
    overlap : float
        Covariance of m and n over units.
    m_variance, n_variance : float
        Variances; ``overlap^2 <= m_variance n_variance``. `n_variance` 0 stands for the smallest possible one.
    m, n : tuple of float, one a unit
        Loadings, in the order of the populations.

    Raises
    ------
    OptionError
        If a field is not valid, no Gaussian has such moments, or only one of the loadings is given.
    """

    overlap: float = 0.0
    m_variance: float = 1.0
    n_variance: float = 0.0
    m: tuple[float, ...] = ()
    n: tuple[float, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "overlap", fields.number("overlap", self.overlap))
        for which in ("m_variance", "n_variance"):
            value = fields.number(which, getattr(self, which), expected="a variance of at least 0", low=0.0)
            object.__setattr__(self, which, value)
        if self.m_variance == 0.0:
            fix = "Leave the low-rank term out, or write m_variance = 1.0."
            fields.refuse("m_variance", 0.0, "a variance above 0", fix)
        smallest = self.overlap**2 / self.m_variance
        if 0.0 < self.n_variance < smallest * (1.0 - 1e-12):
            expected = f"at least overlap^2/m_variance = {smallest:g}"
            fields.refuse("n_variance", self.n_variance, expected, "Raise it, or leave it out for the smallest one.")
        for which in ("m", "n"):
            object.__setattr__(self, which, fields.numbers(which, getattr(self, which)))
        if len(self.m) != len(self.n):
            expected = f"as many numbers as m has, {len(self.m)}"
            fields.refuse("n", f"an array of {len(self.n)}", expected, "Give both loadings, one number a unit each.")
        if self.m and (self.overlap, self.m_variance, self.n_variance) != (0.0, 1.0, 0.0):
            expected = "no moments beside given loadings"
            fields.refuse("overlap", self.overlap, expected, "Leave the moments out, or m and n.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """How a channel of the stimulus reaches a population; entries of one name are one channel.

    Attributes
    ----------
    name : str
        Name of the channel.
    target : str
        Name of the population.
    weights : WeightLaw
        Law of the weights; any sign.
    vector : tuple of float, one a unit of the target
        Weights themselves, instead of a law.

    Raises
    ------
    OptionError
        If a field is not valid.
    """

    name: str
    target: str
    weights: WeightLaw = field(default_factory=WeightLaw)
    vector: tuple[float, ...] = ()

    def __post_init__(self):
        fields.name("name", self.name)
        fields.name("target", self.target)
        if not isinstance(self.weights, WeightLaw):
            fix = 'Give WeightLaw(mean=1.0), or in a file a table such as {law = "constant", mean = 1.0}.'
            fields.refuse("weights", self.weights, "a weight law", fix)
        object.__setattr__(self, "vector", fields.numbers("vector", self.vector))
        if self.vector and self.weights != WeightLaw():
            expected = "no law of the weights beside a vector of them"
            fields.refuse("vector", f"an array of {len(self.vector)}", expected, "Leave vector or weights out.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """An Ornstein-Uhlenbeck current into every unit.

    Attributes
    ----------
    sigma : float
        Standard deviation of the current at any time, in the unit of the activation's argument.
    tau_s : float
        Its time constant in seconds.
    shared : float
        Fraction of the variance that all units have in common, 0 to 1.
    covariance : tuple of tuple of float
        Covariance of the units' currents in units of ``sigma^2``, instead of `shared`; empty for none.

    Raises
    ------
    OptionError
        If a field is not valid or the covariance is no symmetric square table.
    """

    sigma: float
    tau_s: float = 0.01
    shared: float = 0.0
    covariance: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self):
        sigma = fields.number("sigma", self.sigma, expected="a standard deviation of at least 0", low=0.0)
        object.__setattr__(self, "sigma", sigma)
        object.__setattr__(self, "tau_s", fields.seconds("tau_s", self.tau_s))
        expected = "a fraction of the variance from 0 to 1"
        shared = fields.number("shared", self.shared, expected=expected, low=0.0)
        if shared > 1.0:
            fields.refuse("shared", shared, expected, "Divide by 100 if it is in percent.")
        object.__setattr__(self, "shared", shared)
        self._check_covariance()
        if self.covariance and shared:
            fix = "Leave shared out: the covariance says all."
            fields.refuse("shared", shared, "no shared fraction beside a covariance", fix)

    def _check_covariance(self) -> None:
        """Refuse a covariance that is no symmetric square table, or that nothing can have."""
        if isinstance(self.covariance, str) or not isinstance(self.covariance, Iterable):
            fix = "Write covariance = [[1.0, 0.2], [0.2, 1.0]], say."
            fields.refuse("covariance", self.covariance, "a table of numbers", fix)
        rows = tuple(fields.numbers(f"covariance[{i}]", row) for i, row in enumerate(self.covariance))
        object.__setattr__(self, "covariance", rows)
        if any(len(row) != len(rows) for row in rows) or rows != tuple(zip(*rows, strict=False)):
            expected = "a symmetric square table, one row a unit"
            fields.refuse("covariance", f"an array of {len(rows)}", expected, "Make entry [i][j] equal entry [j][i].")
        if rows:
            eigenvalues = np.linalg.eigvalsh(np.array(rows))
            if eigenvalues[0] < -_ROUND_OFF * max(eigenvalues[-1], 0.0) or eigenvalues[-1] <= 0.0:
                found = f"{eigenvalues[0]:g} to {eigenvalues[-1]:g}"
                expected = f"a table without negative eigenvalues that is not all 0 (its eigenvalues: {found})"
                fix = "Make the entries off the diagonal smaller: no currents have such a covariance."
                fields.refuse("covariance", f"an array of {len(rows)}", expected, fix)


def within(part: str, error: OptionError) -> OptionError:
    """Give the same error with its field placed inside a part, as in ``weights.sd`` for ``sd``."""
    where = f"{part}.{error.where}" if error.where else part
    return type(error)(error.what, where=where, hint=error.hint)
