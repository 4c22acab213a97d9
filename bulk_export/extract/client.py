"""The HTTP client: one request, one result. The only module that sends requests to the service.

1. A request goes on the wire once. aiohttp would silently repeat one if a kept connection turns out to be dead; that
   repetition is refused here, so that each request sent has a permit.
2. No redirect is followed, and ~/.netrc is not read.
3. Bodies are read completely, under a cap, before anything else happens, so that a slow disk never holds a socket.
4. If the message of an error repeats the token, in any encoding, it is masked here.
5. Exceptions of aiohttp stop here: each becomes a RequestFailed or a LocalFailure.
"""

from __future__ import annotations

import asyncio
import errno
import io
import itertools
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import anyio
from yarl import URL

from bulk_export.core.credentials import Token
from bulk_export.core.model import Authorization
from bulk_export.core.process import cannot_open_files, is_shortage, too_few_descriptors
from bulk_export.core.text import printable
from bulk_export.core.urls import is_loopback
from bulk_export.core.version import __version__
from bulk_export.extract.certificates import tls_context
from bulk_export.extract.connections import (
    MAY_SEND,
    USED_CONNECTION,
    BadProxy,
    CheckedRequest,
    CleanConnector,
    ConnectionHistory,
    NoLongerAllowed,
    Proxy,
    SecondSending,
    SendOnce,
    UnaskedBytes,
    find_proxy,
)
from bulk_export.extract.content_encoding import Undecodable, inflate
from bulk_export.extract.response import RequestFailed, Response, explanation, one_line

logger = logging.getLogger(__name__)

JSON, CSV = "application/json", "text/csv"
# Enough for a usual page, so that reading one is not paused on the way.
_READ_AHEAD = 512 * 1024
_READ_AT_ONCE = 8 * 1024 * 1024
# A response with everything an endpoint has is held once while it is cut into pages.
_UNPAGED_CAP = 2 * 1024**3
# The body of an error only holds an explanation: its status and headers are enough.
_EXPLANATION_CAP = 64 * 1024
_EXPLANATION_SECONDS = 5.0
_NOT_IN_TIME = "no whole answer in time"
_PROXY_ADVICE = "Write HTTPS_PROXY like http://USER:PASSWORD@HOST:PORT, with special characters as %40 for @."
_CERTIFICATE_ADVICE = (
    "If your organisation has an authority of its own, name the file with its certificate with --ca-file FILE,"
    " or in the variable SSL_CERT_FILE."
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of a request, in seconds.

    Attributes:
        connect: To make a connection.
        read: Between two reads.
        total: For the request, from sending to the last byte.
        unpaged: Instead of `total`, for a response with everything an endpoint has.
        settling: How long a connection is idle before its second request.
    """

    connect: float = 15.0
    read: float = 30.0
    total: float = 90.0
    unpaged: float = 900.0
    settling: float = 0.02


class HttpClient:
    """Sends GET requests from one or several local addresses, each with connections of its own.

    Use as an async context manager.

    Args:
        base_url: The address of the service, to which targets are appended.
        token: The credential, None to send none.
        sources: Local IP addresses; None stands for the system's choice.
        body_cap: The bytes that a body may have, as sent and inflated.
        timeouts: Time limits of a request.
        auth: The header for the token.
        ca_file: Certificates of authorities that are trusted beside those of the system.
        notice: Called with what the user should know.
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
            self._tls = tls_context(self._ca_file)
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
                request_class=CheckedRequest,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                read_bufsize=_READ_AHEAD,
            )
            self._sessions[source, keep] = session
            self._stack.push_async_callback(session.close)

    def distrust(self) -> None:
        """Use no connection twice from now on: one has brought bytes that were not requested."""
        if not self._keep:
            return
        self._keep = False
        logger.info("Unasked bytes on a connection: from here on each request has one of its own")
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
        is_unpaged: bool = False,
        on_new_connection: bool = False,
    ) -> Response | RequestFailed | None:
        """Send as `get` does; return None, with nothing sent, if `may_send` says no right before the bytes go out."""
        before = MAY_SEND.set(may_send)
        try:
            return await self.get(
                target, source, accept=accept, is_unpaged=is_unpaged, on_new_connection=on_new_connection
            )
        except NoLongerAllowed:
            return None
        finally:
            MAY_SEND.reset(before)

    async def get(
        self,
        target: str,
        source: str | None = None,
        *,
        accept: str = JSON,
        is_unpaged: bool = False,
        on_new_connection: bool = False,
    ) -> Response | RequestFailed:
        """Send one request.

        Args:
            target: Path and query, percent-encoded.
            source: The local address to send from, one of `sources`.
            accept: The media type to ask for.
            is_unpaged: Whether the response holds everything an endpoint has: it may be larger and take longer.
            on_new_connection: Whether to open a connection for it, so that no other response can arrive there.

        Returns:
            The response, with any status, or the reason why none arrived.

        Raises:
            LocalFailure: This machine cannot open a connection.
        """
        if self._bad_proxy is not None:
            return RequestFailed(self._bad_proxy, sent=False, final=True, advice=_PROXY_ADVICE)
        seconds, cap = self._timeouts.total, self._body_cap
        if is_unpaged:
            seconds, cap = max(seconds, self._timeouts.unpaged), max(cap, _UNPAGED_CAP)
        try:
            # asyncio's own, since a scope of anyio costs four times as much.
            async with asyncio.timeout(seconds):
                return await self._exchange(target, (source, not on_new_connection), accept, cap)
        except aiohttp.ClientConnectorError as error:
            return self._unconnected(error, source)
        except aiohttp.ConnectionTimeoutError:
            return RequestFailed("no connection in time", sent=False)
        except TimeoutError:
            return RequestFailed(_NOT_IN_TIME)
        except UnaskedBytes:
            return RequestFailed("something arrived on a new connection before a request was sent", sent=False)
        except SecondSending:
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
        """Return why there is no connection. Raises LocalFailure if no more files can be opened."""
        if is_shortage(error.os_error) or cannot_open_files():
            raise too_few_descriptors()
        host = "the service" if self._proxy is None else "the proxy"
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            message = getattr(error.certificate_error, "verify_message", "")
            why = f": {printable(message).rstrip('.')}" if message else ""
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
        used: list[tuple[ConnectionHistory, int]] = []
        USED_CONNECTION.set(used)
        async with self._sessions[session].get(
            URL(self._base_url + target, encoded=True),
            headers={"Accept": accept, **self._authorization()},
            allow_redirects=False,
            middlewares=(SendOnce(),),
            proxy=None if self._proxy is None else self._proxy.url,
            proxy_headers=None if self._proxy is None else self._proxy.headers,
        ) as response:
            if response.status != 200:
                return replace(await self._error(response), is_certain=_is_first(used))
            stored = await self._read(response, cap)
            if stored is None:
                return RequestFailed(f"a body of more than {cap:,} bytes", final=True)
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
                is_certain=_is_first(used),
                is_echo=any(history.is_echo(target, stored) for history, _ in used[-1:]),
                headers=response.headers,
            )

    async def _error(self, response: aiohttp.ClientResponse) -> Response:
        """Read an error. Its status and headers count even if its body does not arrive completely."""
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
        """Read a body, None if it is larger than the cap."""
        announced = response.content_length
        if announced is not None and announced > cap:
            return None
        if announced is not None and announced <= _READ_AT_ONCE:
            return await response.read()
        # `getvalue` returns the bytes without a copy.
        body = io.BytesIO()
        async for chunk in response.content.iter_any():
            if body.tell() + len(chunk) > cap:
                return None
            body.write(chunk)
        return body.getvalue()


def _is_first(used: list[tuple[ConnectionHistory, int]]) -> bool:
    return bool(used) and used[-1][1] == 1


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
