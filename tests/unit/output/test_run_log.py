"""The log of a run: what it holds, and that nothing else is taken for one."""

from __future__ import annotations

import json

import pytest

from bulk_export.output.run_log import (
    LARGEST,
    MOST_BUCKETS,
    Bucket,
    Hold,
    InvalidRunLog,
    RunLog,
    Timeline,
    is_run_log,
)

TIMELINE = Timeline(
    origin=1_700_000_000,
    width=2,
    starts=(0, 90),
    limits=((1_000, 300.0), (300, 0.5)),
    buckets=(Bucket(0, 9, 8, 2_400, 1, 2, (9, 9)), Bucket(4, requests=1)),
    holds=(Hold(2, 30, "throttled"),),
    endpoints={"things": (0, 4), "<b>\u2028": (1, 1)},
)
LOG = RunLog("2026-01-01T00:00:00Z", "2026-01-01T00:10:00Z", TIMELINE)


def test_what_is_written_is_read() -> None:
    """As lines and in a journal; and the file is known by its first bytes."""
    assert RunLog.parse(LOG.lines()) == LOG
    assert Timeline.parse(TIMELINE.text()) == TIMELINE
    assert is_run_log(LOG.lines().encode()[:64])
    assert LOG.belongs_to({"started_at": LOG.started_at, "finished_at": LOG.finished_at})
    assert not LOG.belongs_to({"started_at": LOG.started_at, "finished_at": "2026-01-01T00:10:01Z"})


def test_largest_is_small() -> None:
    """The longest log is some tens of kilobytes."""
    row = Bucket(2**31, *[10**6] * 5, used=(10**6,) * 8)
    longest = RunLog("", "", Timeline(0, buckets=(row,) * MOST_BUCKETS))
    assert len(longest.lines()) < 60_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null\n",
        LOG.lines().replace("bulk-export", "another"),
        LOG.lines().replace('"requests": 9', '"requests": -9'),
        LOG.lines().replace('"requests": 9', '"requests": true'),
        LOG.lines().replace('"throttled", ', "").replace('"throttled"}', '"bored"}'),
        LOG.lines().replace('"seconds": 2', '"seconds": 0'),
        LOG.lines().replace("300.0", "Infinity"),
        LOG.lines()[:-30],
        LOG.lines() + LOG.lines().split("\n")[-2].join(["", "\n"]) * MOST_BUCKETS,
        "[" * 100_000,
        " " * (LARGEST + 1),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidRunLog):
        RunLog.parse(text)


@pytest.mark.parametrize("change", [{"origin": None}, {"buckets": [[1]]}, {"holds": [1]}, {"format": 2}, {"width": 0}])
def test_other_timelines_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidRunLog):
        Timeline.parse(json.dumps(json.loads(TIMELINE.text()) | change))
