"""Weights that are given one by one. Oracles: the table itself, NumPy's eigenvalues, and the same circuit by a law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.circuit import (
    Circuit,
    Population,
    Projection,
    WeightLaw,
    build_hashed,
    build_sparse,
    build_weights,
    load_circuit,
    predict_spectrum,
    save_circuit,
)
from cortexrnn.circuit import files as files_module
from cortexrnn.circuit.changes import change_circuit
from cortexrnn.circuit.files import circuit_from_toml, circuit_to_toml
from cortexrnn.circuit.parts import LARGEST_TABLE, Ring
from cortexrnn.dynamics.simulate import simulate
from cortexrnn.errors import OptionError
from cortexrnn.theory.prediction import predict

E_TO_E = ((0.0, 0.25, 0.1), (1.0 / 3.0, 0.0, 0.0), (0.2, 1e-17, 0.0))
I_TO_E = ((-0.5, 0.0), (-0.125, -2.0), (-0.3, -0.0))


def given(**changes):
    """Three excitatory and two inhibitory units; two projections are given, one follows a law."""
    parts = {
        "name": "given",
        "populations": (
            Population(name="excitatory", size=3, sign="excitatory"),
            Population(name="inhibitory", size=2, sign="inhibitory"),
        ),
        "projections": (
            Projection(source="excitatory", target="excitatory", weights=E_TO_E),
            Projection(source="inhibitory", target="excitatory", weights=I_TO_E),
            Projection(source="excitatory", target="inhibitory", weights=WeightLaw(law="gamma", mean=0.4, sd=0.2)),
        ),
    }
    return Circuit(**{**parts, **changes})


def matrix(circuit):
    """All weights of a circuit."""
    return build_weights(circuit).total()


def with_first(**changes):
    """The circuit with changes in its first projection."""
    first, *rest = given().projections
    return given(projections=(replace(first, **changes), *rest))


def test_the_weights_are_those_of_the_table():
    weights = matrix(given())
    np.testing.assert_array_equal(weights[:3, :3], E_TO_E)
    np.testing.assert_array_equal(weights[:3, 3:], I_TO_E)


def test_a_projection_that_follows_a_law_draws_what_it_drew_before():
    """Streams are keyed by source and target: the neighbours' tables are no part of them."""
    law = WeightLaw(mean=0.1)
    drawn = given(projections=tuple(replace(p, weights=law) if p.is_given else p for p in given().projections))
    np.testing.assert_array_equal(matrix(given())[3:, :3], matrix(drawn)[3:, :3])


def test_a_file_gives_the_same_circuit_back_to_the_last_bit(tmp_path):
    circuit = given()
    again = load_circuit(save_circuit(circuit, tmp_path / "given.toml"))
    assert again == circuit
    assert again.hash() == circuit.hash()
    np.testing.assert_array_equal(matrix(again), matrix(circuit))
    assert circuit_from_toml(circuit_to_toml(circuit).encode(), where="text") == circuit


def test_every_weight_decides_the_hash_and_zero_has_no_sign():
    other = [list(row) for row in E_TO_E]
    other[2][1] = 2e-17
    assert with_first(weights=tuple(map(tuple, other))).hash() != given().hash()
    positive = tuple(tuple(abs(w) if w == 0.0 else w for w in row) for row in I_TO_E)
    first, second, third = given().projections
    assert given(projections=(first, replace(second, weights=positive), third)).hash() == given().hash()


def test_arrays_are_taken_as_tables():
    assert with_first(weights=np.array(E_TO_E)) == given()


def test_tables_of_connections_hold_the_same_weights():
    sparse = build_sparse(given())
    np.testing.assert_array_equal(sparse.dense(), matrix(given()))
    assert sparse.n_connections == np.count_nonzero(matrix(given()))


def test_the_spectrum_of_given_weights_is_theirs():
    """All projections given: there is no bulk, and NumPy finds the eigenvalues that are predicted."""
    back = Projection(source="excitatory", target="inhibitory", weights=((0.3, 0.1, 0.2), (0.0, 0.4, 0.6)))
    circuit = given(projections=(*given().projections[:2], back))
    spectrum = predict_spectrum(circuit)
    expected = np.linalg.eigvals(matrix(circuit))
    assert spectrum.radius == 0.0
    assert spectrum.is_tight
    # Round-off of a 5 x 5 matrix.
    np.testing.assert_allclose(np.sort_complex(spectrum.outliers), np.sort_complex(expected), atol=1e-12)


def test_rows_of_given_weights_can_be_balanced():
    back = Projection(source="inhibitory", target="inhibitory", weights=((0.0, -0.2), (-0.1, 0.0)))
    circuit = given(projections=(*given().projections, back), balance="rows")
    assert build_weights(circuit).balance_residual < 1e-15


def test_a_circuit_of_given_weights_runs_as_the_circuit_they_were_drawn_for():
    """The same weights by a law: the same rates, to the bit."""
    circuit = Circuit.balanced(20, 0.9, density=0.5, seed=3)
    weights, places = matrix(circuit), circuit.slices
    projections = tuple(
        Projection(source=p.source, target=p.target, weights=weights[places[p.target], places[p.source]])
        for p in circuit.projections
    )
    told = replace(circuit, projections=projections, balance="", gain=None)
    runs = [simulate(each, duration_s=0.1, n_trials=2, seed=1).rate.values for each in (circuit, told)]
    np.testing.assert_array_equal(*runs)


def test_theory_does_not_take_given_weights_for_random_ones():
    units = Population(name="units", size=2)
    loop = Projection(source="units", target="units", weights=((0.0, 0.5), (-0.5, 0.0)))
    circuit = Circuit(name="rotation", populations=(units,), projections=(loop,), initial_sd=1.0)
    np.testing.assert_allclose(np.sort_complex(predict_spectrum(circuit).outliers), [-0.5j, 0.5j], atol=1e-15)
    # No theory is asked, so nothing that it would be held against is looked at.
    assert predict(circuit, None, None, None) is None


def test_a_field_beside_them_can_be_changed():
    assert change_circuit(given(), {"populations[excitatory].tau_s": "0.02"}).populations[0].tau_s == 0.02


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"weights": ((0.0, 0.25), (0.3, 0.0))}, r"weights: 'an array of 2 rows of 2'|2 rows of 2"),
        ({"weights": ((0.0, -0.25, 0.1), (0.3, 0.0, 0.0), (0.2, 0.0, 0.0))}, "no weight of the wrong sign"),
        ({"weights": ((0.1, 0.25, 0.1), (0.3, 0.0, 0.0), (0.2, 0.0, 0.0))}, "0 from a unit to itself"),
        ({"weights": ((0.0, 0.25, 0.1), (0.3, 0.0), (0.2, 0.0, 0.0))}, "rows of equal length"),
        ({"weights": ((0.0, float("nan"), 0.1),) * 3}, "a finite number"),
        ({"weights": ()}, "a weight law, or a table of weights"),
        ({"weights": 0.5}, "a weight law, or a table of weights"),
        ({"weights": ("abc", "def")}, "a weight law, or a table of weights"),
        ({"weights": (0.5, 0.5)}, "an array of numbers"),
        ({"density": 0.5}, "no density beside given weights"),
        ({"in_degree": 2}, "no in_degree beside given weights"),
        ({"distance": Ring(width_rad=3.0)}, "no distance beside given weights"),
        ({"mask": ("011", "101", "110")}, "no mask beside given weights"),
    ],
)
def test_what_does_not_fit_is_refused(changes, told):
    with pytest.raises(OptionError, match=told):
        with_first(**changes)


def test_too_large_a_table_is_refused():
    row = (0.0,) * (LARGEST_TABLE + 1)
    with pytest.raises(OptionError, match=f"at most {LARGEST_TABLE} rows"):
        Projection(source="a", target="b", weights=(row,))


def test_a_circuit_that_no_file_may_hold_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files_module, "LARGEST_FILE_BYTES", 100)
    with pytest.raises(OptionError, match="expected at most 100 in a file"):
        save_circuit(given(), tmp_path / "given.toml")
    assert not (tmp_path / "given.toml").exists()


def test_weights_that_are_computed_from_a_hash_cannot_be_given():
    with pytest.raises(OptionError, match="a constant law where no weight is stored"):
        build_hashed(given())


def test_a_file_names_the_place_of_a_wrong_number():
    text = circuit_to_toml(given()).replace("0.25", '"0.25"')
    with pytest.raises(OptionError, match=r"projections\[0\].weights\[0\]\[1\]"):
        circuit_from_toml(text.encode(), where="given.toml")
