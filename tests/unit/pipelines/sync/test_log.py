"""The log of a copy: each poll once, whatever died while it was written."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bulk_export.pipelines.sync.log import LOG, append_entry, read_poll_times


def test_an_entry_is_added_once(tmp_path: Path) -> None:
    for number in (1, 2, 2, 3, 3):
        append_entry(tmp_path, {"poll": number})
    assert [json.loads(line)["poll"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2, 3]
    assert stat.S_IMODE((tmp_path / LOG).stat().st_mode) == 0o600


@pytest.mark.parametrize("torn", [b'{"poll": 2, "ki', b"\xff\xfe", b"{"])
def test_an_incomplete_line_is_removed(tmp_path: Path, torn: bytes) -> None:
    """A line that a crash cut off is removed before the next entry is added."""
    append_entry(tmp_path, {"poll": 1})
    with (tmp_path / LOG).open("ab") as file:
        file.write(torn)
    append_entry(tmp_path, {"poll": 2})
    assert [json.loads(line)["poll"] for line in (tmp_path / LOG).read_text().splitlines()] == [1, 2]


def test_foreign_lines_stay(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text("a note\n[1]\n")
    append_entry(tmp_path, {"poll": 1})
    assert (tmp_path / LOG).read_text() == 'a note\n[1]\n{"poll": 1}\n'


def test_keys_of_a_newer_version_stay(tmp_path: Path) -> None:
    """Entries have no version: they only gain keys, and a reader ignores those that it does not know."""
    entry = {"poll": 1, "id": "a", "started_at": "2025-06-02T12:00:00Z", "finished_at": "2025-06-02T12:01:00Z"}
    newer = json.dumps(entry | {"endpoints": {"statements": {"new": 1}}, "new": [1]}) + "\n"
    (tmp_path / LOG).write_text(newer)
    append_entry(tmp_path, entry)
    assert (tmp_path / LOG).read_text() == newer
    (times,) = read_poll_times(tmp_path)["statements"]
    assert times == (datetime(2025, 6, 2, 12, tzinfo=UTC), datetime(2025, 6, 2, 12, 1, tzinfo=UTC))


def test_the_times_of_polls_are_read_in_order(tmp_path: Path) -> None:
    """Lines that cannot be read are skipped, and a poll that was logged twice counts once, with its later end."""
    assert read_poll_times(tmp_path) == {}
    lines = ["a note", "[1]"]
    for start, end in ((13, 14), (12, 12), (13, 15)):
        hours = {"started_at": f"2025-06-02T{start}:00:00Z", "finished_at": f"2025-06-02T{end}:00:00Z"}
        lines.append(json.dumps(hours | {"endpoints": {"a": {}}}))
    (tmp_path / LOG).write_text("\n".join(lines))
    assert [(start.hour, end.hour) for start, end in read_poll_times(tmp_path)["a"]] == [(12, 12), (13, 15)]
