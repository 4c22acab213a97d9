"""The command in a process of its own, with a clean environment, and the bundled service beside it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.warm_command import WarmProcess, run_warm

TOKEN = "canary-token-7f3a"
FAST = ["--min-interval", "0", "--service-limit", "100000/1s", "--ip-limit", "100000/1s"]


def environment(**changes: str) -> dict[str, str]:
    """Return the environment of the command: a token and wide lines; warnings are errors."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BULK_EXPORT_")}
    return clean | {"BULK_EXPORT_TOKEN": TOKEN, "PYTHONWARNINGS": "error", "COLUMNS": "120"} | changes


def run(*arguments: str, cwd: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in a process that has imported everything before."""
    return run_warm(arguments, cwd=cwd, env=environment(**changes))


def run_cold(*arguments: str, cwd: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in a new process, as a user does; it takes half a second longer."""
    return subprocess.run(
        [sys.executable, "-m", "bulk_export", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment(**changes),
        timeout=50,
        check=False,
    )


@contextmanager
def service(cwd: Path, *arguments: str) -> Iterator[str]:
    """Run the bundled service in another process, and yield its address."""
    process = start("local-service", "--port", "0", *arguments, cwd=cwd, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode()
        assert TOKEN not in line
        address = re.search(r"http://[\d.:]+", line)
        assert address is not None, line
        yield address[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.close()
        assert process.wait(30) == 0


def start(*arguments: str, cwd: Path, **streams: Any) -> WarmProcess:
    """Start the command, warm like `run`, which continues while the test does."""
    return WarmProcess(arguments, cwd=cwd, env=environment(), **streams)
