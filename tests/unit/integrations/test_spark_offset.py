"""Offsets of a stream: what each poll requests, as `sync` would, and what a checkpoint holds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.integrations.spark_offset import ListOffset, lists_of, offset_of

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
SOURCES = {"": "s"}


def poll(one: ListOffset, now: datetime, readings: tuple[float, ...] = (), **changes: Any) -> ListOffset:
    return one.after_poll(now, readings, **{"every": HOUR, "full_every": WEEK, "has_changes": True} | changes)


def test_two_intervals_back() -> None:
    """The first poll asks for everything, and later ones for two intervals."""
    before = ListOffset("s")
    since = []
    for number in range(4):
        after = poll(before, START + number * HOUR)
        since.append(before.since(after))
        before = after
    assert since == [None, START - HOUR, START, START + HOUR]


def test_poll_soon_after_another() -> None:
    """A poll by hand takes nothing from what the next one asks for: the example of `watermark`."""
    first = poll(poll(ListOffset("s"), START), START + HOUR)
    by_hand = poll(first, START + HOUR + timedelta(minutes=5))
    assert by_hand.since(poll(by_hand, START + 2 * HOUR)) == START


def test_poll_after_outage() -> None:
    """After a day without polls, the day and an interval before it are asked for."""
    before = poll(poll(ListOffset("s"), START - HOUR), START)
    after = poll(before, START + 24 * HOUR)
    since = before.since(after)
    assert since is not None
    assert since <= START - HOUR


def test_everything_again() -> None:
    """Everything is read once in a while, and always if the service cannot be asked for changes."""
    before = poll(ListOffset("s"), START)
    assert before.since(poll(before, START + WEEK)) is None
    assert before.since(poll(before, START + HOUR, has_changes=False)) is None
    assert before.since(poll(before, START + HOUR)) is not None


def test_due() -> None:
    """A poll is due at first, after the interval or a little earlier, and if the last one lies in the future."""
    assert ListOffset("s").is_due(START, HOUR)
    before = poll(ListOffset("s"), START)
    assert not before.is_due(START + timedelta(minutes=58), HOUR)
    assert before.is_due(START + timedelta(minutes=59, seconds=1), HOUR)
    assert not before.is_due(START + timedelta(seconds=0.8), timedelta(seconds=1))
    assert before.is_due(START - timedelta(days=1), HOUR)
    assert before.is_before(START + timedelta(seconds=1))
    assert not before.is_before(START)


def test_clock_of_service() -> None:
    """Starts are noted by the service's clock where it is behind ours, and never later than by our own."""
    assert poll(ListOffset("s"), START, (-90.0, -90.5)).started_at == START - timedelta(seconds=90.5)
    assert poll(ListOffset("s"), START, (7200.0, 7200.0, 7200.0)).started_at == START
    behind = poll(ListOffset("s"), START, (-90.0,))
    assert poll(behind, START + HOUR).started_at == START + HOUR - timedelta(seconds=90)


def test_stored_and_read() -> None:
    """An offset is read from JSON as it was, tenant by tenant; a new tenant begins, and one that left is forgotten."""
    one = poll(poll(ListOffset("s"), START, (-1.5,)), START + HOUR, (-0.25, -0.5))
    stored = json.loads(json.dumps(offset_of({"a": one, "gone": one})))
    assert lists_of(stored, {"a": "s", "new": "t"}) == {"a": one, "new": ListOffset("t")}
    assert lists_of(offset_of({}), SOURCES) == {"": ListOffset("s")}


def test_other_stream() -> None:
    """A checkpoint of another endpoint or of other filters is refused."""
    with pytest.raises(UsageError, match="another stream"):
        lists_of(offset_of({"": poll(ListOffset("other"), START)}), SOURCES)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"format": None},
        {"lists": None},
        {"lists": {"": {}}},
        {"lists": {"": {"polls": "yesterday"}}},
        {"lists": {"": {"polls": f"{START} {START} {START}"}}},
        {"lists": {"": {"clock_ahead": "much"}}},
        {"lists": {"": {"every": "1e400"}}},
    ],
)
def test_damaged(change: dict[str, Any]) -> None:
    """What cannot be an offset is refused, and nothing is guessed."""
    stored = offset_of({"": poll(ListOffset("s"), START)})
    if change.get("lists"):
        change = {"lists": {"": change["lists"][""] and stored["lists"][""] | change["lists"][""]}}
    with pytest.raises(BulkExportError) as refused:
        lists_of(stored | change, SOURCES)
    assert isinstance(refused.value, DamagedState)
