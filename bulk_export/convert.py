"""Journal to parts, in page order, while fetching goes on.

One writer takes what is next in order from whichever endpoint has it, ten pages at a time, in a worker
thread. When an endpoint is through, ids that stand on several pages are looked up; where there are any, the
endpoint is converted once more from the journal, without the rows that lost.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.decode import Decoder
from bulk_export.duplicates import Occurrence, superseded
from bulk_export.journal import GroupCommit, JournalStore
from bulk_export.model import PageKey
from bulk_export.parts import PART_ROWS, OutputFormat, PageBody, PartSequence
from bulk_export.progress.observer import Observer
from bulk_export.pulse import Pulse
from bulk_export.sweep import Sweep

BLOCK_PAGES = 10

LeftOut = Mapping[PageKey, frozenset[int]]


class EndpointConversion:
    """What becomes of one endpoint's pages, as a series of short blocking steps."""

    def __init__(
        self,
        sweep: Sweep,
        *,
        decoder: Decoder,
        formats: Sequence[OutputFormat],
        store: JournalStore,
        staging: Path,
        part_rows: int = PART_ROWS,
    ) -> None:
        self.sweep = sweep
        self.finished = False
        self._store = store
        self._fact = f"left_out/{sweep.endpoint.name}"
        self._open: Callable[[int, LeftOut], PartSequence] = lambda revision, left_out: PartSequence(
            sweep.endpoint,
            decoder=decoder,
            formats=formats,
            store=store,
            staging=staging,
            revision=revision,
            left_out=left_out,
            part_rows=part_rows,
        )
        self._left_out = self._decided_before()
        self.sequence = self._open(0 if self._left_out is None else 1, self._left_out or {})
        self._repeated: frozenset[int] = frozenset()
        self._looked_through = 0
        self._occurrences: list[Occurrence] = []

    @property
    def duplicates(self) -> int:
        """How many rows are left out because their record stands elsewhere."""
        return sum(len(rows) for rows in (self._left_out or {}).values())

    def next_step(self, fresh: Callable[[PageKey], bytes | None]) -> Callable[[], int] | None:
        """What can be done now, to be called in a worker thread; None while pages are missing, or at the end.

        A step returns how many rows it wrote for the first time. `fresh` gives bodies that need not be read back.
        """
        if self.finished:
            return None
        if self._repeated:
            return self._look_again
        if pages := self._ready():
            bodies = [(page, fresh(self.sweep.key(page))) for page in pages]
            return lambda: self._write(bodies)
        plan = self.sweep.plan
        if plan.complete and self.sequence.converted >= (plan.end or 0):
            return self._finish
        return None

    def abort(self) -> None:
        """Give up the part being written."""
        self.sequence.abort()

    def _write(self, bodies: Sequence[tuple[int, bytes | None]]) -> int:
        rows = self.sequence.write([self._page(page, body) for page, body in bodies])
        return rows if self._left_out is None else 0

    def _ready(self) -> range:
        """The next pages in order that can be converted now: a block, or the rest of a complete sweep."""
        plan = self.sweep.plan
        last = plan.contiguous if plan.end is None else min(plan.contiguous, plan.end)
        first = self.sequence.converted + 1
        if last - first + 1 < BLOCK_PAGES and not plan.complete:
            return range(0)
        return range(first, min(last, first + BLOCK_PAGES - 1) + 1)

    def _page(self, page: int, inflated: bytes | None = None) -> PageBody:
        key = self.sweep.key(page)
        content = self._store.body(key) if inflated is None else inflated
        return PageBody(key, page, self.sweep.plan.count(page) or 0, content)

    def _finish(self) -> int:
        self.sequence.finish()
        if self._left_out is None:
            self._repeated = self.sequence.duplicates()
        self.finished = not self._repeated
        return 0

    def _look_again(self) -> int:
        """Look for the rows of repeated ids, a block at a time; at the end, start over without those that lost."""
        last = self.sweep.plan.end or 0
        upto = min(last, self._looked_through + BLOCK_PAGES)
        for page in range(self._looked_through + 1, upto + 1):
            self._occurrences.extend(self.sequence.occurrences(self._page(page), self._repeated))
        self._looked_through = upto
        if upto == last:
            self._left_out = superseded(self._occurrences)
            decision = [[key.sweep, key.page, sorted(rows)] for key, rows in sorted(self._left_out.items())]
            self._store.put_fact(self._fact, json.dumps(decision))
            self._repeated, self._occurrences = frozenset(), []
            self.sequence = self._open(1, self._left_out)
        return 0

    def _decided_before(self) -> LeftOut | None:
        text = self._store.fact(self._fact)
        if text is None:
            return None
        name = self.sweep.endpoint.name
        return {PageKey(name, sweep, page): frozenset(rows) for sweep, page, rows in json.loads(text)}


async def convert_all(
    conversions: Sequence[EndpointConversion], journal: GroupCommit, changed: Pulse, observer: Observer
) -> None:
    """Convert every endpoint to its end. On any failure, or when cancelled, no unfinished part stays."""
    thread = anyio.CapacityLimiter(1)
    in_thread = functools.partial(anyio.to_thread.run_sync, limiter=thread)
    try:
        while waiting := [conversion for conversion in conversions if not conversion.finished]:
            for conversion in waiting:
                step = conversion.next_step(journal.take_fresh)
                if step is not None:
                    observer.records_written(conversion.sweep.endpoint.name, await in_thread(step))
                    break
            else:
                await changed.wait()
    finally:
        with anyio.CancelScope(shield=True):
            for conversion in conversions:
                await in_thread(conversion.abort)
