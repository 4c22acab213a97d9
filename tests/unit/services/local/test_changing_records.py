"""Records of the local service that are created, changed and removed."""

from __future__ import annotations

import json

from bulk_export.services.catalogue import load_service
from bulk_export.services.local.changing_records import ChangingRecords
from bulk_export.services.local.records import RecordFactory

APPLICATIONS = load_service("npq").endpoints[0]


def records(count: int) -> ChangingRecords:
    return ChangingRecords(RecordFactory(APPLICATIONS, 0, people=10, applications=10), count)


def test_new_records_are_the_newest() -> None:
    """Even with a clock that is behind the last record, the order of creation stays."""
    changing = records(5)
    changing.append(2, now=0.0)
    assert list(changing.numbers) == list(range(7))
    assert changing.created_at(5) == changing.created_at(6) == changing.created_at(4)
    changing.append(1, now=2e9)
    assert changing.created_at(7) == changing.updated_at(7) == 2_000_000_000


def test_removed_records_are_gone() -> None:
    changing = records(5)
    removed = changing.remove(1)
    assert list(changing.numbers) == [0, 2, 3, 4]
    assert removed == changing.id(1)


def test_touched_records_change() -> None:
    changing = records(5)
    before = json.loads(changing.json(2))
    assert changing.touch(2, 2e9) == before["id"]
    after = json.loads(changing.json(2))
    assert (after["id"], changing.updated_at(2)) == (before["id"], 2_000_000_000)
    assert after["attributes"]["created_at"] == before["attributes"]["created_at"]
    assert after["attributes"] != before["attributes"]


def test_every_change_counts_as_a_generation() -> None:
    changing = records(5)
    changing.append(1, 0.0)
    changing.touch(0, 0.0)
    changing.remove(0)
    assert changing.generation == 3
