"""The budget file: how it is created, opened and checked.

It is created completely or not at all, private from the moment it exists, and never in place of another file.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import re
import secrets
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bulk_export.core.compat import opening
from bulk_export.core.compat.directories import close_directory, lock_directory, open_directory
from bulk_export.core.files import make_private_directory, sync_directory
from bulk_export.errors import BudgetUnavailable, DamagedState
from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.sqlite.schema import APPLICATION_ID, MIGRATED_VERSION, SCHEMA, VERSION, migrate

logger = logging.getLogger(__name__)

# A step takes a fraction of a millisecond. A process that holds the file for so long is stopped, not slow.
_BUSY_SECONDS = 15.0
# Removing a log takes a fraction of a millisecond, too.
_LOCK_SECONDS, _LOCK_PAUSE = 2.0, 0.005
_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK_FILE_SYSTEMS = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "sshfs", "glusterfs", "lustre", "beegfs", "afs", "gpfs"]
)
_OCTAL = re.compile(rb"\\([0-7]{3})")
_REPAIR = "Check the file; if you need not keep it, move it away and wait for one period of the limits."


@contextlib.contextmanager
def file_failures(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the disk into DamagedState or BudgetUnavailable."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except sqlite3.Error as error:
        raise _failure(error, path) from None
    except (UnicodeDecodeError, msgspec.MsgspecError):
        raise _damaged(path) from None
    except OSError as error:
        raise BudgetUnavailable(
            f"The budget file {path} cannot be used: {error.strerror or type(error).__name__}.",
            kept="Nothing is sent without counting it.",
            next_step="Repair access to it, or name another file with --budget.",
        ) from None


def open_file(path: Path, clock: BootClock) -> sqlite3.Connection:
    """Open the budget file, created with mode 0600 if there is none. A file of format 1 is migrated.

    Raises:
        DamagedState: It is no budget file, damaged, or of a newer format.
        BudgetUnavailable: It cannot be used now, or has a second name.
    """
    with file_failures(path):
        make_private_directory(path.parent)
        if not os.path.lexists(path):
            _create(path)
        _refuse_second_name(path)
        last_written = _last_written(path)
        connection = connect(path)
        try:
            _check(connection, path, clock, last_written)
        except BaseException:
            connection.close()
            raise
        return connection


def connect(path: Path) -> sqlite3.Connection:
    """Connect to an existing file; SQLite must not create one."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    connection.isolation_level = None
    return connection


def _create(path: Path) -> None:
    """Create the complete file under a temporary name, and link it to its own unless another process was faster."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(opening.open_file(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    try:
        with contextlib.closing(connect(temporary)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
            connection.execute("INSERT INTO state VALUES (?, NULL)", (secrets.token_bytes(32),))
            connection.execute("PRAGMA journal_mode = WAL")
        _remove_log_without_file(path)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def file_number(path: Path) -> tuple[int, int]:
    """Return device and inode of the file. Raises BudgetUnavailable if it has a second name."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        return status.st_dev, status.st_ino
    if status.st_nlink > 1:
        _remove_unfinished(path, status)
        status = path.stat()
    if status.st_nlink > 1:
        raise _second_name(path, "has a second name, a hard link")
    return status.st_dev, status.st_ino


def _refuse_second_name(path: Path) -> None:
    """Raise BudgetUnavailable for a second name: SQLite keeps its log beside the file, so each would have a record."""
    file_number(path)
    if path.resolve() in _mounts():
        raise _second_name(path, "is mounted by itself, so it has another name elsewhere")


def _remove_unfinished(path: Path, status: os.stat_result) -> None:
    """Remove the temporary name that a process left which was killed while it created the file."""
    resolved = path.resolve()
    for leftover in resolved.parent.glob(f".{glob.escape(resolved.name)}.*"):
        if leftover.name != resolved.name and os.path.samestat(leftover.lstat(), status):
            leftover.unlink(missing_ok=True)


def _mounts() -> dict[Path, str]:
    """Return the file system type of each mount point; empty if the system does not tell."""
    types: dict[Path, str] = {}
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:
        return types
    for line in lines:
        before, _, after = line.partition(b" - ")
        fields = before.split(b" ")
        if len(fields) > 4:
            # Characters that would break a line are written in octal.
            point = _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), fields[4])
            types[Path(os.fsdecode(point))] = os.fsdecode(after.split(b" ")[0])
    return types


def _is_shared_by_machines(path: Path) -> bool:
    """Return whether a file is on a network file system, where SQLite's log lacks the shared memory it needs."""
    mounts = _mounts()
    point = next((above for above in path.resolve().parents if above in mounts), None)
    return point is not None and mounts[point].removeprefix("fuse.") in _NETWORK_FILE_SYSTEMS


def _second_name(path: Path, problem: str) -> BudgetUnavailable:
    return BudgetUnavailable(
        f"The budget file {path} {problem}; requests counted under one name would not be seen under the other.",
        kept="Nothing is sent without counting it.",
        next_step="Remove the other name, share the directory instead of the file, or name another file with --budget.",
    )


def _last_written(path: Path) -> float:
    """Return when the file, or the log beside it, was changed last, in seconds since the epoch."""
    times = [path.stat().st_mtime]
    with contextlib.suppress(OSError):
        times.append(path.with_name(f"{path.name}-wal").stat().st_mtime)
    return max(times)


def _remove_log_without_file(path: Path) -> None:
    """Remove the log that a removed file left: SQLite would apply it to the new file of that name."""
    log = path.with_name(f"{path.name}-wal")
    if not log.exists():
        return
    directory = open_directory(path.parent, follows=True)
    try:
        _lock(directory)
        # Another process may just have created the file, and begun a log of its own.
        if not os.path.lexists(path):
            path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
            log.unlink(missing_ok=True)
    finally:
        close_directory(directory)


def _lock(directory: int) -> None:
    """Lock an open directory, waiting for other processes that create the file at this moment.

    The wait is short: an export holds the lock of its output directory as long as it runs.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            lock_directory(directory)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_LOCK_PAUSE)
        else:
            return


def _check(connection: sqlite3.Connection, path: Path, clock: BootClock, last_written: float) -> None:
    if _number(connection, "application_id") != APPLICATION_ID:
        raise DamagedState(
            f"{path} is not a budget file.", kept="It was not touched.", next_step="Name another with --budget."
        )
    version = _number(connection, "user_version")
    if version not in (VERSION, MIGRATED_VERSION):
        raise DamagedState(
            f"The budget file {path} has format {version}, and this program knows formats up to {VERSION}.",
            kept="It was not touched.",
            next_step="Use the version that wrote it, or name another file with --budget.",
        )
    verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    states = connection.execute("SELECT count(*) FROM state").fetchone()[0]
    if verdict != "ok" or states != 1:
        raise _damaged(path)
    if version == MIGRATED_VERSION:
        _migrate(connection, clock, last_written)
        logger.info("Migrated the budget file %s from format %d to %d", path, version, VERSION)
    if _is_shared_by_machines(path):
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 1048576")


def _migrate(connection: sqlite3.Connection, clock: BootClock, last_written: float) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        if _number(connection, "user_version") == MIGRATED_VERSION:
            migrate(connection, clock, last_written)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _failure(error: sqlite3.Error, path: Path) -> DamagedState | BudgetUnavailable:
    reasons = {
        sqlite3.SQLITE_BUSY: "another process does not let go of it",
        sqlite3.SQLITE_FULL: "the disk is full",
        sqlite3.SQLITE_READONLY: "it is read-only",
        sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
        sqlite3.SQLITE_IOERR: "reading or writing failed",
        sqlite3.SQLITE_PERM: "access is denied",
        sqlite3.SQLITE_NOMEM: "there is no memory left",
        sqlite3.SQLITE_PROTOCOL: "its lock cannot be taken",
        sqlite3.SQLITE_LOCKED: "another process does not let go of it",
    }
    reason = reasons.get(getattr(error, "sqlite_errorcode", -1) & 0xFF)
    if reason is None:
        return _damaged(path)
    return BudgetUnavailable(
        f"The budget file {path} cannot be used: {reason}.",
        kept="Nothing is sent without counting it.",
        next_step="Repair access to it, or name another file with --budget.",
    )


def _damaged(path: Path) -> DamagedState:
    return DamagedState(
        f"The budget file {path} is damaged.", kept="It was not touched, and nothing was sent.", next_step=_REPAIR
    )
