"""Reads what a Redis server has on record."""

from __future__ import annotations

import contextlib

import anyio
import msgspec

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import KeyRecord, RecordedRequest
from bulk_export.extract.rate_limit.location import RedisServer
from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost


def read_server(server: RedisServer) -> list[KeyRecord]:
    """Read the record of every rate limit key on a server. Blocking.

    Raises:
        BudgetUnavailable: The server cannot be reached or used, or a newer version of this program uses it.
        UsageError: The redis package is not installed.
    """
    return anyio.run(_read, server)


async def _read(server: RedisServer) -> list[KeyRecord]:
    async with contextlib.AsyncExitStack() as stack:
        client = RedisClient(server)
        stack.push_async_callback(client.close)
        try:
            records = [await _record(client, prefix, state) for prefix, state in await client.states()]
            return [record for record in records if record is not None]
        except ServerLost:
            raise client.unreachable() from None


async def _record(client: RedisClient, prefix: str, state: dict[bytes, bytes]) -> KeyRecord | None:
    """Return the record of a key, None if it has lapsed meanwhile. The field names are those of ledger.lua."""
    if not state:
        return None
    service_limit, address_limit = msgspec.json.decode(state[b"limits"], type=tuple[Limit, Limit])
    clock = await client.hash(state[b"clock"].decode())
    if not clock:
        return None
    now = int(clock[b"now"]) + max(0, await client.time() - int(clock[b"raw"]))
    throttle = msgspec.json.decode(state[b"restraint"])
    blocked_for = float(clock[b"full_until"]) - now
    if throttle["refusals"]:
        blocked_for = max(blocked_for, throttle["hold_until"] - now, throttle.get("probe_until", now) - now)
    own = {identity for identity, _ in await client.scores(f"{prefix}spent")}
    requests = [
        RecordedRequest(route, (now - counted_by) / 1e6, identity in own)
        for route in sorted(msgspec.json.decode(clock[b"sources"]))
        for identity, counted_by in await client.scores(f"{state[b'routes'].decode()}{route}")
    ]
    return KeyRecord(
        service=state[b"service"].decode(),
        token=state[b"token"].decode(),
        service_limit=service_limit,
        address_limit=address_limit,
        requests=tuple(requests),
        held_for=max(0.0, blocked_for / 1e6),
    )
