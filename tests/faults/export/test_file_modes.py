"""No file or directory of ours is ever open to others, not even for a moment, whatever the umask."""

from __future__ import annotations

import functools
from pathlib import Path

import anyio.to_thread

from tests.support.disturbed_run import modes_seen
from tests.support.small_service import small_service


async def test_everything_is_private_at_any_moment(room: Path) -> None:
    """Between any two disk calls all files and directories are private, even with a umask of 0."""
    async with small_service() as service:
        seen = await anyio.to_thread.run_sync(functools.partial(modes_seen, service.base_url, room))
    assert {name for name, _ in seen} >= {
        "manifest.json",
        "journal.pages",
        "journal.sqlite",
        "journal.sqlite-wal",
        "pages.sqlite",
    }
    assert any(name.endswith(".partial") for name, _ in seen)
    assert {"out", ".bulk-export", "participants-npq", "budget.sqlite"} <= {name for name, _ in seen}
    open_to_others = {(name, oct(mode)) for name, mode in seen if mode & 0o077}
    assert open_to_others == set()
