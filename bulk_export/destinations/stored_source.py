"""What a load reads of an export in an object store: one part at a time, by way of the local disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bulk_export.core.files import local_failures
from bulk_export.destinations.source import (
    KEPT,
    OTHER_CONTENT,
    Source,
    differs,
    export_source,
    open_parquet,
)
from bulk_export.errors import DamagedState
from bulk_export.output.object_store.failures import ObjectMissing
from bulk_export.output.object_store.footers import footer_of
from bulk_export.output.object_store.layout import object_key
from bulk_export.output.object_store.reading import download, temporary_directory
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import require_stored_manifest
from bulk_export.output.object_store.url import StoreUrl


def open_export_at(url: StoreUrl) -> Source:
    """Open a finished export in an object store.

    Args:
        url: Its address.

    Returns:
        Its tables. Reading one copies its parts to the local disk, one after the other, and raises DamagedState for one
        that is not as the manifest says.

    Raises:
        DamagedState: The manifest is missing or cannot be trusted.
        UsageError: The export has no Parquet files, or a copy is there.
        BulkExportError: The store rejects a request, or keeps failing.
    """
    return open_stored_export(ObjectStore(url, kept=KEPT))


def open_stored_export(store: ObjectStore) -> Source:
    """Do what `open_export_at` does, in a store that is open."""
    stored = require_stored_manifest(store)
    return export_source(str(store.url), stored.manifest, stored.sha256, _StoredParts(store, stored.generation))


@dataclass(frozen=True, slots=True)
class _StoredParts:
    """The parts of one generation at an address."""

    store: ObjectStore
    generation: int

    def name(self, part: Mapping[str, Any]) -> str:
        return f"{self.store.url}/{self._key(part)}"

    def schema(self, part: Mapping[str, Any]) -> pa.Schema:
        """The columns by the end of the object alone. They count only once the whole part was checked."""
        name, size = self.name(part), self._checked_size(part)
        try:
            footer = footer_of(self.store, self._key(part), size)
        except ObjectMissing:
            raise self._missing(part) from None
        if footer is None:
            raise differs(name, "it is no Parquet file")
        return open_parquet(pa.BufferReader(footer), name).schema_arrow

    @contextmanager
    def opened(self, part: Mapping[str, Any]) -> Iterator[Any]:
        """A copy of a part on the local disk, for the time of a block."""
        size = self._checked_size(part)
        with temporary_directory() as directory:
            path = directory / "part.parquet"
            try:
                sha256 = download(self.store, self._key(part), path, most=size)
            except ObjectMissing:
                raise self._missing(part) from None
            if sha256 != part["sha256"]:
                raise differs(self.name(part), OTHER_CONTENT)
            with local_failures(f"Reading {path}"), path.open("rb") as file:
                yield file

    def _key(self, part: Mapping[str, Any]) -> str:
        return object_key(self.generation, part["path"])

    def _checked_size(self, part: Mapping[str, Any]) -> int:
        status = self.store.status(self._key(part))
        if status is None:
            raise self._missing(part)
        size: int = part["bytes"]
        if status.bytes != size:
            raise differs(self.name(part), f"it has {status.bytes:,} bytes instead of {size:,}")
        return size

    def _missing(self, part: Mapping[str, Any]) -> DamagedState:
        return DamagedState(
            f"{self.name(part)} is missing.",
            kept=KEPT,
            next_step="If another export replaced this one meanwhile, load again; else bulk-export verify says more.",
        )
