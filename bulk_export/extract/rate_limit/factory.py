"""From `--budget URL` to a budget."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import InLoop, Limits, Store
from bulk_export.extract.rate_limit.limiter import RateLimiter
from bulk_export.extract.rate_limit.location import Memory, RedisServer, SqliteFile, parse_place
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.routes import Route, kernel_route, named_route
from bulk_export.extract.rate_limit.share import part_of

# A slot whose request was not on the wire so long after it could be is given back.
SENDING_SECONDS = 5.0
# A service that stood still works off what had queued up when it goes on. A request that was given up is taken to be
# counted at most so much later.
LATEST = 90.0


@asynccontextmanager
async def open_budget(
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
) -> AsyncIterator[RateLimiter]:
    """A budget for requests to `base_url` with `token`, counted where `url` says.

    `share` is the part of both limits to use, rounded down, at least one request. `answer_timeout` is the
    longest a request may take, in seconds: for that long a request counts as under way when its process has
    died. `notice` is told what the user should know that stops nothing. Raises BudgetUnavailable, DamagedState
    or UsageError where the place cannot be used.
    """
    # A slot is claimed before the distance to the request before is waited for.
    until_sent = min_interval + min(SENDING_SECONDS, max(1.0, answer_timeout))
    terms = Limits(
        service_limit=part_of(service_limit, share),
        address_limit=part_of(ip_limit, share),
        sources=tuple(sources),
        longest_request=until_sent + answer_timeout,
        late=min(LATEST, max(answer_timeout, service_limit.period)),
    )
    store = await _open_store(url, base_url, token, terms, notice)
    budget = RateLimiter(store, terms, min_interval=min_interval, fresh_for=until_sent)
    try:
        yield budget
    finally:
        await budget.aclose()


async def _open_store(
    url: str, base_url: str, token: Token | None, terms: Limits, notice: Callable[[str], None]
) -> Store:
    place = parse_place(url)
    route: Route = named_route
    if place != Memory() or len(terms.sources) > 1:
        # A name server that does not answer must not keep an interrupted run.
        route = await anyio.to_thread.run_sync(kernel_route, base_url, abandon_on_cancel=True)
    match place:
        case Memory():
            return InLoop(MemoryLedger(terms, anyio.current_time, route))
        case SqliteFile(path):
            # Only needed by those who share a budget.
            from bulk_export.extract.rate_limit.adapters import InThread
            from bulk_export.extract.rate_limit.clock import boot_clock
            from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger

            return await InThread.open(
                functools.partial(SqliteLedger, path, base_url, token, terms, boot_clock(), route)
            )
        case RedisServer() as server:
            from bulk_export.extract.rate_limit.redis.store import RedisStore

            return await RedisStore.open(server, base_url, token, terms, notice, route)
