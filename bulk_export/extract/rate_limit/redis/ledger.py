"""The ledger on a Redis server, shared by several machines: each step is one atomic run of ledger.lua there."""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Self

import anyio
import msgspec

from bulk_export.core.credentials import Token
from bulk_export.errors import BudgetUnavailable
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.interface import Granted, InFlight, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.key import RateLimitKey
from bulk_export.extract.rate_limit.location import RedisServer
from bulk_export.extract.rate_limit.redis.client import RedisClient, ServerLost
from bulk_export.extract.rate_limit.redis.script_arguments import (
    RecordWatch,
    key_names,
    microseconds,
    process_arguments,
    retry_after_arguments,
)
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.routes import RouteFinder, route_by_name
from bulk_export.progress.time_left import Ceiling

logger = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class RedisLedger:
    """One process's access to the record on a server. `enter` comes before any step, as `open` does it.

    Args:
        server: The server.
        base_url: Address of the service.
        token: Token of the requests.
        limits: What to keep to.
        notice: Called with messages that the user should see.
        clock: Replaces the server's clock in simulations; seconds.
        elapsed: Returns seconds on a monotonic clock of this machine, which reveals jumps of the server's clock.
        uniform: Returns random numbers from 0 to 1.
        find_route: Returns the route from a source address.
    """

    releases_at_once = False

    def __init__(
        self,
        server: RedisServer,
        base_url: str,
        token: Token | None,
        limits: Limits,
        *,
        notice: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
        elapsed: Callable[[], float] | None = None,
        uniform: Callable[[], float] = random.random,
        find_route: RouteFinder = route_by_name,
    ) -> None:
        self._client = RedisClient(server)
        self._base_url = base_url
        self._token = token
        self._limits = limits
        self._notice = notice
        self._clock = clock
        self._elapsed = elapsed or boot_clock().now
        self._uniform = uniform
        self._find_route = find_route
        self._claimant = secrets.token_hex(8)
        self._in_flight: dict[int, InFlight] = {}
        # The identity of a claim whose reply has not come.
        self._claiming: int | None = None
        self._is_queued = False
        self._is_away = False
        self._key = RateLimitKey("", "", 0, 0)
        self._process_arguments: Mapping[str, object] = {}
        self._watch = RecordWatch(limits.longest_period + limits.longest_request + limits.max_count_delay)

    @classmethod
    async def open(
        cls,
        server: RedisServer,
        base_url: str,
        token: Token | None,
        limits: Limits,
        *,
        notice: Callable[[str], None],
        find_route: RouteFinder,
    ) -> Self:
        """Open a ledger.

        Raises:
            BudgetUnavailable: The server cannot be reached or used, or a newer version of this program uses it.
            UsageError: The redis package is not installed.
        """
        ledger = cls(server, base_url, token, limits, notice=notice, find_route=find_route)
        try:
            await ledger.enter()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await ledger.close()
            raise
        return ledger

    async def enter(self) -> None:
        """Read the secret of the record, creating it if there is none."""
        try:
            await self._read_secret()
        except ServerLost:
            raise self._client.unreachable() from None

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`. While the server is away, this waits for it to come back."""
        await self._renew_in_flight()
        self._claiming = identity
        reply = await self._run_until_answered("claim", identity=str(identity))
        self._claiming = None
        windows = tuple(WindowUsage(used, free_in / 1e6) for used, free_in in reply["windows"])
        ceiling = Ceiling(reply["ceiling"], reply["growth"] * 1e6) if "ceiling" in reply else None
        if "delay" in reply:
            self._is_queued = True
            return Wait(reply["delay"] / 1e6, reply["consecutive_429s"], windows, ceiling)
        self._is_queued = False
        recorded_until = self._elapsed() + self._limits.longest_request
        self._in_flight[identity] = InFlight(reply["route"], reply["now"], recorded_until)
        return Granted(self._limits.sources[reply["index"]], reply["consecutive_429s"], windows, ceiling)

    async def release(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.release`. Raises BudgetUnavailable while the server is away."""
        request = self._in_flight.get(identity)
        if request is None and identity == self._claiming:
            # Nobody knows whether the server granted the claim, but nothing was sent.
            request = InFlight("", 0, 0.0)
        if request is not None:
            await self._run_once(
                "release",
                **_naming(identity, request),
                sent=outcome is not RequestOutcome.UNSENT,
                answered=outcome is RequestOutcome.ANSWERED,
                counted_in=microseconds(self._limits.counted_by(0.0, outcome)),
            )
            self._in_flight.pop(identity, None)

    async def report_throttled(self, identity: int, retry_after: RetryAfter) -> float:
        """As `Ledger.report_throttled`. Raises BudgetUnavailable while the server is away."""
        request = self._in_flight.get(identity)
        if request is None:
            return 0.0
        arguments = _naming(identity, request) | retry_after_arguments(retry_after)
        reply = await self._run_once("report_throttled", **arguments)
        del self._in_flight[identity]
        return float(reply["hold"]) / 1e6

    async def leave_queue(self) -> None:
        """As `Ledger.leave_queue`. If it fails, the ticket lapses by itself."""
        if self._is_queued:
            self._is_queued = False
            try:
                await self._run_once("leave_queue")
            except BudgetUnavailable:
                return

    async def close(self) -> None:
        """Leave the queue and close the connections."""
        await self.leave_queue()
        await self._client.close()

    async def _renew_in_flight(self) -> None:
        """Record again the requests in flight whose records lapsed because this process was stopped for long."""
        now = self._elapsed()
        for identity, request in list(self._in_flight.items()):
            if request.recorded_until <= now:
                await self._run_until_answered("renew", **_naming(identity, request))
                self._in_flight[identity] = replace(request, recorded_until=now + self._limits.longest_request)

    async def _run_until_answered(self, step: str, **arguments: object) -> dict[str, Any]:
        """Run one step, however long the server is away."""
        pause = _FIRST_PAUSE
        while True:
            try:
                reply = await self._run(step, arguments)
            except ServerLost:
                if not self._is_away:
                    logger.info("%s does not answer; nothing is sent until it does", self._client.shown)
                    self._notice(f"{self._client.shown} does not answer; nothing is sent until it does")
                self._is_away = True
                await anyio.sleep(pause * (0.5 + self._uniform() / 2))
                pause = min(2 * pause, _LONGEST_PAUSE)
                logger.debug("Asking %s again", self._client.shown)
            else:
                if self._is_away:
                    logger.info("%s answers again", self._client.shown)
                    self._notice(f"{self._client.shown} answers again")
                self._is_away = False
                return reply

    async def _run_once(self, step: str, **arguments: object) -> dict[str, Any]:
        """Run one step. Raises BudgetUnavailable if the server does not answer."""
        try:
            return await self._run(step, arguments)
        except ServerLost:
            raise self._client.unreachable() from None

    async def _run(self, step: str, arguments: Mapping[str, object]) -> dict[str, Any]:
        """Run one step, again with the new secret if the record was emptied."""
        while True:
            sent_at = self._elapsed()
            request = {**self._process_arguments, **self._watch.arguments(sent_at), **arguments, "step": step}
            request["sources"] = [self._find_route(source) for source in self._limits.sources]
            if self._clock is not None:
                request["clock"] = microseconds(self._clock())
            answer = await self._client.run_script(key_names(self._key), msgspec.json.encode(request))
            reply: dict[str, Any] = msgspec.json.decode(answer)
            if not reply.get("emptied"):
                if reply.get("restarted"):
                    self._report_restart()
                self._watch = self._watch.after_reply(reply["now"], sent_at)
                return reply
            logger.info("The record on %s was emptied", self._client.shown)
            self._watch = self._watch.after_emptying(sent_at)
            await self._read_secret()

    def _report_restart(self) -> None:
        message = (
            f"{self._client.shown} was started again: what was spent before is not known for sure, "
            "so everything counts as spent for a period"
        )
        logger.info("%s", message)
        self._notice(message)

    async def _read_secret(self) -> None:
        secret = await self._client.secret()
        self._key = RateLimitKey.of(secret, self._base_url, self._token)
        self._process_arguments = {
            **process_arguments(self._key, self._limits, self._claimant),
            "secret": secret.decode("ascii", "replace"),
        }


def _naming(identity: int, request: InFlight) -> dict[str, object]:
    return {"identity": str(identity), "route": request.route, "claimed_at": request.claimed_at}
