"""The budget file: made whole or not at all, private from the moment it exists, never made anew over another."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bulk_export.errors import BudgetUnavailable, DamagedState
from bulk_export.files import make_private_directory, sync_directory

_APPLICATION_ID = 0x62784247
_VERSION = 1
# `last` is the latest time that was seen on the clock of the start `boot` of the machine. `opened` and `closed`
# count the processes in that time: where they differ after a power cut, the latest requests may be missing.
# `over_at` is the latest moment at which the service may have counted a request.
# SQLite stores anything in any column, but for what is checked; a damaged value shows as a broken check.
_SCHEMA = """
CREATE TABLE state (
    key BLOB CHECK (length(key) = 32), boot TEXT CHECK (typeof(boot) = 'text'),
    last REAL CHECK (typeof(last) = 'real'), opened INTEGER CHECK (typeof(opened) = 'integer'),
    closed INTEGER CHECK (typeof(closed) = 'integer')
);
CREATE TABLE accounts (
    number INTEGER PRIMARY KEY, service TEXT CHECK (typeof(service) = 'text'),
    token TEXT CHECK (typeof(token) = 'text'), terms TEXT CHECK (typeof(terms) = 'text'),
    reach REAL CHECK (typeof(reach) = 'real'), longest REAL CHECK (typeof(longest) = 'real'),
    full_until REAL CHECK (typeof(full_until) = 'real'), restraint TEXT
);
CREATE TABLE spent (
    identity INTEGER PRIMARY KEY, account INTEGER CHECK (typeof(account) = 'integer'),
    source TEXT CHECK (typeof(source) = 'text'), over_at REAL CHECK (typeof(over_at) = 'real'),
    state INTEGER CHECK (state IN (0, 1, 2))
);
CREATE INDEX spent_by_source ON spent (account, source, over_at);
CREATE TABLE waiting (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER CHECK (typeof(account) = 'integer'),
    until REAL CHECK (typeof(until) = 'real'), terms TEXT CHECK (typeof(terms) = 'text')
);
"""
# A step takes a fraction of a millisecond. Whoever holds the file for so long is stopped, not slow.
_BUSY_SECONDS = 15.0
_REPAIR = "Look at the file; if it is none of yours to keep, move it away and wait for one period of the limits."


@contextlib.contextmanager
def file_failures(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk report into DamagedState or BudgetUnavailable."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except sqlite3.Error as error:
        raise _said(error, path) from None
    except (UnicodeDecodeError, msgspec.MsgspecError):
        raise _damaged(path) from None
    except OSError as error:
        raise BudgetUnavailable(
            f"The budget file {path} cannot be used: {error.strerror or type(error).__name__}.",
            kept="Nothing is sent without counting it.",
            next_step="Repair access to it, or name another place with --budget.",
        ) from None


def open_file(path: Path) -> sqlite3.Connection:
    """A connection to the budget file at `path`, made with mode 0600 where there is none."""
    with file_failures(path):
        make_private_directory(path.parent)
        if not os.path.lexists(path):
            _make(path)
        connection = connect(path)
        try:
            _check(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there; SQLite must not make one."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    connection.isolation_level = None
    return connection


def _make(path: Path) -> None:
    """Make the whole file under another name, and give it its own only if nobody else has made one meanwhile."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    try:
        with contextlib.closing(connect(temporary)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION}; COMMIT;"
            )
            connection.execute("INSERT INTO state VALUES (?, '', 0.0, 0, 0)", (secrets.token_bytes(32),))
            connection.execute("PRAGMA journal_mode = WAL")
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    if _number(connection, "application_id") != _APPLICATION_ID:
        raise DamagedState(
            f"{path} is not a budget file.", kept="It was not touched.", next_step="Name another with --budget."
        )
    version = _number(connection, "user_version")
    if version != _VERSION:
        raise DamagedState(
            f"The budget file {path} is of version {version}, and this program knows version {_VERSION}.",
            kept="It was not touched.",
            next_step="Use one version of the program, or name another file with --budget.",
        )
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    states = connection.execute("SELECT count(*) FROM state").fetchone()[0]
    if found != "ok" or states != 1:
        raise _damaged(path)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 1048576")


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _said(error: sqlite3.Error, path: Path) -> DamagedState | BudgetUnavailable:
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
        next_step="Repair access to it, or name another place with --budget.",
    )


def _damaged(path: Path) -> DamagedState:
    return DamagedState(
        f"The budget file {path} is damaged.", kept="It was not touched, and nothing was sent.", next_step=_REPAIR
    )
