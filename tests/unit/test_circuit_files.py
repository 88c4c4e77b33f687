"""Circuits as TOML. Oracles: tomllib, equality of the circuit that was written, the bytes on the disk."""

from __future__ import annotations

import tomllib

import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import (
    Circuit,
    Input,
    LowRank,
    Noise,
    Population,
    Projection,
    Ring,
    WeightLaw,
    circuit_names,
    load_circuit,
    save_circuit,
)
from cortexrnn.circuit.files import LARGEST_FILE_BYTES, circuit_to_toml
from cortexrnn.errors import DataError, FileAccessError, MissingFileError, OptionError

EVERYTHING = Circuit(
    name="everything",
    form="rate",
    populations=(
        Population(name="e.v1", size=2, sign="excitatory", activation=Activation(kind="power", gain=0.3, exponent=2.0)),
        Population(name="i", size=1, sign="inhibitory", tau_s=(0.1 + 0.2,), bias=1e-30, area="v1"),
        Population(name="m", size=3, bias=(1.0, -2.5, 1e16)),
    ),
    projections=(
        Projection(source="e.v1", target="m", weights=WeightLaw(law="gamma", mean=0.5, sd=0.1), plasticity="fac-1"),
        Projection(source="m", target="e.v1", weights=WeightLaw(), mask=("011", "100"), density=0.5),
        Projection(source="m", target="m", weights=WeightLaw(law="exponential", mean=-0.5), in_degree=1),
        Projection(source="m", target="m", weights=WeightLaw(), distance=Ring(width_rad=2.5), allow_autapses=True),
    ),
    plasticity={"fac-1": ShortTermPlasticity(U=0.15, tau_f_s=1.5, tau_d_s=0.2, convention="mongillo2008")},
    inputs=(Input(name="a", target="m", vector=(0.1, 0.2, 0.3)), Input(name="a", target="i")),
    noise=Noise(sigma=0.1, tau_s=0.005, shared=0.25),
    initial_sd=0.5,
    wiring_seed=2**70,
    rate_scale_hz=10.0,
    citation='A "quoted" \\ text\nin two lines, \x7f, \u00e9 and \U0001f9e0',
    notes={"known": ("one", "two"), "chosen": ("three",)},
)
LOW_RANK = Circuit(
    name="loadings",
    populations=(Population(name="a", size=2),),
    low_rank_terms=(LowRank(m=(0.1, 0.2), n=(1e-300, 1e300)), LowRank(overlap=0.3, m_variance=2.0)),
    noise=Noise(sigma=1.0, covariance=((1.0, 0.5), (0.5, 2.0))),
)


@pytest.mark.parametrize("circuit", [EVERYTHING, LOW_RANK, Circuit.ssn(), Circuit.balanced(10, 1.5)])
def test_a_circuit_comes_back_exactly_as_it_was_saved(circuit, tmp_path):
    loaded = load_circuit(save_circuit(circuit, tmp_path / "new" / "c.toml"))
    assert loaded == circuit
    assert loaded.hash() == circuit.hash()
    assert circuit_to_toml(loaded) == circuit_to_toml(circuit)


def test_fields_at_their_defaults_are_left_out_and_parts_stay_together():
    text = circuit_to_toml(Circuit.random(4, 1.5, seed=2))
    table = tomllib.loads(text)
    assert set(table) == {"name", "gain", "wiring_seed", "initial_sd", "populations", "projections"}
    assert table["populations"] == [{"name": "units", "size": 4}]
    weights = {"law": "gaussian", "mean": 0.0, "sd": 0.5}
    assert table["projections"] == [{"source": "units", "target": "units", "weights": weights, "allow_autapses": True}]


def test_text_that_no_file_can_hold_is_refused_before_saving():
    """A lone surrogate has no UTF-8."""
    with pytest.raises(OptionError, match=r"citation: .* expected text that UTF-8 can hold"):
        Circuit(name="a", populations=(Population(name="a", size=1),), citation="\ud800")


def test_saving_replaces_the_old_file_whole(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("x" * 100_000)
    save_circuit(Circuit.random(4, 1.5), path)
    assert load_circuit(path) == Circuit.random(4, 1.5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.toml"]


def test_a_path_may_be_text_and_is_told_from_a_name_by_its_ending(tmp_path, monkeypatch):
    save_circuit(Circuit.ssn(), tmp_path / "c.toml")
    monkeypatch.chdir(tmp_path)
    assert load_circuit("c.toml") == load_circuit(str(tmp_path / "c.toml")) == Circuit.ssn()


def test_an_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    with pytest.raises(MissingFileError, match="Did you mean 'balanced_chaos'") as caught:
        load_circuit("balanced_choas")
    assert all(name in str(caught.value) for name in circuit_names())
    with pytest.raises(MissingFileError, match=r"Give a path that ends in \.toml"):
        load_circuit("zzz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"absent\.toml"):
        load_circuit(tmp_path / "absent.toml")


def test_a_folder_is_no_circuit(tmp_path):
    with pytest.raises(FileAccessError, match=str(tmp_path)):
        load_circuit(tmp_path)


def test_a_file_that_no_circuit_can_need_is_not_read(tmp_path):
    path = tmp_path / "large.toml"
    with open(path, "wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    with pytest.raises(DataError, match=r"large\.toml: the file has 16777217 bytes; expected .* at most 16777216"):
        load_circuit(path)


def test_a_file_may_start_with_the_mark_of_its_encoding(tmp_path):
    """Editors on Windows put a byte order mark before UTF-8."""
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + circuit_to_toml(Circuit.ssn()).encode())
    assert load_circuit(path) == Circuit.ssn()


def test_an_error_starts_with_the_file_and_the_key(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(circuit_to_toml(Circuit.ssn()).replace("tau_s = 0.02", "tau_s = 20"))
    with pytest.raises(OptionError, match=r"c\.toml: populations\[0\]\.tau_s: 20 is not valid"):
        load_circuit(path)
