"""Record batches in page order, straight from the service, without a file.

    Dispatcher -> PageOrder.receive     pages arrive in any order, not too far ahead of those taken
    PageOrder.next_block                the next pages in order
    BlockConverter.convert              in a worker thread: bytes to a batch, without records of earlier responses
    send -> receive                     to the consumer; while it is slow, fetching pauses

Nothing is stored. If an export would sweep a list again, a stream only warns.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence

import anyio
import anyio.to_thread
import pyarrow as pa
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from bulk_export.core.kernel_library import check_decoder
from bulk_export.core.model import STRICT, Endpoint
from bulk_export.core.notifier import Notifier
from bulk_export.errors import BulkExportError
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.extract.page_fetcher import FetchedPage, PageReceiver
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.list_parts import ListPart
from bulk_export.pipelines.options import ExportOptions, refuse_trials
from bulk_export.pipelines.page_sequence import pages_per_block
from bulk_export.pipelines.session import Session, open_session
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import Block, Decoder, RecordShaper, refuse_drift
from bulk_export.transform.dedup.fingerprints import SeenRecords

logger = logging.getLogger(__name__)

# Streams that are not closed yet: otherwise an abandoned one could be collected before its generator closes it.
_open: dict[asyncio.Task[None], MemoryObjectReceiveStream[pa.RecordBatch]] = {}

# The number of batches that may wait for a slow consumer before fetching pauses.
_BATCHES_AHEAD = 2


async def stream_batches(
    options: ExportOptions,
    observer: Observer | None = None,
    tuning: Tuning | None = None,
    part: ListPart | None = None,
) -> AsyncGenerator[pa.RecordBatch, None]:
    """Yield the records of the one endpoint in `options` in page order, each identity once (the first that arrived).

    With `part`, only the pages of that part are read. Their records are all given, however often they appear, unless
    the part is to be distinct; and the schema mode of the options counts.

    Records that share an identity within one response are all given, with a warning, and so are those without any.
    Pages are fetched ahead only as far as the consumer keeps up, so memory is bounded, except for about 12 bytes a
    record to recognise duplicates. Closing the generator ends the requests.
    """
    refuse_trials(options)
    observer = observer or Observer()
    check_decoder(observer.warned)
    send, receive = anyio.create_memory_object_stream[pa.RecordBatch](_BATCHES_AHEAD)
    # A task of its own, because no cancel scope may stay open across a yield.
    production = asyncio.create_task(_produce(options, observer, tuning or Tuning(), part, send))
    _open[production] = receive
    try:
        with receive:
            async for batch in receive:
                yield batch
        await production
    finally:
        production.add_done_callback(_open.pop)
        await _end(production)


async def _end(production: asyncio.Task[None]) -> None:
    """Cancel what a stream still does, and wait until its requests and its session are closed.

    A consumer that is cancelled again meanwhile, as a scope of anyio does, must not disturb that.
    """
    production.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait([production])
    if not production.cancelled():
        production.exception()  # was raised to the consumer, or is of no interest any more


async def _produce(
    options: ExportOptions,
    observer: Observer,
    tuning: Tuning,
    part: ListPart | None,
    send: MemoryObjectSendStream[pa.RecordBatch],
) -> None:
    async with (
        send,
        open_session(options, observer, tuning, body_cap=body_cap(options.page_size)) as session,
    ):
        await _Stream(session, send, part).run()


class _Stream:
    """Fetches the pages of the only endpoint of a session, and sends their records as batches."""

    def __init__(
        self, session: Session, send: MemoryObjectSendStream[pa.RecordBatch], part: ListPart | None = None
    ) -> None:
        options = session.options
        (endpoint,) = options.endpoints
        self._session = session
        self._send = send
        self._observer = session.observer
        self._part = part
        self._sweep = session.first_sweep(endpoint) if part is None else part.sweep(session, endpoint)
        self._order = PageOrder(
            self._sweep,
            ahead=4 * options.workers + pages_per_block(options.page_size),
            changed=session.changed,
            first=1 if part is None else part.first,
        )
        self._dispatcher: Dispatcher = session.dispatcher([self._sweep], self._order)
        decoder = Decoder(endpoint, columns=True, lines=None, redaction=options.redaction)
        self._converter = BlockConverter(
            endpoint,
            decoder,
            gives_all=part is not None and not part.distinct,
            is_strict=part is not None and options.schema == STRICT and bool(endpoint.fields),
        )
        self._failures: list[BulkExportError] = []

    async def run(self) -> None:
        """Send all records. Raises what the dispatcher raised."""
        name = self._sweep.endpoint.name
        self._dispatcher.close()
        logger.info("Streaming %s", name)
        self._observer.started([name], None, self._session.limiter.windows)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._fetch, tasks.cancel_scope)
                try:
                    await self._convert()
                except BulkExportError as error:
                    self._failures.append(error)
                    tasks.cancel_scope.cancel()
        finally:
            self._observer.closed()
        if self._failures:
            raise self._failures[0]
        if self._sweep.plan.complete and (self._part is None or self._part.distinct):
            self._session.conclude(self._sweep)
            for warning in _signs_of_change(self._sweep, self._converter):
                self._observer.warned(warning)

    async def _fetch(self, scope: anyio.CancelScope) -> None:
        try:
            await self._dispatcher.run()
        except BulkExportError as error:
            self._failures.append(error)
            scope.cancel()

    async def _convert(self) -> None:
        thread = anyio.CapacityLimiter(1)
        is_warned = False
        while bodies := await self._order.next_block():
            block = await anyio.to_thread.run_sync(self._converter.convert, bodies, limiter=thread)
            if self._converter.has_shared_ids and not is_warned:
                is_warned = True
                self._observer.warned(
                    f"{self._sweep.endpoint.name}: several records of one page share an id, so all of them are given."
                )
            if block.batch is not None and block.batch.num_rows:
                await self._send.send(block.batch)


class BlockConverter:
    """Decodes bodies of pages into blocks, without the records that an earlier response showed.

    `repeated` counts those that it left out, and `nameless` those without an identity that equal one of an earlier
    response, and are given all the same.

    Args:
        endpoint: The description of the records.
        decoder: Decodes the pages.
        gives_all: Whether nothing is left out or counted.
        is_strict: Whether records that differ from the description are refused.
    """

    def __init__(
        self, endpoint: Endpoint, decoder: Decoder, *, gives_all: bool = False, is_strict: bool = False
    ) -> None:
        self._endpoint = endpoint
        self._decoder = decoder
        self._is_strict = is_strict
        self._shaper = RecordShaper(endpoint)
        # A single response repeats nothing, however many pages it was cut into.
        self._seen = None if gives_all or endpoint.paging.style == "none" else SeenRecords()
        self.repeated = 0

    @property
    def nameless(self) -> int:
        """How many records without an identity equal one of an earlier response."""
        return 0 if self._seen is None else self._seen.repeated_without_id

    @property
    def has_shared_ids(self) -> bool:
        """Whether one response showed several records with one identity."""
        return self._seen is not None and self._seen.ids_are_shared

    def convert(self, bodies: Sequence[bytes]) -> Block:
        """Decode the next pages. Blocking. Raises SchemaDrift if it is strict."""
        block = self._decoder.decode(bodies)
        if self._is_strict:
            refuse_drift(self._endpoint, block.drift, "in a stream")
        if self._seen is None:
            return block
        repeated: list[int] = []
        first = 0
        for body, count in zip(bodies, block.rows_per_page, strict=True):
            records = functools.partial(self._shaper.split, body)
            repeated.extend(first + row for row in self._seen.repeated_rows(block.ids[first : first + count], records))
            first += count
        self.repeated += len(repeated)
        return block.without(repeated) if repeated else block


class PageOrder(PageReceiver):
    """Puts pages that arrive in any order into page order, and keeps requests from running far ahead.

    Args:
        sweep: The sweep that the pages belong to.
        ahead: How many pages may be requested beyond the last one that was taken.
        changed: Notified when more pages may be requested; wakes the tasks that wait for pages.
        first: The first page.
    """

    def __init__(self, sweep: Sweep, *, ahead: int, changed: Notifier, first: int = 1) -> None:
        self._sweep = sweep
        self._ahead = ahead
        self._changed = changed
        self._waiting: dict[int, bytes] = {}
        self._next = first
        sweep.horizon = first - 1 + ahead

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        """Keep the pages of a response until it is their turn."""
        self._waiting.update((page.page, page.body.text) for page in pages)

    async def next_block(self) -> Sequence[bytes]:
        """Return the bodies of the next pages in order, up to a block of them; none at the end."""
        plan = self._sweep.plan
        # A page that may be requested again is not given yet.
        while self._next > plan.contiguous or self._next not in self._waiting:
            if plan.complete and self._next > (plan.end or 0):
                return []
            await self._changed.wait()
        last = min(plan.contiguous, plan.end or plan.contiguous)
        bodies: list[bytes] = []
        while self._next <= last and len(bodies) < pages_per_block(self._sweep.page_size):
            bodies.append(self._waiting.pop(self._next))
            self._next += 1
        self._sweep.horizon = self._next + self._ahead
        self._changed.notify_all()
        return bodies


def _signs_of_change(sweep: Sweep, converter: BlockConverter) -> list[str]:
    """Return warnings about signs for which an export would sweep the list again."""
    plan, name = sweep.plan, sweep.endpoint.name
    signs = []
    if converter.repeated:
        signs.append(
            f"{name}: records left out since an earlier page showed their id: {converter.repeated}. They changed or"
            " moved, or the id does not identify; a record may be missing. An export finds out."
        )
    if converter.nameless:
        signs.append(
            f"{name}: records without an id that are the same as one of an earlier page: {converter.nameless}. All are"
            " given; if they moved, a record may be missing. An export finds out."
        )
    if plan.is_mixed:
        signs.append(f"{name}: the service changed how many records it gives at once; a record may be missing.")
    if sweep.has_stray_answers:
        signs.append(f"{name}: the service answered with a page that was not asked for; a record may be missing.")
    if short := len(plan.short_pages()):
        were = "page was" if short == 1 else "pages were"
        signs.append(
            f"{name}: {short:,} {were} short although later ones held records; a record that moved may be missing."
        )
    return signs
