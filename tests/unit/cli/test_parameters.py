"""Typer parameters from declared options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bulk-export export --gone ", {"keep", "drop"}),
        ("bulk-export export --schema l", {"lax"}),
        ("bulk-export sync --format ", {"delta", "parquet"}),
        ("bulk-export export --service e", {"ecf", "ect"}),
        ("bulk-export export npq", {"npq-applications"}),
        ("bulk-export endpoints --service ecf partici", {"participants-ecf", "participants-ecf-transfers"}),
        ("bulk-export export --pseudo", {"--pseudonymise", "--pseudonym-key-file"}),
    ],
)
def test_shell_completion(tmp_path: Path, line: str, offered: set[str]) -> None:
    """Choices, services, the endpoints of the service that is named, and options are completed."""
    words = line.split(" ")
    environment = os.environ | {
        "_BULK_EXPORT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    shown = subprocess.run(
        [sys.executable, "-c", "from bulk_export.cli import main; main()"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert offered <= set(shown.stdout.split()), shown.stderr
