"""One request, one outcome: the only module that sends requests to the service.

A request goes on the wire once. aiohttp would silently repeat one that met a dead kept connection; that
repetition is refused here, so that each request sent has had its own permission. No redirect is followed, and
~/.netrc is not read. Bodies are read whole, under a cap, before anything else happens, so that a slow disk never
holds a socket. What the service says of itself leaves here without the token, in whatever encoding it repeats it.
"""

from __future__ import annotations

import errno
import io
import itertools
import os
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import anyio
from aiohttp.connector import Connection
from yarl import URL

from bulk_export.core.credentials import Token
from bulk_export.core.model import Authorization
from bulk_export.core.process import cannot_open_files, is_shortage, too_few_descriptors
from bulk_export.core.text import printable
from bulk_export.core.urls import is_loopback
from bulk_export.core.version import __version__
from bulk_export.extract.certificates import trusting
from bulk_export.extract.connections import TAKEN, BadProxy, CleanConnector, Line, Proxy, UnaskedBytes, find_proxy
from bulk_export.extract.content_encoding import Undecodable, inflate
from bulk_export.extract.error_text import explanation, one_line
from bulk_export.extract.response import RequestFailed, Response

JSON, CSV = "application/json", "text/csv"
# Enough for a usual page, so that reading one is not paused on the way.
_READ_AHEAD = 512 * 1024
_READ_AT_ONCE = 8 * 1024 * 1024
# The body of an answer that brings everything is held once while it is cut into pages.
_WHOLE_CAP = 2 * 1024**3
# The body of an answer that is no page only holds an explanation: its status and headers are enough.
_EXPLANATION_CAP = 64 * 1024
_EXPLANATION_SECONDS = 5.0
_PROXY_ADVICE = "Write HTTPS_PROXY like http://USER:PASSWORD@HOST:PORT, with special characters as %40 for @."
_CERTIFICATE_ADVICE = (
    "If your organisation has an authority of its own, name the file with its certificate with --ca-file FILE,"
    " or in the variable SSL_CERT_FILE."
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, between two reads, and for a request as a whole, from sending to the last byte.

    An answer that holds everything an endpoint has may take up to `whole` instead of `total`. Before its second
    request a connection is idle for `settling` seconds.
    """

    connect: float = 15.0
    read: float = 30.0
    total: float = 90.0
    whole: float = 900.0
    settling: float = 0.02


class _SecondSending(Exception):
    """aiohttp was about to repeat the request."""


class _NoLongerAllowed(Exception):
    """The permission to send lapsed while a connection was made."""


_MAY_SEND: ContextVar[Callable[[], bool]] = ContextVar("may_send")


class _CheckedRequest(aiohttp.ClientRequest):
    """A request that asks, once it has its connection, whether it may still be sent."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        may_send = _MAY_SEND.get(None)
        if may_send is not None and not may_send():
            raise _NoLongerAllowed
        return await super().send(conn)


class _SendOnce:
    """Client middleware that lets a request through to the wire a single time."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if self._sent:
            raise _SecondSending
        self._sent = True
        return await send(request)


class HttpClient:
    """Sends GET requests from one or several local addresses, each with connections of its own.

    `sources` are local IP addresses; None stands for the system's choice. `body_cap` bounds a body in
    bytes, as sent and inflated. The token goes into the header that `auth` names; without one none is sent. The
    authorities in `ca_file` are trusted beside those of the system. `notice` hears of what the user should know. Use
    as an async context manager.
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
        ca_file: Path | None = None,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._auth = auth or Authorization()
        self._token = token
        self._sources = sources
        self._body_cap = body_cap
        self._timeouts = timeouts or Timeouts()
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._notice = notice
        self._keep = True
        self._proxy: Proxy | None = None
        self._bad_proxy: str | None = None
        # By source, and whether their connections are kept.
        self._sessions: dict[tuple[str | None, bool], aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        url = URL(self._base_url)
        if url.scheme == "https" and self._ca_file is not None:
            self._tls = trusting(self._ca_file)
        if url.scheme == "https" and not is_loopback(url.host or ""):
            try:
                self._proxy = find_proxy(url)
            except BadProxy as error:
                self._bad_proxy = str(error)
        self._open_sessions()
        return self

    def _open_sessions(self) -> None:
        for source, keep in itertools.product(self._sources, (True, False)):
            connector = CleanConnector(
                source=source,
                tls=self._tls,
                keep=keep and self._keep,
                settling=self._timeouts.settling,
                disturbed=self.distrust,
            )
            session = aiohttp.ClientSession(
                connector=connector,
                headers={
                    "Accept-Encoding": "gzip",
                    "User-Agent": f"bulk-export/{__version__}",
                },
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.read
                ),
                auto_decompress=False,
                request_class=_CheckedRequest,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                read_bufsize=_READ_AHEAD,
            )
            self._sessions[source, keep] = session
            self._stack.push_async_callback(session.close)

    def distrust(self) -> None:
        """Trust no connection for a second answer once one has held bytes that nobody asked for."""
        if not self._keep:
            return
        self._keep = False
        self._open_sessions()
        self._notice(
            "The service sent something that it was not asked for. It was not used, and from here on each request has"
            " a connection of its own."
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def get_while(
        self,
        may_send: Callable[[], bool],
        target: str,
        source: str | None = None,
        *,
        accept: str = JSON,
        is_whole: bool = False,
        is_alone: bool = False,
    ) -> Response | RequestFailed | None:
        """As `get`, but None, with nothing sent, where `may_send` says no right before the bytes would go out."""
        before = _MAY_SEND.set(may_send)
        try:
            return await self.get(target, source, accept=accept, is_whole=is_whole, is_alone=is_alone)
        except _NoLongerAllowed:
            return None
        finally:
            _MAY_SEND.reset(before)

    async def get(
        self,
        target: str,
        source: str | None = None,
        *,
        accept: str = JSON,
        is_whole: bool = False,
        is_alone: bool = False,
    ) -> Response | RequestFailed:
        """Send one request for `target` (path and query, encoded) from `source`.

        `accept` is the media type to ask for. An answer that `is_whole` holds everything an endpoint has: it may be
        larger and take longer than others. One that `is_alone` is asked for on a connection of its own, so that it can
        answer no other request. Raises LocalFailure where this machine cannot open a connection, and nothing for
        trouble on the way.
        """
        if self._bad_proxy is not None:
            return RequestFailed(self._bad_proxy, sent=False, final=True, advice=_PROXY_ADVICE)
        seconds, cap = self._timeouts.total, self._body_cap
        if is_whole:
            seconds, cap = max(seconds, self._timeouts.whole), max(cap, _WHOLE_CAP)
        try:
            with anyio.fail_after(seconds):
                return await self._exchange(target, (source, not is_alone), accept, cap)
        except aiohttp.ClientConnectorError as error:
            return self._unconnected(error, source)
        except aiohttp.ConnectionTimeoutError:
            return RequestFailed("no connection in time", sent=False)
        except TimeoutError:
            return RequestFailed("no whole answer in time")
        except UnaskedBytes:
            return RequestFailed("something arrived on a new connection before a request was sent", sent=False)
        except _SecondSending:
            return RequestFailed("the connection was closed by the service")
        except aiohttp.ClientHttpProxyError as error:
            return _refused_by_proxy(error.status)
        except aiohttp.ClientPayloadError:
            return RequestFailed("the answer was cut short")
        except aiohttp.ServerDisconnectedError:
            return RequestFailed("the service closed the connection without an answer")
        except (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError):
            return RequestFailed("the answer was not valid HTTP")
        except aiohttp.ClientOSError as error:
            return RequestFailed(f"the connection broke: {_os_reason(error)}")
        except (aiohttp.ClientError, OSError) as error:
            return RequestFailed(f"the request failed: {type(error).__name__}")

    def _unconnected(self, error: aiohttp.ClientConnectorError, source: str | None) -> RequestFailed:
        """Why there is no connection. Raises LocalFailure where no more files can be opened."""
        if is_shortage(error.os_error) or cannot_open_files():
            raise too_few_descriptors()
        host = "the service" if self._proxy is None else "the proxy"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            found = getattr(error.certificate_error, "verify_message", "")
            why = f": {printable(found).rstrip('.')}" if found else ""
            return RequestFailed(
                f"the service's certificate is not trusted{why}", sent=False, final=True, advice=_CERTIFICATE_ADVICE
            )
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return RequestFailed(f"the host name of {host} could not be resolved", sent=False)
        if isinstance(error, aiohttp.ClientSSLError):
            return RequestFailed("no secure connection could be made", sent=False)
        if source is not None and error.os_error.errno == errno.EADDRNOTAVAIL:
            return RequestFailed(
                f"this machine does not send from {source}",
                sent=False,
                final=True,
                advice="--source-address takes addresses of this machine.",
            )
        to = "" if self._proxy is None else " to the proxy"
        return RequestFailed(f"no connection{to}: {_os_reason(error.os_error)}", sent=False)

    def _authorization(self) -> dict[str, str]:
        if self._token is None:
            return {}
        return {self._auth.header: self._auth.value(self._token.reveal())}

    async def _exchange(
        self, target: str, session: tuple[str | None, bool], accept: str, cap: int
    ) -> Response | RequestFailed:
        taken: list[tuple[Line, int]] = []
        TAKEN.set(taken)
        async with self._sessions[session].get(
            URL(self._base_url + target, encoded=True),
            headers={"Accept": accept, **self._authorization()},
            allow_redirects=False,
            middlewares=(_SendOnce(),),
            proxy=None if self._proxy is None else self._proxy.url,
            proxy_headers=None if self._proxy is None else self._proxy.headers,
        ) as response:
            if response.status != 200:
                return replace(await self._explained(response), is_certain=_is_first(taken))
            stored = await self._read(response, cap)
            if stored is None:
                return RequestFailed(f"a body of more than {cap} bytes", final=True)
            try:
                body = inflate(stored, _encoding(response), cap)
            except Undecodable as error:
                return RequestFailed(str(error), final=error.oversized)
            return Response(
                status=response.status,
                body=body,
                stored=stored,
                encoding="gzip" if body is not stored else "identity",
                is_framed=body is not stored or _is_framed(response),
                date=response.headers.get("Date"),
                is_certain=_is_first(taken),
                is_echo=any(line.echoes(target, stored) for line, _ in taken[-1:]),
            )

    async def _explained(self, response: aiohttp.ClientResponse) -> Response:
        """An answer that is no page. Its status and headers count, even where its body does not arrive whole."""
        read = bytearray()
        with anyio.move_on_after(_EXPLANATION_SECONDS), suppress(aiohttp.ClientError, TimeoutError, OSError):
            async for chunk in response.content.iter_any():
                read += chunk
                if len(read) >= _EXPLANATION_CAP:
                    break
        try:
            body = inflate(bytes(read), _encoding(response), 2 * _EXPLANATION_CAP)
        except Undecodable:
            body = b""
        message = explanation(response.status, response.headers, body)
        return Response(
            status=response.status,
            body=body,
            stored=body,
            encoding="identity",
            message=one_line(message if self._token is None else self._token.mask(message)),
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


def _is_first(taken: list[tuple[Line, int]]) -> bool:
    return bool(taken) and taken[-1][1] == 1


def _is_framed(response: aiohttp.ClientResponse) -> bool:
    return response.content_length is not None or "chunked" in response.headers.get("Transfer-Encoding", "").lower()


def _os_reason(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return "the secure connection failed"
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__


def _encoding(response: aiohttp.ClientResponse) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _refused_by_proxy(status: int) -> RequestFailed:
    if status == 407:
        reason = "the proxy asks for a user name and a password (status 407)"
        return RequestFailed(reason, sent=False, final=True, advice=_PROXY_ADVICE)
    return RequestFailed(f"the proxy answered with status {status}", sent=False, final=400 <= status < 500)
