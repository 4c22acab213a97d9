"""The operations on the objects of an export. All of them block, retry what may pass, and raise errors of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from bulk_export.errors import StoreRefused
from bulk_export.output.object_store.connection import StorePatience, open_store, require_obstore
from bulk_export.output.object_store.failures import ObjectChanged, ObjectExists, ObjectMissing, store_failures
from bulk_export.output.object_store.store_options import StoreOptions
from bulk_export.output.object_store.url import StoreUrl

if TYPE_CHECKING:
    from bulk_export.output.object_store.connection import Connected

# Four pieces of this size are in memory while a file is uploaded. A store takes 10,000 pieces: 80 GB for a file.
PIECE_BYTES = 8 * 1024 * 1024
_PIECES_AT_ONCE = 4
_STREAM_BYTES = 4 * 1024 * 1024
_KEPT = "What was stored so far is kept on this machine."


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the store describes it; `version` changes whenever it is written."""

    key: str
    bytes: int
    version: str


@dataclass(frozen=True, slots=True)
class WrittenObject:
    """An object that was written: its ETag, which may be a checksum, and its version."""

    etag: str
    version: str


class ObjectStore:
    """The objects below an address. Keys are relative to it.

    Args:
        url: The address.
        options: How objects are written.
        kept: A sentence for errors about what is not lost.
        patience: Timeouts and retries.
        connected: The store of obstore, if it is open already: tests use one in memory.

    Raises:
        UsageError: The package for object stores is missing, or the settings of the store cannot be used.
    """

    def __init__(
        self,
        url: StoreUrl,
        options: StoreOptions | None = None,
        *,
        kept: str = _KEPT,
        patience: StorePatience | None = None,
        connected: Connected | None = None,
    ) -> None:
        require_obstore()
        self.url = url
        self._options = options or StoreOptions()
        self._patience = patience
        self._kept = kept
        self._store: Any = connected or open_store(url, self._options, patience=patience)

    def read(self, key: str, *, most: int) -> tuple[bytes, str] | None:
        """Read a small object.

        Args:
            key: Its key.
            most: The most bytes to read; of a larger object, one byte more is returned.

        Returns:
            Its content and its version; None if there is no such object.

        Raises:
            BulkExportError: The store rejects it, or keeps failing.
        """
        import obstore

        content = bytearray()
        try:
            with self._failures("Reading an object"):
                found = obstore.get(self._store, key)
                for chunk in found.stream(min_chunk_size=_STREAM_BYTES):
                    content += bytes(chunk)
                    if len(content) > most:
                        break
        except ObjectMissing:
            return None
        return bytes(content[: most + 1]), self._version(found.meta)

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield the content of an object, some MiB at a time. Raises ObjectMissing and BulkExportError."""
        import obstore

        with self._failures("Reading an object"):
            for chunk in obstore.get(self._store, key).stream(min_chunk_size=_STREAM_BYTES):
                yield bytes(chunk)

    def piece(self, key: str, start: int, end: int) -> bytes:
        """Read the bytes of an object from `start` to before `end`. Raises ObjectMissing and BulkExportError."""
        import obstore

        with self._failures("Reading an object"):
            return bytes(obstore.get_range(self._store, key, start=start, end=end))

    def status(self, key: str) -> StoredObject | None:
        """Size and version of an object, None if there is none. Raises BulkExportError."""
        import obstore

        try:
            with self._failures("Looking at an object"):
                meta = obstore.head(self._store, key)
        except ObjectMissing:
            return None
        return StoredObject(key, meta["size"], self._version(meta))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects below a prefix, which ends at a slash. Raises BulkExportError."""
        import obstore

        with self._failures("Listing objects"):
            for chunk in obstore.list(self._store, prefix.rstrip("/") or None):
                for meta in chunk:
                    yield StoredObject(meta["path"], meta["size"], self._version(meta))

    def create(self, key: str, content: bytes) -> WrittenObject:
        """Write a small object that must not be there yet. Raises ObjectExists and BulkExportError."""
        try:
            return self._put(key, content, mode="create")
        except (ObjectMissing, ObjectChanged):
            raise self._unexpected("Creating an object") from None

    def replace(self, key: str, content: bytes, version: str) -> WrittenObject:
        """Write a small object in place of a version.

        Raises:
            ObjectChanged: There is another version.
            ObjectMissing: There is no such object any more.
            BulkExportError: The store rejects it, or keeps failing.
        """
        expected = {"version": version} if self._has_versions else {"e_tag": f'"{version}"'}
        return self._put(key, content, mode=expected)

    def upload(self, key: str, content: IO[bytes], size: int) -> WrittenObject:
        """Write a file of `size` bytes, in pieces if it is large. Raises BulkExportError."""
        pieces = {"chunk_size": PIECE_BYTES, "max_concurrency": _PIECES_AT_ONCE}
        try:
            return self._put(key, content, use_multipart=size > PIECE_BYTES, **pieces)
        except (ObjectMissing, ObjectChanged, ObjectExists):
            raise self._unexpected("Writing an object") from None

    def remove(self, key: str) -> None:
        """Remove an object, if it is there. Raises BulkExportError."""
        import obstore

        try:
            with self._failures("Removing an object"):
                obstore.delete(self._store, key)
        except ObjectMissing:
            pass

    def is_public(self, key: str) -> bool:
        """Whether an object can be read without credentials, as far as that can be seen from here."""
        if self.url.is_fabric:
            return False  # an anonymous request there is always an error
        patience = StorePatience(connect=5, request=10, retries=0)
        try:
            stranger = ObjectStore(
                self.url, patience=patience, connected=open_store(self.url, patience=patience, anonymous=True)
            )
            return stranger.status(key) is not None
        except Exception:  # noqa: BLE001 - whatever fails, it was not read
            return False

    def _put(self, key: str, content: bytes | IO[bytes], **how: Any) -> WrittenObject:
        import obstore

        attributes: dict[Any, str] = {"Content-Type": _content_type(key)}
        if self._options.storage_class:
            attributes["Storage-Class"] = self._options.storage_class
        with self._failures("Writing an object"):
            result = obstore.put(
                self._store, key, content, attributes=attributes, tags=self._options.tags or None, **how
            )
        return WrittenObject(_etag(result), self._version(result))

    @property
    def _has_versions(self) -> bool:
        """Whether the store compares numbers of versions, and no ETags, when an object is replaced."""
        return self.url.scheme == "gs"

    def _version(self, meta: Any) -> str:
        return str(meta["version"] or "") if self._has_versions else _etag(meta)

    def _unexpected(self, doing: str) -> StoreRefused:
        """The error for an answer that no store should give to a request of this kind."""
        return StoreRefused(
            f"{doing} in {self.url} was rejected, as if it were there or not there.",
            kept=self._kept,
            next_step="Check the address and what protects it, then run the same command again.",
        )

    def _failures(self, doing: str) -> AbstractContextManager[None]:
        return store_failures(doing, self.url, self._kept)


def _content_type(key: str) -> str:
    return {"json": "application/json", "ndjson": "application/x-ndjson"}.get(
        key.rpartition(".")[2], "application/octet-stream"
    )


def _etag(meta: Any) -> str:
    return (meta["e_tag"] or "").strip('"')
