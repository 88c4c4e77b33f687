"""What this package wrote itself, damaged in any way, is read or refused with a typed error (R1).

Circuits in TOML, trained networks and checkpoints in safetensors, and the answers of a guarded child. Oracle: the
class of what is raised, an alarm clock, and the memory of the process. CORTEXRNN_FUZZ is the number of inputs of
all fuzz tests together.
"""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw
from cortexrnn.circuit.files import circuit_from_toml
from cortexrnn.errors import DataError
from cortexrnn.runs.guard import _pack, _unpack
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.checkpoint import Checkpoint, load_arrays, load_checkpoint, save_arrays, save_checkpoint
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.optimisers import MomentumState
from cortexrnn.training.tasks import RandomDots
from cortexrnn.training.trained import load_trained

FUZZING = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))
N_INPUTS, count_outcomes, mutate = (FUZZING[name] for name in ("N_INPUTS", "count_outcomes", "mutate"))
N_CIRCUITS, N_NETWORKS, N_CHECKPOINTS, N_ANSWERS = (N_INPUTS * share // 1000 for share in (100, 75, 50, 100))
TASK = RandomDots()

TOML = """name = "small"
gain = 1.2
rate_scale_hz = 1.0
[[populations]]
name = "a"
size = 2
sign = "excitatory"
activation = {kind = "softplus", gain = 0.5}
tau_s = 0.02
bias = [0.0, -1.0]
[[populations]]
name = "b"
size = 1
sign = "inhibitory"
[[projections]]
source = "a"
target = "b"
plasticity = "p"
weights = {law = "gamma", mean = 0.2, sd = 0.4}
[[projections]]
source = "b"
target = "a"
weights = [[-0.5], [-0.25]]
[plasticity.p]
U = 0.2
tau_f_s = 1.5
tau_d_s = 0.2
[[inputs]]
name = "pulse"
target = "a"
[noise]
sigma = 0.1
tau_s = 0.01
"""
TOKENS = [
    "-1", "nan", "inf", "1e400", "9" * 30, "true", '"a"', "[]", "{}", "[[1]]", "1979-05-27", "07:32:00", "0x10",
    '""', '"\\ud800"', "[1, [2]]", "{a = 1}", "'''", "1_0", "", "0", "1e-320", '"excitatory"', "[" * 2000, "[0.1, nan]",
]  # fmt: skip
KEYS = ["size", "tau_s", "mask", "low_rank_terms", "notes", "distance", "in_degree", "m", "name", "\u00e9", "a.b", '""']
JSONS = [
    "", "null", "1", "[]", "{}", '"a"', "[" * 5000, "NaN", "\u00b2", "-1", "1e999", "9" * 5000, "float32", "trained",
    '{"kind": "lstm"}', '{"kind": "lstm", "n_hidden": 3, "initial": {}}', '{"a": 1}', "[1]",
]  # fmt: skip
SHAPES = [[], [0], [3], [1, 3], [3, 1], [2**40], [2**63, 2], [1] * 40, [-1], [1.5]]
DTYPES = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "I8", "X9"]


@pytest.fixture
def folder():
    """A folder in memory, left when the test has grown no further than small files may make it."""
    with FUZZING["folder_in_memory"]() as made, FUZZING["bounded_memory"]():
        yield made


def grow_circuit(rng):
    """Make a circuit's file of which a value, a key or a line is not as it should be, or mutate its bytes."""
    if rng.random() < 0.3:
        return mutate(TOML.encode(), rng)
    lines = TOML.splitlines()
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(lines))
        key, _, value = lines[at].partition(" = ")
        kind = rng.randrange(4)
        if kind == 0 and value:
            lines[at] = f"{key} = {rng.choice(TOKENS)}"
        elif kind == 1 and value:
            lines[at] = f"{rng.choice(KEYS)} = {value}"
        elif kind == 2:
            lines.insert(rng.randrange(len(lines)), f"{rng.choice(KEYS)} = {rng.choice(TOKENS)}")
        else:
            del lines[at]
    return "\n".join(lines).encode()


def grow_safetensors(content, rng):
    """Change the header of a safetensors file so that it stays one, or mutate its bytes."""
    if rng.random() < 0.2:
        return mutate(content, rng)
    size = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + size]), content[8 + size :]
    about = header["__metadata__"]
    names = [name for name in header if name != "__metadata__"]
    kind, name = rng.randrange(6), rng.choice(names)
    told = rng.choice(list(about))
    if kind == 0:
        about[told] = rng.choice(JSONS)
    elif kind == 1:
        text = mutate(about[told].encode(), rng) if about[told] else b"{"
        about[told] = text.decode(errors="replace")
    elif kind == 2:
        del about[told]
    elif kind == 3:
        # An array that is there, under the name of another, or one more axis.
        header[name] = {**header[name], "shape": rng.choice([[1, *header[name]["shape"]], header[name]["shape"][::-1]])}
    elif kind == 4:
        header[name] = {**header[name], rng.choice(["shape", "dtype"]): rng.choice([*SHAPES, *DTYPES])}
    else:
        # Empty arrays, which need no bytes, behind the others.
        end = [len(body), len(body)]
        where = header[name]["data_offsets"]
        header = {key: value for key, value in header.items() if key != name}
        header[name] = {"dtype": rng.choice(DTYPES), "shape": rng.choice(SHAPES[:2]), "data_offsets": end}
        header[" spare"] = {"dtype": "U8", "shape": [where[1] - where[0]], "data_offsets": where}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def grow_answer(content, rng):
    """Change what a guarded child answered: what was taken over may answer anything."""
    if rng.random() < 0.5:
        return mutate(content, rng)
    text = rng.choice([
        b"{}", b"[]", b"null", b"1", b'{"result": {"__array__": 9}}', b'{"result": {"__array__": "a"}}', b'"error"',
        b'{"result": {"__array__": -1}}', b'{"error": {}}', b'{"error": null}', b'["error"]', b'{"failure": null}',
        b'{"out_of_memory": "a"}', b'{"error": {"class": "os", "what": 1, "where": [], "hint": {}}}', b"[" * 5000,
        b'{"error": {"class": [], "what": "", "where": "", "hint": ""}}', b"\xff", b'{"result": {"__array__": null}}',
    ])  # fmt: skip
    start = 16 + int.from_bytes(content[:8], "little")
    n_arrays = rng.choice([0, 1, 2, 2**63])
    return len(text).to_bytes(8, "little") + n_arrays.to_bytes(8, "little") + text + content[start:]


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_damaged_circuits_end_in_a_circuit_or_a_typed_error():
    rng = random.Random(301)
    assert circuit_from_toml(TOML.encode(), where="a.toml").name == "small"
    inputs = (grow_circuit(rng) for _ in range(N_CIRCUITS))
    outcomes = count_outcomes(lambda content: circuit_from_toml(content, where="a.toml"), inputs)
    assert set(outcomes) == {"read", "DataError", "OptionError"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["circuit", "lstm"])
def test_damaged_networks_end_in_a_network_or_a_typed_error(folder, kind):
    rng = random.Random(302)
    a = Population(name="a", size=3, sign="excitatory")
    law = WeightLaw(law="gamma", mean=0.1, sd=0.1)
    circuit = Circuit(name="c", populations=(a,), projections=(Projection(source="a", target="a", weights=law),))
    options = TrainOptions(max_steps=1, batch_size=2, n_validation=2, criterion=2.0, n_threads=1)
    trained = train(circuit if kind == "circuit" else CellNetwork(kind="lstm", n_hidden=3), TASK, options=options)
    path = folder / "net.safetensors"
    trained.save(path)
    content = path.read_bytes()

    def read(given):
        path.write_bytes(given)
        load_trained(path, TASK)

    outcomes = count_outcomes(read, (grow_safetensors(content, rng) for _ in range(N_NETWORKS // 2)))
    assert {"read", "DataError"} <= set(outcomes)


@pytest.mark.slow
def test_damaged_checkpoints_end_in_a_checkpoint_or_a_typed_error(folder):
    rng = random.Random(303)
    path = folder / "training.safetensors"
    rows = np.arange(10.0).reshape(2, 5)
    checkpoint = Checkpoint(theta=np.arange(4.0), state=MomentumState(np.arange(4.0)), step=2, rows=rows)
    save_checkpoint(path, checkpoint, {"seed": "3"})
    content = path.read_bytes()

    def read(given):
        path.write_bytes(given)
        load_checkpoint(path, {"seed": "3"}, MomentumState)

    outcomes = count_outcomes(read, (grow_safetensors(content, rng) for _ in range(N_CHECKPOINTS)))
    assert {"read", "DataError", "OptionError"} == set(outcomes)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
# What NumPy says of a header with a line too many.
@pytest.mark.filterwarnings("ignore:Reading `.npy`:UserWarning")
def test_damaged_answers_of_a_child_end_in_a_result_or_a_typed_error():
    rng = random.Random(304)
    content = b"".join(_pack({"result": {"ids": [1, "b"], "times": np.arange(3.0), "none": None, "k": np.arange(2)}}))
    inputs = (grow_answer(content, rng) for _ in range(N_ANSWERS))
    outcomes = count_outcomes(lambda answer: _unpack(answer, "a.nwb"), inputs)
    assert {"read", "DataError", "ReaderCrashed"} <= set(outcomes)


@pytest.mark.parametrize("name", ["theta", "state first", "state n_steps", "rows"])
def test_a_checkpoint_whose_arrays_have_another_shape_is_never_gone_on_from(tmp_path, name):
    """One number would fit any shape by broadcasting."""
    options = TrainOptions(max_steps=1, batch_size=2, n_validation=2, criterion=2.0, n_threads=1, folder=tmp_path)
    train(CellNetwork(kind="lstm", n_hidden=3), TASK, options=options)
    path = tmp_path / "training.safetensors"
    arrays, about = load_arrays(path)
    save_arrays(path, {**arrays, name: arrays[name][:, :1] if name == "rows" else np.zeros((1, 1))}, about)
    with pytest.raises(DataError, match=r"other shapes or types than those of this training.*train again"):
        train(CellNetwork(kind="lstm", n_hidden=3), TASK, options=options)
