"""What reaches the journal beside pages: counters that go on where an earlier run stopped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import GroupCommit, JournalStore
from bulk_export.extract.page_fetcher import FetchedPage
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.journal_receiver import JournalReceiver, StoredCounters
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.session import open_session
from bulk_export.pipelines.timeline_recorder import TimelineRecorder, stored_timeline
from bulk_export.pipelines.tuning import Tuning
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import SplitBody
from tests.support.stored_pages import PAGE_SIZE, PARTNERS, body, open_store, record

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)


@asynccontextmanager
async def receiver_of(
    store: JournalStore, *, keeps_records: bool = False
) -> AsyncIterator[tuple[JournalReceiver, GroupCommit]]:
    """A receiver in a session in which nothing is sent."""
    options = ExportOptions.of([PARTNERS.name], base_url="http://127.0.0.1:9", token="t", budget="memory://")
    tuning = Tuning(clock=lambda: NOW)
    async with (
        open_session(options, Observer(), tuning, body_cap=1 << 20) as session,
        GroupCommit(store) as journal,
    ):
        recorder = TimelineRecorder(stored_timeline(store), NOW.timestamp, session.limiter.windows)
        counters = StoredCounters.read(store)
        yield JournalReceiver(journal, session, counters, keeps_records=keeps_records, recorder=recorder), journal


def fetched(page: int) -> FetchedPage:
    sweep = Sweep(PARTNERS, number=0, page_size=PAGE_SIZE, stride=1, filters=())
    text = body([record(page)])
    return FetchedPage(sweep, page, SplitBody(text, [json.dumps(record(page)).encode()]), text, "identity")


async def test_pages_are_stored_when_receive_returns(tmp_path: Path) -> None:
    """Single pages and those of one response are in the journal with the requests that they took."""
    store = open_store(tmp_path)
    async with receiver_of(store) as (receiver, _):
        receiver.request_sent(PARTNERS.name)
        await receiver.receive([fetched(1)])
        await receiver.receive(map(fetched, (2, 3)))
        assert store.page_counts(PARTNERS.name, 0) == [(1, 1), (2, 1), (3, 1)]
    assert store.requests() == {PARTNERS.name: 1}
    store.close()


@pytest.mark.parametrize("keeps_records", [True, False])
async def test_records_stay_in_memory_for_lines_only(tmp_path: Path, keeps_records: bool) -> None:
    store = open_store(tmp_path)
    async with receiver_of(store, keeps_records=keeps_records) as (receiver, journal):
        await receiver.receive([fetched(1)])
        recent = journal.take_fresh(PageKey(PARTNERS.name, 0, 1))
    assert isinstance(recent, SplitBody if keeps_records else bytes)
    store.close()


async def test_counters_go_on_where_they_stopped(tmp_path: Path) -> None:
    """Retries of all runs add up, and a resumption counts once for each."""
    store = open_store(tmp_path)
    for run in range(3):
        counters = StoredCounters.read(store)
        if run:
            counters.count_resumption(store)
        async with receiver_of(store) as (receiver, _):
            receiver.retried()
            receiver.retried()
            await receiver.receive([fetched(1)])
    counters = StoredCounters.read(store)
    assert (counters.retries, counters.throttled, counters.resumed) == (6, 0, 2)
    store.close()


async def test_the_first_responses_tell_the_clock(tmp_path: Path) -> None:
    """The differences of nine responses are kept; what has no date that can be read is passed over."""
    store = open_store(tmp_path)
    async with receiver_of(store) as (receiver, _):
        for date in (None, "soon", *["Wed, 01 Jan 2025 12:01:00 GMT"] * 12):
            receiver.response_dated(date)
    assert StoredCounters.read(store).clock_readings == (60.0,) * 9
    store.close()


def test_a_single_reading_of_an_earlier_version(tmp_path: Path) -> None:
    """Journals of an earlier version hold one number in place of a list."""
    store = open_store(tmp_path)
    store.put_fact("server_clock_ahead", "1.5")
    assert StoredCounters.read(store).clock_readings == (1.5,)
    store.close()


@pytest.mark.parametrize(("name", "text"), [("retries", "-1"), ("resumed", "1" * 16), ("started_at", "yesterday")])
def test_forged_counters_are_refused(tmp_path: Path, name: str, text: str) -> None:
    store = open_store(tmp_path)
    store.put_fact(name, text)
    with pytest.raises(DamagedState, match=name):
        StoredCounters.read(store)
    store.close()
