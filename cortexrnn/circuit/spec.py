"""What a circuit is: a frozen description that decides every weight, without holding one."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import fields
from cortexrnn.circuit.consistency import check_circuit, check_notes
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.circuit.parts import SIGNS, Input, LowRank, Noise, Population, Projection
from cortexrnn.runs.store import content_key

FORMS = ("current", "rate")
BALANCES = ("", "rows", "random part")
# Inhibition is four times as strong because it is four times as rare.
_RELATIVE_WEIGHTS = {"excitatory": 1.0, "inhibitory": 4.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class Circuit:
    """Populations, how they are wired, and what drives them.

    ``current`` form: ``tau dx/dt = -x + W phi(x) + U s + b + noise`` with rate ``phi(x)``; ``rate`` form:
    ``tau dr/dt = -r + phi(W r + U s + b + noise)``. A plastic projection drives with ``W (u x rate)``, and its
    ``u`` and ``x`` see ``rate_scale_hz`` times the rate.

    Attributes
    ----------
    name : str
        Name of the circuit.
    form : {"current", "rate"}
        Which of the two equations.
    populations : tuple of Population
        In the order of the units.
    projections : tuple of Projection
        Their weights add where two join the same populations.
    plasticity : dict of str to ShortTermPlasticity
        Classes of short-term plasticity that projections name.
    inputs : tuple of Input
        How the channels of a stimulus enter.
    low_rank_terms : tuple of LowRank
        Terms that are added to the static weights.
    noise : Noise, optional
        Current noise.
    initial_sd : float
        Standard deviation of the currents with which a simulation begins, drawn for every trial.
    balance : {"", "rows", "random part"}
        ``rows``: every row of the weights sums to zero, signs and zeros kept (see `balance_rows`).
        ``random part``: the deviation of the weights from their mean sums to zero in every row, by subtraction
        (Rajan and Abbott 2006, doi:10.1103/PhysRevLett.97.188104); signs are not kept.
    gain : float, optional
        Radius of the bulk of the eigenvalues; all weights of the projections are multiplied by the factor that
        brings the predicted radius there (see `predict_spectrum`).
    wiring_seed : int
        Seed of connectivity, weights and loadings: it decides which network this is.
    rate_scale_hz : float, optional
        Hertz per unit of rate; needed by plasticity and by spikes.
    citation : str
        Where the circuit was published.
    notes : dict
        Under ``known`` what is in the paper, under ``chosen`` what is not; a text or a tuple of texts each.

    Raises
    ------
    OptionError
        If a field is not valid or the parts do not fit together.
    """

    name: str
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...] = ()
    form: str = "current"
    plasticity: dict[str, ShortTermPlasticity] = field(default_factory=dict, hash=False)
    inputs: tuple[Input, ...] = ()
    low_rank_terms: tuple[LowRank, ...] = ()
    noise: Noise | None = None
    initial_sd: float = 0.0
    balance: str = ""
    gain: float | None = None
    wiring_seed: int = 0
    rate_scale_hz: float | None = None
    citation: str = ""
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self):
        fields.name("name", self.name)
        fields.choice("form", self.form, FORMS)
        fields.choice("balance", self.balance, BALANCES)
        fields.text("citation", self.citation)
        deviation = fields.number("initial_sd", self.initial_sd, expected="a standard deviation of at least 0", low=0.0)
        object.__setattr__(self, "initial_sd", deviation)
        object.__setattr__(self, "wiring_seed", fields.whole("wiring_seed", self.wiring_seed, low=0))
        for which in ("gain", "rate_scale_hz"):
            if getattr(self, which) is not None:
                object.__setattr__(self, which, fields.positive(which, getattr(self, which)))
        for which, kind in (
            ("populations", Population),
            ("projections", Projection),
            ("inputs", Input),
            ("low_rank_terms", LowRank),
        ):
            object.__setattr__(self, which, fields.instances(which, getattr(self, which), kind))
        if self.noise is not None and not isinstance(self.noise, Noise):
            fields.refuse("noise", self.noise, "a noise", "Give a table such as {sigma = 0.1, tau_s = 0.01}.")
        object.__setattr__(self, "notes", check_notes(self.notes))
        if not isinstance(self.plasticity, dict):
            fix = "Give a dictionary of ShortTermPlasticity by name."
            fields.refuse("plasticity", self.plasticity, "named classes", fix)
        object.__setattr__(self, "plasticity", dict(self.plasticity))
        check_circuit(self)

    @classmethod
    def random(cls, n: int, gain: float, *, seed: int = 0, tau_s: float = 0.01, activation: str = "tanh") -> Circuit:
        """Give a fully connected network of independent Gaussian weights (Sompolinsky, Crisanti and Sommers 1988).

        Parameters
        ----------
        n : int
            Number of units.
        gain : float
            Radius of the eigenvalues; the weights have deviation ``gain/sqrt(n)``.
        seed : int
            Wiring seed.
        tau_s : float
            Time constant in seconds.
        activation : str
            Kind of the activation.

        Returns
        -------
        Circuit
        """
        n = fields.whole("n", n, low=1)
        units = Population(name="units", size=n, tau_s=tau_s, activation=Activation(kind=activation))
        # Autapses are drawn, as in the theory: they are one weight in n.
        law = WeightLaw(law="gaussian", mean=0.0, sd=1.0 / math.sqrt(n))
        loop = Projection(source="units", target="units", weights=law, allow_autapses=True)
        return cls(
            name="random", populations=(units,), projections=(loop,), gain=gain, wiring_seed=seed, initial_sd=1.0
        )

    @classmethod
    def balanced(
        cls, n: int, gain: float, *, density: float = 0.2, seed: int = 0, tau_s: float = 0.01, activation: str = "tanh"
    ) -> Circuit:
        """Give an excitatory-inhibitory network, 4 to 1, whose rows all sum to zero.

        Weights are Gaussian magnitudes with a deviation of a third of the mean; inhibition is four times as strong.

        Parameters
        ----------
        n : int
            Number of units, at least 10.
        gain : float
            Radius of the bulk of the eigenvalues.
        density : float
            Fraction of the units of either sign that are sources of a unit, rounded to a fixed in-degree of at
            least 1, so that no row has one sign only.
        seed : int
            Wiring seed.
        tau_s : float
            Time constant in seconds.
        activation : str
            Kind of the activation.

        Returns
        -------
        Circuit
        """
        n, density = fields.whole("n", n, low=10), fields.fraction("density", density)
        shape = Activation(kind=activation)
        sizes = {"excitatory": n - n // 5, "inhibitory": n // 5}
        populations = tuple(
            Population(name=name, size=size, sign=name, tau_s=tau_s, activation=shape) for name, size in sizes.items()
        )
        # The gain sets the size; only the ratios count here.
        laws = {name: WeightLaw(law="gaussian", mean=mean, sd=mean / 3.0) for name, mean in _RELATIVE_WEIGHTS.items()}
        projections = tuple(
            Projection(
                source=source,
                target=target,
                weights=laws[source],
                in_degree=max(round(density * (sizes[source] - (source == target))), 1),
            )
            for source in laws
            for target in laws
        )
        return cls(
            name="balanced",
            populations=populations,
            projections=projections,
            balance="rows",
            gain=gain,
            wiring_seed=seed,
            initial_sd=1.0,
        )

    @classmethod
    def low_rank(cls, n: int, overlap: float, *, gain: float | None = None, seed: int = 0) -> Circuit:
        """Give ``m n^T / N`` with Gaussian loadings, with random weights beside it where a gain is given.

        Mastrogiuseppe and Ostojic (2018), doi:10.1016/j.neuron.2018.07.003; tanh units.

        Parameters
        ----------
        n : int
            Number of units.
        overlap : float
            Covariance of the loadings, the eigenvalue of the term; m has variance 1.
        gain : float, optional
            Radius of the random part; without it there is none.
        seed : int
            Wiring seed.

        Returns
        -------
        Circuit
        """
        term = LowRank(overlap=overlap)
        if gain is not None:
            start = cls.random(n, gain, seed=seed)
            return cls(
                name="low_rank",
                populations=start.populations,
                projections=start.projections,
                low_rank_terms=(term,),
                gain=gain,
                wiring_seed=seed,
                initial_sd=1.0,
            )
        units = Population(name="units", size=fields.whole("n", n, low=1))
        return cls(name="low_rank", populations=(units,), low_rank_terms=(term,), wiring_seed=seed, initial_sd=1.0)

    @classmethod
    def ssn(cls, weights: tuple[tuple[float, float], tuple[float, float]] = ((1.25, 0.65), (1.2, 0.5))) -> Circuit:
        """Give the two-population supralinear stabilised network, rate form, ``r = 0.3 max(z, 0)^2``.

        Parameters and time constants are those of Hennequin et al. (2018), doi:10.1016/j.neuron.2018.04.017.

        Parameters
        ----------
        weights : tuple of tuple of float
            Magnitudes ``((EE, EI), (IE, II))``, target first.

        Returns
        -------
        Circuit
            One unit a population and a channel ``drive`` into both.
        """
        shape = Activation(kind="power", gain=0.3, exponent=2.0)
        names = ("excitatory", "inhibitory")
        taus_s = (0.02, 0.01)
        populations = tuple(
            Population(name=name, size=1, sign=name, tau_s=tau_s, activation=shape)
            for name, tau_s in zip(names, taus_s, strict=True)
        )
        projections = tuple(
            Projection(source=source, target=target, weights=WeightLaw(mean=weights[i][j]), allow_autapses=True)
            for i, target in enumerate(names)
            for j, source in enumerate(names)
        )
        inputs = tuple(Input(name="drive", target=name) for name in names)
        return cls(
            name="ssn", form="rate", populations=populations, projections=projections, inputs=inputs, rate_scale_hz=1.0
        )

    @property
    def size(self) -> int:
        """Number of units."""
        return sum(population.size for population in self.populations)

    @property
    def slices(self) -> dict[str, slice]:
        """Places of every population's units, by name."""
        stops = np.cumsum([population.size for population in self.populations])
        return {
            population.name: slice(int(stop) - population.size, int(stop))
            for population, stop in zip(self.populations, stops, strict=True)
        }

    @property
    def population_of(self) -> np.ndarray:
        """Index of every unit's population, shape (size,)."""
        return np.repeat(np.arange(len(self.populations)), [population.size for population in self.populations])

    @property
    def signs(self) -> np.ndarray:
        """Sign of every unit's outgoing weights, +1, -1, or 0 for mixed, int8, shape (size,)."""
        return np.array([SIGNS[population.sign] for population in self.populations], dtype=np.int8)[self.population_of]

    @property
    def tau_s(self) -> np.ndarray:
        """Time constant of every unit in seconds, shape (size,)."""
        return self._per_unit("tau_s")

    @property
    def bias(self) -> np.ndarray:
        """Constant input of every unit, shape (size,)."""
        return self._per_unit("bias")

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the stimulus channels, in the order in which they first appear."""
        return tuple(dict.fromkeys(entry.name for entry in self.inputs))

    def hash(self) -> str:
        """Give the SHA-256 of everything that decides what the circuit does: not its name, citation or notes."""
        parts = asdict(self)
        for label in ("name", "citation", "notes"):
            del parts[label]
        return content_key(parts)

    def _per_unit(self, name: str) -> np.ndarray:
        """Lay a field of the populations out over units."""
        return np.concatenate([np.broadcast_to(getattr(p, name), p.size).astype(float) for p in self.populations])
