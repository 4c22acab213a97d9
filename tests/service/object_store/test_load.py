"""`load` and `bulk_export.load` with an export in an object store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import bulk_export
from tests.support.command import run
from tests.support.small_service import SmallService
from tests.support.store_proxy import error
from tests.support.store_scene import Lake, export_once

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RECORDS = 56


def count(database: Path, table: str) -> int:
    """The number of rows of a table."""
    connection = sqlite3.connect(database)
    try:
        (found,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    finally:
        connection.close()
    assert isinstance(found, int)
    return found


def test_load(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """An export in a store is loaded as a directory is: once, and again only after it was replaced."""
    address, database = lake.new_address(), tmp_path / "a.sqlite"
    export_once(service.base_url, address)
    for action in ("create", "skip"):
        done = bulk_export.load(address, to=f"sqlite:///{database}")
        assert {table.action for table in done.tables} == {action}
    assert sum(count(database, table.table) for table in done.tables) == RECORDS
    export_once(service.base_url, address, overwrite=True)
    loaded = run("load", address, "--to", f"sqlite:///{database}", cwd=tmp_path, **lake.environment)
    assert loaded.returncode == 0, loaded.stderr
    assert loaded.stdout.count(" inserted, ") == len(done.tables)


def test_failing_store(lake: Lake, service: SmallService, tmp_path: Path) -> None:
    """A store that refuses a part in the middle of a load leaves the database as it was."""
    address, database = lake.new_address(), tmp_path / "b.sqlite"
    export_once(service.base_url, address)
    calls = 0

    def later(request: object) -> bytes | None:
        nonlocal calls
        calls += 1
        return error(403, "AccessDenied") if calls > 10 else None

    lake.proxy.reset(later)
    with pytest.raises(bulk_export.StoreRefused) as raised:
        bulk_export.load(address, to=f"sqlite:///{database}")
    assert raised.value.kept == "Nothing was changed at the destination."
    lake.proxy.reset()
    done = bulk_export.load(address, to=f"sqlite:///{database}")
    assert {table.action for table in done.tables} == {"create"}
    assert sum(table.rows for table in done.tables) == RECORDS
