"""From `--budget URL` to a budget."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio

from bulk_export.budget.interface import InLoop, Store, Terms
from bulk_export.budget.limiter import Budget
from bulk_export.budget.memory import MemoryLedger
from bulk_export.budget.place import Memory, RedisServer, SqliteFile, parse_place
from bulk_export.budget.share import part_of
from bulk_export.credentials import Token
from bulk_export.model import Limit


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
) -> AsyncIterator[Budget]:
    """A budget for requests to `base_url` with `token`, counted where `url` says.

    `share` is the part of both limits to use, rounded down, at least one request. `answer_timeout` is the
    longest a request may take, in seconds: for that long a request counts as under way when its process has
    died. `notice` is told what the user should know that stops nothing. Raises BudgetUnavailable, DamagedState
    or UsageError where the place cannot be used.
    """
    terms = Terms(
        service_limit=part_of(service_limit, share),
        address_limit=part_of(ip_limit, share),
        sources=tuple(sources),
        # A slot is claimed before the distance to the request before is waited for.
        longest_request=min_interval + answer_timeout,
    )
    store = await _open_store(url, base_url, token, terms, notice)
    budget = Budget(store, terms, min_interval=min_interval)
    try:
        yield budget
    finally:
        await budget.aclose()


async def _open_store(
    url: str, base_url: str, token: Token | None, terms: Terms, notice: Callable[[str], None]
) -> Store:
    place = parse_place(url)
    match place:
        case Memory():
            return InLoop(MemoryLedger(terms, anyio.current_time))
        case SqliteFile(path):
            # Only needed by those who share a budget.
            from bulk_export.budget.clock import boot_clock
            from bulk_export.budget.sqlite import SqliteLedger
            from bulk_export.budget.worker_thread import InThread

            return await InThread.open(functools.partial(SqliteLedger, path, base_url, token, terms, boot_clock()))
        case RedisServer() as server:
            from bulk_export.budget.redis_store import RedisStore

            return await RedisStore.open(server, base_url, token, terms, notice)
