"""Finds the tables of a copy: those of a finished export, or Delta tables with their history."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from bulk_export.core.files import open_regular
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.output.delta_files import LOG, check_path, files_of
from bulk_export.output.duckdb_sql import missing_extra
from bulk_export.output.file_names import MANIFEST, SYNC_STATE, WORKING_DIRECTORY
from bulk_export.output.manifest import read_manifest
from bulk_export.pipelines.checks.history import Base, History, oldest_checkpoint, read_history
from bulk_export.pipelines.checks.queries import TABLES

EXTRA = "check"
POLL_LOG = "sync-log.jsonl"

# When a poll started and when it ended.
Poll = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class CopyTableFiles:
    """One table: its Parquet files, and its history where one is kept.

    `columns` names the columns with their SQL types, for where no file tells them. `polls` holds the start and the end
    of the polls that asked for this table, as far as the log of the copy goes back.
    """

    files: tuple[Path, ...]
    history: History | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    polls: tuple[Poll, ...] = ()


@dataclass(frozen=True, slots=True)
class Copy:
    """The tables of a copy under the names that the questions use, and what limits the answers from it."""

    tables: Mapping[str, CopyTableFiles]
    remarks: tuple[str, ...] = ()


def open_copy(directory: Path) -> Copy:
    """The tables in a directory. Raises UsageError, DamagedState or LocalFailure."""
    try:
        if not directory.is_dir():
            raise UsageError(f"{directory} is not a directory.", next_step="Name a finished export or a synced copy.")
        delta = {name: path for name, path in _folders(directory).items() if (path / LOG).is_dir()}
        if delta:
            polls = _polls(directory)
            return Copy({name: _delta_table(path, polls.get(path.name, ())) for name, path in delta.items()})
        if (directory / MANIFEST).exists():
            return _export(directory)
        if (directory / SYNC_STATE).exists():
            return _snapshots(directory)
        unfinished = (directory / WORKING_DIRECTORY).is_dir()
    except OSError as error:
        raise LocalFailure(
            f"Reading {directory} failed: {error.strerror}.", next_step="Check that it may be read."
        ) from None
    if unfinished:
        raise UsageError(
            f"{directory} holds an unfinished export.", next_step="Run the same export again to finish it, then check."
        )
    raise UsageError(
        f"{directory} holds no tables to check.",
        next_step="Name the directory of a finished export, or of a copy that sync keeps.",
    )


def _folders(directory: Path) -> dict[str, Path]:
    return {name: directory / endpoint for name, endpoint in TABLES.items()}


def _snapshots(directory: Path) -> Copy:
    """Copies that sync keeps as plain files, without a history."""
    found = {name: sorted(path.glob("*.parquet")) for name, path in _folders(directory).items()}
    for file in (file for files in found.values() for file in files):
        _refuse_irregular(file)
    tables = {name: CopyTableFiles(tuple(files)) for name, files in found.items() if files}
    if not tables:
        raise UsageError(f"{directory} holds no tables to check.", next_step="Sync the endpoints first, then check.")
    return Copy(tables)


def _export(directory: Path) -> Copy:
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
    return Copy(tables, (remark,) if partial else ())


def _delta_table(path: Path, polls: tuple[Poll, ...]) -> CopyTableFiles:
    """A table with all versions whose log is kept."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise missing_extra(EXTRA) from None
    place = check_path(path)
    try:
        table = DeltaTable(place)
        latest, current = table.version(), files_of(table, path)
        columns = {column.name: _sql_type(column.type) for column in pa.schema(table.schema().to_arrow())}
        base = None
        start = oldest_checkpoint(path)
        if start is not None:
            table.load_as_version(start)
            written = pa.table(table.get_add_actions()).column("modification_time").to_pylist()
            files = frozenset(str(file.relative_to(path)) for file in files_of(table, path))
            base = Base(start, files, datetime.fromtimestamp(max(written, default=0) / 1000, UTC))
    except DeltaError as error:
        raise DamagedState(
            f"The Delta table {path} cannot be read ({type(error).__name__}).", kept="Nothing was changed."
        ) from None
    for file in current:
        _refuse_irregular(file)
    return CopyTableFiles(current, read_history(path, latest, base), columns, polls)


def _refuse_irregular(file: Path) -> None:
    """Raise DamagedState for what is no file: reading from a pipe or a device may never end."""
    if not file.is_file():
        raise DamagedState(
            f"{file} is missing, or is no file.",
            kept="Nothing was changed.",
            next_step="Restore it from a backup, or remove its directory: the next sync fetches it whole.",
        )


def _sql_type(kind: pa.DataType) -> str:
    """The type of a column that holds no row, as far as the questions look at it."""
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    return "TIMESTAMPTZ" if pa.types.is_timestamp(kind) else "VARCHAR"


def _polls(directory: Path) -> dict[str, tuple[Poll, ...]]:
    """All polls of a copy that are in its log, by endpoint. Lines that cannot be read are passed over."""
    polls: dict[str, dict[datetime, datetime]] = {}
    try:
        with os.fdopen(open_regular(directory / POLL_LOG, follows=True), "rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    start, end = (datetime.fromisoformat(entry[name]) for name in ("started_at", "finished_at"))
                    for name in entry["endpoints"]:
                        known = polls.setdefault(name, {})
                        known[start] = max(start, end, known.get(start, start))
                except (ValueError, TypeError, KeyError, RecursionError):
                    continue
    except FileNotFoundError:
        return {}
    return {name: tuple(sorted(found.items())) for name, found in polls.items()}
