"""The last steps of an export in an object store: all parts are there, the manifest is written, the rest is removed.

    1. Every part is there as it was uploaded.
    2. The manifest is created, or put in place of the version that was read at the start. Whoever does that first has
       finished; a second run finds another manifest, and changes nothing.
    3. What the manifest does not name is removed: the export that was replaced, parts of an earlier conversion, and
       what runs with a lower generation left. They cannot finish any more.

Each step can be repeated, so the next run completes what a kill interrupted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bulk_export.errors import DamagedState, StoreAccessDenied
from bulk_export.extract.journal import JournalStore
from bulk_export.output.file_names import ARCHIVE, MANIFEST
from bulk_export.output.manifest import files_of
from bulk_export.output.object_store.claim import Claim, read_claim
from bulk_export.output.object_store.failures import ObjectChanged, ObjectExists, ObjectMissing
from bulk_export.output.object_store.layout import OurKey, claim_key, parse_key
from bulk_export.output.object_store.remote_run import RemoteRun, discard_run, lost_to_another
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import read_stored_manifest, stored_text
from bulk_export.output.uploaded_parts import UploadedFile, uploaded_file, uploaded_paths

logger = logging.getLogger(__name__)


def publish_manifest(
    store: ObjectStore, journal: JournalStore, run: RemoteRun, manifest: Mapping[str, Any], work: str
) -> None:
    """Write the manifest, after a look at each part. Repeating it changes nothing.

    Args:
        store: The store.
        journal: The journal, which knows all parts as uploaded.
        run: The run.
        manifest: The manifest that was decided on, with the paths of a local one.
        work: The directory of the working state, for messages.

    Raises:
        UsageError: Another run finished first.
        DamagedState: A part was changed or removed by somebody else, or so was the manifest.
        BulkExportError: The store rejects it, or keeps failing.
    """
    uploads = {path: _uploaded(journal, path) for path in _paths(manifest)}
    content = stored_text(manifest, run.generation, {path: upload.version for path, upload in uploads.items()})
    found = _read_manifest(store, run)
    if found.is_ours:
        return
    if found.version is not None and found.version != run.replaced_version:
        discard_run(store, journal, run)
        raise lost_to_another(store)
    _check_parts(store, journal, run, uploads, work)
    try:
        if run.replaced_version:
            store.replace(MANIFEST, content, run.replaced_version)
        else:
            store.create(MANIFEST, content)
    except (ObjectExists, ObjectChanged, ObjectMissing):
        # An answer that was lost is repeated below, so the manifest may be ours after all.
        if not _read_manifest(store, run).is_ours:
            discard_run(store, journal, run)
            raise lost_to_another(store) from None
    logger.info("wrote the manifest to %s", store.url)


def remove_superseded(
    store: ObjectStore, journal: JournalStore, run: RemoteRun, manifest: Mapping[str, Any]
) -> list[str]:
    """Remove what the manifest does not name of this export and of those before it.

    Args:
        store: The store.
        journal: The journal.
        run: The run, whose manifest is there.
        manifest: The manifest with the paths of a local one.

    Returns:
        Warnings about what could not be found or removed.

    Raises:
        StoreFailing: The store keeps failing.
    """
    current = {run.key(path) for path in _paths(manifest)}
    superseded = {*run.replaces, *(run.key(path) for path in uploaded_paths(journal))}
    warnings = []
    try:
        listed = [ours for stored in store.list() if (ours := parse_key(stored.key)) is not None]
        superseded.update(_left_behind(store, run, listed))
        claims = [ours.generation for ours in listed if not ours.path and ours.generation <= run.generation]
    except StoreAccessDenied:
        claims = [run.generation]
        warnings.append(
            f"the credentials may not list objects in {store.url}, so what interrupted runs left was not looked for"
        )
    kept = _removed(store, sorted(superseded - current))
    # Claims go last, since they tell what the runs of these generations may have left.
    if not kept:
        kept = _removed(store, [claim_key(generation) for generation in claims])
    if kept:
        more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
        warnings.append(
            f"the credentials may not remove objects in {store.url}, so what the export does not need is still there:"
            f" {kept[0]}{more}"
        )
    return warnings


def _left_behind(store: ObjectStore, run: RemoteRun, listed: Sequence[OurKey]) -> Iterator[str]:
    """Yield the keys of what the runs of this and of lower generations wrote: they cannot finish any more."""
    claims: dict[int, Claim] = {}
    for ours in listed:
        if not ours.path and ours.generation <= run.generation:
            claim = read_claim(store, ours.generation)
            if claim is not None:
                claims[ours.generation] = claim
                yield from claim.replaces
    for ours in listed:
        if ours.path and ours.generation <= run.generation and _is_of_a_run(ours, claims):
            yield ours.key


def _is_of_a_run(ours: OurKey, claims: Mapping[int, Claim]) -> bool:
    if ours.generation > 1:
        return True  # only runs make directories of this name
    # 1. Without a claim of the first generation, such objects may be the user's.
    # 2. With one, they are of the run that claimed it, in the directories of its endpoints.
    return 1 in claims and (not ours.endpoint or ours.endpoint in claims[1].endpoints)


def _removed(store: ObjectStore, keys: Sequence[str]) -> list[str]:
    """Remove objects. Returns the keys of those that may not be removed."""
    for number, key in enumerate(keys):
        try:
            store.remove(key)
        except StoreAccessDenied:
            return list(keys[number:])
    return []


def _check_parts(
    store: ObjectStore, journal: JournalStore, run: RemoteRun, uploads: Mapping[str, UploadedFile], work: str
) -> None:
    """Compare each object with what was uploaded: size and version."""
    for path, upload in uploads.items():
        try:
            stored = store.status(run.key(path))
        except StoreAccessDenied:
            # S3 denies what is not there to those who may not list. Who cannot read the claim may not read at all.
            store.read(claim_key(run.generation), most=1)
            stored = None
        if stored is None or stored.bytes != upload.bytes or (upload.version and stored.version != upload.version):
            journal.drop_results()
            raise DamagedState(
                f"{run.key(path)} in {store.url} was {'removed' if stored is None else 'changed'} by somebody else.",
                kept=f"The pages are kept in {work}.",
                next_step="Run the same command again: it makes and uploads the parts anew, without a request.",
            )


@dataclass(frozen=True, slots=True)
class _Found:
    """The manifest that is there: whether it is the one of this run, and its version, None if that is not known."""

    is_ours: bool
    version: str | None


def _read_manifest(store: ObjectStore, run: RemoteRun) -> _Found:
    """Look for the manifest. One that names the generation of this run is its own: nobody else writes there."""
    try:
        found = read_stored_manifest(store)
    except StoreAccessDenied:
        return _Found(is_ours=False, version=None)
    if found is None:
        return _Found(is_ours=False, version="")
    return _Found(found.generation == run.generation, found.version)


def _uploaded(journal: JournalStore, path: str) -> UploadedFile:
    upload = uploaded_file(journal, path)
    if upload is None:
        raise ValueError(f"{path} was not uploaded")
    return upload


def _paths(manifest: Mapping[str, Any]) -> list[str]:
    paths = [path for path, _ in files_of(manifest)]
    return [*paths, ARCHIVE] if "archive" in manifest else paths
