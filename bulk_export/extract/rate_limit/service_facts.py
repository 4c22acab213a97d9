"""What is known of how a service pages, remembered beside the budget: it saves requests and decides nothing alone.

A store that is damaged, of somebody else, or out of reach is no knowledge: that costs requests, never a record.
It holds addresses of services, paths of endpoints and numbers; no token and nothing of any record.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.files import make_private_directory
from bulk_export.errors import BulkExportError
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_location

_APPLICATION_ID = 0x62784661
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    service TEXT NOT NULL, endpoint TEXT NOT NULL, facts TEXT NOT NULL, written INTEGER NOT NULL,
    PRIMARY KEY (service, endpoint)
) WITHOUT ROWID;
"""
_MOST_ROWS = 5_000
_LONGEST_TEXT = 4_096
_BUSY_SECONDS = 2.0
_SUFFIX = ".facts"


class ServiceFacts:
    """What is known of the endpoints of one service, by their paths."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._facts = {path: PagingFacts.from_text(text) for path, text in texts.items()}
        self._learned: dict[str, PagingFacts] = {}

    def of(self, path: str) -> PagingFacts:
        """What is known of an endpoint."""
        return self._facts.get(path, PagingFacts())

    def learn(self, path: str, facts: PagingFacts) -> None:
        """Know this of an endpoint from now on."""
        if facts != self._facts.get(path):
            self._facts[path] = self._learned[path] = facts

    def learned(self) -> dict[str, str]:
        """What is to be written, as texts."""
        return {path: facts.to_text() for path, facts in self._learned.items()}


@asynccontextmanager
async def open_service_facts(url: str, base_url: str) -> AsyncIterator[ServiceFacts]:
    """What is remembered of the service at `base_url` in the place that `url` names; what is learned is added to it.

    Raises UsageError only, for a place that there is not.
    """
    place = parse_location(url)
    facts = ServiceFacts(await _read(place, base_url))
    try:
        yield facts
    finally:
        if learned := facts.learned():
            with anyio.CancelScope(shield=True):
                await _write(place, base_url, learned)


async def _read(place: Memory | SqliteFile | RedisServer, base_url: str) -> dict[str, str]:
    match place:
        case SqliteFile(path):
            return await anyio.to_thread.run_sync(_read_file, _beside(path), base_url)
        case RedisServer() as server:
            return await _read_redis(server, base_url)
        case _:
            return {}


async def _write(place: Memory | SqliteFile | RedisServer, base_url: str, texts: Mapping[str, str]) -> None:
    match place:
        case SqliteFile(path):
            await anyio.to_thread.run_sync(_write_file, _beside(path), base_url, texts)
        case RedisServer() as server:
            await _write_redis(server, base_url, texts)
        case _:
            pass


def _beside(budget: Path) -> Path:
    return budget.with_name(budget.name + _SUFFIX)


def _read_file(path: Path, base_url: str) -> dict[str, str]:
    with contextlib.suppress(sqlite3.Error, OSError, UnicodeDecodeError):
        if not os.path.lexists(path):
            return {}
        with _connection(path) as connection:
            rows = connection.execute(
                "SELECT endpoint, facts FROM facts WHERE service = ? AND length(facts) <= ? LIMIT ?",
                (base_url, _LONGEST_TEXT, _MOST_ROWS),
            )
            return {str(endpoint): str(text) for endpoint, text in rows}
    return {}


def _write_file(path: Path, base_url: str, texts: Mapping[str, str]) -> None:
    with contextlib.suppress(sqlite3.Error, OSError, BulkExportError):
        make_private_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        with _connection(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            (latest,) = connection.execute("SELECT coalesce(max(written), 0) FROM facts").fetchone()
            connection.executemany(
                "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)",
                [(base_url, endpoint, text, latest + 1) for endpoint, text in texts.items()],
            )
            connection.execute(
                "DELETE FROM facts WHERE written < (SELECT written FROM facts ORDER BY written DESC LIMIT 1 OFFSET ?)",
                (_MOST_ROWS,),
            )
            connection.execute("COMMIT")


@contextlib.contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file of ours that nobody else can read or write. Raises OSError for any other."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(path)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    try:
        connection.isolation_level = None
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if not application and not found.st_size:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; COMMIT;")
        elif application != _APPLICATION_ID:
            raise PermissionError(path)
        yield connection
    finally:
        connection.close()


async def _read_redis(server: RedisServer, base_url: str) -> dict[str, str]:
    from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost

    client = RedisClient(server)
    try:
        with contextlib.suppress(ServerLost, BulkExportError):
            found = await client.texts(_key(base_url))
            return {path: text for path, text in found.items() if len(text) <= _LONGEST_TEXT}
    finally:
        await client.close()
    return {}


async def _write_redis(server: RedisServer, base_url: str, texts: Mapping[str, str]) -> None:
    from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost

    client = RedisClient(server)
    try:
        with contextlib.suppress(ServerLost, BulkExportError):
            await client.put_texts(_key(base_url), texts)
    finally:
        await client.close()


def _key(base_url: str) -> str:
    return f"facts:{hashlib.sha256(base_url.encode()).hexdigest()[:32]}"
