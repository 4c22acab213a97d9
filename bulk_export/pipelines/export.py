"""An export from end to end: plan, fetch, journal, convert, publish."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from bulk_export.core.clock import MOST_READINGS, TOLERANCE, agreed, now, seconds_ahead
from bulk_export.core.files import named_by_user
from bulk_export.core.model import STRICT, Endpoint, description_digest
from bulk_export.core.notifier import Notifier
from bulk_export.core.process import require_descriptors
from bulk_export.core.units import format_instant
from bulk_export.core.version import __version__
from bulk_export.core.window_gate import WindowGate
from bulk_export.errors import BulkExportError, Interrupted
from bulk_export.extract.client import HttpClient
from bulk_export.extract.counters import CLOCK_AHEAD, Counters
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.extract.fetched_page import FetchedPage
from bulk_export.extract.journal import GroupCommit, JournalStore, StoredPage
from bulk_export.extract.order_check import backwards, edge_reader
from bulk_export.extract.paging_state import paging_fact, parse_state
from bulk_export.extract.rate_limit import open_budget
from bulk_export.extract.rate_limit.service_facts import ServiceFacts, open_service_facts
from bulk_export.extract.sweep import Sweep
from bulk_export.output.directory import WorkDirectory, already_finished, not_ours, workplace
from bulk_export.output.manifest import RunCounters, build_manifest
from bulk_export.output.parts import OutputFormat
from bulk_export.output.publish import decide, decided, publish
from bulk_export.output.replaceable import check_replaceable
from bulk_export.pipelines.connection import service_address, service_name
from bulk_export.pipelines.conversion import EndpointConversion, convert_all
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.results import endpoint_result, not_exported_text, staged_files, summarise
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.transform.decode import Decoder, Lines, page_rewriter
from bulk_export.transform.schema import with_names_apart
from bulk_export.transform.schema_mode import resumable

# How long answers on their way are waited for once the export was asked to stop.
_DRAIN_SECONDS = 1.0


async def export(
    options: ExportOptions,
    observer: Observer | None = None,
    *,
    stop: anyio.Event | None = None,
    tuning: Tuning | None = None,
) -> ExportSummary:
    """Export what `options` say, or go on with an interrupted export of the same; the outcome in numbers.

    When `stop` is set, what is on its way is kept and Interrupted is raised. Raises the exceptions of
    `bulk_export.errors`; whatever is raised, the same options go on from there.
    """
    require_descriptors(options.workers * len(options.sources))
    return await _Export(options, observer or Observer(), stop or anyio.Event(), tuning or Tuning()).run()


class _Export:
    def __init__(self, options: ExportOptions, observer: Observer, stop: anyio.Event, tuning: Tuning) -> None:
        self._options = options
        self._observer = observer
        self._stop = stop
        self._tuning = tuning
        self._output = options.output
        self._cap = body_cap(options.service.largest_page_size if options.consistent else options.page_size)
        self._began = time.monotonic()
        self._changed = Notifier()
        self._resumed = False

    async def run(self) -> ExportSummary:
        options = self._options
        names = [endpoint.name for endpoint in options.endpoints]
        with ExitStack() as stack:
            place = stack.enter_context(
                workplace(
                    self._output, options.work_dir, names, overwrite=options.overwrite, keep_pages=options.keep_pages
                )
            )
            store = await anyio.to_thread.run_sync(functools.partial(place.open_journal, cap=self._cap))
            stack.callback(store.close)
            claim = functools.partial(store.claim, self._identity(), output=self._output)
            self._resumed = await anyio.to_thread.run_sync(claim)
            manifest = decided(store)
            if manifest is None:
                if place.finished and not options.overwrite:
                    raise already_finished(self._output)
                check_replaceable(self._output, names, finished=place.finished, keep_pages=options.keep_pages)
                manifest = await self._fetch_and_convert(store, place)
            rewrite = page_rewriter(options.redaction, options.endpoints)
            left = await anyio.to_thread.run_sync(functools.partial(publish, store, place, rewrite=rewrite))
        for path in left:
            self._observer.warned(not_ours(path))
        if options.left_out:
            self._observer.warned(not_exported_text(options.left_out))
        summary = summarise(manifest, self._output, time.monotonic() - self._began)
        self._observer.finished(summary)
        return summary

    async def _fetch_and_convert(self, store: JournalStore, place: WorkDirectory) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            stack.callback(self._observer.closed)
            address = await stack.enter_async_context(service_address(self._options))
            before = Counters.of(store)
            if self._resumed:
                before = before.resumed_once_more(store)
            facts = await stack.enter_async_context(open_service_facts(self._options.budget, address.base_url))
            conversions = await anyio.to_thread.run_sync(self._open_conversions, store, place, facts)
            budget = await stack.enter_async_context(
                open_budget(
                    self._options.budget,
                    base_url=address.base_url,
                    token=address.token,
                    service_limit=self._options.service_limit,
                    ip_limit=self._options.ip_limit,
                    min_interval=self._options.min_interval,
                    sources=self._options.sources,
                    share=self._options.share,
                    answer_timeout=self._tuning.longest_request(self._options.endpoints),
                    notice=self._observer.warned,
                )
            )
            fetcher = await stack.enter_async_context(
                HttpClient(
                    address.base_url,
                    address.token,
                    sources=self._options.sources,
                    body_cap=self._cap,
                    timeouts=self._tuning.timeouts,
                    auth=self._options.service.auth,
                    ca_file=self._options.ca_file,
                    notice=self._observer.warned,
                )
            )
            journal = await stack.enter_async_context(GroupCommit(store))

            edges = {endpoint.name: edge_reader(endpoint) for endpoint in self._options.endpoints}

            def stored(fetched: FetchedPage) -> StoredPage:
                return StoredPage(
                    key=fetched.sweep.key(fetched.page),
                    records=len(fetched.body.records),
                    encoding=fetched.encoding,
                    size=len(fetched.body),
                    stored=fetched.stored,
                    edges=edges[fetched.sweep.endpoint.name](fetched.body.records),
                )

            async def deliver(pages: Iterable[FetchedPage]) -> None:
                journal.note("retries", str(before.retries + pool.retries))
                journal.note("throttled", str(before.throttled + budget.throttled))
                match pages:
                    case [page]:
                        # Lines are made of the records, columns of the body.
                        as_lines = "ndjson" in self._options.formats
                        await journal.append(stored(page), page.body if as_lines else page.body.text)
                    case _:
                        await journal.append_together(map(stored, pages))

            readings = list(before.clock_readings)

            def served_at(date: str | None) -> None:
                if len(readings) < MOST_READINGS:
                    ahead = seconds_ahead(date, self._tuning.clock())
                    if ahead is not None:
                        readings.append(ahead)
                        journal.note(CLOCK_AHEAD, json.dumps(readings))

            pool = Dispatcher(
                [conversion.sweep for conversion in conversions],
                fetcher=fetcher,
                budget=budget,
                workers=self._options.workers,
                deliver=deliver,
                changed=self._changed,
                observer=self._observer,
                backoff=self._tuning.backoff(self._options.retries),
                count_request=journal.count_request,
                uniform=self._tuning.uniform,
                max_wait=self._options.max_wait,
                opening=WindowGate(
                    self._options.window, clock=self._tuning.clock, closed=self._observer.outside_window
                ),
                served_at=served_at,
                successor=self._options.service.successor,
                taken_in=lambda sweep: journal.note(paging_fact(sweep.endpoint.name, sweep.number), sweep.state()),
            )
            names = [conversion.sweep.endpoint.name for conversion in conversions]
            self._observer.started(names, named_by_user(self._output), budget.windows)
            if self._resumed:
                self._observer.resumed(sum(conversion.sweep.plan.pages for conversion in conversions))
                for sweep in (conversion.sweep for conversion in conversions):
                    plan = sweep.plan
                    self._observer.resumed_endpoint(sweep.endpoint.name, plan.pages, plan.records, plan.end)
            convert = functools.partial(
                convert_all,
                conversions,
                pool=pool,
                journal=journal,
                changed=self._changed,
                observer=self._observer,
            )
            await self._until_done(pool, convert)
            for sweep in (conversion.sweep for conversion in conversions):
                if sweep.is_of_pages:
                    facts.learn(sweep.endpoint.path, sweep.learned())
                for warning in sweep.warnings():
                    self._observer.warned(warning)
        return await anyio.to_thread.run_sync(self._decide, store, place, conversions)

    async def _until_done(self, pool: Dispatcher, convert: Callable[[], Awaitable[None]]) -> None:
        errors: list[BulkExportError] = []

        async def guarded(step: Callable[[], Awaitable[None]]) -> None:
            try:
                await step()
            except BulkExportError as error:
                errors.append(error)
                tasks.cancel_scope.cancel()

        async def fetch() -> None:
            await pool.run()
            fetched.set()

        async def stop_on_request() -> None:
            await self._stop.wait()
            pool.stop_dispatching()
            with anyio.move_on_after(_DRAIN_SECONDS):
                await fetched.wait()
            errors.append(_interrupted(self._output))
            tasks.cancel_scope.cancel()

        async def tell_the_time() -> None:
            while True:
                await anyio.sleep(1)
                self._observer.tick()

        fetched = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_request)
            tasks.start_soon(tell_the_time)
            async with anyio.create_task_group() as work:
                work.start_soon(guarded, fetch)
                work.start_soon(guarded, convert)
            tasks.cancel_scope.cancel()
        if errors:
            raise errors[0]

    def _open_conversions(
        self, store: JournalStore, place: WorkDirectory, facts: ServiceFacts
    ) -> list[EndpointConversion]:
        options = self._options
        conversions = []
        for endpoint in options.endpoints:
            sweep = Sweep(
                endpoint,
                number=0,
                page_size=options.page_size,
                stride=2 * options.workers,
                filters=options.filters_for(endpoint),
                known=facts.of(endpoint.path),
                # Changes are asked for by two polls.
                empty_is_enough=options.consistent and options.updated_since is not None and endpoint.since is not None,
            )
            state = store.parsed_fact(paging_fact(endpoint.name, 0), parse_state)
            sweep.restore(store.page_counts(endpoint.name, 0), store.body, state=state)
            conversions.append(
                EndpointConversion(
                    sweep,
                    largest_page=endpoint.paging.largest or options.page_size,
                    decoder=self._decoder,
                    formats=[OutputFormat(name, compression) for name, compression in options.formats.items()],
                    store=store,
                    staging=place.staging,
                    part_rows=self._tuning.part_rows,
                    consistent=options.consistent,
                    drop_gone=options.gone == "drop",
                    asks_twice=options.asks_twice,
                    schema_mode=options.schema,
                )
            )
        return conversions

    def _decoder(self, endpoint: Endpoint) -> Decoder:
        formats = self._options.formats
        lines: Lines = "flat" if self._options.flatten else "raw"
        return Decoder(
            endpoint,
            columns="parquet" in formats or self._options.schema == STRICT,
            lines=lines if "ndjson" in formats else None,
            redaction=self._options.redaction,
        )

    def _decide(
        self, store: JournalStore, place: WorkDirectory, conversions: Sequence[EndpointConversion]
    ) -> dict[str, Any]:
        counters = Counters.of(store)
        requests = store.requests()
        ahead, agreeing = agreed(counters.clock_readings)
        doubted = ahead is not None and abs(ahead) > TOLERANCE
        manifest = build_manifest(
            service=self._options.service.name,
            api_version=self._options.service.version,
            base_url=service_name(self._options),
            parameters=self._parameters(),
            started_at=counters.started_at,
            finished_at=now(),
            endpoints=[
                endpoint_result(
                    conversion,
                    requests=requests.get(conversion.sweep.endpoint.name, 0),
                    backwards=backwards(store.edges(conversion.sweep.endpoint.name, 0)),
                    consistent=self._options.consistent,
                )
                for conversion in conversions
            ],
            run=RunCounters(
                requests=sum(requests.values()),
                retries=counters.retries,
                throttled=counters.throttled,
                resumed=counters.resumed,
                server_clock_ahead=ahead,
                server_clock_answers=agreeing if doubted else None,
            ),
            not_exported=dict(self._options.left_out),
        )
        decide(store, place, manifest, staged_files(conversions), keep_pages=self._options.keep_pages)
        return manifest

    def _parameters(self) -> dict[str, Any]:
        options = self._options
        return {
            "endpoints": [endpoint.name for endpoint in options.endpoints],
            "page_size": options.page_size,
            "filters": dict(options.filters),
            "sort": options.sort,
            "updated_since": format_instant(options.updated_since) if options.updated_since else None,
            "formats": dict(options.formats),
            "flatten": options.flatten,
            "drop_columns": list(options.drop_columns),
            "pseudonymise": list(options.pseudonymised),
            "pseudonym_key": options.redaction.key_id,
            "consistent": options.consistent,
            "gone": options.gone,
            "schema": options.schema,
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "service": self._options.service.name,
            "api_version": self._options.service.version,
            "base_url": service_name(self._options),
            # It may be edited between two runs; pages stored under one do not fit another.
            "description": description_digest([with_names_apart(endpoint) for endpoint in self._options.endpoints]),
            **self._parameters() | {"schema": resumable(self._options.schema)},
        }


def _interrupted(output: Path) -> Interrupted:
    return Interrupted(
        "Interrupted.",
        kept=f"Every page that had arrived is kept in {output}.",
        next_step="The same command with this --output goes on from here.",
    )
