"""Tasks that are used again."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from bulk_export.extract.task_pool import TaskPool


class Recorder:
    """Work that takes a while, and the tasks in which it was done."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.tasks: set[asyncio.Task[None] | None] = set()
        self.go_on = anyio.Event()

    async def work(self, number: int) -> None:
        self.tasks.add(asyncio.current_task())
        await self.go_on.wait()
        self.done.append(number)


async def test_idle_task_takes_the_next_work() -> None:
    """One piece of work after the other needs one task."""
    recorder = Recorder()
    recorder.go_on.set()
    async with anyio.create_task_group() as tasks:
        with TaskPool(tasks, recorder.work) as pool:
            for number in range(5):
                pool.start(number)
                await anyio.wait_all_tasks_blocked()
    assert recorder.done == [0, 1, 2, 3, 4]
    assert len(recorder.tasks) == 1


async def test_work_at_the_same_time_has_tasks_of_its_own() -> None:
    """Nothing waits for a task to become idle, and work that is under way at the end of the block is done."""
    recorder = Recorder()
    async with anyio.create_task_group() as tasks:
        with TaskPool(tasks, recorder.work) as pool:
            for number in range(3):
                pool.start(number)
            await anyio.wait_all_tasks_blocked()
            assert len(recorder.tasks) == 3
        recorder.go_on.set()
    assert sorted(recorder.done) == [0, 1, 2]


async def test_work_that_was_handed_over_is_begun_despite_cancellation() -> None:
    """As in a task of its own: so what comes with the work, a permit, can be given back."""
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)

    async with anyio.create_task_group() as tasks:
        with TaskPool(tasks, work) as pool:
            pool.start(1)
            await anyio.wait_all_tasks_blocked()
            pool.start(2)
            tasks.cancel_scope.cancel()
    assert begun == [1, 2]


async def test_cancelled_idle_task_takes_nothing() -> None:
    """Work that comes after a cancellation gets a new task."""
    recorder = Recorder()
    recorder.go_on.set()
    async with anyio.create_task_group() as outer:
        async with anyio.create_task_group() as tasks:
            pool = TaskPool(tasks, recorder.work)
            pool.start(1)
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        pool._tasks = outer
        with pool:
            pool.start(2)
            await anyio.wait_all_tasks_blocked()
    assert recorder.done == [1, 2]
    assert len(recorder.tasks) == 2


async def test_error_ends_the_task_group() -> None:
    async def work(number: int) -> None:
        raise LookupError(number)

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            with TaskPool(tasks, work) as pool:
                pool.start(7)
                await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as raised:
        await run()
    assert raised.value.exceptions[0].args == (7,)
