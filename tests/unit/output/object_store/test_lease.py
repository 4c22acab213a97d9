"""One sync at a time works at an address, and a lost machine keeps nobody away for long."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bulk_export.errors import DirectoryInUse, LocalFailure, StoreRefused
from bulk_export.output.object_store.failures import ObjectChanged
from bulk_export.output.object_store.lease import LEASE, Lease, LeaseTimes
from bulk_export.output.object_store.store import ObjectStore
from tests.support.dying_store import DyingStore, Killed

obstore = pytest.importorskip("obstore.store")

TIMES = LeaseTimes(expires=100, stops=50)


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shared() -> Any:
    return obstore.MemoryStore()


def lease(shared: Any, holder: str, clock: Clock, **how: Any) -> Lease:
    """The lease of a process."""
    return Lease(DyingStore(shared, **how), holder, TIMES, clock=clock)


def test_one_holder(shared: Any, clock: Clock) -> None:
    """A lease that is renewed is refused to others, and free once it was given back."""
    first, second = lease(shared, "a", clock), lease(shared, "b", clock)
    assert first.take()
    assert not second.take()
    first.renew()
    with pytest.raises(DirectoryInUse):
        second.take()
    first.release()
    assert lease(shared, "b", clock).take()


def test_lost_holder(shared: Any, clock: Clock) -> None:
    """A lease that nobody renews may be taken after a while, by the clock of the one who waits."""
    first, second = lease(shared, "a", clock), lease(shared, "b", clock)
    assert first.take()
    assert not second.take()
    clock.now += 99
    assert not second.take()
    clock.now += 1
    assert second.take()
    second.require()
    with pytest.raises(LocalFailure):
        first.renew()
    first.release()
    second.renew()


def test_killed_run_is_followed_at_once(shared: Any, clock: Clock) -> None:
    """The next run in the same working directory does not wait, since only one can lock that."""
    assert lease(shared, "a", clock).take()
    assert lease(shared, "a", clock).take()


def test_holder_stops_in_time(shared: Any, clock: Clock) -> None:
    """A holder that could not renew its lease writes nothing more, long before another may take it."""
    first = lease(shared, "a", clock)
    assert first.take()
    clock.now += 50
    first.require()
    clock.now += 1
    with pytest.raises(LocalFailure):
        first.require()
    first.renew()
    first.require()


def test_killed_at_each_call(shared: Any, clock: Clock) -> None:
    """Wherever taking a lease is cut off, the same directory takes it at once, and another one after a while."""
    for step in itertools.count(1):
        store = obstore.MemoryStore()
        try:
            lease(store, "a", clock, dies_at=step).take()
        except Killed:
            other = lease(store, "b", clock)
            if not other.take():
                clock.now += TIMES.expires
                assert other.take()
            other.release()
            assert lease(store, "a", clock).take()
        else:
            assert step > 5
            return


def test_two_take_it_at_once(shared: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that saw the same free lease, one has it."""
    first, second = lease(shared, "a", clock), lease(shared, "b", clock)
    read = ObjectStore.read
    stale = [None]
    monkeypatch.setattr(second._store, "read", lambda *a, **k: stale.pop() if stale else read(second._store, *a, **k))  # type: ignore[attr-defined]
    assert first.take()
    assert not second.take()
    assert not second.take()
    first.require()


def test_repeated_request(shared: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that arrived although its answer was lost, and was repeated, counts as done."""
    first = lease(shared, "a", clock)
    assert first.take()
    replace = ObjectStore.replace

    def twice(self: ObjectStore, key: str, content: bytes, version: str) -> object:
        replace(self, key, content, version)
        raise ObjectChanged

    monkeypatch.setattr(DyingStore, "replace", twice)
    first.renew()
    monkeypatch.undo()
    first.renew()


def test_store_that_ignores_conditions(shared: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without conditional writes there is no lease."""
    monkeypatch.setattr(DyingStore, "create", lambda self, key, content: self._put(key, content))
    with pytest.raises(StoreRefused):
        lease(shared, "a", clock).take()


def test_unreadable_lease(shared: Any, clock: Clock) -> None:
    """A lease that cannot be read has to expire."""
    DyingStore(shared).create(LEASE, b"{")
    first = lease(shared, "a", clock)
    assert not first.take()
    clock.now += TIMES.expires
    assert first.take()
