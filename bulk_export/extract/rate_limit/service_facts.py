"""What was learned of how a service pages, kept beside the ledger: it saves requests, and decides nothing alone.

In a file `FILE.facts` beside a SQLite ledger, in a hash beside a Redis ledger, for this run only in memory. A store
that is damaged, foreign, of a newer format or out of reach counts as empty: that costs requests, never a record. It
holds origins of services, paths of endpoints and numbers; no token and nothing of any record.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread

from bulk_export.core.compat.opening import open_file
from bulk_export.core.compat.owners import is_foreign, rights_of_others
from bulk_export.core.files import make_private_directory
from bulk_export.errors import BulkExportError
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.rate_limit.location import RedisServer, SqliteFile, StoreLocation, parse_location

logger = logging.getLogger(__name__)

_APPLICATION_ID = 0x62784661
# The format of the file, a number of its own.
_VERSION = 0
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
        """Return the facts about an endpoint."""
        return self._facts.get(path, PagingFacts())

    def learn(self, path: str, facts: PagingFacts) -> None:
        """Replace the facts about an endpoint."""
        if facts != self._facts.get(path):
            self._facts[path] = self._learned[path] = facts

    def learned(self) -> dict[str, str]:
        """Return the texts to store, by path."""
        return {path: facts.to_text() for path, facts in self._learned.items()}


@asynccontextmanager
async def open_service_facts(url: str, base_url: str) -> AsyncIterator[ServiceFacts]:
    """Read the facts about a service; new ones are stored at the end.

    Args:
        url: Location of the ledger: the value of `--budget`.
        base_url: Address of the service.

    Raises:
        UsageError: `url` names no ledger.
    """
    location = parse_location(url)
    facts = ServiceFacts(await _read(location, base_url))
    try:
        yield facts
    finally:
        if learned := facts.learned():
            with anyio.CancelScope(shield=True):
                await _write(location, base_url, learned)


async def _read(location: StoreLocation, base_url: str) -> dict[str, str]:
    match location:
        case SqliteFile(path):
            return await anyio.to_thread.run_sync(_read_file, _beside(path), base_url)
        case RedisServer() as server:
            return await _read_redis(server, base_url)
        case _:
            return {}


async def _write(location: StoreLocation, base_url: str, texts: Mapping[str, str]) -> None:
    match location:
        case SqliteFile(path):
            await anyio.to_thread.run_sync(_write_file, _beside(path), base_url, texts)
        case RedisServer() as server:
            await _write_redis(server, base_url, texts)
        case _:
            pass


def _beside(budget_file: Path) -> Path:
    return budget_file.with_name(budget_file.name + _SUFFIX)


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
    logger.debug("Not using %s, which cannot be read or is not ours", path)
    return {}


def _write_file(path: Path, base_url: str, texts: Mapping[str, str]) -> None:
    with contextlib.suppress(sqlite3.Error, OSError, BulkExportError):
        make_private_directory(path.parent)
        with contextlib.suppress(FileExistsError):
            os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
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
    """Connect to a file of ours that no other user can read or write. Raises OSError for any other file."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or is_foreign(status) or rights_of_others(status.st_mode, 0o077):
        raise PermissionError(path)
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    try:
        connection.isolation_level = None
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not application and not status.st_size:
            connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; COMMIT;")
        elif application != _APPLICATION_ID or version != _VERSION:
            raise PermissionError(path)
        yield connection
    finally:
        connection.close()


async def _read_redis(server: RedisServer, base_url: str) -> dict[str, str]:
    from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost

    client = RedisClient(server)
    try:
        with contextlib.suppress(ServerLost, BulkExportError):
            texts = await client.texts(_key(base_url))
            return {path: text for path, text in texts.items() if len(text) <= _LONGEST_TEXT}
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
