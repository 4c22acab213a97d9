"""What was learned of a service: a store that cannot be used counts as empty, and stays as it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.rate_limit.service_facts import open_service_facts

SERVICE = "https://service.example"


async def test_newer_format_is_not_used(tmp_path: Path) -> None:
    """A file of a newer format is neither read nor written."""
    url, path = f"sqlite:///{tmp_path}/budget.sqlite", tmp_path / "budget.sqlite.facts"
    async with open_service_facts(url, SERVICE) as facts:
        facts.learn("/lists", PagingFacts(longest=300))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    before = path.read_bytes()
    async with open_service_facts(url, SERVICE) as facts:
        assert facts.of("/lists") == PagingFacts()
        facts.learn("/lists", PagingFacts(longest=100))
    assert path.read_bytes() == before
