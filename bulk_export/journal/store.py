"""The journal on disk: every page that was paid for, and every part that was finished.

One SQLite file in WAL mode. A commit is synced before it returns, so that what was reported as stored
survives a kill and a power cut alike; a torn end of the log is dropped by SQLite's own checksums. Each
body carries a CRC of its own, because SQLite does not check the pages of a database.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bulk_export.encoding import Undecodable, inflate
from bulk_export.errors import DamagedState, LocalFailure, UsageError
from bulk_export.journal.entries import PagePrints, Part, PartFile, StoredPage
from bulk_export.model import PageKey

_APPLICATION_ID = 0x62657870
_VERSION = 2
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE pages (
    endpoint TEXT NOT NULL, sweep INTEGER NOT NULL, page INTEGER NOT NULL, records INTEGER NOT NULL,
    first_key INTEGER, last_key INTEGER, encoding TEXT NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL,
    body BLOB NOT NULL, UNIQUE (endpoint, sweep, page)
);
CREATE TABLE prints (
    endpoint TEXT NOT NULL, sweep INTEGER NOT NULL, page INTEGER NOT NULL, ids BLOB NOT NULL, contents BLOB NOT NULL,
    PRIMARY KEY (endpoint, sweep, page)
) WITHOUT ROWID;
CREATE TABLE parts (
    endpoint TEXT NOT NULL, revision INTEGER NOT NULL, part INTEGER NOT NULL, last_page INTEGER NOT NULL,
    rows INTEGER NOT NULL, files TEXT NOT NULL, drift TEXT NOT NULL, fingerprints BLOB NOT NULL,
    UNIQUE (endpoint, revision, part)
);
CREATE TABLE requests (endpoint TEXT PRIMARY KEY, sent INTEGER NOT NULL) WITHOUT ROWID;
"""
# A sixth of the size for a third of the time of its splitting (measured on pages of 340 kB); zstd at its fastest takes
# twice as long for an eighth.
_CODEC = "lz4"
_PRINTS_AT_ONCE = 100
_PAGES_AT_ONCE = 8
_BUSY_SECONDS = 30.0


class JournalStore:
    """Reads and writes one journal file. Blocking; writes from several threads take turns."""

    def __init__(self, path: Path, *, cap: int, read_only: bool = False) -> None:
        """Open the journal at `path`, made with mode 0600 where there is none; a sealed one with `read_only`.

        `cap` bounds an inflated body in bytes. Raises DamagedState for a file that is no journal of this
        version, and LocalFailure where the file cannot be used.
        """
        self.path = path
        self.cap = cap
        self._writing = threading.Lock()
        self._codec = pa.Codec(_CODEC)
        self._read_only = read_only
        with self._failures():
            flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            os.close(os.open(path, flags, 0o600))
            self._writer = self._connect()
            try:
                self._begin()
                self._reader = self._connect()
            except BaseException:
                self._writer.close()
                raise

    def close(self) -> None:
        """Close the file; SQLite folds its log into it."""
        self._reader.close()
        self._writer.close()

    def seal(self) -> None:
        """Turn the file into one that can be read where nothing may be written, and close it."""
        self._reader.close()
        try:
            with self._failures():
                self._writer.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._writer.close()

    def claim(self, identity: Mapping[str, Any]) -> bool:
        """Tie the journal to one export; True where it held pages of that same export already.

        Raises UsageError naming what differs where the journal belongs to another export.
        """
        held = self.fact("identity")
        if held is None:
            self.put_fact("identity", json.dumps(identity, sort_keys=True))
            return False
        before = json.loads(held)
        differing = [name for name in sorted({*before, *identity}) if before.get(name) != identity.get(name)]
        if differing:
            changes = "; ".join(f"{name} was {before.get(name)!r}, now {identity.get(name)!r}" for name in differing)
            raise UsageError(
                f"The unfinished export in {self.path.parent.parent} was started with other parameters: {changes}.",
                kept="Nothing was changed.",
                next_step="Go on with the parameters it was started with, or choose another --output.",
            )
        return True

    def fact(self, name: str) -> str | None:
        """A named text kept with the journal, None where there is none."""
        with self._failures():
            row = self._reader.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put_fact(self, name: str, value: str) -> None:
        """Keep a named text, in place of an earlier one."""
        with self._transaction() as writer:
            writer.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def add_pages(self, pages: Iterable[StoredPage], requests: Mapping[str, int], facts: Mapping[str, str]) -> None:
        """Make pages durable in one transaction, with the numbers of requests spent since the last one."""
        rows = [self._row(page) for page in pages]
        with self._transaction() as writer:
            writer.executemany("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            writer.executemany(
                "INSERT INTO requests VALUES (?, ?) ON CONFLICT (endpoint) DO UPDATE SET sent = sent + excluded.sent",
                list(requests.items()),
            )
            writer.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", list(facts.items()))

    def requests(self) -> dict[str, int]:
        """How many requests were sent for each endpoint, over all runs."""
        with self._failures():
            return dict(self._reader.execute("SELECT endpoint, sent FROM requests").fetchall())

    def page_counts(self, endpoint: str, sweep: int) -> list[tuple[int, int]]:
        """The stored pages of a sweep as `(page, records)`, in page order."""
        with self._failures():
            return self._reader.execute(
                "SELECT page, records FROM pages WHERE endpoint = ? AND sweep = ? ORDER BY page", (endpoint, sweep)
            ).fetchall()

    def body(self, key: PageKey) -> bytes:
        """The inflated body of a stored page. Raises DamagedState where it is not what was stored."""
        with self._failures():
            row = self._reader.execute(
                "SELECT encoding, size, crc, body FROM pages WHERE endpoint = ? AND sweep = ? AND page = ?",
                (key.endpoint, key.sweep, key.page),
            ).fetchone()
        if row is None:
            raise self._damaged(f"page {key.page} of {key.endpoint} is missing")
        encoding, size, crc, stored = row
        if not isinstance(stored, bytes) or zlib.crc32(stored) != crc:
            raise self._damaged(f"page {key.page} of {key.endpoint} is not as it was stored")
        try:
            if encoding == _CODEC:
                return bytes(self._codec.decompress(stored, size, asbytes=True))
            return inflate(stored, encoding, self.cap)
        except (Undecodable, OSError, ValueError):
            raise self._damaged(f"page {key.page} of {key.endpoint} cannot be unpacked") from None

    def pages(self) -> Iterator[StoredPage]:
        """Every stored page as it is stored, a few at a time. Raises DamagedState for one that was changed."""
        last = 0
        while True:
            with self._failures():
                rows = self._reader.execute(
                    "SELECT rowid, * FROM pages WHERE rowid > ? ORDER BY rowid LIMIT ?", (last, _PAGES_AT_ONCE)
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _, endpoint, sweep, page, records, first, end, encoding, size, crc, stored in rows:
                if zlib.crc32(stored) != crc:
                    raise self._damaged(f"page {page} of {endpoint} is not as it was stored")
                key = PageKey(endpoint, sweep, page)
                yield StoredPage(key, records, encoding, size, stored, edges=(first, end))

    def facts(self) -> dict[str, str]:
        """Every named text."""
        with self._failures():
            return dict(self._reader.execute("SELECT name, value FROM facts").fetchall())

    def edges(self, endpoint: str, sweep: int) -> Iterator[tuple[int | None, int | None]]:
        """The order keys of the first and last record of each stored page that holds any, in page order."""
        with self._failures():
            yield from self._reader.execute(
                "SELECT first_key, last_key FROM pages WHERE endpoint = ? AND sweep = ? AND records > 0 ORDER BY page",
                (endpoint, sweep),
            ).fetchall()

    def add_prints(self, endpoint: str, sweep: int, prints: Iterable[PagePrints]) -> None:
        """Keep the fingerprints of pages of a sweep."""
        with self._transaction() as writer:
            writer.executemany(
                "INSERT OR REPLACE INTO prints VALUES (?, ?, ?, ?, ?)",
                [(endpoint, sweep, page.page, page.ids, page.contents) for page in prints],
            )

    def printed(self, endpoint: str, sweep: int) -> int:
        """The page up to which fingerprints are kept, 0 where there are none."""
        with self._failures():
            row = self._reader.execute(
                "SELECT max(page) FROM prints WHERE endpoint = ? AND sweep = ?", (endpoint, sweep)
            ).fetchone()
        return row[0] or 0

    def prints(self, endpoint: str, sweep: int) -> Iterator[PagePrints]:
        """The fingerprints of a sweep in page order, some hundred pages at a time."""
        page = 0
        while True:
            with self._failures():
                rows = self._reader.execute(
                    "SELECT page, ids, contents FROM prints WHERE endpoint = ? AND sweep = ? AND page > ?"
                    " ORDER BY page LIMIT ?",
                    (endpoint, sweep, page, _PRINTS_AT_ONCE),
                ).fetchall()
            if not rows:
                return
            for page, ids, contents in rows:
                yield PagePrints(page, ids, contents)

    def add_part(self, part: Part) -> None:
        """Record that a part is whole on disk."""
        with self._transaction() as writer:
            writer.execute(
                "INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    part.endpoint,
                    part.revision,
                    part.part,
                    part.last_page,
                    part.rows,
                    json.dumps([[file.path, file.rows, file.bytes, file.sha256] for file in part.files]),
                    json.dumps(part.drift),
                    part.fingerprints,
                ),
            )

    def parts(self, endpoint: str, revision: int) -> list[Part]:
        """The finished parts of an endpoint's revision in order, their fingerprints left out."""
        with self._failures():
            rows = self._reader.execute(
                "SELECT part, last_page, rows, files, drift FROM parts"
                " WHERE endpoint = ? AND revision = ? ORDER BY part",
                (endpoint, revision),
            ).fetchall()
        return [
            Part(
                endpoint=endpoint,
                revision=revision,
                part=part,
                last_page=last_page,
                rows=count,
                files=tuple(PartFile(*file) for file in json.loads(files)),
                drift=json.loads(drift),
                fingerprints=b"",
            )
            for part, last_page, count, files, drift in rows
        ]

    def fingerprints(self, endpoint: str, revision: int) -> Iterator[bytes]:
        """The fingerprints of an endpoint's rows, a part at a time."""
        for part in self.parts(endpoint, revision):
            with self._failures():
                row = self._reader.execute(
                    "SELECT fingerprints FROM parts WHERE endpoint = ? AND revision = ? AND part = ?",
                    (endpoint, revision, part.part),
                ).fetchone()
            yield row[0]

    def _row(self, page: StoredPage) -> tuple[Any, ...]:
        encoding, stored = page.encoding, page.stored
        if encoding == "identity":
            encoding, stored = _CODEC, self._codec.compress(stored, asbytes=True)
        key = page.key
        return (
            key.endpoint,
            key.sweep,
            key.page,
            page.records,
            *page.edges,
            encoding,
            page.size,
            zlib.crc32(stored),
            stored,
        )

    def _connect(self) -> sqlite3.Connection:
        place = f"{self.path.absolute().as_uri()}?{'mode=ro&immutable=1' if self._read_only else 'mode=rw'}"
        connection = sqlite3.connect(
            place, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = OFF")
        except BaseException:
            connection.close()
            raise
        return connection

    def _begin(self) -> None:
        (application,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        (objects,) = self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version, objects) == (0, 0, 0) and not self._read_only:
            self._writer.execute("PRAGMA page_size = 16384")
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_VERSION}; COMMIT;"
            )
            return
        if application != _APPLICATION_ID:
            raise self._damaged("it is not a journal")
        if version != _VERSION:
            raise self._damaged(f"it was written by another version (format {version}, this is {_VERSION})")
        if not self._read_only:
            self._writer.execute("PRAGMA journal_mode = WAL")
        (verdict,) = self._writer.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise self._damaged("its structure is broken")

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
                kept="Every page stored so far is kept.",
                next_step="Make room or repair access, then run the same command again.",
            ) from None
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from None
        except OSError as error:
            raise LocalFailure(
                f"The journal {self.path} cannot be used: {error.strerror}.",
                next_step="Make room or repair access, then run the same command again.",
            ) from None

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
