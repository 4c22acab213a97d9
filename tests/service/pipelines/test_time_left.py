"""What real exports report of themselves: what is left only shrinks to nothing, and a second export knows the sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from bulk_export.errors import Interrupted
from bulk_export.pipelines.export import export
from bulk_export.progress.observer import Observer
from bulk_export.progress.run_state import RunState
from bulk_export.services.local import serving
from tests.support.exporting import QUICK, options, settings

NAMES = ("npq-applications", "participant-declarations")


class Reader(Observer):
    """Reads the state at each page and at the end; stops the run after so many pages."""

    def __init__(self, stop: anyio.Event | None = None, after: int = 0) -> None:
        self.states: list[RunState] = []
        self._stop, self._after = stop, after
        self._read: Callable[[], RunState] = RunState

    def running(self, state: Callable[[], RunState]) -> None:
        self._read = state

    def page_stored(self, endpoint: str, page: int, records: int) -> None:
        self.states.append(self._read())
        if self._stop is not None and len(self.states) == self._after:
            self._stop.set()

    def closed(self) -> None:
        self.states.append(self._read())

    def requests(self) -> list[int]:
        return [state.work.requests for state in self.states if state.work is not None]


async def test_state_of_an_export(tmp_path: Path) -> None:
    """The first export counts; the second knows about how long the lists are. In the end nothing is left."""
    async with serving(settings()) as service:
        facts = {"budget": f"sqlite:///{tmp_path / 'budget.sqlite3'}"}
        first, second = Reader(), Reader()
        await export(options(service, tmp_path / "a", *NAMES, page_size=100, **facts), first, tuning=QUICK)
        await export(options(service, tmp_path / "b", *NAMES, page_size=100, **facts), second, tuning=QUICK)
    assert first.states[0].work is None
    assert second.states[0].work is not None
    assert 30 <= second.requests()[0] <= 37
    for reader in (first, second):
        last = reader.states[-1]
        assert (reader.requests()[-1], last.is_fetched, last.uncounted) == (0, True, 0)
        assert last.seconds_left() == 0.0


async def test_state_of_sweeps(tmp_path: Path) -> None:
    """The requests of further sweeps are among those that are left from the start, and the sweep at work is known."""
    reader = Reader()
    async with serving(settings()) as service:
        await export(options(service, tmp_path / "a", NAMES[1], page_size=300, consistent=True), reader, tuning=QUICK)
    assert reader.states[-1].is_fetched
    assert reader.requests()[-1] == 0
    counted = next(state for state in reader.states if state.work is not None)
    assert counted.work is not None
    assert len(counted.work.stages) == 2


async def test_state_after_an_interruption(tmp_path: Path) -> None:
    """What is stored is not left; a run that was stopped says truly that something is."""
    stop = anyio.Event()
    async with serving(settings(latency=0.01)) as service:
        chosen = options(service, tmp_path / "a", NAMES[0], page_size=50, workers=2)
        stopped, resumed = Reader(stop, after=20), Reader()
        with pytest.raises(Interrupted):
            await export(chosen, stopped, tuning=QUICK, stop=stop)
        await export(chosen, resumed, tuning=QUICK)
    assert not stopped.states[-1].is_fetched
    assert len(resumed.states) < 47 - 18
    assert resumed.states[-1].is_fetched
