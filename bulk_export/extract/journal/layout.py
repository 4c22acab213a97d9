"""The tables of a journal, and the sums that show whether a row is as it was written.

SQLite does not check the contents of its pages. Each row carries a sum over all its values; the body of a page enters
it by its CRC, so that counts can be checked without reading bodies.

    format 2    bodies are in the database, and only they have checksums
    format 3    bodies are in the database, and each row has a sum; archives are of this format
    format 4    bodies are in a segment, and rows say where
    format 5    bodies are in a segment in batches with their rows, which enter the database later; journals are of
                this format

Journals of the formats 2 to 4 are still read, and are finished in their format. Other formats are refused.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

APPLICATION_ID = 0x62657870
# The formats of new journals and new archives, numbers of their own that only change when the tables do.
VERSION = 5
ARCHIVE_VERSION = 3
_WITHOUT_SUMS = 2
SEGMENT_VERSION = 4
VERSIONS = (_WITHOUT_SUMS, ARCHIVE_VERSION, SEGMENT_VERSION, VERSION)
ARCHIVE_VERSIONS = (_WITHOUT_SUMS, ARCHIVE_VERSION)

# Of a journal with batches, and of the batch before its first one.
_TOKEN_BYTES, _DIGEST_BYTES = 16, 8
_PLACE = ("position", "stored_size")
# The columns that enter the sum of a row. Where bodies are in the database, they follow the sum instead of `_PLACE`.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "facts": ("name", "value"),
    "pages": ("endpoint", "sweep", "page", "records", "first_key", "last_key", "encoding", "size", "crc", *_PLACE),
    "prints": ("endpoint", "sweep", "page", "ids", "contents"),
    "parts": ("endpoint", "revision", "part", "last_page", "rows", "files", "drift", "fingerprints"),
    "requests": ("endpoint", "sent"),
    "batches": ("token", "position", "number", "digest"),
}
# The texts of formats 2 and 3 are compared with those in their files.
_SUM = ", sum INTEGER NOT NULL"
_BODY_IS_ELSEWHERE = {"place": ", position INTEGER NOT NULL, stored_size INTEGER NOT NULL", "body": ""}
_BODY_IS_HERE = {"place": "", "body": "body BLOB NOT NULL, "}
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL{_}) WITHOUT ROWID;
CREATE TABLE pages (
    endpoint TEXT NOT NULL, sweep INTEGER NOT NULL, page INTEGER NOT NULL, records INTEGER NOT NULL,
    first_key INTEGER, last_key INTEGER, encoding TEXT NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL{place}{_},
    {body}UNIQUE (endpoint, sweep, page)
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
# One row: behind which batch of the segment the rows of further batches may be missing here.
_BATCHES = """
CREATE TABLE batches (
    token TEXT PRIMARY KEY, position INTEGER NOT NULL, number INTEGER NOT NULL, digest TEXT NOT NULL{_}
) WITHOUT ROWID;
"""


def has_sums(version: int) -> bool:
    """Return whether rows of a format carry sums."""
    return version != _WITHOUT_SUMS


def has_segment(version: int) -> bool:
    """Return whether the bodies of a format are in a segment, not in the database."""
    return version >= SEGMENT_VERSION


def has_batches(version: int) -> bool:
    """Return whether the bodies of a format are in batches with their rows."""
    return version > SEGMENT_VERSION


def summed_columns(table: str, version: int) -> tuple[str, ...]:
    """Return the columns of a format that enter the sum of a row."""
    names = COLUMNS[table]
    return names if table != "pages" or has_segment(version) else names[: -len(_PLACE)]


def columns(table: str, version: int) -> tuple[str, ...]:
    """Return the columns that enter the sum of a row, followed by the sum if the format has one."""
    names = summed_columns(table, version)
    return (*names, "sum") if has_sums(version) else names


def tables(version: int) -> str:
    """Return the SQL that creates the tables of a format."""
    bodies = _BODY_IS_ELSEWHERE if has_segment(version) else _BODY_IS_HERE
    texts = _TABLES + _BATCHES if has_batches(version) else _TABLES
    return texts.format(_=_SUM if has_sums(version) else "", **bodies)


def first_rows(version: int) -> str:
    """Return the SQL that stores what a new journal of a format has from the beginning."""
    if not has_batches(version):
        return ""
    row = (secrets.token_hex(_TOKEN_BYTES), 0, 0, bytes(_DIGEST_BYTES).hex())
    values = ", ".join(map(repr, (*row, row_sum("batches", row))))
    return f"INSERT INTO batches VALUES ({values});"  # noqa: S608  # values of ours


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
