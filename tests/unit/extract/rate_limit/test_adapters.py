"""A ledger in a thread: the ends of requests are recorded with the next claim, or soon after."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.errors import LocalFailure
from bulk_export.extract.rate_limit import RequestOutcome, adapters, read_usage
from bulk_export.extract.rate_limit.adapters import ThreadedAsyncLedger
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.interface import Granted, Limits
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger

LIMITS = Limits(Limit(3, 60), Limit(3, 60), (None,), 30.0)


class Traced(SqliteLedger):
    """A ledger in a file, with the transactions that it committed; while `fails`, none can be."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "https://service.example", Token("t"), LIMITS, boot_clock())
        self.commits = 0
        self.fails = False
        self._connection.set_trace_callback(self._trace)

    def claim(self, identity: int) -> Granted:  # type: ignore[override]  # these limits are never used up
        reply = super().claim(identity)
        if self.fails:
            raise LocalFailure("The disk is full.")
        assert isinstance(reply, Granted)
        return reply

    def in_flight(self) -> list[int]:
        return sorted(self._in_flight)

    def _trace(self, statement: str) -> None:
        self.commits += statement == "COMMIT"


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[tuple[ThreadedAsyncLedger, Traced]]:
    """A ledger with one request in flight, and its file."""
    made: list[Traced] = []

    def make() -> Traced:
        made.append(Traced(tmp_path / "budget.sqlite"))
        return made[0]

    store = await ThreadedAsyncLedger.open(make)
    await store.claim(1)
    yield store, made[0]
    await store.close()


async def test_end_is_recorded_with_the_next_claim(ledger: tuple[ThreadedAsyncLedger, Traced]) -> None:
    """Both are one transaction."""
    store, file = ledger
    before = file.commits
    await store.release(1, RequestOutcome.UNSENT)
    assert file.in_flight() == [1]
    reply = await store.claim(2)
    assert (file.commits - before, file.in_flight()) == (1, [2])
    assert isinstance(reply, Granted)
    assert reply.windows[0].used == 1


async def test_end_is_recorded_without_a_claim(
    ledger: tuple[ThreadedAsyncLedger, Traced], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that share the file need not wait for the next claim of this one."""
    monkeypatch.setattr(adapters, "LATEST", 0.0)
    store, file = ledger
    await store.release(1, RequestOutcome.ANSWERED)
    while file.in_flight():
        await anyio.sleep(0)


async def test_end_is_recorded_when_the_ledger_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    store = await ThreadedAsyncLedger.open(lambda: Traced(path))
    await store.claim(1)
    await store.release(1, RequestOutcome.UNSENT)
    await store.close()
    assert sum(usage.used for usage in read_usage(f"sqlite:///{path}")) == 0


async def test_failed_claim_takes_the_ends_back(ledger: tuple[ThreadedAsyncLedger, Traced]) -> None:
    """What one transaction was to record is recorded by the next one, and the failed claim is not in flight."""
    store, file = ledger
    await store.release(1, RequestOutcome.UNSENT)
    file.fails = True
    with pytest.raises(LocalFailure):
        await store.claim(2)
    assert file.in_flight() == [1]
    file.fails = False
    reply = await store.claim(3)
    assert isinstance(reply, Granted)
    assert (file.in_flight(), reply.windows[0].used) == ([3], 1)


async def test_end_after_a_cancelled_claim_is_recorded_once(ledger: tuple[ThreadedAsyncLedger, Traced]) -> None:
    """A claim that was submitted is carried out, with the ends that go with it."""
    store, file = ledger
    await store.release(1, RequestOutcome.ANSWERED)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await store.claim(2)
    reply = await store.claim(3)
    assert isinstance(reply, Granted)
    assert (file.in_flight(), reply.windows[0].used) == ([2, 3], 3)
