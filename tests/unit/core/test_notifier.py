"""Waking the tasks that wait, and no others."""

from __future__ import annotations

import anyio

from bulk_export.core.notifier import Notifier


async def test_all_waiting_tasks_wake() -> None:
    notifier, woken = Notifier(), []

    async def wait(name: str) -> None:
        await notifier.wait()
        woken.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "first")
        tasks.start_soon(wait, "second")
        await anyio.wait_all_tasks_blocked()
        assert woken == []
        notifier.notify_all()
    assert sorted(woken) == ["first", "second"]


async def test_an_earlier_notification_wakes_nobody() -> None:
    """Whoever begins to wait after a notification waits for the next one."""
    notifier = Notifier()
    notifier.notify_all()
    with anyio.move_on_after(0.02) as scope:
        await notifier.wait()
    assert scope.cancelled_caught
