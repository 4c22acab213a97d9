"""The log of a copy: each poll once, whatever died while it was written."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulk_export.pipelines.sync.log import LOG, append_entry
from bulk_export.pipelines.sync.summary import Counts, PollSummary, TableSummary

NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)


def test_a_poll_in_words_and_as_an_object() -> None:
    tables = {
        "a": TableSummary(Counts(1_200, 3, 4, 1_193, 5), 9, NOON, True, 7),
        "b": TableSummary(Counts(1, 1), 1, None, None, None),
    }
    poll = PollSummary(12, "changes", NOON, NOON, 10, 2, 1, tables)
    assert (
        poll.line() == "poll 12, changes: 10 requests; 1,201 fetched, 4 inserted, 4 updated, 1,193 unchanged, 5 removed"
    )
    entry = poll.to_json()
    assert (entry["poll"], entry["fetched"], entry["removed"]) == (12, 1_201, 5)
    assert entry["endpoints"]["a"]["since"] == "2025-06-02T12:00:00Z"
    assert json.loads(json.dumps(entry)) == entry


def test_an_entry_is_added_once(tmp_path: Path) -> None:
    for number in (1, 2, 2, 3, 3):
        append_entry(tmp_path, {"poll": number})
    assert [json.loads(line)["poll"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2, 3]
    assert stat.S_IMODE((tmp_path / LOG).stat().st_mode) == 0o600


@pytest.mark.parametrize("torn", [b'{"poll": 2, "ki', b"\xff\xfe", b"{"])
def test_a_line_that_a_crash_left_torn_is_taken_away(tmp_path: Path, torn: bytes) -> None:
    append_entry(tmp_path, {"poll": 1})
    with (tmp_path / LOG).open("ab") as file:
        file.write(torn)
    append_entry(tmp_path, {"poll": 2})
    assert [json.loads(line)["poll"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2]


def test_lines_of_others_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("a note\n[1]\n")
    append_entry(tmp_path, {"poll": 1})
    assert (tmp_path / LOG).read_text() == 'a note\n[1]\n{"poll": 1}\n'
