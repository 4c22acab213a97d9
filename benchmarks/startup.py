"""How long it takes until something is seen: the help, and the first request of an export."""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.exporters import named
from benchmarks.processes import ROOT, cores, measure, placed, surroundings

_ANSWER = (
    b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"data":[]}'
)


def rows(rounds: int) -> list[dict[str, object]]:
    """Seconds in the median."""
    with tempfile.TemporaryDirectory(prefix="bulk-export-bench-") as folder:
        command = [sys.executable, "-m", "bulk_export", "--help"]
        helps = [measure(command, output=Path(folder) / "help").seconds for _ in range(rounds)]
        firsts = [first_request(Path(folder) / str(number)) for number in range(rounds)]
    return [
        {"what": "`bulk-export --help`", "seconds": round(statistics.median(helps), 3)},
        {"what": "to the first request", "seconds": round(statistics.median(firsts), 3)},
    ]


def first_request(directory: Path) -> float:
    """Seconds from the start of an export to the moment at which its first request is there to be read."""
    exporter = named("parquet")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with placed(cores()[1]):
            began = time.perf_counter()
            process = subprocess.Popen(
                exporter.command(address, 0, 300, directory),
                cwd=ROOT,
                env=surroundings(exporter.environment),
                stdout=subprocess.DEVNULL,
            )
        with process:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(60)
                connection.recv(65_536)
                took = time.perf_counter() - began
                connection.sendall(_ANSWER)
            # One empty answer is no proof, so the export asks again, on a connection of its own.
            threading.Thread(target=_answer_the_rest, args=(listener,), daemon=True).start()
            process.wait(60)
    return took


def _answer_the_rest(listener: socket.socket) -> None:
    """Answer what else is asked, until the listener is closed."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(_ANSWER)
