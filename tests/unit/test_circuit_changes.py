"""Changing a circuit field by field."""

from __future__ import annotations

import pytest

from cortexrnn.circuit import Circuit, load_circuit
from cortexrnn.circuit.changes import change_circuit
from cortexrnn.errors import OptionError


def test_fields_are_changed_by_number_by_name_and_by_ends():
    """The rest of the circuit stays as it was."""
    circuit = load_circuit("balanced_chaos")
    changed = change_circuit(
        circuit,
        {
            "gain": "3.5",
            "name": "mine",
            "populations[excitatory].size": "40",
            "populations[1].activation.kind": '"tanh"',
            "populations[1].activation.gain": "1.0",
            "projections[excitatory->inhibitory].weights.mean": "0.07",
            "noise.sigma": "0.2",
        },
    )
    assert (changed.gain, changed.name, changed.size) == (3.5, "mine", 120)
    assert changed.populations[1].activation.kind == "tanh"
    assert [p.weights.mean for p in changed.projections] == [0.06, 0.07, 0.24, 0.24]
    assert changed.noise.sigma == 0.2
    assert change_circuit(circuit, {}) == circuit


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("gian", "2", "Did you mean 'gain'"),
        ("gain", "two", "'two' is not valid"),
        ("populations[nobody].size", "2", "none of 0, units"),
        ("populations.size", "2", "no place"),
        ("populations[0]", "2", "whole table"),
        ("gain..", "2", "no place"),
        ("gain[0].x", "1", "no place"),
        ("populations[0].size", "-1", "populations.0..size"),
    ],
)
def test_wrong_changes_are_refused(place, value, message):
    """Each names the place."""
    with pytest.raises(OptionError, match=message):
        change_circuit(Circuit.random(10, gain=1.0), {place: value})
