"""Fixtures of the journal's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.extract.journal import layout
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


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in format 4: only bodies are in the segment."""
    path = tmp_path_factory.mktemp("older") / "journal.sqlite"
    write_journal(path, version=layout.SEGMENT_VERSION)
    return path
