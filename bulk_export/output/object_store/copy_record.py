"""What a working directory knows of the copy in the store, in `.bulk-export/stored.json`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bulk_export.core.files import local_failures, write_atomically
from bulk_export.output.file_names import WORKING_DIRECTORY

_NAME = "stored.json"


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """The copy in the store as this directory left or found it.

    Attributes:
        holder: Identifies this directory.
        version: The version of `sync.json` there; empty if there is none of ours yet.
        objects: The size of each object of the tables.
        hashes: The SHA-256 of each object that changes.
        pending: Objects that may be there, since they were to be written or removed.
        is_stale: Whether this directory is to be replaced by what is in the store.
    """

    holder: str
    version: str = ""
    objects: Mapping[str, int] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    is_stale: bool = False


def read_record(directory: Path) -> CopyRecord:
    """Read the record of a directory. One that is missing or cannot be used is a new one."""
    path = directory / WORKING_DIRECTORY / _NAME
    try:
        value = json.loads(path.read_bytes())
        return CopyRecord(
            str(value["holder"]),
            str(value["version"]),
            {str(key): int(size) for key, size in value["objects"].items()},
            {str(key): str(hashed) for key, hashed in value["hashes"].items()},
            tuple(map(str, value["pending"])),
            bool(value["is_stale"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return CopyRecord(secrets.token_hex(16))


def write_record(directory: Path, record: CopyRecord) -> None:
    """Replace the record; it is durable when this returns. Raises LocalFailure."""
    path = directory / WORKING_DIRECTORY / _NAME
    with local_failures(f"Writing {path}"):
        write_atomically(path, json.dumps(asdict(record)).encode())
