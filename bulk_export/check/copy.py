"""Finds the tables of a copy: those of a finished export, or Delta tables with their history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bulk_export.check.question import TABLES
from bulk_export.database import missing_extra
from bulk_export.delta_files import LOG, check_path, files_of
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.files import MANIFEST, SYNC_STATE, WORKING_DIRECTORY
from bulk_export.manifest import read_manifest

EXTRA = "check"


@dataclass(frozen=True, slots=True)
class Version:
    """The files that one version of a Delta table consists of."""

    number: int
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """One table: its Parquet files, and its versions, oldest first, where its history is kept.

    `gone` counts the files of earlier versions that were cleaned away.
    """

    files: tuple[Path, ...]
    versions: tuple[Version, ...] = ()
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """The tables of a copy under the names that the questions use, and what limits the answers from it."""

    tables: Mapping[str, CopiedTable]
    remarks: tuple[str, ...] = ()


def open_copy(directory: Path) -> Copy:
    """The tables in a directory. Raises UsageError, DamagedState or LocalFailure."""
    try:
        if not directory.is_dir():
            raise UsageError(f"{directory} is not a directory.", next_step="Name a finished export or a synced copy.")
        delta = {name: path for name, path in _folders(directory).items() if (path / LOG).is_dir()}
        if delta:
            return Copy({name: _delta_table(path) for name, path in delta.items()})
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
    tables = {name: CopiedTable(tuple(files)) for name, files in found.items() if files}
    if not tables:
        raise UsageError(f"{directory} holds no tables to check.", next_step="Sync the endpoints first, then check.")
    return Copy(tables)


def _export(directory: Path) -> Copy:
    manifest = read_manifest(directory)
    tables: dict[str, CopiedTable] = {}
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
        tables[name] = CopiedTable(parts)
    parameters = manifest.get("parameters")
    partial = isinstance(parameters, dict) and (parameters.get("filters") or parameters.get("updated_since"))
    remark = "The export was filtered, so what is missing from it may well be with the service."
    return Copy(tables, (remark,) if partial else ())


def _delta_table(path: Path) -> CopiedTable:
    """A table with all versions whose log is kept. Files that a vacuum removed are left out and counted."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise missing_extra(EXTRA) from None
    place = check_path(path)
    try:
        table = DeltaTable(place)
        latest = table.version()
        current = files_of(table, path)
    except DeltaError as error:
        raise DamagedState(
            f"The Delta table {path} cannot be read ({type(error).__name__}).", kept="Nothing was changed."
        ) from None
    versions = [Version(latest, current)]
    seen = set(current)
    gone: set[Path] = set()
    for number in range(latest - 1, -1, -1):
        try:
            table.load_as_version(number)
        except DeltaError:
            break  # the log before this version was cleaned up
        files = files_of(table, path)
        there = tuple(file for file in files if file in seen or file.is_file())
        gone.update(set(files) - set(there))
        seen.update(there)
        versions.append(Version(number, there))
    return CopiedTable(current, tuple(reversed(versions)), len(gone))
