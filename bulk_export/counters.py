"""What earlier runs of the same export counted, kept with its journal."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from bulk_export.journal import JournalStore
from bulk_export.manifest import now

CLOCK_AHEAD = "server_clock_ahead"


@dataclass(frozen=True, slots=True)
class Counters:
    """`clock_readings` are by how many seconds at least the service's clock was ahead of ours, by its first answers."""

    retries: int
    throttled: int
    resumed: int
    clock_readings: tuple[float, ...]

    @classmethod
    def of(cls, store: JournalStore) -> Counters:
        """Those of a journal, whose first run starts now if there was none."""
        if store.fact("started_at") is None:
            store.put_fact("started_at", now())
        retries, throttled, resumed = (int(store.fact(name) or 0) for name in ("retries", "throttled", "resumed"))
        return cls(retries, throttled, resumed, _readings(store.fact(CLOCK_AHEAD)))

    def resumed_once_more(self, store: JournalStore) -> Counters:
        """With one more resumption, which the journal knows of from here on."""
        store.put_fact("resumed", str(self.resumed + 1))
        return replace(self, resumed=self.resumed + 1)


def _readings(fact: str | None) -> tuple[float, ...]:
    """What a journal keeps of the clocks: a list, or a single number in one of an earlier version."""
    try:
        found = json.loads(fact or "[]")
        return tuple(map(float, found if isinstance(found, list) else [found]))
    except (ValueError, TypeError):
        return ()
