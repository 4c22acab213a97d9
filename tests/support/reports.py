"""Reports, and what they are made of, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bulk_export.output.report.columns import Column, TableColumns
from bulk_export.output.report.of_copy import CopyFacts, ListState
from bulk_export.output.report.of_export import ExportFacts
from bulk_export.output.report.poll_log import Poll, PollOfList
from bulk_export.output.run_log import Bucket, Hold, RunLog, Timeline

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
# What a service might call something to be run by a browser, or to be shown as something else.
HOSTILE = [
    "<script>fetch('https://evil.example')</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><svg onload=alert(1)>",
    "javascript:alert(1)",
    "a' onmouseover='alert(1)",
    "-->]]></title><iframe src=//evil.example>",
    "\u202eevil\u202c\x00\x1b[31m",
    "&lt;b&gt;&#x3c;script&#x3e;",
]


def manifest(**changes: Any) -> dict[str, Any]:
    """The manifest of an export of two lists."""
    things = {
        "records": 1_200,
        "pages": 4,
        "duplicates": 0,
        "requests": 6,
        "changed_during_export": False,
        "signs_of_change": {},
        "schema": [{"name": "id", "type": "string"}, {"name": "tags", "type": "list<element: string>"}],
        "drift": {"unknown": {}, "misfits": {}, "missing": {}, "duplicate_keys": {}},
        "files": [{"path": "things/part-00000.parquet", "rows": 1_200, "bytes": 4_096, "sha256": "0" * 64}],
    }
    return {
        "tool": {"name": "bulk-export", "version": "0.0.1"},
        "service": "npq",
        "api_version": "v3",
        "base_url": "https://service.example",
        "parameters": {"page_size": 300, "filters": {"cohort": "2021"}, "formats": {"parquet": "zstd"}},
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-01T00:10:00Z",
        "run": {"requests": 12, "retries": 0, "throttled": 0, "resumed": 0},
        "endpoints": {"things": things, "others": {**things, "files": []}},
        **changes,
    }


TIMELINE = Timeline(
    origin=int(BEGAN.timestamp()),
    starts=(0,),
    limits=((1_000, 300.0), (300, 300.0)),
    buckets=tuple(Bucket(at, 2, 2, 600, int(at == 3), int(at == 4), (2 * at, 2 * at)) for at in range(6)),
    holds=(Hold(3, 1, "throttled"),),
    endpoints={"things": (0, 3), "others": (4, 5)},
)


def export_facts(**changes: Any) -> ExportFacts:
    """What is known of an export."""
    found = manifest(**changes.pop("manifest", {}))
    columns = {"things": TableColumns((Column("id", "string", 0), Column("tags", "list of string", None)), 1_200)}
    facts: dict[str, Any] = {
        "manifest": found,
        "difference": "",
        "is_read": False,
        "incomplete": (),
        "columns": columns,
        "log": RunLog(found["started_at"], found["finished_at"], TIMELINE),
        "made": "Made today.",
    }
    return ExportFacts(**{**facts, **changes})


def poll(number: int, began: datetime, *, kind: str = "changes", **of_list: Any) -> Poll:
    """A poll of one list, which took ten seconds."""
    counts = {"fetched": 9, "inserted": 5, "updated": 3, "removed": 1, "deleted": 0, "consistent": True} | of_list
    return Poll(number, kind, began, began + timedelta(seconds=10), 7, 0, 0, {"things": PollOfList(**counts)})


def copy_facts(polls: int = 6, **changes: Any) -> CopyFacts:
    """What is known of a copy with a poll an hour."""
    last = BEGAN + timedelta(hours=max(0, polls - 1))
    facts: dict[str, Any] = {
        "identity": {"service": "npq", "api_version": "v3", "base_url": "https://service.example", "format": "delta"},
        "lists": {"things": ListState(last, BEGAN)},
        "unfinished": (),
        "polls": [poll(number + 1, BEGAN + timedelta(hours=number)) for number in range(polls)],
        "columns": {"things": TableColumns((Column("id", "string", 0), Column("name", "string", 6)), 12)},
        "remark": "",
        "now": last + timedelta(minutes=30),
        "made": "Made today.",
    }
    return CopyFacts(**{**facts, **changes})
