"""Processes that are measured, and those that serve them, each on a core of its own where there are two."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOKEN = "benchmark"


class RunFailed(Exception):
    """A measured process ended otherwise than it should."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took: wall clock from its start to its end, CPU seconds, and peak memory in MB.

    Linux counts the memory of who started a process until the program is its own: the peak is no less than that.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float


def cores() -> tuple[set[int], set[int]]:
    """The cores for the server and for what is measured: one each where there are two, else the same."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    usable = sorted(os.sched_getaffinity(0))
    return ({usable[0]}, {usable[1]}) if len(usable) > 1 else (set(usable), set(usable))


@contextmanager
def placed(chosen: set[int]) -> Iterator[None]:
    """Processes that are started meanwhile run on these cores."""
    if not chosen:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def rendered(records: int, page_size: int, encoding: str) -> Iterator[str]:
    """A server with the pages of so many records, rendered ahead; its address."""
    given = [str(records), str(page_size), encoding]
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.pages", *given], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    command = [sys.executable, "-m", "benchmarks.server", made.stdout.strip()]
    with placed(cores()[0]):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


@contextmanager
def bundled(records: int, *more: str) -> Iterator[str]:
    """The bundled service, which renders its pages as they are asked for; its address."""
    command = [sys.executable, "-m", "bulk_export", "local-service", "--port", "0", "--gzip", *more]
    environment = os.environ | {"BULK_EXPORT_TOKEN": TOKEN}
    with subprocess.Popen(
        [*command, "--records", str(records)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split(" on ")[1].split(",")[0]
        process.terminate()


def surroundings(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of what is measured: this one, with compiled modules kept."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | dict(more or {})


def measure(
    command: Sequence[str],
    *,
    output: Path,
    environment: Mapping[str, str] | None = None,
    limit: float = 1_800,
    on: set[int] | None = None,
) -> Usage:
    """Run a command to its end, its standard output in the file `output`, on the core for what is measured or on `on`.

    It keeps compiled modules like anything that is installed. What it says on standard error is shown where it fails.
    Raises RunFailed, also after `limit` seconds.
    """
    errors = output.with_name(output.name + ".err")
    with output.open("wb") as out, errors.open("wb") as err, placed(cores()[1] if on is None else on):
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=ROOT, env=surroundings(environment))
    ending = threading.Timer(limit, process.kill)
    ending.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    finally:
        ending.cancel()
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = errors.read_text(errors="replace")[-3_000:]
        raise RunFailed(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{said}")
    return Usage(took, used.ru_utime + used.ru_stime, _megabytes(used))


def _megabytes(used: resource.struct_rusage) -> float:
    return used.ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)
