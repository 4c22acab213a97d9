"""What earlier runs of the same export counted, kept with its journal."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bulk_export.core.clock import MOMENT, now
from bulk_export.extract.journal import JournalStore

CLOCK_AHEAD = "server_clock_ahead"
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Counters:
    """`clock_readings` are by how many seconds at least the service's clock was ahead of ours, by its first answers."""

    retries: int
    throttled: int
    resumed: int
    clock_readings: tuple[float, ...]
    started_at: str

    @classmethod
    def of(cls, store: JournalStore) -> Counters:
        """Those of a journal, whose first run starts now if there was none."""
        if store.fact("started_at") is None:
            store.put_fact("started_at", now())
        retries, throttled, resumed = (
            store.parsed_fact(name, _count) or 0 for name in ("retries", "throttled", "resumed")
        )
        readings = store.parsed_fact(CLOCK_AHEAD, _readings) or ()
        started_at = store.parsed_fact("started_at", _moment) or now()
        return cls(retries, throttled, resumed, readings, started_at)

    def resumed_once_more(self, store: JournalStore) -> Counters:
        """With one more resumption, which the journal knows of from here on."""
        store.put_fact("resumed", str(self.resumed + 1))
        return replace(self, resumed=self.resumed + 1)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError("no count")
    return int(text)


def _readings(text: str) -> tuple[float, ...]:
    """What a journal keeps of the clocks: a list, or a single number in one of an earlier version."""
    found = json.loads(text)
    return tuple(map(float, found if isinstance(found, list) else [found]))


def _moment(text: str) -> str:
    datetime.strptime(text, MOMENT).replace(tzinfo=UTC)
    return text
