"""Makes another output from the pages that an export kept, without one request."""

from __future__ import annotations

import functools
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from bulk_export.core.clock import now
from bulk_export.core.directories import kind_of
from bulk_export.core.model import LAX, SCHEMA_MODES, STRICT, Endpoint, Service
from bulk_export.core.units import parse_word
from bulk_export.core.version import __version__
from bulk_export.errors import DamagedState, Interrupted, UsageError
from bulk_export.extract.journal import ORIGIN, JournalStore, open_archive
from bulk_export.extract.order_check import count_backward_pages
from bulk_export.extract.paging_facts import parse_sweep_state, sweep_state_name
from bulk_export.extract.sweep import Sweep
from bulk_export.output.directory import already_finished, check_replaceable
from bulk_export.output.file_names import ARCHIVE
from bulk_export.output.manifest import RunCounters, build_manifest, check_manifest
from bulk_export.output.parts import OutputFormat
from bulk_export.output.publish import decide, decided, publish
from bulk_export.output.work_directory import WorkDirectory, left_in_place_text, open_work_directory
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.pipelines.options import content_names, directory_of, formats_of, output_of, redaction_of
from bulk_export.pipelines.results import endpoint_result, staged_files, summarise
from bulk_export.pipelines.tuning import body_cap
from bulk_export.progress.observer import ExportSummary, Observer
from bulk_export.services.catalogue import built_in_services, choose_endpoints, load_service
from bulk_export.transform.decode import Decoder, Lines
from bulk_export.transform.dedup.resolution import Corrections, is_outdated
from bulk_export.transform.inference import resumable_mode
from bulk_export.transform.redaction import Redaction

# More than any page of any service holds.
_MOST_RECORDS = 10_000_000


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """A resolved request for another output. `origin` is the manifest of the export that kept the pages."""

    archive: Path
    origin: Mapping[str, Any]
    service: Service
    endpoints: tuple[Endpoint, ...]
    output: Path
    formats: Mapping[str, str]
    flatten: bool
    schema: str
    redaction: Redaction
    drop_columns: tuple[str, ...]
    pseudonymised: tuple[str, ...]
    overwrite: bool
    work_dir: Path | None = None

    @classmethod
    def of(
        cls,
        archive: str | os.PathLike[str],
        endpoints: str | Sequence[str] = (),
        *,
        service: str | Service | None = None,
        api_version: str | None = None,
        output: str | os.PathLike[str] | None = None,
        format: str | Sequence[str] = "parquet",  # noqa: A002  # the name of the option
        compression: str | None = None,
        flatten: bool = False,
        schema: str = LAX,
        overwrite: bool = False,
        drop_column: str | Sequence[str] = (),
        pseudonymise: str | Sequence[str] = (),
        pseudonym_key_file: str | os.PathLike[str] | None = None,
        work_dir: str | os.PathLike[str] | None = None,
    ) -> ReplayOptions:
        """Check the options of the command line, under the same names. Raises UsageError and DamagedState.

        `archive` is a file of kept pages, or the directory of the export that kept them. Without a `service`, the one
        that the pages came from. What was dropped or pseudonymised when they were kept stays so.
        """
        pages = _pages_of(Path(archive))
        origin = _origin(pages)
        if service is None:
            api_version = api_version or origin["api_version"]
            if origin["service"] not in built_in_services():
                raise UsageError(
                    f"{archive} holds pages of a service whose description is not built in.",
                    next_step="Name its description with --service FILE.",
                )
        described = service if isinstance(service, Service) else load_service(service or origin["service"], api_version)
        kept = [endpoint.name for endpoint in described.endpoints if endpoint.name in origin["endpoints"]]
        chosen = choose_endpoints(described, ([endpoints] if isinstance(endpoints, str) else endpoints) or kept)
        missing = [endpoint.name for endpoint in chosen if endpoint.name not in origin["endpoints"]]
        if missing or not chosen:
            raise DamagedState(
                f"{archive} holds no pages of {', '.join(missing) or 'this service'}.",
                next_step=f"It holds: {', '.join(origin['endpoints'])}.",
            )
        dropped, replaced = origin["parameters"]["drop_columns"], origin["parameters"]["pseudonymise"]
        drop = tuple(name for name in content_names(drop_column) if name not in dropped)
        pseudonymised = content_names(pseudonymise)
        if again := sorted({*pseudonymised} & {*replaced}):
            raise UsageError(
                f"The archive holds pseudonyms in place of {', '.join(again)} already.",
                next_step="Leave these out of --pseudonymise.",
            )
        directory = output_of(output, described)
        if directory.resolve() == pages.parent.resolve():
            raise UsageError(
                f"The kept pages are in {directory} themselves, and would go with what is replaced there.",
                next_step="Choose another --output.",
            )
        redaction = redaction_of(drop, pseudonymised, pseudonym_key_file, chosen)
        before = Redaction.already_applied(dropped, replaced)
        return cls(
            archive=pages,
            origin=origin,
            service=described,
            endpoints=tuple(before.redacted(endpoint) for endpoint in chosen),
            output=directory,
            formats=formats_of(format, compression, flatten=flatten),
            flatten=flatten,
            schema=parse_word("--schema", schema, SCHEMA_MODES),
            redaction=redaction,
            drop_columns=drop,
            pseudonymised=pseudonymised,
            overwrite=overwrite,
            work_dir=None if work_dir is None else directory_of(work_dir, "--work-dir"),
        )


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
                open_work_directory(
                    options.output, options.work_dir, names, overwrite=options.overwrite, keep_pages=False
                )
            )
            store = await anyio.to_thread.run_sync(functools.partial(place.open_journal, cap=cap))
            stack.callback(store.close)
            store.bind(self._identity(), output=options.output)
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
            self._observer.warned(left_in_place_text(path))
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
        state = pages.parsed_fact(sweep_state_name(endpoint.name, 0), parse_sweep_state)
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
                backwards=count_backward_pages(pages.edges(conversion.sweep.endpoint.name, 0)),
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
            "schema": resumable_mode(self._options.schema),
        }


def _pages_of(archive: Path) -> Path:
    """The file of kept pages: one that was named, or the one in a directory, which must not lead elsewhere."""
    is_export = archive.is_dir()
    pages = archive / ARCHIVE if is_export else archive
    try:
        found = pages.stat(follow_symlinks=not is_export)
    except OSError:
        raise UsageError(
            f"{archive} holds no kept pages." if is_export else f"{archive} is not there.",
            next_step=f"Name an export that was made with --keep-pages, or its {ARCHIVE}.",
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{pages} is {kind_of(found)}.", next_step="Name a file of kept pages.")
    return pages


def _origin(archive: Path) -> dict[str, Any]:
    pages = open_archive(archive, cap=1)
    try:
        return pages.parsed_fact(ORIGIN, _checked_origin) or {}
    finally:
        pages.close()


def _checked_origin(text: str) -> dict[str, Any]:
    """The manifest that came with kept pages, if what a replay takes from it has the right shape."""
    origin = json.loads(text)
    check_manifest(origin)
    parameters = origin["parameters"]
    texts = [origin[name] for name in ("service", "api_version", "base_url", "started_at", "finished_at")]
    names = [*parameters["drop_columns"], *parameters["pseudonymise"]]
    key = parameters["pseudonym_key"]
    if not all(isinstance(one, str) for one in (*texts, *names, *([] if key is None else [key]))):
        raise TypeError("no texts")
    if type(parameters["page_size"]) is not int or not 1 <= parameters["page_size"] <= _MOST_RECORDS:
        raise ValueError("no size of a page")
    if not isinstance(parameters["consistent"], bool):
        raise TypeError("neither consistent nor not")
    return dict(origin)
