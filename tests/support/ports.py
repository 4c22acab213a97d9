"""Ports for servers that tests start in processes of their own."""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _EACH = 21_000, 400
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = itertools.cycle(range(_FIRST + _EACH * _WORKER, _FIRST + _EACH * (_WORKER + 1)))


def free_port() -> int:
    """A free port on loopback that nothing takes before the server does.

    It is below those that the system gives to outgoing connections: one of these might take it, and a connection that
    is tried to such a port before anybody listens may end up connected to itself. Each worker has ports of its own.
    """
    for port in itertools.islice(_PORTS, _EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
