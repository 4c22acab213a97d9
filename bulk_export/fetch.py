"""One request, one outcome: the only module that talks HTTP, and the only one that sees aiohttp.

A request goes on the wire once. aiohttp would silently repeat one that met a dead kept connection; that
repetition is refused here, so that each request sent has had its own permission. No redirect is followed.
Bodies are read whole, under a cap, before anything else happens, so that a slow disk never holds a socket.
"""

from __future__ import annotations

import functools
import io
import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import aiohttp
import anyio
import msgspec
from yarl import URL

from bulk_export import __version__
from bulk_export.credentials import Token
from bulk_export.encoding import Undecodable, inflate
from bulk_export.model import Authorization, Endpoint, Paging
from bulk_export.options import is_loopback

_MESSAGE_LENGTH = 300
JSON, CSV = "application/json", "text/csv"
# Enough for a usual page, so that reading one is not paused on the way.
_READ_AHEAD = 512 * 1024
_READ_AT_ONCE = 8 * 1024 * 1024
# The body of an answer that brings everything is held once while it is cut into pages.
_WHOLE_CAP = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, between two reads, and for a request as a whole, from sending to the last byte.

    An answer that holds everything an endpoint has may take up to `whole` instead of `total`.
    """

    connect: float = 15.0
    read: float = 30.0
    total: float = 90.0
    whole: float = 900.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that arrived whole. `stored` is the body as sent, `body` the same inflated.

    `is_framed` is False where only the end of the connection told that the body is whole. `message` is what the
    service said about itself where `status` is not 200.
    """

    status: int
    body: bytes
    stored: bytes
    encoding: str
    is_framed: bool = True
    message: str = ""
    retry_after: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole response. `sent` is False only where nothing can have reached the service.

    `final` says that trying again would only repeat it.
    """

    reason: str
    sent: bool = True
    final: bool = False


class _SecondSending(Exception):
    """aiohttp was about to repeat the request."""


class _SendOnce:
    """Client middleware that lets a request through to the wire a single time."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if self._sent:
            raise _SecondSending
        self._sent = True
        return await send(request)


class Fetcher:
    """Sends GET requests from one or several local addresses, each with connections of its own.

    `sources` are local IP addresses; None stands for the system's choice. `body_cap` bounds a body in
    bytes, as sent and inflated. The token goes into the header that `auth` names; without one none is sent. Use as
    an async context manager.
    """

    def __init__(
        self,
        base_url: str,
        token: Token | None,
        *,
        sources: Sequence[str | None] = (None,),
        body_cap: int,
        timeouts: Timeouts | None = None,
        auth: Authorization | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._auth = auth or Authorization()
        self._token = token
        self._sources = sources
        self._body_cap = body_cap
        self._timeouts = timeouts or Timeouts()
        self._sessions: dict[str | None, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        url = URL(self._base_url)
        through_proxy = url.scheme == "https" and not is_loopback(url.host or "")
        for source in self._sources:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, local_addr=(source, 0) if source else None, keepalive_timeout=30.0
                ),
                headers={
                    "Accept-Encoding": "gzip",
                    "User-Agent": f"bulk-export/{__version__}",
                },
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.read
                ),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=through_proxy,
                read_bufsize=_READ_AHEAD,
            )
            self._sessions[source] = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def get(
        self, target: str, source: str | None = None, *, accept: str = JSON, is_whole: bool = False
    ) -> Answer | Failure:
        """Send one request for `target` (path and query, encoded) from `source`; it never raises for trouble.

        `accept` is the media type to ask for. An answer that `is_whole` holds everything an endpoint has: it may be
        larger and take longer than others.
        """
        seconds, cap = self._timeouts.total, self._body_cap
        if is_whole:
            seconds, cap = max(seconds, self._timeouts.whole), max(cap, _WHOLE_CAP)
        try:
            with anyio.fail_after(seconds):
                return await self._exchange(target, source, accept, cap)
        except TimeoutError:
            return Failure("no whole answer in time")
        except _SecondSending:
            return Failure("the connection was closed by the service")
        except aiohttp.ClientConnectorCertificateError:
            return Failure("the service's certificate is not trusted", sent=False, final=True)
        except aiohttp.ClientConnectorDNSError:
            return Failure("the host name could not be resolved", sent=False)
        except aiohttp.ClientSSLError:
            return Failure("no secure connection could be made", sent=False)
        except aiohttp.ClientConnectorError as error:
            return Failure(f"no connection: {_os_reason(error.os_error)}", sent=False)
        except aiohttp.ClientPayloadError:
            return Failure("the answer was cut short")
        except aiohttp.ServerDisconnectedError:
            return Failure("the service closed the connection without an answer")
        except (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError):
            return Failure("the answer was not valid HTTP")
        except aiohttp.ClientOSError as error:
            return Failure(f"the connection broke: {_os_reason(error)}")
        except (aiohttp.ClientError, OSError) as error:
            return Failure(f"the request failed: {type(error).__name__}")

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        return {self._auth.header: f"{self._auth.scheme} {self._token.reveal()}".lstrip()}

    async def _exchange(self, target: str, source: str | None, accept: str, cap: int) -> Answer | Failure:
        async with self._sessions[source].get(
            URL(self._base_url + target, encoded=True),
            headers={"Accept": accept, **self._authorization()},
            allow_redirects=False,
            middlewares=(_SendOnce(),),
        ) as response:
            stored = await self._read(response, cap)
            if stored is None:
                return Failure(f"a body of more than {cap} bytes", final=True)
            encoding = response.headers.get("Content-Encoding", "").strip().lower()
            try:
                body = inflate(stored, encoding, cap)
            except Undecodable as error:
                if response.status == 200:
                    return Failure(str(error), final=error.oversized)
                body = b""
            return Answer(
                status=response.status,
                body=body,
                stored=stored,
                encoding="gzip" if body is not stored else "identity",
                is_framed=body is not stored or _is_framed(response),
                message="" if response.status == 200 else _message(response, body),
                retry_after=response.headers.get("Retry-After"),
                date=response.headers.get("Date"),
            )

    async def _read(self, response: aiohttp.ClientResponse, cap: int) -> bytes | None:
        announced = response.content_length
        if announced is not None and announced > cap:
            return None
        if announced is not None and announced <= _READ_AT_ONCE:
            return await response.read()
        # Its content is taken out of it without a copy.
        body = io.BytesIO()
        async for chunk in response.content.iter_any():
            if body.tell() + len(chunk) > cap:
                return None
            body.write(chunk)
        return body.getvalue()


def page_target(
    endpoint: Endpoint,
    page: int,
    page_size: int,
    filters: Sequence[tuple[str, str]] = (),
    *,
    position: int | None = None,
) -> str:
    """Path and query for one page (the first is 1), percent-encoded, with the sort that makes the order total.

    `position` is that of its first record, where it is asked for by position and does not follow from its number.
    """
    paging = endpoint.paging
    before, after = _around_page(endpoint.path, paging, endpoint.sort, page_size, tuple(filters))
    if paging.style == "none":
        return before
    if position is None:
        position = (page - 1) * (page_size if paging.style == "offset" else 1)
    return f"{before}{paging.first + position}{after}"


@functools.lru_cache(maxsize=256)
def _around_page(
    path: str, paging: Paging, sort: str | None, page_size: int, filters: tuple[tuple[str, str], ...]
) -> tuple[str, str]:
    """What stands before and after the number of the page: encoding it anew takes a tenth of a request's time."""
    parameters = [(paging.size, str(page_size))] if paging.style != "none" else []
    if sort is not None:
        parameters.append((paging.sort, sort))
    parameters.extend((paging.filter.replace("{name}", key), value) for key, value in filters)
    encoded = functools.partial(urlencode, quote_via=quote, safe=",:")
    if paging.style != "none":
        return f"{quote(path)}?{encoded({paging.number: ''})}", f"&{encoded(parameters)}"
    return f"{quote(path)}?{encoded(parameters)}" if parameters else quote(path), ""


def _is_framed(response: aiohttp.ClientResponse) -> bool:
    return response.content_length is not None or "chunked" in response.headers.get("Transfer-Encoding", "").lower()


def _os_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return "the secure connection failed"
    strerror = getattr(error, "strerror", None)
    return strerror if isinstance(strerror, str) and strerror else type(error).__name__


def _message(response: aiohttp.ClientResponse, body: bytes) -> str:
    """The service's own words in an error response: its JSON errors, or the start of a plain text."""
    if 300 <= response.status < 400:
        target = URL(response.headers.get("Location", ""))
        return f"a redirect to {target.host}" if target.host else "a redirect"
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        is_text = response.content_type == "text/plain"
        return _one_line(body[:_MESSAGE_LENGTH].decode("utf-8", "replace")) if is_text else ""
    return _one_line(_json_message(document))


def _json_message(document: object) -> str:
    if not isinstance(document, Mapping):
        return ""
    errors = document.get("errors")
    if isinstance(errors, Sequence) and not isinstance(errors, str):
        return "; ".join(
            ": ".join(str(part) for part in (entry.get("title"), entry.get("detail")) if part)
            for entry in errors
            if isinstance(entry, Mapping)
        )
    return str(document.get("error", "") or document.get("message", ""))


def _one_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_MESSAGE_LENGTH]
