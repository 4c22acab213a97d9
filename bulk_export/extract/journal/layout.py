"""The tables of a journal, and the sums that show whether a row is as it was written.

SQLite does not check the contents of its pages. In format 3 each row carries a sum over all its values; the body of a
page enters it by its CRC, so that counts can be checked without reading bodies. Format 2, which had only the CRC of
bodies, is still read, and a journal of format 2 is finished in it. Other formats are refused.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

APPLICATION_ID = 0x62657870
# The format of new journals, a number of its own that only changes when the tables do.
VERSION = 3
_WITHOUT_SUMS = 2
VERSIONS = (_WITHOUT_SUMS, VERSION)

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "facts": ("name", "value"),
    # The body follows the sum; it enters the sum by its CRC.
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
    """Return whether rows of a format carry sums."""
    return version != _WITHOUT_SUMS


def columns(table: str, version: int) -> tuple[str, ...]:
    """Return the columns that enter the sum of a row, followed by the sum if the format has one."""
    return (*COLUMNS[table], "sum") if has_sums(version) else COLUMNS[table]


def tables(version: int) -> str:
    """Return the SQL that creates the tables of a format."""
    return _TABLES.format(_=", sum INTEGER NOT NULL" if has_sums(version) else "")


def structure(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Return everything that a database declares: tables, and also triggers and views, which no journal has."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def expected_structure(version: int) -> list[tuple[Any, ...]]:
    """Return what a journal of a format declares."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(tables(version))
        return structure(connection)
    finally:
        connection.close()


def row_sum(table: str, values: Sequence[Any]) -> int:
    """Return the sum over the values of a row, 64 bits with a sign. Bytes enter it by length and CRC."""
    flat = [[len(value), zlib.crc32(value)] if isinstance(value, bytes | bytearray) else value for value in values]
    text = json.dumps([table, *flat], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)
