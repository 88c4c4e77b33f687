"""Penalties of weights: closed forms, and gradients by central differences."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

from cortexrnn.cells.rate_parts import RateWeights
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import OptionError
from cortexrnn.training.penalties import Penalties

READOUT = np.random.default_rng(9).normal(size=(2, 6))


def circuit_weights(n_units, n_sources, seed=0):
    """Weights of a circuit with as many sources as it likes."""
    rng, empty = np.random.default_rng(seed), np.empty(0)
    return RateWeights(
        rng.normal(size=(n_units, n_sources)), rng.normal(size=(n_units, 2)), rng.normal(size=n_units),
        np.full(n_units, 0.1), np.zeros((1, n_units)), empty, empty, empty,
    )  # fmt: skip


def two_ways(seed=0):
    """Weights named as those of a bidirectional network."""
    rng = np.random.default_rng(seed)
    kind = namedtuple("BothWeights", ["input", "hidden", "input_back", "hidden_back"])
    return kind(*(rng.normal(size=shape) for shape in ((6, 2), (6, 6), (6, 2), (6, 6))))


WEIGHTS = {
    "circuit": circuit_weights(6, 6),
    "fewer sources": circuit_weights(6, 3),
    "more sources": circuit_weights(6, 8),
    "vanilla": CELLS["vanilla"].draw(2, 6, seed=1, dtype=np.float64),
    "lstm": CELLS["lstm"].draw(2, 6, seed=1, dtype=np.float64),
    "gru": CELLS["gru"].draw(2, 6, seed=1, dtype=np.float64),
    "both ways": two_ways(),
}
TERMS = [
    {"spectral": 0.7, "spectral_cap": 0.2},
    {"l2_weights": 0.3},
    {"l1_weights": 0.3},
    {"spectral": 0.7, "spectral_cap": 0.2, "l2_weights": 0.3, "l1_weights": 0.2},
]


@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: " ".join(terms))
@pytest.mark.parametrize("name", WEIGHTS)
def test_terms_of_weights_have_their_gradients(name, terms):
    """Along a random direction in all weights at once, 1e-7 relative to the norms."""
    weights, penalties = WEIGHTS[name], Penalties(**terms)
    loss, by = penalties.of_weights(weights, READOUT)
    assert loss > 0.0
    rng = np.random.default_rng(3)
    direction = {key: rng.normal(size=part.shape) for key, part in weights._asdict().items()}
    along = rng.normal(size=READOUT.shape)
    values = []
    for sign in (1e-6, -1e-6):
        moved = {key: part + sign * direction[key] for key, part in weights._asdict().items()}
        values.append(penalties.of_weights(type(weights)(**moved), READOUT + sign * along)[0])
    numeric = (values[0] - values[1]) / 2e-6
    by_name = {key: by.get(key, np.zeros(1)) for key in (*direction, "readout")}
    analytic = sum(float((by_name[key] * part).sum()) for key, part in (direction | {"readout": along}).items())
    norm = np.sqrt(sum(float((part**2).sum()) for part in by_name.values()))
    size = norm * np.sqrt(sum(float((part**2).sum()) for part in (*direction.values(), along)))
    assert abs(numeric - analytic) <= 1e-7 * size


@pytest.mark.parametrize(
    ("name", "field", "n_gates"),
    [("circuit", "recurrent", 1), ("fewer sources", "recurrent", 1), ("lstm", "hidden", 4), ("gru", "hidden", 3)],
)
def test_the_spectral_term_is_that_of_the_singular_values(name, field, n_gates):
    """NumPy's singular values of every gate, 1e-12; a circuit is one matrix however many sources it has."""
    weights = WEIGHTS[name]
    loss, _ = Penalties(spectral=2.0, spectral_cap=0.3).of_weights(weights, READOUT)
    largest = [np.linalg.svd(gate)[1][0] for gate in np.split(getattr(weights, field), n_gates)]
    assert loss == pytest.approx(2.0 * sum(max(0.0, s - 0.3) ** 2 for s in largest), rel=1e-12)


def test_below_the_cap_nothing_is_paid():
    """Half an orthogonal matrix has singular values of 0.5; no weights, and weights of zero, have none."""
    orthogonal = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    for matrix in (0.5 * orthogonal, np.zeros((6, 6)), np.empty((6, 0))):
        for cap in (0.6, 1.0) if matrix.any() else (0.0, 1.0):
            weights = WEIGHTS["circuit"]._replace(recurrent=matrix)
            loss, by = Penalties(spectral=3.0, spectral_cap=cap).of_weights(weights, READOUT)
            assert loss == 0.0
            assert not by["recurrent"].any()


def test_descending_the_spectral_term_brings_the_largest_singular_value_to_the_cap():
    """Plain gradient descent from a random matrix; the value falls to the cap and not below it."""
    weights, penalties = circuit_weights(6, 6, seed=2), Penalties(spectral=1.0, spectral_cap=0.8)
    for _ in range(400):
        by = penalties.of_weights(weights, READOUT)[1]["recurrent"]
        weights = weights._replace(recurrent=weights.recurrent - 0.1 * by)
    # What is left shrinks by 0.8 a step where one value is largest, slower where several share the steps.
    assert np.linalg.svd(weights.recurrent)[1][0] == pytest.approx(0.8, abs=1e-6)


def test_derivatives_have_the_precision_of_the_weights():
    """float32 weights get float32 derivatives, of a loss that is right to 1e-6."""
    weights = WEIGHTS["gru"]
    single = type(weights)(*(part.astype(np.float32) for part in weights))
    penalties = Penalties(spectral=1.0, spectral_cap=0.1)
    loss, by = penalties.of_weights(single, READOUT.astype(np.float32))
    assert by["hidden"].dtype == np.float32
    assert loss == pytest.approx(penalties.of_weights(weights, READOUT)[0], rel=1e-6)


def test_weights_that_are_lost_make_the_loss_nan():
    """The loop stops on it and names the parameter; the eigenvalues of NaN are not asked for."""
    lost = WEIGHTS["circuit"]._replace(recurrent=np.full((6, 6), np.nan))
    assert np.isnan(Penalties(spectral=1.0).of_weights(lost, READOUT)[0])


def test_without_factors_there_is_no_term():
    assert Penalties(omega=2.0, l2_rates=1.0, spectral_cap=0.1).of_weights(WEIGHTS["lstm"], READOUT) == (0.0, {})


@pytest.mark.parametrize("name", ["omega", "spectral", "spectral_cap", "l1_weights"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_wrong_numbers_are_refused(name, value):
    with pytest.raises(OptionError, match=f"{name}="):
        Penalties(**{name: value})
