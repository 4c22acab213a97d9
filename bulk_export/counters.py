"""What earlier runs of the same export counted, kept with its journal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from bulk_export.journal import JournalStore
from bulk_export.manifest import MOMENT, now

CLOCK_AHEAD = "server_clock_ahead"
_MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Counters:
    """`clock_ahead` is by how many seconds at least the service's clock is ahead of ours, None until it is known."""

    retries: int
    throttled: int
    resumed: int
    clock_ahead: float | None
    started_at: str

    @classmethod
    def of(cls, store: JournalStore) -> Counters:
        """Those of a journal, whose first run starts now if there was none."""
        if store.fact("started_at") is None:
            store.put_fact("started_at", now())
        retries, throttled, resumed = (
            store.parsed_fact(name, _count) or 0 for name in ("retries", "throttled", "resumed")
        )
        started_at = store.parsed_fact("started_at", _moment) or now()
        return cls(retries, throttled, resumed, store.parsed_fact(CLOCK_AHEAD, _seconds), started_at)

    def resumed_once_more(self, store: JournalStore) -> Counters:
        """With one more resumption, which the journal knows of from here on."""
        store.put_fact("resumed", str(self.resumed + 1))
        return replace(self, resumed=self.resumed + 1)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError("no count")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError("no time")
    return seconds


def _moment(text: str) -> str:
    datetime.strptime(text, MOMENT).replace(tzinfo=UTC)
    return text
