"""Typer parameters from declared options."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.completion import completion_init, shell_complete  # type: ignore[attr-defined]

from bulk_export.cli import app

PARSED: Any = typer.main.get_command(app)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bulk-export export --gone ", {"keep", "drop"}),
        ("bulk-export export --schema l", {"lax"}),
        ("bulk-export sync --format ", {"delta", "parquet"}),
        ("bulk-export export --service e", {"ecf", "ect"}),
        ("bulk-export export npq", {"npq-applications"}),
        ("bulk-export head stat", {"statements"}),
        ("bulk-export endpoints --service ecf partici", {"participants-ecf", "participants-ecf-transfers"}),
        ("bulk-export export --pseudo", {"--pseudonymise", "--pseudonym-key-file"}),
        ("bulk-export export npq-applications --filter c", {"cohort="}),
        ("bulk-export export --filter train", {"training_status="}),
        ("bulk-export plan --records state", {"statements="}),
        ("bulk-export check DIR --sql u", {"undecided", "unlinked"}),
        ("bulk-export export --service nothing ", set()),
        ("bulk-export nothing ", set()),
        ("bulk-export comp", {"completion"}),
        ("bulk-export completion f", {"fish"}),
    ],
)
def test_shell_completion(
    line: str, offered: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Commands, choices, services, filters, the endpoints of the service that is named, and options are completed."""
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    completion_init()
    assert shell_complete(PARSED, {}, "bulk-export", "_BULK_EXPORT_COMPLETE", "complete_bash") == 0
    assert offered <= set(capsys.readouterr().out.split())
