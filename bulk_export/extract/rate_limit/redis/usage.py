"""Reading what a Redis server has on record."""

from __future__ import annotations

import contextlib

import anyio
import msgspec

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import KeyRecord, Request
from bulk_export.extract.rate_limit.location import RedisServer
from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost


def read_server(server: RedisServer) -> list[KeyRecord]:
    """Every account on the server."""
    return anyio.run(_read, server)


async def _read(server: RedisServer) -> list[KeyRecord]:
    async with contextlib.AsyncExitStack() as stack:
        client = RedisClient(server)
        stack.push_async_callback(client.close)
        try:
            found = [await _account(client, prefix, state) for prefix, state in await client.accounts()]
            return [record for record in found if record is not None]
        except ServerLost:
            raise client.unreachable() from None


async def _account(client: RedisClient, prefix: str, state: dict[bytes, bytes]) -> KeyRecord | None:
    if not state:
        return None
    service_limit, address_limit = msgspec.json.decode(state[b"limits"], type=tuple[Limit, Limit])
    clock = await client.clock_of(state[b"clock"].decode())
    if not clock:
        # It has lapsed meanwhile.
        return None
    now = int(clock[b"now"]) + max(0, await client.clock() - int(clock[b"raw"]))
    restraint = msgspec.json.decode(state[b"restraint"])
    shut = float(clock[b"full_until"]) - now
    if restraint["refusals"]:
        shut = max(shut, restraint["hold_until"] - now, restraint.get("probe_until", now) - now)
    own = {identity for identity, _ in await client.ends(f"{prefix}spent")}
    requests = [
        Request(route, (now - over_at) / 1e6, identity in own)
        for route in sorted(msgspec.json.decode(clock[b"sources"]))
        for identity, over_at in await client.ends(f"{state[b'routes'].decode()}{route}")
    ]
    return KeyRecord(
        service=state[b"service"].decode(),
        token=state[b"token"].decode(),
        service_limit=service_limit,
        address_limit=address_limit,
        requests=tuple(requests),
        held_for=max(0.0, shut / 1e6),
    )
