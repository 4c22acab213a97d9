"""The documents are true: commands, options, targets and links in them exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from benchmarks.__main__ import parser as benchmark_parser
from bulk_export.cli import app
from bulk_export.errors import BulkExportError
from bulk_export.pipelines.export import export
from bulk_export.services.catalogue import load_service
from bulk_export.services.local import serving
from tests.support.exporting import options, settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group


def options_of(command: str) -> set[str]:
    return {name for parameter in COMMANDS[command].params for name in parameter.opts} | {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_option_that_is_named_exists(document: Path) -> None:
    known = set().union(*map(options_of, COMMANDS)) | {
        "--install-completion",
        "--version",
        "--full",
        # Of podman.
        "--rm",
        "--secret",
    }
    known |= {name for action in benchmark_parser()._actions for name in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", document.read_text())) <= known


@pytest.mark.parametrize("document", ["README.md", "docs/guide.md"])
def test_commands_in_the_tasks_take_the_options_shown(document: str) -> None:
    for line in re.findall(r"^    bulk-export (.+)$", (ROOT / document).read_text(), re.MULTILINE):
        command = line.split()[0]
        assert set(re.findall(r"--[a-z-]+", line)) <= options_of(command), line


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_and_linked_file_exists(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (document.parent / link).exists(), link
    for test in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / test).exists(), test


def test_the_exit_codes_are_those_of_the_errors() -> None:
    stated = {int(code) for code in re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}

    def codes(kind: type[BulkExportError]) -> set[int]:
        return {kind.exit_code}.union(*map(codes, kind.__subclasses__()))

    assert codes(BulkExportError) - {BulkExportError.exit_code} == stated - {0}


def test_the_modules_of_the_architecture_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    for name in re.findall(r"`([a-z][a-z_]+(?:/[a-z_]+)*)(?:/|\.py)?`", tables):
        path = ROOT / "bulk_export" / name
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


def test_files_named_for_changes_exist() -> None:
    """The table of files to touch in CONTRIBUTING.md names files that exist."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tables = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    for name in re.findall(r"`([a-z_/]+\.py)`", tables):
        assert (ROOT / "bulk_export" / name).is_file() or (ROOT / name).is_file(), name


def test_tests_named_in_the_code_exist() -> None:
    """A comment that names a test module names one that exists."""
    for path in (ROOT / "bulk_export").rglob("*"):
        if path.suffix in {".py", ".lua", ".sql", ".toml"}:
            for test in re.findall(r"tests/[\w/]+\.py", path.read_text()):
                assert (ROOT / test).exists(), f"{path} names {test}"


def test_the_python_in_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    assert (tmp_path / "output/statements/manifest.json").exists()


def test_the_python_in_the_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each block runs, with fewer requests in the same time."""
    monkeypatch.chdir(tmp_path)
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide.md").read_text(), re.DOTALL)
    for program in programs:
        quick = program.replace('environment="local"', 'environment="local", page_size=1000, min_interval=0')
        exec(compile(quick, "guide.md", "exec"), {})
    assert len(programs) == 2
    assert {"2000", "1000"} <= {*capsys.readouterr().out.splitlines()}


async def test_described_example_works(tmp_path: Path) -> None:
    """The described example can be served and exported."""
    (description,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs/descriptions.md").read_text(), re.DOTALL)
    file = tmp_path / "library.toml"
    file.write_text(description)
    made = settings(service=load_service(str(file)), records_by_endpoint={"loans": 70}, largest_page=30)
    async with serving(made) as service:
        await export(options(service, tmp_path / "loans", service=str(file), format="ndjson", filter=["branch=north"]))
        assert service.log[0].query == "offset=0&limit=300&branch=north"
        await export(options(service, tmp_path / "all", service=str(file), format="ndjson"))
        (part,) = (tmp_path / "all/loans").iterdir()
        assert list(map(json.loads, part.read_bytes().split(b"\n")[:-1])) == list(service.truth("loans"))


def test_every_key_of_a_description_is_documented() -> None:
    text = (ROOT / "docs/descriptions.md").read_text()
    source = (ROOT / "bulk_export/services/description.py").read_text()
    keys = set(
        re.findall(
            r"\.(?:string|optional_string|strings|integer|choice|boolean|parsed|table|value)\(\"([a-z_]+)\"", source
        )
    )
    assert len(keys) > 25
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()
