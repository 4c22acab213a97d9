"""The recipes of docs/loading.md, run against a real export."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.exporting import options, settings

DOCUMENT = (Path(__file__).parents[3] / "docs" / "loading.md").read_text()
RECIPES = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recipes") / "npq"

    async def run() -> None:
        async with serving(settings()) as service:
            await export(options(service, directory, "npq-applications", "participants-npq"))

    anyio.run(run)
    return directory


def with_marker(program: str) -> object:
    heavy = "import pandas" in program or "write_excel" in program
    return pytest.param(program, marks=pytest.mark.integration if heavy else (), id=program.split()[1])


@pytest.mark.parametrize("program", [with_marker(program) for program in RECIPES])
def test_recipes_run(exported: Path, tmp_path: Path, program: str) -> None:
    """Each block of Python runs as it stands, but for the directory."""
    run = subprocess.run(
        [sys.executable, "-c", program.replace("/data/npq", str(exported))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
