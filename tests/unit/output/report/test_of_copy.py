"""What a report says of a copy: how old it is, what its polls changed, and when something is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

from bulk_export.output.report.columns import TableColumns
from bulk_export.output.report.model import Level, Number
from bulk_export.output.report.of_copy import copy_report, damage, lags
from bulk_export.output.report.poll_log import MOST_POLLS, last_polls
from tests.support.reports import BEGAN, copy_facts, poll


def test_copy_that_is_current() -> None:
    """It is as old as the start of its last poll, and what polls changed is added up."""
    report = copy_report(copy_facts())
    assert report.verdict.level is Level.FINE
    assert report.verdict.text == "Current: the last poll, number 6, succeeded, and began 30 min ago."
    facts = {fact.name: fact.value for fact in report.facts}
    assert facts["Rows"] == "12"
    assert (facts["Inserted"], facts["Updated"], facts["Removed"]) == ("30", "18", "6")
    (tables,) = [table for section in report.sections for table in section.tables if table.head[0] == "Table"]
    assert tables.rows[0][2] == Number(30)


def test_age_before_each_poll() -> None:
    """What a copy shows is as old as the start of the poll before: an hour and the time that a poll takes."""
    assert lags(copy_facts(polls=3).polls) == [10.0, 3_610.0, 3_610.0]
    assert lags([]) == []


def test_copy_that_is_late() -> None:
    """A copy that is older than three usual intervals is worth a look."""
    facts = copy_facts(now=BEGAN + timedelta(hours=9))
    report = copy_report(facts)
    assert report.verdict.level is Level.LOOK
    assert "usually 1 h apart" in report.verdict.text


def test_what_is_worth_knowing() -> None:
    """Sweeps that did not agree in the last poll, an unfinished full sync, 429s, and tables that cannot be read."""
    polls = [poll(1, BEGAN, consistent=False), poll(2, BEGAN + timedelta(hours=1), consistent=False)]
    facts = copy_facts(polls=0, unfinished=("full",), remark="No extra.", columns={})
    texts = [finding.text for finding in copy_report(facts).findings]
    assert texts == ["A full sync is not finished. The next sync goes on with it.", "No extra."]
    assert copy_report(facts).verdict.text == "No poll has finished yet."
    changing = copy_report(dataclasses.replace(copy_facts(), polls=polls))
    assert [finding.text for finding in changing.findings] == [
        "things: the data kept changing in its last poll, so a record may be missing."
    ]
    settled = [*polls, poll(3, BEGAN + timedelta(hours=2))]
    assert copy_report(dataclasses.replace(copy_facts(), polls=settled)).findings == []
    broken = copy_report(copy_facts(columns={"things": TableColumns((), 0, unreadable=2)}))
    assert broken.verdict.level is Level.BAD
    assert damage(copy_facts()) == ""
    many = copy_facts(lost={f"list-{number}": "its table is gone" for number in range(7)})
    assert damage(many).endswith("list-4: its table is gone; and 2 more tables.")


def test_log_is_read_from_its_end(tmp_path: Path) -> None:
    """The last polls count; a line that was cut short or is something else is passed over."""
    counts = {"fetched": 1, "inserted": 1, "updated": 0, "removed": 0}
    entry = {
        "kind": "changes",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:00:09Z",
        "requests": 3,
        "endpoints": {"things": counts},
    }
    lines = [json.dumps({"poll": number, **entry}) for number in range(1, MOST_POLLS + 9)]
    lines += [
        "[]",
        "{",
        json.dumps({"poll": -1, **entry}),
        json.dumps({"poll": 9, **entry, "started_at": "2026-01-01"}),
    ]
    (tmp_path / "sync-log.jsonl").write_text("\n".join(lines) + '\n{"poll": 9')
    polls = last_polls(tmp_path)
    assert [polls[0].number, polls[-1].number, len(polls)] == [9, MOST_POLLS + 8, MOST_POLLS]
    assert (polls[0].seconds, polls[0].total("inserted"), polls[0].lists["things"].consistent) == (9.0, 1, None)
    assert last_polls(tmp_path / "elsewhere") == []
