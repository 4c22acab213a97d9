"""A server that is not the bottleneck: rendered answers go from a file to the socket inside the kernel.

    python -m benchmarks.server FILE

prints its address once it is ready, and ends when its standard input does. A thread a connection, because a
blocking send costs one system call a page.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import threading
from pathlib import Path

from benchmarks.pages import Pages

_PAGE = re.compile(rb"page(?:%5B|\[)page(?:%5D|\])=(\d+)", re.IGNORECASE)
_LONGEST_REQUEST = 64 * 1024


def serve(listener: socket.socket, pages: Pages) -> None:
    """Answer whatever is asked with the page it names, on any number of connections, until the listener is closed."""
    file = os.open(pages.path, os.O_RDONLY)
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, file, pages), daemon=True).start()


def _answer(connection: socket.socket, file: int, pages: Pages) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    asked = b""
    with connection, contextlib.suppress(OSError):
        while received := connection.recv(_LONGEST_REQUEST):
            asked += received
            while b"\r\n\r\n" in asked:
                head, _, asked = asked.partition(b"\r\n\r\n")
                found = _PAGE.search(head)
                offset, length = pages.span(int(found[1]) if found else 1)
                while length:
                    sent = os.sendfile(connection.fileno(), file, offset, length)
                    offset += sent
                    length -= sent


def main() -> None:
    """Serve one file on a free port of this machine."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    pages = Pages.load(Path(sys.argv[1]))
    threading.Thread(target=serve, args=(listener, pages), daemon=True).start()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
