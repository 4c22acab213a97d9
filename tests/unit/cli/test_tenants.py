"""What commands with `--tenants` show on a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bulk_export.cli import app
from bulk_export.cli.runner import run
from tests.support.terminal_screen import open_terminal


def test_plan_breaks_lines_between_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow terminal gets whole words."""
    file = tmp_path / "tenants.toml"
    file.write_text('[[tenant]]\nname = "north"\nbase-url = "https://service.example"\ntoken-file = "token"\n')
    with open_terminal(50) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal.stream)
        assert run(app, ["plan", "statements", "--tenants", str(file)]) == 0
        lines = terminal.screen()
    text = " ".join(line.strip() for line in lines)
    assert "endpoints without a number of records are counted as empty" in text
    assert "or --like DIR with earlier exports of the tenants" in text
