"""The layers of the package, as the architecture document lists them, and that tests stand on their own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bulk_export

ROOT = Path(bulk_export.__file__).parent
DOCUMENT = (ROOT.parent / "docs/architecture.md").read_text()
# The table's rows from top to bottom, each with one or more folders or modules.
ROWS = re.findall(r"^\| ((?:`\w+(?:/|\.py)`(?:, )?)+) \|", DOCUMENT.partition("## Layers")[2], re.MULTILINE)
LAYERS = [[name.strip("/").removesuffix(".py") for name in re.findall(r"`([\w/.]+)`", row)] for row in ROWS]
PATHS = sorted(path for path in ROOT.rglob("*.py"))
FACES = {"__init__", "__main__"}


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "__init__" and len(relative.parts) > 1 else relative.parts
    return ".".join(parts)


MODULES = {module_name(path): path for path in PATHS}


def layer_of(name: str) -> int:
    top = name.partition(".")[0]
    return next(number for number, layer in enumerate(LAYERS) if top in layer)


@cache
def imports(path: Path) -> tuple[str, ...]:
    """The modules of the package that a module imports, wherever in it; the package's own face as an empty name."""
    return tuple(found_imports(path))


def found_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name[12:] for alias in node.names if alias.name.startswith("bulk_export"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "bulk_export":
            base = node.module[12:]
            inside = {f"{base}.{alias.name}".strip(".") for alias in node.names} & MODULES.keys()
            yield from inside or {base}


def test_document_lists_root_once() -> None:
    """The architecture document lists every folder and module of the root, and each one once."""
    listed = [name for layer in LAYERS for name in layer]
    entries = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(listed) == sorted(entries - FACES)
    assert len(listed) <= 14


def misdirection(name: str, imported: str) -> str | None:
    """What is wrong with an import of one module by another, or None."""
    if not imported:
        return f"{name} imports the package's own face"
    if layer_of(imported) < layer_of(name):
        return f"{name} imports {imported}, which is above it"
    if layer_of(imported) == layer_of(name) and imported.partition(".")[0] != name.partition(".")[0]:
        return f"{name} imports {imported}, which is beside it"
    return None


def test_imports_point_down_the_layers() -> None:
    pairs = [(name, imported) for name in sorted(MODULES.keys() - FACES) for imported in imports(MODULES[name])]
    assert len(pairs) > len(MODULES)
    assert [wrong for pair in pairs if (wrong := misdirection(*pair))] == []


def test_no_import_circle() -> None:
    graph = {name: {imported for imported in imports(path) if imported != name} for name, path in MODULES.items()}
    # A package's face imports its modules; that they import each other directly is no circle.
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_import_circle_between_folders() -> None:
    """Folders import each other in one direction, inside a layer too."""
    folders: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        own = name.rpartition(".")[0] if path.name != "__init__.py" else name
        for imported in imports(path):
            other = imported if (ROOT / imported.replace(".", "/")).is_dir() else imported.rpartition(".")[0]
            if own and other and own != other and not own.startswith(f"{other}.") and not other.startswith(f"{own}."):
                folders.setdefault(own, set()).add(other)
    try:
        TopologicalSorter(folders).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_exceptions_import_nothing_of_ours() -> None:
    assert imports(MODULES["errors"]) == ()


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("aiohttp", {"extract.connections", "extract.client", "services.local.server"}),
        ("aiolimiter", {"extract.rate_limit.spacing"}),
        ("redis", {"extract.rate_limit.redis.client"}),
        ("duckdb", {"output.duckdb_sql", "pipelines.checks.runner", "destinations.duckdb_file"}),
        (
            "deltalake",
            {
                "output.delta_files",
                "pipelines.checks.tables",
                "pipelines.copy_source",
                "pipelines.sync.tables.delta_table",
            },
        ),
        (
            "sqlite3",
            {
                "extract.journal.batched",
                "extract.journal.file",
                "extract.journal.layout",
                "extract.journal.store",
                "extract.rate_limit.sqlite.ledger",
                "extract.rate_limit.sqlite.file",
                "extract.rate_limit.sqlite.statements",
                "extract.rate_limit.sqlite.schema",
                "extract.rate_limit.sqlite.timeline",
                "extract.rate_limit.service_facts",
                "destinations.sqlite_file",
            },
        ),
        ("adbc_driver_postgresql", {"destinations.postgres"}),
        ("mssql_python", {"destinations.sqlserver"}),
        ("snowflake", {"destinations.snowflake"}),
        ("google", {"destinations.bigquery"}),
        ("openlineage", {"pipelines.lineage"}),
        ("opentelemetry", {"pipelines.tracing", "pipelines.span_delivery", "progress.spans"}),
        ("yaml", {"services.openapi.loader", "services.openapi.from_description"}),
        ("referencing", {"services.openapi.types"}),
        ("tomli_w", {"pipelines.description_file", "services.openapi.to_description"}),
        (
            "typer",
            {
                "cli",
                "cli.command_group",
                "cli.runner",
                "cli.streams",
                "cli.parameters",
                "cli.export",
                "cli.doctor",
                "cli.head",
                "cli.init",
                "cli.load",
                "cli.sync",
                "cli.tenants",
                "cli.replay",
                "cli.report",
                "cli.resume",
                "cli.plan",
                "cli.budget",
                "cli.endpoints",
                "cli.verify",
                "cli.describe",
                "cli.check",
                "cli.local_service",
                "cli.completion",
                "cli.man",
            },
        ),
    ],
)
def test_library_has_few_importers(library: str, homes: set[str]) -> None:
    """Each library is imported by the modules that wrap it, and no others."""
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    users = {module_name(path) for path in ROOT.rglob("*.py") if pattern.search(path.read_text())}
    assert users <= homes


def test_modules_are_short() -> None:
    """A module holds one idea, in 400 lines at most."""
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


TESTS = Path(__file__).parents[1]


TEST_FILES = sorted(TESTS.rglob("*.py"))


def test_no_test_module_is_imported() -> None:
    """Tests and their helpers import helpers only, which are in `tests/support`."""
    imported = [
        (path.relative_to(TESTS), f"{node.module}.{alias.name}")
        for path in TEST_FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tests"
        for alias in node.names
    ]
    assert len(imported) > len(TEST_FILES) // 2
    assert [(path, name) for path, name in imported if name.split(".")[1] != "support"] == []
