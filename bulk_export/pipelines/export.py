"""An export from end to end.

    open_workspace      lock the output, open the journal
    open_session        service address, rate limiter, HTTP client
    FetchAndConvert     Dispatcher -> JournalReceiver.receive -> journal -> EndpointConversion.run -> part files
    Workspace.decide    the manifest is in the journal: from here on it is published, whatever happens
    Workspace.publish   parts and manifest move to where they belong, and the working state is removed

Interrupted between any two steps, the next run with the same options goes on from there.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread

from bulk_export.core.kernel_library import check_decoder
from bulk_export.core.model import Endpoint
from bulk_export.core.process import require_descriptors
from bulk_export.core.text import counted
from bulk_export.errors import BulkExportError, ServiceFailing, UsageError
from bulk_export.extract.journal import GroupCommit, JournalStore
from bulk_export.output.file_names import named_by_user
from bulk_export.output.formats import CsvStyle
from bulk_export.output.run_arguments import write_arguments
from bulk_export.pipelines.conversion import ConversionSettings, EndpointConversion, restore_sweep
from bulk_export.pipelines.fetch_and_convert import FetchAndConvert
from bulk_export.pipelines.journal_receiver import JournalReceiver, StoredCounters
from bulk_export.pipelines.lineage import export_inputs, export_outputs, recorded
from bulk_export.pipelines.metrics import check_metrics, export_samples, measured
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.output_location import shown_place
from bulk_export.pipelines.page_size_trials import answers_at_once, begin_smaller, page_sizes
from bulk_export.pipelines.results import export_identity, export_manifest, not_exported_text, summarise
from bulk_export.pipelines.session import Session, open_session
from bulk_export.pipelines.timeline_recorder import TimelineRecorder, stored_timeline
from bulk_export.pipelines.tracing import traced
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.pipelines.work_left import WorkMeter, WorkSettings
from bulk_export.pipelines.workspace import Workspace, WorkspaceRequest, interrupted, open_workspace
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.transform.decode import page_rewriter

logger = logging.getLogger(__name__)

# Seconds that an export takes longer than it need, from which on it is worth a remark.
_LONG = 10.0

# Seconds until finished parts are looked for again.
_LONGEST_REST = 1.0


async def export(
    options: ExportOptions,
    observer: Observer | None = None,
    *,
    stop: anyio.Event | None = None,
    tuning: Tuning | None = None,
    open_journal: Callable[[JournalStore], GroupCommit] = GroupCommit,
) -> ExportSummary:
    """Export what `options` describe, or go on with an interrupted export of the same options.

    Args:
        options: What to export, from where and to where.
        observer: Receives the events of the run.
        stop: Set it to end the export early. Responses in flight get a second to arrive, and are kept.
        tuning: Timeouts, backoff and sizes that users need not know.
        open_journal: Makes the writer of the journal; benchmarks measure with one that stores nothing.

    Returns:
        The numbers of the finished export.

    Raises:
        Interrupted: `stop` was set. The same options go on from there, as after any other error.
        BulkExportError: Any other exception of `bulk_export.errors`.
    """
    require_descriptors(options.workers * len(options.sources))
    job = f"export.{options.service.name}"
    place = shown_place(named_by_user(options.output), options.remote)
    done = f"The export in {place} is finished."
    await check_metrics(options.metrics, options.output)
    async with (
        traced("export", observer or Observer(), enabled=options.otel) as watching,
        recorded(options.lineage, job, export_inputs(options), watching.not_delivered) as record,
        measured(options.metrics, "export", result=done, warned=watching.warned) as measure,
    ):
        summary = await _Export(options, watching, stop or anyio.Event(), tuning or Tuning(), open_journal).run()
        measure(export_samples(summary))
        record(export_outputs(options, summary) if options.lineage is not None else ())
    return summary


class _Export:
    def __init__(
        self,
        options: ExportOptions,
        observer: Observer,
        stop: anyio.Event,
        tuning: Tuning,
        open_journal: Callable[[JournalStore], GroupCommit],
    ) -> None:
        self._options = options
        self._observer = observer
        self._stop = stop
        self._tuning = tuning
        self._open_journal = open_journal
        # How often the service turned out to be away when large pages of a list failed.
        self._times_away: Counter[str] = Counter()
        has_large_pages = options.consistent or options.tries_page_sizes
        self._body_cap = body_cap(options.service.largest_page_size if has_large_pages else options.page_size)

    async def run(self) -> ExportSummary:
        options, observer = self._options, self._observer
        check_decoder(observer.warned)
        began = time.monotonic()
        async with open_workspace(self._workspace_request(), observer.warned) as workspace:
            try:
                manifest = await self._finish(workspace)
            except BulkExportError as error:
                await self._say_how_to_go_on(error, workspace)
                raise
        if options.left_out:
            observer.warned(not_exported_text(options.left_out))
        summary = summarise(manifest, shown_place(options.output, options.remote), time.monotonic() - began)
        # An export that was quick needs no advice, whatever the limits might have been, and no simulation for it.
        if summary.seconds >= _LONG:
            from bulk_export.pipelines.page_size_advice import page_size_advice

            advice = page_size_advice(options, {endpoint.name: endpoint.records for endpoint in summary.endpoints})
            if advice is not None and summary.seconds >= advice.larger.seconds + _LONG:
                summary = replace(summary, advice=str(advice))
        observer.finished(summary)
        return summary

    async def _finish(self, workspace: Workspace) -> dict[str, Any]:
        options, observer = self._options, self._observer
        if options.arguments is not None and self._is_named_by_user:
            await anyio.to_thread.run_sync(write_arguments, options.output, options.arguments)
        manifest = workspace.decided_manifest()
        if manifest is None:
            conversions = await self._fetch_and_convert(workspace)
            manifest = await anyio.to_thread.run_sync(self._decide, workspace, conversions)
        await workspace.publish(observer, rewrite=page_rewriter(options.redaction, options.endpoints))
        if options.with_report:
            from bulk_export.pipelines.report import renewed_report  # other exports do without what it imports

            for remark in await anyio.to_thread.run_sync(renewed_report, options.output):
                observer.warned(remark)
        return manifest

    @property
    def _is_named_by_user(self) -> bool:
        return named_by_user(self._options.output) == self._options.output

    async def _say_how_to_go_on(self, error: BulkExportError, workspace: Workspace) -> None:
        """Complete an error that ends a run which had begun."""
        error.can_resume = error.may_pass and self._options.arguments is not None
        if error.kept or isinstance(error, UsageError):
            return
        with anyio.CancelScope(shield=True):
            if await anyio.to_thread.run_sync(workspace.holds_pages):
                error.kept = "Every page stored so far is kept."
            elif self._is_named_by_user:  # a poll of `sync` has pages elsewhere
                error.kept = "No page was stored yet."

    def _workspace_request(self) -> WorkspaceRequest:
        options = self._options
        return WorkspaceRequest(
            output=options.output,
            work_dir=options.work_dir,
            endpoints=[endpoint.name for endpoint in options.endpoints],
            overwrite=options.overwrite,
            keep_pages=options.keep_pages,
            identity=export_identity(options),
            body_cap=self._body_cap,
            remote=options.remote,
            compression=options.journal_compression,
        )

    async def _fetch_and_convert(self, workspace: Workspace) -> list[EndpointConversion]:
        store = workspace.store
        try:
            before = StoredCounters.read(store)
            is_resumed = workspace.is_resumed
            if is_resumed:
                before = before.count_resumption(store)
            large_page = None
            while True:
                try:
                    return await self._run_session(workspace, before, large_page, is_resumed=is_resumed)
                except ServiceFailing as error:
                    if error.large_page is None:
                        raise
                    large_page = error.large_page
                before, is_resumed = StoredCounters.read(store), True
        finally:
            self._observer.closed()

    async def _run_session(
        self, workspace: Workspace, before: StoredCounters, large_page: tuple[str, int] | None, *, is_resumed: bool
    ) -> list[EndpointConversion]:
        options, observer, store = self._options, self._observer, workspace.store
        async with (
            open_session(options, observer, self._tuning, body_cap=self._body_cap) as session,
            self._open_journal(store) as journal,
        ):
            recorder = TimelineRecorder(
                stored_timeline(store), lambda: self._tuning.clock().timestamp(), session.limiter.windows
            )
            receiver = JournalReceiver(
                journal, session, before, keeps_records="ndjson" in options.formats, recorder=recorder
            )
            try:
                if large_page is not None:
                    await self._shrink(session, store, receiver, large_page)
                sizes = await page_sizes(session, store, receiver, self._stop) if options.tries_page_sizes else {}
                if self._stop.is_set():
                    # Pages of a list whose size is not known yet must not be stored.
                    raise interrupted(options.output)
                conversions = await anyio.to_thread.run_sync(self._open_conversions, session, workspace, sizes)
                sweeps = [conversion.sweep for conversion in conversions]
                dispatcher = session.dispatcher(sweeps, receiver)
                meter = WorkMeter(conversions, dispatcher, session.limiter, self._work_settings())
                self._report_start(session, conversions, is_resumed=is_resumed)
                observer.running(meter.state)
                beside = functools.partial(_upload_while_fetching, workspace, conversions, session)
                both = FetchAndConvert(
                    session, dispatcher, conversions, journal, self._stop, beside=beside, meter=meter
                )
                await both.run()
            finally:
                receiver.note_end()
            for sweep in sweeps:
                session.conclude(sweep)
        return conversions

    async def _shrink(
        self, session: Session, store: JournalStore, receiver: JournalReceiver, large_page: tuple[str, int]
    ) -> None:
        """Begin a list again with smaller pages, unless its large ones failed because the service was away."""
        name, size = large_page
        endpoint = next(each for each in self._options.endpoints if each.name == name)
        # A service that goes away again and again may do so because of the large pages.
        is_spared = self._times_away[name] < self._options.retries
        if is_spared and not await answers_at_once(session, endpoint, receiver, self._stop):
            self._times_away[name] += 1
            return
        smaller = await anyio.to_thread.run_sync(begin_smaller, store, name, size)
        self._observer.warned(
            f"{name}: pages of {counted(size, 'record')} keep failing, so it is begun again with pages of {smaller:,}."
        )

    def _work_settings(self) -> WorkSettings:
        options = self._options
        return WorkSettings(
            workers=options.workers,
            min_interval=options.min_interval,
            consistent=options.consistent,
            asks_twice=options.asks_twice,
            window=options.window,
            clock=self._tuning.clock,
        )

    def _open_conversions(
        self, session: Session, workspace: Workspace, sizes: Mapping[str, int]
    ) -> list[EndpointConversion]:
        options = self._options
        settings = ConversionSettings(
            formats=options.formats,
            flatten=options.flatten,
            schema_mode=options.schema,
            redaction=options.redaction,
            page_size=options.page_size,
            part_rows=self._tuning.part_rows,
            consistent=options.consistent,
            drop_gone=options.gone == "drop",
            asks_twice=options.asks_twice,
            csv_style=CsvStyle(bom=options.csv_bom, safe=options.csv_safe),
            cores=self._tuning.cores,
            tries_page_sizes=options.tries_page_sizes,
        )
        return [
            self._open_conversion(session, workspace, settings, endpoint, sizes.get(endpoint.name))
            for endpoint in options.endpoints
        ]

    def _open_conversion(
        self,
        session: Session,
        workspace: Workspace,
        settings: ConversionSettings,
        endpoint: Endpoint,
        page_size: int | None,
    ) -> EndpointConversion:
        options = self._options
        # Two polls ask for the same changes, so the second one finds what an empty response hid.
        is_poll = options.consistent and options.updated_since is not None and endpoint.since is not None
        sweep = session.first_sweep(endpoint, empty_is_enough=is_poll, page_size=page_size)
        restore_sweep(sweep, workspace.store, self._tuning.cores)
        return EndpointConversion(sweep, settings, workspace.store, workspace.directory.staging)

    def _report_start(self, session: Session, conversions: Sequence[EndpointConversion], *, is_resumed: bool) -> None:
        observer = self._observer
        names = [conversion.sweep.endpoint.name for conversion in conversions]
        place = shown_place(named_by_user(self._options.output), self._options.remote)
        observer.started(names, place, session.limiter.windows)
        if is_resumed:
            pages = sum(conversion.sweep.plan.pages for conversion in conversions)
            logger.info("%d pages of an earlier run are in the journal", pages)
            observer.resumed(pages)
            for sweep in (conversion.sweep for conversion in conversions):
                observer.resumed_endpoint(sweep.endpoint.name, sweep.plan.pages, sweep.plan.records, sweep.plan.end)

    def _decide(self, workspace: Workspace, conversions: Sequence[EndpointConversion]) -> dict[str, Any]:
        return workspace.decide(export_manifest(self._options, workspace.store, conversions), conversions)


async def _upload_while_fetching(
    workspace: Workspace, conversions: Sequence[EndpointConversion], session: Session
) -> None:
    """Upload each part soon after it is finished, until the caller cancels this; the rest follows at the end."""
    while workspace.remote is not None:
        await anyio.to_thread.run_sync(workspace.upload, conversions)
        # Pages may be minutes apart, while parts are finished from those before.
        with anyio.move_on_after(_LONGEST_REST):
            await session.changed.wait()
