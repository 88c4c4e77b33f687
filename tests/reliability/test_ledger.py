"""The ledger of promises names tests that are there. Oracle: the syntax trees of the test files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = [line for line in (HERE / "LEDGER.md").read_text().splitlines() if line.startswith("| R")]


def test_every_test_that_the_ledger_names_is_there():
    missing, n_named = [], 0
    for row in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, name in named:
            path = HERE / file if "/" not in file else HERE.parent / file
            functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
            missing += [f"{file}::{name}"] * (name not in functions)
            n_named += 1
    assert missing == []
    assert n_named > len(ROWS)


def test_every_row_has_an_id_a_promise_a_test_and_a_count():
    assert {row.count("|") for row in ROWS} == {5}
    assert all(re.match(r"\| R\d+(, R\d+)* \| \S.* \| `\S.* \| \S.* \|$", row) for row in ROWS)
    assert all(re.search(rf"\| (?:R\d+, )?R{number}[ ,]", "\n".join(ROWS)) for number in range(1, 9))
