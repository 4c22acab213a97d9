"""Finds the tables to check: those of a finished export, or of a copy, with the history of Delta tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.output.delta_files import LOG, check_path, files_of
from bulk_export.output.duckdb_sql import missing_extra
from bulk_export.output.file_names import MANIFEST, SYNC_STATE, WORKING_DIRECTORY
from bulk_export.output.manifest import read_manifest
from bulk_export.output.missing_export import how_to_finish, no_finished_export
from bulk_export.pipelines.checks.history import StartVersion, TableHistory, oldest_checkpoint, read_history
from bulk_export.pipelines.checks.queries import TABLES
from bulk_export.pipelines.sync.log import PollTimes, read_poll_times

EXTRA = "check"


@dataclass(frozen=True, slots=True)
class CopyTableFiles:
    """One table.

    Attributes:
        files: Its current Parquet files.
        history: Its versions, if it is a Delta table.
        columns: SQL types of the columns, for a Delta table without rows, which may have no file.
        polls: Times of the polls of this table, as far as the log of the copy goes back.
    """

    files: tuple[Path, ...]
    history: TableHistory | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    polls: tuple[PollTimes, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedTables:
    """The tables under the names that the checks use, and remarks on what limits the results."""

    tables: Mapping[str, CopyTableFiles]
    remarks: tuple[str, ...] = ()


def find_tables(directory: Path) -> CheckedTables:
    """Find the tables in a directory.

    Raises:
        DamagedState: A table cannot be read.
        LocalFailure: The directory cannot be read.
        UsageError: There are no tables to check.
    """
    try:
        if not directory.is_dir():
            raise no_finished_export(directory)
        delta = {name: path for name, path in _folders(directory).items() if (path / LOG).is_dir()}
        if delta:
            polls = read_poll_times(directory)
            return CheckedTables({name: _delta_table(path, polls.get(path.name, ())) for name, path in delta.items()})
        if (directory / MANIFEST).exists():
            return _exported_tables(directory)
        if (directory / SYNC_STATE).exists():
            return _parquet_copy(directory)
        unfinished = (directory / WORKING_DIRECTORY).is_dir()
    except OSError as error:
        raise LocalFailure(
            f"Reading {directory} failed: {error.strerror}.", next_step="Check that it may be read."
        ) from None
    if unfinished:
        raise UsageError(
            f"{directory} holds an unfinished export.", next_step=f"{how_to_finish(directory)} Then check."
        )
    raise UsageError(
        f"{directory} holds no tables to check.",
        next_step="Name the directory of a finished export, or of a copy that sync keeps.",
    )


def _folders(directory: Path) -> dict[str, Path]:
    return {name: directory / endpoint for name, endpoint in TABLES.items()}


def _parquet_copy(directory: Path) -> CheckedTables:
    """The tables of a copy in Parquet files, which have no history."""
    files_by_table = {name: sorted(path.glob("*.parquet")) for name, path in _folders(directory).items()}
    for file in (file for files in files_by_table.values() for file in files):
        _refuse_irregular(file)
    tables = {name: CopyTableFiles(tuple(files)) for name, files in files_by_table.items() if files}
    if not tables:
        raise UsageError(f"{directory} holds no tables to check.", next_step="Sync the endpoints first, then check.")
    return CheckedTables(tables)


def _exported_tables(directory: Path) -> CheckedTables:
    manifest = read_manifest(directory)
    tables: dict[str, CopyTableFiles] = {}
    for name, endpoint in TABLES.items():
        described = manifest["endpoints"].get(endpoint)
        if described is None:
            continue
        listed = described.get("files", []) if isinstance(described, dict) else []
        paths = [file.get("path") for file in listed if isinstance(file, dict)]
        parts = tuple(
            directory / endpoint / Path(path).name
            for path in paths
            if isinstance(path, str) and path.endswith(".parquet")
        )
        if not parts:
            raise UsageError(
                f"{directory} holds no Parquet files of {endpoint}.", next_step="Export with --format parquet to check."
            )
        if lost := next((part for part in parts if not part.is_file()), None):
            raise DamagedState(
                f"{lost} is missing.",
                kept="Nothing was changed.",
                next_step=f"bulk-export verify {directory} says more.",
            )
        tables[name] = CopyTableFiles(parts)
    parameters = manifest.get("parameters")
    partial = isinstance(parameters, dict) and (parameters.get("filters") or parameters.get("updated_since"))
    remark = "The export was filtered, so what is missing from it may well be with the service."
    return CheckedTables(tables, (remark,) if partial else ())


def _delta_table(path: Path, polls: tuple[PollTimes, ...]) -> CopyTableFiles:
    """A Delta table with all versions whose log is kept."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise missing_extra(EXTRA) from None
    location = check_path(path)
    try:
        table = DeltaTable(location)
        latest, current = table.version(), files_of(table, path)
        columns = {column.name: _sql_type(column.type) for column in pa.schema(table.schema().to_arrow())}
        first = None
        start = oldest_checkpoint(path)
        if start is not None:
            table.load_as_version(start)
            written = pa.table(table.get_add_actions()).column("modification_time").to_pylist()
            files = frozenset(file.relative_to(path).as_posix() for file in files_of(table, path))
            first = StartVersion(start, files, datetime.fromtimestamp(max(written, default=0) / 1000, UTC))
    except DeltaError as error:
        raise DamagedState(
            f"The Delta table {path} cannot be read ({type(error).__name__}).",
            kept="Nothing was changed.",
            next_step="Restore it from a copy, or make the copy anew in another directory.",
        ) from None
    for file in current:
        _refuse_irregular(file)
    return CopyTableFiles(current, read_history(path, latest, first), columns, polls)


def _refuse_irregular(file: Path) -> None:
    """Raise DamagedState for anything but a file: reading from a pipe or a device may never end."""
    if not file.is_file():
        raise DamagedState(
            f"{file} is missing, or is no file.",
            kept="Nothing was changed.",
            next_step="Restore it from a backup, or remove its directory: the next sync fetches all of it.",
        )


def _sql_type(type_: pa.DataType) -> str:
    """The SQL type of a column without rows, as exact as the checks need it."""
    if pa.types.is_boolean(type_):
        return "BOOLEAN"
    return "TIMESTAMPTZ" if pa.types.is_timestamp(type_) else "VARCHAR"
