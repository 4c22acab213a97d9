"""An export confined to a window: outside of it nothing is sent, and in the next one it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import Interrupted
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import Observer
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, options, settings

CLOSED = datetime(2025, 10, 25, 12, tzinfo=UTC)
OPENS = datetime(2025, 10, 26, 0, tzinfo=UTC)  # 01:00 by the summer time of that night
BETWEEN = {"between": "01:00-05:00", "timezone": "Europe/London", "page_size": 100}


class Watching(Observer):
    """Counts requests, and calls at each of them and at each pause."""

    def __init__(self, *, sent: Callable[[int], None] = lambda _: None, paused: Callable[[], None] = lambda: None):
        self.requests = 0
        self.pauses: list[datetime] = []
        self._sent, self._paused = sent, paused

    def request_sent(self, endpoint: str) -> None:
        self.requests += 1
        self._sent(self.requests)

    def outside_window(self, until: datetime) -> None:
        self.pauses.append(until)
        self._paused()


async def test_export_pauses_when_the_window_closes(tmp_path: Path) -> None:
    """The export pauses when the daily window closes and goes on in the next one."""
    following = datetime(2025, 10, 27, 1, tzinfo=UTC)
    now = [OPENS]
    sent_before: list[int] = []

    def close(requests: int) -> None:
        if requests == 5:
            now[0] = following - timedelta(milliseconds=50)

    def open_again() -> None:
        sent_before.append(watching.requests)
        now[0] = following

    watching = Watching(sent=close, paused=open_again)
    async with serving(settings()) as service:
        await export(
            options(service, tmp_path / "out", "npq-applications", workers=1, **BETWEEN),
            watching,
            tuning=replace(QUICK, clock=lambda: now[0]),
        )
    assert (watching.pauses, sent_before) == ([following], [5])
    assert watching.requests > 20
    assert verify(tmp_path / "out").rows == 2_345


async def test_stop_is_heard_outside_the_window(tmp_path: Path) -> None:
    """A stop outside of the daily window takes effect at once, and the export goes on later."""
    stop = anyio.Event()
    watching = Watching(paused=stop.set)
    async with serving(settings()) as service:
        chosen = options(service, tmp_path / "out", "statements", **BETWEEN)
        with pytest.raises(Interrupted), anyio.fail_after(10):
            await export(chosen, watching, stop=stop, tuning=replace(QUICK, clock=lambda: CLOSED))
        assert (watching.requests, watching.pauses) == (0, [OPENS])
        without = options(service, tmp_path / "out", "statements", page_size=100)
        summary = await export(without, tuning=QUICK)  # another window, or none, is the same export
    assert summary.resumed == 1
    assert verify(tmp_path / "out").rows == 37


async def test_retries_wait_for_the_window_too(tmp_path: Path) -> None:
    """The page that failed is asked for again in the next window, not in its backoff."""
    now = [OPENS]
    seen: list[int] = []
    stop = anyio.Event()

    class Failing(Watching):
        def retrying(self, endpoint: str, page: int, reason: str, delay: float) -> None:
            now[0] = CLOSED
            seen.append(self.requests)

    watching = Failing(paused=stop.set)
    async with serving(settings(error_rate=1.0)) as service:
        chosen = options(service, tmp_path / "out", "statements", **BETWEEN)
        with pytest.raises(Interrupted):
            await export(chosen, watching, stop=stop, tuning=replace(QUICK, clock=lambda: now[0]))
    assert seen == [1]
    assert watching.requests == 1
