"""From `--budget URL` to a rate limiter."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread

from bulk_export.core.credentials import Token
from bulk_export.core.loop_time import loop_time
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger, ThreadedAsyncLedger
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.interface import AsyncLedger, Limits
from bulk_export.extract.rate_limit.limiter import RateLimiter
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_location
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.precedence import AddressQueue, Rank, Turn
from bulk_export.extract.rate_limit.routes import RouteFinder, kernel_route_finder, route_by_name

logger = logging.getLogger(__name__)

# Seconds after which a permit that was not used lapses.
SENDING_SECONDS = 5.0
# The longest time, in seconds, after which the service may still count a request that was given up: a service that
# hung works off its queue later.
MAX_COUNT_DELAY = 90.0


@asynccontextmanager
async def open_rate_limiter(
    url: str,
    *,
    base_url: str,
    token: Token | None,
    service_limit: Limit,
    ip_limit: Limit,
    min_interval: float,
    sources: Sequence[str | None] = (None,),
    share: float = 1.0,
    answer_timeout: float,
    notice: Callable[[str], None] = lambda _: None,
    rank: Rank | None = None,
) -> AsyncIterator[RateLimiter]:
    """Open a rate limiter for requests to one service with one token.

    Args:
        url: Where spent requests are recorded: the value of `--budget`.
        base_url: Address of the service.
        token: Token of the requests.
        service_limit: Limit on all requests with the token.
        ip_limit: Limit on the requests from each source address.
        min_interval: Least seconds between two requests.
        sources: Local addresses to send from; None lets the system choose.
        share: Fraction of both limits to use, rounded down, at least one request.
        answer_timeout: The longest time that a request may take, in seconds. A request whose process dies counts as in
            flight for that time.
        notice: Called with messages that the user should see.

    Raises:
        BudgetUnavailable: The ledger cannot be used now.
        DamagedState: The ledger is damaged, foreign, or of a newer version.
        UsageError: `url` names no ledger, or needs a package that is not installed.
    """
    # A permit is claimed before the wait for the interval since the last request.
    permit_lifetime = min_interval + min(SENDING_SECONDS, max(1.0, answer_timeout))
    limits = Limits(
        service_limit=service_limit.scaled(share),
        address_limit=ip_limit.scaled(share),
        sources=tuple(sources),
        longest_request=permit_lifetime + answer_timeout,
        max_count_delay=min(MAX_COUNT_DELAY, max(answer_timeout, service_limit.period)),
    )
    queue = None if rank is None else rank.precedence.queue_of(base_url)
    ledger = await _open_ledger(url, base_url, token, limits, notice, queue)
    turn = None if rank is None or queue is None else Turn(queue, rank.number, min_interval, limits)
    limiter = RateLimiter(ledger, limits, min_interval=min_interval, permit_lifetime=permit_lifetime, turn=turn)
    try:
        yield limiter
    finally:
        await limiter.aclose()


async def _open_ledger(
    url: str,
    base_url: str,
    token: Token | None,
    limits: Limits,
    notice: Callable[[str], None],
    queue: AddressQueue | None,
) -> AsyncLedger:
    location = parse_location(url)
    logger.debug("Recording requests in %r", location)
    find_route: RouteFinder = route_by_name
    # With a single source and a ledger of its own, all requests have the same route anyway.
    if location != Memory() or len(limits.sources) > 1:
        # Abandoned on cancellation: a name server that does not answer must not keep an interrupted run.
        find_route = await anyio.to_thread.run_sync(kernel_route_finder, base_url, abandon_on_cancel=True)
    match location:
        case Memory():
            windows = None if queue is None else queue.windows(limits.address_limit.period)
            return InlineAsyncLedger(MemoryLedger(limits, loop_time, find_route, windows))
        case SqliteFile(path):
            # Imported here, because a run in memory needs none of it.
            from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger

            return await ThreadedAsyncLedger.open(
                functools.partial(SqliteLedger, path, base_url, token, limits, boot_clock(), find_route)
            )
        case RedisServer() as server:
            from bulk_export.extract.rate_limit.redis.ledger import RedisLedger

            return await RedisLedger.open(server, base_url, token, limits, notice=notice, find_route=find_route)
