"""Reads exports in object stores: a file at a time on the local disk, so that memory stays bounded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bulk_export.core.files import local_failures, private_umask, write_atomically
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import ARCHIVE, MANIFEST
from bulk_export.output.manifest import InvalidManifest, check_manifest, manifest_text
from bulk_export.output.object_store.failures import ObjectMissing
from bulk_export.output.object_store.layout import object_key
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import require_stored_manifest
from bulk_export.output.object_store.url import StoreUrl, parse_location


def download(store: ObjectStore, key: str, path: Path, *, most: int | None = None) -> str:
    """Write an object to a new file with mode 0600. Returns the SHA-256 of its content.

    Args:
        store: The store.
        key: The key of the object.
        path: The file to write.
        most: The most bytes that it should have. What is written and hashed of a larger one ends behind them.

    Raises:
        ObjectMissing: There is no such object.
        BulkExportError: It cannot be read, or the disk is full.
    """
    digest = hashlib.sha256()
    chunks = store.stream(key)
    with local_failures(f"Writing {path}"), private_umask():
        file = path.open("xb")
    with file:
        for chunk in chunks:
            digest.update(chunk)
            with local_failures(f"Writing {path}"):
                file.write(chunk)
                if most is not None and file.tell() > most:
                    break
    return digest.hexdigest()


@contextlib.contextmanager
def temporary_directory(above: Path | None = None) -> Iterator[Path]:
    """A directory of mode 0700 for the time of a block, by default below the system's for temporary files."""
    with local_failures("Making a temporary directory"):
        directory = tempfile.TemporaryDirectory(prefix="bulk-export-", dir=above)
    with directory as path:
        yield Path(path)


@contextlib.contextmanager
def opened_archive(archive: str | os.PathLike[str]) -> Iterator[Path]:
    """Kept pages as a local path for the time of a block: those of an export in an object store are fetched.

    Args:
        archive: The file of kept pages, the directory of the export, or its address.

    Raises:
        UsageError: The address cannot be used, or no pages are there.
        BulkExportError: They cannot be read.
    """
    location = parse_location(archive)
    if isinstance(location, StoreUrl):
        with local_archive(location) as path:
            yield path
    else:
        yield location


@contextlib.contextmanager
def local_archive(url: StoreUrl) -> Iterator[Path]:
    """The pages of an export in an object store, as a local file for the time of a block.

    Raises:
        UsageError: The export did not keep its pages.
        BulkExportError: They cannot be read.
    """
    store = ObjectStore(url, kept="")
    manifest = require_stored_manifest(store)
    missing = UsageError(f"{url} holds no kept pages.", next_step="Name an export that was made with --keep-pages.")
    if manifest.manifest.get("archive") != ARCHIVE:
        raise missing
    with temporary_directory() as directory:
        try:
            download(store, object_key(manifest.generation, ARCHIVE), directory / ARCHIVE)
        except ObjectMissing:
            raise missing from None
        yield directory / ARCHIVE


@contextlib.contextmanager
def local_export(url: StoreUrl, endpoints: Collection[str]) -> Iterator[Path]:
    """Some endpoints of an export in an object store, as a directory with their Parquet files for the time of a block.

    Args:
        url: The address of the export.
        endpoints: The names of the endpoints, of which the export may lack some.

    Yields:
        The directory, with a manifest of these endpoints.

    Raises:
        DamagedState: The manifest cannot be used, or a file is not as it says.
        BulkExportError: They cannot be read, or the disk is full.
    """
    store = ObjectStore(url, kept="")
    stored = require_stored_manifest(store)
    try:
        check_manifest(stored.manifest)
    except InvalidManifest as error:
        raise DamagedState(
            f"The manifest in {url} cannot be used: {error}.",
            kept="Nothing was changed.",
            next_step="Restore it from a copy, or export again with --overwrite.",
        ) from None
    chosen = {name: found for name, found in stored.manifest["endpoints"].items() if name in endpoints}
    with temporary_directory() as directory:
        for name, endpoint in chosen.items():
            with local_failures(f"Making a directory in {directory}"):
                (directory / name).mkdir(mode=0o700)
            for part in endpoint["files"]:
                if part["path"].endswith(".parquet"):
                    _download_part(store, stored.generation, part, directory)
        manifest = {**stored.manifest, "endpoints": chosen}
        with local_failures(f"Writing {directory / MANIFEST}"):
            write_atomically(directory / MANIFEST, manifest_text(manifest).encode())
        yield directory


def _download_part(store: ObjectStore, generation: int, part: Mapping[str, Any], directory: Path) -> None:
    differs = DamagedState(
        f"{store.url}/{part['path']} is not as its manifest says.",
        kept="Nothing was changed.",
        next_step=f"bulk-export verify {store.url} says more.",
    )
    try:
        digest = download(store, object_key(generation, part["path"]), directory / part["path"], most=part["bytes"])
    except ObjectMissing:
        raise differs from None
    if digest != part["sha256"]:
        raise differs
