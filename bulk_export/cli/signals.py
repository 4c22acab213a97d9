"""Work that signals can stop: the first one drains and keeps, the second leaves at once."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.abc import TaskStatus

from bulk_export.core.process import require_descriptors
from bulk_export.errors import BulkExportError, Interrupted

if TYPE_CHECKING:
    from bulk_export.progress.console import Console
    from bulk_export.progress.observer import Observer

T = TypeVar("T")

# Everything kept is durable at any moment, so leaving without a farewell loses nothing.
_PATIENCE = 1.7


def _stopping_signals() -> tuple[signal.Signals, ...]:
    """Include SIGHUP, which a terminal that goes away sends, unless it is ignored on purpose, as with nohup."""
    hangup = (signal.SIGHUP,) if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else ()
    return (signal.SIGINT, signal.SIGTERM, *hangup)


def until_signalled(
    work: Callable[[anyio.Event], Awaitable[T]], output: Path, observer: Observer, console: Console
) -> T:
    """Run work that ends when its event is set, to its end or a signal stops it. Raises what it raises."""
    outcome: list[T | BulkExportError] = []

    def leave() -> None:
        observer.closed()
        console.error(
            Interrupted(
                "Interrupted.",
                kept=f"Every page that had arrived is kept in {output}.",
                next_step="The same command with this --output goes on from here.",
            )
        )
        os._exit(Interrupted.exit_code)

    async def watch(stop: anyio.Event, *, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*_stopping_signals()) as signals:
            task_status.started()
            async for _ in signals:
                if stop.is_set():
                    leave()
                stop.set()
                limit = threading.Timer(_PATIENCE, leave)
                limit.daemon = True
                limit.start()

    async def main() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch, stop)
            try:
                outcome.append(await work(stop))
            except BulkExportError as error:
                outcome.append(error)
            tasks.cancel_scope.cancel()

    require_descriptors(0)
    # What was imported stays to the end: nobody need look for garbage in it, not even then.
    gc.freeze()
    # Where it is installed, fetching takes a third less time.
    anyio.run(main, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    (result,) = outcome
    if isinstance(result, BulkExportError):
        raise result
    return result
