"""The manifest of an export in a store: as in a directory, with keys that lead to its generation, and ETags
(the numbers of versions in Google Cloud Storage).

"files": [{"path": "generation-2/statements/part-00000.parquet", "rows": …, "bytes": …, "sha256": …, "etag": …}]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import ARCHIVE, MANIFEST, SYNC_STATE
from bulk_export.output.manifest import TOOL, InvalidManifest, files_of, manifest_text
from bulk_export.output.object_store.layout import object_key, parse_key
from bulk_export.output.object_store.store import ObjectStore

_LARGEST = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest that was read from a store.

    Attributes:
        manifest: The manifest with the paths of a local one.
        generation: The generation of its parts.
        version: The version of the object.
        etags: The ETag of each part, by path, as far as the manifest has them.
        sha256: The hash of the object's content, in hexadecimal.
    """

    manifest: Mapping[str, Any]
    generation: int
    version: str
    etags: Mapping[str, str]
    sha256: str

    @property
    def keys(self) -> list[str]:
        """The keys of the parts, and of the archive if there is one."""
        paths = [path for path, _ in files_of(self.manifest)]
        if self.manifest.get("archive") == ARCHIVE:
            paths.append(ARCHIVE)
        return [object_key(self.generation, path) for path in paths]


def stored_text(manifest: Mapping[str, Any], generation: int, etags: Mapping[str, str]) -> bytes:
    """The content of the object for the manifest of an export.

    Args:
        manifest: The manifest with the paths of a local one.
        generation: The generation of its parts.
        etags: The ETag of each part, by path.
    """
    endpoints = {
        name: {
            **endpoint,
            "files": [
                {**file, "path": object_key(generation, file["path"]), "etag": etags[file["path"]]}
                for file in endpoint["files"]
            ],
        }
        for name, endpoint in manifest["endpoints"].items()
    }
    stored = {**manifest, "endpoints": endpoints}
    if "archive" in manifest:
        stored["archive"] = object_key(generation, manifest["archive"])
    return manifest_text(stored).encode()


def read_stored_manifest(store: ObjectStore) -> StoredManifest | None:
    """Read the manifest of an export; None if there is none.

    Raises:
        DamagedState: It is not one that an export wrote.
        BulkExportError: The store rejects it, or keeps failing.
    """
    found = store.read(MANIFEST, most=_LARGEST)
    if found is None:
        return None
    try:
        return _parsed(*found)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DamagedState(
            f"The manifest in {store.url} cannot be used: it was not written by this tool, or is not whole.",
            kept="Nothing was changed.",
            next_step="Choose another address, or move this object away if no export belongs to it.",
        ) from None


def require_stored_manifest(store: ObjectStore) -> StoredManifest:
    """Read the manifest of a finished export.

    Raises:
        DamagedState: There is none that can be used.
        UsageError: A copy of sync is there.
        BulkExportError: The store rejects it, or keeps failing.
    """
    found = read_stored_manifest(store)
    if found is not None:
        return found
    if store.status(SYNC_STATE) is not None:
        raise UsageError(
            f"{store.url} holds a copy that sync keeps, which has no manifest.",
            next_step="The next poll compares it with the service; a full sync compares all of it.",
        )
    raise DamagedState(
        f"There is no manifest in {store.url}, so there is no finished export.",
        kept="Nothing was changed.",
        next_step="Run the export again to finish it, or correct the address.",
    )


def _parsed(content: bytes, version: str) -> StoredManifest:
    if len(content) > _LARGEST:
        raise ValueError("too large")
    manifest = json.loads(content)
    if manifest["tool"]["name"] != TOOL:
        raise ValueError("another tool's")
    generations = set()
    etags = {}
    for endpoint in manifest["endpoints"].values():
        for file in endpoint["files"]:
            generation, file["path"] = _split(file["path"])
            generations.add(generation)
            if isinstance(file.get("etag"), str):
                etags[file["path"]] = file.pop("etag")
    if "archive" in manifest:
        generation, manifest["archive"] = _split(manifest["archive"])
        generations.add(generation)
    if len(generations) > 1:
        raise InvalidManifest("it names parts of several generations")
    files_of(manifest)
    digest = hashlib.sha256(content).hexdigest()
    return StoredManifest(manifest, generations.pop() if generations else 1, version, etags, digest)


def _split(key: str) -> tuple[int, str]:
    ours = parse_key(key)
    if ours is None or not ours.path:
        raise InvalidManifest("it names what is no part of an export")
    return ours.generation, ours.path
