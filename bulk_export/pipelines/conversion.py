"""Journal to parts, in page order, while fetching goes on.

One writer takes what is next in order from whichever endpoint has it, some thousand records at a time, in
a worker thread. When an endpoint is through, records that stand on several pages are looked up. Where there are
any, the endpoint is converted once more from the journal, without the rows that lost; and where ties come in no
particular order, or a record stands on two pages without an update, it is first swept again with the largest
page, for the records that stood on no page.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.model import INFER, LAX, STRICT, Endpoint, PageKey
from bulk_export.core.notifier import Notifier
from bulk_export.extract.consistency import ConsistencySweeps
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.extract.journal import GroupCommit, JournalStore
from bulk_export.extract.sweep import Sweep
from bulk_export.output.parts import PART_ROWS, OutputFormat, PageBody, PartSequence
from bulk_export.progress.observer import Observer
from bulk_export.services.field_types import fields_to_text, with_fields
from bulk_export.transform.decode import Body, Decoder
from bulk_export.transform.dedup.resolution import Corrections, ExcludedRows, Occurrence, rows_to_exclude
from bulk_export.transform.inference import SchemaScan

# What is converted in one step: enough to make columns worth while, little enough to hold.
BLOCK_RECORDS = 3_000


def block_pages(page_size: int) -> int:
    """How many pages are converted in one step."""
    return max(1, BLOCK_RECORDS // page_size)


class EndpointConversion:
    """What becomes of one endpoint's pages, as a series of short blocking steps.

    `largest_page` is the page size to sweep again with: where ties come in no particular order and a record
    shows up twice, and always if `consistent`. What vanished meanwhile is left out with `drop_gone`. Unless it
    `asks_twice`, a first sweep of a single answer is believed. `decoder` gives one for a description, which with the
    `schema_mode` "infer" all pages are looked through for first.
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        largest_page: int,
        decoder: Callable[[Endpoint], Decoder],
        formats: Sequence[OutputFormat],
        store: JournalStore,
        staging: Path,
        part_rows: int = PART_ROWS,
        pages: JournalStore | None = None,
        consistent: bool = False,
        drop_gone: bool = False,
        asks_twice: bool = True,
        schema_mode: str = LAX,
    ) -> None:
        self.sweep = sweep
        self._consistent = consistent
        self._drop_gone = drop_gone
        self._asks_twice = asks_twice
        self._pages = pages or store
        self.finished = False
        self._largest_page = largest_page
        self._store = store
        self._fact = f"revision/{sweep.endpoint.name}"
        self.revision = store.parsed_fact(self._fact, functools.partial(Corrections.from_text, sweep.endpoint.name))
        self._described, self._surveyor = self._survey(schema_mode)
        self._open: Callable[[int, ExcludedRows], PartSequence] = lambda revision, left_out: PartSequence(
            sweep.endpoint,
            decoder=decoder(self._described),
            is_strict=schema_mode == STRICT,
            formats=formats,
            store=store,
            staging=staging,
            revision=revision,
            left_out=left_out,
            part_rows=part_rows,
        )
        self.sequence = self._sequence()
        if self.revision is None:
            sweep.plan.settle(self.sequence.converted)
        else:
            # What is settled rests on the pages as they are.
            sweep.plan.conclude()
        self._repeated: frozenset[int] = frozenset()
        self._looked_through = 0
        self._occurrences: list[Occurrence] = []
        self._resweep: ConsistencySweeps | None = None

    @property
    def duplicates(self) -> int:
        """How many rows of the first sweep repeat one of another page."""
        return self.revision.duplicates if self.revision else 0

    def wanted_sweep(self) -> Sweep | None:
        """A sweep to be fetched now, given once."""
        return self._resweep.wanted() if self._resweep is not None else None

    def next_step(self, fresh: Callable[[PageKey], Body | None]) -> Callable[[], int] | None:
        """What can be done now, to be called in a worker thread; None while pages are missing, or at the end.

        A step returns how many rows it wrote for the first time. `fresh` gives bodies that need not be read back.
        """
        if self.finished:
            return None
        if self._repeated:
            return self._look_again
        if self._resweep is not None:
            return self._compare if self._resweep.ready else None
        if self._surveyor is not None:
            return self._next_survey(self._surveyor)
        if pages := self._ready(self.sequence.converted):
            bodies = [(page, fresh(self._key(page))) for page in pages]
            return lambda: self._write(bodies)
        if self.sweep.plan.complete and self.sequence.converted >= self._last():
            return self._finish
        return None

    def abort(self) -> None:
        """Give up the part being written."""
        self.sequence.abort()

    def _write(self, bodies: Sequence[tuple[int, Body | None]]) -> int:
        rows = self.sequence.write([self._page(page, body) for page, body in bodies])
        return rows if self.revision is None else 0

    def _last(self) -> int:
        """The place of the last page in the sequence that is converted, once the sweep is complete."""
        return (self.sweep.plan.end or 0) + (len(self.revision.extra_pages) if self.revision else 0)

    def _survey(self, schema_mode: str) -> tuple[Endpoint, SchemaScan | None]:
        """The endpoint as its records are, as far as that is known, and who finds it out where it is not."""
        endpoint = self.sweep.endpoint
        if schema_mode != INFER:
            return endpoint, None
        found = self._store.parsed_fact(f"fields/{endpoint.name}", functools.partial(with_fields, endpoint))
        return (endpoint, SchemaScan(endpoint)) if found is None else (found, None)

    def _next_survey(self, surveyor: SchemaScan) -> Callable[[], int] | None:
        if pages := self._ready(surveyor.scanned):
            return lambda: self._look(surveyor, pages)
        return functools.partial(self._settle, surveyor) if self.sweep.plan.complete else None

    def _look(self, surveyor: SchemaScan, pages: range) -> int:
        surveyor.scan([self._pages.body(self._key(page)) for page in pages])
        return 0

    def _settle(self, surveyor: SchemaScan) -> int:
        self._described = surveyor.inferred()
        self._store.put_fact(f"fields/{self._described.name}", fields_to_text(self._described))
        self._surveyor = None
        self.sequence = self._sequence()
        return 0

    def _ready(self, done: int) -> range:
        """The pages in order after `done` that can be taken now: a block, or the rest of a complete sweep."""
        plan = self.sweep.plan
        if plan.complete:
            last = self._last()
        else:
            last = plan.contiguous if plan.end is None else min(plan.contiguous, plan.end)
        first = done + 1
        block = block_pages(self.sweep.page_size)
        if last - first + 1 < block and not plan.complete:
            return range(0)
        return range(first, min(last, first + block - 1) + 1)

    def _key(self, place: int) -> PageKey:
        end = self.sweep.plan.end
        late = 0 if end is None else place - end
        return self.revision.extra_pages[late - 1] if self.revision and late > 0 else self.sweep.key(place)

    def _page(self, place: int, inflated: Body | None = None) -> PageBody:
        key = self._key(place)
        content = self._pages.body(key) if inflated is None else inflated
        records = self.sweep.stored(place) if key.sweep == self.sweep.number else self._largest_page
        return PageBody(key, place, records, content)

    def _finish(self) -> int:
        self.sequence.finish()
        is_doubtful = self.sweep.is_to_be_read_again and self._pages is self._store
        if self.revision is None and (self._consistent or is_doubtful):
            self._sweep_again()
        elif self.revision is None:
            self._repeated = self.sequence.duplicates()
        self.finished = not self._repeated and self._resweep is None
        return 0

    def _sweep_again(self) -> None:
        self._resweep = ConsistencySweeps(
            self.sweep,
            self._store,
            self._largest_page,
            drop_gone=self._drop_gone,
            asks_twice=self._asks_twice,
            counts_suffice=not self._consistent,
        )

    def _look_again(self) -> int:
        """Look for the rows of repeated ids, a block at a time, and decide which of them are left out."""
        last = self.sweep.plan.end or 0
        upto = min(last, self._looked_through + block_pages(self.sweep.page_size))
        for page in range(self._looked_through + 1, upto + 1):
            self._occurrences.extend(self.sequence.occurrences(self._page(page), self._repeated))
        self._looked_through = upto
        if upto == last:
            is_one_answer = self.sweep.endpoint.paging.style == "none"
            repeats = rows_to_exclude(self._occurrences, is_one_response=is_one_answer)
            self._repeated, self._occurrences = frozenset(), []
            # A record that stands on two pages without an update shows that the order is not what it is said to be,
            # or that there are two of them.
            is_open = not self.sweep.endpoint.order_is_total or repeats.unexplained
            if repeats.duplicates and is_open and self._pages is self._store:
                self._sweep_again()
            else:
                self._revise(Corrections(repeats.excluded, repeats.duplicates, shared=repeats.shared))
        return 0

    def _compare(self) -> int:
        """Take in what further sweeps found; go on sweeping, or settle."""
        if self._resweep is not None and self._resweep.advance() and self._resweep.revision is not None:
            self._revise(self._resweep.revision)
            self._resweep = None
        return 0

    def _revise(self, revision: Corrections) -> None:
        self._store.put_fact(self._fact, revision.to_text())
        self.revision = revision
        if revision.change_rows:
            self.sequence = self._sequence()

    def _sequence(self) -> PartSequence:
        revised = self.revision is not None and self.revision.change_rows
        return self._open(1 if revised else 0, self.revision.excluded if self.revision else {})


async def convert_all(
    conversions: Sequence[EndpointConversion],
    *,
    pool: Dispatcher,
    journal: GroupCommit,
    changed: Notifier,
    observer: Observer,
) -> None:
    """Convert every endpoint to its end, and let the pool end then. No unfinished part stays, whatever happens."""
    thread = anyio.CapacityLimiter(1)
    in_thread = functools.partial(anyio.to_thread.run_sync, limiter=thread)
    try:
        while waiting := [conversion for conversion in conversions if not conversion.finished]:
            for conversion in waiting:
                step = conversion.next_step(journal.take_fresh)
                if step is not None:
                    observer.records_written(conversion.sweep.endpoint.name, await in_thread(step))
                    if sweep := conversion.wanted_sweep():
                        observer.sweeping_again(sweep.endpoint.name, sweep.number)
                        pool.add(sweep)
                    break
            else:
                await changed.wait()
        pool.close()
    finally:
        with anyio.CancelScope(shield=True):
            for conversion in conversions:
                await in_thread(conversion.abort)
