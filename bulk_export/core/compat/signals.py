"""Signals for a task of an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from types import FrameType

import anyio


def stopping_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end, as far as the system has them.

    SIGHUP is sent when a terminal goes away, and left alone if it is ignored on purpose, as with nohup. SIGBREAK is
    Ctrl-Break in Windows, and what a console sends when it is closed.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    known = [signal.Signals[name] for name in names if hasattr(signal, name)]
    return tuple(one for one in known if one.name != "SIGHUP" or signal.getsignal(one) is not signal.SIG_IGN)


@contextlib.contextmanager
def received_signals(*signals: signal.Signals) -> Iterator[AsyncIterator[signal.Signals]]:
    """Receive signals, in the main thread, instead of what they would do.

    Yields:
        An iterator over the signals that arrive.
    """
    with contextlib.ExitStack() as stack:
        try:
            received: AsyncIterator[signal.Signals] = stack.enter_context(anyio.open_signal_receiver(*signals))
        except NotImplementedError:
            # The event loops of Windows do not handle signals. They are woken by one that Python handles.
            received = stack.enter_context(_handled(signals))
        yield received


@contextlib.contextmanager
def _handled(signals: tuple[signal.Signals, ...]) -> Iterator[AsyncIterator[signal.Signals]]:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[signal.Signals] = asyncio.Queue()

    def handle(number: int, _: FrameType | None) -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, signal.Signals(number))

    async def each() -> AsyncIterator[signal.Signals]:
        while True:
            yield await arrived.get()

    earlier = {one: signal.signal(one, handle) for one in signals}
    try:
        yield each()
    finally:
        for one, handler in earlier.items():
            signal.signal(one, handler)
