"""A poll as programs and people read it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from bulk_export.pipelines.sync.summary import Counts, PollSummary, TableSummary

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)


def test_a_poll_as_line_and_object() -> None:
    """A poll is a line of totals for people, and an object with counts of each table for the log."""
    tables = {
        "a": TableSummary(Counts(1_200, 3, 4, 1_193, 5), 9, NOON, True, 7),
        "b": TableSummary(Counts(1, 1), 1, None, None, None),
    }
    poll = PollSummary(12, "changes", NOON, NOON, 10, 2, 1, tables)
    assert (
        poll.line() == "poll 12, changes: 10 requests; 1,201 fetched, 4 inserted, 4 updated, 1,193 unchanged, 5 removed"
    )
    idle = PollSummary(13, "changes", NOON, NOON, 1, 0, 0, {"a": TableSummary(Counts(2, 0, 0, 2), 1, NOON, None, 7)})
    assert idle.line() == (
        "poll 13, changes: 1 request; 2 fetched, 0 inserted, 0 updated, 2 unchanged, 0 removed; no changes"
    )
    entry = poll.to_json()
    assert (entry["poll"], entry["fetched"], entry["removed"]) == (12, 1_201, 5)
    assert entry["endpoints"]["a"]["since"] == "2025-06-02T12:00:00Z"
    assert json.loads(json.dumps(entry)) == entry
