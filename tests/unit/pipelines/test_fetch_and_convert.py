"""The dispatcher and the writer side by side: what ends one ends the other, and no unfinished part stays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from bulk_export.core.notifier import Notifier
from bulk_export.errors import Interrupted, LocalFailure, ServiceFailing
from bulk_export.pipelines.conversion import Step
from bulk_export.pipelines.fetch_and_convert import FetchAndConvert
from bulk_export.progress.observer import Observer


@dataclass
class Dispatcher:
    """Runs until it is closed or told to stop, or fails at once."""

    error: Exception | None = None
    added: list[Any] = field(default_factory=list)
    closed: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        if self.error is not None:
            raise self.error
        await self.closed.wait()

    def add(self, sweep: Any) -> None:
        self.added.append(sweep)

    def close(self) -> None:
        self.closed.set()

    stop_dispatching = close


@dataclass
class Conversion:
    """Has so many steps, then is finished, or waits for pages for ever."""

    name: str
    steps: int
    is_stuck: bool = False
    error: Exception | None = None
    wanted: list[Any] = field(default_factory=list)
    aborted: bool = False

    @property
    def sweep(self) -> Any:
        return SimpleNamespace(endpoint=SimpleNamespace(name=self.name))

    @property
    def finished(self) -> bool:
        return self.steps == 0 and not self.is_stuck

    def next_step(self, recent: Any) -> Step | None:
        return Step() if self.steps else None

    def run(self, step: Step) -> int:
        if self.error is not None:
            raise self.error
        self.steps -= 1
        return 7

    def wanted_sweep(self) -> Any:
        return self.wanted.pop() if self.wanted else None

    def abort(self) -> None:
        self.aborted = True


class Rows(Observer):
    def __init__(self) -> None:
        self.written: list[tuple[str, int]] = []

    def records_written(self, endpoint: str, records: int) -> None:
        self.written.append((endpoint, records))


async def run(dispatcher: Dispatcher, *conversions: Conversion, stop: anyio.Event | None = None) -> Rows:
    observer = Rows()
    session: Any = SimpleNamespace(
        options=SimpleNamespace(output=Path("out")), observer=observer, changed=Notifier(), tuning=None
    )
    both = FetchAndConvert(session, dispatcher, conversions, None, stop or anyio.Event())  # type: ignore[arg-type]
    with anyio.fail_after(10):
        await both.run()
    return observer


async def test_all_steps_are_done() -> None:
    """Every step of every conversion is run, and the dispatcher is closed and left without unfinished parts."""
    dispatcher, conversions = Dispatcher(), [Conversion("a", 2), Conversion("b", 1)]
    observer = await run(dispatcher, *conversions)
    assert observer.written == [("a", 7), ("a", 7), ("b", 7)]
    assert dispatcher.closed.is_set()
    assert all(conversion.aborted for conversion in conversions)


async def test_wanted_sweeps_are_fetched() -> None:
    dispatcher = Dispatcher()
    await run(dispatcher, Conversion("a", 1, wanted=[SimpleNamespace(number=1)]))
    assert [sweep.number for sweep in dispatcher.added] == [1]


async def test_a_failed_conversion_ends_fetching() -> None:
    conversion = Conversion("a", 1, error=LocalFailure("full"))
    with pytest.raises(LocalFailure, match="full"):
        await run(Dispatcher(), conversion)
    assert conversion.aborted


async def test_a_failed_dispatcher_ends_converting() -> None:
    conversion = Conversion("a", 0, is_stuck=True)
    with pytest.raises(ServiceFailing, match="away"):
        await run(Dispatcher(error=ServiceFailing("away")), conversion)
    assert conversion.aborted


async def test_stop_interrupts() -> None:
    """A run that is asked to stop sends nothing more, and says where its pages are kept."""
    stop, dispatcher = anyio.Event(), Dispatcher()
    conversion = Conversion("a", 0, is_stuck=True)
    stop.set()
    with pytest.raises(Interrupted) as caught:
        await run(dispatcher, conversion, stop=stop)
    assert caught.value.kept == "Every page that had arrived is kept in out."
    assert dispatcher.closed.is_set()
    assert conversion.aborted
