"""Work that signals can stop: the first one lets what is under way finish, the second exits at once."""

from __future__ import annotations

import gc
import importlib.util
import os
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio.abc import TaskStatus

from bulk_export.cli.value_origins import end_of_checks
from bulk_export.core.compat.signals import received_signals, stopping_signals
from bulk_export.core.process import require_descriptors
from bulk_export.errors import BulkExportError, Interrupted

if TYPE_CHECKING:
    from bulk_export.progress.console import Console
    from bulk_export.progress.observer import Observer

T = TypeVar("T")

# Seconds to finish what is under way. Whatever is kept is durable at any moment, so nothing is lost after that.
_PATIENCE = 1.7
# Seconds for the message of an end at once.
_FOR_THE_MESSAGE = 1.0


def until_signalled(
    work: Callable[[anyio.Event], Awaitable[T]],
    stopped: Callable[[], Interrupted],
    observer: Observer,
    console: Console,
) -> T:
    """Run work on an event loop until it is done or a signal stops it.

    The first signal sets the event, and the work ends as soon as it can. A second signal, or too long a wait, ends the
    process with exit code 130.

    Args:
        work: The work, given the event that stops it.
        stopped: Makes the message for an end at once: what is kept, and the command that goes on.
        observer: Its display is taken down before the process ends.
        console: Where the message goes.

    Raises:
        BulkExportError: What the work raises; Interrupted if the event was set.
    """
    results: list[T | BulkExportError] = []

    def exit_now() -> None:
        # A disk or a terminal that hangs must not keep the process.
        end = threading.Timer(_FOR_THE_MESSAGE, os._exit, (Interrupted.exit_code,))
        end.daemon = True
        end.start()
        observer.closed()
        console.error(stopped())
        os._exit(Interrupted.exit_code)

    async def watch(stop: anyio.Event, *, task_status: TaskStatus[None]) -> None:
        with received_signals(*stopping_signals()) as signals:
            task_status.started()
            async for _ in signals:
                if stop.is_set():
                    exit_now()
                stop.set()
                limit = threading.Timer(_PATIENCE, exit_now)
                limit.daemon = True
                limit.start()

    async def main() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch, stop)
            try:
                results.append(await work(stop))
            except BulkExportError as error:
                results.append(error)
            tasks.cancel_scope.cancel()

    end_of_checks()
    require_descriptors(0)
    # Imported objects live until the process ends, so the garbage collector need not visit them.
    gc.freeze()
    # With uvloop, fetching takes a third less time.
    anyio.run(main, backend_options={"use_uvloop": importlib.util.find_spec("uvloop") is not None})
    (result,) = results
    if isinstance(result, BulkExportError):
        raise result
    return result
