"""The workspace of an export or a replay: its locked output, and the journal with the state of an earlier run.

The steps are the same for both. Lock the output and open its journal; start, or go on if the journal is of the same
run; make the parts unless the manifest is decided; publish what was decided. A run that is interrupted at any step
goes on there.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from bulk_export.errors import BulkExportError, DirectoryInUse, Interrupted, UsageError
from bulk_export.extract.journal import Compression, JournalStore
from bulk_export.extract.journal.fact_names import OBJECT_STORE
from bulk_export.output.directory import already_finished, check_replaceable, in_use
from bulk_export.output.publish import decide, decided, publish
from bulk_export.output.work_directory import WorkDirectory, left_in_place_text, open_work_directory
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.pipelines.output_location import RemoteOutput
from bulk_export.pipelines.results import staged_files
from bulk_export.progress.observer import Observer

if TYPE_CHECKING:
    from bulk_export.output.object_store.remote_export import RemoteExport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """The workspace that a run needs.

    `endpoints` are the names of those that it writes, `identity` is what tells it from other runs with the same output,
    and `body_cap` bounds the bodies of pages in the journal, in bytes. `compression` is for those of them that came
    uncompressed. `remote` is an address in an object store that gets the export, too, or that alone gets it.
    """

    output: Path
    work_dir: Path | None
    endpoints: Sequence[str]
    overwrite: bool
    keep_pages: bool
    identity: Mapping[str, Any]
    body_cap: int
    remote: RemoteOutput | None = None
    compression: Compression = "lz4"

    @property
    def place(self) -> str:
        """Where the export will be, for messages."""
        return str(self.output if self.remote is None or self.remote.keeps_local else self.remote.url)


@dataclass(frozen=True, slots=True)
class Workspace:
    """The locked output, and the open journal `store`; `is_resumed` if an earlier run left something in it."""

    request: WorkspaceRequest
    directory: WorkDirectory
    store: JournalStore
    is_resumed: bool
    remote: RemoteExport | None = None

    def decided_manifest(self) -> dict[str, Any] | None:
        """Return the manifest that an earlier run decided on, or None if the parts are still to be made.

        Raises:
            UsageError: The output holds a finished export that is not to be replaced.
            DamagedState: What is in the output may not be replaced.
        """
        manifest = decided(self.store)
        if manifest is None:
            request, finished = self.request, self.directory.finished
            if finished and not request.overwrite:
                raise already_finished(request.output)
            check_replaceable(request.output, request.endpoints, finished=finished, keep_pages=request.keep_pages)
        return manifest

    def decide(self, manifest: dict[str, Any], conversions: Sequence[EndpointConversion]) -> dict[str, Any]:
        """Decide to publish the parts of finished `conversions` with this manifest. Blocking. Returns the manifest."""
        files = staged_files(conversions)
        decide(self.store, self.directory, manifest, files, keep_pages=self.request.keep_pages)
        return manifest

    def upload(self, conversions: Sequence[EndpointConversion]) -> None:
        """Upload the finished parts of conversions that go to an object store. Blocking."""
        if self.remote is None:
            return
        for conversion in conversions:
            parts = conversion.parts
            for file in [file for part in list(parts.parts) for file in part.files]:
                try:
                    self.remote.upload(file.path, file.sha256, parts.folder / Path(file.path).name)
                except FileNotFoundError:
                    # 1. The endpoint is converted a second time, so these parts are gone, and nobody needs them.
                    # 2. The part is lost, which publishing reports.
                    break

    async def publish(self, observer: Observer, *, rewrite: Callable[[str, bytes], bytes] | None = None) -> None:
        """Carry out the decision and remove the working state. `rewrite` redacts the bodies of pages that are kept."""
        request = self.request
        if self.remote is not None:
            manifest = decided(self.store) or {}
            carry_out_there = functools.partial(self.remote.publish, manifest, rewrite=rewrite)
            for warning in await anyio.to_thread.run_sync(carry_out_there):
                observer.warned(warning)
        if request.remote is None or request.remote.keeps_local:
            carry_out: Callable[[], list[Path]] = functools.partial(
                publish, self.store, self.directory, rewrite=rewrite
            )
        else:
            carry_out = self._remove_working_state
        for path in await anyio.to_thread.run_sync(carry_out):
            observer.warned(left_in_place_text(path))
        logger.info("Published the export in %s", request.place)

    def holds_pages(self) -> bool:
        """Whether any page is stored. Blocking. True as well if the journal cannot say so any more."""
        try:
            return self.store.has_pages()
        except BulkExportError:
            # 1. It was closed to publish what was made of its pages. 2. The disk fails.
            return True

    def _remove_working_state(self) -> list[Path]:
        self.store.close()
        return self.directory.clear_all()


@asynccontextmanager
async def open_workspace(
    request: WorkspaceRequest, warn: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Workspace]:
    """Lock the output, and open or create its journal for this run.

    Args:
        request: What the run needs.
        warn: Is called with warnings about an object store.

    Raises:
        UsageError: The output cannot be used, or its journal belongs to another run.
        DirectoryInUse: Another process works there.
        DamagedState: The working state cannot be trusted.
        LocalFailure: The disk failed.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(_opened_directory(request))
        store = await anyio.to_thread.run_sync(
            functools.partial(directory.open_journal, cap=request.body_cap, compression=request.compression)
        )
        stack.callback(store.close)
        is_resumed = await anyio.to_thread.run_sync(
            functools.partial(store.bind, request.identity, output=request.output)
        )
        remote = await anyio.to_thread.run_sync(
            functools.partial(_open_remote, request, directory, store, is_resumed=is_resumed, warn=warn)
        )
        logger.info("%s in %s", "Resuming" if is_resumed else "Starting", request.place)
        yield Workspace(request, directory, store, is_resumed, remote)


@contextmanager
def _opened_directory(request: WorkspaceRequest) -> Iterator[WorkDirectory]:
    """Open the output, which users know by its address if it is in an object store."""
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(
                open_work_directory(
                    request.output,
                    request.work_dir,
                    request.endpoints,
                    overwrite=request.overwrite,
                    keep_pages=request.keep_pages,
                )
            )
        except DirectoryInUse:
            raise in_use(request.output, request.place) from None
        yield directory


def _open_remote(
    request: WorkspaceRequest,
    directory: WorkDirectory,
    journal: JournalStore,
    *,
    is_resumed: bool,
    warn: Callable[[str], None],
) -> RemoteExport | None:
    """Claim a place in the object store, if one is wanted. If there is none, what was begun here is removed."""
    remote = request.remote
    if remote is None and journal.fact(OBJECT_STORE) is None:
        return None
    # An export to a directory does not wait for what these import.
    from bulk_export.output.object_store.remote_export import RemoteExport
    from bulk_export.output.object_store.remote_run import begin_remote_run, stored_run
    from bulk_export.output.object_store.store import ObjectStore

    if remote is None:
        if (run := stored_run(journal)) is not None:
            raise UsageError(
                f"The unfinished export in {request.output} goes to {run.url}, too.",
                kept="Nothing was changed.",
                next_step=f"Add --publish {run.url} to go on with it.",
            )
        return None
    try:
        store = ObjectStore(
            remote.url, remote.store_options, kept=f"What was stored so far is kept in {request.output}."
        )
        start = begin_remote_run(store, journal, request.endpoints, overwrite=request.overwrite)
    except BulkExportError as error:
        if not is_resumed:
            error.kept = ""
        if not is_resumed and not remote.keeps_local and stored_run(journal) is None:
            journal.close()
            directory.clear_all()
        raise
    for warning in start.warnings:
        warn(warning)
    return RemoteExport(store, journal, start.run, directory, keeps_local=remote.keeps_local)


def interrupted(output: Path, *, kept: str = "page that had arrived") -> Interrupted:
    """Return the error for a run that was asked to stop, where every `kept` is safe in `output`."""
    return Interrupted(
        "Interrupted.",
        kept=f"Every {kept} is kept in {output}.",
        next_step="The same command with this --output goes on from here.",
    )
