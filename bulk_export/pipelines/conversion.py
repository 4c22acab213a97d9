"""The conversion of one endpoint: its pages in the journal become part files, while further pages are fetched.

A conversion is in one phase at a time. The object that does the work of the phase holds what only this phase needs:

    SchemaScan          `--schema infer`: look through all pages for fields that the description lacks
    PartSequence        write the pages into parts, in page order
    DuplicateSearch     some identities repeat: look through all pages for the records in question
    ConsistencySweeps   `--consistent`, or the order of the pages is in doubt: compare further sweeps
    none                finished

    [SchemaScan ->] PartSequence -> finished                                        nothing repeats: the usual case
                    PartSequence -> DuplicateSearch -> PartSequence -> finished     without the rows that repeat
                    PartSequence -> [DuplicateSearch ->] ConsistencySweeps -> PartSequence -> finished
                                                                                    with records that no page showed

Corrections are stored in the journal before anything is written a second time, so a later run goes on from there.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bulk_export.core.ahead import in_order
from bulk_export.core.model import INFER, STRICT, Endpoint, PageKey
from bulk_export.extract.consistency import ConsistencySweeps
from bulk_export.extract.journal import JournalStore
from bulk_export.extract.journal.fact_names import corrections_name, fields_name, sweep_state_name
from bulk_export.extract.paging_facts import parse_sweep_state
from bulk_export.extract.sweep import Sweep
from bulk_export.output.formats import PLAIN_CSV, CsvStyle
from bulk_export.output.open_part import OutputFormat
from bulk_export.output.page_blocks import PageBlocks, PageBody
from bulk_export.output.parts import PART_ROWS, PartSequence, PartTarget
from bulk_export.pipelines.duplicate_search import DuplicateSearch, find_repeated
from bulk_export.pipelines.page_sequence import PageSequence, PageSlot
from bulk_export.services.field_types import fields_to_text, with_fields
from bulk_export.transform.decode import Body, Decoder, Lines
from bulk_export.transform.dedup.resolution import Corrections
from bulk_export.transform.inference import SchemaScan
from bulk_export.transform.redaction import Redaction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConversionSettings:
    """How pages become parts, for all endpoints of a run.

    Attributes:
        formats: The compression of each format.
        flatten: Whether lines hold the columns, in place of the records as sent.
        schema_mode: LAX, STRICT or INFER.
        redaction: What is dropped or replaced by pseudonyms.
        page_size: How many records a page was asked to hold.
        tries_page_sizes: Whether each list has its own size, which further sweeps keep to as well.
        part_rows: The number of records after which a part ends, at the next end of a page.
        consistent: Whether to sweep again until two sweeps agree, in any case.
        drop_gone: Whether records that vanished during the run are left out.
        asks_twice: Whether a first sweep with a single response has to be confirmed by a second one.
        csv_style: What CSV files are made for.
        cores: How many blocks are decoded or written at once at most.
    """

    formats: Mapping[str, str]
    flatten: bool
    schema_mode: str
    redaction: Redaction
    page_size: int
    part_rows: int = PART_ROWS
    tries_page_sizes: bool = False
    consistent: bool = False
    drop_gone: bool = False
    asks_twice: bool = True
    csv_style: CsvStyle = PLAIN_CSV
    cores: int = 1

    def decoder(self, endpoint: Endpoint) -> Decoder:
        """Return a decoder for the records of an endpoint."""
        lines: Lines = "flat" if self.flatten else "raw"
        return Decoder(
            endpoint,
            columns=bool(self.formats.keys() - {"ndjson"}) or self.schema_mode == STRICT,
            lines=lines if "ndjson" in self.formats else None,
            redaction=self.redaction,
        )

    def part_target(self, store: JournalStore, staging: Path) -> PartTarget:
        """Return where the parts go."""
        formats = tuple(OutputFormat(*form, self.csv_style) for form in self.formats.items())
        return PartTarget(store, staging, formats, self.part_rows, self.cores)


class RecentBodies(Protocol):
    """Bodies that are still in memory since their pages were stored a moment ago."""

    def take_fresh(self, key: PageKey) -> Body | None:
        """Return the body of a page and forget it; None if it has to be read from the journal."""


@dataclass(frozen=True, slots=True)
class Step:
    """A short piece of blocking work: the pages to work on next, each with its body if that is in memory.

    Without pages, it ends the phase, or does the work of a phase that needs no pages. `is_followed` says that the next
    step is there already, so some of the work may be left to it.
    """

    pages: Sequence[tuple[PageSlot, Body | None]] = ()
    is_followed: bool = False


Phase = SchemaScan | PartSequence | DuplicateSearch | ConsistencySweeps | None


class EndpointConversion:
    """Converts the pages of one endpoint in short steps.

    Call `next_step` on the event loop, and `run` with its result in a worker thread, until `finished`. Afterwards
    `parts` and `corrections` say what was written.

    Args:
        sweep: The first sweep, with the pages that earlier runs stored.
        settings: How pages become parts.
        store: The journal of this run.
        staging: The directory for the parts.
        archive: Holds the pages in place of `store`, in a replay. Then the service cannot be asked again.

    Raises:
        DamagedState: The journal or a finished part is not as an earlier run left it.
        LocalFailure: The directory of the parts could not be prepared.
    """

    def __init__(
        self,
        sweep: Sweep,
        settings: ConversionSettings,
        store: JournalStore,
        staging: Path,
        archive: JournalStore | None = None,
    ) -> None:
        self.sweep = sweep
        self._settings = settings
        self._store = store
        self._page_store = archive or store
        self._can_request = archive is None and sweep.plan.sample is None
        self._target = settings.part_target(store, staging)
        self.corrections = parse_corrections(store, sweep.endpoint)
        # The description, with the inferred fields once these are known.
        self._endpoint, scan = self._described()
        self._pages, self.parts = self._sequences()
        self._phase: Phase = scan or self.parts
        if self.corrections is None:
            sweep.plan.settle(self.parts.converted)
        else:
            # The corrections hold for the pages as they are.
            sweep.plan.conclude()

    @property
    def finished(self) -> bool:
        """Whether everything is written."""
        return self._phase is None

    @property
    def written_pages(self) -> int:
        """How many pages are written; 0 again when everything has to be written a second time."""
        return self.parts.converted

    @property
    def is_settled(self) -> bool:
        """Whether no further sweep can follow."""
        return self.finished or self.corrections is not None or not self._can_request

    @property
    def duplicates(self) -> int:
        """How many rows of the first sweep repeat one of another page."""
        return self.corrections.duplicates if self.corrections else 0

    def wanted_sweep(self) -> Sweep | None:
        """Return a further sweep that has to be fetched now. Each is returned once."""
        return self._phase.wanted() if isinstance(self._phase, ConsistencySweeps) else None

    def next_step(self, recent: RecentBodies | None = None) -> Step | None:
        """Return what can be done now; None while pages are missing, and at the end.

        Bodies that are written are taken from `recent` if it has them.
        """
        match self._phase:
            case SchemaScan() as scan:
                return self._next_pages(scan.scanned)
            case PartSequence() as parts:
                return self._next_pages(parts.converted, recent)
            case DuplicateSearch() as search:
                return self._next_pages(search.done)
            case ConsistencySweeps() as sweeps:
                return Step() if sweeps.ready else None
            case None:
                return None

    def run(self, step: Step) -> int:
        """Do a step. Blocking. Returns how many rows it wrote for the first time."""
        match self._phase:
            case SchemaScan() as scan:
                self._scan(scan, step)
            case PartSequence() as parts if step.pages:
                pages = [PageBody(slot.key, slot.ordinal, slot.records, body) for slot, body in step.pages]
                rows = parts.write(pages, is_followed=step.is_followed)
                return rows if self.corrections is None else 0
            case PartSequence() as parts:
                parts.finish()
                self._phase = self._after_writing()
            case DuplicateSearch() as search:
                self._search(search, step)
            case ConsistencySweeps() as sweeps:
                self._compare(sweeps)
        return 0

    def abort(self) -> None:
        """Remove the part being written. Blocking."""
        self.parts.abort()

    def _next_pages(self, done: int, recent: RecentBodies | None = None) -> Step | None:
        if slots := self._pages.next_block(done):
            pages = [(slot, recent.take_fresh(slot.key) if recent is not None else None) for slot in slots]
            return Step(pages, is_followed=bool(self._pages.next_block(slots[-1].ordinal)))
        return Step() if self._pages.is_done(done) else None

    def _described(self) -> tuple[Endpoint, SchemaScan | None]:
        """Return the description with the inferred fields, and the scan that has to infer them first, if any."""
        endpoint = self.sweep.endpoint
        if self._settings.schema_mode != INFER:
            return endpoint, None
        inferred = self._store.parsed_fact(fields_name(endpoint.name), functools.partial(with_fields, endpoint))
        return (endpoint, SchemaScan(endpoint)) if inferred is None else (inferred, None)

    def _sequences(self) -> tuple[PageSequence, PartSequence]:
        """Return the pages to convert and the parts to write, as the corrections have them."""
        sweep, settings, corrections = self.sweep, self._settings, self.corrections
        blocks = PageBlocks(
            sweep.endpoint,
            settings.decoder(self._endpoint),
            self._page_store.body,
            excluded=corrections.excluded if corrections else {},
            is_strict=settings.schema_mode == STRICT,
        )
        revision = 1 if corrections is not None and corrections.change_rows else 0
        pages = PageSequence(sweep, corrections.extra_pages if corrections else (), self._largest_page)
        return pages, PartSequence(sweep.endpoint.name, revision, blocks, self._target)

    @property
    def _largest_page(self) -> int:
        if self._settings.tries_page_sizes:
            return self.sweep.page_size
        return self.sweep.endpoint.paging.largest or self._settings.page_size

    def _scan(self, scan: SchemaScan, step: Step) -> None:
        if step.pages:
            scan.scan([self._page_store.body(slot.key) for slot, _ in step.pages])
            return
        self._endpoint = scan.inferred()
        self._store.put_fact(fields_name(self._endpoint.name), fields_to_text(self._endpoint))
        self._write_anew()

    def _write_anew(self) -> None:
        self._pages, self.parts = self._sequences()
        self._phase = self.parts

    def _after_writing(self) -> Phase:
        endpoint, settings = self.sweep.endpoint, self._settings
        if self.corrections is None:
            if settings.consistent or (self.sweep.is_to_be_read_again and self._can_request):
                return self._further_sweeps()
            if wanted := find_repeated(self.parts, endpoint, self._store):
                logger.info("%s: looking up records that stand on several pages", endpoint.name)
                return DuplicateSearch(endpoint, settings.decoder(self._endpoint), wanted)
        logger.info("%s: finished, %d records", endpoint.name, self.parts.rows)
        return None

    def _search(self, search: DuplicateSearch, step: Step) -> None:
        if step.pages:
            search.look_through((slot, self._page_store.body(slot.key)) for slot, _ in step.pages)
            return
        repeats = search.result()
        # A record that stands on two pages without an update shows that the order is not what it is said to be, or
        # that there are two such records.
        is_order_doubtful = not self.sweep.endpoint.order_is_total or repeats.unexplained
        if repeats.duplicates and is_order_doubtful and self._can_request:
            self._phase = self._further_sweeps()
        else:
            self._correct(Corrections(repeats.excluded, repeats.duplicates, shared=repeats.shared))

    def _further_sweeps(self) -> ConsistencySweeps:
        logger.info("%s: reading the list again", self.sweep.endpoint.name)
        return ConsistencySweeps(
            self.sweep,
            self._store,
            self._largest_page,
            drop_gone=self._settings.drop_gone,
            asks_twice=self._settings.asks_twice,
            counts_suffice=not self._settings.consistent,
        )

    def _compare(self, sweeps: ConsistencySweeps) -> None:
        if sweeps.advance() and sweeps.corrections is not None:
            self._correct(sweeps.corrections)

    def _correct(self, corrections: Corrections) -> None:
        """Store the corrections, and write everything again if they change any row."""
        self._store.put_fact(corrections_name(self.sweep.endpoint.name), corrections.to_text())
        self.corrections = corrections
        if corrections.change_rows:
            self._write_anew()
        else:
            self._phase = self.parts


def parse_corrections(store: JournalStore, endpoint: Endpoint) -> Corrections | None:
    """Return the corrections of an endpoint that a journal has. Raises DamagedState if they cannot be read."""
    return store.parsed_fact(corrections_name(endpoint.name), functools.partial(Corrections.from_text, endpoint.name))


def restore_sweep(sweep: Sweep, store: JournalStore, cores: int = 1) -> None:
    """Take up a sweep where the journal `store` has it, with that many cores at most. Blocking."""
    name, number = sweep.endpoint.name, sweep.number
    state = store.parsed_fact(sweep_state_name(name, number), parse_sweep_state)
    counts = store.page_counts(name, number)
    sweep.restore(counts, lambda keys: in_order(store.body, keys, cores), state=state)
