"""What the commits of a Delta table say about it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulk_export.pipelines.sync.summary import Counts
from bulk_export.pipelines.sync.tables.copy_table import TableMark, TableStatus
from bulk_export.pipelines.sync.tables.delta_history import PollNote, compare_with_mark, poll_note


def poll(version: int, id_: str) -> dict[str, Any]:
    return {"version": version, "operation": "MERGE", **PollNote(version, id_, Counts(1)).to_metadata()}


def other(version: int, operation: str) -> dict[str, Any]:
    return {"version": version, "operation": operation}


MARK = TableMark(1, "b", 1)
BASE = [poll(1, "b"), poll(0, "a")]


@pytest.mark.parametrize(
    ("newer", "status"),
    [
        ([], TableStatus.CURRENT),
        ([other(2, "OPTIMIZE")], TableStatus.CURRENT),
        ([poll(2, "open")], TableStatus.CURRENT),
        ([poll(2, "c")], TableStatus.AHEAD),
        ([poll(3, "c"), poll(2, "open")], TableStatus.AHEAD),
        ([other(2, "DELETE")], TableStatus.BEHIND),
        ([poll(3, "c"), other(2, "RESTORE")], TableStatus.BEHIND),
    ],
)
def test_commits_above_the_mark_decide(newer: list[dict[str, Any]], status: TableStatus) -> None:
    """Those of open polls and of upkeep change nothing, other polls make it newer, anything else is not trusted."""
    version = newer[0]["version"] if newer else 1
    assert compare_with_mark([*newer, *BASE], version, MARK, {"open"}) is status


def test_another_history_is_behind() -> None:
    assert compare_with_mark([poll(1, "x")], 1, MARK, ()) is TableStatus.BEHIND
    assert compare_with_mark(BASE[1:], 0, MARK, ()) is TableStatus.BEHIND


def test_a_mark_without_version_is_not_compared() -> None:
    assert compare_with_mark(BASE, 1, TableMark(), ()) is TableStatus.CURRENT


def test_a_note_is_read_back() -> None:
    note = PollNote(3, "c", Counts(2, 1))
    assert poll_note(note.to_metadata()) == note
    (key,) = note.to_metadata()
    earlier = {key: json.dumps({"poll": 3, "counts": {"fetched": 1}})}
    assert poll_note(earlier) == PollNote(3, "", Counts(1))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"counts": {"unknown": 1}}'])
def test_a_commit_of_anything_else_has_no_note(text: str) -> None:
    (key,) = PollNote(3, "c", Counts()).to_metadata()
    assert poll_note({key: text}) is None
    assert poll_note({}) is None
