"""The ledger on a Redis server, shared by several machines: each step is one atomic script there."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import anyio
import msgspec

from bulk_export.core.credentials import Token
from bulk_export.errors import BudgetUnavailable
from bulk_export.extract.rate_limit.clock import boot_clock
from bulk_export.extract.rate_limit.fairness import GRACE, SHORTEST_POLL, longest_poll
from bulk_export.extract.rate_limit.interface import Granted, Limits, RequestOutcome, Wait, WindowUsage
from bulk_export.extract.rate_limit.key import RateLimitKey, account
from bulk_export.extract.rate_limit.location import RedisServer
from bulk_export.extract.rate_limit.redis.client import SECRET, SECRET_DAYS, SERVER, TAG, RedisClient, ServerLost
from bulk_export.extract.rate_limit.retry_after import FIRST_BACKOFF, MARGIN, RetryAfter
from bulk_export.extract.rate_limit.routes import Route, named_route
from bulk_export.extract.rate_limit.throttle_state import AFTER_LOST_PROBE, GROWTH_PERIODS

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class _InFlight:
    route: str
    claimed_at: int
    known_until: float


class RedisStore:
    """One process's share in the record on a server.

    `clock` replaces the server's clock where time is simulated; `elapsed` tells, in seconds, how time goes on
    here, against which a jump of the server's clock shows.
    """

    def __init__(
        self,
        server: RedisServer,
        base_url: str,
        token: Token | None,
        terms: Limits,
        *,
        notice: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
        elapsed: Callable[[], float] | None = None,
        uniform: Callable[[], float] = random.random,
        route: Route = named_route,
    ) -> None:
        self._route = route
        self._client = RedisClient(server)
        self._base_url = base_url
        self._token = token
        self._terms = terms
        self._notice = notice
        self._clock = clock
        self._elapsed = elapsed or boot_clock().now
        self._uniform = uniform
        self._claimant = secrets.token_hex(8)
        self._in_flight: dict[int, _InFlight] = {}
        self._waits = False
        self._away = False
        self._secret = ""
        self._account = RateLimitKey("", "", 0, 0)
        self._suspect = False
        self._asked: int | None = None
        self._seen: tuple[int, float] | None = None

    @classmethod
    async def open(
        cls,
        server: RedisServer,
        base_url: str,
        token: Token | None,
        terms: Limits,
        notice: Callable[[str], None],
        route: Route,
    ) -> Self:
        """Raises BudgetUnavailable where the server cannot be reached or used, UsageError without the redis package."""
        store = cls(server, base_url, token, terms, notice=notice, route=route)
        try:
            await store.enter()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await store.close()
            raise
        return store

    async def enter(self) -> None:
        """Learn the secret of this store, or give it one."""
        try:
            await self._learn_secret()
        except ServerLost:
            raise self._client.unreachable() from None

    async def claim(self, identity: int) -> Granted | Wait:
        """As `Ledger.claim`. While the server is away it waits for it to come back."""
        await self._renew_in_flight()
        self._asked = identity
        reply = await self._persistently("claim", identity=str(identity))
        self._asked = None
        rooms = tuple(WindowUsage(used, free_in / 1e6) for used, free_in in reply["rooms"])
        if "delay" in reply:
            self._waits = True
            return Wait(reply["delay"] / 1e6, reply["refusals"], rooms)
        self._waits = False
        self._in_flight[identity] = _InFlight(
            reply["route"], reply["now"], self._elapsed() + self._terms.longest_request
        )
        return Granted(self._terms.sources[reply["place"]], reply["refusals"], rooms)

    async def settle(self, identity: int, outcome: RequestOutcome) -> None:
        """As `Ledger.settle`. Raises BudgetUnavailable while the server is away."""
        request = self._in_flight.get(identity)
        if request is None and identity == self._asked:
            # Whether the server granted it is not known, but that nothing was sent is.
            request = _InFlight("", 0, 0.0)
        if request is not None:
            sent, answered = outcome is not RequestOutcome.UNSENT, outcome is RequestOutcome.ANSWERED
            over_in = _micros(self._terms.over_at(0.0, outcome))
            await self._once("settle", **self._naming(identity, request), sent=sent, answered=answered, over_in=over_in)
            self._in_flight.pop(identity, None)

    async def refuse(self, identity: int, refusal: RetryAfter) -> float:
        """As `Ledger.refuse`. Raises BudgetUnavailable while the server is away."""
        request = self._in_flight.get(identity)
        if request is None:
            return 0.0
        reply = await self._once(
            "refuse",
            **self._naming(identity, request),
            told=None if refusal.told is None else _micros(refusal.told),
            edge=None if refusal.edge is None else _micros(refusal.edge),
            period=_micros(refusal.period),
            most_told=_micros(refusal.most_told),
            uniform=refusal.uniform,
        )
        del self._in_flight[identity]
        return float(reply["hold"]) / 1e6

    async def withdraw(self) -> None:
        """As `Ledger.withdraw`. Where that fails, the place in the queue lapses by itself."""
        if self._waits:
            self._waits = False
            try:
                await self._once("withdraw")
            except BudgetUnavailable:
                return

    async def close(self) -> None:
        """Leave the queue and close the connections."""
        await self.withdraw()
        await self._client.close()

    async def _renew_in_flight(self) -> None:
        """After a long stop of this process, requests that it still has under way must be counted again."""
        now = self._elapsed()
        for identity, request in list(self._in_flight.items()):
            if request.known_until <= now:
                await self._persistently("renew", **self._naming(identity, request))
                self._in_flight[identity] = replace(request, known_until=now + self._terms.longest_request)

    async def _persistently(self, step: str, **asked: object) -> dict[str, Any]:
        """Do one step, however long the server is away."""
        pause = _FIRST_PAUSE
        while True:
            try:
                reply = await self._do(step, asked)
            except ServerLost:
                if not self._away:
                    self._notice(f"{self._client.shown} does not answer; nothing is sent until it does")
                self._away = True
                await anyio.sleep(pause * (0.5 + self._uniform() / 2))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if self._away:
                    self._notice(f"{self._client.shown} answers again")
                self._away = False
                return reply

    async def _once(self, step: str, **asked: object) -> dict[str, Any]:
        try:
            return await self._do(step, asked)
        except ServerLost:
            raise self._client.unreachable() from None

    async def _do(self, step: str, asked: Mapping[str, object]) -> dict[str, Any]:
        while True:
            sent_at = self._elapsed()
            request = self._standing(sent_at) | {"step": step} | {k: v for k, v in asked.items() if v is not None}
            reply: dict[str, Any] = msgspec.json.decode(
                await self._client.step(self._keys(), msgspec.json.encode(request))
            )
            if not reply.get("emptied"):
                if reply.get("restarted"):
                    self._notice(
                        f"{self._client.shown} was started again: what was spent before is not known for sure, "
                        "so everything counts as spent for a period"
                    )
                self._seen = (reply["now"], sent_at)
                self._suspect = False
                return reply
            # Somebody emptied the store, so what was spent before cannot be known.
            self._suspect = self._suspect or self._matters(sent_at)
            await self._learn_secret()

    def _standing(self, now: float) -> dict[str, object]:
        terms = self._terms
        standing: dict[str, object] = {
            "secret": self._secret,
            "secret_lapse": SECRET_DAYS * 86_400_000,
            "prefix": f"{TAG}:",
            "account": f"{self._account.number:x}",
            "routes": self._service_name("from:"),
            "claimant": self._claimant,
            "service": self._account.service,
            "token": self._account.token,
            "limits": msgspec.json.encode((terms.service_limit, terms.address_limit)).decode(),
            "sources": [self._route(source) for source in terms.sources],
            "service_limit": terms.service_limit.requests,
            "service_period": _micros(terms.service_limit.period),
            "address_limit": terms.address_limit.requests,
            "address_period": _micros(terms.address_limit.period),
            "reach": _micros(terms.reach),
            "longest": _micros(terms.longest_request),
            "late": _micros(terms.late),
            "grace": _micros(GRACE),
            "shortest_poll": _micros(SHORTEST_POLL),
            "longest_poll": _micros(longest_poll(terms)),
            "first_backoff": _micros(FIRST_BACKOFF),
            "margin": _micros(MARGIN),
            "after_lost_probe": _micros(AFTER_LOST_PROBE),
            "growth_periods": GROWTH_PERIODS,
            "suspect": self._suspect,
            "known": self._matters(now),
        }
        if self._clock is not None:
            standing["clock"] = _micros(self._clock())
        if self._seen is not None:
            seen, sent_at = self._seen
            standing |= {"seen": seen, "elapsed": _micros(now - sent_at)}
        return standing

    def _matters(self, now: float) -> bool:
        """Whether what was on record when the server was last heard of can still matter."""
        terms = self._terms
        return self._seen is not None and now - self._seen[1] < terms.reach + terms.longest_request + terms.late

    def _naming(self, identity: int, request: _InFlight) -> dict[str, object]:
        return {"identity": str(identity), "route": request.route, "claimed_at": request.claimed_at}

    def _keys(self) -> list[str]:
        own = (self._name(kind) for kind in ("state", "spent", "through", "queue", "waiters"))
        return [SECRET, SERVER, self._service_name("clock"), *own]

    def _name(self, kind: str) -> str:
        return f"{TAG}:{self._account.number:x}:{kind}"

    def _service_name(self, kind: str) -> str:
        return f"{TAG}:{self._account.service_number:x}:{kind}"

    async def _learn_secret(self) -> None:
        found = await self._client.secret()
        self._secret = found.decode("ascii", "replace")
        self._account = account(found, self._base_url, self._token)
        self._seen = None


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)
