"""An export on virtual time: real sweeps, dispatcher, limiter and meter; a service and a writer that take time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import anyio

from bulk_export.core.daily_window import Window
from bulk_export.core.model import Limit, Paging
from bulk_export.core.notifier import Notifier
from bulk_export.core.window_gate import WindowGate
from bulk_export.extract.dispatcher import Dispatcher, DispatchSettings
from bulk_export.extract.page_fetcher import Throttled
from bulk_export.extract.paging_facts import PagingFacts
from bulk_export.extract.rate_limit import Permit, RateLimiter, RequestOutcome
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.interface import Limits
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.response import RequestFailed, Response
from bulk_export.extract.retry import Backoff
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.work_left import WorkMeter, WorkSettings
from bulk_export.progress.observer import Observer
from bulk_export.progress.run_state import RunState
from tests.support.fetching import response
from tests.support.paged_list import ENDPOINT
from tests.support.virtual_time import run_virtually

_MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
_PAGE = response()


@dataclass(frozen=True)
class Scene:
    """A service, what is exported from it, and how.

    `lists` has the records of each endpoint; `facts` those of the last time, `stored` the pages that an interrupted run
    stored, by endpoint. `latency` gives the seconds of a request for so many records, and `fault` what the n-th request
    brings instead of its page: "failed", or the Retry-After of a 429 in seconds. `earlier` are requests that others
    sent so many seconds before.
    """

    lists: Mapping[str, int]
    page_size: int = 300
    largest: int = 3000
    limits: tuple[Limit, Limit] = (Limit(1000, 300.0), Limit(300, 300.0))
    workers: int = 8
    min_interval: float = 0.1
    latency: Callable[[int], float] = lambda _records: 0.5
    fault: Callable[[int], str | float | None] = lambda _number: None
    writing: float = 0.01
    consistent: bool = False
    facts: Mapping[str, int] = field(default_factory=dict)
    stored: Mapping[str, int] = field(default_factory=dict)
    earlier: Sequence[float] = ()
    between: Window | None = None


@dataclass(frozen=True)
class Announced:
    """The state at a moment, in seconds from the start, and the end that was announced then."""

    at: float
    state: RunState
    end: float | None


@dataclass
class _Conversion:
    sweep: Sweep
    written_pages: int = 0
    finished: bool = False
    is_settled: bool = False


class _Spacing:
    """Keeps the least interval, in place of the limiter's own spacing, which spins on virtual time."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._next = 0.0

    async def wait(self) -> None:
        await anyio.sleep(max(0.0, self._next - anyio.current_time()))
        self._next = anyio.current_time() + self._interval


class _Service:
    """Answers requests as the scene has it."""

    def __init__(self, scene: Scene, limiter: RateLimiter) -> None:
        self._scene = scene
        self._limiter = limiter
        self.requests = 0

    async def request(
        self, permit: Permit, sweep: Sweep, page: int, *, attempt: int
    ) -> Response | RequestFailed | Throttled:
        self.requests += 1
        fault = self._scene.fault(self.requests)
        assert attempt >= 1
        await anyio.sleep(self._scene.latency(self._count(sweep, page)))
        if isinstance(fault, float):
            pause = await self._limiter.report_throttled(permit, retry_after=f"{fault:.0f}", date=None)
            sweep.plan.release(page)
            return Throttled(pause, fault)
        await self._limiter.release(permit, RequestOutcome.ANSWERED)
        return RequestFailed("status 500") if fault == "failed" else _PAGE

    async def accept(self, _response: Response, sweep: Sweep, page: int) -> RequestFailed | None:
        sweep.plan.record_response(page, self._count(sweep, page))
        return None

    def report_hold(self, seconds: float, *, is_throttled: bool) -> None:
        """Nobody records it here."""

    def count_retry(self) -> None:
        return

    def _count(self, sweep: Sweep, page: int) -> int:
        records = self._scene.lists[sweep.endpoint.name]
        return max(0, min(sweep.page_size, records - (page - 1) * sweep.page_size))


def announced(scene: Scene, every: float = 1.0) -> tuple[list[Announced], float]:
    """Run an export. Return what was announced, each `every` seconds, and when it really ended."""

    async def bounded() -> tuple[list[Announced], float]:
        with anyio.fail_after(1e6):
            return await _run(scene, every)

    return run_virtually(bounded)


async def _run(scene: Scene, every: float) -> tuple[list[Announced], float]:
    limits = Limits(*scene.limits, sources=("127.0.0.1",), longest_request=60.0)
    ledger = MemoryLedger(limits, anyio.current_time)
    for number, ago in enumerate(scene.earlier):
        await anyio.sleep(max(scene.earlier) - ago - anyio.current_time())
        ledger.claim(-number)
        ledger.release(-number, RequestOutcome.ANSWERED)
    if scene.earlier:
        await anyio.sleep(min(scene.earlier))
    began = anyio.current_time()

    def clock() -> datetime:
        return _MIDNIGHT + timedelta(seconds=anyio.current_time() - began)

    limiter = RateLimiter(
        InlineAsyncLedger(ledger),
        limits,
        wall=lambda: 0.0,
        uniform=lambda: 0.5,
        elapsed=anyio.current_time,
    )
    limiter._spacing = cast("Any", _Spacing(scene.min_interval))
    conversions = [_conversion(scene, name) for name in scene.lists]
    changed = Notifier()
    dispatcher = Dispatcher(
        [conversion.sweep for conversion in conversions],
        fetcher=cast("Any", _Service(scene, limiter)),
        limiter=limiter,
        settings=DispatchSettings(
            scene.workers,
            Backoff(8, base=0.7, growth=3.0),
            uniform=lambda: 0.5,
            gate=WindowGate(scene.between, clock=clock, closed=lambda _: None),
        ),
        changed=changed,
        observer=Observer(),
    )
    settings = WorkSettings(
        scene.workers, scene.min_interval, scene.consistent, asks_twice=True, window=scene.between, clock=clock
    )
    meter = WorkMeter(conversions, dispatcher, limiter, settings)
    log: list[Announced] = []

    async def watch() -> None:
        while True:
            await anyio.sleep(every)
            state, now = meter.state(), anyio.current_time() - began
            left = state.seconds_left()
            log.append(Announced(now, state, None if left is None else now + left))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        async with anyio.create_task_group() as work:
            work.start_soon(dispatcher.run)
            work.start_soon(_write, scene, conversions, dispatcher, meter, changed)
        end = anyio.current_time() - began
        tasks.cancel_scope.cancel()
    return log, end


def _conversion(scene: Scene, name: str) -> _Conversion:
    paging = Paging("pages", "number", "size", 1, largest=scene.largest)
    sweep = Sweep(
        replace(ENDPOINT, name=name, paging=paging),
        number=0,
        page_size=scene.page_size,
        stride=2 * scene.workers,
        filters=(),
        known=PagingFacts(longest=scene.page_size, records=scene.facts.get(name)),
    )
    for page in range(1, scene.stored.get(name, 0) + 1):
        sweep.plan.record_response(page, scene.page_size)
    return _Conversion(sweep, scene.stored.get(name, 0))


async def _write(
    scene: Scene,
    conversions: Sequence[_Conversion],
    dispatcher: Dispatcher,
    meter: WorkMeter,
    changed: Notifier,
) -> None:
    """Write the pages of each endpoint in order, and have it swept again as a consistent export does."""
    further: dict[str, list[Sweep]] = {conversion.sweep.endpoint.name: [] for conversion in conversions}
    while not all(conversion.finished for conversion in conversions):
        for conversion in conversions:
            plan, sweeps = conversion.sweep.plan, further[conversion.sweep.endpoint.name]
            if conversion.written_pages < min(plan.contiguous, plan.pages):
                await anyio.sleep(scene.writing)
                conversion.written_pages += 1
                meter.record_writing(1, scene.writing)
                break
            if conversion.finished or not plan.complete or (sweeps and not sweeps[-1].plan.complete):
                continue
            wanted = math.ceil(2 if plan.records >= scene.largest else 1) if scene.consistent else 0
            if len(sweeps) < wanted:
                sweeps.append(conversion.sweep.again(len(sweeps) + 1, scene.largest))
                meter.begin_sweep(sweeps[-1])
                dispatcher.add(sweeps[-1])
            else:
                conversion.finished = conversion.is_settled = True
            break
        else:
            await changed.wait()
    dispatcher.close()
