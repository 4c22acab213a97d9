"""A server on a raw socket that answers with bytes that the test chooses."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

Connection = SocketStream | TLSStream
Script = Callable[[Connection, bytes, int], Awaitable[None]]


@dataclass
class RawServer:
    """`requests` holds the head of each request that arrived, in order of arrival."""

    port: int
    requests: list[bytes] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def read_head(connection: Connection) -> bytes | None:
    """One request head, None once the client has gone."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        try:
            head += await connection.receive(1)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return None
    return head


def response(body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Length: {announced}\r\nContent-Type: application/json\r\n{headers}\r\n"
    return head.encode() + body


@asynccontextmanager
async def raw_server(script: Script, tls: ssl.SSLContext | None = None, *, port: int = 0) -> AsyncIterator[RawServer]:
    """Serve on loopback: `script(connection, head, number)` answers request `number` (from 1); the server
    closes the connection when the script raises EndOfStream, and otherwise waits for the next request."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    server = RawServer(listener.extra(SocketAttribute.local_port))

    async def serve(stream: SocketStream) -> None:
        async with stream:
            connection: Connection = stream
            try:
                if tls is not None:
                    connection = await TLSStream.wrap(
                        stream, server_side=True, ssl_context=tls, standard_compatible=False
                    )
                while (head := await read_head(connection)) is not None:
                    server.requests.append(head)
                    await script(connection, head, len(server.requests))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
                return

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield server
        tasks.cancel_scope.cancel()


def answer(content: bytes, *, close: bool = False) -> Script:
    """Return a script that answers every request with `content`, and closes the connection after it if `close`."""

    async def script(connection: Connection, head: bytes, number: int) -> None:
        await connection.send(content)
        if close:
            raise anyio.EndOfStream

    return script
