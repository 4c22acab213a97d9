"""The walks of the architecture document, against the code: each named function calls the next one."""

from __future__ import annotations

import ast
import itertools
import re
from functools import cache
from pathlib import Path

import bulk_export

ROOT = Path(bulk_export.__file__).parent
DOCUMENT = (ROOT.parent / "docs/architecture.md").read_text()
CHAINS = [line.strip().split(" → ") for line in DOCUMENT.splitlines() if re.match(r"    \w+\.\S+ → ", line)]
CALLS = sorted(set(itertools.chain.from_iterable(map(itertools.pairwise, CHAINS))))


@cache
def functions() -> dict[str, ast.AST]:
    """Every function by `module.name`, also with its folder, and every method by `Class.name`."""
    named: dict[str, ast.AST] = {}
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                named[f"{path.stem}.{node.name}"] = named[f"{path.parent.name}.{path.stem}.{node.name}"] = node
            elif isinstance(node, ast.ClassDef):
                methods = (entry for entry in node.body if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef))
                named |= {f"{node.name}.{method.name}": method for method in methods}
    return named


def names_in(function: str) -> set[str]:
    """The names and attributes that a function uses; none if there is no such function."""
    nodes = [] if function not in functions() else list(ast.walk(functions()[function]))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} | {
        node.id for node in nodes if isinstance(node, ast.Name)
    }


def test_function_calls_the_next_one() -> None:
    """Each function of a walk exists, and names the next one."""
    assert {called for _, called in CALLS} - functions().keys() == set()
    assert [call for call in CALLS if call[1].rpartition(".")[2] not in names_in(call[0])] == []


def test_walks_are_found() -> None:
    """The document has all three walks, with every station of a page."""
    assert len(CALLS) > 50
    for title in ("A page", "An option", "A 429"):
        assert f"### {title}\n" in DOCUMENT
