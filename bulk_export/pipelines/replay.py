"""Makes another output from the pages that an export kept, without one request."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.to_thread

from bulk_export.core.clock import now
from bulk_export.core.model import STRICT, Endpoint
from bulk_export.core.version import __version__
from bulk_export.errors import DamagedState, Interrupted
from bulk_export.extract.journal import JournalStore, open_archive
from bulk_export.extract.order_check import backwards
from bulk_export.extract.paging_state import paging_fact, parse_state
from bulk_export.extract.sweep import Sweep
from bulk_export.output.directory import WorkDirectory, already_finished, not_ours, workplace
from bulk_export.output.manifest import RunCounters, build_manifest
from bulk_export.output.parts import OutputFormat
from bulk_export.output.publish import decide, decided, publish
from bulk_export.output.replaceable import check_replaceable
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.results import endpoint_result, staged_files, summarise
from bulk_export.pipelines.tuning import body_cap
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.transform.decode import Decoder, Lines
from bulk_export.transform.dedup.resolution import Corrections, is_outdated
from bulk_export.transform.schema_mode import resumable


async def replay(
    options: ReplayOptions, observer: Observer | None = None, *, stop: anyio.Event | None = None
) -> ExportSummary:
    """Convert kept pages as `options` say, or go on with an interrupted replay of the same; the outcome in numbers.

    When `stop` is set, finished parts are kept and Interrupted is raised. Raises the exceptions of
    `bulk_export.errors`.
    """
    return await _Replay(options, observer or Observer(), stop or anyio.Event()).run()


class _Replay:
    def __init__(self, options: ReplayOptions, observer: Observer, stop: anyio.Event) -> None:
        self._options = options
        self._observer = observer
        self._stop = stop
        self._began = time.monotonic()

    async def run(self) -> ExportSummary:
        options = self._options
        names = [endpoint.name for endpoint in options.endpoints]
        cap = body_cap(options.service.largest_page_size)
        with ExitStack() as stack:
            place = stack.enter_context(
                workplace(options.output, options.work_dir, names, overwrite=options.overwrite, keep_pages=False)
            )
            store = await anyio.to_thread.run_sync(functools.partial(place.open_journal, cap=cap))
            stack.callback(store.close)
            store.claim(self._identity(), output=options.output)
            manifest = decided(store)
            if manifest is None:
                if place.finished and not options.overwrite:
                    raise already_finished(options.output)
                check_replaceable(options.output, names, finished=place.finished, keep_pages=False)
                pages = await anyio.to_thread.run_sync(functools.partial(open_archive, options.archive, cap=cap))
                stack.callback(pages.close)
                manifest = await self._convert(store, pages, place)
            left = await anyio.to_thread.run_sync(publish, store, place)
        for path in left:
            self._observer.warned(not_ours(path))
        summary = summarise(manifest, options.output, time.monotonic() - self._began)
        self._observer.finished(summary)
        return summary

    async def _convert(self, store: JournalStore, pages: JournalStore, place: WorkDirectory) -> dict[str, Any]:
        if store.fact("started_at") is None:
            store.put_fact("started_at", now())
        self._observer.started([endpoint.name for endpoint in self._options.endpoints], self._options.output, list)
        conversions = []
        try:
            for endpoint in self._options.endpoints:
                conversion = await anyio.to_thread.run_sync(self._conversion, endpoint, store, pages, place)
                conversions.append(conversion)
                await self._finish(conversion)
        finally:
            self._observer.closed()
        return await anyio.to_thread.run_sync(self._decide, store, pages, place, conversions)

    async def _finish(self, conversion: EndpointConversion) -> None:
        name, plan = conversion.sweep.endpoint.name, conversion.sweep.plan
        self._observer.resumed_endpoint(name, plan.pages, plan.records, plan.end)
        try:
            while not conversion.finished:
                if self._stop.is_set():
                    raise Interrupted(
                        "Interrupted.",
                        kept=f"Every finished part is kept in {self._options.output}.",
                        next_step="The same command with this --output goes on from here.",
                    )
                step = conversion.next_step(lambda _: None)
                if step is None:
                    raise DamagedState(
                        f"{self._options.archive} does not hold all pages of {name}.",
                        kept="Nothing was deleted.",
                        next_step="Export again: an archive is only of use when it is whole.",
                    )
                self._observer.records_written(name, await anyio.to_thread.run_sync(step))
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(conversion.abort)

    def _conversion(
        self, endpoint: Endpoint, store: JournalStore, pages: JournalStore, place: WorkDirectory
    ) -> EndpointConversion:
        options = self._options
        page_size = int(options.origin["parameters"]["page_size"])
        sweep = Sweep(endpoint, number=0, page_size=page_size, stride=1, filters=())
        state = pages.parsed_fact(paging_fact(endpoint.name, 0), parse_state)
        sweep.restore(pages.page_counts(endpoint.name, 0), pages.body, state=state)
        # The export was finished, so no page is in doubt any more.
        sweep.plan.conclude()
        settled = f"revision/{endpoint.name}"
        text = pages.fact(settled)
        revision = pages.parsed_fact(settled, functools.partial(Corrections.from_text, endpoint.name))
        if revision is not None and text is not None and not is_outdated(text):
            store.put_fact(settled, text)
        lines: Lines = "flat" if options.flatten else "raw"
        return EndpointConversion(
            sweep,
            largest_page=endpoint.paging.largest or page_size,
            decoder=lambda described: Decoder(
                described,
                columns="parquet" in options.formats or options.schema == STRICT,
                lines=lines if "ndjson" in options.formats else None,
                redaction=options.redaction,
            ),
            formats=[OutputFormat(name, compression) for name, compression in options.formats.items()],
            store=store,
            staging=place.staging,
            pages=pages,
            schema_mode=options.schema,
        )

    def _decide(
        self,
        store: JournalStore,
        pages: JournalStore,
        place: WorkDirectory,
        conversions: Sequence[EndpointConversion],
    ) -> dict[str, Any]:
        origin = self._options.origin
        results = [
            endpoint_result(
                conversion,
                requests=0,
                backwards=backwards(pages.edges(conversion.sweep.endpoint.name, 0)),
                consistent=bool(origin["parameters"]["consistent"]),
            )
            for conversion in conversions
        ]
        manifest = build_manifest(
            service=self._options.service.name,
            api_version=self._options.service.version,
            base_url=origin["base_url"],
            parameters=self._parameters(),
            started_at=store.fact("started_at") or now(),
            finished_at=now(),
            endpoints=results,
            run=RunCounters(requests=0, retries=0, throttled=0, resumed=0),
        )
        manifest["replayed"] = {name: origin[name] for name in ("started_at", "finished_at", "tool", "run")}
        decide(store, place, manifest, staged_files(conversions), keep_pages=False)
        return manifest

    def _parameters(self) -> dict[str, Any]:
        options, before = self._options, self._options.origin["parameters"]
        return {
            **before,
            "endpoints": [endpoint.name for endpoint in options.endpoints],
            "formats": dict(options.formats),
            "flatten": options.flatten,
            "drop_columns": [*before["drop_columns"], *options.drop_columns],
            "pseudonymise": [*before["pseudonymise"], *options.pseudonymised],
            "pseudonym_key": options.redaction.key_id or before["pseudonym_key"],
            "schema": options.schema,
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "replay_of": [self._options.origin[name] for name in ("base_url", "started_at", "finished_at")],
            "service": self._options.service.name,
            "api_version": self._options.service.version,
            **self._parameters(),
            "schema": resumable(self._options.schema),
        }
