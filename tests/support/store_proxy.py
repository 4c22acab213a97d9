"""A proxy in front of a stand-in for an object store that counts requests, and disturbs those that a test chooses."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


@dataclass
class Request:
    """A request that arrived: its number from 1, method, path and body, which a rule may change."""

    number: int
    method: str
    path: str
    body: bytes


@dataclass
class Answer:
    """What is answered in place of the store's answer; with `status` 0 the connection is cut."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def error(status: int, code: str) -> Answer:
    """An error as S3 and Azure send it."""
    return Answer(status, f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'.encode())


CUT = Answer(0)
Rule = Callable[[Request], Answer | None]


@dataclass
class StoreProxy:
    """`before` may answer a request that the store then never sees; `after` may hide the answer of the store."""

    port: int = 0
    before: Rule = lambda _: None
    after: Rule = lambda _: None
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, before: Rule = lambda _: None, after: Rule = lambda _: None) -> None:
        """Forget the requests so far, and take other rules."""
        with self.lock:
            self.requests.clear()
            self.before, self.after = before, after

    def calls(self) -> list[str]:
        """The requests so far, as method and path."""
        return [f"{request.method} {request.path}" for request in self.requests]


@contextmanager
def store_proxy(target: int) -> Iterator[StoreProxy]:
    """Run a proxy in front of the server on a port of this machine."""
    proxy = StoreProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with proxy.lock:
                request = Request(len(proxy.requests) + 1, self.command, self.path, body)
                proxy.requests.append(request)
                before, after = proxy.before, proxy.after
            answer = before(request)
            if answer is None:
                answer = self._forward(request)
                answer = after(request) or answer
            self._send(answer)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815 - names of the base class

        def _forward(self, request: Request) -> Answer:
            connection = http.client.HTTPConnection("127.0.0.1", target, timeout=50)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            try:
                connection.request(request.method, request.path, request.body, headers)
                response = connection.getresponse()
                kept = {name: value for name, value in response.getheaders() if name.lower() not in _HOP_BY_HOP}
                return Answer(response.status, response.read(), kept)
            finally:
                connection.close()

        def _send(self, answer: Answer) -> None:
            if answer.status == 0:
                self.close_connection = True
                return
            try:
                self.send_response_only(answer.status)
                headers = {name: value for name, value in answer.headers.items() if name.lower() != "content-length"}
                size = answer.headers.get("Content-Length", answer.headers.get("content-length"))
                headers["Content-Length"] = size if self.command == "HEAD" and size else str(len(answer.body))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
