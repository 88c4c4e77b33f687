"""Oracle: what was put is what is got; a damaged file or line counts as absent."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from cortexrnn.errors import FileAccessError
from cortexrnn.runs.store import Store, array_key, code_key, content_key

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([True, False]), "c": np.array(7)}


def same(one, other):
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def test_what_was_put_is_got_also_by_the_next_process(tmp_path):
    store = Store(tmp_path / "work")
    store.put("k", ARRAYS)
    assert same(store.get("k"), ARRAYS)
    assert same(Store(tmp_path / "work").get("k"), ARRAYS)


def test_types_and_shapes_are_kept_to_the_bit(tmp_path):
    store = Store(tmp_path)
    odd = {"x": np.array([np.nan, -0.0, np.inf]), "y": np.zeros((0, 3), dtype=np.uint16)}
    store.put("k", odd)
    found = store.get("k")
    assert found["x"].tobytes() == odd["x"].tobytes()
    assert (found["y"].dtype, found["y"].shape) == (np.uint16, (0, 3))


def test_a_store_without_a_folder_is_empty_and_makes_none(tmp_path):
    assert Store(tmp_path / "new").get("k") is None
    assert not (tmp_path / "new").exists()


def test_the_first_put_sweeps_what_a_killed_run_left_and_reading_does_not(tmp_path):
    left = tmp_path / ".k.npz.cortexrnn-0123abcd.tmp"
    left.write_bytes(b"half")
    store = Store(tmp_path)
    assert store.get("k") is None
    assert left.exists()
    store.put("k", ARRAYS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.npz", "ledger.jsonl"]


def test_a_unit_put_twice_is_replaced(tmp_path):
    store = Store(tmp_path)
    store.put("k", {"a": np.zeros(2)})
    store.put("k", {"a": np.ones(2)})
    np.testing.assert_array_equal(Store(tmp_path).get("k")["a"], np.ones(2))


@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_flipped_bit_makes_the_unit_absent(tmp_path, at):
    Store(tmp_path).put("k", ARRAYS)
    content = bytearray((tmp_path / "k.npz").read_bytes())
    content[at] ^= 4
    (tmp_path / "k.npz").write_bytes(content)
    assert Store(tmp_path).get("k") is None


def test_a_truncated_or_lost_file_makes_the_unit_absent(tmp_path):
    Store(tmp_path).put("k", ARRAYS)
    content = (tmp_path / "k.npz").read_bytes()
    (tmp_path / "k.npz").write_bytes(content[:-1])
    assert Store(tmp_path).get("k") is None
    (tmp_path / "k.npz").unlink()
    assert Store(tmp_path).get("k") is None


def test_a_file_that_no_line_of_the_ledger_names_is_not_trusted(tmp_path):
    Store(tmp_path).put("k", ARRAYS)
    (tmp_path / "ledger.jsonl").unlink()
    assert Store(tmp_path).get("k") is None


def test_a_torn_last_line_loses_one_unit_and_does_not_swallow_the_next(tmp_path):
    store = Store(tmp_path)
    for key in "ab":
        store.put(key, ARRAYS)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-7])
    again = Store(tmp_path)
    assert same(again.get("a"), ARRAYS)
    assert again.get("b") is None
    again.put("c", ARRAYS)
    last = Store(tmp_path)
    assert same(last.get("a"), ARRAYS)
    assert same(last.get("c"), ARRAYS)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b"[1]",
        b"\xff\xfe",
        b'{"unit": "k 0"}',
        b'{"unit": 3, "crc": 1}',
        b'{"unit": "k", "crc": 140662621}',
        b"9" * 5000,
        b"[" * 100_000,
    ],
)
def test_rubbish_in_the_ledger_is_passed_over(tmp_path, line):
    Store(tmp_path).put("k", ARRAYS)
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(line + b"\n" + ledger.read_bytes() + line + b"\n")
    assert same(Store(tmp_path).get("k"), ARRAYS)


def test_a_line_whose_checksum_is_wrong_is_passed_over(tmp_path):
    Store(tmp_path).put("k", ARRAYS)
    ledger = tmp_path / "ledger.jsonl"
    entry = json.loads(ledger.read_text())
    assert entry["crc"] == zlib.crc32(entry["unit"].encode())
    ledger.write_text(json.dumps(entry | {"crc": entry["crc"] ^ 1}) + "\n")
    assert Store(tmp_path).get("k") is None


def test_objects_are_never_loaded(tmp_path):
    class Mischief:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    store = Store(tmp_path)
    store.put("k", {"a": np.array([Mischief()], dtype=object)})
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        store.get("k")
    assert not (tmp_path / "touched").exists()


def test_a_folder_below_a_file_is_a_typed_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileAccessError, match=r"ledger.jsonl: Not a directory. A part of the path is a file"):
        Store(tmp_path / "file" / "work")


def test_content_keys_do_not_depend_on_the_order_of_the_parts():
    assert content_key({"a": 1, "b": [2.5, None]}) == content_key({"b": [2.5, None], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2})
    assert len(content_key({})) == 64


def test_array_keys_see_values_types_and_shapes_but_not_the_layout_in_memory():
    values = np.arange(6.0).reshape(2, 3)
    keys = [array_key(values), array_key(values.astype(np.float32)), array_key(values.ravel()), array_key(values + 1)]
    assert len(set(keys)) == 4
    assert array_key(np.asfortranarray(values)) == keys[0]


def test_the_key_of_the_code_is_stable_within_a_process():
    assert code_key() == code_key()
