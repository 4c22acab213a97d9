"""An export as its log and its journal see it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import Interrupted
from bulk_export.extract.journal import GroupCommit, JournalStore
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import Observer
from tests.support.disturbed_run import TUNING, small_options
from tests.support.small_service import ENDPOINTS, RECORDS, small_service


def info_of_pipelines(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.levelno >= logging.INFO]
    return [record.getMessage() for record in records if record.name.startswith("bulk_export.pipelines")]


async def test_the_log_tells_the_course(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At INFO: the start, each endpoint that is finished, and the publication; neither the token nor a person."""
    caplog.set_level(logging.INFO, "bulk_export")
    async with small_service() as service:
        await export(small_options(service.base_url, tmp_path, token="secret-token"), tuning=TUNING)
    lines = info_of_pipelines(caplog)
    assert lines[0] == f"Starting in {tmp_path}"
    assert lines[-1] == f"Published the export in {tmp_path}"
    # One record of the first endpoint stands on two pages.
    assert {f"{ENDPOINTS[0]}: finished, 44 records", f"{ENDPOINTS[1]}: finished, {RECORDS[ENDPOINTS[1]]} records"} <= {
        *lines
    }
    assert "secret-token" not in caplog.text
    assert "Person" not in caplog.text


async def test_the_log_tells_of_a_resumption(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop = anyio.Event()

    class Stops(Observer):
        def page_stored(self, endpoint: str, page: int, records: int) -> None:
            stop.set()

    async with small_service() as service:
        options = small_options(service.base_url, tmp_path)
        with pytest.raises(Interrupted):
            await export(options, Stops(), stop=stop, tuning=TUNING)
        caplog.set_level(logging.INFO, "bulk_export")
        await export(options, tuning=TUNING)
    lines = info_of_pipelines(caplog)
    assert lines[0] == f"Resuming in {tmp_path}"
    assert lines[1].endswith("pages of an earlier run are in the journal")


async def test_the_writer_of_the_journal_is_a_parameter(tmp_path: Path) -> None:
    """A benchmark, or a test, gives an export another writer of its journal."""
    opened: list[JournalStore] = []

    def open_journal(store: JournalStore) -> GroupCommit:
        opened.append(store)
        return GroupCommit(store)

    async with small_service() as service:
        summary = await export(small_options(service.base_url, tmp_path), tuning=TUNING, open_journal=open_journal)
    assert len(opened) == 1
    assert [endpoint.records for endpoint in summary.endpoints] == [44, 12]


async def test_a_resumed_run_may_keep_pages_otherwise(tmp_path: Path) -> None:
    """Pages are stored as they came if that is asked for, and a run that goes on with lz4 makes the same files."""
    stop = anyio.Event()
    journals: list[bytes] = []

    class Stops(Observer):
        def page_stored(self, endpoint: str, page: int, records: int) -> None:
            stop.set()

    async with small_service() as service:
        plain = small_options(service.base_url, tmp_path / "a", journal_compression="none")
        with pytest.raises(Interrupted):
            await export(plain, Stops(), stop=stop, tuning=TUNING)
        journals += [path.read_bytes() for path in tmp_path.glob("a/.bulk-export/*.pages")]
        await export(replace(plain, journal_compression="lz4"), tuning=TUNING)
        await export(small_options(service.base_url, tmp_path / "b"), tuning=TUNING)
    assert len(journals) == 1
    # What the rows of the segment say.
    assert b'"identity"' in journals[0]
    assert b'"lz4"' not in journals[0]
    parts = list(tmp_path.glob("a/*/part-*"))
    assert parts
    for part in parts:
        assert part.read_bytes() == (tmp_path / "b" / part.relative_to(tmp_path / "a")).read_bytes()
