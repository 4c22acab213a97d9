"""Connections to the service: only those on which nothing unasked has arrived, and through which proxy."""

from __future__ import annotations

import asyncio
import base64
import functools
import select
import ssl
import time
import urllib.request
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

import aiohttp
import xxhash
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from bulk_export.core.masking import without_password

_KEPT_FOR = 30.0
# How many answers are remembered of each connection: one that comes again comes soon.
_REMEMBERED = 64


@dataclass(slots=True)
class Line:
    """What is known of one connection: how often it was used, since when it is idle, and what it showed for what."""

    uses: int = 0
    idle_since: float = 0.0
    is_trusted: bool = True
    shown: dict[int, str] = field(default_factory=dict)

    def echoes(self, target: str, body: bytes) -> bool:
        """Note a body that arrived for `target`: whether it came before, for something else that was asked for.

        Then it may be the answer to that once more, with the one that was asked for behind it, so the connection is
        not used again.
        """
        digest = xxhash.xxh3_64_intdigest(body)
        if self.shown.setdefault(digest, target) != target:
            self.is_trusted = False
            return True
        if len(self.shown) > _REMEMBERED:
            del self.shown[next(iter(self.shown))]
        return False


# The connection that a request got, for whoever sends it, and how often it was used by then.
TAKEN: ContextVar[list[tuple[Line, int]]] = ContextVar("taken")


class UnaskedBytes(Exception):
    """The other side sent something on a new connection before it was asked for anything."""


class CleanConnector(aiohttp.TCPConnector):
    """Hands out connections on which nothing has arrived yet, and closes all others.

    Bytes that wait on an idle connection would be taken for the answer to the next request. A connection is used for
    the second time only after it was idle for `settling` seconds, so that a service that always sends more than it is
    asked for is found out by then. `disturbed` is called for each connection on which something was found.
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
        self._lines: weakref.WeakKeyDictionary[ResponseHandler, Line] = weakref.WeakKeyDictionary()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  # the superclass's
    ) -> aiohttp.connector.Connection:
        """As the superclass; raises UnaskedBytes where even a new connection holds something."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None:
                return connection
            line = self._lines.setdefault(protocol, Line())
            if line.uses == 1:
                await self._settled(connection, line)
            if not line.is_trusted:
                connection.close()
                continue
            if protocol.should_close:
                self._disturbed()
            elif not (line.uses and _has_input(connection.transport)):
                line.uses += 1
                connection.add_callback(functools.partial(_note_idle, line))
                TAKEN.get([]).append((line, line.uses))
                return connection
            elif not req.is_ssl():
                # Under TLS it may be a record that concerns TLS alone.
                self._disturbed()
            connection.close()
            if not line.uses:
                raise UnaskedBytes

    async def _settled(self, connection: aiohttp.connector.Connection, line: Line) -> None:
        wait = line.idle_since + self._settling - time.monotonic()
        if wait <= 0:
            return
        try:
            await asyncio.sleep(wait)
        except BaseException:
            connection.close()
            raise


def _note_idle(line: Line) -> None:
    line.idle_since = time.monotonic()


def _has_input(transport: asyncio.Transport | None) -> bool:
    """Whether there is something to read on an idle connection: bytes, or its end."""
    socket = None if transport is None else transport.get_extra_info("socket")
    descriptor = -1 if socket is None else socket.fileno()
    if descriptor < 0:
        return False
    if not hasattr(select, "poll"):
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
    """The environment names a proxy that cannot be one; the text says which, without its password."""


def find_proxy(base_url: URL) -> Proxy | None:
    """The proxy that the environment names for an address, None where it is reached without one.

    HTTPS_PROXY, HTTP_PROXY and NO_PROXY count, in either case of letters, or what the system is set to; ~/.netrc does
    not, since its passwords belong to other programs. Raises BadProxy.
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
