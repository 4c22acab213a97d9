"""What the journal remembers of parts that are in an object store already, so that no run uploads them again."""

from __future__ import annotations

import json
from dataclasses import dataclass

from bulk_export.extract.journal import JournalStore
from bulk_export.extract.journal.fact_names import UPLOADED


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file that was uploaded: its SHA-256 and size, and the version of the object."""

    sha256: str
    bytes: int
    version: str


def remember_upload(store: JournalStore, path: str, uploaded: UploadedFile) -> None:
    """Record that a file is safe in the object store; `path` is its path in the manifest."""
    store.put_fact(UPLOADED + path, json.dumps([uploaded.sha256, uploaded.bytes, uploaded.version]))


def uploaded_file(store: JournalStore, path: str) -> UploadedFile | None:
    """What was recorded of a file, None if nothing was. Raises DamagedState if that cannot be read."""
    return store.parsed_fact(UPLOADED + path, _parse)


def uploaded_paths(store: JournalStore) -> list[str]:
    """The paths of all files that were uploaded, as far as the journal knows."""
    return [name.removeprefix(UPLOADED) for name in store.facts() if name.startswith(UPLOADED)]


def _parse(text: str) -> UploadedFile:
    sha256, size, version = json.loads(text)
    if not (isinstance(sha256, str) and isinstance(version, str) and type(size) is int):
        raise TypeError("not an upload")
    return UploadedFile(sha256, size, version)
