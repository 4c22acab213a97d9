"""A stand-in for Amazon S3 on loopback, in a process of its own: the server of `moto`."""

from __future__ import annotations

import http.client
import importlib.util
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

_PYTHON = Path(__file__).parents[2] / ".venv-moto/bin/python"
HAS_MOTO = _PYTHON.exists() and importlib.util.find_spec("obstore") is not None
SKIP_REASON = "moto is not installed: make test-integrations does that"
# Made up; the stand-in accepts any.
KEYS = {"AWS_ACCESS_KEY_ID": "canary-key-id", "AWS_SECRET_ACCESS_KEY": "canary-secret-key", "AWS_REGION": "us-east-1"}


@dataclass(frozen=True)
class S3Server:
    """The server that listens on `port`."""

    port: int

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        assert self._send("PUT", f"/{name}") == 200

    def environment(self, port: int | None = None) -> dict[str, str]:
        """The variables that lead obstore to it, or to a proxy in front of it."""
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}"}

    def _send(self, method: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run the server, and end it."""
    port = free_port()
    command = [str(_PYTHON), "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield S3Server(port)
    finally:
        process.kill()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return once something listens on a port."""
    while True:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
