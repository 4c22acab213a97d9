"""Coroutines run from code without an event loop, and requests made by functions that block."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

from bulk_export.errors import UsageError
from bulk_export.pipelines.remote_descriptions import is_address, with_fetched_service

R = TypeVar("R")
T = TypeVar("T", bound=Mapping[str, object])


def run(name: str, main: Callable[[], Awaitable[R]]) -> R:
    """Run a coroutine function in an event loop of its own, and return its result.

    Args:
        name: The function that it is, for the message: `export` is what `run_export` runs.
        main: The coroutine function.

    Raises:
        UsageError: An event loop is running in this thread already, as in a notebook.
    """
    if _is_loop_running():
        raise UsageError(
            f"bulk_export.run_{name} starts an event loop, and one is running in this thread already, as in notebooks.",
            next_step=f"Write `await bulk_export.{name}(…)` instead.",
        )
    return anyio.run(main)


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def fetched(options: T) -> T:
    """As `with_fetched_service`, for functions that block: in a thread of its own, whether or not a loop runs here."""
    service = options.get("service")
    if not isinstance(service, str) or not is_address(service):
        return options
    with start_blocking_portal() as portal:
        return portal.call(with_fetched_service, options)
