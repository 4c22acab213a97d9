"""Each promise and each fault in the document names a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

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


def test_every_row_names_tests_that_exist() -> None:
    assert len(ROWS) > 200
    assert [row for row in ROWS if not NAMED.search(row) or row.count("::") != len(NAMED.findall(row))] == []
    named = {test for row in ROWS for test in NAMED.findall(row)}
    assert [f"{path}::{name}" for path, name in sorted(named) if name not in names_in(path)] == []


def test_every_fault_has_its_row() -> None:
    faults = [found[1] for row in ROWS if (found := re.match(r"\| (F\d+) \|", row))]
    assert faults == [f"F{number}" for number in range(1, len(faults) + 1)]
    assert len(faults) >= 36
