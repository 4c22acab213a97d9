"""The package without what only Unix has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio.to_thread

from bulk_export.pipelines.export import export
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, TOKEN, options, settings

NAMES = ("participants-npq", "participants-npq-outcomes")
ROOT = Path(__file__).parents[3]
# Imports everything, then exports, replaces, syncs and verifies.
_PROGRAM = """
import importlib, pkgutil, sys
from tests.support.like_windows import MODULES, install
install()
import bulk_export
for module in pkgutil.walk_packages(bulk_export.__path__, "bulk_export."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            cause = error.__cause__ or error
            assert (cause.name or "bulk_export").split(".")[0] not in {*MODULES, "bulk_export"}, error
from bulk_export.cli import app
from bulk_export.cli.runner import run
address, output, copy = sys.argv[1:]
names = ["participants-npq", "participants-npq-outcomes"]
free = ["--base-url", address, "--budget", "memory://", "--service-limit", "100000/1s", "--ip-limit", "100000/1s"]
free += ["--min-interval", "0", "--progress", "none", "--page-size", "200"]
for more in ([], ["--overwrite", "--keep-pages"]):
    assert run(app, ["export", *names, *free, "--output", output, *more]) == 0, more
assert run(app, ["verify", output]) == 0
for _ in range(2):
    assert run(app, ["sync", *names, *free, "--output", copy]) == 0
"""


async def test_all_without_unix(tmp_path: Path) -> None:
    """Without calls that only Unix has, everything is imported, and exports are the same, byte for byte."""
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "plain", *NAMES, page_size=200), tuning=QUICK)
        process = await _run(tmp_path, service.base_url)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Traceback" not in process.stderr
    manifest, plain = (json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("out", "plain"))
    assert [manifest["endpoints"][name]["files"] for name in NAMES] == [
        plain["endpoints"][name]["files"] for name in NAMES
    ]
    assert (tmp_path / "out" / manifest["archive"]).exists()
    assert {path.name for path in (tmp_path / "copy").iterdir()} >= {"sync.json", *NAMES}
    # Nothing is left of locks.
    assert [path.name for path in (tmp_path / "state/bulk-export").rglob("*") if path.parent.name == "locks"] == []


async def _run(tmp_path: Path, address: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"BULK_EXPORT_TOKEN": TOKEN, "XDG_STATE_HOME": str(tmp_path / "state")}
    command = [sys.executable, "-c", _PROGRAM, address, str(tmp_path / "out"), str(tmp_path / "copy")]
    return await anyio.to_thread.run_sync(
        lambda: subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    )
