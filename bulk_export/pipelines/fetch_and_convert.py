"""Fetching and converting side by side: many requests, and one writer in page order behind them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.abc
import anyio.to_thread

from bulk_export.core.notifier import Notifier
from bulk_export.errors import BulkExportError
from bulk_export.extract.dispatcher import Dispatcher
from bulk_export.pipelines.conversion import EndpointConversion, RecentBodies
from bulk_export.pipelines.session import Session
from bulk_export.pipelines.work_left import WorkMeter
from bulk_export.pipelines.workspace import interrupted

# How long responses in flight are waited for after the run was asked to stop, in seconds.
_DRAIN_SECONDS = 1.0


class FetchAndConvert:
    """Runs the dispatcher and the writer until every conversion is finished.

    The writer runs the next step of any endpoint that has one, in a worker thread. If none has, it waits for
    `session.changed`. Sweeps that conversions want are added to the dispatcher.

    Args:
        session: The session in which pages are fetched.
        dispatcher: Fetches the first sweeps of `conversions`.
        conversions: One for each endpoint.
        recent: Bodies that need not be read from the journal.
        stop: Set it to end the run early.
        beside: Runs beside both, and is cancelled when they have ended; if it fails, they end.
        meter: Measures what is left, if somebody wants to know.
    """

    def __init__(
        self,
        session: Session,
        dispatcher: Dispatcher,
        conversions: Sequence[EndpointConversion],
        recent: RecentBodies,
        stop: anyio.Event,
        *,
        beside: Callable[[], Awaitable[None]] | None = None,
        meter: WorkMeter | None = None,
    ) -> None:
        self._meter = meter
        self._beside = beside
        self._dispatcher = dispatcher
        self._conversions = conversions
        self._recent = recent
        self._stop = stop
        self._output = session.options.output
        self._changed: Notifier = session.changed
        self._observer = session.observer
        self._thread = anyio.CapacityLimiter(1)
        self._fetched = anyio.Event()
        self._errors: list[BulkExportError] = []

    async def run(self) -> None:
        """Run to the end. Unfinished parts are removed in any case.

        Raises:
            Interrupted: `stop` was set. Pages that arrived within a second are kept.
            BulkExportError: The first error of the dispatcher or a conversion.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._stop_on_request, tasks.cancel_scope)
            tasks.start_soon(self._tick)
            if self._beside is not None:
                tasks.start_soon(self._guarded, self._beside, tasks.cancel_scope)
            async with anyio.create_task_group() as work:
                work.start_soon(self._guarded, self._fetch, tasks.cancel_scope)
                work.start_soon(self._guarded, self._convert, tasks.cancel_scope)
            tasks.cancel_scope.cancel()
        if self._errors:
            raise self._errors[0]

    async def _guarded(self, work: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        """Run one side, and cancel the other one if it fails."""
        try:
            await work()
        except BulkExportError as error:
            self._errors.append(error)
            scope.cancel()

    async def _fetch(self) -> None:
        await self._dispatcher.run()
        self._fetched.set()

    async def _convert(self) -> None:
        try:
            while any(not conversion.finished for conversion in self._conversions):
                if not await self._convert_next():
                    await self._changed.wait()
            self._dispatcher.close()
        finally:
            with anyio.CancelScope(shield=True):
                for conversion in self._conversions:
                    await anyio.to_thread.run_sync(conversion.abort, limiter=self._thread)

    async def _convert_next(self) -> bool:
        """Run one step of the first conversion that has any. Return whether there was one."""
        for conversion in self._conversions:
            step = conversion.next_step(self._recent)
            if step is None:
                continue
            name = conversion.sweep.endpoint.name
            began = time.monotonic()
            rows = await anyio.to_thread.run_sync(conversion.run, step, limiter=self._thread)
            if self._meter is not None:
                self._meter.record_writing(len(step.pages), time.monotonic() - began)
            self._observer.records_written(name, rows)
            if sweep := conversion.wanted_sweep():
                self._observer.sweeping_again(name, sweep.number)
                if self._meter is not None:
                    self._meter.begin_sweep(sweep)
                self._dispatcher.add(sweep)
            return True
        return False

    async def _stop_on_request(self, scope: anyio.CancelScope) -> None:
        await self._stop.wait()
        self._dispatcher.stop_dispatching()
        with anyio.move_on_after(_DRAIN_SECONDS):
            await self._fetched.wait()
        self._errors.append(interrupted(self._output))
        scope.cancel()

    async def _tick(self) -> None:
        while True:
            await anyio.sleep(1)
            self._observer.tick()
