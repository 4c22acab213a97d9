"""Results in order, computed ahead of their turn by further threads where there are further cores.

What is computed should leave the interpreter free most of the time, as the kernel, Arrow and the compressors do;
otherwise threads only take turns.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

# With more threads, the one that takes the results is the bound.
_MOST_CORES = 4
_WAITING_PER_CORE = 2

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """How many cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


class Ahead(Generic[Result]):
    """Calls that are made side by side, whose results are taken in the order in which the calls were added.

    The thread that takes a result works as well while it would have to wait for it. So there is one thread fewer than
    cores, and with one core there is none. Use it from one thread at a time, and `close` it.

    Args:
        cores: How many calls run at once at most, the caller's included. More than four are not used.

    Example:
        ahead = Ahead[bytes](usable_cores())
        ahead.add(path.read_bytes)
        content = ahead.take()
        ahead.close()
    """

    def __init__(self, cores: int) -> None:
        self._cores = min(cores, _MOST_CORES)
        self._limit = 1 if self._cores < 2 else _WAITING_PER_CORE * self._cores
        self._waiting: deque[_Call[Result]] = deque()
        self._threads: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether a result has to be taken before another call is added: what waits is in memory."""
        return len(self._waiting) >= self._limit

    def add(self, function: Callable[[], Result], *, is_last: bool = False) -> None:
        """Add a call; with `is_last`, no other one follows it soon, and it is left to the thread that takes it."""
        call = _Call(function)
        self._waiting.append(call)
        if self._cores < 2 or (is_last and len(self._waiting) == 1):
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._cores - 1, thread_name_prefix="bulk-export-ahead")
        self._threads.submit(call.run)

    def take(self) -> Result:
        """Return the first result; raises what its call raised.

        Raises:
            IndexError: No call is waiting.
        """
        first = self._waiting[0]
        for call in self._waiting:
            if first.outcome.done():
                break
            call.run()
        self._waiting.popleft()
        return first.outcome.result()

    def close(self) -> None:
        """Forget what was not taken, and end the threads, once they have finished the calls that they have begun."""
        self._waiting.clear()
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(cancel_futures=True)


class _Call(Generic[Result]):
    """A call that the first thread makes that runs it."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function: Callable[[], Result] | None = function
        self._beginning = threading.Lock()
        self.outcome: Future[Result] = Future()

    def run(self) -> None:
        """Make the call, unless another thread has begun it."""
        if not self._beginning.acquire(blocking=False):
            return
        function, self._function = self._function, None
        assert function is not None
        try:
            self.outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised by who takes the result
            self.outcome.set_exception(error)


def in_order(function: Callable[[Item], Result], items: Iterable[Item], cores: int) -> Iterator[Result]:
    """Yield what a function returns for each item, in order; a few results are in memory at a time.

    Args:
        function: Called in up to `cores` threads at once.
        items: Taken as they are needed.
        cores: How many calls run at once at most.
    """
    with contextlib.closing(Ahead[Result](cores)) as ahead:
        for item in items:
            ahead.add(functools.partial(function, item))
            while ahead.is_full:
                yield ahead.take()
        while ahead:
            yield ahead.take()
