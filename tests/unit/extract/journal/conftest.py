"""Fixtures of the journal's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.journals import write_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be written."""
    return tmp_path / "journal.sqlite"


@pytest.fixture(scope="session")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a row or two in each table, not to be changed."""
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    write_journal(path)
    return path
