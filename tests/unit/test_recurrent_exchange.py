"""State dictionaries of PyTorch as plain arrays, there and back; oracle: the weights themselves."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.recurrent import CELLS, from_torch, to_torch
from cortexrnn.errors import DataError, OptionError

NAMES = ("vanilla", "lstm", "gru")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_state_dictionary_there_and_back_is_the_same_network(name, dtype):
    weights = CELLS[name].draw(3, 6, seed=0, dtype=dtype)
    state = to_torch(weights)
    assert list(state) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    back = from_torch(CELLS[name], state)
    for a, b in zip(back[:4], weights[:4], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == dtype
        assert not np.shares_memory(a, b)
    assert back.norm_gain.size == 0
    for part in back[5:]:
        np.testing.assert_array_equal(part, np.zeros((1, 6)))


def test_a_network_without_biases_gets_zeros():
    state = to_torch(CELLS["lstm"].draw(3, 6, seed=0))
    found = from_torch(CELLS["lstm"], {name: values for name, values in state.items() if "bias" not in name})
    assert found.input_bias.shape == (24,)
    assert not np.any(found.input_bias)
    assert not np.any(found.hidden_bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_ih_l1": np.zeros((24, 6))}, "holds 'weight_ih_l1'; expected one layer"),
        ({"weight_hh_l0": None}, "has no 'weight_hh_l0'"),
        ({"weight_hh_l0": np.zeros((18, 6))}, r"weight_hh_l0 has the shape \(18, 6\); expected \(24, 6\)"),
        ({"weight_ih_l0": np.zeros(24)}, r"weight_ih_l0 has the shape \(24,\)"),
        ({"bias_hh_l0": np.zeros(23)}, r"bias_hh_l0 has the shape \(23,\); expected \(24,\)"),
        ({"bias_ih_l0": np.full(24, np.nan)}, "bias_ih_l0 holds 24 values that are not finite"),
    ],
)
def test_a_state_dictionary_of_another_network_is_refused(change, message):
    state = to_torch(CELLS["lstm"].draw(3, 6, seed=0)) | change
    with pytest.raises(DataError, match=message):
        from_torch(CELLS["lstm"], {name: values for name, values in state.items() if values is not None})


@pytest.mark.parametrize("name", NAMES)
def test_a_network_with_layer_norm_is_refused_for_pytorch(name):
    weights = CELLS[name].draw(3, 6, seed=0, norm=True)
    with pytest.raises(OptionError, match=rf"layer norm with {weights.norm_gain.size} gains"):
        to_torch(weights)


def test_pytorch_has_no_neural_ode():
    weights = CELLS["ode"].draw(3, 4, seed=0)
    with pytest.raises(OptionError, match="cell='ode' has no counterpart in PyTorch"):
        to_torch(weights)
    with pytest.raises(OptionError, match="cell='ode' has no counterpart in PyTorch"):
        from_torch(CELLS["ode"], {})
