"""Imported by the server that forks processes for exports: it has made one export by then, so they start warm."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import anyio
import deltalake  # noqa: F401  # used by polls, and slow to import
import duckdb  # noqa: F401

from tests.support.disturbed_run import TUNING, small_options
from tests.support.small_service import small_service


async def _once(directory: Path) -> None:
    from bulk_export.pipelines.export import export

    async with small_service() as service:
        await export(small_options(service.base_url, directory / "out"), tuning=TUNING)


with tempfile.TemporaryDirectory() as _directory:
    anyio.run(_once, Path(_directory))
# Only a process of one thread can be forked safely.
for _thread in threading.enumerate():
    if _thread is not threading.current_thread():
        _thread.join(10)
assert threading.active_count() == 1
