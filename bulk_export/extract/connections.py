"""Connections to the service: which ones are used, through which proxy, and what may be sent on them.

1. A request is sent only on a connection on which nothing has arrived unasked.
2. It is sent once, and only while its permit is valid.
3. The proxy is the one that the environment names.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import select
import ssl
import sys
import time
import urllib.request
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp
import xxhash
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

from bulk_export.core.masking import without_password

_KEPT_FOR = 30.0
# The number of bodies to remember for each connection: a body that comes again comes soon.
_REMEMBERED = 64


@dataclass(slots=True)
class ConnectionHistory:
    """The history of one connection.

    Attributes:
        uses: How many requests it has been used for.
        idle_since: When the last of them was over, in seconds of the monotonic clock.
        is_trusted: Whether it may be used again.
        targets: The target of each of the last bodies, by the digest of the body.
    """

    uses: int = 0
    idle_since: float = 0.0
    is_trusted: bool = True
    targets: dict[int, str] = field(default_factory=dict)

    def is_echo(self, target: str, body: bytes) -> bool:
        """Record a body that arrived for `target`. Return whether it came before, for another target.

        If so, it may be a second response to the other target, with the response to this one still to come, so the
        connection is not used again.
        """
        digest = xxhash.xxh3_64_intdigest(body)
        if self.targets.setdefault(digest, target) != target:
            self.is_trusted = False
            return True
        if len(self.targets) > _REMEMBERED:
            del self.targets[next(iter(self.targets))]
        return False


# Filled by the connector: the connection that a request got, and the number of its uses, this one included.
USED_CONNECTION: ContextVar[list[tuple[ConnectionHistory, int]]] = ContextVar("used_connection")


class UnaskedBytes(Exception):
    """The other side sent bytes on a new connection before any request."""


class CleanConnector(aiohttp.TCPConnector):
    """Hands out connections on which nothing has arrived yet, and closes all others.

    Bytes that wait on an idle connection would be taken for the response to the next request.

    Args:
        source: The local address, None for the system's choice.
        tls: The TLS context, None for the default.
        keep: Whether connections are used more than once.
        settling: The seconds for which a connection has to be idle before its second use: by then a service that always
            sends more than was requested is found out.
        disturbed: Called for each connection on which something was found.
    """

    def __init__(
        self,
        *,
        source: str | None,
        tls: ssl.SSLContext | None,
        keep: bool,
        settling: float,
        disturbed: Callable[[], None],
    ) -> None:
        super().__init__(
            limit=0,
            local_addr=(source, 0) if source else None,
            ssl=True if tls is None else tls,
            **({"keepalive_timeout": _KEPT_FOR} if keep else {"force_close": True}),
        )
        self._settling = settling
        self._disturbed = disturbed
        self._histories: weakref.WeakKeyDictionary[ResponseHandler, ConnectionHistory] = weakref.WeakKeyDictionary()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # the superclass's
    ) -> Connection:
        """Connect as the superclass does. Raises UnaskedBytes if bytes wait even on a new connection."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None:
                return connection
            history = self._histories.setdefault(protocol, ConnectionHistory())
            if history.uses == 1:
                await self._let_settle(connection, history)
            # 1. It brought an echo before.
            if not history.is_trusted:
                connection.close()
                continue
            # 2. aiohttp found bytes on it.
            if protocol.should_close:
                self._disturbed()
            # 3. Nothing waits on it: it is used.
            elif not (history.uses and _has_input(connection.transport)):
                history.uses += 1
                connection.add_callback(functools.partial(_note_idle, history))
                USED_CONNECTION.get([]).append((history, history.uses))
                return connection
            # 4. Something waits on it. Under TLS it may be a record that concerns TLS alone.
            elif not req.is_ssl():
                self._disturbed()
            connection.close()
            if not history.uses:
                raise UnaskedBytes

    async def _let_settle(self, connection: Connection, history: ConnectionHistory) -> None:
        wait = history.idle_since + self._settling - time.monotonic()
        if wait <= 0:
            return
        try:
            await asyncio.sleep(wait)
        except BaseException:
            connection.close()
            raise


class SecondSending(Exception):
    """aiohttp was about to send the same request a second time."""


class NoLongerAllowed(Exception):
    """The permit lapsed while a connection was made."""


# Whether the request of this task may still be sent.
MAY_SEND: ContextVar[Callable[[], bool]] = ContextVar("may_send")


class CheckedRequest(aiohttp.ClientRequest):
    """A request that asks, once it has its connection, whether it may still be sent."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        may_send = MAY_SEND.get(None)
        if may_send is not None and not may_send():
            raise NoLongerAllowed
        return await super().send(conn)


class SendOnce:
    """Client middleware that lets a request through to the wire a single time."""

    def __init__(self) -> None:
        self._sent = False

    async def __call__(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if self._sent:
            raise SecondSending
        self._sent = True
        return await send(request)


def _note_idle(history: ConnectionHistory) -> None:
    history.idle_since = time.monotonic()


def _has_input(transport: asyncio.Transport | None) -> bool:
    """Whether there is something to read on an idle connection: bytes, or its end."""
    socket = None if transport is None else transport.get_extra_info("socket")
    descriptor = -1 if socket is None else socket.fileno()
    if descriptor < 0:
        return False
    if sys.platform == "win32" or not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(0))


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the way to the service. `headers` may hold a password, and go to the proxy alone."""

    url: URL
    headers: dict[str, str] = field(repr=False)


class BadProxy(ValueError):
    """The environment names an invalid proxy. The text quotes it without its password."""


def find_proxy(base_url: URL) -> Proxy | None:
    """Return the proxy that the environment names for an address, None if no proxy is used for it.

    HTTPS_PROXY, HTTP_PROXY and NO_PROXY count, in either case of letters, or the settings of the system; ~/.netrc does
    not, since its passwords belong to other programs.

    Raises:
        BadProxy: The environment names an invalid proxy.
    """
    host = base_url.raw_host or ""
    if urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(f"{host}:{base_url.port}"):
        return None
    text = urllib.request.getproxies().get(base_url.scheme, "").strip()
    if not text:
        return None
    try:
        url = URL(text if "://" in text else f"http://{text}")
        bare, user, password = url.with_user(None), url.user or "", url.password or ""
    except ValueError:
        bare, user, password = URL(), "", ""
    if bare.scheme not in ("http", "https") or not bare.host or not bare.port or ":" in user:
        name = f"{base_url.scheme.upper()}_PROXY"
        raise BadProxy(f"{name} holds {without_password(text)!r}, which is not the address of a proxy")
    if not (user or password):
        return Proxy(bare, {})
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Proxy(bare, {"Proxy-Authorization": f"Basic {credentials}"})
