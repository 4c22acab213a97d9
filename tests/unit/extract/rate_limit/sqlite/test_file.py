"""The budget file: what is refused when it is opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bulk_export.core.model import Limit
from bulk_export.errors import DamagedState
from bulk_export.extract.rate_limit import read_usage
from bulk_export.extract.rate_limit.sqlite.schema import VERSION
from tests.support.planned_requests import ManualClock, ledger_on_disk, make_limits, spend_some


def test_newer_format_is_refused(tmp_path: Path) -> None:
    """A file of a newer format is refused with what to do, whether to count in it or to look at it, and stays."""
    path, clock = tmp_path / "budget.sqlite", ManualClock()
    spend_some(path, clock, 1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(DamagedState, match=f"has format {VERSION + 1}") as refused:
        ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert "the version that wrote it" in refused.value.next_step
    with pytest.raises(DamagedState, match=f"has format {VERSION + 1}"):
        read_usage(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_damaged_values_are_reported(tmp_path: Path) -> None:
    """A stored value of another shape is reported as damage, not as an error of the program."""
    path, clock = tmp_path / "budget.sqlite", ManualClock()
    spend_some(path, clock, 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE accounts SET restraint = '[]', terms = '{}'")
    with pytest.raises(DamagedState, match="is damaged"):
        read_usage(f"sqlite:///{path}")
    with pytest.raises(DamagedState, match="is damaged"):
        ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock()).claim(1)
