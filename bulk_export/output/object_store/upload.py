"""Uploads one file and proves that the store has its content.

The file is read once beforehand: its SHA-256 must be the one that the journal has, so that what the disk spoiled is not
published. S3 compares what arrives with the SHA-256 of each piece; then the ETag is compared, where that is an MD5.
Where it is not, the object is read back and hashed. An object that differs is uploaded again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bulk_export.core.files import local_failures, open_regular
from bulk_export.errors import DamagedState, StoreFailing
from bulk_export.output.object_store.failures import ObjectMissing
from bulk_export.output.object_store.store import PIECE_BYTES, ObjectStore
from bulk_export.output.uploaded_parts import UploadedFile

logger = logging.getLogger(__name__)

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: its size, its SHA-256, and the ETag that S3 gives an object with this content."""

    bytes: int
    sha256: str
    etag: str


def upload_file(store: ObjectStore, key: str, path: Path, *, sha256: str | None = None) -> UploadedFile:
    """Upload a file, in place of an earlier object of ours.

    Args:
        store: The store.
        key: The key of the object.
        path: The file; a link is refused.
        sha256: What its content must hash to, if that is known.

    Returns:
        Its content, and the version of the object.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedState: The file is not as it was written.
        StoreFailing: Every attempt left another content in the store.
        BulkExportError: The store rejects it or keeps failing, or the file cannot be read.
    """
    with os.fdopen(_opened(path), "rb") as file:
        with local_failures(f"Reading {path.name}"):
            content = content_of(file)
        if sha256 is not None and content.sha256 != sha256:
            raise DamagedState(
                f"A finished part, {path.name}, is not as it was written: the disk may be failing.",
                kept="It was not uploaded.",
                next_step="Check the disk, then remove this unfinished export to start afresh.",
            )
        for _ in range(_ATTEMPTS):
            file.seek(0)
            written = store.upload(key, file, content.bytes)
            if is_stored(store, key, content, written.etag):
                return UploadedFile(content.sha256, content.bytes, written.version)
            logger.warning("%s arrived with another content, so it is uploaded again", key)
    raise StoreFailing(
        f"{key} in {store.url} differs from what was sent, {_ATTEMPTS} times in a row.",
        kept="The file is kept on this machine.",
        next_step="Check the network and the store, then run the same command again.",
    )


def _opened(path: Path) -> int:
    try:
        return open_regular(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        with local_failures(f"Opening {path.name}"):
            raise error from None


def content_of(file: IO[bytes]) -> Content:
    """Hash a file to its end. Raises OSError."""
    whole, sha256, size = hashlib.md5(usedforsecurity=False), hashlib.sha256(), 0
    pieces: list[bytes] = []
    while piece := file.read(PIECE_BYTES):
        size += len(piece)
        sha256.update(piece)
        whole.update(piece)
        pieces.append(hashlib.md5(piece, usedforsecurity=False).digest())
    etag = whole.hexdigest()
    if size > PIECE_BYTES:
        etag = f"{hashlib.md5(b''.join(pieces), usedforsecurity=False).hexdigest()}-{len(pieces)}"
    return Content(size, sha256.hexdigest(), etag)


def is_stored(store: ObjectStore, key: str, content: Content, etag: str) -> bool:
    """Whether the store holds a content, by its ETag or by reading the object back. Raises BulkExportError."""
    if etag == content.etag:
        return True
    try:
        return sha256_of_object(store, key) == content.sha256
    except ObjectMissing:
        return False


def sha256_of_object(store: ObjectStore, key: str) -> str:
    """The SHA-256 of an object, read to its end. Raises ObjectMissing and BulkExportError."""
    digest = hashlib.sha256()
    for chunk in store.stream(key):
        digest.update(chunk)
    return digest.hexdigest()
