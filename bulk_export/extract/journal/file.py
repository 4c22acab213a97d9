"""The file of a journal: how it is opened, what is refused, and how its writes are made durable.

SQLite works in WAL mode if memory can be shared through files, as on any local disk, and with a rollback journal
otherwise. Either way a commit is synced before it returns.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bulk_export.core.compat.opening import open_file
from bulk_export.core.directories import is_same, kind_of
from bulk_export.errors import DamagedState, LocalFailure
from bulk_export.extract.journal import layout
from bulk_export.extract.journal.segment import Segment, segment_of

_BUSY_SECONDS = 30.0
# Behind the name of a database: the database itself, and the files that SQLite makes beside it.
_SUFFIXES = ("", "-wal", "-shm", "-journal")
# The largest text or blob that is read, or four times the cap on a body if that is more.
_LARGEST_VALUE = 256 * 1024 * 1024


class JournalFile:
    """One database with two connections, for reading and for writing; several threads wait for each other.

    Attributes:
        path: The file.
        cap: Most bytes of a decompressed body.
    """

    def __init__(self, path: Path, *, cap: int, read_only: bool = False, version: int = layout.VERSION) -> None:
        """Open a journal, created with mode 0600 if there is none; with `read_only`, an archive.

        Args:
            path: The file.
            cap: Most bytes of a decompressed body.
            read_only: Whether it is an archive, and stays as it is.
            version: The format of a file that is created.

        Raises:
            DamagedState: It is no journal, is damaged, or has a format that is not known here.
            LocalFailure: It cannot be used.
        """
        self.path = path
        self.cap = cap
        # Re-entrant, for what a subclass does together with a transaction.
        self._writing = threading.RLock()
        self._reading = threading.Lock()
        self._read_only = read_only
        self._version = version
        self._segment: Segment | None = None
        with self._failures():
            status = self._inspect()
            try:
                self._open(shares_memory=True)
            except sqlite3.OperationalError:
                if read_only:
                    raise
                self._open_without_shared_memory()
            if not is_same(status, path.stat()):
                self.close()
                raise self._damaged("another file took its place while it was opened")
            if layout.has_segment(self._version) and not read_only:
                try:
                    self._segment = self._open_segment()
                except BaseException:
                    self.close()
                    raise

    def close(self) -> None:
        """Close the file; SQLite merges its log into it."""
        self._close_segment()
        self._reader.close()
        self._writer.close()

    def seal(self) -> None:
        """Close the file so that it can be read in a directory that cannot be written to."""
        self._close_segment()
        self._reader.close()
        try:
            with self._failures():
                self._writer.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._writer.close()

    def _select(self, table: str, clause: str, values: Sequence[Any] = (), *, first: str = "") -> list[Sequence[Any]]:
        """Return rows of a table: the columns `first`, those of the layout, and the sum if the format has one."""
        columns = ", ".join(layout.columns(table, self._version))
        # Pages are read from several threads at once, and share a connection.
        with self._failures(), self._reading:
            return self._reader.execute(f"SELECT {first}{columns} FROM {table} {clause}", values).fetchall()  # noqa: S608  # names of ours

    def _insert(
        self, writer: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]], *, replaces: bool = False
    ) -> None:
        """Insert rows whose columns all enter the sum; with `replaces`, in place of those with the same key."""
        with_sums = layout.has_sums(self._version)
        marks = ", ".join("?" * len(layout.columns(table, self._version)))
        verb = "INSERT OR REPLACE" if replaces else "INSERT"
        writer.executemany(
            f"{verb} INTO {table} VALUES ({marks})",
            [(*row, layout.row_sum(table, row)) if with_sums else row for row in rows],
        )

    def _inspect(self) -> os.stat_result:
        """Create the file if it is missing, and check that it is a regular file. Raises OSError or DamagedState.

        SQLite would write through links at the names of the database and its log: these are refused.
        """
        flags = os.O_RDONLY if self._read_only else os.O_RDWR | os.O_CREAT
        beside_it = [self.path.with_name(self.path.name + suffix) for suffix in _SUFFIXES]
        for beside in (*beside_it, segment_of(self.path)):
            if os.path.lexists(beside) and not self._read_only:
                status = beside.lstat()
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(0, f"{beside.name} is {kind_of(status)}")
                if status.st_nlink > 1:
                    raise self._damaged(f"{beside.name} is a hard link, so another file would change with it")
        descriptor = open_file(self.path, flags, follows=self._read_only, waits=False)
        try:
            status = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise self._damaged(f"it is {kind_of(status)}")
        return status

    def _open(self, *, shares_memory: bool) -> None:
        """Open both connections. Without shared memory they exclude each other by locks on the file: slower."""
        # Without shared memory, only an exclusive connection can merge the write-ahead log that an earlier run left.
        self._writer = self._connect(is_exclusive=not shares_memory)
        try:
            self._prepare(shares_memory=shares_memory)
            self._reader = self._connect()
            try:
                self._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            except BaseException:
                self._reader.close()
                raise
        except BaseException:
            self._writer.close()
            raise

    def _open_without_shared_memory(self) -> None:
        try:
            self._open(shares_memory=False)
        except sqlite3.OperationalError as error:
            raise LocalFailure(
                f"The journal {self.path} cannot be used there: {error}.",
                kept="Nothing was deleted.",
                next_step="Make room or repair access, then run the same command again; `export` can also keep its"
                " working state on a local disk, with --work-dir DIR.",
            ) from None

    def _open_segment(self) -> Segment:
        """Open the file of bodies. Raises OSError, sqlite3.Error or DamagedState."""
        (end,) = self._reader.execute("SELECT max(position + stored_size) FROM pages").fetchone()
        if end is not None and not (type(end) is int and end >= 0):
            raise self._damaged("it does not say where its pages are")
        return self._opened_segment(end=end or 0)

    def _opened_segment(self, *, end: int) -> Segment:
        path = segment_of(self.path)
        try:
            return Segment(path, end=end)
        except FileNotFoundError:
            raise self._damaged(f"{path.name}, which holds its pages, is missing") from None

    def _close_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()

    def _connect(self, *, is_exclusive: bool = False) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{'mode=ro&immutable=1' if self._read_only else 'mode=rw'}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_LARGEST_VALUE, 4 * self.cap))
            if is_exclusive:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, *, shares_memory: bool) -> None:
        """Create the tables of a new file, or check those of an existing one."""
        (application,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        declared = layout.structure(self._writer)
        if (application, version, declared) == (0, 0, []) and not self._read_only:
            self._writer.execute("PRAGMA page_size = 16384")
            self._log_writes(shares_memory=shares_memory)
            self._writer.executescript(
                f"BEGIN; {layout.tables(self._version)} {layout.first_rows(self._version)}"
                f" PRAGMA application_id = {layout.APPLICATION_ID}; PRAGMA user_version = {self._version}; COMMIT;"
            )
            version, declared = self._version, layout.expected_structure(self._version)
        elif application != layout.APPLICATION_ID:
            raise self._damaged("it is not a journal")
        elif version not in layout.VERSIONS:
            raise self._unknown_format(version)
        else:
            if not self._read_only:
                self._log_writes(shares_memory=shares_memory)
            (verdict,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise self._damaged("its structure is broken")
        if declared != layout.expected_structure(version):
            raise self._damaged("it holds other tables than a journal")
        self._version = version
        if not shares_memory:
            self._writer.execute("PRAGMA locking_mode = NORMAL")
            self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def _log_writes(self, *, shares_memory: bool) -> None:
        """Choose how writes are logged. Raises OperationalError if the file system does not allow it."""
        wanted = "wal" if shares_memory else "truncate"
        (mode,) = self._writer.execute(f"PRAGMA journal_mode = {wanted}").fetchone()
        if mode != wanted:
            raise sqlite3.OperationalError(f"journal mode {wanted} is not available here")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing, self._failures():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise LocalFailure(
                f"The journal {self.path} cannot be used: {error}.",
                next_step="Make room or repair access, then run the same command again.",
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from None
        except OSError as error:
            raise LocalFailure(
                f"The journal {self.path} cannot be used: {error.strerror}.",
                next_step="Make room or repair access, then run the same command again.",
            ) from None

    def _unknown_format(self, version: int) -> DamagedState:
        *others, last = map(str, layout.ARCHIVE_VERSIONS if self._read_only else layout.VERSIONS)
        return DamagedState(
            f"{self.path} was written by another version of this tool: it has format {version},"
            f" and {', '.join(others)} and {last} are known here.",
            kept="Nothing was deleted.",
            next_step="Use the version that wrote it."
            if self._read_only
            else "Go on with the version that wrote it, or choose another --output.",
        )

    def _damaged(self, reason: str) -> DamagedState:
        if self._read_only:
            return DamagedState(
                f"The archive {self.path} cannot be trusted: {reason}.",
                kept="Nothing was changed.",
                next_step="Use another copy of it, or export again with --keep-pages.",
            )
        return DamagedState(
            f"The journal {self.path} cannot be trusted: {reason}.",
            kept="Nothing was deleted.",
            next_step="Choose another --output, or remove the directory that holds the journal to start afresh.",
        )
