"""Synced copies of earlier versions are kept current: their open poll goes on, and their tables are merged into.

`tests/stored/README.md` says how the files were made.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from tests.support.copy_scene import HOUR, NAME, PARTNERS, Scene, person, scene
from tests.support.exporting import FREE
from tests.support.stored import STORED, set_identity, unpack

formats = pytest.mark.parametrize("format_", ["delta", "parquet"])


def serve_from(it: Scene) -> None:
    """Make the copy one of the service that runs now."""
    state = it.directory / "sync.json"
    state.write_text(state.read_text().replace("http://127.0.0.1:1", it.url))
    for journal in it.directory.rglob("journal.sqlite"):
        set_identity(journal, base_url=it.url)


@formats
async def test_copy_of_0_1_0_is_kept_current(tmp_path: Path, format_: str) -> None:
    """Its open poll had stored nothing yet; a record that its last full sync did not see is marked as removed."""
    async with scene(tmp_path) as it:
        shutil.copytree(STORED / f"copy-{format_}", it.directory)
        serve_from(it)
        it.now = it.now.replace(day=9) + 2 * HOUR
        it.records[NAME] = [
            {"id": name, "type": "npq-participant", "attributes": {"full_name": shown, "updated_at": updated}}
            for name, shown, updated in (
                ("a", "AA", "2025-06-02T10:00:00Z"),
                ("b", "B", "2025-06-02T10:00:00Z"),
                ("c", "Changed", "2025-06-09T13:30:00Z"),
            )
        ]
        options: dict[str, Any] = {"base_url": it.url, "token": "stored-token", "retries": 0, **FREE}
        summary = await it.sync(**options, format=format_)
        assert [poll.kind for poll in summary.polls] == ["changes", "changes"]
        assert not summary.remarks
        assert {row["full_name"]: row["_removed_at"] is None for row in it.rows().values()} == {
            "AA": True,
            "B": True,
            "Changed": True,
            "D": False,
        }
        made = SyncOptions.of([NAME], output=it.directory, format=format_, removed="delete", **options)
        it.now += HOUR
        await sync_once(made, clock=lambda: it.now)
        assert set(it.rows()) == {"a", "b", "c"}


@formats
async def test_open_poll_of_0_2_0_goes_on(tmp_path: Path, format_: str) -> None:
    """Its open poll had stored two pages of changes, which are not asked for again, and then another one follows."""
    async with scene(tmp_path, people=30, partners=3) as it:
        unpack("copy-0.2.0.tar.xz", tmp_path)
        (tmp_path / format_).rename(it.directory)
        serve_from(it)
        changed_at = it.now + 2 * HOUR - timedelta(minutes=5)
        it.now += 2 * HOUR + HOUR / 2
        changes: dict[str, Any] = {"updated_at": f"{changed_at:%Y-%m-%dT%H:%M:%SZ}"}
        once = {"full_name": "Changed once", "updated_at": f"{changed_at - HOUR:%Y-%m-%dT%H:%M:%SZ}"}
        it.records[NAME][0] = person(0, **once)
        it.records[NAME][5:] = [person(number, full_name="Changed twice", **changes) for number in range(5, 30)]
        summary = await it.sync(NAME, PARTNERS, format=format_, page_size=10, workers=1, every=HOUR)
        assert [(poll.kind, poll.number) for poll in summary.polls] == [("changes", 3), ("changes", 4)]
        assert not summary.remarks
        assert [poll.total("updated") for poll in summary.polls] == [25, 0]
        of_open_poll = {
            query["page[page]"] for _, query in it.asked if query.get("filter[updated_since]", "")[11:13] == "12"
        }
        # Page 1 is asked for once more, to see whether the list moved meanwhile.
        assert of_open_poll == {"1", "3", "4"}
        assert it.removed() == set()
        for name in (NAME, PARTNERS):
            shown = {identity: row["full_name"] for identity, row in it.rows(name).items()}
            assert shown == {record["id"]: record["attributes"]["full_name"] for record in it.records[name]}
