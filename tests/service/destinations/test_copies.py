"""Loads of copies: after each load the table has the rows of the copy, and only what changed was read."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from bulk_export import load
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.pipelines.load import LoadSummary
from bulk_export.pipelines.sync.load_after_poll import sync_and_load
from bulk_export.pipelines.sync.options import SyncOptions
from tests.support.copy_scene import HOUR, NAME, WEEK, Scene, person, scene
from tests.support.exporting import FREE, TOKEN

PEOPLE = 120


@pytest.fixture(params=["delta", "parquet"])
def format_(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(tmp_path, people=PEOPLE) as opened:
        yield opened


def database(it: Scene) -> str:
    return f"sqlite://{it.directory.parent}/warehouse.sqlite"


def loaded_rows(it: Scene) -> dict[str, tuple[Any, ...]]:
    connection = sqlite3.connect(it.directory.parent / "warehouse.sqlite")
    try:
        query = "SELECT id, full_name, _removed_at IS NOT NULL FROM participants_npq"
        return {identity: (name, bool(removed)) for identity, name, removed in connection.execute(query)}
    finally:
        connection.close()


def copied_rows(it: Scene) -> dict[str, tuple[Any, ...]]:
    return {key: (row["full_name"], row["_removed_at"] is not None) for key, row in it.rows().items()}


def load_copy(it: Scene, **changes: Any) -> tuple[int, int, int, int]:
    (table,) = load(it.directory, to=database(it), **changes).tables
    return table.rows, table.inserted, table.updated, table.deleted


def change(it: Scene, number: int) -> None:
    it.now += HOUR
    it.records[NAME][number] = person(number, full_name=f"Changed {it.now}", updated_at=it.now.isoformat())


async def test_changes_are_loaded(it: Scene, format_: str) -> None:
    """New and changed rows are loaded; nothing else is written."""
    await it.sync(format=format_)
    assert load_copy(it) == (PEOPLE, PEOPLE, 0, 0)
    change(it, 3)
    it.records[NAME].append(person(PEOPLE, updated_at=it.now.isoformat()))
    await it.sync(format=format_)
    assert load_copy(it)[1:] == (1, 1, 0)
    assert loaded_rows(it) == copied_rows(it)


async def test_copy_that_did_not_change(it: Scene, format_: str) -> None:
    """A copy as the last load found it is not read."""
    await it.sync(format=format_)
    load_copy(it)
    it.now += HOUR
    await it.sync(format=format_)
    assert [table.action for table in load(it.directory, to=database(it)).tables] == ["skip"]


async def test_only_new_files_are_read(it: Scene) -> None:
    """Of a Delta table, files that an earlier load has read are not read again."""
    await it.sync()
    load_copy(it)
    it.records[NAME].append(person(PEOPLE, updated_at=(it.now + HOUR).isoformat()))
    it.now += HOUR
    await it.sync()
    assert load_copy(it) == (1, 1, 0, 0)


async def test_removed_records(it: Scene) -> None:
    """A record that is marked as removed in the copy is marked in the table."""
    await it.sync()
    load_copy(it)
    del it.records[NAME][7]
    it.now += WEEK
    await it.sync()
    assert load_copy(it)[1:] == (0, 1, 0)
    assert loaded_rows(it)["p00007"][1]


async def test_deleted_records(it: Scene, format_: str) -> None:
    """A row that left the copy leaves the table."""
    chosen = {"removed": "delete", "format": format_}
    await it.sync(**chosen)
    load_copy(it)
    del it.records[NAME][7]
    it.now += WEEK
    await it.sync(**chosen)
    assert load_copy(it)[1:] == (0, 0, 1)
    assert loaded_rows(it) == copied_rows(it)


async def test_missed_polls(it: Scene) -> None:
    """A load after several polls brings all that they changed."""
    await it.sync()
    load_copy(it)
    for number in range(3):
        change(it, number)
        await it.sync()
    assert load_copy(it)[1:] == (0, 3, 0)
    assert loaded_rows(it) == copied_rows(it)


async def test_compacted_copy(it: Scene) -> None:
    """After files were put together, a load finds nothing else to write."""
    await it.sync()
    load_copy(it)
    change(it, 1)
    await it.sync(compact=True)
    assert load_copy(it)[1:] == (0, 1, 0)


async def test_lost_log(it: Scene) -> None:
    """If the log of the versions since the last load is gone, all rows are compared."""
    await it.sync()
    load_copy(it)
    change(it, 1)
    await it.sync()
    change(it, 2)
    await it.sync()
    table = it.directory / NAME
    DeltaTable(str(table)).create_checkpoint()
    (table / "_delta_log" / f"{1:020d}.json").unlink()
    assert load_copy(it) == (PEOPLE, 0, 2, 0)


async def test_damaged_file(it: Scene, format_: str) -> None:
    """A data file that is cut short, or has other bytes than were written, is named, and nothing is loaded."""
    await it.sync(format=format_)
    (file,) = (it.directory / NAME).glob("part-*.parquet")
    whole = file.read_bytes()
    for damaged in (whole[:1000], whole[:100] + bytes(1000) + whole[1100:]):
        file.write_bytes(damaged)
        with pytest.raises(DamagedState, match=file.name):
            load_copy(it)


async def test_new_copy(it: Scene, tmp_path: Path) -> None:
    """Another copy of the same service takes the place of the rows of the first one."""
    await it.sync()
    load_copy(it)
    del it.records[NAME][0]
    it.directory = tmp_path / "another"
    it.now += HOUR
    await it.sync()
    assert load_copy(it)[1:] == (0, PEOPLE - 1, 1)
    assert loaded_rows(it) == copied_rows(it)


async def synced_and_loaded(it: Scene, to: str) -> list[LoadSummary]:
    arguments = {"base_url": it.url, "token": TOKEN, "output": it.directory, "retries": 0, **FREE}
    summaries: list[LoadSummary] = []
    options = SyncOptions.of((NAME,), load=to, **arguments)
    await sync_and_load(options, report=lambda _: None, loaded=summaries.append)
    return summaries


async def test_load_after_a_poll(it: Scene) -> None:
    """With `--load`, a poll ends with a load of what it changed."""
    (first,) = await synced_and_loaded(it, database(it))
    assert first.tables[0].inserted == PEOPLE
    assert loaded_rows(it) == copied_rows(it)


async def test_failed_load_is_made_up_for(it: Scene) -> None:
    """A load that fails leaves the copy current, and the next one loads what was missed."""
    nowhere = database(it).replace("/warehouse", "/nowhere/warehouse")
    with pytest.raises(LocalFailure) as raised:
        await synced_and_loaded(it, nowhere)
    assert "current" in raised.value.kept
    assert len(it.rows()) == PEOPLE
    await synced_and_loaded(it, database(it))
    assert loaded_rows(it) == copied_rows(it)
