"""Responses are stored side by side, and alone if they may replace a page."""

from __future__ import annotations

import anyio

from bulk_export.extract.storing_turns import StoringTurns


class Scene:
    """Responses that take their turns; `order` says who began and ended."""

    def __init__(self) -> None:
        self.turns = StoringTurns()
        self.order: list[str] = []
        self.ends = {name: anyio.Event() for name in "abcd"}

    async def store(self, name: str, *, replaces: bool = False) -> None:
        async with self.turns.turn(lambda: replaces):
            self.order.append(name)
            await self.ends[name].wait()
            self.order.append(name.upper())

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await anyio.wait_all_tasks_blocked()


async def test_new_pages_are_stored_side_by_side() -> None:
    scene = Scene()
    async with anyio.create_task_group() as tasks:
        for name in "ab":
            tasks.start_soon(scene.store, name)
        await anyio.wait_all_tasks_blocked()
        assert sorted(scene.order) == ["a", "b"]
        await scene.end("a")
        await scene.end("b")


async def test_replacing_page_is_stored_alone() -> None:
    """A page that is replaced waits for those before it, and those after it wait for it."""
    scene = Scene()
    async with anyio.create_task_group() as tasks:
        for name in "abcd":
            tasks.start_soon(lambda name=name: scene.store(name, replaces=name in "bc"))
            await anyio.wait_all_tasks_blocked()
        assert scene.order == ["a"]
        for name in "abcd":
            await scene.end(name)
    assert scene.order == ["a", "A", "b", "B", "c", "C", "d", "D"]


async def test_cancelled_page_lets_others_pass() -> None:
    """A page that is cancelled, waiting or in its turn, holds nobody up."""
    scene = Scene()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.store, "a")
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as cancelled:
            cancelled.start_soon(lambda: scene.store("b", replaces=True))
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(scene.store, "c")
            await anyio.wait_all_tasks_blocked()
            assert scene.order == ["a"]
            cancelled.cancel_scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert scene.order == ["a", "c"]
        tasks.cancel_scope.cancel()
    await anyio.wait_all_tasks_blocked()
    scene.ends["d"].set()
    await scene.store("d", replaces=True)
