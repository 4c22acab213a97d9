"""Each promise and each fault in the document names a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "docs/guarantees.md").read_text().splitlines()
ROWS = [
    line for line in LINES if line.startswith("| ") and not line.startswith(("| ---", "| promise", "| id", "| pit"))
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the test functions that a file defines at its top or in classes."""
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions) and node.name[:5] == "test_")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = NAMED.findall(row)
    assert named
    assert row.count("::") == len(named)
    for path, name in named:
        assert name in names_in(path), f"{path}::{name}"


def test_every_fault_has_its_row() -> None:
    faults = [found[1] for row in ROWS if (found := re.match(r"\| (F\d+) \|", row))]
    assert faults == [f"F{number}" for number in range(1, len(faults) + 1)]
    assert len(faults) >= 36
