"""Stores fetched pages in the journal, with the counters that must survive an interruption."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bulk_export.core.clock import MANIFEST_TIME, MAX_READINGS, now_text, seconds_ahead
from bulk_export.extract.journal import GroupCommit, JournalStore, StoredPage
from bulk_export.extract.journal.fact_names import sweep_state_name
from bulk_export.extract.order_check import edge_reader
from bulk_export.extract.page_fetcher import FetchedPage, PageReceiver
from bulk_export.extract.sweep import Sweep
from bulk_export.output.run_log import TIMELINE
from bulk_export.pipelines.session import Session
from bulk_export.pipelines.timeline_recorder import TimelineRecorder

# The names of facts in the journal.
_RETRIES, _THROTTLED, _RESUMED = "retries", "throttled", "resumed"
_STARTED_AT = "started_at"
_CLOCK_AHEAD = "server_clock_ahead"
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class StoredCounters:
    """The counters of all runs of one export so far, as its journal has them.

    `clock_readings` are lower bounds of how far the service's clock is ahead of ours, in seconds, one for each of its
    first responses. `started_at` is when the first run started, as the manifest writes times.
    """

    retries: int
    throttled: int
    resumed: int
    clock_readings: tuple[float, ...]
    started_at: str

    @classmethod
    def read(cls, store: JournalStore) -> StoredCounters:
        """Read them from a journal. If it has none, its first run starts now."""
        mark_started(store)
        return cls(
            retries=store.parsed_fact(_RETRIES, _count) or 0,
            throttled=store.parsed_fact(_THROTTLED, _count) or 0,
            resumed=store.parsed_fact(_RESUMED, _count) or 0,
            clock_readings=store.parsed_fact(_CLOCK_AHEAD, _readings) or (),
            started_at=store.parsed_fact(_STARTED_AT, _moment) or now_text(),
        )

    def count_resumption(self, store: JournalStore) -> StoredCounters:
        """Return them with one more resumption, and store that."""
        store.put_fact(_RESUMED, str(self.resumed + 1))
        return replace(self, resumed=self.resumed + 1)


def mark_started(store: JournalStore) -> None:
    """Store that the first run starts now, unless one did before."""
    if store.fact(_STARTED_AT) is None:
        store.put_fact(_STARTED_AT, now_text())


class JournalReceiver(PageReceiver):
    """Makes the pages of an export durable before they count as arrived.

    Counters go into the journal with the next page that does, and at the end of the run.

    Args:
        journal: Takes the pages.
        session: The session in which they are fetched.
        before: The counters of earlier runs.
        keeps_records: Whether the records of a page just stored stay in memory for its conversion beside its body.
            Lines are made of the records, columns of the body.
        recorder: Records when requests are sent.
    """

    def __init__(
        self,
        journal: GroupCommit,
        session: Session,
        before: StoredCounters,
        *,
        keeps_records: bool,
        recorder: TimelineRecorder,
    ) -> None:
        self._journal = journal
        self._limiter = session.limiter
        self._clock = session.tuning.clock
        self._before = before
        self._keeps_records = keeps_records
        self._recorder = recorder
        self._retries = 0
        self._clock_readings = list(before.clock_readings)
        self._edges = {endpoint.name: edge_reader(endpoint) for endpoint in session.options.endpoints}

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        """Store the pages of one response, all or none; they are durable when this returns.

        Raises:
            LocalFailure: They could not be stored.
        """
        self._note_counts()
        if self._recorder.is_due:
            self._note_timeline()
        match pages:
            case [page]:
                self._recorder.count_page(page.sweep.endpoint.name, len(page.body.records))
                await self._journal.append(self._stored(page), page.body if self._keeps_records else page.body.text)
            case _:
                counts: Counter[str] = Counter()
                await self._journal.append_together(self._all_stored(pages, counts))
                for endpoint, records in counts.items():
                    self._recorder.count_page(endpoint, records)

    def request_sent(self, endpoint: str) -> None:
        """Count a request for `endpoint`."""
        self._journal.count_request(endpoint)
        self._recorder.count_request()

    def retried(self) -> None:
        """Count a retry."""
        self._retries += 1
        self._recorder.count_retry()

    def held(self, seconds: float, *, is_throttled: bool) -> None:
        """Record that nothing is sent for some seconds."""
        self._recorder.add_hold(seconds, is_throttled=is_throttled)

    def note_end(self) -> None:
        """Put the counters and the timeline into the last commit of a run, however that ends."""
        self._note_counts()
        self._note_timeline()

    def response_dated(self, date: str | None) -> None:
        """Store how far the service's clock is ahead of ours, for the first few responses."""
        if len(self._clock_readings) < MAX_READINGS:
            ahead = seconds_ahead(date, self._clock())
            if ahead is not None:
                self._clock_readings.append(ahead)
                self._journal.note(_CLOCK_AHEAD, json.dumps(self._clock_readings))

    def sweep_changed(self, sweep: Sweep) -> None:
        """Store the state of the sweep that a later run needs besides its pages."""
        self._journal.note(sweep_state_name(sweep.endpoint.name, sweep.number), sweep.state())

    def _note_counts(self) -> None:
        self._journal.note(_RETRIES, str(self._before.retries + self._retries))
        self._journal.note(_THROTTLED, str(self._before.throttled + self._limiter.throttled))

    def _note_timeline(self) -> None:
        self._journal.note(TIMELINE, self._recorder.timeline().text())

    def _all_stored(self, pages: Iterable[FetchedPage], counts: Counter[str]) -> Iterator[StoredPage]:
        """Yield the pages of a response that holds everything, in the thread of the commit, and count their records."""
        for page in pages:
            counts[page.sweep.endpoint.name] += len(page.body.records)
            yield self._stored(page)

    def _stored(self, fetched: FetchedPage) -> StoredPage:
        return StoredPage(
            key=fetched.sweep.key(fetched.page),
            records=len(fetched.body.records),
            encoding=fetched.encoding,
            size=len(fetched.body),
            stored=fetched.stored,
            edges=self._edges[fetched.sweep.endpoint.name](fetched.body.records),
        )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError("not a count")
    return int(text)


def _readings(text: str) -> tuple[float, ...]:
    """Parse clock readings: a list, or a single number in the journal of an earlier version."""
    readings = json.loads(text)
    return tuple(map(float, readings if isinstance(readings, list) else [readings]))


def _moment(text: str) -> str:
    datetime.strptime(text, MANIFEST_TIME).replace(tzinfo=UTC)
    return text
