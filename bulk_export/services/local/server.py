"""The local service: an HTTP server that behaves like the real service in everything that a client can notice."""

from __future__ import annotations

import hmac
import math
import random
import time
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import anyio
from aiohttp import web

from bulk_export.core.model import Endpoint, Limit, Paging
from bulk_export.services.local.changing_records import ChangingRecords
from bulk_export.services.local.dataset import Dataset
from bulk_export.services.local.query import BadQuery, Query, parse_query
from bulk_export.services.local.records import RecordFactory
from bulk_export.services.local.settings import LocalServiceSettings
from bulk_export.services.local.throttle import FixedWindows, RollingWindow, Throttle
from bulk_export.services.local.timeline import Timeline
from bulk_export.services.openapi import openapi_yaml

_MOST_LOGGED = 1_000_000
# The endpoint that lists people, by service.
_PEOPLE_ENDPOINTS = ("participants-npq", "participants-ecf", "participants")
_GZIP_WBITS = 31


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as it arrived.

    Attributes:
        at: When it arrived, by a monotonic clock, in seconds.
        peer: The address of the client.
        endpoint: The endpoint; None if its path is none.
        page: The page number or offset; None if it has none.
        page_size: The requested number of records; None if it has none.
        query: The decoded query.
    """

    at: float
    peer: str
    endpoint: str | None
    page: int | None
    page_size: int | None
    query: str


class LocalService:
    """The state of the service.

    Attributes:
        settings: Its settings.
        base_url: Its address, once it is served.
        log: The requests in the order of their arrival.
        statuses: The number of responses by status.
        before_request: Called with each request before the response is made. It may change the records.
    """

    def __init__(self, settings: LocalServiceSettings) -> None:
        self.settings = settings
        self.base_url = ""
        self.log: deque[RequestRecord] = deque(maxlen=_MOST_LOGGED)
        self.statuses: dict[int, int] = {}
        self.before_request: Callable[[LocalService, RequestRecord], None] | None = None
        self._endpoints = {endpoint.path: endpoint for endpoint in settings.service.endpoints}
        self._rng = random.Random(settings.seed)
        counts = {endpoint.name: settings.count(endpoint.name) for endpoint in settings.service.endpoints}
        people_in = next(filter(counts.__contains__, _PEOPLE_ENDPOINTS), _PEOPLE_ENDPOINTS[0])
        self._records: dict[str, ChangingRecords] = {}
        self._datasets: dict[str, Dataset] = {}
        for endpoint in settings.service.endpoints:
            factory = RecordFactory(
                endpoint,
                settings.seed,
                people=settings.count(people_in),
                applications=settings.count("npq-applications"),
                people_in=people_in,
                counts=counts,
                timeline=Timeline.until(settings.newest, settings.count(endpoint.name)),
            )
            records = ChangingRecords(factory, settings.count(endpoint.name))
            self._records[endpoint.name] = records
            self._datasets[endpoint.name] = Dataset(endpoint, records, settings.seed, settings.settles_after)
        self._per_token = _throttle(settings.service_limit, settings)
        self._per_address = _throttle(settings.ip_limit, settings)

    def truth(self, endpoint: str) -> Iterator[Any]:
        """Iterate over the records that an endpoint has now, by creation time and id."""
        return self._datasets[endpoint].rendered_records()

    def count(self, endpoint: str) -> int:
        """Return the number of records that an endpoint has now."""
        return len(self._records[endpoint].numbers)

    def append(self, endpoint: str, count: int = 1) -> None:
        """Create records at the end of an endpoint."""
        self._records[endpoint].append(count, self.settings.clock())

    def remove(self, endpoint: str, position: int) -> str:
        """Remove the record at a position in the order of creation. Return its id."""
        return self._records[endpoint].remove(position)

    def touch(self, endpoint: str, position: int, updated_at: float | None = None) -> str:
        """Change the record at a position in the order of creation. Return its id.

        `updated_at` is the time of the change in seconds since the epoch; now if None.
        """
        return self._records[endpoint].touch(position, self.settings.clock() if updated_at is None else updated_at)

    def application(self) -> web.Application:
        """Return the service as an aiohttp application."""
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = await self._respond(request)
        if not response.prepared:
            response.headers["Date"] = formatdate(self.settings.clock(), usegmt=True)
        self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
        return response

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        settings = self.settings
        endpoint = self._endpoints.get(request.path)
        record = self._record(request, endpoint)
        self.log.append(record)
        if self.before_request is not None:
            self.before_request(self, record)
        # Every request counts towards both limits, whatever its response.
        exceeded = self._exceeded_limit(request, record.peer)
        if settings.latency:
            await anyio.sleep(settings.latency * (1 + settings.latency_spread * self._rng.uniform(-1, 1)))
        if exceeded is not None:
            return self._throttled(exceeded)
        spec_path = settings.service.spec_path.replace("{version}", settings.service.version)
        if request.path == spec_path and request.method == "GET":
            # It needs no token.
            return web.Response(body=openapi_yaml(settings.service), content_type="text/yaml", charset="utf-8")
        if not self._is_authorized(request):
            return web.json_response({"error": "HTTP Token: Access denied"}, status=401)
        if endpoint is None or request.method != "GET":
            return _errors(404, "Resource not found", "Nothing could be found for the provided details")
        if self._happens(settings.reset_rate):
            return _reset(request)
        if self._happens(settings.error_rate):
            return web.Response(status=self._rng.choice((500, 502, 503)), text="Something went wrong\n")
        try:
            query = parse_query(settings.service, endpoint, request.query.items(), self._largest_page(endpoint))
        except BadQuery as error:
            return _errors(error.status, error.title, error.detail)
        if self._happens(settings.garbage_rate):
            return web.Response(text="<html><body>Please wait …</body></html>", content_type="text/html")
        return await self._page(request, endpoint, query)

    def _exceeded_limit(self, request: web.Request, peer: str) -> Limit | None:
        """Count a request. Return the limit that it exceeds, that of the token first."""
        token = request.headers.get(self.settings.service.auth.header, "")
        exceeded = [
            throttle.limit
            for throttle, key in ((self._per_token, token), (self._per_address, peer))
            if throttle is not None and not throttle.admits(key)
        ]
        return exceeded[0] if exceeded else None

    def _is_authorized(self, request: web.Request) -> bool:
        auth = self.settings.service.auth
        header_value = request.headers.get(auth.header, "").encode()
        accepted = (auth.value(token).encode() for token in (self.settings.token, *self.settings.other_tokens))
        return any(hmac.compare_digest(header_value, value) for value in accepted)

    async def _page(self, request: web.Request, endpoint: Endpoint, query: Query) -> web.StreamResponse:
        dataset = self._datasets[endpoint.name]
        if self._happens(self.settings.churn):
            self._change(self._records[endpoint.name])
        body = dataset.page(query)
        headers = {"Content-Type": f"{dataset.media_type}; charset=utf-8"}
        if self.settings.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            compressor = zlib.compressobj(level=1, wbits=_GZIP_WBITS)
            body = compressor.compress(body) + compressor.flush()
            headers["Content-Encoding"] = "gzip"
        if self._happens(self.settings.truncate_rate) and len(body) > 1:
            return await self._truncated(request, body, headers)
        return web.Response(body=body, headers=headers)

    async def _truncated(self, request: web.Request, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
        """Send a part of a body, either with the length of the complete one or with its own."""
        cut = body[: self._rng.randrange(1, len(body))]
        if self._rng.random() < 0.5:
            return web.Response(body=cut, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        await response.write(cut)
        return _reset(request, response)

    def _change(self, records: ChangingRecords) -> None:
        kind = self._rng.choice(self.settings.churn_kinds)
        if kind == "append":
            records.append(1, self.settings.clock())
        elif len(records.numbers) > 1:
            position = self._rng.randrange(len(records.numbers))
            if kind == "touch":
                records.touch(position, self.settings.clock())
            else:
                records.remove(position)

    def _largest_page(self, endpoint: Endpoint) -> int | None:
        return self.settings.largest_page or endpoint.paging.largest

    def _throttled(self, limit: Limit) -> web.Response:
        headers = {}
        if self.settings.retry_after:
            headers["Retry-After"] = str(math.ceil(limit.period - self.settings.clock() % limit.period))
        return web.Response(status=429, text="Retry later\n", headers=headers)

    def _happens(self, rate: float) -> bool:
        return rate > 0 and self._rng.random() < rate

    def _record(self, request: web.Request, endpoint: Endpoint | None) -> RequestRecord:
        query = request.query
        paging = endpoint.paging if endpoint else Paging()
        return RequestRecord(
            at=time.monotonic(),
            peer=request.remote or "",
            endpoint=endpoint.name if endpoint else None,
            page=_number(query.get(paging.number)),
            page_size=_number(query.get(paging.size)),
            query="&".join(f"{name}={value}" for name, value in query.items()),
        )


@asynccontextmanager
async def serving(
    settings: LocalServiceSettings, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[LocalService]:
    """Serve until the block is left.

    Args:
        settings: What to serve.
        host: The address to listen on.
        port: The port to listen on; 0 for any free one.

    Yields:
        The service; its `base_url` has the port.
    """
    service = LocalService(settings)
    runner = web.AppRunner(service.application(), access_log=None, handle_signals=False, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        address = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        service.base_url = f"http://{address}:{bound[1]}"
        yield service
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def _throttle(limit: Limit | None, settings: LocalServiceSettings) -> Throttle | None:
    if limit is None:
        return None
    return (FixedWindows if settings.windows == "fixed" else RollingWindow)(limit, settings.clock)


def _errors(status: int, title: str, detail: str) -> web.Response:
    return web.json_response({"errors": [{"title": title, "detail": detail}]}, status=status)


def _reset(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response(status=500)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
