"""What is on record as spent, for people to look at. Nothing is claimed and nothing changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import KeyRecord, Request
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_place
from bulk_export.extract.rate_limit.routes import addresses, leaves_from


@dataclass(frozen=True, slots=True)
class Spent:
    """The use of one limit of one service with one token.

    `token` is a keyed hash. `address` is None for the limit on the whole service, and "this machine" for several
    addresses that the system chooses from. What is used of an address was used with any token. `limit` is the one
    that was kept to last. `free_in` tells for each slot that is used in how many seconds it comes free, in order;
    `held_for` for how many more seconds nothing is sent because the service refused.
    """

    service: str
    token: str
    address: str | None
    limit: Limit
    free_in: tuple[float, ...]
    held_for: float

    @property
    def used(self) -> int:
        """Slots that are used now."""
        return len(self.free_in)


def spent(url: str) -> list[Spent]:
    """What the place that `url` names has on record, the common limit first, then each source address.

    Blocking. A place where nothing was ever spent is empty, as memory is. Raises BudgetUnavailable,
    DamagedState or UsageError.
    """
    records: Iterable[KeyRecord]
    match parse_place(url):
        case Memory():
            records = ()
        case SqliteFile(path):
            from bulk_export.extract.rate_limit.clock import boot_clock
            from bulk_export.extract.rate_limit.sqlite.usage import read_file

            records = read_file(path, boot_clock())
        case RedisServer() as server:
            from bulk_export.extract.rate_limit.redis.usage import read_server

            records = read_server(server)
    return [use for record in records for use in _uses(record)]


def _uses(record: KeyRecord) -> Iterable[Spent]:
    own = [request for request in record.requests if request.own]
    yield _use(record, None, record.service_limit, own)
    for route in sorted({request.route for request in own}):
        fullest = max((_from(record, address) for address in addresses(route)), key=len)
        yield _use(record, route if len(route.split()) == 1 else "this machine", record.address_limit, fullest)


def _from(record: KeyRecord, address: str) -> list[Request]:
    return [request for request in record.requests if leaves_from(request.route, address)]


def _use(record: KeyRecord, address: str | None, limit: Limit, requests: Iterable[Request]) -> Spent:
    free_in = sorted(limit.period - request.over_ago for request in requests if request.over_ago < limit.period)
    return Spent(record.service, record.token, address, limit, tuple(free_in), record.held_for)
