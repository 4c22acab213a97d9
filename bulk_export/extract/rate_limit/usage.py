"""How much of each limit is used according to a ledger, for people to look at. Claims and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import KeyRecord, RecordedRequest
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_location
from bulk_export.extract.rate_limit.routes import addresses, may_leave_from


@dataclass(frozen=True, slots=True)
class LimitUsage:
    """Usage of one limit of one service with one token. The field names are those of `bulk-export budget --json`.

    Attributes:
        service: Origin of the service.
        token: Keyed hash of the token.
        address: None for the limit on the service, a source address, or "this machine" for several addresses that the
            system chooses from. The requests from an address count with any token.
        limit: The limit that the latest process kept to.
        free_in: For each request that counts, the seconds until it does not any more, in order. `--json` has only the
            first and the last of them.
        held_for: Seconds for which nothing is sent because the service throttles.
    """

    service: str
    token: str
    address: str | None
    limit: Limit
    free_in: tuple[float, ...]
    held_for: float

    @property
    def used(self) -> int:
        """Requests that count now."""
        return len(self.free_in)


def read_usage(url: str) -> list[LimitUsage]:
    """Read the usage of every limit in a ledger: for each service and token the common limit, then each address.

    Blocking. A ledger that does not exist yet is empty, and so is one in memory.

    Raises:
        BudgetUnavailable: The ledger cannot be used now.
        DamagedState: The ledger is damaged, foreign, or of a newer version.
        UsageError: `url` names no ledger.
    """
    records: Iterable[KeyRecord]
    match parse_location(url):
        case Memory():
            records = ()
        case SqliteFile(path):
            from bulk_export.extract.rate_limit.boot_clock import boot_clock
            from bulk_export.extract.rate_limit.sqlite.usage import read_file

            records = read_file(path, boot_clock())
        case RedisServer() as server:
            from bulk_export.extract.rate_limit.redis.usage import read_server

            records = read_server(server)
    return [usage for record in records for usage in _usages(record)]


def _usages(record: KeyRecord) -> Iterable[LimitUsage]:
    own = [request for request in record.requests if request.own]
    yield _usage(record, None, record.service_limit, own)
    for route in sorted({request.route for request in own}):
        most_used = max((_requests_from(record, address) for address in addresses(route)), key=len)
        name = route if len(route.split()) == 1 else "this machine"
        yield _usage(record, name, record.address_limit, most_used)


def _requests_from(record: KeyRecord, address: str) -> list[RecordedRequest]:
    return [request for request in record.requests if may_leave_from(request.route, address)]


def _usage(record: KeyRecord, address: str | None, limit: Limit, requests: Iterable[RecordedRequest]) -> LimitUsage:
    remaining = (limit.period - request.counted_ago for request in requests)
    free_in = tuple(sorted(seconds for seconds in remaining if seconds > 0))
    return LimitUsage(record.service, record.token, address, limit, free_in, record.held_for)
