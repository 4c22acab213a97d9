"""The last step of an export: staged parts go to their final places, then the manifest, then the working state goes.

`decide` records in the journal what will be published, before anything moves; `publish` carries it out. Each of its
steps can be repeated, so the next run completes what a kill at any point interrupted. An earlier export that is being
replaced stays complete until `publish` begins.

What is moved and removed is named by the journal and by the manifest of the earlier export. Neither is trusted with
more than an export can have written: parts in the directories of endpoints, and the archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.compat.directories import remove_directory, remove_file
from bulk_export.core.directories import entry_status, made_directory, opened_directory, sync_descriptor
from bulk_export.core.files import local_failures, move_file, sha256_within, write_within
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import ORIGIN, JournalStore, write_archive
from bulk_export.extract.journal.fact_names import DECISION, OBJECT_STORE, REPLACED, REPLACED_MANIFEST, UPLOADED
from bulk_export.output.directory import check_not_replaced, files_to_replace, in_the_way
from bulk_export.output.file_names import ARCHIVE, MANIFEST, RUN_LOG, STAGING, WORKING_DIRECTORY, is_endpoint, is_part
from bulk_export.output.manifest import check_manifest, files_of, manifest_text, read_manifest
from bulk_export.output.run_log import TIMELINE, InvalidRunLog, RunLog, Timeline, is_run_log
from bulk_export.output.side_files import may_write, remove_side_files
from bulk_export.output.work_directory import WorkDirectory

logger = logging.getLogger(__name__)

# Changes the body of a page, given the name of its endpoint.
Rewrite = Callable[[str, bytes], bytes]

_STAGED = re.compile(r"([a-z0-9_-]{1,128})/(revision-[0-9]{1,9})/([^/]+)", re.ASCII)
_DRIFT = ("unknown", "misfits", "duplicate_keys")


def decide(
    store: JournalStore, work: WorkDirectory, manifest: dict[str, Any], staged: Mapping[str, Path], *, keep_pages: bool
) -> None:
    """Record what will be published: from here on it is this manifest, whatever happens.

    Args:
        store: The journal.
        work: The directories of the export.
        manifest: The manifest as JSON values; gets the name of the archive, if there is one.
        staged: The staged file of each path in the manifest.
        keep_pages: Whether the pages stay in an archive beside the parts.

    Raises:
        DamagedState: The manifest of the export to be replaced cannot be used.
    """
    _log_drift(manifest)
    if keep_pages:
        manifest["archive"] = ARCHIVE
    earlier = read_manifest(work.output) if (work.output / MANIFEST).exists() else None
    replaced = [] if earlier is None else files_to_replace(work.output, earlier)
    if earlier is not None and earlier.get("archive") == ARCHIVE and not keep_pages:
        replaced.append(ARCHIVE)
    store.put_fact(REPLACED, json.dumps(replaced))
    store.put_fact(REPLACED_MANIFEST, "" if earlier is None else _digest(earlier))
    # Relative to the working state, which `.bulk-export` stands for in the journal, wherever it is kept.
    locations = {
        path: f"{WORKING_DIRECTORY}/{file.relative_to(work.staging.parent).as_posix()}" for path, file in staged.items()
    }
    store.put_fact(DECISION, json.dumps({"manifest": manifest, "staged": locations}))


def decided(store: JournalStore) -> dict[str, Any] | None:
    """The manifest that will be published, None before `decide`. Raises DamagedState."""
    decision = store.parsed_fact(DECISION, _parse_decision)
    return None if decision is None else decision[0]


def staged_paths(store: JournalStore) -> dict[str, str]:
    """Where each part that was decided on is staged, by its path in the manifest; relative to the staged parts.

    Raises:
        DamagedState: The decision cannot be read.
    """
    decision = store.parsed_fact(DECISION, _parse_decision)
    parts = {} if decision is None else decision[1]
    return {path: f"{part.endpoint}/{part.revision}/{part.name}" for path, part in parts.items()}


def publish(store: JournalStore, work: WorkDirectory, *, rewrite: Rewrite | None = None) -> list[Path]:
    """Carry out what was decided, from wherever an earlier attempt stopped, and close the journal.

    Args:
        store: The journal, with a decision.
        work: The directories of the export.
        rewrite: Applied to each page that is kept in the archive, to redact it.

    Returns:
        Paths in the working state that are not ours, and stay.

    Raises:
        DamagedState: A staged part is missing, or something else has the name of one in the output.
        LocalFailure: The disk fails, or another directory took the place of the output.
    """
    decision = store.parsed_fact(DECISION, _parse_decision)
    if decision is None:
        raise ValueError("nothing was decided")
    manifest, staged = decision
    replaced = store.parsed_fact(REPLACED, _parse_replaced) or []
    output, output_fd = work.output, work.output_fd
    check_not_replaced(output, output_fd)
    with (
        local_failures(f"Publishing the export in {output}"),
        opened_directory(WORKING_DIRECTORY, within=output_fd) as scratch,
    ):
        # 1. The earlier export: its manifest first, since it is no longer complete without any of its files.
        _remove_replaced(work, manifest, replaced, store.fact(REPLACED_MANIFEST))
        # 2. The parts, directory by directory. Each directory is synced before a copied original is removed.
        mover = _PartMover(work, scratch, dict(files_of(manifest)), set(replaced))
        for endpoint in dict.fromkeys(path.split("/")[0] for path in staged):
            mover.publish(endpoint, [part for part in staged.values() if part.endpoint == endpoint])
        sync_descriptor(output_fd)
        logger.info("moved %d parts into %s", len(staged), output)
        # 3. The archive, which needs the journal and holds the manifest.
        if "archive" in manifest:
            _write_archive(store, work, scratch, manifest, rewrite)
            logger.info("wrote the archive of pages")
        # 4. The files beside it, which nothing depends on.
        _write_run_log(store, manifest, output_fd, scratch)
        # 5. The manifest. With it the export is finished.
        write_within(MANIFEST, manifest_text(manifest).encode(), output_fd, scratch=scratch)
        logger.info("wrote the manifest")
    # 6. The working state, the journal last.
    store.close()
    kept = work.clear()
    logger.info("removed the working state")
    return kept


@dataclass(frozen=True, slots=True)
class _StagedPart:
    """A finished part in the directory of staged parts."""

    endpoint: str
    revision: str
    name: str

    @property
    def path(self) -> str:
        """Its path in the manifest."""
        return f"{self.endpoint}/{self.name}"


@dataclass(frozen=True, slots=True)
class _PartMover:
    """Moves staged parts into the output.

    `scratch` is an open directory on the file system of the output, `described` the parts as the manifest describes
    them, and `replaced` the paths of parts that may be overwritten.
    """

    work: WorkDirectory
    scratch: int
    described: Mapping[str, Mapping[str, Any]]
    replaced: set[str]

    def publish(self, endpoint: str, staged: Sequence[_StagedPart]) -> None:
        """Move the parts of an endpoint into its directory."""
        with made_directory(endpoint, within=self.work.output_fd) as target:
            for revision in dict.fromkeys(part.revision for part in staged):
                with _opened_staging(self.work.state_fd, endpoint, revision) as source:
                    parts = [part for part in staged if part.revision == revision]
                    copied = [part.name for part in parts if self._move(part, source, target)]
                    sync_descriptor(target)
                    for name in copied:
                        assert source is not None  # it was copied from there
                        remove_file(name, within=source)

    def _move(self, part: _StagedPart, source: int | None, target: int) -> bool:
        """Move one part into its directory. Return whether it was copied, so that the original is still there."""
        final = entry_status(part.name, within=target)
        if source is None or entry_status(part.name, within=source) is None:
            # Case 1: an earlier attempt moved it.
            if final is None:
                raise DamagedState(
                    f"A finished part, {part.path}, is missing.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )
            return False
        # Case 2: something has its name. That is a part to be replaced, a copy of an earlier attempt, or not ours.
        if final is not None and part.path not in self.replaced and not self._is_copied(part, final, target):
            raise in_the_way(self.work.output / part.path)
        # Case 3: nothing that matters has its name.
        return move_file(part.name, source, target, self.scratch)

    def _is_copied(self, part: _StagedPart, final: os.stat_result, target: int) -> bool:
        """Whether an earlier attempt copied the part to its final place already."""
        file = self.described[part.path]
        is_alike = stat.S_ISREG(final.st_mode) and final.st_size == file["bytes"]
        return is_alike and sha256_within(part.name, target) == file["sha256"]


@contextlib.contextmanager
def _opened_staging(state_fd: int, endpoint: str, revision: str) -> Iterator[int | None]:
    """The descriptor of the directory of staged parts of an endpoint, None if it is gone."""
    with contextlib.ExitStack() as stack:
        directory: int | None = state_fd
        try:
            for name in (STAGING, endpoint, revision):
                directory = stack.enter_context(opened_directory(name, within=directory))
        except FileNotFoundError:
            directory = None
        yield directory


def _write_archive(
    store: JournalStore, work: WorkDirectory, scratch: int, manifest: dict[str, Any], rewrite: Rewrite | None
) -> None:
    stage_archive(store, work, manifest, rewrite)
    is_copy = move_file(ARCHIVE, work.state_fd, work.output_fd, scratch)
    sync_descriptor(work.output_fd)
    if is_copy:
        remove_file(ARCHIVE, within=work.state_fd)


def stage_archive(store: JournalStore, work: WorkDirectory, manifest: dict[str, Any], rewrite: Rewrite | None) -> None:
    """Write the archive into the working state.

    Args:
        store: The journal.
        work: The directories of the export.
        manifest: The manifest, which the archive holds.
        rewrite: Applied to each page, to redact it.

    Raises:
        LocalFailure: It could not be written.
        DamagedState: A page of the journal is not as it was stored.
    """
    temporary = (DECISION, REPLACED, REPLACED_MANIFEST, OBJECT_STORE, TIMELINE)
    facts = {
        name: text for name, text in store.facts().items() if name not in temporary and not name.startswith(UPLOADED)
    }
    facts[ORIGIN] = json.dumps(manifest)
    write_archive(store, work.state / ARCHIVE, scratch=work.state, facts=facts, rewrite=rewrite)


def _write_run_log(store: JournalStore, manifest: Mapping[str, Any], output_fd: int, scratch: int) -> None:
    """Write when the requests were sent, in place of the log and the report of an earlier export.

    A file of that name that is not ours stays.
    """
    remove_side_files(output_fd)
    text = store.fact(TIMELINE)
    if text is None or not may_write(RUN_LOG, output_fd, is_run_log):
        return
    try:
        sample = manifest["parameters"].get("sample")
        log = RunLog(manifest["started_at"], manifest["finished_at"], Timeline.parse(text), sample)
    except InvalidRunLog:
        return
    write_within(RUN_LOG, log.lines().encode(), output_fd, scratch=scratch)


def _remove_replaced(
    work: WorkDirectory, manifest: dict[str, Any], replaced: Sequence[str], earlier: str | None
) -> None:
    """Remove the files of the export that this one replaces; `earlier` is the digest of its manifest."""
    output, output_fd = work.output, work.output_fd
    if entry_status(MANIFEST, within=output_fd) is not None:
        present = read_manifest(output)
        if present == manifest:
            return  # an earlier attempt came as far as step 5
        # Journals of earlier versions do not record which manifest is replaced.
        if earlier is not None and _digest(present) != earlier:
            raise in_the_way(output / MANIFEST)
        remove_file(MANIFEST, within=output_fd)
        sync_descriptor(output_fd)
    ours = {path for path, _ in files_of(manifest)}
    for path in replaced:
        if path == ARCHIVE:
            _remove_file(output_fd, ARCHIVE, output)
        elif path not in ours:
            endpoint, name = path.split("/")
            with contextlib.suppress(FileNotFoundError), opened_directory(endpoint, within=output_fd) as directory:
                _remove_file(directory, name, output / endpoint)
            with contextlib.suppress(OSError):
                remove_directory(endpoint, within=output_fd)
    if replaced:
        logger.info("removed the earlier export from %s", output)


def _remove_file(directory: int, name: str, path: Path) -> None:
    status = entry_status(name, within=directory)
    if status is not None:
        if not stat.S_ISREG(status.st_mode):
            raise in_the_way(path / name)
        remove_file(name, within=directory)


def _parse_decision(text: str) -> tuple[dict[str, Any], dict[str, _StagedPart]]:
    """Parse what `decide` recorded. Raises ValueError for anything that it cannot have written."""
    decision = json.loads(text)
    manifest, staged = decision["manifest"], decision["staged"]
    check_manifest(manifest)
    parts = {}
    for path, location in staged.items():
        match = _STAGED.fullmatch(str(location).removeprefix(f"{WORKING_DIRECTORY}/{STAGING}/"))
        if match is None or path != (part := _StagedPart(*match.groups())).path:
            raise ValueError("a staged part outside of the directory of staged parts")
        parts[path] = part
    if parts.keys() != {path for path, _ in files_of(manifest)}:
        raise ValueError("other parts than the manifest names")
    return manifest, parts


def _parse_replaced(text: str) -> list[str]:
    paths = json.loads(text)
    for path in paths:
        endpoint, _, name = path.partition("/")
        if path != ARCHIVE and not (is_part(name) and is_endpoint(endpoint)):
            raise ValueError("a file that no export wrote")
    return list(paths)


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _log_drift(manifest: Mapping[str, Any]) -> None:
    """Warn once for each endpoint whose records were not as described. Paths are names, never values."""
    for name, endpoint in manifest["endpoints"].items():
        counts = {kind: len(endpoint["drift"].get(kind, {})) for kind in _DRIFT}
        if any(counts.values()):
            logger.warning(
                "%s: records differ from the description: %d unknown attributes, %d with values of other types,"
                " %d with repeated keys; all values are kept",
                name,
                *counts.values(),
            )
