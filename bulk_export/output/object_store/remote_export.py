"""An export that goes to an object store while it is made: finished parts first, the manifest at the end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bulk_export.core.files import local_failures
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore
from bulk_export.output.file_names import ARCHIVE
from bulk_export.output.manifest import files_of
from bulk_export.output.object_store.remote_publish import publish_manifest, remove_superseded
from bulk_export.output.object_store.remote_run import RemoteRun
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.upload import upload_file
from bulk_export.output.publish import Rewrite, stage_archive, staged_paths
from bulk_export.output.uploaded_parts import remember_upload, uploaded_file
from bulk_export.output.work_directory import WorkDirectory

logger = logging.getLogger(__name__)


class RemoteExport:
    """Uploads the files of one run. All methods block, and are called by one thread at a time.

    Args:
        store: The store.
        journal: The journal of the run, which remembers what was uploaded.
        run: The run, with the generation that it claimed.
        work: The directories of the run.
        keeps_local: Whether parts stay on this machine, too.
    """

    def __init__(
        self, store: ObjectStore, journal: JournalStore, run: RemoteRun, work: WorkDirectory, *, keeps_local: bool
    ) -> None:
        self._store = store
        self._journal = journal
        self._run = run
        self._work = work
        self._keeps_local = keeps_local
        self._done: dict[str, str] = {}

    def upload(self, path: str, sha256: str, staged: Path) -> None:
        """Upload a finished part unless that is done, and remove it here if it is not needed any more.

        Args:
            path: Its path in the manifest.
            sha256: What its content hashes to.
            staged: Where it is now.

        Raises:
            FileNotFoundError: It is neither here nor in the store.
            BulkExportError: It could not be uploaded.
        """
        if self._done.get(path) == sha256:
            return
        uploaded = uploaded_file(self._journal, path)
        if uploaded is None or uploaded.sha256 != sha256:
            uploaded = upload_file(self._store, self._run.key(path), staged, sha256=sha256)
            remember_upload(self._journal, path, uploaded)
            logger.info("uploaded %s", path)
        if not self._keeps_local:
            with local_failures(f"Removing {staged.name}"), contextlib.suppress(FileNotFoundError):
                staged.unlink()
        self._done[path] = sha256

    def publish(self, manifest: dict[str, Any], *, rewrite: Rewrite | None = None) -> list[str]:
        """Upload what is missing, write the manifest, and remove what it replaces.

        Args:
            manifest: The manifest that was decided on.
            rewrite: Applied to each page of the archive, to redact it.

        Returns:
            Warnings about what stays in the store without need.

        Raises:
            UsageError: Another run finished first.
            DamagedState: A part is missing or was changed.
            BulkExportError: The store rejects it, or keeps failing.
        """
        self._upload_all(manifest)
        if "archive" in manifest and uploaded_file(self._journal, ARCHIVE) is None:
            stage_archive(self._journal, self._work, manifest, rewrite)
            uploaded = upload_file(self._store, self._run.key(ARCHIVE), self._work.state / ARCHIVE)
            remember_upload(self._journal, ARCHIVE, uploaded)
        publish_manifest(self._store, self._journal, self._run, manifest, str(self._work.output))
        return remove_superseded(self._store, self._journal, self._run, manifest)

    def _upload_all(self, manifest: Mapping[str, Any]) -> None:
        hashes = {path: file["sha256"] for path, file in files_of(manifest)}
        for path, staged in staged_paths(self._journal).items():
            try:
                self.upload(path, hashes[path], self._work.staging / staged)
            except FileNotFoundError:
                self._journal.drop_results()
                raise DamagedState(
                    f"A finished part, {path}, is missing.",
                    kept=f"The pages are kept in {self._work.output}.",
                    next_step="Run the same command again: it makes the parts anew, without a request.",
                ) from None
