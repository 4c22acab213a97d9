"""Connections to a Redis server: the library is loaded only here, and its exceptions go no further.

The names of the record hold its format, `{bulk-export}:2:…`. Format 1 had its secret at `{bulk-export}:secret`, as a
string. Since format 2 a hash may stand there, whose `version` is the format in use: programs of format 1 fail on its
type, and later ones stop at a version above their own. The programs of two formats do not see what the other spends, so
they must not work side by side.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import anyio

from bulk_export.errors import BudgetUnavailable, UsageError
from bulk_export.extract.rate_limit.location import RedisServer

logger = logging.getLogger(__name__)

VERSION = 2
# All names share a hash tag, so that they live on one node of a cluster.
_HASH_TAG = "{bulk-export}"
TAG = f"{_HASH_TAG}:{VERSION}"
SECRET = f"{TAG}:secret"
SERVER = f"{TAG}:server"
_VERSION_MARK = f"{_HASH_TAG}:secret"
SECRET_DAYS = 30
# A healthy server answers in a fraction of a millisecond. Cancelled runs wait for one answer.
_ANSWER_SECONDS = 2.0
# Migrates a record of format 1. Its requests are not looked for: everything counts as spent for a period.
_MIGRATE = """
local mark, secret, server = unpack(KEYS)
if redis.call('TYPE', mark).ok ~= 'string' then
  return 0
end
local time = redis.call('TIME')
redis.call('SET', secret, redis.call('GET', mark), 'NX', 'EX', ARGV[1])
redis.call('HSET', server, 'since', time[1] * 1000000 + time[2])
redis.call('DEL', mark)
redis.call('HSET', mark, 'version', ARGV[2])
redis.call('EXPIRE', mark, ARGV[1])
return 1
"""


class ServerLost(Exception):
    """The server did not answer."""


class RedisClient:
    """Connections to one server. Every call raises ServerLost if waiting may help, else BudgetUnavailable.

    Attributes:
        shown: Address of the server without user and password, for messages.
    """

    def __init__(self, server: RedisServer) -> None:
        try:
            # Imported here, because few users need it, and it is an optional dependency.
            from redis import asyncio as redis
            from redis import exceptions
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise UsageError(
                "--budget redis:// needs the redis package.", next_step="Install it: pip install 'bulk-export[redis]'."
            ) from None
        self.shown = server.shown
        self._errors = exceptions
        self._redis = redis.Redis.from_url(
            server.address,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(
            resources.files(__package__).joinpath("ledger.lua").read_text("utf-8")
        )

    async def run_script(self, keys: list[str], arguments: bytes) -> bytes:
        """Run ledger.lua."""
        with self._failures(), anyio.CancelScope(shield=True):
            answer: bytes = await self._script(keys=keys, args=[arguments])
        return answer

    async def secret(self) -> bytes:
        """Return the secret of the record, created if there is none; a record of format 1 is migrated."""
        with self._failures(), anyio.CancelScope(shield=True):
            await self._check_version()
            await self._redis.set(SECRET, secrets.token_hex(32), nx=True, ex=SECRET_DAYS * 86_400)
            secret = await self._redis.get(SECRET)
        if not isinstance(secret, bytes):
            raise ServerLost
        return secret

    async def states(self) -> list[tuple[str, dict[bytes, bytes]]]:
        """Return the state of each rate limit key, with the prefix of its names."""
        with self._failures():
            await self._refuse_newer_version()
            names: list[Any] = sorted(
                [name async for name in self._redis.scan_iter(match=f"{TAG}:*:state", count=1000)]
            )
            states: list[Any] = [await self._redis.hgetall(name) for name in names]
        return [(name.decode().removesuffix("state"), state) for name, state in zip(names, states, strict=True)]

    async def hash(self, name: str) -> dict[bytes, bytes]:
        """Return the fields of a hash, none if there is no such hash."""
        with self._failures():
            fields: Any = await self._redis.hgetall(name)
        return dict(fields)

    async def scores(self, name: str) -> list[tuple[bytes, float]]:
        """Return the members of a sorted set with their scores."""
        with self._failures():
            members: Any = await self._redis.zrange(name, 0, -1, withscores=True)
        return [(member, float(score)) for member, score in members]

    async def time(self) -> int:
        """Return the server's clock in microseconds."""
        with self._failures():
            seconds, microseconds = await self._redis.time()
        return int(seconds) * 1_000_000 + int(microseconds)

    async def texts(self, name: str) -> dict[str, str]:
        """Return the texts kept under a name, by their own names."""
        fields = await self.hash(f"{TAG}:{name}")
        return {key.decode(errors="replace"): text.decode(errors="replace") for key, text in fields.items()}

    async def put_texts(self, name: str, texts: Mapping[str, str]) -> None:
        """Keep texts under a name, each in place of an earlier one, for as long as the secret is kept."""
        with self._failures(), anyio.CancelScope(shield=True):
            rows: Any = texts
            written: Any = self._redis.hset(f"{TAG}:{name}", mapping=rows)
            await written
            await self._redis.expire(f"{TAG}:{name}", SECRET_DAYS * 86_400)

    async def add_counts(self, name: str, counts: Mapping[str, int]) -> None:
        """Add to numbers kept under a name, and keep them for as long as the secret is kept."""
        with self._failures(), anyio.CancelScope(shield=True):
            async with self._redis.pipeline(transaction=True) as pipeline:
                for field, count in counts.items():
                    pipeline.hincrby(f"{TAG}:{name}", field, count)
                pipeline.expire(f"{TAG}:{name}", SECRET_DAYS * 86_400)
                await pipeline.execute()

    async def _check_version(self) -> None:
        """Migrate a record of format 1, and refuse one of a newer format than ours."""
        if await self._redis.type(_VERSION_MARK) != b"string":
            await self._refuse_newer_version()
            return
        evaluate: Any = self._redis.eval
        if await evaluate(_MIGRATE, 3, _VERSION_MARK, SECRET, SERVER, SECRET_DAYS * 86_400, VERSION):
            logger.info("Migrated the record on %s to format %d", self.shown, VERSION)
            states = [name async for name in self._redis.scan_iter(match=f"{_HASH_TAG}:*:state", count=1000)]
            # If format 1 had only its secret, nothing was spent.
            if not any(name.count(b":") == _HASH_TAG.count(":") + 2 for name in states):
                await self._redis.hdel(SERVER, "since")

    async def _refuse_newer_version(self) -> None:
        if await self._redis.type(_VERSION_MARK) != b"hash":
            return
        read: Any = self._redis.hget(_VERSION_MARK, "version")
        version = await read
        if version is not None and not (version.isdigit() and int(version) <= VERSION):
            raise BudgetUnavailable(
                f"A newer version of this program counts on {self.shown}: its format is not {VERSION}.",
                kept="Nothing is sent without counting it.",
                next_step="Use the newer version, or name another server or database with --budget.",
            )

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(self._errors.RedisError, OSError):
            await self._redis.aclose()

    def unreachable(self) -> BudgetUnavailable:
        """Return the error for a server that does not answer."""
        return BudgetUnavailable(
            f"{self.shown} does not answer.",
            kept="Nothing is sent without counting it.",
            next_step="Start it or check --budget; the same command goes on.",
        )

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        errors: Any = self._errors
        try:
            yield
        except errors.AuthenticationError:
            raise self._refused("the login") from None
        except (errors.ConnectionError, errors.TimeoutError, OSError):
            raise ServerLost from None
        except errors.RedisError as error:
            # Its message is left out, since it may quote anything.
            raise self._refused(f"to count ({type(error).__name__})") from None

    def _refused(self, what: str) -> BudgetUnavailable:
        return BudgetUnavailable(
            f"{self.shown} refuses {what}.",
            kept="Nothing is sent without counting it.",
            next_step="Check the server and --budget; the same command goes on.",
        )
