"""The workspace of an export or a replay: its locked output, and the journal with the state of an earlier run.

The steps are the same for both. Lock the output and open its journal; start, or go on if the journal is of the same
run; make the parts unless the manifest is decided; publish what was decided. A run that is interrupted at any step
goes on there.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread

from bulk_export.errors import Interrupted
from bulk_export.extract.journal import JournalStore
from bulk_export.output.directory import already_finished, check_replaceable
from bulk_export.output.publish import decide, decided, publish
from bulk_export.output.work_directory import WorkDirectory, left_in_place_text, open_work_directory
from bulk_export.pipelines.conversion import EndpointConversion
from bulk_export.pipelines.results import staged_files
from bulk_export.progress.observer import Observer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkspaceRequest:
    """The workspace that a run needs.

    `endpoints` are the names of those that it writes, `identity` is what tells it from other runs with the same output,
    and `body_cap` bounds the bodies of pages in the journal, in bytes.
    """

    output: Path
    work_dir: Path | None
    endpoints: Sequence[str]
    overwrite: bool
    keep_pages: bool
    identity: Mapping[str, Any]
    body_cap: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """The locked output, and the open journal `store`; `is_resumed` if an earlier run left something in it."""

    request: WorkspaceRequest
    directory: WorkDirectory
    store: JournalStore
    is_resumed: bool

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

    async def publish(self, observer: Observer, *, rewrite: Callable[[str, bytes], bytes] | None = None) -> None:
        """Carry out the decision and remove the working state. `rewrite` redacts the bodies of pages that are kept."""
        carry_out = functools.partial(publish, self.store, self.directory, rewrite=rewrite)
        for path in await anyio.to_thread.run_sync(carry_out):
            observer.warned(left_in_place_text(path))
        logger.info("Published the export in %s", self.request.output)


@asynccontextmanager
async def open_workspace(request: WorkspaceRequest) -> AsyncIterator[Workspace]:
    """Lock the output, and open or create its journal for this run.

    Raises:
        UsageError: The output cannot be used, or its journal belongs to another run.
        DirectoryInUse: Another process works there.
        DamagedState: The working state cannot be trusted.
        LocalFailure: The disk failed.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(
            open_work_directory(
                request.output,
                request.work_dir,
                request.endpoints,
                overwrite=request.overwrite,
                keep_pages=request.keep_pages,
            )
        )
        store = await anyio.to_thread.run_sync(functools.partial(directory.open_journal, cap=request.body_cap))
        stack.callback(store.close)
        is_resumed = await anyio.to_thread.run_sync(
            functools.partial(store.bind, request.identity, output=request.output)
        )
        logger.info("%s in %s", "Resuming" if is_resumed else "Starting", request.output)
        yield Workspace(request, directory, store, is_resumed)


def interrupted(output: Path, *, kept: str = "page that had arrived") -> Interrupted:
    """Return the error for a run that was asked to stop, where every `kept` is safe in `output`."""
    return Interrupted(
        "Interrupted.",
        kept=f"Every {kept} is kept in {output}.",
        next_step="The same command with this --output goes on from here.",
    )
