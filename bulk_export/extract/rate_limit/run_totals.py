"""What the processes of one run requested together, kept beside a ledger on a Redis server.

Each process adds its numbers when it is done with a task. One that is killed adds nothing: its requests are in the
ledger, and not in these totals. They decide nothing, so a server that does not answer costs only the numbers.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, dataclass

from bulk_export.errors import BulkExportError, UsageError
from bulk_export.extract.rate_limit.location import RedisServer, parse_location

logger = logging.getLogger(__name__)

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class RunTotals:
    """Numbers of a run, or of a part of it.

    Attributes:
        requests: The requests that were sent, repeated ones included.
        throttled: How many of them were answered with 429.
        tasks: The tasks that read pages, failed and repeated ones included.
    """

    requests: int = 0
    throttled: int = 0
    tasks: int = 0


def check_run(run: str, budget: str) -> None:
    """Raise UsageError if no totals can be kept of a run of this name."""
    if not run or len(run) > _LONGEST_NAME or not run.isprintable():
        raise UsageError(
            f"A run cannot have the name {run[:_LONGEST_NAME]!r}.", next_step="Write one like nightly-2026-11-27."
        )
    _server(budget)


async def add_to_totals(budget: str, run: str, more: RunTotals) -> None:
    """Add to the totals of a run. If the server cannot be used, a line in the log says so."""
    from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost

    client = RedisClient(_server(budget))
    try:
        await client.add_counts(_key(run), asdict(more))
    except (ServerLost, BulkExportError):
        logger.warning("The totals of the run lack %d requests: %s does not take them", more.requests, client.shown)
    finally:
        await client.close()


async def read_totals(budget: str, run: str) -> RunTotals:
    """Return the totals of a run so far; zeros if nothing was added within the last 30 days.

    Raises:
        UsageError: The ledger is not on a Redis server.
        BudgetUnavailable: The server cannot be reached or used.
    """
    from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost

    client = RedisClient(_server(budget))
    try:
        texts = await client.texts(_key(run))
    except ServerLost:
        raise client.unreachable() from None
    finally:
        await client.close()
    return RunTotals(**{name: int(text) for name, text in texts.items() if name in asdict(RunTotals())})


def _server(budget: str) -> RedisServer:
    location = parse_location(budget)
    if not isinstance(location, RedisServer):
        raise UsageError(
            "The totals of a run are kept on a Redis server.",
            next_step="Name one with the option budget, or leave the option run out.",
        )
    return location


def _key(run: str) -> str:
    return f"run:{hashlib.sha256(run.encode()).hexdigest()[:32]}"
