"""A small export whose disk calls are disturbed, in a process that may be killed by that."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anyio

from bulk_export.cli.signals import until_signalled
from bulk_export.errors import BulkExportError
from bulk_export.extract.client import Timeouts
from bulk_export.pipelines.export import export
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.tuning import Tuning
from bulk_export.progress.console import Console
from bulk_export.progress.observer import Observer
from tests.support.awaits import awaits_counted
from tests.support.disk_calls import Act, counted, fail_at, kill_at
from tests.support.exporting import FREE, NPQ, TOKEN
from tests.support.small_service import ENDPOINTS, PAGE_SIZE

TUNING = Tuning(shortest_backoff=0.001, longest_backoff=0.01, part_rows=20, timeouts=Timeouts(settling=0))
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.support.warm"])


@dataclass(frozen=True)
class Blow:
    """A disturbance of disk call `number`: an error, which may last, or a kill if the error is None."""

    number: int
    error: int | None = None
    lasting: bool = False
    torn: bool = False

    def act(self) -> Act:
        if self.error is None:
            return kill_at(self.number, torn=self.torn)
        return fail_at(self.number, self.error, lasting=self.lasting, torn=self.torn)


@dataclass(frozen=True)
class Cancelled:
    """A run that was cancelled at await `number`, the tasks and descriptors that it left, and the next run."""

    number: int
    cut: bool
    tasks: int
    leaked: int
    again: Ended | None


@dataclass(frozen=True)
class Ended:
    """How a run that was not killed ended: exit code, message, number of disk calls, descriptors left open."""

    exit_code: int
    message: str
    calls: int
    leaked: int


def small_options(base_url: str, output: Path | str, **changes: Any) -> ExportOptions:
    """Return options: both endpoints, both formats, kept pages, no waits."""
    given: dict[str, Any] = {
        "base_url": base_url,
        "token": "t",
        "output": output,
        **FREE,
        "service": NPQ,
        "page_size": PAGE_SIZE,
        "workers": 2,
        "retries": 3,
        "format": ("parquet", "ndjson"),
        "keep_pages": True,
    }
    return ExportOptions.of(ENDPOINTS, **given | changes)


def descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def run_here(base_url: str, output: Path, blow: Blow, work: str = "export") -> Ended:
    """The export, or other work, in this process."""
    before = descriptors()
    with counted(blow.act()) as counter:
        try:
            anyio.run(WORK[work], base_url, output)
            code, message = 0, ""
        except BulkExportError as error:
            code, message = error.exit_code, str(error)
    return Ended(code, message, len(counter.calls), descriptors() - before)


async def _export(base_url: str, output: Path, budget: str = "memory://") -> None:
    await export(small_options(base_url, output, budget=budget), tuning=TUNING)


async def _replace(base_url: str, output: Path) -> None:
    await export(small_options(base_url, output, overwrite=True, format="ndjson", keep_pages=False), tuning=TUNING)


async def _replay(base_url: str, output: Path) -> None:
    """`base_url` is the archive."""
    await replay(ReplayOptions.of(base_url, output=output, format=("parquet", "csv", "ndjson"), flatten=True))


async def _prove(base_url: str, output: Path) -> None:
    """Sweep until two sweeps agree, with a service that has no cap."""
    more: dict[str, Any] = {"consistent": True, "keep_pages": False, "token": TOKEN}
    await export(small_options(base_url, output, **more), tuning=TUNING)


async def _elsewhere(base_url: str, output: Path) -> None:
    """`base_url` has the directory of the working state after a space."""
    url, _, work_dir = base_url.partition(" ")
    await export(small_options(url, output, work_dir=work_dir), tuning=TUNING)


WORK = {"export": _export, "replace": _replace, "replay": _replay, "prove": _prove, "elsewhere": _elsewhere}


def run_and_die(base_url: str, output: Path, number: int, *, torn: bool, work: str = "export") -> bool:
    """Work in a forked process that is killed at a disk call. Return whether it was killed before its end."""
    process = _PROCESSES.Process(target=run_here, args=(base_url, output, Blow(number, torn=torn), work))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    assert code in (0, -9), code
    return code == -9


def run_and_signal(base_url: str, output: Path, number: int) -> int:
    """The export in a forked process that sends itself a SIGTERM at a disk call; its exit code."""
    code: int = _forked(_signalled, base_url, output, number)
    return code


def run_many(base_url: str, directory: Path, blows: list[Blow]) -> list[tuple[Blow, Ended, Ended]]:
    """Run one export for each disturbance, disturbed and then continued, in one forked process."""
    results: list[tuple[Blow, Ended, Ended]] = _forked(_disturb_each, base_url, directory, blows)
    return results


def cancel_many(base_url: str, directory: Path, first: int, step: int) -> list[Cancelled]:
    """Exports that are cancelled at await `first`, `first + step`, … until one ends by itself, in one process."""
    results: list[Cancelled] = _forked(_cancel_each, base_url, directory, first, step)
    return results


def modes_seen(base_url: str, directory: Path) -> set[tuple[str, int]]:
    """Names below `directory` with every mode that they had between two disk calls of an export with umask 000."""
    seen: set[tuple[str, int]] = _forked(_look_at_modes, base_url, directory)
    return seen


def _forked(work: Callable[..., Any], *arguments: Any) -> Any:
    receiving, sending = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_send_result, args=(sending, work, *arguments))
    process.start()
    sending.close()
    try:
        return receiving.recv()
    finally:
        receiving.close()
        process.join()
        process.close()


def _send_result(sending: Connection, work: Callable[..., Any], *arguments: Any) -> None:
    sending.send(work(*arguments))


def _signalled(base_url: str, output: Path, number: int) -> int:
    def act(call: int, _: str) -> None:
        if call == number:
            os.kill(os.getpid(), signal.SIGTERM)

    work = functools.partial(export, small_options(base_url, output), None, tuning=TUNING)
    with counted(act):
        try:
            until_signalled(lambda stop: work(stop=stop), output, Observer(), Console(sys.stderr))
        except BulkExportError as error:
            return error.exit_code
    return 0


def _disturb_each(base_url: str, directory: Path, blows: list[Blow]) -> list[tuple[Blow, Ended, Ended]]:
    run_here(base_url, directory / "warm", Blow(0))
    results = []
    for blow in blows:
        output = directory / str(blow.number)
        results.append((blow, run_here(base_url, output, blow), run_here(base_url, output, Blow(0))))
    return results


def _cancel_each(base_url: str, directory: Path, first: int, step: int) -> list[Cancelled]:
    run_here(base_url, directory / "warm", Blow(0))
    results = []
    for number in itertools.count(first, step):
        output = directory / str(number)
        before = descriptors()
        cut, left_over = anyio.run(_cancelled, base_url, output, number)
        leaked = descriptors() - before
        again = run_here(base_url, output, Blow(0)) if cut else None
        results.append(Cancelled(number, cut, left_over, leaked, again))
        if not cut:
            return results
    return results


async def _cancelled(base_url: str, output: Path, number: int) -> tuple[bool, int]:
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope, awaits_counted(loop, number, scope.cancel):
        await _export(base_url, output)
    return scope.cancelled_caught, len(asyncio.all_tasks()) - 1


def _look_at_modes(base_url: str, directory: Path) -> set[tuple[str, int]]:
    os.umask(0)
    seen: set[tuple[str, int]] = set()

    def look(number: int, name: str) -> None:
        for path in directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                seen.add((path.name, stat.S_IMODE(path.lstat().st_mode)))

    with counted(look):
        anyio.run(_export, base_url, directory / "out", f"sqlite:///{directory / 'state' / 'budget.sqlite'}")
    look(0, "")
    return seen
