"""A small service in a thread of its own, for tests that run exports to their end in the main one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio.from_thread

from tests.support.small_service import SmallService, small_service


@contextmanager
def served_in_thread() -> Iterator[SmallService]:
    """Serve until the end of the block."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(small_service()) as service,
    ):
        yield service
