"""Checks a finished export in an object store against its manifest."""

from __future__ import annotations

from collections.abc import Iterator

from bulk_export.core.files import local_failures
from bulk_export.errors import StoreAccessDenied
from bulk_export.output.object_store.failures import ObjectMissing
from bulk_export.output.object_store.layout import object_key, parse_key
from bulk_export.output.object_store.reading import download, temporary_directory
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import StoredManifest, require_stored_manifest
from bulk_export.output.object_store.url import StoreUrl
from bulk_export.output.verify import (
    DescribedFile,
    Verification,
    check_counts,
    check_rows,
    described_files,
    raise_differences,
)


def verify_url(url: StoreUrl, *, quick: bool = False) -> Verification:
    """Compare an export in an object store with its manifest.

    Args:
        url: The address of the export.
        quick: Whether sizes and ETags suffice; otherwise every object is read to its end, one at a time.

    Returns:
        What was verified, in numbers.

    Raises:
        VerificationFailed: The export differs from its manifest.
        DamagedState: There is no usable manifest.
        BulkExportError: The store rejects it, or keeps failing.
    """
    return verify_stored(ObjectStore(url, kept=""), quick=quick)


def verify_stored(store: ObjectStore, *, quick: bool) -> Verification:
    """Do what `verify_url` does, in a store that is open."""
    stored = require_stored_manifest(store)
    files = described_files(stored.manifest)
    every = [file for of_endpoint in files.values() for file in of_endpoint]
    differences = []
    for file in every:
        key = object_key(stored.generation, file.path)
        found = _check_quickly(store, key, file, stored) or ([] if quick else _check_content(store, key, file))
        differences += [f"{key}: {what}" for what in found]
    for name, endpoint in stored.manifest["endpoints"].items():
        differences += [f"{name}: {what}" for what in check_counts(endpoint, files[name])]
    differences += [f"{key}: not in the manifest" for key in _unlisted(store, stored, {file.path for file in every})]
    raise_differences(str(store.url), differences)
    return Verification(len(every), sum(file.rows for file in every), sum(file.bytes for file in every))


def _check_quickly(store: ObjectStore, key: str, file: DescribedFile, stored: StoredManifest) -> list[str]:
    status = store.status(key)
    etag = stored.etags.get(file.path)
    if status is None:
        return ["missing"]
    if status.bytes != file.bytes:
        return [f"{status.bytes} bytes instead of {file.bytes}"]
    if etag and status.version != etag:
        return ["written anew since the export (ETag)"]
    return []


def _check_content(store: ObjectStore, key: str, file: DescribedFile) -> list[str]:
    with temporary_directory() as directory:
        path = directory / file.path.rpartition("/")[2]
        try:
            sha256 = download(store, key, path)
        except ObjectMissing:
            return ["missing"]
        found = [] if sha256 == file.sha256 else ["other content (sha256)"]
        with local_failures(f"Reading {path}"):
            return found + list(check_rows(path, file))


def _unlisted(store: ObjectStore, stored: StoredManifest, listed: set[str]) -> Iterator[str]:
    """Parts of this generation that a reader with a wildcard would read as well."""
    try:
        for found in store.list():
            ours = parse_key(found.key)
            if ours is not None and ours.endpoint and ours.generation == stored.generation and ours.path not in listed:
                yield found.key
    except StoreAccessDenied:
        return
