"""What a load reads: the tables of a finished export, checked against its manifest while they are read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from bulk_export.core.files import local_failures, open_regular
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.file_names import MANIFEST, WORKING_DIRECTORY
from bulk_export.output.manifest import InvalidManifest, check_manifest, read_manifest

_PARQUET = ".parquet"
_BATCH_ROWS = 16_384

EXPORT, COPY = "export", "copy"


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


def open_export(directory: Path) -> Source:
    """Open a finished export.

    Args:
        directory: Its directory.

    Returns:
        Its tables. Reading one raises DamagedState for a file that is not as the manifest says.

    Raises:
        DamagedState: The manifest is missing or cannot be trusted.
        UsageError: The export has no Parquet files.
        LocalFailure: The directory cannot be read.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory.", next_step="Name a finished export or a synced copy.")
    if (directory / WORKING_DIRECTORY).is_dir() and not (directory / MANIFEST).exists():
        raise UsageError(
            f"{directory} holds an unfinished export.", next_step="Run the same export again to finish it, then load."
        )
    manifest = read_manifest(directory)
    try:
        check_manifest(manifest)
    except InvalidManifest as error:
        raise DamagedState(f"The manifest of {directory} cannot be used: {error}.", kept=_KEPT) from None
    with local_failures(f"Reading {directory}"), os.fdopen(open_regular(directory / MANIFEST), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    tables = {name: _exported_table(directory, name, described) for name, described in manifest["endpoints"].items()}
    service = f"{manifest.get('service')} {manifest.get('api_version')} at {manifest.get('base_url')}"
    return Source(EXPORT, digest, service, tables, _reason_for_partial(manifest))


_KEPT = "Nothing was changed at the destination."


def _exported_table(directory: Path, name: str, described: Mapping[str, Any]) -> SourceTable:
    parts = [file for file in described["files"] if file["path"].endswith(_PARQUET)]
    if not parts:
        raise UsageError(
            f"{directory} has no Parquet files of {name}.",
            next_step="Export with --format parquet, or make them of kept pages with bulk-export replay.",
        )
    first = directory / parts[0]["path"]
    with local_failures(f"Reading {first}"), _opened(first) as file:
        schema = _parquet(file, first).schema_arrow

    def batches(columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        for part in parts:
            yield from _checked_batches(directory / part["path"], part, schema, columns)

    return SourceTable(name, schema, sum(part["rows"] for part in parts), "", batches, lambda _: None)


def _checked_batches(
    path: Path, described: Mapping[str, Any], schema: pa.Schema, columns: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a part whose size, hash, columns and number of rows are as described."""
    with local_failures(f"Reading {path}"), _opened(path) as file:
        before = os.fstat(file.fileno())
        if before.st_size != described["bytes"]:
            raise _differs(path, f"it has {before.st_size:,} bytes instead of {described['bytes']:,}")
        if hashlib.file_digest(file, "sha256").hexdigest() != described["sha256"]:
            raise _differs(path, "it has other content (sha256)")
        file.seek(0)
        parquet = _parquet(file, path)
        if parquet.schema_arrow != schema:
            raise _differs(path, "it has other columns than the first part")
        rows = 0
        try:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                rows += batch.num_rows
                yield batch
        except pa.ArrowException as error:
            raise _differs(path, f"it cannot be read ({type(error).__name__})") from None
        after = os.fstat(file.fileno())
        if rows != described["rows"]:
            raise _differs(path, f"it has {rows:,} rows instead of {described['rows']:,}")
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise _differs(path, "it was changed while it was read")


def _opened(path: Path) -> Any:
    if path.parent.is_symlink():
        raise _differs(path, "a symbolic link leads elsewhere")
    return os.fdopen(open_regular(path), "rb")


def _parquet(file: Any, path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file, page_checksum_verification=True)
    except pa.ArrowException as error:
        raise _differs(path, f"it cannot be read ({type(error).__name__})") from None


def _differs(path: Path, what: str) -> DamagedState:
    return DamagedState(
        f"{path} is not as its manifest says: {what}.",
        kept=_KEPT,
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
