"""Checks a finished export against its manifest, reading every file to its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bulk_export.core.files import local_failures, sha256_of
from bulk_export.core.text import counted
from bulk_export.errors import DamagedState, VerificationFailed
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.output.formats import UnreadablePart
from bulk_export.output.formats.reading import count_rows
from bulk_export.output.manifest import read_manifest

# What to do about an export that differs.
MEND = "Export again with --overwrite, or restore the files from a copy."
_SHOWN = 20
_RESTORE = "Restore the manifest from a copy, or export again with --overwrite."
_DEPTH = 2  # {endpoint}/{part}
_PART = "part-*"
# File browsers leave these in directories that they show. No reader takes them for data.
_FILE_BROWSER_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Verification:
    """How many files, rows and bytes were checked.

    `passed_over` are paths, relative to the export, of files that a file browser left beside the parts.
    """

    files: int
    rows: int
    bytes: int
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DescribedFile:
    """A file as the manifest describes it; `path` is relative to the export."""

    path: str
    rows: int
    bytes: int
    sha256: str

    @property
    def format(self) -> str:
        """The format, as the name has it: `parquet`, `ndjson.gz`."""
        return PurePosixPath(self.path).name.partition(".")[2]


def verify(directory: Path, *, quick: bool = False) -> Verification:
    """Compare a finished export with its manifest: sizes, hashes and row counts, and files that it does not name.

    Args:
        directory: The output directory of the export.
        quick: Whether the sizes of the files suffice.

    Returns:
        What was verified, in numbers.

    Raises:
        VerificationFailed: The export differs from its manifest. The message names the differences.
        DamagedState: The export is not finished, or its manifest cannot be used.
        UsageError: There is no such directory, or it holds no export.
        LocalFailure: The directory cannot be read.
    """
    manifest = read_manifest(directory)
    files = described_files(manifest)
    every = [file for of_endpoint in files.values() for file in of_endpoint]
    with local_failures(f"Reading {directory}"):
        differences = [f"{file.path}: {what}" for file in every for what in _check(directory, file, quick=quick)]
        for name, endpoint in manifest["endpoints"].items():
            differences.extend(f"{name}: {what}" for what in check_counts(endpoint, files[name]))
        listed = {file.path for file in every}
        unlisted = _unlisted(directory, set(files), listed)
        passed_over = tuple(path for path in unlisted if _is_left_by_a_file_browser(directory / path))
        differences.extend(f"{path}: not in the manifest" for path in unlisted if path not in passed_over)
    raise_differences(str(directory), differences)
    return Verification(len(every), sum(file.rows for file in every), sum(file.bytes for file in every), passed_over)


def described_files(manifest: Mapping[str, Any]) -> dict[str, list[DescribedFile]]:
    """The files of each endpoint. Raises DamagedState for a manifest that describes them incompletely."""
    return {name: [_described(file) for file in _files(endpoint)] for name, endpoint in manifest["endpoints"].items()}


def raise_differences(export: str, differences: Sequence[str]) -> None:
    """Raise VerificationFailed if an export differs from its manifest; the message names some differences."""
    if differences:
        more = f", and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
        raise VerificationFailed(
            f"{export} differs from its manifest: {'; '.join(differences[:_SHOWN])}{more}.",
            next_step=MEND,
        )


def _is_left_by_a_file_browser(path: Path) -> bool:
    return path.name in _FILE_BROWSER_FILES and path.is_file() and not path.is_symlink()


def _files(endpoint: Any) -> list[Any]:
    files = endpoint.get("files", []) if isinstance(endpoint, dict) else None
    if not isinstance(files, list):
        raise DamagedState(
            "The manifest describes an endpoint without its files.", kept="Nothing was changed.", next_step=_RESTORE
        )
    return files


def _described(file: Any) -> DescribedFile:
    described = file if isinstance(file, dict) else {}
    path, sha256 = described.get("path"), described.get("sha256")
    rows, size = described.get("rows"), described.get("bytes")
    if not isinstance(path, str) or not isinstance(sha256, str) or type(rows) is not int or type(size) is not int:
        raise DamagedState(
            "The manifest describes a file incompletely.", kept="Nothing was changed.", next_step=_RESTORE
        )
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\0" in path or len(pure.parts) != _DEPTH:
        raise DamagedState(
            f"The manifest names a file outside of the export: {path!r}.", kept="Nothing was read.", next_step=_RESTORE
        )
    return DescribedFile(str(pure), rows, size, sha256)


def _check(directory: Path, file: DescribedFile, *, quick: bool) -> Iterator[str]:
    path = directory / file.path
    if path.is_symlink() or path.parent.is_symlink():
        yield "a symbolic link leads elsewhere"
        return
    if not path.is_file():
        yield "missing"
        return
    try:
        size = path.stat().st_size
        if size != file.bytes:
            yield f"{size} bytes instead of {file.bytes}"
        elif not quick and sha256_of(path) != file.sha256:
            yield "other content (sha256)"
    except OSError as error:
        yield f"unreadable, {error.strerror or error}"
        return
    if not quick:
        yield from check_rows(path, file)


def check_rows(path: Path, file: DescribedFile) -> Iterator[str]:
    """Read a part to its end, and yield how it differs from its description."""
    try:
        rows = count_rows(path)
    except (UnreadablePart, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield f"unreadable, {reason}"
        return
    if rows != file.rows:
        yield f"{counted(rows, 'row')} instead of {file.rows:,}"


def check_counts(endpoint: Mapping[str, Any], files: list[DescribedFile]) -> Iterator[str]:
    """Yield what is wrong where a format does not hold every record once."""
    records = endpoint.get("records")
    rows: Counter[str] = Counter()
    for file in files:
        rows[file.format] += file.rows
    if not files:
        yield "the manifest names no file"
    if len({file.path for file in files}) < len(files):
        yield "the manifest names a file twice"
    for suffix, number in rows.items():
        if number != records:
            yield f"{counted(number, 'row')} in {suffix} files, {records} records"


def _unlisted(directory: Path, endpoints: set[str], listed: set[str]) -> list[str]:
    """Files that a reader with a wildcard would read as well: beside the parts, and parts in other directories."""
    found: list[str] = []
    for folder in directory.iterdir():
        if folder.is_dir() and folder.name != WORKING_DIRECTORY:
            entries = folder.iterdir() if folder.name in endpoints else folder.glob(_PART)
            found.extend(f"{folder.name}/{entry.name}" for entry in entries)
    return sorted(set(found) - listed)
