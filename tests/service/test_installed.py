"""The package as users install it: into an environment of its own, without extras and without the sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bulk_export

pytestmark = [pytest.mark.build, pytest.mark.timeout(300)]

ROOT = Path(bulk_export.__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
# What needs each extra; {} is a finished export.
NEEDS = {
    "bigquery": ["load", "{}", "--to", "bigquery://project/dataset"],
    "check": ["check", "{}"],
    "cloud": ["export", "statements", "--environment", "local", "--output", "s3://bucket/export"],
    "delta": ["sync", "statements", "--environment", "local", "--output", "copy"],
    "duckdb": ["load", "{}", "--to", "duckdb:///tables.duckdb"],
    "mssql": ["load", "{}", "--to", "mssql://user@host/database"],
    "postgres": ["load", "{}", "--to", "postgresql://user@host/database"],
    "redis": ["export", "statements", "--environment", "local", "--output", "one", "--budget", "redis://127.0.0.1/0"],
    "snowflake": ["load", "{}", "--to", "snowflake://user@account/database"],
}
# The first makes nothing possible that is not without it, the others are for work on the package.
OTHERS = {"speed", "bench", "docs", "integrations", "dev"}


def run(*command: str | Path, at: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the settings of this environment, and with a home directory of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BULK_EXPORT_", "PYTHON"))}
    # The tests run in an environment that may be active.
    kept.pop("VIRTUAL_ENV", None)
    own = {"XDG_STATE_HOME": str(at / "state"), "XDG_DATA_HOME": str(at / "data")}
    return subprocess.run(
        command, cwd=at, env=kept | own | variables, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(made)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = made.iterdir()
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed without extras; uv does in seconds what pip does, and what pipx has it do."""
    at = tmp_path_factory.mktemp("installed")
    python = at / "venv/bin/python"
    uv = shutil.which("uv")
    if uv is None:
        assert run(sys.executable, "-m", "venv", at / "venv", at=at).returncode == 0
        done = run(python, "-m", "pip", "install", "--quiet", "--constraint", CONSTRAINTS, wheel, at=at)
    else:
        assert run(uv, "venv", "--quiet", "--python", sys.executable, at / "venv", at=at).returncode == 0
        done = run(uv, "pip", "install", "--quiet", "--python", python, "--constraint", CONSTRAINTS, wheel, at=at)
    assert done.returncode == 0, done.stderr
    return at / "venv/bin/bulk-export"


def test_first_run_without_extras(installed: Path, tmp_path: Path) -> None:
    """Without any extra, exports and loads work, as `.ci/first-run` has them for every system."""
    path = f"{installed.parent}:{os.environ['PATH']}"
    done = run("bash", ROOT / ".ci/first-run", at=tmp_path, PATH=path, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "The first run works." in done.stdout


def test_tutorial_runs(installed: Path, tmp_path: Path) -> None:
    """The commands and the program of docs/tutorial.md run, one after the other, as they stand there."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    steps = re.findall(r"(?<!-->\n)```(sh|python)\n(.*?)```", text, re.DOTALL)
    assert len(steps) > 5
    for language, step in steps:
        program = ("bash", "-euo", "pipefail", "-c") if language == "sh" else (installed.parent / "python", "-c")
        done = run(*program, step, at=tmp_path, PATH=f"{installed.parent}:{os.environ['PATH']}")
        assert done.returncode == 0, step + done.stderr
    assert (tmp_path / "third-csv/statements/part-00000.csv").exists()


def test_missing_extra_names_its_command(installed: Path, tmp_path: Path) -> None:
    """What needs an extra says how to install it, exits with 2, and leaves nothing behind."""
    done = run(installed, "export", "statements", "--environment", "local", "--output", "first", at=tmp_path)
    assert done.returncode == 0, done.stderr
    for extra, command in NEEDS.items():
        done = run(installed, *[part.format("first") for part in command], at=tmp_path)
        assert (done.returncode, f"pip install 'bulk-export[{extra}]'" in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
    for extra in ("spark", "dagster"):
        done = run(installed.parent / "python", "-c", f"import bulk_export; bulk_export.{extra}", at=tmp_path)
        assert f"pip install 'bulk-export[{extra}]'" in done.stderr


def test_every_extra_is_looked_at() -> None:
    """An extra that is added is in this module, or the package names the command that installs it."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = "".join(path.read_text() for path in (ROOT / "bulk_export").rglob("*.py"))
    for extra in extras.keys() - NEEDS.keys() - OTHERS:
        assert f'"{extra}"' in sources or f"bulk-export[{extra}]" in sources, extra


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_uv_installs_it_as_a_tool(wheel: Path, tmp_path: Path) -> None:
    """`uv tool install` takes the wheel, and the command tells its version."""
    directories = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    uv = ["uv", "tool", "install", "--quiet", "--python", sys.executable, "-c", CONSTRAINTS]
    done = run(*uv, wheel, at=tmp_path, **directories)
    assert done.returncode == 0, done.stderr
    done = run(tmp_path / "bin/bulk-export", "--version", at=tmp_path)
    assert done.stdout.startswith(f"bulk-export {bulk_export.__version__}\n"), done.stderr
