"""What earlier runs of the same export counted, kept with its journal."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bulk_export.journal import JournalStore
from bulk_export.manifest import now

CLOCK_AHEAD = "server_clock_ahead"


@dataclass(frozen=True, slots=True)
class Counters:
    """`clock_ahead` is by how many seconds at least the service's clock is ahead of ours, None until it is known."""

    retries: int
    throttled: int
    resumed: int
    clock_ahead: float | None

    @classmethod
    def of(cls, store: JournalStore) -> Counters:
        """Those of a journal, whose first run starts now if there was none."""
        if store.fact("started_at") is None:
            store.put_fact("started_at", now())
        ahead = store.fact(CLOCK_AHEAD)
        retries, throttled, resumed = (int(store.fact(name) or 0) for name in ("retries", "throttled", "resumed"))
        return cls(retries, throttled, resumed, None if ahead is None else float(ahead))

    def resumed_once_more(self, store: JournalStore) -> Counters:
        """With one more resumption, which the journal knows of from here on."""
        store.put_fact("resumed", str(self.resumed + 1))
        return replace(self, resumed=self.resumed + 1)
