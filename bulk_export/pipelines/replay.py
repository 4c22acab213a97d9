"""Another output from the pages that an export kept, without a request."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.to_thread

from bulk_export.core.kernel_library import check_decoder
from bulk_export.core.model import Endpoint
from bulk_export.core.version import __version__
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import JournalStore, open_archive
from bulk_export.extract.journal.fact_names import corrections_name
from bulk_export.extract.sweep import Sweep
from bulk_export.output.formats import CsvStyle
from bulk_export.output.manifest import RunCounters
from bulk_export.pipelines.conversion import (
    ConversionSettings,
    EndpointConversion,
    parse_corrections,
    restore_sweep,
)
from bulk_export.pipelines.journal_receiver import StoredCounters, mark_started
from bulk_export.pipelines.output_location import shown_place
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.results import (
    CSV_PARAMETERS,
    RunFacts,
    csv_parameters,
    manifest_of,
    resumable_schema,
    summarise,
)
from bulk_export.pipelines.tuning import Tuning, body_cap
from bulk_export.pipelines.workspace import (
    Workspace,
    WorkspaceRequest,
    interrupted,
    open_workspace,
)
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.services.catalogue import described_order
from bulk_export.transform.dedup.resolution import is_outdated


async def replay(
    options: ReplayOptions,
    observer: Observer | None = None,
    *,
    stop: anyio.Event | None = None,
    tuning: Tuning | None = None,
) -> ExportSummary:
    """Convert kept pages as `options` describe, or continue an interrupted replay with the same options.

    Args:
        options: The archive, and the output to make.
        observer: Receives the events of the run.
        stop: Set it to end the replay early; finished parts are kept.
        tuning: Sizes that users need not know.

    Returns:
        The numbers of the finished output.

    Raises:
        Interrupted: `stop` was set. The same options go on from there, as after any other error.
        BulkExportError: Any other exception of `bulk_export.errors`.
    """
    return await _Replay(options, observer or Observer(), stop or anyio.Event(), tuning or Tuning()).run()


class _Replay:
    def __init__(self, options: ReplayOptions, observer: Observer, stop: anyio.Event, tuning: Tuning) -> None:
        self._options = options
        self._tuning = tuning
        self._observer = observer
        self._stop = stop
        self._body_cap = body_cap(options.service.largest_page_size)
        self._place = shown_place(options.output, options.remote)
        self._page_size = int(options.origin["parameters"]["page_size"])

    async def run(self) -> ExportSummary:
        check_decoder(self._observer.warned)
        began = time.monotonic()
        async with open_workspace(self._workspace_request(), self._observer.warned) as workspace:
            try:
                manifest = await self._finish(workspace)
            except LocalFailure as error:
                error.kept = error.kept or f"Every finished part is kept in {self._options.output}."
                raise
        summary = summarise(manifest, self._place, time.monotonic() - began)
        self._observer.finished(summary)
        return summary

    async def _finish(self, workspace: Workspace) -> dict[str, Any]:
        manifest = workspace.decided_manifest()
        if manifest is None:
            archive = await anyio.to_thread.run_sync(
                functools.partial(open_archive, self._options.archive, cap=self._body_cap)
            )
            try:
                conversions = await self._convert_all(workspace, archive)
                manifest = await anyio.to_thread.run_sync(self._decide, workspace, archive, conversions)
            finally:
                archive.close()
        await workspace.publish(self._observer)
        return manifest

    def _workspace_request(self) -> WorkspaceRequest:
        options = self._options
        return WorkspaceRequest(
            output=options.output,
            work_dir=options.work_dir,
            endpoints=[endpoint.name for endpoint in options.endpoints],
            overwrite=options.overwrite,
            keep_pages=False,
            identity=self._identity(),
            body_cap=self._body_cap,
            remote=options.remote,
        )

    async def _convert_all(self, workspace: Workspace, archive: JournalStore) -> list[EndpointConversion]:
        options, observer = self._options, self._observer
        mark_started(workspace.store)
        observer.started([endpoint.name for endpoint in options.endpoints], self._place, list)
        conversions = []
        try:
            for endpoint in options.endpoints:
                conversion = await anyio.to_thread.run_sync(self._open_conversion, endpoint, workspace, archive)
                conversions.append(conversion)
                await self._convert(conversion, workspace)
        finally:
            observer.closed()
        return conversions

    async def _convert(self, conversion: EndpointConversion, workspace: Workspace) -> None:
        name, plan = conversion.sweep.endpoint.name, conversion.sweep.plan
        self._observer.resumed_endpoint(name, plan.pages, plan.records, plan.end)
        try:
            while not conversion.finished:
                if self._stop.is_set():
                    raise interrupted(self._options.output, kept="finished part")
                step = conversion.next_step()
                if step is None:
                    raise DamagedState(
                        f"{self._options.archive} does not hold all pages of {name}.",
                        kept="Nothing was deleted.",
                        next_step="Export again: an incomplete archive cannot be used.",
                    )
                self._observer.records_written(name, await anyio.to_thread.run_sync(conversion.run, step))
                await anyio.to_thread.run_sync(workspace.upload, [conversion])
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(conversion.abort)

    def _open_conversion(self, endpoint: Endpoint, workspace: Workspace, archive: JournalStore) -> EndpointConversion:
        options = self._options
        sweep = Sweep(endpoint, number=0, page_size=self._page_size, stride=1, filters=())
        restore_sweep(sweep, archive, self._tuning.cores)
        # The export was finished, so no page is in doubt any more.
        sweep.plan.conclude()
        _copy_corrections(endpoint, archive, workspace.store)
        settings = ConversionSettings(
            formats=options.formats,
            flatten=options.flatten,
            schema_mode=options.schema,
            redaction=options.redaction,
            page_size=self._page_size,
            csv_style=CsvStyle(bom=options.csv_bom, safe=options.csv_safe),
            part_rows=self._tuning.part_rows,
            cores=self._tuning.cores,
        )
        return EndpointConversion(sweep, settings, workspace.store, workspace.directory.staging, archive)

    def _decide(
        self, workspace: Workspace, archive: JournalStore, conversions: Sequence[EndpointConversion]
    ) -> dict[str, Any]:
        origin = self._options.origin
        facts = RunFacts(
            service=self._options.service,
            base_url=origin["base_url"],
            parameters=self._parameters(),
            started_at=StoredCounters.read(workspace.store).started_at,
            counters=RunCounters(requests=0, retries=0, throttled=0, resumed=0),
            consistent=bool(origin["parameters"]["consistent"]),
            requests={},
        )
        manifest = manifest_of(facts, conversions, archive)
        manifest["replayed"] = {name: origin[name] for name in ("started_at", "finished_at", "tool", "run")}
        return workspace.decide(manifest, conversions)

    def _parameters(self) -> dict[str, Any]:
        options, before = self._options, self._options.origin["parameters"]
        return {
            **{name: value for name, value in before.items() if name not in CSV_PARAMETERS},
            "endpoints": [endpoint.name for endpoint in described_order(options.service, options.endpoints)],
            "formats": dict(options.formats),
            "flatten": options.flatten,
            "drop_columns": [*before["drop_columns"], *options.drop_columns],
            "pseudonymise": [*before["pseudonymise"], *options.pseudonymised],
            "pseudonym_key": options.redaction.key_id or before["pseudonym_key"],
            "schema": options.schema,
            **csv_parameters(options.formats, bom=options.csv_bom, safe=options.csv_safe),
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "version": __version__,
            "replay_of": [self._options.origin[name] for name in ("base_url", "started_at", "finished_at")],
            "service": self._options.service.name,
            "api_version": self._options.service.version,
            **self._parameters(),
            "schema": resumable_schema(self._options.schema),
        }


def _copy_corrections(endpoint: Endpoint, archive: JournalStore, store: JournalStore) -> None:
    """Take over the corrections that the export decided on, unless this version makes better ones from the pages."""
    name = corrections_name(endpoint.name)
    text = archive.fact(name)
    if text is not None and parse_corrections(archive, endpoint) is not None and not is_outdated(text):
        store.put_fact(name, text)
