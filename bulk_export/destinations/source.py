"""What a load reads: the tables of a finished export, checked against its manifest while they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.files import local_failures, open_regular
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import MANIFEST, WORKING_DIRECTORY
from bulk_export.output.manifest import InvalidManifest, check_manifest, read_manifest
from bulk_export.output.missing_export import how_to_finish, no_finished_export

_PARQUET = ".parquet"
_BATCH_ROWS = 16_384

EXPORT, COPY = "export", "copy"
KEPT = "Nothing was changed at the destination."
OTHER_CONTENT = "it has other content (sha256)"


class Batches(Protocol):
    """Reads rows anew with each call: all columns, or some of them in the order of the schema."""

    def __call__(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]: ...


@dataclass(frozen=True, slots=True)
class SourceTable:
    """The records of one endpoint.

    Attributes:
        endpoint: Its name.
        schema: The columns.
        rows: How many there are.
        version: The version of a copy's table; empty for an export.
        batches: Reads all rows.
        changed_since: Returns what reads all rows that may differ from an earlier version, and perhaps others; None if
            the source cannot tell.
    """

    endpoint: str
    schema: pa.Schema
    rows: int
    version: str
    batches: Batches
    changed_since: Callable[[str], Batches | None]


@dataclass(frozen=True, slots=True)
class Source:
    """A finished export or a copy.

    Attributes:
        kind: `export` or `copy`.
        id: SHA-256 of the manifest, or the identity of the copy, in hexadecimal.
        service: Name and API version of the service, and its address.
        tables: The endpoints by name.
        partial: Why it does not hold all records of the service, as a clause; empty if it does.
    """

    kind: str
    id: str
    service: str
    tables: Mapping[str, SourceTable]
    partial: str = ""


class ExportParts(Protocol):
    """The part files of an export, wherever it is. A part is given as its manifest describes it."""

    def name(self, part: Mapping[str, Any]) -> str:
        """Where a part is, for messages."""
        ...

    def schema(self, part: Mapping[str, Any]) -> pa.Schema:
        """The columns of a part, whose content is not checked yet. Raises what `opened` raises."""
        ...

    def opened(self, part: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """A part as an open file, whose size and hash are as described. Raises DamagedState and BulkExportError."""
        ...


def open_export(directory: Path) -> Source:
    """Open a finished export.

    Args:
        directory: Its directory.

    Returns:
        Its tables. Reading one raises DamagedState for a file that is not as the manifest says.

    Raises:
        DamagedState: The manifest cannot be trusted.
        UsageError: There is no finished export, or it has no Parquet files.
        LocalFailure: The directory cannot be read.
    """
    if not directory.is_dir():
        raise no_finished_export(directory)
    if (directory / WORKING_DIRECTORY).is_dir() and not (directory / MANIFEST).exists():
        raise UsageError(
            f"{directory} holds an unfinished export.", next_step=f"{how_to_finish(directory)} Then load it."
        )
    manifest = read_manifest(directory)
    with local_failures(f"Reading {directory}"), os.fdopen(open_regular(directory / MANIFEST), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return export_source(str(directory), manifest, digest, _DirectoryParts(directory))


def export_source(place: str, manifest: Mapping[str, Any], digest: str, parts: ExportParts) -> Source:
    """The tables of an export.

    Args:
        place: Where it is, for messages.
        manifest: Its manifest.
        digest: The SHA-256 of the manifest, in hexadecimal.
        parts: Its part files.

    Returns:
        Its tables. Reading one raises DamagedState for a part that is not as the manifest says.

    Raises:
        DamagedState: The manifest cannot be trusted, or a part cannot be read.
        UsageError: The export has no Parquet files.
        BulkExportError: A part cannot be reached.
    """
    try:
        check_manifest(manifest)
    except InvalidManifest as error:
        raise DamagedState(
            f"The manifest of {place} cannot be used: {error}.",
            kept=KEPT,
            next_step="Restore it from a copy, or export again with --overwrite.",
        ) from None
    tables = {name: _exported_table(place, name, described, parts) for name, described in manifest["endpoints"].items()}
    service = f"{manifest.get('service')} {manifest.get('api_version')} at {manifest.get('base_url')}"
    return Source(EXPORT, digest, service, tables, _reason_for_partial(manifest))


def _exported_table(place: str, name: str, described: Mapping[str, Any], parts: ExportParts) -> SourceTable:
    files = [file for file in described["files"] if file["path"].endswith(_PARQUET)]
    if not files:
        raise UsageError(
            f"{place} has no Parquet files of {name}.",
            next_step="Export with --format parquet, or make them of kept pages with bulk-export replay.",
        )
    schema = parts.schema(files[0])

    def batches(columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        for part in files:
            yield from _checked_batches(parts, part, schema, columns)

    return SourceTable(name, schema, sum(part["rows"] for part in files), "", batches, lambda _: None)


def _checked_batches(
    parts: ExportParts, part: Mapping[str, Any], schema: pa.Schema, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a part whose size, hash, columns and number of rows are as described."""
    name = parts.name(part)
    with parts.opened(part) as file:
        parquet = open_parquet(file, name)
        if parquet.schema_arrow != schema:
            raise differs(name, "it has other columns than the first part")
        rows = 0
        try:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                rows += batch.num_rows
                yield batch
        except pa.ArrowException as error:
            raise differs(name, f"it cannot be read ({type(error).__name__})") from None
        if rows != part["rows"]:
            raise differs(name, f"it has {rows:,} rows instead of {part['rows']:,}")


@dataclass(frozen=True, slots=True)
class _DirectoryParts:
    """The part files below a directory."""

    directory: Path

    def name(self, part: Mapping[str, Any]) -> str:
        return str(self.directory / part["path"])

    def schema(self, part: Mapping[str, Any]) -> pa.Schema:
        with self._file(part) as file:
            return open_parquet(file, self.name(part)).schema_arrow

    @contextmanager
    def opened(self, part: Mapping[str, Any]) -> Iterator[Any]:
        name = self.name(part)
        with self._file(part) as file:
            before = os.fstat(file.fileno())
            if before.st_size != part["bytes"]:
                raise differs(name, f"it has {before.st_size:,} bytes instead of {part['bytes']:,}")
            if hashlib.file_digest(file, "sha256").hexdigest() != part["sha256"]:
                raise differs(name, OTHER_CONTENT)
            file.seek(0)
            yield file
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise differs(name, "it was changed while it was read")

    @contextmanager
    def _file(self, part: Mapping[str, Any]) -> Iterator[Any]:
        path = self.directory / part["path"]
        with local_failures(f"Reading {path}"):
            if path.parent.is_symlink():
                raise differs(str(path), "a symbolic link leads elsewhere")
            with os.fdopen(open_regular(path), "rb") as file:
                yield file


def open_parquet(file: Any, name: str) -> pq.ParquetFile:
    """Open a part as a Parquet file. Raises DamagedState if it is none."""
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise differs(name, f"it cannot be read ({type(error).__name__})") from None


def differs(name: str, what: str) -> DamagedState:
    """The error for a part that is not as described: `what` is a clause about it."""
    return DamagedState(
        f"{name} is not as its manifest says: {what}.",
        kept=KEPT,
        next_step="bulk-export verify says more. Export again with --overwrite, or restore the files from a copy.",
    )


def _reason_for_partial(manifest: Mapping[str, Any]) -> str:
    parameters = manifest.get("parameters")
    if not isinstance(parameters, dict):
        return ""
    if parameters.get("updated_since"):
        return f"holds only records that changed since {parameters['updated_since']}"
    if parameters.get("sample"):
        return f"is a sample of at most {parameters['sample']} records an endpoint"
    return "was filtered" if parameters.get("filters") else ""
