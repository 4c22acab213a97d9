"""The way to a Redis server: the library is loaded only here, and its exceptions go no further."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import anyio

from bulk_export.errors import BudgetUnavailable, UsageError
from bulk_export.extract.rate_limit.location import RedisServer

# All names share a hash tag, so that they live on one node of a cluster.
_FIRST_TAG = "{bulk-export}"
TAG = f"{_FIRST_TAG}:2"
SECRET = f"{TAG}:secret"
SERVER = f"{TAG}:server"
# Where version 1 had its secret. It has another type now, so that a program of that version stops: the two do not
# see what the other spends.
_FIRST_SECRET = f"{_FIRST_TAG}:secret"
SECRET_DAYS = 30
# An answer of a healthy server takes a fraction of a millisecond. Cancelled runs wait for one.
_ANSWER_SECONDS = 2.0
# Whether version 1 was here. What it spent is then not looked for: everything counts as spent for a period.
_TAKE_OVER = """
local first, secret, server = unpack(KEYS)
if redis.call('TYPE', first).ok ~= 'string' then
  return 0
end
local time = redis.call('TIME')
redis.call('SET', secret, redis.call('GET', first), 'NX', 'EX', ARGV[1])
redis.call('HSET', server, 'since', time[1] * 1000000 + time[2])
redis.call('DEL', first)
redis.call('HSET', first, 'version', 2)
redis.call('EXPIRE', first, ARGV[1])
return 1
"""


class ServerLost(Exception):
    """The server did not answer."""


class RedisClient:
    """Connections to one server. Every call raises ServerLost where waiting may help, else BudgetUnavailable."""

    def __init__(self, server: RedisServer) -> None:
        try:
            # Imported here, because few need it, and it is an extra.
            from redis import asyncio as redis
            from redis import exceptions
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise UsageError(
                "--budget redis:// needs the redis package.", next_step="Run: pip install 'bulk-export[redis]'"
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

    async def step(self, keys: list[str], request: bytes) -> bytes:
        """Run the ledger's script."""
        with self._failures(), anyio.CancelScope(shield=True):
            answer: bytes = await self._script(keys=keys, args=[request])
        return answer

    async def secret(self) -> bytes:
        """The secret of the store, made if it has none."""
        with self._failures(), anyio.CancelScope(shield=True):
            await self._take_over()
            await self._redis.set(SECRET, secrets.token_hex(32), nx=True, ex=SECRET_DAYS * 86_400)
            found = await self._redis.get(SECRET)
        if not isinstance(found, bytes):
            raise ServerLost
        return found

    async def _take_over(self) -> None:
        if await self._redis.type(_FIRST_SECRET) != b"string":
            return
        evaluate: Any = self._redis.eval
        if await evaluate(_TAKE_OVER, 3, _FIRST_SECRET, SECRET, SERVER, SECRET_DAYS * 86_400):
            states = [name async for name in self._redis.scan_iter(match=f"{_FIRST_TAG}:*:state", count=1000)]
            if not any(name.count(b":") == _FIRST_TAG.count(":") + 2 for name in states):
                await self._redis.hdel(SERVER, "since")

    async def accounts(self) -> list[tuple[str, dict[bytes, bytes]]]:
        """The name before `state`, and the state, of each account."""
        with self._failures():
            names: list[Any] = sorted(
                [name async for name in self._redis.scan_iter(match=f"{TAG}:*:state", count=1000)]
            )
            states: list[Any] = [await self._redis.hgetall(name) for name in names]
        return [(name.decode().removesuffix("state"), state) for name, state in zip(names, states, strict=True)]

    async def clock_of(self, name: str) -> dict[bytes, bytes]:
        """What is known of the time of one service."""
        with self._failures():
            found: Any = await self._redis.hgetall(name)
        return dict(found)

    async def ends(self, name: str) -> list[tuple[bytes, float]]:
        """The requests in one set, each with the time at which it was over."""
        with self._failures():
            found: Any = await self._redis.zrange(name, 0, -1, withscores=True)
        return [(identity, float(over_at)) for identity, over_at in found]

    async def clock(self) -> int:
        """The server's clock in microseconds."""
        with self._failures():
            seconds, micros = await self._redis.time()
        return int(seconds) * 1_000_000 + int(micros)

    async def texts(self, name: str) -> dict[str, str]:
        """The texts kept under a name, by their own names."""
        with self._failures():
            found: Any = await self._redis.hgetall(f"{TAG}:{name}")
        return {key.decode(errors="replace"): text.decode(errors="replace") for key, text in found.items()}

    async def put_texts(self, name: str, texts: Mapping[str, str]) -> None:
        """Keep texts under a name, each in place of an earlier one, for as long as the secret is kept."""
        with self._failures(), anyio.CancelScope(shield=True):
            rows: Any = texts
            written: Any = self._redis.hset(f"{TAG}:{name}", mapping=rows)
            await written
            await self._redis.expire(f"{TAG}:{name}", SECRET_DAYS * 86_400)

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(self._errors.RedisError, OSError):
            await self._redis.aclose()

    def unreachable(self) -> BudgetUnavailable:
        """What to say of a server that does not answer."""
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
            raise self._refusing("the login") from None
        except (errors.ConnectionError, errors.TimeoutError, OSError):
            raise ServerLost from None
        except errors.RedisError as error:
            # Its message may quote anything.
            raise self._refusing(f"to count ({type(error).__name__})") from None

    def _refusing(self, what: str) -> BudgetUnavailable:
        return BudgetUnavailable(
            f"{self.shown} refuses {what}.",
            kept="Nothing is sent without counting it.",
            next_step="Check the server and --budget; the same command goes on.",
        )
