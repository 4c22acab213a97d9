"""What a report reads of a finished export, in a directory or in an object store.

Of an object store it reads the manifest and the footers of Parquet files. Whole files are fetched one at a time to a
temporary directory, and only if they are to be verified or their values counted.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from bulk_export.core.files import open_regular
from bulk_export.errors import DamagedState, VerificationFailed
from bulk_export.output.file_names import RUN_LOG
from bulk_export.output.manifest import InvalidManifest, check_manifest, read_manifest
from bulk_export.output.object_store.failures import ObjectMissing
from bulk_export.output.object_store.footers import footer_of
from bulk_export.output.object_store.layout import object_key
from bulk_export.output.object_store.reading import download, temporary_directory
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import StoredManifest, require_stored_manifest
from bulk_export.output.object_store.url import StoreUrl
from bulk_export.output.object_store.verify import verify_stored
from bulk_export.output.report.part_files import Opener, opener
from bulk_export.output.run_log import LARGEST, InvalidRunLog, RunLog
from bulk_export.output.verify import verify

_PARQUET = ".parquet"


class ReportSource(Protocol):
    """A finished export, as a report reads it."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        """Its manifest, which was checked."""

    @property
    def reader(self) -> str:
        """What the report is made from: `this machine`."""

    def difference(self, *, quick: bool) -> str:
        """How it differs from its manifest, in a sentence; empty if it does not."""

    def log(self) -> RunLog | None:
        """When the requests were sent, None if that is not known or is of another export."""

    def footer(self, part: Mapping[str, Any]) -> Opener:
        """What opens a file of it for reading the footer."""

    def content(self, part: Mapping[str, Any]) -> Opener:
        """What opens a file of it for reading the columns."""


def parquet_parts(manifest: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The Parquet files of each list that has any, as the manifest describes them."""
    parts = {
        name: [part for part in endpoint["files"] if part["path"].endswith(_PARQUET)]
        for name, endpoint in manifest["endpoints"].items()
    }
    return {name: found for name, found in parts.items() if found}


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """An export in a directory."""

    directory: Path
    manifest: Mapping[str, Any]
    reader: str = "this machine"

    @classmethod
    def open(cls, directory: Path) -> DirectorySource:
        """Read its manifest. Raises DamagedState."""
        return cls(directory, _checked(read_manifest(directory), str(directory)))

    def difference(self, *, quick: bool) -> str:
        """See `ReportSource`."""
        try:
            verify(self.directory, quick=quick)
        except VerificationFailed as failed:
            return failed.what
        return ""

    def log(self) -> RunLog | None:
        """See `ReportSource`."""
        try:
            with os.fdopen(open_regular(self.directory / RUN_LOG), "rb") as file:
                log = RunLog.parse(file.read(LARGEST + 1).decode())
        except (OSError, UnicodeDecodeError, InvalidRunLog):
            return None
        return log if log.belongs_to(self.manifest) else None

    def footer(self, part: Mapping[str, Any]) -> Opener:
        """See `ReportSource`."""
        return opener(self.directory / part["path"])

    def content(self, part: Mapping[str, Any]) -> Opener:
        """See `ReportSource`."""
        return opener(self.directory / part["path"])


@dataclass(frozen=True, slots=True)
class StoredSource:
    """An export in an object store."""

    store: ObjectStore
    stored: StoredManifest
    reader: str = "the object store"

    @classmethod
    def open(cls, url: StoreUrl) -> StoredSource:
        """Read its manifest. Raises DamagedState, and BulkExportError if the store rejects that or keeps failing."""
        store = ObjectStore(url, kept="")
        stored = require_stored_manifest(store)
        _checked(stored.manifest, str(url))
        return cls(store, stored)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """See `ReportSource`."""
        return self.stored.manifest

    def difference(self, *, quick: bool) -> str:
        """See `ReportSource`."""
        try:
            verify_stored(self.store, quick=quick)
        except VerificationFailed as failed:
            return failed.what
        return ""

    def log(self) -> RunLog | None:
        """None: an export that is in an object store only leaves no log."""
        return None

    def footer(self, part: Mapping[str, Any]) -> Opener:
        """See `ReportSource`."""
        return functools.partial(self._footer, part)

    def content(self, part: Mapping[str, Any]) -> Opener:
        """See `ReportSource`."""
        return functools.partial(self._content, part)

    @contextlib.contextmanager
    def _footer(self, part: Mapping[str, Any]) -> Iterator[Any]:
        key = object_key(self.stored.generation, part["path"])
        with _missing_as_file():
            status = self.store.status(key)
            found = None if status is None else footer_of(self.store, key, status.bytes)
        if found is None:
            raise OSError(errno.EINVAL, "no Parquet file")
        yield pa.BufferReader(found)

    @contextlib.contextmanager
    def _content(self, part: Mapping[str, Any]) -> Iterator[Any]:
        key = object_key(self.stored.generation, part["path"])
        with temporary_directory() as directory:
            path = directory / "part.parquet"
            with _missing_as_file():
                download(self.store, key, path, most=part["bytes"])
            with path.open("rb") as file:
                yield file


def _checked(manifest: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    try:
        check_manifest(manifest)
    except InvalidManifest as error:
        raise DamagedState(
            f"The manifest in {place} cannot be used: {error}.",
            kept="Nothing was changed.",
            next_step="Restore it from a copy, or export again with --overwrite.",
        ) from None
    return manifest


@contextlib.contextmanager
def _missing_as_file() -> Iterator[None]:
    """Raise for a missing object what a missing file raises."""
    try:
        yield
    except ObjectMissing:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
