"""What a poll leaves behind for the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.pipelines.sync.confirm_removals import MissingRecords
from bulk_export.pipelines.sync.fetch import FetchedPoll, GroupLoad
from bulk_export.pipelines.sync.merge import MergeResult
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.record_poll import MergedPoll, state_after
from bulk_export.pipelines.sync.state import CopyState, OpenPoll
from bulk_export.pipelines.sync.summary import Counts, TableSummary
from bulk_export.pipelines.sync.tables.copy_table import TableMark
from bulk_export.pipelines.sync.watermark import Watermark

NAME = "statements"
NOON = datetime(2025, 6, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BEFORE = Watermark((NOON - 2 * HOUR, NOON - HOUR), NOON - 2 * HOUR)
POLL = OpenPoll(7, NOON, ((None, (NAME,)),), "a" * 32)
STATE = CopyState(
    {"token": "old"},
    watermarks={NAME: BEFORE, "other": BEFORE},
    open_polls={"full": POLL, "changes": replace(POLL, number=6)},
    poll_number=7,
)
RUN = {"requests": 3, "retries": 1, "throttled": 0}


def result(*, consistent: bool | None = True, **changes: Any) -> MergeResult:
    summary = TableSummary(Counts(5, 1), 3, None, consistent, 9)
    return MergeResult(summary, TableMark(9, POLL.id, POLL.number), **changes)


def merged(kind: str, result: MergeResult, *, untrusted: bool = False, resumed: bool = False) -> MergedPoll:
    load = GroupLoad(Path(), {"run": RUN, "endpoints": {}}, None)
    fetched = FetchedPoll(POLL, (load,), 0.0, NOON, is_overtaken=False)
    return MergedPoll(kind, fetched, {NAME: result}, frozenset({NAME} if untrusted else ()), resumed)


def after(poll: MergedPoll, directory: Path, **chosen: Any) -> CopyState:
    options = SyncOptions.of([NAME], environment="local", output=directory, **chosen)
    return state_after(STATE, poll, poll.summary(NOON + HOUR), options, every=None, new_identity={"token": "new"})


def test_a_poll_for_changes_advances_its_watermark(tmp_path: Path) -> None:
    """Other endpoints and the last full sync stay, and the full sync that is under way stays open."""
    state = after(merged("changes", result()), tmp_path)
    assert state.watermarks == {NAME: Watermark((NOON - HOUR, NOON), NOON - 2 * HOUR), "other": BEFORE}
    assert set(state.open_polls) == {"full"}
    assert state.identity == {"token": "new"}
    assert state.last_entry is not None
    assert (state.last_entry["poll"], state.last_entry["requests"]) == (7, 3)


def test_sweeps_that_disagree_keep_the_watermark(tmp_path: Path) -> None:
    """The next poll asks for the same changes again."""
    assert after(merged("changes", result(consistent=False)), tmp_path).watermarks[NAME] == BEFORE


def test_a_full_sync_closes_polls_of_both_kinds(tmp_path: Path) -> None:
    state = after(merged("full", result()), tmp_path)
    assert state.watermarks[NAME] == Watermark((NOON - HOUR, NOON), NOON)
    assert state.open_polls == {}


@pytest.mark.parametrize(
    ("found", "untrusted"),
    [
        (result(consistent=False), False),
        (result(refused=MissingRecords(60, 100)), False),
        (result(is_end_uncertain=True), False),
        (result(), True),
    ],
)
def test_an_uncertain_full_sync_is_due_again(tmp_path: Path, found: MergeResult, untrusted: bool) -> None:
    state = after(merged("full", found, untrusted=untrusted), tmp_path)
    assert state.watermarks[NAME] == Watermark((NOON - HOUR, NOON), None)


def test_only_a_complete_full_sync_deletes_for_good(tmp_path: Path) -> None:
    """The mark of a table says what the last complete full sync did with removed records."""
    for kind, found, wanted in (
        ("full", result(), "delete"),
        ("full", result(is_end_uncertain=True), None),
        ("changes", result(), None),
    ):
        assert after(merged(kind, found), tmp_path, removed="delete").mark_of(NAME).removed == wanted


def test_a_resumed_poll_is_no_scheduled_one(tmp_path: Path) -> None:
    assert after(merged("changes", result()), tmp_path).schedules[NAME].starts == (NOON,)
    assert after(merged("changes", result(), resumed=True), tmp_path).schedules[NAME].starts == ()


def test_remarks_say_what_was_uncertain() -> None:
    assert merged("full", result()).remarks() == []
    (changing,) = merged("full", result(consistent=False)).remarks()
    assert "which is a full sync again" in changing
    (missing,) = merged("full", result(), untrusted=True).remarks()
    assert "many records were not shown at first" in missing
    (end,) = merged("full", result(is_end_uncertain=True)).remarks()
    assert "no record was removed" in end
    refused = merged("full", result(refused=MissingRecords(60, 100)), untrusted=True)
    assert (refused.remarks(), refused.refused) == ([], {NAME: MissingRecords(60, 100)})
