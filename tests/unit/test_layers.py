"""The direction of imports, the public surface, and what the documents promise of the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bulk_export

ROOT = Path(bulk_export.__file__).parent
LAYERS = [
    {"errors", "model", "units", "credentials", "progress.observer", "pulse", "settings", "encoding"}
    | {"timetable", "opening", "repeat", "server_clock", "allocator", "printable", "text_encoding"}
    | {"state_directory", "column_names", "masking"},
    {"catalogue", "openapi", "filters", "schema", "schema_inference", "schema_mode", "redaction", "options", "base_url"}
    | {"page_plan", "page_order", "retry", "outage", "paging_facts", "first_page", "page_evidence"}
    | {"certificates", "explanation", "descriptors", "urls", "page_target", "answer"}
    | {"decode", "duplicates", "seen_ids", "agreement", "revision"},
    {"budget", "connections", "fetch", "journal", "files", "sinks", "schedule", "cost", "database", "delta_files"}
    | {"settings_trust", "directories", "working_state"},
    {"counters", "sweep", "pool", "parts", "resweep", "convert", "outcome", "manifest", "publish"}
    | {"replaceable", "workplace", "service_answers", "tuning", "fetched_page", "echoes", "paging_state"}
    | {"local_service", "environment", "service_source"},
    {"pipeline", "streaming", "archive_replay", "verification", "check"},
    {"polling"},
    {"api", "progress", "cli", "__main__", "__init__"},
]


_COMMANDS = ("running", "parameters", "export", "replay", "plan", "budget", "local_service")
_COMMANDS += ("endpoints", "verify", "describe", "check", "sync", "trust", "streams")


def module_name(path: Path) -> str:
    relative = path.relative_to(ROOT).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "__init__" and len(relative.parts) > 1 else relative.parts
    return ".".join(parts)


def layer_of(name: str) -> int:
    for number, layer in enumerate(LAYERS):
        if name in layer:
            return number
    top = name.split(".")[0]
    for number, layer in enumerate(LAYERS):
        if top in layer:
            return number
    raise AssertionError(f"{name} stands in no layer")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bulk_export"):
            base = node.module.removeprefix("bulk_export").lstrip(".")
            if base:
                found.add(base)
            else:
                found.update(alias.name for alias in node.names if not alias.name.startswith("__"))
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_the_layers(path: Path) -> None:
    own = module_name(path)
    if own == "__init__":
        return
    for imported in imports(path):
        assert layer_of(imported) <= layer_of(own), f"{own} imports {imported}"


@pytest.mark.parametrize("name", ["errors", "model", "printable"])
def test_leaves_import_nothing_of_the_project(name: str) -> None:
    assert imports(ROOT / f"{name}.py") == set()


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("aiohttp", {"connections", "fetch", "local_service.server"}),
        ("aiolimiter", {"budget.limiter"}),
        ("redis", {"budget.redis_client"}),
        ("duckdb", {"database", "check.answer"}),
        ("deltalake", {"check.copy", "delta_files", "polling.delta_table"}),
        (
            "sqlite3",
            {
                "journal.file",
                "journal.layout",
                "journal.store",
                "budget.sqlite",
                "budget.sqlite_file",
                "budget.sqlite_record",
                "budget.sqlite_schema",
                "budget.sqlite_time",
                "budget.service_facts",
            },
        ),
        ("yaml", {"openapi.parsing", "openapi.writing"}),
        ("referencing", {"openapi.schemas"}),
        ("tomli_w", {"cli.describe", "openapi.describing"}),
        (
            "typer",
            {
                "cli",
                "cli.running",
                "cli.streams",
                "cli.parameters",
                "cli.export",
                "cli.sync",
                "cli.replay",
                "cli.plan",
                "cli.budget",
                "cli.endpoints",
                "cli.verify",
                "cli.describe",
                "cli.check",
                "cli.local_service",
            },
        ),
    ],
)
def test_a_library_is_known_to_the_modules_that_use_it_only(library: str, homes: set[str]) -> None:
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    users = {module_name(path) for path in ROOT.rglob("*.py") if pattern.search(path.read_text())}
    assert users <= homes


def test_what_is_exported_is_meant_for_users() -> None:
    assert set(bulk_export.__all__) == {
        "BudgetUnavailable",
        "BulkExportError",
        "Counts",
        "DamagedState",
        "DescriptionOutdated",
        "EndpointSummary",
        "ExportSummary",
        "Interrupted",
        "LocalFailure",
        "RemovalRefused",
        "Observer",
        "PollSummary",
        "SchemaDrift",
        "ServiceFailing",
        "ServiceRefused",
        "SyncSummary",
        "TableSummary",
        "UsageError",
        "Verification",
        "VerificationFailed",
        "WindowUse",
        "__version__",
        "export",
        "replay",
        "run_export",
        "run_replay",
        "run_sync",
        "stream",
        "sync",
        "verify",
    }
    assert all(getattr(bulk_export, name) is not None for name in bulk_export.__all__)
    with pytest.raises(AttributeError):
        _ = bulk_export.nothing_of_the_kind


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, bulk_export; print({'pyarrow', 'aiohttp', 'typer', 'anyio'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


def test_modules_hold_one_idea_each() -> None:
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
