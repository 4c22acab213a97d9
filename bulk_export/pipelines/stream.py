"""Record batches in page order, straight from the service, without a file."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Iterable, Sequence

import anyio
import anyio.to_thread
import pyarrow as pa
from anyio.streams.memory import MemoryObjectSendStream

from bulk_export.core.model import Endpoint
from bulk_export.core.notifier import Notifier
from bulk_export.core.window_gate import WindowGate
from bulk_export.errors import BulkExportError
from bulk_export.extract.client import HttpClient
from bulk_export.extract.dispatcher import Dispatcher, DispatchSettings
from bulk_export.extract.page_fetcher import FetchedPage, PageFetcher, PageReceiver
from bulk_export.extract.rate_limit import open_budget
from bulk_export.extract.rate_limit.service_facts import open_service_facts
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.connection import service_address
from bulk_export.pipelines.conversion import block_pages
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.progress.observer import Observer
from bulk_export.transform.decode import Block, Decoder, RecordShaper
from bulk_export.transform.dedup.seen_ids import MetBefore

# Batches that may wait for a slow consumer before fetching pauses.
_BATCHES_AHEAD = 2


async def stream_batches(
    options: ExportOptions, observer: Observer | None = None, tuning: Tuning | None = None
) -> AsyncGenerator[pa.RecordBatch, None]:
    """The records of the one endpoint in `options`, each identity once (the first met), in page order.

    Records that share an identity within one answer are all given, with a warning, and so are those without any.

    Pages are fetched ahead only as far as the consumer keeps up, so memory is bounded, but for some 12 bytes a record
    that tell duplicates. Closing the generator ends the requests.
    """
    send, receive = anyio.create_memory_object_stream[pa.RecordBatch](_BATCHES_AHEAD)
    # A task of its own, because no cancel scope may stay open across a yield.
    production = asyncio.create_task(_produce(options, observer or Observer(), tuning or Tuning(), send))
    try:
        with receive:
            async for batch in receive:
                yield batch
        await production
    finally:
        production.cancel()
        with contextlib.suppress(asyncio.CancelledError, BulkExportError):
            await production


async def _produce(
    options: ExportOptions, observer: Observer, tuning: Tuning, send: MemoryObjectSendStream[pa.RecordBatch]
) -> None:
    (endpoint,) = options.endpoints
    changed = Notifier()
    cap = body_cap(options.page_size)
    async with (
        send,
        service_address(options) as address,
        open_service_facts(options.budget, address.base_url) as facts,
        open_budget(
            options.budget,
            base_url=address.base_url,
            token=address.token,
            service_limit=options.service_limit,
            ip_limit=options.ip_limit,
            min_interval=options.min_interval,
            sources=options.sources,
            share=options.share,
            answer_timeout=tuning.longest_request(options.endpoints),
            notice=observer.warned,
        ) as budget,
        HttpClient(
            address.base_url,
            address.token,
            sources=options.sources,
            body_cap=cap,
            timeouts=tuning.timeouts,
            auth=options.service.auth,
            ca_file=options.ca_file,
            notice=observer.warned,
        ) as fetcher,
    ):
        sweep = Sweep(
            endpoint,
            number=0,
            page_size=options.page_size,
            stride=2 * options.workers,
            filters=options.filters_for(endpoint),
            known=facts.of(endpoint.path),
        )
        order = _PageOrder(sweep, ahead=4 * options.workers + block_pages(options.page_size), changed=changed)
        dispatcher = Dispatcher(
            [sweep],
            fetcher=PageFetcher(fetcher, budget, order, observer, successor=options.service.successor),
            limiter=budget,
            settings=DispatchSettings(
                workers=options.workers,
                backoff=tuning.backoff(options.retries),
                uniform=tuning.uniform,
                max_wait=options.max_wait,
                gate=WindowGate(options.window, clock=tuning.clock, closed=observer.outside_window),
            ),
            changed=changed,
            observer=observer,
        )
        dispatcher.close()
        failures: list[BulkExportError] = []
        repeated = nameless = 0

        async def fetch() -> None:
            try:
                await dispatcher.run()
            except BulkExportError as error:
                failures.append(error)
                tasks.cancel_scope.cancel()

        observer.started([endpoint.name], None, budget.windows)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(fetch)
                decoder = Decoder(endpoint, columns=True, lines=None, redaction=options.redaction)
                repeated, nameless = await _convert(order, decoder, endpoint, send, observer)
        finally:
            observer.closed()
        if failures:
            raise failures[0]
        if sweep.plan.complete:
            if sweep.is_paged:
                facts.learn(endpoint.path, sweep.learned())
            for warning in (*sweep.warnings(), *_signs(sweep, repeated, nameless)):
                observer.warned(warning)


def _signs(sweep: Sweep, repeated: int, nameless: int) -> list[str]:
    """What an export would have stated or read again, but a stream has handed on.

    `repeated` is the number of records left out, since an earlier page showed their identity,
    and `nameless` that of those without one that repeat one of an earlier page, and were given.
    """
    plan, name = sweep.plan, sweep.endpoint.name
    signs = []
    if repeated:
        signs.append(
            f"{name}: records left out since an earlier page showed their id: {repeated}. They changed or moved, or"
            " the id does not identify; a record may be missing. An export finds out."
        )
    if nameless:
        signs.append(
            f"{name}: records without an id that are the same as one of an earlier page: {nameless}. All are given; if"
            " they moved, a record may be missing. An export finds out."
        )
    if plan.is_mixed:
        signs.append(f"{name}: the service changed how many records it gives at once; a record may be missing.")
    if sweep.has_stray_answers:
        signs.append(f"{name}: the service answered with a page that was not asked for; a record may be missing.")
    if short := len(plan.short_pages()):
        signs.append(
            f"{name}: {short} pages were short although later ones held records; a record that moved may be missing."
        )
    return signs


async def _convert(
    order: _PageOrder,
    decoder: Decoder,
    endpoint: Endpoint,
    send: MemoryObjectSendStream[pa.RecordBatch],
    observer: Observer,
) -> tuple[int, int]:
    """Hand on the records; how many of them were left out, and how many without an id repeat another one."""
    # One answer repeats nothing, however many pages it was cut into.
    met = None if endpoint.paging.style == "none" else MetBefore()
    arrangement = RecordShaper(endpoint)
    thread = anyio.CapacityLimiter(1)
    is_told = False
    repeated = 0

    def decoded(bodies: Sequence[bytes]) -> tuple[Block, int]:
        block = decoder.decode(bodies)
        return (block, 0) if met is None else _first_met(block, bodies, met, arrangement)

    while bodies := await order.next_block():
        block, left_out = await anyio.to_thread.run_sync(decoded, bodies, limiter=thread)
        repeated += left_out
        if met is not None and met.is_shared and not is_told:
            is_told = True
            observer.warned(f"{endpoint.name}: several records of one page share an id, so all of them are given.")
        if block.batch is not None and block.batch.num_rows:
            await send.send(block.batch)
    return repeated, 0 if met is None else met.nameless


def _first_met(block: Block, bodies: Sequence[bytes], met: MetBefore, arrangement: RecordShaper) -> tuple[Block, int]:
    """The block without records that an earlier answer showed, and how many these are."""
    repeated: list[int] = []
    first = 0
    for body, count in zip(bodies, block.rows_per_page, strict=True):
        rows = met.rows(block.ids[first : first + count], functools.partial(arrangement.split, body))
        repeated.extend(first + row for row in rows)
        first += count
    return (block.without(repeated), len(repeated)) if repeated else (block, 0)


class _PageOrder(PageReceiver):
    """Puts pages that come back in any order into theirs, and lets no request run far ahead of what was taken."""

    def __init__(self, sweep: Sweep, *, ahead: int, changed: Notifier) -> None:
        self._sweep = sweep
        self._ahead = ahead
        self._changed = changed
        self._waiting: dict[int, bytes] = {}
        self._next = 1
        sweep.horizon = ahead

    async def receive(self, pages: Iterable[FetchedPage]) -> None:
        self._waiting.update((page.page, page.body.text) for page in pages)

    async def next_block(self) -> Sequence[bytes]:
        """The bodies of the next pages in order, up to a block of them; none at the end."""
        plan = self._sweep.plan
        # A page that may be asked for again is not handed on yet.
        while self._next > plan.contiguous or self._next not in self._waiting:
            if plan.complete and self._next > (plan.end or 0):
                return []
            await self._changed.wait()
        last = min(plan.contiguous, plan.end or plan.contiguous)
        bodies: list[bytes] = []
        while self._next <= last and len(bodies) < block_pages(self._sweep.page_size):
            bodies.append(self._waiting.pop(self._next))
            self._next += 1
        self._sweep.horizon = self._next + self._ahead
        self._changed.beat()
        return bodies
