"""An export with --debug: what the package logs, on standard error, in the format that was asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.warm_command import run_warm

TOKEN = "canary-token-7f3a"


@pytest.mark.parametrize("form", ["text", "json"])
def test_debug_shows_log_messages(tmp_path: Path, form: str) -> None:
    """Log messages stand between the lines of the display, without the token; the result is on standard output."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULK_EXPORT_")}
    command = ["export", "statements", "--environment", "local", "--output", "here", "--min-interval", "0"]
    done = run_warm(
        [*command, "--debug", "--log-format", form, "--token-file", "token"],
        cwd=tmp_path,
        env=clean | {"COLUMNS": "120"},
    )
    assert (done.returncode, done.stdout) == (0, "here\n"), done.stderr
    assert TOKEN not in done.stderr
    lines = done.stderr.splitlines()
    if form == "text":
        logged = [line for line in lines if line.startswith("debug: bulk_export.")]
        assert any(line.endswith(" exporting statements into here") for line in lines)
    else:
        entries = list(map(json.loads, lines))
        logged = [entry["message"] for entry in entries if entry["level"] == "debug" and "logger" in entry]
        assert entries[-1]["message"] == "finished"
    assert "export of bulk-export" in logged[0]
