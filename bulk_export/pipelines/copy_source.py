"""What a load reads of a copy that sync keeps: its tables as they are, and what changed since a version."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds

from bulk_export.core.files import local_failures
from bulk_export.destinations.source import COPY, Batches, Source, SourceTable
from bulk_export.destinations.table_plan import plain_type
from bulk_export.errors import DamagedState, UsageError
from bulk_export.output.delta_files import LOG, check_path
from bulk_export.output.duckdb_sql import missing_extra
from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.output.formats.reading import first_unreadable
from bulk_export.pipelines.sync.state import CopyState
from bulk_export.pipelines.sync.state_file import read_state
from bulk_export.pipelines.sync.tables.parquet_table import FILE, ParquetCopyTable

_EXTRA = "delta"
_BATCH_ROWS = 16_384
_KEPT = "Nothing was changed at the destination."
# What makes two copies copies of the same: not the address, which may move, and not the token.
_IDENTITY = ("key", "service", "api_version", "filters", "drop_columns", "pseudonymise", "pseudonym_key")


def open_copy_source(directory: Path) -> Source:
    """Open a copy for reading. A poll may go on meanwhile: what is read is the version from now.

    Args:
        directory: Its directory.

    Returns:
        Its tables.

    Raises:
        DamagedState: The state or a table cannot be read.
        UsageError: No poll has finished yet, or the library for Delta tables is not installed.
    """
    state = read_state(directory)
    if state is None:
        raise UsageError(f"{directory} holds no copy.", next_step="Name a finished export or a synced copy.")
    identity = state.identity
    opened = _parquet_table if identity.get("format") == "parquet" else _delta_table
    with local_failures(f"Reading {directory}"):
        tables = {name: opened(directory, name) for name in state.watermarks if (directory / name).is_dir()}
    if not tables:
        raise UsageError(f"The copy in {directory} has no table yet.", next_step="Let sync finish first, then load.")
    service = f"{identity.get('service')} {identity.get('api_version')} at {identity.get('base_url')}"
    return Source(COPY, _id(state), service, tables)


def _id(state: CopyState) -> str:
    kept = {name: state.identity.get(name) for name in _IDENTITY}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _parquet_table(directory: Path, name: str) -> SourceTable:
    path = directory / name / FILE
    table = ParquetCopyTable(directory / name, directory / WORKING_DIRECTORY)
    if table.schema is None:
        raise DamagedState(f"{path} is missing.", kept=_KEPT, next_step="The next sync fetches all of it.")
    schema = _plain(table.schema)
    mark, status = table.mark, path.stat()

    def batches(columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        yield from _read((path,), schema, columns)
        now = path.stat()
        if (now.st_ino, now.st_mtime_ns) != (status.st_ino, status.st_mtime_ns):
            raise DamagedState(f"A poll replaced {path} while it was read.", kept=_KEPT, next_step="Load it again.")

    rows = _count_rows((path,), schema)
    return SourceTable(name, schema, rows, f"{mark.poll_id or mark.poll_number}", batches, lambda _: None)


def _delta_table(directory: Path, name: str) -> SourceTable:
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise missing_extra(_EXTRA) from None
    path = directory / name
    try:
        table = DeltaTable(check_path(path))
        schema = _plain(pa.schema(table.schema().to_arrow()))
        version, identity = table.version(), str(table.metadata().id)
        added = pa.table(table.get_add_actions(flatten=True))
    except DeltaError as error:
        raise DamagedState(
            f"The Delta table {path} cannot be read ({type(error).__name__}).", kept=_KEPT, next_step="Sync it again."
        ) from None
    files = [path / Path(unquote(file)).name for file in added["path"].to_pylist()]
    for file, size in zip(files, added["size_bytes"].to_pylist(), strict=True):
        reason = "is missing" if not file.is_file() else "is truncated" if file.stat().st_size != size else None
        if reason is not None:
            raise DamagedState(f"{file} {reason}.", kept=_KEPT, next_step="The next sync says what to do about it.")

    def batches(columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        return _read(files, schema, columns)

    def changed_since(earlier: str) -> Batches | None:
        table_id, _, number = earlier.rpartition(":")
        if table_id != identity or not number.isdigit() or int(number) > version:
            return None
        new = _files_added(path, int(number), version)
        if new is None:
            return None
        changed = [file for file in files if file.name in new]
        return lambda columns=None: _read(changed, schema, columns)

    rows = _count_rows(files, schema)
    return SourceTable(name, schema, rows, f"{identity}:{version}", batches, changed_since)


def _files_added(path: Path, after: int, until: int) -> set[str] | None:
    """The names of data files that the versions after one added; None if the log does not go back so far."""
    names: set[str] = set()
    for version in range(after + 1, until + 1):
        try:
            with (path / LOG / f"{version:020d}.json").open("rb") as lines:
                actions = [json.loads(line) for line in lines]
        except FileNotFoundError:
            return None
        except ValueError:
            raise DamagedState(f"The log of {path} cannot be read.", kept=_KEPT, next_step="Sync it again.") from None
        names |= {Path(unquote(action["add"]["path"])).name for action in actions if "add" in action}
    return names


def _read(files: Sequence[Path], schema: pa.Schema, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    names = [os.fspath(file) for file in files]
    try:
        dataset = ds.dataset(names, schema=schema, format="parquet")
        scanner = dataset.scanner(columns=columns, batch_size=_BATCH_ROWS, use_threads=False)
        yield from (batch for batch in scanner.to_batches() if batch.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(files, error) from None


def _count_rows(files: Sequence[Path], schema: pa.Schema) -> int:
    try:
        rows: int = ds.dataset([os.fspath(file) for file in files], schema=schema, format="parquet").count_rows()
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(files, error) from None
    return rows


def _unreadable(files: Sequence[Path], error: Exception) -> DamagedState:
    """The error for files that Arrow cannot read. It also raises OSError for bytes that are not as they were written.

    A poll may have replaced them meanwhile; otherwise it names the damaged one.
    """
    file = first_unreadable(file for file in files if file.is_file())
    if file is None:
        return DamagedState(
            f"A file of {files[0].parent} cannot be read ({type(error).__name__}).",
            kept=_KEPT,
            next_step="Load it again; if that fails, too, the next sync says what to do about it.",
        )
    return DamagedState(
        f"{file} cannot be read.",
        kept=_KEPT,
        next_step=f"Restore it from a backup, or remove {file.parent}: the next sync fetches all of it.",
    )


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_type(plain_type(field.type)).remove_metadata() for field in schema])
