"""The tables of a journal, and the sums that tell whether a row is as it was written.

SQLite does not check the contents of its pages. In format 3 each row carries a sum over all its values; the body of
a page goes into it by its CRC, so that counts can be checked without reading bodies. Format 2, which knew only the CRC
of bodies, is still read, and a journal of it is finished in it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

APPLICATION_ID = 0x62657870
VERSION = 3
_WITHOUT_SUMS = 2
VERSIONS = (_WITHOUT_SUMS, VERSION)

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "facts": ("name", "value"),
    # The body, which follows the sum, is in it by its CRC.
    "pages": ("endpoint", "sweep", "page", "records", "first_key", "last_key", "encoding", "size", "crc"),
    "prints": ("endpoint", "sweep", "page", "ids", "contents"),
    "parts": ("endpoint", "revision", "part", "last_page", "rows", "files", "drift", "fingerprints"),
    "requests": ("endpoint", "sent"),
}
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL{_}) WITHOUT ROWID;
CREATE TABLE pages (
    endpoint TEXT NOT NULL, sweep INTEGER NOT NULL, page INTEGER NOT NULL, records INTEGER NOT NULL,
    first_key INTEGER, last_key INTEGER, encoding TEXT NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL{_},
    body BLOB NOT NULL, UNIQUE (endpoint, sweep, page)
);
CREATE TABLE prints (
    endpoint TEXT NOT NULL, sweep INTEGER NOT NULL, page INTEGER NOT NULL, ids BLOB NOT NULL, contents BLOB NOT NULL{_},
    PRIMARY KEY (endpoint, sweep, page)
) WITHOUT ROWID;
CREATE TABLE parts (
    endpoint TEXT NOT NULL, revision INTEGER NOT NULL, part INTEGER NOT NULL, last_page INTEGER NOT NULL,
    rows INTEGER NOT NULL, files TEXT NOT NULL, drift TEXT NOT NULL, fingerprints BLOB NOT NULL{_},
    UNIQUE (endpoint, revision, part)
);
CREATE TABLE requests (endpoint TEXT PRIMARY KEY, sent INTEGER NOT NULL{_}) WITHOUT ROWID;
"""


def has_sums(version: int) -> bool:
    """Whether rows of a format carry sums."""
    return version != _WITHOUT_SUMS


def columns(table: str, version: int) -> tuple[str, ...]:
    """The columns that are in the sum of a row, and the sum last where the format has one."""
    return (*COLUMNS[table], "sum") if has_sums(version) else COLUMNS[table]


def tables(version: int) -> str:
    """The SQL that makes the tables of a format."""
    return _TABLES.format(_=", sum INTEGER NOT NULL" if has_sums(version) else "")


def structure(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Everything that a database declares: tables, and also what has no place in a journal, as triggers and views."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def expected_structure(version: int) -> list[tuple[Any, ...]]:
    """What a journal of a format declares."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(tables(version))
        return structure(connection)
    finally:
        connection.close()


def row_sum(table: str, values: Sequence[Any]) -> int:
    """The sum over the values of a row, 64 bits with a sign. Bytes go into it by length and CRC."""
    flat = [[len(value), zlib.crc32(value)] if isinstance(value, bytes | bytearray) else value for value in values]
    text = json.dumps([table, *flat], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)
