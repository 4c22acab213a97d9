"""A stand-in for Azure Storage on loopback, in a process of its own: the blob server of Azurite."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import importlib.util
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port
from tests.support.s3_server import wait_for

NODE = shutil.which("node")
_PROGRAM = Path(__file__).parents[2] / ".azurite/node_modules/azurite/dist/src/blob/main.js"
HAS_AZURITE = NODE is not None and _PROGRAM.exists() and importlib.util.find_spec("obstore") is not None
SKIP_REASON = "Azurite is not installed: make test-integrations does that where there is npm"
ACCOUNT = "devstoreaccount1"
# The key that everybody's Azurite has.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"


@dataclass(frozen=True)
class AzureServer:
    """The server that listens on `port`."""

    port: int

    def make_container(self, name: str) -> None:
        """Make a container."""
        date = email.utils.formatdate(usegmt=True)
        headers = f"x-ms-date:{date}\nx-ms-version:{_VERSION}"
        to_sign = "PUT" + "\n" * 12 + f"{headers}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        digest = hmac.digest(base64.b64decode(_KEY), to_sign.encode(), hashlib.sha256)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(
            "PUT",
            f"/{ACCOUNT}/{name}?restype=container",
            headers={
                "x-ms-date": date,
                "x-ms-version": _VERSION,
                "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
                "Content-Length": "0",
            },
        )
        assert connection.getresponse().status == 201
        connection.close()

    def environment(self, port: int | None = None) -> dict[str, str]:
        """The variables that lead obstore to it, or to a proxy in front of it."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port or self.port}/{ACCOUNT}",
        }


@contextmanager
def azure_server(directory: Path) -> Iterator[AzureServer]:
    """Run the server with its data in a directory, and end it."""
    port = free_port()
    assert NODE is not None
    places = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(directory)]
    command = [NODE, str(_PROGRAM), *places, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield AzureServer(port)
    finally:
        process.kill()
        process.wait()
