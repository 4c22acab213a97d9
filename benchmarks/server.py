"""A server that is not the bottleneck: every page of one endpoint rendered ahead, served from memory.

    python -m benchmarks.server RECORDS PAGE_SIZE gzip|plain

prints its address once it is ready, and ends when its standard input does.
"""

from __future__ import annotations

import re
import sys
import zlib

import anyio
import anyio.to_thread
from anyio.abc import SocketAttribute, SocketStream

from bulk_export.catalogue import load_service
from bulk_export.local_service.records import RecordFactory

ENDPOINT = "npq-applications"
_PAGE = re.compile(rb"page%5Bpage%5D=(\d+)")


def render(records: int, page_size: int, *, gzip: bool) -> list[bytes]:
    """Whole HTTP answers for pages 1, 2, …, and last the one for all pages past the end."""
    (endpoint,) = [one for one in load_service("npq").endpoints if one.name == ENDPOINT]
    factory = RecordFactory(endpoint, 0, people=records, applications=records)
    answers = []
    for first in range(0, records + page_size, page_size):
        numbers = range(first, min(first + page_size, records))
        body = ('{"data":[' + ",".join(map(factory.record, numbers)) + "]}").encode()
        encoding = b""
        if gzip:
            compressor = zlib.compressobj(level=6, wbits=31)
            body = compressor.compress(body) + compressor.flush()
            encoding = b"Content-Encoding: gzip\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        answers.append(head % (encoding, len(body)) + body)
    return answers


async def serve(answers: list[bytes]) -> None:
    """Answer whatever is asked with the page it names."""

    async def connection(stream: SocketStream) -> None:
        asked = b""
        async with stream:
            while True:
                try:
                    asked += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                while b"\r\n\r\n" in asked:
                    head, _, asked = asked.partition(b"\r\n\r\n")
                    found = _PAGE.search(head)
                    page = int(found[1]) if found else 1
                    await stream.send(answers[min(page, len(answers)) - 1])

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    print(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}", flush=True)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, connection)
        await anyio.to_thread.run_sync(sys.stdin.read)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(serve, render(int(sys.argv[1]), int(sys.argv[2]), gzip=sys.argv[3] == "gzip"))
