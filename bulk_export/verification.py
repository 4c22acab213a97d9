"""Checks a finished export against its manifest: every file read to its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bulk_export.errors import DamagedState, VerificationFailed
from bulk_export.files import local_failures, sha256_of
from bulk_export.manifest import read_manifest
from bulk_export.sinks.read import UnreadablePart, count_rows

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked: numbers of files, rows and bytes."""

    files: int
    rows: int
    bytes: int


def verify(directory: Path) -> Verification:
    """Recompute sizes, hashes and row counts, and look for parts that the manifest does not name.

    Raises VerificationFailed with the differences, DamagedState where there is no manifest to check against.
    """
    with local_failures(f"Reading {directory}"):
        manifest = read_manifest(directory)
        differences: list[str] = []
        files = rows = size = 0
        named: set[str] = set()
        for name, endpoint in manifest["endpoints"].items():
            formats: dict[str, int] = {}
            for file in _files(endpoint):
                path = _inside(file["path"])
                named.add(file["path"])
                differences.extend(f"{file['path']}: {what}" for what in _check_file(directory / path, file))
                suffix = file["path"].partition(".")[2]
                formats[suffix] = formats.get(suffix, 0) + int(file["rows"])
                files, size = files + 1, size + int(file["bytes"])
            if not formats:
                differences.append(f"{name}: the manifest names no file")
            for suffix, counted in formats.items():
                rows += counted
                if counted != endpoint.get("records"):
                    differences.append(f"{name}: {counted} rows in {suffix} files, {endpoint.get('records')} records")
        differences.extend(f"{path}: not in the manifest" for path in _unnamed(directory, manifest, named))
    if differences:
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise VerificationFailed(
            f"{directory} differs from its manifest: {'; '.join(differences[:_SHOWN])}{more}.",
            next_step="Export again with --overwrite, or restore the files from a copy.",
        )
    return Verification(files, rows, size)


def _files(endpoint: Any) -> Iterator[Mapping[str, Any]]:
    files = endpoint.get("files") if isinstance(endpoint, dict) else None
    for file in files if isinstance(files, list) else ():
        if not isinstance(file, dict) or not {"path", "rows", "bytes", "sha256"} <= file.keys():
            raise DamagedState("The manifest describes a file incompletely.", kept="Nothing was changed.")
        yield file


def _inside(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or len(pure.parts) != 2:
        raise DamagedState(f"The manifest names a file outside of the export: {path!r}.", kept="Nothing was read.")
    return pure


def _check_file(path: Path, file: Mapping[str, Any]) -> Iterator[str]:
    if path.is_symlink() or not path.is_file():
        yield "missing"
        return
    size = path.stat().st_size
    if size != file["bytes"]:
        yield f"{size} bytes instead of {file['bytes']}"
    elif sha256_of(path) != file["sha256"]:
        yield "other content (sha256)"
    try:
        rows = count_rows(path)
    except (UnreadablePart, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield f"unreadable, {reason}"
        return
    if rows != file["rows"]:
        yield f"{rows} rows instead of {file['rows']}"


def _unnamed(directory: Path, manifest: Mapping[str, Any], named: set[str]) -> list[str]:
    """Files that look like parts beside those that are: a reader with a wildcard would take them in."""
    return sorted(
        f"{name}/{path.name}"
        for name in manifest["endpoints"]
        if (directory / _inside(f"{name}/x").parent).is_dir()
        for path in (directory / name).iterdir()
        if f"{name}/{path.name}" not in named
    )
