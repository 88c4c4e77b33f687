"""Initial weights of vanilla, LSTM and GRU cells: their laws, their streams, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.initial import Initial
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import OptionError

N = 64
NAMES = ("vanilla", "lstm", "gru")


@pytest.mark.parametrize("name", NAMES)
def test_without_a_wish_weights_are_uniform_in_pytorchs_range(name):
    weights = CELLS[name].draw(8, N, seed=3)
    drawn = np.concatenate([part.ravel() for part in weights[:4]])
    assert drawn.dtype == np.float32
    assert np.abs(drawn).max() <= 0.125
    # The variance of a uniform variable in +-b is b^2 / 3; at least 4736 draws give it to 1.3 % (one standard error).
    assert drawn.var() == pytest.approx(0.125**2 / 3.0, rel=0.05)
    assert weights.norm_gain.size == 0
    for part in weights[5:]:
        np.testing.assert_array_equal(part, np.zeros((1, N)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recurrent", ["uniform", "orthogonal"])
def test_layer_norm_starts_with_a_gain_of_one_and_changes_no_other_weight(name, recurrent):
    """As in Ba, Kiros and Hinton (2016)."""
    wish = Initial(recurrent=recurrent)
    plain, normed = (CELLS[name].draw(3, 5, seed=1, initial=wish, norm=norm) for norm in (False, True))
    np.testing.assert_array_equal(normed.norm_gain, np.ones(5 * CELLS[name].n_gates, np.float32))
    assert normed.norm_gain.dtype == np.float32
    for field in plain._fields:
        if field != "norm_gain":
            np.testing.assert_array_equal(getattr(normed, field), getattr(plain, field))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_draws_the_same_and_another_one_something_else(name):
    a, b, c = (CELLS[name].draw(3, 5, seed=seed) for seed in (1, 1, 2))
    for k in range(4):
        np.testing.assert_array_equal(a[k], b[k])
        assert not np.any(a[k] == c[k])


@pytest.mark.parametrize("name", NAMES)
def test_a_wish_about_the_recurrent_matrix_leaves_the_input_weights_as_they_are(name):
    """Every array has a stream of its own."""
    plain, orthogonal = (
        CELLS[name].draw(3, 5, seed=1, initial=Initial(recurrent=r)) for r in ("uniform", "orthogonal")
    )
    np.testing.assert_array_equal(plain.input, orthogonal.input)
    assert not np.any(plain.hidden == orthogonal.hidden)


@pytest.mark.parametrize("name", NAMES)
def test_every_gate_has_an_orthogonal_matrix_of_the_gain(name):
    weights = CELLS[name].draw(2, N, seed=0, initial=Initial(recurrent="orthogonal", gain=1.5), dtype=np.float64)
    for gate in weights.hidden.reshape(-1, N, N):
        # Round-off of a QR decomposition.
        np.testing.assert_allclose(gate @ gate.T, 2.25 * np.eye(N), rtol=0, atol=1e-13)
    gates = weights.hidden.reshape(-1, N * N)
    assert len(np.unique(gates[:, 0])) == len(gates)
    assert not np.any(weights.input_bias)
    assert not np.any(weights.hidden_bias)


def test_orthogonal_matrices_are_drawn_evenly():
    """The trace of a matrix of the Haar measure has mean 0 and variance 1 (Diaconis and Shahshahani 1994)."""
    wish = Initial(recurrent="orthogonal")
    traces = [np.trace(CELLS["vanilla"].draw(1, 8, seed=seed, initial=wish).hidden) for seed in range(400)]
    # Four standard errors of 400 draws; without the signs of R the mean is far below zero.
    assert abs(np.mean(traces)) < 4.0 / 20.0
    assert np.var(traces) == pytest.approx(1.0, abs=4.0 * np.sqrt(2.0 / 400))


def test_the_identity_makes_an_irnn():
    weights = CELLS["vanilla"].draw(3, 5, seed=0, initial=Initial(recurrent="identity", gain=0.5))
    np.testing.assert_array_equal(weights.hidden, 0.5 * np.eye(5, dtype=np.float32))
    assert not np.any(weights.input_bias)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_the_gate_that_keeps_gets_its_bias_and_nothing_else_changes(name):
    """The forget gate is the second of i, f, g, o, the update gate the second of r, z, n."""
    plain, kept = (CELLS[name].draw(3, 5, seed=1, initial=wish) for wish in (Initial(), Initial(keep_bias=2.0)))
    np.testing.assert_array_equal((kept.input_bias + kept.hidden_bias)[5:10], 2.0)
    np.testing.assert_array_equal(kept.hidden, plain.hidden)
    for part in ("input_bias", "hidden_bias"):
        np.testing.assert_array_equal(
            np.delete(getattr(kept, part), np.s_[5:10]), np.delete(getattr(plain, part), np.s_[5:10])
        )


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_chrono_biases_spread_the_memory_evenly_up_to_the_longest(name):
    """exp(bias) is uniform in 1 to T - 1 (Tallec and Ollivier 2018): with 2000 units its mean is T / 2."""
    weights = CELLS[name].draw(1, 2000, seed=5, initial=Initial(chrono_steps=100))
    keep = (weights.input_bias + weights.hidden_bias)[2000:4000]
    memory = np.exp(keep.astype(float))
    assert memory.min() >= 1.0
    assert memory.max() <= 99.0 * (1.0 + 1e-6)
    # Four standard errors of a uniform variable of width 98.
    assert memory.mean() == pytest.approx(50.0, abs=4.0 * 98.0 / np.sqrt(12.0 * 2000))
    if name == "lstm":
        np.testing.assert_array_equal((weights.input_bias + weights.hidden_bias)[:2000], -keep)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"recurrent": "sparse"}, "recurrent='sparse' is unknown; expected one of uniform, orthogonal, identity"),
        ({"gain": 0.0}, "gain=0.0 is not a positive finite number"),
        ({"gain": 2.0}, "gain=2.0 means nothing to uniform weights"),
        ({"keep_bias": np.inf}, "keep_bias=inf is not finite"),
        ({"chrono_steps": 2}, "chrono_steps=2 is not valid; expected an integer of at least 3"),
        ({"chrono_steps": 10, "keep_bias": 1.0}, "keep_bias=1.0 and chrono_steps=10 both set one bias"),
    ],
)
def test_a_wish_that_means_nothing_is_refused(wish, message):
    with pytest.raises(OptionError, match=message):
        Initial(**wish)


@pytest.mark.parametrize(
    ("name", "wish", "message"),
    [
        ("vanilla", {"keep_bias": 1.0}, "keep_bias=1.0 is the bias of a gate"),
        ("vanilla", {"chrono_steps": 9}, "chrono_steps=9 is the bias of a gate"),
        ("lstm", {"recurrent": "identity"}, "recurrent='identity' is for vanilla cells"),
        ("gru", {"recurrent": "identity"}, "recurrent='identity' is for vanilla cells"),
    ],
)
def test_a_wish_about_gates_that_a_cell_has_not_is_refused(name, wish, message):
    with pytest.raises(OptionError, match=message):
        CELLS[name].draw(2, 3, seed=0, initial=Initial(**wish))


@pytest.mark.parametrize(("sizes", "message"), [((-1, 3), "n_inputs=-1"), ((2, 0), "n_hidden=0")])
def test_sizes_are_counts(sizes, message):
    with pytest.raises(OptionError, match=message):
        CELLS["gru"].draw(*sizes, seed=0)
